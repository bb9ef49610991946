//! Who may call what, with tokens (JWT).

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use pref::engine::EngineConfig;
use pref::service::proto::*;
use pref::service::{Access, KeySource, ServiceConfig, TokenConfig, Tokens};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256};
use serde_json::{Value, json};
use tonic::Code;

use crate::app::{TestApp, judge, refusal};
use crate::identity::{Method, guarded, methods};

const ISSUER: &str = "https://id.example.org";
const AUDIENCE: &str = "pref";

/// An issuer of tokens, whose keys are in a file.
pub(crate) struct Issuer {
    folder: tempfile::TempDir,
    key: EncodingKey,
}

impl Issuer {
    pub(crate) fn new() -> Self {
        let issuer = Self { folder: tempfile::tempdir().unwrap(), key: key() };
        issuer.publish(&[("one", &issuer.key)]);
        issuer
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.folder.path().join("jwks.json")
    }

    fn publish(&self, keys: &[(&str, &EncodingKey)]) {
        let jwk = |(id, key): &(&str, &EncodingKey)| {
            let mut jwk = Jwk::from_encoding_key(key, Algorithm::ES256).unwrap();
            jwk.common.key_id = Some((*id).to_owned());
            serde_json::to_value(jwk).unwrap()
        };
        let keys: Vec<_> = keys.iter().map(jwk).collect();
        std::fs::write(self.file(), json!({ "keys": keys }).to_string()).unwrap();
    }

    pub(crate) async fn access(&self) -> Access {
        Access::Credentials { tokens: Some(Arc::new(Tokens::open(config(&self.file())).await.unwrap())) }
    }

    /// A token of today's with these claims over the usual ones.
    pub(crate) fn token(&self, claims: Value) -> String {
        signed(&Header { kid: Some("one".to_owned()), ..Header::new(Algorithm::ES256) }, claims, &self.key)
    }
}

fn config(file: &Path) -> TokenConfig {
    TokenConfig {
        keys: KeySource::File(file.to_owned()),
        issuer: ISSUER.to_owned(),
        audience: AUDIENCE.to_owned(),
        refresh: Duration::from_secs(3600),
    }
}

fn key() -> EncodingKey {
    EncodingKey::from_ec_der(&KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap().serialize_der())
}

fn in_seconds(from_now: i64) -> i64 {
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
    i64::try_from(now).unwrap() + from_now
}

fn signed(header: &Header, claims: Value, key: &EncodingKey) -> String {
    let mut all = json!({
        "iss": ISSUER, "aud": AUDIENCE, "exp": in_seconds(600), "scope": "read feedback generate train admin",
    });
    for (name, value) in claims.as_object().unwrap() {
        match value {
            Value::Null => all.as_object_mut().unwrap().remove(name),
            value => all.as_object_mut().unwrap().insert(name.clone(), value.clone()),
        };
    }
    format!("Bearer {}", encode(header, &all, key).unwrap())
}

async fn start(issuer: &Issuer) -> TestApp {
    let access = issuer.access().await;
    TestApp::configured(|engine: &mut EngineConfig, service: &mut ServiceConfig| {
        guarded(engine, service);
        service.access = access;
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_is_taken_for_what_its_issuer_signed_and_nothing_else() {
    let issuer = Issuer::new();
    let app = start(&issuer).await;
    let ask = async |authorization: &str| app.caller(authorization).list_pools().await;
    assert_eq!(ask(&issuer.token(json!({}))).await.unwrap(), []);
    assert_eq!(ask(&issuer.token(json!({ "aud": ["other", AUDIENCE] }))).await.unwrap(), []);
    // A key beside it is taken as well.
    assert_eq!(app.holder("default").await.list_pools().await.unwrap(), []);

    let ours = |header: Header| signed(&header, json!({}), &issuer.key);
    let named = Header { kid: Some("one".to_owned()), ..Header::new(Algorithm::ES256) };
    // Whoever takes the public key for a shared secret would take this one.
    let public = std::fs::read(issuer.file()).unwrap();
    let shared = EncodingKey::from_secret(&public);
    let confused = Header { kid: Some("one".to_owned()), ..Header::new(Algorithm::HS256) };
    let whole = issuer.token(json!({}));
    let (head, signature) = whole.rsplit_once('.').unwrap();
    let unsigned = format!("Bearer {}.{}.", unsigned_header(), head.split('.').nth(1).unwrap());
    for (what, authorization) in [
        ("another key", signed(&named, json!({}), &key())),
        ("no key id", ours(Header::new(Algorithm::ES256))),
        ("an unknown key id", ours(Header { kid: Some("two".to_owned()), ..named.clone() })),
        ("a shared secret", signed(&confused, json!({}), &shared)),
        ("no signature", unsigned),
        ("half a signature", format!("{head}.{}", &signature[..signature.len() / 2])),
        ("another issuer", issuer.token(json!({ "iss": "https://else.example.org" }))),
        ("no issuer", issuer.token(json!({ "iss": null }))),
        ("another audience", issuer.token(json!({ "aud": "other" }))),
        ("no audience", issuer.token(json!({ "aud": null }))),
        ("no end", issuer.token(json!({ "exp": null }))),
        ("not yet", issuer.token(json!({ "nbf": in_seconds(600) }))),
        ("a tenant that is none", issuer.token(json!({ "pref_tenant": " " }))),
        ("a person that is none", issuer.token(json!({ "pref_user": "a\nb" }))),
        ("something critical", ours(Header { crit: Some(vec!["exp".to_owned()]), ..named.clone() })),
        ("no token", "Bearer eyJ.x".to_owned()),
    ] {
        assert_eq!(
            refusal(ask(&authorization).await),
            (Code::Unauthenticated, "TOKEN_INVALID".to_owned()),
            "{what}"
        );
    }
    let expired = ask(&issuer.token(json!({ "exp": in_seconds(-600) }))).await;
    assert_eq!(refusal(expired), (Code::Unauthenticated, "TOKEN_EXPIRED".to_owned()));
    let read_only = app.caller(&issuer.token(json!({ "scope": "openid read" })));
    read_only.list_pools().await.unwrap();
    assert_eq!(
        refusal(read_only.delete_pool("p").await),
        (Code::PermissionDenied, "SCOPE_MISSING".to_owned())
    );
    let no_scope = ask(&issuer.token(json!({ "scope": null }))).await;
    assert_eq!(refusal(no_scope), (Code::PermissionDenied, "SCOPE_MISSING".to_owned()));
    app.stop().await;
}

/// `{"alg":"none","kid":"one"}` in base64url.
fn unsigned_header() -> &'static str {
    "eyJhbGciOiJub25lIiwia2lkIjoib25lIn0"
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bound_token_speaks_for_its_person_alone() {
    let issuer = Issuer::new();
    let app = start(&issuer).await;
    let bound = app.caller(&issuer.token(json!({ "pref_user": "ada" })));
    for Method { path, about_person } in methods() {
        let reason = if about_person { "USER_MISMATCH" } else { "USER_BOUND" };
        assert_eq!(
            refusal(bound.call(&path, "bob").await),
            (Code::PermissionDenied, reason.to_owned()),
            "{path}"
        );
    }
    let words = ("x", "Short.", "A few more words than that.");
    bound.submit(judge("ada", words, Outcome::First)).await.unwrap();
    // Who names nobody means that person.
    bound.submit(judge("", words, Outcome::First)).await.unwrap();
    assert_eq!(bound.get_user("").await.unwrap().user_id, "ada");
    assert_eq!(app.holder("default").await.get_user("ada").await.unwrap().answers, 2);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_key_of_the_issuers_is_found_and_made_up_ids_do_not_have_it_asked_again() {
    let issuer = Issuer::new();
    let app = start(&issuer).await;
    let second = key();
    issuer.publish(&[("one", &issuer.key), ("two", &second)]);
    let header = |id: &str| Header { kid: Some(id.to_owned()), ..Header::new(Algorithm::ES256) };
    app.caller(&signed(&header("two"), json!({}), &second)).list_pools().await.unwrap();
    // Within ten seconds of that the keys are not read again, whatever ids come.
    issuer.publish(&[("three", &second)]);
    let unread = app.caller(&signed(&header("three"), json!({}), &second)).list_pools().await;
    assert_eq!(refusal(unread), (Code::Unauthenticated, "TOKEN_INVALID".to_owned()));
    app.caller(&issuer.token(json!({}))).list_pools().await.unwrap();
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_keys_may_be_at_a_url_that_answers_later() {
    let issuer = Issuer::new();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/jwks", listener.local_addr().unwrap());
    let config = TokenConfig { keys: KeySource::parse(&url).unwrap(), ..config(&issuer.file()) };
    // The first to ask is the server's start, which hears nothing of use and goes on.
    let refused = tokio::spawn(async move {
        drop(listener.accept().await.unwrap());
        listener
    });
    let tokens = Arc::new(Tokens::open(config).await.unwrap());
    let listener = refused.await.unwrap();
    let app = TestApp::configured(|engine: &mut EngineConfig, service: &mut ServiceConfig| {
        guarded(engine, service);
        service.access = Access::Credentials { tokens: Some(tokens) };
    })
    .await;
    let jwks = std::fs::read_to_string(issuer.file()).unwrap();
    let routes = axum::Router::new().route("/jwks", axum::routing::get(move || async move { jwks }));
    let serving = tokio::spawn(async move { axum::serve(listener, routes).await });
    app.caller(&issuer.token(json!({}))).list_pools().await.unwrap();
    serving.abort();
    app.stop().await;
}

#[tokio::test]
async fn keys_that_cannot_be_used_are_refused_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("jwks.json");
    let mut told = Vec::new();
    for content in [None, Some("{}"), Some(r#"{"keys": [{"kty": "oct", "kid": "one", "k": "c2VjcmV0"}]}"#)] {
        if let Some(content) = content {
            std::fs::write(&file, content).unwrap();
        }
        told.push(Tokens::open(config(&file)).await.unwrap_err().to_string());
    }
    assert!(told.iter().all(|told| told.contains("jwks.json")), "{told:?}");
    assert!(told[2].contains("no key"), "{told:?}");
    assert!(!told.concat().contains("c2VjcmV0"), "{told:?}");
}

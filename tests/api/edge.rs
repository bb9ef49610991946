//! The HTTP edge: the same credentials, errors in OpenAI's shape, pages of other origins.

use pref::domain::Scope;
use pref::service::{ServiceConfig, serve_http};
use reqwest::Response;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::app::{PROMPTS, TestApp};
use crate::identity::guarded;
use crate::tokens::Issuer;

/// The edge of `app`, with settings of its own; its URL.
pub(crate) async fn edge(app: &TestApp, settings: impl FnOnce(&mut ServiceConfig)) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (engine, mut config) = (app.engine.clone(), ServiceConfig::default());
    settings(&mut config);
    let stop = CancellationToken::new();
    tokio::spawn(async move { serve_http(listener, engine, &config, stop).await });
    url
}

/// A request with headers, and a body where there is one.
pub(crate) async fn call(
    method: &str,
    url: String,
    headers: &[(&str, &str)],
    body: Option<Value>,
) -> Response {
    // Whoever was first has installed the same.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let mut request = client.request(method.parse().unwrap(), url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(body.map_or(String::new(), |body| body.to_string())).send().await.unwrap()
}

pub(crate) async fn json_of(response: Response) -> (u16, Value) {
    (response.status().as_u16(), response.json().await.unwrap())
}

fn completion(user: Option<&str>) -> Value {
    json!({ "model": "pref", "messages": [{ "role": "user", "content": PROMPTS[0] }], "user": user })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_credentials_hold_over_http() {
    let issuer = Issuer::new();
    let app = TestApp::configured(guarded).await;
    app.holder("default").await.import_topics().await;
    let access = issuer.access().await;
    let url = edge(&app, |config| config.access = access).await;
    let chat = async |authorization: Option<&str>, user: Option<&str>| {
        let headers: Vec<_> = authorization.iter().map(|value| ("authorization", *value)).collect();
        json_of(call("POST", format!("{url}/v1/chat/completions"), &headers, Some(completion(user))).await)
            .await
    };
    let (_, key) = app.key("default", [Scope::Generate]).await;
    let (status, answer) = chat(Some(&key), Some("ada")).await;
    assert_eq!((status, &answer["object"]), (200, &"chat.completion".into()), "{answer}");

    let (status, refused) = chat(None, Some("ada")).await;
    assert_eq!((status, &refused["error"]["code"]), (401, &"invalid_api_key".into()), "{refused}");
    assert_eq!(refused["error"]["type"], "invalid_request_error");
    let (status, refused) = chat(Some("Bearer sk-secret"), Some("ada")).await;
    assert_eq!((status, &refused["error"]["code"]), (401, &"invalid_api_key".into()));
    assert!(!refused.to_string().contains("sk-secret"), "{refused}");
    let (_, reader) = app.key("default", [Scope::Read]).await;
    let (status, refused) = chat(Some(&reader), None).await;
    assert_eq!((status, &refused["error"]["code"]), (403, &"SCOPE_MISSING".into()));
    // Another tenant's key finds neither the model nor the pool.
    let (_, other) = app.key("other", Scope::ALL).await;
    let (status, refused) = chat(Some(&other), None).await;
    assert_eq!((status, &refused["error"]["code"]), (400, &"NO_ACTIVE_MODEL".into()));

    let bound = issuer.token(json!({ "pref_user": "ada", "scope": "generate" }));
    assert_eq!(chat(Some(&bound), Some("ada")).await.0, 200);
    assert_eq!(chat(Some(&bound), None).await.0, 200);
    let (status, refused) = chat(Some(&bound), Some("bob")).await;
    assert_eq!((status, &refused["error"]["code"]), (403, &"USER_MISMATCH".into()));
    let models = call("GET", format!("{url}/v1/models"), &[("authorization", &bound)], None).await;
    assert_eq!(json_of(models).await.0, 200);
    let stranger = call("GET", format!("{url}/v1/models"), &[], None).await;
    assert_eq!(stranger.headers()["www-authenticate"], "Bearer");
    assert_eq!(json_of(stranger).await.0, 401);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_of_a_listed_origin_may_call_and_others_may_not() {
    let app = TestApp::configured(guarded).await;
    let access = pref::service::Access::Credentials { tokens: None };
    let url = edge(&app, |config| {
        config.access = access;
        config.cors_origins = vec!["https://chat.example.org".parse().unwrap()];
    })
    .await;
    let preflight = async |origin: &str| {
        let headers = [
            ("origin", origin),
            ("access-control-request-method", "POST"),
            ("access-control-request-headers", "authorization,content-type,x-stainless-os"),
        ];
        call("OPTIONS", format!("{url}/v1/chat/completions"), &headers, None).await
    };
    // The question comes before, and without, the credential.
    let listed = preflight("https://chat.example.org").await;
    assert_eq!(listed.status(), 200);
    assert_eq!(listed.headers()["access-control-allow-origin"], "https://chat.example.org");
    assert!(listed.headers()["access-control-allow-headers"].to_str().unwrap().contains("authorization"));
    let other = preflight("https://evil.example.org").await;
    assert!(other.headers().get("access-control-allow-origin").is_none());
    let none = edge(&app, |_| {}).await;
    let headers = [("origin", "https://chat.example.org")];
    let answer = call("GET", format!("{none}/v1/models"), &headers, None).await;
    assert!(answer.headers().get("access-control-allow-origin").is_none());
    app.stop().await;
}

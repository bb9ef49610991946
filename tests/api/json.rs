//! The RPCs over HTTP: as JSON, and as gRPC-Web.

use pref::service::proto::*;
use prost::Message;
use serde_json::{Value, json};

use crate::app::{TestApp, from_pool, judge, request_id};
use crate::edge::{call, edge, json_of};
use crate::identity::guarded;
use crate::mutate::Mutator;
use crate::on_both_stores;

const SERVICE: &str = "pref.v1.PersonalizationService";
const JSON: [(&str, &str); 1] = [("content-type", "application/json")];

async fn post(url: &str, method: &str, body: Value) -> (u16, Value) {
    json_of(call("POST", format!("{url}/{SERVICE}/{method}"), &JSON, Some(body)).await).await
}

on_both_stores! {
    async fn the_loop_in_json_is_the_loop(app) {
        app.import_topics().await;
        let url = edge(app, |_| {}).await;
        let (status, asked) = post(&url, "NextQuery", json!({"userId": "ada", "pool": "topics"})).await;
        assert_eq!(status, 200, "{asked}");
        let query = &asked["queries"][0];
        let body = json!({
            // Both spellings of a field are taken, as ProtoJSON says.
            "user_id": "ada", "queryId": query["queryId"], "outcome": "OUTCOME_FIRST", "requestId": request_id(),
        });
        let (status, first) = post(&url, "SubmitPreference", body.clone()).await;
        assert_eq!((status, &first["profile"]["revision"]), (200, &json!("1")), "{first}");
        assert_eq!(post(&url, "SubmitPreference", body).await, (200, first.clone()), "a repeat");
        let told = app.get_user("ada").await.unwrap();
        let coefficients: Vec<f64> = serde_json::from_value(first["profile"]["coefficients"].clone()).unwrap();
        let close = |(one, other): (&f64, &f64)| (one - other).abs() < 1e-12;
        assert_eq!(coefficients.len(), told.coefficients.len());
        assert!(coefficients.iter().zip(&told.coefficients).all(close), "{coefficients:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_have_their_status_and_name_the_field() {
    let app = TestApp::on_sqlite().await;
    let url = edge(&app, |_| {}).await;
    let (status, told) = post(&url, "GetUser", json!({"userId": "nobody"})).await;
    assert_eq!(status, 404);
    assert_eq!((&told["code"], &told["reason"]), (&json!("not_found"), &json!("USER_NOT_FOUND")));
    let (status, told) = post(&url, "GetUser", json!({})).await;
    assert_eq!((status, &told["fieldViolations"][0]["field"]), (400, &json!("user_id")), "{told}");
    for body in [json!({"nonsense": 1}), json!({"userId": 7}), json!([])] {
        let (status, told) = post(&url, "GetUser", body).await;
        assert_eq!((status, &told["reason"]), (400, &json!("MALFORMED_MESSAGE")), "{told}");
    }
    for (path, reason) in [
        (format!("{SERVICE}/Nothing"), "NO_SUCH_METHOD"),
        (format!("{SERVICE}/Generate"), "NO_SUCH_METHOD"),
        ("pref.v1.Nothing/GetUser".to_owned(), "NO_SUCH_METHOD"),
    ] {
        let answer = call("POST", format!("{url}/{path}"), &JSON, Some(json!({}))).await;
        let (status, told) = json_of(answer).await;
        assert_eq!((status, &told["reason"]), (404, &json!(reason)), "{path}");
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn json_asks_for_the_same_credentials() {
    let app = TestApp::configured(guarded).await;
    let url = edge(&app, |config| guarded(&mut Default::default(), config)).await;
    let (status, told) = post(&url, "ListUsers", json!({})).await;
    assert_eq!((status, &told["reason"]), (401, &json!("CREDENTIAL_MISSING")));
    let (_, key) = app.key("default", [pref::domain::Scope::Read]).await;
    let headers = [JSON[0], ("authorization", &key)];
    let listed = call("POST", format!("{url}/{SERVICE}/ListUsers"), &headers, Some(json!({}))).await;
    assert_eq!(json_of(listed).await, (200, json!({})));
    app.stop().await;
}

/// A frame of gRPC-Web: flags, length, bytes.
fn frames(mut body: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut frames = Vec::new();
    while let [flags, a, b, c, d, rest @ ..] = body {
        let (frame, rest) = rest.split_at(u32::from_be_bytes([*a, *b, *c, *d]) as usize);
        frames.push((*flags, frame.to_vec()));
        body = rest;
    }
    frames
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn browsers_call_by_grpc_web() {
    let app = TestApp::on_sqlite().await;
    app.import_topics().await;
    let url = edge(&app, |_| {}).await;
    let message = from_pool("ada", "topics").encode_to_vec();
    let mut body = vec![0];
    body.extend((message.len() as u32).to_be_bytes());
    body.extend(message);
    let _ = rustls::crypto::ring::default_provider().install_default();
    let answer = reqwest::Client::builder()
        .no_proxy()
        .build()
        .unwrap()
        .post(format!("{url}/{SERVICE}/NextQuery"))
        .header("content-type", "application/grpc-web+proto")
        .body(body)
        .send()
        .await
        .unwrap();
    assert_eq!(answer.headers()["content-type"], "application/grpc-web+proto");
    let frames = frames(&answer.bytes().await.unwrap());
    let [(0, reply), (0x80, trailers)] = &frames[..] else { panic!("a message and trailers: {frames:?}") };
    assert_eq!(NextQueryResponse::decode(&reply[..]).unwrap().queries.len(), 1);
    assert!(String::from_utf8_lossy(trailers).contains("grpc-status:0"));
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_json_makes_the_server_fail() {
    let app = TestApp::on_sqlite().await;
    app.submit(judge("ada", ("x", "a b c", "d"), Outcome::First)).await.unwrap();
    let url = edge(&app, |_| {}).await;
    let corpus = [
        json!({"userId": "ada", "pool": "topics", "strategy": "QUERY_STRATEGY_UNCERTAINTY", "count": 2}),
        json!({"userId": "ada", "comparison": {"prompt": "x", "responseA": "\u{e9}", "responseB": "b"}, "outcome": 1, "weight": 1e-1}),
        json!({"userId": "ada", "prompt": "x", "responses": ["a", "b"], "riskAversion": "NaN", "minRevision": "1"}),
    ]
    .map(|body| body.to_string().into_bytes());
    let methods = ["NextQuery", "SubmitPreference", "Score"];
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let mut inputs = Mutator::new();
    while let Some((place, body)) = inputs.next(&corpus) {
        let sent = client.post(format!("{url}/{SERVICE}/{}", methods[place])).header(JSON[0].0, JSON[0].1);
        let answer = sent.body(body.clone()).send().await.unwrap();
        let status = answer.status().as_u16();
        assert!(status < 500, "{status} to {}", String::from_utf8_lossy(&body));
    }
    app.stop().await;
}

//! What a scrape of the real binary reads.

use std::io::{Read, Write};
use std::net::TcpStream;

use pref::service::proto::*;

use crate::app::judge;
use crate::postgres::TestDatabase;
use crate::process::Server;

/// The body of `GET url`, by hand.
fn get(url: &str) -> String {
    let (host, path) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let mut stream = TcpStream::connect(host).unwrap();
    write!(stream, "GET /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.contains("content-type: application/openmetrics-text"), "{answer}");
    answer.split_once("\r\n\r\n").unwrap().1.to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_and_batches_are_counted_and_no_text_or_user_is_shown() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::launch(folder.path(), None, &["--metrics-listen", "127.0.0.1:0"]).await;
    let mut client = server.client();
    let comparison = ("How do I rest?", "Sleep a bit, friend.", "Lie down.");
    client.submit_preference(judge("ada-lovelace", comparison, Outcome::First)).await.unwrap();
    client.submit_preference(judge("ada-lovelace", comparison, Outcome::Second)).await.unwrap();
    let stranger = GetUserRequest { user_id: "nobody-knows".to_owned(), min_revision: 0 };
    client.get_user(stranger).await.unwrap_err();

    let shown = get(&server.metrics.clone().unwrap());
    let value = |name: &str, labels: &[&str]| -> f64 {
        let line = shown
            .lines()
            .find(|line| line.starts_with(name) && labels.iter().all(|label| line.contains(label)))
            .unwrap_or_else(|| panic!("no {name} {labels:?} in {shown}"));
        line.rsplit(' ').next().unwrap().parse().unwrap()
    };
    let submit = ["grpc_service=\"pref.v1.PersonalizationService\"", "grpc_method=\"SubmitPreference\""];
    assert_eq!(value("grpc_server_handled_total{", &[&submit[..], &["grpc_code=\"OK\""]].concat()), 2.0);
    assert_eq!(value("grpc_server_handled_total{", &["\"GetUser\"", "grpc_code=\"NotFound\""]), 1.0);
    assert_eq!(value("grpc_server_handling_seconds_count{", &submit), 2.0);
    let model = ["model_version=\""];
    // The second answer was about texts that are remembered.
    assert_eq!(value("pref_model_batch_texts_sum{", &model), 2.0);
    assert_eq!(value("pref_model_batch_tokens_sum{", &model), 6.0);
    assert_eq!(value("pref_model_cache_hits_total{", &model), 2.0);
    assert_eq!(value("pref_model_queue_depth{", &model), 0.0);
    assert!(value("pref_model_batch_time_seconds_sum{", &model) > 0.0);
    // On SQLite, which is no round trip away, nobody is.
    assert_eq!(value("pref_recent_people", &[]), 0.0);
    assert!(shown.ends_with("# EOF\n"), "{shown}");
    for secret in ["ada-lovelace", "nobody-knows", "friend", "rest?"] {
        assert!(!shown.contains(secret), "{secret}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_calls_time_the_databases_is_told_apart() {
    let test = "of_a_calls_time_the_databases_is_told_apart";
    let Some(database) = TestDatabase::create(test).await else { return };
    let folder = tempfile::tempdir().unwrap();
    let settings = ["--metrics-listen", "127.0.0.1:0"];
    let server = Server::launch(folder.path(), Some(&database.url()), &settings).await;
    server.client().submit_preference(judge("ada", ("x", "a b c", "d"), Outcome::First)).await.unwrap();

    let shown = get(&server.metrics.clone().unwrap());
    let seconds = |name: &str| -> f64 {
        let name = format!("grpc_server_{name}_seconds_sum{{");
        let is_it = |line: &&str| line.starts_with(&name) && line.contains("\"SubmitPreference\"");
        let line = shown.lines().find(is_it).unwrap_or_else(|| panic!("no {name} in {shown}"));
        line.rsplit(' ').next().unwrap().parse().unwrap()
    };
    assert!(0.0 < seconds("overhead") && seconds("overhead") < seconds("handling"), "{shown}");
}

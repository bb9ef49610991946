//! What the real binary logs, at the most that it can be asked for.

use std::path::Path;
use std::process::Stdio;

use pref::service::proto::personalization_service_client::PersonalizationServiceClient;
use pref::service::proto::*;
use secrecy::{ExposeSecret, SecretString};
use tonic::service::interceptor::InterceptedService;

use crate::app::{Bearer, answer, judge};
use crate::postgres::TestDatabase;
use crate::process::{Server, pref};

/// None of these may be in a log: texts, a person, keys.
const SECRETS: [&str; 5] = ["lovelace", "Wistful", "quixotic", "Zephyrs", "umbrella"];

async fn nothing_that_is_secret_is_logged(data_dir: &Path, database: Option<&SecretString>) {
    let log = data_dir.join("log");
    let stderr = Stdio::from(std::fs::File::create(&log).unwrap());
    let server = Server::launch_logging(data_dir, database, &["--require-auth"], ("trace", stderr)).await;
    let mut create = pref();
    create.arg("--data-dir").arg(data_dir).args([
        "keys",
        "create",
        "--scopes",
        "feedback,generate,read,admin",
    ]);
    if let Some(url) = database {
        create.env("PREF_DATABASE_URL", url.expose_secret());
    }
    let key = String::from_utf8(create.output().unwrap().stdout).unwrap().trim().to_owned();
    let wire =
        |key: &str| InterceptedService::new(server.channel.clone(), Bearer::of(&format!("Bearer {key}")));
    let mut client = PersonalizationServiceClient::new(wire(&key));

    let comparison = ("Wistful prompt", "A quixotic response", "Zephyrs");
    client.submit_preference(judge("lovelace", comparison, Outcome::First)).await.unwrap();
    let asked = NextQueryRequest {
        user_id: "lovelace".to_owned(),
        source: Some(next_query_request::Source::Candidates(Candidates {
            prompt: "Wistful prompt".to_owned(),
            responses: vec!["umbrella".to_owned(), "umbrella umbrella".to_owned()],
        })),
        ..Default::default()
    };
    let query = client.next_query(asked).await.unwrap().into_inner().queries.remove(0);
    client.submit_preference(answer("lovelace", &query.query_id, Outcome::Second)).await.unwrap();
    let score = ScoreRequest {
        user_id: "lovelace".to_owned(),
        prompt: "Wistful prompt".to_owned(),
        responses: vec!["umbrella".to_owned()],
        ..Default::default()
    };
    client.score(score).await.unwrap();
    // Refusals, too.
    client
        .submit_preference(judge("lovelace", ("Wistful", "Zephyrs", "Zephyrs"), Outcome::First))
        .await
        .unwrap_err();
    client.submit_preference(answer("lovelace", &query.query_id, Outcome::First)).await.unwrap_err();
    let wrong = format!("{}{}", &key[..key.len() - 1], if key.ends_with('0') { '1' } else { '0' });
    let other = PersonalizationServiceClient::new(wire(&wrong)).score(ScoreRequest::default()).await;
    other.unwrap_err();
    client
        .delete_user(DeleteUserRequest { user_id: "lovelace".to_owned(), ..Default::default() })
        .await
        .unwrap();
    drop(server);

    let log = std::fs::read_to_string(&log).unwrap();
    assert!(log.contains("SubmitPreference"), "the log is there: {log}");
    let secret = &key["pref_".len() + 17..key.len() - 1];
    for secret in SECRETS.iter().chain(&[secret]) {
        let line = log.lines().find(|line| line.contains(secret));
        assert_eq!(line, None, "{secret} is logged");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_text_person_or_key_is_logged_on_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    nothing_that_is_secret_is_logged(folder.path(), None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_text_person_or_key_is_logged_on_postgres() {
    let Some(database) = TestDatabase::create("no_text_person_or_key_is_logged_on_postgres").await else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    nothing_that_is_secret_is_logged(folder.path(), Some(&database.url())).await;
}

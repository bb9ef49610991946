//! `pref keys` beside a server that runs, and commands that call it with a key.

use std::path::Path;
use std::process::Output;

use pref::service::proto::ListPoolsRequest;
use pref::service::proto::candidate_service_client::CandidateServiceClient;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use tonic::Code;
use tonic::service::interceptor::InterceptedService;

use crate::app::{Bearer, refusal};
use crate::postgres::TestDatabase;
use crate::process::{Server, pref};

fn keys(data_dir: &Path, database: Option<&SecretString>, arguments: &[&str]) -> Output {
    let mut command = pref();
    command.arg("--data-dir").arg(data_dir).arg("keys").args(arguments);
    if let Some(url) = database {
        command.env("PREF_DATABASE_URL", url.expose_secret());
    }
    command.output().unwrap()
}

fn told(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

async fn from_its_making_to_its_end(data_dir: &Path, database: Option<&SecretString>) {
    let settings = ["--require-auth", "--key-cache-seconds", "0"];
    let server = Server::launch(data_dir, database, &settings).await;
    let create =
        ["create", "--scopes", "read,train,feedback,generate", "--label", "for the test", "--expires", "1d"];
    let key = told(&keys(data_dir, database, &create));
    let key = key.trim();
    assert!(key.starts_with("pref_") && !key.contains(char::is_whitespace), "{key:?}");

    let bearer = Bearer::of(&format!("Bearer {key}"));
    let mut client = CandidateServiceClient::new(InterceptedService::new(server.channel.clone(), bearer));
    assert_eq!(client.list_pools(ListPoolsRequest::default()).await.unwrap().into_inner().pools, []);

    let pool = data_dir.join("pool.jsonl");
    std::fs::write(&pool, "{\"prompt\": \"On tea:\", \"responses\": [\"Short.\", \"Rather longer.\"]}\n")
        .unwrap();
    let import = |key: Option<&str>| {
        let mut command = pref();
        command.args(["import", "candidates", "--pool", "tea", "--server", &server.address]).arg(&pool);
        command.envs(key.map(|key| ("PREF_API_KEY", key)));
        command.output().unwrap()
    };
    let refused = String::from_utf8(import(None).stderr).unwrap();
    assert!(refused.contains("CREDENTIAL_MISSING"), "{refused}");
    assert!(told(&import(Some(key))).contains("pool tea"));
    let asked = pref().args(["ask", "--user", "ada", "--server", &server.address, "--api-key", key]).output();
    assert!(told(&asked.unwrap()).contains("1 of 10"));

    let listed: Value = serde_json::from_str(&told(&keys(data_dir, database, &["list", "--json"]))).unwrap();
    assert_eq!((&listed[0]["label"], &listed[0]["tenant"]), (&"for the test".into(), &"default".into()));
    assert_eq!(listed[0]["scopes"], "read,feedback,generate,train");
    assert!(!listed.to_string().contains(key) && listed[0]["expires_unix_ms"].is_i64(), "{listed}");
    let id = listed[0]["id"].as_str().unwrap();
    assert!(told(&keys(data_dir, database, &["list"])).contains("active"));
    told(&keys(data_dir, database, &["revoke", id]));
    assert!(told(&keys(data_dir, database, &["list", "--tenant", "default"])).contains("revoked"));
    assert_eq!(told(&keys(data_dir, database, &["list", "--tenant", "other"])), "");
    let refused = client.list_pools(ListPoolsRequest::default()).await;
    assert_eq!(refusal(refused), (Code::Unauthenticated, "API_KEY_REVOKED".to_owned()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_from_its_making_to_its_end_on_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    from_its_making_to_its_end(folder.path(), None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_from_its_making_to_its_end_on_postgres() {
    let test = "a_key_from_its_making_to_its_end_on_postgres";
    let Some(database) = TestDatabase::create(test).await else { return };
    let folder = tempfile::tempdir().unwrap();
    from_its_making_to_its_end(folder.path(), Some(&database.url())).await;
}

#[test]
fn what_cannot_be_taken_is_named() {
    let folder = tempfile::tempdir().unwrap();
    for (arguments, part) in [
        (&["create", "--scopes", "write"][..], "read,feedback,generate,train,admin"),
        (&["create"], "--scopes"),
        (&["create", "--scopes", "read", "--expires", "soon"], "90d"),
        (&["create", "--scopes", "read", "--tenant", " "], "tenant"),
        (&["revoke", "nothing"], "pref keys list"),
    ] {
        let output = keys(folder.path(), None, arguments);
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && told.contains(part), "{arguments:?}: {told}");
    }
    let serve = pref()
        .args(["serve", "--listen", "0.0.0.0:0"])
        .arg("--data-dir")
        .arg(folder.path())
        .output()
        .unwrap();
    let told = String::from_utf8(serve.stderr).unwrap();
    assert!(
        !serve.status.success() && told.contains("pref keys create") && told.contains("--require-auth"),
        "{told}"
    );
}

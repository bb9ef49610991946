//! The real binary: what it has acknowledged survives its being killed.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use pref::service::proto::personalization_service_client::PersonalizationServiceClient;
use pref::service::proto::*;
use secrecy::{ExposeSecret, SecretString};
use tonic::transport::{Channel, Endpoint};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::app::judge;
use crate::artifact;
use crate::postgres::TestDatabase;

/// How often the server is killed, each time in the middle of answers.
const KILLS: usize = 3;

/// `pref serve` as a process of its own, killed with this value.
pub(crate) struct Server {
    process: Child,
    pub(crate) address: String,
    /// Where it shows metrics, if it does.
    pub(crate) metrics: Option<String>,
    pub(crate) channel: Channel,
}

impl Server {
    pub(crate) async fn start(data_dir: &Path, database: Option<&SecretString>) -> Self {
        Self::launch(data_dir, database, &[]).await
    }

    /// Beside another server, which says which model serves.
    pub(crate) async fn beside(data_dir: &Path, database: &SecretString) -> Self {
        Self::spawn(data_dir, Some(database), &[], ("warn", Stdio::inherit())).await
    }

    /// With settings of its own; of every address that it listens on it tells in a line.
    pub(crate) async fn launch(data_dir: &Path, database: Option<&SecretString>, settings: &[&str]) -> Self {
        Self::launch_logging(data_dir, database, settings, ("warn", Stdio::inherit())).await
    }

    /// With a log of its own: what is logged, and where to.
    pub(crate) async fn launch_logging(
        data_dir: &Path,
        database: Option<&SecretString>,
        settings: &[&str],
        log: (&str, Stdio),
    ) -> Self {
        let location = artifact::location().to_string_lossy();
        let model = ["--model", &*location];
        let given: &[&str] = if settings.contains(&"--model") { &[] } else { &model };
        Self::spawn(data_dir, database, &[given, settings].concat(), log).await
    }

    async fn spawn(
        data_dir: &Path,
        database: Option<&SecretString>,
        settings: &[&str],
        (filter, log): (&str, Stdio),
    ) -> Self {
        let mut command = pref();
        command.arg("--data-dir").arg(data_dir).args(["serve", "--listen", "127.0.0.1:0", "--log", filter]);
        command.stderr(log);
        command.args(["--job-lease-seconds", "1"]);
        if let Some(url) = database {
            command.env("PREF_DATABASE_URL", url.expose_secret());
        }
        let mut process = command.args(settings).stdout(Stdio::piped()).spawn().expect("the binary starts");
        let output = process.stdout.take().expect("its output is piped");
        let mut lines = BufReader::new(output).lines();
        let mut told = |words: &str| {
            let line = lines.next().expect("it says where it listens").unwrap();
            line.strip_prefix(words).unwrap_or_else(|| panic!("it said {line:?}")).to_owned()
        };
        let address = told("listening on ");
        let metrics = settings.contains(&"--metrics-listen").then(|| told("metrics on "));
        let channel = Endpoint::try_from(format!("http://{address}")).unwrap().connect_lazy();
        let server = Self { process, address, metrics, channel };
        server.until_serving().await;
        server
    }

    async fn until_serving(&self) {
        let request = HealthCheckRequest { service: "pref.v1.PersonalizationService".to_owned() };
        let mut changes = HealthClient::new(self.channel.clone()).watch(request).await.unwrap().into_inner();
        while let Some(change) = changes.message().await.unwrap() {
            if change.status() == ServingStatus::Serving {
                return;
            }
        }
        panic!("the server stopped before it served");
    }

    pub(crate) fn client(&self) -> PersonalizationServiceClient<Channel> {
        PersonalizationServiceClient::new(self.channel.clone())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // SIGKILL.
        self.process.kill().expect("the server can be killed");
        self.process.wait().expect("the server ends");
    }
}

/// The binary, without the settings of whoever runs the tests.
pub(crate) fn pref() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pref"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("PREF_")) {
        command.env_remove(name);
    }
    command
}

/// Answers until the server is killed under it; returns how many were acknowledged.
async fn answer_until_killed(server: Server, from: usize) -> usize {
    let mut client = server.client();
    let mut killer = Some(server);
    let mut acknowledged = from;
    loop {
        let response = format!("answer {acknowledged} {}", "word ".repeat(acknowledged % 7));
        let request = judge("ada", ("x", &response, "Few."), Outcome::First);
        if acknowledged == from + 5 {
            // In flight while the process dies; it may or may not be on disk.
            let in_flight = tokio::spawn({
                let mut client = client.clone();
                async move { client.submit_preference(request).await }
            });
            tokio::task::yield_now().await;
            drop(killer.take());
            return acknowledged + usize::from(in_flight.await.unwrap().is_ok());
        }
        client.submit_preference(request).await.expect("the server answers until it is killed");
        acknowledged += 1;
    }
}

async fn killed_under_answers(data_dir: &Path, database: Option<&SecretString>) {
    let mut logged = 0;
    for _ in 0..KILLS {
        let server = Server::start(data_dir, database).await;
        let acknowledged = answer_until_killed(server, logged).await;

        let server = Server::start(data_dir, database).await;
        let request = GetUserRequest { user_id: "ada".to_owned(), min_revision: acknowledged as u64 };
        let profile = server.client().get_user(request).await.unwrap().into_inner().profile.unwrap();
        logged = usize::try_from(profile.revision).unwrap();
        assert!(logged == acknowledged || logged == acknowledged + 1, "{logged} {acknowledged}");
        let request = ListPreferencesRequest { user_id: "ada".to_owned(), ..Default::default() };
        let log = server.client().list_preferences(request).await.unwrap().into_inner().preferences;
        assert_eq!(log.len(), logged);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_server_has_lost_no_acknowledged_answer_on_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    killed_under_answers(folder.path(), None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_server_has_lost_no_acknowledged_answer_on_postgres() {
    let Some(database) =
        TestDatabase::create("a_killed_server_has_lost_no_acknowledged_answer_on_postgres").await
    else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    killed_under_answers(folder.path(), Some(&database.url())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_and_exit_codes_tell_whether_it_serves() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), None).await;
    let taken =
        pref().arg("--data-dir").arg(folder.path()).arg("serve").arg("--listen").arg("127.0.0.1:0").output();
    let taken = taken.unwrap();
    assert!(!taken.status.success());
    assert!(String::from_utf8_lossy(&taken.stderr).contains("in use by another process"), "{taken:?}");
    let doctor =
        pref().arg("--data-dir").arg(folder.path()).args(["doctor", "--listen", "127.0.0.1:0"]).output();
    let doctor = doctor.unwrap();
    assert!(!doctor.status.success());
    let told = String::from_utf8_lossy(&doctor.stdout);
    assert!(told.contains("FAILED  database: a server runs here already"), "{told}");
    for address in [server.address.clone(), format!("http://{}", server.address)] {
        let health = pref().args(["health", "--server", &address]).output().unwrap();
        assert!(health.status.success(), "{address}: {health:?}");
    }
    drop(server);

    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let port =
        pref().arg("--data-dir").arg(folder.path()).args(["serve", "--listen", &address]).output().unwrap();
    assert!(!port.status.success());
    assert!(String::from_utf8_lossy(&port.stderr).contains("cannot listen on"), "{port:?}");
    drop(listener);

    let health = pref().args(["health", "--address", &address]).output().unwrap();
    assert!(!health.status.success());
    assert!(String::from_utf8_lossy(&health.stderr).contains("cannot reach"), "{health:?}");

    let away = "postgres://nobody@127.0.0.1:1/none";
    let away =
        pref().args(["serve", "--database-url", away, "--database-acquire-seconds", "1"]).output().unwrap();
    assert!(!away.status.success());
    assert!(String::from_utf8_lossy(&away.stderr).contains("the database is not available"), "{away:?}");
}

#[test]
fn a_damaged_model_is_refused_by_name_of_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("model");
    std::fs::create_dir(&model).unwrap();
    for file in std::fs::read_dir(artifact::location()).unwrap() {
        let file = file.unwrap();
        if file.file_type().unwrap().is_file() {
            std::fs::copy(file.path(), model.join(file.file_name())).unwrap();
        }
    }
    let head = model.join("head.safetensors");
    let bytes = std::fs::read(&head).unwrap();
    std::fs::write(&head, &bytes[..bytes.len() / 2]).unwrap();
    let served = pref()
        .arg("--data-dir")
        .arg(folder.path())
        .args(["serve", "--listen", "127.0.0.1:0", "--model"])
        .arg(&model)
        .output()
        .unwrap();
    assert!(!served.status.success());
    let told = String::from_utf8_lossy(&served.stderr);
    assert!(told.contains("head.safetensors") && told.contains("sha256"), "{told}");
}

//! The real binary: what it has acknowledged survives its being killed.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

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

/// How often the server is killed, each time in the middle of answers; PREF_KILLS says otherwise.
const KILLS: usize = 3;
/// People who answer at once.
const PEOPLE: usize = 8;
/// Lines of a log that are asked for.
const PAGE: u32 = 1000;
/// Longer than any number of answers here takes.
const PATIENCE: Duration = Duration::from_secs(60);

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

fn person(index: usize) -> String {
    format!("person {index}")
}

/// Everybody answers until the server is killed under them, once so many answers were acknowledged; returns how many of each
/// person's there are.
async fn answer_until_killed(server: Server, mut logged: [usize; PEOPLE], enough: usize) -> [usize; PEOPLE] {
    let acknowledged = Arc::new(AtomicUsize::new(0));
    let people = logged.map({
        let (client, acknowledged) = (server.client(), acknowledged.clone());
        let mut index = 0..;
        move |from| {
            let (mut client, acknowledged) = (client.clone(), acknowledged.clone());
            let user = person(index.next().expect("there is no end"));
            tokio::spawn(async move {
                for answers in from.. {
                    let response = format!("answer {answers} {}", "word ".repeat(answers % 7));
                    let request = judge(&user, ("x", &response, "Few."), Outcome::First);
                    // That which is in flight while the process dies may or may not be on disk.
                    if client.submit_preference(request).await.is_err() {
                        return answers;
                    }
                    acknowledged.fetch_add(1, Ordering::Relaxed);
                }
                unreachable!("answers do not end")
            })
        }
    });
    let begun = Instant::now();
    while acknowledged.load(Ordering::Relaxed) < enough {
        assert!(begun.elapsed() < PATIENCE, "the server answers until it is killed");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    drop(server);
    for (logged, person) in logged.iter_mut().zip(people) {
        *logged = person.await.unwrap();
    }
    logged
}

async fn killed_under_answers(data_dir: &Path, database: Option<&SecretString>) {
    let kills =
        std::env::var("PREF_KILLS").map_or(KILLS, |given| given.parse().expect("PREF_KILLS: a number"));
    let mut logged = [0; PEOPLE];
    let mut in_flight = 0;
    for kill in 0..kills {
        let server = Server::start(data_dir, database).await;
        let acknowledged = answer_until_killed(server, logged, 50 + 13 * (kill % 10)).await;

        let server = Server::start(data_dir, database).await;
        // Of whom nothing was acknowledged the server need not have heard.
        for (index, acknowledged) in acknowledged.into_iter().enumerate().filter(|(_, answers)| *answers > 0)
        {
            let request = GetUserRequest { user_id: person(index), min_revision: acknowledged as u64 };
            let profile = server.client().get_user(request).await.unwrap().into_inner().profile.unwrap();
            logged[index] = usize::try_from(profile.revision).unwrap();
            in_flight += logged[index] - acknowledged;
            assert!(logged[index] <= acknowledged + 1, "{}: {} {acknowledged}", person(index), logged[index]);
            let listed = server.client().list_preferences(list(index)).await.unwrap().into_inner();
            assert_eq!(listed.preferences.len(), logged[index].min(PAGE as usize));
        }
    }
    let answers: usize = logged.iter().sum();
    println!(
        "{kills} kills, {answers} answers on disk, {in_flight} of them in flight when the server was killed, 0 lost"
    );
}

/// The first page of a person's log.
fn list(index: usize) -> ListPreferencesRequest {
    ListPreferencesRequest { user_id: person(index), page_size: PAGE, ..Default::default() }
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

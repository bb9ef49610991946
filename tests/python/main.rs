//! The Python client against the real server: its types, its example of the whole loop, a reflection client.
//!
//! `make test` brings the interpreter (tests/support/python.sh) and names it in PREF_TEST_PYTHON.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::json;

#[path = "../support/shared_model.rs"]
mod shared_model;
#[path = "../support/skip.rs"]
mod skip;

#[test]
fn the_python_client_type_checks() {
    let Some(python) = python("the_python_client_type_checks") else { return };
    let cache = tempfile::tempdir().unwrap();
    let check = |arguments: &[&str]| {
        let mut mypy = Command::new(&python);
        mypy.args(["-m", "mypy", "--cache-dir"]).arg(cache.path()).args(arguments);
        succeed(mypy.current_dir(root("clients/python")))
    };
    check(&[]);
    check(&["examples/loop.py"]);
}

#[test]
fn the_python_example_runs_the_whole_loop() {
    let Some(python) = python("the_python_example_runs_the_whole_loop") else { return };
    let server = Server::start();
    let mut example = Command::new(&python);
    example.arg(root("clients/python/examples/loop.py")).args(["--target", &server.address]);
    let output = succeed(&mut example);

    let questions = output.lines().filter(|line| line.contains(": question ")).count();
    assert_eq!(questions, 20, "ten questions to each of two people:\n{output}");
    let answer_to = |name: &str| {
        let (_, answers) = output.split_once("anyone: ").expect("the answers come last");
        let line = answers.lines().find(|line| line.starts_with(name));
        line.unwrap_or_else(|| panic!("no answer to {name}:\n{output}")).to_owned()
    };
    let (short, thorough) = (answer_to("sam-"), answer_to("thea-"));
    assert!(short.len() < thorough.len(), "who likes it short got the longer answer:\n{output}");
}

#[test]
fn a_reflection_client_lists_the_services_and_their_methods() {
    let Some(python) = python("a_reflection_client_lists_the_services_and_their_methods") else { return };
    let server = Server::start();
    let mut client = Command::new(&python);
    let listed = succeed(client.arg(root("tests/python/reflection.py")).arg(&server.address));
    for method in [
        "pref.v1.PersonalizationService/SubmitPreference",
        "pref.v1.CandidateService/ImportCandidates",
        "pref.v1.TrainingService/Train",
        "grpc.health.v1.Health/Check",
    ] {
        assert!(listed.lines().any(|line| line == method), "{method} is not among:\n{listed}");
    }
}

#[test]
fn the_python_client_retries_with_the_same_request_id() {
    let Some(python) = python("the_python_client_retries_with_the_same_request_id") else { return };
    succeed(Command::new(python).arg(root("tests/python/retries.py")));
}

#[test]
fn the_python_client_trains_watches_and_cancels() {
    let Some(python) = python("the_python_client_trains_watches_and_cancels") else { return };
    let server = Server::start();
    let mut client = Command::new(python);
    succeed(client.arg(root("tests/python/training.py")).arg(&server.address).arg(server.judgments()));
}

/// The two clients that most chat products have, unchanged.
#[test]
fn openais_client_and_langchains_work_with_another_base_url() {
    let test = "openais_client_and_langchains_work_with_another_base_url";
    let Some(python) = python(test) else { return };
    let Some(story) = shared_model::shared_model(test, "babyllama") else { return };
    let generator = format!("story=local:{}", story.display());
    let server = Server::with(&["--http-listen", "127.0.0.1:0", "--generator", &generator]);
    let base_url = server.told("chat completions on ");
    succeed(Command::new(python).arg(root("tests/python/chat.py")).arg(base_url));
}

/// `pref serve` on a free port, with a model of people who differ in how long they like an answer.
struct Server {
    process: Child,
    address: String,
    told: Vec<String>,
    folder: tempfile::TempDir,
}

impl Server {
    fn start() -> Self {
        Self::with(&[])
    }

    /// With settings of an address each, which it tells in a line after the first.
    fn with(settings: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (data, model) = (folder.path().join("data.jsonl"), folder.path().join("model"));
        std::fs::write(&data, judgments()).unwrap();
        let train = ["train", "--base-functions", "4", "--data"];
        succeed(pref(folder.path()).args(train).arg(&data).arg("--output").arg(&model));

        let mut serve = pref(folder.path());
        serve.args(["serve", "--listen", "127.0.0.1:0", "--log", "warn", "--model"]).arg(&model);
        let mut process = serve.args(settings).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let addresses = settings.iter().filter(|setting| setting.ends_with("-listen")).count();
        let told: Vec<_> = lines.take(1 + addresses).map(Result::unwrap).collect();
        let address = told[0].strip_prefix("listening on ").unwrap_or_else(|| panic!("it said {told:?}"));
        let server = Self { process, address: address.to_owned(), told, folder };
        for _ in 0..600 {
            let service = ["--service", "pref.v1.PersonalizationService"];
            let health = pref(server.folder.path())
                .args(["health", "--address", &server.address])
                .args(service)
                .output();
            if health.unwrap().status.success() {
                return server;
            }
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
        panic!("the server does not become healthy");
    }

    /// The lines that its model was trained on.
    fn judgments(&self) -> PathBuf {
        self.folder.path().join("data.jsonl")
    }

    /// What it said after these words.
    fn told(&self, words: &str) -> &str {
        let line = self.told.iter().find_map(|line| line.strip_prefix(words));
        line.unwrap_or_else(|| panic!("it said {:?}", self.told))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// 40 people with 30 judgments each: half of them like the longer answer.
fn judgments() -> String {
    let sentences = [
        "Start small and see how it goes.",
        "It helps to plan the evening before!",
        "Take a walk, drink some water, and come back with a fresh mind.",
        "Perhaps one could ask a friend who has done it, since experience is worth a great deal.",
        "Write it down.",
        "Honestly, I would just try it and have fun!",
    ];
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let mut lines = String::new();
    for line in 0..1200 {
        let (person, prompt) = (line % 40, rng.random_range(0..20));
        let mut answer = || -> String {
            let count = rng.random_range(1..=8);
            let chosen: Vec<_> =
                (0..count).map(|_| sentences[rng.random_range(0..sentences.len())]).collect();
            chosen.join(" ")
        };
        let (a, b) = (answer(), answer());
        let likes_long = person % 2 == 0;
        let preference = if a.len() == b.len() { 0.5 } else { f64::from((a.len() > b.len()) == likes_long) };
        let line = json!({
            "user_id": format!("person {person}"),
            "prompt": format!("How do I get better at hobby {prompt}?"),
            "response_a": a,
            "response_b": b,
            "preference": preference,
        });
        lines += &format!("{line}\n");
    }
    lines
}

fn pref(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pref"));
    command.env("PREF_DATA_DIR", folder).stdin(Stdio::null());
    command
}

/// The interpreter that `make test` prepared.
fn python(test: &str) -> Option<PathBuf> {
    let python = std::env::var_os("PREF_TEST_PYTHON").map(PathBuf::from);
    if python.is_none() {
        skip::skip(test, "PREF_TEST_PYTHON names no interpreter; `make test` prepares one");
    }
    python
}

fn root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// What a command that must succeed wrote to standard output.
fn succeed(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert!(status.success(), "{command:?}: {status}\n{stdout}\n{stderr}");
    stdout.into_owned()
}

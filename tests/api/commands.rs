//! `pref ask` and `pref import` beside a server that runs.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tempfile::TempDir;

use crate::process::{Server, pref};

/// Whether it succeeded, standard output, standard error.
type Told = (bool, String, String);

impl Server {
    /// Runs a command with `input` typed into it.
    fn run(&self, arguments: &[&str], input: &str) -> Told {
        let mut command = pref();
        command.args(arguments).args(["--server", &self.address]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = command.spawn().expect("the binary starts");
        let written = process.stdin.take().expect("its input is piped").write_all(input.as_bytes());
        let output = process.wait_with_output().expect("the binary ends");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("the command line speaks UTF-8");
        let (told, error) = (text(output.stdout), text(output.stderr));
        // A command that is refused reads nothing.
        assert!(written.is_ok() || !output.status.success(), "{told}{error}");
        (output.status.success(), told, error)
    }

    fn succeeds(&self, arguments: &[&str], input: &str) -> String {
        let (succeeded, told, error) = self.run(arguments, input);
        assert!(succeeded, "{told}{error}");
        told
    }

    fn fails(&self, arguments: &[&str]) -> String {
        let (succeeded, told, error) = self.run(arguments, "");
        assert!(!succeeded && told.is_empty(), "{told}{error}");
        error
    }
}

fn file(folder: &TempDir, name: &str, lines: &[serde_json::Value]) -> PathBuf {
    let path = folder.path().join(name);
    std::fs::write(&path, lines.iter().map(|line| format!("{line}\n")).collect::<String>()).unwrap();
    path
}

fn text(path: &Path) -> &str {
    path.to_str().expect("temporary folders have plain names")
}

/// A pool of one pair.
fn tea() -> serde_json::Value {
    serde_json::json!({ "prompt": "On tea:", "responses": ["Short.", "A few more words than that are said here."] })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_pair_is_enough_to_be_asked_and_answered() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), None).await;
    let pool = file(&folder, "pool.jsonl", &[tea()]);
    server.succeeds(&["import", "candidates", text(&pool), "--pool", "tea"], "");

    let told = server.succeeds(&["ask", "--user", "ada"], "a\n");
    for part in [
        "and Enter",
        "1 of 10",
        "nothing left to ask",
        "ada after 1 answer,",
        "For you",
        "For the average person",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    // Nothing is asked the second time; the prompt is one that she has judged.
    let told = server.succeeds(&["ask", "--user", "ada"], "");
    assert!(!told.contains("1 of 10") && told.contains("On tea:\n\n  For you"), "{told}");
    // An open question is an end, too.
    let told = server.succeeds(&["ask", "--user", "bob"], "q\n");
    assert!(told.contains("bob after 0 answers, 100 %") && told.contains("more than a guess"), "{told}");
    let told = server.succeeds(&["ask", "--user", "bob"], "");
    assert!(told.contains("nothing left to ask") && told.contains("--prompt PROMPT"), "{told}");

    let refused = server.fails(&["ask", "--user", "cleo", "--prompt", "On rain:"]);
    assert!(refused.contains("--prompt \"On rain:\"") && refused.contains("PROMPT_NOT_IN_POOL"), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn candidates_are_imported_once_and_bad_lines_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), None).await;
    let (judgments, synthetic) =
        (folder.path().join("judgments.jsonl.gz"), folder.path().join("pool.jsonl.gz"));
    let made = pref()
        .args(["synth", "attributes", "--users", "3", "--pairs", "40", "--json"])
        .args(["--output", text(&judgments), "--pool", text(&synthetic)])
        .output()
        .unwrap();
    let made: serde_json::Value = serde_json::from_slice(&made.stdout).unwrap();
    let import = ["import", "candidates", text(&synthetic), "--pool", "synthetic", "--json"];
    let imported: serde_json::Value = serde_json::from_str(&server.succeeds(&import, "")).unwrap();
    assert_eq!((&imported["rows"], &imported["imported_responses"]), (&made["prompts"], &made["responses"]));
    assert_eq!(imported["pools"][0]["name"], "synthetic");
    let again: serde_json::Value = serde_json::from_str(&server.succeeds(&import, "")).unwrap();
    assert_eq!((&again["imported_responses"], &again["pools"]), (&0.into(), &imported["pools"]));

    let nameless = file(&folder, "nameless.jsonl", &[tea()]);
    let refused = server.fails(&["import", "candidates", text(&nameless)]);
    assert!(
        refused.contains("nameless.jsonl:1: pool: got nothing; allowed: a pool on the line, or --pool"),
        "{refused}"
    );
    // Found before anything is sent.
    let bad = file(&folder, "bad.jsonl", &[tea(), serde_json::json!({ "prompt": "On rain:" })]);
    let refused = server.fails(&["import", "candidates", text(&bad), "--pool", "bad"]);
    assert!(refused.contains("bad.jsonl:2: responses: got nothing"), "{refused}");
    let (asked, _, none) = server.run(&["ask", "--user", "ada", "--pool", "bad"], "");
    assert!(!asked && none.contains("POOL_NOT_FOUND"), "{none}");
    // The server's own limits.
    let many: Vec<String> = (0..257).map(|i| i.to_string()).collect();
    let many = serde_json::json!({ "pool": "many", "prompt": "On rain:", "responses": many });
    let many = file(
        &folder,
        "many.jsonl",
        &[serde_json::json!({ "pool": "many", "prompt": "x", "responses": ["y"] }), many],
    );
    let refused = server.fails(&["import", "candidates", text(&many)]);
    assert!(refused.contains("many.jsonl:2: responses: got 257"), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn judgments_are_imported_once_and_equal_texts_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), None).await;
    let line = |user: &str, b: &str| serde_json::json!({ "user_id": user, "prompt": "x", "response_a": "a", "response_b": b, "preference": 1 });
    let data = file(&folder, "data.jsonl", &[line("u", "b"), line("v", "a"), line("v", "b")]);
    let import = ["import", "preferences", text(&data), "--dataset", "mine"];
    let told = server.succeeds(&import, "");
    assert!(told.contains("dataset mine: 2 new judgments, 0 were there already"), "{told}");
    assert!(told.contains("1 lines compare a text with itself"), "{told}");
    let told = server.succeeds(&import, "");
    assert!(told.contains("0 new judgments, 2 were there already"), "{told}");
    // The first reply again, whatever has happened since.
    let id = "5b0e9d3e-3f8f-4c55-9d0e-0f4e0f6c1b11";
    let with_id = ["import", "preferences", text(&data), "--dataset", "other", "--request-id", id];
    assert_eq!(server.succeeds(&with_id, ""), server.succeeds(&with_id, ""));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_exported_can_be_imported() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), None).await;
    let pool = file(&folder, "pool.jsonl", &[tea()]);
    server.succeeds(&["import", "candidates", text(&pool), "--pool", "tea"], "");
    server.succeeds(&["ask", "--user", "ada"], "b\n");
    let told = server.succeeds(&["export", "user", "ada"], "");
    let lines: Vec<serde_json::Value> =
        told.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let kinds: Vec<_> = lines.iter().map(|line| line["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["profile", "preference", "question"]);
    assert_eq!((&lines[1]["outcome"], &lines[1]["preference"]), (&"SECOND".into(), &0.0.into()));
    assert_eq!((&lines[1]["prompt"], &lines[1]["user_id"]), (&"On tea:".into(), &"ada".into()));
    assert!(lines[1]["create_time"].as_str().unwrap().ends_with('Z'), "{}", lines[1]);

    let judgments = server.succeeds(&["export", "user", "ada", "--judgments"], "");
    let judgments = file(&folder, "judgments.jsonl", &[serde_json::from_str(judgments.trim()).unwrap()]);
    let told = server.succeeds(&["import", "preferences", text(&judgments), "--dataset", "again"], "");
    assert!(told.contains("1 new judgments"), "{told}");
    let refused = server.fails(&["export", "user", "nobody"]);
    assert!(refused.contains("USER_NOT_FOUND"), "{refused}");
}

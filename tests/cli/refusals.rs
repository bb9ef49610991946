//! What is refused, how soon, and in which words; and what becomes of output that nobody reads.

use std::process::Stdio;

use crate::{command, fails, succeeds, text};

#[test]
fn an_error_says_its_cause_once() {
    let folder = tempfile::tempdir().unwrap();
    let nowhere = folder.path().join("nowhere.jsonl");
    let output = folder.path().join("model");
    let told = fails(&["train", "--data", text(&nowhere), "--output", text(&output)]);
    let expected = "cannot be opened: No such file or directory (os error 2)\n";
    assert_eq!(told, format!("error: {}: {expected}", nowhere.display()));

    let bad = folder.path().join("bad.jsonl");
    let line = r#"{"user_id": "u", "prompt": "x", "response_a": "a", "response_b": "b", "preference": 2}"#;
    std::fs::write(&bad, line).unwrap();
    let told = fails(&["train", "--data", text(&bad), "--output", text(&output)]);
    assert!(told.starts_with(&format!("error: {}:1: preference: got 2; allowed: ", bad.display())), "{told}");
    assert_eq!(told.matches("got 2").count(), 1, "{told}");
    assert!(!output.exists(), "data are read before anything is made");

    let data = ["--data-dir", text(folder.path())];
    let away = ["migrate", "--database-url", "postgres://nobody@127.0.0.1:1/none"];
    let told = fails(&[&data[..], &away, &["--database-acquire-seconds", "1"]].concat());
    assert_eq!(told.matches("Connection refused").count(), 1, "{told}");

    let told = fails(&[&data[..], &["serve", "--listen", "127.0.0.1:0", "--log", "pref=loud"]].concat());
    let start = "error: log filter: got \"pref=loud\": ";
    let cause = told.strip_prefix(start).unwrap_or_else(|| panic!("{told}")).split(';').next().unwrap();
    assert_eq!(told.matches(cause).count(), 1, "{told}");
}

#[test]
fn output_that_nobody_reads_ends_the_command_quietly() {
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("input.jsonl");
    std::fs::write(&input, "{\"text\": \"word\"}\n").unwrap();
    for arguments in [&["config-check", "--json"][..], &["embed", "--backbone", "lexical"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let input = std::fs::File::open(&input).unwrap();
        let child = command(arguments).stdin(input).stdout(writer).stderr(Stdio::piped()).spawn().unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{arguments:?}");
        assert_eq!(output.status.code(), Some(141), "{arguments:?}");
    }
}

#[test]
fn settings_that_cannot_be_had_are_refused_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let nowhere = folder.path().join("nowhere");
    let with_model = ["--listen", "127.0.0.1:0", "--model", text(&nowhere)];
    let data = ["--data-dir", text(folder.path())];
    for command in ["serve", "config-check"] {
        let told = fails(&[&data[..], &[command], &with_model].concat());
        assert!(told.starts_with("error: model: got "), "{told}");
    }
    let told = fails(&["ask", "--user", "me", "--questions", "0"]);
    assert!(told.contains("1..=1000"), "{told}");
    assert!(fails(&["ask", "--user", "me", "--server", "ftp://here"]).starts_with("error: server: got "));
}

#[test]
fn a_place_that_cannot_be_written_is_refused_before_the_training() {
    let folder = tempfile::tempdir().unwrap();
    let (data, model) = (folder.path().join("data.jsonl"), folder.path().join("model"));
    succeeds(&["synth", "attributes", "--users", "4", "--pairs", "20", "--output", text(&data)]);
    let occupied = folder.path().join("occupied");
    std::fs::write(&occupied, "not a directory").unwrap();
    let told = fails(&["train", "--data", text(&data), "--output", text(&occupied)]);
    assert!(told.starts_with("error: cannot write to the directory "), "{told}");
    let json = folder.path().join("nowhere/figures.json");
    let told = fails(&["train", "--data", text(&data), "--output", text(&model), "--json", text(&json)]);
    assert!(told.starts_with("error: --json "), "{told}");
    assert!(!model.exists());
}

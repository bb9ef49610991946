//! `pref train --tune`.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::made_decoder::made_decoder;
use crate::train::{judgments, train, write};
use crate::{command, fails, succeeds, text};

const SETTINGS: [&str; 10] =
    ["--tune", "lora", "--rank", "2", "--epochs", "4", "--batch", "2", "--every", "1"];

fn manifest(model: &Path) -> Value {
    serde_json::from_slice(&fs::read(model.join("manifest.json")).unwrap()).unwrap()
}

/// Killed in the midst of it, whenever that is, the same command goes on and writes the same files as a training that
/// nothing stopped; and what it writes scores, describes and is evaluated as other models are.
#[test]
fn a_killed_training_goes_on_to_the_same_files() {
    let folder = tempfile::tempdir().unwrap();
    let backbone = folder.path().join("decoder");
    fs::create_dir(&backbone).unwrap();
    made_decoder(&backbone);
    let data = write(&folder, "judgments.jsonl", &judgments(8));
    let (through, killed) = (folder.path().join("through"), folder.path().join("killed"));
    let settings = [&["--backbone", text(&backbone)], &SETTINGS[..]].concat();
    let figures = folder.path().join("figures.json");
    let table = train(&data, &through, &[&settings[..], &["--json", text(&figures)]].concat());
    assert!(table.contains("Tuned (lora)"), "{table}");
    assert!(!through.join("checkpoint").exists(), "the model is there, its checkpoint is not needed");
    let figures: Value = serde_json::from_slice(&fs::read(figures).unwrap()).unwrap();
    let curve = figures["tuning"]["curve"].as_array().unwrap();
    assert_eq!(curve.len() as u64, figures["tuning"]["steps"].as_u64().unwrap() + 1);
    assert!(curve[1]["loss"].is_number() && curve[1]["validation_auc"].is_number(), "{}", curve[1]);

    let fixed = ["train", "--data", text(&data), "--output", text(&killed), "--base-functions", "2"];
    let mut child = command(&[&fixed[..], &settings].concat())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    // It has kept what it had after the first step once it tells of the second.
    let mut told = BufReader::new(child.stderr.take().expect("a pipe")).lines().map_while(Result::ok);
    assert!(told.any(|line| line.starts_with("step 2 ")), "it ended early");
    child.kill().unwrap();
    child.wait().unwrap();
    let state = killed.join("checkpoint").join("state.safetensors");
    assert!(state.exists() && !killed.join("manifest.json").exists(), "killed after the first checkpoint");
    let other = [&fixed[..], &settings, &["--learning-rate", "0.5"]].concat();
    let error = fails(&other);
    assert!(error.contains("learning_rate was 0.001 and is 0.5") && error.contains("--fresh"), "{error}");
    train(&data, &killed, &settings);

    let (mut one, mut two) = (manifest(&through), manifest(&killed));
    assert_eq!(
        (&one["kind"], &one["files"]),
        (&json!("lora"), &two["files"]),
        "the same bytes in every file"
    );
    assert!(one["files"]["adapter.safetensors"].is_string());
    one["created_unix_ms"].take();
    two["created_unix_ms"].take();
    assert_eq!(one, two);

    succeeds(&["describe", "--model", text(&through)]);
    let mut strangers = judgments(8);
    for line in &mut strangers {
        line["user_id"] = json!(format!("other {}", line["user_id"].as_str().unwrap()));
    }
    let strangers = write(&folder, "strangers.jsonl", &strangers);
    let curves = folder.path().join("curves.json");
    succeeds(&[
        "evaluate",
        "--data",
        text(&strangers),
        "--model",
        text(&through),
        "--answers",
        "0,5",
        "--seeds",
        "1",
        "--json",
        text(&curves),
    ]);
    let curves: Value = serde_json::from_slice(&fs::read(curves).unwrap()).unwrap();
    assert_eq!(curves["model_version"], one["version"]);

    let adapter = through.join("adapter.safetensors");
    let mut bytes = fs::read(&adapter).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&adapter, bytes).unwrap();
    let error = fails(&["describe", "--model", text(&through)]);
    assert!(error.contains("adapter.safetensors: sha256 is"), "{error}");
}

#[test]
fn what_cannot_be_tuned_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let data = write(&folder, "judgments.jsonl", &judgments(2));
    let output = folder.path().join("model");
    let refused =
        |more: &[&str]| fails(&[&["train", "--data", text(&data), "--output", text(&output)], more].concat());
    for tune in ["lora", "full"] {
        let error = refused(&["--tune", tune]);
        assert!(error.contains("backbone \"lexical\" cannot be tuned: it has no weights"), "{error}");
    }
    let error = refused(&["--tune", "lora", "--rank", "0"]);
    assert!(error.contains("rank: got 0; allowed: a positive number"), "{error}");
}

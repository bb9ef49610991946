//! `pref train` and `pref describe`.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{fails, succeeds, text};

/// People with even numbers like long answers, the others short ones; everybody likes answers that thank.
pub(crate) fn judgments(users: usize) -> Vec<Value> {
    let mut lines = Vec::new();
    for user in 0..users {
        for prompt in 0..8 {
            let long = format!(
                "Topic {prompt} is wide, and much can be said of it, so let us begin at the beginning."
            );
            let short = format!("Topic {prompt}: brief.");
            let polite = format!("Thank you for asking! Topic {prompt} in some words, if I may, please.");
            let prompt = format!("Tell me about topic {prompt}.");
            let line = |a: &str, b: &str, preference: f64| {
                json!({"user_id": format!("u{user}"), "prompt": prompt, "response_a": a, "response_b": b,
                       "preference": preference, "anything": ["else"]})
            };
            lines.push(line(&long, &short, if user % 2 == 0 { 1.0 } else { 0.0 }));
            lines.push(line(&short, &polite, if user % 2 == 0 { 0.0 } else { 0.5 }));
        }
    }
    lines
}

pub(crate) fn write(folder: &TempDir, name: &str, lines: &[Value]) -> PathBuf {
    let path = folder.path().join(name);
    let content: String = lines.iter().map(|line| format!("{line}\n")).collect();
    std::fs::write(&path, content).unwrap();
    path
}

pub(crate) fn train(data: &Path, output: &Path, more: &[&str]) -> String {
    let mut arguments =
        vec!["train", "--data", text(data), "--output", text(output), "--base-functions", "2"];
    arguments.extend(more);
    succeeds(&arguments)
}

#[test]
fn a_model_is_trained_described_and_the_same_whatever_the_order_of_lines() {
    let folder = tempfile::tempdir().unwrap();
    let lines = judgments(12);
    let turned: Vec<Value> = lines
        .iter()
        .rev()
        .map(|line| {
            let mut line = line.clone();
            let (a, b) = (line["response_a"].take(), line["response_b"].take());
            (line["response_a"], line["response_b"]) = (b, a);
            line["preference"] = json!(1.0 - line["preference"].as_f64().unwrap());
            line
        })
        .collect();
    let (one, other) = (folder.path().join("one"), folder.path().join("other"));
    let figures = folder.path().join("figures.json");
    let table = train(&write(&folder, "data", &lines), &one, &["--json", text(&figures)]);
    train(&write(&folder, "turned", &turned), &other, &[]);
    assert!(table.contains("192 judgments") && table.contains("12 users"), "{table}");

    let figures: Value = serde_json::from_slice(&std::fs::read(figures).unwrap()).unwrap();
    assert_eq!(
        (&figures["judgments"], &figures["users"], &figures["equal_responses"]),
        (&json!(192), &json!(12), &json!(0))
    );
    assert!(figures["quadrants"]["seen_users_seen_pairs"]["auc"].as_f64().unwrap() > 0.8, "{figures}");
    let solver = &figures["solver"];
    assert!(["converged", "iteration limit"].contains(&solver["ended"].as_str().unwrap()), "{solver}");
    assert!(solver["iterations"].as_u64().unwrap() > 0 && solver["gradient_norm"].is_number(), "{solver}");
    assert!(figures["hyperparameters"]["kappa"].as_f64().unwrap() > 0.0, "{figures}");
    let head = |model: &Path| std::fs::read(model.join("head.safetensors")).unwrap();
    assert!(head(&one) == head(&other), "neither line order nor which answer was called A matters");

    let described: Value =
        serde_json::from_str(&succeeds(&["describe", "--model", text(&one), "--json", "--examples", "1"]))
            .unwrap();
    assert_eq!(described["manifest"]["data_digest"], figures["data_digest"]);
    assert_eq!(described["base_functions"].as_array().unwrap().len(), 2);
    assert_eq!(described["base_functions"][0]["top"].as_array().unwrap().len(), 1);
    let people = succeeds(&["describe", "--model", text(&one)]);
    assert!(people.contains("Trained on 192 judgments by 12 users"), "{people}");
}

#[test]
fn a_model_under_which_answers_fade_and_slip_is_another_one() {
    let folder = tempfile::tempdir().unwrap();
    let data = write(&folder, "data", &judgments(6));
    let manifest = |name: &str, more: &[&str]| -> Value {
        let model = folder.path().join(name);
        train(&data, &model, more);
        serde_json::from_slice(&std::fs::read(model.join("manifest.json")).unwrap()).unwrap()
    };
    let plain = manifest("plain", &[]);
    let fading = manifest("fading", &["--half-life-days", "90", "--lapse-rate", "0.02"]);
    assert_eq!(plain.get("reliability"), None);
    assert_eq!(fading["reliability"], json!({"half_life_days": 90.0, "lapse_rate": 0.02}));
    assert_eq!(plain["files"]["head.safetensors"], fading["files"]["head.safetensors"]);
    assert_ne!(plain["version"], fading["version"]);
    let people = succeeds(&["describe", "--model", text(&folder.path().join("fading"))]);
    assert!(people.contains("90 days") && people.contains("0.02"), "{people}");

    let refused = |flag: &str, value: &str| {
        let model = folder.path().join("refused");
        fails(&["train", "--data", text(&data), "--output", text(&model), flag, value])
    };
    assert!(
        refused("--half-life-days", "0").contains("half_life_days: got 0"),
        "{}",
        refused("--half-life-days", "0")
    );
    assert!(refused("--lapse-rate", "1").contains("lapse_rate: got 1"), "{}", refused("--lapse-rate", "1"));
}

#[test]
fn lines_of_equal_texts_are_skipped_and_told() {
    let folder = tempfile::tempdir().unwrap();
    let mut lines = judgments(6);
    lines
        .push(json!({"user_id": "u0", "prompt": "x", "response_a": "a", "response_b": "a", "preference": 1}));
    let table = train(&write(&folder, "data", &lines), &folder.path().join("model"), &[]);
    assert!(table.contains("Skipped: 1 line"), "{table}");
}

#[test]
fn what_cannot_be_learned_from_is_refused_with_file_line_and_field() {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("model");
    let refused = |name: &str, content: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        fails(&["train", "--data", text(&path), "--output", text(&model)])
    };
    let line = json!({"user_id": "u", "prompt": "x", "response_a": "a", "response_b": "b", "preference": 1});
    let nan = line.to_string().replace(":1,", ":NaN,");
    assert!(nan.contains("NaN"));
    let error = refused("nan", &format!("{line}\n{nan}\n"));
    assert!(error.contains("nan:2: preference: got NaN; allowed: a number from 0 to 1"), "{error}");
    let error = refused("range", &line.to_string().replace(":1,", ":2,"));
    assert!(error.contains("range:1: preference: got 2; allowed: a number from 0"), "{error}");
    let error = refused("empty", "");
    assert!(error.contains("no judgments to learn from"), "{error}");
    let error = refused("single", &format!("{line}\n{line}\n"));
    assert!(error.contains("user_id: got \"u\" on every line"), "{error}");
    let other = line.to_string().replace("\"u\"", "\"v\"");
    let error = refused("few", &format!("{line}\n{other}\n"));
    assert!(error.contains("too few judgments to learn from: 2 by 2 users of 1 pairs"), "{error}");
    let error = fails(&["train", "--data", "/nonexistent.jsonl", "--output", text(&model)]);
    assert!(error.contains("/nonexistent.jsonl"), "{error}");
    let data = write(&folder, "data", &judgments(2));
    let error =
        fails(&["train", "--data", text(&data), "--output", text(&model), "--backbone", "no-such-model"]);
    assert!(error.contains("no-such-model"), "{error}");
    let error = fails(&["train", "--data", text(&data), "--output", text(&model), "--base-functions", "0"]);
    assert!(error.contains("auto, or a whole number from 1 to 64"), "{error}");
    assert!(!model.exists(), "nothing was written");
}

#[test]
fn a_damaged_or_missing_model_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("model");
    train(&write(&folder, "data", &judgments(6)), &model, &[]);
    let head = model.join("head.safetensors");
    let mut bytes = std::fs::read(&head).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&head, bytes).unwrap();
    let error = fails(&["describe", "--model", text(&model)]);
    assert!(error.contains("head.safetensors: sha256 is"), "{error}");
    let error = fails(&["describe", "--model", text(&folder.path().join("none"))]);
    assert!(error.contains("no model at"), "{error}");
}

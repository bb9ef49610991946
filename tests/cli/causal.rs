//! `--backbone` with the folder of a causal language model.

use std::io::Write;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::shared_model::shared_model;
use crate::train::{judgments, train, write};
use crate::{command, succeeds, text};

/// What `pref` writes to each line of `input`.
fn lines(arguments: &[&str], input: &str) -> Vec<Value> {
    let mut child =
        command(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the binary starts");
    child.stdin.take().expect("a pipe").write_all(input.as_bytes()).expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success());
    let out = String::from_utf8(output.stdout).expect("JSON is UTF-8");
    out.lines().map(|line| serde_json::from_str(line).expect("a line is JSON")).collect()
}

#[test]
fn embed_meets_the_reference_of_both_families() {
    for (model, cases) in [("tiny-random-qwen2", "texts"), ("babyllama", "prompts")] {
        let Some(folder) = shared_model("embed_meets_the_reference_of_both_families", model) else { return };
        let reference = std::fs::read(folder.join("reference.json")).unwrap();
        let reference: Value = serde_json::from_slice(&reference).unwrap();
        let cases = reference[cases].as_array().unwrap();
        let input: String = cases.iter().map(|case| format!("{}\n", json!({"text": case["text"]}))).collect();
        let answers = lines(&["embed", "--backbone", text(&folder), "--device", "cpu"], &input);
        assert_eq!(answers.len(), cases.len());
        for (answer, case) in answers.iter().zip(cases) {
            assert_eq!(answer["tokens"], case["token_ids"].as_array().unwrap().len());
            let expected = case["last_hidden_state"].as_array().unwrap();
            for (value, expected) in answer["embedding"].as_array().unwrap().iter().zip(expected) {
                let difference = (value.as_f64().unwrap() - expected.as_f64().unwrap()).abs();
                assert!(difference <= reference["tolerance"].as_f64().unwrap(), "{difference} in {model}");
            }
        }
    }
}

#[test]
fn a_reward_model_is_trained_on_a_causal_model_and_scores_with_it() {
    let test = "a_reward_model_is_trained_on_a_causal_model_and_scores_with_it";
    let Some(backbone) = shared_model(test, "tiny-random-qwen2") else { return };
    let folder = tempfile::tempdir().unwrap();
    let data = write(&folder, "judgments.jsonl", &judgments(10));
    let model = folder.path().join("model");
    train(&data, &model, &["--backbone", text(&backbone)]);
    let manifest: Value =
        serde_json::from_slice(&std::fs::read(model.join("manifest.json")).unwrap()).unwrap();
    let record = &manifest["backbone"];
    assert_eq!(record["pooling"], "last");
    assert_eq!(record["template"], "{prompt}\n\n{response}");
    assert_eq!((&record["dimension"], &record["max_tokens"]), (&json!(64), &json!(512)));
    succeeds(&["describe", "--model", text(&model)]);
    let pair = [
        json!({"prompt": "Tell me.", "response": "Thank you for asking!"}),
        json!({"prompt": "Tell me.", "response": ""}),
    ];
    let input: String = pair.iter().map(|line| format!("{line}\n")).collect();
    let scores = lines(&["score", "--model", text(&model)], &input);
    assert_eq!(scores.len(), 2);
    assert_ne!(scores[0]["reward"], scores[1]["reward"]);
    assert!(scores.iter().all(|line| line["reward"].as_f64().is_some_and(f64::is_finite)));
}

//! `pref evaluate generation`, with a real language model and a reward model of a small Attributes set.

use serde_json::Value;

use crate::describe::language_model;
use crate::shared_model::shared_model;
use crate::{fails, succeeds, text};

#[test]
fn strategies_are_held_against_unguided_completions_at_every_number_of_answers() {
    let test = "strategies_are_held_against_unguided_completions_at_every_number_of_answers";
    let Some(story) = shared_model(test, "babyllama") else { return };
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let (data, model, prompts) = (path("data.jsonl"), path("model"), path("prompts.jsonl"));
    succeeds(&["synth", "attributes", "--users", "12", "--pairs", "60", "--output", text(&data)]);
    succeeds(&["train", "--base-functions", "3", "--data", text(&data), "--output", text(&model)]);
    let names = ["Lily", "Tom", "Ben", "Sue", "Max", "Anna"];
    let lines = names.map(|name| serde_json::json!({"prompt": format!("{name} saw a")}).to_string());
    std::fs::write(&prompts, lines.join("\n")).unwrap();

    let generator = format!("local:{}", text(&story));
    let run = |more: &[&str]| {
        let fixed = ["evaluate", "generation", "--model", text(&model), "--generator", &generator];
        let rest = ["--prompts", text(&prompts), "--asked", "3", "--people", "3", "--max-tokens", "16"];
        [&fixed[..], &rest[..], more].concat().into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    let (json, plot, trade_off) = (path("a.json"), path("a.svg"), path("b.svg"));
    let strategies = ["--strategies", "unguided,best-of-4", "--candidates", "4", "--answers", "0,3"];
    let outputs = ["--json", text(&json), "--plot", text(&plot), "--plot-trade-off", text(&trade_off)];
    let table = succeeds(&run(&[&strategies[..], &outputs[..]].concat()));
    let read = || -> Value { serde_json::from_slice(&std::fs::read(&json).unwrap()).unwrap() };
    let first = read();
    assert_eq!(
        (&first["people"], &first["prompts"], &first["candidates"]),
        (&3.into(), &3.into(), &4.into())
    );
    let points = first["points"].as_array().unwrap();
    let keys: Vec<_> = points
        .iter()
        .map(|point| (point["strategy"].as_str().unwrap(), point["answers"].as_u64().unwrap()))
        .collect();
    assert_eq!(keys, [("unguided", 0), ("unguided", 3), ("best-of-4", 0), ("best-of-4", 3)]);
    for point in points {
        let number = |name: &str| point[name].as_f64().unwrap_or_else(|| panic!("{name} of {point}"));
        assert!(
            (0.0..=1.0).contains(&number("win_rate_mean"))
                && number("reward_se") >= 0.0
                && number("seconds") > 0.0
        );
    }
    // The same unguided completion for everybody, however much they have answered.
    assert_eq!(points[0]["log_likelihood_mean"], points[1]["log_likelihood_mean"]);
    assert!(table.lines().any(|line| line.trim_start().starts_with("best-of-4        3")), "{table}");
    for picture in [&plot, &trade_off] {
        assert!(std::fs::read_to_string(picture).unwrap().starts_with("<svg"));
    }

    succeeds(&run(&[&strategies[..], &outputs[..]].concat()));
    let again = read();
    for (one, other) in points.iter().zip(again["points"].as_array().unwrap()) {
        assert_eq!(one["reward_mean"], other["reward_mean"], "the same seed, the same figures");
    }

    // A judge that always likes what is shown first contradicts itself about every pair.
    let choice = serde_json::json!({"message": {"role": "assistant", "content": "A"}});
    let (url, asked) = language_model("200 OK", serde_json::json!({"choices": [choice]}));
    let judge = format!("openai:{url}#wise");
    let judged = ["--judge", &judge, "--judge-pairs", "4"];
    let told = fails(&run(&[&strategies[..], &judged].concat()));
    assert!(told.contains("wise is asked 8 times") && told.contains("--yes"), "{told}");
    assert!(asked.try_recv().is_err(), "nothing is asked before somebody agrees");
    succeeds(&run(&[&strategies[..], &judged, &["--yes", "--json", text(&json)]].concat()));
    let verdicts = &read()["judged"];
    assert_eq!(verdicts.as_array().unwrap().len(), 1, "unguided is what all are held against");
    assert_eq!((&verdicts[0]["strategy"], &verdicts[0]["pairs"]), (&"best-of-4".into(), &4.into()));
    assert_eq!((&verdicts[0]["win_rate_mean"], &verdicts[0]["contradictions"]), (&0.5.into(), &1.0.into()));
    let questions: Vec<_> =
        asked.try_iter().map(|(_, body)| body["messages"][1]["content"].clone()).collect();
    assert_eq!(questions.len(), 8);
    assert!(questions.iter().all(|one| one.as_str().unwrap().contains(" saw a")), "{questions:?}");

    for (more, word) in [
        (&["--strategies", "value-guided-1"], "no value head"),
        (&["--strategies", "best-of-99"], "at least 99"),
        (&["--strategies", "style"], "best-of-N"),
    ] {
        let told = fails(&run(more));
        assert!(told.contains(word), "{told}");
    }
    let all = run(&[]).into_iter().map(|given| if given == "3" { "6".to_owned() } else { given });
    assert!(fails(&all.collect::<Vec<_>>()).contains("more than the 6"));
}

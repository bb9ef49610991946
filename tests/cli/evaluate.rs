//! `pref evaluate`: every method end to end on a small Attributes set, and the studies.

use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;

use crate::{fails, succeeds, text};

const METHODS: [&str; 13] = [
    "pref",
    "paper",
    "classic",
    "per-user",
    "vpl",
    "pal",
    "lore",
    "no-svd",
    "no-reg",
    "random",
    "d-optimal",
    "uncertainty",
    "shuffled",
];

/// A small set, split: training people in `train.jsonl`, new ones in `calibration.jsonl`.
fn split(folder: &TempDir) -> (PathBuf, PathBuf) {
    let data = folder.path().join("attributes.jsonl");
    let parts = folder.path().join("split");
    succeeds(&["synth", "attributes", "--users", "15", "--pairs", "70", "--output", text(&data)]);
    succeeds(&["split", text(&data), "--output", text(&parts)]);
    (parts.join("train.jsonl"), parts.join("calibration.jsonl"))
}

fn read(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// A number of an object by its name.
fn number(of: &Value, name: &str) -> f64 {
    of[name].as_f64().unwrap_or_else(|| panic!("{name} of {of}"))
}

#[test]
fn all_methods_are_trained_tuned_and_held_side_by_side() {
    let folder = tempfile::tempdir().unwrap();
    let (train, data) = split(&folder);
    let (json, plot) = (folder.path().join("report.json"), folder.path().join("curves.svg"));
    let methods = METHODS.join(",");
    let arguments = [
        "evaluate",
        "--train",
        text(&train),
        "--data",
        text(&data),
        "--methods",
        &methods,
        "--answers",
        "0,4",
        "--seeds",
        "1",
        "--json",
        text(&json),
        "--plot",
        text(&plot),
    ];
    let table = succeeds(&arguments);
    let report = read(&json);

    let curves = report["curves"].as_array().unwrap();
    assert_eq!(curves.len(), 2 * METHODS.len());
    for (method, points) in METHODS.iter().zip(curves.chunks(2)) {
        assert!(table.contains(method), "{table}");
        for (point, answers) in points.iter().zip([0.0, 4.0]) {
            assert_eq!((point["method"].as_str(), number(point, "answers")), (Some(*method), answers));
            assert!((0.0..=1.0).contains(&number(point, "auc_mean")), "{point}");
            assert!(number(point, "auc_se") >= 0.0 && number(point, "users") == 3.0, "{point}");
            assert_eq!(number(point, "seeds"), 1.0);
        }
    }
    for (name, baseline) in [("paired", "classic"), ("against_pref", "pref")] {
        let gains = report[name].as_array().unwrap();
        assert_eq!(gains.len(), 2 * (METHODS.len() - 1));
        for gain in gains {
            assert_eq!(gain["baseline"], baseline);
            assert!(number(gain, "gain_mean").abs() <= 1.0 && number(gain, "gain_se") >= 0.0, "{gain}");
        }
    }
    assert_eq!(report["cohort"]["curves"], report["curves"], "all can be asked four questions");
    let trained = report["trained"].as_array().unwrap();
    assert_eq!(trained.len(), METHODS.len());
    assert!(trained.iter().all(|method| (1.0..=20.0).contains(&number(method, "trials"))), "{trained:?}");
    let tuned = |method: &str| trained.iter().find(|tuned| tuned["method"] == method).unwrap();
    let (pref, no_reg) = (tuned("pref"), tuned("no-reg"));
    assert!(pref["chosen"] != no_reg["chosen"] && no_reg["log_likelihood"].is_null(), "{no_reg}");
    for name in ["command", "model_version", "data_digest"] {
        assert!(!report[name].as_str().unwrap().is_empty(), "{name}");
    }
    let plot = std::fs::read_to_string(plot).unwrap();
    assert!(plot.starts_with("<svg") && METHODS.iter().all(|method| plot.contains(method)));

    let again = folder.path().join("again.json");
    succeeds(&[
        "evaluate",
        "--train",
        text(&train),
        "--data",
        text(&data),
        "--methods",
        "pref,pal",
        "--answers",
        "0,4",
        "--seeds",
        "1",
        "--json",
        text(&again),
    ]);
    let points = |report: &Value, method: &str| -> Vec<Value> {
        let of = |point: &&Value| point["method"] == method;
        report["curves"].as_array().unwrap().iter().filter(of).cloned().collect()
    };
    let again = read(&again);
    for method in ["pref", "pal", "classic"] {
        assert_eq!(points(&again, method), points(&report, method), "whoever else is there");
    }
}

#[test]
fn what_a_model_does_not_hold_needs_training_and_people_must_be_new() {
    let folder = tempfile::tempdir().unwrap();
    let (train, data) = split(&folder);
    let model = folder.path().join("model");
    succeeds(&["train", "--data", text(&train), "--output", text(&model), "--base-functions", "2"]);
    let with_model = |data: &Path, methods: &str| {
        ["evaluate", "--model", text(&model), "--data", text(data), "--methods", methods]
            .map(str::to_owned)
            .to_vec()
    };
    let error = fails(&with_model(&data, "pref,vpl,pal"));
    assert!(error.contains("vpl, pal must be trained: give --train"), "{error}");
    assert!(error.contains("pref, classic, random, d-optimal, uncertainty, shuffled"), "{error}");
    succeeds(&with_model(&data, "pref,random,d-optimal,uncertainty,shuffled"));
    let error = fails(&with_model(&train, "pref"));
    assert!(error.contains("were in the training of model"), "{error}");
    let error = fails(&["evaluate", "--train", text(&train), "--data", text(&train)]);
    assert!(error.contains("allowed: people new to the model"), "{error}");
    let error = fails(&["evaluate", "--data", text(&data)]);
    assert!(error.contains("--model"), "{error}");
    let error = fails(&["evaluate", "active", "--data", text(&data)]);
    assert!(error.contains("--train FILE") && error.contains("--sets"), "{error}");
    let error = fails(&with_model(&data, "pref,best"));
    assert!(error.contains("no-svd"), "the methods there are: {error}");
}

#[test]
fn studies_end_in_a_table_json_and_a_picture() {
    let folder = tempfile::tempdir().unwrap();
    let (train, data) = split(&folder);
    let study = |name: &str, more: &[&str]| -> Value {
        let (json, plot) = (folder.path().join("study.json"), folder.path().join("study.svg"));
        let mut arguments = vec![
            "evaluate",
            name,
            "--train",
            text(&train),
            "--data",
            text(&data),
            "--answers",
            "2,4",
            "--seeds",
            "1",
            "--json",
            text(&json),
            "--plot",
            text(&plot),
        ];
        arguments.extend(more);
        assert!(succeeds(&arguments).lines().count() > 1);
        assert!(std::fs::read_to_string(plot).unwrap().contains("</svg>"));
        let found = read(&json);
        assert_eq!(found["study"], name);
        found
    };
    let swept = study("base-functions", &["--values", "1,3,auto"]);
    assert_eq!(number(&swept["points"][1], "base_functions"), 3.0);
    let elbow = number(&swept["points"][2], "base_functions");
    assert!(elbow >= 1.0 && elbow.fract() == 0.0, "auto is a number in the end: {elbow}");
    assert_eq!(swept["points"][0]["measured"].as_array().unwrap().len(), 2);
    assert!(!swept["spectrum"].as_array().unwrap().is_empty());

    let data = study("data", &["--users", "6,99", "--pairs", "99"]);
    let points = data["points"].as_array().unwrap();
    assert_eq!(points.iter().map(|point| number(point, "users")).collect::<Vec<_>>(), [6.0, 12.0]);

    let backbones = study("backbones", &["--values", "lexical,/nonexistent"]);
    assert!(backbones["points"][0]["not_run"].is_null());
    assert!(backbones["points"][1]["not_run"].as_str().unwrap().contains("/nonexistent"), "{backbones}");

    let active = study("active", &[]);
    let ratio = &active["ratios"][1];
    assert_eq!(number(ratio, "random"), 4.0);
    assert!((0.0..=4.0).contains(&number(ratio, "chosen")), "{ratio}");

    let ablations = study("ablations", &["--models", "2", "--base-functions", "8"]);
    let methods = ablations["methods"].as_array().unwrap();
    assert_eq!(
        methods.iter().map(|m| m["method"].as_str().unwrap()).collect::<Vec<_>>(),
        ["pref", "no-svd", "no-reg"]
    );
    assert!(methods.iter().all(|m| m["seen"].as_array().unwrap().len() == 2 && number(m, "new_mean") > 0.0));
    let starts = ablations["starts"].as_array().unwrap();
    assert_eq!((&starts[0]["method"], &starts[1]["method"]), (&"pref".into(), &"no-reg".into()));
    assert_eq!(starts[0]["random"].as_array().unwrap().len(), 2);
    // With the penalty and enough base functions one minimum is found from everywhere.
    let (from_vectors, from_draws) =
        (number(&starts[0], "singular_vectors"), number(&starts[0], "random_mean"));
    assert!((from_vectors - from_draws).abs() < 1e-3, "{from_vectors} {from_draws}");
}

#[test]
fn the_oracle_and_the_ceiling_print_what_they_write() {
    let folder = tempfile::tempdir().unwrap();
    let (json, plot) = (folder.path().join("figures.json"), folder.path().join("figures.svg"));
    let small = ["--sets", "1", "--users", "15", "--pairs", "170", "--answers", "4", "--seeds", "1"];
    let outputs = ["--json", text(&json), "--plot", text(&plot)];
    let table = succeeds(&[&["evaluate", "oracle"], &small[..], &outputs].concat());
    assert!(table.contains("true scores") && table.contains("3 people"), "{table}");
    assert_eq!(
        read(&json)["shares"].as_array().unwrap().len(),
        24,
        "four features, three askers, 0 and 4 answers"
    );
    assert!(std::fs::read_to_string(&plot).unwrap().contains("readout"));

    // Two people: of one pair they say the same, of the other not; the first says both twice.
    let data = folder.path().join("judgments.jsonl");
    let line = |user: &str, prompt: &str, preference: f64| {
        format!(
            "{{\"user_id\": \"{user}\", \"prompt\": \"{prompt}\", \"response_a\": \"a\", \"response_b\": \"b\", \
             \"preference\": {preference}}}\n"
        )
    };
    let judged = [
        ("u1", "x", 1.0),
        ("u1", "x", 1.0),
        ("u2", "x", 1.0),
        ("u1", "y", 1.0),
        ("u1", "y", 1.0),
        ("u2", "y", 0.0),
    ];
    std::fs::write(&data, judged.map(|(user, prompt, a)| line(user, prompt, a)).concat()).unwrap();
    let table = succeeds(&["evaluate", "ceiling", "--data", text(&data), "--json", text(&json)]);
    assert!(table.contains("6 decided judgments of 2 people"), "{table}");
    let found = read(&json);
    let shares =
        |of: &str| (number(&found[of], "couples"), number(&found[of], "share"), number(&found[of], "auc"));
    assert_eq!(shares("agreement"), (4.0, 0.5, 0.5));
    assert_eq!(shares("with_oneself"), (2.0, 1.0, 1.0));
}

#[test]
fn people_of_several_sets_are_pooled_each_under_the_models_of_their_set() {
    let folder = tempfile::tempdir().unwrap();
    let json = folder.path().join("report.json");
    let small =
        ["--users", "15", "--pairs", "170", "--answers", "0,4", "--seeds", "1", "--json", text(&json)];
    let table = succeeds(&[&["evaluate", "--sets", "2", "--first-seed", "3"], &small[..]].concat());
    let both = read(&json);
    assert!(table.contains("6 people of 2 sets"), "{table}");
    assert!(table.contains("must gain nothing"), "rows are explained: {table}");
    assert_eq!((number(&both, "sets"), number(&both, "people")), (2.0, 6.0));
    assert!(both["model_version"].as_str().unwrap().contains("and 1 more"));

    // The mean over both is that of the means of each, three people apiece; each is what its files give.
    let mean = |report: &Value| number(&report["curves"][1], "auc_mean");
    let alone: Vec<Value> = ["3", "4"]
        .iter()
        .map(|seed| {
            let set = folder.path().join("set.jsonl");
            let parts = folder.path().join(seed);
            succeeds(&[
                "synth",
                "attributes",
                "--seed",
                seed,
                "--users",
                "15",
                "--pairs",
                "170",
                "--output",
                text(&set),
            ]);
            succeeds(&["split", text(&set), "--seed", seed, "--output", text(&parts)]);
            let (train, data) = (parts.join("train.jsonl"), parts.join("test.jsonl"));
            let files = ["evaluate", "--train", text(&train), "--data", text(&data), "--train-seed", seed];
            succeeds(&[&files, &small[4..]].concat());
            read(&json)
        })
        .collect();
    assert!((mean(&both) - 0.5 * (mean(&alone[0]) + mean(&alone[1]))).abs() < 1e-12, "{both}");
    assert_ne!(both["data_digest"], alone[0]["data_digest"]);

    let found = succeeds(&[&["evaluate", "active", "--sets", "2"], &small[..]].concat());
    assert!(found.contains("6 people"), "{found}");
    let found = read(&json);
    assert_eq!(number(&found, "users"), 6.0);
    assert!(found["train_digest"].as_str().unwrap().len() == 64, "{found}");
    let error = fails(&["evaluate", "active", "--sets", "2", "--data", text(&json)]);
    assert!(error.contains("cannot be used with"), "{error}");
}

#[test]
fn where_figures_cannot_go_is_said_before_the_work() {
    let folder = tempfile::tempdir().unwrap();
    let (nowhere, data) = (folder.path().join("none/report.json"), folder.path().join("none.jsonl"));
    for command in [&["evaluate"][..], &["evaluate", "active"], &["evaluate", "base-functions"]] {
        for option in ["--json", "--plot"] {
            let files = ["--train", text(&data), "--data", text(&data), option, text(&nowhere)];
            let error = fails(&[command, &files].concat());
            assert!(error.contains(option) && error.contains("none/report.json"), "{error}");
        }
    }
    // What can be written is left as it was by a command that fails later.
    let json = folder.path().join("report.json");
    let arguments = ["evaluate", "--train", text(&data), "--data", text(&data), "--json", text(&json)];
    assert!(fails(&arguments).contains("none.jsonl"));
    assert!(!json.exists());
}

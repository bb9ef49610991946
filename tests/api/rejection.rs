//! Best-of-N that gives up on the way what begins badly.

use std::sync::Arc;

use pref::generate::{LocalConfig, LocalGenerator};
use pref::model::{BackboneOptions, LanguageModel};
use pref::service::proto::*;

use crate::app::{TestApp, judge};
use crate::shared_model::shared_model;

const LONG: &str = "Many more words than there have to be in one.";
const SHORT: &str = "Few.";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_sixteen_candidates_the_worse_are_given_up_and_one_of_the_best_is_the_answer() {
    let test = "of_sixteen_candidates_the_worse_are_given_up_and_one_of_the_best_is_the_answer";
    let Some(folder) = shared_model(test, "babyllama") else { return };
    let model = LanguageModel::open(&folder.to_string_lossy(), &BackboneOptions::default()).unwrap();
    let local = LocalGenerator::start(Arc::new(model), LocalConfig::default()).unwrap();
    let app = TestApp::with_generators(&[("story", Arc::new(local.clone()))]).await;
    for _ in 0..4 {
        app.submit(judge("ada", ("x", LONG, SHORT), Outcome::First)).await.unwrap();
    }
    let asked = |reject_early, candidates| GenerateRequest {
        user_id: "ada".to_owned(),
        prompt: "Once upon a time".to_owned(),
        candidates,
        include_candidates: true,
        reject_early,
        sampling: Some(Sampling { max_tokens: Some(64), seed: Some(3), ..Default::default() }),
        ..Default::default()
    };
    let texts = |finished: &GenerateFinished| {
        finished.candidates.iter().map(|candidate| candidate.text.clone()).collect::<Vec<_>>()
    };
    let (_, _, all) = app.generate(asked(false, 16)).await.unwrap();
    let (_, delta, some) = app.generate(asked(true, 16)).await.unwrap();
    assert_eq!((all.candidates.len(), some.candidates.len()), (16, 4), "a half, and of that a half");
    assert!(texts(&some).iter().all(|text| texts(&all).contains(text)), "the same seed, the same texts");
    assert_eq!((&delta.text, &some.text), (&some.candidates[0].text, &delta.text));
    assert!(
        some.candidates.iter().map(|one| one.reward).sum::<f64>().abs() < 1e-9,
        "less the mean of the four"
    );
    let (_, _, again) = app.generate(asked(true, 16)).await.unwrap();
    assert_eq!(texts(&again), texts(&some), "who is given up does not depend on time");
    let (_, _, few) = app.generate(asked(true, 8)).await.unwrap();
    assert_eq!(few.candidates.len(), 8, "of few, none is");
    app.stop().await;
    local.shutdown();
}

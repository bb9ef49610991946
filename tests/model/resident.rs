//! The resident model: its queue, its batches, its cache, and what it survives.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use candle_core::Device;
use nalgebra::DVector;
use pref::model::{ModelError, ResidentConfig, ResidentModel, RewardModel};

use crate::made::{Counting, artifact, counting};

fn start(config: ResidentConfig) -> (Arc<Counting>, ResidentModel) {
    let backbone = counting();
    let model = RewardModel::new(artifact(&*backbone), backbone.clone(), &Device::Cpu).unwrap();
    let resident = ResidentModel::start(Arc::new(model), &config).unwrap();
    // What warming up did is not what the tests count.
    backbone.calls.store(0, Ordering::SeqCst);
    backbone.texts.store(0, Ordering::SeqCst);
    (backbone, resident)
}

fn texts(responses: &[&str]) -> Vec<(String, String)> {
    responses.iter().map(|response| ("xx".to_owned(), (*response).to_owned())).collect()
}

fn phi(response: &str) -> DVector<f64> {
    DVector::from_vec(vec![2.0 + 2.0 * response.len() as f64, -1.0])
}

/// A request that holds the thread inside a batch; returns once it does.
async fn hold(backbone: &Arc<Counting>, resident: &ResidentModel) -> tokio::task::JoinHandle<()> {
    let (held, gate) = (resident.clone(), backbone.clone());
    let task = tokio::spawn(async move {
        held.features(texts(&["wait"])).await.unwrap();
    });
    tokio::task::spawn_blocking(move || gate.gate.wait_until_reached()).await.unwrap();
    task
}

#[tokio::test]
async fn answers_in_order_and_from_the_cache_the_second_time() {
    let (backbone, resident) = start(ResidentConfig::default());
    let expected = vec![phi("a"), phi("bbb"), phi("a")];
    assert_eq!(resident.features(texts(&["a", "bbb", "a"])).await.unwrap(), expected);
    assert_eq!(backbone.texts.load(Ordering::SeqCst), 2, "equal texts are embedded once");
    assert_eq!(resident.features(texts(&["a", "bbb", "a"])).await.unwrap(), expected);
    assert_eq!(resident.features(vec![]).await.unwrap(), Vec::<DVector<f64>>::new());
    assert_eq!(backbone.calls.load(Ordering::SeqCst), 1);
    assert_eq!(resident.features(texts(&["a", "cc"])).await.unwrap(), [phi("a"), phi("cc")]);
    assert_eq!(backbone.texts.load(Ordering::SeqCst), 3, "only the new text was embedded");
    resident.shutdown().await;
}

#[tokio::test]
async fn the_cache_is_bounded() {
    let (backbone, resident) = start(ResidentConfig { cache_entries: 1, ..ResidentConfig::default() });
    for response in ["a", "bb", "a"] {
        assert_eq!(resident.features(texts(&[response])).await.unwrap(), [phi(response)]);
    }
    assert_eq!(backbone.texts.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn texts_that_do_not_fit_are_answered_and_never_cached() {
    let (backbone, resident) = start(ResidentConfig::default());
    for _ in 0..2 {
        assert_eq!(resident.features(texts(&["a", "long"])).await.unwrap(), [phi("a"), phi("long")]);
    }
    assert_eq!(backbone.texts.load(Ordering::SeqCst), 4);
}

#[tokio::test]
async fn requests_that_wait_are_embedded_together() {
    let (backbone, resident) = start(ResidentConfig::default());
    let held = hold(&backbone, &resident).await;
    let waiting: Vec<_> = ["a", "bb", "ccc"]
        .map(|response| {
            let resident = resident.clone();
            tokio::spawn(async move { resident.features(texts(&[response])).await })
        })
        .into();
    while resident.queue_depth() < 3 {
        tokio::task::yield_now().await;
    }
    backbone.gate.open();
    held.await.unwrap();
    for (task, response) in waiting.into_iter().zip(["a", "bb", "ccc"]) {
        assert_eq!(task.await.unwrap().unwrap(), [phi(response)]);
    }
    assert_eq!(backbone.calls.load(Ordering::SeqCst), 2, "the held batch, and one for the three");
}

#[tokio::test]
async fn a_batch_takes_no_further_request_beyond_its_budget() {
    let (backbone, resident) = start(ResidentConfig { batch_texts: 2, ..ResidentConfig::default() });
    let held = hold(&backbone, &resident).await;
    let waiting: Vec<_> = ["a", "bb", "ccc", "dddd"]
        .map(|response| {
            let resident = resident.clone();
            tokio::spawn(async move { resident.features(texts(&[response])).await })
        })
        .into();
    while resident.queue_depth() < 4 {
        tokio::task::yield_now().await;
    }
    backbone.gate.open();
    held.await.unwrap();
    for task in waiting {
        task.await.unwrap().unwrap();
    }
    assert_eq!(backbone.calls.load(Ordering::SeqCst), 3, "the held batch, and two of two");
}

#[tokio::test]
async fn a_full_queue_refuses_at_once() {
    let (backbone, resident) = start(ResidentConfig { queue: 1, ..ResidentConfig::default() });
    let held = hold(&backbone, &resident).await;
    let waiting = tokio::spawn({
        let resident = resident.clone();
        async move { resident.features(texts(&["a"])).await }
    });
    while resident.queue_depth() < 1 {
        tokio::task::yield_now().await;
    }
    assert!(matches!(resident.features(texts(&["bb"])).await, Err(ModelError::QueueFull { capacity: 1 })));
    backbone.gate.open();
    held.await.unwrap();
    assert_eq!(waiting.await.unwrap().unwrap(), [phi("a")]);
    assert_eq!(resident.features(texts(&["bb"])).await.unwrap(), [phi("bb")], "and there is room again");
}

#[tokio::test]
async fn a_caller_that_has_gone_costs_nothing() {
    let (backbone, resident) = start(ResidentConfig::default());
    let held = hold(&backbone, &resident).await;
    let gone = tokio::spawn({
        let resident = resident.clone();
        async move { resident.features(texts(&["abandoned"])).await }
    });
    while resident.queue_depth() < 1 {
        tokio::task::yield_now().await;
    }
    gone.abort();
    assert!(gone.await.unwrap_err().is_cancelled());
    backbone.gate.open();
    held.await.unwrap();
    resident.features(texts(&["after"])).await.unwrap();
    assert_eq!(backbone.texts.load(Ordering::SeqCst), 2, "the held text and the last one");
}

#[tokio::test]
async fn a_panic_or_failure_is_answered_to_its_own_caller_and_the_thread_goes_on() {
    let (backbone, resident) = start(ResidentConfig::default());
    let error = resident.features(texts(&["panic"])).await.unwrap_err();
    assert!(matches!(&error, ModelError::Panicked(words) if words == "the test asked for it"), "{error}");
    let held = hold(&backbone, &resident).await;
    let waiting: Vec<_> = ["a", "panic", "fail", "bb"]
        .map(|response| {
            let resident = resident.clone();
            tokio::spawn(async move { resident.features(texts(&[response])).await })
        })
        .into();
    while resident.queue_depth() < 4 {
        tokio::task::yield_now().await;
    }
    backbone.gate.open();
    held.await.unwrap();
    let mut answers = Vec::new();
    for task in waiting {
        answers.push(task.await.unwrap());
    }
    assert_eq!(answers[0].as_ref().unwrap(), &[phi("a")]);
    assert!(matches!(answers[1], Err(ModelError::Panicked(_))));
    assert!(matches!(answers[2], Err(ModelError::Tokenizer(_))));
    assert_eq!(answers[3].as_ref().unwrap(), &[phi("bb")]);
}

#[tokio::test]
async fn shutdown_answers_what_is_queued_and_takes_nothing_more() {
    let (backbone, resident) = start(ResidentConfig::default());
    let held = hold(&backbone, &resident).await;
    let waiting = tokio::spawn({
        let resident = resident.clone();
        async move { resident.features(texts(&["a"])).await }
    });
    while resident.queue_depth() < 1 {
        tokio::task::yield_now().await;
    }
    let stopping = tokio::spawn({
        let resident = resident.clone();
        async move { resident.shutdown().await }
    });
    // The queue has closed once it shows nothing although a request still waits in it.
    while resident.queue_depth() > 0 {
        tokio::task::yield_now().await;
    }
    assert!(matches!(resident.features(texts(&["late"])).await, Err(ModelError::Stopped)));
    backbone.gate.open();
    held.await.unwrap();
    assert_eq!(waiting.await.unwrap().unwrap(), [phi("a")]);
    stopping.await.unwrap();
    resident.shutdown().await;
    assert_eq!(Arc::strong_count(resident.model()), 1, "the thread has let the model go");
}

#[test]
fn a_model_that_cannot_answer_does_not_start() {
    let backbone = counting();
    let mut damaged = artifact(&*backbone);
    damaged.manifest.version = "v2".to_owned();
    let model = RewardModel::new(damaged, Arc::new(Silent(backbone)), &Device::Cpu).unwrap();
    assert!(matches!(
        ResidentModel::start(Arc::new(model), &ResidentConfig::default()),
        Err(ModelError::Panicked(_))
    ));
}

/// Panics at everything.
struct Silent(Arc<Counting>);

impl pref::model::Backbone for Silent {
    fn id(&self) -> &str {
        self.0.id()
    }

    fn hash(&self) -> &str {
        self.0.hash()
    }

    fn dimension(&self) -> usize {
        self.0.dimension()
    }

    fn embed(&self, _texts: &[pref::model::Text<'_>]) -> Result<Vec<pref::model::Embedding>, ModelError> {
        panic!("not a word")
    }
}

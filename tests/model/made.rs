//! Small models made by the tests: a backbone that the test steers, and artifacts for it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use nalgebra::{DMatrix, DVector};
use pref::model::{Artifact, Backbone, Embedding, Manifest, ModelError, PriorRecord, Text, TrainingUsers};

/// d of [`Counting`].
pub(crate) const DIMENSION: usize = 3;

/// h = (bytes of the prompt, bytes of the response, 1). It counts its calls, panics at the response `panic`, fails at
/// `fail`, cannot fit `long`, and waits at `wait` until the test opens its gate.
#[derive(Default)]
pub(crate) struct Counting {
    pub(crate) calls: AtomicUsize,
    pub(crate) texts: AtomicUsize,
    pub(crate) gate: Gate,
}

impl Backbone for Counting {
    fn id(&self) -> &str {
        "counting"
    }

    fn hash(&self) -> &str {
        "00ff"
    }

    fn dimension(&self) -> usize {
        DIMENSION
    }

    fn embed(&self, texts: &[Text<'_>]) -> Result<Vec<Embedding>, ModelError> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        self.texts.fetch_add(texts.len(), Ordering::SeqCst);
        texts.iter().map(|text| self.embed_one(text)).collect()
    }

    fn fits(&self, texts: &[Text<'_>]) -> Result<bool, ModelError> {
        Ok(texts.iter().all(|text| text.response != "long"))
    }
}

impl Counting {
    fn embed_one(&self, text: &Text<'_>) -> Result<Embedding, ModelError> {
        match text.response {
            "panic" => panic!("the test asked for it"),
            "fail" => return Err(ModelError::Tokenizer("the test asked for it".to_owned())),
            "wait" => self.gate.pass(),
            _ => {}
        }
        let vector = vec![text.prompt.len() as f32, text.response.len() as f32, 1.0];
        Ok(Embedding { vector, tokens: 1 })
    }
}

/// Holds the model's thread inside a batch until the test lets it go.
#[derive(Default)]
pub(crate) struct Gate {
    state: Mutex<GateState>,
    changed: Condvar,
}

#[derive(Default)]
struct GateState {
    reached: bool,
    open: bool,
}

impl Gate {
    fn pass(&self) {
        let mut state = self.state.lock().unwrap();
        state.reached = true;
        self.changed.notify_all();
        drop(self.changed.wait_while(state, |state| !state.open).unwrap());
    }

    /// Waits until the thread stands at the gate.
    pub(crate) fn wait_until_reached(&self) {
        drop(self.changed.wait_while(self.state.lock().unwrap(), |state| !state.reached).unwrap());
    }

    pub(crate) fn open(&self) {
        self.state.lock().unwrap().open = true;
        self.changed.notify_all();
    }
}

/// Two base functions on `backbone`: φ = (h₁ + 2h₂, −h₃ …), and w = (1, 0, …).
pub(crate) fn artifact(backbone: &dyn Backbone) -> Artifact {
    let d = backbone.dimension();
    let mut head = DMatrix::zeros(2, d);
    (head[(0, 0)], head[(0, 1)], head[(1, 2)]) = (1.0, 2.0, -1.0);
    let mut classic = DVector::zeros(d);
    classic[0] = 1.0;
    Artifact {
        manifest: Manifest {
            format: Manifest::FORMAT,
            version: "v1".to_owned(),
            crate_version: "0.0.0".to_owned(),
            created_unix_ms: 1_700_000_000_000,
            base_functions: 2,
            backbone: backbone.record(),
            kind: "head".to_owned(),
            dtype: "f32".to_owned(),
            files: Default::default(),
            data_digest: "d1".to_owned(),
            log_position: None,
            seed: 7,
            start: "svd".to_owned(),
            metrics: Default::default(),
            prior: PriorRecord::new(&DVector::from_vec(vec![0.5, 0.1]), &DMatrix::identity(2, 2)),
            tie_weight: 0.25,
            reliability: Default::default(),
            spectrum: vec![2.0, 1.0],
            personal_shares: vec![0.5, 0.5],
            common_shares: vec![0.9, 0.1],
            labels: vec![],
            training_users: TrainingUsers::new([7; 16], ["ada", "bob"]),
        },
        head,
        classic_head: Some(classic),
        adapter: None,
        value_head: None,
        examples: vec![],
    }
}

pub(crate) fn counting() -> Arc<Counting> {
    Arc::new(Counting::default())
}

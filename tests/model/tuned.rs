//! Backbones whose weights are variables, and what is opened from their adapters.

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::Tensor;
use pref::model::{Backbone, Text, TunableBackbone, Tuning, open_tuned};

use crate::encoder::{open, options};
use crate::made_decoder::made_decoder;
use crate::shared_model;

const TEXTS: [(&str, &str); 4] = [
    ("Tea or coffee?", "Tea, and plenty of it."),
    ("The sea?", "Blue."),
    ("Tea or coffee?", "Coffee."),
    ("", "A text that stands alone."),
];

fn vectors(backbone: &dyn Backbone) -> Vec<Vec<f32>> {
    let texts = TEXTS.map(|(prompt, response)| Text::new(prompt, response));
    backbone.embed(&texts).unwrap().into_iter().map(|embedding| embedding.vector).collect()
}

/// The largest difference between two lists of vectors.
fn difference(a: &[Vec<f32>], b: &[Vec<f32>]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().flatten().zip(b.iter().flatten()).fold(0.0, |largest, (a, b)| largest.max((a - b).abs()))
}

/// At the start it is the backbone as it was; after a change of every variable it is what is opened from the adapter,
/// under a hash that only the same change gives again.
fn trains_and_serves_the_same(folder: &Path, tolerance: f32) {
    let spec = folder.to_string_lossy();
    let frozen = open(folder).unwrap();
    let texts = TEXTS.map(|(prompt, response)| Text::new(prompt, response));
    for tuning in [Tuning::Lora { rank: 2, alpha: 4.0 }, Tuning::Full] {
        let tunable = TunableBackbone::open(&spec, &options(), tuning, 1).unwrap();
        assert_eq!(tunable.frozen(), &frozen.record());
        let ids = tunable.encode(&texts).unwrap();
        let embedded = || -> [Vec<Vec<f32>>; 2] {
            [tunable.network(), tunable.network_without_gradient()]
                .map(|network| network.unwrap().embed(&texts, &ids).unwrap().to_vec2().unwrap())
        };
        for vectors_now in embedded() {
            assert!(difference(&vectors_now, &vectors(&*frozen)) <= tolerance);
        }
        for variable in tunable.variables().values() {
            let moved = (variable.as_tensor() * 0.95).unwrap() + 0.02;
            variable.set(&moved.unwrap()).unwrap();
        }
        let values: BTreeMap<String, Tensor> = (tunable.variables().iter())
            .map(|(name, variable)| (name.clone(), variable.as_tensor().clone()))
            .collect();
        let adapter = tunable.adapter(&values).unwrap();
        let tuned = open_tuned(&spec, &options(), &adapter).unwrap();
        assert!(difference(&vectors(&*tuned), &vectors(&*frozen)) > 100.0 * tolerance, "it has moved");
        for vectors_now in embedded() {
            assert!(difference(&vectors_now, &vectors(&*tuned)) <= tolerance);
        }
        assert_ne!(tuned.hash(), frozen.hash());
        assert_eq!(tuned.hash(), open_tuned(&spec, &options(), &adapter).unwrap().hash());
    }
}

#[test]
fn a_decoder_trains_as_it_serves() {
    let folder = tempfile::tempdir().unwrap();
    made_decoder(folder.path());
    trains_and_serves_the_same(folder.path(), 1e-4);
}

#[test]
fn an_encoder_trains_as_it_serves() {
    let Some(folder) = shared_model("an_encoder_trains_as_it_serves", "tiny-random-bert") else { return };
    trains_and_serves_the_same(&folder, 1e-5);
}

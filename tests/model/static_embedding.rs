//! Static embeddings: model2vec's own numbers, sentence-transformers' layout, damaged folders.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pref::model::{Backbone, BackboneOptions, DeviceChoice, ModelError, Text, open_backbone};
use serde_json::{Value, json};
use tempfile::TempDir;

fn reference() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference")
}

fn open(folder: &Path) -> Result<Arc<dyn Backbone>, ModelError> {
    let options = BackboneOptions { device: DeviceChoice::Cpu, offline: true, ..BackboneOptions::default() };
    open_backbone(&folder.to_string_lossy(), &options)
}

fn vectors(backbone: &dyn Backbone, texts: &[&str]) -> Vec<Vec<f32>> {
    let texts: Vec<Text<'_>> = texts.iter().map(|text| Text::alone(text)).collect();
    backbone.embed(&texts).unwrap().into_iter().map(|embedding| embedding.vector).collect()
}

pub(crate) fn copied() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for file in fs::read_dir(reference().join("static")).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), folder.path().join(file.file_name())).unwrap();
    }
    folder
}

/// model2vec computed static_embedding.json: a table with fewer rows than tokens and weights, unknown words, 100 tokens of
/// which 64 are read.
#[test]
fn meets_model2vec() {
    let cases: Value =
        serde_json::from_slice(&fs::read(reference().join("static_embedding.json")).unwrap()).unwrap();
    let backbone = open(&reference().join("static")).unwrap();
    assert_eq!((backbone.dimension(), backbone.record().max_tokens), (6, Some(64)));
    let cases = cases["cases"].as_array().unwrap();
    let texts: Vec<&str> = cases.iter().map(|case| case["text"].as_str().unwrap()).collect();
    for ((vector, case), text) in vectors(&*backbone, &texts).iter().zip(cases).zip(&texts) {
        for (value, expected) in vector.iter().zip(case["embedding"].as_array().unwrap()) {
            let difference = f64::from(*value) - expected.as_f64().unwrap();
            assert!(difference.abs() < 1e-6, "{difference} for {text:?}");
        }
        assert_eq!(vectors(&*backbone, &[text]).remove(0), *vector, "alone and in a batch: {text:?}");
    }
}

/// Unknown words count there, nothing is cut, and rows are token numbers.
#[test]
fn sentence_transformers_layout_is_a_plain_mean() {
    let folder = copied();
    let inner = folder.path().join("0_StaticEmbedding");
    fs::create_dir(&inner).unwrap();
    fs::rename(folder.path().join("tokenizer.json"), inner.join("tokenizer.json")).unwrap();
    let rows: Vec<f32> = (0..24).flat_map(|token| [token as f32, -1.0]).collect();
    let table = candle_core::Tensor::from_vec(rows, (24, 2), &candle_core::Device::Cpu).unwrap();
    let tensors = std::collections::HashMap::from([("embedding.weight".to_owned(), table)]);
    candle_core::safetensors::save(&tensors, inner.join("model.safetensors")).unwrap();
    fs::remove_file(folder.path().join("config.json")).unwrap();
    let modules = json!([{"idx": 0, "path": "0_StaticEmbedding",
                          "type": "sentence_transformers.models.StaticEmbedding.StaticEmbedding"}]);
    fs::write(folder.path().join("modules.json"), modules.to_string()).unwrap();
    let backbone = open(folder.path()).unwrap();
    // a 4, the 5, boat 6; an unknown word 1.
    let found = vectors(&*backbone, &["A boat", "the quixotic boat", &"boat ".repeat(3_000)]);
    assert_eq!(found, [[5.0, -1.0], [4.0, -1.0], [6.0, -1.0]]);
}

#[test]
fn damaged_folders_are_refused_by_file_and_field() {
    let refused = |damage: &dyn Fn(&Path)| {
        let folder = copied();
        damage(folder.path());
        open(folder.path()).err().expect("the folder is damaged").to_string()
    };
    let error = refused(&|folder| {
        let pooling = json!([{"idx": 0, "path": ".", "type": "x.StaticEmbedding"},
                             {"idx": 1, "path": "1", "type": "x.Dense"}]);
        fs::write(folder.join("modules.json"), pooling.to_string()).unwrap();
    });
    assert!(error.contains("modules.json") && error.contains("\"Dense\""), "{error}");
    let error = refused(&|folder| fs::write(folder.join("config.json"), r#"{"max_length": 0}"#).unwrap());
    assert!(error.contains("max_length: got 0"), "{error}");
    let error = refused(&|folder| fs::remove_file(folder.join("model.safetensors")).unwrap());
    assert!(error.contains("model.safetensors") && error.contains("missing"), "{error}");
    let with = |rows: usize| {
        move |folder: &Path| {
            let table =
                candle_core::Tensor::zeros((rows, 6), candle_core::DType::F32, &candle_core::Device::Cpu);
            let tensors = std::collections::HashMap::from([("embeddings".to_owned(), table.unwrap())]);
            candle_core::safetensors::save(&tensors, folder.join("model.safetensors")).unwrap();
        }
    };
    let error = refused(&with(10));
    assert!(error.contains("got 10 rows") && error.contains("24"), "{error}");
}

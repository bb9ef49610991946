//! Artifacts: what is written is read, and whatever is damaged says what and where.

use std::fs;
use std::path::Path;

use candle_core::Device;
use nalgebra::{DMatrix, DVector};
use pref::model::{
    Artifact, ArtifactLocation, BackboneOptions, ModelError, RewardModel, Text, TrainingUsers, open_backbone,
};
use serde_json::Value;

use crate::made::{DIMENSION, artifact, counting};

fn saved() -> (tempfile::TempDir, ArtifactLocation) {
    let folder = tempfile::tempdir().unwrap();
    let location = ArtifactLocation::from(folder.path()).join("v1");
    artifact(&*counting()).save_blocking(&location).unwrap();
    (folder, location)
}

fn load(location: &ArtifactLocation) -> Result<Artifact, ModelError> {
    Artifact::load_blocking(location)
}

fn edit_manifest(folder: &Path, edit: impl Fn(&mut Value)) {
    let path = folder.join("v1/manifest.json");
    let mut json: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    edit(&mut json);
    fs::write(&path, serde_json::to_vec(&json).unwrap()).unwrap();
}

#[test]
fn what_is_written_is_read() {
    let (folder, location) = saved();
    let written = artifact(&*counting());
    let read = load(&location).unwrap();
    assert_eq!((&read.head, &read.classic_head), (&written.head, &written.classic_head));
    assert_eq!(
        read.manifest.files.keys().collect::<Vec<_>>(),
        ["classic_head.safetensors", "head.safetensors"]
    );
    assert_eq!(read.manifest.prior, written.manifest.prior);
    assert_eq!(read.manifest.prior.covariance(), DMatrix::identity(2, 2));
    let mut names: Vec<_> =
        fs::read_dir(folder.path().join("v1")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(
        names,
        ["classic_head.safetensors", "head.safetensors", "manifest.json"],
        "nothing temporary stays"
    );
}

#[test]
fn a_second_artifact_replaces_the_first_whole() {
    let (_folder, location) = saved();
    let mut second = artifact(&*counting());
    second.head *= 2.0;
    second.classic_head = None;
    second.save_blocking(&location).unwrap();
    let read = load(&location).unwrap();
    assert_eq!((&read.head, &read.classic_head), (&second.head, &None));
}

#[tokio::test]
async fn blocking_calls_work_inside_a_runtime_too() {
    let (_folder, location) = saved();
    assert_eq!(load(&location).unwrap(), Artifact::load(&location).await.unwrap());
}

#[test]
fn the_training_users_are_known_and_not_listed() {
    let (folder, location) = saved();
    let manifest = load(&location).unwrap().manifest;
    assert!(manifest.was_trained_on("ada") && manifest.was_trained_on("bob"));
    assert!(!manifest.was_trained_on("eve") && !manifest.was_trained_on(""));
    let json = fs::read_to_string(folder.path().join("v1/manifest.json")).unwrap();
    assert!(!json.contains("ada"));
    let other_salt = TrainingUsers::new([8; 16], ["ada", "bob"]);
    assert!(other_salt.hashes.iter().all(|hash| !manifest.training_users.hashes.contains(hash)));
}

#[test]
fn nothing_or_half_an_artifact_is_no_artifact() {
    let folder = tempfile::tempdir().unwrap();
    let nowhere = ArtifactLocation::from(folder.path()).join("v9");
    assert!(matches!(load(&nowhere), Err(ModelError::NoArtifact { .. })));
    // A writer that was killed before its last step leaves everything but the manifest.
    let (folder, location) = saved();
    fs::remove_file(folder.path().join("v1/manifest.json")).unwrap();
    let error = load(&location).unwrap_err();
    assert!(matches!(error, ModelError::NoArtifact { .. }), "{error}");
    assert!(error.to_string().contains("manifest.json"), "{error}");
}

#[test]
fn a_changed_short_or_missing_file_is_refused_by_name() {
    let (folder, location) = saved();
    let head = folder.path().join("v1/head.safetensors");
    let bytes = fs::read(&head).unwrap();
    let mut changed = bytes.clone();
    *changed.last_mut().unwrap() ^= 1;
    for damaged in [&changed[..], &bytes[..bytes.len() - 5], &[]] {
        fs::write(&head, damaged).unwrap();
        let error = load(&location).unwrap_err();
        assert!(
            matches!(&error, ModelError::ArtifactHash { file, .. } if file == "head.safetensors"),
            "{error}"
        );
    }
    fs::remove_file(&head).unwrap();
    let error = load(&location).unwrap_err();
    assert!(error.to_string().ends_with("head.safetensors: is missing"), "{error}");
}

#[test]
fn a_short_file_that_the_manifest_agrees_with_is_still_refused() {
    use sha2::{Digest, Sha256};
    let (folder, location) = saved();
    let head = folder.path().join("v1/head.safetensors");
    let bytes = fs::read(&head).unwrap();
    let short = &bytes[..bytes.len() - 4];
    fs::write(&head, short).unwrap();
    edit_manifest(folder.path(), |json| {
        json["files"]["head.safetensors"] = hex::encode(Sha256::digest(short)).into();
    });
    let error = load(&location).unwrap_err();
    assert!(matches!(&error, ModelError::ArtifactFile { file, .. } if file == "head.safetensors"), "{error}");
}

#[test]
fn a_manifest_that_does_not_fit_its_files_or_itself_is_refused() {
    type Edit = fn(&mut Value);
    let cases: [(Edit, &str); 12] = [
        (|m| m["backbone"]["dimension"] = 5.into(), "shape is [2, 3], the manifest says (2, 5)"),
        (
            |m| m["base_functions"] = 3.into(),
            "prior: got a mean of 2 numbers and a covariance of 2 rows; allowed: 3 numbers, 3 rows of 3",
        ),
        (|m| m["base_functions"] = 0.into(), "base_functions: got 0"),
        (|m| m["format"] = 2.into(), "format: got 2; allowed: 1"),
        (|m| m["dtype"] = "f16".into(), "dtype: got \"f16\""),
        (|m| m["common_shares"] = serde_json::json!([1.0]), "common_shares: got 1 numbers; allowed: 2"),
        (|m| m["labels"] = serde_json::json!(["formal"]), "labels: got 1; allowed: none or 2"),
        (|m| m["tie_weight"] = (-1).into(), "tie_weight: got -1"),
        (|m| m["reliability"] = serde_json::json!({"half_life_days": 0}), "half_life_days"),
        (|m| m["reliability"] = serde_json::json!({"lapse_rate": 1}), "lapse_rate"),
        (|m| m["prior"]["covariance"] = serde_json::json!([[1.0, 0.0], [0.0]]), "2 rows of 2"),
        (|m| drop(m.as_object_mut().unwrap().remove("seed")), "missing field `seed`"),
    ];
    for (edit, words) in cases {
        let (folder, location) = saved();
        edit_manifest(folder.path(), edit);
        let error = load(&location).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
    let (folder, location) = saved();
    fs::write(folder.path().join("v1/manifest.json"), b"{\"format\": 1,").unwrap();
    assert!(matches!(load(&location), Err(ModelError::Manifest { .. })));
    let (folder, location) = saved();
    edit_manifest(folder.path(), |m| m["files"] = serde_json::json!({"../../etc/passwd": "00"}));
    assert!(load(&location).is_err(), "a manifest names no files outside its folder");
}

#[test]
fn values_that_are_not_finite_are_neither_written_nor_read() {
    let folder = tempfile::tempdir().unwrap();
    let location = ArtifactLocation::from(folder.path());
    let mut damaged = artifact(&*counting());
    damaged.head[(1, 0)] = f32::NAN;
    let error = damaged.save_blocking(&location).unwrap_err();
    assert!(matches!(error, ModelError::NotFinite { index: DIMENSION, .. }), "{error}");
    assert!(fs::read_dir(folder.path()).unwrap().next().is_none(), "nothing was written");
    let mut wrong = artifact(&*counting());
    wrong.classic_head = Some(DVector::zeros(7));
    assert!(matches!(wrong.save_blocking(&location), Err(ModelError::ArtifactShape { .. })));
}

#[test]
fn another_backbone_than_the_trained_one_is_refused() {
    let mut foreign = artifact(&*counting());
    foreign.manifest.backbone.hash = "beef".to_owned();
    let error = RewardModel::new(foreign, counting(), &Device::Cpu).err().unwrap();
    assert!(matches!(error, ModelError::ForeignBackbone { .. }));
    assert!(error.to_string().contains("beef") && error.to_string().contains("00ff"), "{error}");
}

#[test]
fn a_reward_model_multiplies_embeddings_by_its_heads() {
    let model = RewardModel::new(artifact(&*counting()), counting(), &Device::Cpu).unwrap();
    let texts = [Text::new("xx", "yyy"), Text::new("x", "")];
    let expected = [DVector::from_vec(vec![8.0, -1.0]), DVector::from_vec(vec![1.0, -1.0])];
    assert_eq!(model.features(&texts).unwrap(), expected);
    let mut embeddings = model.embed(&texts).unwrap();
    assert_eq!(model.features_of_embeddings(&embeddings).unwrap(), expected);
    assert_eq!(model.classic_of_embeddings(&embeddings).unwrap(), Some(vec![2.0, 1.0]));
    assert!(model.features(&[]).unwrap().is_empty());
    embeddings[0].vector.pop();
    assert!(matches!(
        model.features_of_embeddings(&embeddings),
        Err(ModelError::Dimension { expected: DIMENSION, found: 2 })
    ));
}

#[test]
fn a_saved_model_opens_with_the_backbone_of_its_manifest() {
    let lexical = open_backbone("lexical", &BackboneOptions::default()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let location = ArtifactLocation::from(folder.path());
    artifact(&*lexical).save_blocking(&location).unwrap();
    let model = RewardModel::open(&location, &BackboneOptions::default()).unwrap();
    let texts = [Text::new("What is it?", "A red boat."), Text::new("What is it?", "No idea, sorry!")];
    let together = model.features(&texts).unwrap();
    for (text, phi) in texts.iter().zip(&together) {
        let alone = model.features(&[*text]).unwrap().remove(0);
        assert!((alone - phi).amax() <= 1e-5);
    }
}

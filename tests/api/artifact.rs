//! A small real model: four of the lexical backbone's own measures as base reward functions.

use std::path::Path;
use std::sync::OnceLock;

use nalgebra::{DMatrix, DVector};
use pref::model::{
    Artifact, ArtifactLocation, BackboneOptions, MEASURES, Manifest, PriorRecord, TrainingUsers,
    open_backbone,
};

/// J
pub(crate) const BASE_FUNCTIONS: usize = 4;

/// Where the artifact of version `test-1` lies; made once for the whole run.
pub(crate) fn location() -> &'static Path {
    static FOLDER: OnceLock<tempfile::TempDir> = OnceLock::new();
    FOLDER
        .get_or_init(|| {
            let folder = tempfile::tempdir().expect("a temporary folder can be made");
            save(folder.path(), "test-1", &["length", "sentence length", "word length", "lexical diversity"]);
            folder
        })
        .path()
}

/// Saves a model whose φ are the measures named.
pub(crate) fn save(folder: &Path, version: &str, measures: &[&str; BASE_FUNCTIONS]) {
    let backbone = open_backbone("lexical", &BackboneOptions::default()).expect("lexical is built in");
    let mut head = DMatrix::zeros(BASE_FUNCTIONS, backbone.dimension());
    for (j, name) in measures.iter().enumerate() {
        let column = MEASURES.iter().position(|measure| measure.name == *name);
        head[(j, column.unwrap_or_else(|| panic!("there is no measure {name}")))] = 1.0;
    }
    let mean = DVector::from_column_slice(&[0.5, 0.0, -0.25, 0.0]);
    let manifest = Manifest {
        format: Manifest::FORMAT,
        version: version.to_owned(),
        crate_version: env!("CARGO_PKG_VERSION").to_owned(),
        created_unix_ms: 0,
        base_functions: BASE_FUNCTIONS,
        backbone: backbone.record(),
        kind: "head".to_owned(),
        dtype: "f32".to_owned(),
        files: Default::default(),
        data_digest: String::new(),
        log_position: None,
        seed: 0,
        start: "svd".to_owned(),
        metrics: Default::default(),
        prior: PriorRecord::new(&mean, &DMatrix::identity(BASE_FUNCTIONS, BASE_FUNCTIONS)),
        tie_weight: 0.25,
        reliability: Default::default(),
        spectrum: vec![1.0; BASE_FUNCTIONS],
        personal_shares: vec![0.25; BASE_FUNCTIONS],
        common_shares: vec![0.25; BASE_FUNCTIONS],
        labels: measures.iter().map(|name| format!("+ {name}")).collect(),
        training_users: TrainingUsers::new([7; 16], ["trained-on"]),
    };
    let artifact = Artifact {
        manifest,
        head,
        classic_head: None,
        adapter: None,
        value_head: None,
        examples: Vec::new(),
    };
    let location = ArtifactLocation::new(folder.to_string_lossy());
    artifact.save_blocking(&location).expect("the artifact can be saved");
}

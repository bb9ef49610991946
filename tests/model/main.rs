//! The `model` room from outside: encoders and causal models against reference figures, artifacts and every way to damage them, and the
//! resident model's queue.

#[path = "../support/skip.rs"]
mod skip;

mod artifact;
mod causal;
mod encoder;
mod hub;
mod made;
mod resident;
mod static_embedding;

use std::path::PathBuf;

/// A model of the folder that is shared with the project; without it the test is skipped.
fn shared_model(test: &str, name: &str) -> Option<PathBuf> {
    let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/models")).join(name);
    if folder.is_dir() {
        return Some(folder);
    }
    skip::skip(test, format!("{} is not here", folder.display()));
    None
}

//! Models of the folder that is shared with the project. A test binary that has this module has `mod skip`, too.

use std::path::PathBuf;

use crate::skip;

/// The folder of a model; without it the test is skipped.
pub(crate) fn shared_model(test: &str, name: &str) -> Option<PathBuf> {
    let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/models")).join(name);
    if folder.is_dir() {
        return Some(folder);
    }
    skip::skip(test, format!("{} is not here", folder.display()));
    None
}

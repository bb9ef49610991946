//! A model's folder on this machine, wherever it came from.

use std::path::{Path, PathBuf};

use super::ModelError;
use super::layout::file_error;

/// A model's files on this machine.
pub(super) struct Snapshot {
    /// The folder, in Hugging Face layout unless there is a GGUF file.
    pub(super) directory: PathBuf,
    /// The GGUF file in it that is the model.
    pub(super) gguf: Option<PathBuf>,
    /// The commit that they belong to; nothing for a plain directory.
    pub(super) revision: Option<String>,
    /// What opens the same files again.
    pub(super) spec: String,
    /// Name for people.
    pub(super) id: String,
}

/// The GGUF file of a folder without a configuration; nothing where it has one, or no such file.
pub(super) fn only_gguf(directory: &Path) -> Result<Option<PathBuf>, ModelError> {
    if directory.join("config.json").is_file() {
        return Ok(None);
    }
    let entries = std::fs::read_dir(directory).map_err(|error| file_error(directory, error))?;
    let mut files: Vec<_> =
        entries.flatten().map(|entry| entry.path()).filter(|path| is_gguf(path)).collect();
    files.sort();
    if let [first, second, ..] = files.as_slice() {
        let reason = format!("has {} and {}; name the one that is meant", first.display(), second.display());
        return Err(file_error(directory, reason));
    }
    Ok(files.pop())
}

/// By its name.
pub(super) fn is_gguf(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "gguf")
}

/// Settings, tokenizer, chat template and weights of the repository's top folder and of its numbered modules.
pub(super) fn is_wanted(file: &str) -> bool {
    let at_top = !file.contains('/')
        && [".json", ".safetensors", ".jinja", ".gguf"].iter().any(|extension| file.ends_with(extension));
    let of_module = file.split('/').count() == 2
        && file.ends_with("/config.json")
        && file.starts_with(|first: char| first.is_ascii_digit());
    at_top || of_module
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_tokenizer_and_weights_are_wanted_and_nothing_else() {
        for file in [
            "config.json",
            "chat_template.jinja",
            "model-00001-of-00002.safetensors",
            "1_Pooling/config.json",
        ] {
            assert!(is_wanted(file), "{file}");
        }
        for file in [
            "README.md",
            "pytorch_model.bin",
            "onnx/config.json",
            "openvino/model.xml",
            "1_Pooling/a/config.json",
        ] {
            assert!(!is_wanted(file), "{file}");
        }
    }
}

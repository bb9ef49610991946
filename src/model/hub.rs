use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use hf_hub::api::RepoInfo;
use hf_hub::api::sync::{ApiBuilder, ApiRepo};
use hf_hub::{Cache, Repo, RepoType};

use super::layout::file_error;
use super::snapshot::{Snapshot, is_gguf, is_wanted, only_gguf};
use super::{BackboneOptions, ModelError, stored_folder};

/// How long the hub may take to list a repository's files: behind some firewalls it never answers.
const PATIENCE: Duration = Duration::from_secs(20);

/// Hub ids of the short names.
const SHORT_NAMES: [(&str, &str); 1] = [("minilm", "sentence-transformers/all-MiniLM-L6-v2")];

/// Finds the files of `spec` (a directory, a GGUF file, the URL of a folder in an object store, hub id with optional `@revision`, or short name): this machine's
/// own first, then the local cache, then the hub.
pub(super) fn locate(spec: &str, options: &BackboneOptions) -> Result<Snapshot, ModelError> {
    if stored_folder::is_url(spec) {
        return stored_folder::locate(spec, options);
    }
    let path = Path::new(spec);
    if path.is_dir() || (is_gguf(path) && path.is_file()) {
        return here(path);
    }
    let (name, revision) = match spec.split_once('@') {
        Some((name, revision)) => (name, revision),
        None => (spec, "main"),
    };
    let id = SHORT_NAMES.iter().find(|(short, _)| *short == name).map_or(name, |(_, id)| *id);
    if !is_hub_id(id) || revision.is_empty() {
        return Err(ModelError::UnknownBackbone {
            spec: spec.to_owned(),
            reason: "it is no directory or GGUF file here, and neither a known name nor a hub id".to_owned(),
        });
    }
    let cache = options.cache_dir.clone().map_or_else(Cache::from_env, Cache::new);
    let repo = Repo::with_revision(id.to_owned(), RepoType::Model, revision.to_owned());
    let directory = match cached(&cache, &repo, revision) {
        Some(directory) => directory,
        None => {
            let unreachable = |reason: String| ModelError::HubUnreachable {
                id: id.to_owned(),
                cache: cache.path().display().to_string(),
                reason,
            };
            if options.offline {
                return Err(unreachable("it was not to be asked (offline)".to_owned()));
            }
            download(&cache, &repo).map_err(unreachable)?
        }
    };
    let commit =
        directory.file_name().map_or_else(|| revision.to_owned(), |name| name.to_string_lossy().into_owned());
    Ok(Snapshot {
        directory,
        gguf: None,
        spec: format!("{id}@{commit}"),
        id: id.to_owned(),
        revision: Some(commit),
    })
}

fn here(path: &Path) -> Result<Snapshot, ModelError> {
    let path = std::fs::canonicalize(path).map_err(|error| file_error(path, error))?;
    let id = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
    let spec = path.to_string_lossy().into_owned();
    let (directory, gguf) = if path.is_dir() {
        let gguf = only_gguf(&path)?;
        (path, gguf)
    } else {
        (path.parent().unwrap_or(&path).to_owned(), Some(path))
    };
    Ok(Snapshot { directory, gguf, revision: None, spec, id })
}

/// The cache's folder for the revision (a branch, or a commit itself), where it holds a whole model.
fn cached(cache: &Cache, repo: &Repo, revision: &str) -> Option<PathBuf> {
    let entry = cache.repo(repo.clone());
    let by_branch = entry.get("config.json").and_then(|file| file.parent().map(Path::to_owned));
    let directory = by_branch.unwrap_or_else(|| entry.pointer_path(revision));
    let complete = ["config.json", "tokenizer.json"].iter().all(|file| directory.join(file).is_file())
        && ["model.safetensors", "model.safetensors.index.json"]
            .iter()
            .any(|file| directory.join(file).is_file());
    complete.then_some(directory)
}

/// Fetches the files that an encoder is made of, all of one commit, weights last.
fn download(cache: &Cache, repo: &Repo) -> Result<PathBuf, String> {
    let endpoint = std::env::var("HF_ENDPOINT").unwrap_or_else(|_| "https://huggingface.co".to_owned());
    let api = ApiBuilder::from_cache(cache.clone())
        .with_endpoint(endpoint)
        .with_progress(std::io::stderr().is_terminal())
        .with_retries(3)
        .build()
        .map_err(|error| error.to_string())?;
    let info = info_in_time(api.repo(repo.clone()))?;
    // Also records the branch in the cache, so that the next start asks nobody.
    api.repo(repo.clone()).get("config.json").map_err(|error| error.to_string())?;
    let pinned = api.repo(Repo::with_revision(repo_id(repo), RepoType::Model, info.sha.clone()));
    let mut files: Vec<_> = info
        .siblings
        .iter()
        .map(|sibling| sibling.rfilename.as_str())
        .filter(|name| is_wanted(name) && !is_gguf(Path::new(name)))
        .collect();
    files.sort_unstable_by_key(|name| name.ends_with(".safetensors"));
    for file in files {
        pinned.get(file).map_err(|error| format!("{file}: {error}"))?;
    }
    Ok(cache.repo(repo.clone()).pointer_path(&info.sha))
}

/// hf-hub sets no timeout of its own.
fn info_in_time(repo: ApiRepo) -> Result<RepoInfo, String> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || sender.send(repo.info().map_err(|error| error.to_string())));
    receiver
        .recv_timeout(PATIENCE)
        .unwrap_or_else(|_| Err(format!("no answer within {} s", PATIENCE.as_secs())))
}

fn repo_id(repo: &Repo) -> String {
    repo.url()
}

/// `organisation/name`, each of letters, digits, `-`, `_` and `.`, and not dots alone.
fn is_hub_id(id: &str) -> bool {
    let part = |part: &str| {
        part.chars().any(|c| c.is_ascii_alphanumeric())
            && part.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
    };
    id.split_once('/').is_some_and(|(organisation, name)| part(organisation) && part(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offline(cache: &Path) -> BackboneOptions {
        BackboneOptions { cache_dir: Some(cache.to_owned()), offline: true, ..BackboneOptions::default() }
    }

    #[test]
    fn an_unreachable_hub_names_the_directory_alternative() {
        let cache = tempfile::tempdir().unwrap();
        let error = locate("minilm", &offline(cache.path())).err().unwrap().to_string();
        assert!(error.contains("sentence-transformers/all-MiniLM-L6-v2"), "{error}");
        assert!(error.contains("directory"), "{error}");
    }

    #[test]
    fn a_cached_snapshot_is_found_by_branch_and_by_commit_and_pinned() {
        let cache = tempfile::tempdir().unwrap();
        let repo = cache.path().join("models--o--n");
        let snapshot = repo.join("snapshots/abc123");
        std::fs::create_dir_all(&snapshot).unwrap();
        std::fs::create_dir_all(repo.join("refs")).unwrap();
        std::fs::write(repo.join("refs/main"), "abc123").unwrap();
        for file in ["config.json", "tokenizer.json"] {
            std::fs::write(snapshot.join(file), "{}").unwrap();
        }
        assert!(locate("o/n", &offline(cache.path())).is_err(), "a snapshot without weights is not whole");
        std::fs::write(snapshot.join("model.safetensors"), "").unwrap();
        for spec in ["o/n", "o/n@main", "o/n@abc123"] {
            let found = locate(spec, &offline(cache.path())).unwrap();
            assert_eq!(
                (found.spec.as_str(), found.revision.as_deref()),
                ("o/n@abc123", Some("abc123")),
                "{spec}"
            );
        }
    }

    #[test]
    fn names_that_are_neither_directory_nor_id_are_refused() {
        for spec in ["", "nothing", "a/b/c", "../x", "o/n@"] {
            let error = locate(spec, &BackboneOptions { offline: true, ..BackboneOptions::default() });
            assert!(matches!(error, Err(ModelError::UnknownBackbone { .. })), "{spec:?}");
        }
    }
}

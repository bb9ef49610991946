//! A backbone's folder in an object store, copied to this machine before it is read.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use futures::TryStreamExt;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::location::{ArtifactLocation, block_on};
use super::snapshot::{Snapshot, is_wanted, only_gguf};
use super::{BackboneOptions, ModelError};

/// Whether `spec` is the URL of a folder.
pub(super) fn is_url(spec: &str) -> bool {
    spec.contains("://")
}

/// The folder of a URL, as it is there now. What the store lists, names, sizes and versions, is what the copy goes by: it
/// is made once for each state of the folder.
pub(super) fn locate(url: &str, options: &BackboneOptions) -> Result<Snapshot, ModelError> {
    let location = ArtifactLocation::new(url);
    let cache =
        cache(options).ok_or_else(|| location.storage("there is no folder to keep it in: set HF_HOME"))?;
    let store = location.store(false)?;
    let directory = block_on(&location, copied(&*store, &location, &cache))?;
    let id = url.trim_end_matches('/').rsplit('/').next().unwrap_or(url).to_owned();
    let gguf = only_gguf(&directory)?;
    Ok(Snapshot { directory, gguf, revision: None, spec: url.to_owned(), id })
}

async fn copied(
    store: &dyn ObjectStore,
    location: &ArtifactLocation,
    cache: &Path,
) -> Result<PathBuf, ModelError> {
    let listed: Vec<ObjectMeta> =
        store.list(None).try_collect().await.map_err(|error| location.storage(error))?;
    let mut wanted: Vec<_> =
        listed.into_iter().filter(|object| is_wanted(object.location.as_ref())).collect();
    if wanted.is_empty() {
        return Err(
            location.storage("holds no settings and no weights; allowed: a folder in Hugging Face layout")
        );
    }
    wanted.sort_by(|a, b| a.location.cmp(&b.location));
    let folder = cache.join(fingerprint(location, &wanted));
    if folder.is_dir() {
        return Ok(folder);
    }
    let partial = cache.join(format!("partial-{}", Uuid::new_v4().simple()));
    let made = copy(store, location, &wanted, &partial).await.and_then(|()| {
        match fs::rename(&partial, &folder) {
            // Another process was quicker.
            Err(_) if folder.is_dir() => Ok(()),
            renamed => renamed.map_err(|error| location.storage(error)),
        }
    });
    if partial.exists() {
        // A copy that stays behind does no harm but its size.
        let _ = fs::remove_dir_all(&partial);
    }
    made.map(|()| folder)
}

async fn copy(
    store: &dyn ObjectStore,
    location: &ArtifactLocation,
    objects: &[ObjectMeta],
    folder: &Path,
) -> Result<(), ModelError> {
    for object in objects {
        let path = folder.join(object.location.as_ref());
        let failed = |error: &dyn std::fmt::Display| location.file(object.location.as_ref(), error);
        fs::create_dir_all(path.parent().unwrap_or(folder)).map_err(|error| failed(&error))?;
        let mut file = File::create(&path).map_err(|error| failed(&error))?;
        let found = store.get(&object.location).await.map_err(|error| failed(&error))?;
        let mut pieces = found.into_stream();
        while let Some(piece) = pieces.try_next().await.map_err(|error| failed(&error))? {
            file.write_all(&piece).map_err(|error| failed(&error))?;
        }
        file.sync_all().map_err(|error| failed(&error))?;
    }
    Ok(())
}

fn fingerprint(location: &ArtifactLocation, objects: &[ObjectMeta]) -> String {
    let mut hasher = Sha256::new_with_prefix(format!("{location}\n"));
    for object in objects {
        let version = object.e_tag.clone().unwrap_or_else(|| object.last_modified.to_rfc3339());
        hasher.update(format!("{} {} {version}\n", object.location, object.size));
    }
    hex::encode(hasher.finalize())
}

/// Beside what comes from the hub.
fn cache(options: &BackboneOptions) -> Option<PathBuf> {
    let hub = options.cache_dir.clone().or_else(|| {
        let home = std::env::var_os("HF_HOME").map(PathBuf::from);
        home.or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache/huggingface")))
    });
    hub.map(|hub| hub.join("object-stores"))
}

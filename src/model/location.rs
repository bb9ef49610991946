use std::fmt;
use std::path::Path as FilePath;
use std::sync::Arc;

use object_store::ObjectStore;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::prefix::PrefixStore;

use super::ModelError;

/// Where one artifact lies: a directory, or a URL of an object store (`s3://…` with the cargo feature `aws`,
/// `gs://…` with `gcp`).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ArtifactLocation {
    pub(super) name: String,
}

impl ArtifactLocation {
    /// Of a directory or URL.
    pub fn new(location: impl Into<String>) -> Self {
        Self { name: location.into() }
    }

    /// The artifact `version` in the folder of models at this place.
    #[must_use]
    pub fn join(&self, version: &str) -> Self {
        Self { name: format!("{}/{version}", self.name.trim_end_matches('/')) }
    }

    /// Whether this build reads and writes places of this kind; asks nothing of the network.
    ///
    /// # Errors
    /// [`ModelError::Storage`] for a URL that cannot be read, or whose scheme is not built in.
    pub fn check(&self) -> Result<(), ModelError> {
        if self.name.contains("://") { self.store(false).map(drop) } else { Ok(()) }
    }

    /// Whether it lies on this machine, where other servers do not see it.
    pub fn is_local(&self) -> bool {
        !self.name.contains("://") || self.name.starts_with("file://")
    }

    pub(super) fn store(&self, create: bool) -> Result<Arc<dyn ObjectStore>, ModelError> {
        if self.name.contains("://") {
            let url = self.name.parse().map_err(|error| self.storage(error))?;
            let (store, path) =
                object_store::parse_url_opts(&url, std::env::vars()).map_err(|e| self.storage(e))?;
            return Ok(Arc::new(PrefixStore::new(store, path)));
        }
        if create {
            std::fs::create_dir_all(&self.name).map_err(|error| self.storage(error))?;
        }
        if !FilePath::new(&self.name).is_dir() {
            return Err(ModelError::NoArtifact {
                location: self.name.clone(),
                reason: "there is no such directory".to_owned(),
            });
        }
        let store = LocalFileSystem::new_with_prefix(&self.name).map_err(|error| self.storage(error))?;
        Ok(Arc::new(store.with_fsync(true)))
    }

    /// Object stores have no folders; a directory is left tidy.
    pub(super) fn remove_temporary_folder(&self, folder: &Path) {
        if !self.name.contains("://") {
            // An empty folder that stays behind does no harm.
            let _ = std::fs::remove_dir(FilePath::new(&self.name).join(folder.as_ref()));
        }
    }

    pub(super) fn storage(&self, error: impl fmt::Display) -> ModelError {
        ModelError::Storage { location: self.name.clone(), reason: error.to_string() }
    }

    pub(super) fn file(&self, file: &str, reason: impl fmt::Display) -> ModelError {
        ModelError::ArtifactFile {
            location: self.name.clone(),
            file: file.to_owned(),
            reason: reason.to_string(),
        }
    }
}

impl From<&FilePath> for ArtifactLocation {
    fn from(directory: &FilePath) -> Self {
        Self::new(directory.to_string_lossy())
    }
}

impl fmt::Display for ArtifactLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// Runs `work` on a runtime and thread of its own: the caller may itself stand inside a runtime, where blocking on
/// another is forbidden.
pub(super) fn block_on<T: Send>(
    location: &ArtifactLocation,
    work: impl Future<Output = Result<T, ModelError>> + Send,
) -> Result<T, ModelError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| location.storage(error))?;
    std::thread::scope(|scope| {
        scope
            .spawn(move || runtime.block_on(work))
            .join()
            .unwrap_or_else(|_| Err(location.storage("the reader panicked")))
    })
}

//! Files that outlive their daemon: recordings, exports, snapshots. A folder, which several hosts may mount; who uses it does not
//! know what kind of place it is.
//!
//! Names are paths of `A-Z a-z 0-9 . _ -` with `/` between, made by us. A put is whole or not there. Every call has a time limit;
//! one that failed may be repeated, since names are never used again for something else.

mod settings;

use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path as FolderPath, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload};

pub use settings::{Settings, read};

/// Longest that one call may take, its own tries included.
const LIMIT: Duration = Duration::from_secs(30);
/// Members of the house's group read what another daemon wrote, and nobody else does.
const FOLDER_MODE: u32 = 0o2770;
const FILE_MODE: u32 = 0o640;

/// Why a file could not be had or kept.
#[derive(Debug, thiserror::Error)]
pub enum ObjectError {
    /// There is no file of that name.
    #[error("there is no object {name}")]
    Missing {
        /// Which.
        name: String,
    },
    /// The store said no, or cannot be reached. The outcome of a put is unknown; it may be repeated.
    #[error("{what} {name}: {detail}")]
    Failed {
        /// What was tried.
        what: &'static str,
        /// With which object.
        name: String,
        /// What was met.
        detail: String,
    },
    /// No answer in time. The outcome of a put is unknown; it may be repeated.
    #[error("{what} {name}: no answer within {} s", LIMIT.as_secs())]
    Late {
        /// What was tried.
        what: &'static str,
        /// With which object.
        name: String,
    },
    /// The name is none of ours.
    #[error("a name must be parts of A-Z a-z 0-9 . _ - with / between")]
    Name,
}

/// What is known of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// Its name.
    pub name: String,
    /// Its length in bytes.
    pub length: u64,
}

/// The place for files. Cloning shares it.
#[derive(Clone, Debug)]
pub struct ObjectFiles {
    folder: PathBuf,
    /// Opened at the first use: a place that is not there yet keeps no daemon from its other work.
    store: Arc<OnceLock<LocalFileSystem>>,
}

impl ObjectFiles {
    /// The place that the settings name; it is opened at its first use.
    #[must_use]
    pub fn new(settings: &Settings) -> Self {
        Self { folder: settings.folder.clone(), store: Arc::default() }
    }

    fn store(&self) -> Result<&LocalFileSystem, ObjectError> {
        if let Some(store) = self.store.get() {
            return Ok(store);
        }
        let failed = |error: &dyn std::error::Error| failure("open", &self.folder.display().to_string(), error);
        make_folder(&self.folder).map_err(|error| failed(&error))?;
        let store = LocalFileSystem::new_with_prefix(&self.folder).map_err(|error| failed(&error))?;
        Ok(self.store.get_or_init(|| store.with_fsync(true)))
    }

    /// Keeps a file, whole. One of the same name is replaced.
    ///
    /// # Errors
    /// See [`ObjectError`].
    pub async fn put(&self, name: &str, content: Bytes) -> Result<(), ObjectError> {
        let (path, store) = (path(name)?, self.store()?);
        let what = "put";
        let file = self.folder.join(name);
        if let Some(parent) = file.parent() {
            make_folders(&self.folder, parent).map_err(|error| failure(what, name, &error))?;
        }
        within(what, name, async { store.put(&path, PutPayload::from(content)).await.map(drop) }).await?;
        let mode = std::fs::Permissions::from_mode(FILE_MODE);
        std::fs::set_permissions(file, mode).map_err(|error| failure(what, name, &error))
    }

    /// The whole of a file.
    ///
    /// # Errors
    /// See [`ObjectError`].
    pub async fn get(&self, name: &str) -> Result<Bytes, ObjectError> {
        let (path, store) = (path(name)?, self.store()?);
        within("get", name, async { store.get(&path).await?.bytes().await }).await
    }

    /// A part of a file: `length` bytes from `start`, fewer at its end.
    ///
    /// # Errors
    /// See [`ObjectError`].
    pub async fn get_part(&self, name: &str, start: u64, length: u64) -> Result<Bytes, ObjectError> {
        let (path, store) = (path(name)?, self.store()?);
        within("get", name, async { store.get_range(&path, start..start.saturating_add(length)).await }).await
    }

    /// What is known of a file.
    ///
    /// # Errors
    /// See [`ObjectError`].
    pub async fn look(&self, name: &str) -> Result<Object, ObjectError> {
        let (path, store) = (path(name)?, self.store()?);
        let meta = within("look at", name, async { store.head(&path).await }).await?;
        Ok(Object { name: name.to_owned(), length: meta.size })
    }

    /// Removes a file; one that is gone is fine.
    ///
    /// # Errors
    /// See [`ObjectError`].
    pub async fn remove(&self, name: &str) -> Result<(), ObjectError> {
        let (path, store) = (path(name)?, self.store()?);
        match within("remove", name, async { store.delete(&path).await }).await {
            Err(ObjectError::Missing { .. }) => Ok(()),
            other => other,
        }
    }

    /// The files whose names begin with `folder` and a `/`, at most `most`, in no order that means anything.
    ///
    /// # Errors
    /// See [`ObjectError`].
    pub async fn list(&self, folder: &str, most: usize) -> Result<Vec<Object>, ObjectError> {
        let (path, store) = (path(folder)?, self.store()?);
        within("list", folder, async {
            let mut found = Vec::new();
            let mut listing = store.list(Some(&path)).take(most);
            while let Some(meta) = listing.next().await {
                let meta = meta?;
                found.push(Object { name: meta.location.to_string(), length: meta.size });
            }
            Ok(found)
        })
        .await
    }
}

async fn within<T>(
    what: &'static str,
    name: &str,
    work: impl Future<Output = object_store::Result<T>>,
) -> Result<T, ObjectError> {
    match tokio::time::timeout(LIMIT, work).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(object_store::Error::NotFound { .. })) => Err(ObjectError::Missing { name: name.to_owned() }),
        Ok(Err(error)) => Err(failure(what, name, &error)),
        Err(_late) => Err(ObjectError::Late { what, name: name.to_owned() }),
    }
}

fn failure(what: &'static str, name: &str, error: &dyn std::error::Error) -> ObjectError {
    ObjectError::Failed { what, name: name.to_owned(), detail: error.to_string() }
}

fn path(name: &str) -> Result<Path, ObjectError> {
    let sound = |part: &str| {
        !part.is_empty()
            && !part.starts_with('.')
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
    };
    if name.len() > 512 || !name.split('/').all(sound) {
        return Err(ObjectError::Name);
    }
    Path::parse(name).map_err(|_invalid| ObjectError::Name)
}

fn make_folder(folder: &FolderPath) -> std::io::Result<()> {
    match std::fs::DirBuilder::new().recursive(true).mode(FOLDER_MODE & 0o777).create(folder) {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error),
    }
    open_up(folder)
}

/// Every folder from `root` to `folder`, each so that the house's group may use it whatever this process' umask is.
fn make_folders(root: &FolderPath, folder: &FolderPath) -> std::io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    if let Some(parent) = folder.parent().filter(|parent| parent.starts_with(root)) {
        make_folders(root, parent)?;
    }
    make_folder(folder)
}

/// A folder that somebody else owns stays as that one made it.
fn open_up(folder: &FolderPath) -> std::io::Result<()> {
    match std::fs::set_permissions(folder, std::fs::Permissions::from_mode(FOLDER_MODE)) {
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use ringdown_test_support::Folder;

    use super::{ObjectError, ObjectFiles, Settings};

    #[tokio::test]
    async fn what_is_put_can_be_had_whole_and_in_parts_until_it_is_removed() {
        let folder = Folder::new("objects").expect("a folder");
        let files = ObjectFiles::new(&Settings { folder: folder.path().join("kept") });
        let name = "recordings/t/2026/12/01/a-1.wav";
        files.put(name, Bytes::from_static(b"0123456789")).await.expect("put");
        assert_eq!(files.get(name).await.expect("get"), "0123456789");
        assert_eq!(files.get_part(name, 2, 3).await.expect("part"), "234");
        assert_eq!(files.look(name).await.expect("look").length, 10);
        let listed = files.list("recordings/t", 10).await.expect("list");
        assert_eq!(listed.iter().map(|object| object.name.as_str()).collect::<Vec<_>>(), [name]);
        files.remove(name).await.expect("remove");
        files.remove(name).await.expect("gone is fine");
        assert!(matches!(files.get(name).await, Err(ObjectError::Missing { .. })));
    }

    #[tokio::test]
    async fn names_that_lead_elsewhere_are_refused() {
        let folder = Folder::new("objects").expect("a folder");
        let files = ObjectFiles::new(&Settings { folder: folder.path().to_owned() });
        for name in ["", "/a", "a//b", "../a", "a/../b", "a b", ".hidden", "a/"] {
            assert!(matches!(files.get(name).await, Err(ObjectError::Name)), "{name}");
        }
    }
}

//! Files that are there whole or not at all, and only for us.

use std::fs::{DirBuilder, OpenOptions, Permissions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use anyhow::Context;

/// Makes a folder only its owner may enter; one that is there is left as it is.
pub(crate) fn make_private_folder(folder: &Path) -> anyhow::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    let mut builder = DirBuilder::new();
    builder.recursive(true).mode(0o700).create(folder).with_context(|| format!("making {}", folder.display()))
}

/// Writes a file only its owner may read: beside its place, to disk, then renamed over it.
pub(crate) fn write_private(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let new = path.with_extension(format!("new-{}", std::process::id()));
    write_new(&new, bytes).with_context(|| format!("writing {}", new.display()))?;
    std::fs::rename(&new, path).with_context(|| format!("renaming to {}", path.display()))
}

/// Writes a file only its owner may read unless there is one already; says whether it was written.
pub(crate) fn write_private_once(path: &Path, bytes: &[u8]) -> anyhow::Result<bool> {
    let new = path.with_extension(format!("new-{}", std::process::id()));
    write_new(&new, bytes).with_context(|| format!("writing {}", new.display()))?;
    // A link, unlike a rename, never replaces what somebody else has made meanwhile.
    let linked = std::fs::hard_link(&new, path);
    std::fs::remove_file(&new).with_context(|| format!("removing {}", new.display()))?;
    match linked {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error).with_context(|| format!("making {}", path.display())),
    }
}

fn write_new(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    // A leftover of a killed run keeps its own mode.
    file.set_permissions(Permissions::from_mode(0o600))?;
    file.write_all(bytes)?;
    file.sync_all()
}

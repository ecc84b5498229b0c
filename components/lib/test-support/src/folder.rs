//! A folder for the files of one test.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context;

/// A temporary folder: removed on drop, kept (and named on standard error) when the test is failing.
#[derive(Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// Makes `<temporary folder>/ringdown-test-<name>-<random>`. Other users may pass through it, since servers run as theirs.
    pub fn new(name: &str) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix(&format!("ringdown-test-{name}-")).tempdir();
        let path = folder.context("making a folder for the test")?.keep();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).context("opening the folder")?;
        Ok(Self(path))
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// A path in it.
    #[must_use]
    pub fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let told = if std::thread::panicking() {
            writeln!(std::io::stderr(), "the failing test's files are kept in {}", self.0.display())
        } else {
            std::fs::remove_dir_all(&self.0)
        };
        // Nobody is left to handle it, and a leftover folder must not fail a good test.
        drop(told);
    }
}

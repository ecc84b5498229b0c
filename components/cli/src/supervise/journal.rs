//! What all children say: one stream of lines with the name in front, on the terminal and in a file of bounded length.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use anyhow::Context;

use crate::installation::make_private_folder;
use crate::output;

/// Past this the file becomes `.1`, in place of the one before: 100 MB at the most, days of an ordinary installation.
const LENGTH_MAX: u64 = 50 * 1024 * 1024;
/// Width of the names.
const NAME_WIDTH: usize = 11;

/// The stream.
#[derive(Debug)]
pub(crate) struct Journal {
    path: PathBuf,
    terminal: bool,
    file: Mutex<(File, u64)>,
}

impl Journal {
    /// Writes to `path`, and to standard output too when `terminal`.
    pub(crate) fn open(path: &Path, terminal: bool) -> anyhow::Result<Self> {
        make_private_folder(path.parent().context("a log lies in a folder")?)?;
        let file = Mutex::new(open(path)?);
        Ok(Self { path: path.to_owned(), terminal, file })
    }

    /// A line of `name`.
    pub(crate) fn line(&self, name: &str, text: &str) {
        let line = format!("{name:NAME_WIDTH$} | {text}");
        if self.terminal {
            output::say(&line);
        }
        let mut guard = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        if guard.1 > LENGTH_MAX
            && std::fs::rename(&self.path, self.path.with_extension("log.1")).is_ok()
            && let Ok(fresh) = open(&self.path)
        {
            *guard = fresh;
        }
        // A full disk must not stop a child; the terminal, if any, has the line.
        if writeln!(guard.0, "{line}").is_ok() {
            guard.1 += line.len() as u64 + 1;
        }
    }
}

fn open(path: &Path) -> anyhow::Result<(File, u64)> {
    let file = OpenOptions::new().create(true).append(true).mode(0o600).open(path);
    let file = file.with_context(|| format!("opening {}", path.display()))?;
    let length = file.metadata().with_context(|| format!("looking at {}", path.display()))?.len();
    Ok((file, length))
}

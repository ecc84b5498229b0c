//! What every child does now: in memory for the supervisor, in a file for `ringdown status`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use anyhow::Context;
use serde::{Deserialize, Serialize};

use crate::installation::write_private;

/// What a child does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ChildState {
    /// Waits for a file it needs.
    Waiting,
    /// Runs.
    Running,
    /// Died, and will be started again.
    Dead,
    /// Was stopped.
    Stopped,
}

/// A child's row.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Row {
    /// What it does.
    pub(crate) state: ChildState,
    /// Its process id, when it runs.
    pub(crate) pid: Option<u32>,
    /// Since when, UTC milliseconds.
    pub(crate) since_ms: i64,
    /// How often it was started again.
    pub(crate) restarts: u32,
    /// How it ended the last time.
    pub(crate) last_end: Option<String>,
}

/// All rows.
#[derive(Debug)]
pub(crate) struct Board {
    path: PathBuf,
    rows: Mutex<BTreeMap<String, Row>>,
}

impl Board {
    /// An empty board that is kept in `path`.
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path, rows: Mutex::default() }
    }

    /// The rows of a supervisor, from its file.
    pub(crate) fn read(path: &Path) -> anyhow::Result<BTreeMap<String, Row>> {
        match std::fs::read(path) {
            Ok(bytes) => serde_json::from_slice(&bytes).with_context(|| format!("reading {}", path.display())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(BTreeMap::new()),
            Err(error) => Err(error).with_context(|| format!("reading {}", path.display())),
        }
    }

    /// Changes a child's row; gives the error of writing the file, which is no reason to stop a child.
    pub(super) fn set(&self, name: &str, change: impl FnOnce(&mut Row)) -> anyhow::Result<()> {
        let text = {
            let mut rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
            let now = jiff::Timestamp::now().as_millisecond();
            let fresh = Row { state: ChildState::Waiting, pid: None, since_ms: now, restarts: 0, last_end: None };
            let row = rows.entry(name.to_owned()).or_insert(fresh);
            row.since_ms = now;
            change(row);
            serde_json::to_vec_pretty(&*rows).context("encoding the board")?
        };
        write_private(&self.path, &text)
    }

    /// The rows now.
    pub(crate) fn rows(&self) -> BTreeMap<String, Row> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

//! What is known of a replacement, on the data volume: which versions, which step, how it ended. Written before each step, so
//! that a power cut leaves a course that goes on at the next boot.

use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use serde::{Deserialize, Serialize};

use super::FOLDER;
use super::course::{End, Step};
use crate::installation::{make_private_folder, write_private};

const FORMAT: u32 = 1;
/// Steps that are kept; a course has no more than seven, and power cuts add a few.
const MOST_STEPS: usize = 64;

/// A version of the product, and the bundle it is installed from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Release {
    /// Like `0.2.0`.
    pub(crate) version: String,
    /// Its bundle on the data volume.
    pub(crate) bundle: PathBuf,
}

/// A step that was begun.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Begun {
    /// Which.
    pub(crate) step: Step,
    /// When, in milliseconds since 1970.
    pub(crate) at_ms: i64,
}

/// A replacement, under way or over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Replacement {
    format: u32,
    /// What was there.
    pub(crate) from: Release,
    /// What is to be there.
    pub(crate) to: Release,
    /// Whether the operator asked to go back.
    pub(crate) back: bool,
    /// Whether Asterisk is replaced too: then calls would end, so none is taken and those in progress are waited for.
    pub(crate) ends_calls: bool,
    /// How long calls are waited for, in seconds.
    pub(crate) wait_s: u64,
    /// Whether calls that last longer are cut off.
    pub(crate) cut_calls: bool,
    /// Steps, in order.
    pub(crate) steps: Vec<Begun>,
    /// How it ended; none while it is under way.
    pub(crate) end: Option<End>,
    /// Why it did not go on.
    pub(crate) why: Option<String>,
    /// When it ended, in milliseconds since 1970.
    pub(crate) ended_at_ms: Option<i64>,
}

/// What an operator decided.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wishes {
    pub(crate) back: bool,
    pub(crate) ends_calls: bool,
    pub(crate) wait_s: u64,
    pub(crate) cut_calls: bool,
}

impl Replacement {
    /// A course that has not begun.
    pub(crate) fn new(from: Release, to: Release, wishes: Wishes) -> Self {
        let Wishes { back, ends_calls, wait_s, cut_calls } = wishes;
        let (steps, end, why, ended_at_ms) = (Vec::new(), None, None, None);
        Self { format: FORMAT, from, to, back, ends_calls, wait_s, cut_calls, steps, end, why, ended_at_ms }
    }

    fn path() -> PathBuf {
        PathBuf::from(FOLDER).join("replacement.json")
    }

    /// The last one of this host.
    pub(crate) fn read() -> anyhow::Result<Option<Self>> {
        let path = Self::path();
        let text = match std::fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| format!("reading {}", path.display())),
        };
        let record: Self = serde_json::from_slice(&text).with_context(|| format!("{} is damaged", path.display()))?;
        ensure!(record.format == FORMAT, "{} is of another version of this tool", path.display());
        Ok(Some(record))
    }

    /// To disk, whole.
    pub(crate) fn write(&self) -> anyhow::Result<()> {
        let path = Self::path();
        make_private_folder(Path::new(FOLDER))?;
        let text = serde_json::to_vec_pretty(self).context("writing the record")?;
        write_private(&path, &text)
    }

    /// Whether it is under way.
    pub(crate) fn is_open(&self) -> bool {
        self.end.is_none()
    }

    /// The step that was begun last.
    pub(crate) fn step(&self) -> Option<Step> {
        self.steps.last().map(|begun| begun.step)
    }

    /// How often it was begun.
    pub(crate) fn tries(&self, step: Step) -> u32 {
        u32::try_from(self.steps.iter().filter(|begun| begun.step == step).count()).unwrap_or(u32::MAX)
    }

    /// Notes that a step begins, on disk.
    pub(crate) fn begin(&mut self, step: Step) -> anyhow::Result<()> {
        ensure!(self.steps.len() < MOST_STEPS, "the replacement was begun again too often");
        self.steps.push(Begun { step, at_ms: now_ms() });
        self.write()
    }

    /// Notes how it ended, on disk.
    pub(crate) fn finish(&mut self, end: End) -> anyhow::Result<()> {
        self.end = Some(end);
        self.ended_at_ms = Some(now_ms());
        self.write()
    }

    /// How long this host took no new work, in milliseconds, once it is over.
    pub(crate) fn away_ms(&self) -> Option<i64> {
        let begun = self.steps.first()?.at_ms;
        let shifted = self.steps.iter().rev().find(|begun| matches!(begun.step, Step::Shift | Step::Reshift));
        Some(shifted.map(|begun| begun.at_ms).or(self.ended_at_ms)? - begun)
    }
}

/// By the host's clock.
pub(crate) fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

//! What all children say: one stream of lines with the name in front, on the terminal and in a file of bounded length.
//!
//! A child repeats what strangers sent (Asterisk above all): control characters are escaped, so that nothing moves the
//! reader's terminal, and a child that says too much is cut short, so that it does not push out what the others said.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context;

use crate::installation::make_private_folder;
use crate::output;

/// Past this the file becomes `.1`, in place of the one before: 100 MB at the most, days of an ordinary installation.
const LENGTH_MAX: u64 = 50 * 1024 * 1024;
/// Most lines of one child in a [`WINDOW`]: a start with all its lines fits; a flood fills the file in hours, not seconds.
const LINES_MAX: u32 = 1_000;
/// What [`LINES_MAX`] is counted in.
const WINDOW: Duration = Duration::from_secs(10);
/// Width of the names.
const NAME_WIDTH: usize = 11;

/// The stream.
#[derive(Debug)]
pub(crate) struct Journal {
    path: PathBuf,
    terminal: bool,
    file: Mutex<(File, u64)>,
    said: Mutex<BTreeMap<String, Said>>,
}

/// How much a child said in the present window.
#[derive(Clone, Copy, Debug)]
struct Said {
    since: Instant,
    lines: u32,
}

impl Said {
    /// Counts a line at `now`; how many were left out before, when this one may be written.
    fn count(&mut self, now: Instant) -> Option<u32> {
        let mut left_out = 0;
        if now.duration_since(self.since) >= WINDOW {
            left_out = self.lines.saturating_sub(LINES_MAX);
            *self = Self { since: now, lines: 0 };
        }
        self.lines = self.lines.saturating_add(1);
        (self.lines <= LINES_MAX).then_some(left_out)
    }
}

impl Journal {
    /// Writes to `path`, and to standard output too when `terminal`.
    pub(crate) fn open(path: &Path, terminal: bool) -> anyhow::Result<Self> {
        make_private_folder(path.parent().context("a log lies in a folder")?)?;
        let file = Mutex::new(open(path)?);
        Ok(Self { path: path.to_owned(), terminal, file, said: Mutex::default() })
    }

    /// A line of `name`, unless it said too much of late.
    pub(crate) fn line(&self, name: &str, text: &str) {
        let now = Instant::now();
        let counted = {
            let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
            said.entry(name.to_owned()).or_insert(Said { since: now, lines: 0 }).count(now)
        };
        let Some(left_out) = counted else { return };
        if left_out > 0 {
            self.write(name, &format!("({left_out} lines left out: more than {LINES_MAX} in {} s)", WINDOW.as_secs()));
        }
        self.write(name, &printable(text));
    }

    fn write(&self, name: &str, text: &str) {
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

/// The text with control characters (terminal escapes) written out; a tab is left alone.
fn printable(text: &str) -> Cow<'_, str> {
    let harmful = |letter: char| letter.is_control() && letter != '\t';
    if !text.contains(harmful) {
        return Cow::Borrowed(text);
    }
    let write_out = |letter: char| {
        let escaped: String = if harmful(letter) { letter.escape_default().collect() } else { letter.to_string() };
        escaped
    };
    Cow::Owned(text.chars().map(write_out).collect())
}

fn open(path: &Path) -> anyhow::Result<(File, u64)> {
    let file = OpenOptions::new().create(true).append(true).mode(0o600).open(path);
    let file = file.with_context(|| format!("opening {}", path.display()))?;
    let length = file.metadata().with_context(|| format!("looking at {}", path.display()))?.len();
    Ok((file, length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_cut_short_and_escapes_are_written_out() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("log/ringdown.log");
        let journal = Journal::open(&path, false).expect("a journal");
        for number in 0..10 * LINES_MAX {
            journal.line("asterisk", &format!("\u{1b}[31m{number}\r"));
        }
        journal.line("registrar", "listens");
        let text = std::fs::read_to_string(&path).expect("what was written");
        assert_eq!(text.lines().filter(|line| line.starts_with("asterisk")).count(), LINES_MAX as usize);
        assert!(text.ends_with("registrar   | listens\n"), "others are heard: {text}");
        assert!(!text.contains('\u{1b}') && text.contains("\\u{1b}[31m0\\r\n"), "{text}");
    }

    #[test]
    fn what_was_left_out_is_told() {
        let begun = Instant::now();
        let mut said = Said { since: begun, lines: 0 };
        for _ in 0..LINES_MAX {
            assert_eq!(said.count(begun), Some(0));
        }
        assert_eq!((said.count(begun), said.count(begun)), (None, None));
        assert_eq!(said.count(begun + WINDOW), Some(2));
        assert_eq!(said.count(begun + WINDOW), Some(0));
    }
}

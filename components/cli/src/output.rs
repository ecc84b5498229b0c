//! What people and programs read: lines and tables on standard output, progress on standard error.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use comfy_table::{ContentArrangement, Table, presets};
use indicatif::{ProgressBar, ProgressStyle};

/// How often progress is said where there is no terminal.
const PLAIN_EVERY: Duration = Duration::from_secs(5);

/// A line for people.
pub(crate) fn say(line: impl AsRef<str>) {
    // A reader who went away (a closed pipe) is no reason to fail what is being done.
    writeln!(std::io::stdout(), "{}", line.as_ref()).ok();
}

/// A line beside the result, on standard error.
pub(crate) fn note(line: impl AsRef<str>) {
    // As above.
    writeln!(std::io::stderr(), "{}", line.as_ref()).ok();
}

/// A value for programs.
pub(crate) fn json(value: &impl serde::Serialize) -> anyhow::Result<()> {
    say(serde_json::to_string_pretty(value)?);
    Ok(())
}

/// Says what went wrong, and gives the exit code for it.
pub(crate) fn fail(error: &anyhow::Error) -> ExitCode {
    note(format!("ringdown: {error:#}"));
    ExitCode::FAILURE
}

/// A table with this head.
pub(crate) fn table(head: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(head.to_vec());
    table
}

/// Prints a table.
pub(crate) fn print(table: &Table) {
    say(table.to_string());
}

/// Progress of long work: a bar or a spinner on a terminal, a line now and then elsewhere.
pub(crate) struct Progress {
    bar: Option<ProgressBar>,
    total: u64,
    said: Instant,
    last: String,
}

impl Progress {
    /// Work of `total` steps; 0: nobody knows how many.
    pub(crate) fn new(total: u64) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| Self::bar(total));
        Self { bar, total, said: Instant::now(), last: String::new() }
    }

    fn bar(total: u64) -> ProgressBar {
        if total == 0 {
            let bar = ProgressBar::new_spinner();
            bar.enable_steady_tick(Duration::from_millis(100));
            return bar;
        }
        let bar = ProgressBar::new(total);
        let style = ProgressStyle::with_template("{elapsed_precise} [{bar:30}] {pos}/{len} {msg}");
        bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
    }

    /// Where the work is, and what it does.
    pub(crate) fn at(&mut self, done: u64, what: impl Into<String>) {
        let what = what.into();
        if let Some(bar) = &self.bar {
            bar.set_position(done);
            bar.set_message(what);
            return;
        }
        if self.said.elapsed() >= PLAIN_EVERY || (self.total == 0 && what != self.last) {
            let count = if self.total == 0 { String::new() } else { format!("{done}/{} ", self.total) };
            note(format!("  {count}{what}"));
            self.said = Instant::now();
            self.last = what;
        }
    }

    /// The work is over.
    pub(crate) fn end(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
}

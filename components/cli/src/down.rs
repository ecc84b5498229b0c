//! `ringdown down`: tells the supervisor to stop, and waits until it has.

use std::io::ErrorKind;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::arguments::{Down, Place};
use crate::installation::Installation;
use crate::output::{self, Progress};
use crate::supervise::{Board, ChildState};

const LOOK_EVERY: Duration = Duration::from_millis(50);

pub(crate) async fn run(place: &Place, down: &Down) -> anyhow::Result<ExitCode> {
    let installation = Installation::open(place)?;
    let Some(holder) = installation.lock().holder()? else {
        output::say("nothing runs; nothing was changed");
        return Ok(ExitCode::SUCCESS);
    };
    match kill(holder, Signal::SIGTERM) {
        // It has ended by itself in this moment.
        Ok(()) | Err(Errno::ESRCH) => {}
        Err(error) => return Err(error).with_context(|| format!("telling process {holder} to stop")),
    }
    let started = Instant::now();
    let mut progress = Progress::new(0);
    // The lock is free a moment before its holder is gone.
    while installation.lock().holder()?.is_some() || still_runs(holder)? {
        if started.elapsed() > Duration::from_secs(down.wait_s) {
            progress.end();
            bail!(
                "process {holder} has not stopped in {} s; what it waits for: {}",
                down.wait_s,
                installation.log_file().display()
            );
        }
        let rows = Board::read(&installation.join("run/children.json"))?;
        let running: Vec<_> =
            rows.iter().filter(|(_, row)| row.state == ChildState::Running).map(|(name, _)| name.as_str()).collect();
        progress.at(0, format!("stopping: {}", running.join(", ")));
        tokio::time::sleep(LOOK_EVERY).await;
    }
    progress.end();
    output::say(format!("everything has stopped ({:.1} s)", started.elapsed().as_secs_f64()));
    Ok(ExitCode::SUCCESS)
}

/// Whether a process is there and no corpse that waits for its parent: a corpse has no command line.
fn still_runs(process: Pid) -> anyhow::Result<bool> {
    match std::fs::read(format!("/proc/{process}/cmdline")) {
        Ok(line) => Ok(!line.is_empty()),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound) => Ok(false),
        // It ended while it was read.
        Err(error) if error.raw_os_error() == Some(Errno::ESRCH as i32) => Ok(false),
        Err(error) => Err(error).with_context(|| format!("looking for process {process}")),
    }
}

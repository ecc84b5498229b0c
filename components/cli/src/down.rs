//! `ringdown down`: tells the supervisor to stop, and waits until it has.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};

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
    while installation.lock().holder()?.is_some() {
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

//! Keeps one child running until it is told to stop.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::sync::watch;

use super::board::{Board, ChildState};
use super::child::Child;
use super::journal::Journal;
use super::restarts::Restarts;

/// How often a needed file is looked for.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// The longest line that is passed on; a longer one is cut.
const LINE_MAX: usize = 8_192;

/// What a keeper is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    Run,
    Stop,
}

/// Starts the child, starts it again when it dies, and ends when it is told to stop and the child is gone.
pub(super) async fn keep(child: Child, mut orders: watch::Receiver<Order>, board: Arc<Board>, journal: Arc<Journal>) {
    let mut restarts = Restarts::default();
    let note = |change: &dyn Fn(&mut super::Row)| {
        if let Err(error) = board.set(child.name(), change) {
            journal.line("ringdown", &format!("the status file: {error:#}"));
        }
    };
    loop {
        if let Some(path) = child.needed()
            && !wait_for(path, &mut orders).await
        {
            break;
        }
        let started = Instant::now();
        let end = match child.command().spawn() {
            Ok(running) => {
                let pid = running.id();
                note(&|row| {
                    row.state = ChildState::Running;
                    row.pid = pid;
                });
                match attend(&child, running, &mut orders, &journal).await {
                    End::Stopped => break,
                    End::Died(how) => how,
                }
            }
            Err(error) => format!("could not be started: {error}"),
        };
        let wait = restarts.died(started.elapsed());
        journal.line("ringdown", &format!("{} {end}; it is started again in {} ms", child.name(), wait.as_millis()));
        note(&|row| {
            row.state = ChildState::Dead;
            row.pid = None;
            row.restarts += 1;
            row.last_end = Some(end.clone());
        });
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = told_to_stop(&mut orders) => break,
        }
    }
    note(&|row| {
        row.state = ChildState::Stopped;
        row.pid = None;
    });
}

enum End {
    Stopped,
    Died(String),
}

/// From start to end of one process.
async fn attend(
    child: &Child,
    mut running: tokio::process::Child,
    orders: &mut watch::Receiver<Order>,
    journal: &Arc<Journal>,
) -> End {
    let mut pumps = tokio::task::JoinSet::new();
    if let Some(stdout) = running.stdout.take() {
        pumps.spawn(pump(child.name().to_owned(), stdout, journal.clone()));
    }
    if let Some(stderr) = running.stderr.take() {
        pumps.spawn(pump(child.name().to_owned(), stderr, journal.clone()));
    }
    let end = tokio::select! {
        status = running.wait() => End::Died(match status {
            Ok(status) => format!("ended ({status})"),
            Err(error) => format!("cannot be waited for: {error}"),
        }),
        () = told_to_stop(orders) => {
            stop(child, &mut running, journal).await;
            End::Stopped
        }
    };
    // Its last words; a grandchild may hold the pipe open, and is not waited for.
    tokio::time::timeout(Duration::from_secs(1), async { while pumps.join_next().await.is_some() {} }).await.ok();
    end
}

async fn stop(child: &Child, running: &mut tokio::process::Child, journal: &Journal) {
    signal(running, child.stop_signal(), child.name(), journal);
    if let Ok(ended) = tokio::time::timeout(child.stop_limit(), running.wait()).await {
        match ended {
            Ok(status) => journal.line("ringdown", &format!("{} has stopped ({status})", child.name())),
            Err(error) => journal.line("ringdown", &format!("{} cannot be waited for: {error}", child.name())),
        }
        return;
    }
    journal.line("ringdown", &format!("{} did not stop in {:?} and is killed", child.name(), child.stop_limit()));
    if let Err(error) = running.kill().await {
        journal.line("ringdown", &format!("{} cannot be killed: {error}", child.name()));
    }
}

fn signal(running: &tokio::process::Child, signal: Signal, name: &str, journal: &Journal) {
    // None: it has ended already and was waited for.
    let Some(id) = running.id().and_then(|id| i32::try_from(id).ok()) else { return };
    if let Err(error) = kill(Pid::from_raw(id), signal) {
        journal.line("ringdown", &format!("{name} cannot be told to stop: {error}"));
    }
}

async fn told_to_stop(orders: &mut watch::Receiver<Order>) {
    // An error is a supervisor that is gone: nobody wants the child any more.
    orders.wait_for(|order| *order == Order::Stop).await.ok();
}

/// Waits for a file; false when told to stop.
async fn wait_for(path: &Path, orders: &mut watch::Receiver<Order>) -> bool {
    while !path.exists() {
        tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY) => {}
            () = told_to_stop(orders) => return false,
        }
    }
    true
}

async fn pump(name: String, stream: impl AsyncRead + Unpin, journal: Arc<Journal>) {
    let mut reader = BufReader::with_capacity(LINE_MAX, stream);
    loop {
        // Never more than the buffer: a child that writes no line end cannot fill our memory.
        let (line, used) = match reader.fill_buf().await {
            Ok([]) | Err(_) => return,
            Ok(bytes) => {
                let end = bytes.iter().position(|byte| *byte == b'\n');
                (
                    String::from_utf8_lossy(&bytes[..end.unwrap_or(bytes.len())]).into_owned(),
                    end.map_or(bytes.len(), |end| end + 1),
                )
            }
        };
        reader.consume(used);
        if !line.trim().is_empty() {
            journal.line(&name, line.trim_end());
        }
    }
}

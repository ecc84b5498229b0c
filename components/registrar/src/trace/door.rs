//! The socket by which messages are read: one question, a line of JSON; answers, a line each.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use ringdown_service::Shutdown;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{Semaphore, broadcast};

use super::selection::{Question, Selection};
use super::{Entry, Trace};

/// Longest question.
const QUESTION: u64 = 4_096;
/// How long a question and each answer may take on their way.
const PATIENCE: Duration = Duration::from_secs(10);
/// Most readers at once.
const READERS: usize = 16;

/// The socket; its file goes with it.
pub(crate) struct Door {
    listener: UnixListener,
    path: PathBuf,
    trace: Trace,
    shutdown: Shutdown,
}

impl Door {
    /// Opens the socket for its owner alone. One that a dead process left is taken over.
    pub(crate) fn open(path: &Path, trace: Trace, shutdown: Shutdown) -> anyhow::Result<Self> {
        match std::fs::remove_file(path) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error).with_context(|| format!("{} is in the way", path.display())),
        }
        let listener = UnixListener::bind(path).with_context(|| format!("opening {}", path.display()))?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
        Ok(Self { listener, path: path.to_owned(), trace, shutdown })
    }

    /// Answers until the daemon stops.
    pub(crate) async fn answer(self) -> anyhow::Result<()> {
        let readers = Arc::new(Semaphore::new(READERS));
        loop {
            let stream = tokio::select! {
                () = self.shutdown.requested() => return Ok(()),
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, _)) => stream,
                    Err(error) => {
                        log::warn!(error:% = error; "a reader of messages could not be accepted");
                        tokio::time::sleep(Duration::from_millis(100)).await;
                        continue;
                    }
                },
            };
            let Ok(place) = Arc::clone(&readers).try_acquire_owned() else { continue };
            let (trace, shutdown) = (self.trace.clone(), self.shutdown.clone());
            tokio::spawn(async move {
                tokio::select! {
                    () = shutdown.requested() => {}
                    ended = serve(stream, trace) => {
                        if let Err(error) = ended {
                            log::debug!(error:% = error; "a reader of messages left");
                        }
                    }
                }
                drop(place);
            });
        }
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.path) {
            log::debug!(error:% = error; "the socket's file was gone already");
        }
    }
}

async fn serve(stream: UnixStream, trace: Trace) -> anyhow::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut lines = BufReader::new(read.take(QUESTION));
    let mut line = String::new();
    tokio::time::timeout(PATIENCE, lines.read_line(&mut line)).await.context("no question came")??;
    let question: Question = match serde_json::from_str(&line) {
        Ok(question) => question,
        Err(error) => {
            let refusal = serde_json::json!({ "refused": format!("no question: {error}") });
            return say(&mut write, &refusal.to_string()).await;
        }
    };
    let mut selection = Selection::new(question);
    let (kept, live) = trace.read();
    for entry in kept {
        tell(&mut write, &mut selection, &entry).await?;
    }
    if !selection.follows() {
        return Ok(());
    }
    tokio::select! {
        ended = follow(&mut write, &mut selection, live) => ended,
        () = until_gone(lines.into_inner().into_inner()) => Ok(()),
    }
}

async fn follow(
    write: &mut OwnedWriteHalf,
    selection: &mut Selection,
    mut live: broadcast::Receiver<Arc<Entry>>,
) -> anyhow::Result<()> {
    loop {
        match live.recv().await {
            Ok(entry) => tell(write, selection, &entry).await?,
            Err(RecvError::Lagged(count)) => say(write, &serde_json::json!({ "missed": count }).to_string()).await?,
            Err(RecvError::Closed) => return Ok(()),
        }
    }
}

/// Until the reader closes the socket: otherwise one who waits for a quiet address would never be noticed to be gone.
async fn until_gone(mut read: OwnedReadHalf) {
    let mut byte = [0];
    while read.read(&mut byte).await.is_ok_and(|count| count > 0) {}
}

async fn tell(write: &mut OwnedWriteHalf, selection: &mut Selection, entry: &Entry) -> anyhow::Result<()> {
    if selection.wants(&entry.message) { say(write, &serde_json::to_string(entry)?).await } else { Ok(()) }
}

async fn say(write: &mut OwnedWriteHalf, line: &str) -> anyhow::Result<()> {
    tokio::time::timeout(PATIENCE, write.write_all(format!("{line}\n").as_bytes()))
        .await
        .context("the reader reads nothing")??;
    Ok(())
}

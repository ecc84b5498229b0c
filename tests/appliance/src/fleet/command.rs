//! Commands with a limit.

use std::io::{Read, Write};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

/// A command that ended.
#[derive(Clone, Debug)]
pub struct Ran {
    /// How it ended.
    pub status: ExitStatus,
    /// What it said on standard output.
    pub stdout: String,
    /// What it said on standard error.
    pub stderr: String,
}

impl Ran {
    /// Its standard output.
    ///
    /// # Errors
    /// When it was no success, with everything it said.
    pub fn success(self) -> anyhow::Result<String> {
        if !self.status.success() {
            bail!("{}\n{}{}", self.status, self.stdout, self.stderr);
        }
        Ok(self.stdout)
    }

    /// Its exit code; -1 after a signal.
    #[must_use]
    pub fn code(&self) -> i32 {
        self.status.code().unwrap_or(-1)
    }

    /// Everything it said.
    #[must_use]
    pub fn said(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }
}

/// Runs it to its end, with `input` on its standard input; kills it after `limit`.
///
/// # Errors
/// When it cannot be started, or takes longer than `limit`.
pub fn run(mut command: Command, input: Option<&[u8]>, limit: Duration) -> anyhow::Result<Ran> {
    command.stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() });
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().context("starting it")?;
    let stdout = collect(child.stdout.take());
    let stderr = collect(child.stderr.take());
    let writing = input.map(<[u8]>::to_vec).zip(child.stdin.take());
    let writer = writing.map(|(bytes, mut stdin)| std::thread::spawn(move || stdin.write_all(&bytes)));
    let ended = wait(&mut child, limit)?;
    if ended.is_none() {
        child.kill().context("killing what took too long")?;
        child.wait().context("waiting for its end")?;
    }
    if let Some(writer) = writer {
        let written = writer.join().map_err(|_| anyhow::anyhow!("writing its input panicked"))?;
        // A command that ended without reading its input has said why, by its status.
        if ended.is_some_and(|status| status.success()) {
            written.context("writing its input")?;
        }
    }
    let (stdout, stderr) = (text(stdout)?, text(stderr)?);
    match ended {
        Some(status) => Ok(Ran { status, stdout, stderr }),
        None => bail!("{command:?} took longer than {limit:?}; it said:\n{stdout}{stderr}"),
    }
}

fn wait(child: &mut Child, limit: Duration) -> anyhow::Result<Option<ExitStatus>> {
    let end = Instant::now() + limit;
    loop {
        if let Some(status) = child.try_wait().context("waiting for it")? {
            return Ok(Some(status));
        }
        if Instant::now() >= end {
            return Ok(None);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

type Collected = Option<JoinHandle<std::io::Result<Vec<u8>>>>;

fn collect(pipe: Option<impl Read + Send + 'static>) -> Collected {
    pipe.map(|mut pipe| {
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            pipe.read_to_end(&mut bytes).map(|_| bytes)
        })
    })
}

fn text(collected: Collected) -> anyhow::Result<String> {
    let Some(thread) = collected else { return Ok(String::new()) };
    let bytes = thread.join().map_err(|_| anyhow::anyhow!("reading its output panicked"))?;
    Ok(String::from_utf8_lossy(&bytes.context("reading its output")?).into_owned())
}

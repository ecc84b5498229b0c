//! Commands of the host, with a limit and with what they said.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

/// A command that only asks.
const QUICK: Duration = Duration::from_secs(30);

/// Runs it to its end; gives what it said on standard output. An error holds what it said on standard error.
pub(crate) async fn ask(program: &str, arguments: &[&str]) -> anyhow::Result<String> {
    ask_for(QUICK, program, arguments).await
}

/// The same with a limit of its own.
pub(crate) async fn ask_for(limit: Duration, program: &str, arguments: &[&str]) -> anyhow::Result<String> {
    let mut command = Command::new(program);
    command.args(arguments).env("LC_ALL", "C.UTF-8").stdin(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(limit, command.output()).await;
    let output = output.with_context(|| format!("{program} has not ended in {} s", limit.as_secs()))?;
    let output = output.with_context(|| format!("starting {program}"))?;
    if !output.status.success() {
        bail!("{program} {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// How a command ended whose lines were passed on.
#[derive(Debug)]
pub(crate) struct Ended {
    /// Its exit code; -1 after a signal.
    pub(crate) code: i32,
    /// What it said on standard error, its end.
    pub(crate) complaint: String,
}

/// Runs a long command, passing on each line it says.
pub(crate) async fn follow(
    limit: Duration,
    program: &Path,
    arguments: &[&str],
    settings: &[(&str, &str)],
    mut line: impl FnMut(&str),
) -> anyhow::Result<Ended> {
    let mut command = Command::new(program);
    // What the operator's shell has must not become a host's configuration.
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("RINGDOWN_") || text.starts_with("INSTALL_RINGDOWN_") {
            command.env_remove(&name);
        }
    }
    command.args(arguments).envs(settings.iter().copied()).stdin(Stdio::null()).kill_on_drop(true);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("starting {}", program.display()))?;
    let mut said = BufReader::new(child.stdout.take().context("standard output was asked for")?).lines();
    let mut complained = BufReader::new(child.stderr.take().context("standard error was asked for")?).lines();
    let mut complaint: Vec<String> = Vec::new();
    let work = async {
        let (mut saying, mut complaining) = (true, true);
        while saying || complaining {
            tokio::select! {
                text = said.next_line(), if saying => match text? {
                    Some(text) => line(&text),
                    None => saying = false,
                },
                text = complained.next_line(), if complaining => match text? {
                    Some(text) => {
                        // The end tells why.
                        if complaint.len() == COMPLAINT { complaint.remove(0); }
                        complaint.push(text);
                    }
                    None => complaining = false,
                },
            }
        }
        child.wait().await
    };
    let status = tokio::time::timeout(limit, work).await;
    let status = status.with_context(|| format!("{} has not ended in {} s", program.display(), limit.as_secs()))?;
    let status = status.with_context(|| format!("running {}", program.display()))?;
    Ok(Ended { code: status.code().unwrap_or(-1), complaint: complaint.join("\n") })
}

/// Lines of a complaint that are kept.
const COMPLAINT: usize = 60;

//! `ringdown sip trace`: what the registrar of this host received and sent, read over its socket.

mod capture;
mod ladder;
mod message;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::UnixStream;
use tokio::net::unix::OwnedReadHalf;

use crate::appliance::Appliance;
use crate::arguments::{Place, Sip, SipCommand, SipTrace};
use crate::installation::Installation;
use crate::output;
use ladder::Ladder;
use message::{Answer, SipMessage};

/// How long the registrar may take to say the next of what it has.
const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) async fn run(place: &Place, sip: Sip) -> anyhow::Result<ExitCode> {
    let SipCommand::Trace(trace) = sip.what;
    let mut answers = ask(place, &trace).await?;
    if let Some(file) = &trace.pcap {
        return write_capture(&mut answers, file).await;
    }
    let mut ladder = Ladder::default();
    let mut seen = 0_u64;
    while let Some(answer) = next(&mut answers, trace.live).await? {
        match answer {
            Answer::Refused { refused } => bail!("the registrar: {refused}"),
            Answer::Missed { missed } => output::note(format!("{missed} messages came faster than they were read")),
            Answer::Message(message) => {
                seen += 1;
                show(&trace, &mut ladder, &message)?;
            }
        }
    }
    if seen == 0 && !trace.json {
        output::note(format!("no message of {} within the last hour", trace.what));
    }
    Ok(ExitCode::SUCCESS)
}

fn show(trace: &SipTrace, ladder: &mut Ladder, message: &SipMessage) -> anyhow::Result<()> {
    if trace.json {
        output::say(serde_json::to_string(message)?);
        return Ok(());
    }
    ladder.lines(message).into_iter().for_each(output::say);
    if trace.full {
        message.message.lines().for_each(|line| output::say(format!("    {line}")));
    }
    Ok(())
}

async fn write_capture(answers: &mut Lines<BufReader<OwnedReadHalf>>, file: &PathBuf) -> anyhow::Result<ExitCode> {
    let mut messages = Vec::new();
    while let Some(answer) = next(answers, false).await? {
        match answer {
            Answer::Refused { refused } => bail!("the registrar: {refused}"),
            Answer::Missed { .. } => {}
            Answer::Message(message) => messages.push(message),
        }
    }
    let bytes = capture::capture(&messages)?;
    std::fs::write(file, bytes).with_context(|| format!("writing {}", file.display()))?;
    output::say(format!("{} messages in {}", messages.len(), file.display()));
    Ok(ExitCode::SUCCESS)
}

async fn ask(place: &Place, trace: &SipTrace) -> anyhow::Result<Lines<BufReader<OwnedReadHalf>>> {
    let socket = match &trace.socket {
        Some(socket) => socket.clone(),
        None => default_socket(place)?,
    };
    let stream = UnixStream::connect(&socket).await.with_context(|| {
        format!(
            "{}: is a registrar running on this host, and are you root? (--socket names another one)",
            socket.display()
        )
    })?;
    let (read, mut write) = stream.into_split();
    let of = (trace.what != "all").then_some(&trace.what);
    let question = serde_json::json!({ "of": of, "follow": trace.live });
    write.write_all(format!("{question}\n").as_bytes()).await.context("asking the registrar")?;
    // Dropped, it would tell that nobody listens any more.
    write.forget();
    Ok(BufReader::new(read).lines())
}

fn default_socket(place: &Place) -> anyhow::Result<PathBuf> {
    match Appliance::find(place)? {
        Some(_) => Ok(PathBuf::from("/var/lib/ringdown/registrar/trace.sock")),
        None => Ok(Installation::open(place)?.join("registrar/trace.sock")),
    }
}

/// The next answer; none at the end, and when a person ends it.
async fn next(answers: &mut Lines<BufReader<OwnedReadHalf>>, is_live: bool) -> anyhow::Result<Option<Answer>> {
    let line = if is_live {
        tokio::select! {
            line = answers.next_line() => line?,
            ended = tokio::signal::ctrl_c() => return ended.map(|()| None).map_err(Into::into),
        }
    } else {
        tokio::time::timeout(PATIENCE, answers.next_line()).await.context("the registrar says nothing more")??
    };
    line.map(|line| serde_json::from_str(&line).context("the registrar is of another version")).transpose()
}

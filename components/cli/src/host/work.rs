//! Performs a replacement, step by step, from wherever its record stands. It runs as a unit of its own, from a copy of this
//! tool on the data volume: it needs neither the version that goes nor the one that comes, survives the end of the
//! operator's terminal, and goes on at the next boot after a power cut.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail, ensure};

use super::command::{ask, ask_for, follow};
use super::course::{End, Next, Step};
use super::record::{Release, Replacement};
use super::{bundle, drain, unit};
use crate::appliance::Appliance;
use crate::arguments::Place;
use crate::output;

/// An installer's run: packages, configuration, start, health.
const INSTALL_LIMIT: Duration = Duration::from_secs(900);
/// A test call.
const CALL_LIMIT: Duration = Duration::from_secs(120);
/// What the installers said.
const LOG: &str = "/var/log/ringdown/replacement.log";

/// Goes on with the replacement that is recorded.
pub(crate) async fn run(place: &Place) -> anyhow::Result<ExitCode> {
    let Some(mut record) = Replacement::read()?.filter(Replacement::is_open) else {
        // The power was cut between the record's end and the unit's.
        unit::remove().await?;
        output::say("no replacement is under way");
        return Ok(ExitCode::SUCCESS);
    };
    let appliance = Appliance::find(place)?.context("this host was not set up by packages")?;
    let mut next = match record.step() {
        None => Next::Step(Step::Drain),
        Some(step) => step.resumed(record.tries(step)),
    };
    let end = loop {
        match next {
            Next::End(end) => break end,
            Next::Step(step) => {
                record.begin(step)?;
                output::note(format!("{} -> {}: {}", record.from.version, record.to.version, step.words()));
                let outcome = perform(&appliance, &mut record, step).await;
                if let Err(error) = &outcome {
                    let why = format!("{}: {error:#}", step.words());
                    output::note(format!("not good: {why}"));
                    record.why.get_or_insert(why);
                }
                next = step.next(outcome.is_ok());
            }
        }
    };
    close(&appliance, &mut record, end).await
}

async fn close(appliance: &Appliance, record: &mut Replacement, end: End) -> anyhow::Result<ExitCode> {
    // Whatever happened, the host is not left aside; Stuck says so aloud.
    drain::end()?;
    if let Err(error) = drain::undo(appliance).await {
        output::note(format!("{error:#}"));
    }
    if end == End::Done {
        bundle::forget_others(&[&record.from, &record.to]).await?;
    }
    record.finish(end)?;
    unit::remove().await?;
    output::note(format!("ended: {end:?}"));
    // A host that came back by itself has no failed unit: who asked is told by the record.
    Ok(if end == End::Stuck { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

async fn perform(appliance: &Appliance, record: &mut Replacement, step: Step) -> anyhow::Result<()> {
    if step.is_drained() && !drain::is_drained() && step != Step::Drain {
        // A boot has taken the mark away.
        drain::begin(appliance, kept(record)).await.or_else(|error| {
            output::note(format!("{error:#}"));
            // Daemons that do not answer are what is being replaced.
            anyhow::Ok(())
        })?;
    }
    match step {
        Step::Drain => keep_work_away(appliance, record).await,
        Step::Switch => install(&record.to, is_older(record)).await,
        Step::Judge => judge(&record.to).await,
        Step::Shift => drain::undo(appliance).await,
        Step::Call => call(appliance).await,
        Step::Return => {
            install(&record.from, true).await?;
            judge(&record.from).await
        }
        Step::Reshift => drain::undo(appliance).await,
    }
}

/// An operator who goes back installs an older version.
fn is_older(record: &Replacement) -> bool {
    record.back
}

fn kept(record: &Replacement) -> drain::Kept {
    if record.ends_calls { drain::Kept::Calls } else { drain::Kept::Requests }
}

async fn keep_work_away(appliance: &Appliance, record: &Replacement) -> anyhow::Result<()> {
    drain::begin(appliance, kept(record)).await?;
    if !record.ends_calls {
        return Ok(());
    }
    let limit = Duration::from_secs(record.wait_s);
    let left =
        drain::wait_for_calls(appliance, limit, |count| output::note(format!("  {count} calls in progress"))).await;
    if !left.is_none() && !record.cut_calls {
        bail!("{left} have not ended in {} s: wait longer (--wait-s), or cut them off (--cut-calls)", record.wait_s);
    }
    Ok(())
}

/// The version's own installer, which checks, installs, configures, starts what changed and looks at its health.
async fn install(release: &Release, back: bool) -> anyhow::Result<()> {
    bundle::check(&release.bundle).await?;
    let mut log = open_log()?;
    let place = release.bundle.to_string_lossy();
    let settings = [
        ("INSTALL_RINGDOWN_BUNDLE", &*place),
        ("INSTALL_RINGDOWN_SKIP_CALL", "yes"),
        ("INSTALL_RINGDOWN_REPLACE", if back { "back" } else { "forward" }),
    ];
    let installer = release.bundle.join("first_boot_installer");
    let mut written = Ok(());
    let ended = follow(INSTALL_LIMIT, &installer, &[], &settings, |line| {
        if line.starts_with('[') {
            output::note(format!("  {line}"));
        }
        if written.is_ok() {
            written = writeln!(log, "{line}");
        }
    })
    .await?;
    written.and_then(|()| writeln!(log, "{}", ended.complaint)).with_context(|| format!("writing {LOG}"))?;
    let code = ended.code;
    ensure!(code == 0, "the installer of {} ended with {code} ({}), {LOG} says more", release.version, meaning(code));
    Ok(())
}

/// Of the installer's exit codes.
fn meaning(code: i32) -> &'static str {
    match code {
        2 => "it refused this host",
        3 => "packages could not be installed",
        4 => "it is not healthy",
        78 => "a variable is wrong",
        _ => "it was cut off",
    }
}

fn open_log() -> anyhow::Result<std::fs::File> {
    let folder = Path::new(LOG).parent().context("the log lies in a folder")?;
    std::fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    let mut options = std::fs::OpenOptions::new();
    options.create(true).append(true).mode(0o600).open(LOG).with_context(|| format!("opening {LOG}"))
}

/// Is every package of ours that version's? The installer has seen that all are healthy.
async fn judge(release: &Release) -> anyhow::Result<()> {
    let installed = ask("dpkg-query", &["-W", "-f=${db:Status-Status} ${Package} ${Version}\n", "ringdown*"]).await?;
    let wanted = format!("{}-", release.version);
    let others = installed.lines().filter_map(|line| line.strip_prefix("installed "));
    let others: Vec<_> =
        others.filter(|line| !line.split(' ').nth(1).is_some_and(|version| version.starts_with(&wanted))).collect();
    ensure!(others.is_empty(), "these are not of version {}: {}", release.version, others.join(", "));
    let status = ask("/usr/bin/ringdown", &["status"]).await;
    status.map(drop).context("not healthy")
}

/// By the tool of the version that has come. On a host without voice there is nothing to call.
async fn call(appliance: &Appliance) -> anyhow::Result<()> {
    let voice = appliance.has("asterisk") && appliance.has("registrar");
    if !voice || appliance.secret("OPERATOR_TOKEN")?.is_none() {
        return Ok(());
    }
    let words = ["sim", "calls", "--calls", "1", "--agents", "1"];
    ask_for(CALL_LIMIT, "/usr/bin/ringdown", &words).await.map(drop).context("the test call failed")
}

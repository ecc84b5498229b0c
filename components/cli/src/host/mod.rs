//! `ringdown host`: this host out of work and back, to another version and back, and away from its data volume.
//!
//! ```text
//! replace --bundle B                                    unit ringdown-replacement (a copy of this tool, on the data volume)
//!   B: signature, content, copied to bundles/<version>    drain -> switch -> judge -> shift -> test call      see `course`
//!   B's installer: --dry-run   (the new version judges      each step is recorded before it begins; a boot goes on with it
//!   configuration, data, version path; nothing stops)
//! ```
//! On the data volume: `host/replacement.json`, `host/ringdown`, `bundles/<version>/` of the version that runs and of the one
//! before. Nothing here touches data: that is the daemons' own, and versions next to each other work on the same.

mod bundle;
mod command;
mod course;
mod drain;
mod record;
mod release;
mod unit;
mod work;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use serde::Serialize;
use serde_json::Value;

use crate::appliance::Appliance;
use crate::arguments::{Host, HostCommand, HostDrain, HostReplace, HostRollback, Place};
use crate::installation::{Held, Lock};
use crate::output;
use command::follow;
use course::End;
use drain::Kept;
use record::{Release, Replacement, Wishes};

/// Where all of this is kept.
const FOLDER: &str = "/var/lib/ringdown/host";
/// Who works on this host; not on the data volume, which has to be free to go.
const LOCK: &str = "/run/ringdown-host.lock";
/// What first boot has recorded: which version is here.
const FIRST_BOOT: &str = "/var/lib/ringdown/first-boot.json";
/// The Asterisk that is unpacked here.
const ASTERISK: &str = "/usr/lib/ringdown/asterisk-root/.ringdown-archive";
/// The new version's own look at this host.
const PREFLIGHT_LIMIT: Duration = Duration::from_secs(300);
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// A unit that was asked to start has by then.
const START_LIMIT: Duration = Duration::from_secs(10);

pub(crate) async fn run(place: &Place, host: Host) -> anyhow::Result<ExitCode> {
    let appliance = Appliance::find(place)?;
    let appliance =
        appliance.context("this host was not set up by packages; there is nothing to drain or to replace")?;
    ensure!(nix::unistd::geteuid().is_root(), "run it as root");
    match host.what {
        HostCommand::Status => status(&appliance).await,
        HostCommand::Drain(options) => {
            // It may wait for long, and must leave room for its own --undo.
            drop(alone()?);
            drain(&appliance, &options).await
        }
        HostCommand::Replace(options) => replace(&appliance, &options, alone()?).await,
        HostCommand::Rollback(options) => rollback(&appliance, &options, alone()?).await,
        HostCommand::Release(options) => {
            let _held = alone()?;
            release::run(&appliance, &options).await
        }
        HostCommand::Resume => {
            let _held = alone_soon().await?;
            work::run(place).await
        }
    }
}

/// Two that change this host at a time would undo each other's work.
fn alone() -> anyhow::Result<Held> {
    let held = Lock::at(LOCK.into()).take().with_context(|| format!("taking {LOCK}"))?;
    held.context("another `ringdown host` is at work: ringdown host status")
}

/// The same for the unit, to which a command gives its place.
async fn alone_soon() -> anyhow::Result<Held> {
    let began = Instant::now();
    loop {
        match alone() {
            Err(_) if began.elapsed() < START_LIMIT => tokio::time::sleep(LOOK_EVERY).await,
            taken => return taken,
        }
    }
}

#[derive(Serialize)]
struct Status {
    version: String,
    previous: Option<String>,
    drained: bool,
    calls: Option<u64>,
    replacement: Option<Replacement>,
}

async fn status(appliance: &Appliance) -> anyhow::Result<ExitCode> {
    let replacement = Replacement::read()?;
    let version = current_version()?;
    let previous = replacement.as_ref().and_then(|record| before(record, &version));
    output::json(&Status {
        previous: previous.map(|release| release.version),
        version,
        drained: drain::is_drained(),
        calls: drain::calls(appliance).await,
        replacement,
    })?;
    Ok(ExitCode::SUCCESS)
}

async fn drain(appliance: &Appliance, options: &HostDrain) -> anyhow::Result<ExitCode> {
    refuse_if_under_way()?;
    if options.undo {
        drain::undo(appliance).await?;
        output::say("this host takes new work again");
        return Ok(ExitCode::SUCCESS);
    }
    drain::begin(appliance, Kept::Calls).await?;
    let limit = Duration::from_secs(options.wait_s);
    let began = Instant::now();
    let left = drain::wait_for_calls(appliance, limit, |count| {
        output::note(format!("[{:4}s] {count} calls in progress", began.elapsed().as_secs()));
    })
    .await;
    if !left.is_none() {
        output::say(format!(
            "this host takes no new work; {left} have not ended in {} s. Wait on: the same command; back: --undo",
            options.wait_s
        ));
        return Ok(ExitCode::FAILURE);
    }
    output::say("this host takes no new work, and no call is left on it; back: ringdown host drain --undo");
    Ok(ExitCode::SUCCESS)
}

/// The version first boot, or the last replacement, has recorded.
fn current_version() -> anyhow::Result<String> {
    let text = std::fs::read(FIRST_BOOT).with_context(|| format!("reading {FIRST_BOOT}: first boot has not ended"))?;
    let record: Value = serde_json::from_slice(&text).with_context(|| format!("{FIRST_BOOT} is damaged"))?;
    let version = record["version"].as_str().map(str::to_owned);
    version.with_context(|| format!("{FIRST_BOOT} names no version"))
}

fn refuse_if_under_way() -> anyhow::Result<()> {
    if Replacement::read()?.is_some_and(|record| record.is_open()) {
        bail!("a replacement is under way: ringdown host status; after a fault it goes on by: ringdown host resume");
    }
    Ok(())
}

/// What can be gone back to.
fn before(record: &Replacement, version: &str) -> Option<Release> {
    let fits = record.end == Some(End::Done) && !record.back && record.to.version == version;
    fits.then(|| record.from.clone())
}

async fn replace(appliance: &Appliance, options: &HostReplace, held: Held) -> anyhow::Result<ExitCode> {
    refuse_if_under_way()?;
    let version = current_version()?;
    output::note(format!("checks and keeps the bundle {}", options.bundle.display()));
    let Some(to) = bundle::keep(&options.bundle, &version).await? else {
        output::say(format!("this host has version {version} already; nothing was changed"));
        return Ok(ExitCode::SUCCESS);
    };
    let kept = match bundle::kept(&version) {
        Some(kept) if bundle::check(&kept.bundle).await.is_ok() => Some(kept),
        Some(_) | None => None,
    };
    let from = match kept {
        Some(kept) => kept,
        None => bundle::keep_previous(options.previous.as_deref(), &version).await?,
    };
    preflight(&to, "forward").await?;
    let ends_calls = ends_calls(appliance, &to).await?;
    if options.dry_run {
        let calls = if ends_calls { "Asterisk is replaced too: calls have to end" } else { "calls go on" };
        output::say(format!("{version} can be replaced by {} ({calls}); nothing was changed", to.version));
        return Ok(ExitCode::SUCCESS);
    }
    let (wait_s, cut_calls) = (options.wait_s, options.cut_calls);
    begin(Replacement::new(from, to, Wishes { back: false, ends_calls, wait_s, cut_calls }), held).await
}

async fn rollback(appliance: &Appliance, options: &HostRollback, held: Held) -> anyhow::Result<ExitCode> {
    refuse_if_under_way()?;
    let version = current_version()?;
    let last = Replacement::read()?;
    let to = last.as_ref().and_then(|record| before(record, &version));
    let to =
        to.with_context(|| format!("there is no version before {version} on this host that could be gone back to"))?;
    ensure!(to.bundle.is_dir(), "the bundle of {} is not in {} any more", to.version, to.bundle.display());
    let from = bundle::kept(&version).with_context(|| format!("the bundle of {version} is not kept"))?;
    bundle::check(&to.bundle).await?;
    preflight(&to, "back").await?;
    let ends_calls = ends_calls(appliance, &to).await?;
    let (wait_s, cut_calls) = (options.wait_s, options.cut_calls);
    begin(Replacement::new(from, to, Wishes { back: true, ends_calls, wait_s, cut_calls }), held).await
}

/// Whether this host's Asterisk, and its calls with it, ends when that version comes.
async fn ends_calls(appliance: &Appliance, to: &Release) -> anyhow::Result<bool> {
    if !appliance.has("asterisk") {
        return Ok(false);
    }
    let unpacked = std::fs::read_to_string(ASTERISK).ok().map(|text| text.trim().to_owned());
    Ok(bundle::asterisk_of(&to.bundle).await? != unpacked || bundle::starts_asterisk_anew(&to.bundle).await?)
}

/// The other version looks at configuration, data and version path, before anything stops.
async fn preflight(to: &Release, direction: &str) -> anyhow::Result<()> {
    output::note(format!("{} looks at this host", to.version));
    let place = to.bundle.to_string_lossy();
    let settings = [("INSTALL_RINGDOWN_BUNDLE", &*place), ("INSTALL_RINGDOWN_REPLACE", direction)];
    let installer = to.bundle.join("first_boot_installer");
    let ended = follow(PREFLIGHT_LIMIT, &installer, &["--dry-run"], &settings, |_| {}).await?;
    ensure!(ended.code == 0, "{} cannot be used here; nothing was changed:\n{}", to.version, ended.complaint);
    Ok(())
}

/// Gives it to the unit, and tells what happens until it is over.
async fn begin(record: Replacement, held: Held) -> anyhow::Result<ExitCode> {
    record.write()?;
    drop(held);
    unit::start().await?;
    let began = Instant::now();
    let (mut told, mut idle_since) = (0, Instant::now());
    let record = loop {
        let record = Replacement::read()?.context("the record of the replacement is gone")?;
        for begun in &record.steps[told.min(record.steps.len())..] {
            output::note(format!("[{:4}s] {}", began.elapsed().as_secs(), begun.step.words()));
        }
        told = record.steps.len();
        if !record.is_open() {
            break record;
        }
        if unit::runs().await {
            idle_since = Instant::now();
        }
        ensure!(
            idle_since.elapsed() < START_LIMIT,
            "nobody goes on with the replacement: journalctl -u ringdown-replacement, then: ringdown host resume"
        );
        tokio::time::sleep(LOOK_EVERY).await;
    };
    tell(&record)
}

fn tell(record: &Replacement) -> anyhow::Result<ExitCode> {
    let why = record.why.as_deref().unwrap_or("");
    let (from, to) = (&record.from.version, &record.to.version);
    let away = record.away_ms().unwrap_or(0);
    match record.end.context("the replacement is over")? {
        End::Done => {
            output::say(format!("this host runs {to}; it took no new work of a load balancer for {away} ms"));
            return Ok(ExitCode::SUCCESS);
        }
        End::Kept => output::say(format!("nothing was changed, {from} goes on: {why}")),
        End::Returned => output::say(format!("{to} did not work here, and {from} is back after {away} ms: {why}")),
        End::Stuck => output::say(format!(
            "neither {to} nor {from} works; a person is needed: ringdown doctor, /var/log/ringdown/replacement.log: {why}"
        )),
    }
    Ok(ExitCode::FAILURE)
}

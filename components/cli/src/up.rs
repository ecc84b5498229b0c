//! `ringdown up`: the whole installation on this host, in the foreground or in the background.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::IsTerminal;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use nix::sys::stat::{Mode, umask};
use tokio::signal::unix::{SignalKind, signal};

use crate::appliance::Appliance;
use crate::arguments::{Place, Up};
use crate::installation::{Decided, Installation, Ports, make_private_folder};
use crate::operator::Reader;
use crate::output::{self, Progress};
use crate::supervise::{AsteriskPlace, Board, ChildState, Journal, Plan, Supervisor, postgres};
use crate::{health, operator};

/// How often health is asked.
const ASK_EVERY: Duration = Duration::from_millis(250);
/// A child that has died so often before everything was healthy once will not come by itself.
const DEATHS_MAX: u32 = 5;
/// What a supervisor in the background says beside the log: why it could not begin, or gave up.
const SUPERVISOR_LOG: &str = "log/supervisor.log";
/// The file that says that everything was healthy since the supervisor's start.
const HEALTHY: &str = "run/healthy";

pub(crate) async fn run(place: &Place, up: &Up) -> anyhow::Result<ExitCode> {
    if Appliance::find(place)?.is_some() {
        bail!(
            "this host was set up by packages, and systemd runs it: systemctl start ringdown.target (or name a folder by --data)"
        );
    }
    // Servers with users of their own must reach what is made here, whatever the caller's umask; what is private has modes of its own.
    umask(Mode::from_bits_truncate(0o022));
    postgres::check_folder(&Installation::folder_of(place)?)?;
    let installation =
        Installation::open_or_make(place, || Decided::new(Ports::decide(up.ports, &up.chosen_ports)?, up.address))?;
    if up.supervisor {
        return supervise(&installation, up, false).await;
    }
    if let Some(holder) = installation.lock().holder()? {
        output::say(format!("already running (process {holder}); nothing was changed"));
        operator::announce(&installation, Reader::Person)?;
        return Ok(ExitCode::SUCCESS);
    }
    if up.detach { detach(&installation, up).await } else { supervise(&installation, up, true).await }
}

fn plan(installation: &Installation, up: &Up) -> anyhow::Result<Plan> {
    let programs = match &up.bin_dir {
        Some(folder) => std::path::absolute(folder).context("making --bin-dir absolute")?,
        None => {
            let own = std::env::current_exe().context("finding this program")?;
            own.parent().context("a program lies in a folder")?.to_owned()
        }
    };
    for name in &up.without {
        if !health::PARTS.contains(&name.as_str()) {
            bail!("--without {name}: the parts are {}", health::PARTS.join(", "));
        }
    }
    let runs_asterisk = !up.without.iter().any(|name| name == "asterisk");
    let asterisk = runs_asterisk.then(|| AsteriskPlace::find(installation, up.asterisk_root.as_deref())).transpose()?;
    Ok(Plan { programs, asterisk, without: up.without.clone() })
}

/// This process becomes the supervisor.
async fn supervise(installation: &Installation, up: &Up, terminal: bool) -> anyhow::Result<ExitCode> {
    let Some(_held) = installation.lock().take()? else {
        bail!("another supervisor has this installation");
    };
    remove_if_there(installation.join(HEALTHY))?;
    let plan = plan(installation, up)?;
    let journal = Arc::new(Journal::open(&installation.log_file(), terminal)?);
    let board = Arc::new(Board::new(installation.join("run/children.json")));
    let mut supervisor = Supervisor::new(board.clone(), journal.clone());
    let mut terminated = signal(SignalKind::terminate()).context("listening for SIGTERM")?;
    let mut interrupted = signal(SignalKind::interrupt()).context("listening for SIGINT")?;
    let mut hung_up = signal(SignalKind::hangup()).context("listening for SIGHUP")?;
    let work = async {
        bring_up(installation, up, &plan, &mut supervisor, &board, &journal).await?;
        if terminal {
            output::say(format!("everything is healthy; Ctrl-C stops it. Log: {}", installation.log_file().display()));
            let person = std::io::stdout().is_terminal();
            operator::announce(installation, if person { Reader::Person } else { Reader::Log })?;
        }
        // From here on only a signal ends it.
        std::future::pending::<anyhow::Result<()>>().await
    };
    let outcome = tokio::select! {
        outcome = work => outcome,
        _ = terminated.recv() => Ok(()),
        _ = interrupted.recv() => Ok(()),
        _ = hung_up.recv() => Ok(()),
    };
    if let Err(error) = &outcome {
        journal.line("ringdown", &format!("{error:#}"));
    }
    journal.line("ringdown", "stops everything");
    supervisor.stop().await?;
    remove_if_there(installation.join(HEALTHY))?;
    journal.line("ringdown", "everything has stopped");
    outcome.map(|()| ExitCode::SUCCESS)
}

/// Starts everything and waits until it is healthy.
async fn bring_up(
    installation: &Installation,
    up: &Up,
    plan: &Plan,
    supervisor: &mut Supervisor,
    board: &Board,
    journal: &Journal,
) -> anyhow::Result<()> {
    let started = Instant::now();
    let limit = Duration::from_secs(up.wait_s);
    for child in plan.prepare(installation).await? {
        let name = child.name().to_owned();
        journal.line("ringdown", &format!("starts {name}"));
        supervisor.start(child);
        // Nothing else may be first in PostgreSQL: the daemons find their database there.
        if name == "postgres" {
            wait_healthy(installation, &["postgres"], started, limit, board, journal).await?;
            postgres::make_database(installation).await.context("making the database")?;
        }
        // Nor before it has made the tables.
        if name == "web-api" {
            wait_healthy(installation, &["web-api"], started, limit, board, journal).await?;
            operator::make(installation, &plan.programs).await?;
        }
    }
    let parts: Vec<&str> = health::PARTS.into_iter().filter(|part| plan.runs(part)).collect();
    wait_healthy(installation, &parts, started, limit, board, journal).await?;
    std::fs::write(installation.join(HEALTHY), b"").context("noting that everything is healthy")?;
    journal.line("ringdown", &format!("everything is healthy after {:.1} s", started.elapsed().as_secs_f64()));
    Ok(())
}

async fn wait_healthy(
    installation: &Installation,
    parts: &[&str],
    started: Instant,
    limit: Duration,
    board: &Board,
    journal: &Journal,
) -> anyhow::Result<()> {
    let mut said: BTreeMap<&str, String> = BTreeMap::new();
    loop {
        let mut missing = Vec::new();
        for part in parts {
            let health = health::ask(installation, part).await;
            if said.get(part) != Some(&health.says) {
                journal.line("ringdown", &format!("{part}: {}", health.says));
                said.insert(part, health.says.clone());
            }
            if !health.ready {
                missing.push(format!("{part} {}", health.says));
            }
        }
        if missing.is_empty() {
            return Ok(());
        }
        let hopeless =
            board.rows().into_iter().find(|(_, row)| row.restarts >= DEATHS_MAX && row.state != ChildState::Running);
        if let Some((name, row)) = hopeless {
            bail!(
                "{name} does not stay alive: it {}; its lines in the log say why: grep '^{name} '",
                row.last_end.unwrap_or_default()
            );
        }
        if started.elapsed() > limit {
            bail!("not healthy after {} s: {}", limit.as_secs(), missing.join("; "));
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
}

/// Starts a supervisor in the background and waits with progress until it says that everything is healthy.
async fn detach(installation: &Installation, up: &Up) -> anyhow::Result<ExitCode> {
    // What would make the supervisor fail at once is said here, where somebody reads.
    let plan = plan(installation, up)?;
    remove_if_there(installation.join(HEALTHY))?;
    let mut background = spawn_supervisor(installation, up, &plan)?;
    let mut progress = Progress::new(0);
    let started = Instant::now();
    while !installation.join(HEALTHY).exists() {
        if let Some(status) = background.try_wait().context("waiting for the supervisor")? {
            progress.end();
            bail!("{} ({status}); the whole log: {}", last_words(installation), installation.log_file().display());
        }
        let mut waits = Vec::new();
        for part in health::PARTS.into_iter().filter(|part| plan.runs(part)) {
            if !health::ask(installation, part).await.ready {
                waits.push(part);
            }
        }
        let what = if waits.is_empty() {
            "making the administrator".to_owned()
        } else {
            format!("waiting for {}", waits.join(", "))
        };
        progress.at(0, format!("{what} ({} s)", started.elapsed().as_secs() / 5 * 5));
        tokio::time::sleep(ASK_EVERY).await;
    }
    progress.end();
    output::say(format!(
        "everything runs (supervisor {}, {:.1} s); `ringdown status` shows it, `ringdown down` stops it",
        background.id(),
        started.elapsed().as_secs_f64()
    ));
    operator::announce(installation, Reader::Person)?;
    Ok(ExitCode::SUCCESS)
}

/// The same program again, out of our terminal's session.
fn spawn_supervisor(installation: &Installation, up: &Up, plan: &Plan) -> anyhow::Result<std::process::Child> {
    make_private_folder(&installation.join("log"))?;
    let path = installation.join(SUPERVISOR_LOG);
    let log = OpenOptions::new().create(true).append(true).mode(0o600).open(&path);
    let log = log.with_context(|| format!("opening {}", path.display()))?;
    let mut command = Command::new("setsid");
    command.arg(std::env::current_exe().context("finding this program")?);
    command.arg("--data").arg(installation.folder()).args(["up", "--supervisor"]);
    command.arg("--wait-s").arg(up.wait_s.to_string()).arg("--bin-dir").arg(&plan.programs);
    if let Some(root) = &up.asterisk_root {
        command.arg("--asterisk-root").arg(root);
    }
    for name in &up.without {
        command.arg("--without").arg(name);
    }
    // A child of ours leads no process group, so setsid becomes the supervisor instead of forking it: the id stays.
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).current_dir("/");
    command.spawn().context("starting the supervisor")
}

/// Why the supervisor gave up: its last line on standard error.
fn last_words(installation: &Installation) -> String {
    let text = std::fs::read_to_string(installation.join(SUPERVISOR_LOG)).unwrap_or_default();
    text.lines().last().map_or_else(
        || "the supervisor ended without a word".to_owned(),
        |line| line.trim_start_matches("ringdown: ").to_owned(),
    )
}

fn remove_if_there(path: PathBuf) -> anyhow::Result<()> {
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("removing {}", path.display()))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

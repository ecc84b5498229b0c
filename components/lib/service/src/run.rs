//! From `main` to the exit code.

use std::future::Future;
use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use ringdown_domain::NodeId;
use ringdown_env_config::{About, Reader, Start, shared, start};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::held_back::keep_looking;
use crate::{BindError, Clock, HttpLimits, Life, admin, http, listen, logging, systemd};

/// Exit code when a task failed, or work had to be cut off at the drain limit.
pub const EXIT_FAILED: u8 = 1;
/// Exit code when a port is occupied or its address is not ours (`EX_TEMPFAIL` of sysexits.h: starting again may help).
pub const EXIT_OCCUPIED: u8 = 75;

/// Longest wait for blocking work (a password hash) after everything else has ended.
const RUNTIME_END: Duration = Duration::from_secs(1);

/// Who the daemon is.
#[derive(Clone, Copy, Debug)]
pub struct Daemon {
    /// Name without the product's prefix, e.g. `web-api`.
    pub name: &'static str,
    /// `env!("CARGO_PKG_VERSION")`.
    pub version: &'static str,
    /// What it is for, one line for `--help`.
    pub purpose: &'static str,
    /// Where health and metrics are served.
    pub admin: Admin,
}

/// Where a daemon serves `/livez`, `/readyz` and `/metrics`.
#[derive(Clone, Copy, Debug)]
pub enum Admin {
    /// On a port of its own, `RINGDOWN_ADMIN_ADDRESS`, on loopback by default.
    Own {
        /// The daemon's default port.
        default_port: u16,
    },
    /// On the daemon's own HTTP port: it merges [`Life::admin_router`] itself.
    Shared,
}

/// What this crate itself reads from the environment, beside the daemon's configuration.
struct Settings<C> {
    config: C,
    admin: Option<SocketAddr>,
    log_level: &'static str,
    drain_limit: Duration,
    drain_file: PathBuf,
    node: NodeId,
}

/// Runs a daemon: `read` makes its configuration, `begin` binds its listeners and spawns its tasks. When `begin` returns
/// `Ok`, systemd is told READY, and the daemon lives until SIGTERM, SIGINT or the failure of a task.
///
/// Exit codes: 0 drained; [`EXIT_FAILED`]; 64 unknown flag; [`EXIT_OCCUPIED`]; 78 faulty environment. A second signal, or
/// `RINGDOWN_DRAIN_MS` after the first, cuts off what still runs.
pub fn run<C, F, Fut>(daemon: Daemon, read: impl FnOnce(&mut Reader) -> Option<C>, begin: F) -> ExitCode
where
    F: FnOnce(C, Life) -> Fut,
    Fut: Future<Output = anyhow::Result<()>>,
{
    let about = About { name: daemon.name, version: daemon.version, purpose: daemon.purpose };
    let environment = Reader::from_process(daemon.name);
    match start(about, std::env::args().skip(1), environment, |env| settings(daemon.admin, env, read)) {
        Start::Run(settings) => ExitCode::from(live(daemon, settings, begin)),
        Start::Exit { code, stdout, stderr } => {
            let written = std::io::stdout().write_all(stdout.as_bytes());
            let written = written.and_then(|()| std::io::stderr().write_all(stderr.as_bytes()));
            // A reader that left early (`--help | head`) is no reason to fail otherwise.
            ExitCode::from(if written.is_ok() || code != 0 { code } else { EXIT_FAILED })
        }
    }
}

fn settings<C>(admin: Admin, env: &mut Reader, read: impl FnOnce(&mut Reader) -> Option<C>) -> Option<Settings<C>> {
    let config = read(env);
    let admin = match admin {
        Admin::Own { default_port } => shared::admin_address(env, default_port).map(Some),
        Admin::Shared => Some(None),
    };
    let log_level = shared::log_level(env);
    let drain_limit = shared::drain_limit(env);
    let drain_file = shared::drain_file(env);
    let node = shared::node_name(env).and_then(|name| node(env, name));
    Some(Settings {
        config: config?,
        admin: admin?,
        log_level: log_level?,
        drain_limit: drain_limit?,
        drain_file: drain_file?,
        node: node?,
    })
}

fn node(env: &mut Reader, name: Option<String>) -> Option<NodeId> {
    let host = || nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
    let node = name.or_else(host).and_then(|name| name.parse().ok());
    if node.is_none() {
        env.fault("RINGDOWN_NODE_NAME", "is not set, and the host has no usable name of its own");
    }
    node
}

fn live<C, F, Fut>(daemon: Daemon, settings: Settings<C>, begin: F) -> u8
where
    F: FnOnce(C, Life) -> Fut,
    Fut: Future<Output = anyhow::Result<()>>,
{
    logging::init(daemon.name, settings.log_level);
    logging::log_panics();
    log::info!(version = daemon.version, node = settings.node.as_str(); "ringdown-{} starts", daemon.name);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            log::error!(error:% = error; "no runtime");
            return EXIT_FAILED;
        }
    };
    let life = Life::new(daemon.name, daemon.version, settings.node.clone(), Clock::system());
    let code = runtime.block_on(conduct(&life, settings, begin));
    runtime.shutdown_timeout(RUNTIME_END);
    log::info!(code = code; "ringdown-{} ends", daemon.name);
    code
}

async fn conduct<C, F, Fut>(life: &Life, settings: Settings<C>, begin: F) -> u8
where
    F: FnOnce(C, Life) -> Fut,
    Fut: Future<Output = anyhow::Result<()>>,
{
    let Settings { config, admin, drain_limit, drain_file, .. } = settings;
    let mut signals = match Signals::new() {
        Ok(signals) => signals,
        Err(error) => return refused(&error.into()),
    };
    let admin_life = Life::new(life.name(), life.version(), life.node().clone(), life.clock().clone());
    if let Err(error) = open_admin(life, &admin_life, admin).await {
        return refused(&error.into());
    }
    // Before the first work is taken.
    life.mark().look(&drain_file);
    let begun = tokio::select! {
        begun = begin(config, life.clone()) => begun,
        name = signals.next() => {
            log::info!(signal = name; "asked to stop while starting");
            life.begin_stop();
            Ok(())
        }
    };
    if let Err(error) = begun {
        return refused(&error);
    }
    let reporter = tokio::spawn(systemd::report(life.health().clone()));
    let looker = tokio::spawn(keep_looking(life.mark().clone(), drain_file));
    if !life.shutdown().is_requested() {
        systemd::ready();
        log::info!("ready: every listener is open");
        wait(life, &mut signals).await;
    }
    let code = drain(life, drain_limit, &mut signals).await;
    // The admin port is the last to go, so that the drain can be watched.
    reporter.abort();
    looker.abort();
    admin_life.stop(RUNTIME_END).await;
    code
}

/// Serves the admin routes of `life` within a life of their own, which ends after it.
async fn open_admin(life: &Life, admin_life: &Life, address: Option<SocketAddr>) -> Result<(), BindError> {
    let Some(address) = address else { return Ok(()) };
    let listener = listen::tcp("RINGDOWN_ADMIN_ADDRESS", address).await?;
    let limits = HttpLimits { connections: 64, ..HttpLimits::default() };
    admin_life.spawn("admin", http::serve("admin", listener, admin::router(life), limits, admin_life.clone()));
    Ok(())
}

async fn wait(life: &Life, signals: &mut Signals) {
    tokio::select! {
        name = signals.next() => log::info!(signal = name; "asked to stop; draining"),
        why = life.failed() => log::error!(why = why.as_str(); "stopping"),
    }
}

async fn drain(life: &Life, limit: Duration, signals: &mut Signals) -> u8 {
    systemd::stopping();
    life.begin_stop();
    tokio::select! {
        () = life.finish() => {}
        () = tokio::time::sleep(limit) => {
            log::warn!(tasks:? = life.running(), limit_ms = millis(limit); "the drain limit is over; work is cut off");
            return EXIT_FAILED;
        }
        name = signals.next() => {
            log::warn!(tasks:? = life.running(), signal = name; "asked again; work is cut off");
            return EXIT_FAILED;
        }
    }
    match life.failure() {
        None => 0,
        Some(_) => EXIT_FAILED,
    }
}

/// One line for what kept the daemon from starting.
fn refused(error: &anyhow::Error) -> u8 {
    log::error!("cannot start: {error:#}");
    if error.downcast_ref::<BindError>().is_some() { EXIT_OCCUPIED } else { EXIT_FAILED }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// SIGTERM and SIGINT.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

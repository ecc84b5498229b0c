//! The life of a daemon, in one place: flags, environment, logs, listeners, readiness, signals, drain, exit code.
//!
//! ```no_run
//! use std::process::ExitCode;
//! use ringdown_env_config::Reader;
//! use ringdown_service::{Admin, Daemon, Life, run};
//!
//! struct Config;
//! impl Config { fn read(_env: &mut Reader) -> Option<Self> { Some(Self) } }
//!
//! async fn start(_config: Config, life: Life) -> anyhow::Result<()> {
//!     let redis = life.readiness("redis");             // /readyz says what it waits for
//!     let shutdown = life.shutdown();
//!     life.spawn("pump", async move {                  // tracked; its error or panic stops the daemon
//!         redis.ready();
//!         shutdown.requested().await;                  // SIGTERM: finish, then return
//!         Ok(())
//!     });
//!     Ok(())                                           // everything is bound and started: systemd is told READY
//! }
//!
//! fn main() -> ExitCode {
//!     let daemon = Daemon { name: "acd", version: env!("CARGO_PKG_VERSION"), purpose: "routes interactions",
//!                           admin: Admin::Own { default_port: 8002 } };
//!     run(daemon, Config::read, start)
//! }
//! ```
//!
//! ```text
//! flags, environment -> logs -> runtime -> admin port -> start() binds and spawns -> READY -> wait
//!        |64, 78                              |75            |1, 75                           | SIGTERM, SIGINT, failed task
//!        v                                    v              v                                v
//!       exit                                 exit           exit      STOPPING -> tasks drain -> stop hooks -> exit 0 or 1
//! ```
//!
//! Parts: [`run`] is the life itself; [`Life`] is what a daemon holds of it; [`Clock`], [`entropy`], [`Backoff`] and
//! [`within`] are the only doors to time and chance. This crate knows no store and no protocol but the admin port's HTTP.
//! It never retries anything for its users and never decides that a missing peer is an error: that is what
//! [`Readiness`] reports.

mod admin;
mod backoff;
mod clock;
pub mod entropy;
mod health;
mod held_back;
mod http;
mod life;
mod listen;
mod logging;
mod metrics;
mod process_mark;
mod prompt;
mod run;
mod systemd;
mod tasks;
mod within;

pub use backoff::Backoff;
pub use clock::Clock;
pub use health::{Heartbeat, Readiness};
pub use held_back::HeldBack;
pub use http::HttpLimits;
pub use life::{Life, Shutdown};
pub use listen::BindError;
pub use metrics::Metrics;
pub use process_mark::{MarkError, ProcessMark};
pub use run::{Admin, Daemon, EXIT_FAILED, EXIT_OCCUPIED, run};
pub use within::{TimedOut, within};

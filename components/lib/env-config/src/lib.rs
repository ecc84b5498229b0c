//! Start-up configuration: the `RINGDOWN_*` environment, read once, judged as a whole.
//!
//! A daemon writes one function that asks the [`Reader`] for its variables. That one definition yields the parser, the
//! `--help` table, the markdown reference and the packaged environment file, so they cannot drift apart.
//!
//! ```
//! use ringdown_env_config::{Reader, Url, shared};
//! use std::time::Duration;
//!
//! struct Config { redis: Url, ring_timeout: Duration, workers: u16 }
//!
//! impl Config {
//!     fn read(env: &mut Reader) -> Option<Self> {
//!         // First every variable is asked for, then the parts are put together: so all faults are found in one pass.
//!         let redis = shared::redis_url(env);
//!         let ring_timeout = env.duration_ms("RINGDOWN_RING_TIMEOUT_MS", 1_000..=120_000).default(20_000)
//!             .about("How long an agent's phone rings before the next agent is tried.").read();
//!         let workers = env.number("RINGDOWN_WORKERS", 1..=64_u16).default(4).about("Parallel writers.").read();
//!         Some(Self { redis: redis?, ring_timeout: ring_timeout?, workers: workers? })
//!     }
//! }
//!
//! let env = Reader::from_pairs("acd", [("RINGDOWN_WORKERS", "8")]);
//! let config = env.load(Config::read).expect("a sound environment");
//! assert_eq!(config.workers, 8);
//! ```
//!
//! Rules kept here: an empty variable is an unset one; `NAME_FILE` gives a secret or a URL from a file; what is
//! not set at all comes from the systemd credential of its name, if the unit has one; all faults are reported together and none of them repeats a value; a variable that looks
//! like a misspelt one of ours is a fault.
//!
//! This crate never reads the environment twice, never changes it, never prints, and never opens anything but the files
//! that `NAME_FILE` variables name, and credentials.

mod fault;
mod flags;
mod parse;
mod reader;
mod secret;
pub mod shared;
mod spelling;
mod table;
mod url;
mod variable;

pub use fault::{Fault, Faults};
pub use flags::{About, EXIT_CONFIG, EXIT_USAGE, Start, start};
pub use parse::Number;
pub use reader::Reader;
pub use secret::Secret;
pub use table::Definition;
pub use url::Url;
pub use variable::Variable;

#[cfg(test)]
mod tests;

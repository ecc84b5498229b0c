//! The provisioner: makes the running configuration equal to the desired one.
//!
//! ```text
//! PostgreSQL --NOTIFY, timer--> Compiler: rows -> core -> version beside the old one -> pointer flipped -> nudge
//!                                                             Redis
//! Redis --watch--> Renderer: trunks -> core -> files of this host's Asterisk, only those that differ -> modules reloaded
//! ```
//!
//! Two reconcilers, each idempotent and with one path for start, change and recovery: what is asked for is read anew each
//! time, and a nudge only says that it is worth looking. Either may run on another host than the other
//! (`RINGDOWN_PROVISIONER_DUTIES`).
//!
//! It never changes what is desired, never touches live state, and never leaves a half version where a reader sees it.

mod ari;
mod compiler;
mod config;
mod files;
mod metrics;
mod renderer;
mod rows;
mod server;
mod status;
mod sweep;

pub use config::{AsteriskConfig, Config, Duties};
pub use server::{Bound, bind, start};

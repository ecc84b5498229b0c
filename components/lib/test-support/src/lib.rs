//! Real servers and processes for tests, each private to its test. Development only: no daemon links this crate.
//!
//! - [`PrivateRedis`], [`PrivatePostgres`]: the real servers on free ports with their data in a folder of their own; they can
//!   be killed, paused and restarted with their data.
//! - [`Daemon`]: one of our binaries with an environment, its log in a file, its admin port asked for readiness.
//! - [`Process`] and [`Spec`]: what the above are made of, for any other server (Asterisk, sipp, HAProxy).
//! - [`free_port`], [`wait_until`], [`VirtualClock`], [`Folder`].
//!
//! Everything ends on drop, and nothing but what was started here is ever signalled. Children also die with the test
//! process, however that ends. A failing test keeps its folders and says where they are. Nothing here sleeps for a result:
//! waits are for conditions, with a limit.

mod clock;
mod daemon;
mod folder;
mod http;
mod port;
mod postgres;
mod process;
mod redis;
mod rtpengine;
mod spawner;
mod wait;

pub use clock::VirtualClock;
pub use daemon::{Daemon, DaemonBuilder, workspace_binary};
pub use folder::Folder;
pub use http::{HttpAnswer, http_get};
pub use port::{free_address, free_port};
pub use postgres::{PostgresOptions, PrivatePostgres};
pub use process::{Process, Spec};
pub use redis::{Appendfsync, PrivateRedis, RedisOptions};
pub use rtpengine::PrivateRtpengine;
pub use wait::wait_until;

#[cfg(test)]
mod tests;

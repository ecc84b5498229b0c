//! Redis as the product uses it: one place for key names, connections, leases, command streams, the fenced commit,
//! compiled configuration and log-in sessions.
//!
//! | part | for |
//! |---|---|
//! | [`keys`] | every key name of the installation |
//! | [`RedisPool`] | short commands and scripts, with limits, a retry rule and metrics |
//! | [`Subscription`] | messages of channels |
//! | [`BlockingConnection`], [`StreamReader`] | blocking reads, each on a connection of its own |
//! | [`Lease`] | who may act for a tenant or a node, with a fencing epoch |
//! | [`Commit`], [`Committer`] | the router's only way to write: all or nothing, and nothing after the lease is lost |
//! | [`CommandClient`] | asking a tenant's router, with a durable answer |
//! | [`ConfigReader`], [`ConfigWriter`] | compiled configuration, whole or not at all |
//! | [`session`], [`snapshot`] | log-in sessions; state and journal position in one read |
//!
//! Never: a blocking command on a pooled connection (a multiplexed one gives up after its response timeout, and what
//! was popped would be gone); a key name built elsewhere; a write of live state outside [`Committer`].

mod blocking;
mod command_client;
mod commit;
mod config_read;
mod config_write;
mod error;
pub mod keys;
mod lease;
mod metrics;
mod place;
mod pool;
pub mod session;
pub mod snapshot;
mod stream;
mod subscription;

pub use blocking::BlockingConnection;
pub use command_client::{Answer, CommandClient, DEFAULT_ANSWER_LIMIT, OutcomeTail};
pub use commit::{Arg, Commit, CommitError, Committer, Guard, SharedText};
pub use config_read::{CONFIG_POLL, ConfigChange, ConfigReadError, ConfigReader, ConfigWatch, RendererSign, renderers};
pub use config_write::{ConfigWriteError, ConfigWriter, FlipError, OLD_VERSION_GRACE};
pub use error::{RedisUrlError, StoreError};
pub use lease::{DEFAULT_LEASE_TTL, DEFAULT_RENEW_EVERY, Lease, LeaseKeys, LeaseLost};
pub use metrics::StoreMetrics;
pub use pool::{RedisOptions, RedisPool, Retry};
pub use redis;
pub use stream::{StreamEntry, StreamReader, StreamStart, newest_stream_id};
pub use subscription::Subscription;

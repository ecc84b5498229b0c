//! What every handler shares.

use std::net::IpAddr;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use ringdown_pg_store::PgStore;
use ringdown_redis_store::{CommandClient, RedisPool};
use ringdown_service::{Clock, entropy};
use uuid::Uuid;

use crate::auth::limiter::LoginLimiter;
use crate::auth::password::Passwords;
use crate::live::figures::FiguresCache;
use crate::live::reader::KnownTenants;
use crate::metrics::ApiMetrics;
use crate::quotas::{Pace, Quotas};

/// The parts. One per process.
#[derive(Debug)]
pub struct Parts {
    /// Configuration, users.
    pub pg: PgStore,
    /// Sessions, live state.
    pub redis: RedisPool,
    /// The way into a tenant's ACD.
    pub commands: CommandClient,
    /// The one clock.
    pub clock: Clock,
    /// The gate of all password hashing.
    pub passwords: Passwords,
    /// The brake on guessing.
    pub limiter: LoginLimiter,
    /// The counters.
    pub metrics: ApiMetrics,
    /// Tenants seen lately.
    pub known_tenants: KnownTenants,
    /// Queues' figures counted lately.
    pub figures: FiguresCache,
    /// How fast tenants make interactions.
    pub pace: Pace,
    /// Recordings.
    pub files: ringdown_object_files::ObjectFiles,
    /// What the environment says.
    pub settings: Settings,
}

/// What of the environment the handlers need.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How long a log-in lasts.
    pub session_ttl: Duration,
    /// Peers whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpAddr>,
    /// How long a change of configuration waits for the router.
    pub apply_wait: Duration,
    /// How much one tenant may take.
    pub quotas: Quotas,
    /// Where clients reach the notifier.
    pub websocket_url: String,
    /// Where browsers' phones reach the registrar, best first.
    pub phone_urls: Vec<String>,
}

/// A handle to the parts; cheap to clone.
#[derive(Clone, Debug)]
pub struct App(Arc<Parts>);

impl App {
    /// Puts the parts together.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }

    /// A fresh version 7 identity.
    pub fn new_id<T>(&self, from_parts: impl FnOnce(u64, &[u8; 10]) -> T) -> T {
        from_parts(self.clock.now().0, &entropy::bytes())
    }

    /// A fresh version 7 UUID.
    #[must_use]
    pub fn new_uuid(&self) -> Uuid {
        self.new_id(|ms, random| uuid::Builder::from_unix_timestamp_millis(ms, random).into_uuid())
    }
}

impl Deref for App {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

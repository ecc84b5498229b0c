//! What the environment says.

use std::net::SocketAddr;
use std::time::Duration;

use ringdown_env_config::{Reader, Url, shared};

/// Start-up configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where browsers connect, and health and metrics are served.
    pub listen: SocketAddr,
    /// Where Redis is.
    pub redis: Url,
    /// Bounds.
    pub limits: Limits,
}

/// Bounds of what browsers may cost.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Most WebSockets at once.
    pub connections: usize,
    /// Most WebSockets of one tenant.
    pub tenant_connections: usize,
    /// Most WebSockets whose opening message has not come; beyond them the oldest leaves.
    pub openings: usize,
    /// Journal entries kept in memory per watched tenant.
    pub ring_entries: usize,
    /// How far behind, in entries, a reader may be before it is sent away.
    pub lag_entries: u64,
    /// Longest time to the opening message.
    pub open_wait: Duration,
    /// Longest time one message may take to leave.
    pub write_wait: Duration,
    /// How often a silent browser is pinged; three unanswered pings end the connection.
    pub ping_every: Duration,
    /// How often a log-in is looked up again, to notice that it was ended.
    pub session_every: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // A descriptor each; 200 supervisors and 2,000 agents use a quarter of it.
            connections: 10_000,
            // Half of all: the other half is for the other tenants.
            tenant_connections: 5_000,
            // Each costs a few kilobytes for at most five seconds.
            openings: 1_000,
            // About 5 MB; ten seconds of the heaviest traffic we measure.
            ring_entries: 10_000,
            lag_entries: 100_000,
            open_wait: Duration::from_secs(5),
            write_wait: Duration::from_secs(10),
            ping_every: Duration::from_secs(15),
            session_every: Duration::from_secs(30),
        }
    }
}

impl Config {
    /// Reads every variable, then puts the parts together, so that all faults are found in one pass.
    pub fn read(env: &mut Reader) -> Option<Self> {
        let listen = env
            .socket_address("RINGDOWN_NOTIFIER_LISTEN")
            .default("127.0.0.1:8001")
            .about("Where browsers connect (/ws), and health and metrics are served. Loopback: a load balancer is in front.")
            .read();
        let redis = shared::redis_url(env);
        let limits = Limits::read(env);
        Some(Self { listen: listen?, redis: redis?, limits: limits? })
    }
}

impl Limits {
    fn read(env: &mut Reader) -> Option<Self> {
        let default = Self::default();
        let connections = env
            .number("RINGDOWN_NOTIFIER_CONNECTIONS", 1..=100_000_usize)
            .default(default.connections)
            .about("Most WebSockets at once; a further one is told to come back later.")
            .read();
        let tenant_connections = env
            .number("RINGDOWN_NOTIFIER_TENANT_CONNECTIONS", 1..=100_000_usize)
            .default(default.tenant_connections)
            .about("Most WebSockets of one tenant; a further one is told to come back later.")
            .read();
        let ring_entries = env
            .number("RINGDOWN_NOTIFIER_RING_ENTRIES", 16..=1_000_000_usize)
            .default(default.ring_entries)
            .about("Recent journal entries kept in memory per watched tenant, about 500 bytes each.")
            .read();
        let lag_entries = env
            .number("RINGDOWN_NOTIFIER_LAG_ENTRIES", 16..=10_000_000_u64)
            .default(default.lag_entries)
            .about("How many journal entries a browser may be behind before it is told that it is too slow.")
            .read();
        let write_wait = env
            .duration_ms("RINGDOWN_NOTIFIER_WRITE_MS", 100..=120_000)
            .default(default.write_wait.as_millis())
            .about("How long one message may take to leave before its browser is told that it is too slow.")
            .read();
        let ping_every = env
            .duration_ms("RINGDOWN_NOTIFIER_PING_MS", 100..=120_000)
            .default(default.ping_every.as_millis())
            .about("How often a browser is pinged; after three pings without an answer it is sent away.")
            .read();
        let session_every = env
            .duration_ms("RINGDOWN_NOTIFIER_SESSION_MS", 100..=600_000)
            .default(default.session_every.as_millis())
            .about("How often a log-in is looked up again; after a log-out its browser is told within this time.")
            .read();
        Some(Self {
            connections: connections?,
            tenant_connections: tenant_connections?,
            ring_entries: ring_entries?,
            lag_entries: lag_entries?,
            write_wait: write_wait?,
            ping_every: ping_every?,
            session_every: session_every?,
            ..default
        })
    }
}

//! The router duty: routes the interactions of every tenant whose lease this process gets.
//!
//! ```text
//! ConfigWatch --> one contender per tenant --lease--> tenure: recover --> drive
//!                        ^                                                  |
//!                        '------------- standby, looks every 200 ms <-------' lease lost, commit refused
//!
//! drive:   intake (reads, parses) --> engine (decides, pure core) --> batch --> committer --> Redis
//!          next batch is decided while a commit is on its way; it is sent only after that one was applied
//! ```
//!
//! Parts: `contender` (the lease), `seat` (what it lends to its tenure), `tenure` (recovery and the loop), `engine` (core, memory of commands, record), `batch`
//! (what a commit writes), `effects` (journal entry to voice effect), `intake`, `remembered`, `phones` (whose phone is registered), `audit`, `metrics`.
//!
//! What holds: nothing decided leaves this process but through a commit that was applied under the lease; a decision whose
//! commit was refused is dropped together with the core that made it. The duty never talks to Asterisk, PostgreSQL or a
//! browser.

mod audit;
mod batch;
mod contender;
mod effects;
mod engine;
mod intake;
mod metrics;
mod phones;
mod remembered;
mod seat;
mod tenure;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ringdown_domain::TenantId;
use ringdown_events::CompiledConfig;
use ringdown_redis_store::{ConfigChange, ConfigReader, RedisPool};
use ringdown_service::{Life, entropy};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use batch::Retention;
use contender::Contender;
use metrics::RouterMetrics;

/// What the duty is told at start.
#[derive(Clone, Debug)]
pub struct Config {
    /// How long a lease lives without renewal.
    pub lease_ttl: Duration,
    /// How many replicas must confirm a commit.
    pub replicas: u32,
    /// Most commands in one read; a commit holds fewer than twice as many.
    pub batch: usize,
    /// How long an ended interaction can be read.
    pub ended_kept: Duration,
    /// Most ended interactions of a tenant that can be read.
    pub ended_most: usize,
    /// Journal entries kept, about.
    pub journal_length: u64,
}

impl Config {
    /// Outcomes kept, about: what a client may ask again within five seconds at 10,000 commands/s.
    const OUTCOMES: u64 = 50_000;
    /// Voice effects kept per node, about: a minute of 40 calls/s with all their effects.
    const VOICE: u64 = 10_000;

    fn retention(&self) -> Retention {
        Retention {
            ended_s: self.ended_kept.as_secs().max(1),
            ended_most: self.ended_most,
            journal: self.journal_length,
            outcomes: Self::OUTCOMES,
            voice: Self::VOICE,
        }
    }
}

/// What every part of the duty shares.
#[derive(Clone, Debug)]
struct Shared {
    config: Config,
    pool: RedisPool,
    life: Life,
    metrics: RouterMetrics,
    acknowledged: Acknowledged,
    /// Names this run of this process in leases.
    holder: String,
}

/// What this process saw acknowledged last for each tenant, kept from one of its tenures to the next, as long as nobody else held
/// one in between: a Redis that was restarted and has that commit has lost nothing.
#[derive(Clone, Debug, Default)]
struct Acknowledged(Arc<Mutex<HashMap<TenantId, LastCommit>>>);

/// The number of a commit, and the epoch of the last lease this process held without a gap since.
#[derive(Clone, Copy, Debug)]
struct LastCommit {
    number: u64,
    epoch: u64,
}

impl Acknowledged {
    /// This process has the lease of this epoch. After somebody else's its knowledge is worth nothing.
    fn take_up(&self, tenant: TenantId, epoch: u64) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match known.get_mut(&tenant) {
            Some(last) if last.epoch + 1 == epoch => last.epoch = epoch,
            Some(_) => drop(known.remove(&tenant)),
            None => {}
        }
    }

    fn note(&self, tenant: TenantId, epoch: u64, number: u64) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(tenant, LastCommit { number, epoch });
    }

    /// Whether a Redis that counts `commits` has everything that was acknowledged. Not so when this process does not know.
    fn is_there(&self, tenant: TenantId, commits: u64) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&tenant).is_some_and(|last| last.number <= commits)
    }
}

/// Starts the duty's tasks; they end at shutdown.
pub fn start(config: Config, pool: RedisPool, life: &Life) {
    let holder = format!("{}/{}/{:08x}", life.node(), std::process::id(), u32::from_le_bytes(entropy::bytes()));
    let metrics = RouterMetrics::register(life.metrics());
    let acknowledged = Acknowledged::default();
    let shared = Shared { config, pool, life: life.clone(), metrics, acknowledged, holder };
    life.spawn("router redis", watch_redis(shared.clone()));
    life.spawn("router", supervise(shared));
}

/// One tenant's contender.
struct Running {
    configs: watch::Sender<Arc<CompiledConfig>>,
    stop: CancellationToken,
}

/// Tells whether Redis answers. Apart from the configuration, whose reading may take longer than a look.
async fn watch_redis(shared: Shared) -> anyhow::Result<()> {
    let shutdown = shared.life.shutdown();
    let redis = shared.life.readiness("redis");
    let mut look = tokio::time::interval(Duration::from_secs(1));
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = shutdown.requested() => return Ok(()),
            _ = look.tick() => match shared.pool.ping().await {
                Ok(()) => redis.ready(),
                Err(error) => redis.waiting(error.to_string()),
            },
        }
    }
}

/// Follows the configuration: a contender for each tenant that has one.
async fn supervise(shared: Shared) -> anyhow::Result<()> {
    let shutdown = shared.life.shutdown();
    let reader = ConfigReader::new(shared.pool.clone(), "acd", shared.life.node().to_string());
    let mut watch = reader.watch();
    let mut tenants: HashMap<TenantId, Running> = HashMap::new();
    loop {
        tokio::select! {
            () = shutdown.requested() => return Ok(()),
            change = watch.next() => change_tenant(&shared, &mut tenants, change),
        }
    }
}

fn change_tenant(shared: &Shared, tenants: &mut HashMap<TenantId, Running>, change: ConfigChange) {
    match change {
        ConfigChange::Taken(config) => {
            let tenant = config.meta.tenant;
            match tenants.get(&tenant) {
                // Nobody listens any more only when the contender is on its way out at shutdown.
                Some(running) => drop(running.configs.send_replace(config)),
                None => drop(tenants.insert(tenant, start_tenant(shared, config))),
            }
        }
        ConfigChange::Removed(tenant) => {
            if let Some(running) = tenants.remove(&tenant) {
                log::info!(tenant:% = tenant; "the tenant has no configuration any more; its routing ends");
                running.stop.cancel();
            }
        }
    }
}

fn start_tenant(shared: &Shared, config: Arc<CompiledConfig>) -> Running {
    let tenant = config.meta.tenant;
    let stop = shared.life.shutdown().token().child_token();
    let (sender, receiver) = watch::channel(config);
    let contender = Contender::new(shared.clone(), tenant, receiver, stop.clone());
    shared.life.spawn_finite(format!("router {tenant}"), contender.run());
    Running { configs: sender, stop }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_acknowledged_is_known_until_somebody_else_routed() {
        let (known, tenant) = (Acknowledged::default(), TenantId::from_parts(1, &[1; 10]));
        known.take_up(tenant, 1);
        assert!(!known.is_there(tenant, 100), "nobody knows");
        known.note(tenant, 1, 7);
        known.take_up(tenant, 2);
        known.take_up(tenant, 3);
        assert!(known.is_there(tenant, 7) && known.is_there(tenant, 8), "nothing is missing");
        assert!(!known.is_there(tenant, 6), "the seventh is lost");
        known.take_up(tenant, 5);
        assert!(!known.is_there(tenant, 8), "epoch 4 was somebody else's, who may have seen more acknowledged");
    }
}

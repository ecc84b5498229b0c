//! The voice duty: controls the calls of one Asterisk node over ARI.
//!
//! ```text
//! Asterisk --websocket--> socket --events--> node (one task owns all calls of the node) --orders--> worker of each call
//!     ^                                       ^   ^   ^                                               |        |
//!     |                                       |   |   '-- what became of orders ----------------------'        |
//!     |            {tenant}:voice:<node> -----'   '-- listings every few seconds                               |
//!     '------------------------------- REST, records {tenant}:call:<id> ---------------------------------------'
//!                                                          commands --> {tenant}:commands
//! ```
//!
//! One process owns a node, by lease; only its owner accepts Asterisk's websocket (or opens it, where Asterisk is too old to,
//! or does not). Asterisk holds channels and bridges while the owner is away and queues what happens; a successor reads the
//! call records, takes the state of each interaction from Redis, lists what exists, and goes on.
//!
//! Never: picks an agent; joins two legs the router has not connected; believes that silence means nothing happened.

mod ari;
mod classic;
mod config;
mod configs;
mod effects;
mod event;
mod fence;
mod listing;
mod metrics;
mod node;
mod recordings;
mod recovery;
mod socket;
mod trunks;
mod worker;

use std::sync::Arc;
use std::time::Duration;

use ringdown_object_files::ObjectFiles;
use ringdown_redis_store::{CommandClient, Lease, LeaseKeys, RedisPool, keys};
use ringdown_service::{Life, Readiness, entropy};
use tokio_util::task::TaskTracker;

pub use config::Config;

use ari::Ari;
use classic::Opens;
use fence::Fence;
use metrics::VoiceMetrics;
use node::Node;
use socket::Gate;

/// How often a standby looks for the lease.
const CONTEND_EVERY: Duration = Duration::from_millis(200);

/// What every part of the duty shares under one ownership of the node.
#[derive(Clone)]
struct Shared {
    life: Life,
    pool: RedisPool,
    ari: Ari,
    client: CommandClient,
    metrics: VoiceMetrics,
    config: Config,
    gate: Gate,
    files: ObjectFiles,
    fence: Fence,
    /// The tasks that carry out orders under this ownership.
    orders: TaskTracker,
}

/// What lasts from one ownership to the next.
#[derive(Clone)]
struct Duty {
    life: Life,
    pool: RedisPool,
    ari: Ari,
    client: CommandClient,
    metrics: VoiceMetrics,
    config: Config,
    gate: Gate,
    files: ObjectFiles,
}

impl Duty {
    /// The same under one ownership.
    fn within(&self, fence: Fence) -> Shared {
        Shared {
            life: self.life.clone(),
            pool: self.pool.clone(),
            ari: self.ari.within(fence.clone()),
            client: self.client.clone(),
            metrics: self.metrics.clone(),
            config: self.config.clone(),
            gate: self.gate.clone(),
            files: self.files.clone(),
            fence,
            orders: TaskTracker::new(),
        }
    }
}

/// Opens the websocket's port and starts the duty's tasks; they end at shutdown.
///
/// # Errors
/// The port is occupied, or no HTTP client can be made.
pub async fn start(config: Config, pool: RedisPool, life: &Life) -> anyhow::Result<()> {
    let ari = Ari::new(&config)?;
    let asker = format!("voice/{}/{:08x}", config.node, u32::from_le_bytes(entropy::bytes()));
    let (client, tail) = CommandClient::new(pool.clone(), asker);
    let stop = life.shutdown();
    life.spawn_finite("voice outcomes", tail.run(async move { stop.requested().await }));
    let gate = Gate::new(&config);
    let metrics = VoiceMetrics::register(life.metrics());
    let opens = match config.listen {
        Some(address) => {
            let listener = life.bind_tcp("RINGDOWN_ACD_ARI_LISTEN", address).await?;
            socket::serve(life, listener, gate.clone());
            Opens::WhenMissed
        }
        None => Opens::Always,
    };
    let request = classic::request(&config)?;
    life.spawn("voice websocket", classic::run(request, opens, gate.clone(), metrics.clone(), life.clone()));
    let files = ObjectFiles::new(&config.objects);
    let duty = Duty { life: life.clone(), pool, ari, client, metrics, config, gate, files };
    life.spawn("voice", contend(duty));
    Ok(())
}

/// Owns the node whenever the lease can be had.
async fn contend(duty: Duty) -> anyhow::Result<()> {
    let shutdown = duty.life.shutdown();
    let readiness = duty.life.readiness("voice");
    let name = &duty.config.node;
    let names = LeaseKeys { lease: keys::node_lease(name), epoch: keys::node_epoch(name) };
    let holder = format!("{}/{}", duty.life.node(), std::process::id());
    while !shutdown.is_requested() {
        // A Redis that is away must not hold up the stop: a lease that was got after all ends by itself.
        let acquired = tokio::select! {
            acquired = Lease::acquire(&duty.pool, &names, &holder, duty.config.lease_ttl) => acquired,
            () = shutdown.requested() => return Ok(()),
        };
        match acquired {
            Ok(Some(lease)) => Box::pin(own(&duty, lease, &readiness)).await,
            Ok(None) => readiness.ready(),
            Err(error) => readiness.waiting(error.to_string()),
        }
        tokio::select! {
            () = tokio::time::sleep(CONTEND_EVERY) => {}
            () = shutdown.requested() => {}
        }
    }
    Ok(())
}

/// One ownership, from recovery to loss or shutdown.
async fn own(duty: &Duty, lease: Lease, readiness: &Readiness) {
    let lease = Arc::new(lease);
    let fence = Fence::raise(Arc::clone(&lease), duty.pool.clone(), &duty.life);
    log::info!(node:% = duty.config.node, epoch = lease.epoch(); "this process owns the media node");
    duty.metrics.ownerships.inc();
    let shared = &duty.within(fence.clone());
    duty.life.spawn_finite("voice recordings", recordings::collect(shared.clone()));
    let shutdown = duty.life.shutdown();
    let recovered = tokio::select! {
        recovered = fence.while_held(Box::pin(Node::recover(shared.clone()))) => recovered,
        () = shutdown.requested() => None,
    };
    match recovered {
        Some(Ok(node)) => node.run(readiness).await,
        Some(Err(error)) => readiness.waiting(error.to_string()),
        None => {}
    }
    shared.metrics.counted.set(0);
    shared.gate.close();
    // Orders that were given are carried out before somebody else may give any.
    shared.orders.close();
    if fence.while_held(tokio::time::timeout(shared.config.lease_ttl, shared.orders.wait())).await.is_none() {
        log::warn!(node:% = duty.config.node; "orders that were on their way are left to the next owner");
    }
    fence.end();
    if let Err(error) = lease.release(&shared.pool).await {
        log::debug!(error:% = error; "the node's lease was not given up; it ends by itself");
    }
    log::info!(node:% = duty.config.node; "this process does not own the media node any more");
}

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
mod effects;
mod event;
mod listing;
mod metrics;
mod node;
mod recovery;
mod socket;
mod worker;

use std::sync::Arc;
use std::time::Duration;

use ringdown_redis_store::{CommandClient, Lease, LeaseKeys, RedisPool, keys};
use ringdown_service::{Life, Readiness, entropy};

pub use config::Config;

use ari::Ari;
use classic::Opens;
use metrics::VoiceMetrics;
use node::Node;
use socket::Gate;

/// How often a standby looks for the lease.
const CONTEND_EVERY: Duration = Duration::from_millis(200);

/// What every part of the duty shares.
#[derive(Clone)]
struct Shared {
    life: Life,
    pool: RedisPool,
    ari: Ari,
    client: CommandClient,
    metrics: VoiceMetrics,
    config: Config,
    gate: Gate,
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
    let shared = Shared { life: life.clone(), pool, ari, client, metrics, config, gate };
    life.spawn("voice", contend(shared));
    Ok(())
}

/// Owns the node whenever the lease can be had.
async fn contend(shared: Shared) -> anyhow::Result<()> {
    let shutdown = shared.life.shutdown();
    let readiness = shared.life.readiness("voice");
    let name = &shared.config.node;
    let names = LeaseKeys { lease: keys::node_lease(name), epoch: keys::node_epoch(name) };
    let holder = format!("{}/{}", shared.life.node(), std::process::id());
    while !shutdown.is_requested() {
        match Lease::acquire(&shared.pool, &names, &holder, shared.config.lease_ttl).await {
            Ok(Some(lease)) => own(&shared, lease, &readiness).await,
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
async fn own(shared: &Shared, lease: Lease, readiness: &Readiness) {
    let lease = Arc::new(lease);
    log::info!(node:% = shared.config.node, epoch = lease.epoch(); "this process owns the media node");
    shared.metrics.ownerships.inc();
    match Node::recover(shared.clone()).await {
        Ok(node) => node.run(&lease, readiness).await,
        Err(error) => readiness.waiting(error.to_string()),
    }
    shared.metrics.counted.set(0);
    shared.gate.close();
    if let Err(error) = lease.release(&shared.pool).await {
        log::debug!(error:% = error; "the node's lease was not given up; it ends by itself");
    }
    log::info!(node:% = shared.config.node; "this process does not own the media node any more");
}

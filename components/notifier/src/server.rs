//! Routes, limits and readiness.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use axum::extract::{ConnectInfo, State, WebSocketUpgrade};
use axum::http::HeaderMap;
use axum::response::Response;
use axum::routing::get;
use ringdown_live_views::MAX_CLIENT_MESSAGE_BYTES;
use ringdown_redis_store::{RedisOptions, RedisPool, StoreMetrics};
use ringdown_service::{HttpLimits, Life, Readiness};
use tokio::sync::Semaphore;

use crate::Config;
use crate::connection::{self, Hub};
use crate::cookie;
use crate::feed::Feeds;
use crate::lobby::Lobby;
use crate::metrics::NotifierMetrics;
use crate::seats::Seats;

/// How often Redis is asked whether it answers.
const PROBE_EVERY: Duration = Duration::from_secs(1);
/// Snapshots made at once. One of 100,000 agents keeps Redis busy for a quarter of a second.
const SNAPSHOTS: usize = 2;
/// Questions about tokens on their way to web-api at once. Each is answered within milliseconds.
const QUESTIONS: usize = 16;
/// What is gathered before it is written: a few events. tungstenite's own 128 KiB for each direction would be paid by every
/// stranger who connects.
const WRITE_BUFFER_BYTES: usize = 8 * 1024;
/// Connections beyond the WebSockets, for health and metrics, and for telling browsers that it is full.
const SPARE_CONNECTIONS: usize = 256;

/// A notifier whose port is open.
#[derive(Clone, Copy, Debug)]
pub struct Bound {
    /// Where it listens.
    pub address: SocketAddr,
}

/// Opens the port and starts all tasks.
///
/// # Errors
/// The port is occupied, or the Redis URL is none.
pub async fn start(config: Config, life: Life) -> anyhow::Result<()> {
    bind(config, &life).await.map(|_bound| ())
}

/// As [`start`], and says where it listens: for tests that ask for port 0.
///
/// # Errors
/// As [`start`].
pub async fn bind(config: Config, life: &Life) -> anyhow::Result<Bound> {
    let listener = life.bind_tcp("RINGDOWN_NOTIFIER_LISTEN", config.listen).await?;
    let address = listener.local_addr().context("the address of an open port")?;
    let options = RedisOptions::from_url(config.redis.expose()).context("RINGDOWN_REDIS_URL")?;
    let store_metrics = StoreMetrics::default();
    life.metrics().with(|registry| store_metrics.register(registry));
    let pool = RedisPool::new(options, store_metrics);
    let metrics = NotifierMetrics::register(life.metrics());
    let hub = Hub {
        feeds: Feeds::new(life.clone(), pool.clone(), metrics.clone(), config.limits.ring_entries),
        pool: pool.clone(),
        metrics,
        limits: config.limits,
        clock: life.clock().clone(),
        shutdown: life.shutdown(),
        lobby: Lobby::new(config.limits.openings),
        seats: Seats::new(config.limits.connections, config.limits.tenant_connections),
        snapshots: Arc::new(Semaphore::new(SNAPSHOTS)),
        questions: Arc::new(Semaphore::new(QUESTIONS)),
    };
    let router = Router::new().route("/ws", get(upgrade)).with_state(hub).merge(life.admin_router());
    let limits = HttpLimits { connections: config.limits.connections + SPARE_CONNECTIONS, ..HttpLimits::default() };
    life.serve_http("http", listener, router, limits);
    life.spawn("redis probe", probe(pool, life.readiness("redis"), life.clone()));
    log::info!(address:% = address; "browsers connect at /ws");
    Ok(Bound { address })
}

async fn upgrade(
    State(hub): State<Hub>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Response {
    let cookie = cookie::of_own_page(&headers);
    upgrade
        .max_message_size(MAX_CLIENT_MESSAGE_BYTES)
        .max_frame_size(MAX_CLIENT_MESSAGE_BYTES)
        .read_buffer_size(MAX_CLIENT_MESSAGE_BYTES)
        .write_buffer_size(WRITE_BUFFER_BYTES)
        .on_upgrade(move |socket| connection::serve(hub, socket, peer.ip(), cookie))
}

/// Says in `/readyz` whether Redis answers.
async fn probe(pool: RedisPool, redis: Readiness, life: Life) -> anyhow::Result<()> {
    let shutdown = life.shutdown();
    while !shutdown.is_requested() {
        match pool.ping().await {
            Ok(()) => redis.ready(),
            Err(error) => redis.waiting(error.to_string()),
        }
        tokio::select! {
            () = tokio::time::sleep(PROBE_EVERY) => {}
            () = shutdown.requested() => {}
        }
    }
    Ok(())
}

//! Wiring: stores, duties, `/status`.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use ringdown_pg_store::{Limits, PgStore};
use ringdown_redis_store::{ConfigReader, ConfigWriter, RedisOptions, RedisPool, StoreMetrics};
use ringdown_service::{HttpLimits, Life};

use crate::Config;
use crate::compiler::Compiler;
use crate::metrics::ProvisionerMetrics;
use crate::renderer::Renderer;
use crate::status::Board;

/// A provisioner whose port is open.
#[derive(Clone, Copy, Debug)]
pub struct Bound {
    /// Where it listens.
    pub address: SocketAddr,
}

/// What `/status` needs.
#[derive(Debug)]
struct Shared {
    pool: RedisPool,
    board: Board,
}

/// Opens the port and starts the duties.
///
/// # Errors
/// The port is occupied, a URL is none, or Asterisk's folder cannot be made.
pub async fn start(config: Config, life: Life) -> anyhow::Result<()> {
    bind(config, &life).await.map(|_bound| ())
}

/// As [`start`], and says where it listens: for tests that ask for port 0.
///
/// # Errors
/// As [`start`].
pub async fn bind(config: Config, life: &Life) -> anyhow::Result<Bound> {
    let listener = life.bind_tcp("RINGDOWN_PROVISIONER_LISTEN", config.listen).await?;
    let address = listener.local_addr().context("the address of an open port")?;
    let options = RedisOptions::from_url(config.redis.expose()).context("RINGDOWN_REDIS_URL")?;
    let store_metrics = StoreMetrics::default();
    life.metrics().with(|registry| store_metrics.register(registry));
    let pool = RedisPool::new(options, store_metrics);
    let metrics = ProvisionerMetrics::register(life.metrics());
    let board = Board::default();
    let host = life.node().as_str().to_owned();
    let shared = Arc::new(Shared { pool: pool.clone(), board: board.clone() });
    let router = Router::new().route("/status", get(status)).with_state(shared).merge(life.admin_router());
    life.serve_http("http", listener, router, HttpLimits { connections: 256, ..HttpLimits::default() });
    if config.duties.compile {
        let pg = PgStore::open(life, &config.postgres, Limits { connections: 3, ..Limits::default() })?;
        pg.watch(life);
        let compiler = Compiler {
            life: life.clone(),
            pg,
            redis: pool.clone(),
            writer: ConfigWriter::new(pool.clone()).with_grace(config.keep_old),
            reader: ConfigReader::new(pool.clone(), "provisioner", host.clone()),
            board,
            metrics: metrics.clone(),
            look_every: config.look_every,
        };
        life.spawn("compile", compiler.run());
    }
    if let Some(asterisk) = config.asterisk {
        let reader = ConfigReader::new(pool, "asterisk", host);
        let mut renderer = Renderer::new(life.clone(), life.node().clone(), asterisk, reader, metrics)?;
        renderer.prepare().context("RINGDOWN_ASTERISK_DIR")?;
        life.spawn("render", renderer.run());
    }
    Ok(Bound { address })
}

async fn status(State(shared): State<Arc<Shared>>) -> Response {
    match shared.board.status(&shared.pool).await {
        Ok(status) => Json(status).into_response(),
        Err(error) => (StatusCode::SERVICE_UNAVAILABLE, [("retry-after", "1")], format!("{error}\n")).into_response(),
    }
}

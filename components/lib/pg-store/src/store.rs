//! The pool and what is done with it.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bb8::{Pool, RunError};
use ringdown_env_config::Url;
use ringdown_service::{Backoff, Life};
use tokio_postgres::Config;

use crate::hosts::{Hosts, Opened};
use crate::manager::Manager;
use crate::metrics::PgMetrics;
use crate::session::{Meter, Session};
use crate::{PgError, Retry, Retryable, UrlError};

/// How long past the server's own limit an answer is waited for before the connection is given up.
const ANSWER_GRACE: Duration = Duration::from_secs(1);
/// How often [`PgStore::watch`] asks.
const WATCH_EVERY: Duration = Duration::from_secs(2);
/// Tries of [`PgStore::retry`], the first included: enough for a race between a handful of writers.
const TRIES: u32 = 5;

/// Bounds of the pool.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Most connections; PostgreSQL's default allows 100 for all daemons together.
    pub connections: u32,
    /// Longest time to make a connection; several hosts share it.
    pub connect: Duration,
    /// Longest wait for a connection of the pool.
    pub acquire: Duration,
    /// Longest run of one statement, kept by the server.
    pub statement: Duration,
    /// Longest wait for a lock, kept by the server.
    pub lock: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 10,
            connect: Duration::from_secs(2),
            acquire: Duration::from_secs(3),
            statement: Duration::from_secs(5),
            lock: Duration::from_secs(3),
        }
    }
}

/// PostgreSQL as a daemon sees it. Cheap to clone.
#[derive(Clone, Debug)]
pub struct PgStore {
    pool: Pool<Manager>,
    /// For connections without the limits of the pool's.
    alone: Arc<Hosts>,
    pub(crate) limits: Limits,
    metrics: PgMetrics,
}

impl PgStore {
    /// Makes the pool. Nothing is connected yet, so PostgreSQL may be down. Once per daemon: it registers metrics.
    pub fn open(life: &Life, url: &Url, limits: Limits) -> Result<Self, UrlError> {
        let mut config: Config = url.expose().parse().map_err(|_| UrlError)?;
        config
            .application_name(format!("ringdown-{}", life.name()))
            .tcp_user_timeout(limits.statement + ANSWER_GRACE)
            .keepalives_idle(Duration::from_secs(15))
            .keepalives_interval(Duration::from_secs(5))
            .keepalives_retries(3);
        let metrics = PgMetrics::new(life.metrics());
        let pool = Pool::builder()
            .max_size(limits.connections)
            .connection_timeout(limits.acquire)
            .build_unchecked(Manager::new(&bounded(&config, limits), limits.connect));
        let alone = Arc::new(Hosts::new(&config, limits.connect));
        Ok(Self { pool, alone, limits, metrics })
    }

    /// A connection for one piece of work; `operation` is a fixed word for metrics and errors.
    pub async fn session(&self, operation: &'static str) -> Result<Session<'_>, PgError> {
        let meter = self.meter(operation);
        match self.pool.get().await {
            Ok(connection) => Ok(Session::new(connection, meter)),
            Err(error) => {
                let error = self.no_connection(error).await;
                self.metrics.ended(operation, self.limits.acquire, Some(&error));
                Err(error)
            }
        }
    }

    /// Runs `work` again, after a growing wait, while its error says that nothing happened; at most five times.
    pub async fn retry<T, E, F, Fut>(&self, operation: &'static str, mut work: F) -> Result<T, E>
    where
        E: Retryable + std::fmt::Display,
        F: FnMut() -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        let mut backoff = Backoff::new(Duration::from_millis(10), Duration::from_millis(500));
        for _ in 1..TRIES {
            match work().await {
                Err(error) if error.retry() == Retry::Safe => {
                    log::debug!(operation = operation, error:% = error; "tried again");
                    tokio::time::sleep(backoff.next_delay()).await;
                }
                result => return result,
            }
        }
        work().await
    }

    /// Whether PostgreSQL answers.
    pub async fn ping(&self) -> Result<(), PgError> {
        self.session("ping").await?.query_one("SELECT 1", &[]).await.map(drop)
    }

    /// Keeps `/readyz` true about `postgres`, until shutdown.
    pub fn watch(&self, life: &Life) {
        let readiness = life.readiness("postgres");
        let shutdown = life.shutdown();
        let store = self.clone();
        life.spawn("pg watch", async move {
            let mut ticks = tokio::time::interval(WATCH_EVERY);
            ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                tokio::select! {
                    // First: a look that takes as long as its period would leave the end to chance, again and again.
                    biased;
                    () = shutdown.requested() => return Ok(()),
                    _ = ticks.tick() => {}
                }
                match store.ping().await {
                    Ok(()) => readiness.ready(),
                    Err(error) => readiness.waiting(error.to_string()),
                }
                store.count_connections();
            }
        });
    }

    /// A connection of one's own, outside the pool, with its messages; it has no statement limit.
    pub(crate) async fn connect_alone(&self) -> Result<Opened, PgError> {
        self.alone.connect().await
    }

    fn meter(&self, operation: &'static str) -> Meter {
        Meter { operation, limit: self.limits.statement + ANSWER_GRACE, metrics: self.metrics.clone() }
    }

    /// The pool only says "timed out"; one try of our own says why, as long as the pool is not simply used up.
    async fn no_connection(&self, error: RunError<PgError>) -> PgError {
        match error {
            RunError::User(error) => error,
            RunError::TimedOut if self.pool.state().connections >= self.limits.connections => {
                PgError::Unavailable { why: format!("all {} connections are in use", self.limits.connections) }
            }
            RunError::TimedOut => match self.connect_alone().await {
                Err(error) => error,
                Ok(_) => PgError::Unavailable { why: "no connection in time".into() },
            },
        }
    }

    fn count_connections(&self) {
        let state = self.pool.state();
        self.metrics.connections.set(i64::from(state.connections));
        self.metrics.idle.set(i64::from(state.idle_connections));
    }
}

/// Limits the server itself keeps, so that no statement outlives who asked for it.
fn bounded(config: &Config, limits: Limits) -> Config {
    let mut config = config.clone();
    let before = config.get_options().map(|options| format!("{options} ")).unwrap_or_default();
    let statement = limits.statement.as_millis();
    let lock = limits.lock.as_millis();
    // The last: of one that hangs between two statements, whose locks the repeat of its work waits for.
    config.options(format!(
        "{before}-c statement_timeout={statement} -c lock_timeout={lock} -c idle_in_transaction_session_timeout={statement}"
    ));
    config
}

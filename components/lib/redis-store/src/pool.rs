//! Pooled connections for short commands and scripts.
//!
//! A connection that met an I/O error or a time-out is thrown away, and one that was idle for a second proves itself
//! with a PING before its next use, so a restarted Redis costs at most one failed attempt per connection. One to a master
//! that another took the place of is thrown away, too. The pool never
//! fails to start: a Redis that is away shows in the operations, which say whether a repeat is safe.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use redis::{Cmd, ConnectionAddr, FromRedisValue, Pipeline, RedisError, Script};

use crate::error::{RedisUrlError, breaks};
use crate::place::{Address, Place};
use crate::subscription::Subscription;
use crate::{BlockingConnection, StoreError, StoreMetrics};

/// Longest time to make a connection where Redis may have moved meanwhile.
const MOVING_CONNECT_LIMIT: Duration = Duration::from_millis(500);

/// How the pool connects.
#[derive(Clone)]
pub struct RedisOptions {
    address: Address,
    /// Most connections. Commands are short: sixteen serve thousands of requests per second.
    pub max_connections: u32,
    /// Longest wait for one command's answer. An AOF fsync on a busy disk may take a second.
    pub response_limit: Duration,
    /// Longest wait for a free or new connection.
    pub connect_limit: Duration,
    /// Longest time spent repeating an operation that is safe to repeat.
    pub retry_limit: Duration,
}

impl RedisOptions {
    /// Options with defaults for a URL as `redis://:password@127.0.0.1:6379/0`, or for Sentinels as
    /// `redis+sentinel://:password@10.0.0.1:26379,10.0.0.2:26379,10.0.0.3:26379/ringdown/0`.
    ///
    /// # Errors
    /// The text is no such URL.
    pub fn from_url(url: &str) -> Result<Self, RedisUrlError> {
        Ok(Self {
            address: Address::parse(url)?,
            max_connections: 16,
            response_limit: Duration::from_millis(1_500),
            connect_limit: Duration::from_secs(2),
            retry_limit: Duration::from_secs(3),
        })
    }
}

impl RedisOptions {
    /// Where Redis is now, for who speaks with it in another way. Within a tokio runtime.
    ///
    /// # Errors
    /// Too few Sentinels answer within the limit for connecting.
    pub async fn locate(&self) -> Result<redis::Client, StoreError> {
        let what = "locate";
        let place = self.address.clone().watch(StoreMetrics::default());
        match tokio::time::timeout(self.connect_limit, place.client()).await {
            Ok(client) => client.map_err(|error| not_connected(what, error)),
            Err(_) => Err(StoreError::Unavailable { what, detail: "too few Sentinels answer".to_owned() }),
        }
    }
}

/// Shows the address only.
impl fmt::Debug for RedisOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisOptions").field("address", &self.address).finish_non_exhaustive()
    }
}

/// Whether an operation may be repeated when its outcome is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// Once is as good as twice: reads, `SET`, entries that carry an id somebody checks.
    Safe,
    /// Never repeated; the caller gets [`StoreError::Unknown`] and must look.
    Never,
}

/// The pool. Cloning shares it.
#[derive(Clone)]
pub struct RedisPool {
    pool: bb8::Pool<Manager>,
    options: RedisOptions,
    metrics: StoreMetrics,
    place: Place,
    config: redis::AsyncConnectionConfig,
    /// One connection for everybody, made when first used: see [`RedisPool::run_shared`].
    shared: Arc<tokio::sync::Mutex<Option<(MultiplexedConnection, ConnectionAddr)>>>,
}

impl fmt::Debug for RedisPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisPool").field("options", &self.options).finish_non_exhaustive()
    }
}

/// What a subscriber hears.
enum Channels<'a> {
    One(&'a str),
    Pattern(&'a str),
}

impl RedisPool {
    /// A pool that connects when it is first used. Must be called within a tokio runtime.
    #[must_use]
    pub fn new(options: RedisOptions, metrics: StoreMetrics) -> Self {
        let place = options.address.clone().watch(metrics.clone());
        // Where Redis may move, an address that does not answer is soon not the right one any more.
        let connect_limit = if place.can_move() { MOVING_CONNECT_LIMIT } else { options.connect_limit };
        let config =
            redis::AsyncConnectionConfig::new().set_connection_timeout(Some(connect_limit)).set_response_timeout(None);
        let manager = Manager::new(place.clone(), config.clone().set_response_timeout(Some(options.response_limit)));
        let pool = bb8::Pool::builder()
            .max_size(options.max_connections)
            .connection_timeout(options.connect_limit)
            .test_on_check_out(true)
            .build_unchecked(manager);
        Self { pool, options, metrics, place, config, shared: Arc::default() }
    }

    /// The counters this pool and all that is built on it share.
    #[must_use]
    pub const fn metrics(&self) -> &StoreMetrics {
        &self.metrics
    }

    /// Whether Redis answers.
    ///
    /// # Errors
    /// It does not.
    pub async fn ping(&self) -> Result<(), StoreError> {
        let _pong: String = self.run("ping", Retry::Never, &redis::cmd("PING")).await?;
        Ok(())
    }

    /// Runs one short command. `what` names the operation in errors and metrics.
    ///
    /// # Errors
    /// See [`StoreError`]; with [`Retry::Safe`] passing errors are repeated within the options' limit first.
    pub async fn run<T: FromRedisValue>(&self, what: &'static str, retry: Retry, cmd: &Cmd) -> Result<T, StoreError> {
        self.attempt(what, retry, Way::Pooled, &Operation::Command(cmd)).await
    }

    /// As [`RedisPool::run`], on the one connection that everybody shares: commands of many tasks travel together, which
    /// costs Redis and us a third as much per command. For small commands that many tasks send at once; a slow one would hold
    /// up all others.
    ///
    /// # Errors
    /// As [`RedisPool::run`].
    pub async fn run_shared<T: FromRedisValue>(
        &self,
        what: &'static str,
        retry: Retry,
        cmd: &Cmd,
    ) -> Result<T, StoreError> {
        self.attempt(what, retry, Way::Shared, &Operation::Command(cmd)).await
    }

    /// Runs a pipeline (atomic if it was made so).
    ///
    /// # Errors
    /// As [`RedisPool::run`].
    pub async fn run_pipeline<T: FromRedisValue>(
        &self,
        what: &'static str,
        retry: Retry,
        pipeline: &Pipeline,
    ) -> Result<T, StoreError> {
        self.attempt(what, retry, Way::Pooled, &Operation::Pipeline(pipeline)).await
    }

    /// Runs a script by its hash, loading it when Redis does not know it.
    ///
    /// # Errors
    /// As [`RedisPool::run`].
    pub async fn run_script<T: FromRedisValue>(
        &self,
        what: &'static str,
        retry: Retry,
        script: &Script,
        keys: &[String],
        args: &[&str],
    ) -> Result<T, StoreError> {
        let mut invocation = script.prepare_invoke();
        for key in keys {
            invocation.key(key);
        }
        for arg in args {
            invocation.arg(*arg);
        }
        self.attempt(what, retry, Way::Pooled, &Operation::Script(&invocation)).await
    }

    /// A connection of its own for blocking reads. Connects when first used.
    #[must_use]
    pub fn blocking(&self, what: &'static str) -> BlockingConnection {
        BlockingConnection::new(what, self.place.clone(), self.config.clone(), self.options.connect_limit)
    }

    /// A subscriber of its own.
    ///
    /// # Errors
    /// Redis is not available.
    pub async fn subscriber(&self, channel: &str) -> Result<Subscription, StoreError> {
        self.subscribed(Channels::One(channel)).await
    }

    /// A subscriber of its own to all channels of a pattern (`*` is anything).
    ///
    /// # Errors
    /// Redis is not available.
    pub async fn pattern_subscriber(&self, pattern: &str) -> Result<Subscription, StoreError> {
        self.subscribed(Channels::Pattern(pattern)).await
    }

    async fn subscribed(&self, channels: Channels<'_>) -> Result<Subscription, StoreError> {
        let what = "subscribe";
        let connect = async {
            let client = self.place.client().await?;
            let address = client.get_connection_info().addr().clone();
            let mut subscriber = while_there(&self.place, &address, Box::pin(client.get_async_pubsub())).await?;
            match channels {
                Channels::One(channel) => subscriber.subscribe(channel).await?,
                Channels::Pattern(pattern) => subscriber.psubscribe(pattern).await?,
            }
            Ok::<_, RedisError>(Subscription::new(subscriber, self.place.clone(), address))
        };
        match tokio::time::timeout(self.options.connect_limit, connect).await {
            Ok(result) => result.map_err(|error| StoreError::from_redis(what, error)),
            Err(_) => Err(StoreError::Unavailable { what, detail: "connecting took too long".to_owned() }),
        }
    }

    async fn attempt<T: FromRedisValue>(
        &self,
        what: &'static str,
        retry: Retry,
        way: Way,
        operation: &Operation<'_>,
    ) -> Result<T, StoreError> {
        let started = Instant::now();
        let mut pause = Duration::from_millis(5);
        loop {
            let attempt_started = Instant::now();
            let result = match way {
                Way::Pooled => self.once(what, operation).await,
                Way::Shared => self.once_shared(what, operation).await,
            };
            self.metrics.operation(what, result.is_ok(), attempt_started.elapsed());
            match result {
                Err(error)
                    if retry == Retry::Safe
                        && error.is_passing()
                        && started.elapsed() + pause < self.options.retry_limit =>
                {
                    log::debug!(operation = what, error:display; "repeating a Redis operation");
                    self.metrics.retry();
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(Duration::from_millis(200));
                }
                other => return other,
            }
        }
    }

    async fn once<T: FromRedisValue>(&self, what: &'static str, operation: &Operation<'_>) -> Result<T, StoreError> {
        let mut connection = self.pool.get().await.map_err(|error| match error {
            bb8::RunError::User(error) => not_connected(what, error),
            bb8::RunError::TimedOut => {
                StoreError::Unavailable { what, detail: "no connection within the limit".to_owned() }
            }
        })?;
        let Checked { inner, address, .. } = &mut *connection;
        let result = while_there(&self.place, address, operation.run(inner)).await;
        connection.used_at = Instant::now();
        result.map_err(|error| {
            connection.broken = breaks(&error);
            StoreError::from_redis(what, error)
        })
    }

    async fn once_shared<T: FromRedisValue>(
        &self,
        what: &'static str,
        operation: &Operation<'_>,
    ) -> Result<T, StoreError> {
        let (mut connection, address) = self.shared_connection(what).await?;
        let result = while_there(&self.place, &address, operation.run(&mut connection)).await;
        if let Err(error) = &result
            && breaks(error)
        {
            // Others may have replaced it already; one connection too many is made then, and this one is dropped.
            *self.shared.lock().await = None;
        }
        result.map_err(|error| StoreError::from_redis(what, error))
    }

    /// The shared connection. Who finds none makes it while the others wait.
    async fn shared_connection(
        &self,
        what: &'static str,
    ) -> Result<(MultiplexedConnection, ConnectionAddr), StoreError> {
        let mut shared = self.shared.lock().await;
        if let Some(made) = shared.as_ref().filter(|(_, address)| self.place.is(address)) {
            return Ok(made.clone());
        }
        let config = self.config.clone().set_response_timeout(Some(self.options.response_limit));
        let connect = connect(&self.place, &config);
        let connection = match tokio::time::timeout(self.options.connect_limit, connect).await {
            Ok(result) => result.map_err(|error| not_connected(what, error))?,
            Err(_) => return Err(StoreError::Unavailable { what, detail: "connecting took too long".to_owned() }),
        };
        Ok(shared.insert(connection).clone())
    }
}

/// Over which connection.
#[derive(Clone, Copy, Debug)]
enum Way {
    Pooled,
    Shared,
}

/// What can be attempted. Not a closure: the future of a closure that borrows both its argument and its surroundings
/// cannot be shown to be `Send`.
enum Operation<'a> {
    Command(&'a Cmd),
    Pipeline(&'a Pipeline),
    Script(&'a redis::ScriptInvocation<'a>),
}

impl Operation<'_> {
    async fn run<T: FromRedisValue>(&self, connection: &mut MultiplexedConnection) -> Result<T, RedisError> {
        match self {
            Self::Command(cmd) => cmd.query_async(connection).await,
            Self::Pipeline(pipeline) => pipeline.query_async(connection).await,
            Self::Script(invocation) => invocation.invoke_async(connection).await,
        }
    }
}

/// No connection was made, so nothing was done: an I/O error is no unknown outcome here.
pub(crate) fn not_connected(what: &'static str, error: RedisError) -> StoreError {
    let error = StoreError::from_redis(what, error);
    if let StoreError::Unknown { what, detail } = error { StoreError::Unavailable { what, detail } } else { error }
}

/// A new connection to where Redis is, and that address. One to a master that is replaced meanwhile is not waited for.
pub(crate) async fn connect(
    place: &Place,
    config: &redis::AsyncConnectionConfig,
) -> Result<(MultiplexedConnection, ConnectionAddr), RedisError> {
    let client = place.client().await?;
    let address = client.get_connection_info().addr().clone();
    // Large, and seldom: not part of every future that may connect.
    let connecting = Box::pin(client.get_multiplexed_async_connection_with_config(config));
    let connection = while_there(place, &address, connecting).await?;
    Ok((connection, address))
}

/// What `work` on a connection to `address` gives, unless Redis is elsewhere before: a master that hangs is not waited for
/// when another has its place. The outcome is unknown then.
async fn while_there<T>(
    place: &Place,
    address: &ConnectionAddr,
    work: impl Future<Output = Result<T, RedisError>>,
) -> Result<T, RedisError> {
    tokio::select! {
        result = work => result,
        () = place.left(address) => Err(gone()),
    }
}

fn gone() -> RedisError {
    RedisError::from(std::io::Error::new(std::io::ErrorKind::NotConnected, "another Redis is master now"))
}

/// Makes and checks the pool's connections.
struct Manager {
    place: Place,
    config: redis::AsyncConnectionConfig,
}

/// A connection and what the pool must know about it.
struct Checked {
    inner: MultiplexedConnection,
    address: ConnectionAddr,
    used_at: Instant,
    broken: bool,
}

impl Manager {
    /// Idle for longer than this, a connection must answer a PING before it is used again.
    const TRUSTED_FOR: Duration = Duration::from_secs(1);
    /// How long and how often a connection is tried where Redis may move meanwhile: longer than an election takes.
    const TRY_FOR: Duration = Duration::from_secs(5);
    const TRY_EVERY: Duration = Duration::from_millis(50);

    const fn new(place: Place, config: redis::AsyncConnectionConfig) -> Self {
        Self { place, config }
    }
}

impl bb8::ManageConnection for Manager {
    type Connection = Checked;
    type Error = RedisError;

    async fn connect(&self) -> Result<Checked, RedisError> {
        let started = Instant::now();
        loop {
            match connect(&self.place, &self.config).await {
                Ok((inner, address)) => return Ok(Checked { inner, address, used_at: Instant::now(), broken: false }),
                // The pool's own waits between two tries grow to a second; a new master is there earlier.
                Err(_) if self.place.can_move() && started.elapsed() < Self::TRY_FOR => {
                    tokio::time::sleep(Self::TRY_EVERY).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn is_valid(&self, connection: &mut Checked) -> Result<(), RedisError> {
        if !self.place.is(&connection.address) {
            return Err(gone());
        }
        if connection.used_at.elapsed() < Self::TRUSTED_FOR {
            return Ok(());
        }
        let ping = redis::cmd("PING");
        let pong = ping.query_async::<String>(&mut connection.inner);
        while_there(&self.place, &connection.address, pong).await.map(drop)
    }

    fn has_broken(&self, connection: &mut Checked) -> bool {
        connection.broken || !self.place.is(&connection.address)
    }
}

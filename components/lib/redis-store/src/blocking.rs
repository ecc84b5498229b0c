//! A connection of its own for commands that wait in Redis.
//!
//! The client library's response time-out is off, since waiting is the point; an outer limit (the command's own wait
//! plus two seconds) ends a read from a Redis that fell silent. After any error the connection is dropped and the next
//! command connects anew; the caller paces itself with [`BlockingConnection::pause_after_failure`].

use std::fmt;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{Cmd, ConnectionAddr, FromRedisValue};

use crate::StoreError;
use crate::place::Place;
use crate::pool::{connect, not_connected};

/// The connection. Not shared: one loop owns it. Dropping a call half-way leaves the connection unusable; call
/// [`BlockingConnection::disconnect`] then.
pub struct BlockingConnection {
    what: &'static str,
    place: Place,
    config: redis::AsyncConnectionConfig,
    connect_limit: Duration,
    connection: Option<(MultiplexedConnection, ConnectionAddr)>,
    failures: u32,
}

impl fmt::Debug for BlockingConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlockingConnection")
            .field("what", &self.what)
            .field("connected", &self.connection.is_some())
            .finish_non_exhaustive()
    }
}

impl BlockingConnection {
    /// What an answer may take beyond the command's own wait.
    const GRACE: Duration = Duration::from_secs(2);

    pub(crate) const fn new(
        what: &'static str,
        place: Place,
        config: redis::AsyncConnectionConfig,
        connect_limit: Duration,
    ) -> Self {
        Self { what, place, config, connect_limit, connection: None, failures: 0 }
    }

    /// Runs a command that may wait up to `wait` in Redis.
    ///
    /// # Errors
    /// See [`StoreError`]. The connection is gone afterwards; the next call makes a new one.
    pub async fn run<T: FromRedisValue>(&mut self, cmd: &Cmd, wait: Duration) -> Result<T, StoreError> {
        let what = self.what;
        let mut connection = self.connection().await?;
        let answer = tokio::time::timeout(wait + Self::GRACE, cmd.query_async(&mut connection));
        let result = tokio::select! {
            answer = answer => match answer {
                Ok(answer) => answer.map_err(|error| StoreError::from_redis(what, error)),
                Err(_) => Err(StoreError::Unknown { what, detail: "Redis fell silent".to_owned() }),
            },
            () = self.left() => Err(StoreError::Unknown { what, detail: "another Redis is master now".to_owned() }),
        };
        match &result {
            Ok(_) => self.failures = 0,
            Err(_) => self.disconnect(),
        }
        result
    }

    /// The connection itself, made if there is none, for scripts and pipelines. The caller sets the limit and calls
    /// [`BlockingConnection::disconnect`] after an error.
    ///
    /// # Errors
    /// Redis is not available.
    pub async fn connection(&mut self) -> Result<MultiplexedConnection, StoreError> {
        if let Some((connection, _)) = self.connection.as_ref().filter(|(_, address)| self.place.is(address)) {
            return Ok(connection.clone());
        }
        let what = self.what;
        let connect = connect(&self.place, &self.config);
        let result = match tokio::time::timeout(self.connect_limit, connect).await {
            Ok(result) => result.map_err(|error| not_connected(what, error)),
            Err(_) => Err(StoreError::Unavailable { what, detail: "connecting took too long".to_owned() }),
        };
        match result {
            Ok(connection) => Ok(self.connection.insert(connection).0.clone()),
            Err(error) => {
                self.failures = self.failures.saturating_add(1);
                Err(error)
            }
        }
    }

    /// Returns when the connection leads to a master that another took the place of.
    async fn left(&self) {
        match &self.connection {
            Some((_, address)) => self.place.left(address).await,
            None => std::future::pending().await,
        }
    }

    /// Drops the connection; what was under way on it is lost.
    pub fn disconnect(&mut self) {
        self.connection = None;
        self.failures = self.failures.saturating_add(1);
    }

    /// How long to wait before the next attempt: 20 ms after the first failure, doubling to 500 ms, so that a Redis that
    /// restarts in a second is found within half a second.
    #[must_use]
    pub fn pause_after_failure(&self) -> Duration {
        Duration::from_millis((20_u64 << self.failures.saturating_sub(1).min(5)).min(500))
    }
}

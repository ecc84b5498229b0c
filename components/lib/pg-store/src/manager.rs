//! How the pool makes, checks and judges connections, with a mark for those that must not be reused.

use std::fmt;
use std::time::{Duration, Instant};

use ringdown_service::within;
use tokio_postgres::{Client, Config};

use crate::PgError;
use crate::hosts::Hosts;

/// A connection idle for longer is asked before it is handed out; a younger one is trusted, which saves a round trip.
const TRUSTED_FOR: Duration = Duration::from_secs(1);

pub(crate) struct Manager {
    hosts: Hosts,
    connect_limit: Duration,
}

/// A connection with what the pool must know about it.
pub(crate) struct Connection {
    pub(crate) client: Client,
    /// An answer is outstanding that nobody waits for any more.
    pub(crate) broken: bool,
    pub(crate) used_at: Instant,
}

impl Manager {
    pub(crate) fn new(config: &Config, connect_limit: Duration) -> Self {
        Self { hosts: Hosts::new(config, connect_limit), connect_limit }
    }
}

impl fmt::Debug for Manager {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Manager")
    }
}

impl bb8::ManageConnection for Manager {
    type Connection = Connection;
    type Error = PgError;

    async fn connect(&self) -> Result<Connection, PgError> {
        let (client, connection) = self.hosts.connect().await?;
        // It ends with its client, whose next word says why.
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                log::debug!(error:% = error; "a connection to PostgreSQL ended");
            }
        });
        Ok(Connection { client, broken: false, used_at: Instant::now() })
    }

    async fn is_valid(&self, connection: &mut Connection) -> Result<(), PgError> {
        if connection.used_at.elapsed() < TRUSTED_FOR && !connection.client.is_closed() {
            return Ok(());
        }
        within("asking PostgreSQL", self.connect_limit, connection.client.simple_query("")).await??;
        Ok(())
    }

    fn has_broken(&self, connection: &mut Connection) -> bool {
        connection.broken || connection.client.is_closed()
    }
}

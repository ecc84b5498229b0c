//! How the pool makes, checks and judges connections: bb8-postgres, plus a mark for connections that must not be reused.

use std::fmt;
use std::time::{Duration, Instant};

use bb8_postgres::PostgresConnectionManager;
use ringdown_service::within;
use tokio_postgres::{Client, Config, NoTls};

use crate::PgError;

/// A connection idle for longer is asked before it is handed out; a younger one is trusted, which saves a round trip.
const TRUSTED_FOR: Duration = Duration::from_secs(1);

pub(crate) struct Manager {
    inner: PostgresConnectionManager<NoTls>,
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
    pub(crate) fn new(config: Config, connect_limit: Duration) -> Self {
        Self { inner: PostgresConnectionManager::new(config, NoTls), connect_limit }
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
        let connecting = within("connecting to PostgreSQL", self.connect_limit, self.inner.connect()).await;
        let client = connecting.map_err(|late| unavailable(&late))?.map_err(|error| unavailable(&error))?;
        Ok(Connection { client, broken: false, used_at: Instant::now() })
    }

    async fn is_valid(&self, connection: &mut Connection) -> Result<(), PgError> {
        if connection.used_at.elapsed() < TRUSTED_FOR && !connection.client.is_closed() {
            return Ok(());
        }
        within("asking PostgreSQL", self.connect_limit, self.inner.is_valid(&mut connection.client)).await??;
        Ok(())
    }

    fn has_broken(&self, connection: &mut Connection) -> bool {
        connection.broken || self.inner.has_broken(&mut connection.client)
    }
}

/// The whole chain of causes in one line: "error connecting to server: Connection refused".
pub(crate) fn unavailable(error: &(dyn std::error::Error + 'static)) -> PgError {
    let mut why = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        why = format!("{why}: {cause}");
        source = cause.source();
    }
    PgError::Unavailable { why }
}

//! Bringing a schema up to date.

use std::future::poll_fn;
use std::time::Duration;

use ringdown_service::{Backoff, Readiness, Shutdown, TimedOut, within};

use crate::{PgError, PgStore, Retry, Retryable};

/// Key of the advisory lock all daemons migrate under: "ringdown" in ASCII.
const LOCK: i64 = 0x7269_6e67_646f_776e;
/// Longest migration, waiting for another daemon's included.
const LIMIT: Duration = Duration::from_secs(300);

/// A schema could not be brought up to date.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// PostgreSQL was not there or went away; the next try goes on where this one ended, since each migration is one
    /// transaction.
    #[error(transparent)]
    Pg(#[from] PgError),
    /// A migration failed, or the database was migrated by a newer or another version.
    #[error("the schema cannot be migrated")]
    Refinery(#[source] Box<refinery::Error>),
    /// It took too long.
    #[error(transparent)]
    TimedOut(#[from] TimedOut),
    /// The daemon was asked to stop before it was done.
    #[error("asked to stop before the schema was up to date")]
    Stopped,
}

impl PgStore {
    /// Applies the migrations that are missing, and gives how many. Several daemons may do so at once: an advisory lock
    /// lets one of them work, and the others find nothing to do.
    pub async fn migrate(&self, runner: refinery::Runner) -> Result<usize, MigrateError> {
        within("migrating PostgreSQL", LIMIT, self.migrate_locked(runner)).await?
    }

    /// [`PgStore::migrate`] as a daemon starts: waits for PostgreSQL as long as it takes, saying so in `readiness`. What
    /// waiting cannot cure is an error.
    pub async fn migrate_when_up(
        &self,
        runner: impl Fn() -> refinery::Runner,
        readiness: &Readiness,
        shutdown: &Shutdown,
    ) -> Result<(), MigrateError> {
        let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(5));
        loop {
            match self.migrate(runner()).await {
                Ok(applied) => {
                    log::info!(applied = applied; "the schema is up to date");
                    readiness.ready();
                    return Ok(());
                }
                Err(MigrateError::Pg(error)) if error.retry() != Retry::Unsafe => readiness.waiting(error.to_string()),
                Err(error) => return Err(error),
            }
            if !backoff.wait(shutdown).await {
                return Err(MigrateError::Stopped);
            }
        }
    }

    async fn migrate_locked(&self, runner: refinery::Runner) -> Result<usize, MigrateError> {
        let (mut client, mut connection) = self.connect_alone().await?;
        let work = async {
            // The lock belongs to the connection, so it goes with it whatever happens.
            client.execute("SELECT pg_advisory_lock($1)", &[&LOCK]).await.map_err(PgError::from)?;
            let report = runner.run_async(&mut client).await.map_err(judge)?;
            Ok(report.applied_migrations().len())
        };
        tokio::select! {
            done = work => done,
            // The messages are the connection's motor; it ends only when the connection does.
            error = drive(&mut connection) => Err(error.into()),
        }
    }
}

/// Moves a connection's bytes until it ends, dropping notices.
async fn drive(
    connection: &mut tokio_postgres::Connection<tokio_postgres::Socket, tokio_postgres::tls::NoTlsStream>,
) -> PgError {
    loop {
        match poll_fn(|context| connection.poll_message(context)).await {
            Some(Ok(_)) => {}
            Some(Err(error)) => return PgError::from(error),
            None => return PgError::Unavailable { why: "the connection ended".into() },
        }
    }
}

/// A lost connection inside a migration is worth another try; a failing statement is not.
fn judge(error: refinery::Error) -> MigrateError {
    use std::error::Error;
    let lost = error.source().and_then(|source| source.downcast_ref::<tokio_postgres::Error>());
    match lost.is_some_and(tokio_postgres::Error::is_closed) {
        true => MigrateError::Pg(PgError::Unavailable { why: "the connection was lost while migrating".into() }),
        false => MigrateError::Refinery(Box::new(error)),
    }
}

//! Bringing a schema up to date, and back.
//!
//! A schema that a newer version has migrated is worked on as it is, when that version says that this can be; else it is an
//! error that names what to do. Never touched: a migration that was applied and is another now.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::time::Duration;

use tokio_postgres::Client;

use ringdown_service::{Backoff, Readiness, Shutdown, TimedOut, within};

use crate::schema::{Schema, Standing};
use crate::{PgError, PgStore, Retry, Retryable};

/// Key of the advisory lock all daemons migrate under: "ringdown" in ASCII.
const LOCK: i64 = 0x7269_6e67_646f_776e;
/// Longest migration, waiting for another daemon's included.
const LIMIT: Duration = Duration::from_secs(300);

/// Who can work with what a migration made, and how it is taken back.
const WAYS: &str = "CREATE TABLE IF NOT EXISTS schema_ways \
                    (version int4 PRIMARY KEY, down text NOT NULL, works_from int4 NOT NULL)";

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
    /// The database was migrated by a version that this one cannot work beside.
    #[error("the schema is at version {applied}, and programs that know version {known} cannot work with it: {what}")]
    TooNew {
        /// What the database has.
        applied: i32,
        /// What this program knows.
        known: i32,
        /// What to do.
        what: String,
    },
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
    /// What a newer version did is left as it is, when that version says that this one can work with it.
    pub async fn migrate(&self, schema: impl Into<Schema>) -> Result<usize, MigrateError> {
        let schema = schema.into();
        let work = async |client: &mut Client| up(client, schema).await;
        within("migrating PostgreSQL", LIMIT, self.alone(work)).await?
    }

    /// Takes migrations back, newest first, until `version` is the newest; gives how many. Each is one transaction. The way
    /// back is the one that was left in the database, so that a program may go back from what it does not know.
    pub async fn migrate_down(&self, version: i32) -> Result<usize, MigrateError> {
        let work = async |client: &mut Client| down(client, version).await;
        within("migrating PostgreSQL back", LIMIT, self.alone(work)).await?
    }

    /// Whether a program that knows `schema` can work on this database, and where both stand. Changes nothing.
    pub async fn standing(&self, schema: impl Into<Schema>) -> Result<Standing, MigrateError> {
        let schema = schema.into();
        let work = async |client: &mut Client| {
            let applied = applied(client).await?;
            compare(client, &schema, &applied).await?;
            Ok(Standing { applied: newest(&applied), known: schema.newest() })
        };
        within("reading the schema's history", LIMIT, self.alone(work)).await?
    }

    /// [`PgStore::migrate`] as a daemon starts: waits for PostgreSQL as long as it takes, saying so in `readiness`. What
    /// waiting cannot cure is an error.
    pub async fn migrate_when_up<S: Into<Schema>>(
        &self,
        schema: impl Fn() -> S,
        readiness: &Readiness,
        shutdown: &Shutdown,
    ) -> Result<(), MigrateError> {
        let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(5));
        loop {
            match self.migrate(schema()).await {
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

    /// Runs `work` on a connection of its own, under the lock that is held by one daemon at a time.
    async fn alone<T>(
        &self,
        work: impl AsyncFnOnce(&mut Client) -> Result<T, MigrateError>,
    ) -> Result<T, MigrateError> {
        let (mut client, mut connection) = self.connect_alone().await?;
        let work = async {
            // The lock belongs to the connection, so it goes with it whatever happens.
            client.execute("SELECT pg_advisory_lock($1)", &[&LOCK]).await.map_err(PgError::from)?;
            work(&mut client).await
        };
        tokio::select! {
            done = work => done,
            // The messages are the connection's motor; it ends only when the connection does.
            error = drive(&mut connection) => Err(error.into()),
        }
    }
}

/// Version and checksum of a migration that was applied.
type Applied = BTreeMap<i32, String>;

async fn up(client: &mut Client, schema: Schema) -> Result<usize, MigrateError> {
    let before = applied(client).await?;
    compare(client, &schema, &before).await?;
    let known = schema.newest();
    if newest(&before) > known {
        log::info!(applied = newest(&before), known; "a newer version has migrated the schema; goes on beside it");
        return Ok(0);
    }
    let report = schema.runner.run_async(client).await.map_err(judge)?;
    // After a cut between the two the next start says it again.
    client.batch_execute(WAYS).await.map_err(PgError::from)?;
    for way in &schema.ways {
        let sql = "INSERT INTO schema_ways (version, down, works_from) VALUES ($1, $2, $3) \
                   ON CONFLICT (version) DO UPDATE SET down = excluded.down, works_from = excluded.works_from";
        client.execute(sql, &[&way.version, &way.down, &way.works_from]).await.map_err(PgError::from)?;
    }
    Ok(report.applied_migrations().len())
}

async fn down(client: &mut Client, version: i32) -> Result<usize, MigrateError> {
    let applied = applied(client).await?;
    let newer: Vec<i32> = applied.keys().copied().filter(|one| *one > version).collect();
    if version < 1 || (!newer.is_empty() && !applied.contains_key(&version)) {
        let what = format!("there is no version {version} to go back to");
        return Err(MigrateError::TooNew { applied: newest(&applied), known: version, what });
    }
    for one in newer.iter().rev() {
        let sql = "SELECT down FROM schema_ways WHERE version = $1";
        let way = client.query_opt(sql, &[one]).await.map_err(PgError::from)?;
        let Some(way) = way else {
            let what = format!("the way back from {one} is not known; restore a backup");
            return Err(MigrateError::TooNew { applied: newest(&applied), known: version, what });
        };
        let transaction = client.transaction().await.map_err(PgError::from)?;
        transaction.batch_execute(way.get("down")).await.map_err(PgError::from)?;
        transaction
            .execute("DELETE FROM refinery_schema_history WHERE version = $1", &[one])
            .await
            .map_err(PgError::from)?;
        transaction.execute("DELETE FROM schema_ways WHERE version = $1", &[one]).await.map_err(PgError::from)?;
        transaction.commit().await.map_err(PgError::from)?;
        log::info!(version = *one; "a migration was taken back");
    }
    Ok(newer.len())
}

/// Nothing when no daemon has ever migrated this database.
async fn applied(client: &Client) -> Result<Applied, MigrateError> {
    let there = client.query_one("SELECT to_regclass('refinery_schema_history') IS NOT NULL AS there", &[]);
    if !there.await.map_err(PgError::from)?.get::<_, bool>("there") {
        return Ok(Applied::new());
    }
    let rows =
        client.query("SELECT version, checksum FROM refinery_schema_history", &[]).await.map_err(PgError::from)?;
    Ok(rows.iter().map(|row| (row.get("version"), row.get("checksum"))).collect())
}

fn newest(applied: &Applied) -> i32 {
    applied.keys().next_back().copied().unwrap_or(0)
}

/// Refuses a database that programs of this schema cannot work with. What is older than they know is no hindrance.
async fn compare(client: &Client, schema: &Schema, applied: &Applied) -> Result<(), MigrateError> {
    let (newest, known) = (newest(applied), schema.newest());
    if newest <= known {
        return Ok(());
    }
    let too_new = |what: &str| Err(MigrateError::TooNew { applied: newest, known, what: what.to_owned() });
    let ours = schema.runner.get_migrations().iter();
    if ours.into_iter().any(|one| applied.get(&one.version()) != Some(&one.checksum().to_string())) {
        return too_new("it was not made from this version's own; restore a backup of this version");
    }
    let there = client.query_one("SELECT to_regclass('schema_ways') IS NOT NULL AS there", &[]);
    let told = there.await.map_err(PgError::from)?.get::<_, bool>("there");
    let sql = "SELECT count(*) AS fit FROM schema_ways WHERE version > $1 AND works_from <= $1";
    let fit: i64 = match told {
        true => client.query_one(sql, &[&known]).await.map_err(PgError::from)?.get("fit"),
        false => 0,
    };
    let foreign = applied.keys().filter(|version| **version > known).count();
    if i64::try_from(foreign).is_ok_and(|foreign| foreign == fit) {
        return Ok(());
    }
    too_new("use the version that migrated it, or let that one take it back first (ringdown-web-api schema --down-to)")
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

//! PostgreSQL: connections with limits, errors that say whether a retry is safe, migrations, notifications.
//!
//! ```no_run
//! # use ringdown_pg_store::{Isolation, Limits, PgError, PgStore};
//! # async fn example(life: ringdown_service::Life, url: ringdown_env_config::Url) -> Result<(), Box<dyn std::error::Error>> {
//! let store = PgStore::open(&life, &url, Limits::default())?;    // connects when needed; PostgreSQL may be down
//! store.watch(&life);                                             // /readyz: "postgres"
//!
//! let mut session = store.session("count agents").await?;        // from the pool, with a time limit
//! let agents: i64 = session.query_one("SELECT count(*) FROM agents", &[]).await?.get(0);
//!
//! // A transaction that may lose a race: repeated a few times while the error says that nothing happened.
//! store.retry("rename agent", || async {
//!     let mut session = store.session("rename agent").await?;
//!     let mut transaction = session.begin(Isolation::Serializable).await?;
//!     transaction.execute("UPDATE agents SET name = $1", &[&"Ada"]).await?;
//!     transaction.commit().await
//! }).await?;
//! # drop(agents); Ok(()) }
//! ```
//!
//! Parts: [`PgStore`] holds the pool; [`Session`] and [`Transaction`] run statements; [`PgError`] with [`Retry`] is what can go
//! wrong; [`PgStore::migrate`] brings a schema up to date under a lock; [`PgStore::listen`] turns NOTIFY into nudges.
//!
//! Survives PostgreSQL's restart: a broken connection is thrown away and never handed out again. This crate never retries a
//! statement by itself, never logs a statement's parameters, and knows no table of any daemon.

mod error;
mod hosts;
mod listen;
mod manager;
mod metrics;
mod migrate;
mod schema;
mod session;
mod store;

pub use error::{PgError, Retry, Retryable, UrlError};
pub use listen::{Nudge, Nudges};
pub use migrate::MigrateError;
pub use schema::{Schema, Standing, Way};
pub use session::{Isolation, Session, Transaction};
pub use store::{Limits, PgStore};
pub use tokio_postgres::Row;
pub use tokio_postgres::types::ToSql;

#[cfg(test)]
mod tests;

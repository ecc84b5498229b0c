//! Statements, each with a time limit, a metric and a judged error.

use std::future::Future;
use std::time::{Duration, Instant};

use bb8::PooledConnection;
use ringdown_service::{TimedOut, within};
use tokio_postgres::types::ToSql;
use tokio_postgres::{IsolationLevel, Row};

use crate::PgError;
use crate::manager::Manager;
use crate::metrics::PgMetrics;

/// How a transaction sees others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isolation {
    /// Each statement sees what was committed before it.
    ReadCommitted,
    /// Every statement sees what was committed before the transaction's first (REPEATABLE READ): for reading several
    /// tables as of one moment.
    Snapshot,
    /// As if transactions ran one after another; may end in [`PgError::Conflict`], so it belongs into `PgStore::retry`.
    Serializable,
}

/// What a statement is measured and limited by.
#[derive(Clone, Debug)]
pub(crate) struct Meter {
    pub(crate) operation: &'static str,
    pub(crate) limit: Duration,
    pub(crate) metrics: PgMetrics,
}

impl Meter {
    async fn run<T>(&self, statement: impl Future<Output = Result<T, tokio_postgres::Error>>) -> Result<T, PgError> {
        let started = Instant::now();
        let ended = within(self.operation, self.limit, statement).await;
        let result = match ended {
            Ok(result) => result.map_err(PgError::from),
            Err(TimedOut { what, limit }) => Err(TimedOut { what, limit }.into()),
        };
        self.metrics.ended(self.operation, started.elapsed(), result.as_ref().err());
        result
    }
}

/// A connection of the pool, for one piece of work. Parameters are given as `&[&a, &b]`.
pub struct Session<'pool> {
    connection: PooledConnection<'pool, Manager>,
    meter: Meter,
}

impl<'pool> Session<'pool> {
    pub(crate) fn new(connection: PooledConnection<'pool, Manager>, meter: Meter) -> Self {
        Self { connection, meter }
    }

    /// Begins a transaction; dropped without commit, it is rolled back.
    pub async fn begin(&mut self, isolation: Isolation) -> Result<Transaction<'_>, PgError> {
        let level = match isolation {
            Isolation::ReadCommitted => IsolationLevel::ReadCommitted,
            Isolation::Snapshot => IsolationLevel::RepeatableRead,
            Isolation::Serializable => IsolationLevel::Serializable,
        };
        self.connection.used_at = Instant::now();
        let connection = &mut *self.connection;
        let begun = self.meter.run(connection.client.build_transaction().isolation_level(level).start()).await;
        let transaction = begun.inspect_err(|error| connection.broken |= is_dirty(error))?;
        Ok(Transaction { transaction, broken: &mut connection.broken, meter: &self.meter })
    }

    /// All rows.
    pub async fn query(&mut self, statement: &str, values: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>, PgError> {
        let rows = self.meter.run(self.connection.client.query(statement, values)).await;
        self.judge(rows)
    }

    /// One row or none; several are [`PgError::RowCount`].
    pub async fn query_opt(&mut self, statement: &str, values: &[&(dyn ToSql + Sync)]) -> Result<Option<Row>, PgError> {
        let row = self.meter.run(self.connection.client.query_opt(statement, values)).await;
        self.judge(row)
    }

    /// Exactly one row, else [`PgError::RowCount`].
    pub async fn query_one(&mut self, statement: &str, values: &[&(dyn ToSql + Sync)]) -> Result<Row, PgError> {
        let row = self.meter.run(self.connection.client.query_one(statement, values)).await;
        self.judge(row)
    }

    /// How many rows were changed.
    pub async fn execute(&mut self, statement: &str, values: &[&(dyn ToSql + Sync)]) -> Result<u64, PgError> {
        let changed = self.meter.run(self.connection.client.execute(statement, values)).await;
        self.judge(changed)
    }

    /// Several statements without values.
    pub async fn batch(&mut self, statements: &str) -> Result<(), PgError> {
        let done = self.meter.run(self.connection.client.batch_execute(statements)).await;
        self.judge(done)
    }

    /// Remembers when an answer may still be outstanding, so that the pool throws the connection away.
    fn judge<T>(&mut self, result: Result<T, PgError>) -> Result<T, PgError> {
        self.connection.used_at = Instant::now();
        result.inspect_err(|error| self.connection.broken |= is_dirty(error))
    }
}

/// A transaction. Dropped without [`Transaction::commit`], it is rolled back.
pub struct Transaction<'session> {
    transaction: tokio_postgres::Transaction<'session>,
    broken: &'session mut bool,
    meter: &'session Meter,
}

impl Transaction<'_> {
    /// All rows.
    pub async fn query(&mut self, statement: &str, values: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>, PgError> {
        let rows = self.meter.run(self.transaction.query(statement, values)).await;
        self.judge(rows)
    }

    /// One row or none; several are [`PgError::RowCount`].
    pub async fn query_opt(&mut self, statement: &str, values: &[&(dyn ToSql + Sync)]) -> Result<Option<Row>, PgError> {
        let row = self.meter.run(self.transaction.query_opt(statement, values)).await;
        self.judge(row)
    }

    /// Exactly one row, else [`PgError::RowCount`].
    pub async fn query_one(&mut self, statement: &str, values: &[&(dyn ToSql + Sync)]) -> Result<Row, PgError> {
        let row = self.meter.run(self.transaction.query_one(statement, values)).await;
        self.judge(row)
    }

    /// How many rows were changed.
    pub async fn execute(&mut self, statement: &str, values: &[&(dyn ToSql + Sync)]) -> Result<u64, PgError> {
        let changed = self.meter.run(self.transaction.execute(statement, values)).await;
        self.judge(changed)
    }

    /// Several statements without values.
    pub async fn batch(&mut self, statements: &str) -> Result<(), PgError> {
        let done = self.meter.run(self.transaction.batch_execute(statements)).await;
        self.judge(done)
    }

    /// Makes it last. [`PgError::Lost`] and [`PgError::TimedOut`] leave it unknown whether it did.
    pub async fn commit(self) -> Result<(), PgError> {
        let Self { transaction, broken, meter } = self;
        meter.run(transaction.commit()).await.inspect_err(|error| *broken |= is_dirty(error))
    }

    /// Takes it back.
    pub async fn rollback(self) -> Result<(), PgError> {
        let Self { transaction, broken, meter } = self;
        meter.run(transaction.rollback()).await.inspect_err(|error| *broken |= is_dirty(error))
    }

    fn judge<T>(&mut self, result: Result<T, PgError>) -> Result<T, PgError> {
        result.inspect_err(|error| *self.broken |= is_dirty(error))
    }
}

/// Whether the connection cannot be trusted after this error.
fn is_dirty(error: &PgError) -> bool {
    match error {
        PgError::TimedOut(_) | PgError::Lost(_) | PgError::Unavailable { .. } => true,
        PgError::GaveUp(_) | PgError::Conflict(_) | PgError::Refused(_) | PgError::RowCount(_) => false,
        PgError::Unique { .. } | PgError::ForeignKey { .. } | PgError::Check { .. } => false,
    }
}

//! What can go wrong with PostgreSQL, and who must act.

use ringdown_service::TimedOut;
use tokio_postgres::error::SqlState;

/// What is known about a failed operation, for who would repeat it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// Nothing happened, and the same may succeed later.
    Safe,
    /// The same will fail again.
    Unsafe,
    /// It may have happened: look before repeating.
    Unknown,
}

/// An error that knows whether a repeat is safe; implemented by the daemons' own errors around [`PgError`].
pub trait Retryable {
    /// What is known about the failed operation.
    fn retry(&self) -> Retry;
}

/// A failed operation on PostgreSQL.
#[derive(Debug, thiserror::Error)]
pub enum PgError {
    /// No connection could be had: PostgreSQL is down, refuses us, or every connection is in use.
    #[error("PostgreSQL is not available: {why}")]
    Unavailable {
        /// Which of these, for the operator.
        why: String,
    },
    /// The connection broke, or the server ended it, while the operation ran.
    #[error("the connection to PostgreSQL was lost")]
    Lost(#[source] tokio_postgres::Error),
    /// No answer in time; the connection is thrown away.
    #[error(transparent)]
    TimedOut(#[from] TimedOut),
    /// The server gave up a statement that ran too long, or waited too long for a lock.
    #[error("PostgreSQL gave the statement up")]
    GaveUp(#[source] tokio_postgres::Error),
    /// Another transaction came first (serialization failure or deadlock).
    #[error("another transaction came first")]
    Conflict(#[source] tokio_postgres::Error),
    /// A row with this key exists already.
    #[error("a row like this exists already ({constraint})")]
    Unique {
        /// The violated constraint's name.
        constraint: String,
    },
    /// A row that is referred to does not exist, or one to be removed is referred to.
    #[error("a reference does not hold ({constraint})")]
    ForeignKey {
        /// The violated constraint's name.
        constraint: String,
    },
    /// A value breaks a rule of the table.
    #[error("a value breaks a rule of the table ({constraint})")]
    Check {
        /// The violated constraint's name, or the column that must not be null.
        constraint: String,
    },
    /// A row was expected and there is none, or there are several.
    #[error("not exactly one row")]
    RowCount(#[source] tokio_postgres::Error),
    /// The server does not accept the statement or its values: a defect of the caller.
    #[error("PostgreSQL does not accept the statement")]
    Refused(#[source] tokio_postgres::Error),
}

impl Retryable for PgError {
    fn retry(&self) -> Retry {
        match self {
            Self::Unavailable { .. } | Self::GaveUp(_) | Self::Conflict(_) => Retry::Safe,
            Self::Lost(_) | Self::TimedOut(_) => Retry::Unknown,
            Self::Unique { .. } | Self::ForeignKey { .. } | Self::Check { .. } => Retry::Unsafe,
            Self::RowCount(_) | Self::Refused(_) => Retry::Unsafe,
        }
    }
}

impl PgError {
    /// A short word for metrics.
    pub(crate) fn outcome(&self) -> &'static str {
        match self {
            Self::Unavailable { .. } => "unavailable",
            Self::Lost(_) => "lost",
            Self::TimedOut(_) => "timed_out",
            Self::GaveUp(_) => "gave_up",
            Self::Conflict(_) => "conflict",
            Self::Unique { .. } | Self::ForeignKey { .. } | Self::Check { .. } => "constraint",
            Self::RowCount(_) => "row_count",
            Self::Refused(_) => "refused",
        }
    }
}

impl From<tokio_postgres::Error> for PgError {
    fn from(error: tokio_postgres::Error) -> Self {
        let Some(answer) = error.as_db_error() else { return without_answer(error) };
        let constraint = || answer.constraint().or(answer.column()).unwrap_or("unnamed").to_owned();
        let code = answer.code();
        match code.code() {
            _ if *code == SqlState::UNIQUE_VIOLATION => Self::Unique { constraint: constraint() },
            _ if *code == SqlState::EXCLUSION_VIOLATION => Self::Unique { constraint: constraint() },
            _ if *code == SqlState::FOREIGN_KEY_VIOLATION => Self::ForeignKey { constraint: constraint() },
            _ if *code == SqlState::RESTRICT_VIOLATION => Self::ForeignKey { constraint: constraint() },
            _ if *code == SqlState::CHECK_VIOLATION => Self::Check { constraint: constraint() },
            _ if *code == SqlState::NOT_NULL_VIOLATION => Self::Check { constraint: constraint() },
            "40001" | "40P01" => Self::Conflict(error),
            "57014" | "55P03" => Self::GaveUp(error),
            // At connect only: starting up, or no slot left. Nothing was sent yet.
            // Or it is not the server that takes writes (any more), which says so before it does anything.
            "57P03" | "53300" | "25006" => Self::Unavailable { why: answer.message().to_owned() },
            // Shut down or terminated by an operator, or the connection itself failed (class 08).
            "57P01" | "57P02" | "57P05" | "25P03" | "40003" => Self::Lost(error),
            other if other.starts_with("08") => Self::Lost(error),
            _ => Self::Refused(error),
        }
    }
}

/// Errors the server did not send: the connection's, or this side's.
fn without_answer(error: tokio_postgres::Error) -> PgError {
    use std::error::Error;
    if error.is_closed() || error.source().is_some_and(|source| source.is::<std::io::Error>()) {
        return PgError::Lost(error);
    }
    // The library keeps the kind to itself; its text is part of its documented output.
    let text = error.to_string();
    if text.contains("unexpected number of rows") { PgError::RowCount(error) } else { PgError::Refused(error) }
}

/// The address cannot be used. The text does not repeat it.
#[derive(Debug, thiserror::Error)]
#[error("RINGDOWN_POSTGRES_URL: is not an address PostgreSQL's client understands")]
pub struct UrlError;

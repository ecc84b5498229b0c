//! What can go wrong with Redis, by who must act.

use redis::{ErrorKind, RedisError, ServerErrorKind};

/// A failed operation.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Redis could not be reached, was loading its data, or is not the master (any more): nothing was done. Safe to repeat.
    #[error("{what}: Redis is not available: {detail}")]
    Unavailable {
        /// The operation.
        what: &'static str,
        /// What was met.
        detail: String,
    },
    /// The connection was lost or the answer did not come in time: the operation may have been done.
    #[error("{what}: no answer from Redis, the outcome is unknown: {detail}")]
    Unknown {
        /// The operation.
        what: &'static str,
        /// What was met.
        detail: String,
    },
    /// Redis answered with an error: wrong password, wrong type, out of memory.
    #[error("{what}: Redis refused: {source}")]
    Refused {
        /// The operation.
        what: &'static str,
        /// The answer.
        source: RedisError,
    },
    /// What was read is not what belongs there.
    #[error("{what}: unreadable value: {detail}")]
    Unreadable {
        /// The operation.
        what: &'static str,
        /// Why it cannot be read.
        detail: String,
    },
    /// A limit of this process was reached; nothing was sent.
    #[error("{what}: too many at once (limit {limit})")]
    Overloaded {
        /// The operation.
        what: &'static str,
        /// The limit.
        limit: usize,
    },
}

/// Whether who answered is no master, or one that too few replicas follow: refused before anything was done.
fn is_no_master(error: &RedisError) -> bool {
    // A command that waited is ended when its master becomes a replica; a script stops at its first write.
    matches!(error.code(), Some("READONLY" | "NOREPLICAS" | "UNBLOCKED"))
}

/// Whether the connection is of no use after this error.
pub(crate) fn breaks(error: &RedisError) -> bool {
    error.is_io_error() || error.is_timeout() || error.is_unrecoverable_error() || error.code() == Some("READONLY")
}

impl StoreError {
    /// Sorts an error of the client library.
    pub(crate) fn from_redis(what: &'static str, source: RedisError) -> Self {
        let detail = source.to_string();
        let kind = source.kind();
        if matches!(kind, ErrorKind::Server(ServerErrorKind::BusyLoading | ServerErrorKind::MasterDown))
            || is_no_master(&source)
            || source.is_connection_refusal()
        {
            Self::Unavailable { what, detail }
        } else if matches!(kind, ErrorKind::Parse | ErrorKind::UnexpectedReturnType) {
            Self::Unreadable { what, detail }
        } else if source.is_timeout() || source.is_io_error() || source.is_connection_dropped() {
            Self::Unknown { what, detail }
        } else {
            Self::Refused { what, source }
        }
    }

    /// The operation that failed.
    #[must_use]
    pub const fn what(&self) -> &'static str {
        match self {
            Self::Unavailable { what, .. }
            | Self::Unknown { what, .. }
            | Self::Refused { what, .. }
            | Self::Unreadable { what, .. }
            | Self::Overloaded { what, .. } => what,
        }
    }

    /// Whether waiting and repeating may help: Redis was away, as opposed to an answer nobody likes.
    #[must_use]
    pub const fn is_passing(&self) -> bool {
        match self {
            Self::Unavailable { .. } | Self::Unknown { .. } | Self::Overloaded { .. } => true,
            Self::Refused { .. } | Self::Unreadable { .. } => false,
        }
    }

    /// Whether the operation may have been done although it failed.
    #[must_use]
    pub const fn outcome_unknown(&self) -> bool {
        match self {
            Self::Unknown { .. } => true,
            Self::Unavailable { .. } | Self::Refused { .. } | Self::Unreadable { .. } | Self::Overloaded { .. } => {
                false
            }
        }
    }
}

/// Why a Redis URL is not accepted. Never shows the URL: it may hold a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "must be redis://[user:password@]host[:port][/database], redis+unix:///path or \
     redis+sentinel://[user:password@]host[:port],host[:port],...[/name[/database]]"
)]
pub struct RedisUrlError;

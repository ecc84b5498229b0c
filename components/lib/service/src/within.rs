//! A time limit that says what was waited for.

use std::future::Future;
use std::time::Duration;

/// Something outside did not answer in time. Whether it happened is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} did not end within {} ms", limit.as_millis())]
pub struct TimedOut {
    /// What was waited for.
    pub what: &'static str,
    /// How long.
    pub limit: Duration,
}

/// Waits for `future`, at most `limit`.
pub async fn within<T>(what: &'static str, limit: Duration, future: impl Future<Output = T>) -> Result<T, TimedOut> {
    tokio::time::timeout(limit, future).await.map_err(|_| TimedOut { what, limit })
}

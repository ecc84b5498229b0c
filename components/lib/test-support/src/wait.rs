//! Waiting for a condition instead of sleeping for a while.

use std::time::{Duration, Instant};

/// How often a condition is looked at.
const EVERY: Duration = Duration::from_millis(10);

/// Asks `probe` until it answers `Some`, and gives the answer.
///
/// # Panics
/// After `limit`, naming `what` was waited for: a test that waits in vain has failed.
pub async fn wait_until<T>(limit: Duration, what: &str, mut probe: impl AsyncFnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        let left = limit.saturating_sub(start.elapsed());
        let asked = tokio::time::timeout(left.max(EVERY), probe()).await;
        if let Ok(Some(answer)) = asked {
            return answer;
        }
        assert!(start.elapsed() < limit, "waited {} ms in vain for: {what}", limit.as_millis());
        tokio::time::sleep(EVERY).await;
    }
}

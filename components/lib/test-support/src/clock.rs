//! Time that moves only when a test says so.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ringdown_domain::TimestampMs;

/// A clock in UTC milliseconds; clones show the same time.
#[derive(Clone, Debug)]
pub struct VirtualClock(Arc<AtomicU64>);

impl VirtualClock {
    /// A clock that shows `start`.
    #[must_use]
    pub fn at(start: TimestampMs) -> Self {
        Self(Arc::new(AtomicU64::new(start.0)))
    }

    /// The time it shows.
    #[must_use]
    pub fn now(&self) -> TimestampMs {
        TimestampMs(self.0.load(Ordering::SeqCst))
    }

    /// Moves it forward, and gives the new time.
    pub fn advance_ms(&self, milliseconds: u64) -> TimestampMs {
        TimestampMs(self.0.fetch_add(milliseconds, Ordering::SeqCst) + milliseconds)
    }

    /// The clock as a function, e.g. for `service::Clock::from_fn`.
    pub fn source(&self) -> impl Fn() -> TimestampMs + Send + Sync + 'static {
        let clock = self.clone();
        move || clock.now()
    }
}

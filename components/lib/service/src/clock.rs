//! The one clock. Whoever needs the time gets a [`Clock`]; cores get the time itself.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ringdown_domain::TimestampMs;

/// UTC in milliseconds, and a monotonic count beside it for measuring spans.
#[derive(Clone)]
pub struct Clock {
    wall: Arc<dyn Fn() -> TimestampMs + Send + Sync>,
    started: Instant,
}

impl Clock {
    /// The host's clock.
    #[must_use]
    pub fn system() -> Self {
        Self::from_fn(|| {
            let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            // Milliseconds since 1970 fill a u64 in 584 million years.
            TimestampMs(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
        })
    }

    /// A clock that somebody else drives: virtual time in tests and replays.
    #[must_use]
    pub fn from_fn(wall: impl Fn() -> TimestampMs + Send + Sync + 'static) -> Self {
        Self { wall: Arc::new(wall), started: Instant::now() }
    }

    /// Now, in UTC. It may jump when the host's clock is set; spans are measured with [`Clock::elapsed`].
    #[must_use]
    pub fn now(&self) -> TimestampMs {
        (self.wall)()
    }

    /// The time since this clock was made; never goes back.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Clock({})", self.now().0)
    }
}

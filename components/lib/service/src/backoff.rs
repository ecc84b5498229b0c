//! Waiting longer after each failure, never in step with others.

use std::time::Duration;

use crate::{Shutdown, entropy};

/// Delays that double from `first` to `max`. Each is drawn between half of its step and the whole, so that daemons which
/// lost the same peer together do not come back together.
#[derive(Clone, Debug)]
pub struct Backoff {
    first: Duration,
    max: Duration,
    step: Duration,
}

impl Backoff {
    /// Starts at `first`; both must be above zero to have an effect.
    #[must_use]
    pub fn new(first: Duration, max: Duration) -> Self {
        Self { first, max, step: first }
    }

    /// The next delay.
    pub fn next_delay(&mut self) -> Duration {
        let step = self.step.min(self.max);
        self.step = step.saturating_mul(2).min(self.max);
        let half_ms = u64::try_from(step.as_millis() / 2).unwrap_or(u64::MAX);
        step - Duration::from_millis(half_ms) + Duration::from_millis(entropy::up_to(half_ms))
    }

    /// Back to the first delay, after a success.
    pub fn reset(&mut self) {
        self.step = self.first;
    }

    /// Waits the next delay. `false` when the daemon is asked to stop meanwhile.
    pub async fn wait(&mut self, shutdown: &Shutdown) -> bool {
        tokio::select! {
            () = tokio::time::sleep(self.next_delay()) => true,
            () = shutdown.requested() => false,
        }
    }
}

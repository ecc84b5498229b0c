//! When a child that died is started again: at once after a long life, later and later after short ones. There is no last
//! time: what keeps a child from living (a full disk, a server away) may pass, and nobody may be there to start it.

use std::time::Duration;

/// A life of this length forgives all earlier deaths.
const LONG_LIFE: Duration = Duration::from_secs(60);
/// The first wait.
const SHORTEST: Duration = Duration::from_millis(200);
/// The longest wait: what an operator who has mended something waits at most.
const LONGEST: Duration = Duration::from_secs(15);

/// A child's deaths.
#[derive(Debug, Default)]
pub(super) struct Restarts {
    short_lives: u32,
}

impl Restarts {
    /// It died after this long a life: how long to wait.
    pub(super) fn died(&mut self, life: Duration) -> Duration {
        if life >= LONG_LIFE {
            self.short_lives = 0;
        }
        let wait = SHORTEST.saturating_mul(1 << self.short_lives.min(16)).min(LONGEST);
        self.short_lives += 1;
        wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_limit_and_a_long_life_forgives() {
        let mut restarts = Restarts::default();
        let waits: Vec<u64> = (0..9).map(|_| restarts.died(Duration::from_secs(1)).as_millis() as u64).collect();
        assert_eq!(waits, [200, 400, 800, 1_600, 3_200, 6_400, 12_800, 15_000, 15_000]);
        assert_eq!(restarts.died(LONG_LIFE), SHORTEST);
        assert_eq!(restarts.died(Duration::ZERO), SHORTEST * 2);
    }
}

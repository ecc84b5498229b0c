//! What strangers make us say in the log: seldom, and never in their own words.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::Instant;

/// Warnings about strangers that are written at once; then one comes back per interval, and the others are counted.
const BURST: u32 = 10;
const EVERY: Duration = Duration::from_secs(10);

/// Warnings about guessed passwords, however many strangers guess.
#[derive(Debug)]
pub(crate) struct GuessWarnings {
    left: u32,
    since: Instant,
    unsaid: u64,
}

impl GuessWarnings {
    pub(crate) fn new(now: Instant) -> Self {
        Self { left: BURST, since: now, unsaid: 0 }
    }

    /// Somebody guesses passwords and is not listened to any more.
    pub(crate) fn guessing(&mut self, source: SocketAddr, user: &str, now: Instant) {
        log::debug!(source:% = source, user:% = escaped(user); "this password is guessed");
        if let Some(unsaid) = self.may_say(now) {
            log::warn!(source:% = source.ip(), other_sources = unsaid; "passwords are guessed from here; its guesses are not looked at for a while");
        }
    }

    /// How many were left out before, when another one may be said.
    fn may_say(&mut self, now: Instant) -> Option<u64> {
        while self.left < BURST && now.duration_since(self.since) >= EVERY {
            self.since += EVERY;
            self.left += 1;
        }
        if self.left == BURST {
            self.since = now;
        }
        if self.left == 0 {
            self.unsaid += 1;
            return None;
        }
        self.left -= 1;
        Some(std::mem::take(&mut self.unsaid))
    }
}

/// A stranger's text without line ends, terminal escapes and other control characters, and not longer than a line.
pub(crate) fn escaped(text: &str) -> String {
    text.chars().take(64).flat_map(char::escape_debug).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_have_a_rate_and_count_what_they_leave_out() {
        let begun = Instant::now();
        let mut warnings = GuessWarnings::new(begun);
        let said = (0..1_000).filter(|_| warnings.may_say(begun).is_some()).count();
        assert_eq!(said, 10);
        assert_eq!(warnings.may_say(begun + EVERY), Some(990));
        assert_eq!(warnings.may_say(begun + EVERY), None);
    }

    #[test]
    fn what_strangers_write_cannot_change_a_terminal_or_begin_a_line() {
        assert_eq!(escaped("\u{1b}[2J\r\nfake: line\u{7f}\u{9b}"), "\\u{1b}[2J\\r\\nfake: line\\u{7f}\\u{9b}");
        assert_eq!(escaped(&"x".repeat(1_000)).len(), 64);
    }
}

//! Whether a media node is alive.

use ringdown_domain::TimestampMs;

/// Closed ports in a row after which the node is dead: nothing listens, so nothing is slow.
pub const CLOSED_ROW: u32 = 3;
/// Failed connections of another kind in a row (no answer to SYN, no route) after which it is dead. At a look every second
/// that is about as long as a cable may be out.
pub const UNREACHABLE_ROW: u32 = 6;
/// Requests in a row that were taken and not answered after which it is dead, if the row is as long as [`SILENT_FOR_MS`] too.
pub const SILENT_ROW: u32 = 3;
/// How long such a row must last, in milliseconds. An Asterisk that is out of memory or stopped for a snapshot comes back
/// within seconds; one that has hung for half a minute without a websocket has no caller left who listens.
pub const SILENT_FOR_MS: u64 = 30_000;

/// What one look at the node showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// It answered, be it with a refusal.
    Answered,
    /// Its port is closed.
    PortClosed,
    /// No connection came about.
    Unreachable,
    /// The connection stood, and no answer came within the limit.
    Silent,
}

/// What the looks so far mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is there.
    Alive,
    /// Looks fail, not for long enough.
    Doubtful,
    /// Its calls are gone. Said once per death.
    Dead,
    /// Still dead.
    StillDead,
}

/// The looks at one node since its last sign of life.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Liveness {
    websocket_open: bool,
    closed: u32,
    unreachable: u32,
    silent: u32,
    /// When the row of silent looks began.
    silent_since_ms: Option<TimestampMs>,
    dead: bool,
}

impl Liveness {
    /// The node's websocket opened or closed. While it is open the node is alive: the websocket itself notices within
    /// seconds when nobody answers its pings.
    pub fn websocket(&mut self, open: bool) {
        self.websocket_open = open;
        if open {
            self.sign_of_life();
        }
    }

    /// One look at the node.
    pub fn looked(&mut self, now: TimestampMs, look: Look) -> Verdict {
        if self.websocket_open || look == Look::Answered {
            self.sign_of_life();
            return Verdict::Alive;
        }
        match look {
            Look::Answered => {}
            Look::PortClosed => self.closed += 1,
            Look::Unreachable => self.unreachable += 1,
            Look::Silent => {
                self.silent += 1;
                self.silent_since_ms.get_or_insert(now);
            }
        }
        self.judge(now)
    }

    fn judge(&mut self, now: TimestampMs) -> Verdict {
        let silent_for_ms = self.silent_since_ms.map_or(0, |since| now.since_ms(since));
        let dead = self.closed >= CLOSED_ROW
            || self.unreachable >= UNREACHABLE_ROW
            || (self.silent >= SILENT_ROW && silent_for_ms >= SILENT_FOR_MS);
        let was_dead = self.dead;
        self.dead |= dead;
        match (was_dead, dead) {
            (false, true) => Verdict::Dead,
            (true, _) => Verdict::StillDead,
            (false, false) => Verdict::Doubtful,
        }
    }

    fn sign_of_life(&mut self) {
        *self = Self { websocket_open: self.websocket_open, ..Self::default() };
    }
}

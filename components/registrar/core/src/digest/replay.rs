//! Which nonce counts were used (RFC 7616 3.4, `nc`).

use std::collections::BTreeMap;

use super::nonce::{NONCE_LIFETIME_MS, NonceId};

/// Most nonces remembered. The oldest goes first: its later use is answered stale, which costs a phone one round trip.
pub const MAX_NONCES: usize = 65_536;

/// Counts up to this far below the highest may still come (packets overtake each other).
const WINDOW: u32 = 64;

/// A sliding window of used counts per nonce.
#[derive(Debug, Default)]
pub struct ReplayWindow {
    /// Ordered by issue time, so the oldest is first.
    used: BTreeMap<NonceId, Used>,
    /// Nonces issued before this were forgotten while they could still be used.
    forgotten_before: Option<NonceId>,
}

#[derive(Debug)]
struct Used {
    highest: u32,
    /// Bit n: count `highest - n` was used.
    seen: u64,
}

impl ReplayWindow {
    /// True for a count that was not used with this nonce before; it is used from now on.
    pub fn accept(&mut self, nonce: NonceId, count: u32, now_ms: u64) -> bool {
        self.forget_expired(now_ms);
        if count == 0 {
            return false;
        }
        if let Some(used) = self.used.get_mut(&nonce) {
            return used.accept(count);
        }
        if self.forgotten_before.is_some_and(|limit| nonce <= limit) {
            return false;
        }
        if self.used.len() == MAX_NONCES
            && let Some((oldest, _)) = self.used.pop_first()
        {
            self.forgotten_before = self.forgotten_before.max(Some(oldest));
        }
        self.used.insert(nonce, Used { highest: count, seen: 1 });
        true
    }

    fn forget_expired(&mut self, now_ms: u64) {
        while let Some(oldest) = self.used.first_entry() {
            if oldest.key().issued_ms.saturating_add(NONCE_LIFETIME_MS) > now_ms {
                return;
            }
            oldest.remove();
        }
    }
}

impl Used {
    fn accept(&mut self, count: u32) -> bool {
        if count > self.highest {
            let shift = count - self.highest;
            self.seen = if shift < WINDOW { self.seen << shift | 1 } else { 1 };
            self.highest = count;
            return true;
        }
        let back = self.highest - count;
        if back >= WINDOW {
            return false;
        }
        let bit = 1_u64 << back;
        let fresh = self.seen & bit == 0;
        self.seen |= bit;
        fresh
    }
}

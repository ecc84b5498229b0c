//! Deadlines by what they are for.

use std::collections::{BTreeMap, BTreeSet};

/// Deadlines in UTC milliseconds, at most one per key.
#[derive(Debug)]
pub(super) struct Timers<K> {
    by_time: BTreeSet<(u64, K)>,
    by_key: BTreeMap<K, u64>,
}

impl<K: Ord + Copy> Timers<K> {
    pub(super) fn new() -> Self {
        Self { by_time: BTreeSet::new(), by_key: BTreeMap::new() }
    }

    pub(super) fn set(&mut self, key: K, at_ms: u64) {
        self.clear(key);
        self.by_time.insert((at_ms, key));
        self.by_key.insert(key, at_ms);
    }

    /// True when it was set.
    pub(super) fn clear(&mut self, key: K) -> bool {
        let at_ms = self.by_key.remove(&key);
        at_ms.is_some_and(|at_ms| self.by_time.remove(&(at_ms, key)))
    }

    /// The earliest one that is due.
    pub(super) fn pop_due(&mut self, now_ms: u64) -> Option<K> {
        let (at_ms, key) = *self.by_time.first()?;
        if at_ms > now_ms {
            return None;
        }
        self.clear(key);
        Some(key)
    }

    pub(super) fn next_ms(&self) -> Option<u64> {
        self.by_time.first().map(|(at_ms, _)| *at_ms)
    }
}

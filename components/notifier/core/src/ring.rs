//! The recent entries of one tenant's journal, shared by all its connections. Bounded: the oldest leave first.

use std::collections::VecDeque;

/// A bounded run of consecutive entries.
#[derive(Debug)]
pub struct Ring<T> {
    capacity: usize,
    /// Sequence number of the front entry, or of the next one to come when there is none.
    first: u64,
    entries: VecDeque<T>,
}

/// What a cursor finds.
#[derive(Debug, PartialEq, Eq)]
pub enum Read<T> {
    /// The entries after the cursor, oldest first, with the sequence number of the first.
    Entries(u64, Vec<T>),
    /// The entry after the cursor has left the ring: the store must be asked.
    Behind,
    /// Nothing new.
    UpToDate,
}

/// An entry that does not follow the last one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RingError {
    /// The number that would have followed.
    pub expected: u64,
    /// The number that came.
    pub found: u64,
}

impl<T: Clone> Ring<T> {
    /// An empty ring that expects the entry after `last`. `capacity` must be at least 1.
    #[must_use]
    pub fn new(capacity: usize, last: u64) -> Self {
        assert!(capacity > 0, "a ring holds at least one entry");
        Self { capacity, first: last + 1, entries: VecDeque::new() }
    }

    /// Adds the entry `seq`; one that is already there is passed over (a re-read after a lost connection).
    ///
    /// # Errors
    /// The entry leaves a gap: the journal was cut or made anew, and the ring must be started again.
    pub fn push(&mut self, seq: u64, entry: T) -> Result<(), RingError> {
        let expected = self.last() + 1;
        if seq < expected {
            return Ok(());
        }
        if seq > expected {
            return Err(RingError { expected, found: seq });
        }
        if self.entries.len() == self.capacity {
            self.entries.pop_front();
            self.first += 1;
        }
        self.entries.push_back(entry);
        Ok(())
    }

    /// Up to `limit` entries after `cursor`.
    #[must_use]
    pub fn read(&self, cursor: u64, limit: usize) -> Read<T> {
        if cursor >= self.last() {
            return Read::UpToDate;
        }
        if cursor + 1 < self.first {
            return Read::Behind;
        }
        let skip = usize::try_from(cursor + 1 - self.first).unwrap_or(usize::MAX);
        Read::Entries(cursor + 1, self.entries.iter().skip(skip).take(limit).cloned().collect())
    }

    /// Sequence number of the newest entry seen.
    #[must_use]
    pub fn last(&self) -> u64 {
        self.first + self.entries.len() as u64 - 1
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Read, Ring, RingError};

    #[test]
    fn a_gap_is_noticed_and_a_repeat_is_not_an_entry() {
        let mut ring = Ring::new(4, 10);
        assert_eq!(ring.push(11, 'a'), Ok(()));
        assert_eq!(ring.push(11, 'b'), Ok(()));
        assert_eq!(ring.push(13, 'c'), Err(RingError { expected: 12, found: 13 }));
        assert_eq!(ring.read(10, 9), Read::Entries(11, vec!['a']));
        assert_eq!(ring.read(11, 9), Read::UpToDate);
        assert_eq!(ring.read(9, 9), Read::Behind);
    }

    proptest! {
        /// A reader that asks the store whenever it is behind sees every entry exactly once, in order.
        #[test]
        fn a_cursor_misses_nothing(capacity in 1usize..8, steps in prop::collection::vec((any::<bool>(), 1usize..5), 1..200)) {
            let mut store: Vec<u64> = Vec::new();
            let mut ring = Ring::new(capacity, 0);
            let mut seen: Vec<u64> = Vec::new();
            for (write, count) in steps {
                if write {
                    for _ in 0..count {
                        let seq = store.len() as u64 + 1;
                        store.push(seq);
                        prop_assert_eq!(ring.push(seq, seq), Ok(()));
                    }
                    continue;
                }
                let cursor = seen.len() as u64;
                match ring.read(cursor, count) {
                    Read::Entries(first, entries) => {
                        prop_assert_eq!(first, cursor + 1);
                        prop_assert!(entries.len() <= count);
                        seen.extend(entries);
                    }
                    Read::Behind => {
                        prop_assert!(store.len() - seen.len() > capacity);
                        let next = store[seen.len()];
                        seen.push(next);
                    }
                    Read::UpToDate => prop_assert_eq!(seen.len(), store.len()),
                }
            }
            prop_assert_eq!(&seen[..], &store[..seen.len()]);
        }
    }
}

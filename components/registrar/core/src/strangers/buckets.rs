//! Token buckets in a table of fixed size.

use std::hash::{DefaultHasher, Hasher};

/// Buckets of a table: 1 MB. With as many sources at once, budgets begin to be shared.
const BUCKETS: usize = 65_536;
/// Fractions of a token that a bucket counts in.
const PARTS: u64 = 1_000;

/// How many tokens come back, and how many a bucket holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Tokens per minute.
    pub per_minute: u32,
    /// Most at once.
    pub burst: u32,
}

impl Rate {
    fn full(self) -> u64 {
        u64::from(self.burst) * PARTS
    }

    /// After a day every bucket is full: more time would only overflow.
    fn gained(self, ms: u64) -> u64 {
        ms.min(86_400_000) * u64::from(self.per_minute) * PARTS / 60_000
    }
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    /// Parts of tokens that were taken and have not come back.
    missing: u64,
    /// UTC milliseconds to which `missing` was reckoned.
    at_ms: u64,
}

/// A table of buckets, all with the same rate.
#[derive(Debug)]
pub struct Buckets {
    rate: Rate,
    seed: [u8; 32],
    buckets: Vec<Bucket>,
}

impl Buckets {
    /// A table of full buckets. `seed` keeps strangers from choosing whose bucket they share.
    pub fn new(rate: Rate, seed: [u8; 32]) -> Self {
        Self { rate, seed, buckets: vec![Bucket { missing: 0, at_ms: 0 }; BUCKETS] }
    }

    /// Takes a token; false when there is none.
    pub fn take(&mut self, key: &[&[u8]], now_ms: u64) -> bool {
        if self.is_empty(key, now_ms) {
            return false;
        }
        let bucket = self.settled(key, now_ms);
        bucket.missing += PARTS;
        true
    }

    /// Gives a token back: what it was taken for turned out to be honest.
    pub fn give_back(&mut self, key: &[&[u8]], now_ms: u64) {
        let bucket = self.settled(key, now_ms);
        bucket.missing = bucket.missing.saturating_sub(PARTS);
    }

    /// True when no token is there.
    pub fn is_empty(&mut self, key: &[&[u8]], now_ms: u64) -> bool {
        let full = self.rate.full();
        self.settled(key, now_ms).missing + PARTS > full
    }

    fn settled(&mut self, key: &[&[u8]], now_ms: u64) -> &mut Bucket {
        let at = self.place(key);
        let rate = self.rate;
        let bucket = &mut self.buckets[at];
        let gained = rate.gained(now_ms.saturating_sub(bucket.at_ms));
        // Too little time for a part of a token must not be forgotten.
        if gained > 0 || bucket.missing == 0 {
            bucket.missing = bucket.missing.saturating_sub(gained);
            bucket.at_ms = now_ms;
        }
        bucket
    }

    fn place(&self, key: &[&[u8]]) -> usize {
        let mut hasher = DefaultHasher::new();
        hasher.write(&self.seed);
        for part in key {
            hasher.write_usize(part.len());
            hasher.write(part);
        }
        // The remainder is smaller than the number of buckets.
        usize::try_from(hasher.finish() % BUCKETS as u64).unwrap_or(0)
    }
}

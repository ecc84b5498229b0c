//! The brake on guessing: a token bucket per login and one per source address.
//!
//! Both are counted whether or not the login exists. A right password gives its attempt back. The number of buckets
//! is bounded: when the table is full of buckets in use, new keys share one overflow bucket, so that a flood of invented
//! logins slows inventors and not memory.
//!
//! It counts within one process; two web-api processes allow twice the rate, which is still far from a guess.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Attempts on one login at once, then one per [`LOGIN_REFILL`]: about 2,900 guesses a day.
const LOGIN_BURST: u32 = 10;
const LOGIN_REFILL: Duration = Duration::from_secs(30);

/// Attempts from one address at once, then one per [`SOURCE_REFILL`]: a site's agents behind one address may all log in
/// at the start of a shift.
const SOURCE_BURST: u32 = 200;
const SOURCE_REFILL: Duration = Duration::from_secs(1);

/// Buckets kept per table: about 10 MB at most.
const MAX_BUCKETS: usize = 100_000;

/// Both brakes.
#[derive(Debug, Default)]
pub struct LoginLimiter {
    tables: Mutex<Tables>,
}

#[derive(Debug)]
struct Tables {
    logins: Buckets<String>,
    sources: Buckets<IpAddr>,
}

impl Default for Tables {
    fn default() -> Self {
        Self { logins: Buckets::new(LOGIN_BURST, LOGIN_REFILL), sources: Buckets::new(SOURCE_BURST, SOURCE_REFILL) }
    }
}

impl LoginLimiter {
    /// Takes one attempt from both buckets.
    ///
    /// # Errors
    /// How long to wait, when either is empty; nothing is taken then.
    pub fn attempt(&self, login: &str, source: IpAddr, now: Instant) -> Result<(), Duration> {
        let mut guard = self.lock();
        let Tables { logins, sources } = &mut *guard;
        let login = logins.bucket(login.to_owned(), now);
        let source = sources.bucket(source, now);
        let wait = login.wait(LOGIN_REFILL, now).max(source.wait(SOURCE_REFILL, now));
        if !wait.is_zero() {
            return Err(wait);
        }
        login.left -= 1;
        source.left -= 1;
        Ok(())
    }

    /// Gives back the attempt of a right password.
    pub fn succeeded(&self, login: &str, source: IpAddr, now: Instant) {
        let mut guard = self.lock();
        let Tables { logins, sources } = &mut *guard;
        logins.give_back(login.to_owned(), now);
        sources.give_back(source, now);
    }

    /// The critical sections above cannot panic half-way, so a poisoned table is still a right one.
    fn lock(&self) -> std::sync::MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[derive(Debug)]
struct Buckets<K> {
    burst: u32,
    refill: Duration,
    known: HashMap<K, Bucket>,
    overflow: Bucket,
}

#[derive(Debug)]
struct Bucket {
    left: u32,
    since: Instant,
}

impl Bucket {
    fn full(burst: u32, now: Instant) -> Self {
        Self { left: burst, since: now }
    }

    fn refill(&mut self, burst: u32, refill: Duration, now: Instant) {
        let elapsed = now.saturating_duration_since(self.since);
        let earned = u32::try_from(elapsed.as_millis() / refill.as_millis()).unwrap_or(u32::MAX);
        if self.left.saturating_add(earned) >= burst {
            *self = Self::full(burst, now);
        } else {
            self.left += earned;
            self.since += refill * earned;
        }
    }

    fn wait(&self, refill: Duration, now: Instant) -> Duration {
        if self.left > 0 { Duration::ZERO } else { (self.since + refill).saturating_duration_since(now) }
    }
}

impl<K: Eq + Hash> Buckets<K> {
    fn new(burst: u32, refill: Duration) -> Self {
        Self { burst, refill, known: HashMap::new(), overflow: Bucket::full(burst, Instant::now()) }
    }

    fn bucket(&mut self, key: K, now: Instant) -> &mut Bucket {
        if self.known.len() >= MAX_BUCKETS && !self.known.contains_key(&key) {
            self.forget_full(now);
        }
        let bucket = if self.known.len() >= MAX_BUCKETS && !self.known.contains_key(&key) {
            &mut self.overflow
        } else {
            self.known.entry(key).or_insert_with(|| Bucket::full(self.burst, now))
        };
        bucket.refill(self.burst, self.refill, now);
        bucket
    }

    fn give_back(&mut self, key: K, now: Instant) {
        let burst = self.burst;
        let bucket = self.bucket(key, now);
        bucket.left = burst.min(bucket.left + 1);
    }

    /// A full bucket says nothing that a missing one does not.
    fn forget_full(&mut self, now: Instant) {
        let (burst, refill) = (self.burst, self.refill);
        self.known.retain(|_, bucket| {
            bucket.refill(burst, refill, now);
            bucket.left < burst
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    #[test]
    fn guessing_is_braked_and_released_with_time() {
        let limiter = LoginLimiter::default();
        let start = Instant::now();
        for _ in 0..LOGIN_BURST {
            assert_eq!(limiter.attempt("ada", HERE, start), Ok(()));
        }
        assert_eq!(limiter.attempt("ada", HERE, start), Err(LOGIN_REFILL));
        assert_eq!(limiter.attempt("bob", HERE, start), Ok(()), "another login is not touched");
        assert_eq!(limiter.attempt("ada", HERE, start + LOGIN_REFILL), Ok(()));
        assert!(limiter.attempt("ada", HERE, start + LOGIN_REFILL).is_err());
    }

    #[test]
    fn right_passwords_cost_nothing() {
        let limiter = LoginLimiter::default();
        let now = Instant::now();
        for _ in 0..1_000 {
            assert_eq!(limiter.attempt("ada", HERE, now), Ok(()));
            limiter.succeeded("ada", HERE, now);
        }
    }

    #[test]
    fn one_address_cannot_try_all_logins() {
        let limiter = LoginLimiter::default();
        let now = Instant::now();
        let refused =
            (0..SOURCE_BURST + 5).filter(|n| limiter.attempt(&format!("user{n}"), HERE, now).is_err()).count();
        assert_eq!(refused, 5);
    }
}

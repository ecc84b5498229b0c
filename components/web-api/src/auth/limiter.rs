//! The brake on guessing: token buckets per login and source together, per source, and per login from strange sources.
//!
//! All are counted whether or not the login exists. A right password gives its attempt back, and makes its source a known one of
//! the login: whoever guesses at a login from elsewhere never keeps its owner out, who comes from where they came before or from
//! a source that has not guessed. The number of buckets is bounded: when the table is full of buckets in use, new keys share one
//! overflow bucket, so that a flood of invented logins slows inventors and not memory.
//!
//! It counts within one process; two web-api processes allow twice the rate, which is still far from a guess.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Attempts on one login from one source at once, then one per [`PAIR_REFILL`]: about 2,900 guesses a day.
const PAIR_BURST: u32 = 10;
const PAIR_REFILL: Duration = Duration::from_secs(30);

/// Attempts on one login from all strange sources at once, then one per [`LOGIN_REFILL`]: what a botnet may try.
const LOGIN_BURST: u32 = 200;
const LOGIN_REFILL: Duration = Duration::from_secs(10);

/// Sources of a login that are remembered as known, and logins for which they are.
const KNOWN_SOURCES: usize = 8;
const KNOWN_LOGINS: usize = 50_000;

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
    pairs: Buckets<(String, IpAddr)>,
    logins: Buckets<String>,
    sources: Buckets<IpAddr>,
    /// Where each login came from with its right password, newest last.
    known: HashMap<String, Vec<IpAddr>>,
}

impl Default for Tables {
    fn default() -> Self {
        Self {
            pairs: Buckets::new(PAIR_BURST, PAIR_REFILL),
            logins: Buckets::new(LOGIN_BURST, LOGIN_REFILL),
            sources: Buckets::new(SOURCE_BURST, SOURCE_REFILL),
            known: HashMap::new(),
        }
    }
}

impl Tables {
    fn knows(&self, login: &str, source: IpAddr) -> bool {
        self.known.get(login).is_some_and(|sources| sources.contains(&source))
    }

    fn learn(&mut self, login: &str, source: IpAddr) {
        if self.known.len() >= KNOWN_LOGINS && !self.known.contains_key(login) {
            // Half an installation's worth of people become strangers until their next log-in.
            self.known.clear();
        }
        let sources = self.known.entry(login.to_owned()).or_default();
        sources.retain(|known| *known != source);
        if sources.len() >= KNOWN_SOURCES {
            sources.remove(0);
        }
        sources.push(source);
    }
}

impl LoginLimiter {
    /// Takes one attempt from each bucket that applies.
    ///
    /// # Errors
    /// How long to wait, when one is empty; nothing is taken then.
    pub fn attempt(&self, login: &str, source: IpAddr, now: Instant) -> Result<(), Duration> {
        let mut guard = self.lock();
        let known = guard.knows(login, source);
        let Tables { pairs, logins, sources, .. } = &mut *guard;
        let pair = pairs.bucket((login.to_owned(), source), now);
        let all = logins.bucket(login.to_owned(), now);
        let source = sources.bucket(source, now);
        let mut wait = pair.wait(PAIR_REFILL, now).max(source.wait(SOURCE_REFILL, now));
        if !known {
            wait = wait.max(all.wait(LOGIN_REFILL, now));
        }
        if !wait.is_zero() {
            return Err(wait);
        }
        pair.left -= 1;
        source.left -= 1;
        if !known {
            all.left -= 1;
        }
        Ok(())
    }

    /// Gives back the attempt of a right password.
    pub fn succeeded(&self, login: &str, source: IpAddr, now: Instant) {
        let mut guard = self.lock();
        let known = guard.knows(login, source);
        guard.learn(login, source);
        let Tables { pairs, logins, sources, .. } = &mut *guard;
        pairs.give_back((login.to_owned(), source), now);
        sources.give_back(source, now);
        if !known {
            logins.give_back(login.to_owned(), now);
        }
    }

    /// The critical sections above cannot panic half-way, so a poisoned table is still a right one.
    fn lock(&self) -> std::sync::MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// Buckets by key, bounded in number.
#[derive(Debug)]
pub(crate) struct Buckets<K> {
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
        let earned = u32::try_from(elapsed.as_nanos() / refill.as_nanos().max(1)).unwrap_or(u32::MAX);
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
    pub(crate) fn new(burst: u32, refill: Duration) -> Self {
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

    /// Takes one from a key's bucket.
    ///
    /// # Errors
    /// How long to wait when it is empty.
    pub(crate) fn take(&mut self, key: K, now: Instant) -> Result<(), Duration> {
        let refill = self.refill;
        let bucket = self.bucket(key, now);
        let wait = bucket.wait(refill, now);
        if !wait.is_zero() {
            return Err(wait);
        }
        bucket.left = bucket.left.saturating_sub(1);
        Ok(())
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

    const THERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

    fn elsewhere(number: u8) -> IpAddr {
        IpAddr::V4(std::net::Ipv4Addr::new(198, 51, 100, number))
    }

    #[test]
    fn guessing_is_braked_and_released_with_time() {
        let limiter = LoginLimiter::default();
        let start = Instant::now();
        for _ in 0..PAIR_BURST {
            assert_eq!(limiter.attempt("ada", HERE, start), Ok(()));
        }
        assert_eq!(limiter.attempt("ada", HERE, start), Err(PAIR_REFILL));
        assert_eq!(limiter.attempt("bob", HERE, start), Ok(()), "another login is not touched");
        assert_eq!(limiter.attempt("ada", THERE, start), Ok(()), "nor is the owner elsewhere");
        assert_eq!(limiter.attempt("ada", HERE, start + PAIR_REFILL), Ok(()));
        assert!(limiter.attempt("ada", HERE, start + PAIR_REFILL).is_err());
    }

    #[test]
    fn many_sources_guess_little_more_and_a_known_source_is_not_kept_out() {
        let limiter = LoginLimiter::default();
        let now = Instant::now();
        assert_eq!(limiter.attempt("ada", THERE, now), Ok(()));
        limiter.succeeded("ada", THERE, now);
        let mut tried = 0;
        for number in 0..=255 {
            tried += (0..PAIR_BURST).filter(|_| limiter.attempt("ada", elsewhere(number), now).is_ok()).count();
        }
        assert_eq!(tried, LOGIN_BURST as usize);
        assert!(limiter.attempt("ada", HERE, now).is_err(), "a strange source waits");
        assert_eq!(limiter.attempt("ada", THERE, now), Ok(()), "the owner's does not");
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

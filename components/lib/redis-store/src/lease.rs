//! A lease: who may act, for how long, and with which fencing epoch.
//!
//! The value is `epoch:holder`; the epoch grows by one with every acquisition, so a holder that slept past its time
//! is told apart from its successor even when both have one name. A lease that was lost is never believed again: the
//! process acquires a new one. A holder on this host that has surely died ([`ProcessMark`]) is not waited for: its lease is
//! taken away at once. What is written under a lease is checked against it in the same script
//! ([`crate::Committer`]), so the holder's own clock decides nothing that matters.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use redis::Script;

use ringdown_service::ProcessMark;

use crate::{RedisPool, Retry, StoreError};

/// Stands between a holder's name and its mark.
const MARK: char = '~';

/// How long a lease lives without renewal: with a standby that looks every 200 ms, a death costs less than 3 s.
pub const DEFAULT_LEASE_TTL: Duration = Duration::from_secs(2);
/// How often the holder renews: three tries may fail before the lease ends.
pub const DEFAULT_RENEW_EVERY: Duration = Duration::from_millis(500);

/// KEYS: lease, epoch. ARGV: holder, ms. Gives the value, or `=` and the value of who holds it.
const ACQUIRE: &str = r"
local held = redis.call('GET', KEYS[1])
if held then return '=' .. held end
local value = redis.call('INCR', KEYS[2]) .. ':' .. ARGV[1]
redis.call('SET', KEYS[1], value, 'PX', ARGV[2])
return value
";

/// KEYS: lease. ARGV: value, ms.
const RENEW: &str = r"
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
";

/// KEYS: lease. ARGV: value.
const RELEASE: &str = r"
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])
";

/// Whether a lease's value names a process of this host that does not exist any more.
fn is_of_the_dead(value: &str) -> bool {
    let mark = value.rsplit_once(MARK).and_then(|(_, mark)| mark.parse::<ProcessMark>().ok());
    mark.is_some_and(|mark| mark.is_surely_dead())
}

/// The two keys of a lease. They must share a hash tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseKeys {
    /// Holds `epoch:holder`.
    pub lease: String,
    /// Counts the epochs; never expires.
    pub epoch: String,
}

/// The lease is not ours any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the lease was lost")]
pub struct LeaseLost;

/// A lease that was acquired.
#[derive(Debug)]
pub struct Lease {
    keys: LeaseKeys,
    value: String,
    epoch: u64,
    ttl: Duration,
    lost: AtomicBool,
    /// When the last extension was asked for: the lease surely lives until then plus its time.
    extended: Mutex<Instant>,
}

impl Lease {
    /// Tries to acquire a lease; none when somebody holds it who may live. `holder` is for people.
    ///
    /// # Errors
    /// See [`StoreError`]. After [`StoreError::Unknown`] the lease may be held in our name; it ends by itself.
    pub async fn acquire(
        pool: &RedisPool,
        keys: &LeaseKeys,
        holder: &str,
        ttl: Duration,
    ) -> Result<Option<Self>, StoreError> {
        let mark = ProcessMark::own();
        let holder = mark.as_ref().map_or_else(|| holder.to_owned(), |mark| format!("{holder}{MARK}{mark}"));
        let ttl_ms = ttl.as_millis().to_string();
        let script = Script::new(ACQUIRE);
        let both = [keys.lease.clone(), keys.epoch.clone()];
        let mut asked = Instant::now();
        let args = [holder.as_str(), &ttl_ms];
        let mut value: String = pool.run_script("lease_acquire", Retry::Never, &script, &both, &args).await?;
        if let Some(held) = value.strip_prefix('=') {
            if !is_of_the_dead(held) {
                return Ok(None);
            }
            log::info!(lease = keys.lease.as_str(); "its holder has died on this host: the lease is taken over");
            let release = Script::new(RELEASE);
            let lease = [keys.lease.clone()];
            let _released: i64 = pool.run_script("lease_release", Retry::Safe, &release, &lease, &[held]).await?;
            asked = Instant::now();
            value = pool.run_script("lease_acquire", Retry::Never, &script, &both, &args).await?;
            if value.starts_with('=') {
                return Ok(None);
            }
        }
        let epoch = value.split(':').next().and_then(|text| text.parse().ok()).ok_or_else(|| {
            StoreError::Unreadable { what: "lease_acquire", detail: "the lease's value has no epoch".to_owned() }
        })?;
        Ok(Some(Self {
            keys: keys.clone(),
            value,
            epoch,
            ttl,
            lost: AtomicBool::new(false),
            extended: Mutex::new(asked),
        }))
    }

    /// Extends the lease.
    ///
    /// # Errors
    /// The inner result tells whether the lease was lost, for good; the outer one that Redis did not answer, which says
    /// nothing about the lease until its time is over ([`Lease::is_surely_over`]).
    pub async fn renew(&self, pool: &RedisPool) -> Result<Result<(), LeaseLost>, StoreError> {
        if self.is_lost() {
            return Ok(Err(LeaseLost));
        }
        let asked = Instant::now();
        let script = Script::new(RENEW);
        let keys = [self.keys.lease.clone()];
        let args = [self.value.as_str(), &self.ttl_ms()];
        let renewed: i64 = pool.run_script("lease_renew", Retry::Never, &script, &keys, &args).await?;
        if renewed == 1 {
            self.extended_at(asked);
            return Ok(Ok(()));
        }
        self.mark_lost();
        Ok(Err(LeaseLost))
    }

    /// Gives the lease up at once, so that a standby need not wait for its end. Does nothing when it was lost.
    ///
    /// # Errors
    /// Redis did not answer; the lease ends by itself.
    pub async fn release(&self, pool: &RedisPool) -> Result<(), StoreError> {
        self.mark_lost();
        let script = Script::new(RELEASE);
        let keys = [self.keys.lease.clone()];
        let args = [self.value.as_str()];
        let released = pool.run_script::<i64>("lease_release", Retry::Safe, &script, &keys, &args);
        // After its own time it is over anyway: a process that stops while Redis is away waits no longer.
        match tokio::time::timeout(self.ttl, released).await {
            Ok(released) => released.map(drop),
            Err(_late) => {
                Err(StoreError::Unknown { what: "lease_release", detail: "no answer in its time".to_owned() })
            }
        }
    }

    /// Never believe this lease again.
    pub fn mark_lost(&self) {
        self.lost.store(true, Ordering::Release);
    }

    /// Whether it is known to be lost.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Acquire)
    }

    /// Whether its time is over by our own clock: nobody extended it for its whole life.
    #[must_use]
    pub fn is_surely_over(&self) -> bool {
        self.extended.lock().is_ok_and(|extended| extended.elapsed() >= self.ttl)
    }

    /// The fencing epoch: greater than that of every earlier holder.
    #[must_use]
    pub const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// `epoch:holder`, as it stands in Redis.
    #[must_use]
    pub fn value(&self) -> &str {
        &self.value
    }

    /// The lease's key.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.keys.lease
    }

    /// How long it lives without renewal.
    #[must_use]
    pub const fn ttl(&self) -> Duration {
        self.ttl
    }

    pub(crate) fn ttl_ms(&self) -> String {
        self.ttl.as_millis().to_string()
    }

    pub(crate) fn extended_at(&self, asked: Instant) {
        if let Ok(mut extended) = self.extended.lock() {
            *extended = (*extended).max(asked);
        }
    }
}

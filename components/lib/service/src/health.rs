//! What a daemon says about its own health: ready or waiting for whom, alive or stalled where.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::Clock;

/// Everything health is read from; one per daemon.
#[derive(Debug)]
pub(crate) struct Health {
    clock: Clock,
    parts: Mutex<Parts>,
}

#[derive(Debug, Default)]
struct Parts {
    /// Part -> why it waits; `None` is ready.
    conditions: BTreeMap<String, Option<String>>,
    /// Loop -> when it last turned.
    pulses: BTreeMap<String, Pulse>,
    draining: bool,
    /// Why the operator keeps new work away.
    held_back: Option<String>,
}

#[derive(Clone, Debug)]
struct Pulse {
    touched_ms: Arc<AtomicU64>,
    limit_ms: u64,
}

impl Health {
    pub(crate) fn new(clock: Clock) -> Arc<Self> {
        Arc::new(Self { clock, parts: Mutex::default() })
    }

    pub(crate) fn readiness(self: &Arc<Self>, part: String) -> Readiness {
        self.parts().conditions.insert(part.clone(), Some("starting".into()));
        Readiness { part, health: Arc::clone(self) }
    }

    pub(crate) fn heartbeat(self: &Arc<Self>, name: String, limit: Duration) -> Heartbeat {
        let touched_ms = Arc::new(AtomicU64::new(self.elapsed_ms()));
        let pulse = Pulse { touched_ms: Arc::clone(&touched_ms), limit_ms: millis(limit) };
        self.parts().pulses.insert(name.clone(), pulse);
        Heartbeat { name, touched_ms, health: Arc::clone(self) }
    }

    pub(crate) fn drain(&self) {
        self.parts().draining = true;
    }

    pub(crate) fn hold_back(&self, why: Option<String>) {
        self.parts().held_back = why;
    }

    /// Parts that wait, with the reason; empty means ready.
    pub(crate) fn waiting(&self) -> Vec<(String, String)> {
        let parts = self.parts();
        let waits = parts.conditions.iter().filter_map(|(part, why)| Some((part.clone(), why.clone()?)));
        let draining = parts.draining.then(|| ("shutdown".to_owned(), "draining".to_owned()));
        let held_back = parts.held_back.clone().map(|why| ("host".to_owned(), why));
        waits.chain(held_back).chain(draining).collect()
    }

    /// Loops that have not turned within their limit.
    pub(crate) fn stalled(&self) -> Vec<String> {
        let now_ms = self.elapsed_ms();
        let late = |pulse: &Pulse| now_ms.saturating_sub(pulse.touched_ms.load(Ordering::Relaxed)) > pulse.limit_ms;
        self.parts().pulses.iter().filter(|(_, pulse)| late(pulse)).map(|(name, _)| name.clone()).collect()
    }

    fn elapsed_ms(&self) -> u64 {
        millis(self.clock.elapsed())
    }

    fn parts(&self) -> MutexGuard<'_, Parts> {
        // Each change is one insert or remove, so a panic elsewhere leaves the maps whole.
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether one part of a daemon (a peer, a lease, a first load) is ready. It waits until told otherwise.
#[derive(Debug)]
pub struct Readiness {
    part: String,
    health: Arc<Health>,
}

impl Readiness {
    /// The part is ready. A change is logged; saying it again costs a lock.
    pub fn ready(&self) {
        if self.set(None) {
            log::info!(part = self.part.as_str(); "ready");
        }
    }

    /// The part waits, and for what; the text is read by operators. It must not hold secrets.
    pub fn waiting(&self, why: impl Into<String>) {
        let why = why.into();
        if self.set(Some(why.clone())) {
            log::warn!(part = self.part.as_str(), why = why.as_str(); "waiting");
        }
    }

    /// Whether the last word was ready.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        matches!(self.health.parts().conditions.get(&self.part), Some(None))
    }

    /// `true` when that is news.
    fn set(&self, condition: Option<String>) -> bool {
        let before = self.health.parts().conditions.insert(self.part.clone(), condition.clone());
        before != Some(condition)
    }
}

impl Drop for Readiness {
    /// A part that is gone is nothing to wait for.
    fn drop(&mut self) {
        self.health.parts().conditions.remove(&self.part);
    }
}

/// The pulse of a main loop. systemd's watchdog is fed, and `/livez` is good, only while every pulse is within its limit.
#[derive(Debug)]
pub struct Heartbeat {
    name: String,
    touched_ms: Arc<AtomicU64>,
    health: Arc<Health>,
}

impl Heartbeat {
    /// The loop has turned. Costs a clock read and a store.
    pub fn touch(&self) {
        self.touched_ms.store(self.health.elapsed_ms(), Ordering::Relaxed);
    }
}

impl Drop for Heartbeat {
    /// A loop that has ended cannot stall.
    fn drop(&mut self) {
        self.health.parts().pulses.remove(&self.name);
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

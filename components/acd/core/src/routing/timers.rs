//! Deadlines: offers that ring out, waits that end, wrap-ups that end, pauses of agents whose phone was busy.
//!
//! Exact: a deadline that no longer holds is taken out, so the next one is always real. At one moment offers come first,
//! then waits, then wrap-ups; within a kind the order is that of ids. Nothing depends on when a deadline was set.

use std::collections::BTreeSet;

use ringdown_domain::{AgentId, InteractionId, TimestampMs};

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// The offer of this interaction was not answered.
    Offer(InteractionId),
    /// This interaction has waited as long as it may.
    Wait(InteractionId),
    /// The agent's wrap-up is over.
    WrapUp(AgentId),
}

/// All deadlines of a tenant.
#[derive(Debug, Default)]
pub(super) struct Timers {
    due: BTreeSet<(TimestampMs, Timer)>,
    /// Agents left alone for a moment, and until when.
    pauses: BTreeSet<(TimestampMs, AgentId)>,
}

impl Timers {
    pub(super) fn set(&mut self, at: TimestampMs, timer: Timer) {
        self.due.insert((at, timer));
    }

    pub(super) fn clear(&mut self, at: TimestampMs, timer: Timer) {
        self.due.remove(&(at, timer));
    }

    pub(super) fn set_pause(&mut self, until: TimestampMs, agent: AgentId) {
        self.pauses.insert((until, agent));
    }

    pub(super) fn clear_pause(&mut self, until: TimestampMs, agent: AgentId) {
        self.pauses.remove(&(until, agent));
    }

    pub(super) fn pop_due(&mut self, now: TimestampMs) -> Option<Timer> {
        self.due.first().filter(|(at, _)| *at <= now)?;
        self.due.pop_first().map(|(_, timer)| timer)
    }

    pub(super) fn pop_rested(&mut self, now: TimestampMs) -> Option<AgentId> {
        self.pauses.first().filter(|(until, _)| *until <= now)?;
        self.pauses.pop_first().map(|(_, agent)| agent)
    }

    pub(super) fn next(&self) -> Option<TimestampMs> {
        let due = self.due.first().map(|(at, _)| *at);
        let pause = self.pauses.first().map(|(until, _)| *until);
        due.into_iter().chain(pause).min()
    }

    #[cfg(test)]
    pub(super) fn all_due(&self) -> Vec<(TimestampMs, Timer)> {
        self.due.iter().copied().collect()
    }

    #[cfg(test)]
    pub(super) fn all_pauses(&self) -> Vec<(TimestampMs, AgentId)> {
        self.pauses.iter().copied().collect()
    }
}

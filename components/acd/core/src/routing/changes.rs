//! What the shell must write so that the stored state is the router's: records, the index of available agents, the
//! universal queue. Only the difference since the last drain, however often something changed between.

use std::sync::Arc;

use ringdown_domain::{AgentId, InteractionId, SkillName, TimestampMs};
use ringdown_events::{InteractionRecord, JournalEvent};

use super::Router;

/// The difference between the stored state and the router's. To be written in the order of the fields.
#[derive(Debug, Default, PartialEq)]
pub struct Changes {
    /// Agents whose records go. One that was configured again since is in `agents` too.
    pub agents_removed: Vec<AgentId>,
    /// Agents whose records changed or are new; read them with [`Router::agent`].
    pub agents: Vec<AgentId>,
    /// Live interactions whose records changed or are new; read them with [`Router::interaction`].
    pub interactions: Vec<InteractionId>,
    /// Final records of interactions that ended. They are no longer live.
    pub ended: Vec<InteractionRecord>,
    /// Final records, written before, whose disposition changed. To be written only where the record is still there.
    pub classed: Vec<InteractionRecord>,
    /// The index of available agents.
    pub available: Vec<AvailabilityChange>,
    /// The universal queue.
    pub queue: Vec<QueueChange>,
}

impl Changes {
    /// Empties every list and keeps its room.
    pub fn clear(&mut self) {
        self.agents_removed.clear();
        self.agents.clear();
        self.interactions.clear();
        self.ended.clear();
        self.classed.clear();
        self.available.clear();
        self.queue.clear();
    }

    /// True when there is nothing to write.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.agents_removed.is_empty()
            && self.agents.is_empty()
            && self.interactions.is_empty()
            && self.ended.is_empty()
            && self.classed.is_empty()
            && self.available.is_empty()
            && self.queue.is_empty()
    }
}

/// One agent in the index of available agents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AvailabilityChange {
    /// Who.
    pub agent: AgentId,
    /// Skills under which the agent no longer stands. First.
    pub left: Option<Arc<[SkillName]>>,
    /// Skills under which the agent stands now, and the score: the availability clock. It may lie up to
    /// [`super::MAX_PAUSE_MS`] ahead. Then.
    pub appeared: Option<(Arc<[SkillName]>, TimestampMs)>,
}

/// One interaction in the universal queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueChange {
    /// Which.
    pub interaction: InteractionId,
    /// Its score from now on; none: it waits no longer.
    pub rank_ms: Option<TimestampMs>,
}

impl Router {
    /// Appends what changed in the stored state since the last drain.
    pub fn drain_changes(&mut self, out: &mut Changes) {
        for index in 0..self.changes.agents.len() {
            self.show_agent(self.changes.agents[index]);
        }
        for index in 0..self.changes.interactions.len() {
            self.show_interaction(self.changes.interactions[index]);
        }
        out.agents_removed.append(&mut self.changes.agents_removed);
        out.agents.extend(self.changes.agents.drain(..).filter(|id| self.agents.find(*id).is_some()));
        out.interactions.extend(self.changes.interactions.drain(..).filter(|id| self.interactions.find(*id).is_some()));
        out.ended.append(&mut self.changes.ended);
        out.classed.append(&mut self.changes.classed);
        out.available.append(&mut self.changes.available);
        out.queue.append(&mut self.changes.queue);
    }

    /// Every key of the stored index and queue, for a rebuild from nothing: as if all had just changed.
    pub fn drain_everything(&mut self, out: &mut Changes) {
        let agents: Vec<u32> = self.agents.iter().map(|(slot, _)| slot).collect();
        for slot in agents {
            self.agents[slot].shown = None;
            self.touch_agent(slot);
        }
        let interactions: Vec<u32> = self.interactions.iter().map(|(slot, _)| slot).collect();
        for slot in interactions {
            self.interactions[slot].shown = None;
            self.touch_interaction(slot);
        }
        self.drain_changes(out);
    }

    pub(super) fn touch_agent(&mut self, slot: u32) {
        let agent = &mut self.agents[slot];
        if !agent.dirty {
            agent.dirty = true;
            self.changes.agents.push(agent.record.id);
        }
    }

    pub(super) fn touch_interaction(&mut self, slot: u32) {
        let interaction = &mut self.interactions[slot];
        if !interaction.dirty {
            interaction.dirty = true;
            self.changes.interactions.push(interaction.record.id);
        }
        let record = &interaction.record;
        if let Some(parent) = record.parent {
            self.families.insert(parent);
        } else if !record.children.is_empty() || !record.parties.is_empty() {
            self.families.insert(record.id);
        }
    }

    /// The agent changed: noted for the store, told to the journal.
    pub(super) fn agent_changed(&mut self, slot: u32) {
        self.touch_agent(slot);
        let engagements = self.engagements(slot);
        let record = &mut self.agents[slot].record;
        record.engagements = engagements;
        let agent = record.clone();
        self.emit(JournalEvent::AgentChanged { agent });
    }

    /// Notes that an agent's slot was given up.
    pub(super) fn note_agent_removed(&mut self, id: AgentId, shown: Option<(Arc<[SkillName]>, TimestampMs)>) {
        self.changes.agents_removed.push(id);
        if let Some((left, _)) = shown {
            self.changes.available.push(AvailabilityChange { agent: id, left: Some(left), appeared: None });
        }
    }

    /// Notes that an interaction's slot was given up.
    pub(super) fn note_ended(&mut self, record: InteractionRecord, shown: Option<TimestampMs>) {
        if shown.is_some() {
            self.changes.queue.push(QueueChange { interaction: record.id, rank_ms: None });
        }
        self.recent.insert(&record);
        self.changes.ended.push(record);
    }

    fn show_agent(&mut self, id: AgentId) {
        let Some(slot) = self.agents.find(id) else { return };
        let agent = &mut self.agents[slot];
        agent.dirty = false;
        let now = agent.record.available_since_ms.map(|since| (Arc::clone(&agent.skill_names), since));
        if agent.shown == now {
            return;
        }
        let before = std::mem::replace(&mut agent.shown, now.clone()).map(|(skills, _)| skills);
        let left = before.filter(|skills| now.as_ref().is_none_or(|(others, _)| skills != others));
        self.changes.available.push(AvailabilityChange { agent: id, left, appeared: now });
    }

    fn show_interaction(&mut self, id: InteractionId) {
        let Some(slot) = self.interactions.find(id) else { return };
        let interaction = &mut self.interactions[slot];
        interaction.dirty = false;
        let rank_ms = interaction.waits().then_some(interaction.record.rank_ms);
        if interaction.shown != rank_ms {
            interaction.shown = rank_ms;
            self.changes.queue.push(QueueChange { interaction: id, rank_ms });
        }
    }
}

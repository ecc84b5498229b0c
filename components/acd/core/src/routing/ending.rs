//! Ends of interactions. An end is possible in every state and final; an interaction that ended is never offered.

use ringdown_domain::{
    AgentId, AgentState, EndReason, InteractionId, InteractionState, NodeId, OfferFailure, TimestampMs,
};
use ringdown_events::{Done, InteractionRecord, JournalEvent, Refusal, RefusalCode};

use super::Router;
use super::family::connected_agent;
use super::timers::Timer;

impl Router {
    pub(super) fn end_interaction(
        &mut self,
        id: InteractionId,
        reason: EndReason,
        at: Option<TimestampMs>,
    ) -> Result<Done, Refusal> {
        match self.find_interaction(id) {
            Ok(interaction) => {
                self.end(interaction, reason, at);
                Ok(Done::Changed)
            }
            Err(refusal) if refusal.code == RefusalCode::InteractionEnded => Ok(Done::Unchanged),
            Err(refusal) => Err(refusal),
        }
    }

    /// Ends whatever a dead media node held. Those without an agent first, so that nobody who is freed gets one of them.
    pub(super) fn lose_node(&mut self, node: &NodeId, before: TimestampMs) -> Done {
        let is_lost = |record: &InteractionRecord| record.node.as_ref() == Some(node) && record.arrived_at_ms < before;
        let lost = self.interactions.iter().filter(|(_, interaction)| is_lost(&interaction.record));
        let mut lost: Vec<_> =
            lost.map(|(_, entry)| (order(&entry.record.state), entry.record.arrived_at_ms, entry.record.id)).collect();
        lost.sort_unstable();
        for (.., id) in &lost {
            // A child ends with its parent.
            if let Some(slot) = self.interactions.find(*id) {
                self.end(slot, EndReason::NodeLost, None);
            }
        }
        if lost.is_empty() { Done::Unchanged } else { Done::Changed }
    }

    pub(super) fn on_timer(&mut self, timer: Timer) {
        match timer {
            Timer::Offer(id) => {
                if let Some(interaction) = self.interactions.find(id) {
                    self.ring_out(interaction);
                }
            }
            Timer::Wait(id) => {
                if let Some(interaction) = self.interactions.find(id) {
                    self.end(interaction, EndReason::WaitLimit, None);
                }
            }
            Timer::WrapUp(id) => {
                if let Some(agent) = self.agents.find(id) {
                    self.end_wrap_up(agent);
                }
            }
        }
    }

    /// Ends an interaction, its children before it, then frees its agent.
    pub(super) fn end(&mut self, interaction: u32, reason: EndReason, at: Option<TimestampMs>) {
        self.end_children(interaction, reason, at);
        let id = self.interactions[interaction].record.id;
        let before = self.interactions[interaction].record.state.clone();
        let offered_to = match before {
            InteractionState::Waiting => {
                self.dequeue(interaction);
                None
            }
            InteractionState::Offered { .. } => self.close_offer(interaction, None, None),
            InteractionState::Connected { .. } => {
                self.connected -= 1;
                None
            }
            InteractionState::External { deadline_ms, .. } => {
                if let Some(at) = deadline_ms {
                    self.timers.clear(at, Timer::Offer(id));
                }
                None
            }
            InteractionState::Ended { .. } => None,
        };
        let talked_to = connected_agent(&before);
        let had_party = matches!(before, InteractionState::Connected { .. } | InteractionState::External { .. });
        let wrap_up_ms = self.interactions[interaction].record.wrap_up_ms;
        self.finish(interaction, true_reason(reason, had_party), at, talked_to);
        if let Some((agent, place)) = offered_to {
            self.settle_agent(agent, place);
        }
        if let Some(agent) = talked_to.and_then(|agent| self.agents.find(agent)) {
            self.release(agent, id, wrap_up_ms);
        }
    }

    /// The end of an interaction that nobody has and that is in no index; its parent loses it.
    pub(super) fn finish(
        &mut self,
        interaction: u32,
        reason: EndReason,
        at: Option<TimestampMs>,
        agent: Option<AgentId>,
    ) {
        let child = self.close(interaction, reason, at, agent);
        if child.parent.is_some() {
            self.lose_child(&child, reason, at);
        }
    }

    /// Ends the children of an interaction, those without an agent first: nobody who is freed gets one of them.
    pub(super) fn end_children(&mut self, root: u32, reason: EndReason, at: Option<TimestampMs>) {
        let ids = std::mem::take(&mut self.interactions[root].record.children);
        self.interactions[root].record.parties.clear();
        if ids.is_empty() {
            return;
        }
        let reason = if reason == EndReason::NodeLost { reason } else { EndReason::Completed };
        let mut slots: Vec<u32> = ids.into_iter().filter_map(|id| self.interactions.find(id)).collect();
        slots.sort_by_key(|slot| order(&self.interactions[*slot].record.state));
        for child in slots {
            self.end(child, reason, at);
        }
    }

    /// Writes the end and gives up the slot.
    pub(super) fn close(
        &mut self,
        slot: u32,
        reason: EndReason,
        at: Option<TimestampMs>,
        agent: Option<AgentId>,
    ) -> InteractionRecord {
        let id = self.interactions[slot].record.id;
        let mut interaction = self.interactions.remove(id, slot);
        let now = self.now();
        let at_ms = at.unwrap_or(now).clamp(interaction.record.arrived_at_ms, now);
        interaction.record.state = InteractionState::Ended { reason, at_ms, agent };
        self.waiting.drop_set(interaction.set, &mut self.line);
        self.ended.insert(id);
        if let Some(parent) = interaction.record.parent {
            self.families.insert(parent);
        }
        self.events.push((at_ms, JournalEvent::InteractionEnded { interaction: interaction.record.clone() }));
        self.note_ended(interaction.record.clone(), interaction.shown);
        interaction.record
    }

    /// What was offered or dialled has rung as long as it may.
    fn ring_out(&mut self, interaction: u32) {
        match self.interactions[interaction].record.state {
            InteractionState::Offered { .. } => self.fail_open_offer(interaction, OfferFailure::NoAnswer, None),
            InteractionState::External { .. } => self.fail_number(interaction, OfferFailure::NoAnswer),
            InteractionState::Waiting | InteractionState::Connected { .. } | InteractionState::Ended { .. } => {}
        }
    }

    /// Frees an agent after an interaction: to wrap up, or for the next one.
    pub(super) fn release(&mut self, agent: u32, interaction: InteractionId, wrap_up_ms: u64) {
        if self.agents[agent].removed {
            self.remove_agent(agent);
            return;
        }
        let now = self.now();
        let record = &mut self.agents[agent].record;
        record.state_since_ms = now;
        record.refusals = None;
        if wrap_up_ms == 0 {
            record.state = AgentState::Idle;
            self.settle_agent(agent, now);
            return;
        }
        let until_ms = now.plus_ms(wrap_up_ms);
        record.state = AgentState::WrappingUp { interaction, until_ms };
        self.timers.set(until_ms, Timer::WrapUp(record.id));
        self.agent_changed(agent);
    }
}

/// Those that nobody has come first.
const fn order(state: &InteractionState) -> u8 {
    match state {
        InteractionState::Waiting => 0,
        InteractionState::Offered { .. } => 1,
        InteractionState::Connected { .. } | InteractionState::External { .. } | InteractionState::Ended { .. } => 2,
    }
}

/// Who hung up before an agent had it, abandoned it; who "abandoned" it afterwards, hung up.
fn true_reason(reason: EndReason, had_agent: bool) -> EndReason {
    match (reason, had_agent) {
        (EndReason::CallerHangup, false) => EndReason::Abandoned,
        (EndReason::Abandoned, true) => EndReason::CallerHangup,
        (
            EndReason::Abandoned
            | EndReason::AgentHangup
            | EndReason::Busy
            | EndReason::CallerHangup
            | EndReason::Completed
            | EndReason::Failed
            | EndReason::NoAnswer
            | EndReason::NodeLost
            | EndReason::Transferred
            | EndReason::Unreachable
            | EndReason::WaitLimit,
            _,
        ) => reason,
    }
}

//! Ends of interactions. An end is possible in every state and final; an interaction that ended is never offered.

use ringdown_domain::{AgentState, EndReason, InteractionId, InteractionState, NodeId, OfferFailure, TimestampMs};
use ringdown_events::{Done, JournalEvent, Refusal, RefusalCode};

use super::Router;
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
        let is_lost = |record: &ringdown_events::InteractionRecord| {
            record.node.as_ref() == Some(node) && record.arrived_at_ms < before
        };
        let lost = self.interactions.iter().filter(|(_, interaction)| is_lost(&interaction.record));
        let order = |state: &InteractionState| match state {
            InteractionState::Waiting => 0,
            InteractionState::Offered { .. } => 1,
            InteractionState::Connected { .. } | InteractionState::Ended { .. } | InteractionState::External { .. } => {
                2
            }
        };
        let mut lost: Vec<_> = lost
            .map(|(slot, entry)| (order(&entry.record.state), entry.record.arrived_at_ms, entry.record.id, slot))
            .collect();
        lost.sort_unstable();
        for (.., slot) in &lost {
            self.end(*slot, EndReason::NodeLost, None);
        }
        if lost.is_empty() { Done::Unchanged } else { Done::Changed }
    }

    pub(super) fn on_timer(&mut self, timer: Timer) {
        match timer {
            Timer::Offer(id) => {
                if let Some(interaction) = self.interactions.find(id) {
                    self.fail_open_offer(interaction, OfferFailure::NoAnswer, None);
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

    /// Ends an interaction, then frees its agent.
    pub(super) fn end(&mut self, interaction: u32, reason: EndReason, at: Option<TimestampMs>) {
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
            InteractionState::Ended { .. } | InteractionState::External { .. } => None,
        };
        let talked_to = match before {
            InteractionState::Connected { agent, .. } => Some(agent),
            InteractionState::Waiting
            | InteractionState::Offered { .. }
            | InteractionState::Ended { .. }
            | InteractionState::External { .. } => None,
        };
        let reason = true_reason(reason, talked_to.is_some());
        let wrap_up_ms = self.interactions[interaction].record.wrap_up_ms;
        let id = self.close(interaction, reason, at, talked_to);
        if let Some((agent, place)) = offered_to {
            self.settle_agent(agent, place);
        }
        if let Some(agent) = talked_to.and_then(|agent| self.agents.find(agent)) {
            self.release(agent, id, wrap_up_ms);
        }
    }

    /// Writes the end and gives up the slot.
    fn close(
        &mut self,
        slot: u32,
        reason: EndReason,
        at: Option<TimestampMs>,
        agent: Option<ringdown_domain::AgentId>,
    ) -> InteractionId {
        let id = self.interactions[slot].record.id;
        let mut interaction = self.interactions.remove(id, slot);
        let now = self.now();
        let at_ms = at.unwrap_or(now).clamp(interaction.record.arrived_at_ms, now);
        interaction.record.state = InteractionState::Ended { reason, at_ms, agent };
        self.waiting.drop_set(interaction.set, &mut self.line);
        self.ended.insert(id);
        self.events.push((at_ms, JournalEvent::InteractionEnded { interaction: interaction.record.clone() }));
        self.note_ended(interaction.record, interaction.shown);
        id
    }

    /// Frees an agent after an interaction: to wrap up, or for the next one.
    fn release(&mut self, agent: u32, interaction: InteractionId, wrap_up_ms: u64) {
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

//! Whether agents' phones are registered, as the edge observes it.
//!
//! A phone counts like a skill that calls need (`skills`): whose phone is gone gets no calls, but tasks, and keeps the place in
//! the line.

use ringdown_domain::{AgentId, AgentState, OfferFailure, TimestampMs};
use ringdown_events::{AgentRecord, Done, Refusal, Trigger};

use super::Router;
use crate::conversation::is_voice;

impl Router {
    pub(super) fn observe_phone(&mut self, id: AgentId, reachable: bool) -> Result<Done, Refusal> {
        let agent = self.find_agent(id)?;
        if self.agents[agent].record.reachable == Some(reachable) {
            return Ok(Done::Unchanged);
        }
        let record = &mut self.agents[agent].record;
        record.reachable = Some(reachable);
        let (state, since) = (record.state.clone(), record.available_since_ms);
        let profile = self.skills.profile(&record.skills, reachable);
        self.line.set_profile(agent, profile);
        match (state, reachable) {
            (AgentState::Idle, true) => self.come_back(agent, since),
            // The phone that rang is gone, and whoever waits for it need not wait for its time.
            (AgentState::Reserved { interaction, .. } | AgentState::Ringing { interaction, .. }, false) => {
                match self.interactions.find(interaction) {
                    Some(slot) if is_voice(&self.interactions[slot].record) => {
                        self.give_up_offer(slot, OfferFailure::Unreachable, None);
                    }
                    Some(_) | None => self.agent_changed(agent),
                }
            }
            (AgentState::Idle, false)
            | (AgentState::Reserved { .. } | AgentState::Ringing { .. }, true)
            | (AgentState::Talking { .. } | AgentState::WrappingUp { .. }, _) => self.agent_changed(agent),
        }
        Ok(Done::Changed)
    }

    /// An idle agent's first phone came: calls that wait may be for this agent.
    fn come_back(&mut self, agent: u32, since: Option<TimestampMs>) {
        if let Some(since) = since
            && self.line.is_available(agent)
        {
            self.line.hide(agent);
            if self.seek_interaction(agent, since, Trigger::AgentAvailable) {
                return;
            }
        }
        self.agent_changed(agent);
    }
}

/// Whether the edge says that no phone of the agent is registered.
pub(super) fn is_unreachable(agent: &AgentRecord) -> bool {
    agent.reachable == Some(false)
}

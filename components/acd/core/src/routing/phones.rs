//! Whether agents' phones are registered, as the edge observes it.
//!
//! Who cannot be reached is not in the line but keeps the place in it: a seat that is hidden (`place_since_ms`), as while an
//! offer is open. When a phone is there again, the agent stands at the old availability clock.

use ringdown_domain::{AgentId, AgentState, OfferFailure};
use ringdown_events::{AgentRecord, Done, Refusal};

use super::Router;

impl Router {
    pub(super) fn observe_phone(&mut self, id: AgentId, reachable: bool) -> Result<Done, Refusal> {
        let agent = self.find_agent(id)?;
        if self.agents[agent].record.reachable == Some(reachable) {
            return Ok(Done::Unchanged);
        }
        self.agents[agent].record.reachable = Some(reachable);
        match (self.agents[agent].record.state.clone(), reachable) {
            (AgentState::Idle, true) => self.come_back(agent),
            (AgentState::Idle, false) => self.fall_silent(agent),
            // The phone that rang is gone, and whoever waits for it need not wait for its time.
            (AgentState::Reserved { interaction, .. } | AgentState::Ringing { interaction, .. }, false) => {
                if let Some(interaction) = self.interactions.find(interaction) {
                    self.give_up_offer(interaction, OfferFailure::Unreachable, None);
                }
            }
            (AgentState::Reserved { .. } | AgentState::Ringing { .. }, true)
            | (AgentState::Talking { .. } | AgentState::WrappingUp { .. }, _) => self.agent_changed(agent),
        }
        Ok(Done::Changed)
    }

    /// An idle agent whose last phone went: hidden, the seat (or the pause) stays.
    fn fall_silent(&mut self, agent: u32) {
        let record = &mut self.agents[agent].record;
        if let Some(since) = record.available_since_ms.take() {
            record.place_since_ms = Some(since);
            self.line.hide(agent);
        }
        self.agent_changed(agent);
    }

    /// An idle agent whose first phone came.
    fn come_back(&mut self, agent: u32) {
        match self.agents[agent].record.place_since_ms {
            Some(since) => self.settle_agent(agent, since),
            None => self.agent_changed(agent),
        }
    }
}

/// Whether the edge says that no phone of the agent is registered.
pub(super) fn is_unreachable(agent: &AgentRecord) -> bool {
    agent.reachable == Some(false)
}

//! What agents declare, and the ACD's opening and closing.

use ringdown_domain::{AgentId, AgentState, AgentStatus, OfferFailure, ReasonCode};
use ringdown_events::{Done, JournalEvent, Refusal, RefusalCode};

use super::timers::Timer;
use super::{Router, refuse};

impl Router {
    /// The status is taken at once. It moves the agent only when idle, or when an offer is open: that is withdrawn then, as
    /// rejected. Who talks or wraps up goes on, and the status counts afterwards.
    pub(super) fn set_agent_status(&mut self, id: AgentId, status: &AgentStatus) -> Result<Done, Refusal> {
        let agent = self.find_agent(id)?;
        if self.agents[agent].record.status == *status {
            return Ok(Done::Unchanged);
        }
        self.declare(agent, status.clone());
        match self.agents[agent].record.state {
            AgentState::Idle => {
                self.step_out(agent);
                self.settle_agent(agent, self.now());
            }
            AgentState::Reserved { .. } | AgentState::Ringing { .. } => self.step_back_in_offer(agent),
            AgentState::Talking { .. } | AgentState::WrappingUp { .. } => self.agent_changed(agent),
        }
        Ok(Done::Changed)
    }

    pub(super) fn finish_wrap_up(&mut self, id: AgentId) -> Result<Done, Refusal> {
        let agent = self.find_agent(id)?;
        match self.agents[agent].record.state {
            AgentState::WrappingUp { until_ms, .. } => {
                self.timers.clear(until_ms, Timer::WrapUp(id));
                self.end_wrap_up(agent);
                Ok(Done::Changed)
            }
            AgentState::Idle => Ok(Done::Unchanged),
            AgentState::Reserved { .. } | AgentState::Ringing { .. } | AgentState::Talking { .. } => {
                refuse(RefusalCode::AgentBusy, "the agent does not wrap up")
            }
        }
    }

    /// Open: every configured agent is ready. Closed: everybody who is not logged out is not ready. An agent may declare
    /// another status afterwards, as in the Basic ACD.
    pub(super) fn set_open(&mut self, open: bool) -> Done {
        let flag_changes = self.open != open;
        if flag_changes {
            self.open = open;
            self.emit(JournalEvent::AcdChanged { open });
        }
        let agents_change = if open { self.ready_all() } else { self.close_all() };
        if flag_changes || agents_change { Done::Changed } else { Done::Unchanged }
    }

    pub(super) fn end_wrap_up(&mut self, agent: u32) {
        let now = self.now();
        let record = &mut self.agents[agent].record;
        record.state = AgentState::Idle;
        record.state_since_ms = now;
        self.settle_agent(agent, now);
    }

    /// Gives up an agent's slot. The agent must be in no index and have nothing.
    pub(super) fn remove_agent(&mut self, slot: u32) {
        let id = self.agents[slot].record.id;
        self.line.leave(slot);
        self.line.set_profile(slot, super::skills::Grades::default());
        let agent = self.agents.remove(id, slot);
        self.emit(JournalEvent::AgentRemoved { agent: id });
        self.note_agent_removed(id, agent.shown);
    }

    /// The slots of all configured agents in the order of ids.
    pub(super) fn agents_by_id(&self) -> Vec<(AgentId, u32)> {
        let configured = self.agents.iter().filter(|(_, agent)| !agent.removed);
        let mut agents: Vec<_> = configured.map(|(slot, agent)| (agent.record.id, slot)).collect();
        agents.sort_unstable();
        agents
    }

    fn ready_all(&mut self) -> bool {
        let mut changed = false;
        for (id, _) in self.agents_by_id() {
            changed |= self.set_agent_status(id, &AgentStatus::Ready) == Ok(Done::Changed);
        }
        changed
    }

    /// Everybody steps back before the first offer is withdrawn, so that no interaction is passed from one to the next.
    fn close_all(&mut self) -> bool {
        let closed = AgentStatus::NotReady { reason: ReasonCode::known(ReasonCode::ACD_CLOSED) };
        let mut agents = self.agents_by_id();
        agents.retain(|(_, slot)| {
            let status = &self.agents[*slot].record.status;
            *status != AgentStatus::LoggedOut && *status != closed
        });
        for (_, agent) in &agents {
            self.declare(*agent, closed.clone());
            self.step_out_unless_offered(*agent);
        }
        for (_, agent) in &agents {
            match self.agents[*agent].record.state {
                AgentState::Reserved { .. } | AgentState::Ringing { .. } => self.step_back_in_offer(*agent),
                AgentState::Idle | AgentState::Talking { .. } | AgentState::WrappingUp { .. } => {
                    self.agent_changed(*agent)
                }
            }
        }
        !agents.is_empty()
    }

    fn step_out_unless_offered(&mut self, agent: u32) {
        if self.agents[agent].record.state == AgentState::Idle {
            self.step_out(agent);
        }
    }

    fn declare(&mut self, agent: u32, status: AgentStatus) {
        let now = self.now();
        let record = &mut self.agents[agent].record;
        record.status = status;
        record.status_since_ms = now;
        record.refusals = None;
    }

    /// The agent, who no longer wants it, gives back what is offered. An offer to the agent by name stays open unless the agent
    /// logs out: readiness does not matter to it.
    fn step_back_in_offer(&mut self, agent: u32) {
        let (AgentState::Reserved { interaction, .. } | AgentState::Ringing { interaction, .. }) =
            self.agents[agent].record.state
        else {
            return;
        };
        if let Some(interaction) = self.interactions.find(interaction) {
            if !self.is_directed(interaction) {
                self.withdraw_offer(interaction, OfferFailure::Rejected, None, self.now());
            } else if self.agents[agent].record.status == AgentStatus::LoggedOut {
                self.fail_directed(interaction, OfferFailure::Rejected, None);
            } else {
                self.step_out(agent);
                self.agent_changed(agent);
            }
        }
    }

    /// The slot of a configured agent.
    pub(super) fn find_agent(&self, id: AgentId) -> Result<u32, Refusal> {
        let configured = self.agents.find(id).filter(|slot| !self.agents[*slot].removed);
        configured.map_or_else(|| refuse(RefusalCode::UnknownAgent, "no such agent"), Ok)
    }
}

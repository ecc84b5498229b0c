//! Whose eyes: what somebody may see of a tenant's live ACD, by whichever way they ask.

use ringdown_domain::{AgentId, InteractionState};
use ringdown_events::InteractionRecord;

/// What somebody may see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// A supervisor or administrator: the whole tenant.
    Tenant,
    /// An agent: the own record and the interactions that are offered to the agent or with the agent.
    Agent(AgentId),
}

impl Scope {
    /// The agent's record.
    #[must_use]
    pub fn sees_agent(self, agent: AgentId) -> bool {
        self.is_about(Some(agent))
    }

    /// The interaction's record: to the agent who has it, is offered it or had it at its end, and to who began it while it is
    /// part of another conversation or with nobody.
    #[must_use]
    pub fn sees_interaction(self, interaction: &InteractionRecord) -> bool {
        let agent = match &interaction.state {
            InteractionState::Waiting | InteractionState::External { .. } => None,
            InteractionState::Offered { agent, .. } | InteractionState::Connected { agent, .. } => Some(*agent),
            InteractionState::Ended { agent, .. } => *agent,
        };
        let began = interaction.initiator.filter(|_| interaction.parent.is_some() || agent.is_none());
        self.is_about(agent) || began.is_some_and(|began| self.is_about(Some(began)))
    }

    /// The figures of queues, and why an interaction met an agent: both tell of others.
    #[must_use]
    pub const fn sees_others(self) -> bool {
        match self {
            Self::Tenant => true,
            Self::Agent(_) => false,
        }
    }

    fn is_about(self, agent: Option<AgentId>) -> bool {
        match self {
            Self::Tenant => true,
            Self::Agent(own) => agent == Some(own),
        }
    }
}

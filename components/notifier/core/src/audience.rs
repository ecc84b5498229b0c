//! Topics, and who may see which entry.

use std::collections::BTreeSet;
use std::str::FromStr;

use ringdown_domain::{AgentId, InteractionState};
use ringdown_events::{InteractionRecord, JournalEvent};
use serde::{Deserialize, Serialize};

/// What a client can ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Topic {
    /// Agents' records: status, state, skills.
    Agents,
    /// Interactions' records and offers.
    Interactions,
    /// The figures of each queue.
    Queues,
}

/// A text that names no topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TopicError;

impl FromStr for Topic {
    type Err = TopicError;
    fn from_str(text: &str) -> Result<Self, TopicError> {
        match text {
            "agents" => Ok(Self::Agents),
            "interactions" => Ok(Self::Interactions),
            "queues" => Ok(Self::Queues),
            _ => Err(TopicError),
        }
    }
}

/// Whose eyes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Viewer {
    /// A supervisor or administrator: the whole tenant.
    Tenant,
    /// An agent: the own record and the interactions that are with the agent.
    Agent(AgentId),
}

/// Topics and viewer of one connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audience {
    /// What was asked for.
    pub topics: BTreeSet<Topic>,
    /// Who asks.
    pub viewer: Viewer,
}

impl Audience {
    /// Whether the entry is for this audience. What everybody in the tenant needs (the ACD opened, a configuration
    /// taken) goes to every topic.
    #[must_use]
    pub fn sees(&self, event: &JournalEvent) -> bool {
        match event {
            JournalEvent::AcdChanged { .. } | JournalEvent::ConfigApplied { .. } => true,
            JournalEvent::AgentChanged { agent } => self.sees_agent(agent.id),
            JournalEvent::AgentRemoved { agent } => self.sees_agent(*agent),
            JournalEvent::InteractionConnected { interaction }
            | JournalEvent::InteractionEnded { interaction }
            | JournalEvent::InteractionOffered { interaction, .. }
            | JournalEvent::InteractionQueued { interaction } => self.sees_interaction(interaction),
            JournalEvent::OfferFailed { agent, .. } => {
                self.topics.contains(&Topic::Interactions) && self.is_about(Some(*agent))
            }
        }
    }

    /// Whether the agent's record is for this audience.
    #[must_use]
    pub fn sees_agent(&self, agent: AgentId) -> bool {
        self.topics.contains(&Topic::Agents) && self.is_about(Some(agent))
    }

    /// Whether the interaction's record is for this audience.
    #[must_use]
    pub fn sees_interaction(&self, interaction: &InteractionRecord) -> bool {
        let holder = match &interaction.state {
            InteractionState::Waiting => None,
            InteractionState::Offered { agent, .. } | InteractionState::Connected { agent, .. } => Some(*agent),
            InteractionState::Ended { agent, .. } => *agent,
        };
        self.topics.contains(&Topic::Interactions) && self.is_about(holder)
    }

    /// Whether the figures of queues are for this audience.
    #[must_use]
    pub fn sees_queues(&self) -> bool {
        self.topics.contains(&Topic::Queues)
    }

    fn is_about(&self, agent: Option<AgentId>) -> bool {
        match self.viewer {
            Viewer::Tenant => true,
            Viewer::Agent(own) => agent == Some(own),
        }
    }
}

//! Topics, and who may see which entry.

use std::collections::BTreeSet;

use ringdown_domain::AgentId;
use ringdown_events::{InteractionRecord, JournalEvent};
use ringdown_live_views::{Scope, Topic};

/// Topics and scope of one connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audience {
    /// What was asked for.
    pub topics: BTreeSet<Topic>,
    /// Who asks.
    pub scope: Scope,
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
            JournalEvent::InteractionChanged { interaction }
            | JournalEvent::InteractionConnected { interaction }
            | JournalEvent::InteractionEnded { interaction }
            | JournalEvent::InteractionOffered { interaction, .. }
            | JournalEvent::InteractionQueued { interaction } => self.sees_interaction(interaction),
            JournalEvent::OfferFailed { agent, .. } => {
                self.topics.contains(&Topic::Interactions) && self.scope.sees_agent(*agent)
            }
        }
    }

    /// Whether the agent's record is for this audience.
    #[must_use]
    pub fn sees_agent(&self, agent: AgentId) -> bool {
        self.topics.contains(&Topic::Agents) && self.scope.sees_agent(agent)
    }

    /// Whether the interaction's record is for this audience.
    #[must_use]
    pub fn sees_interaction(&self, interaction: &InteractionRecord) -> bool {
        self.topics.contains(&Topic::Interactions) && self.scope.sees_interaction(interaction)
    }

    /// Whether this audience asks for what its scope keeps from it altogether.
    #[must_use]
    pub fn asks_too_much(&self) -> bool {
        self.topics.contains(&Topic::Queues) && !self.scope.sees_others()
    }

    /// Whether the figures of queues are for this audience.
    #[must_use]
    pub fn sees_queues(&self) -> bool {
        self.topics.contains(&Topic::Queues) && self.scope.sees_others()
    }
}

//! The record of a routing decision: who was considered, who won, why.

use ringdown_domain::{AgentId, InteractionId, TimestampMs};
use serde::{Deserialize, Serialize};

/// The most candidates a record lists, the winner first. More were considered only in number.
pub const MAX_CANDIDATES: usize = 5;

/// Why and how an interaction met an agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// What caused the search.
    pub trigger: Trigger,
    /// How long the interaction had waited, in milliseconds.
    pub waited_ms: u64,
    /// How long the agent had been available, in milliseconds.
    pub available_ms: u64,
    /// Agents available in the tenant at that moment, whatever their skills.
    pub agents_available: u32,
    /// Interactions waiting in the tenant at that moment, this one included.
    pub interactions_waiting: u32,
    /// When an interaction looked for an agent: the matching agents longest available, the winner first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub agents: Vec<CandidateAgent>,
    /// When an agent looked for an interaction: the matching interactions of best rank, the winner first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub interactions: Vec<CandidateInteraction>,
}

/// What caused a search for a match.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trigger {
    /// An agent became available (ready, freed, wrap-up done) and took the best interaction it can serve.
    AgentAvailable,
    /// The configuration changed (skills of agents or queues) and made a match possible.
    ConfigChanged,
    /// It was asked for this agent by name: a transfer, a consultation, a call to or by that agent, supervision.
    Directed,
    /// An interaction arrived and took the longest available agent with the skills.
    InteractionArrived,
    /// An offer failed and the interaction looked for the next agent.
    OfferFailed,
}

/// An agent who could have had the interaction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CandidateAgent {
    /// Who.
    pub agent: AgentId,
    /// Since when available; the smallest wins.
    pub available_since_ms: TimestampMs,
}

/// An interaction the agent could have had.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CandidateInteraction {
    /// Which.
    pub interaction: InteractionId,
    /// Arrival less the head start of its priority, in UTC milliseconds; the smallest wins.
    pub rank_ms: TimestampMs,
}

//! An interaction's story: journal entries with the decisions behind them.

use ringdown_domain as domain;
use ringdown_events as events;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::Interaction;

/// One thing that happened to an interaction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct StoryEntry {
    /// Its number in the tenant's journal.
    pub seq: u64,
    /// When, UTC milliseconds.
    pub at_ms: u64,
    /// What.
    pub event: StoryEvent,
}

/// What happened. The interaction is shown as it was afterwards.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum StoryEvent {
    /// Something else about it changed: held, muted, recorded, who takes part, disposition.
    InteractionChanged {
        /// The interaction afterwards.
        interaction: Interaction,
    },
    /// An agent has it.
    InteractionConnected {
        /// The interaction afterwards.
        interaction: Interaction,
    },
    /// It is over.
    InteractionEnded {
        /// The interaction afterwards.
        interaction: Interaction,
    },
    /// It is offered to an agent.
    InteractionOffered {
        /// The interaction afterwards.
        interaction: Interaction,
        /// Why this agent.
        decision: Decision,
    },
    /// It arrived, or returned to its place.
    InteractionQueued {
        /// The interaction afterwards.
        interaction: Interaction,
    },
    /// An offer came to nothing.
    OfferFailed {
        /// To whom it was offered.
        agent: Uuid,
        /// The offer.
        offer: Uuid,
        /// Why; null when it was withdrawn because the interaction ended.
        failure: Option<OfferFailure>,
        /// The SIP response code behind it, if any.
        sip_code: Option<u16>,
    },
}

/// Why an offer came to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum OfferFailure {
    /// The phone is busy.
    Busy,
    /// The agent answered and hung up before the caller was joined.
    HungUp,
    /// It rang and nobody answered in time.
    NoAnswer,
    /// The agent pushed it away.
    Rejected,
    /// No phone answered at all.
    Unreachable,
}

impl From<domain::OfferFailure> for OfferFailure {
    fn from(failure: domain::OfferFailure) -> Self {
        match failure {
            domain::OfferFailure::Busy => Self::Busy,
            domain::OfferFailure::HungUp => Self::HungUp,
            domain::OfferFailure::NoAnswer => Self::NoAnswer,
            domain::OfferFailure::Rejected => Self::Rejected,
            domain::OfferFailure::Unreachable => Self::Unreachable,
        }
    }
}

/// The record of a routing decision: who was considered, who won, why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Decision {
    /// What caused the search.
    pub trigger: Trigger,
    /// How long the interaction had waited, milliseconds.
    pub waited_ms: u64,
    /// How long the agent had been available, milliseconds.
    pub available_ms: u64,
    /// Agents available in the tenant at that moment, whatever their skills.
    pub agents_available: u32,
    /// Interactions waiting in the tenant at that moment, this one included.
    pub interactions_waiting: u32,
    /// When the interaction looked for an agent: the matching ones, longest available first; the first won.
    pub agents: Vec<CandidateAgent>,
    /// When an agent looked for an interaction: the matching ones by rank; the first won.
    pub interactions: Vec<CandidateInteraction>,
}

/// What caused a search for a match.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Trigger {
    /// An agent became available and took the best interaction it can serve.
    AgentAvailable,
    /// The configuration changed and made a match possible.
    ConfigChanged,
    /// It was asked for this agent by name: a transfer, a consultation, a call to or by that agent, supervision.
    Directed,
    /// The interaction arrived and took the longest available agent with the skills.
    InteractionArrived,
    /// An offer failed and the interaction looked for the next agent.
    OfferFailed,
}

/// An agent who could have had the interaction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct CandidateAgent {
    /// Who.
    pub agent: Uuid,
    /// Since when available, UTC milliseconds; the smallest wins.
    pub available_since_ms: u64,
}

/// An interaction the agent could have had.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct CandidateInteraction {
    /// Which.
    pub interaction: Uuid,
    /// Arrival less the head start of its priority; the smallest wins.
    pub rank_ms: u64,
}

impl From<events::Trigger> for Trigger {
    fn from(trigger: events::Trigger) -> Self {
        match trigger {
            events::Trigger::AgentAvailable => Self::AgentAvailable,
            events::Trigger::ConfigChanged => Self::ConfigChanged,
            events::Trigger::Directed => Self::Directed,
            events::Trigger::InteractionArrived => Self::InteractionArrived,
            events::Trigger::OfferFailed => Self::OfferFailed,
        }
    }
}

impl From<events::Decision> for Decision {
    fn from(decision: events::Decision) -> Self {
        let agent = |candidate: events::CandidateAgent| CandidateAgent {
            agent: candidate.agent.0,
            available_since_ms: candidate.available_since_ms.0,
        };
        let interaction = |candidate: events::CandidateInteraction| CandidateInteraction {
            interaction: candidate.interaction.0,
            rank_ms: candidate.rank_ms.0,
        };
        Self {
            trigger: decision.trigger.into(),
            waited_ms: decision.waited_ms,
            available_ms: decision.available_ms,
            agents_available: decision.agents_available,
            interactions_waiting: decision.interactions_waiting,
            agents: decision.agents.into_iter().map(agent).collect(),
            interactions: decision.interactions.into_iter().map(interaction).collect(),
        }
    }
}

impl StoryEntry {
    /// The entry as told; none for an entry that is not about an interaction.
    #[must_use]
    pub fn tell(entry: events::JournalEntry) -> Option<Self> {
        let event = match entry.event {
            events::JournalEvent::InteractionChanged { interaction } => {
                StoryEvent::InteractionChanged { interaction: interaction.into() }
            }
            events::JournalEvent::InteractionConnected { interaction } => {
                StoryEvent::InteractionConnected { interaction: interaction.into() }
            }
            events::JournalEvent::InteractionEnded { interaction } => {
                StoryEvent::InteractionEnded { interaction: interaction.into() }
            }
            events::JournalEvent::InteractionOffered { interaction, decision } => {
                StoryEvent::InteractionOffered { interaction: interaction.into(), decision: decision.into() }
            }
            events::JournalEvent::InteractionQueued { interaction } => {
                StoryEvent::InteractionQueued { interaction: interaction.into() }
            }
            events::JournalEvent::OfferFailed { interaction: _, agent, offer, failure, sip_code } => {
                StoryEvent::OfferFailed { agent: agent.0, offer: offer.0, failure: failure.map(Into::into), sip_code }
            }
            events::JournalEvent::AcdChanged { .. }
            | events::JournalEvent::AgentChanged { .. }
            | events::JournalEvent::AgentRemoved { .. }
            | events::JournalEvent::ConfigApplied { .. } => return None,
        };
        Some(Self { seq: entry.seq, at_ms: entry.at_ms.0, event })
    }
}

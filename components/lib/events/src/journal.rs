//! The journal: everything that happened in a tenant's ACD, in order, gapless.

use ringdown_domain::{AgentId, InteractionId, OfferFailure, OfferId, TimestampMs};
use serde::{Deserialize, Serialize};

use crate::{AgentRecord, Decision, InteractionRecord};

/// One entry. Its stream id in Redis is `<seq>-0`, so a position is a number.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JournalEntry {
    /// 1, 2, 3 ... without a gap within one journal epoch.
    pub seq: u64,
    /// When it happened (the router's clock, or the true time a command carried).
    pub at_ms: TimestampMs,
    /// What happened.
    pub event: JournalEvent,
}

/// What happened. Records are carried whole as they are after the event, so that a reader needs no state of its own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum JournalEvent {
    /// The ACD was opened or closed.
    AcdChanged {
        /// Open or closed.
        open: bool,
    },
    /// Status or state of an agent changed, or its name or skills.
    AgentChanged {
        /// The agent afterwards.
        agent: AgentRecord,
    },
    /// The agent is no longer configured.
    AgentRemoved {
        /// Who.
        agent: AgentId,
    },
    /// A configuration version was taken whole.
    ConfigApplied {
        /// Its number.
        version: u64,
    },
    /// Something about it changed that is none of the other events: held, muted, recorded, who takes part, disposition.
    InteractionChanged {
        /// The interaction afterwards.
        interaction: InteractionRecord,
    },
    /// An agent has it.
    InteractionConnected {
        /// The interaction afterwards.
        interaction: InteractionRecord,
    },
    /// It is over.
    InteractionEnded {
        /// The interaction afterwards.
        interaction: InteractionRecord,
    },
    /// It is offered to an agent.
    InteractionOffered {
        /// The interaction afterwards.
        interaction: InteractionRecord,
        /// Why this agent.
        decision: Decision,
    },
    /// It arrived, or returned to its place.
    InteractionQueued {
        /// The interaction afterwards.
        interaction: InteractionRecord,
    },
    /// An offer came to nothing. The interaction's next event tells where it went.
    OfferFailed {
        /// What was offered.
        interaction: InteractionId,
        /// To whom.
        agent: AgentId,
        /// The offer.
        offer: OfferId,
        /// Why; none when it was withdrawn because the interaction ended.
        failure: Option<OfferFailure>,
        /// The SIP response code behind it, if any.
        sip_code: Option<u16>,
    },
}

impl JournalEvent {
    /// The interaction the event is about, if it is about one.
    #[must_use]
    pub fn interaction_id(&self) -> Option<InteractionId> {
        match self {
            Self::InteractionChanged { interaction }
            | Self::InteractionConnected { interaction }
            | Self::InteractionEnded { interaction }
            | Self::InteractionOffered { interaction, .. }
            | Self::InteractionQueued { interaction } => Some(interaction.id),
            Self::OfferFailed { interaction, .. } => Some(*interaction),
            Self::AcdChanged { .. }
            | Self::AgentChanged { .. }
            | Self::AgentRemoved { .. }
            | Self::ConfigApplied { .. } => None,
        }
    }
}

//! Effects for the voice duty that owns a media node. Derived from the journal in the same commit; a repeat does
//! nothing, since each names its offer.

use ringdown_domain::{AgentId, EndReason, InteractionId, OfferId, TimestampMs};
use serde::{Deserialize, Serialize};

/// One entry of a node's voice stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VoiceEffectEntry {
    /// The journal sequence number it comes from.
    pub seq: u64,
    /// When it was decided.
    pub at_ms: TimestampMs,
    /// What to do.
    pub effect: VoiceEffect,
}

/// What the voice duty must do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum VoiceEffect {
    /// Join caller and agent: the acceptance was committed.
    Connect {
        /// Which interaction.
        interaction: InteractionId,
        /// The offer that was accepted.
        offer: OfferId,
    },
    /// Hang up whatever is left of it.
    End {
        /// Which interaction.
        interaction: InteractionId,
        /// Why.
        reason: EndReason,
    },
    /// Ring the agent's phone.
    Offer {
        /// Which interaction.
        interaction: InteractionId,
        /// The offer.
        offer: OfferId,
        /// Whose phone.
        agent: AgentId,
        /// The SIP user of that phone, within the tenant's realm; none: the agent has no phone, the offer fails.
        sip_user: Option<String>,
        /// The tenant's realm.
        realm: String,
        /// When the offer ends.
        deadline_ms: TimestampMs,
    },
    /// Stop ringing.
    Withdraw {
        /// Which interaction.
        interaction: InteractionId,
        /// The offer that is over.
        offer: OfferId,
    },
}

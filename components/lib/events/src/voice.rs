//! Effects for the voice duty that owns a media node: what a conversation is to look like. Each says the whole, so a repeat does
//! nothing, a lost one is made good by the next, and a successor that reads the records says the same.

use ringdown_domain::{
    AgentId, EndReason, InteractionId, OfferId, PartyRole, PhoneNumber, QueueId, Recording, TimestampMs,
};
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
    /// A conversation is to look like this from now on.
    Converse {
        /// The interaction to whom the conversation belongs (never a child).
        interaction: InteractionId,
        /// How.
        wanted: WantedConversation,
    },
    /// Send digits to the customer.
    SendDigits {
        /// Which interaction.
        interaction: InteractionId,
        /// 1 to 32 of `0-9 * # A-D`.
        digits: String,
    },
}

/// How a conversation is to look: who is in it, and who hears whom.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WantedConversation {
    /// The customer's place.
    pub customer: WantedCustomer,
    /// Every leg that is to exist beside the customer's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub legs: Vec<WantedLeg>,
    /// Whether it is recorded.
    #[serde(default, skip_serializing_if = "Recording::is_off")]
    pub recording: Recording,
    /// The queue it belongs to: its music, prompts and caller id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<QueueId>,
    /// In a conversation that begins with us: the number that its own agent's phone shows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shows: Option<PhoneNumber>,
}

/// The customer's place in a conversation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum WantedCustomer {
    /// To be dialled, and joined when the call is answered.
    Dialled {
        /// The number.
        number: PhoneNumber,
    },
    /// Everything is over: whatever is left is hung up.
    Gone {
        /// Why.
        reason: EndReason,
    },
    /// Apart from everybody, with music.
    Held,
    /// With the agents.
    Joined,
    /// There is no customer.
    Nobody,
    /// In the queue, with its music.
    Waiting,
}

/// A leg that is to exist.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WantedLeg {
    /// Its identity: the offer it serves.
    pub leg: OfferId,
    /// The interaction whose offer that is: the conversation's own or a child's.
    pub interaction: InteractionId,
    /// Who is at its other end.
    pub party: WantedParty,
    /// Until when it may ring; none: it was accepted, and is to be in its place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ring_until_ms: Option<TimestampMs>,
    /// Its place; none: the conversation's own agent, with the customer (or alone while the customer is held).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<PartyRole>,
    /// Nobody hears it.
    #[serde(default, skip_serializing_if = "crate::is_false")]
    pub muted: bool,
    /// The phone is to answer by itself: its owner asked for the call.
    #[serde(default, skip_serializing_if = "crate::is_false")]
    pub auto_answer: bool,
}

/// Who is at the other end of a leg.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum WantedParty {
    /// An agent's phone.
    Agent {
        /// Whose.
        agent: AgentId,
        /// Its address of record, `user@realm`; none: the agent has no phone, the offer fails.
        address: Option<String>,
    },
    /// An outside number.
    Number {
        /// Which.
        number: PhoneNumber,
    },
}

//! What happens to an interaction.

use serde::{Deserialize, Serialize};

use crate::{AgentId, OfferId, PhoneNumber, TimestampMs};

/// The kind of communication.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Media {
    /// Anything an outside program hands to the router over the API.
    Task,
    /// A telephone call.
    Voice,
}

/// How an interaction reaches its agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Delivery {
    /// The agent is assigned at once, without ringing.
    Direct,
    /// The agent's phone or desktop rings and must accept within the ring time.
    Ring,
}

/// What an interaction began as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// The customer called (or was handed in by an outside program as voice).
    #[default]
    Inbound,
    /// The customer asked to be called back, and is.
    Callback,
    /// A campaign dialled the customer.
    Campaign,
    /// An agent asks somebody about the parent interaction.
    Consult,
    /// One agent calls another.
    Internal,
    /// An agent dialled the customer.
    Manual,
    /// A text conversation.
    Message,
    /// A supervisor takes part in the parent interaction.
    Supervision,
    /// A piece of work without a conversation.
    Task,
}

impl Origin {
    /// Which way it went, for reports.
    #[must_use]
    pub const fn direction(self) -> Direction {
        match self {
            Self::Inbound | Self::Message | Self::Task => Direction::Inbound,
            Self::Callback | Self::Campaign | Self::Manual => Direction::Outbound,
            Self::Consult | Self::Internal | Self::Supervision => Direction::Internal,
        }
    }

    /// Whether it is the default: left out of records, so that those of earlier versions read alike.
    #[must_use]
    pub fn is_inbound(&self) -> bool {
        *self == Self::Inbound
    }
}

/// Which way an interaction went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// From a customer to us.
    Inbound,
    /// From us to a customer.
    Outbound,
    /// Between ourselves.
    Internal,
}

/// How the agent of a child interaction takes part in its parent's conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PartyRole {
    /// Talks with the customer and everybody else in the conversation.
    Conference,
    /// Talks with the agent who asked, apart from the customer.
    Consult,
    /// Hears everybody, and nobody hears this party.
    Listen,
    /// Hears everybody; only the parent's agent hears this party.
    Whisper,
}

/// Whether a conversation is recorded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Recording {
    /// Not recorded.
    #[default]
    Off,
    /// Recorded.
    On,
    /// Recorded before and perhaps afterwards; what is said now (card data) is not.
    Paused,
}

impl Recording {
    /// Whether it is the default, which records leave out.
    #[must_use]
    pub fn is_off(&self) -> bool {
        *self == Self::Off
    }
}

/// How far the customer's side of a voice interaction is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CustomerSide {
    /// On the line: called us, or answered.
    #[default]
    Here,
    /// Is being dialled.
    Dialling,
    /// There is no customer: a conversation between ourselves.
    Nobody,
}

impl CustomerSide {
    /// Whether it is the default, which records leave out.
    #[must_use]
    pub fn is_here(&self) -> bool {
        *self == Self::Here
    }
}

/// Why a number is no priority.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be 0 to 100")]
pub struct PriorityError;

/// 0 (normal) to 100. One step is worth [`Priority::STEP_MS`] of waiting, so that priority and age are one ordering and
/// nobody starves: an old ordinary interaction overtakes a young urgent one in the end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct Priority(u8);

impl Priority {
    /// How much waiting one step of priority is worth, in milliseconds.
    pub const STEP_MS: u64 = 10_000;

    /// The head start in milliseconds.
    #[must_use]
    pub const fn head_start_ms(self) -> u64 {
        self.0 as u64 * Self::STEP_MS
    }

    /// The priority as a number from 0 to 100.
    #[must_use]
    pub const fn value(self) -> u8 {
        self.0
    }
}

impl TryFrom<u8> for Priority {
    type Error = PriorityError;
    fn try_from(value: u8) -> Result<Self, PriorityError> {
        if value <= 100 { Ok(Self(value)) } else { Err(PriorityError) }
    }
}

impl From<Priority> for u8 {
    fn from(priority: Priority) -> Self {
        priority.0
    }
}

/// Where an interaction is. It is in exactly one of these.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum InteractionState {
    /// In its queue, at the place of its rank.
    Waiting,
    /// Claimed for an agent who has not accepted yet.
    Offered {
        /// The agent asked.
        agent: AgentId,
        /// The claim.
        offer: OfferId,
        /// When the offer is withdrawn.
        deadline_ms: TimestampMs,
    },
    /// With an agent.
    Connected {
        /// The agent.
        agent: AgentId,
        /// The offer that led here.
        offer: OfferId,
        /// Since when.
        since_ms: TimestampMs,
    },
    /// With an outside number that was dialled for it (a transfer, a consultation); no agent has it.
    External {
        /// The number.
        number: PhoneNumber,
        /// The identity of the leg to that number.
        leg: OfferId,
        /// Until when it may ring; none: it was answered.
        deadline_ms: Option<TimestampMs>,
        /// Since when.
        since_ms: TimestampMs,
    },
    /// Over. Final: nothing leaves this state.
    Ended {
        /// Why.
        reason: EndReason,
        /// When, true time (not when we learned of it).
        at_ms: TimestampMs,
        /// The agent who had it, if any.
        agent: Option<AgentId>,
    },
}

/// Why an interaction is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndReason {
    /// The caller left before an agent answered.
    Abandoned,
    /// The agent hung up.
    AgentHangup,
    /// The party that was dialled was busy.
    Busy,
    /// The caller hung up after talking.
    CallerHangup,
    /// Its owner (an API client or a supervisor) declared it done.
    Completed,
    /// The media failed (for instance the two legs could not be joined).
    Failed,
    /// The party that was dialled did not answer.
    NoAnswer,
    /// The media host died under it.
    NodeLost,
    /// What it was for went on in another interaction: a consultation that became a transfer or a conference.
    Transferred,
    /// The party that was dialled could not be reached.
    Unreachable,
    /// It waited as long as its queue allows.
    WaitLimit,
}

/// Why an offer came to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OfferFailure {
    /// The phone is busy (SIP 486, 600).
    Busy,
    /// The agent answered and hung up before the caller was joined: nobody heard anybody.
    HungUp,
    /// The phone rang and nobody answered in the ring time (RONA).
    NoAnswer,
    /// The agent pushed it away (SIP 603, 403, or the desktop).
    Rejected,
    /// No phone answered at all: not registered, gone, or failing (SIP 404, 408, 480 without ringing, 5xx).
    Unreachable,
}

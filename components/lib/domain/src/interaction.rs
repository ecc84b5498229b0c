//! What happens to an interaction.

use serde::{Deserialize, Serialize};

use crate::{AgentId, OfferId, TimestampMs};

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
    /// The caller hung up after talking.
    CallerHangup,
    /// Its owner (an API client or a supervisor) declared it done.
    Completed,
    /// The media failed (for instance the two legs could not be joined).
    Failed,
    /// The media host died under it.
    NodeLost,
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

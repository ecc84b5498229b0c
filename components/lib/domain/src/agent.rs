//! What an agent declares (status) and what the router sees (state). They are never the same field: a human who is
//! ready may be talking, and one who has logged out may still be on the last call.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{InteractionId, OfferId, TextError, TimestampMs};

/// Why an agent is not ready: 1 to 32 of `a-z 0-9 _`, as `break`, `training`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ReasonCode(String);

impl ReasonCode {
    /// Set by the router after an offer rang and nobody answered (RONA).
    pub const RONA: &'static str = "rona";
    /// Set by the router when the agent's phone could not be reached at all.
    pub const UNREACHABLE: &'static str = "unreachable";
    /// Set by the router when the agent's phone was busy as often in a row as the queue allows.
    pub const BUSY: &'static str = "busy";
    /// Set by the router when the agent pushed an offer away.
    pub const REJECTED: &'static str = "rejected";
    /// Set for everybody when the ACD is closed.
    pub const ACD_CLOSED: &'static str = "acd_closed";

    /// The code as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A code of ours that is known to be well formed.
    #[must_use]
    pub fn known(code: &'static str) -> Self {
        Self(code.to_owned())
    }
}

impl FromStr for ReasonCode {
    type Err = TextError;
    fn from_str(text: &str) -> Result<Self, TextError> {
        if text.is_empty() {
            return Err(TextError::Empty);
        }
        if text.len() > 32 {
            return Err(TextError::TooLong { limit: 32 });
        }
        if !text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_') {
            return Err(TextError::Character { accepted: "a-z 0-9 _" });
        }
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for ReasonCode {
    type Error = TextError;
    fn try_from(text: String) -> Result<Self, TextError> {
        text.parse()
    }
}

impl From<ReasonCode> for String {
    fn from(code: ReasonCode) -> Self {
        code.0
    }
}

impl fmt::Display for ReasonCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What the agent declares.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum AgentStatus {
    /// Not at work.
    #[default]
    LoggedOut,
    /// At work, for anything but interactions.
    NotReady {
        /// Why not.
        reason: ReasonCode,
    },
    /// Wants interactions.
    Ready,
}

/// What the router sees. Only an idle agent whose status is ready is available.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum AgentState {
    /// Nothing assigned.
    #[default]
    Idle,
    /// Claimed for an offer that does not ring yet.
    Reserved {
        /// The claim.
        offer: OfferId,
        /// What is offered.
        interaction: InteractionId,
        /// When the claim ends by itself.
        deadline_ms: TimestampMs,
    },
    /// The agent's phone or desktop rings.
    Ringing {
        /// The claim.
        offer: OfferId,
        /// What is offered.
        interaction: InteractionId,
        /// When the offer is withdrawn.
        deadline_ms: TimestampMs,
    },
    /// Handles an interaction.
    Talking {
        /// Which one.
        interaction: InteractionId,
        /// Since when.
        since_ms: TimestampMs,
    },
    /// Finishes the last interaction's paperwork (ACW).
    WrappingUp {
        /// Which one it was.
        interaction: InteractionId,
        /// When it ends by itself.
        until_ms: TimestampMs,
    },
}

//! Identities. All are UUIDs (version 7 when we make them, so that they sort by time), except a node's, which is the
//! name its operator gave it.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Why a text is no identity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// The text is not a hyphenated or simple UUID.
    #[error("is not a UUID")]
    NotUuid,
    /// The text is not 1 to 63 of `a-z A-Z 0-9 . _ -`.
    #[error("must be 1 to 63 of a-z A-Z 0-9 . _ -")]
    NotNodeName,
}

macro_rules! uuid_id {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl $name {
            /// Makes a version 7 identity from the time in milliseconds and ten random bytes.
            #[must_use]
            pub fn from_parts(unix_ms: u64, random: &[u8; 10]) -> Self {
                Self(uuid::Builder::from_unix_timestamp_millis(unix_ms, random).into_uuid())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.as_hyphenated().fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.0.as_hyphenated())
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                Uuid::try_parse(text).map(Self).map_err(|_| IdError::NotUuid)
            }
        }
    )+};
}

uuid_id!(
    /// A customer whose data and numbers never mix with another's.
    TenantId,
    /// A human who handles interactions.
    AgentId,
    /// One customer communication from arrival to end.
    InteractionId,
    /// An ordered set of waiting interactions with a service target.
    QueueId,
    /// One exclusive claim of an agent for one interaction. A repeat of an input that names an old offer does nothing.
    OfferId,
    /// One command in a tenant's command stream; a repeated id has no second effect.
    CommandId,
    /// A SIP connection to a carrier.
    TrunkId,
    /// A rule from a dialled number to a queue.
    RouteId,
    /// Somebody who can log in.
    UserId,
);

/// The name of a host of the media plane or of a process, chosen by its operator.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NodeId(Arc<str>);

impl NodeId {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for NodeId {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        if text.is_empty() || text.len() > 63 || !text.bytes().all(allowed) {
            return Err(IdError::NotNodeName);
        }
        Ok(Self(text.into()))
    }
}

impl TryFrom<String> for NodeId {
    type Error = IdError;
    fn try_from(text: String) -> Result<Self, IdError> {
        text.parse()
    }
}

impl From<NodeId> for String {
    fn from(node: NodeId) -> Self {
        node.0.as_ref().to_owned()
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

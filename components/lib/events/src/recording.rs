//! Recordings: what the voice duty tells about each one it has put into the object store.

use ringdown_domain::{AgentId, InteractionId, NodeId, TenantId, TimestampMs};
use serde::{Deserialize, Serialize};

/// Whose voice a recording holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RecordedParty {
    /// An agent's.
    Agent(AgentId),
    /// The customer's.
    Customer,
    /// That of an outside number, which was transferred to or asked.
    Number,
}

/// One party's recording, which is in the object store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordingNote {
    /// Whose conversation.
    pub tenant: TenantId,
    /// The interaction to which the conversation belongs.
    pub interaction: InteractionId,
    /// Its number in the conversation, from 1.
    pub number: u32,
    /// Whose voice.
    pub party: RecordedParty,
    /// When it began: pieces of one conversation are laid beside each other by it.
    pub begun_at_ms: TimestampMs,
    /// How long it is.
    pub duration_ms: u64,
    /// The file's length in bytes.
    pub bytes: u64,
    /// SHA-256 of the file, 64 lower-case hex digits.
    pub sha256: String,
    /// The file's name in the object store.
    pub object: String,
    /// The media node that recorded it.
    pub node: NodeId,
}

//! What client and notifier say to each other: JSON text frames with a `kind`.

use ringdown_domain::{TenantId, TimestampMs};
use ringdown_events::{AgentRecord, InteractionRecord, JournalEvent};
use serde::{Deserialize, Serialize};

use crate::{Position, QueueFigures, SnapshotCause, Topic};

/// The longest client message accepted, in bytes; an opening message needs about 300.
pub const MAX_CLIENT_MESSAGE_BYTES: usize = 4096;

/// From the client.
#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum ClientMessage {
    /// The first message, within the opening time.
    Open {
        /// The log-in's token. In a message and not in the URL, since URLs end in logs.
        token: String,
        /// The tenant to watch; only for log-ins that are not of one tenant.
        #[serde(default)]
        tenant: Option<TenantId>,
        /// What to watch: one to three topics.
        topics: Vec<Topic>,
        /// Where the client left off, if it comes back.
        #[serde(default)]
        position: Option<Position>,
    },
}

/// To the client.
#[derive(Debug, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ServerMessage<'a> {
    /// One journal entry. The client's position is now its `seq`.
    Event {
        /// Its number.
        seq: u64,
        /// When it happened.
        at_ms: TimestampMs,
        /// What happened.
        event: &'a JournalEvent,
    },
    /// The client is up to date at this position, whether or not entries for it came. Also the heartbeat.
    Position {
        /// Where the client is now.
        position: &'a Position,
    },
    /// The newest figures of queues.
    Queues {
        /// The queues that changed; all of them after the opening.
        queues: &'a [QueueFigures],
    },
    /// The client goes on where it left off; what it missed follows.
    Resumed {
        /// Where it goes on.
        position: &'a Position,
    },
    /// The state as of `position`, in parts. What the client had before is void from the first part on.
    Snapshot {
        /// The moment all parts describe.
        position: &'a Position,
        /// Why a snapshot.
        cause: SnapshotCause,
        /// 1, 2, 3 ...
        part: u32,
        /// No more parts follow.
        last: bool,
        /// Whether the ACD is open.
        acd_open: bool,
        /// Agents of this part.
        agents: &'a [AgentRecord],
        /// Live interactions of this part.
        interactions: &'a [InteractionRecord],
    },
}

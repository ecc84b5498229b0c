//! What client and notifier say to each other: JSON text frames with a `kind`.

use ringdown_domain::TenantId;
use ringdown_events as events;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{Decision, Interaction, LiveAgent, OfferFailure, QueueFigures, Scope};

/// The longest client message accepted, in bytes; an opening message needs about 300.
pub const MAX_CLIENT_MESSAGE_BYTES: usize = 4096;

/// What a client can ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Topic {
    /// Agents' records: status, state, skills.
    Agents,
    /// Interactions' records and offers.
    Interactions,
    /// The figures of each queue; not for agents.
    Queues,
}

/// A place in a journal: everything up to and including `seq` has been seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Position {
    /// The journal's mark; another one means another journal, whose numbers say nothing about this one.
    pub epoch: String,
    /// Sequence number of the last entry seen; 0: none.
    pub seq: u64,
}

/// Why a client gets a snapshot and not only what it missed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SnapshotCause {
    /// It brought no position.
    First,
    /// The journal was made anew (its store was lost): the position is of another epoch, or ahead of the journal.
    JournalReset,
    /// What it missed is no longer kept.
    TooOld,
}

/// From the client.
#[derive(Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum ClientMessage {
    /// The first message, within the opening time.
    Open {
        /// The token of a log-in or an API token. In a message and not in the URL, since URLs end in logs. Left out by the console's
        /// pages: theirs is in a cookie.
        #[serde(default)]
        token: Option<String>,
        /// The tenant to watch; only for log-ins that are not of one tenant.
        #[serde(default)]
        #[schema(value_type = Option<Uuid>)]
        tenant: Option<TenantId>,
        /// What to watch: one to three topics.
        #[schema(min_items = 1, max_items = 3)]
        topics: Vec<Topic>,
        /// Where the client left off, if it comes back.
        #[serde(default)]
        position: Option<Position>,
    },
}

/// To the client.
#[derive(Debug, Serialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ServerMessage {
    /// One journal entry. The client's position is now its `seq`.
    Event {
        /// Its number.
        seq: u64,
        /// When it happened, UTC milliseconds.
        at_ms: u64,
        /// What happened.
        event: Box<LiveEvent>,
    },
    /// The client is up to date at this position, whether or not entries for it came. Also the heartbeat.
    Position {
        /// Where the client is now.
        position: Position,
    },
    /// The newest figures of queues.
    Queues {
        /// The queues that changed; all of them after the opening.
        queues: Vec<QueueFigures>,
    },
    /// The client goes on where it left off; what it missed follows.
    Resumed {
        /// Where it goes on.
        position: Position,
    },
    /// The state as of `position`, in parts. What the client had before is void from the first part on.
    Snapshot {
        /// The moment all parts describe.
        position: Position,
        /// Why a snapshot.
        cause: SnapshotCause,
        /// 1, 2, 3 ...
        part: u32,
        /// No more parts follow.
        last: bool,
        /// Whether the ACD is open.
        acd_open: bool,
        /// Agents of this part.
        agents: Vec<LiveAgent>,
        /// Live interactions of this part.
        interactions: Vec<Interaction>,
    },
}

/// What happened. Records are shown whole, as they are afterwards.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum LiveEvent {
    /// The ACD was opened or closed.
    AcdChanged {
        /// Open or closed.
        open: bool,
    },
    /// Status or state of an agent changed, or its name or skills.
    AgentChanged {
        /// The agent afterwards.
        agent: LiveAgent,
    },
    /// The agent is no longer configured.
    AgentRemoved {
        /// Who.
        agent: Uuid,
    },
    /// A configuration version was taken whole.
    ConfigApplied {
        /// Its number.
        version: u64,
    },
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
        /// Why this agent; left out for agents, since it tells of others.
        #[serde(skip_serializing_if = "Option::is_none")]
        decision: Option<Decision>,
    },
    /// It arrived, or returned to its place.
    InteractionQueued {
        /// The interaction afterwards.
        interaction: Interaction,
    },
    /// An offer came to nothing. The interaction's next event tells where it went.
    OfferFailed {
        /// What was offered.
        interaction: Uuid,
        /// To whom.
        agent: Uuid,
        /// The offer.
        offer: Uuid,
        /// Why; null when it was withdrawn because the interaction ended.
        failure: Option<OfferFailure>,
        /// The SIP response code behind it, if any.
        sip_code: Option<u16>,
    },
}

impl LiveEvent {
    /// The event as this scope sees it. Whether it sees it at all is decided before.
    #[must_use]
    pub fn seen(event: events::JournalEvent, scope: Scope) -> Self {
        use events::JournalEvent as Journal;
        match event {
            Journal::AcdChanged { open } => Self::AcdChanged { open },
            Journal::AgentChanged { agent } => Self::AgentChanged { agent: agent.into() },
            Journal::AgentRemoved { agent } => Self::AgentRemoved { agent: agent.0 },
            Journal::ConfigApplied { version } => Self::ConfigApplied { version },
            Journal::InteractionChanged { interaction } => Self::InteractionChanged { interaction: interaction.into() },
            Journal::InteractionConnected { interaction } => {
                Self::InteractionConnected { interaction: interaction.into() }
            }
            Journal::InteractionEnded { interaction } => Self::InteractionEnded { interaction: interaction.into() },
            Journal::InteractionOffered { interaction, decision } => Self::InteractionOffered {
                interaction: interaction.into(),
                decision: scope.sees_others().then(|| decision.into()),
            },
            Journal::InteractionQueued { interaction } => Self::InteractionQueued { interaction: interaction.into() },
            Journal::OfferFailed { interaction, agent, offer, failure, sip_code } => Self::OfferFailed {
                interaction: interaction.0,
                agent: agent.0,
                offer: offer.0,
                failure: failure.map(Into::into),
                sip_code,
            },
        }
    }
}

//! The live state as it stands in Redis, one JSON text per key, for people and programs to read. Only the router that
//! holds the tenant's lease writes it.

use std::collections::BTreeMap;

use ringdown_domain::{
    AgentId, AgentState, AgentStatus, Delivery, InteractionId, InteractionState, Media, Name, NodeId, OfferFailure,
    PhoneNumber, Priority, QueueId, SkillLevel, SkillName, SkillRequirement, TimestampMs,
};
use serde::{Deserialize, Serialize};

/// An agent, live.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AgentRecord {
    /// Who.
    pub id: AgentId,
    /// The name supervisors see.
    pub name: Name,
    /// What the agent can do.
    pub skills: BTreeMap<SkillName, SkillLevel>,
    /// What the agent declares.
    pub status: AgentStatus,
    /// Since when.
    pub status_since_ms: TimestampMs,
    /// What the router sees.
    pub state: AgentState,
    /// Since when.
    pub state_since_ms: TimestampMs,
    /// The one availability clock: since when ready and idle; none when not available. Adding a skill does not move it.
    /// For a moment after the agent's phone was busy it lies in the future: available from then on.
    pub available_since_ms: Option<TimestampMs>,
    /// While an offer is open: the availability clock the agent had before it, given back when the offer is withdrawn
    /// through no doing of the agent. None otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place_since_ms: Option<TimestampMs>,
    /// Offers in a row that came to nothing for one cause; none when the last one led to a call, or the agent declared a
    /// status since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refusals: Option<RefusalRow>,
}

/// Offers in a row to one agent that came to nothing for one cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusalRow {
    /// The cause.
    pub failure: OfferFailure,
    /// How many, 1 or more.
    pub count: u32,
}

/// An interaction, live; kept for an hour after its end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InteractionRecord {
    /// Which.
    pub id: InteractionId,
    /// What kind.
    pub media: Media,
    /// How it reaches its agent.
    pub delivery: Delivery,
    /// Its queue, if any.
    pub queue: Option<QueueId>,
    /// All skills it needs, the queue's included, sorted, each skill once.
    pub requirements: Vec<SkillRequirement>,
    /// Its priority.
    pub priority: Priority,
    /// Who calls.
    pub caller: Option<PhoneNumber>,
    /// What was dialled.
    pub called: Option<PhoneNumber>,
    /// The media node that holds it, for voice.
    pub node: Option<NodeId>,
    /// Free notes of who created it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<String, String>,
    /// When it arrived. It never changes, so a return to the queue is a return to its place.
    pub arrived_at_ms: TimestampMs,
    /// Its rank: arrival less the head start of its priority. The score in the universal queue; the smallest is first.
    pub rank_ms: TimestampMs,
    /// When it gives up waiting; none: never.
    pub wait_limit_at_ms: Option<TimestampMs>,
    /// How long an offer of it may take, in milliseconds, from the offer to the answer.
    pub ring_timeout_ms: u64,
    /// How long its agent may wrap up afterwards, in milliseconds; 0: not at all.
    pub wrap_up_ms: u64,
    /// Offers made so far.
    pub offers: u32,
    /// Where it is.
    pub state: InteractionState,
}

/// The router's own record (one hash per tenant), written with every commit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouterRecord {
    /// The lease's fencing epoch of the last commit.
    pub epoch: u64,
    /// Stream id of the last command committed, as `0-0`.
    pub position: String,
    /// Sequence number of the last journal entry.
    pub seq: u64,
    /// Random mark of this journal. A reader that sees another one than it knows must take a new snapshot.
    pub journal_epoch: String,
    /// The configuration version in force.
    pub config_version: u64,
    /// Whether the ACD is open.
    pub open: bool,
}

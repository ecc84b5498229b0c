//! The live state as it stands in Redis, one JSON text per key, for people and programs to read. Only the router that
//! holds the tenant's lease writes it.

use std::collections::BTreeMap;

use ringdown_domain::{
    AgentId, AgentState, AgentStatus, CustomerSide, Delivery, InteractionId, InteractionState, Media, Name, NodeId,
    OfferFailure, Origin, PartyRole, PhoneNumber, Priority, QueueId, Recording, SkillLevel, SkillName,
    SkillRequirement, TimestampMs,
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
    /// Whether a phone of the agent is registered, as the edge observes it; none: nobody has said so yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reachable: Option<bool>,
    /// What occupies the agent, the oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub engagements: Vec<Engagement>,
}

/// One interaction that occupies an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Engagement {
    /// Which.
    pub interaction: InteractionId,
    /// How.
    pub state: EngagementState,
    /// Since when.
    pub since_ms: TimestampMs,
}

/// How an interaction occupies an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EngagementState {
    /// Claimed for an offer that does not ring yet.
    Reserved,
    /// The phone or desktop rings.
    Ringing,
    /// Handles it.
    Talking,
    /// Has its customer on hold, or is in a consultation about it.
    Held,
    /// Finishes its paperwork.
    WrappingUp,
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
    /// What it began as.
    #[serde(default, skip_serializing_if = "Origin::is_inbound")]
    pub origin: Origin,
    /// The interaction in whose conversation this one takes part; none: it has a conversation of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<InteractionId>,
    /// How its agent takes part in the parent's conversation; none without a parent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<PartyRole>,
    /// The agent who began it (manual calls, consultations, internal calls, supervision).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub initiator: Option<AgentId>,
    /// The only agent it may go to; none: whoever has the skills.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<AgentId>,
    /// Interactions that take part in its conversation, the oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub children: Vec<InteractionId>,
    /// Who takes part through [`Self::children`], in their order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parties: Vec<Party>,
    /// Since when its agent has the customer on hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_since_ms: Option<TimestampMs>,
    /// Whether its agent's leg is muted here (a browser mutes itself).
    #[serde(default, skip_serializing_if = "crate::is_false")]
    pub muted: bool,
    /// Whether its conversation is recorded.
    #[serde(default, skip_serializing_if = "Recording::is_off")]
    pub recording: Recording,
    /// How far the customer's side is.
    #[serde(default, skip_serializing_if = "CustomerSide::is_here")]
    pub customer: CustomerSide,
    /// How its agent classed it; it may change until an hour after the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disposition: Option<Disposition>,
}

/// One who takes part in a conversation through a child interaction, as the child's record says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Party {
    /// The child.
    pub interaction: InteractionId,
    /// The child's origin.
    pub origin: Origin,
    /// How the party takes part; none: a supervisor who takes over as soon as the phone is answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<PartyRole>,
    /// The agent asked or joined; none: nobody yet, or an outside number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<AgentId>,
    /// The outside number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<PhoneNumber>,
    /// Since when the party is on the line; none: still waits or rings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub joined_ms: Option<TimestampMs>,
}

/// How an agent classed an interaction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disposition {
    /// The code, 1 to 64 characters.
    pub code: String,
    /// What the agent noted, to 4,000 characters.
    #[serde(default)]
    pub notes: String,
    /// The form's fields: at most 32, keys to 64 and values to 1,000 characters.
    #[serde(default)]
    pub fields: BTreeMap<String, String>,
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

//! An interaction, live.

use std::collections::BTreeMap;

use ringdown_domain as domain;
use ringdown_events as events;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::call::{Call, Direction, Disposition, Origin};

/// One skill needed, at a minimum level.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, serde::Deserialize, ToSchema)]
pub struct Requirement {
    /// The skill's name.
    #[schema(min_length = 1, max_length = 64, pattern = "^[0-9A-Za-z._-]+$")]
    pub skill: String,
    /// The weakest level that will do, 1 to 10.
    #[schema(minimum = 1, maximum = 10)]
    pub min_level: u8,
}

impl From<domain::SkillRequirement> for Requirement {
    fn from(requirement: domain::SkillRequirement) -> Self {
        Self { skill: requirement.skill.into(), min_level: requirement.min_level.value() }
    }
}

/// The kind of communication.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, serde::Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Media {
    /// Anything an outside program hands to the router.
    Task,
    /// A telephone call; only Ringdown's voice duty makes these.
    Voice,
}

impl From<domain::Media> for Media {
    fn from(media: domain::Media) -> Self {
        match media {
            domain::Media::Task => Self::Task,
            domain::Media::Voice => Self::Voice,
        }
    }
}

/// How an interaction reaches its agent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, serde::Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Delivery {
    /// The agent is assigned at once, without ringing.
    #[default]
    Direct,
    /// The agent's desktop rings and must accept within the ring time.
    Ring,
}

impl From<domain::Delivery> for Delivery {
    fn from(delivery: domain::Delivery) -> Self {
        match delivery {
            domain::Delivery::Direct => Self::Direct,
            domain::Delivery::Ring => Self::Ring,
        }
    }
}

impl From<Delivery> for domain::Delivery {
    fn from(delivery: Delivery) -> Self {
        match delivery {
            Delivery::Direct => Self::Direct,
            Delivery::Ring => Self::Ring,
        }
    }
}

/// Why an interaction is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
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
    /// Its owner declared it done.
    Completed,
    /// The media failed.
    Failed,
    /// The party that was dialled did not answer.
    NoAnswer,
    /// The media host died under it.
    NodeLost,
    /// What it was for went on in another interaction: a consultation that became a transfer, a supervisor who took over.
    Transferred,
    /// The party that was dialled could not be reached.
    Unreachable,
    /// It waited as long as its queue allows.
    WaitLimit,
}

impl From<domain::EndReason> for EndReason {
    fn from(reason: domain::EndReason) -> Self {
        match reason {
            domain::EndReason::Abandoned => Self::Abandoned,
            domain::EndReason::AgentHangup => Self::AgentHangup,
            domain::EndReason::Busy => Self::Busy,
            domain::EndReason::CallerHangup => Self::CallerHangup,
            domain::EndReason::Completed => Self::Completed,
            domain::EndReason::Failed => Self::Failed,
            domain::EndReason::NoAnswer => Self::NoAnswer,
            domain::EndReason::NodeLost => Self::NodeLost,
            domain::EndReason::Transferred => Self::Transferred,
            domain::EndReason::Unreachable => Self::Unreachable,
            domain::EndReason::WaitLimit => Self::WaitLimit,
        }
    }
}

/// Where an interaction is. It is in exactly one of these.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum InteractionState {
    /// In its queue, at the place of its rank.
    Waiting,
    /// Claimed for an agent who has not accepted yet.
    Offered {
        /// The agent asked.
        agent: Uuid,
        /// The claim.
        offer: Uuid,
        /// When the offer is withdrawn, UTC milliseconds.
        deadline_ms: u64,
    },
    /// With an agent.
    Connected {
        /// The agent.
        agent: Uuid,
        /// The offer that led here.
        offer: Uuid,
        /// Since when, UTC milliseconds.
        since_ms: u64,
    },
    /// With an outside number that was dialled for it; no agent has it.
    External {
        /// The number.
        number: String,
        /// The identity of the leg to that number.
        leg: Uuid,
        /// Until when it may ring, UTC milliseconds; null: it was answered.
        deadline_ms: Option<u64>,
        /// Since when, UTC milliseconds.
        since_ms: u64,
    },
    /// Over. Final.
    Ended {
        /// Why.
        reason: EndReason,
        /// When, UTC milliseconds.
        at_ms: u64,
        /// The agent who had it, if any.
        agent: Option<Uuid>,
    },
}

impl From<domain::InteractionState> for InteractionState {
    fn from(state: domain::InteractionState) -> Self {
        match state {
            domain::InteractionState::Waiting => Self::Waiting,
            domain::InteractionState::Offered { agent, offer, deadline_ms } => {
                Self::Offered { agent: agent.0, offer: offer.0, deadline_ms: deadline_ms.0 }
            }
            domain::InteractionState::Connected { agent, offer, since_ms } => {
                Self::Connected { agent: agent.0, offer: offer.0, since_ms: since_ms.0 }
            }
            domain::InteractionState::External { number, leg, deadline_ms, since_ms } => Self::External {
                number: number.into(),
                leg: leg.0,
                deadline_ms: deadline_ms.map(|at| at.0),
                since_ms: since_ms.0,
            },
            domain::InteractionState::Ended { reason, at_ms, agent } => {
                Self::Ended { reason: reason.into(), at_ms: at_ms.0, agent: agent.map(|id| id.0) }
            }
        }
    }
}

/// An interaction, live; kept for an hour after its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Interaction {
    /// Which.
    pub id: Uuid,
    /// What kind.
    pub media: Media,
    /// How it reaches its agent.
    pub delivery: Delivery,
    /// Its queue, if any.
    pub queue: Option<Uuid>,
    /// All skills it needs, the queue's included.
    pub requirements: Vec<Requirement>,
    /// 0 (normal) to 100; one step is worth 10 s of waiting.
    pub priority: u8,
    /// Who calls.
    pub caller: Option<String>,
    /// What was dialled.
    pub called: Option<String>,
    /// The media node that holds it, for voice.
    pub node: Option<String>,
    /// Free notes of who created it.
    pub attributes: BTreeMap<String, String>,
    /// When it arrived, UTC milliseconds; it never changes.
    pub arrived_at_ms: u64,
    /// Arrival less the head start of its priority; the smallest is served first.
    pub rank_ms: u64,
    /// When it gives up waiting, UTC milliseconds; null: never.
    pub wait_limit_at_ms: Option<u64>,
    /// How long an offer of it may take, milliseconds.
    pub ring_timeout_ms: u64,
    /// How long its agent may wrap up afterwards, milliseconds.
    pub wrap_up_ms: u64,
    /// Offers made so far.
    pub offers: u32,
    /// Where it is.
    pub state: InteractionState,
    /// What it began as.
    pub origin: Origin,
    /// Which way it went.
    pub direction: Direction,
    /// The interaction in whose conversation it takes part; null: it has a conversation of its own.
    pub parent: Option<Uuid>,
    /// The agent who began it: a manual or internal call, a consultation, supervision.
    pub initiator: Option<Uuid>,
    /// The call, for voice; null for others.
    pub call: Option<Call>,
    /// How its agent classed it.
    pub disposition: Option<Disposition>,
}

impl From<events::InteractionRecord> for Interaction {
    fn from(record: events::InteractionRecord) -> Self {
        let call = Call::of(&record);
        Self {
            origin: record.origin.into(),
            direction: record.origin.direction().into(),
            parent: record.parent.map(|id| id.0),
            initiator: record.initiator.map(|id| id.0),
            call,
            disposition: record.disposition.map(Disposition::from),
            id: record.id.0,
            media: record.media.into(),
            delivery: record.delivery.into(),
            queue: record.queue.map(|id| id.0),
            requirements: record.requirements.into_iter().map(Requirement::from).collect(),
            priority: record.priority.value(),
            caller: record.caller.map(String::from),
            called: record.called.map(String::from),
            node: record.node.map(String::from),
            attributes: record.attributes,
            arrived_at_ms: record.arrived_at_ms.0,
            rank_ms: record.rank_ms.0,
            wait_limit_at_ms: record.wait_limit_at_ms.map(|at| at.0),
            ring_timeout_ms: record.ring_timeout_ms,
            wrap_up_ms: record.wrap_up_ms,
            offers: record.offers,
            state: record.state.into(),
        }
    }
}

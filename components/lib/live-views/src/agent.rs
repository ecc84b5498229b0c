//! An agent, live.

use std::collections::BTreeMap;

use ringdown_domain as domain;
use ringdown_events as events;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

/// What an agent declares.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum AgentStatus {
    /// Not at work.
    LoggedOut,
    /// At work, for anything but interactions.
    NotReady {
        /// Why not: 1 to 32 of `a-z 0-9 _`. The router itself sets `rona`, `unreachable`, `rejected`, `acd_closed`.
        reason: String,
    },
    /// Wants interactions.
    Ready,
}

impl From<domain::AgentStatus> for AgentStatus {
    fn from(status: domain::AgentStatus) -> Self {
        match status {
            domain::AgentStatus::LoggedOut => Self::LoggedOut,
            domain::AgentStatus::NotReady { reason } => Self::NotReady { reason: reason.into() },
            domain::AgentStatus::Ready => Self::Ready,
        }
    }
}

/// What the router sees. Only an idle agent whose status is ready is available.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum AgentState {
    /// Nothing assigned.
    Idle,
    /// Claimed for an offer that does not ring yet.
    Reserved {
        /// The claim.
        offer: Uuid,
        /// What is offered.
        interaction: Uuid,
        /// When the claim ends by itself, UTC milliseconds.
        deadline_ms: u64,
    },
    /// The agent's phone or desktop rings.
    Ringing {
        /// The claim.
        offer: Uuid,
        /// What is offered.
        interaction: Uuid,
        /// When the offer is withdrawn, UTC milliseconds.
        deadline_ms: u64,
    },
    /// Handles an interaction.
    Talking {
        /// Which one.
        interaction: Uuid,
        /// Since when, UTC milliseconds.
        since_ms: u64,
    },
    /// Finishes the last interaction's paperwork.
    WrappingUp {
        /// Which one it was.
        interaction: Uuid,
        /// When it ends by itself, UTC milliseconds.
        until_ms: u64,
    },
}

impl From<domain::AgentState> for AgentState {
    fn from(state: domain::AgentState) -> Self {
        match state {
            domain::AgentState::Idle => Self::Idle,
            domain::AgentState::Reserved { offer, interaction, deadline_ms } => {
                Self::Reserved { offer: offer.0, interaction: interaction.0, deadline_ms: deadline_ms.0 }
            }
            domain::AgentState::Ringing { offer, interaction, deadline_ms } => {
                Self::Ringing { offer: offer.0, interaction: interaction.0, deadline_ms: deadline_ms.0 }
            }
            domain::AgentState::Talking { interaction, since_ms } => {
                Self::Talking { interaction: interaction.0, since_ms: since_ms.0 }
            }
            domain::AgentState::WrappingUp { interaction, until_ms } => {
                Self::WrappingUp { interaction: interaction.0, until_ms: until_ms.0 }
            }
        }
    }
}

/// An agent, live.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct LiveAgent {
    /// Who.
    pub id: Uuid,
    /// The name supervisors see.
    pub name: String,
    /// Skill to level, 1 to 10.
    pub skills: BTreeMap<String, u8>,
    /// What the agent declares.
    pub status: AgentStatus,
    /// Since when, UTC milliseconds.
    pub status_since_ms: u64,
    /// What the router sees.
    pub state: AgentState,
    /// Since when, UTC milliseconds.
    pub state_since_ms: u64,
    /// Since when ready and idle, UTC milliseconds; null when not available.
    pub available_since_ms: Option<u64>,
    /// Whether a phone of the agent is registered, as observed; null: nobody has said so yet. Who cannot be reached gets no
    /// offers and keeps the place in the line.
    pub reachable: Option<bool>,
    /// What occupies the agent, the oldest first.
    pub engagements: Vec<Engagement>,
}

/// One interaction that occupies an agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Engagement {
    /// Which.
    pub interaction: Uuid,
    /// The offer, while it is open.
    pub offer: Option<Uuid>,
    /// How.
    pub state: EngagementState,
    /// Since when, UTC milliseconds.
    pub since: u64,
    /// When the offer or the wrap-up ends by itself, UTC milliseconds.
    pub deadline: Option<u64>,
}

/// How an interaction occupies an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
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

impl From<events::EngagementState> for EngagementState {
    fn from(state: events::EngagementState) -> Self {
        match state {
            events::EngagementState::Reserved => Self::Reserved,
            events::EngagementState::Ringing => Self::Ringing,
            events::EngagementState::Talking => Self::Talking,
            events::EngagementState::Held => Self::Held,
            events::EngagementState::WrappingUp => Self::WrappingUp,
        }
    }
}

impl Engagement {
    fn of(engagement: events::Engagement, state: &domain::AgentState) -> Self {
        let (offer, deadline) = match state {
            domain::AgentState::Reserved { offer, deadline_ms, .. }
            | domain::AgentState::Ringing { offer, deadline_ms, .. } => (Some(offer.0), Some(deadline_ms.0)),
            domain::AgentState::WrappingUp { until_ms, .. } => (None, Some(until_ms.0)),
            domain::AgentState::Idle | domain::AgentState::Talking { .. } => (None, None),
        };
        let events::Engagement { interaction, state, since_ms } = engagement;
        Self { interaction: interaction.0, offer, state: state.into(), since: since_ms.0, deadline }
    }
}

impl From<events::AgentRecord> for LiveAgent {
    fn from(agent: events::AgentRecord) -> Self {
        let engagements =
            agent.engagements.iter().map(|engagement| Engagement::of(*engagement, &agent.state)).collect();
        Self {
            engagements,
            reachable: agent.reachable,
            id: agent.id.0,
            name: agent.name.into(),
            skills: agent.skills.into_iter().map(|(skill, level)| (skill.into(), level.value())).collect(),
            status: agent.status.into(),
            status_since_ms: agent.status_since_ms.0,
            state: agent.state.into(),
            state_since_ms: agent.state_since_ms.0,
            available_since_ms: agent.available_since_ms.map(|at| at.0),
        }
    }
}

//! A call: who takes part, and how.

use std::collections::BTreeMap;

use ringdown_domain as domain;
use ringdown_domain::InteractionState as State;
use ringdown_events as events;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

/// What an interaction began as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// The customer called.
    Inbound,
    /// The customer asked to be called back.
    Callback,
    /// A campaign dialled the customer.
    Campaign,
    /// An agent asks somebody about the parent.
    Consult,
    /// One agent calls another.
    Internal,
    /// An agent dialled the customer.
    Manual,
    /// A text conversation.
    Message,
    /// A supervisor takes part in the parent.
    Supervision,
    /// A piece of work without a conversation.
    Task,
}

impl From<domain::Origin> for Origin {
    fn from(origin: domain::Origin) -> Self {
        match origin {
            domain::Origin::Inbound => Self::Inbound,
            domain::Origin::Callback => Self::Callback,
            domain::Origin::Campaign => Self::Campaign,
            domain::Origin::Consult => Self::Consult,
            domain::Origin::Internal => Self::Internal,
            domain::Origin::Manual => Self::Manual,
            domain::Origin::Message => Self::Message,
            domain::Origin::Supervision => Self::Supervision,
            domain::Origin::Task => Self::Task,
        }
    }
}

/// Which way an interaction went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// From a customer to us.
    Inbound,
    /// From us to a customer.
    Outbound,
    /// Between ourselves.
    Internal,
}

impl From<domain::Direction> for Direction {
    fn from(direction: domain::Direction) -> Self {
        match direction {
            domain::Direction::Inbound => Self::Inbound,
            domain::Direction::Outbound => Self::Outbound,
            domain::Direction::Internal => Self::Internal,
        }
    }
}

/// Whether a call is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
// A recording that was made is a `Recording` in the REST interface's document, which knows names, not modules.
#[schema(as = RecordingState)]
pub enum Recording {
    /// It is not.
    Off,
    /// It is.
    On,
    /// It is, but not now.
    Paused,
}

impl From<domain::Recording> for Recording {
    fn from(recording: domain::Recording) -> Self {
        match recording {
            domain::Recording::Off => Self::Off,
            domain::Recording::On => Self::On,
            domain::Recording::Paused => Self::Paused,
        }
    }
}

/// Who a party is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PartyKind {
    /// An agent.
    Agent,
    /// An outside number.
    Number,
    /// A supervisor who listens, whispers, has barged in or takes over.
    Supervisor,
}

/// How a party takes part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PartyRole {
    /// Talks with the customer.
    Talking,
    /// Has the customer on hold.
    Held,
    /// Is consulted, apart from the customer.
    Consulting,
    /// Hears everybody, unheard.
    Listening,
    /// Hears everybody; only the agent hears this party.
    Whispering,
    /// A supervisor who talks with everybody.
    Barging,
    /// Is about to take the call over.
    TakingOver,
}

/// One party of a call beside the customer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Party {
    /// What kind.
    pub kind: PartyKind,
    /// The agent; null: nobody found yet, or an outside number.
    pub agent: Option<Uuid>,
    /// The outside number.
    pub number: Option<String>,
    /// How the party takes part.
    pub role: PartyRole,
    /// Since when on the line, UTC milliseconds; null: is still being called.
    pub since: Option<u64>,
    /// The interaction by which the party takes part: the call itself, or a child of it.
    pub interaction: Uuid,
}

/// The call of a voice interaction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Call {
    /// Whether the customer is on hold; true during a consultation too.
    pub held: bool,
    /// Whether the agent's leg is muted here.
    pub muted: bool,
    /// Whether it is recorded.
    pub recording: Recording,
    /// Who takes part beside the customer: who has the call first, then the others in the order in which they were asked.
    pub parties: Vec<Party>,
    /// The open consultation.
    pub consult: Option<Uuid>,
}

impl Call {
    /// The call of an interaction; none when it is none.
    pub(crate) fn of(record: &events::InteractionRecord) -> Option<Self> {
        if record.media != domain::Media::Voice {
            return None;
        }
        let consults = |party: &&events::Party| party.role == Some(domain::PartyRole::Consult);
        let consult = record.parties.iter().find(consults).map(|party| party.interaction.0);
        let held = record.held_since_ms.is_some() || consult.is_some();
        let others = record.parties.iter().map(Party::of);
        Some(Self {
            held,
            muted: record.muted,
            recording: record.recording.into(),
            parties: first_party(record, held).into_iter().chain(others).collect(),
            consult,
        })
    }
}

/// Who has the call.
fn first_party(record: &events::InteractionRecord, held: bool) -> Option<Party> {
    let (agent, number, since) = match &record.state {
        State::Connected { agent, since_ms, .. } => (Some(agent.0), None, Some(since_ms.0)),
        State::External { number, deadline_ms, since_ms, .. } => {
            (None, Some(number.as_str().to_owned()), deadline_ms.is_none().then_some(since_ms.0))
        }
        State::Waiting | State::Offered { .. } | State::Ended { .. } => return None,
    };
    let kind = if number.is_some() { PartyKind::Number } else { PartyKind::Agent };
    let role = match record.role {
        None if held => PartyRole::Held,
        None => PartyRole::Talking,
        Some(role) => shown(role, record.origin),
    };
    Some(Party { kind, agent, number, role, since, interaction: record.id.0 })
}

const fn shown(role: domain::PartyRole, origin: domain::Origin) -> PartyRole {
    match (role, origin) {
        (domain::PartyRole::Conference, domain::Origin::Supervision) => PartyRole::Barging,
        (domain::PartyRole::Conference, _) => PartyRole::Talking,
        (domain::PartyRole::Consult, _) => PartyRole::Consulting,
        (domain::PartyRole::Listen, _) => PartyRole::Listening,
        (domain::PartyRole::Whisper, _) => PartyRole::Whispering,
    }
}

impl Party {
    fn of(party: &events::Party) -> Self {
        let kind = match (party.origin, &party.number) {
            (domain::Origin::Supervision, _) => PartyKind::Supervisor,
            (_, Some(_)) => PartyKind::Number,
            (_, None) => PartyKind::Agent,
        };
        Self {
            kind,
            agent: party.agent.map(|id| id.0),
            number: party.number.clone().map(String::from),
            role: party.role.map_or(PartyRole::TakingOver, |role| shown(role, party.origin)),
            since: party.joined_ms.map(|at| at.0),
            interaction: party.interaction.0,
        }
    }
}

/// How an agent classed an interaction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Disposition {
    /// The code.
    pub code: String,
    /// What the agent noted.
    pub notes: String,
    /// The form's fields.
    pub fields: BTreeMap<String, String>,
}

impl From<events::Disposition> for Disposition {
    fn from(disposition: events::Disposition) -> Self {
        let events::Disposition { code, notes, fields } = disposition;
        Self { code, notes, fields }
    }
}

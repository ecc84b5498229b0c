//! The tenant's directory: names of queues and colleagues with their presence, for everybody at work. Whom colleagues speak with
//! is not in it.

use axum::extract::State;
use ringdown_domain as domain;
use ringdown_domain::AgentId;
use ringdown_events::AgentRecord;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::agents::{StatusWord, word_of};
use super::interactions::page_of_ended;
use super::reader;
use super::views::Interaction;
use crate::answers::{self, AgentPath, Json, Page, Query, TenantPath};
use crate::app::App;
use crate::auth::access::{ForAgent, InTenant, Work};
use crate::db;
use crate::problem::Problem;

/// What an agent does, in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Occupation {
    /// Nothing.
    Idle,
    /// About to get something.
    Reserved,
    /// Is rung.
    Ringing,
    /// Has an interaction.
    Talking,
    /// Writes up the last one.
    WrappingUp,
}

/// A colleague.
#[derive(Debug, Serialize, ToSchema)]
pub struct Colleague {
    /// The agent.
    pub id: Uuid,
    /// The name.
    pub name: String,
    /// What the colleague declares.
    pub status: StatusWord,
    /// What the colleague does.
    pub state: Occupation,
    /// Whether a phone is registered; null: not known.
    pub reachable: Option<bool>,
}

/// A queue's name.
#[derive(Debug, Serialize, ToSchema)]
pub struct QueueName {
    /// The queue.
    pub id: Uuid,
    /// The name.
    pub name: String,
    /// Whether its calls are recorded.
    pub recorded: bool,
}

/// The directory.
#[derive(Debug, Serialize, ToSchema)]
pub struct Directory {
    /// All queues, by name.
    pub queues: Vec<QueueName>,
    /// A page of colleagues.
    pub agents: Vec<Colleague>,
    /// The cursor of the next page of colleagues; null at the end.
    pub next_cursor: Option<String>,
}

/// A part of a name: 1 to 64 characters.
#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
pub struct Search(String);

impl TryFrom<String> for Search {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        if text.is_empty() || text.chars().count() > 64 { Err("must have 1 to 64 characters") } else { Ok(Self(text)) }
    }
}

/// Which colleagues.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct DirectoryFilter {
    /// Only those in whose name this is, in whatever case; 1 to 64 characters.
    #[param(value_type = Option<String>, min_length = 1, max_length = 64)]
    search: Option<Search>,
    /// Most colleagues of the answer, 1 to 500; 100 when left out.
    #[param(value_type = Option<u16>, minimum = 1, maximum = 500)]
    limit: Option<answers::Limit>,
    /// `next_cursor` of the page before.
    #[param(format = Uuid)]
    cursor: Option<String>,
}

/// Names of queues, and colleagues with their presence: where a call can be transferred to. For every role. A page of colleagues
/// may be shorter than its limit and still have a `next_cursor`.
#[utoipa::path(get, path = "/tenants/{tenant}/directory", tag = "live",
    params(TenantPath, DirectoryFilter),
    responses((status = 200, description = "The directory.", body = Directory)))]
pub async fn get_directory(
    State(app): State<App>,
    scope: InTenant<Work>,
    Query(filter): Query<DirectoryFilter>,
) -> Result<Json<Directory>, Problem> {
    let after = filter.cursor.as_deref().map(answers::id_cursor).transpose()?.map(AgentId);
    let search = filter.search.map(|search| search.0.to_lowercase());
    let limit = filter.limit.unwrap_or_default();
    let wanted = |agent: &AgentRecord| {
        search.as_ref().is_none_or(|text| agent.name.as_str().to_lowercase().contains(text.as_str()))
    };
    let page = reader::agents_page(&app, scope.tenant, after, limit.value(), wanted).await?;
    let sql = "SELECT id, name, recorded FROM queues WHERE tenant_id = $1 ORDER BY name, id";
    let queues = db::query(&app, "directory", sql, &[&scope.tenant.0]).await?;
    let queue = |row: &ringdown_pg_store::Row| QueueName {
        id: row.get("id"),
        name: row.get("name"),
        recorded: row.get("recorded"),
    };
    Ok(Json(Directory {
        queues: queues.iter().map(queue).collect(),
        agents: page.items.iter().map(Colleague::from).collect(),
        next_cursor: page.next_cursor,
    }))
}

/// Which of the agent's interactions.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct OwnFilter {
    /// Only those in this state.
    #[serde(default)]
    #[param(inline)]
    #[expect(dead_code, reason = "there is one state to choose yet, and it is the default")]
    state: OwnState,
    /// Most items of the answer, 1 to 500; 100 when left out.
    #[param(value_type = Option<u16>, minimum = 1, maximum = 500)]
    limit: Option<answers::Limit>,
    /// `next_cursor` of the page before.
    #[param(pattern = "^[1-9][0-9]{0,17}$")]
    cursor: Option<String>,
}

/// States of an agent's own interactions that can be listed; live ones are told by the WebSocket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum OwnState {
    /// Over.
    #[default]
    Ended,
}

/// Lists the agent's own interactions that have ended, the last one first, as far back as the journal reaches. Agents read their
/// own, supervisors anybody's.
#[utoipa::path(get, path = "/tenants/{tenant}/agents/{agent}/interactions", tag = "interactions",
    params(TenantPath, AgentPath, OwnFilter),
    responses((status = 200, description = "A page.", body = Page<Interaction>)))]
pub async fn list_agent_interactions(
    State(app): State<App>,
    ForAgent { scope, agent }: ForAgent,
    Query(filter): Query<OwnFilter>,
) -> Result<Json<Page<Interaction>>, Problem> {
    let had = |state: &domain::InteractionState| match state {
        domain::InteractionState::Ended { agent: last, .. } => *last == Some(agent),
        domain::InteractionState::Waiting
        | domain::InteractionState::Offered { .. }
        | domain::InteractionState::Connected { .. }
        | domain::InteractionState::External { .. } => false,
    };
    let limit = filter.limit.unwrap_or_default();
    page_of_ended(&app, scope.tenant, filter.cursor.as_deref(), limit, |record| had(&record.state)).await
}

impl From<&AgentRecord> for Colleague {
    fn from(agent: &AgentRecord) -> Self {
        Self {
            id: agent.id.0,
            name: agent.name.as_str().to_owned(),
            status: word_of(&agent.status),
            state: match agent.state {
                domain::AgentState::Idle => Occupation::Idle,
                domain::AgentState::Reserved { .. } => Occupation::Reserved,
                domain::AgentState::Ringing { .. } => Occupation::Ringing,
                domain::AgentState::Talking { .. } => Occupation::Talking,
                domain::AgentState::WrappingUp { .. } => Occupation::WrappingUp,
            },
            reachable: agent.reachable,
        }
    }
}

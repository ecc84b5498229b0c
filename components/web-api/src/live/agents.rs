//! Agents, live: what they declare, what the router sees, the end of wrap-up.

use crate::problem::Problem;
use axum::extract::State;
use ringdown_domain as domain;
use ringdown_domain::{AgentId, ReasonCode};
use ringdown_events::{AgentRecord, Command};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::commands::{self, Answered, Request};
use super::reader;
use super::views::LiveAgent;
use crate::answers::{self, AgentPath, Body, IdempotencyHeader, Json, Page, Query, TenantPath};
use crate::app::App;
use crate::auth::access::{ForAgent, InTenant, Supervise, Work};

/// What an agent declares.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StatusInput {
    /// The status.
    status: StatusWord,
    /// Why not ready; only with `not_ready`, where it may be left out (`unspecified`).
    #[serde(default)]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 32, pattern = "^[a-z0-9_]+$")]
    reason: Option<ReasonCode>,
}

/// A status without its reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum StatusWord {
    /// Wants interactions.
    Ready,
    /// At work, for anything but interactions.
    NotReady,
    /// Not at work.
    LoggedOut,
}

impl StatusInput {
    fn parse(self) -> Result<domain::AgentStatus, Problem> {
        match (self.status, self.reason) {
            (StatusWord::Ready, None) => Ok(domain::AgentStatus::Ready),
            (StatusWord::LoggedOut, None) => Ok(domain::AgentStatus::LoggedOut),
            (StatusWord::NotReady, reason) => {
                Ok(domain::AgentStatus::NotReady { reason: reason.unwrap_or_else(|| ReasonCode::known("unspecified")) })
            }
            (StatusWord::Ready | StatusWord::LoggedOut, Some(_)) => {
                Err(answers::unfit("reason", "is only for the status not_ready"))
            }
        }
    }
}

/// The agent's status and state.
#[utoipa::path(get, path = "/tenants/{tenant}/agents/{agent}/status", tag = "live",
    params(TenantPath, AgentPath),
    responses((status = 200, description = "The agent, live.", body = LiveAgent)))]
pub async fn get_status(
    State(app): State<App>,
    ForAgent { scope, agent }: ForAgent,
) -> Result<Json<LiveAgent>, Problem> {
    live_agent(&app, &scope, agent).await
}

/// Declares the agent's status. Agents declare their own; supervisors anybody's. Saying it again changes nothing.
#[utoipa::path(put, path = "/tenants/{tenant}/agents/{agent}/status", tag = "live",
    params(TenantPath, AgentPath, IdempotencyHeader), request_body = StatusInput,
    responses((status = 200, description = "The agent afterwards.", body = LiveAgent)))]
pub async fn put_status(
    State(app): State<App>,
    ForAgent { scope, agent }: ForAgent,
    request: Request,
    Body(input): Body<StatusInput>,
) -> Result<Answered, Problem> {
    let command = Command::SetAgentStatus { agent, status: input.parse()? };
    change(&app, &scope, agent, &request, command).await
}

/// Ends the agent's wrap-up before its time.
#[utoipa::path(post, path = "/tenants/{tenant}/agents/{agent}/finish-wrap-up", tag = "live",
    params(TenantPath, AgentPath, IdempotencyHeader),
    responses((status = 200, description = "The agent afterwards.", body = LiveAgent)))]
pub async fn finish_wrap_up(
    State(app): State<App>,
    ForAgent { scope, agent }: ForAgent,
    request: Request,
) -> Result<Answered, Problem> {
    change(&app, &scope, agent, &request, Command::FinishWrapUp { agent }).await
}

/// Which agents to list.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct LiveAgentFilter {
    /// Only those with this status.
    #[param(inline)]
    status: Option<StatusWord>,
    /// Only those that are available (`true`) or not (`false`).
    available: Option<bool>,
    /// Most items of the answer, 1 to 500; 100 when left out.
    #[param(value_type = Option<u16>, minimum = 1, maximum = 500)]
    limit: Option<answers::Limit>,
    /// `next_cursor` of the page before.
    #[param(format = Uuid)]
    cursor: Option<String>,
}

/// Lists agents as they are now. A page may be shorter than its limit and still have a `next_cursor`.
#[utoipa::path(get, path = "/tenants/{tenant}/live/agents", tag = "live",
    params(TenantPath, LiveAgentFilter),
    responses((status = 200, description = "A page.", body = Page<LiveAgent>)))]
pub async fn list_live_agents(
    State(app): State<App>,
    scope: InTenant<Supervise>,
    Query(filter): Query<LiveAgentFilter>,
) -> Result<Json<Page<LiveAgent>>, Problem> {
    let after = filter.cursor.as_deref().map(answers::id_cursor).transpose()?.map(AgentId);
    let limit = filter.limit.unwrap_or_default();
    let wanted = |agent: &AgentRecord| {
        filter.status.is_none_or(|word| word == word_of(&agent.status))
            && filter.available.is_none_or(|available| available == agent.available_since_ms.is_some())
    };
    let page = reader::agents_page(&app, scope.tenant, after, limit.value(), wanted).await?;
    Ok(Json(Page { items: page.items.into_iter().map(LiveAgent::from).collect(), next_cursor: page.next_cursor }))
}

pub(super) const fn word_of(status: &domain::AgentStatus) -> StatusWord {
    match status {
        domain::AgentStatus::LoggedOut => StatusWord::LoggedOut,
        domain::AgentStatus::NotReady { .. } => StatusWord::NotReady,
        domain::AgentStatus::Ready => StatusWord::Ready,
    }
}

async fn live_agent<N>(app: &App, scope: &InTenant<N>, agent: AgentId) -> Result<Json<LiveAgent>, Problem> {
    let record = match reader::agent(app, scope.tenant, agent).await? {
        Some(record) => Some(record),
        // The agent may be configured and on its way to the router.
        None if crate::apply::catch_up(app, scope.tenant).await => reader::agent(app, scope.tenant, agent).await?,
        None => None,
    };
    record.map(|record| Json(record.into())).ok_or_else(|| answers::not_found("agent"))
}

pub(super) async fn change(
    app: &App,
    scope: &InTenant<Work>,
    agent: AgentId,
    request: &Request,
    command: Command,
) -> Result<Answered, Problem> {
    let work = async {
        match commands::ask(app, scope, request, command.clone()).await {
            Ok(_) => Answered::done(live_agent(app, scope, agent).await?.0),
            Err(failure) => Err(failure.into_problem(app, scope.tenant).await),
        }
    };
    commands::once(app, scope, request, &command, work).await
}

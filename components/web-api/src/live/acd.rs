//! The tenant's ACD as a whole: open or closed, and the live figures of its queues.

use crate::problem::Problem;
use axum::extract::State;
use ringdown_domain::{QueueId, TenantId};
use ringdown_events::Command;
use ringdown_live_views::QueueFigures;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::commands::{self, Answered, Request};
use super::{figures, reader};
use crate::answers::{self, Body, Id2, IdempotencyHeader, Json, Page, QueuePath, TenantPath};
use crate::app::App;
use crate::auth::access::{InTenant, Supervise};

/// The ACD of a tenant.
#[derive(Debug, Serialize, ToSchema)]
pub struct Acd {
    /// Whether interactions are served: it was opened, or an agent is ready though it was not.
    pub open: bool,
    /// The configuration version its router runs.
    pub config_version: u64,
    /// Interactions that have not ended.
    pub live_interactions: u64,
    /// Interactions waiting.
    pub waiting_interactions: u64,
    /// Agents configured.
    pub agents: u64,
}

/// Opens or closes.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AcdInput {
    /// `true`: every agent becomes ready; `false`: every agent becomes not ready (`acd_closed`).
    open: bool,
}

/// Whether the ACD is open, with its totals.
#[utoipa::path(get, path = "/tenants/{tenant}/acd", tag = "live", params(TenantPath),
    responses((status = 200, description = "The ACD.", body = Acd)))]
pub async fn get_acd(State(app): State<App>, scope: InTenant<Supervise>) -> Result<Json<Acd>, Problem> {
    reader::tenant_exists(&app, scope.tenant).await?;
    Ok(Json(reader::acd(&app, scope.tenant).await?))
}

/// Opens or closes the ACD. Interactions in progress go on; waiting ones keep their place.
#[utoipa::path(put, path = "/tenants/{tenant}/acd", tag = "live",
    params(TenantPath, IdempotencyHeader), request_body = AcdInput,
    responses((status = 200, description = "The ACD afterwards.", body = Acd)))]
pub async fn put_acd(
    State(app): State<App>,
    scope: InTenant<Supervise>,
    request: Request,
    Body(input): Body<AcdInput>,
) -> Result<Answered, Problem> {
    let command = Command::SetAcdOpen { open: input.open };
    let work = async {
        match commands::ask(&app, &scope, &request, command.clone()).await {
            Ok(_) => Answered::done(reader::acd(&app, scope.tenant).await?),
            Err(failure) => Err(failure.into_problem(&app, scope.tenant).await),
        }
    };
    commands::once(&app, &scope, &request, &command, work).await
}

/// A queue, live.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct LiveQueue {
    /// Its interactions.
    #[serde(flatten)]
    pub figures: QueueFigures,
    /// Available agents who have all its skills at their levels.
    pub available_agents: u64,
    /// Agents with its skills who are not logged out.
    pub staffed_agents: u64,
    /// Whether everything was counted; `false`: there is more than one request may look at, and the figures are minima.
    pub complete: bool,
    /// When it was counted, UTC milliseconds; at most a second ago.
    pub at_ms: u64,
}

/// The live figures of all queues.
#[utoipa::path(get, path = "/tenants/{tenant}/live/queues", tag = "live", params(TenantPath),
    responses((status = 200, description = "One entry per queue.", body = Page<LiveQueue>)))]
pub async fn list_live_queues(
    State(app): State<App>,
    scope: InTenant<Supervise>,
) -> Result<Json<Page<LiveQueue>>, Problem> {
    reader::tenant_exists(&app, scope.tenant).await?;
    let figures = figures::of_tenant(&app, scope.tenant).await?;
    Ok(Json(Page { items: figures.to_vec(), next_cursor: None }))
}

/// The live figures of one queue.
#[utoipa::path(get, path = "/tenants/{tenant}/queues/{queue}/live", tag = "live",
    params(TenantPath, QueuePath),
    responses((status = 200, description = "The figures.", body = LiveQueue)))]
pub async fn get_live_queue(
    State(app): State<App>,
    scope: InTenant<Supervise>,
    Id2(_, queue): Id2<TenantId, QueueId>,
) -> Result<Json<LiveQueue>, Problem> {
    reader::tenant_exists(&app, scope.tenant).await?;
    let figures = figures::of_tenant(&app, scope.tenant).await?;
    figures
        .iter()
        .find(|figures| figures.figures.queue == Some(queue.0))
        .cloned()
        .map(Json)
        .ok_or_else(|| answers::not_found("queue"))
}

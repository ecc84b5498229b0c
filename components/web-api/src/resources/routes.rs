//! Routes: from a dialled number to a queue.

use axum::extract::State;
use ringdown_domain::{QueueId, RouteId, TenantId, TrunkId};
use ringdown_pg_store::Row;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::fields::{self, Did};
use crate::answers::{self, ChangeHeaders, Id, IdempotencyHeader, Json, Page, Paging, Query, RoutePath, TenantPath};
use crate::app::App;
use crate::auth::access::{Administer, InTenant, Supervise};
use crate::db::{self, Tx};
use crate::problem::Problem;
use crate::quotas::{self, Quota};
use crate::writes::{self, Change, Effect, Terms, Written};

/// A route.
#[derive(Debug, Serialize, ToSchema)]
pub struct Route {
    /// Which.
    pub id: Uuid,
    /// The dialled number.
    pub did: String,
    /// The queue its calls go to.
    pub queue: Uuid,
    /// Only calls over this trunk; null: any trunk of the tenant.
    pub trunk: Option<Uuid>,
}

/// A new route.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RouteInput {
    /// The dialled number: 1 to 64 of `0-9 A-Z a-z + * # . _ -`, unique in the tenant.
    #[schema(value_type = String, min_length = 1, max_length = 64, pattern = "^[0-9A-Za-z+*#._-]+$")]
    did: Did,
    /// The queue its calls go to.
    #[schema(value_type = Uuid)]
    queue: QueueId,
    /// Only calls over this trunk; any trunk of the tenant when left out.
    #[serde(default)]
    #[schema(value_type = Option<Uuid>)]
    trunk: Option<TrunkId>,
}

/// A change of a route; what is left out stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RoutePatch {
    /// Another number.
    #[serde(default, deserialize_with = "fields::present")]
    #[schema(value_type = String, min_length = 1, max_length = 64, pattern = "^[0-9A-Za-z+*#._-]+$")]
    did: Option<Did>,
    /// Another queue.
    #[serde(default, deserialize_with = "fields::present")]
    #[schema(value_type = Uuid)]
    queue: Option<QueueId>,
    /// Another trunk, or null for any.
    #[serde(default, deserialize_with = "fields::present")]
    #[schema(value_type = Option<Uuid>)]
    trunk: Option<Option<TrunkId>>,
}

const COLUMNS: &str = "id, did, queue_id, trunk_id, xmin::text AS etag";

fn from_row(row: &Row) -> (Route, String) {
    let route =
        Route { id: row.get("id"), did: row.get("did"), queue: row.get("queue_id"), trunk: row.get("trunk_id") };
    (route, db::etag(row))
}

/// Lists routes by id.
#[utoipa::path(get, path = "/tenants/{tenant}/routes", tag = "routes", params(TenantPath, Paging),
    responses((status = 200, description = "A page.", body = Page<Route>)))]
pub async fn list_routes(
    State(app): State<App>,
    scope: InTenant<Supervise>,
    Query(paging): Query<Paging>,
) -> Result<Json<Page<Route>>, Problem> {
    let limit = paging.limit.unwrap_or_default();
    let after = paging.cursor.as_deref().map(answers::id_cursor).transpose()?.unwrap_or_default();
    let sql = format!("SELECT {COLUMNS} FROM routes WHERE tenant_id = $1 AND id > $2 ORDER BY id LIMIT $3");
    let rows = db::query(&app, "read_routes", &sql, &[&scope.tenant.0, &after, &limit.plus_one()]).await?;
    let routes = rows.iter().map(|row| from_row(row).0).collect();
    Ok(Json(Page::cut(routes, limit, |route| route.id.to_string())))
}

/// One route.
#[utoipa::path(get, path = "/tenants/{tenant}/routes/{route}", tag = "routes",
    params(TenantPath, RoutePath),
    responses((status = 200, description = "The route.", body = Route)))]
pub async fn get_route(
    State(app): State<App>,
    scope: InTenant<Supervise>,
    Id(id): Id<RouteId>,
) -> Result<db::Shown<Route>, Problem> {
    let sql = format!("SELECT {COLUMNS} FROM routes WHERE tenant_id = $1 AND id = $2");
    let rows = db::query(&app, "read_routes", &sql, &[&scope.tenant.0, &id.0]).await?;
    let (object, etag) = from_row(rows.first().ok_or_else(|| answers::not_found("route"))?);
    Ok(db::Shown { object, etag })
}

/// Makes a route.
#[utoipa::path(post, path = "/tenants/{tenant}/routes", tag = "routes",
    params(TenantPath, IdempotencyHeader), request_body = RouteInput,
    responses((status = 201, description = "Made.", body = Route)))]
pub async fn create_route(
    State(app): State<App>,
    scope: InTenant<Administer>,
    Change { input, terms }: Change<RouteInput>,
) -> Result<Written, Problem> {
    let id = app.new_id(RouteId::from_parts);
    writes::make!(app, scope.who, Some(scope.tenant), terms, |tx| {
        quotas::check_row(&app, tx, scope.tenant, Quota::Routes).await?;
        let sql = format!(
            "INSERT INTO routes (id, tenant_id, did, queue_id, trunk_id) VALUES ($1, $2, $3, $4, $5) RETURNING {COLUMNS}"
        );
        let trunk = input.trunk.map(|trunk| trunk.0);
        let values: db::Values<'_, 5> = [&id.0, &scope.tenant.0, &input.did.as_str(), &input.queue.0, &trunk];
        let (route, etag) = from_row(&db::one(tx, &sql, &values).await?);
        Effect::created(format!("/api/v1/tenants/{}/routes/{id}", scope.tenant), etag, &route)
    })
}

/// Changes a route; calls that are in a queue already stay there.
#[utoipa::path(patch, path = "/tenants/{tenant}/routes/{route}", tag = "routes",
    params(TenantPath, RoutePath, ChangeHeaders), request_body = RoutePatch,
    responses((status = 200, description = "Changed.", body = Route)))]
pub async fn patch_route(
    State(app): State<App>,
    scope: InTenant<Administer>,
    Id(id): Id<RouteId>,
    Change { input, terms }: Change<RoutePatch>,
) -> Result<Written, Problem> {
    let did = input.did.as_ref().map(Did::as_str);
    let queue = input.queue.map(|queue| queue.0);
    let (trunk_given, trunk) = (input.trunk.is_some(), input.trunk.flatten().map(|trunk| trunk.0));
    writes::make!(app, scope.who, Some(scope.tenant), terms, |tx| {
        lock(tx, scope.tenant, id, &terms).await?;
        let sql = format!(
            "UPDATE routes SET did = coalesce($3, did), queue_id = coalesce($4, queue_id), \
             trunk_id = CASE WHEN $5 THEN $6 ELSE trunk_id END, updated_at = now() \
             WHERE tenant_id = $1 AND id = $2 RETURNING {COLUMNS}"
        );
        let values: db::Values<'_, 6> = [&scope.tenant.0, &id.0, &did, &queue, &trunk_given, &trunk];
        let (route, etag) = from_row(&db::one(tx, &sql, &values).await?);
        Effect::changed(etag, &route)
    })
}

/// Removes a route; calls to its number are refused from then on.
#[utoipa::path(delete, path = "/tenants/{tenant}/routes/{route}", tag = "routes",
    params(TenantPath, RoutePath, ChangeHeaders),
    responses((status = 204, description = "Gone.")))]
pub async fn delete_route(
    State(app): State<App>,
    scope: InTenant<Administer>,
    Id(id): Id<RouteId>,
    terms: Terms,
) -> Result<Written, Problem> {
    writes::make!(app, scope.who, Some(scope.tenant), terms, |tx| {
        lock(tx, scope.tenant, id, &terms).await?;
        db::execute(tx, "DELETE FROM routes WHERE tenant_id = $1 AND id = $2", &[&scope.tenant.0, &id.0]).await?;
        Ok(Effect::removed())
    })
}

async fn lock(tx: &mut Tx<'_>, tenant: TenantId, id: RouteId, terms: &Terms) -> Result<(), Problem> {
    let sql = "SELECT xmin::text AS etag FROM routes WHERE tenant_id = $1 AND id = $2 FOR UPDATE";
    let row = db::maybe(tx, sql, &[&tenant.0, &id.0]).await?;
    terms.check(&db::etag(&row.ok_or_else(|| answers::not_found("route"))?))
}

//! Outbound routes: over which trunks, and in which form, outside numbers are dialled.

use axum::extract::State;
use ringdown_domain::{RouteId, TenantId, TrunkId};
use ringdown_pg_store::Row;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::fields::{self, AtMost, CallerId, NumberPrefix};
use crate::answers::{
    self, ChangeHeaders, Id, IdempotencyHeader, Json, OutboundRoutePath, Page, Paging, Query, TenantPath,
};
use crate::app::App;
use crate::auth::access::{Administer, InTenant, Supervise};
use crate::db::{self, Tx};
use crate::problem::Problem;
use crate::quotas::{self, Quota};
use crate::writes::{self, Change, Effect, Terms, Written};

type Trunks = AtMost<TrunkId, 8>;

/// An outbound route.
#[derive(Debug, Serialize, ToSchema)]
pub struct OutboundRoute {
    /// Which.
    pub id: Uuid,
    /// What a number begins with for this route to fit; empty: every number. The longest one that fits is taken.
    pub prefix: String,
    /// Taken off the front of the number.
    pub strip: String,
    /// Put before what is left.
    pub prepend: String,
    /// The trunks, the first choice first.
    pub trunks: Vec<Uuid>,
    /// The number that is shown; null: the trunk's.
    pub caller_id: Option<String>,
}

/// A new outbound route.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OutboundRouteInput {
    /// What a number begins with for this route to fit, unique in the tenant; empty: every number.
    #[schema(value_type = String, pattern = "^[+]?[0-9]{0,15}$")]
    prefix: NumberPrefix,
    /// Taken off the front of the number, as `+` for a carrier that wants none; nothing when left out.
    #[serde(default)]
    #[schema(value_type = Option<String>, pattern = "^[+]?[0-9]{0,15}$")]
    strip: Option<NumberPrefix>,
    /// Put before what is left, as `00`; nothing when left out.
    #[serde(default)]
    #[schema(value_type = Option<String>, pattern = "^[+]?[0-9]{0,15}$")]
    prepend: Option<NumberPrefix>,
    /// The trunks, the first choice first; the next one is tried when a trunk fails. 1 to 8, each with a destination.
    #[schema(value_type = Vec<Uuid>, min_items = 1, max_items = 8)]
    trunks: Trunks,
    /// The number that is shown; the trunk's when left out.
    #[serde(default)]
    #[schema(value_type = Option<String>, pattern = "^[+]?[0-9]{1,20}$")]
    caller_id: Option<CallerId>,
}

/// A change of an outbound route; what is left out stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OutboundRoutePatch {
    /// Another prefix.
    #[serde(default, deserialize_with = "fields::present")]
    #[schema(value_type = String, pattern = "^[+]?[0-9]{0,15}$")]
    prefix: Option<NumberPrefix>,
    /// Something else to take off.
    #[serde(default, deserialize_with = "fields::present")]
    #[schema(value_type = String, pattern = "^[+]?[0-9]{0,15}$")]
    strip: Option<NumberPrefix>,
    /// Something else to put before.
    #[serde(default, deserialize_with = "fields::present")]
    #[schema(value_type = String, pattern = "^[+]?[0-9]{0,15}$")]
    prepend: Option<NumberPrefix>,
    /// All trunks anew.
    #[serde(default, deserialize_with = "fields::present")]
    #[schema(value_type = Vec<Uuid>, min_items = 1, max_items = 8)]
    trunks: Option<Trunks>,
    /// Another number to show, or null for the trunk's.
    #[serde(default, deserialize_with = "fields::present")]
    #[schema(value_type = Option<String>, pattern = "^[+]?[0-9]{1,20}$")]
    caller_id: Option<Option<CallerId>>,
}

const COLUMNS: &str = "id, prefix, strip, prepend, trunks, caller_id, xmin::text AS etag";

fn from_row(row: &Row) -> (OutboundRoute, String) {
    let route = OutboundRoute {
        id: row.get("id"),
        prefix: row.get("prefix"),
        strip: row.get("strip"),
        prepend: row.get("prepend"),
        trunks: row.get("trunks"),
        caller_id: row.get("caller_id"),
    };
    (route, db::etag(row))
}

/// Lists outbound routes by id.
#[utoipa::path(get, path = "/tenants/{tenant}/outbound-routes", tag = "routes", params(TenantPath, Paging),
    responses((status = 200, description = "A page.", body = Page<OutboundRoute>)))]
pub async fn list_outbound_routes(
    State(app): State<App>,
    scope: InTenant<Supervise>,
    Query(paging): Query<Paging>,
) -> Result<Json<Page<OutboundRoute>>, Problem> {
    let limit = paging.limit.unwrap_or_default();
    let after = paging.cursor.as_deref().map(answers::id_cursor).transpose()?.unwrap_or_default();
    let sql = format!("SELECT {COLUMNS} FROM outbound_routes WHERE tenant_id = $1 AND id > $2 ORDER BY id LIMIT $3");
    let rows = db::query(&app, "read_outbound_routes", &sql, &[&scope.tenant.0, &after, &limit.plus_one()]).await?;
    let routes = rows.iter().map(|row| from_row(row).0).collect();
    Ok(Json(Page::cut(routes, limit, |route| route.id.to_string())))
}

/// One outbound route.
#[utoipa::path(get, path = "/tenants/{tenant}/outbound-routes/{outbound_route}", tag = "routes",
    params(TenantPath, OutboundRoutePath),
    responses((status = 200, description = "The route.", body = OutboundRoute)))]
pub async fn get_outbound_route(
    State(app): State<App>,
    scope: InTenant<Supervise>,
    Id(id): Id<RouteId>,
) -> Result<db::Shown<OutboundRoute>, Problem> {
    let sql = format!("SELECT {COLUMNS} FROM outbound_routes WHERE tenant_id = $1 AND id = $2");
    let rows = db::query(&app, "read_outbound_routes", &sql, &[&scope.tenant.0, &id.0]).await?;
    let (object, etag) = from_row(rows.first().ok_or_else(|| answers::not_found("outbound_route"))?);
    Ok(db::Shown { object, etag })
}

/// Makes an outbound route.
#[utoipa::path(post, path = "/tenants/{tenant}/outbound-routes", tag = "routes",
    params(TenantPath, IdempotencyHeader), request_body = OutboundRouteInput,
    responses((status = 201, description = "Made.", body = OutboundRoute)))]
pub async fn create_outbound_route(
    State(app): State<App>,
    scope: InTenant<Administer>,
    Change { input, terms }: Change<OutboundRouteInput>,
) -> Result<Written, Problem> {
    let id = app.new_id(RouteId::from_parts);
    let text = |field: &Option<NumberPrefix>| field.as_ref().map_or("", NumberPrefix::as_str).to_owned();
    let (strip, prepend) = (text(&input.strip), text(&input.prepend));
    let caller_id = input.caller_id.as_ref().map(CallerId::as_str);
    writes::make!(app, scope.who, Some(scope.tenant), terms, |tx| {
        quotas::check_row(&app, tx, scope.tenant, Quota::OutboundRoutes).await?;
        let trunks = known_trunks(tx, scope.tenant, &input.trunks).await?;
        let sql = format!(
            "INSERT INTO outbound_routes (id, tenant_id, prefix, strip, prepend, trunks, caller_id) \
             VALUES ($1, $2, $3, $4, $5, $6, $7) RETURNING {COLUMNS}"
        );
        let prefix = input.prefix.as_str();
        let values: db::Values<'_, 7> = [&id.0, &scope.tenant.0, &prefix, &strip, &prepend, &trunks, &caller_id];
        let (route, etag) = from_row(&db::one(tx, &sql, &values).await?);
        Effect::created(format!("/api/v1/tenants/{}/outbound-routes/{id}", scope.tenant), etag, &route)
    })
}

/// Changes an outbound route; calls that are being dialled go on as they began.
#[utoipa::path(patch, path = "/tenants/{tenant}/outbound-routes/{outbound_route}", tag = "routes",
    params(TenantPath, OutboundRoutePath, ChangeHeaders), request_body = OutboundRoutePatch,
    responses((status = 200, description = "Changed.", body = OutboundRoute)))]
pub async fn patch_outbound_route(
    State(app): State<App>,
    scope: InTenant<Administer>,
    Id(id): Id<RouteId>,
    Change { input, terms }: Change<OutboundRoutePatch>,
) -> Result<Written, Problem> {
    let prefix = input.prefix.as_ref().map(NumberPrefix::as_str);
    let strip = input.strip.as_ref().map(NumberPrefix::as_str);
    let prepend = input.prepend.as_ref().map(NumberPrefix::as_str);
    let caller_given = input.caller_id.is_some();
    let caller_id = input.caller_id.as_ref().and_then(Option::as_ref).map(CallerId::as_str);
    writes::make!(app, scope.who, Some(scope.tenant), terms, |tx| {
        lock(tx, scope.tenant, id, &terms).await?;
        let trunks = match &input.trunks {
            Some(trunks) => Some(known_trunks(tx, scope.tenant, trunks).await?),
            None => None,
        };
        let sql = format!(
            "UPDATE outbound_routes SET prefix = coalesce($3, prefix), strip = coalesce($4, strip), \
             prepend = coalesce($5, prepend), trunks = coalesce($6, trunks), \
             caller_id = CASE WHEN $7 THEN $8 ELSE caller_id END, updated_at = now() \
             WHERE tenant_id = $1 AND id = $2 RETURNING {COLUMNS}"
        );
        let values: db::Values<'_, 8> =
            [&scope.tenant.0, &id.0, &prefix, &strip, &prepend, &trunks, &caller_given, &caller_id];
        let (route, etag) = from_row(&db::one(tx, &sql, &values).await?);
        Effect::changed(etag, &route)
    })
}

/// Removes an outbound route.
#[utoipa::path(delete, path = "/tenants/{tenant}/outbound-routes/{outbound_route}", tag = "routes",
    params(TenantPath, OutboundRoutePath, ChangeHeaders),
    responses((status = 204, description = "Gone.")))]
pub async fn delete_outbound_route(
    State(app): State<App>,
    scope: InTenant<Administer>,
    Id(id): Id<RouteId>,
    terms: Terms,
) -> Result<Written, Problem> {
    writes::make!(app, scope.who, Some(scope.tenant), terms, |tx| {
        lock(tx, scope.tenant, id, &terms).await?;
        let sql = "DELETE FROM outbound_routes WHERE tenant_id = $1 AND id = $2";
        db::execute(tx, sql, &[&scope.tenant.0, &id.0]).await?;
        Ok(Effect::removed())
    })
}

/// The trunks of a route, each of which must exist and lead somewhere. They are locked until the end, so that none goes meanwhile.
async fn known_trunks(tx: &mut Tx<'_>, tenant: TenantId, trunks: &Trunks) -> Result<Vec<Uuid>, Problem> {
    if trunks.0.is_empty() {
        return Err(answers::invalid("trunks", "must have 1 to 8 items"));
    }
    let ids: Vec<Uuid> = trunks.0.iter().map(|trunk| trunk.0).collect();
    let sql = "SELECT id FROM trunks WHERE tenant_id = $1 AND id = ANY ($2) AND destination IS NOT NULL FOR SHARE";
    let found: Vec<Uuid> = db::all(tx, sql, &[&tenant.0, &ids]).await?.iter().map(|row| row.get("id")).collect();
    match ids.iter().find(|id| !found.contains(id)) {
        Some(unknown) => Err(answers::unfit("trunks", format!("there is no trunk {unknown} with a destination"))),
        None => Ok(ids),
    }
}

async fn lock(tx: &mut Tx<'_>, tenant: TenantId, id: RouteId, terms: &Terms) -> Result<(), Problem> {
    let sql = "SELECT xmin::text AS etag FROM outbound_routes WHERE tenant_id = $1 AND id = $2 FOR UPDATE";
    let row = db::maybe(tx, sql, &[&tenant.0, &id.0]).await?;
    terms.check(&db::etag(&row.ok_or_else(|| answers::not_found("outbound_route"))?))
}

//! Tenants: customers whose data and numbers never mix.

use axum::extract::State;
use ringdown_domain::{Name, TenantId};
use ringdown_pg_store::Row;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::fields::{self, Realm};
use crate::answers::{self, ChangeHeaders, IdempotencyHeader, Json, Page, Paging, Query, TenantPath};
use crate::app::App;
use crate::auth::access::{Administer, Caller, InTenant, Install, Work};
use crate::db::{self, Tx};
use crate::problem::Problem;
use crate::writes::{self, Change, Effect, Terms, Written};

/// A tenant.
#[derive(Debug, Serialize, ToSchema)]
pub struct Tenant {
    /// Which.
    pub id: Uuid,
    /// Its name.
    pub name: String,
    /// Its SIP realm (domain), unique in the installation. It never changes: phones' passwords are bound to it.
    pub realm: String,
}

/// A new tenant.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TenantInput {
    /// Its name: 1 to 120 characters.
    #[schema(value_type = String, min_length = 1, max_length = 120, pattern = "^[^\\x00-\\x1f\\x7f-\\x9f]*[^\\s\\x00-\\x1f\\x7f-\\x9f][^\\x00-\\x1f\\x7f-\\x9f]*$")]
    name: Name,
    /// Its SIP realm, as `agents.example.com`; capitals are folded.
    #[schema(value_type = String, min_length = 1, max_length = 253, pattern = "^[0-9A-Za-z]([0-9A-Za-z-]{0,61}[0-9A-Za-z])?(\\.[0-9A-Za-z]([0-9A-Za-z-]{0,61}[0-9A-Za-z])?)*$")]
    realm: Realm,
}

/// A change of a tenant.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TenantPatch {
    /// Another name.
    #[serde(default, deserialize_with = "fields::present")]
    #[schema(value_type = String, min_length = 1, max_length = 120, pattern = "^[^\\x00-\\x1f\\x7f-\\x9f]*[^\\s\\x00-\\x1f\\x7f-\\x9f][^\\x00-\\x1f\\x7f-\\x9f]*$")]
    name: Option<Name>,
}

const COLUMNS: &str = "id, name, realm, xmin::text AS etag";

fn from_row(row: &Row) -> (Tenant, String) {
    (Tenant { id: row.get("id"), name: row.get("name"), realm: row.get("realm") }, db::etag(row))
}

/// Lists the tenants the caller may see: all, or the own one.
#[utoipa::path(get, path = "/tenants", tag = "tenants", params(Paging),
    responses((status = 200, description = "A page.", body = Page<Tenant>)))]
pub async fn list_tenants(
    State(app): State<App>,
    caller: Caller<Work>,
    Query(paging): Query<Paging>,
) -> Result<Json<Page<Tenant>>, Problem> {
    let limit = paging.limit.unwrap_or_default();
    let after = paging.cursor.as_deref().map(answers::id_cursor).transpose()?.unwrap_or_default();
    let own = caller.who.tenant.map(|tenant| tenant.0);
    let sql =
        format!("SELECT {COLUMNS} FROM tenants WHERE ($1::uuid IS NULL OR id = $1) AND id > $2 ORDER BY id LIMIT $3");
    let rows = db::query(&app, "read_tenants", &sql, &[&own, &after, &limit.plus_one()]).await?;
    let tenants = rows.iter().map(|row| from_row(row).0).collect();
    Ok(Json(Page::cut(tenants, limit, |tenant| tenant.id.to_string())))
}

/// One tenant.
#[utoipa::path(get, path = "/tenants/{tenant}", tag = "tenants", params(TenantPath),
    responses((status = 200, description = "The tenant.", body = Tenant)))]
pub async fn get_tenant(State(app): State<App>, scope: InTenant<Work>) -> Result<db::Shown<Tenant>, Problem> {
    let sql = format!("SELECT {COLUMNS} FROM tenants WHERE id = $1");
    let rows = db::query(&app, "read_tenants", &sql, &[&scope.tenant.0]).await?;
    let (object, etag) = from_row(rows.first().ok_or_else(|| answers::not_found("tenant"))?);
    Ok(db::Shown { object, etag })
}

/// Makes a tenant.
#[utoipa::path(post, path = "/tenants", tag = "tenants", params(IdempotencyHeader), request_body = TenantInput,
    responses((status = 201, description = "Made.", body = Tenant)))]
pub async fn create_tenant(
    State(app): State<App>,
    caller: Caller<Install>,
    Change { input, terms }: Change<TenantInput>,
) -> Result<Written, Problem> {
    let id = app.new_id(TenantId::from_parts);
    writes::make!(app, caller.who, Some(id), terms, |tx| {
        let sql = format!("INSERT INTO tenants (id, name, realm) VALUES ($1, $2, $3) RETURNING {COLUMNS}");
        let values: db::Values<'_, 3> = [&id.0, &input.name.as_str(), &input.realm.as_str()];
        let (tenant, etag) = from_row(&db::one(tx, &sql, &values).await?);
        Effect::created(format!("/api/v1/tenants/{id}"), etag, &tenant)
    })
}

/// Changes a tenant.
#[utoipa::path(patch, path = "/tenants/{tenant}", tag = "tenants",
    params(TenantPath, ChangeHeaders), request_body = TenantPatch,
    responses((status = 200, description = "Changed.", body = Tenant)))]
pub async fn patch_tenant(
    State(app): State<App>,
    scope: InTenant<Administer>,
    Change { input, terms }: Change<TenantPatch>,
) -> Result<Written, Problem> {
    let name = input.name.as_ref().map(Name::as_str);
    writes::make!(app, scope.who, Some(scope.tenant), terms, |tx| {
        lock(tx, scope.tenant, &terms).await?;
        let sql = format!(
            "UPDATE tenants SET name = coalesce($2, name), updated_at = now() WHERE id = $1 RETURNING {COLUMNS}"
        );
        let (tenant, etag) = from_row(&db::one(tx, &sql, &[&scope.tenant.0, &name]).await?);
        Effect::changed(etag, &tenant)
    })
}

/// Removes a tenant with its whole configuration and its users; their log-ins end.
#[utoipa::path(delete, path = "/tenants/{tenant}", tag = "tenants",
    params(TenantPath, ChangeHeaders),
    responses((status = 204, description = "Gone.")))]
pub async fn delete_tenant(State(app): State<App>, scope: InTenant<Install>, terms: Terms) -> Result<Written, Problem> {
    let written = writes::make!(app, scope.who, None, terms, |tx| {
        lock(tx, scope.tenant, &terms).await?;
        db::execute(tx, "DELETE FROM tenants WHERE id = $1", &[&scope.tenant.0]).await?;
        Ok(Effect::removed())
    })?;
    app.known_tenants.forget(scope.tenant);
    Ok(written)
}

/// Whether PostgreSQL has the tenant.
///
/// # Errors
/// 503 when PostgreSQL is away.
pub async fn is_configured(app: &App, tenant: TenantId) -> Result<bool, Problem> {
    let rows = db::query(app, "read_tenants", "SELECT 1 FROM tenants WHERE id = $1", &[&tenant.0]).await?;
    Ok(!rows.is_empty())
}

async fn lock(tx: &mut Tx<'_>, tenant: TenantId, terms: &Terms) -> Result<(), Problem> {
    let sql = "SELECT xmin::text AS etag FROM tenants WHERE id = $1 FOR UPDATE";
    let row = db::maybe(tx, sql, &[&tenant.0]).await?;
    terms.check(&db::etag(&row.ok_or_else(|| answers::not_found("tenant"))?))
}

//! Users: who can log in, and as what.
//!
//! A change that narrows what a user may do (role, tenant, password, removal) ends the user's log-ins at once.

use axum::extract::State;
use ringdown_domain::{AgentId, Name, TenantId, UserId};
use ringdown_pg_store::Row;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::fields::{self, Login, NewPassword};
use crate::answers::{self, ChangeHeaders, Id, IdempotencyHeader, Json, Page, Query, UserPath};
use crate::app::App;
use crate::auth::access::{Administer, Caller};
use crate::auth::principal::{Principal, Role};
use crate::auth::sessions;
use crate::db::{self, Tx};
use crate::problem::Problem;
use crate::quotas::{self, Quota};
use crate::writes::{self, Change, Effect, Terms, Written};

/// A user.
#[derive(Debug, Serialize, ToSchema)]
pub struct User {
    /// Who.
    pub id: Uuid,
    /// The log-in name, unique in the installation.
    pub login: String,
    /// The name others see.
    pub name: String,
    /// What the user may do.
    pub role: String,
    /// The tenant; null only for an administrator of the whole installation.
    pub tenant: Option<Uuid>,
    /// The agent this user is; only with the role `agent` or `supervisor`.
    pub agent: Option<Uuid>,
}

/// A new user.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UserInput {
    /// The log-in name: 1 to 64 of `a-z 0-9 . _ @ + -`; capitals are folded.
    #[schema(value_type = String, min_length = 1, max_length = 64, pattern = "^[0-9A-Za-z._@+-]+$")]
    login: Login,
    /// The name others see: 1 to 120 characters.
    #[schema(value_type = String, min_length = 1, max_length = 120, pattern = "^[^\\x00-\\x1f\\x7f-\\x9f]*[^\\s\\x00-\\x1f\\x7f-\\x9f][^\\x00-\\x1f\\x7f-\\x9f]*$")]
    name: Name,
    /// The password: 10 to 256 characters; never shown.
    #[schema(value_type = String, min_length = 10, max_length = 256, pattern = "^[^\\x00-\\x1f\\x7f-\\x9f]+$", write_only)]
    password: NewPassword,
    /// What the user may do.
    role: Role,
    /// The tenant; left out only for an administrator of the whole installation.
    #[serde(default)]
    #[schema(value_type = Option<Uuid>)]
    tenant: Option<TenantId>,
    /// The agent this user is; needed with the role `agent`.
    #[serde(default)]
    #[schema(value_type = Option<Uuid>)]
    agent: Option<AgentId>,
}

/// A change of a user; what is left out stays. A user's tenant never changes.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UserPatch {
    /// Another name.
    #[serde(default, deserialize_with = "fields::present")]
    #[schema(value_type = String, min_length = 1, max_length = 120, pattern = "^[^\\x00-\\x1f\\x7f-\\x9f]*[^\\s\\x00-\\x1f\\x7f-\\x9f][^\\x00-\\x1f\\x7f-\\x9f]*$")]
    name: Option<Name>,
    /// Another password.
    #[serde(default, deserialize_with = "fields::present")]
    #[schema(value_type = String, min_length = 10, max_length = 256, pattern = "^[^\\x00-\\x1f\\x7f-\\x9f]+$", write_only)]
    password: Option<NewPassword>,
    /// Another role.
    #[serde(default, deserialize_with = "fields::present")]
    #[schema(value_type = Role)]
    role: Option<Role>,
    /// Another agent, or null for none.
    #[serde(default, deserialize_with = "fields::present")]
    #[schema(value_type = Option<Uuid>)]
    agent: Option<Option<AgentId>>,
}

/// Which users to list.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct UserFilter {
    /// Only those of this tenant.
    #[param(value_type = Option<Uuid>)]
    tenant: Option<TenantId>,
    /// Only those with this role.
    #[param(inline)]
    role: Option<Role>,
    /// Most items of the answer, 1 to 500; 100 when left out.
    #[param(value_type = Option<u16>, minimum = 1, maximum = 500)]
    limit: Option<answers::Limit>,
    /// `next_cursor` of the page before.
    #[param(format = Uuid)]
    cursor: Option<String>,
}

const COLUMNS: &str = "id, login, name, role, tenant_id, agent_id, xmin::text AS etag";

fn from_row(row: &Row) -> (User, String) {
    let user = User {
        id: row.get("id"),
        login: row.get("login"),
        name: row.get("name"),
        role: row.get("role"),
        tenant: row.get("tenant_id"),
        agent: row.get("agent_id"),
    };
    (user, db::etag(row))
}

/// Lists users by id: a tenant's administrator sees the tenant's.
#[utoipa::path(get, path = "/users", tag = "users", params(UserFilter),
    responses((status = 200, description = "A page.", body = Page<User>)))]
pub async fn list_users(
    State(app): State<App>,
    caller: Caller<Administer>,
    Query(filter): Query<UserFilter>,
) -> Result<Json<Page<User>>, Problem> {
    let limit = filter.limit.unwrap_or_default();
    let after = filter.cursor.as_deref().map(answers::id_cursor).transpose()?.unwrap_or_default();
    let own = caller.who.tenant.map(|tenant| tenant.0);
    let wanted = filter.tenant.map(|tenant| tenant.0);
    let role = filter.role.map(Role::name);
    let sql = format!(
        "SELECT {COLUMNS} FROM users WHERE ($1::uuid IS NULL OR tenant_id = $1) AND ($2::uuid IS NULL OR tenant_id = $2) \
         AND ($3::text IS NULL OR role = $3) AND id > $4 ORDER BY id LIMIT $5"
    );
    let rows = db::query(&app, "read_users", &sql, &[&own, &wanted, &role, &after, &limit.plus_one()]).await?;
    let users = rows.iter().map(|row| from_row(row).0).collect();
    Ok(Json(Page::cut(users, limit, |user| user.id.to_string())))
}

/// One user.
#[utoipa::path(get, path = "/users/{user}", tag = "users", params(UserPath),
    responses((status = 200, description = "The user.", body = User)))]
pub async fn get_user(
    State(app): State<App>,
    caller: Caller<Administer>,
    Id(id): Id<UserId>,
) -> Result<db::Shown<User>, Problem> {
    let own = caller.who.tenant.map(|tenant| tenant.0);
    let sql = format!("SELECT {COLUMNS} FROM users WHERE id = $1 AND ($2::uuid IS NULL OR tenant_id = $2)");
    let rows = db::query(&app, "read_users", &sql, &[&id.0, &own]).await?;
    let (object, etag) = from_row(rows.first().ok_or_else(|| answers::not_found("user"))?);
    Ok(db::Shown { object, etag })
}

/// Makes a user. A tenant's administrator makes users of the own tenant only.
#[utoipa::path(post, path = "/users", tag = "users", params(IdempotencyHeader), request_body = UserInput,
    responses((status = 201, description = "Made.", body = User)))]
pub async fn create_user(
    State(app): State<App>,
    caller: Caller<Administer>,
    Change { input, terms }: Change<UserInput>,
) -> Result<Written, Problem> {
    let tenant = tenant_of_new(&caller.who, input.tenant)?;
    check_shape(input.role, tenant, input.agent)?;
    let id = app.new_id(UserId::from_parts);
    let hash =
        app.passwords.hash(input.password.reveal().to_owned()).await.map_err(|e| sessions::hasher_problem(&e))?;
    writes::make!(app, caller.who, None, terms, |tx| {
        if let Some(tenant) = tenant {
            quotas::check_row(&app, tx, tenant, Quota::Users).await?;
        }
        let sql = format!(
            "INSERT INTO users (id, login, name, password_hash, role, tenant_id, agent_id) \
             VALUES ($1, $2, $3, $4, $5, $6, $7) RETURNING {COLUMNS}"
        );
        let (tenant, agent) = (tenant.map(|tenant| tenant.0), input.agent.map(|agent| agent.0));
        let role = input.role.name();
        let values: db::Values<'_, 7> =
            [&id.0, &input.login.as_str(), &input.name.as_str(), &hash, &role, &tenant, &agent];
        let (user, etag) = from_row(&db::one(tx, &sql, &values).await?);
        Effect::created(format!("/api/v1/users/{id}"), etag, &user)
    })
}

/// Changes a user. Another role, agent or password ends the user's log-ins.
#[utoipa::path(patch, path = "/users/{user}", tag = "users", params(UserPath, ChangeHeaders),
    request_body = UserPatch, responses((status = 200, description = "Changed.", body = User)))]
pub async fn patch_user(
    State(app): State<App>,
    caller: Caller<Administer>,
    Id(id): Id<UserId>,
    Change { input, terms }: Change<UserPatch>,
) -> Result<Written, Problem> {
    let hash = match &input.password {
        Some(password) => {
            let hash = app.passwords.hash(password.reveal().to_owned()).await;
            Some(hash.map_err(|error| sessions::hasher_problem(&error))?)
        }
        None => None,
    };
    writes::make!(app, caller.who, None, terms, |tx| {
        let before = lock(tx, &caller.who, id, &terms).await?;
        let role = input.role.map_or(before.role, |role| role.name().to_owned());
        let agent = input.agent.unwrap_or(before.agent.map(AgentId));
        let parsed = Role::parse(&role).ok_or_else(|| answers::invalid("role", "must be a role"))?;
        check_shape(parsed, before.tenant.map(TenantId), agent)?;
        if id == caller.who.user && parsed != Role::Administrator {
            return Err(answers::conflict("own_role", "nobody takes the own role away"));
        }
        let sql = format!(
            "UPDATE users SET name = coalesce($2, name), password_hash = coalesce($3, password_hash), role = $4, \
             agent_id = $5, updated_at = now() WHERE id = $1 RETURNING {COLUMNS}"
        );
        let name = input.name.as_ref().map(Name::as_str);
        let agent = agent.map(|agent| agent.0);
        let (user, etag) = from_row(&db::one(tx, &sql, &[&id.0, &name, &hash, &role, &agent]).await?);
        Effect::changed(etag, &user)
    })
}

/// Removes a user; the log-ins and API tokens end. Nobody removes themselves, so the last administrator stays.
#[utoipa::path(delete, path = "/users/{user}", tag = "users", params(UserPath, ChangeHeaders),
    responses((status = 204, description = "Gone.")))]
pub async fn delete_user(
    State(app): State<App>,
    caller: Caller<Administer>,
    Id(id): Id<UserId>,
    terms: Terms,
) -> Result<Written, Problem> {
    if id == caller.who.user {
        return Err(answers::conflict("own_user", "nobody removes the own user"));
    }
    writes::make!(app, caller.who, None, terms, |tx| {
        lock(tx, &caller.who, id, &terms).await?;
        db::execute(tx, "DELETE FROM users WHERE id = $1", &[&id.0]).await?;
        Ok(Effect::removed())
    })
}

/// The tenant of a new user: the own one for a tenant's administrator, the named one for the installation's.
fn tenant_of_new(who: &Principal, wanted: Option<TenantId>) -> Result<Option<TenantId>, Problem> {
    match (who.tenant, wanted) {
        (None, wanted) => Ok(wanted),
        (Some(own), Some(wanted)) if own == wanted => Ok(Some(own)),
        (Some(_), Some(_)) => Err(answers::unfit("tenant", "must be a tenant you administer")),
        (Some(own), None) => Ok(Some(own)),
    }
}

fn check_shape(role: Role, tenant: Option<TenantId>, agent: Option<AgentId>) -> Result<(), Problem> {
    match (role, tenant, agent) {
        (Role::Agent, Some(_), Some(_)) | (Role::Supervisor, Some(_), _) | (Role::Administrator, _, None) => Ok(()),
        (Role::Agent | Role::Supervisor, None, _) => Err(answers::unfit("tenant", "is needed with this role")),
        (Role::Agent, Some(_), None) => Err(answers::unfit("agent", "is needed with the role agent")),
        (Role::Administrator, _, Some(_)) => Err(answers::unfit("agent", "is not for administrators")),
    }
}

async fn lock(tx: &mut Tx<'_>, who: &Principal, id: UserId, terms: &Terms) -> Result<User, Problem> {
    writes::hold_user(tx, id).await?;
    let own = who.tenant.map(|tenant| tenant.0);
    let sql = format!("SELECT {COLUMNS} FROM users WHERE id = $1 AND ($2::uuid IS NULL OR tenant_id = $2) FOR UPDATE");
    let row = db::maybe(tx, &sql, &[&id.0, &own]).await?;
    let (user, etag) = from_row(&row.ok_or_else(|| answers::not_found("user"))?);
    terms.check(&etag)?;
    Ok(user)
}

//! Skills: what agents can do and interactions ask for. Skills are named, not numbered: the name is the identity.

use axum::extract::State;
use ringdown_domain::SkillName;
use ringdown_pg_store::Row;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::fields::{self, Description};
use crate::answers::{
    self, ChangeHeaders, Id, IdempotencyHeader, Json, NamePaging, Page, Query, SkillPath, TenantPath,
};
use crate::app::App;
use crate::auth::access::{Administer, InTenant, Work};
use crate::db::{self, Tx};
use crate::problem::Problem;
use crate::quotas::{self, Quota};
use crate::writes::{self, Change, Effect, Terms, Written};

/// A skill.
#[derive(Debug, Serialize, ToSchema)]
pub struct Skill {
    /// Its name.
    pub name: String,
    /// What it means, for people.
    pub description: String,
}

/// A new skill.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SkillInput {
    /// Its name: 1 to 64 of `0-9 A-Z a-z . _ -`, compared exactly.
    #[schema(value_type = String, min_length = 1, max_length = 64, pattern = "^[0-9A-Za-z._-]+$")]
    name: SkillName,
    /// What it means, for people: at most 500 characters.
    #[serde(default)]
    #[schema(value_type = Option<String>, max_length = 500, pattern = "^[^\\x00-\\x08\\x0b-\\x1f\\x7f-\\x9f]*$")]
    description: Option<Description>,
}

/// A change of a skill.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SkillPatch {
    /// Another description.
    #[serde(default, deserialize_with = "fields::present")]
    #[schema(value_type = String, max_length = 500, pattern = "^[^\\x00-\\x08\\x0b-\\x1f\\x7f-\\x9f]*$")]
    description: Option<Description>,
}

/// How a skill is removed.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct SkillRemoval {
    /// `true`: queues stop asking for it too. Otherwise a skill that a queue asks for is not removed (409), since
    /// its calls would reach agents who cannot serve them.
    #[serde(default)]
    from_queues: bool,
}

fn from_row(row: &Row) -> (Skill, String) {
    (Skill { name: row.get("name"), description: row.get("description") }, db::etag(row))
}

/// Lists skills by name.
#[utoipa::path(get, path = "/tenants/{tenant}/skills", tag = "skills", params(TenantPath, NamePaging),
    responses((status = 200, description = "A page.", body = Page<Skill>)))]
pub async fn list_skills(
    State(app): State<App>,
    scope: InTenant<Work>,
    Query(paging): Query<NamePaging>,
) -> Result<Json<Page<Skill>>, Problem> {
    let limit = paging.limit.unwrap_or_default();
    let after = match paging.cursor {
        Some(cursor) => String::from(cursor.parse::<SkillName>().map_err(|_| answers::bad_cursor())?),
        None => String::new(),
    };
    let sql = "SELECT name, description, xmin::text AS etag FROM skills \
               WHERE tenant_id = $1 AND name COLLATE \"C\" > $2 ORDER BY name COLLATE \"C\" LIMIT $3";
    let rows = db::query(&app, "read_skills", sql, &[&scope.tenant.0, &after, &limit.plus_one()]).await?;
    let skills = rows.iter().map(|row| from_row(row).0).collect();
    Ok(Json(Page::cut(skills, limit, |skill| skill.name.clone())))
}

/// One skill.
#[utoipa::path(get, path = "/tenants/{tenant}/skills/{skill}", tag = "skills",
    params(TenantPath, SkillPath),
    responses((status = 200, description = "The skill.", body = Skill)))]
pub async fn get_skill(
    State(app): State<App>,
    scope: InTenant<Work>,
    Id(name): Id<SkillName>,
) -> Result<db::Shown<Skill>, Problem> {
    let sql = "SELECT name, description, xmin::text AS etag FROM skills WHERE tenant_id = $1 AND name = $2";
    let rows = db::query(&app, "read_skills", sql, &[&scope.tenant.0, &name.as_str()]).await?;
    let (object, etag) = from_row(rows.first().ok_or_else(|| answers::not_found("skill"))?);
    Ok(db::Shown { object, etag })
}

/// Makes a skill.
#[utoipa::path(post, path = "/tenants/{tenant}/skills", tag = "skills",
    params(TenantPath, IdempotencyHeader), request_body = SkillInput,
    responses((status = 201, description = "Made.", body = Skill)))]
pub async fn create_skill(
    State(app): State<App>,
    scope: InTenant<Administer>,
    Change { input, terms }: Change<SkillInput>,
) -> Result<Written, Problem> {
    writes::make!(app, scope.who, Some(scope.tenant), terms, |tx| {
        quotas::check_row(&app, tx, scope.tenant, Quota::Skills).await?;
        let description = input.description.as_ref().map_or("", Description::as_str);
        let sql = "INSERT INTO skills (tenant_id, name, description) VALUES ($1, $2, $3) \
                   RETURNING name, description, xmin::text AS etag";
        let values: db::Values<'_, 3> = [&scope.tenant.0, &input.name.as_str(), &description];
        let row = db::one(tx, sql, &values).await?;
        let (skill, etag) = from_row(&row);
        Effect::created(format!("/api/v1/tenants/{}/skills/{}", scope.tenant, skill.name), etag, &skill)
    })
}

/// Changes a skill's description. (Another name is another skill.)
#[utoipa::path(patch, path = "/tenants/{tenant}/skills/{skill}", tag = "skills",
    params(TenantPath, SkillPath, ChangeHeaders), request_body = SkillPatch,
    responses((status = 200, description = "Changed.", body = Skill)))]
pub async fn patch_skill(
    State(app): State<App>,
    scope: InTenant<Administer>,
    Id(name): Id<SkillName>,
    Change { input, terms }: Change<SkillPatch>,
) -> Result<Written, Problem> {
    writes::make!(app, scope.who, Some(scope.tenant), terms, |tx| {
        lock(tx, &scope, &name, &terms).await?;
        let sql = "UPDATE skills SET description = coalesce($3, description) WHERE tenant_id = $1 AND name = $2 \
                   RETURNING name, description, xmin::text AS etag";
        let description = input.description.as_ref().map(Description::as_str);
        let values: db::Values<'_, 3> = [&scope.tenant.0, &name.as_str(), &description];
        let row = db::one(tx, sql, &values).await?;
        let (skill, etag) = from_row(&row);
        Effect::changed(etag, &skill)
    })
}

/// Removes a skill everywhere: from every agent, and with `from_queues=true` from every queue.
#[utoipa::path(delete, path = "/tenants/{tenant}/skills/{skill}", tag = "skills",
    params(TenantPath, SkillPath, SkillRemoval, ChangeHeaders),
    responses((status = 204, description = "Gone.")))]
pub async fn delete_skill(
    State(app): State<App>,
    scope: InTenant<Administer>,
    Id(name): Id<SkillName>,
    Query(removal): Query<SkillRemoval>,
    terms: Terms,
) -> Result<Written, Problem> {
    writes::make!(app, scope.who, Some(scope.tenant), terms, |tx| {
        lock(tx, &scope, &name, &terms).await?;
        leave_queues(tx, &scope, &name, removal.from_queues).await?;
        let values: db::Values<'_, 2> = [&scope.tenant.0, &name.as_str()];
        let sql = "UPDATE agents SET updated_at = now() WHERE tenant_id = $1 AND id IN \
                   (SELECT agent_id FROM agent_skills WHERE tenant_id = $1 AND skill = $2)";
        db::execute(tx, sql, &values).await?;
        db::execute(tx, "DELETE FROM agent_skills WHERE tenant_id = $1 AND skill = $2", &values).await?;
        db::execute(tx, "DELETE FROM skills WHERE tenant_id = $1 AND name = $2", &values).await?;
        Ok(Effect::removed())
    })
}

async fn leave_queues(
    tx: &mut Tx<'_>,
    scope: &InTenant<Administer>,
    name: &SkillName,
    allowed: bool,
) -> Result<(), Problem> {
    let values: db::Values<'_, 2> = [&scope.tenant.0, &name.as_str()];
    let sql = "SELECT q.id, q.name FROM queues q JOIN queue_skills s ON s.tenant_id = q.tenant_id AND s.queue_id = q.id \
               WHERE q.tenant_id = $1 AND s.skill = $2 ORDER BY q.name LIMIT 20";
    let queues = db::all(tx, sql, &values).await?;
    if !queues.is_empty() && !allowed {
        let names: Vec<String> = queues.iter().map(|row| row.get("name")).collect();
        let detail = format!("queues ask for this skill: {}; remove it with from_queues=true", names.join(", "));
        return Err(answers::conflict("skill_in_use", detail));
    }
    let sql = "UPDATE queues SET updated_at = now() WHERE tenant_id = $1 AND id IN \
               (SELECT queue_id FROM queue_skills WHERE tenant_id = $1 AND skill = $2)";
    db::execute(tx, sql, &values).await?;
    db::execute(tx, "DELETE FROM queue_skills WHERE tenant_id = $1 AND skill = $2", &values).await?;
    Ok(())
}

async fn lock(tx: &mut Tx<'_>, scope: &InTenant<Administer>, name: &SkillName, terms: &Terms) -> Result<(), Problem> {
    let sql = "SELECT xmin::text AS etag FROM skills WHERE tenant_id = $1 AND name = $2 FOR UPDATE";
    let values: db::Values<'_, 2> = [&scope.tenant.0, &name.as_str()];
    let row = db::maybe(tx, sql, &values).await?;
    terms.check(&db::etag(&row.ok_or_else(|| answers::not_found("skill"))?))
}

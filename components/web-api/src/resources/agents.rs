//! Agents: who handles interactions, with which skills, on which phone.
//!
//! A phone's password is never stored: only its two digests for SIP (HA1, RFC 2617 3.2.2.2 and RFC 7616 3.4.2), which hold
//! user, realm and password together. So a new SIP user needs the password again, and a tenant's realm never changes.

use std::collections::BTreeMap;

use axum::extract::State;
use md5::Md5;
use ringdown_domain::{AgentId, Name, SkillLevel, SkillName, TenantId};
use ringdown_pg_store::Row;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use utoipa::ToSchema;
use uuid::Uuid;

use super::fields::{self, SipPassword, SipUser};
use super::skill_set::{self, SkillLevels};
use crate::answers::{
    self, AgentPath, ChangeHeaders, Id, Id2, IdempotencyHeader, Json, Page, Paging, Query, SkillPath, TenantPath,
};
use crate::app::App;
use crate::auth::access::{Administer, InTenant, Supervise};
use crate::auth::token::hex;
use crate::db::{self, Tx};
use crate::problem::Problem;
use crate::quotas::{self, Quota};
use crate::writes::{self, Change, Effect, Terms, Written};

/// An agent as configured.
#[derive(Debug, Serialize, ToSchema)]
pub struct Agent {
    /// Who.
    pub id: Uuid,
    /// The name supervisors see.
    pub name: String,
    /// Skill to level, 1 (knows it) to 10 (masters it).
    pub skills: BTreeMap<String, u8>,
    /// The user of the agent's phone within the tenant's realm.
    pub sip_user: Option<String>,
}

/// A new agent.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AgentInput {
    /// The name supervisors see: 1 to 120 characters.
    #[schema(value_type = String, min_length = 1, max_length = 120, pattern = "^[^\\x00-\\x1f\\x7f-\\x9f]*[^\\s\\x00-\\x1f\\x7f-\\x9f][^\\x00-\\x1f\\x7f-\\x9f]*$")]
    name: Name,
    /// Skill to level, 1 to 10; at most 64 skills, each of which must exist.
    #[serde(default)]
    #[schema(schema_with = skill_set::levels_schema)]
    skills: SkillLevels,
    /// The user of the agent's phone: 1 to 64 of `a-z A-Z 0-9 . _ -`, unique in the tenant.
    #[serde(default)]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 64, pattern = "^[0-9A-Za-z._-]+$")]
    sip_user: Option<SipUser>,
    /// The phone's password, 10 to 256 characters, hard to guess. Left out with a `sip_user`, a strong one is made and shown in
    /// the answer, this once.
    #[serde(default)]
    #[schema(value_type = Option<String>, min_length = 10, max_length = 256, pattern = "^[^\\x00-\\x1f\\x7f-\\x9f]+$")]
    sip_password: Option<SipPassword>,
}

/// A change of an agent; what is left out stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AgentPatch {
    /// Another name.
    #[serde(default, deserialize_with = "fields::present")]
    #[schema(value_type = String, min_length = 1, max_length = 120, pattern = "^[^\\x00-\\x1f\\x7f-\\x9f]*[^\\s\\x00-\\x1f\\x7f-\\x9f][^\\x00-\\x1f\\x7f-\\x9f]*$")]
    name: Option<Name>,
    /// All skills anew.
    #[serde(default, deserialize_with = "fields::present")]
    #[schema(schema_with = skill_set::levels_schema)]
    skills: Option<SkillLevels>,
    /// Another SIP user (its password is another one then, too), or null for no phone.
    #[serde(default, deserialize_with = "fields::present")]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 64, pattern = "^[0-9A-Za-z._-]+$")]
    sip_user: Option<Option<SipUser>>,
    /// Another password for the phone.
    #[serde(default, deserialize_with = "fields::present")]
    #[schema(value_type = String, min_length = 10, max_length = 256, pattern = "^[^\\x00-\\x1f\\x7f-\\x9f]+$")]
    sip_password: Option<SipPassword>,
}

/// An agent after a change, with the phone's password if one was made.
#[derive(Debug, Serialize, ToSchema)]
pub struct ChangedAgent {
    /// The agent.
    #[serde(flatten)]
    agent: Agent,
    /// The password that was made for the phone; shown this once, and only when none was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    sip_password: Option<String>,
}

impl ChangedAgent {
    /// The answer, and without its secret for a repeat.
    fn effect(agent: Agent, etag: String, made: Option<String>, location: Option<String>) -> Result<Effect, Problem> {
        let hidden = serde_json::to_value(&agent).map_err(|error| answers::internal("encode an answer", &error))?;
        let shown = Self { agent, sip_password: made };
        let effect = match location {
            Some(location) => Effect::created(location, etag, &shown),
            None => Effect::changed(etag, &shown),
        };
        Ok(effect?.with_repeat_body(hidden))
    }
}

const COLUMNS: &str = "a.id, a.name, a.sip_user, a.xmin::text AS etag, \
    coalesce((SELECT jsonb_object_agg(s.skill, s.level) FROM agent_skills s \
              WHERE s.tenant_id = a.tenant_id AND s.agent_id = a.id), '{}') AS skills";

fn from_row(row: &Row) -> Result<(Agent, String), Problem> {
    let skills = serde_json::from_value(row.get("skills")).map_err(|error| answers::internal("read skills", &error))?;
    let agent = Agent { id: row.get("id"), name: row.get("name"), skills, sip_user: row.get("sip_user") };
    Ok((agent, db::etag(row)))
}

/// Lists agents by id.
#[utoipa::path(get, path = "/tenants/{tenant}/agents", tag = "agents", params(TenantPath, Paging),
    responses((status = 200, description = "A page.", body = Page<Agent>)))]
pub async fn list_agents(
    State(app): State<App>,
    scope: InTenant<Supervise>,
    Query(paging): Query<Paging>,
) -> Result<Json<Page<Agent>>, Problem> {
    let limit = paging.limit.unwrap_or_default();
    let after = paging.cursor.as_deref().map(answers::id_cursor).transpose()?.unwrap_or_default();
    let sql = format!("SELECT {COLUMNS} FROM agents a WHERE a.tenant_id = $1 AND a.id > $2 ORDER BY a.id LIMIT $3");
    let rows = db::query(&app, "read_agents", &sql, &[&scope.tenant.0, &after, &limit.plus_one()]).await?;
    let agents = rows.iter().map(|row| from_row(row).map(|(agent, _)| agent)).collect::<Result<Vec<_>, _>>()?;
    Ok(Json(Page::cut(agents, limit, |agent| agent.id.to_string())))
}

/// One agent as configured; `/status` has the live one.
#[utoipa::path(get, path = "/tenants/{tenant}/agents/{agent}", tag = "agents",
    params(TenantPath, AgentPath),
    responses((status = 200, description = "The agent.", body = Agent)))]
pub async fn get_agent(
    State(app): State<App>,
    scope: InTenant<Supervise>,
    Id(id): Id<AgentId>,
) -> Result<db::Shown<Agent>, Problem> {
    let sql = format!("SELECT {COLUMNS} FROM agents a WHERE a.tenant_id = $1 AND a.id = $2");
    let rows = db::query(&app, "read_agents", &sql, &[&scope.tenant.0, &id.0]).await?;
    let (agent, etag) = from_row(rows.first().ok_or_else(|| answers::not_found("agent"))?)?;
    Ok(db::Shown { object: agent, etag })
}

/// Makes an agent; logged out at first.
#[utoipa::path(post, path = "/tenants/{tenant}/agents", tag = "agents",
    params(TenantPath, IdempotencyHeader), request_body = AgentInput,
    responses((status = 201, description = "Made.", body = ChangedAgent)))]
pub async fn create_agent(
    State(app): State<App>,
    scope: InTenant<Administer>,
    Change { input, terms }: Change<AgentInput>,
) -> Result<Written, Problem> {
    let id = app.new_id(AgentId::from_parts);
    if input.sip_user.is_none() && input.sip_password.is_some() {
        return Err(answers::unfit("sip_password", "needs sip_user too"));
    }
    writes::make!(app, scope.who, Some(scope.tenant), terms, |tx| {
        quotas::check_row(&app, tx, scope.tenant, Quota::Agents).await?;
        let realm = realm(tx, scope.tenant).await?;
        let phone = Phone::new(&realm, input.sip_user.as_ref(), input.sip_password.as_ref())?;
        let sql =
            "INSERT INTO agents (id, tenant_id, name, sip_user, ha1_md5, ha1_sha256) VALUES ($1, $2, $3, $4, $5, $6)";
        let name = input.name.as_str();
        db::execute(tx, sql, &[&id.0, &scope.tenant.0, &name, &phone.user, &phone.ha1_md5, &phone.ha1_sha256]).await?;
        set_skills(tx, scope.tenant, id, &input.skills).await?;
        let (agent, etag) = read(tx, scope.tenant, id).await?;
        ChangedAgent::effect(agent, etag, phone.made, Some(format!("/api/v1/tenants/{}/agents/{id}", scope.tenant)))
    })
}

/// Changes an agent. New skills count at once, for interactions that wait too.
#[utoipa::path(patch, path = "/tenants/{tenant}/agents/{agent}", tag = "agents",
    params(TenantPath, AgentPath, ChangeHeaders), request_body = AgentPatch,
    responses((status = 200, description = "Changed.", body = ChangedAgent)))]
pub async fn patch_agent(
    State(app): State<App>,
    scope: InTenant<Administer>,
    Id(id): Id<AgentId>,
    Change { input, terms }: Change<AgentPatch>,
) -> Result<Written, Problem> {
    writes::make!(app, scope.who, Some(scope.tenant), terms, |tx| {
        lock(tx, scope.tenant, id, &terms).await?;
        if let Some(name) = &input.name {
            let sql = "UPDATE agents SET name = $3 WHERE tenant_id = $1 AND id = $2";
            db::execute(tx, sql, &[&scope.tenant.0, &id.0, &name.as_str()]).await?;
        }
        let made = change_phone(tx, scope.tenant, id, &input).await?;
        if let Some(skills) = &input.skills {
            set_skills(tx, scope.tenant, id, skills).await?;
        }
        touch(tx, scope.tenant, id).await?;
        let (agent, etag) = read(tx, scope.tenant, id).await?;
        ChangedAgent::effect(agent, etag, made, None)
    })
}

/// Removes an agent. What the agent has at that moment is finished; no new interaction comes.
#[utoipa::path(delete, path = "/tenants/{tenant}/agents/{agent}", tag = "agents",
    params(TenantPath, AgentPath, ChangeHeaders),
    responses((status = 204, description = "Gone.")))]
pub async fn delete_agent(
    State(app): State<App>,
    scope: InTenant<Administer>,
    Id(id): Id<AgentId>,
    terms: Terms,
) -> Result<Written, Problem> {
    writes::make!(app, scope.who, Some(scope.tenant), terms, |tx| {
        lock(tx, scope.tenant, id, &terms).await?;
        db::execute(tx, "DELETE FROM agents WHERE tenant_id = $1 AND id = $2", &[&scope.tenant.0, &id.0]).await?;
        Ok(Effect::removed())
    })
}

/// How well the agent knows the skill.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LevelInput {
    /// 1 (knows it) to 10 (masters it); 1 when left out.
    #[serde(default)]
    #[schema(value_type = u8, minimum = 1, maximum = 10)]
    level: SkillLevel,
}

/// Gives the agent a skill, or another level of it. The time since when the agent is available does not change.
#[utoipa::path(put, path = "/tenants/{tenant}/agents/{agent}/skills/{skill}", tag = "agents",
    params(TenantPath, AgentPath, SkillPath, ChangeHeaders), request_body = LevelInput,
    responses((status = 200, description = "The agent afterwards.", body = Agent)))]
pub async fn put_agent_skill(
    State(app): State<App>,
    scope: InTenant<Administer>,
    Id2(id, skill): Id2<AgentId, SkillName>,
    Change { input, terms }: Change<LevelInput>,
) -> Result<Written, Problem> {
    writes::make!(app, scope.who, Some(scope.tenant), terms, |tx| {
        lock(tx, scope.tenant, id, &terms).await?;
        skill_set::check_known(tx, scope.tenant, "skill", &[skill.as_str()]).await?;
        let level = i16::from(input.level.value());
        let sql = "INSERT INTO agent_skills (tenant_id, agent_id, skill, level) VALUES ($1, $2, $3, $4) \
                   ON CONFLICT (tenant_id, agent_id, skill) DO UPDATE SET level = excluded.level";
        db::execute(tx, sql, &[&scope.tenant.0, &id.0, &skill.as_str(), &level]).await?;
        check_count(tx, scope.tenant, id).await?;
        touched(tx, scope.tenant, id).await
    })
}

/// Takes a skill from the agent.
#[utoipa::path(delete, path = "/tenants/{tenant}/agents/{agent}/skills/{skill}", tag = "agents",
    params(TenantPath, AgentPath, SkillPath, ChangeHeaders),
    responses((status = 200, description = "The agent afterwards.", body = Agent)))]
pub async fn delete_agent_skill(
    State(app): State<App>,
    scope: InTenant<Administer>,
    Id2(id, skill): Id2<AgentId, SkillName>,
    terms: Terms,
) -> Result<Written, Problem> {
    writes::make!(app, scope.who, Some(scope.tenant), terms, |tx| {
        lock(tx, scope.tenant, id, &terms).await?;
        let sql = "DELETE FROM agent_skills WHERE tenant_id = $1 AND agent_id = $2 AND skill = $3";
        if db::execute(tx, sql, &[&scope.tenant.0, &id.0, &skill.as_str()]).await? == 0 {
            return Err(answers::not_found("skill of this agent"));
        }
        touched(tx, scope.tenant, id).await
    })
}

/// What a phone's credential becomes in the database.
#[derive(Default)]
struct Phone {
    user: Option<String>,
    ha1_md5: Option<String>,
    ha1_sha256: Option<String>,
    /// The password, when it was made here.
    made: Option<String>,
}

impl Phone {
    fn new(realm: &str, user: Option<&SipUser>, password: Option<&SipPassword>) -> Result<Self, Problem> {
        let Some(user) = user else { return Ok(Self::default()) };
        let made = match password {
            Some(_) => None,
            None => Some(SipPassword::draw().map_err(|error| answers::internal("draw a password", &error))?),
        };
        let Some(password) = password.or(made.as_ref()) else { return Ok(Self::default()) };
        if let Some(weakness) = password.weakness(user.as_str()) {
            return Err(answers::unprocessable("weak_secret", "the phone's password is easy to guess")
                .field("sip_password", weakness));
        }
        let text = format!("{}:{realm}:{}", user.as_str(), password.reveal());
        Ok(Self {
            user: Some(user.as_str().to_owned()),
            ha1_md5: Some(hex(&Md5::digest(text.as_bytes()))),
            ha1_sha256: Some(hex(&Sha256::digest(text.as_bytes()))),
            made: made.map(|password| password.reveal().to_owned()),
        })
    }
}

/// Changes the phone; the password that was made for it, if one was.
async fn change_phone(
    tx: &mut Tx<'_>,
    tenant: TenantId,
    id: AgentId,
    input: &AgentPatch,
) -> Result<Option<String>, Problem> {
    let user = match (&input.sip_user, &input.sip_password) {
        (None, None) => return Ok(None),
        (Some(None), Some(_)) => return Err(answers::unfit("sip_password", "needs sip_user too")),
        (Some(user), _) => user.clone(),
        (None, Some(_)) => {
            let sql = "SELECT sip_user FROM agents WHERE tenant_id = $1 AND id = $2";
            let row = db::one(tx, sql, &[&tenant.0, &id.0]).await?;
            let user: Option<String> = row.get("sip_user");
            let user = user.ok_or_else(|| answers::unfit("sip_password", "needs sip_user too"))?;
            Some(SipUser::try_from(user).map_err(|error| answers::internal("read a SIP user", &error))?)
        }
    };
    let phone = Phone::new(&realm(tx, tenant).await?, user.as_ref(), input.sip_password.as_ref())?;
    let sql = "UPDATE agents SET sip_user = $3, ha1_md5 = $4, ha1_sha256 = $5 WHERE tenant_id = $1 AND id = $2";
    db::execute(tx, sql, &[&tenant.0, &id.0, &phone.user, &phone.ha1_md5, &phone.ha1_sha256]).await?;
    Ok(phone.made)
}

async fn realm(tx: &mut Tx<'_>, tenant: TenantId) -> Result<String, Problem> {
    let sql = "SELECT realm FROM tenants WHERE id = $1";
    let row = db::maybe(tx, sql, &[&tenant.0]).await?;
    row.map(|row| row.get("realm")).ok_or_else(|| answers::not_found("tenant"))
}

async fn set_skills(tx: &mut Tx<'_>, tenant: TenantId, id: AgentId, skills: &SkillLevels) -> Result<(), Problem> {
    db::execute(tx, "DELETE FROM agent_skills WHERE tenant_id = $1 AND agent_id = $2", &[&tenant.0, &id.0]).await?;
    let names: Vec<&str> = skills.0.keys().map(SkillName::as_str).collect();
    let levels: Vec<i16> = skills.0.values().map(|level| i16::from(level.value())).collect();
    skill_set::check_known(tx, tenant, "skills", &names).await?;
    let sql = "INSERT INTO agent_skills (tenant_id, agent_id, skill, level) \
               SELECT $1, $2, name, level FROM unnest($3::text[], $4::smallint[]) AS given (name, level)";
    db::execute(tx, sql, &[&tenant.0, &id.0, &names, &levels]).await?;
    Ok(())
}

async fn check_count(tx: &mut Tx<'_>, tenant: TenantId, id: AgentId) -> Result<(), Problem> {
    let sql = "SELECT count(*) AS count FROM agent_skills WHERE tenant_id = $1 AND agent_id = $2";
    let row = db::one(tx, sql, &[&tenant.0, &id.0]).await?;
    let limit = ringdown_domain::MAX_SKILLS_PER_AGENT;
    if row.get::<_, i64>("count") > limit as i64 {
        return Err(answers::conflict("too_many_skills", format!("an agent has at most {limit} skills")));
    }
    Ok(())
}

/// Holds the agent for this transaction and checks the change's terms.
async fn lock(tx: &mut Tx<'_>, tenant: TenantId, id: AgentId, terms: &Terms) -> Result<(), Problem> {
    let sql = "SELECT xmin::text AS etag FROM agents WHERE tenant_id = $1 AND id = $2 FOR UPDATE";
    let row = db::maybe(tx, sql, &[&tenant.0, &id.0]).await?;
    terms.check(&db::etag(&row.ok_or_else(|| answers::not_found("agent"))?))
}

/// Marks the agent as changed, whatever part of it was, and shows it.
/// Gives the agent another ETag, also when only its skills changed.
async fn touch(tx: &mut Tx<'_>, tenant: TenantId, id: AgentId) -> Result<(), Problem> {
    let sql = "UPDATE agents SET updated_at = now() WHERE tenant_id = $1 AND id = $2";
    db::execute(tx, sql, &[&tenant.0, &id.0]).await?;
    Ok(())
}

async fn touched(tx: &mut Tx<'_>, tenant: TenantId, id: AgentId) -> Result<Effect, Problem> {
    touch(tx, tenant, id).await?;
    let (agent, etag) = read(tx, tenant, id).await?;
    Effect::changed(etag, &agent)
}

async fn read(tx: &mut Tx<'_>, tenant: TenantId, id: AgentId) -> Result<(Agent, String), Problem> {
    let sql = format!("SELECT {COLUMNS} FROM agents a WHERE a.tenant_id = $1 AND a.id = $2");
    let row = db::maybe(tx, &sql, &[&tenant.0, &id.0]).await?;
    from_row(&row.ok_or_else(|| answers::not_found("agent"))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 7616 3.9.1: Mufasa, http-auth@example.org, Circle of Life.
    #[test]
    fn a_phone_is_stored_as_its_two_digests() {
        let user = SipUser::try_from("Mufasa".to_owned()).unwrap();
        let password = SipPassword::try_from("Circle of Life".to_owned()).unwrap();
        let phone = Phone::new("http-auth@example.org", Some(&user), Some(&password)).unwrap();
        assert_eq!(phone.ha1_md5.unwrap(), "3d78807defe7de2157e2b0b6573a855f");
        assert_eq!(phone.ha1_sha256.unwrap(), "7987c64c30e25f1b74be53f966b49b90f2808aa92faf9a00262392d7b4794232");
        let drawn = Phone::new("x", Some(&user), None).unwrap();
        assert!(drawn.made.is_some_and(|password| password.len() == 20) && drawn.ha1_md5.is_some());
    }
}

//! Queues: ordered sets of waiting interactions, with their rules.

use axum::extract::State;
use ringdown_domain::{Name, Priority, QueueId, TenantId};
use ringdown_events::QueueRules;
use ringdown_pg_store::Row;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::fields::{self, Bounded};
use super::skill_set::{self, Requirement, RequirementInput, Requirements};
use crate::answers::{self, ChangeHeaders, Id, IdempotencyHeader, Json, Page, Paging, Query, QueuePath, TenantPath};
use crate::app::App;
use crate::auth::access::{Administer, InTenant, Supervise};
use crate::db::{self, Tx};
use crate::problem::Problem;
use crate::quotas::{self, Quota};
use crate::writes::{self, Change, Effect, Terms, Written};

type RingTimeout = Bounded<1_000, 120_000>;
type WrapUp = Bounded<0, 3_600_000>;
type WaitLimit = Bounded<1_000, 86_400_000>;
type Capacity = Bounded<1, 100_000>;
type ServiceLevel = Bounded<1_000, 3_600_000>;
type BusyLimit = Bounded<1, 100>;
type RecordingDays = Bounded<1, 3_650>;

/// What becomes of an agent who let an offer ring out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AfterNoAnswer {
    /// Set not ready with the reason `rona`, until the agent says ready again.
    NotReady,
    /// Stays ready, at the end of the line.
    StayReady,
}

impl AfterNoAnswer {
    const fn name(self) -> &'static str {
        match self {
            Self::NotReady => "not_ready",
            Self::StayReady => "stay_ready",
        }
    }
}

/// A queue.
#[derive(Debug, Serialize, ToSchema)]
pub struct Queue {
    /// Which.
    pub id: Uuid,
    /// The name supervisors see.
    pub name: String,
    /// The skills every interaction of the queue needs.
    pub requirements: Vec<Requirement>,
    /// Priority of interactions that bring none, 0 to 100.
    pub priority: i16,
    /// From offer to answer, milliseconds.
    pub ring_timeout_ms: i64,
    /// Longest wrap-up, milliseconds.
    pub wrap_up_ms: i64,
    /// Longest wait, milliseconds; null: no limit.
    pub wait_limit_ms: Option<i64>,
    /// Most waiting interactions.
    pub capacity: i64,
    /// The promised time to answer, milliseconds.
    pub service_level_ms: i64,
    /// What becomes of an agent who did not answer.
    pub after_no_answer: String,
    /// Busy answers in a row after which an agent is set not ready (`busy`). Until then the agent is left alone for longer
    /// each time.
    pub busy_limit: i64,
    /// Whether its calls are recorded.
    pub recorded: bool,
    /// How long recordings of its calls are kept, in days.
    pub recording_days: i32,
}

/// A new queue.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct QueueInput {
    /// The name supervisors see: 1 to 120 characters, unique in the tenant.
    #[schema(value_type = String, min_length = 1, max_length = 120, pattern = "^[^\\x00-\\x1f\\x7f-\\x9f]*[^\\s\\x00-\\x1f\\x7f-\\x9f][^\\x00-\\x1f\\x7f-\\x9f]*$")]
    name: Name,
    /// The skills every interaction of the queue needs, all of them; at most 16, each of which must exist.
    #[serde(default)]
    #[schema(value_type = Vec<RequirementInput>, max_items = 16)]
    requirements: Requirements,
    /// Priority of interactions that bring none, 0 (normal) to 100.
    #[serde(default)]
    #[schema(value_type = u8, minimum = 0, maximum = 100)]
    priority: Priority,
    /// From offer to answer, milliseconds; 15,000 when left out.
    #[serde(default)]
    #[schema(value_type = Option<i64>, minimum = 1000, maximum = 120_000)]
    ring_timeout_ms: Option<RingTimeout>,
    /// Longest wrap-up, milliseconds; 0 when left out.
    #[serde(default)]
    #[schema(value_type = Option<i64>, minimum = 0, maximum = 3_600_000)]
    wrap_up_ms: Option<WrapUp>,
    /// Longest wait, milliseconds; no limit when left out.
    #[serde(default)]
    #[schema(value_type = Option<i64>, minimum = 1000, maximum = 86_400_000)]
    wait_limit_ms: Option<WaitLimit>,
    /// Most waiting interactions; 100,000 when left out.
    #[serde(default)]
    #[schema(value_type = Option<i64>, minimum = 1, maximum = 100_000)]
    capacity: Option<Capacity>,
    /// The promised time to answer, milliseconds; 20,000 when left out.
    #[serde(default)]
    #[schema(value_type = Option<i64>, minimum = 1000, maximum = 3_600_000)]
    service_level_ms: Option<ServiceLevel>,
    /// What becomes of an agent who did not answer; `not_ready` when left out.
    #[serde(default)]
    after_no_answer: Option<AfterNoAnswer>,
    /// Busy answers in a row after which an agent is set not ready (`busy`); 3 when left out.
    #[serde(default)]
    #[schema(value_type = Option<i64>, minimum = 1, maximum = 100)]
    busy_limit: Option<BusyLimit>,
    /// Whether its calls are recorded; not when left out.
    #[serde(default)]
    recorded: bool,
    /// How long recordings of its calls are kept, 1 to 3,650 days; 90 when left out.
    #[serde(default)]
    #[schema(value_type = Option<i32>, minimum = 1, maximum = 3650)]
    recording_days: Option<RecordingDays>,
}

/// A change of a queue; what is left out stays. Interactions that wait already keep the rules they came with.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct QueuePatch {
    /// Another name.
    #[serde(default, deserialize_with = "fields::present")]
    #[schema(value_type = String, min_length = 1, max_length = 120, pattern = "^[^\\x00-\\x1f\\x7f-\\x9f]*[^\\s\\x00-\\x1f\\x7f-\\x9f][^\\x00-\\x1f\\x7f-\\x9f]*$")]
    name: Option<Name>,
    /// All requirements anew.
    #[serde(default, deserialize_with = "fields::present")]
    #[schema(value_type = Vec<RequirementInput>, max_items = 16)]
    requirements: Option<Requirements>,
    /// Another priority.
    #[serde(default, deserialize_with = "fields::present")]
    #[schema(value_type = u8, minimum = 0, maximum = 100)]
    priority: Option<Priority>,
    /// Another ring time, milliseconds.
    #[serde(default, deserialize_with = "fields::present")]
    #[schema(value_type = i64, minimum = 1000, maximum = 120_000)]
    ring_timeout_ms: Option<RingTimeout>,
    /// Another wrap-up, milliseconds.
    #[serde(default, deserialize_with = "fields::present")]
    #[schema(value_type = i64, minimum = 0, maximum = 3_600_000)]
    wrap_up_ms: Option<WrapUp>,
    /// Another limit, milliseconds, or null for none.
    #[serde(default, deserialize_with = "fields::present")]
    #[schema(value_type = Option<i64>, minimum = 1000, maximum = 86_400_000)]
    wait_limit_ms: Option<Option<WaitLimit>>,
    /// Another capacity.
    #[serde(default, deserialize_with = "fields::present")]
    #[schema(value_type = i64, minimum = 1, maximum = 100_000)]
    capacity: Option<Capacity>,
    /// Another promise, milliseconds.
    #[serde(default, deserialize_with = "fields::present")]
    #[schema(value_type = i64, minimum = 1000, maximum = 3_600_000)]
    service_level_ms: Option<ServiceLevel>,
    /// Another rule.
    #[serde(default, deserialize_with = "fields::present")]
    #[schema(value_type = AfterNoAnswer)]
    after_no_answer: Option<AfterNoAnswer>,
    /// Another limit of busy answers.
    #[serde(default, deserialize_with = "fields::present")]
    #[schema(value_type = i64, minimum = 1, maximum = 100)]
    busy_limit: Option<BusyLimit>,
    /// Record its calls from now on, or do not.
    #[serde(default, deserialize_with = "fields::present")]
    #[schema(value_type = bool)]
    recorded: Option<bool>,
    /// Another time for recordings made from now on.
    #[serde(default, deserialize_with = "fields::present")]
    #[schema(value_type = i32, minimum = 1, maximum = 3650)]
    recording_days: Option<RecordingDays>,
}

const COLUMNS: &str = "q.id, q.name, q.priority, q.ring_timeout_ms, q.wrap_up_ms, q.wait_limit_ms, q.capacity, \
    q.service_level_ms, q.after_no_answer, q.busy_limit, q.recorded, q.recording_days, q.xmin::text AS etag, \
    coalesce((SELECT jsonb_agg(jsonb_build_object('skill', s.skill, 'min_level', s.min_level) ORDER BY s.skill COLLATE \"C\") \
              FROM queue_skills s WHERE s.tenant_id = q.tenant_id AND s.queue_id = q.id), '[]') AS requirements";

fn from_row(row: &Row) -> Result<(Queue, String), Problem> {
    let requirements = serde_json::from_value(row.get("requirements"))
        .map_err(|error| answers::internal("read a queue's requirements", &error))?;
    let queue = Queue {
        id: row.get("id"),
        name: row.get("name"),
        requirements,
        priority: row.get("priority"),
        ring_timeout_ms: row.get("ring_timeout_ms"),
        wrap_up_ms: row.get("wrap_up_ms"),
        wait_limit_ms: row.get("wait_limit_ms"),
        capacity: row.get("capacity"),
        service_level_ms: row.get("service_level_ms"),
        after_no_answer: row.get("after_no_answer"),
        busy_limit: row.get("busy_limit"),
        recorded: row.get("recorded"),
        recording_days: row.get("recording_days"),
    };
    Ok((queue, db::etag(row)))
}

/// Lists queues by id.
#[utoipa::path(get, path = "/tenants/{tenant}/queues", tag = "queues", params(TenantPath, Paging),
    responses((status = 200, description = "A page.", body = Page<Queue>)))]
pub async fn list_queues(
    State(app): State<App>,
    scope: InTenant<Supervise>,
    Query(paging): Query<Paging>,
) -> Result<Json<Page<Queue>>, Problem> {
    let limit = paging.limit.unwrap_or_default();
    let after = paging.cursor.as_deref().map(answers::id_cursor).transpose()?.unwrap_or_default();
    let sql = format!("SELECT {COLUMNS} FROM queues q WHERE q.tenant_id = $1 AND q.id > $2 ORDER BY q.id LIMIT $3");
    let rows = db::query(&app, "read_queues", &sql, &[&scope.tenant.0, &after, &limit.plus_one()]).await?;
    let queues = rows.iter().map(|row| from_row(row).map(|(queue, _)| queue)).collect::<Result<Vec<_>, _>>()?;
    Ok(Json(Page::cut(queues, limit, |queue| queue.id.to_string())))
}

/// One queue.
#[utoipa::path(get, path = "/tenants/{tenant}/queues/{queue}", tag = "queues",
    params(TenantPath, QueuePath),
    responses((status = 200, description = "The queue.", body = Queue)))]
pub async fn get_queue(
    State(app): State<App>,
    scope: InTenant<Supervise>,
    Id(id): Id<QueueId>,
) -> Result<db::Shown<Queue>, Problem> {
    let sql = format!("SELECT {COLUMNS} FROM queues q WHERE q.tenant_id = $1 AND q.id = $2");
    let rows = db::query(&app, "read_queues", &sql, &[&scope.tenant.0, &id.0]).await?;
    let (object, etag) = from_row(rows.first().ok_or_else(|| answers::not_found("queue"))?)?;
    Ok(db::Shown { object, etag })
}

/// Makes a queue.
#[utoipa::path(post, path = "/tenants/{tenant}/queues", tag = "queues",
    params(TenantPath, IdempotencyHeader), request_body = QueueInput,
    responses((status = 201, description = "Made.", body = Queue)))]
pub async fn create_queue(
    State(app): State<App>,
    scope: InTenant<Administer>,
    Change { input, terms }: Change<QueueInput>,
) -> Result<Written, Problem> {
    let id = app.new_id(QueueId::from_parts);
    writes::make!(app, scope.who, Some(scope.tenant), terms, |tx| {
        quotas::check_row(&app, tx, scope.tenant, Quota::Queues).await?;
        insert(tx, scope.tenant, id, &input).await?;
        set_requirements(tx, scope.tenant, id, &input.requirements).await?;
        let (queue, etag) = read(tx, scope.tenant, id).await?;
        Effect::created(format!("/api/v1/tenants/{}/queues/{id}", scope.tenant), etag, &queue)
    })
}

#[expect(clippy::cast_possible_truncation, reason = "the type bounds it to 1 to 3,650")]
fn days(days: RecordingDays) -> i32 {
    days.value() as i32
}

async fn insert(tx: &mut Tx<'_>, tenant: TenantId, id: QueueId, input: &QueueInput) -> Result<(), Problem> {
    let rules = QueueRules::default();
    let default = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    let ring = input.ring_timeout_ms.map_or(default(rules.ring_timeout_ms), Bounded::value);
    let wrap_up = input.wrap_up_ms.map_or(default(rules.wrap_up_ms), Bounded::value);
    let wait = input.wait_limit_ms.map(Bounded::value);
    let capacity = input.capacity.map_or(i64::from(rules.capacity), Bounded::value);
    let service = input.service_level_ms.map_or(default(rules.service_level_ms), Bounded::value);
    let after = input.after_no_answer.unwrap_or(AfterNoAnswer::NotReady).name();
    let busy = input.busy_limit.map_or(i64::from(rules.busy_limit), Bounded::value);
    let priority = i16::from(input.priority.value());
    let sql = "INSERT INTO queues (id, tenant_id, name, priority, ring_timeout_ms, wrap_up_ms, wait_limit_ms, capacity, \
               service_level_ms, after_no_answer, busy_limit, recorded, recording_days) \
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)";
    let name = input.name.as_str();
    let recorded = input.recorded;
    let days = days(input.recording_days.unwrap_or(Bounded::clamped(90)));
    let values: db::Values<'_, 13> = [
        &id.0, &tenant.0, &name, &priority, &ring, &wrap_up, &wait, &capacity, &service, &after, &busy, &recorded,
        &days,
    ];
    db::execute(tx, sql, &values).await?;
    Ok(())
}

/// Changes a queue.
#[utoipa::path(patch, path = "/tenants/{tenant}/queues/{queue}", tag = "queues",
    params(TenantPath, QueuePath, ChangeHeaders), request_body = QueuePatch,
    responses((status = 200, description = "Changed.", body = Queue)))]
pub async fn patch_queue(
    State(app): State<App>,
    scope: InTenant<Administer>,
    Id(id): Id<QueueId>,
    Change { input, terms }: Change<QueuePatch>,
) -> Result<Written, Problem> {
    writes::make!(app, scope.who, Some(scope.tenant), terms, |tx| {
        lock(tx, scope.tenant, id, &terms).await?;
        update(tx, scope.tenant, id, &input).await?;
        if let Some(requirements) = &input.requirements {
            set_requirements(tx, scope.tenant, id, requirements).await?;
        }
        let (queue, etag) = read(tx, scope.tenant, id).await?;
        Effect::changed(etag, &queue)
    })
}

async fn update(tx: &mut Tx<'_>, tenant: TenantId, id: QueueId, input: &QueuePatch) -> Result<(), Problem> {
    let sql = "UPDATE queues SET name = coalesce($3, name), priority = coalesce($4, priority), \
               ring_timeout_ms = coalesce($5, ring_timeout_ms), wrap_up_ms = coalesce($6, wrap_up_ms), \
               wait_limit_ms = CASE WHEN $7 THEN $8 ELSE wait_limit_ms END, capacity = coalesce($9, capacity), \
               service_level_ms = coalesce($10, service_level_ms), after_no_answer = coalesce($11, after_no_answer), \
               busy_limit = coalesce($12, busy_limit), recorded = coalesce($13, recorded), \
               recording_days = coalesce($14, recording_days), updated_at = now() WHERE tenant_id = $1 AND id = $2";
    let name = input.name.as_ref().map(Name::as_str);
    let priority = input.priority.map(|priority| i16::from(priority.value()));
    let ring = input.ring_timeout_ms.map(Bounded::value);
    let wrap_up = input.wrap_up_ms.map(Bounded::value);
    let (wait_given, wait) = (input.wait_limit_ms.is_some(), input.wait_limit_ms.flatten().map(Bounded::value));
    let capacity = input.capacity.map(Bounded::value);
    let service = input.service_level_ms.map(Bounded::value);
    let after = input.after_no_answer.map(AfterNoAnswer::name);
    let busy = input.busy_limit.map(Bounded::value);
    let (recorded, days) = (input.recorded, input.recording_days.map(days));
    let values: db::Values<'_, 14> = [
        &tenant.0,
        &id.0,
        &name,
        &priority,
        &ring,
        &wrap_up,
        &wait_given,
        &wait,
        &capacity,
        &service,
        &after,
        &busy,
        &recorded,
        &days,
    ];
    db::execute(tx, sql, &values).await?;
    Ok(())
}

/// Removes a queue. A queue that a route leads to is not removed (409); its waiting interactions keep their place.
#[utoipa::path(delete, path = "/tenants/{tenant}/queues/{queue}", tag = "queues",
    params(TenantPath, QueuePath, ChangeHeaders),
    responses((status = 204, description = "Gone.")))]
pub async fn delete_queue(
    State(app): State<App>,
    scope: InTenant<Administer>,
    Id(id): Id<QueueId>,
    terms: Terms,
) -> Result<Written, Problem> {
    writes::make!(app, scope.who, Some(scope.tenant), terms, |tx| {
        lock(tx, scope.tenant, id, &terms).await?;
        let values: db::Values<'_, 2> = [&scope.tenant.0, &id.0];
        let sql = "SELECT did FROM routes WHERE tenant_id = $1 AND queue_id = $2 ORDER BY did LIMIT 20";
        let routes = db::all(tx, sql, &values).await?;
        if !routes.is_empty() {
            let numbers: Vec<String> = routes.iter().map(|row| row.get("did")).collect();
            let detail = format!("routes lead to this queue: {}", numbers.join(", "));
            return Err(answers::conflict("queue_in_use", detail));
        }
        db::execute(tx, "DELETE FROM queues WHERE tenant_id = $1 AND id = $2", &values).await?;
        Ok(Effect::removed())
    })
}

async fn set_requirements(
    tx: &mut Tx<'_>,
    tenant: TenantId,
    id: QueueId,
    requirements: &Requirements,
) -> Result<(), Problem> {
    db::execute(tx, "DELETE FROM queue_skills WHERE tenant_id = $1 AND queue_id = $2", &[&tenant.0, &id.0]).await?;
    let names: Vec<&str> = requirements.0.iter().map(|need| need.skill.as_str()).collect();
    skill_set::check_known(tx, tenant, "requirements", &names).await?;
    let levels: Vec<i16> = requirements.0.iter().map(|need| i16::from(need.min_level.value())).collect();
    let sql = "INSERT INTO queue_skills (tenant_id, queue_id, skill, min_level) \
               SELECT $1, $2, name, level FROM unnest($3::text[], $4::smallint[]) AS given (name, level)";
    db::execute(tx, sql, &[&tenant.0, &id.0, &names, &levels]).await?;
    Ok(())
}

async fn lock(tx: &mut Tx<'_>, tenant: TenantId, id: QueueId, terms: &Terms) -> Result<(), Problem> {
    let sql = "SELECT xmin::text AS etag FROM queues WHERE tenant_id = $1 AND id = $2 FOR UPDATE";
    let row = db::maybe(tx, sql, &[&tenant.0, &id.0]).await?;
    terms.check(&db::etag(&row.ok_or_else(|| answers::not_found("queue"))?))
}

async fn read(tx: &mut Tx<'_>, tenant: TenantId, id: QueueId) -> Result<(Queue, String), Problem> {
    let sql = format!("SELECT {COLUMNS} FROM queues q WHERE q.tenant_id = $1 AND q.id = $2");
    let row = db::maybe(tx, &sql, &[&tenant.0, &id.0]).await?;
    from_row(&row.ok_or_else(|| answers::not_found("queue"))?)
}

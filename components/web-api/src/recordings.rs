//! Recordings: what the voice duties put into the object store is entered here, found, heard, held and removed.
//!
//! Entering is idempotent (a recording's id is made from its object's name), so any number of web-apis read the same stream, each
//! entry may come twice, and how far the stream was read is written only after its entries are there.

mod entering;
mod expiry;
pub mod hearing;

use axum::extract::State;
use ringdown_domain::{AgentId, InteractionId, QueueId, TenantId};
use ringdown_pg_store::Row;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

pub use entering::follow;
pub use expiry::remove_expired;

use crate::answers::{self, ChangeHeaders, Id, Json, Page, Query, RecordingPath, TenantPath};
use crate::app::App;
use crate::auth::access::{Administer, InTenant, Supervise};
use crate::db::{self, Tx};
use crate::problem::Problem;
use crate::resources::fields;
use crate::writes::{self, Change, Effect, Terms, Written};

/// The id of a recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct RecordingId(pub Uuid);

impl std::str::FromStr for RecordingId {
    type Err = uuid::Error;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

/// Whose voice a recording holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RecordingParty {
    /// An agent's.
    Agent,
    /// The customer's.
    Customer,
    /// That of an outside number.
    Number,
}

/// One party's recording.
#[derive(Debug, Serialize, ToSchema)]
pub struct Recording {
    /// Which.
    pub id: Uuid,
    /// The interaction in whose conversation it was made.
    pub interaction: Uuid,
    /// Its number in the conversation, from 1.
    pub number: i32,
    /// Whose voice.
    pub party: RecordingParty,
    /// The agent whose voice it is, or who had the interaction.
    pub agent: Option<Uuid>,
    /// The interaction's queue.
    pub queue: Option<Uuid>,
    /// Who called.
    pub caller: Option<String>,
    /// What was dialled.
    pub called: Option<String>,
    /// When it began, UTC milliseconds. Pieces of one conversation are laid beside each other by it.
    pub begun_at_ms: i64,
    /// How long it is, in milliseconds.
    pub duration_ms: i64,
    /// The file's length in bytes.
    pub bytes: i64,
    /// SHA-256 of the file.
    pub sha256: String,
    /// Not removed while this is set, however old it is.
    pub legal_hold: bool,
    /// Removed after this, UTC milliseconds.
    pub kept_until_ms: i64,
}

const COLUMNS: &str = "id, interaction_id, number, party, agent_id, queue_id, caller, called, begun_at_ms, duration_ms, bytes, \
     sha256, object, legal_hold, kept_until_ms, xmin::text AS etag";

fn from_row(row: &Row) -> (Recording, String) {
    let party = match row.get::<_, &str>("party") {
        "agent" => RecordingParty::Agent,
        "customer" => RecordingParty::Customer,
        _ => RecordingParty::Number,
    };
    let recording = Recording {
        id: row.get("id"),
        interaction: row.get("interaction_id"),
        number: row.get("number"),
        party,
        agent: row.get("agent_id"),
        queue: row.get("queue_id"),
        caller: row.get("caller"),
        called: row.get("called"),
        begun_at_ms: row.get("begun_at_ms"),
        duration_ms: row.get("duration_ms"),
        bytes: row.get("bytes"),
        sha256: row.get("sha256"),
        legal_hold: row.get("legal_hold"),
        kept_until_ms: row.get("kept_until_ms"),
    };
    (recording, db::etag(row))
}

/// Which recordings to list.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct RecordingFilter {
    /// Only those of this interaction.
    #[param(value_type = Option<Uuid>)]
    interaction: Option<InteractionId>,
    /// Only those of interactions that this agent had.
    #[param(value_type = Option<Uuid>)]
    agent: Option<AgentId>,
    /// Only those of this queue.
    #[param(value_type = Option<Uuid>)]
    queue: Option<QueueId>,
    /// Only those that began at this time or later, UTC milliseconds.
    #[param(minimum = 0, maximum = 9_007_199_254_740_991_i64)]
    from_ms: Option<u64>,
    /// Only those that began before this time, UTC milliseconds.
    #[param(minimum = 0, maximum = 9_007_199_254_740_991_i64)]
    until_ms: Option<u64>,
    /// Most items of the answer, 1 to 500; 100 when left out.
    #[param(value_type = Option<u16>, minimum = 1, maximum = 500)]
    limit: Option<answers::Limit>,
    /// `next_cursor` of the page before.
    #[param(pattern = "^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$")]
    cursor: Option<String>,
}

/// Lists recordings, the latest first.
#[utoipa::path(get, path = "/tenants/{tenant}/recordings", tag = "recordings", params(TenantPath, RecordingFilter),
    responses((status = 200, description = "A page.", body = Page<Recording>)))]
pub async fn list_recordings(
    State(app): State<App>,
    scope: InTenant<Supervise>,
    Query(filter): Query<RecordingFilter>,
) -> Result<Json<Page<Recording>>, Problem> {
    let limit = filter.limit.unwrap_or_default();
    let before = filter.cursor.as_deref().map(answers::id_cursor).transpose()?;
    let (interaction, agent) = (filter.interaction.map(|id| id.0), filter.agent.map(|id| id.0));
    let queue = filter.queue.map(|id| id.0);
    let time = |at: Option<u64>| at.map(|at| i64::try_from(at).unwrap_or(i64::MAX));
    let (from, until) = (time(filter.from_ms), time(filter.until_ms));
    // Ids begin with the time, so their order is that of the beginnings.
    let sql = format!(
        "SELECT {COLUMNS} FROM recordings WHERE tenant_id = $1 AND kept_until_ms > 0 AND ($2::uuid IS NULL OR id < $2) \
         AND ($3::uuid IS NULL OR interaction_id = $3) AND ($4::uuid IS NULL OR agent_id = $4) \
         AND ($5::uuid IS NULL OR queue_id = $5) AND ($6::bigint IS NULL OR begun_at_ms >= $6) \
         AND ($7::bigint IS NULL OR begun_at_ms < $7) ORDER BY id DESC LIMIT $8"
    );
    let values: db::Values<'_, 8> =
        [&scope.tenant.0, &before, &interaction, &agent, &queue, &from, &until, &limit.plus_one()];
    let rows = db::query(&app, "read_recordings", &sql, &values).await?;
    let recordings = rows.iter().map(|row| from_row(row).0).collect();
    Ok(Json(Page::cut(recordings, limit, |recording| recording.id.to_string())))
}

/// One recording.
#[utoipa::path(get, path = "/tenants/{tenant}/recordings/{recording}", tag = "recordings",
    params(TenantPath, RecordingPath),
    responses((status = 200, description = "The recording.", body = Recording)))]
pub async fn get_recording(
    State(app): State<App>,
    scope: InTenant<Supervise>,
    Id(id): Id<RecordingId>,
) -> Result<db::Shown<Recording>, Problem> {
    let (object, etag) = from_row(&row(&app, scope.tenant, id).await?);
    Ok(db::Shown { object, etag })
}

async fn row(app: &App, tenant: TenantId, id: RecordingId) -> Result<Row, Problem> {
    let sql = format!("SELECT {COLUMNS} FROM recordings WHERE tenant_id = $1 AND id = $2 AND kept_until_ms > 0");
    let rows = db::query(app, "read_recordings", &sql, &[&tenant.0, &id.0]).await?;
    rows.into_iter().next().ok_or_else(|| answers::not_found("recording"))
}

/// A change of a recording; what is left out stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RecordingPatch {
    /// Keep it however old it is, or no longer.
    #[serde(default, deserialize_with = "fields::present")]
    #[schema(value_type = bool)]
    legal_hold: Option<bool>,
}

/// Sets or lifts the legal hold of a recording.
#[utoipa::path(patch, path = "/tenants/{tenant}/recordings/{recording}", tag = "recordings",
    params(TenantPath, RecordingPath, ChangeHeaders), request_body = RecordingPatch,
    responses((status = 200, description = "Changed.", body = Recording)))]
pub async fn patch_recording(
    State(app): State<App>,
    scope: InTenant<Administer>,
    Id(id): Id<RecordingId>,
    Change { input, terms }: Change<RecordingPatch>,
) -> Result<Written, Problem> {
    writes::make!(app, scope.who, Some(scope.tenant), terms, |tx| {
        lock(tx, scope.tenant, id, &terms).await?;
        let sql = format!(
            "UPDATE recordings SET legal_hold = coalesce($3, legal_hold) WHERE tenant_id = $1 AND id = $2 \
             RETURNING {COLUMNS}"
        );
        let (recording, etag) = from_row(&db::one(tx, &sql, &[&scope.tenant.0, &id.0, &input.legal_hold]).await?);
        Effect::changed(etag, &recording)
    })
}

/// Removes a recording for good. One under legal hold is not removed (409).
#[utoipa::path(delete, path = "/tenants/{tenant}/recordings/{recording}", tag = "recordings",
    params(TenantPath, RecordingPath, ChangeHeaders),
    responses((status = 204, description = "Gone.")))]
pub async fn delete_recording(
    State(app): State<App>,
    scope: InTenant<Administer>,
    Id(id): Id<RecordingId>,
    terms: Terms,
) -> Result<Written, Problem> {
    writes::make!(app, scope.who, Some(scope.tenant), terms, |tx| {
        if lock(tx, scope.tenant, id, &terms).await? {
            return Err(answers::conflict("legal_hold", "the recording is under legal hold"));
        }
        // Found by the expiry at once, which removes the file before the row.
        let sql = "UPDATE recordings SET kept_until_ms = 0 WHERE tenant_id = $1 AND id = $2";
        db::execute(tx, sql, &[&scope.tenant.0, &id.0]).await?;
        Ok(Effect::removed())
    })
}

/// Locks a recording; whether it is under legal hold.
async fn lock(tx: &mut Tx<'_>, tenant: TenantId, id: RecordingId, terms: &Terms) -> Result<bool, Problem> {
    let sql = "SELECT legal_hold, xmin::text AS etag FROM recordings WHERE tenant_id = $1 AND id = $2 AND kept_until_ms > 0 FOR UPDATE";
    let row = db::maybe(tx, sql, &[&tenant.0, &id.0]).await?.ok_or_else(|| answers::not_found("recording"))?;
    terms.check(&db::etag(&row))?;
    Ok(row.get("legal_hold"))
}

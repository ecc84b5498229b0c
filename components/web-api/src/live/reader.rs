//! Reading live state from Redis. Nothing here writes.
//!
//! Pages walk a set of ids in the ids' order. Each request looks at a bounded number of records; what a filter leaves out
//! still counts, so a page may be short and its cursor goes on.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::problem::Problem;
use ringdown_domain::{AgentId, AgentStatus, InteractionId, TenantId};
use ringdown_events::{AgentRecord, InteractionRecord, JournalEntry, JournalEvent, RouterRecord};
use ringdown_redis_store::{Retry, StoreError, keys, redis, snapshot};
use serde::de::DeserializeOwned;
use uuid::Uuid;

use super::acd::Acd;
use crate::answers;
use crate::app::App;

/// The most records one request looks at.
const MAX_LOOKED_AT: usize = 5_000;

/// Records per MGET: about 250 KB.
const CHUNK: usize = 500;

/// The most journal entries of one interaction that are told; offers are bounded by its life, and this is far beyond.
const MAX_HISTORY: usize = 2_000;

/// How often a new tenant is looked for.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// For how long a tenant that was there is taken to be there still.
const TENANT_REMEMBERED: Duration = Duration::from_secs(10);

/// A page of records.
#[derive(Debug)]
pub struct RecordPage<T> {
    /// The records.
    pub items: Vec<T>,
    /// Where the next page begins; none at the end.
    pub next_cursor: Option<String>,
}

/// Checks that the tenant has a compiled configuration, so that no command goes into a stream nobody reads.
///
/// # Errors
/// 404 when there is no such tenant, 503 when its configuration is on its way.
pub async fn tenant_exists(app: &App, tenant: TenantId) -> Result<(), Problem> {
    if app.known_tenants.holds(tenant) {
        return Ok(());
    }
    if is_listed(app, tenant).await? {
        app.known_tenants.remember(tenant);
        return Ok(());
    }
    if !crate::resources::tenants::is_configured(app, tenant).await? {
        return Err(answers::not_found("tenant"));
    }
    // It was made a moment ago: its configuration is on its way.
    let end = Instant::now() + app.settings.apply_wait;
    while Instant::now() < end {
        tokio::time::sleep(LOOK_EVERY).await;
        if is_listed(app, tenant).await? {
            app.known_tenants.remember(tenant);
            return Ok(());
        }
    }
    Err(answers::not_yet_applied())
}

async fn is_listed(app: &App, tenant: TenantId) -> Result<bool, Problem> {
    let mut cmd = redis::cmd("SISMEMBER");
    cmd.arg(keys::TENANTS).arg(tenant.to_string());
    app.redis.run("tenant_exists", Retry::Safe, &cmd).await.map_err(|error| answers::store_problem(&error))
}

/// The tenants seen lately.
#[derive(Debug, Default)]
pub struct KnownTenants(std::sync::Mutex<HashMap<TenantId, Instant>>);

impl KnownTenants {
    fn holds(&self, tenant: TenantId) -> bool {
        self.lock().get(&tenant).is_some_and(|seen| seen.elapsed() < TENANT_REMEMBERED)
    }

    fn remember(&self, tenant: TenantId) {
        let mut known = self.lock();
        known.retain(|_, seen| seen.elapsed() < TENANT_REMEMBERED);
        known.insert(tenant, Instant::now());
    }

    /// Forgets a tenant that was removed.
    pub fn forget(&self, tenant: TenantId) {
        self.lock().remove(&tenant);
    }

    /// Each change is one insert or remove, so a poisoned map is whole.
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<TenantId, Instant>> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// The router's record; default when no router ever committed.
///
/// # Errors
/// 503 when Redis is away.
pub async fn router(app: &App, tenant: TenantId) -> Result<RouterRecord, Problem> {
    let record = snapshot::read_router(&app.redis, tenant).await.map_err(|error| answers::store_problem(&error))?;
    Ok(record.unwrap_or_default())
}

/// The ACD with its totals.
///
/// # Errors
/// 503 when Redis is away.
pub async fn acd(app: &App, tenant: TenantId) -> Result<Acd, Problem> {
    let record = router(app, tenant).await?;
    let mut pipe = redis::pipe();
    pipe.cmd("SCARD").arg(keys::live(tenant));
    pipe.cmd("ZCARD").arg(keys::queue(tenant));
    pipe.cmd("SCARD").arg(keys::agents(tenant));
    let (live_interactions, waiting_interactions, agents) = app
        .redis
        .run_pipeline("acd_totals", Retry::Safe, &pipe)
        .await
        .map_err(|error| answers::store_problem(&error))?;
    let open = record.open || somebody_is_ready(app, tenant).await?;
    Ok(Acd { open, config_version: record.config_version, live_interactions, waiting_interactions, agents })
}

/// Whether any agent is ready. It stops at the first, and after as many as a request may look at.
async fn somebody_is_ready(app: &App, tenant: TenantId) -> Result<bool, Problem> {
    let ready = |agent: &AgentRecord| agent.status == AgentStatus::Ready;
    Ok(!agents_page(app, tenant, None, 1, ready).await?.items.is_empty())
}

/// A page of the interactions that have ended, the last one first, from the journal: as far back as it reaches. The cursor is a
/// number of the journal.
///
/// # Errors
/// 503 when Redis is away.
pub async fn ended_page(
    app: &App,
    tenant: TenantId,
    before: Option<u64>,
    limit: usize,
    wanted: impl Fn(&InteractionRecord) -> bool,
) -> Result<RecordPage<InteractionRecord>, Problem> {
    // Numbers begin at 1: before it there is nothing.
    if before.is_some_and(|before| before <= 1) {
        return Ok(RecordPage { items: Vec::new(), next_cursor: None });
    }
    let (mut items, mut end, mut looked_at) = (Vec::new(), before, 0);
    while looked_at < MAX_LOOKED_AT {
        let entries = journal_before(app, tenant, end).await.map_err(|error| answers::store_problem(&error))?;
        let Some(last) = entries.last() else { return Ok(RecordPage { items, next_cursor: None }) };
        let oldest = last.seq;
        for entry in entries {
            looked_at += 1;
            end = Some(entry.seq);
            if let JournalEvent::InteractionEnded { interaction } = entry.event
                && wanted(&interaction)
            {
                items.push(interaction);
            }
            if items.len() == limit {
                break;
            }
        }
        if items.len() == limit || oldest <= 1 {
            break;
        }
    }
    let next_cursor = end.filter(|end| *end > 1).map(|end| end.to_string());
    Ok(RecordPage { items, next_cursor })
}

/// Journal entries before a number, newest first.
async fn journal_before(app: &App, tenant: TenantId, before: Option<u64>) -> Result<Vec<JournalEntry>, StoreError> {
    let end = before.map_or("+".to_owned(), |seq| format!("({seq}-0"));
    let mut cmd = redis::cmd("XREVRANGE");
    cmd.arg(keys::journal(tenant)).arg(end).arg("-").arg("COUNT").arg(CHUNK);
    let reply: redis::streams::StreamRangeReply = app.redis.run("journal_page", Retry::Safe, &cmd).await?;
    let text = |id: &redis::streams::StreamId| id.get::<String>(keys::ENTRY_FIELD).unwrap_or_default();
    reply.ids.iter().map(|id| parse(&text(id))).collect()
}

/// One agent.
///
/// # Errors
/// 503 when Redis is away.
pub async fn agent(app: &App, tenant: TenantId, id: AgentId) -> Result<Option<AgentRecord>, Problem> {
    record(app, keys::agent(tenant, id)).await
}

/// One interaction.
///
/// # Errors
/// 503 when Redis is away.
pub async fn interaction(app: &App, tenant: TenantId, id: InteractionId) -> Result<Option<InteractionRecord>, Problem> {
    record(app, keys::interaction(tenant, id)).await
}

async fn record<T: DeserializeOwned>(app: &App, key: String) -> Result<Option<T>, Problem> {
    let mut cmd = redis::cmd("GET");
    cmd.arg(key);
    let text: Option<String> =
        app.redis.run("read_record", Retry::Safe, &cmd).await.map_err(|error| answers::store_problem(&error))?;
    text.map(|text| parse(&text)).transpose().map_err(|error| answers::store_problem(&error))
}

/// The journal entries of one interaction, oldest first; empty when there are none any more.
///
/// # Errors
/// 503 when Redis is away.
pub async fn history(app: &App, tenant: TenantId, id: InteractionId) -> Result<Vec<JournalEntry>, Problem> {
    let mut cmd = redis::cmd("LRANGE");
    cmd.arg(keys::history(tenant, id)).arg(0).arg(MAX_HISTORY - 1);
    let texts: Result<Vec<String>, StoreError> = app.redis.run("read_history", Retry::Safe, &cmd).await;
    let entries = texts.and_then(|texts| texts.iter().map(|text| parse(text)).collect());
    entries.map_err(|error| answers::store_problem(&error))
}

/// A page of the interactions that have not ended.
///
/// # Errors
/// 503 when Redis is away.
pub async fn live_page(
    app: &App,
    tenant: TenantId,
    after: Option<InteractionId>,
    limit: usize,
    wanted: impl Fn(&InteractionRecord) -> bool,
) -> Result<RecordPage<InteractionRecord>, Problem> {
    let walk = Walk { set: keys::live(tenant), after: after.map(|id| id.0), limit };
    walk.page(app, |id| keys::interaction(tenant, InteractionId(id)), wanted).await
}

/// A page of the agents.
///
/// # Errors
/// 503 when Redis is away.
pub async fn agents_page(
    app: &App,
    tenant: TenantId,
    after: Option<AgentId>,
    limit: usize,
    wanted: impl Fn(&AgentRecord) -> bool,
) -> Result<RecordPage<AgentRecord>, Problem> {
    let walk = Walk { set: keys::agents(tenant), after: after.map(|id| id.0), limit };
    walk.page(app, |id| keys::agent(tenant, AgentId(id)), wanted).await
}

/// One request's walk over a set of ids.
struct Walk {
    set: String,
    after: Option<Uuid>,
    limit: usize,
}

impl Walk {
    async fn page<T: DeserializeOwned>(
        self,
        app: &App,
        key: impl Fn(Uuid) -> String,
        wanted: impl Fn(&T) -> bool,
    ) -> Result<RecordPage<T>, Problem> {
        self.read(app, key, wanted).await.map_err(|error| answers::store_problem(&error))
    }

    async fn read<T: DeserializeOwned>(
        self,
        app: &App,
        key: impl Fn(Uuid) -> String,
        wanted: impl Fn(&T) -> bool,
    ) -> Result<RecordPage<T>, StoreError> {
        let ids = self.ids(app).await?;
        let mut items = Vec::new();
        let mut last = None;
        for chunk in ids[..ids.len().min(MAX_LOOKED_AT)].chunks(CHUNK.min(self.limit.max(50))) {
            let names: Vec<String> = chunk.iter().map(|id| key(*id)).collect();
            for (id, text) in chunk.iter().zip(texts(app, &names).await?) {
                last = Some(*id);
                // A record may go between the two reads; it has ended then.
                let Some(record) = text.map(|text| parse::<T>(&text)).transpose()? else { continue };
                if wanted(&record) {
                    items.push(record);
                }
                if items.len() == self.limit {
                    let more = ids.last() != Some(id);
                    return Ok(RecordPage { items, next_cursor: more.then(|| id.to_string()) });
                }
            }
        }
        let more = ids.len() > MAX_LOOKED_AT;
        Ok(RecordPage { items, next_cursor: last.filter(|_| more).map(|id| id.to_string()) })
    }

    /// The ids after the cursor, in order.
    async fn ids(&self, app: &App) -> Result<Vec<Uuid>, StoreError> {
        let mut cmd = redis::cmd("SMEMBERS");
        cmd.arg(&self.set);
        let texts: Vec<String> = app.redis.run("list_ids", Retry::Safe, &cmd).await?;
        let mut ids: Vec<Uuid> = texts
            .iter()
            .filter_map(|text| Uuid::try_parse(text).ok())
            .filter(|id| self.after.is_none_or(|after| *id > after))
            .collect();
        ids.sort_unstable();
        Ok(ids)
    }
}

/// The texts of some keys, in their order.
///
/// # Errors
/// As the store's.
pub async fn texts(app: &App, names: &[String]) -> Result<Vec<Option<String>>, StoreError> {
    let mut cmd = redis::cmd("MGET");
    cmd.arg(names);
    app.redis.run("read_records", Retry::Safe, &cmd).await
}

/// A record from its text.
///
/// # Errors
/// [`StoreError::Unreadable`].
pub fn parse<T: DeserializeOwned>(text: &str) -> Result<T, StoreError> {
    serde_json::from_str(text)
        .map_err(|error| StoreError::Unreadable { what: "read_record", detail: error.to_string() })
}

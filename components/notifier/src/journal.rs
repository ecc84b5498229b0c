//! What the notifier reads from Redis: journal entries by position, and where a journal begins and ends.

use std::sync::Arc;

use axum::extract::ws::Utf8Bytes;
use ringdown_domain::{QueueId, TenantId};
use ringdown_events::JournalEntry;
use ringdown_live_views::{LiveEvent, Scope, ServerMessage};
use ringdown_redis_store::{RedisPool, Retry, StoreError, keys, redis, snapshot};

/// Entries per page for a reader that is behind the ring.
const PAGE_ENTRIES: usize = 500;

/// An entry and the message that tells it, made once for all who see the whole tenant.
#[derive(Debug)]
pub(crate) struct Delta {
    pub(crate) entry: JournalEntry,
    text: Utf8Bytes,
}

impl Delta {
    /// Reads an entry as it stands in the stream.
    pub(crate) fn parse(text: &str) -> Result<Arc<Self>, serde_json::Error> {
        let entry: JournalEntry = serde_json::from_str(text)?;
        let text = message(&entry, Scope::Tenant)?;
        Ok(Arc::new(Self { entry, text }))
    }

    /// The message for a scope.
    pub(crate) fn text(&self, scope: Scope) -> Utf8Bytes {
        match scope {
            Scope::Tenant => self.text.clone(),
            Scope::Agent(_) => message(&self.entry, scope).expect("our own messages have string keys only"),
        }
    }
}

fn message(entry: &JournalEntry, scope: Scope) -> Result<Utf8Bytes, serde_json::Error> {
    let event = Box::new(LiveEvent::seen(entry.event.clone(), scope));
    let message = ServerMessage::Event { seq: entry.seq, at_ms: entry.at_ms.0, event };
    Ok(Utf8Bytes::from(serde_json::to_string(&message)?))
}

/// The bounds of a journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    /// The journal's mark; empty before the tenant's first commit.
    pub(crate) epoch: String,
    /// The oldest entry still kept; one more than `last` when none is.
    pub(crate) first: u64,
    /// The newest entry.
    pub(crate) last: u64,
}

/// Reads where a journal begins and ends. An entry that leaves between the two reads makes `first` too small, which the
/// page read afterwards notices.
pub(crate) async fn extent(pool: &RedisPool, tenant: TenantId) -> Result<Extent, StoreError> {
    let first = page_after(pool, tenant, 0, 1).await?;
    let router = snapshot::read_router(pool, tenant).await?.unwrap_or_default();
    let first = first.first().map_or(router.seq + 1, |delta| delta.entry.seq);
    Ok(Extent { epoch: router.journal_epoch, first, last: router.seq })
}

/// The page of entries after `seq`.
pub(crate) async fn page(pool: &RedisPool, tenant: TenantId, seq: u64) -> Result<Vec<Arc<Delta>>, StoreError> {
    page_after(pool, tenant, seq, PAGE_ENTRIES).await
}

async fn page_after(pool: &RedisPool, tenant: TenantId, seq: u64, count: usize) -> Result<Vec<Arc<Delta>>, StoreError> {
    let mut cmd = redis::cmd("XRANGE");
    cmd.arg(keys::journal(tenant)).arg(format!("({seq}-0")).arg("+").arg("COUNT").arg(count);
    let reply: redis::streams::StreamRangeReply = pool.run("journal_page", Retry::Safe, &cmd).await?;
    let mut deltas = Vec::with_capacity(reply.ids.len());
    for id in reply.ids {
        let text: Option<String> = id.get(keys::ENTRY_FIELD);
        deltas.push(parse(&text.unwrap_or_default())?);
    }
    Ok(deltas)
}

/// Reads one entry; an unreadable one is an error, since passing over it would be a gap nobody sees.
pub(crate) fn parse(text: &str) -> Result<Arc<Delta>, StoreError> {
    Delta::parse(text).map_err(|error| StoreError::Unreadable { what: "journal_entry", detail: error.to_string() })
}

/// The queues of the tenant's configuration in force.
pub(crate) async fn queues(pool: &RedisPool, tenant: TenantId) -> Result<Vec<Option<QueueId>>, StoreError> {
    let mut cmd = redis::cmd("GET");
    cmd.arg(keys::config_current(tenant));
    let Some(version): Option<u64> = pool.run("queues", Retry::Safe, &cmd).await? else { return Ok(Vec::new()) };
    let mut cmd = redis::cmd("HKEYS");
    cmd.arg(keys::config_part(tenant, version, keys::ConfigPart::Queues));
    let ids: Vec<String> = pool.run("queues", Retry::Safe, &cmd).await?;
    // An id that is none was not written by the provisioner.
    Ok(ids.iter().filter_map(|id| id.parse().ok()).map(Some).collect())
}

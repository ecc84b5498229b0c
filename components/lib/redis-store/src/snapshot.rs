//! The live state of a tenant, read.
//!
//! [`read`] takes state and journal position in one script, so that they agree: for who goes on with the journal.
//! [`read_as_lease_holder`] reads piece by piece, which does not hold up Redis; only the holder of the router's lease
//! may do so, since nobody else writes meanwhile.

use std::collections::HashMap;
use std::time::Duration;

use redis::Script;
use ringdown_domain::{AgentId, InteractionId, TenantId};
use ringdown_events::{AgentRecord, InteractionRecord, RouterRecord};
use serde::de::DeserializeOwned;

use crate::{RedisPool, Retry, StoreError, keys};

/// Values per MGET: a few hundred kilobytes, about a millisecond of Redis.
const CHUNK: usize = 1_000;
/// A snapshot of 100,000 agents takes Redis a quarter of a second; a slow reader of it must not wait for ever.
const LIMIT: Duration = Duration::from_secs(10);

/// KEYS: router, agents, live. ARGV: prefix of agents' keys, prefix of interactions' keys.
const SCRIPT: &str = r"
local function records(ids, prefix)
  local found = {}
  for first = 1, #ids, 1000 do
    local names = {}
    for i = first, math.min(first + 999, #ids) do names[#names + 1] = prefix .. ids[i] end
    for _, text in ipairs(redis.call('MGET', unpack(names))) do
      if text then found[#found + 1] = text end
    end
  end
  return found
end
return {
  redis.call('HGETALL', KEYS[1]),
  records(redis.call('SMEMBERS', KEYS[2]), ARGV[1]),
  records(redis.call('SMEMBERS', KEYS[3]), ARGV[2])
}
";

/// Agents and live interactions (those that have not ended), and the journal position they belong to:
/// `(router.journal_epoch, router.seq)`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Snapshot {
    /// The router's record; default when no router ever committed for the tenant.
    pub router: RouterRecord,
    /// All agents.
    pub agents: Vec<AgentRecord>,
    /// All interactions that have not ended.
    pub interactions: Vec<InteractionRecord>,
}

/// Reads state and position in one step.
///
/// # Errors
/// See [`StoreError`].
pub async fn read(pool: &RedisPool, tenant: TenantId) -> Result<Snapshot, StoreError> {
    let what = "snapshot";
    let script = Script::new(SCRIPT);
    let mut connection = pool.blocking(what).connection().await?;
    let mut invocation = script.prepare_invoke();
    invocation.key(keys::router(tenant)).key(keys::agents(tenant)).key(keys::live(tenant));
    invocation.arg(keys::agent_prefix(tenant)).arg(keys::interaction_prefix(tenant));
    let answer = tokio::time::timeout(LIMIT, invocation.invoke_async(&mut connection)).await;
    let (router, agents, interactions): (HashMap<String, String>, Vec<String>, Vec<String>) = match answer {
        Ok(result) => result.map_err(|error| StoreError::from_redis(what, error))?,
        Err(_) => return Err(StoreError::Unavailable { what, detail: "no answer within the limit".to_owned() }),
    };
    Ok(Snapshot {
        router: parse_router(&router)?.unwrap_or_default(),
        agents: parse_all(&agents)?,
        interactions: parse_all(&interactions)?,
    })
}

/// Reads the state piece by piece. Only for the holder of the router's lease.
///
/// # Errors
/// See [`StoreError`]. A record that cannot be read, or is missing, is an error: routing on half a state would lose
/// somebody.
pub async fn read_as_lease_holder(pool: &RedisPool, tenant: TenantId) -> Result<Snapshot, StoreError> {
    let what = "recover";
    let mut sets = redis::pipe();
    sets.cmd("HGETALL").arg(keys::router(tenant));
    sets.cmd("SMEMBERS").arg(keys::agents(tenant)).cmd("SMEMBERS").arg(keys::live(tenant));
    let (router, agents, live): (HashMap<String, String>, Vec<String>, Vec<String>) =
        pool.run_pipeline(what, Retry::Safe, &sets).await?;
    let agent_keys = agents.iter().map(|id| id.parse::<AgentId>().map(|id| keys::agent(tenant, id)));
    let live_keys = live.iter().map(|id| id.parse::<InteractionId>().map(|id| keys::interaction(tenant, id)));
    let bad_id = |error: ringdown_domain::IdError| StoreError::Unreadable { what, detail: error.to_string() };
    let agent_keys = agent_keys.collect::<Result<Vec<_>, _>>().map_err(bad_id)?;
    let live_keys = live_keys.collect::<Result<Vec<_>, _>>().map_err(bad_id)?;
    Ok(Snapshot {
        router: parse_router(&router)?.unwrap_or_default(),
        agents: read_records(pool, &agent_keys).await?,
        interactions: read_records(pool, &live_keys).await?,
    })
}

/// The router's record as fields of its hash.
#[must_use]
pub fn router_fields(record: &RouterRecord) -> [(&'static str, String); 6] {
    [
        ("epoch", record.epoch.to_string()),
        ("position", record.position.clone()),
        ("seq", record.seq.to_string()),
        ("journal_epoch", record.journal_epoch.clone()),
        ("config_version", record.config_version.to_string()),
        ("open", record.open.to_string()),
    ]
}

/// The router's record; none when no router ever committed.
///
/// # Errors
/// See [`StoreError`].
pub async fn read_router(pool: &RedisPool, tenant: TenantId) -> Result<Option<RouterRecord>, StoreError> {
    let mut cmd = redis::cmd("HGETALL");
    cmd.arg(keys::router(tenant));
    let fields: HashMap<String, String> = pool.run("read_router", Retry::Safe, &cmd).await?;
    parse_router(&fields)
}

fn parse_router(fields: &HashMap<String, String>) -> Result<Option<RouterRecord>, StoreError> {
    if fields.is_empty() {
        return Ok(None);
    }
    Ok(Some(RouterRecord {
        epoch: parse_field(fields, "epoch")?,
        position: parse_field(fields, "position")?,
        seq: parse_field(fields, "seq")?,
        journal_epoch: parse_field(fields, "journal_epoch")?,
        config_version: parse_field(fields, "config_version")?,
        open: parse_field(fields, "open")?,
    }))
}

fn parse_field<T: std::str::FromStr>(fields: &HashMap<String, String>, name: &str) -> Result<T, StoreError> {
    fields.get(name).and_then(|text| text.parse().ok()).ok_or_else(|| StoreError::Unreadable {
        what: "read_router",
        detail: format!("the router's record has no readable {name}"),
    })
}

async fn read_records<T: DeserializeOwned>(pool: &RedisPool, names: &[String]) -> Result<Vec<T>, StoreError> {
    let what = "recover";
    let mut records = Vec::with_capacity(names.len());
    for chunk in names.chunks(CHUNK) {
        let mut cmd = redis::cmd("MGET");
        cmd.arg(chunk);
        let texts: Vec<Option<String>> = pool.run(what, Retry::Safe, &cmd).await?;
        for (name, text) in chunk.iter().zip(texts) {
            let text = text.ok_or_else(|| StoreError::Unreadable { what, detail: format!("{name} is missing") })?;
            records.push(parse(&text)?);
        }
    }
    Ok(records)
}

fn parse_all<T: DeserializeOwned>(texts: &[String]) -> Result<Vec<T>, StoreError> {
    texts.iter().map(|text| parse(text)).collect()
}

fn parse<T: DeserializeOwned>(text: &str) -> Result<T, StoreError> {
    serde_json::from_str(text)
        .map_err(|error| StoreError::Unreadable { what: "read_record", detail: error.to_string() })
}

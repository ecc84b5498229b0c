//! What a new owner knows before it does anything: the call records, the state of each interaction, and from which journal
//! entry on effects are news.

use std::collections::HashMap;

use ringdown_acd_core::conversation::{Conversation, wanted};
use ringdown_domain::{AgentId, InteractionId, NodeId, TenantId};
use ringdown_events::{CompiledConfig, InteractionRecord, WantedConversation};
use ringdown_redis_store::snapshot::{self, Snapshot};
use ringdown_redis_store::{RedisPool, Retry, StoreError, keys, redis};

/// A tenant's live calls on one node.
pub(crate) struct Recovered {
    /// Effects up to this journal entry are contained in the state.
    pub(crate) seq: u64,
    /// The conversations on this node, with the record of each that has one.
    pub(crate) calls: Vec<(Family, Option<Conversation>)>,
}

/// An interaction with a conversation, and the live ones that take part in it.
#[derive(Clone, Debug)]
pub(crate) struct Family {
    /// Whose conversation it is.
    pub(crate) root: InteractionRecord,
    /// The others.
    pub(crate) children: Vec<InteractionRecord>,
}

impl Family {
    /// How the conversation is to look. None: somebody is to be rung, and without the configuration nobody can say which phone
    /// that is: a leg that rings goes on, and an offer without one ends by its time.
    pub(crate) fn wanted(&self, config: Option<&CompiledConfig>) -> Option<WantedConversation> {
        let children: Vec<&InteractionRecord> = self.children.iter().collect();
        let wanted = wanted(&self.root, &children, |agent| address(config?, agent));
        let rings = wanted.legs.iter().any(|leg| leg.ring_until_ms.is_some());
        (config.is_some() || !rings).then_some(wanted)
    }
}

/// The address of record of an agent's phone.
fn address(config: &CompiledConfig, agent: AgentId) -> Option<String> {
    let user = config.agents.get(&agent)?.phone_user();
    Some(format!("{user}@{}", config.meta.realm))
}

/// Reads a tenant's state as far as it is on `node`.
pub(crate) async fn read(pool: &RedisPool, tenant: TenantId, node: &NodeId) -> Result<Recovered, StoreError> {
    let Snapshot { router, interactions, .. } = snapshot::read(pool, tenant).await?;
    let ours = families(interactions.into_iter().filter(|record| record.node.as_ref() == Some(node)));
    let records = records(pool, tenant, &ours).await?;
    Ok(Recovered { seq: router.seq, calls: ours.into_iter().zip(records).collect() })
}

fn families(records: impl Iterator<Item = InteractionRecord>) -> Vec<Family> {
    let (children, roots): (Vec<_>, Vec<_>) = records.partition(|record| record.parent.is_some());
    let mut of_root: HashMap<InteractionId, Vec<InteractionRecord>> = HashMap::new();
    for child in children {
        if let Some(parent) = child.parent {
            of_root.entry(parent).or_default().push(child);
        }
    }
    roots.into_iter().map(|root| Family { children: of_root.remove(&root.id).unwrap_or_default(), root }).collect()
}

/// An interaction, and the journal entry up to which effects are contained in what it says.
#[derive(Debug)]
pub(crate) struct InteractionNow {
    /// Whose.
    pub(crate) tenant: TenantId,
    /// Up to which entry.
    pub(crate) seq: u64,
    /// None: the router does not know it, or not any more.
    pub(crate) family: Option<Family>,
}

/// KEYS: router, interaction. ARGV: what the keys of interactions begin with. Gives the journal's position, the record, and those
/// of its children.
const ONE: &str = r"
local root = redis.call('GET', KEYS[2])
local answer = {redis.call('HGET', KEYS[1], 'seq'), root, {}}
if root then
  for _, child in ipairs(cjson.decode(root).children or {}) do
    local text = redis.call('GET', ARGV[1] .. child)
    if text then table.insert(answer[3], text) end
  end
end
return answer";

/// Reads one interaction and the journal's position in one step.
pub(crate) async fn read_interaction(
    pool: &RedisPool,
    tenant: TenantId,
    interaction: InteractionId,
) -> Result<InteractionNow, StoreError> {
    let what = "interaction_now";
    let script = redis::Script::new(ONE);
    let names = [keys::router(tenant), keys::interaction(tenant, interaction)];
    let prefix = keys::interaction_prefix(tenant);
    let (seq, root, children): (Option<u64>, Option<String>, Vec<String>) =
        pool.run_script(what, Retry::Safe, &script, &names, &[&prefix]).await?;
    let read = |text: String| {
        serde_json::from_str::<InteractionRecord>(&text)
            .map_err(|error| StoreError::Unreadable { what, detail: error.to_string() })
    };
    let family = match root {
        Some(root) => {
            Some(Family { root: read(root)?, children: children.into_iter().map(read).collect::<Result<_, _>>()? })
        }
        None => None,
    };
    Ok(InteractionNow { tenant, seq: seq.unwrap_or(0), family })
}

async fn records(
    pool: &RedisPool,
    tenant: TenantId,
    families: &[Family],
) -> Result<Vec<Option<Conversation>>, StoreError> {
    let mut records = Vec::with_capacity(families.len());
    for chunk in families.chunks(500) {
        let mut cmd = redis::cmd("MGET");
        for family in chunk {
            cmd.arg(keys::call(tenant, family.root.id));
        }
        let texts: Vec<Option<String>> = pool.run("call_records", Retry::Safe, &cmd).await?;
        records.extend(texts.into_iter().map(|text| text.and_then(|text| parse(&text))));
    }
    Ok(records)
}

/// An unreadable record (of another version) is none: the listing and the interaction's state say the rest.
fn parse(text: &str) -> Option<Conversation> {
    serde_json::from_str(text).inspect_err(|error| log::warn!(error:% = error; "a call record is not readable")).ok()
}

/// The interaction of a caller's channel: the same each time, so that a call adopted twice is one call.
pub(crate) fn interaction_of(channel: &str, arrived: ringdown_domain::TimestampMs) -> InteractionId {
    let mut halves = [0_u64; 2];
    // FNV-1a with two seeds: no secret is kept here, only a stable spread of Asterisk's unique names.
    for (number, half) in halves.iter_mut().enumerate() {
        *half = 0xcbf2_9ce4_8422_2325 ^ (number as u64);
        for byte in channel.bytes() {
            *half = (*half ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    let mut bytes = [0_u8; 10];
    bytes[..8].copy_from_slice(&halves[0].to_be_bytes());
    bytes[8..].copy_from_slice(&halves[1].to_be_bytes()[..2]);
    InteractionId::from_parts(arrived.0, &bytes)
}

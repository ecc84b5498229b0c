//! What a new owner knows before it does anything: the call records, the state of each interaction, and from which journal
//! entry on effects are news.

use std::iter::once;

use ringdown_acd_core::call::{Call, Input};
use ringdown_domain::{InteractionId, InteractionState, NodeId, TenantId};
use ringdown_events::{AgentConfig, CompiledConfig, InteractionRecord};
use ringdown_redis_store::snapshot::{self, Snapshot};
use ringdown_redis_store::{RedisPool, Retry, StoreError, keys, redis};

/// A tenant's live calls on one node.
pub(crate) struct Recovered {
    /// Effects up to this journal entry are contained in the state.
    pub(crate) seq: u64,
    /// The interactions on this node, with the record of each call that has one.
    pub(crate) calls: Vec<(InteractionRecord, Option<Call>)>,
}

/// Reads a tenant's state as far as it is on `node`.
pub(crate) async fn read(pool: &RedisPool, tenant: TenantId, node: &NodeId) -> Result<Recovered, StoreError> {
    let Snapshot { router, interactions, .. } = snapshot::read(pool, tenant).await?;
    let ours: Vec<InteractionRecord> =
        interactions.into_iter().filter(|record| record.node.as_ref() == Some(node)).collect();
    let records = records(pool, tenant, &ours).await?;
    Ok(Recovered { seq: router.seq, calls: ours.into_iter().zip(records).collect() })
}

/// An interaction, and the journal entry up to which effects are contained in what it says.
#[derive(Debug)]
pub(crate) struct InteractionNow {
    /// Whose.
    pub(crate) tenant: TenantId,
    /// Up to which entry.
    pub(crate) seq: u64,
    /// None: the router does not know it, or not any more.
    pub(crate) record: Option<InteractionRecord>,
}

/// KEYS: router, interaction.
const ONE: &str = "return {redis.call('HGET', KEYS[1], 'seq'), redis.call('GET', KEYS[2])}";

/// Reads one interaction and the journal's position in one step.
pub(crate) async fn read_interaction(
    pool: &RedisPool,
    tenant: TenantId,
    interaction: InteractionId,
) -> Result<InteractionNow, StoreError> {
    let what = "interaction_now";
    let script = redis::Script::new(ONE);
    let names = [keys::router(tenant), keys::interaction(tenant, interaction)];
    let (seq, text): (Option<u64>, Option<String>) = pool.run_script(what, Retry::Safe, &script, &names, &[]).await?;
    let unreadable = |error: serde_json::Error| StoreError::Unreadable { what, detail: error.to_string() };
    let record = text.map(|text| serde_json::from_str(&text)).transpose().map_err(unreadable)?;
    Ok(InteractionNow { tenant, seq: seq.unwrap_or(0), record })
}

async fn records(
    pool: &RedisPool,
    tenant: TenantId,
    interactions: &[InteractionRecord],
) -> Result<Vec<Option<Call>>, StoreError> {
    let mut records = Vec::with_capacity(interactions.len());
    for chunk in interactions.chunks(500) {
        let mut cmd = redis::cmd("MGET");
        for interaction in chunk {
            cmd.arg(keys::call(tenant, interaction.id));
        }
        let texts: Vec<Option<String>> = pool.run("call_records", Retry::Safe, &cmd).await?;
        records.extend(texts.into_iter().map(|text| text.and_then(|text| parse(&text))));
    }
    Ok(records)
}

/// An unreadable record (of another version) is none: the listing and the interaction's state say the rest.
fn parse(text: &str) -> Option<Call> {
    serde_json::from_str(text).inspect_err(|error| log::warn!(error:% = error; "a call record is not readable")).ok()
}

/// What the state of an interaction says to its call, as the effects would have.
pub(crate) fn inputs(record: &InteractionRecord, call: &Call, config: Option<&CompiledConfig>) -> Vec<Input> {
    // That there is a record is the router's answer to its creation.
    let created = Input::Created { refused: None };
    match &record.state {
        InteractionState::Waiting => once(created).chain(withdrawn(call, None)).collect(),
        InteractionState::Offered { agent, offer, deadline_ms } => {
            let mut inputs: Vec<Input> = once(created).chain(withdrawn(call, Some(*offer))).collect();
            // Without the configuration nobody can say which phone it is: a leg that rings goes on, and an offer without one
            // ends by its time.
            let Some(config) = config else { return inputs };
            let user = config.agents.get(agent).map(AgentConfig::phone_user);
            let address = user.map(|user| format!("{user}@{}", config.meta.realm));
            inputs.push(Input::Offer { offer: *offer, agent: *agent, address, deadline_ms: *deadline_ms });
            inputs
        }
        InteractionState::Connected { offer, .. } => vec![Input::Connect { offer: *offer }],
        InteractionState::Ended { .. } => vec![Input::End],
    }
}

/// A leg for an offer that is not the current one is withdrawn.
fn withdrawn(call: &Call, current: Option<ringdown_domain::OfferId>) -> Option<Input> {
    let leg = call.leg().filter(|leg| Some(leg.offer) != current)?;
    Some(Input::Withdraw { offer: leg.offer })
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

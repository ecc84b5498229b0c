//! The live figures of a tenant's queues, counted from the agents' and interactions' records.
//!
//! One count per tenant and second serves everybody who asks; a wallboard in every room costs no more than one. What is
//! looked at is bounded, and figures that do not cover everything say so.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::problem::Problem;
use ringdown_domain::{AgentId, AgentStatus, InteractionId, InteractionState, QueueId, SkillRequirement, TenantId};
use ringdown_events::{AgentRecord, InteractionRecord, QueueConfig};
use ringdown_live_views::QueueFigures;
use ringdown_redis_store::keys::ConfigPart;
use ringdown_redis_store::{Retry, StoreError, keys, redis};
use serde::de::DeserializeOwned;
use tokio::sync::Mutex;

use super::acd::LiveQueue;
use super::reader;
use crate::answers;
use crate::app::App;

/// How old figures may be.
const FRESH_FOR: Duration = Duration::from_secs(1);

/// The most agents and the most interactions one count looks at.
const MAX_COUNTED: usize = 20_000;

/// Tenants whose figures are kept.
const MAX_TENANTS: usize = 1_000;

/// Keys per MGET.
const CHUNK: usize = 500;

type Figures = Arc<[LiveQueue]>;

/// One tenant's figures and when they were counted.
type Slot = Arc<Mutex<Option<(Instant, Figures)>>>;

/// Figures counted lately, per tenant. Each tenant's own lock makes one request count while others wait for its result.
#[derive(Debug, Default)]
pub struct FiguresCache(std::sync::Mutex<HashMap<TenantId, Slot>>);

impl FiguresCache {
    fn slot(&self, tenant: TenantId) -> Slot {
        // Each change is one insert or a clear, so a poisoned map is whole.
        let mut slots = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if slots.len() >= MAX_TENANTS && !slots.contains_key(&tenant) {
            slots.clear();
        }
        Arc::clone(slots.entry(tenant).or_default())
    }
}

/// The figures of all queues of a tenant, at most a second old.
///
/// # Errors
/// 503 when Redis is away.
pub async fn of_tenant(app: &App, tenant: TenantId) -> Result<Figures, Problem> {
    let slot = app.figures.slot(tenant);
    let mut counted = slot.lock().await;
    if let Some((at, figures)) = counted.as_ref()
        && at.elapsed() < FRESH_FOR
    {
        return Ok(Arc::clone(figures));
    }
    let figures: Figures = count(app, tenant).await.map_err(|error| answers::store_problem(&error))?.into();
    *counted = Some((Instant::now(), Arc::clone(&figures)));
    Ok(figures)
}

async fn count(app: &App, tenant: TenantId) -> Result<Vec<LiveQueue>, StoreError> {
    let queues = queues(app, tenant).await?;
    let interactions = ids(app, keys::live(tenant)).await?;
    let agents = ids(app, keys::agents(tenant)).await?;
    let complete = interactions.len() <= MAX_COUNTED && agents.len() <= MAX_COUNTED;
    let at_ms = app.clock.now().0;
    let mut figures: HashMap<QueueId, LiveQueue> =
        queues.iter().map(|queue| (queue.id, empty(queue.id, complete, at_ms))).collect();
    let key = |text: &String| Some(keys::interaction(tenant, text.parse::<InteractionId>().ok()?));
    each(app, &interactions, key, |record: InteractionRecord| add_interaction(&mut figures, &record)).await?;
    let key = |text: &String| Some(keys::agent(tenant, text.parse::<AgentId>().ok()?));
    each(app, &agents, key, |agent: AgentRecord| add_agent(&mut figures, &queues, &agent)).await?;
    let mut figures: Vec<LiveQueue> = figures.into_values().collect();
    figures.sort_by_key(|queue| queue.figures.queue);
    Ok(figures)
}

fn empty(queue: QueueId, complete: bool, at_ms: u64) -> LiveQueue {
    LiveQueue {
        figures: QueueFigures { queue: Some(queue.0), ..QueueFigures::default() },
        available_agents: 0,
        staffed_agents: 0,
        complete,
        at_ms,
    }
}

fn add_interaction(figures: &mut HashMap<QueueId, LiveQueue>, record: &InteractionRecord) {
    let Some(LiveQueue { figures, .. }) = record.queue.and_then(|queue| figures.get_mut(&queue)) else { return };
    match record.state {
        InteractionState::Waiting => {
            figures.waiting += 1;
            let arrived = record.arrived_at_ms.0;
            figures.oldest_arrived_at_ms = Some(figures.oldest_arrived_at_ms.map_or(arrived, |at| at.min(arrived)));
        }
        InteractionState::Offered { .. } => figures.offered += 1,
        InteractionState::Connected { .. } | InteractionState::External { .. } => figures.connected += 1,
        InteractionState::Ended { .. } => {}
    }
}

fn add_agent(figures: &mut HashMap<QueueId, LiveQueue>, queues: &[QueueConfig], agent: &AgentRecord) {
    for queue in queues.iter().filter(|queue| can_serve(agent, &queue.rules.requirements)) {
        let Some(figures) = figures.get_mut(&queue.id) else { continue };
        figures.available_agents += u64::from(agent.available_since_ms.is_some());
        figures.staffed_agents += u64::from(agent.status != AgentStatus::LoggedOut);
    }
}

fn can_serve(agent: &AgentRecord, requirements: &[SkillRequirement]) -> bool {
    requirements.iter().all(|need| agent.skills.get(&need.skill).is_some_and(|level| *level >= need.min_level))
}

async fn queues(app: &App, tenant: TenantId) -> Result<Vec<QueueConfig>, StoreError> {
    let mut cmd = redis::cmd("GET");
    cmd.arg(keys::config_current(tenant));
    let Some(version): Option<u64> = app.redis.run("config_version", Retry::Safe, &cmd).await? else {
        return Ok(Vec::new());
    };
    let mut cmd = redis::cmd("HVALS");
    cmd.arg(keys::config_part(tenant, version, ConfigPart::Queues));
    let texts: Vec<String> = app.redis.run("read_queues", Retry::Safe, &cmd).await?;
    texts.iter().map(|text| reader::parse(text)).collect()
}

async fn ids(app: &App, set: String) -> Result<Vec<String>, StoreError> {
    let mut cmd = redis::cmd("SMEMBERS");
    cmd.arg(set);
    app.redis.run("list_ids", Retry::Safe, &cmd).await
}

async fn each<T: DeserializeOwned>(
    app: &App,
    ids: &[String],
    key: impl Fn(&String) -> Option<String>,
    mut take: impl FnMut(T),
) -> Result<(), StoreError> {
    for chunk in ids[..ids.len().min(MAX_COUNTED)].chunks(CHUNK) {
        let names: Vec<String> = chunk.iter().filter_map(&key).collect();
        if names.is_empty() {
            continue;
        }
        for text in reader::texts(app, &names).await?.into_iter().flatten() {
            take(reader::parse(&text)?);
        }
    }
    Ok(())
}

//! An independent reading of the journal: who was where, entry by entry, and what cannot be.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::Context;
use ringdown_domain::{AgentId, AgentState, AgentStatus, EndReason, InteractionId, InteractionState, TenantId};
use ringdown_events::{AgentRecord, InteractionRecord, JournalEntry, JournalEvent};
use ringdown_redis_store::{ConfigReader, RedisPool, StreamReader, StreamStart, keys, redis, snapshot};

use super::World;

/// Where the journal says an interaction is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the queue.
    Waiting,
    /// Offered to an agent.
    Offered(AgentId),
    /// With an agent.
    Connected(AgentId),
    /// With an outside number.
    External,
    /// Over.
    Ended,
}

/// What the journal told so far.
#[derive(Debug, Default)]
pub struct Ledger {
    /// Number of the last entry.
    pub seq: u64,
    /// Entries whose number was not the next one.
    pub gaps: u64,
    /// Where each interaction is.
    pub places: BTreeMap<InteractionId, Place>,
    /// Which interaction each agent has.
    busy: BTreeMap<AgentId, InteractionId>,
    /// Agents whose child interaction ended with them still on the line: the parent has them next.
    handed: BTreeMap<InteractionId, AgentId>,
    /// What was done twice: an agent with two interactions, an interaction connected or ended twice.
    pub doubled: Vec<String>,
}

impl Ledger {
    /// Takes the next entry.
    pub fn take(&mut self, entry: JournalEntry) {
        if entry.seq != self.seq + 1 {
            self.gaps += 1;
        }
        self.seq = entry.seq;
        match entry.event {
            JournalEvent::InteractionOffered { interaction, .. } => self.offered(entry.seq, &interaction),
            JournalEvent::InteractionEnded { interaction } => {
                self.moved(entry.seq, &interaction);
                self.hand_over(&interaction);
            }
            JournalEvent::InteractionConnected { interaction } => {
                self.take_over(&interaction);
                self.moved(entry.seq, &interaction);
            }
            JournalEvent::InteractionQueued { interaction } => self.moved(entry.seq, &interaction),
            JournalEvent::InteractionChanged { interaction } => self.changed(entry.seq, &interaction),
            JournalEvent::OfferFailed { interaction, agent, .. } => self.free(agent, interaction),
            JournalEvent::AcdChanged { .. }
            | JournalEvent::AgentChanged { .. }
            | JournalEvent::AgentRemoved { .. }
            | JournalEvent::ConfigApplied { .. } => {}
        }
    }

    /// A consultation or supervision that became the call itself: its agent goes on with the parent.
    fn hand_over(&mut self, record: &InteractionRecord) {
        if let InteractionState::Ended { reason: EndReason::Transferred, agent: Some(agent), .. } = record.state
            && let Some(parent) = record.parent
        {
            self.busy.insert(agent, parent);
            self.handed.insert(parent, agent);
        }
    }

    /// Whoever had the parent before is out.
    fn take_over(&mut self, record: &InteractionRecord) {
        if let Some(agent) = self.handed.remove(&record.id)
            && let Some(Place::Connected(former)) = self.places.get(&record.id).copied()
            && former != agent
        {
            self.free(former, record.id);
            self.places.insert(record.id, Place::External);
        }
    }

    /// What changes without moving stays where it is; an outside number is dialled or takes over.
    fn changed(&mut self, seq: u64, record: &InteractionRecord) {
        match (&record.state, self.places.get(&record.id)) {
            (InteractionState::External { .. }, _) => self.moved(seq, record),
            (InteractionState::Connected { agent, .. }, Some(Place::Connected(with))) if agent == with => {}
            (InteractionState::Offered { agent, .. }, Some(Place::Offered(with))) if agent == with => {}
            (InteractionState::Waiting, Some(Place::Waiting))
            | (InteractionState::Ended { .. }, Some(Place::Ended)) => {}
            (state, place) => self.doubled.push(format!("{seq}: {} is {state:?} and was {place:?}", record.id)),
        }
    }

    /// A direct offer is accepted as it is made: its record says connected already, and that entry follows.
    fn offered(&mut self, seq: u64, record: &InteractionRecord) {
        match &record.state {
            InteractionState::Connected { agent, .. } | InteractionState::Offered { agent, .. } => {
                self.moved_to(seq, record.id, Place::Offered(*agent));
            }
            InteractionState::External { .. } | InteractionState::Waiting | InteractionState::Ended { .. } => {
                self.doubled.push(format!("{seq}: {} offered to nobody", record.id));
            }
        }
    }

    fn moved(&mut self, seq: u64, record: &InteractionRecord) {
        let now = match &record.state {
            InteractionState::Waiting => Place::Waiting,
            InteractionState::Offered { agent, .. } => Place::Offered(*agent),
            InteractionState::Connected { agent, .. } => Place::Connected(*agent),
            InteractionState::External { .. } => Place::External,
            InteractionState::Ended { .. } => Place::Ended,
        };
        self.moved_to(seq, record.id, now);
    }

    fn moved_to(&mut self, seq: u64, id: InteractionId, now: Place) {
        let before = self.places.get(&id).copied();
        match (before, now) {
            (Some(Place::Ended), _) => self.doubled.push(format!("{seq}: {id} came back after its end: {now:?}")),
            (Some(Place::Connected(with)), Place::Connected(_) | Place::Offered(_)) => {
                self.doubled.push(format!("{seq}: {id} was with {with}: {now:?}"));
            }
            (Some(Place::Offered(with)), Place::Offered(to)) if self.busy.get(&with) == Some(&id) => {
                self.doubled.push(format!("{seq}: {id} offered to {with} and {to}"));
            }
            _ => {}
        }
        if let Place::Offered(agent) | Place::Connected(agent) = now
            && let Some(other) = self.busy.insert(agent, id).filter(|other| *other != id)
        {
            self.doubled.push(format!("{seq}: {agent} has {other} and {id}"));
        }
        let left = matches!(now, Place::Waiting | Place::External | Place::Ended);
        if let (Some(Place::Offered(agent) | Place::Connected(agent)), true) = (before, left) {
            self.free(agent, id);
        }
        self.places.insert(id, now);
    }

    fn free(&mut self, agent: AgentId, interaction: InteractionId) {
        if self.busy.get(&agent) == Some(&interaction) {
            self.busy.remove(&agent);
        }
    }
}

/// Reads a tenant's journal as it grows.
#[derive(Debug)]
pub struct LedgerReader {
    reader: StreamReader,
    /// What was read.
    pub ledger: Ledger,
}

impl LedgerReader {
    /// From the journal's first entry.
    #[must_use]
    pub fn new(pool: &RedisPool, tenant: TenantId) -> Self {
        let mut reader = StreamReader::new(pool, "ledger", 5_000);
        reader.follow(&keys::journal(tenant), StreamStart::Oldest);
        Self { reader, ledger: Ledger::default() }
    }

    /// Reads what is new, waiting up to `wait` for it; says how many entries. While Redis is away: none.
    ///
    /// # Panics
    /// An entry cannot be read.
    pub async fn read(&mut self, wait: Duration) -> usize {
        let Ok(entries) = self.reader.next(wait).await else {
            tokio::time::sleep(self.reader.pause_after_failure()).await;
            return 0;
        };
        let count = entries.len();
        for entry in entries {
            let text = entry.field(keys::ENTRY_FIELD).expect("a journal entry has its field");
            let entry: JournalEntry = serde_json::from_str(text).expect("a journal entry can be read");
            self.ledger.take(entry);
        }
        count
    }

    /// Reads until the journal has nothing more.
    pub async fn read_to_end(&mut self, newest: u64) {
        let started = std::time::Instant::now();
        while self.ledger.seq < newest && started.elapsed() < Duration::from_secs(60) {
            self.read(Duration::from_millis(200)).await;
        }
    }
}

/// What is wrong at rest.
#[derive(Debug, Default)]
pub struct Findings {
    /// Interactions that were accepted and are in no place.
    pub lost: Vec<String>,
    /// Agents held by nothing, or half available.
    pub stuck: Vec<String>,
    /// See [`Ledger::doubled`].
    pub doubled: Vec<String>,
}

impl Findings {
    /// `lost stuck doubled` as numbers.
    #[must_use]
    pub fn line(&self) -> String {
        format!("{} {} {}", self.lost.len(), self.stuck.len(), self.doubled.len())
    }

    /// Whether nothing is wrong.
    #[must_use]
    pub const fn is_clean(&self) -> bool {
        self.lost.is_empty() && self.stuck.is_empty() && self.doubled.is_empty()
    }
}

/// Compares what was accepted, what the journal told and what is in Redis, at rest.
///
/// # Errors
/// Redis cannot be read.
pub async fn judge(world: &World, accepted: &BTreeSet<InteractionId>, ledger: &Ledger) -> anyhow::Result<Findings> {
    let state = snapshot::read(&world.pool, world.tenant).await?;
    let mut cmd = redis::cmd("ZRANGE");
    cmd.arg(keys::queue(world.tenant)).arg(0).arg(-1);
    let queued: BTreeSet<String> = world.query::<Vec<String>>(&cmd).await?.into_iter().collect();
    let live: BTreeMap<InteractionId, &InteractionRecord> =
        state.interactions.iter().map(|one| (one.id, one)).collect();
    let agents: BTreeMap<AgentId, &AgentRecord> = state.agents.iter().map(|agent| (agent.id, agent)).collect();
    let mut findings = Findings { doubled: ledger.doubled.clone(), ..Findings::default() };
    for id in accepted.iter().chain(live.keys()).collect::<BTreeSet<_>>() {
        let fault =
            place_fault(ledger.places.get(id), live.get(id).copied(), queued.contains(&id.to_string()), &agents);
        findings.lost.extend(fault.map(|fault| format!("{id}: {fault}")));
    }
    let families = live.values().filter_map(|record| family_fault(record, &live).map(|fault| (record.id, fault)));
    findings.stuck.extend(families.map(|(id, fault)| format!("{id}: {fault}")));
    let reader = ConfigReader::new(world.pool.clone(), "ledger", "suite".to_owned());
    let config = reader.read(world.tenant).await?.context("a configuration is in force")?;
    let mut index = BTreeMap::new();
    for skill in &config.skills {
        let mut cmd = redis::cmd("ZRANGE");
        cmd.arg(keys::available(world.tenant, skill)).arg(0).arg(-1).arg("WITHSCORES");
        index.insert(skill, world.query::<BTreeMap<String, u64>>(&cmd).await?);
    }
    for (id, agent) in &config.agents {
        let id_text = id.to_string();
        let score = |skill| index.get(skill).and_then(|members| members.get(&id_text)).copied();
        let fault = agents.get(id).map_or(Some("no record"), |record| {
            let should = |skill| record.available_since_ms.filter(|_| agent.skills.contains_key(skill));
            let agree = config.skills.iter().all(|skill| score(skill) == should(skill).map(|since| since.0));
            let disagree = (!agree).then_some("record and index of available agents disagree");
            disagree.or_else(|| agent_fault(record, &live))
        });
        findings.stuck.extend(fault.map(|fault| format!("{id}: {fault}")));
    }
    let strangers = agents.keys().filter(|id| !config.agents.contains_key(id));
    findings.stuck.extend(strangers.map(|id| format!("{id}: is no agent any more")));
    Ok(findings)
}

/// Why an interaction is in no place, or in two; none when all agree.
fn place_fault(
    told: Option<&Place>,
    live: Option<&InteractionRecord>,
    queued: bool,
    agents: &BTreeMap<AgentId, &AgentRecord>,
) -> Option<&'static str> {
    let Some(told) = told else { return Some("accepted, but the journal never told of it") };
    let Some(record) = live else {
        return (*told != Place::Ended || queued).then_some("gone without an end");
    };
    let with = |agent: &AgentId| agents.get(agent).and_then(|agent| held(agent)) == Some(record.id);
    match (&record.state, told) {
        (InteractionState::External { .. }, Place::External) => queued.then_some("with a number and still queued"),
        (InteractionState::Waiting, Place::Waiting) => (!queued).then_some("waits outside the queue"),
        (InteractionState::Offered { agent, .. }, Place::Offered(told))
        | (InteractionState::Connected { agent, .. }, Place::Connected(told)) => {
            (agent != told || queued || !with(agent)).then_some("its agent or the queue disagrees")
        }
        _ => Some("the journal tells another place than the record"),
    }
}

/// Why a child is without its parent, or a parent without its child; none when they agree.
fn family_fault(
    record: &InteractionRecord,
    live: &BTreeMap<InteractionId, &InteractionRecord>,
) -> Option<&'static str> {
    let is_known = |parent: InteractionId| live.get(&parent).is_some_and(|parent| parent.children.contains(&record.id));
    if record.parent.is_some_and(|parent| !is_known(parent)) {
        return Some("takes part in a conversation that does not know it");
    }
    let all_live = record.children.iter().all(|child| live.contains_key(child));
    (!all_live).then_some("a party of it is gone")
}

/// Why an agent is held by nothing or half available; none when all agree.
fn agent_fault(agent: &AgentRecord, live: &BTreeMap<InteractionId, &InteractionRecord>) -> Option<&'static str> {
    let since = agent.available_since_ms;
    let idle = agent.state == AgentState::Idle;
    if idle && agent.status == AgentStatus::Ready && since.is_none() {
        return Some("ready and idle, but not available");
    }
    if !idle && since.is_some() {
        return Some("available while busy");
    }
    let id = held(agent)?;
    let holds = live.get(&id).is_some_and(|record| match &record.state {
        InteractionState::Offered { agent: with, .. } | InteractionState::Connected { agent: with, .. } => {
            *with == agent.id
        }
        InteractionState::External { .. } | InteractionState::Waiting | InteractionState::Ended { .. } => false,
    });
    (!holds).then_some("held by an interaction that is not there")
}

fn held(agent: &AgentRecord) -> Option<InteractionId> {
    match &agent.state {
        AgentState::Reserved { interaction, .. }
        | AgentState::Ringing { interaction, .. }
        | AgentState::Talking { interaction, .. } => Some(*interaction),
        AgentState::Idle | AgentState::WrappingUp { .. } => None,
    }
}

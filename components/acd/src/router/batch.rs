//! From what was decided to one commit.
//!
//! A batch collects journal entries, voice effects, outcomes and the position while commands are decided; when it is
//! built, the core gives the difference between the stored state and its own ([`Changes`]). However often a batch
//! changed a record, it is written once.

use std::collections::BTreeMap;
use std::sync::Arc;

use ringdown_acd_core::routing::{AvailabilityChange, Changes, QueueChange, Router};
use ringdown_domain::{AgentId, CommandId, InteractionId, NodeId, SkillName, TenantId};
use ringdown_events::{InteractionRecord, JournalEntry, RouterRecord, VoiceEffectEntry};
use ringdown_redis_store::{Commit, keys, snapshot};
use serde::Serialize;

use super::effects::voice_effect;

/// Most arguments of one write, so that a batch of any size stays below the script's limit.
const CHUNK: usize = 1_000;

/// A record could not be written as JSON.
pub(crate) type EncodeError = serde_json::Error;

/// How long things stay, and how many.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Retention {
    /// An ended interaction and its history stay this long, in seconds.
    pub(crate) ended_s: u64,
    /// Journal entries kept, about.
    pub(crate) journal: u64,
    /// Outcomes kept, about; also how many command ids a successor remembers.
    pub(crate) outcomes: u64,
    /// Entries kept per voice stream, about.
    pub(crate) voice: u64,
}

/// The answer to one command, as it goes into the outcome stream.
#[derive(Clone, Debug)]
pub(crate) struct Answered {
    pub(crate) asker: String,
    pub(crate) command: CommandId,
    /// `Outcome` as JSON.
    pub(crate) outcome: Arc<str>,
}

/// Everything decided since the last commit was built.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    entries: Vec<(u64, String)>,
    /// Positions in `entries`.
    histories: BTreeMap<InteractionId, Vec<usize>>,
    voice: Vec<(NodeId, String)>,
    outcomes: Vec<Answered>,
    /// Stream id of the last command decided.
    position: Option<String>,
    commands: usize,
}

impl Batch {
    /// Whether there is nothing to commit.
    pub(crate) const fn is_empty(&self) -> bool {
        self.position.is_none() && self.entries.is_empty()
    }

    /// How many commands were decided.
    pub(crate) const fn commands(&self) -> usize {
        self.commands
    }

    /// The command at this position in the stream was decided.
    pub(crate) fn decided(&mut self, position: String) {
        self.position = Some(position);
        self.commands += 1;
    }

    /// A command was answered.
    pub(crate) fn answer(&mut self, answered: Answered) {
        self.outcomes.push(answered);
    }

    /// Something happened. `node` is where the interaction is, if the entry is about one that is on a node; `phone` gives
    /// an agent's SIP user and the tenant's realm.
    pub(crate) fn happened(
        &mut self,
        entry: &JournalEntry,
        node: Option<NodeId>,
        phone: impl Fn(AgentId) -> (Option<String>, String),
    ) -> Result<(), EncodeError> {
        if let Some(interaction) = entry.event.interaction_id() {
            self.histories.entry(interaction).or_default().push(self.entries.len());
        }
        self.entries.push((entry.seq, serde_json::to_string(entry)?));
        if let Some((node, effect)) = voice_effect(&entry.event, node, phone) {
            let effect = VoiceEffectEntry { seq: entry.seq, at_ms: entry.at_ms, effect };
            self.voice.push((node, serde_json::to_string(&effect)?));
        }
        Ok(())
    }

    /// Builds the commit from the batch and what changed in the core, and moves the router's record on.
    pub(crate) fn build(
        self,
        tenant: TenantId,
        core: &mut Router,
        record: &mut RouterRecord,
        retention: &Retention,
    ) -> Result<Commit, EncodeError> {
        let mut changes = Changes::default();
        core.drain_changes(&mut changes);
        let mut commit = Commit::new();
        write_agents(&mut commit, tenant, &changes, core)?;
        write_interactions(&mut commit, tenant, &changes, core, retention)?;
        self.write_histories(&mut commit, tenant, &changes.ended, retention);
        if let Some((seq, _)) = self.entries.last() {
            record.seq = *seq;
        }
        if let Some(position) = self.position {
            record.position = position;
        }
        let journal = keys::journal(tenant);
        for (seq, text) in self.entries {
            append(&mut commit, &journal, retention.journal, format!("{seq}-0"), [(keys::ENTRY_FIELD, text)]);
        }
        for (node, text) in self.voice {
            let stream = keys::voice(tenant, &node);
            append(&mut commit, &stream, retention.voice, "*".to_owned(), [(keys::ENTRY_FIELD, text)]);
        }
        let outcomes = keys::outcomes(tenant);
        for answered in self.outcomes {
            let fields = [
                (keys::OUTCOME_ASKER_FIELD, answered.asker),
                (keys::OUTCOME_COMMAND_FIELD, answered.command.to_string()),
                (keys::OUTCOME_FIELD, answered.outcome.as_ref().to_owned()),
            ];
            append(&mut commit, &outcomes, retention.outcomes, "*".to_owned(), fields);
        }
        Ok(commit)
    }

    fn write_histories(
        &self,
        commit: &mut Commit,
        tenant: TenantId,
        ended: &[InteractionRecord],
        retention: &Retention,
    ) {
        for (id, indexes) in &self.histories {
            let mut list = List::new("RPUSH", Some(keys::history(tenant, *id)));
            indexes.iter().for_each(|index| list.add(commit, [self.entries[*index].1.clone()]));
            list.finish(commit);
        }
        for record in ended {
            let key = keys::history(tenant, record.id);
            commit.push(["EXPIRE".to_owned(), key, retention.ended_s.to_string()]);
        }
    }
}

/// The router's record, as the last write of a commit.
pub(crate) fn write_record(commit: &mut Commit, tenant: TenantId, record: &RouterRecord, extra: &[(&str, String)]) {
    let mut write = vec!["HSET".to_owned(), keys::router(tenant)];
    let fields = snapshot::router_fields(record);
    write.extend(fields.into_iter().flat_map(|(name, value)| [name.to_owned(), value]));
    write.extend(extra.iter().flat_map(|(name, value)| [(*name).to_owned(), value.clone()]));
    commit.push_list(write);
}

fn write_agents(commit: &mut Commit, tenant: TenantId, changes: &Changes, core: &Router) -> Result<(), EncodeError> {
    let mut gone = List::new("DEL", None);
    let mut removed = List::new("SREM", Some(keys::agents(tenant)));
    for id in &changes.agents_removed {
        gone.add(commit, [keys::agent(tenant, *id)]);
        removed.add(commit, [id.to_string()]);
    }
    gone.finish(commit);
    removed.finish(commit);
    let mut records = List::new("MSET", None);
    let mut known = List::new("SADD", Some(keys::agents(tenant)));
    for record in changes.agents.iter().filter_map(|id| core.agent(*id)) {
        records.add(commit, [keys::agent(tenant, record.id), to_json(record)?]);
        known.add(commit, [record.id.to_string()]);
    }
    records.finish(commit);
    known.finish(commit);
    write_available(commit, tenant, &changes.available);
    Ok(())
}

/// The index of available agents. Several changes of one agent in a batch come in order, and the last one counts: for
/// each skill and agent what happens last is kept, so that each sorted set is written twice at most.
fn write_available(commit: &mut Commit, tenant: TenantId, changes: &[AvailabilityChange]) {
    let mut by_skill: BTreeMap<&SkillName, BTreeMap<AgentId, Option<u64>>> = BTreeMap::new();
    for change in changes {
        for skill in change.left.iter().flat_map(|skills| skills.iter()) {
            by_skill.entry(skill).or_default().insert(change.agent, None);
        }
        if let Some((skills, since)) = &change.appeared {
            for skill in skills.iter() {
                by_skill.entry(skill).or_default().insert(change.agent, Some(since.0));
            }
        }
    }
    for (skill, agents) in by_skill {
        let key = keys::available(tenant, skill);
        let mut left = List::new("ZREM", Some(key.clone()));
        let mut appeared = List::new("ZADD", Some(key));
        for (agent, since) in agents {
            match since {
                Some(since) => appeared.add(commit, [since.to_string(), agent.to_string()]),
                None => left.add(commit, [agent.to_string()]),
            }
        }
        left.finish(commit);
        appeared.finish(commit);
    }
}

fn write_interactions(
    commit: &mut Commit,
    tenant: TenantId,
    changes: &Changes,
    core: &Router,
    retention: &Retention,
) -> Result<(), EncodeError> {
    let mut records = List::new("MSET", None);
    let mut live = List::new("SADD", Some(keys::live(tenant)));
    for record in changes.interactions.iter().filter_map(|id| core.interaction(*id)) {
        records.add(commit, [keys::interaction(tenant, record.id), to_json(record)?]);
        live.add(commit, [record.id.to_string()]);
    }
    records.finish(commit);
    live.finish(commit);
    let mut over = List::new("SREM", Some(keys::live(tenant)));
    for record in &changes.ended {
        let key = keys::interaction(tenant, record.id);
        commit.push(["SET".to_owned(), key, to_json(record)?, "EX".to_owned(), retention.ended_s.to_string()]);
        over.add(commit, [record.id.to_string()]);
    }
    over.finish(commit);
    write_queue(commit, tenant, &changes.queue);
    Ok(())
}

fn write_queue(commit: &mut Commit, tenant: TenantId, changes: &[QueueChange]) {
    let last: BTreeMap<InteractionId, _> = changes.iter().map(|change| (change.interaction, change.rank_ms)).collect();
    let mut waits = List::new("ZADD", Some(keys::queue(tenant)));
    let mut taken = List::new("ZREM", Some(keys::queue(tenant)));
    for (id, rank) in last {
        match rank {
            Some(rank) => waits.add(commit, [rank.0.to_string(), id.to_string()]),
            None => taken.add(commit, [id.to_string()]),
        }
    }
    waits.finish(commit);
    taken.finish(commit);
}

fn to_json<T: Serialize>(record: &T) -> Result<String, EncodeError> {
    serde_json::to_string(record)
}

fn append<const N: usize>(
    commit: &mut Commit,
    stream: &str,
    keep: u64,
    id: String,
    fields: [(&'static str, String); N],
) {
    let mut write = vec!["XADD".to_owned(), stream.to_owned(), "MAXLEN".to_owned(), "~".to_owned()];
    write.extend([keep.to_string(), id]);
    write.extend(fields.into_iter().flat_map(|(name, value)| [name.to_owned(), value]));
    commit.push_list(write);
}

/// One write with many arguments, split where it grows too long.
struct List {
    command: &'static str,
    key: Option<String>,
    args: Vec<String>,
}

impl List {
    const fn new(command: &'static str, key: Option<String>) -> Self {
        Self { command, key, args: Vec::new() }
    }

    fn add<const N: usize>(&mut self, commit: &mut Commit, args: [String; N]) {
        self.args.extend(args);
        if self.args.len() >= CHUNK {
            self.flush(commit);
        }
    }

    fn flush(&mut self, commit: &mut Commit) {
        if self.args.is_empty() {
            return;
        }
        let mut write = Vec::with_capacity(self.args.len() + 2);
        write.push(self.command.to_owned());
        write.extend(self.key.clone());
        write.append(&mut self.args);
        commit.push_list(write);
    }

    fn finish(mut self, commit: &mut Commit) {
        self.flush(commit);
    }
}

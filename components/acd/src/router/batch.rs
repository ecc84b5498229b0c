//! From what was decided to one commit.
//!
//! A batch collects journal entries, voice effects, outcomes and the position while commands are decided; when it is
//! built, the core gives the difference between the stored state and its own ([`Changes`]). However often a batch
//! changed a record, it is written once.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::Arc;

use ringdown_acd_core::routing::{AvailabilityChange, Changes, MAX_ENDED, QueueChange, Router};
use ringdown_domain::{AgentId, CommandId, InteractionId, InteractionState, SkillName, TenantId, TimestampMs};
use ringdown_events::{CompiledConfig, InteractionRecord, JournalEntry, RouterRecord};
use ringdown_redis_store::{Arg, Commit, keys, snapshot};
use serde::Serialize;

use super::effects::Conversations;

/// How long an ended interaction is remembered by its id, its record's time included: a day. Whoever repeats a request later than
/// that is answered as if it were a new one.
pub(crate) const ENDED_REMEMBERED_MS: u64 = 86_400_000;
/// Most arguments of one write, so that a batch of any size stays below the script's limit.
const CHUNK: usize = 1_000;

/// A record could not be written as JSON.
pub(crate) type EncodeError = serde_json::Error;

/// How long things stay, and how many.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Retention {
    /// An ended interaction and its history stay this long, in seconds.
    pub(crate) ended_s: u64,
    /// Most ended interactions whose records and histories stay; the oldest go first.
    pub(crate) ended_most: usize,
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
    conversations: Conversations,
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

    /// Something happened in the core.
    pub(crate) fn happened(&mut self, entry: &JournalEntry, core: &Router) -> Result<(), EncodeError> {
        if let Some(interaction) = entry.event.interaction_id() {
            self.histories.entry(interaction).or_default().push(self.entries.len());
        }
        self.entries.push((entry.seq, serde_json::to_string(entry)?));
        self.conversations.note(entry, core);
        Ok(())
    }

    /// Digits are to be sent; the entry of this number tells of it.
    pub(crate) fn send_digits(
        &mut self,
        seq: u64,
        at_ms: TimestampMs,
        interaction: InteractionId,
        digits: &str,
        core: &Router,
    ) {
        self.conversations.send_digits(seq, at_ms, interaction, digits, core);
    }

    /// Builds the commit from the batch and what changed in the core, and moves the router's record on.
    pub(crate) fn build(
        mut self,
        tenant: TenantId,
        core: &mut Router,
        listed: &mut Listed,
        record: &mut RouterRecord,
        config: &CompiledConfig,
        retention: &Retention,
    ) -> Result<Commit, EncodeError> {
        let mut changes = Changes::default();
        core.drain_changes(&mut changes);
        let mut commit = Commit::new();
        write_agents(&mut commit, tenant, &changes, core, listed)?;
        write_interactions(&mut commit, tenant, &changes, core, listed, retention)?;
        if let Some((seq, _)) = self.entries.last() {
            record.seq = *seq;
        }
        if let Some(position) = self.position.take() {
            record.position = position;
        }
        self.write_journal(&mut commit, tenant, &changes, retention);
        for (node, effects) in self.conversations.effects(core, &changes, config) {
            let row = |effect| Ok(row(["*", keys::ENTRY_FIELD], [to_json(&effect)?]));
            let rows = effects.into_iter().map(row).collect::<Result<Vec<_>, EncodeError>>()?;
            commit.show_group(append_to(keys::voice(tenant, &node), retention.voice), rows);
        }
        let rows = self.outcomes.into_iter().map(outcome_row).collect();
        commit.show_group(append_to(keys::outcomes(tenant), retention.outcomes), rows);
        Ok(commit)
    }

    /// The journal and each interaction's own part of it. An entry's text travels once for both.
    fn write_journal(&mut self, commit: &mut Commit, tenant: TenantId, changes: &Changes, retention: &Retention) {
        let mut texts = Vec::with_capacity(self.entries.len());
        let mut rows = Vec::with_capacity(self.entries.len());
        for (seq, text) in self.entries.drain(..) {
            let text = commit.share(text);
            texts.push(text);
            rows.push(vec![Arg::Text(format!("{seq}-0")), Arg::Text(keys::ENTRY_FIELD.to_owned()), text.into()]);
        }
        commit.show_group(append_to(keys::journal(tenant), retention.journal), rows);
        let mut rows = Vec::with_capacity(self.histories.len());
        for (id, indexes) in &self.histories {
            for part in indexes.chunks(CHUNK) {
                let key = Arg::Text(keys::history(tenant, *id));
                rows.push(std::iter::once(key).chain(part.iter().map(|index| texts[*index].into())).collect());
            }
        }
        commit.show_group(vec!["RPUSH".to_owned()], rows);
        let expire = |record: &InteractionRecord| {
            vec![keys::history(tenant, record.id).into(), retention.ended_s.to_string().into()]
        };
        let over = changes.ended.iter().chain(&changes.classed);
        commit.show_group(vec!["EXPIRE".to_owned()], over.map(expire).collect());
    }
}

/// `XADD stream MAXLEN ~ keep`
fn append_to(stream: String, keep: u64) -> Vec<String> {
    vec!["XADD".to_owned(), stream, "MAXLEN".to_owned(), "~".to_owned(), keep.to_string()]
}

fn row<const A: usize, const B: usize>(fixed: [&str; A], rest: [String; B]) -> Vec<Arg> {
    fixed.into_iter().map(|text| Arg::Text(text.to_owned())).chain(rest.into_iter().map(Arg::Text)).collect()
}

fn outcome_row(answered: Answered) -> Vec<Arg> {
    let Answered { asker, command, outcome } = answered;
    let pairs = [
        (keys::OUTCOME_ASKER_FIELD, asker),
        (keys::OUTCOME_COMMAND_FIELD, command.to_string()),
        (keys::OUTCOME_FIELD, outcome.as_ref().to_owned()),
    ];
    let fields = pairs.into_iter().flat_map(|(name, value)| [Arg::Text(name.to_owned()), Arg::Text(value)]);
    std::iter::once(Arg::Text("*".to_owned())).chain(fields).collect()
}

/// Who stands in the sets of agents and of live interactions, so that these are written only when somebody comes or goes.
#[derive(Debug, Default)]
pub(crate) struct Listed {
    agents: HashSet<AgentId>,
    live: HashSet<InteractionId>,
    /// Ended interactions whose records may still be there, oldest first.
    readable: VecDeque<InteractionId>,
}

impl Listed {
    /// Everybody the restored core knows: it was made from the sets. `ended` are those that ended, oldest first.
    pub(crate) fn of(core: &Router, ended: Vec<InteractionId>) -> Self {
        Self {
            readable: ended.into(),
            agents: core.agents().map(|record| record.id).collect(),
            live: core.interactions().map(|record| record.id).collect(),
        }
    }
}

/// The router's record, and the trimming of the commands behind its position, as the last writes of a commit: should a
/// write before them fail half-way, position and commands stay, and nothing is lost.
pub(crate) fn write_record(commit: &mut Commit, tenant: TenantId, record: &RouterRecord, extra: &[(&str, String)]) {
    let fields = snapshot::router_fields(record).into_iter().map(|(name, value)| [name.to_owned(), value]);
    let extra = extra.iter().map(|(name, value)| [(*name).to_owned(), value.clone()]);
    let row = fields.chain(extra).flatten().map(Arg::Text).collect();
    commit.push_group(vec!["HSET".to_owned(), keys::router(tenant)], vec![row]);
}

/// See [`write_record`].
pub(crate) fn trim_commands(commit: &mut Commit, tenant: TenantId, record: &RouterRecord) {
    let trim = ["XTRIM".to_owned(), keys::commands(tenant), "MINID".to_owned(), "~".to_owned()];
    commit.push_group(Vec::from(trim), vec![vec![record.position.clone().into()]]);
}

fn write_agents(
    commit: &mut Commit,
    tenant: TenantId,
    changes: &Changes,
    core: &Router,
    listed: &mut Listed,
) -> Result<(), EncodeError> {
    let mut gone = List::new("DEL", None);
    let mut removed = List::new("SREM", Some(keys::agents(tenant)));
    for id in &changes.agents_removed {
        gone.add(commit, [keys::agent(tenant, *id)]);
        removed.add(commit, [id.to_string()]);
        listed.agents.remove(id);
    }
    gone.finish(commit);
    removed.finish(commit);
    let mut records = List::new("MSET", None);
    let mut known = List::new("SADD", Some(keys::agents(tenant)));
    for record in changes.agents.iter().filter_map(|id| core.agent(*id)) {
        records.add(commit, [keys::agent(tenant, record.id), to_json(record)?]);
        if listed.agents.insert(record.id) {
            known.add(commit, [record.id.to_string()]);
        }
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
    listed: &mut Listed,
    retention: &Retention,
) -> Result<(), EncodeError> {
    let mut records = List::new("MSET", None);
    let mut live = List::new("SADD", Some(keys::live(tenant)));
    for record in changes.interactions.iter().filter_map(|id| core.interaction(*id)) {
        records.add(commit, [keys::interaction(tenant, record.id), to_json(record)?]);
        if listed.live.insert(record.id) {
            live.add(commit, [record.id.to_string()]);
        }
    }
    records.finish(commit);
    live.finish(commit);
    let mut over = List::new("SREM", Some(keys::live(tenant)));
    let mut finals = Vec::with_capacity(changes.ended.len());
    for record in &changes.ended {
        let key = keys::interaction(tenant, record.id);
        finals.push(row([], [key, retention.ended_s.to_string(), to_json(record)?]));
        listed.live.remove(&record.id);
        over.add(commit, [record.id.to_string()]);
    }
    commit.push_group(vec!["SETEX".to_owned()], finals);
    write_classed(commit, tenant, &changes.classed)?;
    over.finish(commit);
    write_ended(commit, tenant, changes, listed, retention);
    write_queue(commit, tenant, &changes.queue);
    Ok(())
}

/// Dispositions given after the end. A record that is gone stays gone, and one that is there goes when it would have.
fn write_classed(commit: &mut Commit, tenant: TenantId, classed: &[InteractionRecord]) -> Result<(), EncodeError> {
    let mut rows = Vec::with_capacity(classed.len());
    for record in classed {
        rows.push(row(
            [],
            [keys::interaction(tenant, record.id), to_json(record)?, "XX".to_owned(), "KEEPTTL".to_owned()],
        ));
    }
    commit.push_group(vec!["SET".to_owned()], rows);
    Ok(())
}

/// Who ended when, and the end of the oldest records when there are too many of them.
fn write_ended(commit: &mut Commit, tenant: TenantId, changes: &Changes, listed: &mut Listed, retention: &Retention) {
    let mut ended = List::new("ZADD", Some(keys::ended(tenant)));
    for record in &changes.ended {
        if let InteractionState::Ended { at_ms, .. } = record.state {
            ended.add(commit, [at_ms.0.to_string(), record.id.to_string()]);
        }
        listed.readable.push_back(record.id);
    }
    ended.finish(commit);
    let mut gone = List::new("UNLINK", None);
    while listed.readable.len() > retention.ended_most
        && let Some(oldest) = listed.readable.pop_front()
    {
        gone.add(commit, [keys::interaction(tenant, oldest)]);
        gone.add(commit, [keys::history(tenant, oldest)]);
    }
    gone.finish(commit);
}

/// Forgets who ended longer ago than anybody may ask for, or before the last [`MAX_ENDED`].
pub(crate) fn trim_ended(commit: &mut Commit, tenant: TenantId, now: TimestampMs) {
    let old = now.0.saturating_sub(ENDED_REMEMBERED_MS);
    commit.push(["ZREMRANGEBYSCORE".to_owned(), keys::ended(tenant), "-inf".to_owned(), old.to_string()]);
    let most = i64::try_from(MAX_ENDED).unwrap_or(i64::MAX);
    commit.push(["ZREMRANGEBYRANK".to_owned(), keys::ended(tenant), "0".to_owned(), (-1 - most).to_string()]);
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

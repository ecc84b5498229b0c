//! The deciding half of a tenure: core, memory of commands, journal numbering, the batch being collected. No I/O.

use std::sync::Arc;

use ringdown_acd_core::routing::{Counts, Router};
use ringdown_domain::{AgentId, InteractionId, TenantId, TimestampMs};
use ringdown_events::{
    AgentConfig, CommandEnvelope, CompiledConfig, Done, JournalEntry, JournalEvent, Outcome, Refusal, RefusalCode,
    RouterRecord,
};
use ringdown_redis_store::{Commit, Guard, keys};

use super::batch::{self, Answered, Batch, EncodeError, Listed, Retention};
use super::intake::{Arrival, Message};
use super::metrics::{self, RouterMetrics};
use super::remembered::Remembered;

/// The field of the router's hash that counts commits. A commit checks it, so that one whose answer was lost can be sent
/// again: the second is refused, and says by the number that the first was applied.
pub(crate) const COMMITS_FIELD: &str = "commits";
/// The field that names the run of Redis the last commit went to.
pub(crate) const REDIS_RUN_FIELD: &str = "redis_run";

/// See the module's text.
#[derive(Debug)]
pub(crate) struct Engine {
    tenant: TenantId,
    core: Router,
    listed: Listed,
    config: Arc<CompiledConfig>,
    record: RouterRecord,
    remembered: Remembered,
    batch: Batch,
    /// Commits built so far in the tenant's life.
    commits: u64,
    redis_run: String,
    /// Sequence number of the last journal entry made.
    seq: u64,
    drained: Vec<(TimestampMs, JournalEvent)>,
    /// The next commit trims the command stream.
    trim_due: bool,
    metrics: RouterMetrics,
}

/// What an engine starts from.
pub(crate) struct Restored {
    pub(crate) core: Router,
    pub(crate) record: RouterRecord,
    pub(crate) remembered: Remembered,
    /// Interactions that ended, oldest first; the core knows of them.
    pub(crate) ended: Vec<InteractionId>,
    pub(crate) commits: u64,
    pub(crate) redis_run: String,
}

/// A commit ready to be sent.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) commit: Commit,
    pub(crate) guard: Guard,
    /// What the guarded field holds once it is applied.
    pub(crate) number: u64,
    pub(crate) commands: usize,
}

impl Engine {
    pub(crate) fn new(tenant: TenantId, config: Arc<CompiledConfig>, from: Restored, metrics: RouterMetrics) -> Self {
        Self {
            tenant,
            listed: Listed::of(&from.core, from.ended),
            core: from.core,
            config,
            seq: from.record.seq,
            record: from.record,
            remembered: from.remembered,
            batch: Batch::default(),
            commits: from.commits,
            redis_run: from.redis_run,
            drained: Vec::new(),
            trim_due: true,
            metrics,
        }
    }

    /// Decides what arrived.
    pub(crate) fn take(&mut self, now: TimestampMs, arrivals: Vec<Arrival>) -> Result<(), EncodeError> {
        for Arrival { position, message } in arrivals {
            match message {
                Message::Command(envelope) => self.command(now, *envelope)?,
                Message::Refusable { id, asker, detail } => {
                    log::warn!(tenant:% = self.tenant, position, detail; "malformed command refused");
                    self.metrics.command("malformed", "refused");
                    let refusal = Refusal { code: RefusalCode::Malformed, detail };
                    self.answer(asker, Outcome { command: id, result: Err(refusal) })?;
                }
                Message::Unreadable { detail } => {
                    log::warn!(tenant:% = self.tenant, position, detail; "unreadable command skipped");
                    self.metrics.command("unreadable", "skipped");
                }
            }
            self.batch.decided(position);
        }
        Ok(())
    }

    /// Carries out the deadlines that have passed.
    pub(crate) fn tick(&mut self, now: TimestampMs) -> Result<(), EncodeError> {
        self.core.tick(now);
        self.collect()
    }

    /// Takes a configuration.
    pub(crate) fn configure(&mut self, now: TimestampMs, config: Arc<CompiledConfig>) -> Result<(), EncodeError> {
        self.core.apply_config(now, &config);
        self.config = config;
        self.collect()
    }

    /// The configuration version in force.
    pub(crate) fn config_version(&self) -> u64 {
        self.core.config_version()
    }

    /// Whether there is something to commit.
    pub(crate) const fn has_work(&self) -> bool {
        !self.batch.is_empty()
    }

    /// How many commands wait for the next commit.
    pub(crate) const fn commands(&self) -> usize {
        self.batch.commands()
    }

    /// When the next deadline is.
    pub(crate) fn next_deadline(&self) -> Option<TimestampMs> {
        self.core.next_deadline()
    }

    /// The next commit trims the command stream behind its position.
    pub(crate) const fn trim_soon(&mut self) {
        self.trim_due = true;
    }

    /// Builds the commit of everything decided since the last one.
    pub(crate) fn prepare(&mut self, now: TimestampMs, retention: &Retention) -> Result<Prepared, EncodeError> {
        let batch = std::mem::take(&mut self.batch);
        let commands = batch.commands();
        self.record.open = self.core.is_open();
        self.record.config_version = self.core.config_version();
        let mut commit = batch.build(self.tenant, &mut self.core, &mut self.listed, &mut self.record, retention)?;
        let expected = if self.commits == 0 { String::new() } else { self.commits.to_string() };
        self.commits += 1;
        let number = self.commits;
        let extra = [(COMMITS_FIELD, number.to_string()), (REDIS_RUN_FIELD, self.redis_run.clone())];
        batch::write_record(&mut commit, self.tenant, &self.record, &extra);
        if std::mem::take(&mut self.trim_due) && self.record.position != "0-0" {
            batch::trim_ended(&mut commit, self.tenant, now);
            batch::trim_commands(&mut commit, self.tenant, &self.record);
        }
        let guard = Guard { key: keys::router(self.tenant), field: COMMITS_FIELD, expected };
        Ok(Prepared { commit, guard, number, commands })
    }

    /// Figures for metrics.
    pub(crate) fn counts(&self) -> Counts {
        self.core.counts()
    }

    /// Age of the longest wait in milliseconds.
    pub(crate) fn oldest_waiting_ms(&self, now: TimestampMs) -> u64 {
        let waiting =
            self.core.interactions().filter(|record| record.state == ringdown_domain::InteractionState::Waiting);
        waiting.map(|record| now.since_ms(record.arrived_at_ms)).max().unwrap_or(0)
    }

    fn command(&mut self, now: TimestampMs, envelope: CommandEnvelope) -> Result<(), EncodeError> {
        let kind = metrics::kind(&envelope.command);
        if let Some(answer) = self.remembered.answer(envelope.id) {
            self.metrics.command(kind, "repeated");
            let outcome = Arc::clone(answer);
            self.batch.answer(Answered { asker: envelope.asker, command: envelope.id, outcome });
            return Ok(());
        }
        let result = self.core.command(now, &envelope.command);
        self.metrics.command(kind, result_label(&result));
        self.collect()?;
        self.answer(envelope.asker, Outcome { command: envelope.id, result })
    }

    fn answer(&mut self, asker: String, outcome: Outcome) -> Result<(), EncodeError> {
        let text: Arc<str> = serde_json::to_string(&outcome)?.into();
        self.remembered.remember(outcome.command, Arc::clone(&text));
        self.batch.answer(Answered { asker, command: outcome.command, outcome: text });
        Ok(())
    }

    /// Numbers what happened and puts it into the batch.
    fn collect(&mut self) -> Result<(), EncodeError> {
        self.core.drain_events(&mut self.drained);
        for (at_ms, event) in self.drained.drain(..) {
            self.seq += 1;
            let about = event.interaction_id().and_then(|id| self.core.interaction(id));
            let node = about.and_then(|record| record.node.clone());
            let entry = JournalEntry { seq: self.seq, at_ms, event };
            self.batch.happened(&entry, node, |agent| phone(&self.config, agent))?;
        }
        Ok(())
    }
}

fn phone(config: &CompiledConfig, agent: AgentId) -> (Option<String>, String) {
    (config.agents.get(&agent).map(AgentConfig::phone_user), config.meta.realm.clone())
}

const fn result_label(result: &Result<Done, Refusal>) -> &'static str {
    match result {
        Ok(Done::Changed) => "changed",
        Ok(Done::Created { .. }) => "created",
        Ok(Done::Unchanged) => "unchanged",
        Err(_) => "refused",
    }
}

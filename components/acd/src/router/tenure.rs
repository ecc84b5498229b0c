//! The time during which this process routes a tenant: recovery, then the loop, until stop or loss.
//!
//! The loop waits for one thing at a time and never decides on a state that another process may have changed: its core is
//! built after the lease was acquired, and thrown away with the tenure.
//!
//! An ended interaction is withdrawn from a node by its own entry, which carries its record; so it does not matter that the
//! core has forgotten it when its earlier entries of the same batch are written: `OfferFailed` of an interaction that ends
//! in the same step is followed by the `End` of the whole.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ringdown_acd_core::routing::{MAX_ENDED, MAX_RECENT, OfferIds, Router};
use ringdown_domain::{InteractionId, InteractionState, TenantId};
use ringdown_events::{CompiledConfig, InteractionRecord};
use ringdown_redis_store::{
    CommitError, Committer, Lease, RedisPool, Retry, StoreError, StreamReader, StreamStart, keys, newest_stream_id,
    redis, snapshot,
};
use ringdown_service::entropy;
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::batch::Retention;
use super::engine::{COMMITS_FIELD, Engine, Prepared, REDIS_RUN_FIELD, Restored};
use super::intake::{self, Arrivals};
use super::metrics::TenantLabel;
use super::remembered::Remembered;
use super::seat::Seat;
use super::{Shared, audit, phones};

/// The longest sleep of the loop; figures are told and the command stream is trimmed this often.
const HOUSEKEEPING: Duration = Duration::from_secs(1);
/// Ended interactions read at once: a few hundred kilobytes.
const ENDED_CHUNK: i64 = 10_000;
/// How long the last commits may take after a stop was asked for.
const LAST_COMMIT_LIMIT: Duration = Duration::from_secs(3);

/// Why a tenure ended.
#[derive(Debug)]
pub(crate) enum Ended {
    /// Asked to.
    Stopped,
    /// Somebody else may be the router now.
    Lost(String),
    /// The state cannot be read, or a decision cannot be written: repeating may not help.
    Failed(String),
}

/// A tenure under way.
pub(crate) struct Tenure {
    engine: Engine,
    lease: Arc<Lease>,
    /// Rests here until the first commit.
    committer: Option<Committer>,
    arrivals: mpsc::Receiver<Arrivals>,
    /// Cancelled when the lease is known to be lost.
    lost: CancellationToken,
    /// Ends the tenure's tasks.
    _end: DropGuard,
    retention: Retention,
    /// Deadlines wait until the backlog of commands was taken: a phone answered in time counts as answered.
    caught_up: bool,
}

/// A commit on its way. It gives the committer back.
type InFlight = Pin<Box<dyn Future<Output = (Committer, Result<(), Ended>)> + Send>>;

impl Tenure {
    /// Rebuilds the core from what is committed, and starts to read commands behind the committed position.
    pub(crate) async fn begin(seat: &mut Seat, lease: Arc<Lease>) -> Result<Self, StoreError> {
        let (shared, tenant) = (&seat.shared, seat.tenant);
        shared.acknowledged.take_up(tenant, lease.epoch());
        let end = CancellationToken::new();
        let lost = end.child_token();
        let renewal = renew(shared.pool.clone(), Arc::clone(&lease), lost.clone());
        shared.life.spawn_finite(format!("lease {tenant}"), renewal);
        let guard = end.clone().drop_guard();
        let config = seat.configs.borrow_and_update().clone();
        let retention = shared.config.retention();
        let mut committer = Committer::new(&shared.pool, keys::unshown(tenant), shared.config.replicas);
        committer.show_left(&lease).await.map_err(not_shown)?;
        let restored = recover(shared, tenant, &config, &lease, &retention).await?;
        let position = restored.record.position.clone();
        let engine = Engine::new(tenant, config, restored, shared.metrics.clone());
        let arrivals = start_intake(shared, tenant, position, end.clone());
        let phones = phones::watch(shared.clone(), tenant, seat.configs.clone(), end.clone());
        shared.life.spawn_finite(format!("phones {tenant}"), phones);
        shared.life.spawn_finite(format!("audit {tenant}"), run_audit(shared.clone(), tenant, end));
        Ok(Self { engine, lease, committer: Some(committer), arrivals, lost, _end: guard, retention, caught_up: false })
    }

    /// Routes until stop or loss.
    pub(crate) async fn drive(mut self, seat: &mut Seat) -> Ended {
        let mut idle = self.committer.take();
        let mut in_flight: Option<InFlight> = None;
        let mut housekeeping = tokio::time::interval(HOUSEKEEPING);
        housekeeping.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        if let Err(ended) = self.take_configuration(seat) {
            return ended;
        }
        let life = seat.shared.life.clone();
        let mut held_back = std::pin::pin!(life.held_back());
        loop {
            seat.heartbeat.touch();
            let deadline = self.until_deadline(seat);
            // Not left to the sleep below: it may never be the first to be ready while commands keep coming.
            if self.caught_up
                && deadline.is_zero()
                && let Err(ended) = self.tick(seat)
            {
                return ended;
            }
            if self.engine.has_work()
                && let Some(committer) = idle.take()
            {
                match self.start_commit(seat, committer) {
                    Ok(commit) => in_flight = Some(commit),
                    Err(ended) => return ended,
                }
            }
            let room = self.engine.commands() < seat.shared.config.batch;
            let step = tokio::select! {
                biased;
                () = self.lost.cancelled() => Err(Ended::Lost("the lease is over".to_owned())),
                (committer, result) = landed(&mut in_flight) => {
                    in_flight = None;
                    idle = Some(committer);
                    result
                }
                () = seat.stop.cancelled() => Err(self.finish(seat, idle.take(), in_flight.take()).await),
                // Handed over in order, as at the end of the daemon.
                () = &mut held_back => Err(self.finish(seat, idle.take(), in_flight.take()).await),
                arrivals = self.arrivals.recv(), if room => self.take(seat, arrivals),
                _changed = seat.configs.changed() => self.take_configuration(seat),
                () = tokio::time::sleep(deadline), if self.caught_up => self.tick(seat),
                _ = housekeeping.tick() => {
                    self.tell_figures(seat);
                    self.engine.trim_soon();
                    Ok(())
                }
            };
            if let Err(ended) = step {
                return ended;
            }
        }
    }

    fn take(&mut self, seat: &Seat, arrivals: Option<Arrivals>) -> Result<(), Ended> {
        let Some(arrivals) = arrivals else { return Err(Ended::Failed("the reader of commands ended".to_owned())) };
        self.caught_up |= arrivals.caught_up;
        let now = seat.shared.life.clock().now();
        self.engine.take(now, arrivals.list).map_err(not_encoded)
    }

    fn tick(&mut self, seat: &Seat) -> Result<(), Ended> {
        self.engine.tick(seat.shared.life.clock().now()).map_err(not_encoded)
    }

    /// At the start of a tenure too: a restored core must be given its configuration once.
    fn take_configuration(&mut self, seat: &mut Seat) -> Result<(), Ended> {
        let config = seat.configs.borrow_and_update().clone();
        let version = config.meta.version;
        if version != self.engine.config_version() {
            log::info!(tenant:% = seat.tenant, version; "configuration taken");
        }
        self.engine.configure(seat.shared.life.clock().now(), config).map_err(not_encoded)
    }

    fn start_commit(&mut self, seat: &Seat, committer: Committer) -> Result<InFlight, Ended> {
        let now = seat.shared.life.clock().now();
        let prepared = self.engine.prepare(now, &self.retention).map_err(not_encoded)?;
        let lease = Arc::clone(&self.lease);
        Ok(Box::pin(commit(seat.shared.clone(), seat.tenant, committer, lease, prepared)))
    }

    fn until_deadline(&self, seat: &Seat) -> Duration {
        let now = seat.shared.life.clock().now();
        let left = self.engine.next_deadline().map(|due| Duration::from_millis(due.since_ms(now)));
        left.map_or(HOUSEKEEPING, |left| left.min(HOUSEKEEPING))
    }

    /// After a stop: what was decided is committed, nothing more is read. What is in the stream is the successor's.
    async fn finish(&mut self, seat: &Seat, idle: Option<Committer>, in_flight: Option<InFlight>) -> Ended {
        let last = async {
            let committer = match (idle, in_flight) {
                (Some(committer), _) => committer,
                (None, Some(in_flight)) => {
                    let (committer, result) = in_flight.await;
                    result?;
                    committer
                }
                (None, None) => return Ok(()),
            };
            if self.engine.has_work() { self.start_commit(seat, committer)?.await.1 } else { Ok(()) }
        };
        match tokio::time::timeout(LAST_COMMIT_LIMIT, last).await {
            Ok(Ok(())) => Ended::Stopped,
            Ok(Err(ended)) => ended,
            Err(_) => Ended::Lost("the last commit did not end in time; the successor decides anew".to_owned()),
        }
    }

    fn tell_figures(&self, seat: &Seat) {
        let label = TenantLabel { tenant: seat.tenant.to_string() };
        let metrics = &seat.shared.metrics;
        let counts = self.engine.counts();
        let oldest = self.engine.oldest_waiting_ms(seat.shared.life.clock().now());
        metrics.waiting.get_or_create(&label).set(i64::from(counts.waiting));
        metrics.available.get_or_create(&label).set(i64::from(counts.agents_available));
        metrics.oldest_waiting_ms.get_or_create(&label).set(i64::try_from(oldest).unwrap_or(i64::MAX));
    }
}

/// What a predecessor committed cannot be shown now; the tenure begins when it can.
fn not_shown(error: CommitError) -> StoreError {
    match error {
        CommitError::Store(error) => error,
        CommitError::Fenced { .. } | CommitError::Moved { .. } | CommitError::TooFewReplicas { .. } => {
            StoreError::Unavailable { what: "recover", detail: error.to_string() }
        }
    }
}

fn not_encoded(error: serde_json::Error) -> Ended {
    Ended::Failed(format!("a record cannot be written as JSON: {error}"))
}

/// The end of the commit on its way; never, when there is none.
async fn landed(in_flight: &mut Option<InFlight>) -> (Committer, Result<(), Ended>) {
    match in_flight {
        Some(commit) => commit.await,
        None => std::future::pending().await,
    }
}

/// Sends a commit until it is certain whether it was applied.
async fn commit(
    shared: Shared,
    tenant: TenantId,
    mut committer: Committer,
    lease: Arc<Lease>,
    prepared: Prepared,
) -> (Committer, Result<(), Ended>) {
    let started = Instant::now();
    let mut unknown = false;
    let mut label = "failed";
    let number = prepared.number.to_string();
    let result = loop {
        match committer.commit(&lease, Some(&prepared.guard), &prepared.commit).await {
            Ok(()) => break Ok(()),
            Err(CommitError::Moved { found }) if unknown && found == number => match committer.confirm(&lease).await {
                Ok(()) => break Ok(()),
                Err(error) => log::warn!(error:% = error; "commit not yet confirmed by the replicas"),
            },
            Err(CommitError::Moved { found }) => {
                label = "moved";
                let expected = prepared.guard.expected.as_str();
                break Err(Ended::Lost(format!("commit {found} is in Redis where {expected} was expected")));
            }
            Err(CommitError::Fenced { held_by }) => {
                lease.mark_lost();
                label = "fenced";
                break Err(Ended::Lost(format!("fenced: the lease is held by {held_by:?}")));
            }
            Err(CommitError::Store(error)) if !error.is_passing() => break Err(Ended::Failed(error.to_string())),
            Err(error @ (CommitError::Store(_) | CommitError::TooFewReplicas { .. })) => {
                unknown = true;
                log::warn!(error:% = error; "commit not confirmed; asking again");
            }
        }
        if lease.is_lost() || lease.is_surely_over() {
            lease.mark_lost();
            break Err(Ended::Lost("the lease ended while Redis did not answer".to_owned()));
        }
        tokio::time::sleep(committer.pause_after_failure()).await;
    };
    if result.is_ok() {
        shared.acknowledged.note(tenant, lease.epoch(), prepared.number);
    }
    let label = if result.is_ok() { "ok" } else { label };
    shared.metrics.commit(label, prepared.commands, started.elapsed());
    (committer, result)
}

/// Renews the lease until the tenure ends; tells when it is lost.
async fn renew(pool: RedisPool, lease: Arc<Lease>, lost: CancellationToken) {
    let every = lease.ttl() / 4;
    loop {
        tokio::select! {
            () = lost.cancelled() => return,
            () = tokio::time::sleep(every) => {}
        }
        match lease.renew(&pool).await {
            Ok(Ok(())) => continue,
            Ok(Err(_)) => {}
            Err(_) if !lease.is_surely_over() => continue,
            Err(error) => log::warn!(error:% = error; "the lease could not be renewed in its time"),
        }
        lease.mark_lost();
        lost.cancel();
        return;
    }
}

fn start_intake(
    shared: &Shared,
    tenant: TenantId,
    position: String,
    end: CancellationToken,
) -> mpsc::Receiver<Arrivals> {
    let (sender, receiver) = mpsc::channel(intake::BATCHES_AHEAD);
    let mut reader = StreamReader::new(&shared.pool, "intake", shared.config.batch);
    reader.follow(&keys::commands(tenant), StreamStart::After(position));
    shared.life.spawn_finite(format!("intake {tenant}"), intake::read(reader, sender, end));
    receiver
}

/// Rebuilds everything a tenure starts from. The lease is held, so nobody else writes meanwhile.
async fn recover(
    shared: &Shared,
    tenant: TenantId,
    config: &CompiledConfig,
    lease: &Lease,
    retention: &Retention,
) -> Result<Restored, StoreError> {
    let limit = usize::try_from(retention.outcomes).unwrap_or(usize::MAX);
    let journal = keys::journal(tenant);
    let (state, remembered, ended, marks, newest) = tokio::try_join!(
        snapshot::read_as_lease_holder(&shared.pool, tenant),
        Remembered::rebuild(&shared.pool, tenant, limit),
        read_ended(&shared.pool, tenant),
        read_marks(&shared.pool, tenant),
        newest_stream_id(&shared.pool, &journal),
    )?;
    let mut record = state.router.clone();
    if record.position.is_empty() {
        record.position = "0-0".to_owned();
    }
    let newest = newest.split('-').next().and_then(|seq| seq.parse().ok()).unwrap_or(0);
    let ahead = newest > record.seq;
    if ahead {
        // Only a commit that failed half-way, on a key of another type, leaves this behind. Numbers are not used twice.
        log::error!(tenant:% = tenant, newest, seq = record.seq; "the journal is ahead of the router's record");
        record.seq = newest;
    }
    // Another run of Redis may have lost what it had acknowledged (a crash of the host, a failover): readers of the journal must
    // not take its numbers for those they know. A run that has all that this process saw acknowledged, or that writes to disk
    // before each answer, has lost nothing, and readers go on where they are.
    let lost =
        marks.last_run != marks.this_run && !marks.durable && !shared.acknowledged.is_there(tenant, marks.commits);
    if ahead || record.journal_epoch.is_empty() || lost {
        record.journal_epoch = format!("{:016x}", u64::from_le_bytes(entropy::bytes()));
    }
    record.epoch = lease.epoch();
    let ids = OfferIds::new(tenant, lease.epoch());
    let mut interactions = state.interactions;
    interactions.extend(read_final(&shared.pool, tenant, &ended).await?);
    let mut core = Router::restore(ids, config, state.agents, interactions, &record);
    core.remember_ended(ended.iter().copied());
    let repairs = core.counts().repairs;
    if repairs > 0 {
        log::error!(tenant:% = tenant, repairs; "records disagreed and were put right");
    }
    Ok(Restored { core, record, remembered, ended, commits: marks.commits, redis_run: marks.this_run })
}

/// The final records of those that ended last, which may still be classed. One that cannot be read is left out: routing does
/// not depend on it.
async fn read_final(
    pool: &RedisPool,
    tenant: TenantId,
    ended: &[InteractionId],
) -> Result<Vec<InteractionRecord>, StoreError> {
    let newest = &ended[ended.len().saturating_sub(MAX_RECENT)..];
    if newest.is_empty() {
        return Ok(Vec::new());
    }
    let mut cmd = redis::cmd("MGET");
    for id in newest {
        cmd.arg(keys::interaction(tenant, *id));
    }
    let texts: Vec<Option<String>> = pool.run("recover", Retry::Safe, &cmd).await?;
    let records = texts.into_iter().flatten().filter_map(|text| serde_json::from_str::<InteractionRecord>(&text).ok());
    Ok(records.filter(|record| matches!(record.state, InteractionState::Ended { .. })).collect())
}

/// What the router's hash holds beyond its record, and which run of Redis answers.
struct Marks {
    commits: u64,
    last_run: String,
    this_run: String,
    /// Redis writes to disk before it answers.
    durable: bool,
}

async fn read_marks(pool: &RedisPool, tenant: TenantId) -> Result<Marks, StoreError> {
    let mut fields = redis::cmd("HGETALL");
    fields.arg(keys::router(tenant));
    let fields: HashMap<String, String> = pool.run("recover", Retry::Safe, &fields).await?;
    let mut info = redis::cmd("INFO");
    info.arg("server");
    let info: String = pool.run("recover", Retry::Safe, &info).await?;
    let this_run = info.lines().find_map(|line| line.strip_prefix("run_id:")).unwrap_or_default();
    let durable = is_durable(pool).await;
    Ok(Marks {
        commits: fields.get(COMMITS_FIELD).and_then(|text| text.parse().ok()).unwrap_or(0),
        last_run: fields.get(REDIS_RUN_FIELD).cloned().unwrap_or_default(),
        this_run: this_run.trim().to_owned(),
        durable,
    })
}

/// Whether Redis writes every change to its disk before it answers. One that may not be asked (CONFIG is closed on many hosted
/// ones) is not believed to.
async fn is_durable(pool: &RedisPool) -> bool {
    let mut ask = redis::cmd("CONFIG");
    ask.arg("GET").arg("append*");
    match pool.run::<HashMap<String, String>>("recover", Retry::Safe, &ask).await {
        Ok(found) => {
            let is = |name: &str, value: &str| found.get(name).is_some_and(|text| text == value);
            is("appendonly", "yes") && is("appendfsync", "always")
        }
        Err(error) => {
            log::debug!(error:% = error; "Redis does not tell how it writes");
            false
        }
    }
}

/// The interactions that ended and are remembered, oldest first.
async fn read_ended(pool: &RedisPool, tenant: TenantId) -> Result<Vec<InteractionId>, StoreError> {
    let most = i64::try_from(MAX_ENDED).unwrap_or(i64::MAX);
    let mut ids = Vec::new();
    // From the newest ones on, in pieces that do not hold up Redis.
    let mut first = -most;
    while first < 0 {
        let last = (first + ENDED_CHUNK - 1).min(-1);
        let mut range = redis::cmd("ZRANGE");
        range.arg(keys::ended(tenant)).arg(first).arg(last);
        let texts: Vec<String> = pool.run("recover", Retry::Safe, &range).await?;
        // One that is no id was not written by a router; it stands for nobody.
        ids.extend(texts.iter().filter_map(|text| text.parse::<InteractionId>().ok()));
        first = last + 1;
    }
    Ok(ids)
}

/// Checks the tenant's state over and over while this process routes it.
async fn run_audit(shared: Shared, tenant: TenantId, end: CancellationToken) {
    let label = TenantLabel { tenant: tenant.to_string() };
    loop {
        tokio::select! {
            () = end.cancelled() => return,
            () = tokio::time::sleep(audit::REST) => {}
        }
        let found = tokio::select! {
            () = end.cancelled() => return,
            found = audit::pass(&shared.pool, tenant) => found,
        };
        match found {
            Ok(wrong) => {
                let count = i64::try_from(wrong.len()).unwrap_or(i64::MAX);
                shared.metrics.inconsistent.get_or_create(&label).set(count);
                if let Some(first) = wrong.first() {
                    log::error!(tenant:% = tenant, count, first; "the audit found records that disagree");
                }
            }
            Err(error) => log::debug!(tenant:% = tenant, error:% = error; "audit broken off"),
        }
    }
}

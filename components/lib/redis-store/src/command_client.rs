//! Asking a tenant's router.
//!
//! A command is appended to the tenant's stream, which makes it durable, and its outcome is awaited in the tenant's
//! outcome stream. One task per process ([`OutcomeTail`]) reads the outcome streams of all tenants in use and wakes who
//! waits. No outcome within the limit is *unknown*: the command may still be done, and asking again with the same id is
//! safe, since the router remembers ids.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ringdown_domain::{CommandId, TenantId, TimestampMs};
use ringdown_events::{Command, CommandEnvelope, MESSAGE_VERSION, Outcome};
use ringdown_service::{Clock, entropy};
use tokio::sync::{Notify, oneshot};

use crate::stream::{StreamReader, StreamStart, newest_stream_id};
use crate::{RedisPool, Retry, StoreError, keys};

/// How long [`CommandClient::send`] waits for an outcome.
pub const DEFAULT_ANSWER_LIMIT: Duration = Duration::from_secs(2);

/// The most commands of one process whose outcomes are awaited. Beyond it the process is told to slow down.
const MAX_WAITING: usize = 20_000;
/// One read of the outcome streams waits this long; new tenants interrupt it.
const TAIL_WAIT: Duration = Duration::from_secs(5);
/// Entries per tenant and read.
const TAIL_BATCH: usize = 1_000;

/// What became of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The router decided; done or refused.
    Outcome(Outcome),
    /// No outcome in time. The command may yet be done; asking again with the same id is safe.
    Unknown {
        /// The command's id.
        command: CommandId,
    },
}

/// Appends commands and waits for their outcomes. Cloning shares it.
#[derive(Clone, Debug)]
pub struct CommandClient {
    pool: RedisPool,
    shared: Arc<Shared>,
    answer_limit: Duration,
}

/// The task that reads outcomes; a daemon runs it once, for as long as it asks.
#[derive(Debug)]
pub struct OutcomeTail {
    pool: RedisPool,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    asker: String,
    waiting: Mutex<Waiting>,
    /// Tenants in use and where their outcomes start to matter to us.
    tenants: Mutex<HashMap<TenantId, String>>,
    new_tenant: Notify,
}

/// Who waits for which outcome: several for one, when the same command is sent again meanwhile.
#[derive(Debug, Default)]
struct Waiting {
    by_command: HashMap<CommandId, Vec<(u64, oneshot::Sender<Outcome>)>>,
    count: usize,
    next: u64,
}

impl Waiting {
    fn add(&mut self, id: CommandId) -> (u64, oneshot::Receiver<Outcome>) {
        let (sender, receiver) = oneshot::channel();
        self.next += 1;
        self.count += 1;
        self.by_command.entry(id).or_default().push((self.next, sender));
        (self.next, receiver)
    }

    fn take(&mut self, id: CommandId) -> Vec<(u64, oneshot::Sender<Outcome>)> {
        let waiters = self.by_command.remove(&id).unwrap_or_default();
        self.count -= waiters.len();
        waiters
    }

    fn leave(&mut self, id: CommandId, number: u64) {
        let Some(waiters) = self.by_command.get_mut(&id) else { return };
        let before = waiters.len();
        waiters.retain(|(waiter, _)| *waiter != number);
        self.count -= before - waiters.len();
        if waiters.is_empty() {
            self.by_command.remove(&id);
        }
    }
}

impl CommandClient {
    /// A client and its tail. `asker` names this process and must differ between processes and between their runs.
    #[must_use]
    pub fn new(pool: RedisPool, asker: String) -> (Self, OutcomeTail) {
        let shared =
            Arc::new(Shared { asker, waiting: Mutex::default(), tenants: Mutex::default(), new_tenant: Notify::new() });
        let tail = OutcomeTail { pool: pool.clone(), shared: Arc::clone(&shared) };
        (Self { pool, shared, answer_limit: DEFAULT_ANSWER_LIMIT }, tail)
    }

    /// The same client with another limit for the wait.
    #[must_use]
    pub const fn with_answer_limit(mut self, limit: Duration) -> Self {
        self.answer_limit = limit;
        self
    }

    /// Sends a command under a new id and waits for its outcome.
    ///
    /// # Errors
    /// The command was certainly not accepted: Redis was away or refused, or too many commands wait.
    pub async fn send(&self, tenant: TenantId, command: Command) -> Result<Answer, StoreError> {
        self.send_as(tenant, new_command_id(), command).await
    }

    /// Sends a command under a given id and waits for its outcome. To repeat one, pass the same id and the same command.
    ///
    /// # Errors
    /// As [`CommandClient::send`].
    pub async fn send_as(&self, tenant: TenantId, id: CommandId, command: Command) -> Result<Answer, StoreError> {
        let started = Instant::now();
        self.watch(tenant).await?;
        let (waiter, registered) = self.shared.wait_for(id, &self.pool)?;
        let appended = self.append_envelope(tenant, &self.envelope(id, command)).await;
        let result = match appended {
            Err(error) if !error.outcome_unknown() => Err(error),
            // An append whose answer was lost may still be read by the router: wait as for any other.
            Ok(()) | Err(_) => {
                let left = self.answer_limit.saturating_sub(started.elapsed());
                Ok(match tokio::time::timeout(left, waiter).await {
                    Ok(Ok(outcome)) => Answer::Outcome(outcome),
                    Ok(Err(_)) | Err(_) => Answer::Unknown { command: id },
                })
            }
        };
        drop(registered);
        let kind = match &result {
            Ok(Answer::Outcome(_)) => "outcome",
            Ok(Answer::Unknown { .. }) => "unknown",
            Err(_) => "not_sent",
        };
        self.pool.metrics().answer(kind, started.elapsed());
        result
    }

    /// Appends a command without waiting for its outcome.
    ///
    /// # Errors
    /// See [`StoreError`]; after [`StoreError::Unknown`] append again with the same id.
    pub async fn append(&self, tenant: TenantId, id: CommandId, command: Command) -> Result<(), StoreError> {
        self.append_envelope(tenant, &self.envelope(id, command)).await
    }

    fn envelope(&self, id: CommandId, command: Command) -> CommandEnvelope {
        CommandEnvelope { version: MESSAGE_VERSION, id, asker: self.shared.asker.clone(), at_ms: wall_clock(), command }
    }

    async fn append_envelope(&self, tenant: TenantId, envelope: &CommandEnvelope) -> Result<(), StoreError> {
        let text = serde_json::to_string(envelope)
            .map_err(|error| StoreError::Unreadable { what: "append_command", detail: error.to_string() })?;
        let mut cmd = redis::cmd("XADD");
        cmd.arg(keys::commands(tenant)).arg("*").arg(keys::ENTRY_FIELD).arg(text);
        let _id: String = self.pool.run_shared("append_command", Retry::Safe, &cmd).await?;
        Ok(())
    }

    /// Makes sure the tail reads the tenant's outcomes from here on.
    async fn watch(&self, tenant: TenantId) -> Result<(), StoreError> {
        if lock(&self.shared.tenants).contains_key(&tenant) {
            return Ok(());
        }
        let newest = newest_stream_id(&self.pool, &keys::outcomes(tenant)).await?;
        lock(&self.shared.tenants).entry(tenant).or_insert(newest);
        self.shared.new_tenant.notify_one();
        Ok(())
    }
}

impl OutcomeTail {
    /// Reads outcomes until `stop` completes. Aborting it leaves askers without an answer: they get *unknown*.
    pub async fn run(self, stop: impl Future<Output = ()>) {
        tokio::pin!(stop);
        let mut reader = StreamReader::new(&self.pool, "outcome_tail", TAIL_BATCH);
        loop {
            self.follow_new(&mut reader);
            if reader.is_empty() {
                tokio::select! {
                    () = &mut stop => return,
                    () = self.shared.new_tenant.notified() => continue,
                }
            }
            let read = tokio::select! {
                () = &mut stop => return,
                () = self.shared.new_tenant.notified() => {
                    // The read is given up half-way: what it would have returned is read again.
                    reader.disconnect();
                    continue;
                }
                read = reader.next(TAIL_WAIT) => read,
            };
            match read {
                Ok(entries) => entries.iter().for_each(|entry| self.shared.deliver(entry, &self.pool)),
                Err(error) => {
                    log::warn!(error:display; "cannot read outcomes; trying again");
                    let pause = reader.pause_after_failure();
                    tokio::select! {
                        () = &mut stop => return,
                        () = tokio::time::sleep(pause) => {}
                    }
                }
            }
        }
    }

    fn follow_new(&self, reader: &mut StreamReader) {
        for (tenant, start) in lock(&self.shared.tenants).iter() {
            let stream = keys::outcomes(*tenant);
            if reader.position(&stream).is_none() {
                reader.follow(&stream, StreamStart::After(start.clone()));
            }
        }
    }
}

impl Shared {
    fn wait_for(
        self: &Arc<Self>,
        id: CommandId,
        pool: &RedisPool,
    ) -> Result<(oneshot::Receiver<Outcome>, Registered), StoreError> {
        let mut waiting = lock(&self.waiting);
        if waiting.count >= MAX_WAITING {
            return Err(StoreError::Overloaded { what: "send_command", limit: MAX_WAITING });
        }
        let (number, receiver) = waiting.add(id);
        pool.metrics().waiting(waiting.count);
        drop(waiting);
        Ok((receiver, Registered { shared: Arc::clone(self), id, number }))
    }

    fn deliver(&self, entry: &crate::StreamEntry, pool: &RedisPool) {
        if entry.field(keys::OUTCOME_ASKER_FIELD) != Some(self.asker.as_str()) {
            return;
        }
        let Some(text) = entry.field(keys::OUTCOME_FIELD) else { return };
        match serde_json::from_str::<Outcome>(text) {
            Ok(outcome) => {
                let mut waiting = lock(&self.waiting);
                // Each repeat is answered by the router with the first outcome: whichever answer comes first serves all.
                for (_, waiter) in waiting.take(outcome.command) {
                    // A waiter that gave up meanwhile needs no answer.
                    let _gone = waiter.send(outcome.clone());
                }
                pool.metrics().waiting(waiting.count);
            }
            Err(error) => log::warn!(stream = entry.stream, id = entry.id, error:display; "unreadable outcome"),
        }
    }
}

/// Takes a waiter out of the table when its asker leaves, by whatever way.
struct Registered {
    shared: Arc<Shared>,
    id: CommandId,
    number: u64,
}

impl Drop for Registered {
    fn drop(&mut self) {
        lock(&self.shared.waiting).leave(self.id, self.number);
    }
}

/// A poisoned table is still a table: each entry stands for itself.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn wall_clock() -> TimestampMs {
    Clock::system().now()
}

fn new_command_id() -> CommandId {
    CommandId::from_parts(wall_clock().0, &entropy::bytes())
}

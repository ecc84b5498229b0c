//! Bindings in Redis: `{T}:location:<user>`, one script per REGISTER.
//!
//! An AOR always goes to the same worker, one order after the other, so the core gets results in the order of its
//! orders. A write is never repeated: the script would refuse it as out of order, and the phone comes back by itself.
//! While Redis is away, workers answer at once for [`AWAY_MS`] after each failure instead of letting phones wait.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use ringdown_domain::TenantId;
use ringdown_redis_store::redis::{self, Script};
use ringdown_redis_store::{RedisPool, Retry, StoreError, keys};
use ringdown_registrar_core::bindings::{Aor, Binding, Change, MAX_BINDINGS, Refusal};
use ringdown_registrar_core::edge::{RegisterSender, StoreResult};
use ringdown_service::{Clock, Life};
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::sync::oneshot;

use crate::driver::Input;

/// Workers, each with one order in flight: what one Redis answers in parallel.
const WORKERS: usize = 16;
/// Orders that may wait per worker: half a second of its capacity. More are answered unavailable.
const QUEUE: usize = 512;
/// How long a failure answers for those behind it.
const AWAY_MS: u64 = 250;

static REGISTER: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("store/register.lua")));
static FORGET: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("store/forget.lua")));

/// What is to be done to the bindings of an AOR.
#[derive(Debug)]
pub(crate) enum Order {
    /// A REGISTER's changes; reported.
    Register { operation: u64, sender: RegisterSender, changes: Vec<Change> },
    /// A binding is gone, unless it was renewed meanwhile; then what is there is reported.
    Forget { binding: Box<Binding> },
    /// Others may have changed something: what is there is reported. Says whether that could be done.
    Reload { done: oneshot::Sender<bool> },
}

struct Job {
    tenant: TenantId,
    aor: Aor,
    order: Order,
}

/// The way to the workers.
#[derive(Clone)]
pub(crate) struct Store {
    workers: Vec<Sender<Job>>,
}

impl Store {
    /// Starts the workers; they end when all let go of the store. `holder` is who we are for other registrars.
    pub(crate) fn start(pool: &RedisPool, inbox: &Sender<Input>, holder: &str, life: &Life) -> Self {
        let holder: Arc<str> = holder.into();
        let workers = (0..WORKERS)
            .map(|_| {
                let (sender, jobs) = mpsc::channel(QUEUE);
                let worker = Worker {
                    pool: pool.clone(),
                    inbox: inbox.clone(),
                    holder: Arc::clone(&holder),
                    clock: life.clock().clone(),
                    away_until: None,
                };
                life.spawn_finite("location-store", worker.work(jobs));
                sender
            })
            .collect();
        Self { workers }
    }

    /// Hands an order on; false when there is no room.
    pub(crate) fn order(&self, tenant: TenantId, aor: Aor, order: Order) -> bool {
        self.worker(&aor).try_send(Job { tenant, aor, order }).is_ok()
    }

    /// Has the bindings of an AOR read again, behind the orders for it that came before; false when that failed.
    pub(crate) async fn reload(&self, tenant: TenantId, aor: Aor) -> bool {
        let (done, read) = oneshot::channel();
        let sent = self.worker(&aor).send(Job { tenant, aor, order: Order::Reload { done } }).await;
        sent.is_ok() && read.await.unwrap_or(false)
    }

    fn worker(&self, aor: &Aor) -> &Sender<Job> {
        let mut hasher = DefaultHasher::new();
        aor.hash(&mut hasher);
        let slot = usize::try_from(hasher.finish() % self.workers.len() as u64).unwrap_or(0);
        &self.workers[slot]
    }
}

/// What became of a binding that expired here or lost its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Forgotten {
    Gone,
    /// The phone came back meanwhile, here or at another registrar.
    Renewed,
}

struct Worker {
    pool: RedisPool,
    inbox: Sender<Input>,
    holder: Arc<str>,
    clock: Clock,
    away_until: Option<Instant>,
}

impl Worker {
    async fn work(mut self, mut jobs: Receiver<Job>) {
        while let Some(Job { tenant, aor, order }) = jobs.recv().await {
            match order {
                Order::Register { operation, sender, changes } => {
                    let result = self.register(tenant, &aor, &sender, &changes).await;
                    // The driver is gone only when the daemon ends.
                    let _ = self.inbox.send(Input::Stored { operation, result }).await;
                }
                Order::Forget { binding } => {
                    if self.forget(tenant, &aor, &binding).await == Forgotten::Renewed {
                        self.reload(tenant, aor).await;
                    }
                }
                Order::Reload { done } => {
                    let read = self.reload(tenant, aor).await;
                    // Who asked stopped waiting only when the daemon ends.
                    let _ = done.send(read);
                }
            }
        }
    }

    async fn register(
        &mut self,
        tenant: TenantId,
        aor: &Aor,
        sender: &RegisterSender,
        changes: &[Change],
    ) -> StoreResult {
        if self.away_until.is_some_and(|until| Instant::now() < until) {
            return StoreResult::Unavailable;
        }
        let keys = [keys::location(tenant, &aor.user)];
        let channel = keys::location_changed(tenant);
        let now_ms = self.clock.now().0.to_string();
        let RegisterSender { call_id, cseq, from_tag } = sender.clone();
        let (cseq, limit) = (cseq.to_string(), MAX_BINDINGS.to_string());
        let mut args = vec![now_ms, call_id, cseq, limit, channel, self.holder.to_string(), aor.user.clone(), from_tag];
        for change in changes {
            let Ok(fields) = change_fields(change) else { return StoreResult::Unavailable };
            args.extend(fields);
        }
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let answer = self.pool.run_script::<Vec<String>>("register", Retry::Never, &REGISTER, &keys, &args).await;
        match answer {
            Ok(lines) => {
                self.away_until = None;
                read_answer(&lines)
            }
            Err(error) => self.failed(&error),
        }
    }

    /// Has what is stored told to the driver; false when it cannot be read.
    async fn reload(&mut self, tenant: TenantId, aor: Aor) -> bool {
        let mut cmd = redis::cmd("HGETALL");
        cmd.arg(keys::location(tenant, &aor.user));
        match self.pool.run::<HashMap<String, String>>("reload_location", Retry::Safe, &cmd).await {
            Ok(values) => {
                let values: Vec<String> = values.into_values().collect();
                self.inbox.send(Input::Loaded { aor, bindings: read_bindings(&values) }).await.is_ok()
            }
            Err(error) => {
                log::debug!(error:% = error; "the bindings of a user cannot be read again");
                false
            }
        }
    }

    async fn forget(&mut self, tenant: TenantId, aor: &Aor, binding: &Binding) -> Forgotten {
        let keys = [keys::location(tenant, &aor.user)];
        let channel = keys::location_changed(tenant);
        let cseq = binding.cseq.to_string();
        let args = [binding.key.as_str(), &binding.call_id, &cseq, &channel, &self.holder, &aor.user];
        // Repeating is harmless: a binding that is gone stays gone. What fails for good expires with its key.
        match self.pool.run_script::<i64>("forget_binding", Retry::Safe, &FORGET, &keys, &args).await {
            Ok(2) => Forgotten::Renewed,
            Ok(_) => Forgotten::Gone,
            Err(error) => {
                log::debug!(error:% = error; "a binding that is gone stays in the store until it expires");
                Forgotten::Gone
            }
        }
    }

    fn failed(&mut self, error: &StoreError) -> StoreResult {
        log::warn!(error:% = error; "a registration could not be stored");
        if error.is_passing() {
            self.away_until = Some(Instant::now() + Duration::from_millis(AWAY_MS));
        }
        StoreResult::Unavailable
    }
}

fn change_fields(change: &Change) -> Result<[String; 4], serde_json::Error> {
    Ok(match change {
        Change::Put(binding) => {
            let text = serde_json::to_string(binding)?;
            ["put".to_owned(), binding.key.clone(), text, binding.expires_at_ms.to_string()]
        }
        Change::Remove(key) => ["del".to_owned(), key.clone(), String::new(), "0".to_owned()],
    })
}

fn read_answer(lines: &[String]) -> StoreResult {
    match lines.split_first().map(|(first, rest)| (first.as_str(), rest)) {
        Some(("ok", values)) => StoreResult::Done(read_bindings(values)),
        Some(("out_of_order", _)) => StoreResult::Refused(Refusal::OutOfOrder),
        Some(("too_many", _)) => StoreResult::Refused(Refusal::TooMany),
        Some(_) | None => StoreResult::Unavailable,
    }
}

/// The bindings among these values; what cannot be read was written by nobody we know and is left alone.
pub(crate) fn read_bindings(values: &[String]) -> Vec<Binding> {
    values.iter().filter_map(|text| serde_json::from_str(text).ok()).collect()
}

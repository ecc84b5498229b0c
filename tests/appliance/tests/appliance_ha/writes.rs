//! Writers of the stores, who keep what was acknowledged to them: Redis as the daemons find it, PostgreSQL by its members.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use ringdown_appliance::fleet::Fleet;
use ringdown_redis_store::redis::{cmd, pipe};
use ringdown_redis_store::{RedisOptions, RedisPool, Retry, StoreMetrics};

/// Between two writes.
const PAUSE: Duration = Duration::from_millis(5);
/// Longest wait for PostgreSQL's word on one write, and for a connection to one of its members.
const ANSWER_LIMIT: Duration = Duration::from_millis(1_500);
const CONNECT_LIMIT: Duration = Duration::from_millis(1_000);

/// What became of a writer's writes.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Those that were acknowledged.
    pub(crate) acknowledged: Vec<i64>,
    /// The longest time without an acknowledgement.
    pub(crate) gap: Duration,
    /// Writes whose outcome is unknown or that were refused.
    pub(crate) failed: usize,
    /// What was said about the last of these.
    pub(crate) last_failure: String,
}

impl Tally {
    fn of(&mut self, number: i64, outcome: anyhow::Result<()>, since: &mut Instant) {
        match outcome {
            Ok(()) => {
                self.acknowledged.push(number);
                self.gap = self.gap.max(since.elapsed());
                *since = Instant::now();
            }
            Err(error) => {
                self.failed += 1;
                self.last_failure = format!("{error:#}");
            }
        }
    }
}

/// A writer at work.
#[derive(Debug)]
pub(crate) struct Writer {
    stop: Arc<AtomicBool>,
    acknowledged: Arc<std::sync::Mutex<Option<Instant>>>,
    thread: JoinHandle<anyhow::Result<anyhow::Result<Tally>>>,
}

impl Writer {
    /// Writes numbers from `first` on into the Redis that Sentinels elect.
    pub(crate) fn redis(fleet: &Fleet, url: &str, first: i64) -> anyhow::Result<Self> {
        let url = url.to_owned();
        Self::start(fleet, move |state| async move {
            let pool = RedisPool::new(RedisOptions::from_url(&url)?, StoreMetrics::default());
            state.work(first, async |number| write_redis(&pool, number).await).await
        })
    }

    /// Writes numbers from `first` on into the PostgreSQL that takes writes.
    pub(crate) fn postgres(fleet: &Fleet, url: &str, first: i64) -> anyhow::Result<Self> {
        let url = url.to_owned();
        Self::start(fleet, move |state| async move {
            let client = tokio::sync::Mutex::new(None);
            let written = async |number| {
                let mut held = client.lock().await;
                let open = match held.take() {
                    Some(open) => open,
                    None => connect(&url).await?,
                };
                let sql = "INSERT INTO load (number) VALUES ($1)";
                tokio::time::timeout(ANSWER_LIMIT, open.execute(sql, &[&number])).await.context("writing")??;
                // A connection of which anything was unknown is not used again.
                *held = Some(open);
                Ok(())
            };
            state.work(first, written).await
        })
    }

    fn start<F>(fleet: &Fleet, work: impl FnOnce(State) -> F + Send + 'static) -> anyhow::Result<Self>
    where
        F: Future<Output = anyhow::Result<Tally>>,
    {
        let stop = Arc::new(AtomicBool::new(false));
        let acknowledged = Arc::default();
        let state = State { stop: Arc::clone(&stop), acknowledged: Arc::clone(&acknowledged) };
        let thread = fleet.in_network(move || {
            // All of it in this thread, which alone is in the network.
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("a runtime")?;
            runtime.block_on(work(state))
        })?;
        let writer = Self { stop, acknowledged, thread };
        writer.wait_for_write(Duration::from_secs(20))?;
        Ok(writer)
    }

    /// Waits until something that is written from now on was acknowledged; how long that took.
    pub(crate) fn wait_for_write(&self, limit: Duration) -> anyhow::Result<Duration> {
        let started = Instant::now();
        while started.elapsed() < limit {
            let last = *self.acknowledged.lock().map_err(|_| anyhow::anyhow!("the writer panicked"))?;
            // One that was under way does not count.
            if last.is_some_and(|last| last > started + PAUSE) {
                return Ok(started.elapsed());
            }
            ensure!(!self.thread.is_finished(), "the writer ended");
            std::thread::sleep(PAUSE);
        }
        anyhow::bail!("nothing was acknowledged for {limit:?}")
    }

    /// Ends it.
    pub(crate) fn stop(self) -> anyhow::Result<Tally> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow::anyhow!("the writer panicked"))??
    }
}

struct State {
    stop: Arc<AtomicBool>,
    acknowledged: Arc<std::sync::Mutex<Option<Instant>>>,
}

impl State {
    async fn work(self, first: i64, write: impl AsyncFn(i64) -> anyhow::Result<()>) -> anyhow::Result<Tally> {
        let (mut tally, mut since) = (Tally::default(), Instant::now());
        let mut number = first;
        while !self.stop.load(Ordering::Relaxed) {
            let begun = Instant::now();
            let outcome = write(number).await;
            if outcome.is_ok() {
                *self.acknowledged.lock().map_err(|_| anyhow::anyhow!("a reader panicked"))? = Some(begun);
            }
            tally.of(number, outcome, &mut since);
            number += 1;
            tokio::time::sleep(PAUSE).await;
        }
        tally.gap = tally.gap.max(since.elapsed());
        Ok(tally)
    }
}

/// Acknowledged is what a replica has, too: as a commit of the router.
async fn write_redis(pool: &RedisPool, number: i64) -> anyhow::Result<()> {
    let mut both = pipe();
    both.cmd("SADD").arg("load").arg(number).ignore().cmd("WAIT").arg(1).arg(1_000);
    let (confirmed,): (u32,) = pool.run_pipeline("load", Retry::Never, &both).await?;
    ensure!(confirmed >= 1, "no replica has it");
    Ok(())
}

/// To the first member that takes writes. Each has its own time, as with the daemons: one that hangs takes no other's.
async fn connect(url: &str) -> anyhow::Result<tokio_postgres::Client> {
    let (before, rest) = url.split_once('@').context("an address with a password")?;
    let (hosts, after) = rest.split_once('/').context("an address with a database")?;
    let mut last = anyhow::anyhow!("no host");
    for host in hosts.split(',') {
        let url = format!("{before}@{host}/{after}");
        let connecting = tokio_postgres::connect(&url, tokio_postgres::NoTls);
        match tokio::time::timeout(CONNECT_LIMIT, connecting).await {
            Ok(Ok((client, connection))) => {
                // It ends with the client; what it says of its end, the client's next word says too.
                tokio::spawn(async move { connection.await.is_ok() });
                return Ok(client);
            }
            Ok(Err(error)) => last = error.into(),
            Err(late) => last = late.into(),
        }
    }
    Err(last.context("connecting"))
}

/// In the network, to its end.
pub(crate) fn at_once<T, F>(fleet: &Fleet, work: impl FnOnce() -> F + Send + 'static) -> anyhow::Result<T>
where
    T: Send + 'static,
    F: Future<Output = anyhow::Result<T>>,
{
    let thread = fleet.in_network(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("a runtime")?;
        runtime.block_on(work())
    })?;
    thread.join().map_err(|_| anyhow::anyhow!("it panicked"))??
}

/// What the Redis that Sentinels elect holds.
pub(crate) fn in_redis(fleet: &Fleet, url: &str) -> anyhow::Result<Vec<i64>> {
    let url = url.to_owned();
    at_once(fleet, move || async move {
        let pool = RedisPool::new(RedisOptions::from_url(&url)?, StoreMetrics::default());
        Ok(pool.run("load", Retry::Safe, cmd("SMEMBERS").arg("load")).await?)
    })
}

/// What the PostgreSQL that takes writes holds.
pub(crate) fn in_postgres(fleet: &Fleet, url: &str) -> anyhow::Result<Vec<i64>> {
    let url = url.to_owned();
    at_once(fleet, move || async move {
        let client = connect(&url).await?;
        let rows = client.query("SELECT number FROM load", &[]).await?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    })
}

/// Makes the table.
pub(crate) fn prepare_postgres(fleet: &Fleet, url: &str) -> anyhow::Result<()> {
    let url = url.to_owned();
    at_once(fleet, move || async move {
        Ok(connect(&url).await?.batch_execute("CREATE TABLE load (number bigint PRIMARY KEY)").await?)
    })
}

/// Every acknowledged write of a store is among what it holds.
pub(crate) fn all_kept(store: &str, acknowledged: &HashSet<i64>, there: Vec<i64>) -> anyhow::Result<()> {
    let there: HashSet<_> = there.into_iter().collect();
    let lost: Vec<_> = acknowledged.difference(&there).collect();
    let (few, all) = (lost.len(), acknowledged.len());
    ensure!(lost.is_empty(), "{store} lost {few} of {all} acknowledged writes: {lost:?}");
    Ok(())
}

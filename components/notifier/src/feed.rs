//! One tenant's journal, followed once for all who watch the tenant.
//!
//! A feed starts with a snapshot (for the queue figures and the position), then follows the journal. When the journal
//! turns out to be another one (its epoch changed: Redis lost its data) or leaves a gap, the feed starts again; its
//! connections notice by the epoch, or fall back to reading pages.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use ringdown_domain::{QueueId, TenantId};
use ringdown_live_views::QueueFigures;
use ringdown_notifier_core::{QueueBoard, Read, Ring};
use ringdown_redis_store::{RedisPool, StoreError, StreamEntry, StreamReader, StreamStart, keys, snapshot};
use ringdown_service::{Life, Shutdown};
use tokio::sync::watch;

use crate::journal::{self, Delta};
use crate::metrics::NotifierMetrics;

/// How long one blocking read waits; also how often an idle feed checks that it is still wanted, and the epoch.
const READ_WAIT: Duration = Duration::from_secs(1);
/// Entries per read.
const READ_ENTRIES: usize = 1_000;
/// A feed nobody watches any more is kept this long, for the browser that reloads its page.
const LINGER: Duration = Duration::from_secs(30);

/// The feeds by tenant. Cloning shares them.
#[derive(Clone, Debug)]
pub(crate) struct Feeds {
    life: Life,
    pool: RedisPool,
    metrics: NotifierMetrics,
    ring_entries: usize,
    by_tenant: Arc<Mutex<BTreeMap<TenantId, Weak<Feed>>>>,
}

impl Feeds {
    pub(crate) fn new(life: Life, pool: RedisPool, metrics: NotifierMetrics, ring_entries: usize) -> Self {
        Self { life, pool, metrics, ring_entries, by_tenant: Arc::default() }
    }

    /// The tenant's feed, started if nobody watches it yet.
    pub(crate) fn watch(&self, tenant: TenantId) -> Arc<Feed> {
        // One look-up and one insert, so a panic elsewhere leaves the map whole.
        let mut feeds = self.by_tenant.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(feed) = feeds.get(&tenant).and_then(Weak::upgrade) {
            return feed;
        }
        let feed = Arc::new(Feed { tenant, state: Mutex::default(), changed: watch::Sender::new(0) });
        feeds.insert(tenant, Arc::downgrade(&feed));
        feeds.retain(|_, feed| feed.strong_count() > 0);
        let follower = Follower {
            feed: Arc::clone(&feed),
            pool: self.pool.clone(),
            metrics: self.metrics.clone(),
            ring_entries: self.ring_entries,
            shutdown: self.life.shutdown(),
        };
        self.life.spawn_finite(format!("feed {tenant}"), follower.run());
        feed
    }
}

/// What connections read.
#[derive(Debug)]
pub(crate) struct Feed {
    tenant: TenantId,
    state: Mutex<State>,
    changed: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    live: Option<Live>,
    /// Counts changes of figures, so that each connection knows what it has not sent yet.
    figures_version: u64,
    figures: BTreeMap<Option<QueueId>, (u64, QueueFigures)>,
}

#[derive(Debug)]
struct Live {
    epoch: Arc<str>,
    ring: Ring<Arc<Delta>>,
}

/// What a connection finds behind its position.
#[derive(Debug)]
pub(crate) enum Pulled {
    /// These entries, and the newest number there is.
    Deltas(Vec<Arc<Delta>>, u64),
    /// The ring no longer has the next entry; the newest number there is.
    Behind(u64),
    /// The journal is another one.
    Reset,
    /// Nothing new, or nothing known yet.
    UpToDate,
}

impl Feed {
    pub(crate) const fn tenant(&self) -> TenantId {
        self.tenant
    }

    /// Changes whenever there is something new.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Up to `limit` entries behind a position.
    pub(crate) fn pull(&self, epoch: &str, seq: u64, limit: usize) -> Pulled {
        let state = self.state();
        let Some(live) = &state.live else {
            return Pulled::UpToDate;
        };
        if &*live.epoch != epoch {
            return Pulled::Reset;
        }
        match live.ring.read(seq, limit) {
            Read::Entries(_, deltas) => Pulled::Deltas(deltas, live.ring.last()),
            Read::Behind => Pulled::Behind(live.ring.last()),
            Read::UpToDate => Pulled::UpToDate,
        }
    }

    /// The figures that changed after `version`, and the version they are of.
    pub(crate) fn figures_after(&self, version: u64) -> (u64, Vec<QueueFigures>) {
        let state = self.state();
        let changed = state.figures.values().filter(|(at, _)| *at > version).map(|(_, figures)| figures.clone());
        (state.figures_version, changed.collect())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every section below leaves the state whole before anything in it can panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn nudge(&self) {
        self.changed.send_modify(|count| *count = count.wrapping_add(1));
    }
}

/// The task behind a feed.
struct Follower {
    feed: Arc<Feed>,
    pool: RedisPool,
    metrics: NotifierMetrics,
    ring_entries: usize,
    shutdown: Shutdown,
}

fn parse_all(entries: &[StreamEntry]) -> Result<Vec<Arc<Delta>>, StoreError> {
    entries.iter().map(|entry| journal::parse(entry.field(keys::ENTRY_FIELD).unwrap_or_default())).collect()
}

/// Why following stopped.
enum Stop {
    /// The journal is another one or has a gap: start again.
    Restart,
    /// Redis failed: start again after a pause.
    Failed(StoreError),
    /// Nobody watches, or the daemon stops.
    Done,
}

impl Follower {
    async fn run(self) {
        self.metrics.feeds.inc();
        let mut reader = StreamReader::new(&self.pool, "journal", READ_ENTRIES);
        loop {
            match self.follow(&mut reader).await {
                Stop::Done => break,
                Stop::Restart => {
                    self.metrics.feed_restarts.inc();
                }
                Stop::Failed(error) => {
                    log::warn!(tenant:% = self.feed.tenant, error:% = error; "journal not readable; trying again");
                    reader.disconnect();
                    tokio::select! {
                        () = tokio::time::sleep(reader.pause_after_failure()) => {}
                        () = self.shutdown.requested() => break,
                    }
                }
            }
        }
        self.metrics.feeds.dec();
    }

    /// Starts from a snapshot and follows until something ends it.
    async fn follow(&self, reader: &mut StreamReader) -> Stop {
        let (epoch, mut board) = match self.begin(reader).await {
            Ok(begun) => begun,
            Err(error) => return Stop::Failed(error),
        };
        let mut checked = Instant::now();
        let mut wanted = Instant::now();
        loop {
            let read = tokio::select! {
                read = reader.next(READ_WAIT) => read,
                () = self.shutdown.requested() => return Stop::Done,
            };
            let entries = match read {
                Ok(entries) => entries,
                Err(error) => return Stop::Failed(error),
            };
            if checked.elapsed() >= READ_WAIT {
                checked = Instant::now();
                match snapshot::read_router(&self.pool, self.feed.tenant).await {
                    Ok(router) if router.as_ref().is_some_and(|router| *router.journal_epoch != *epoch) => {
                        return Stop::Restart;
                    }
                    Ok(_) => {}
                    Err(error) => return Stop::Failed(error),
                }
            }
            match parse_all(&entries) {
                Ok(deltas) if deltas.is_empty() => {}
                Ok(deltas) => {
                    if !self.take(&mut board, deltas) {
                        return Stop::Restart;
                    }
                }
                Err(error) => return Stop::Failed(error),
            }
            // The follower itself holds one reference.
            if Arc::strong_count(&self.feed) > 1 {
                wanted = Instant::now();
            } else if wanted.elapsed() > LINGER {
                return Stop::Done;
            }
        }
    }

    async fn begin(&self, reader: &mut StreamReader) -> Result<(Arc<str>, QueueBoard), StoreError> {
        let snapshot = snapshot::read(&self.pool, self.feed.tenant).await?;
        let mut board = QueueBoard::from_records(&snapshot.interactions);
        // Queues without interactions are told too: who comes back may still show what was in them.
        for queue in journal::queues(&self.pool, self.feed.tenant).await? {
            board.know(queue);
        }
        let epoch: Arc<str> = snapshot.router.journal_epoch.into();
        let seq = snapshot.router.seq;
        reader.follow(&keys::journal(self.feed.tenant), StreamStart::After(format!("{seq}-0")));
        let mut state = self.feed.state();
        state.live = Some(Live { epoch: Arc::clone(&epoch), ring: Ring::new(self.ring_entries, seq) });
        // A queue that was told before and is empty or gone by now has no figures of its own in the snapshot.
        for queue in state.figures.keys() {
            board.know(*queue);
        }
        state.figures.clear();
        drop(state);
        self.publish(board.figures());
        Ok((epoch, board))
    }

    /// Adds entries; `false` when they leave a gap.
    fn take(&self, board: &mut QueueBoard, deltas: Vec<Arc<Delta>>) -> bool {
        self.metrics.entries.inc_by(deltas.len() as u64);
        let mut state = self.feed.state();
        for delta in deltas {
            board.apply(&delta.entry.event);
            let Some(live) = &mut state.live else { return false };
            if let Err(gap) = live.ring.push(delta.entry.seq, delta) {
                log::warn!(tenant:% = self.feed.tenant, expected = gap.expected, found = gap.found; "the journal has a gap");
                return false;
            }
        }
        drop(state);
        self.publish(board.take_changes());
        true
    }

    fn publish(&self, changes: Vec<(Option<QueueId>, QueueFigures)>) {
        let mut state = self.feed.state();
        if !changes.is_empty() {
            state.figures_version += 1;
            let version = state.figures_version;
            state.figures.extend(changes.into_iter().map(|(queue, figures)| (queue, (version, figures))));
        }
        drop(state);
        self.feed.nudge();
    }
}

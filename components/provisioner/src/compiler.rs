//! The duty `compile`: every tenant's newest revision becomes a version in Redis.
//!
//! One provisioner works at a time, by lease, which is renewed while a look goes on; its writes are fenced, so one that slept
//! past its lease writes nothing. A version in force is never written again.
//!
//! A change is compiled at once. Many changes of one tenant are compiled together: after a compilation the tenant rests for
//! four times as long as that took.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ringdown_domain::TenantId;
use ringdown_events::CompiledConfig;
use ringdown_pg_store::{Nudge, Nudges, PgError, PgStore};
use ringdown_provisioner_core::{Contradiction, Summary, compile};
use ringdown_redis_store::{
    ConfigReader, ConfigWriteError, ConfigWriter, FlipError, Lease, LeaseKeys, RedisPool, StoreError, keys,
};
use ringdown_service::{Life, Readiness};

use crate::metrics::ProvisionerMetrics;
use crate::rows;
use crate::status::{Board, Faults};
use crate::sweep;

/// The lease lives this long without renewal; a standby provisioner takes over within it.
const LEASE_TTL: Duration = Duration::from_secs(5);
/// Nudges that come within this time are answered by one look.
const GATHER: Duration = Duration::from_millis(5);
/// How long a tenant rests after a compilation, in compilations: they take a fifth of the time at most.
const REST_FACTOR: u32 = 4;
/// The longest rest: a person who waits for a change does not wait longer.
const LONGEST_REST: Duration = Duration::from_secs(2);
/// How long to wait before a failed look is repeated.
const PAUSE: Duration = Duration::from_millis(300);

/// See the module's text.
pub(crate) struct Compiler {
    pub(crate) life: Life,
    pub(crate) pg: PgStore,
    pub(crate) redis: RedisPool,
    pub(crate) writer: ConfigWriter,
    pub(crate) reader: ConfigReader,
    pub(crate) board: Board,
    pub(crate) metrics: ProvisionerMetrics,
    pub(crate) look_every: Duration,
}

/// Why a look failed; it is repeated.
#[derive(Debug, thiserror::Error)]
enum LookError {
    #[error(transparent)]
    Postgres(#[from] PgError),
    #[error(transparent)]
    Redis(#[from] StoreError),
    #[error(transparent)]
    Write(#[from] ConfigWriteError),
    #[error(transparent)]
    Flip(#[from] FlipError),
}

/// What a compiler remembers while it holds the lease.
#[derive(Default)]
struct Memory {
    faults: Faults,
    /// Until when a tenant rests.
    rests: BTreeMap<TenantId, Instant>,
    /// Tenants that changed while they rested.
    put_off: BTreeSet<TenantId>,
    /// Whether keys of removed tenants may be left.
    unswept: bool,
}

/// What must be looked at.
enum Wanted {
    Everything,
    Tenants(BTreeSet<TenantId>),
}

impl Compiler {
    /// Runs until shutdown.
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        let shutdown = self.life.shutdown();
        let readiness = self.life.readiness("compile");
        let mut nudges = self.pg.listen(&self.life, &["config_changed"]);
        let mut memory = Memory::default();
        while !shutdown.is_requested() {
            let Some(lease) = self.contend(&readiness).await else { break };
            memory.unswept = true;
            self.serve(&lease, &mut nudges, &mut memory, &readiness).await;
            if let Err(error) = lease.release(&self.redis).await {
                log::debug!(error:% = error; "the lease was not given up; it ends by itself");
            }
        }
        Ok(())
    }

    /// Waits for the lease; none on shutdown.
    async fn contend(&self, readiness: &Readiness) -> Option<Arc<Lease>> {
        let shutdown = self.life.shutdown();
        let names = LeaseKeys { lease: keys::PROVISIONER_LEASE.to_owned(), epoch: keys::PROVISIONER_EPOCH.to_owned() };
        let holder = format!("{}/{}", self.life.node(), std::process::id());
        while !shutdown.is_requested() {
            // A Redis that is away must not hold up the stop: a lease that was got after all ends by itself.
            let acquired = tokio::select! {
                acquired = Lease::acquire(&self.redis, &names, &holder, LEASE_TTL) => acquired,
                () = shutdown.requested() => return None,
            };
            match acquired {
                Ok(Some(lease)) => return Some(Arc::new(lease)),
                // Standing by is a good state: another provisioner works.
                Ok(None) => readiness.ready(),
                Err(error) => readiness.waiting(error.to_string()),
            }
            tokio::select! {
                () = tokio::time::sleep(PAUSE) => {}
                () = shutdown.requested() => {}
            }
        }
        None
    }

    /// Works while the lease is held.
    async fn serve(&self, lease: &Lease, nudges: &mut Nudges, memory: &mut Memory, readiness: &Readiness) {
        let shutdown = self.life.shutdown();
        let mut renew = tokio::time::interval(LEASE_TTL / 4);
        renew.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut look = tokio::time::interval(self.look_every);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut wanted = Some(Wanted::Everything);
        loop {
            if let Some(work) = wanted.take() {
                match self.look_while_held(lease, &work, memory, &mut renew).await {
                    None => return,
                    Some(Ok(())) => readiness.ready(),
                    Some(Err(LookError::Write(ConfigWriteError::Fenced) | LookError::Flip(FlipError::Fenced))) => {
                        lease.mark_lost();
                        return;
                    }
                    Some(Err(error)) => {
                        readiness.waiting(error.to_string());
                        wanted = Some(Wanted::Everything);
                    }
                }
            }
            let retry = wanted.is_some();
            let now = Instant::now();
            let rested = memory.put_off.iter().map(|tenant| memory.rests.get(tenant).copied().unwrap_or(now)).min();
            tokio::select! {
                // In this order: with stores that are away each round takes seconds, and the end must not be left to chance.
                biased;
                () = shutdown.requested() => return,
                _ = renew.tick() => {
                    if !self.holds(lease).await {
                        return;
                    }
                }
                nudge = nudges.next() => match nudge {
                    Some(nudge) => wanted = Some(gather(nudge, nudges).await),
                    None => return,
                },
                _ = look.tick() => wanted = Some(Wanted::Everything),
                () = until(rested), if rested.is_some() => {
                    wanted = Some(Wanted::Tenants(std::mem::take(&mut memory.put_off)));
                }
                () = tokio::time::sleep(PAUSE), if retry => {}
            }
        }
    }

    /// Looks, and renews the lease meanwhile; none when the lease was lost. What was half done then is refused or does no harm.
    async fn look_while_held(
        &self,
        lease: &Lease,
        work: &Wanted,
        memory: &mut Memory,
        renew: &mut tokio::time::Interval,
    ) -> Option<Result<(), LookError>> {
        let writer = self.writer.under(lease);
        let mut look = std::pin::pin!(self.look(&writer, work, memory));
        loop {
            tokio::select! {
                looked = &mut look => return Some(looked),
                _ = renew.tick() => {
                    if !self.holds(lease).await {
                        return None;
                    }
                }
            }
        }
    }

    async fn holds(&self, lease: &Lease) -> bool {
        match lease.renew(&self.redis).await {
            Ok(Ok(())) => true,
            Ok(Err(_)) => false,
            Err(_) => !lease.is_surely_over(),
        }
    }

    async fn look(&self, writer: &ConfigWriter, wanted: &Wanted, memory: &mut Memory) -> Result<(), LookError> {
        let written: BTreeMap<TenantId, u64> = rows::revisions(&self.pg).await?.into_iter().collect();
        let listed = self.reader.tenants().await?;
        self.board.desired(&written);
        let gone = listed.iter().filter(|tenant| !written.contains_key(tenant));
        for tenant in gone {
            writer.remove(*tenant).await?;
            memory.faults.clear(*tenant);
            memory.unswept = true;
            self.metrics.compiled("removed");
            log::info!(tenant:% = tenant; "configuration removed");
        }
        memory.rests.retain(|tenant, until| written.contains_key(tenant) && *until > Instant::now());
        for (tenant, revision) in &written {
            let asked = match wanted {
                Wanted::Everything => true,
                Wanted::Tenants(tenants) => tenants.contains(tenant),
            };
            if !asked || memory.faults.are_of(*tenant, *revision) {
                continue;
            }
            if memory.rests.contains_key(tenant) {
                memory.put_off.insert(*tenant);
                continue;
            }
            let took = self.tenant(writer, *tenant, &mut memory.faults).await?;
            memory.rests.insert(*tenant, Instant::now() + (took * REST_FACTOR).min(LONGEST_REST));
        }
        let faults = &memory.faults;
        self.metrics.faulty_tenants.set(i64::try_from(faults.len()).unwrap_or(i64::MAX));
        self.board.faults(faults);
        if memory.unswept && matches!(wanted, Wanted::Everything) {
            memory.unswept = !sweep::expire_removed(&self.redis, |tenant| written.contains_key(&tenant)).await?;
        }
        Ok(())
    }

    /// Brings one tenant to its newest revision; how long that took.
    async fn tenant(
        &self,
        writer: &ConfigWriter,
        tenant: TenantId,
        faults: &mut Faults,
    ) -> Result<Duration, LookError> {
        let started = Instant::now();
        let current = self.reader.current_version(tenant).await?;
        let Some(rows) = rows::read(&self.pg, tenant).await? else { return Ok(Duration::ZERO) };
        if current == Some(rows.revision) {
            faults.clear(tenant);
            self.metrics.compiled("unchanged");
            return Ok(Duration::ZERO);
        }
        if current.is_none() {
            sweep::keep(&self.redis, tenant).await?;
        }
        match compile(&rows, self.life.clock().now()) {
            Ok(config) => {
                let before = self.older(tenant).await;
                writer.write(&config).await?;
                writer.flip(&config, current).await?;
                faults.clear(tenant);
                self.metrics.compiled("flipped");
                self.metrics.compile_seconds.observe(started.elapsed().as_secs_f64());
                let changes = Summary::between(before.as_ref(), &config).to_string();
                log::info!(tenant:% = tenant, version = config.meta.version, changes; "configuration in force");
            }
            Err(wrong) => self.refuse(tenant, rows.revision, current, &wrong, faults).await?,
        }
        Ok(started.elapsed())
    }

    /// The version in force, for the summary only: when it cannot be read, everything counts as new.
    async fn older(&self, tenant: TenantId) -> Option<CompiledConfig> {
        match self.reader.read(tenant).await {
            Ok(config) => config,
            Err(error) => {
                log::debug!(tenant:% = tenant, error:% = error; "no older version to compare with");
                None
            }
        }
    }

    /// What contradicts itself stays out; the version in force stays in force.
    async fn refuse(
        &self,
        tenant: TenantId,
        revision: u64,
        current: Option<u64>,
        wrong: &[Contradiction],
        faults: &mut Faults,
    ) -> Result<(), StoreError> {
        for contradiction in wrong {
            log::error!(tenant:% = tenant, revision, problem:% = contradiction; "configuration not taken");
        }
        self.metrics.compiled("faulty");
        faults.set(tenant, revision, wrong.iter().map(ToString::to_string).collect());
        let told = wrong.first().map(ToString::to_string);
        self.reader.report(tenant, current.unwrap_or(0), told.as_deref()).await
    }
}

/// Waits until then; for ever without a time.
async fn until(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time.into()).await,
        None => std::future::pending().await,
    }
}

/// Waits a moment for more nudges, so that a transaction that touches many tables is one look.
async fn gather(first: Nudge, nudges: &mut Nudges) -> Wanted {
    let mut tenants = BTreeSet::new();
    let end = tokio::time::Instant::now() + GATHER;
    let mut next = Some(first);
    while let Some(nudge) = next {
        match nudge {
            Nudge::Everything => return Wanted::Everything,
            Nudge::Notified { payload, .. } => match payload.parse() {
                Ok(tenant) => {
                    tenants.insert(tenant);
                }
                Err(_) => return Wanted::Everything,
            },
        }
        next = tokio::time::timeout_at(end, nudges.next()).await.ok().flatten();
    }
    Wanted::Tenants(tenants)
}

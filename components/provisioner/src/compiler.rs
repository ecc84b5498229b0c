//! The duty `compile`: every tenant's newest revision becomes a version in Redis.
//!
//! One provisioner works at a time, by lease: a version is written by clearing what an earlier attempt left, which two
//! at once would do to each other. A version in force is never written again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ringdown_domain::TenantId;
use ringdown_events::CompiledConfig;
use ringdown_pg_store::{Nudge, Nudges, PgError, PgStore};
use ringdown_provisioner_core::{Contradiction, Summary, compile};
use ringdown_redis_store::{ConfigReader, ConfigWriter, FlipError, Lease, LeaseKeys, RedisPool, StoreError, keys};
use ringdown_service::{Life, Readiness};

use crate::metrics::ProvisionerMetrics;
use crate::rows;
use crate::status::{Board, Faults};

/// The lease lives this long without renewal; a standby provisioner takes over within it.
const LEASE_TTL: Duration = Duration::from_secs(5);
/// Nudges that come within this time are answered by one look.
const GATHER: Duration = Duration::from_millis(5);
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
    Flip(#[from] FlipError),
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
        let mut faults = Faults::default();
        while !shutdown.is_requested() {
            let Some(lease) = self.contend(&readiness).await else { break };
            self.serve(&lease, &mut nudges, &mut faults, &readiness).await;
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
            match Lease::acquire(&self.redis, &names, &holder, LEASE_TTL).await {
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
    async fn serve(&self, lease: &Lease, nudges: &mut Nudges, faults: &mut Faults, readiness: &Readiness) {
        let shutdown = self.life.shutdown();
        let mut renew = tokio::time::interval(LEASE_TTL / 4);
        let mut look = tokio::time::interval(self.look_every);
        let mut wanted = Some(Wanted::Everything);
        loop {
            if let Some(work) = wanted.take() {
                match self.look(&work, faults).await {
                    Ok(()) => readiness.ready(),
                    Err(error) => {
                        readiness.waiting(error.to_string());
                        wanted = Some(Wanted::Everything);
                    }
                }
            }
            let retry = wanted.is_some();
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
                () = tokio::time::sleep(PAUSE), if retry => {}
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

    async fn look(&self, wanted: &Wanted, faults: &mut Faults) -> Result<(), LookError> {
        let written: BTreeMap<TenantId, u64> = rows::revisions(&self.pg).await?.into_iter().collect();
        let listed = self.reader.tenants().await?;
        self.board.desired(&written);
        let gone = listed.iter().filter(|tenant| !written.contains_key(tenant));
        for tenant in gone {
            self.writer.remove(*tenant).await?;
            faults.clear(*tenant);
            self.metrics.compiled("removed");
            log::info!(tenant:% = tenant; "configuration removed");
        }
        for (tenant, revision) in &written {
            let asked = match wanted {
                Wanted::Everything => true,
                Wanted::Tenants(tenants) => tenants.contains(tenant),
            };
            if asked && !faults.are_of(*tenant, *revision) {
                self.tenant(*tenant, faults).await?;
            }
        }
        self.metrics.faulty_tenants.set(i64::try_from(faults.len()).unwrap_or(i64::MAX));
        self.board.faults(faults);
        Ok(())
    }

    /// Brings one tenant to its newest revision.
    async fn tenant(&self, tenant: TenantId, faults: &mut Faults) -> Result<(), LookError> {
        let started = Instant::now();
        let current = self.reader.current_version(tenant).await?;
        let Some(rows) = rows::read(&self.pg, tenant).await? else { return Ok(()) };
        if current == Some(rows.revision) {
            faults.clear(tenant);
            self.metrics.compiled("unchanged");
            return Ok(());
        }
        match compile(&rows, self.life.clock().now()) {
            Ok(config) => {
                let before = self.older(tenant).await;
                self.writer.write(&config).await?;
                self.writer.flip(&config, current).await?;
                faults.clear(tenant);
                self.metrics.compiled("flipped");
                self.metrics.compile_seconds.observe(started.elapsed().as_secs_f64());
                let changes = Summary::between(before.as_ref(), &config).to_string();
                log::info!(tenant:% = tenant, version = config.meta.version, changes; "configuration in force");
            }
            Err(wrong) => self.refuse(tenant, rows.revision, current, &wrong, faults).await?,
        }
        Ok(())
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

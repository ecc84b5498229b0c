//! The duty `render`: this host's Asterisk files follow the configuration in Redis.
//!
//! Files are written before Asterisk starts (with no trunks, if Redis is not there yet) and whenever a tenant's trunks
//! change. A module is asked to read its file again; while Asterisk is away the wish is kept, and repeated when it answers.
//!
//! A version is reported when Asterisk has it: at once when the tenant's trunks are the same, otherwise after the reload. A trunk
//! that cannot be told from another's is left out and named in its tenant's report; nobody else notices.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use ringdown_domain::{NodeId, TenantId, TrunkId};
use ringdown_events::TrunkConfig;
use ringdown_provisioner_core::asterisk::{Admission, FOLDERS, Settings, admit, hold_music, reloads, render};
use ringdown_redis_store::{ConfigChange, ConfigReader, ConfigWatch, RendererSign};
use ringdown_service::{Life, Readiness};

use crate::ari::{Ari, AriError};
use crate::config::AsteriskConfig;
use crate::files::{make_folder, write_if_changed};
use crate::metrics::ProvisionerMetrics;

/// How often a reload that failed, or a file that could not be written, is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// How often this host says that it renders, and which addresses are its own.
const SIGN_EVERY: Duration = Duration::from_secs(5);

/// What is not said to Redis yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unsaid {
    /// The tenant's trunks are as before.
    Unchanged,
    /// Once every module has read its file.
    AfterReload,
}

/// See the module's text.
pub(crate) struct Renderer {
    life: Life,
    config: AsteriskConfig,
    settings: Settings,
    ari: Ari,
    reader: ConfigReader,
    metrics: ProvisionerMetrics,
    readiness: Readiness,
    trunks: BTreeMap<TenantId, BTreeMap<TrunkId, TrunkConfig>>,
    versions: BTreeMap<TenantId, u64>,
    /// Modules that have not read their newest file.
    stale: BTreeSet<&'static str>,
    /// Something changed that is not in the files yet.
    dirty: bool,
    /// The sources that each trunk is served with.
    served: BTreeMap<TrunkId, Vec<String>>,
    /// Which of a tenant's trunks are left out, in words.
    faults: BTreeMap<TenantId, String>,
    /// Whose version must still be reported.
    unsaid: BTreeMap<TenantId, Unsaid>,
    signed: Option<Instant>,
}

impl Renderer {
    pub(crate) fn new(
        life: Life,
        node: NodeId,
        config: AsteriskConfig,
        reader: ConfigReader,
        metrics: ProvisionerMetrics,
    ) -> anyhow::Result<Self> {
        let settings = Settings {
            node,
            folder: config.inside.clone(),
            modules: config.modules.clone(),
            sip: config.sip,
            registrar: config.registrar,
            http: config.http,
            acd_url: config.acd.as_ref().map(|url| url.expose().to_owned()),
            ari_user: config.ari_user.clone(),
            ari_password: config.ari_password.expose().to_owned(),
            rtp_ports: config.rtp_ports,
        };
        let ari = Ari::new(config.http, config.ari_user.clone(), config.ari_password.clone())?;
        let readiness = life.readiness("asterisk files");
        Ok(Self {
            life,
            config,
            settings,
            ari,
            reader,
            metrics,
            readiness,
            trunks: BTreeMap::new(),
            versions: BTreeMap::new(),
            stale: BTreeSet::new(),
            dirty: true,
            served: BTreeMap::new(),
            faults: BTreeMap::new(),
            unsaid: BTreeMap::new(),
            signed: None,
        })
    }

    /// Makes the instance's folders and everything that does not depend on the configuration.
    ///
    /// # Errors
    /// The disk refuses, or a setting cannot stand in a file: nothing to wait for.
    pub(crate) fn prepare(&mut self) -> anyhow::Result<()> {
        for folder in FOLDERS {
            make_folder(&self.config.folder.join(folder))?;
        }
        write_if_changed(&self.config.folder.join("moh/hold.sln"), &hold_music())?;
        // What is there from an earlier run stays until Redis was asked: it may know trunks that Redis still has.
        if !self.config.folder.join("etc/pjsip.conf").exists() {
            self.write()?;
        }
        Ok(())
    }

    /// Runs until shutdown.
    pub(crate) async fn run(mut self) -> anyhow::Result<()> {
        let shutdown = self.life.shutdown();
        let mut watch: ConfigWatch = self.reader.clone().watch().silent();
        let mut retry = tokio::time::interval(RETRY);
        loop {
            tokio::select! {
                // In this order: with stores that are away each round takes seconds, and the end must not be left to chance.
                biased;
                () = shutdown.requested() => return Ok(()),
                change = watch.next() => self.take(&change),
                _ = retry.tick() => {}
            }
            if self.dirty {
                self.follow().await;
            }
            self.reload().await;
            self.say().await;
            self.sign().await;
        }
    }

    fn take(&mut self, change: &ConfigChange) {
        match change {
            ConfigChange::Taken(config) => {
                let tenant = config.meta.tenant;
                self.versions.insert(tenant, config.meta.version);
                let changed = self.trunks.insert(tenant, config.trunks.clone()).as_ref() != Some(&config.trunks);
                self.dirty |= changed;
                let waits = changed || self.unsaid.get(&tenant) == Some(&Unsaid::AfterReload);
                self.unsaid.insert(tenant, if waits { Unsaid::AfterReload } else { Unsaid::Unchanged });
            }
            ConfigChange::Removed(tenant) => {
                self.versions.remove(tenant);
                self.unsaid.remove(tenant);
                self.dirty |= self.trunks.remove(tenant).is_some();
            }
        }
    }

    /// Writes what changed; what cannot be written is said in `/readyz` and in the host's status, and tried again.
    async fn follow(&mut self) {
        match self.write() {
            Ok(()) => {
                self.dirty = false;
                self.readiness.ready();
            }
            Err(error) => {
                let text = format!("{error:#}");
                for (tenant, version) in &self.versions {
                    self.report(*tenant, *version, Some(&text)).await;
                }
                self.unsaid = self.versions.keys().map(|tenant| (*tenant, Unsaid::AfterReload)).collect();
                self.readiness.waiting(text);
            }
        }
    }

    fn write(&mut self) -> anyhow::Result<()> {
        let all = self.trunks.iter().flat_map(|(tenant, trunks)| trunks.values().map(|trunk| (*tenant, trunk)));
        let admission = admit(all, &self.served, &self.own_addresses());
        for (name, text) in render(&self.settings, &admission.served)? {
            if !write_if_changed(&self.config.folder.join(name), text.as_bytes())? {
                continue;
            }
            self.metrics.files_written.inc();
            log::info!(file = name, trunks = admission.served.len(); "written");
            self.stale.extend(reloads(name));
        }
        self.remember(admission);
        Ok(())
    }

    fn remember(&mut self, admission: Admission) {
        self.served = admission.served.into_iter().map(|trunk| (trunk.id, trunk.sources)).collect();
        let words = |faults: Vec<(TrunkId, ringdown_provisioner_core::asterisk::Fault)>| {
            let each: Vec<String> = faults.iter().map(|(trunk, fault)| format!("trunk {trunk}: {fault}")).collect();
            each.join("; ")
        };
        let faults: BTreeMap<TenantId, String> =
            admission.left_out.into_iter().map(|(tenant, faults)| (tenant, words(faults))).collect();
        for (tenant, text) in faults.iter().filter(|(tenant, text)| self.faults.get(*tenant) != Some(*text)) {
            log::warn!(tenant:% = tenant, problem = text.as_str(); "trunks are left out");
        }
        // Whose trunks are served again, or no longer, has something else to report.
        let changed =
            self.faults.keys().chain(faults.keys()).filter(|tenant| self.faults.get(*tenant) != faults.get(*tenant));
        for tenant in changed.filter(|tenant| self.versions.contains_key(*tenant)) {
            self.unsaid.insert(*tenant, Unsaid::AfterReload);
        }
        self.faults = faults;
    }

    /// Addresses from which calls reach this Asterisk that are no carrier's.
    fn own_addresses(&self) -> Vec<IpAddr> {
        let both = [self.config.sip.ip(), self.config.registrar.ip()];
        both.into_iter().filter(|address| !address.is_unspecified()).collect()
    }

    /// Reports what Asterisk has by now.
    async fn say(&mut self) {
        let current = self.stale.is_empty() && !self.dirty;
        let due: Vec<TenantId> = self
            .unsaid
            .iter()
            .filter(|(_, unsaid)| current || **unsaid == Unsaid::Unchanged)
            .map(|(tenant, _)| *tenant)
            .collect();
        for tenant in due {
            let Some(version) = self.versions.get(&tenant).copied() else { continue };
            let fault = self.faults.get(&tenant).cloned();
            if self.report(tenant, version, fault.as_deref()).await {
                self.unsaid.remove(&tenant);
            }
        }
    }

    async fn report(&self, tenant: TenantId, version: u64, error: Option<&str>) -> bool {
        let reported = self.reader.report(tenant, version, error).await;
        if let Err(error) = &reported {
            log::debug!(tenant:% = tenant, error:% = error; "a version could not be reported");
        }
        reported.is_ok()
    }

    /// Says that this host renders, for web-api: whose versions count, and which addresses no trunk may name.
    async fn sign(&mut self) {
        if self.signed.is_some_and(|at| at.elapsed() < SIGN_EVERY) {
            return;
        }
        let sign = RendererSign { at_ms: self.life.clock().now(), addresses: self.own_addresses() };
        match self.reader.sign_as_renderer(&sign).await {
            Ok(()) => self.signed = Some(Instant::now()),
            Err(error) => log::debug!(error:% = error; "this host could not say that it renders"),
        }
    }

    /// Asks for every outstanding reload; those that fail stay outstanding.
    async fn reload(&mut self) {
        for module in self.stale.clone() {
            match self.ari.reload(module).await {
                Ok(()) => {
                    self.stale.remove(module);
                    self.metrics.reloaded("ok");
                    log::info!(module; "reloaded");
                }
                // It reads everything when it starts; until then the wish costs one refused connection a second.
                Err(AriError::Away(error)) => {
                    log::debug!(module, error:% = error; "Asterisk is away");
                    return;
                }
                Err(error @ AriError::Refused { .. }) => {
                    self.metrics.reloaded("failed");
                    log::warn!(module, error:% = error; "not reloaded; trying again");
                }
            }
        }
    }
}

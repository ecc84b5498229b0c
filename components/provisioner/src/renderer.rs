//! The duty `render`: this host's Asterisk files follow the configuration in Redis.
//!
//! Files are written before Asterisk starts (with no trunks, if Redis is not there yet) and whenever a tenant's trunks
//! change. A module is asked to read its file again; while Asterisk is away the wish is kept, and repeated when it answers.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ringdown_domain::{NodeId, TenantId, TrunkId};
use ringdown_events::TrunkConfig;
use ringdown_provisioner_core::asterisk::{FOLDERS, Settings, hold_music, reloads, render};
use ringdown_redis_store::{ConfigChange, ConfigReader, ConfigWatch};
use ringdown_service::{Life, Readiness};

use crate::ari::{Ari, AriError};
use crate::config::AsteriskConfig;
use crate::files::{make_folder, write_if_changed};
use crate::metrics::ProvisionerMetrics;

/// How often a reload that failed, or a file that could not be written, is tried again.
const RETRY: Duration = Duration::from_secs(1);

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
        let mut watch: ConfigWatch = self.reader.clone().watch();
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
        }
    }

    fn take(&mut self, change: &ConfigChange) {
        match change {
            ConfigChange::Taken(config) => {
                let tenant = config.meta.tenant;
                self.versions.insert(tenant, config.meta.version);
                self.dirty |= self.trunks.insert(tenant, config.trunks.clone()).as_ref() != Some(&config.trunks);
            }
            ConfigChange::Removed(tenant) => {
                self.versions.remove(tenant);
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
                    if let Err(error) = self.reader.report(*tenant, *version, Some(&text)).await {
                        log::debug!(tenant:% = tenant, error:% = error; "the error could not be reported");
                    }
                }
                self.readiness.waiting(text);
            }
        }
    }

    fn write(&mut self) -> anyhow::Result<()> {
        let trunks: Vec<TrunkConfig> = self.trunks.values().flat_map(|trunks| trunks.values().cloned()).collect();
        for (name, text) in render(&self.settings, &trunks)? {
            if !write_if_changed(&self.config.folder.join(name), text.as_bytes())? {
                continue;
            }
            self.metrics.files_written.inc();
            log::info!(file = name, trunks = trunks.len(); "written");
            self.stale.extend(reloads(name));
        }
        Ok(())
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

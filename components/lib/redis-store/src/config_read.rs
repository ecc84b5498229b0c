//! Reading compiled configuration: a whole version or none.
//!
//! pointer -> facts (`ConfigMeta`) -> parts, in one pipeline per version; the facts carry the counts of the parts, so a
//! version that is being written or is expiring is told from a whole one and the pointer is read anew. A reader never
//! mixes versions, and keeps the version it has when a new one cannot be read.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ringdown_domain::{TenantId, TimestampMs};
use ringdown_events::{CompiledConfig, ConfigMeta};
use ringdown_service::Clock;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::keys::{self, ConfigPart};
use crate::{RedisPool, Retry, StoreError, Subscription};

/// How often readers look without being nudged.
pub const CONFIG_POLL: Duration = Duration::from_secs(1);
/// How often a read is tried before a version counts as broken.
const ATTEMPTS: u32 = 3;

/// Why no configuration could be read.
#[derive(Debug, thiserror::Error)]
pub enum ConfigReadError {
    /// Redis failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The version is not whole, or an entry cannot be read. Keep what you have.
    #[error("configuration version {version} is not usable: {detail}")]
    Unusable {
        /// The version.
        version: u64,
        /// What is wrong.
        detail: String,
    },
}

/// Reads configuration and reports what this daemon runs.
#[derive(Clone, Debug)]
pub struct ConfigReader {
    pool: RedisPool,
    daemon: &'static str,
    host: String,
}

impl ConfigReader {
    /// A reader for a daemon on a host; both are shown in the status.
    #[must_use]
    pub const fn new(pool: RedisPool, daemon: &'static str, host: String) -> Self {
        Self { pool, daemon, host }
    }

    /// The tenants that have a configuration.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn tenants(&self) -> Result<BTreeSet<TenantId>, StoreError> {
        let mut cmd = redis::cmd("SMEMBERS");
        cmd.arg(keys::TENANTS);
        let ids: Vec<String> = self.pool.run("config_tenants", Retry::Safe, &cmd).await?;
        // An id that is none was not written by the provisioner; it must not stop the others.
        Ok(ids.iter().filter_map(|id| id.parse().ok()).collect())
    }

    /// The version in force.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn current_version(&self, tenant: TenantId) -> Result<Option<u64>, StoreError> {
        let mut cmd = redis::cmd("GET");
        cmd.arg(keys::config_current(tenant));
        self.pool.run("config_version", Retry::Safe, &cmd).await
    }

    /// The configuration in force; none when the tenant has none.
    ///
    /// # Errors
    /// See [`ConfigReadError`].
    pub async fn read(&self, tenant: TenantId) -> Result<Option<CompiledConfig>, ConfigReadError> {
        let mut broken = None;
        for _attempt in 0..ATTEMPTS {
            let Some(version) = self.current_version(tenant).await? else { return Ok(None) };
            match self.read_version(tenant, version).await {
                Err(error @ ConfigReadError::Unusable { .. }) => broken = Some(error),
                Err(error @ ConfigReadError::Store(_)) => return Err(error),
                Ok(config) => return Ok(Some(config)),
            }
        }
        broken.map_or(Ok(None), Err)
    }

    /// A given version.
    ///
    /// # Errors
    /// See [`ConfigReadError`].
    pub async fn read_version(&self, tenant: TenantId, version: u64) -> Result<CompiledConfig, ConfigReadError> {
        type Hash = HashMap<String, String>;
        let mut pipe = redis::pipe();
        pipe.cmd("GET").arg(keys::config_meta(tenant, version));
        for part in ConfigPart::ALL {
            let command = if part == ConfigPart::Skills { "SMEMBERS" } else { "HGETALL" };
            pipe.cmd(command).arg(keys::config_part(tenant, version, part));
        }
        let (meta, skills, agents, queues, routes, trunks, credentials): (
            Option<String>,
            Vec<String>,
            Hash,
            Hash,
            Hash,
            Hash,
            Hash,
        ) = self.pool.run_pipeline("config_read", Retry::Safe, &pipe).await?;
        let unusable = |detail: String| ConfigReadError::Unusable { version, detail };
        let meta = meta.ok_or_else(|| unusable("its facts are missing".to_owned()))?;
        let meta: ConfigMeta = serde_json::from_str(&meta).map_err(|error| unusable(format!("facts: {error}")))?;
        let found = [skills.len(), agents.len(), queues.len(), routes.len(), trunks.len(), credentials.len()];
        check_counts(&meta, found).map_err(unusable)?;
        let skills = skills.iter().map(|name| name.parse()).collect::<Result<_, _>>();
        Ok(CompiledConfig {
            skills: skills.map_err(|error| unusable(format!("skills: {error}")))?,
            agents: parse_part("agents", agents).map_err(unusable)?,
            queues: parse_part("queues", queues).map_err(unusable)?,
            routes: parse_part("routes", routes).map_err(unusable)?,
            trunks: parse_part("trunks", trunks).map_err(unusable)?,
            credentials: parse_part("credentials", credentials).map_err(unusable)?,
            meta,
        })
    }

    /// Writes into the host's status which version this daemon runs, and what keeps it from running the one in force.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn report(&self, tenant: TenantId, version: u64, error: Option<&str>) -> Result<(), StoreError> {
        let at_ms = Clock::system().now();
        let status = serde_json::json!({ "version": version, "at_ms": at_ms, "error": error }).to_string();
        let mut cmd = redis::cmd("HSET");
        cmd.arg(keys::config_status(&self.host)).arg(format!("{}/{tenant}", self.daemon)).arg(status);
        let _added: i64 = self.pool.run("config_report", Retry::Safe, &cmd).await?;
        Ok(())
    }

    /// Says that this host renders configuration for an Asterisk; see [`RendererSign`].
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn sign_as_renderer(&self, sign: &RendererSign) -> Result<(), StoreError> {
        let text = serde_json::to_string(sign)
            .map_err(|error| StoreError::Unreadable { what: "renderer_sign", detail: error.to_string() })?;
        let mut cmd = redis::cmd("HSET");
        cmd.arg(keys::RENDERERS).arg(&self.host).arg(text);
        let _added: i64 = self.pool.run("renderer_sign", Retry::Safe, &cmd).await?;
        Ok(())
    }

    /// Follows the configuration of all tenants.
    #[must_use]
    pub fn watch(self) -> ConfigWatch {
        ConfigWatch {
            silent: false,
            reader: self,
            running: HashMap::new(),
            failed: HashMap::new(),
            pending: VecDeque::new(),
            nudges: None,
            look_at: Instant::now(),
        }
    }
}

/// What a host that renders says of itself every few seconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RendererSign {
    /// When it said so.
    pub at_ms: TimestampMs,
    /// Addresses from which calls reach its Asterisk that are no carrier's: its own, and the registrar's.
    pub addresses: Vec<IpAddr>,
}

/// How old a sign may be; hosts' clocks may differ by seconds.
const RENDERER_GONE_MS: u64 = 30_000;

/// The hosts that render now.
///
/// # Errors
/// See [`StoreError`].
pub async fn renderers(pool: &RedisPool, now: TimestampMs) -> Result<BTreeMap<String, RendererSign>, StoreError> {
    let mut cmd = redis::cmd("HGETALL");
    cmd.arg(keys::RENDERERS);
    let texts: HashMap<String, String> = pool.run("renderers", Retry::Safe, &cmd).await?;
    let read = texts.into_iter().filter_map(|(host, text)| Some((host, serde_json::from_str(&text).ok()?)));
    Ok(read.filter(|(_, sign): &(String, RendererSign)| now.since_ms(sign.at_ms) < RENDERER_GONE_MS).collect())
}

/// A change a watcher tells.
#[derive(Clone, Debug)]
pub enum ConfigChange {
    /// A version is in force that was not before.
    Taken(Arc<CompiledConfig>),
    /// The tenant has no configuration any more.
    Removed(TenantId),
}

/// Tells of every tenant's versions, first of those in force, then of each change: at a nudge, at the latest after
/// [`CONFIG_POLL`]. Intermediate versions may be skipped. While Redis is away it waits and logs.
pub struct ConfigWatch {
    /// Reports nothing by itself.
    silent: bool,
    reader: ConfigReader,
    running: HashMap<TenantId, u64>,
    /// Versions that could not be read, so that they are logged and reported once.
    failed: HashMap<TenantId, u64>,
    pending: VecDeque<TenantId>,
    nudges: Option<Subscription>,
    look_at: Instant,
}

impl std::fmt::Debug for ConfigWatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ConfigWatch").field("running", &self.running).finish_non_exhaustive()
    }
}

impl ConfigWatch {
    /// Leaves it to its user to report a version, when it really runs.
    #[must_use]
    pub fn silent(mut self) -> Self {
        self.silent = true;
        self
    }

    /// Waits for the next change. May be dropped half-way.
    pub async fn next(&mut self) -> ConfigChange {
        loop {
            while let Some(tenant) = self.pending.front().copied() {
                let change = self.look(tenant).await;
                self.pending.pop_front();
                if let Some(change) = change {
                    return change;
                }
            }
            self.wait_for_nudge().await;
            if let Err(error) = self.find_changed().await {
                log::warn!(error:display; "cannot read the configuration's versions; trying again");
            }
            self.look_at = Instant::now() + CONFIG_POLL;
        }
    }

    /// Which version of a tenant was told last.
    #[must_use]
    pub fn running(&self, tenant: TenantId) -> Option<u64> {
        self.running.get(&tenant).copied()
    }

    async fn look(&mut self, tenant: TenantId) -> Option<ConfigChange> {
        match self.reader.read(tenant).await {
            Ok(Some(config)) => {
                let version = config.meta.version;
                if !self.silent {
                    self.report(tenant, version, None).await;
                }
                // From here on nothing waits: a caller that drops us before has not missed the change.
                self.failed.remove(&tenant);
                let old = self.running.insert(tenant, version);
                (old != Some(version)).then(|| ConfigChange::Taken(Arc::new(config)))
            }
            Ok(None) => self.running.remove(&tenant).map(|_| ConfigChange::Removed(tenant)),
            Err(ConfigReadError::Store(error)) => {
                log::warn!(tenant:display, error:display; "cannot read the configuration; trying again");
                None
            }
            Err(ConfigReadError::Unusable { version, detail }) => {
                if self.failed.insert(tenant, version) != Some(version) {
                    log::error!(tenant:display, version, detail; "a configuration version is not usable; keeping the old one");
                    let running = self.running.get(&tenant).copied().unwrap_or(0);
                    self.report(tenant, running, Some(&detail)).await;
                }
                None
            }
        }
    }

    async fn report(&self, tenant: TenantId, version: u64, error: Option<&str>) {
        if let Err(error) = self.reader.report(tenant, version, error).await {
            log::warn!(tenant:display, error:display; "cannot report the running version");
        }
    }

    async fn find_changed(&mut self) -> Result<(), StoreError> {
        let tenants = self.reader.tenants().await?;
        let listed: Vec<TenantId> = tenants.iter().copied().collect();
        for chunk in listed.chunks(500) {
            let mut pipe = redis::pipe();
            for tenant in chunk {
                pipe.cmd("GET").arg(keys::config_current(*tenant));
            }
            let versions: Vec<Option<u64>> =
                self.reader.pool.run_pipeline("config_versions", Retry::Safe, &pipe).await?;
            for (tenant, version) in chunk.iter().zip(versions) {
                if version.as_ref() != self.running.get(tenant) {
                    self.pending.push_back(*tenant);
                }
            }
        }
        let gone = self.running.keys().filter(|tenant| !tenants.contains(tenant));
        self.pending.extend(gone);
        Ok(())
    }

    /// Returns at a nudge or when it is time to look anyway.
    async fn wait_for_nudge(&mut self) {
        let look_at = tokio::time::Instant::from_std(self.look_at);
        if self.nudges.is_none() {
            match self.reader.pool.subscriber(keys::CONFIG_CHANNEL).await {
                Ok(subscriber) => self.nudges = Some(subscriber),
                Err(error) => log::debug!(error:display; "no nudges for configuration; polling"),
            }
        }
        let Some(subscriber) = &mut self.nudges else { return tokio::time::sleep_until(look_at).await };
        let nudge = async { subscriber.next().await.is_some() };
        if let Ok(false) = tokio::time::timeout_at(look_at, nudge).await {
            // The subscription's connection ended; make a new one at the next look.
            self.nudges = None;
            tokio::time::sleep_until(look_at).await;
        }
    }
}

fn check_counts(meta: &ConfigMeta, found: [usize; 6]) -> Result<(), String> {
    for (part, found) in ConfigPart::ALL.into_iter().zip(found) {
        let wanted = meta.counts.get(part.name()).copied().unwrap_or(0);
        if wanted != found as u64 {
            return Err(format!("{} has {found} of {wanted} entries", part.name()));
        }
    }
    Ok(())
}

fn parse_part<K, V>(part: &str, entries: HashMap<String, String>) -> Result<BTreeMap<K, V>, String>
where
    K: FromStr + Ord,
    K::Err: std::fmt::Display,
    V: DeserializeOwned,
{
    let parse = |(key, text): (String, String)| {
        let id = key.parse().map_err(|error| format!("{part}: {key}: {error}"))?;
        let value = serde_json::from_str(&text).map_err(|error| format!("{part}: {key}: {error}"))?;
        Ok((id, value))
    };
    entries.into_iter().map(parse).collect()
}

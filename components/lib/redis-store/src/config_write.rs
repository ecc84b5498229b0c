//! Writing compiled configuration: a new version beside the old one, then one pointer flipped. For the provisioner.
//!
//! ```text
//! write(v): parts in chunks, facts last     readers still see the old version
//! flip(v):  pointer, if it is what we think; old version expires after a grace; nudge
//! ```
//! A version is immutable. Rolling back is flipping to an older version that has not expired. Older versions are bounded in
//! number and size as well as in time, since a tenant can make a hundred versions a minute.
//!
//! Every write is fenced: the tenant remembers the highest epoch of the provisioner's lease that wrote, and refuses a lower one.
//! The version in force is never cleared or written again, whoever asks.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::time::Duration;

use redis::Script;
use ringdown_domain::TenantId;
use ringdown_events::CompiledConfig;
use serde::Serialize;

use crate::keys::{self, ConfigPart};
use crate::{Lease, RedisPool, Retry, StoreError};

/// How long a version stays after another one took its place: time to read it to its end, and to roll back to it.
pub const OLD_VERSION_GRACE: Duration = Duration::from_secs(24 * 3_600);
/// Entries per command.
const CHUNK: usize = 500;
/// Replaced versions that stay, the newest of them, for as long as [`OLD_VERSION_GRACE`].
const MAX_OLD_VERSIONS: usize = 10;
/// What they may take together. The newest of them stays whatever its size, to be rolled back to.
const MAX_OLD_BYTES: u64 = 32 * 1024 * 1024;
/// How long a tenant remembers who wrote last; a lease that old has ended.
const FENCE_REMEMBERED_MS: u64 = 86_400_000;

/// KEYS: fence, pointer, target ... ; ARGV: epoch (0 = not fenced), version, fence ms, command and its arguments.
const FENCED: &str = r"
local epoch = tonumber(ARGV[1])
if epoch > 0 then
  if tonumber(redis.call('GET', KEYS[1]) or '0') > epoch then return 'fenced' end
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[3])
end
if redis.call('GET', KEYS[2]) == ARGV[2] then return 'in force' end
redis.call(unpack(ARGV, 4))
return 'ok'
";

/// KEYS: pointer, meta of the new version, its parts ... ; ARGV: expected ('' = none), new version, grace s, key prefix
/// of versions, names of parts ..., before them the fence and the epoch
const FLIP: &str = r"
local fence = table.remove(KEYS, 1)
local epoch = tonumber(table.remove(ARGV, 1))
if epoch > 0 and tonumber(redis.call('GET', fence) or '0') > epoch then return {'fenced', ''} end
if redis.call('EXISTS', KEYS[2]) == 0 then return {'missing', ''} end
local found = redis.call('GET', KEYS[1]) or ''
if found == ARGV[2] then return {'ok', found} end
if found ~= ARGV[1] then return {'moved', found} end
for i = 2, #KEYS do redis.call('PERSIST', KEYS[i]) end
redis.call('SET', KEYS[1], ARGV[2])
if found ~= '' then
  local old = ARGV[4] .. found
  redis.call('EXPIRE', old, ARGV[3])
  for i = 5, #ARGV do redis.call('EXPIRE', old .. ':' .. ARGV[i], ARGV[3]) end
end
return {'ok', found}
";

/// Why a version did not come into force.
#[derive(Debug, thiserror::Error)]
pub enum FlipError {
    /// Redis failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The version in force is not the expected one: somebody else flipped.
    #[error("version {found:?} is in force, not the expected one")]
    Moved {
        /// The version in force; none when there is none.
        found: Option<u64>,
    },
    /// Another provisioner has the lease by now.
    #[error("another provisioner writes by now")]
    Fenced,
    /// The version to flip to is not (or no longer) there.
    #[error("version {version} is not in Redis")]
    Missing {
        /// The version.
        version: u64,
    },
}

/// Why a version was not written, or a tenant's configuration not taken away.
#[derive(Debug, thiserror::Error)]
pub enum ConfigWriteError {
    /// Redis failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Another provisioner has the lease by now.
    #[error("another provisioner writes by now")]
    Fenced,
    /// It is in force: a version in force is never written again.
    #[error("version {version} is in force")]
    InForce {
        /// The version.
        version: u64,
    },
}

/// Writes versions and flips the pointer.
#[derive(Clone, Debug)]
pub struct ConfigWriter {
    pool: RedisPool,
    grace: Duration,
    /// The lease's epoch; 0: not fenced.
    epoch: u64,
}

impl ConfigWriter {
    /// A writer whose replaced versions stay for [`OLD_VERSION_GRACE`].
    #[must_use]
    pub const fn new(pool: RedisPool) -> Self {
        Self { pool, grace: OLD_VERSION_GRACE, epoch: 0 }
    }

    /// The same writer with another grace; at least a second.
    #[must_use]
    pub fn with_grace(mut self, grace: Duration) -> Self {
        self.grace = grace.max(Duration::from_secs(1));
        self
    }

    /// The same writer under a lease: what it writes is refused once a later holder has written.
    #[must_use]
    pub fn under(&self, lease: &Lease) -> Self {
        Self { epoch: lease.epoch(), ..self.clone() }
    }

    /// Writes a version beside the others. What an earlier, broken-off attempt at the same version left is removed
    /// first. The counts in the facts are set here from what is written.
    ///
    /// # Errors
    /// See [`ConfigWriteError`]; after one of Redis, write again.
    pub async fn write(&self, config: &CompiledConfig) -> Result<(), ConfigWriteError> {
        let (tenant, version) = (config.meta.tenant, config.meta.version);
        self.clear(tenant, version).await?;
        let target = Target { tenant, version };
        let mut bytes = self.write_skills(target, config).await?;
        bytes += self.write_hash(target, ConfigPart::Agents, &config.agents).await?;
        bytes += self.write_hash(target, ConfigPart::Queues, &config.queues).await?;
        bytes += self.write_hash(target, ConfigPart::Routes, &config.routes).await?;
        bytes += self.write_hash(target, ConfigPart::Trunks, &config.trunks).await?;
        bytes += self.write_hash(target, ConfigPart::Credentials, &config.credentials).await?;
        let sizes = keys::config_sizes(tenant);
        self.fenced(
            target,
            std::slice::from_ref(&sizes),
            &["HSET".to_owned(), sizes.clone(), version.to_string(), bytes.to_string()],
        )
        .await?;
        let mut meta = config.meta.clone();
        meta.counts = counts(config);
        let key = keys::config_meta(tenant, version);
        self.fenced(target, std::slice::from_ref(&key), &["SET".to_owned(), key.clone(), to_json(&meta)?]).await
    }

    /// One write of a version that is not in force, as long as nobody with a later lease wrote.
    async fn fenced(&self, target: Target, names: &[String], command: &[String]) -> Result<(), ConfigWriteError> {
        let mut all = vec![keys::config_fence(target.tenant), keys::config_current(target.tenant)];
        all.extend_from_slice(names);
        let head = [self.epoch.to_string(), target.version.to_string(), FENCE_REMEMBERED_MS.to_string()];
        let args: Vec<&str> = head.iter().chain(command).map(String::as_str).collect();
        let script = Script::new(FENCED);
        let verdict: String = self.pool.run_script("config_write", Retry::Safe, &script, &all, &args).await?;
        match verdict.as_str() {
            "ok" => Ok(()),
            "in force" => Err(ConfigWriteError::InForce { version: target.version }),
            _ => Err(ConfigWriteError::Fenced),
        }
    }

    /// Puts a written version in force if `expected` is in force now (or the version itself already is), lists tenant,
    /// realm and trunks, and nudges the readers.
    ///
    /// # Errors
    /// See [`FlipError`].
    pub async fn flip(&self, config: &CompiledConfig, expected: Option<u64>) -> Result<(), FlipError> {
        let (tenant, version) = (config.meta.tenant, config.meta.version);
        self.flip_pointer(tenant, version, expected).await?;
        self.prune(tenant, version).await?;
        self.list(config).await?;
        let mut nudge = redis::cmd("PUBLISH");
        nudge.arg(keys::CONFIG_CHANNEL).arg(format!("{tenant}:{version}"));
        let _readers: i64 = self.pool.run("config_nudge", Retry::Safe, &nudge).await?;
        Ok(())
    }

    /// Takes a tenant's configuration away: readers see none. Live state is not touched.
    ///
    /// # Errors
    /// See [`ConfigWriteError`].
    pub async fn remove(&self, tenant: TenantId) -> Result<(), ConfigWriteError> {
        // No version has the number 0, so the one in force is no obstacle.
        let pointer = keys::config_current(tenant);
        self.fenced(
            Target { tenant, version: 0 },
            std::slice::from_ref(&pointer),
            &["DEL".to_owned(), pointer.clone()],
        )
        .await?;
        let mut pipe = redis::pipe();
        pipe.cmd("SREM").arg(keys::TENANTS).arg(tenant.to_string()).ignore();
        self.unlist(&mut pipe, keys::REALMS, tenant, &[]).await?;
        self.unlist(&mut pipe, keys::TRUNKS, tenant, &[]).await?;
        pipe.cmd("PUBLISH").arg(keys::CONFIG_CHANNEL).arg(format!("{tenant}:0")).ignore();
        Ok(self.pool.run_pipeline("config_remove", Retry::Safe, &pipe).await?)
    }

    async fn flip_pointer(&self, tenant: TenantId, version: u64, expected: Option<u64>) -> Result<(), FlipError> {
        let script = Script::new(FLIP);
        let mut names =
            vec![keys::config_fence(tenant), keys::config_current(tenant), keys::config_meta(tenant, version)];
        names.extend(ConfigPart::ALL.map(|part| keys::config_part(tenant, version, part)));
        let expected = expected.map(|version| version.to_string()).unwrap_or_default();
        let (new, grace) = (version.to_string(), self.grace.as_secs().to_string());
        let prefix = keys::config_prefix(tenant);
        let epoch = self.epoch.to_string();
        let mut args = vec![epoch.as_str(), expected.as_str(), &new, &grace, &prefix];
        args.extend(ConfigPart::ALL.map(ConfigPart::name));
        let (verdict, found): (String, String) =
            self.pool.run_script("config_flip", Retry::Safe, &script, &names, &args).await?;
        match verdict.as_str() {
            "ok" => Ok(()),
            "missing" => Err(FlipError::Missing { version }),
            "fenced" => Err(FlipError::Fenced),
            _ => Err(FlipError::Moved { found: found.parse().ok() }),
        }
    }

    /// The lists that span tenants live on other shards, so they follow the pointer instead of moving with it.
    async fn list(&self, config: &CompiledConfig) -> Result<(), StoreError> {
        let tenant = config.meta.tenant;
        let trunks: Vec<String> = config.trunks.keys().map(ToString::to_string).collect();
        let mut pipe = redis::pipe();
        pipe.cmd("SADD").arg(keys::TENANTS).arg(tenant.to_string()).ignore();
        pipe.cmd("HSET").arg(keys::REALMS).arg(&config.meta.realm).arg(tenant.to_string()).ignore();
        for trunk in &trunks {
            pipe.cmd("HSET").arg(keys::TRUNKS).arg(trunk).arg(tenant.to_string()).ignore();
        }
        self.unlist(&mut pipe, keys::REALMS, tenant, std::slice::from_ref(&config.meta.realm)).await?;
        self.unlist(&mut pipe, keys::TRUNKS, tenant, &trunks).await?;
        self.pool.run_pipeline("config_list", Retry::Safe, &pipe).await
    }

    /// Adds the removal of the tenant's fields of a hash, but for those to keep.
    async fn unlist(
        &self,
        pipe: &mut redis::Pipeline,
        hash: &str,
        tenant: TenantId,
        keep: &[String],
    ) -> Result<(), StoreError> {
        let mut cmd = redis::cmd("HGETALL");
        cmd.arg(hash);
        let fields: BTreeMap<String, String> = self.pool.run("config_list", Retry::Safe, &cmd).await?;
        let owner = tenant.to_string();
        for (field, _) in fields.iter().filter(|(field, value)| **value == owner && !keep.contains(field)) {
            pipe.cmd("HDEL").arg(hash).arg(field).ignore();
        }
        Ok(())
    }

    /// Removes replaced versions beyond their number and size, the oldest first.
    async fn prune(&self, tenant: TenantId, in_force: u64) -> Result<(), StoreError> {
        let mut cmd = redis::cmd("HGETALL");
        cmd.arg(keys::config_sizes(tenant));
        let sizes: BTreeMap<u64, u64> = self.pool.run("config_prune", Retry::Safe, &cmd).await?;
        let (mut kept, mut bytes) = (0, 0);
        for (version, size) in sizes.into_iter().rev().filter(|(version, _)| *version != in_force) {
            bytes += size;
            let fits = kept == 0 || (kept < MAX_OLD_VERSIONS && bytes <= MAX_OLD_BYTES);
            // A version that is greater is on its way into force, or was rolled back from.
            if version > in_force || fits {
                kept += 1;
                continue;
            }
            match self.clear(tenant, version).await {
                // Somebody else writes by now, and will prune.
                Ok(()) | Err(ConfigWriteError::Fenced | ConfigWriteError::InForce { .. }) => {}
                Err(ConfigWriteError::Store(error)) => return Err(error),
            }
        }
        Ok(())
    }

    async fn clear(&self, tenant: TenantId, version: u64) -> Result<(), ConfigWriteError> {
        let mut names = vec![keys::config_meta(tenant, version)];
        names.extend(ConfigPart::ALL.map(|part| keys::config_part(tenant, version, part)));
        let mut command = vec!["UNLINK".to_owned()];
        command.extend(names.iter().cloned());
        let target = Target { tenant, version };
        self.fenced(target, &names, &command).await?;
        let sizes = keys::config_sizes(tenant);
        self.fenced(target, std::slice::from_ref(&sizes), &["HDEL".to_owned(), sizes.clone(), version.to_string()])
            .await
    }

    async fn write_skills(&self, target: Target, config: &CompiledConfig) -> Result<u64, ConfigWriteError> {
        let key = keys::config_part(target.tenant, target.version, ConfigPart::Skills);
        let skills: Vec<String> = config.skills.iter().map(ToString::to_string).collect();
        for chunk in skills.chunks(CHUNK) {
            let mut command = vec!["SADD".to_owned(), key.clone()];
            command.extend_from_slice(chunk);
            self.fenced(target, std::slice::from_ref(&key), &command).await?;
        }
        Ok(skills.iter().map(|skill| skill.len() as u64).sum())
    }

    /// Writes a part; how many bytes it has.
    async fn write_hash<K: Display, V: Serialize>(
        &self,
        target: Target,
        part: ConfigPart,
        entries: &BTreeMap<K, V>,
    ) -> Result<u64, ConfigWriteError> {
        let key = keys::config_part(target.tenant, target.version, part);
        let mut texts = Vec::with_capacity(entries.len());
        for (name, value) in entries {
            texts.push((name.to_string(), to_json(value)?));
        }
        for chunk in texts.chunks(CHUNK) {
            let mut command = vec!["HSET".to_owned(), key.clone()];
            command.extend(chunk.iter().flat_map(|(name, text)| [name.clone(), text.clone()]));
            self.fenced(target, std::slice::from_ref(&key), &command).await?;
        }
        Ok(texts.iter().map(|(name, text)| (name.len() + text.len()) as u64).sum())
    }
}

/// What is written.
#[derive(Clone, Copy)]
struct Target {
    tenant: TenantId,
    version: u64,
}

fn counts(config: &CompiledConfig) -> BTreeMap<String, u64> {
    let of = |part: ConfigPart| match part {
        ConfigPart::Skills => config.skills.len(),
        ConfigPart::Agents => config.agents.len(),
        ConfigPart::Queues => config.queues.len(),
        ConfigPart::Routes => config.routes.len(),
        ConfigPart::Trunks => config.trunks.len(),
        ConfigPart::Credentials => config.credentials.len(),
    };
    ConfigPart::ALL.into_iter().map(|part| (part.name().to_owned(), of(part) as u64)).collect()
}

fn to_json<T: Serialize>(value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value)
        .map_err(|error| StoreError::Unreadable { what: "config_write", detail: error.to_string() })
}

//! Writing compiled configuration: a new version beside the old one, then one pointer flipped. For the provisioner.
//!
//! ```text
//! write(v): parts in chunks, facts last     readers still see the old version
//! flip(v):  pointer, if it is what we think; old version expires after a grace; nudge
//! ```
//! A version is immutable. Rolling back is flipping to an older version that has not expired.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::time::Duration;

use redis::Script;
use ringdown_domain::TenantId;
use ringdown_events::CompiledConfig;
use serde::Serialize;

use crate::keys::{self, ConfigPart};
use crate::{RedisPool, Retry, StoreError};

/// How long a version stays after another one took its place: time to read it to its end, and to roll back to it.
pub const OLD_VERSION_GRACE: Duration = Duration::from_secs(24 * 3_600);
/// Entries per command.
const CHUNK: usize = 500;

/// KEYS: pointer, meta of the new version, its parts ... ; ARGV: expected ('' = none), new version, grace s, key prefix
/// of versions, names of parts ...
const FLIP: &str = r"
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
    /// The version to flip to is not (or no longer) there.
    #[error("version {version} is not in Redis")]
    Missing {
        /// The version.
        version: u64,
    },
}

/// Writes versions and flips the pointer.
#[derive(Clone, Debug)]
pub struct ConfigWriter {
    pool: RedisPool,
    grace: Duration,
}

impl ConfigWriter {
    /// A writer whose replaced versions stay for [`OLD_VERSION_GRACE`].
    #[must_use]
    pub const fn new(pool: RedisPool) -> Self {
        Self { pool, grace: OLD_VERSION_GRACE }
    }

    /// The same writer with another grace; at least a second.
    #[must_use]
    pub fn with_grace(mut self, grace: Duration) -> Self {
        self.grace = grace.max(Duration::from_secs(1));
        self
    }

    /// Writes a version beside the others. What an earlier, broken-off attempt at the same version left is removed
    /// first. The counts in the facts are set here from what is written.
    ///
    /// # Errors
    /// See [`StoreError`]; write again.
    pub async fn write(&self, config: &CompiledConfig) -> Result<(), StoreError> {
        let (tenant, version) = (config.meta.tenant, config.meta.version);
        self.clear(tenant, version).await?;
        let skills: Vec<String> = config.skills.iter().map(ToString::to_string).collect();
        self.write_skills(&keys::config_part(tenant, version, ConfigPart::Skills), &skills).await?;
        let part = |part| keys::config_part(tenant, version, part);
        self.write_hash(&part(ConfigPart::Agents), &config.agents).await?;
        self.write_hash(&part(ConfigPart::Queues), &config.queues).await?;
        self.write_hash(&part(ConfigPart::Routes), &config.routes).await?;
        self.write_hash(&part(ConfigPart::Trunks), &config.trunks).await?;
        self.write_hash(&part(ConfigPart::Credentials), &config.credentials).await?;
        let mut meta = config.meta.clone();
        meta.counts = counts(config);
        let mut cmd = redis::cmd("SET");
        cmd.arg(keys::config_meta(tenant, version)).arg(to_json(&meta)?);
        let _ok: String = self.pool.run("config_write", Retry::Safe, &cmd).await?;
        Ok(())
    }

    /// Puts a written version in force if `expected` is in force now (or the version itself already is), lists tenant,
    /// realm and trunks, and nudges the readers.
    ///
    /// # Errors
    /// See [`FlipError`].
    pub async fn flip(&self, config: &CompiledConfig, expected: Option<u64>) -> Result<(), FlipError> {
        let (tenant, version) = (config.meta.tenant, config.meta.version);
        self.flip_pointer(tenant, version, expected).await?;
        self.list(config).await?;
        let mut nudge = redis::cmd("PUBLISH");
        nudge.arg(keys::CONFIG_CHANNEL).arg(format!("{tenant}:{version}"));
        let _readers: i64 = self.pool.run("config_nudge", Retry::Safe, &nudge).await?;
        Ok(())
    }

    /// Takes a tenant's configuration away: readers see none. Live state is not touched.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn remove(&self, tenant: TenantId) -> Result<(), StoreError> {
        let mut pointer = redis::cmd("DEL");
        pointer.arg(keys::config_current(tenant));
        let _removed: i64 = self.pool.run("config_remove", Retry::Safe, &pointer).await?;
        let mut pipe = redis::pipe();
        pipe.cmd("SREM").arg(keys::TENANTS).arg(tenant.to_string()).ignore();
        self.unlist(&mut pipe, keys::REALMS, tenant, &[]).await?;
        self.unlist(&mut pipe, keys::TRUNKS, tenant, &[]).await?;
        pipe.cmd("PUBLISH").arg(keys::CONFIG_CHANNEL).arg(format!("{tenant}:0")).ignore();
        self.pool.run_pipeline("config_remove", Retry::Safe, &pipe).await
    }

    async fn flip_pointer(&self, tenant: TenantId, version: u64, expected: Option<u64>) -> Result<(), FlipError> {
        let script = Script::new(FLIP);
        let mut names = vec![keys::config_current(tenant), keys::config_meta(tenant, version)];
        names.extend(ConfigPart::ALL.map(|part| keys::config_part(tenant, version, part)));
        let expected = expected.map(|version| version.to_string()).unwrap_or_default();
        let (new, grace) = (version.to_string(), self.grace.as_secs().to_string());
        let prefix = keys::config_prefix(tenant);
        let mut args = vec![expected.as_str(), &new, &grace, &prefix];
        args.extend(ConfigPart::ALL.map(ConfigPart::name));
        let (verdict, found): (String, String) =
            self.pool.run_script("config_flip", Retry::Safe, &script, &names, &args).await?;
        match verdict.as_str() {
            "ok" => Ok(()),
            "missing" => Err(FlipError::Missing { version }),
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

    async fn clear(&self, tenant: TenantId, version: u64) -> Result<(), StoreError> {
        let mut cmd = redis::cmd("UNLINK");
        cmd.arg(keys::config_meta(tenant, version));
        for part in ConfigPart::ALL {
            cmd.arg(keys::config_part(tenant, version, part));
        }
        let _removed: i64 = self.pool.run("config_write", Retry::Safe, &cmd).await?;
        Ok(())
    }

    async fn write_skills(&self, key: &str, skills: &[String]) -> Result<(), StoreError> {
        for chunk in skills.chunks(CHUNK) {
            let mut cmd = redis::cmd("SADD");
            cmd.arg(key).arg(chunk);
            let _added: i64 = self.pool.run("config_write", Retry::Safe, &cmd).await?;
        }
        Ok(())
    }

    async fn write_hash<K: Display, V: Serialize>(
        &self,
        key: &str,
        entries: &BTreeMap<K, V>,
    ) -> Result<(), StoreError> {
        let mut texts = Vec::with_capacity(entries.len());
        for (name, value) in entries {
            texts.push((name.to_string(), to_json(value)?));
        }
        for chunk in texts.chunks(CHUNK) {
            let mut cmd = redis::cmd("HSET");
            cmd.arg(key);
            for (name, text) in chunk {
                cmd.arg(name).arg(text);
            }
            let _added: i64 = self.pool.run("config_write", Retry::Safe, &cmd).await?;
        }
        Ok(())
    }
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

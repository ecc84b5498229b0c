//! What `/status` tells: which revision is desired, which version each daemon of each host runs, and what is wrong.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ringdown_domain::TenantId;
use ringdown_redis_store::{RedisPool, Retry, StoreError, keys, redis};
use serde::Serialize;

/// Tenants whose newest revision contradicts itself, so that it is judged and logged once.
#[derive(Clone, Debug, Default)]
pub(crate) struct Faults(BTreeMap<TenantId, (u64, Vec<String>)>);

impl Faults {
    pub(crate) fn set(&mut self, tenant: TenantId, revision: u64, problems: Vec<String>) {
        self.0.insert(tenant, (revision, problems));
    }

    pub(crate) fn clear(&mut self, tenant: TenantId) {
        self.0.remove(&tenant);
    }

    pub(crate) fn are_of(&self, tenant: TenantId, revision: u64) -> bool {
        self.0.get(&tenant).is_some_and(|(at, _)| *at == revision)
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

/// What the compiler last saw. Cloning shares it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Board(Arc<Mutex<Seen>>);

#[derive(Debug, Default)]
struct Seen {
    desired: BTreeMap<TenantId, u64>,
    faults: BTreeMap<TenantId, Vec<String>>,
}

/// The answer of `/status`.
#[derive(Debug, Serialize)]
pub(crate) struct Status {
    /// Revision by tenant as PostgreSQL has it; empty where this process does not compile.
    desired: BTreeMap<TenantId, u64>,
    /// Version in force by tenant.
    in_force: BTreeMap<TenantId, Option<u64>>,
    /// What contradicts itself, by tenant.
    problems: BTreeMap<TenantId, Vec<String>>,
    /// Host, then daemon and tenant, then the version it runs, since when, and its error.
    hosts: BTreeMap<String, BTreeMap<String, serde_json::Value>>,
}

impl Board {
    pub(crate) fn desired(&self, desired: &BTreeMap<TenantId, u64>) {
        self.seen().desired.clone_from(desired);
    }

    pub(crate) fn faults(&self, faults: &Faults) {
        self.seen().faults = faults.0.iter().map(|(tenant, (_, problems))| (*tenant, problems.clone())).collect();
    }

    /// Reads what daemons reported and puts it beside what is desired.
    pub(crate) async fn status(&self, pool: &RedisPool) -> Result<Status, StoreError> {
        let mut members = redis::cmd("SMEMBERS");
        members.arg(keys::TENANTS);
        let tenants: Vec<String> = pool.run("status", Retry::Safe, &members).await?;
        let mut in_force = BTreeMap::new();
        for tenant in tenants.iter().filter_map(|text| text.parse::<TenantId>().ok()) {
            let mut get = redis::cmd("GET");
            get.arg(keys::config_current(tenant));
            in_force.insert(tenant, pool.run("status", Retry::Safe, &get).await?);
        }
        let hosts = hosts(pool).await?;
        let seen = self.seen();
        Ok(Status { desired: seen.desired.clone(), in_force, problems: seen.faults.clone(), hosts })
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        // Each change replaces a whole map, so a panic elsewhere leaves it whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Every host's reports. Hosts are few; the scan is bounded by their number and Redis' other keys, and runs on request only.
async fn hosts(pool: &RedisPool) -> Result<BTreeMap<String, BTreeMap<String, serde_json::Value>>, StoreError> {
    let mut hosts = BTreeMap::new();
    let mut cursor = "0".to_owned();
    loop {
        let mut scan = redis::cmd("SCAN");
        scan.arg(&cursor).arg("MATCH").arg(keys::config_status("*")).arg("COUNT").arg(1_000);
        let (next, found): (String, Vec<String>) = pool.run("status", Retry::Safe, &scan).await?;
        for key in found {
            let mut all = redis::cmd("HGETALL");
            all.arg(&key);
            let fields: BTreeMap<String, String> = pool.run("status", Retry::Safe, &all).await?;
            let parsed = fields.into_iter().map(|(field, text)| {
                let value = serde_json::from_str(&text).unwrap_or(serde_json::Value::String(text));
                (field, value)
            });
            let host = key.strip_prefix(&keys::config_status("")).unwrap_or(&key).to_owned();
            hosts.insert(host, parsed.collect());
        }
        if next == "0" {
            return Ok(hosts);
        }
        cursor = next;
    }
}

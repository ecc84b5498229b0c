//! Which host runs which version of the configuration.

use std::collections::{BTreeMap, HashMap};

use axum::extract::State;
use ringdown_domain::TenantId;
use ringdown_redis_store::{Retry, StoreError, keys, redis};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::reader;
use crate::answers::{self, Json, TenantPath};
use crate::app::App;
use crate::apply;
use crate::auth::access::{InTenant, Supervise};
use crate::problem::Problem;

/// The most hosts that are shown; an installation has tens.
const MAX_HOSTS: usize = 1_000;

/// The state of a tenant's provisioning.
#[derive(Debug, Serialize, ToSchema)]
pub struct Provisioning {
    /// The revision that is written; null when it cannot be read now.
    pub written: Option<u64>,
    /// The compiled version in force; null when there is none yet.
    pub current: Option<u64>,
    /// The version the tenant's router runs.
    pub router: u64,
    /// What each daemon on each host says: host to daemon to its word.
    pub hosts: BTreeMap<String, BTreeMap<String, DaemonVersion>>,
}

/// What a daemon says.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct DaemonVersion {
    /// The version it runs.
    pub version: u64,
    /// When it said so, UTC milliseconds.
    pub at_ms: u64,
    /// What keeps it from running the one in force, if anything does.
    #[serde(default)]
    pub error: Option<String>,
}

/// Which host runs which version of the tenant's configuration.
#[utoipa::path(get, path = "/tenants/{tenant}/provisioning", tag = "live", params(TenantPath),
    responses((status = 200, description = "The versions.", body = Provisioning)))]
pub async fn get_provisioning(
    State(app): State<App>,
    scope: InTenant<Supervise>,
) -> Result<Json<Provisioning>, Problem> {
    let written = apply::written(&app, scope.tenant).await;
    let router = reader::router(&app, scope.tenant).await?.config_version;
    let mut cmd = redis::cmd("GET");
    cmd.arg(keys::config_current(scope.tenant));
    let current: Option<u64> =
        app.redis.run("config_version", Retry::Safe, &cmd).await.map_err(|error| answers::store_problem(&error))?;
    if written.is_none() && current.is_none() {
        reader::tenant_exists(&app, scope.tenant).await?;
    }
    let hosts = hosts(&app, scope.tenant).await.map_err(|error| answers::store_problem(&error))?;
    Ok(Json(Provisioning { written, current, router, hosts }))
}

async fn hosts(app: &App, tenant: TenantId) -> Result<BTreeMap<String, BTreeMap<String, DaemonVersion>>, StoreError> {
    let prefix = keys::config_status("");
    let mut hosts = BTreeMap::new();
    for key in status_keys(app).await? {
        let mut cmd = redis::cmd("HGETALL");
        cmd.arg(&key);
        let fields: HashMap<String, String> = app.redis.run("config_status", Retry::Safe, &cmd).await?;
        let host = key.strip_prefix(&prefix).unwrap_or(&key).to_owned();
        let daemons: BTreeMap<String, DaemonVersion> =
            fields.iter().filter_map(|entry| of_tenant(entry, tenant)).collect();
        if !daemons.is_empty() {
            hosts.insert(host, daemons);
        }
    }
    Ok(hosts)
}

fn of_tenant((field, text): (&String, &String), tenant: TenantId) -> Option<(String, DaemonVersion)> {
    let (daemon, of) = field.split_once('/')?;
    if of.parse() != Ok(tenant) {
        return None;
    }
    // A word that cannot be read is shown as what it is: the operator's question is whom to look at.
    let version = serde_json::from_str(text).unwrap_or_else(|error| DaemonVersion {
        version: 0,
        at_ms: 0,
        error: Some(format!("its status cannot be read: {error}")),
    });
    Some((daemon.to_owned(), version))
}

async fn status_keys(app: &App) -> Result<Vec<String>, StoreError> {
    let mut keys_found = Vec::new();
    let mut cursor = 0_u64;
    loop {
        let mut cmd = redis::cmd("SCAN");
        cmd.arg(cursor).arg("MATCH").arg(keys::config_status("*")).arg("COUNT").arg(1_000);
        let (next, names): (u64, Vec<String>) = app.redis.run("status_scan", Retry::Safe, &cmd).await?;
        keys_found.extend(names);
        if next == 0 || keys_found.len() >= MAX_HOSTS {
            keys_found.sort_unstable();
            keys_found.dedup();
            return Ok(keys_found);
        }
        cursor = next;
    }
}

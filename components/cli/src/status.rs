//! `ringdown status`: a row per part. On a host of an installation by its ports; elsewhere by `RINGDOWN_*_URL` addresses.

use std::collections::BTreeMap;
use std::net::ToSocketAddrs;
use std::process::ExitCode;

use anyhow::{Context, bail};
use redis::aio::MultiplexedConnection;
use ringdown_redis_store::keys;
use serde::Serialize;
use serde_json::Value;

use crate::appliance::{Appliance, Unit};
use crate::arguments::{Place, Status};
use crate::health::{self, Health};
use crate::installation::Installation;
use crate::output;
use crate::supervise::{Board, ChildState, Row};

/// Where daemons are when there is no installation on this host: the variable that says it.
const ADDRESSES: [(&str, &str, &str); 5] = [
    ("web-api", "RINGDOWN_WEB_API_URL", "http://127.0.0.1:8000"),
    ("provisioner", "RINGDOWN_PROVISIONER_URL", "http://127.0.0.1:8004"),
    ("acd", "RINGDOWN_ACD_URL", "http://127.0.0.1:8002"),
    ("registrar", "RINGDOWN_REGISTRAR_URL", "http://127.0.0.1:8003"),
    ("notifier", "RINGDOWN_NOTIFIER_URL", "http://127.0.0.1:8001"),
];

#[derive(Serialize)]
pub(crate) struct Part {
    name: String,
    process: Option<u32>,
    state: Option<ChildState>,
    restarts: u32,
    #[serde(flatten)]
    health: Health,
    /// Tenant to version of the configuration it runs.
    configuration: BTreeMap<String, u64>,
}

pub(crate) async fn run(place: &Place, status: &Status) -> anyhow::Result<ExitCode> {
    let parts = parts(place).await?;
    let all_ready = parts.iter().all(|part| part.health.ready);
    if status.json {
        output::json(&parts)?;
    } else {
        show(&parts);
        output::say(if all_ready { "healthy" } else { "not healthy: `ringdown doctor` says what to do" });
    }
    Ok(if all_ready { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Every part of what `place` names.
pub(crate) async fn parts(place: &Place) -> anyhow::Result<Vec<Part>> {
    match (Appliance::find(place)?, Installation::find(place)?) {
        (Some(appliance), _) => of_appliance(&appliance).await,
        (None, Some(installation)) => of_installation(&installation).await,
        (None, None) => of_addresses().await,
    }
}

async fn of_installation(installation: &Installation) -> anyhow::Result<Vec<Part>> {
    // Without a supervisor its last board is of processes that are gone.
    let supervised = installation.lock().holder()?.is_some();
    let board = Board::read(&installation.join("run/children.json"))?;
    let mut rows = if supervised { board } else { BTreeMap::new() };
    let configurations = match health::redis(installation).await {
        Ok(connection) => configurations(connection, installation.node()).await,
        Err(_) => BTreeMap::new(),
    };
    let mut parts = Vec::new();
    for name in health::PARTS {
        let row = rows.remove(name);
        if supervised && row.is_none() {
            // Told to run without it.
            continue;
        }
        let mut health = health::ask(installation, name).await;
        if let Some(row) = row.as_ref().filter(|row| row.state != ChildState::Running) {
            health.says = describe(row);
        }
        let configuration = configurations.get(name).cloned().unwrap_or_default();
        let process = row.as_ref().and_then(|row| row.pid);
        let restarts = row.as_ref().map_or(0, |row| row.restarts);
        parts.push(Part {
            name: name.to_owned(),
            process,
            state: row.map(|row| row.state),
            restarts,
            health,
            configuration,
        });
    }
    Ok(parts)
}

fn describe(row: &Row) -> String {
    let end = row.last_end.as_deref().unwrap_or("not started yet");
    match row.state {
        ChildState::Waiting => "waits for its files".to_owned(),
        ChildState::Running => "runs".to_owned(),
        ChildState::Dead => format!("{end}; is started again"),
        ChildState::Stopped => "stopped".to_owned(),
    }
}

async fn of_appliance(appliance: &Appliance) -> anyhow::Result<Vec<Part>> {
    let connection = health::redis_of_appliance(appliance, &appliance.redis_url()?).await;
    let mut configurations = match connection {
        Ok(connection) => configurations(connection, &appliance.node()?).await,
        Err(_) => BTreeMap::new(),
    };
    let mut parts = Vec::new();
    for name in appliance.parts() {
        let unit = Unit::of(name).await?;
        let mut health = health::ask_component(appliance, name).await;
        if !health.ready && unit.state != "active" {
            health.says = format!("{} (systemd: {})", health.says, unit.state);
        }
        let configuration = configurations.remove(name).unwrap_or_default();
        let (process, restarts) = (unit.process, unit.restarts);
        parts.push(Part { name: name.to_owned(), process, state: None, restarts, health, configuration });
    }
    Ok(parts)
}

async fn of_addresses() -> anyhow::Result<Vec<Part>> {
    let mut parts = Vec::new();
    for (name, variable, default) in ADDRESSES {
        let url = std::env::var(variable).ok().filter(|url| !url.is_empty()).unwrap_or_else(|| default.to_owned());
        let Some(host) = url.strip_prefix("http://") else { bail!("{variable} must begin with http://") };
        let host = host.trim_end_matches('/');
        let mut addresses = host.to_socket_addrs().with_context(|| format!("{variable}: looking up {host}"))?;
        let address = addresses.next().with_context(|| format!("{variable}: {host} has no address"))?;
        parts.push(Part {
            name: name.to_owned(),
            process: None,
            state: None,
            restarts: 0,
            health: health::daemon_health(address).await,
            configuration: BTreeMap::new(),
        });
    }
    Ok(parts)
}

/// What each daemon reported: daemon to tenant to version. Nothing when Redis is away, which has a row of its own.
async fn configurations(mut connection: MultiplexedConnection, node: &str) -> BTreeMap<String, BTreeMap<String, u64>> {
    let mut by_daemon: BTreeMap<String, BTreeMap<String, u64>> = BTreeMap::new();
    let key = keys::config_status(node);
    let reported: Result<BTreeMap<String, String>, _> =
        redis::cmd("HGETALL").arg(key).query_async(&mut connection).await;
    for (field, text) in reported.unwrap_or_default() {
        let version = serde_json::from_str::<Value>(&text).ok().and_then(|value| value["version"].as_u64());
        if let (Some((daemon, tenant)), Some(version)) = (field.split_once('/'), version) {
            by_daemon.entry(daemon.to_owned()).or_default().insert(tenant.to_owned(), version);
        }
    }
    by_daemon
}

fn show(parts: &[Part]) {
    let mut table = output::table(&["part", "process", "health", "version", "configuration", "restarts"]);
    for part in parts {
        let configuration = match part.configuration.len() {
            0 => "-".to_owned(),
            1 => part.configuration.values().map(u64::to_string).collect(),
            tenants => format!("{tenants} tenants"),
        };
        table.add_row([
            part.name.clone(),
            part.process.map_or_else(|| "-".to_owned(), |id| id.to_string()),
            part.health.says.clone(),
            part.health.version.clone().unwrap_or_else(|| "-".to_owned()),
            configuration,
            part.restarts.to_string(),
        ]);
    }
    output::print(&table);
}

//! From written to running.
//!
//! A change of configuration is written to PostgreSQL, compiled by the provisioner and taken by the tenant's router. A
//! caller who makes an agent and sets its status with the next request must not meet a router that does not know it. So a
//! change waits, bounded, until the router runs it, and its answer says whether it does:
//!
//! ```text
//! Ringdown-Config-Revision: 17      the tenant's revision that holds the change
//! Ringdown-Config-Applied: true     the router runs it and every Asterisk has it; false: not within the wait, it will
//! ```
//!
//! `Prefer: respond-async` (RFC 7240 4.1) does not wait, `Prefer: wait=N` waits up to N seconds (at most 10). An import of
//! thousands of agents uses the former. A command that meets a router that is behind waits the same way and asks again.

use std::time::Duration;

use axum::http::HeaderMap;
use ringdown_domain::TenantId;
use ringdown_redis_store::{Retry, keys, redis, snapshot};
use serde::Deserialize;
use tokio::time::Instant;

use crate::app::App;
use crate::db;

/// How often the router's record is looked at: an HGETALL of six fields.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// The longest wait anybody can ask for.
const LONGEST_WAIT_S: u64 = 10;

/// How long the caller wants to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// The service's own wait.
    Usual,
    /// Not at all.
    None,
    /// So many seconds.
    Seconds(u64),
}

impl Patience {
    /// The request's `Prefer` header; what it does not understand is ignored, as RFC 7240 2 asks.
    #[must_use]
    pub fn from_headers(headers: &HeaderMap) -> Self {
        let preferences = headers.get_all("prefer").iter().filter_map(|value| value.to_str().ok());
        for preference in preferences.flat_map(|text| text.split(',')).map(str::trim) {
            if preference.eq_ignore_ascii_case("respond-async") {
                return Self::None;
            }
            let wait = preference.split_once('=').filter(|(name, _)| name.trim().eq_ignore_ascii_case("wait"));
            if let Some(seconds) = wait.and_then(|(_, seconds)| seconds.trim().parse().ok()) {
                return Self::Seconds(LONGEST_WAIT_S.min(seconds));
            }
        }
        Self::Usual
    }

    fn limit(self, usual: Duration) -> Duration {
        match self {
            Self::Usual => usual,
            Self::None => Duration::ZERO,
            Self::Seconds(seconds) => Duration::from_secs(seconds),
        }
    }
}

/// How far a change has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Applied {
    /// The tenant's revision that holds the change.
    pub revision: u64,
    /// Whether the router runs it, or a later one, and every Asterisk has it.
    pub running: bool,
}

/// Waits until the tenant's router runs what is written and every Asterisk that is rendered for has it; none when the tenant is gone or a store is away (the change is
/// made all the same).
pub async fn wait(app: &App, tenant: TenantId, patience: Patience) -> Option<Applied> {
    let revision = written(app, tenant).await?;
    let end = Instant::now() + patience.limit(app.settings.apply_wait);
    let renderers = config_renderers(app).await?;
    let mut looks = tokio::time::interval(LOOK_EVERY);
    looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        if runs(app, tenant).await? >= revision && rendered(app, &renderers, tenant, revision).await? {
            return Some(Applied { revision, running: true });
        }
        if Instant::now() >= end {
            return Some(Applied { revision, running: false });
        }
    }
}

/// Waits the usual time for a router that is behind; whether there was something to wait for and it has come.
pub async fn catch_up(app: &App, tenant: TenantId) -> bool {
    is_behind(app, tenant).await && wait(app, tenant, Patience::Usual).await.is_some_and(|applied| applied.running)
}

/// Whether something is written that the router does not run yet. A store that is away tells nothing: no.
pub async fn is_behind(app: &App, tenant: TenantId) -> bool {
    match (written(app, tenant).await, runs(app, tenant).await) {
        (Some(written), Some(runs)) => runs < written,
        (None, _) | (_, None) => false,
    }
}

/// The tenant's revision in PostgreSQL.
pub async fn written(app: &App, tenant: TenantId) -> Option<u64> {
    let rows =
        db::query(app, "read_revision", "SELECT revision FROM tenant_revisions WHERE tenant_id = $1", &[&tenant.0])
            .await
            .ok()?;
    rows.first().and_then(|row| u64::try_from(row.get::<_, i64>("revision")).ok())
}

/// The revision the router runs; 0 when there never was a router.
async fn runs(app: &App, tenant: TenantId) -> Option<u64> {
    let record = snapshot::read_router(&app.redis, tenant).await.ok()?;
    Some(record.map_or(0, |record| record.config_version))
}

/// The hosts whose Asterisk follows the configuration; one that has not been heard of for half a minute is not waited for.
async fn config_renderers(app: &App) -> Option<Vec<String>> {
    let renderers = ringdown_redis_store::renderers(&app.redis, app.clock.now()).await.ok()?;
    Some(renderers.into_keys().collect())
}

/// What a host reports of its Asterisk.
#[derive(Deserialize)]
struct Report {
    version: u64,
    #[serde(default)]
    error: Option<String>,
}

/// Whether each of these hosts has the revision in its Asterisk, without a fault.
async fn rendered(app: &App, hosts: &[String], tenant: TenantId, revision: u64) -> Option<bool> {
    for host in hosts {
        let mut cmd = redis::cmd("HGET");
        cmd.arg(keys::config_status(host)).arg(format!("asterisk/{tenant}"));
        let text: Option<String> = app.redis.run("config_status", Retry::Safe, &cmd).await.ok()?;
        let report = text.and_then(|text| serde_json::from_str::<Report>(&text).ok());
        if !report.is_some_and(|report| report.version >= revision && report.error.is_none()) {
            return Some(false);
        }
    }
    Some(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn preferences_are_read() {
        let rows = [
            (None, Patience::Usual),
            (Some("respond-async"), Patience::None),
            (Some("Respond-Async, wait=5"), Patience::None),
            (Some("wait=5"), Patience::Seconds(5)),
            (Some("handling=lenient, wait = 100"), Patience::Seconds(10)),
            (Some("wait=x"), Patience::Usual),
        ];
        for (text, expected) in rows {
            let mut headers = HeaderMap::new();
            if let Some(text) = text {
                headers.insert("prefer", text.parse().unwrap());
            }
            assert_eq!(Patience::from_headers(&headers), expected, "{text:?}");
        }
    }
}

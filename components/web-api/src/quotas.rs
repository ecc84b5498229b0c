//! How much of the installation one tenant may take: so that none fills Redis, PostgreSQL or the router for all others.
//!
//! The limits are the installation's and the same for every tenant. A refusal names the quota; `GET .../quotas` shows all of
//! them and what is used.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::http::StatusCode;
use ringdown_domain::TenantId;
use ringdown_env_config::Reader;
use ringdown_redis_store::{Retry, keys, redis};
use serde::Serialize;
use utoipa::ToSchema;

use crate::answers::{self, Json, Page, TenantPath};
use crate::app::App;
use crate::auth::access::{InTenant, Supervise};
use crate::auth::limiter::Buckets;
use crate::db::{self, Tx};
use crate::problem::Problem;

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Quota {
    /// Agents configured.
    Agents,
    /// API tokens of all users of the tenant.
    ApiTokens,
    /// Interactions made over the API in a second.
    InteractionsPerSecond,
    /// Interactions that wait.
    InteractionsWaiting,
    /// Outbound routes configured.
    OutboundRoutes,
    /// Queues configured.
    Queues,
    /// Numbers that lead to a queue.
    Routes,
    /// Skills configured.
    Skills,
    /// Trunks configured.
    Trunks,
    /// Users of the tenant.
    Users,
}

impl Quota {
    const ALL: [Self; 10] = [
        Self::Agents,
        Self::ApiTokens,
        Self::InteractionsPerSecond,
        Self::InteractionsWaiting,
        Self::OutboundRoutes,
        Self::Queues,
        Self::Routes,
        Self::Skills,
        Self::Trunks,
        Self::Users,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Agents => "agents",
            Self::ApiTokens => "api_tokens",
            Self::InteractionsPerSecond => "interactions_per_second",
            Self::InteractionsWaiting => "interactions_waiting",
            Self::OutboundRoutes => "outbound_routes",
            Self::Queues => "queues",
            Self::Routes => "routes",
            Self::Skills => "skills",
            Self::Trunks => "trunks",
            Self::Users => "users",
        }
    }

    /// How the rows of a tenant are counted; none for what is not in PostgreSQL.
    const fn count(self) -> Option<&'static str> {
        match self {
            Self::Agents => Some("SELECT count(*) AS count FROM agents WHERE tenant_id = $1"),
            Self::ApiTokens => Some(
                "SELECT count(*) AS count FROM api_tokens t JOIN users u ON u.id = t.user_id WHERE u.tenant_id = $1",
            ),
            Self::OutboundRoutes => Some("SELECT count(*) AS count FROM outbound_routes WHERE tenant_id = $1"),
            Self::Queues => Some("SELECT count(*) AS count FROM queues WHERE tenant_id = $1"),
            Self::Routes => Some("SELECT count(*) AS count FROM routes WHERE tenant_id = $1"),
            Self::Skills => Some("SELECT count(*) AS count FROM skills WHERE tenant_id = $1"),
            Self::Trunks => Some("SELECT count(*) AS count FROM trunks WHERE tenant_id = $1"),
            Self::Users => Some("SELECT count(*) AS count FROM users WHERE tenant_id = $1"),
            Self::InteractionsPerSecond | Self::InteractionsWaiting => None,
        }
    }
}

/// The limits of one tenant.
#[derive(Clone, Copy, Debug)]
pub struct Quotas {
    agents: u64,
    api_tokens: u64,
    interactions_per_second: u64,
    interactions_waiting: u64,
    outbound_routes: u64,
    queues: u64,
    routes: u64,
    skills: u64,
    trunks: u64,
    users: u64,
}

impl Quotas {
    /// Reads every limit.
    pub fn read(env: &mut Reader) -> Option<Self> {
        let mut read =
            |name, most, default: u64, about| env.number(name, 1..=most).default(default).about(about).read();
        // The defaults are beyond the largest contact centre we have measured, and all of them together fit a host of 4 GB.
        let agents =
            read("RINGDOWN_WEB_API_QUOTA_AGENTS", 1_000_000_u64, 10_000, "Most agents a tenant may configure.");
        let api_tokens =
            read("RINGDOWN_WEB_API_QUOTA_API_TOKENS", 100_000, 1_000, "Most API tokens of a tenant's users together.");
        let per_second = read(
            "RINGDOWN_WEB_API_QUOTA_INTERACTIONS_PER_SECOND",
            1_000_000,
            500,
            "Most interactions a tenant may make per second over the API of one web-api; twice as many in one burst.",
        );
        let waiting = read(
            "RINGDOWN_WEB_API_QUOTA_INTERACTIONS_WAITING",
            1_000_000,
            20_000,
            "How many interactions of a tenant may wait; further ones made over the API are refused. Calls are not affected.",
        );
        let queues = read("RINGDOWN_WEB_API_QUOTA_QUEUES", 100_000, 1_000, "Most queues a tenant may configure.");
        let outbound_routes =
            read("RINGDOWN_WEB_API_QUOTA_OUTBOUND_ROUTES", 200, 200, "Most outbound routes a tenant may configure.");
        let routes =
            read("RINGDOWN_WEB_API_QUOTA_ROUTES", 1_000_000, 10_000, "Most dialed numbers a tenant may configure.");
        let skills = read("RINGDOWN_WEB_API_QUOTA_SKILLS", 100_000, 1_000, "Most skills a tenant may configure.");
        let trunks = read("RINGDOWN_WEB_API_QUOTA_TRUNKS", 10_000, 100, "Most trunks a tenant may configure.");
        let users = read("RINGDOWN_WEB_API_QUOTA_USERS", 1_000_000, 20_000, "Most users a tenant may have.");
        Some(Self {
            agents: agents?,
            api_tokens: api_tokens?,
            interactions_per_second: per_second?,
            interactions_waiting: waiting?,
            outbound_routes: outbound_routes?,
            queues: queues?,
            routes: routes?,
            skills: skills?,
            trunks: trunks?,
            users: users?,
        })
    }

    const fn limit(&self, quota: Quota) -> u64 {
        match quota {
            Quota::Agents => self.agents,
            Quota::ApiTokens => self.api_tokens,
            Quota::InteractionsPerSecond => self.interactions_per_second,
            Quota::InteractionsWaiting => self.interactions_waiting,
            Quota::OutboundRoutes => self.outbound_routes,
            Quota::Queues => self.queues,
            Quota::Routes => self.routes,
            Quota::Skills => self.skills,
            Quota::Trunks => self.trunks,
            Quota::Users => self.users,
        }
    }
}

/// How fast each tenant makes interactions, within this process.
#[derive(Debug)]
pub struct Pace(Mutex<Buckets<TenantId>>);

impl Pace {
    /// Twice a second's worth at once, then the quota's rate.
    #[must_use]
    pub fn new(quotas: &Quotas) -> Self {
        let rate = quotas.interactions_per_second;
        let burst = u32::try_from(rate.saturating_mul(2)).unwrap_or(u32::MAX);
        Self(Mutex::new(Buckets::new(burst, Duration::from_nanos(1_000_000_000 / rate.max(1)))))
    }

    fn allows(&self, tenant: TenantId) -> bool {
        // Each change is one bucket's, so a poisoned table is whole.
        let mut buckets = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        buckets.take(tenant, Instant::now()).is_ok()
    }
}

/// Refuses one more of what is configured. Call it inside the change, which holds the tenant.
///
/// # Errors
/// 409 at the limit.
pub async fn check_row(app: &App, tx: &mut Tx<'_>, tenant: TenantId, quota: Quota) -> Result<(), Problem> {
    let Some(sql) = quota.count() else { return Ok(()) };
    let count: i64 = db::one(tx, sql, &[&tenant.0]).await?.get("count");
    let limit = app.settings.quotas.limit(quota);
    if u64::try_from(count).unwrap_or(u64::MAX) < limit {
        Ok(())
    } else {
        Err(exceeded(StatusCode::CONFLICT, quota, limit))
    }
}

/// Refuses one more interaction over the API.
///
/// # Errors
/// 429 at a limit.
pub async fn check_interaction(app: &App, tenant: TenantId) -> Result<(), Problem> {
    let refuse = |quota| {
        let limit = app.settings.quotas.limit(quota);
        Err(exceeded(StatusCode::TOO_MANY_REQUESTS, quota, limit).retry_after(1))
    };
    if !app.pace.allows(tenant) {
        return refuse(Quota::InteractionsPerSecond);
    }
    if waiting(app, tenant).await? >= app.settings.quotas.limit(Quota::InteractionsWaiting) {
        return refuse(Quota::InteractionsWaiting);
    }
    Ok(())
}

async fn waiting(app: &App, tenant: TenantId) -> Result<u64, Problem> {
    let mut cmd = redis::cmd("ZCARD");
    cmd.arg(keys::queue(tenant));
    app.redis.run("count_waiting", Retry::Safe, &cmd).await.map_err(|error| answers::store_problem(&error))
}

fn exceeded(status: StatusCode, quota: Quota, limit: u64) -> Problem {
    let name = quota.name();
    Problem::new(status, "quota_exceeded", format!("the tenant's quota {name} is used up: at most {limit}"))
        .field(name, format!("must be at most {limit}"))
}

/// A quota, and what is used of it.
#[derive(Debug, Serialize, ToSchema)]
pub struct QuotaUse {
    /// Which.
    pub quota: Quota,
    /// The most the tenant may have.
    pub limit: u64,
    /// What it has now; null for a rate.
    pub used: Option<u64>,
}

/// What the tenant may take of the installation, and what it takes.
#[utoipa::path(get, path = "/tenants/{tenant}/quotas", tag = "tenants", params(TenantPath),
    responses((status = 200, description = "Every quota.", body = Page<QuotaUse>)))]
pub async fn list_quotas(State(app): State<App>, scope: InTenant<Supervise>) -> Result<Json<Page<QuotaUse>>, Problem> {
    let mut items = Vec::new();
    for quota in Quota::ALL {
        let used = match quota.count() {
            Some(sql) => {
                let rows = db::query(&app, "count_quota", sql, &[&scope.tenant.0]).await?;
                rows.first().and_then(|row| u64::try_from(row.get::<_, i64>("count")).ok())
            }
            None if quota == Quota::InteractionsWaiting => Some(waiting(&app, scope.tenant).await?),
            None => None,
        };
        items.push(QuotaUse { quota, limit: app.settings.quotas.limit(quota), used });
    }
    Ok(Json(Page { items, next_cursor: None }))
}

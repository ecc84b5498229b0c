//! Log-in and log-out, and who a token stands for.
//!
//! A log-in lives in Redis under the SHA-256 of its token and ends by itself. An API token lives, hashed, in PostgreSQL; the
//! first use puts it into Redis for a few minutes like a log-in, so that requests go on while PostgreSQL is away, and
//! revoking it removes both.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use axum::extract::{ConnectInfo, FromRequestParts, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use ringdown_domain::{AgentId, TenantId, TimestampMs, UserId};
use ringdown_pg_store::Row;
use ringdown_redis_store::session::{self, Session};
use ringdown_redis_store::{Retry, keys, redis};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::access::{Caller, Work};
use super::password::PasswordError;
use super::principal::{Principal, Role};
use super::token::Token;
use crate::answers::{self, Body, Json};
use crate::app::App;
use crate::db;
use crate::problem::Problem;
use crate::resources::fields::{Login, PresentedPassword};

/// For how long an API token that was looked up is remembered in Redis.
const API_TOKEN_REMEMBERED: Duration = Duration::from_secs(300);

/// Keys per step when sessions are searched by their user; a step takes Redis well under a millisecond.
const SCAN_STEP: usize = 1_000;

/// A log-in attempt.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LogIn {
    /// The log-in name.
    #[schema(value_type = String, min_length = 1, max_length = 64)]
    login: Login,
    /// The password.
    #[schema(value_type = String, min_length = 1, max_length = 256, write_only)]
    password: PresentedPassword,
}

/// A new log-in.
#[derive(Serialize, ToSchema)]
pub struct LoggedIn {
    /// The bearer token for `Authorization`; shown this once.
    pub token: String,
    /// What the token stands for.
    #[serde(flatten)]
    pub session: CurrentSession,
}

/// What a token stands for.
#[derive(Debug, Serialize, ToSchema)]
pub struct CurrentSession {
    /// The user.
    pub user: Uuid,
    /// What the user may do.
    pub role: Role,
    /// The tenant; null for the whole installation.
    pub tenant: Option<Uuid>,
    /// The agent the user is, if any.
    pub agent: Option<Uuid>,
    /// When it began, UTC milliseconds.
    pub created_at_ms: u64,
    /// When it ends by itself, UTC milliseconds.
    pub expires_at_ms: u64,
}

impl From<&Session> for CurrentSession {
    fn from(session: &Session) -> Self {
        Self {
            user: session.user.0,
            role: session.role.into(),
            tenant: session.tenant.map(|tenant| tenant.0),
            agent: session.agent.map(|agent| agent.0),
            created_at_ms: session.created.0,
            expires_at_ms: session.expires.0,
        }
    }
}

impl From<&Session> for Principal {
    fn from(session: &Session) -> Self {
        Self { user: session.user, tenant: session.tenant, role: session.role.into(), agent: session.agent }
    }
}

/// Where a request comes from: the peer, or what a trusted proxy says.
#[derive(Clone, Copy, Debug)]
pub struct Source(pub IpAddr);

impl FromRequestParts<App> for Source {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip());
        let peer = peer.ok_or_else(|| answers::internal("know the peer", &"the server gave no address"))?;
        if !app.settings.trusted_proxies.contains(&peer) {
            return Ok(Self(peer));
        }
        // The last hop before our proxy; what stands before it is the client's own claim.
        let forwarded = parts.headers.get("x-forwarded-for").and_then(|value| value.to_str().ok());
        let client = forwarded.and_then(|list| list.rsplit(',').next()).and_then(|last| last.trim().parse().ok());
        Ok(Self(client.unwrap_or(peer)))
    }
}

/// Logs in. The answer to a wrong password and to an unknown login is the same, after the same time.
#[utoipa::path(post, path = "/sessions", tag = "sessions", request_body = LogIn, security(()),
    responses((status = 201, description = "Logged in.", body = LoggedIn)))]
pub async fn create_session(
    State(app): State<App>,
    source: Source,
    Body(attempt): Body<LogIn>,
) -> Result<(StatusCode, Json<LoggedIn>), Problem> {
    let login = attempt.login.as_str();
    if let Err(wait) = app.limiter.attempt(login, source.0, Instant::now()) {
        app.metrics.log_in("throttled");
        log::warn!(source:display = source.0, wait_ms = wait.as_millis() as u64; "log-in attempts are braked");
        return Err(answers::too_many_attempts(wait));
    }
    let sql = "SELECT id, password_hash, role, tenant_id, agent_id FROM users WHERE login = $1";
    let rows = db::query(&app, "log_in", sql, &[&login]).await?;
    let stored = rows.first().map(|row| row.get::<_, String>("password_hash"));
    let password = attempt.password.reveal().to_owned();
    let right = app.passwords.verify(password, stored).await.map_err(|error| hasher_problem(&error))?;
    let (true, Some(row)) = (right, rows.first()) else {
        app.metrics.log_in("refused");
        log::warn!(source:display = source.0; "a log-in was refused");
        return Err(answers::unauthorized("login or password is wrong"));
    };
    app.limiter.succeeded(login, source.0, Instant::now());
    let logged_in = begin(&app, row).await?;
    app.metrics.log_in("accepted");
    log::info!(user:display = logged_in.session.user, source:display = source.0; "logged in");
    Ok((StatusCode::CREATED, Json(logged_in)))
}

async fn begin(app: &App, row: &Row) -> Result<LoggedIn, Problem> {
    let token = Token::draw().map_err(|error| answers::internal("draw a token", &error))?;
    let lifetime = app.settings.session_ttl;
    let session = session_of(app, row, lifetime)?;
    session::store(&app.redis, token.reveal(), &session, lifetime).await.map_err(|e| answers::store_problem(&e))?;
    Ok(LoggedIn { token: token.reveal().to_owned(), session: CurrentSession::from(&session) })
}

/// A session of a user's row that begins now.
fn session_of(app: &App, row: &Row, lifetime: Duration) -> Result<Session, Problem> {
    let role: String = row.get("role");
    let role = Role::parse(&role).ok_or_else(|| answers::internal("read a role", &"unknown"))?;
    let now = app.clock.now();
    Ok(Session {
        user: UserId(row.get("id")),
        tenant: row.get::<_, Option<Uuid>>("tenant_id").map(TenantId),
        role: role.into(),
        agent: row.get::<_, Option<Uuid>>("agent_id").map(AgentId),
        created: now,
        expires: now.plus_ms(u64::try_from(lifetime.as_millis()).unwrap_or(u64::MAX)),
    })
}

/// What the token of this request stands for.
#[utoipa::path(get, path = "/sessions/current", tag = "sessions",
    responses((status = 200, description = "The session.", body = CurrentSession)))]
pub async fn get_session(State(app): State<App>, caller: Caller<Work>) -> Result<Json<CurrentSession>, Problem> {
    let found = lookup(&app, &caller.token).await?;
    let session = found.ok_or_else(|| answers::unauthorized("the token is unknown, expired or revoked"))?;
    Ok(Json(CurrentSession::from(&session)))
}

/// Logs out: the token is worth nothing afterwards. (An API token is revoked under `/users/{user}/tokens`.)
#[utoipa::path(delete, path = "/sessions/current", tag = "sessions",
    responses((status = 204, description = "Logged out.")))]
pub async fn delete_session(State(app): State<App>, caller: Caller<Work>) -> Result<StatusCode, Problem> {
    session::end(&app.redis, caller.token.reveal()).await.map_err(|error| answers::store_problem(&error))?;
    log::info!(user:display = caller.who.user; "logged out");
    Ok(StatusCode::NO_CONTENT)
}

/// Who a token stands for; none when it is unknown, expired or revoked.
///
/// # Errors
/// 503 when Redis is away.
pub async fn find(app: &App, token: &Token) -> Result<Option<Principal>, Problem> {
    Ok(lookup(app, token).await?.as_ref().map(Principal::from))
}

async fn lookup(app: &App, token: &Token) -> Result<Option<Session>, Problem> {
    let found = session::find(&app.redis, token.reveal()).await.map_err(|error| answers::store_problem(&error))?;
    match found {
        Some(session) if session.expires > app.clock.now() => Ok(Some(session)),
        Some(_) => Ok(None),
        None => api_token(app, token).await,
    }
}

/// The session of an API token, remembered in Redis from now on.
async fn api_token(app: &App, token: &Token) -> Result<Option<Session>, Problem> {
    let sql = "SELECT u.id, u.role, u.tenant_id, u.agent_id, \
               (extract(epoch FROM t.expires_at) * 1000)::bigint AS expires_at_ms \
               FROM api_tokens t JOIN users u ON u.id = t.user_id \
               WHERE t.token_sha256 = $1 AND (t.expires_at IS NULL OR t.expires_at > now())";
    let rows = db::query(app, "find_api_token", sql, &[&token.digest()]).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    let mut session = session_of(app, row, API_TOKEN_REMEMBERED)?;
    if let Some(end) = row.get::<_, Option<i64>>("expires_at_ms").and_then(|end| u64::try_from(end).ok()) {
        session.expires = session.expires.min(TimestampMs(end));
    }
    let lifetime = Duration::from_millis(session.expires.since_ms(session.created));
    session::store(&app.redis, token.reveal(), &session, lifetime).await.map_err(|e| answers::store_problem(&e))?;
    Ok(Some(session))
}

/// Ends the session behind a token's digest, if there is one.
///
/// # Errors
/// 503 when Redis is away.
pub async fn end_digest(app: &App, digest: &str) -> Result<(), Problem> {
    let mut cmd = redis::cmd("DEL");
    cmd.arg(keys::session(digest));
    let _ended: i64 =
        app.redis.run("session_end", Retry::Safe, &cmd).await.map_err(|error| answers::store_problem(&error))?;
    Ok(())
}

/// Ends every session that `ends` picks: after a change of a user, which is rare. Walks all keys in small steps.
///
/// # Errors
/// 503 when Redis is away.
pub async fn end_where(app: &App, ends: impl Fn(&Session) -> bool) -> Result<(), Problem> {
    let mut cursor = 0_u64;
    loop {
        let mut cmd = redis::cmd("SCAN");
        cmd.arg(cursor).arg("MATCH").arg(keys::session("*")).arg("COUNT").arg(SCAN_STEP);
        let (next, names): (u64, Vec<String>) =
            app.redis.run("session_scan", Retry::Safe, &cmd).await.map_err(|error| answers::store_problem(&error))?;
        end_named(app, &names, &ends).await?;
        if next == 0 {
            return Ok(());
        }
        cursor = next;
    }
}

async fn end_named(app: &App, names: &[String], ends: &impl Fn(&Session) -> bool) -> Result<(), Problem> {
    for name in names {
        let mut cmd = redis::cmd("GET");
        cmd.arg(name);
        let text: Option<String> =
            app.redis.run("session_find", Retry::Safe, &cmd).await.map_err(|error| answers::store_problem(&error))?;
        let session = text.and_then(|text| serde_json::from_str::<Session>(&text).ok());
        if session.is_some_and(|session| ends(&session)) {
            let mut cmd = redis::cmd("DEL");
            cmd.arg(name);
            let _ended: i64 = app
                .redis
                .run("session_end", Retry::Safe, &cmd)
                .await
                .map_err(|error| answers::store_problem(&error))?;
        }
    }
    Ok(())
}

/// A failure of the hasher as an answer.
#[must_use]
pub fn hasher_problem(error: &PasswordError) -> Problem {
    match error {
        PasswordError::Busy => {
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "overloaded", "too many log-ins at once; come back")
                .retry_after(2)
        }
        PasswordError::Hasher(_) => answers::internal("hash a password", error),
    }
}

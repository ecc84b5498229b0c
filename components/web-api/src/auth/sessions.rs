//! Log-in and log-out, and who a token stands for.
//!
//! A log-in lives in Redis under the SHA-256 of its token and ends by itself. An API token lives, hashed, in PostgreSQL; a
//! look-up puts it into Redis for a few minutes like a log-in, so that requests go on while PostgreSQL is away.
//!
//! Neither outlives its user. A user has a generation, which every change that narrows the user raises:
//!
//! ```text
//! change:  rows in a transaction -> generation raised in Redis -> commit      Redis away: nothing is changed (503)
//! log-in:  row and generation read -> password checked -> session stored with that generation
//! look-up: session there, not over, its generation not below the one in Redis
//! ```
//! So a log-in on its way while its user is removed is worth nothing, whichever of the two comes first. A change that was
//! taken back after the generation was raised leaves Redis ahead of PostgreSQL; the next log-in notices and catches up.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use axum::extract::{ConnectInfo, FromRequestParts, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use ringdown_domain::{AgentId, TenantId, TimestampMs, UserId};
use ringdown_pg_store::Row;
use ringdown_redis_store::RedisPool;
use ringdown_redis_store::session::{self, Session, Standing};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::access::{Caller, Work};
use super::password::PasswordError;
use super::principal::{Principal, Role};
use super::token::Token;
use crate::answers::{self, Body, Json};
use crate::app::App;
use crate::db::{self, Tx};
use crate::problem::Problem;
use crate::resources::fields::{Login, PresentedPassword};

/// For how long an API token that was looked up is remembered in Redis.
const API_TOKEN_REMEMBERED: Duration = Duration::from_secs(300);

/// The most generations told anew at once; an hour of ordinary work has tens.
const GENERATIONS_TOLD: i64 = 10_000;

/// A user's row as a log-in needs it; the generation is of the same moment.
const LOG_IN_COLUMNS: &str = "u.id, u.password_hash, u.role, u.tenant_id, u.agent_id, coalesce(g.generation, 0) AS generation \
    FROM users u LEFT JOIN user_generations g ON g.user_id = u.id";

/// A log-in attempt.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LogIn {
    /// The log-in name.
    #[schema(value_type = String, min_length = 1, max_length = 64, pattern = "^[0-9A-Za-z._@+-]+$")]
    login: Login,
    /// The password.
    #[schema(value_type = String, min_length = 1, max_length = 256, pattern = "^[^\\x00-\\x1f\\x7f-\\x9f]+$", write_only)]
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
        Self {
            user: session.user,
            tenant: session.tenant,
            role: session.role.into(),
            agent: session.agent,
            generation: session.generation,
        }
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
    let (token, session) = log_in(&app, source, &attempt).await?;
    let logged_in = LoggedIn { token: token.reveal().to_owned(), session: CurrentSession::from(&session) };
    Ok((StatusCode::CREATED, Json(logged_in)))
}

/// Checks a log-in and begins its session.
///
/// # Errors
/// 401 for a wrong password and an unknown login alike, 429 when there were too many tries, 503 when a store is away.
pub async fn log_in(app: &App, source: Source, attempt: &LogIn) -> Result<(Token, Session), Problem> {
    let login = attempt.login.as_str();
    if let Err(wait) = app.limiter.attempt(login, source.0, Instant::now()) {
        app.metrics.log_in("throttled");
        log::warn!(source:display = source.0, wait_ms = wait.as_millis() as u64; "log-in attempts are braked");
        return Err(answers::too_many_attempts(wait));
    }
    let mut session = check_password(app, attempt, source).await?;
    app.limiter.succeeded(login, source.0, Instant::now());
    let token = Token::draw().map_err(|error| answers::internal("draw a token", &error))?;
    session = admit(app, attempt, source, session).await?;
    let lifetime = app.settings.session_ttl;
    session::store(&app.redis, token.reveal(), &session, lifetime).await.map_err(|e| answers::store_problem(&e))?;
    app.metrics.log_in("accepted");
    log::info!(user:display = session.user, source:display = source.0; "logged in");
    Ok((token, session))
}

/// The session of who has this login and password.
async fn check_password(app: &App, attempt: &LogIn, source: Source) -> Result<Session, Problem> {
    let sql = format!("SELECT {LOG_IN_COLUMNS} WHERE u.login = $1");
    let rows = db::query(app, "log_in", &sql, &[&attempt.login.as_str()]).await?;
    let stored = rows.first().map(|row| row.get::<_, String>("password_hash"));
    let password = attempt.password.reveal().to_owned();
    let right = app.passwords.verify(password, stored).await.map_err(|error| hasher_problem(&error))?;
    let (true, Some(row)) = (right, rows.first()) else {
        app.metrics.log_in("refused");
        log::warn!(source:display = source.0; "a log-in was refused");
        return Err(answers::unauthorized("login or password is wrong"));
    };
    session_of(app, row, app.settings.session_ttl, false)
}

/// The session, if Redis has heard of no newer generation. If it has, the user was changed while the password was checked, and
/// is checked again; or a change was taken back after Redis was told, and the user's generation catches up.
async fn admit(app: &App, attempt: &LogIn, source: Source, session: Session) -> Result<Session, Problem> {
    let known = redis_generation(app, session.user).await?;
    if session.generation >= known {
        return Ok(session);
    }
    catch_up(app, session.user, known).await?;
    let session = check_password(app, attempt, source).await?;
    if session.generation >= redis_generation(app, session.user).await? {
        return Ok(session);
    }
    Err(answers::unavailable("the user is being changed; come back"))
}

async fn redis_generation(app: &App, user: UserId) -> Result<u64, Problem> {
    session::generation(&app.redis, user).await.map_err(|error| answers::store_problem(&error))
}

/// Brings the user's generation in PostgreSQL to what Redis knows. The row's lock waits for a change that is under way.
async fn catch_up(app: &App, user: UserId, known: u64) -> Result<(), Problem> {
    let known = i64::try_from(known).unwrap_or(i64::MAX);
    let sql = "INSERT INTO user_generations (user_id, generation) \
               SELECT id, $2 FROM users WHERE id = $1 FOR UPDATE \
               ON CONFLICT (user_id) DO UPDATE SET generation = greatest(user_generations.generation, excluded.generation)";
    db::change(app, "log_in", sql, &[&user.0, &known]).await?;
    Ok(())
}

/// A session of a user's row that begins now.
fn session_of(app: &App, row: &Row, lifetime: Duration, api_token: bool) -> Result<Session, Problem> {
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
        generation: u64::try_from(row.get::<_, i64>("generation")).unwrap_or(0),
        api_token,
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

/// The session of a token; none when it is unknown, expired or revoked.
///
/// # Errors
/// 503 when Redis is away.
pub async fn lookup(app: &App, token: &Token) -> Result<Option<Session>, Problem> {
    let now = app.clock.now();
    match session::look_up(&app.redis, token.reveal(), now).await.map_err(|error| answers::store_problem(&error))? {
        Standing::Valid(session) => Ok(Some(session)),
        // What is remembered of an API token may be older than the token's user is now.
        Standing::Over | Standing::Unknown => api_token(app, &token.digest()).await,
    }
}

/// The session of an API token by its digest, remembered in Redis from now on.
///
/// # Errors
/// 503 when a store is away.
pub async fn api_token(app: &App, digest: &str) -> Result<Option<Session>, Problem> {
    let sql = "SELECT u.id, u.role, u.tenant_id, u.agent_id, coalesce(g.generation, 0) AS generation, \
               (extract(epoch FROM t.expires_at) * 1000)::bigint AS expires_at_ms \
               FROM api_tokens t JOIN users u ON u.id = t.user_id LEFT JOIN user_generations g ON g.user_id = u.id \
               WHERE t.token_sha256 = $1 AND (t.expires_at IS NULL OR t.expires_at > now())";
    let rows = db::query(app, "find_api_token", sql, &[&digest]).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    let mut session = session_of(app, row, API_TOKEN_REMEMBERED, true)?;
    if let Some(end) = row.get::<_, Option<i64>>("expires_at_ms").and_then(|end| u64::try_from(end).ok()) {
        session.expires = session.expires.min(TimestampMs(end));
    }
    let known = redis_generation(app, session.user).await?;
    if session.generation < known {
        catch_up(app, session.user, known).await?;
        session.generation = known;
    }
    let lifetime = Duration::from_millis(session.expires.since_ms(session.created));
    session::remember(&app.redis, digest, &session, lifetime).await.map_err(|e| answers::store_problem(&e))?;
    Ok(Some(session))
}

/// Answers who asked about a token by its digest. A store that is away is no answer: who asks comes back.
pub async fn answer(app: &App, digest: &str) {
    match api_token(app, digest).await {
        Ok(Some(_)) => {}
        Ok(None) => {
            if let Err(error) = session::say_unknown(&app.redis, digest).await {
                log::debug!(error:display; "a question about a token was not answered");
            }
        }
        Err(problem) => log::debug!(code = problem.code(); "a question about a token was not answered"),
    }
}

/// Ends the log-ins of whom the transaction narrowed or removed, before it is committed: Redis being away refuses the change.
///
/// # Errors
/// 503 when a store is away.
pub async fn end_narrowed(redis: &RedisPool, tx: &mut Tx<'_>) -> Result<(), Problem> {
    let sql = "SELECT user_id, generation FROM user_generations WHERE raised_by = pg_current_xact_id()";
    for row in db::all(tx, sql, &[]).await? {
        raise(redis, &row).await?;
    }
    Ok(())
}

/// Tells Redis again which generations were raised within the last hour: what it lost in a failover is there again.
///
/// # Errors
/// 503 when a store is away.
pub async fn tell_generations(app: &App) -> Result<(), Problem> {
    let sql = "SELECT user_id, generation FROM user_generations WHERE raised_at > now() - interval '1 hour' \
               ORDER BY raised_at DESC LIMIT $1";
    for row in db::query(app, "tell_generations", sql, &[&GENERATIONS_TOLD]).await? {
        raise(&app.redis, &row).await?;
    }
    Ok(())
}

/// Forgets the generations of users who are gone and whose log-ins have all ended by themselves.
///
/// # Errors
/// 503 when PostgreSQL is away.
pub async fn forget_generations(app: &App) -> Result<u64, Problem> {
    let seconds = session::GENERATION_REMEMBERED.as_secs_f64();
    let sql = "DELETE FROM user_generations g WHERE raised_at < now() - make_interval(secs => $1) \
               AND NOT EXISTS (SELECT 1 FROM users u WHERE u.id = g.user_id)";
    db::change(app, "forget_generations", sql, &[&seconds]).await
}

async fn raise(redis: &RedisPool, row: &Row) -> Result<(), Problem> {
    let generation = u64::try_from(row.get::<_, i64>("generation")).unwrap_or(0);
    let raised = session::raise_generation(redis, UserId(row.get("user_id")), generation).await;
    raised.map_err(|error| answers::store_problem(&error))
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

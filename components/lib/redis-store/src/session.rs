//! Log-in sessions: what web-api writes at log-in and notifier reads at connect.
//!
//! The token itself is never stored: the key is its SHA-256, so a reader of Redis cannot log in with what it finds.

use std::fmt;
use std::time::Duration;

use redis::Script;
use ringdown_domain::{AgentId, TenantId, TimestampMs, UserId};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{RedisPool, Retry, StoreError, keys};

/// What somebody may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Own status and own interactions.
    Agent,
    /// Everything live in the tenant.
    Supervisor,
    /// Everything in the tenant; in the installation when the session has no tenant.
    Administrator,
}

impl Role {
    /// The role as it is written in JSON and in the database.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Supervisor => "supervisor",
            Self::Administrator => "administrator",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A log-in, or an API token that was looked up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// Who logged in.
    pub user: UserId,
    /// The tenant the session is confined to; none: the whole installation.
    pub tenant: Option<TenantId>,
    /// What the user may do.
    pub role: Role,
    /// The agent the user is, if any.
    pub agent: Option<AgentId>,
    /// When it began.
    pub created: TimestampMs,
    /// When it ends by itself; the start of time for a token that was revoked.
    pub expires: TimestampMs,
    /// The user's generation when it began; 0 where the user was never narrowed.
    #[serde(default)]
    pub generation: u64,
    /// Whether it stands for an API token: it lasts as long as PostgreSQL has the token, and is looked up there again.
    #[serde(default)]
    pub api_token: bool,
}

/// How long a raised generation is remembered: longer than the longest log-in (30 days), after which nothing is left for it
/// to end.
pub const GENERATION_REMEMBERED: Duration = Duration::from_secs(31 * 86_400);
/// How long a revoked token is remembered as such: far beyond any look-up that began before the revocation.
const REVOCATION_REMEMBERED: Duration = Duration::from_secs(600);
/// For how long an answer that a token is nobody's is believed.
const UNKNOWN_REMEMBERED: Duration = Duration::from_secs(2);
/// How long the answer of web-api about a token is waited for.
const ASK_LIMIT: Duration = Duration::from_secs(2);
/// How often it is looked for meanwhile.
const ASK_EVERY: Duration = Duration::from_millis(20);
/// The cookie in which a browser has the token of its log-in.
pub const COOKIE: &str = "ringdown_session";
/// Characters of a token: 32 bytes in base64url without padding.
pub const TOKEN_CHARS: usize = 43;

/// KEYS: generation. ARGV: new generation, ms. Never lowers it.
const RAISE: &str = r"
local found = tonumber(redis.call('GET', KEYS[1]) or '0')
if found < tonumber(ARGV[1]) then redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2]) end
return 1
";

/// The hexadecimal SHA-256 of a token, as it stands in the key.
#[must_use]
pub fn token_digest(token: &str) -> String {
    Sha256::digest(token.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Stores a session under its token for `lifetime`.
///
/// # Errors
/// See [`StoreError`].
pub async fn store(pool: &RedisPool, token: &str, session: &Session, lifetime: Duration) -> Result<(), StoreError> {
    let what = "session_store";
    let text = serde_json::to_string(session).map_err(|error| unreadable(what, &error))?;
    let mut cmd = redis::cmd("SET");
    cmd.arg(keys::session(&token_digest(token))).arg(text).arg("PX").arg(lifetime.as_millis().max(1).to_string());
    let _ok: String = pool.run(what, Retry::Safe, &cmd).await?;
    Ok(())
}

/// The session of a token; none when there is none or its time is over.
///
/// # Errors
/// See [`StoreError`].
pub async fn find(pool: &RedisPool, token: &str) -> Result<Option<Session>, StoreError> {
    let what = "session_find";
    let mut cmd = redis::cmd("GET");
    cmd.arg(keys::session(&token_digest(token)));
    let text: Option<String> = pool.run(what, Retry::Safe, &cmd).await?;
    text.map(|text| serde_json::from_str(&text).map_err(|error| unreadable(what, &error))).transpose()
}

/// What a token stands for now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Somebody, until then.
    Valid(Session),
    /// It was worth something, and is not any more: over, revoked, or its user was narrowed since.
    Over,
    /// Redis knows nothing of it.
    Unknown,
}

/// Looks a token up: its time is not over, and its user has not been narrowed or removed since it began.
///
/// # Errors
/// See [`StoreError`].
pub async fn look_up(pool: &RedisPool, token: &str, now: TimestampMs) -> Result<Standing, StoreError> {
    let Some(session) = find(pool, token).await? else { return Ok(Standing::Unknown) };
    if session.expires <= now || session.generation < generation(pool, session.user).await? {
        return Ok(Standing::Over);
    }
    Ok(Standing::Valid(session))
}

/// The generation below which the user's log-ins are worth nothing.
///
/// # Errors
/// See [`StoreError`].
pub async fn generation(pool: &RedisPool, user: UserId) -> Result<u64, StoreError> {
    let mut cmd = redis::cmd("GET");
    cmd.arg(keys::user_generation(user));
    let found: Option<u64> = pool.run("session_generation", Retry::Safe, &cmd).await?;
    Ok(found.unwrap_or(0))
}

/// Ends every log-in of the user that began before `generation`, also those that are being made right now. Safe to repeat.
///
/// # Errors
/// See [`StoreError`].
pub async fn raise_generation(pool: &RedisPool, user: UserId, generation: u64) -> Result<(), StoreError> {
    let script = Script::new(RAISE);
    let args = [generation.to_string(), GENERATION_REMEMBERED.as_millis().to_string()];
    let args = [args[0].as_str(), args[1].as_str()];
    let _raised: i64 =
        pool.run_script("session_raise", Retry::Safe, &script, &[keys::user_generation(user)], &args).await?;
    Ok(())
}

/// Remembers an API token by its digest, unless something is remembered already: a revocation that came first stays.
///
/// # Errors
/// See [`StoreError`].
pub async fn remember(pool: &RedisPool, digest: &str, session: &Session, lifetime: Duration) -> Result<(), StoreError> {
    let what = "session_remember";
    let text = serde_json::to_string(session).map_err(|error| unreadable(what, &error))?;
    let mut cmd = redis::cmd("SET");
    cmd.arg(keys::session(digest)).arg(text).arg("NX").arg("PX").arg(lifetime.as_millis().max(1).to_string());
    let _set: Option<String> = pool.run(what, Retry::Safe, &cmd).await?;
    Ok(())
}

/// Makes an API token worth nothing, by its digest, whatever look-up of it is on its way.
///
/// # Errors
/// See [`StoreError`].
pub async fn revoke(pool: &RedisPool, digest: &str, user: UserId) -> Result<(), StoreError> {
    let what = "session_revoke";
    let never = TimestampMs(0);
    let session = Session {
        user,
        tenant: None,
        role: Role::Agent,
        agent: None,
        created: never,
        expires: never,
        generation: 0,
        api_token: true,
    };
    let text = serde_json::to_string(&session).map_err(|error| unreadable(what, &error))?;
    let mut cmd = redis::cmd("SET");
    cmd.arg(keys::session(digest)).arg(text).arg("PX").arg(REVOCATION_REMEMBERED.as_millis().to_string());
    let _ok: String = pool.run(what, Retry::Safe, &cmd).await?;
    Ok(())
}

/// What web-api says about a token that Redis does not know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenAnswer {
    /// An API token; it is remembered from now on.
    Valid(Session),
    /// Nobody's.
    Unknown,
    /// Nobody answered.
    Silent,
}

/// Asks web-api about a token, since only it can look into PostgreSQL.
///
/// # Errors
/// See [`StoreError`].
pub async fn ask(pool: &RedisPool, token: &str, now: TimestampMs) -> Result<TokenAnswer, StoreError> {
    if token.len() != TOKEN_CHARS {
        return Ok(TokenAnswer::Unknown);
    }
    let digest = token_digest(token);
    let mut cmd = redis::cmd("PUBLISH");
    cmd.arg(keys::TOKEN_ASKED_CHANNEL).arg(&digest);
    let listeners: i64 = pool.run("token_ask", Retry::Safe, &cmd).await?;
    if listeners == 0 {
        return Ok(TokenAnswer::Silent);
    }
    let end = tokio::time::Instant::now() + ASK_LIMIT;
    while tokio::time::Instant::now() < end {
        if let Standing::Valid(session) = look_up(pool, token, now).await? {
            return Ok(TokenAnswer::Valid(session));
        }
        let mut cmd = redis::cmd("EXISTS");
        cmd.arg(keys::token_unknown(&digest));
        if pool.run::<bool>("token_ask", Retry::Safe, &cmd).await? {
            return Ok(TokenAnswer::Unknown);
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
    Ok(TokenAnswer::Silent)
}

/// Answers [`ask`]: the token is nobody's.
///
/// # Errors
/// See [`StoreError`].
pub async fn say_unknown(pool: &RedisPool, digest: &str) -> Result<(), StoreError> {
    let mut cmd = redis::cmd("SET");
    cmd.arg(keys::token_unknown(digest)).arg(1).arg("PX").arg(UNKNOWN_REMEMBERED.as_millis().to_string());
    let _ok: String = pool.run("token_answer", Retry::Safe, &cmd).await?;
    Ok(())
}

/// Ends a session. Ending one that is over is fine.
///
/// # Errors
/// See [`StoreError`].
pub async fn end(pool: &RedisPool, token: &str) -> Result<(), StoreError> {
    let mut cmd = redis::cmd("DEL");
    cmd.arg(keys::session(&token_digest(token)));
    let _count: i64 = pool.run("session_end", Retry::Safe, &cmd).await?;
    Ok(())
}

fn unreadable(what: &'static str, error: &serde_json::Error) -> StoreError {
    StoreError::Unreadable { what, detail: error.to_string() }
}

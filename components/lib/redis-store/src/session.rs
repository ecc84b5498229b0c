//! Log-in sessions: what web-api writes at log-in and notifier reads at connect.
//!
//! The token itself is never stored: the key is its SHA-256, so a reader of Redis cannot log in with what it finds.

use std::fmt;
use std::time::Duration;

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

/// A log-in.
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
    /// When it ends by itself.
    pub expires: TimestampMs,
}

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

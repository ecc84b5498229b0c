//! Short-lived credentials for the phone in an agent's browser.
//!
//! A browser never holds the password of a desk phone: it asks for credentials of its own, which the registrar accepts beside
//! the configured ones for the agent's address of record, until they expire. Only their digests are kept, in Redis.

use std::sync::LazyLock;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CACHE_CONTROL;
use md5::Md5;
use ringdown_domain::{AgentId, TenantId};
use ringdown_events::PhoneCredential;
use ringdown_redis_store::redis::Script;
use ringdown_redis_store::{Retry, keys};
use serde::Serialize;
use sha2::{Digest, Sha256};
use utoipa::ToSchema;

use super::commands::Request;
use crate::answers::{self, AgentPath, IdempotencyHeader, Json, TenantPath};
use crate::app::App;
use crate::auth::access::ForAgent;
use crate::auth::token::{Token, hex};
use crate::db;
use crate::problem::Problem;

/// How long they are worth something: long enough that a browser renews them in a pause between calls, short enough that
/// somebody who copied them is locked out within the shift.
const LIFETIME: Duration = Duration::from_secs(2 * 60 * 60);
/// Most of one agent at once, the newest: an agent's browsers and their reloads.
const MOST: usize = 5;

static ISSUE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("phone_credentials/issue.lua")));

/// What a browser's phone registers with.
#[derive(Debug, Serialize, ToSchema)]
pub struct PhoneCredentials {
    /// The user, in the address of record `sip:<user>@<realm>` and in the digest.
    user: String,
    /// The realm.
    realm: String,
    /// The password; shown this once.
    password: String,
    /// UTC milliseconds: ask for new ones before.
    expires_at: u64,
    /// Where the registrar takes WebSockets (subprotocol `sip`), best first. A path is on the host that answered.
    websocket_urls: Vec<String>,
}

/// Makes short-lived credentials for the phone in the agent's browser. Agents make their own; supervisors anybody's.
/// It works for agents without a configured phone too. An agent has five at once; a sixth ends the oldest. The password is
/// never kept, so a repeat with the same key replaces the first one's credentials by new ones.
#[utoipa::path(post, path = "/tenants/{tenant}/agents/{agent}/phone-credentials", tag = "live",
    params(TenantPath, AgentPath, IdempotencyHeader),
    responses((status = 201, description = "The credentials, shown this once.", body = PhoneCredentials)))]
pub async fn create_phone_credentials(
    State(app): State<App>,
    ForAgent { scope, agent }: ForAgent,
    request: Request,
) -> Result<(StatusCode, [(axum::http::HeaderName, &'static str); 1], Json<PhoneCredentials>), Problem> {
    let (user, realm) = address_of_record(&app, scope.tenant, agent).await?;
    let password = Token::draw().map_err(|error| answers::internal("draw a password", &error))?;
    let expires_at = app.clock.now().0 + u64::try_from(LIFETIME.as_millis()).unwrap_or(u64::MAX / 2);
    let text = format!("{user}:{realm}:{}", password.reveal());
    let credential = PhoneCredential {
        ha1_md5: hex(&Md5::digest(text.as_bytes())),
        ha1_sha256: hex(&Sha256::digest(text.as_bytes())),
        expires_at_ms: expires_at,
    };
    let id = request.credentials_id(&app, &scope).to_string();
    keep(&app, scope.tenant, &user, &id, &credential).await?;
    log::info!(user:display = scope.who.user, agent:display; "credentials for a browser's phone were made");
    let websocket_urls = app.settings.phone_urls.clone();
    let made = PhoneCredentials { user, realm, password: password.reveal().to_owned(), expires_at, websocket_urls };
    Ok((StatusCode::CREATED, [(CACHE_CONTROL, "no-store")], Json(made)))
}

/// The user and realm under which the agent's phones register.
async fn address_of_record(app: &App, tenant: TenantId, agent: AgentId) -> Result<(String, String), Problem> {
    let sql = "SELECT a.sip_user, t.realm FROM agents a JOIN tenants t ON t.id = a.tenant_id \
               WHERE a.tenant_id = $1 AND a.id = $2";
    let rows = db::query(app, "phone_address", sql, &[&tenant.0, &agent.0]).await?;
    let row = rows.first().ok_or_else(|| answers::not_found("agent"))?;
    let configured: Option<String> = row.get("sip_user");
    let realm: String = row.get("realm");
    Ok((configured.unwrap_or_else(|| agent.to_string()), realm.to_ascii_lowercase()))
}

async fn keep(app: &App, tenant: TenantId, user: &str, id: &str, credential: &PhoneCredential) -> Result<(), Problem> {
    let text = serde_json::to_string(credential).map_err(|error| answers::internal("encode a credential", &error))?;
    let (now, expires) = (app.clock.now().0.to_string(), credential.expires_at_ms.to_string());
    let (most, channel) = (MOST.to_string(), keys::phone_credentials_changed(tenant));
    let args = [now.as_str(), id, &text, &expires, &most, &channel, user];
    let keys = [keys::phone_credentials(tenant, user)];
    let kept = app.redis.run_script::<i64>("phone_credentials", Retry::Safe, &ISSUE, &keys, &args).await;
    kept.map(drop).map_err(|error| answers::store_problem(&error))
}

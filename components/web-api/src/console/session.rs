//! The console's log-in: the token is in a cookie that no script can read.
//!
//! A cookie is sent by the browser itself, so a write must carry a second proof that it comes from our own page: a value made of
//! the token, which only that page was told (`X-Ringdown-Csrf`). The cookie is `SameSite=Strict` besides.

use axum::extract::{ConnectInfo, FromRequestParts, State};
use axum::http::header::{COOKIE, SET_COOKIE};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use ringdown_redis_store::session::{self, Session};
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::net::SocketAddr;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::answers::{self, Body, Json};
use crate::app::App;
use crate::auth::principal::Role;
use crate::auth::sessions::{self, LogIn, Source};
use crate::auth::token::{Token, hex};
use crate::db;
use crate::problem::Problem;

/// The cookie's name.
pub const COOKIE_NAME: &str = session::COOKIE;
/// The header that carries the second proof.
pub const CSRF: HeaderName = HeaderName::from_static("x-ringdown-csrf");

/// Who is signed in, as the console's pages need it.
#[derive(Debug, Serialize, ToSchema)]
pub struct ConsoleSession {
    /// The user.
    pub user: Uuid,
    /// What people call the user.
    pub name: String,
    /// The log-in name.
    pub login: String,
    /// What the user may do.
    pub role: Role,
    /// The tenant; null for the whole installation.
    pub tenant: Option<Uuid>,
    /// Its name.
    pub tenant_name: Option<String>,
    /// The tenant's time zone (IANA); null: the browser's.
    pub tenant_time_zone: Option<String>,
    /// The agent the user is, if any.
    pub agent: Option<Uuid>,
    /// When the log-in ends by itself, UTC milliseconds.
    pub expires_at: u64,
    /// What writes of this session must carry in `X-Ringdown-Csrf`.
    pub csrf: String,
}

/// Whether the browser came by TLS, so that the cookie may be kept from all other ways.
#[derive(Clone, Copy, Debug)]
pub struct Secure(bool);

impl FromRequestParts<App> for Secure {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip());
        let is_believed = peer.is_some_and(|peer| app.settings.trusted_proxies.contains(&peer));
        let scheme = parts.headers.get("x-forwarded-proto").and_then(|value| value.to_str().ok());
        Ok(Self(is_believed && scheme == Some("https")))
    }
}

/// Signs in by a cookie. The answer to a wrong password and to an unknown login is the same, after the same time.
#[utoipa::path(post, path = "/console/session", tag = "sessions", request_body = LogIn, security(()),
    responses((status = 201, description = "Signed in; the cookie is in `Set-Cookie`.", body = ConsoleSession)))]
pub async fn create_console_session(
    State(app): State<App>,
    source: Source,
    secure: Secure,
    Body(attempt): Body<LogIn>,
) -> Result<(StatusCode, [(HeaderName, HeaderValue); 1], Json<ConsoleSession>), Problem> {
    let (token, session) = sessions::log_in(&app, source, &attempt).await?;
    let shown = describe(&app, &token, &session).await?;
    let age = session.expires.since_ms(session.created) / 1_000;
    Ok((StatusCode::CREATED, [set_cookie(token.reveal(), age, secure)?], Json(shown)))
}

/// Who is signed in by the cookie.
#[utoipa::path(get, path = "/console/session", tag = "sessions", security(("session_cookie" = [])),
    responses((status = 200, description = "The session.", body = ConsoleSession)))]
pub async fn get_console_session(State(app): State<App>, headers: HeaderMap) -> Result<Json<ConsoleSession>, Problem> {
    let (token, session) = current(&app, &headers).await?;
    Ok(Json(describe(&app, &token, &session).await?))
}

/// Signs out.
#[utoipa::path(delete, path = "/console/session", tag = "sessions", security(("session_cookie" = [])),
    responses((status = 204, description = "Signed out; the cookie is taken back.")))]
pub async fn delete_console_session(
    State(app): State<App>,
    secure: Secure,
    method: Method,
    headers: HeaderMap,
) -> Result<(StatusCode, [(HeaderName, HeaderValue); 1]), Problem> {
    let (token, _) = current(&app, &headers).await?;
    check_csrf(&method, &headers, &token)?;
    session::end(&app.redis, token.reveal()).await.map_err(|error| answers::store_problem(&error))?;
    Ok((StatusCode::NO_CONTENT, [set_cookie("", 0, secure)?]))
}

/// The token of the cookie, if there is one that can be ours.
#[must_use]
pub fn cookie(headers: &HeaderMap) -> Option<Token> {
    let lines = headers.get_all(COOKIE).into_iter().filter_map(|value| value.to_str().ok());
    let mut cookies = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    cookies.find(|(name, _)| *name == COOKIE_NAME).and_then(|(_, value)| Token::parse(value))
}

/// A write by cookie must carry the session's second proof.
///
/// # Errors
/// 403 `csrf`.
pub fn check_csrf(method: &Method, headers: &HeaderMap, token: &Token) -> Result<(), Problem> {
    if [Method::GET, Method::HEAD, Method::OPTIONS].contains(method) {
        return Ok(());
    }
    let given = headers.get(&CSRF).map(HeaderValue::as_bytes);
    if given == Some(csrf(token).as_bytes()) {
        return Ok(());
    }
    let why = "a write with the session's cookie needs its X-Ringdown-Csrf header";
    Err(Problem::new(StatusCode::FORBIDDEN, "csrf", why))
}

async fn current(app: &App, headers: &HeaderMap) -> Result<(Token, Session), Problem> {
    let signed_out = || Problem::new(StatusCode::UNAUTHORIZED, "signed_out", "nobody is signed in");
    let token = cookie(headers).ok_or_else(signed_out)?;
    let session = sessions::lookup(app, &token).await?.ok_or_else(signed_out)?;
    Ok((token, session))
}

async fn describe(app: &App, token: &Token, session: &Session) -> Result<ConsoleSession, Problem> {
    let sql = "SELECT u.login, u.name, t.name AS tenant_name FROM users u \
               LEFT JOIN tenants t ON t.id = u.tenant_id WHERE u.id = $1";
    let rows = db::query(app, "console_session", sql, &[&session.user.0]).await?;
    let row = rows.first().ok_or_else(|| answers::unauthorized("the user is gone"))?;
    Ok(ConsoleSession {
        user: session.user.0,
        name: row.get("name"),
        login: row.get("login"),
        role: session.role.into(),
        tenant: session.tenant.map(|tenant| tenant.0),
        tenant_name: row.get("tenant_name"),
        tenant_time_zone: None,
        agent: session.agent.map(|agent| agent.0),
        expires_at: session.expires.0,
        csrf: csrf(token),
    })
}

/// The second proof: nobody who does not know the token can make it.
fn csrf(token: &Token) -> String {
    hex(&Sha256::digest(format!("csrf of {}", token.reveal()).as_bytes()))
}

fn set_cookie(value: &str, age_s: u64, secure: Secure) -> Result<(HeaderName, HeaderValue), Problem> {
    let secure = if secure.0 { "; Secure" } else { "" };
    let text = format!("{COOKIE_NAME}={value}; Path=/; Max-Age={age_s}; HttpOnly; SameSite=Strict{secure}");
    let value = HeaderValue::from_str(&text).map_err(|error| answers::internal("make a cookie", &error))?;
    Ok((SET_COOKIE, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cookie_is_found_among_others_and_only_ours_counts() {
        let token = Token::draw().unwrap();
        let mut headers = HeaderMap::new();
        headers.append(COOKIE, "theme=dark; other=1".parse().unwrap());
        assert_eq!(cookie(&headers), None);
        headers.append(COOKIE, format!("a=b; {COOKIE_NAME}={}", token.reveal()).parse().unwrap());
        assert_eq!(cookie(&headers), Some(token));
    }

    #[test]
    fn reads_need_no_second_proof_and_writes_need_the_right_one() {
        let (token, other) = (Token::draw().unwrap(), Token::draw().unwrap());
        let mut headers = HeaderMap::new();
        assert!(check_csrf(&Method::GET, &headers, &token).is_ok());
        assert!(check_csrf(&Method::POST, &headers, &token).is_err());
        headers.insert(CSRF, csrf(&other).parse().unwrap());
        assert!(check_csrf(&Method::DELETE, &headers, &token).is_err());
        headers.insert(CSRF, csrf(&token).parse().unwrap());
        assert!(check_csrf(&Method::DELETE, &headers, &token).is_ok());
    }
}

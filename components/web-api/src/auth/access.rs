//! The gate of every route: who asks, for which tenant, and whether the role suffices. A route names its need in its
//! signature ([`Caller`], [`InTenant`], [`ForAgent`] or [`ForUser`]), so that a route without a gate is one without a caller.
//!
//! The order of refusals: no or a bad token 401; another's tenant 404, as if it did not exist; a role that does not
//! suffice 403. Denials are logged and counted.

use std::marker::PhantomData;
use std::str::FromStr;

use crate::problem::Problem;
use axum::extract::{FromRequestParts, RawPathParams};
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use ringdown_domain::{AgentId, TenantId, UserId};

use super::principal::{Need, Principal};
use super::sessions;
use super::token::Token;
use crate::answers;
use crate::app::App;
use crate::console::session;

/// A need as a type, for signatures.
pub trait Needed: Send + Sync + 'static {
    /// The need.
    const NEED: Need;
}

macro_rules! needs {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {$(
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $name;

        impl Needed for $name {
            const NEED: Need = Need::$name;
        }
    )+};
}

needs!(
    /// Any role; the route itself checks that the object is the agent's own.
    Work,
    /// Supervisors and administrators.
    Supervise,
    /// Administrators.
    Administer,
    /// Administrators of the whole installation.
    Install,
);

/// Somebody with a valid token and a sufficient role.
#[derive(Debug)]
pub struct Caller<N> {
    /// Who.
    pub who: Principal,
    /// The token of the request, to end this very session.
    pub token: Token,
    need: PhantomData<N>,
}

/// Somebody who may act in the tenant of the path.
#[derive(Debug)]
pub struct InTenant<N> {
    /// Who.
    pub who: Principal,
    /// The tenant of the path.
    pub tenant: TenantId,
    need: PhantomData<N>,
}

impl<N: Needed> FromRequestParts<App> for Caller<N> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let (who, token) = authenticate(parts, app).await?;
        if !who.may(N::NEED) {
            return Err(denied(app, &who, parts, N::NEED));
        }
        Ok(Self { who, token, need: PhantomData })
    }
}

impl<N: Needed> FromRequestParts<App> for InTenant<N> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let (who, _) = authenticate(parts, app).await?;
        let tenant: TenantId = path_id(parts, app, "tenant").await?;
        if !who.sees(tenant) {
            app.metrics.denied("tenant");
            log::warn!(user:display = who.user, tenant:display, path = parts.uri.path(); "denied: another tenant's object");
            return Err(answers::not_found("tenant"));
        }
        if !who.may(N::NEED) {
            return Err(denied(app, &who, parts, N::NEED));
        }
        Ok(Self { who, tenant, need: PhantomData })
    }
}

/// Somebody who may act for the agent of the path: the agent, or a supervisor or administrator of the tenant.
#[derive(Debug)]
pub struct ForAgent {
    /// The caller in the tenant.
    pub scope: InTenant<Work>,
    /// The agent of the path.
    pub agent: AgentId,
}

impl FromRequestParts<App> for ForAgent {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let scope = InTenant::from_request_parts(parts, app).await?;
        let agent = path_id(parts, app, "agent").await?;
        if scope.who.may_act_for(agent) {
            return Ok(Self { scope, agent });
        }
        app.metrics.denied("object");
        log::warn!(user:display = scope.who.user, agent:display; "denied: another agent's object");
        Err(answers::forbidden("agents act for themselves only"))
    }
}

/// Somebody who may manage the user of the path: the user, or an administrator. Whether the user belongs to the
/// administrator's tenant is for the database to say. Others' users are answered as unknown.
#[derive(Debug)]
pub struct ForUser {
    /// The caller.
    pub who: Principal,
    /// The user of the path.
    pub user: UserId,
}

impl FromRequestParts<App> for ForUser {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let (who, _) = authenticate(parts, app).await?;
        let user = path_id(parts, app, "user").await?;
        if who.user == user || who.may(Need::Administer) {
            return Ok(Self { who, user });
        }
        app.metrics.denied("object");
        log::warn!(by:display = who.user, user:display; "denied: another user's object");
        Err(answers::not_found("user"))
    }
}

async fn authenticate(parts: &Parts, app: &App) -> Result<(Principal, Token), Problem> {
    let token = presented(parts)?;
    match sessions::find(app, &token).await? {
        Some(who) => Ok((who, token)),
        None => Err(answers::unauthorized("the token is unknown, expired or revoked")),
    }
}

/// The token of the request: in `Authorization`, or, for the console's pages, in their cookie.
fn presented(parts: &Parts) -> Result<Token, Problem> {
    if !parts.headers.contains_key(AUTHORIZATION)
        && let Some(token) = session::cookie(&parts.headers)
    {
        session::check_csrf(&parts.method, &parts.headers, &token)?;
        return Ok(token);
    }
    bearer(parts)
}

fn bearer(parts: &Parts) -> Result<Token, Problem> {
    let Some(header) = parts.headers.get(AUTHORIZATION) else {
        return Err(answers::unauthorized("this needs an Authorization header with a bearer token"));
    };
    header
        .to_str()
        .ok()
        .and_then(|text| text.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .and_then(|(_, token)| Token::parse(token.trim()))
        .ok_or_else(|| answers::unauthorized("the Authorization header holds no token of ours"))
}

/// An id of the path; one that cannot be an id is unknown.
async fn path_id<T: FromStr>(parts: &mut Parts, app: &App, name: &str) -> Result<T, Problem> {
    let params = RawPathParams::from_request_parts(parts, app).await.map_err(|_| answers::not_found(name))?;
    let text = params.iter().find(|(param, _)| *param == name).map(|(_, value)| value);
    text.and_then(|text| text.parse().ok()).ok_or_else(|| answers::not_found(name))
}

fn denied(app: &App, who: &Principal, parts: &Parts, need: Need) -> Problem {
    app.metrics.denied("role");
    log::warn!(user:display = who.user, role = who.role.name(), need:?, method:display = parts.method, path = parts.uri.path(); "denied: the role does not suffice");
    answers::forbidden(match need {
        Need::Work => "this needs a log-in",
        Need::Supervise => "this needs the role supervisor or administrator",
        Need::Administer => "this needs the role administrator",
        Need::Install => "this needs an administrator of the whole installation",
    })
}

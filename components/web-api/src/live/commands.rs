//! Asking a tenant's router on behalf of a request.
//!
//! The command's id is derived from the caller, the request and its Idempotency-Key, so a repeat is the same command and
//! the router answers it with the first outcome. Without a key each request is a command of its own.
//!
//! A router that does not know an agent, a queue or a skill yet, because the configuration that has it is on its way, is
//! waited for (bounded) and asked once more: a caller never has to know that there is a compiler in between.

use crate::problem::Problem;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use ringdown_domain::{CommandId, InteractionId, TenantId};
use ringdown_events::{Command, Done, Refusal, RefusalCode};
use ringdown_redis_store::{Answer, StoreError};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::answers;
use crate::app::App;
use crate::apply;
use crate::auth::access::InTenant;
use crate::live::reader;
use crate::writes::Key;

/// What of a request makes its command's identity.
#[derive(Debug)]
pub struct Request {
    key: Option<Key>,
    method: String,
    path: String,
}

impl FromRequestParts<App> for Request {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _app: &App) -> Result<Self, Problem> {
        let key = Key::from_headers(&parts.headers)?;
        Ok(Self { key, method: parts.method.to_string(), path: parts.uri.path().to_owned() })
    }
}

impl Request {
    /// The identity of the interaction this request creates.
    #[must_use]
    pub fn interaction_id<N>(&self, app: &App, scope: &InTenant<N>) -> InteractionId {
        match &self.key {
            Some(key) => InteractionId(self.derive("interaction", scope, key, &[])),
            None => InteractionId(app.new_uuid()),
        }
    }

    fn command_id<N>(
        &self,
        app: &App,
        scope: &InTenant<N>,
        command: &Command,
        attempt: u8,
    ) -> Result<CommandId, Problem> {
        let Some(key) = &self.key else {
            return Ok(CommandId(app.new_uuid()));
        };
        // The command is part of its identity: another body under a used key is another command, never a wrong answer.
        let mut body = serde_json::to_vec(command).map_err(|error| answers::internal("encode a command", &error))?;
        body.push(attempt);
        Ok(CommandId(self.derive("command", scope, key, &body)))
    }

    fn derive<N>(&self, what: &str, scope: &InTenant<N>, key: &Key, body: &[u8]) -> Uuid {
        let mut hash = Sha256::new();
        let user = scope.who.user.to_string();
        let tenant = scope.tenant.to_string();
        for part in [what, &user, &tenant, &self.method, &self.path, key.as_str()] {
            hash.update(part.as_bytes());
            hash.update([0]);
        }
        hash.update(body);
        let digest = hash.finalize();
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&digest[..16]);
        uuid::Builder::from_custom_bytes(bytes).into_uuid()
    }
}

/// Why nothing was done, or nobody knows.
#[derive(Debug)]
pub enum Failure {
    /// The router refused; nothing changed.
    Refused(Refusal),
    /// No outcome in time.
    Unknown,
    /// Redis did not take the command.
    Store(StoreError),
    /// Something before the question.
    Problem(Box<Problem>),
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self::Problem(Box::new(problem))
    }
}

/// Asks, and asks once more after a configuration on its way has arrived.
///
/// # Errors
/// [`Failure`].
pub async fn ask<N>(app: &App, scope: &InTenant<N>, request: &Request, command: Command) -> Result<Done, Failure> {
    reader::tenant_exists(app, scope.tenant).await?;
    let refusal = match ask_once(app, scope, request, &command, 0).await? {
        Ok(done) => return Ok(done),
        Err(refusal) => refusal,
    };
    if !concerns_configuration(refusal.code) || !apply::catch_up(app, scope.tenant).await {
        return Err(Failure::Refused(refusal));
    }
    ask_once(app, scope, request, &command, 1).await?.map_err(Failure::Refused)
}

async fn ask_once<N>(
    app: &App,
    scope: &InTenant<N>,
    request: &Request,
    command: &Command,
    attempt: u8,
) -> Result<Result<Done, Refusal>, Failure> {
    let id = request.command_id(app, scope, command, attempt)?;
    match app.commands.send_as(scope.tenant, id, command.clone()).await {
        Ok(Answer::Outcome(outcome)) => Ok(outcome.result),
        Ok(Answer::Unknown { command: _ }) => Err(Failure::Unknown),
        Err(error) => Err(Failure::Store(error)),
    }
}

const fn concerns_configuration(code: RefusalCode) -> bool {
    match code {
        RefusalCode::UnknownAgent | RefusalCode::UnknownQueue | RefusalCode::UnknownSkill => true,
        RefusalCode::AgentBusy
        | RefusalCode::DuplicateInteraction
        | RefusalCode::InteractionEnded
        | RefusalCode::Malformed
        | RefusalCode::StaleOffer
        | RefusalCode::Full
        | RefusalCode::UnknownInteraction => false,
    }
}

impl Failure {
    /// The failure as an answer.
    pub async fn into_problem(self, app: &App, tenant: TenantId) -> Problem {
        match self {
            Self::Problem(problem) => *problem,
            Self::Store(error) => answers::store_problem(&error),
            Self::Unknown => answers::outcome_unknown(),
            Self::Refused(refusal) => {
                if concerns_configuration(refusal.code) && apply::is_behind(app, tenant).await {
                    return answers::not_yet_applied();
                }
                refused(refusal)
            }
        }
    }
}

fn refused(refusal: Refusal) -> Problem {
    let detail = refusal.detail;
    match refusal.code {
        RefusalCode::AgentBusy => answers::conflict("agent_busy", detail),
        RefusalCode::DuplicateInteraction => answers::conflict("duplicate_interaction", detail),
        RefusalCode::InteractionEnded => answers::conflict("interaction_ended", detail),
        RefusalCode::StaleOffer => answers::conflict("stale_offer", detail),
        RefusalCode::Malformed => answers::unprocessable("malformed", detail),
        RefusalCode::Full => answers::full(detail),
        RefusalCode::UnknownAgent => answers::not_found("agent"),
        RefusalCode::UnknownInteraction => answers::not_found("interaction"),
        RefusalCode::UnknownQueue => answers::invalid("queue", "must be a queue of the tenant"),
        RefusalCode::UnknownSkill => answers::invalid("requirements", "must name skills of the tenant"),
    }
}

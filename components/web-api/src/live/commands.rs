//! Asking a tenant's router on behalf of a request.
//!
//! The command's id is derived from the caller, the request and its Idempotency-Key, so a repeat is the same command and
//! the router answers it with the first outcome. Without a key each request is a command of its own.
//!
//! A router that does not know an agent, a queue or a skill yet, because the configuration that has it is on its way, is
//! waited for (bounded) and asked once more: a caller never has to know that there is a compiler in between.

use std::future::Future;
use std::time::Duration;

use crate::problem::Problem;
use axum::extract::FromRequestParts;
use axum::http::header::LOCATION;
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use ringdown_domain::{CommandId, InteractionId, TenantId};
use ringdown_events::{Command, Done, Refusal, RefusalCode};
use ringdown_redis_store::{Answer, Retry, StoreError, keys, redis};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::answers;
use crate::app::App;
use crate::apply;
use crate::auth::access::InTenant;
use crate::auth::token::hex;
use crate::live::reader;
use crate::writes::{Key, REPLAYED};

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

    /// The identity of the credentials this request makes: a repeat replaces those of the first try.
    #[must_use]
    pub fn credentials_id<N>(&self, app: &App, scope: &InTenant<N>) -> Uuid {
        match &self.key {
            Some(key) => self.derive("credentials", scope, key, &[]),
            None => app.new_uuid(),
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

/// For how long the answer to a command with a key is kept, so that a repeat gets the same: longer than any client's retries.
/// The router remembers for longer that it was done.
const ANSWER_KEPT: Duration = Duration::from_secs(300);

/// The answer to a command.
#[derive(Debug, Serialize, Deserialize)]
pub struct Answered {
    /// Of the command; a repeat with another one is another request.
    #[serde(default)]
    fingerprint: String,
    status: u16,
    location: Option<String>,
    body: Value,
    #[serde(skip)]
    replayed: bool,
}

impl Answered {
    /// 200 with an object.
    ///
    /// # Errors
    /// When the object cannot be shown, which is a defect.
    pub fn done<T: Serialize>(object: T) -> Result<Self, Problem> {
        let body = serde_json::to_value(object).map_err(|error| answers::internal("encode an answer", &error))?;
        Ok(Self { fingerprint: String::new(), status: StatusCode::OK.as_u16(), location: None, body, replayed: false })
    }

    /// 201 with an object and where it is.
    ///
    /// # Errors
    /// As [`Answered::done`].
    pub fn created<T: Serialize>(location: String, object: T) -> Result<Self, Problem> {
        Ok(Self { status: StatusCode::CREATED.as_u16(), location: Some(location), ..Self::done(object)? })
    }
}

impl IntoResponse for Answered {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::OK);
        let mut response = (status, answers::Json(self.body)).into_response();
        let headers = response.headers_mut();
        if let Some(location) = self.location.and_then(|text| HeaderValue::from_str(&text).ok()) {
            headers.insert(LOCATION, location);
        }
        if self.replayed {
            headers.insert(REPLAYED.clone(), HeaderValue::from_static("true"));
        }
        response
    }
}

/// Does the work behind a command, or gives the answer it had when the request is a repeat.
///
/// # Errors
/// 422 for a key that stood for another request; what the work refuses with.
pub async fn once<N>(
    app: &App,
    scope: &InTenant<N>,
    request: &Request,
    command: &Command,
    work: impl Future<Output = Result<Answered, Problem>>,
) -> Result<Answered, Problem> {
    let Some(key) = &request.key else { return work.await };
    let name = keys::answer(scope.tenant, &request.derive("answer", scope, key, &[]).to_string());
    let text = serde_json::to_vec(command).map_err(|error| answers::internal("encode a command", &error))?;
    let fingerprint = hex(&Sha256::digest(&text));
    if let Some(answer) = recall(app, &name, &fingerprint).await? {
        return Ok(answer);
    }
    let answer = Answered { fingerprint: fingerprint.clone(), ..work.await? };
    let text = serde_json::to_string(&answer).map_err(|error| answers::internal("encode an answer", &error))?;
    let mut cmd = redis::cmd("SET");
    cmd.arg(&name).arg(text).arg("NX").arg("PX").arg(ANSWER_KEPT.as_millis().to_string());
    // Without it a repeat is answered with what is there then: the router has done it once all the same.
    let kept: Result<Option<String>, StoreError> = app.redis.run("answer_keep", Retry::Safe, &cmd).await;
    match kept {
        // Somebody with the same key was first.
        Ok(None) => Ok(recall(app, &name, &fingerprint).await?.unwrap_or(answer)),
        Ok(Some(_)) => Ok(answer),
        Err(error) => {
            log::debug!(error:display; "an answer was not kept");
            Ok(answer)
        }
    }
}

async fn recall(app: &App, name: &str, fingerprint: &str) -> Result<Option<Answered>, Problem> {
    let mut cmd = redis::cmd("GET");
    cmd.arg(name);
    let text: Option<String> =
        app.redis.run("answer_recall", Retry::Safe, &cmd).await.map_err(|error| answers::store_problem(&error))?;
    // One that cannot be read is of another version: the request is done again, which the router notices.
    let Some(answer) = text.and_then(|text| serde_json::from_str::<Answered>(&text).ok()) else { return Ok(None) };
    if answer.fingerprint != fingerprint {
        return Err(answers::key_reused());
    }
    Ok(Some(Answered { replayed: true, ..answer }))
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
        | RefusalCode::NotConnected
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
        RefusalCode::NotConnected => answers::conflict("not_connected", detail),
        RefusalCode::StaleOffer => answers::conflict("stale_offer", detail),
        RefusalCode::Malformed => answers::unprocessable("malformed", detail),
        RefusalCode::Full => answers::full(detail),
        RefusalCode::UnknownAgent => answers::not_found("agent"),
        RefusalCode::UnknownInteraction => answers::not_found("interaction"),
        RefusalCode::UnknownQueue => answers::unfit("queue", "must be a queue of the tenant"),
        // The router says which.
        RefusalCode::UnknownSkill => {
            answers::unfit("requirements", format!("must name skills of the tenant: {detail}"))
        }
    }
}

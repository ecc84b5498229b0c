//! What handlers take and give: bodies, queries and path ids parsed at the border, pages and created objects, and one
//! function per kind of refusal, so that the same fault always looks the same.

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, RawPathParams, Request};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, LOCATION};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;
use ringdown_redis_store::StoreError;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use crate::app::App;
use crate::problem::Problem;
use crate::resources::fields::Object;
use crate::resources::skill_set::EACH_SKILL_ONCE;
use crate::router::MAX_BODY_BYTES;

/// Reasons are shown up to this length; serde repeats what it met.
const MAX_REASON_CHARS: usize = 200;

/// A body beyond the limit is read up to here before it is refused.
const MAX_DRAINED_BYTES: usize = 1024 * 1024;

/// A JSON body, parsed completely or refused with the field at fault.
#[derive(Debug)]
pub struct Body<T>(pub T);

impl<T: DeserializeOwned> FromRequest<App> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _app: &App) -> Result<Self, Problem> {
        parse_body(&json_bytes(request).await?).map(Self)
    }
}

/// The body's bytes, if it says that it is JSON.
///
/// # Errors
/// 415 for another type, 413 beyond the limit, 400 when it does not arrive whole.
pub async fn json_bytes(request: Request) -> Result<Bytes, Problem> {
    if !is_json(request.headers()) {
        let detail = "the body must be JSON: send Content-Type: application/json";
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", detail)
            .field("Content-Type", "must be application/json"));
    }
    read_body(request.into_body()).await
}

/// Reads a body up to the limit. One that is somewhat larger is read to its end and dropped, so that its sender sees the
/// refusal: a connection closed in the middle of a body loses the answer.
async fn read_body(body: axum::body::Body) -> Result<Bytes, Problem> {
    let mut frames = body.into_data_stream();
    let mut kept = Vec::new();
    let mut seen = 0;
    while let Some(frame) = frames.next().await {
        let frame = frame.map_err(|error| {
            log::debug!(error:display; "a body did not arrive whole");
            Problem::new(StatusCode::BAD_REQUEST, "body_incomplete", "the body did not arrive whole")
        })?;
        seen += frame.len();
        if seen > MAX_DRAINED_BYTES {
            break;
        }
        if seen <= MAX_BODY_BYTES {
            kept.extend_from_slice(&frame);
        }
    }
    if seen > MAX_BODY_BYTES { Err(too_large()) } else { Ok(kept.into()) }
}

/// `application/json` and `application/merge-patch+json` (RFC 7396), with or without parameters.
fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    kind == "application/json" || kind == "application/merge-patch+json"
}

/// A value from a JSON body.
///
/// # Errors
/// 400 for broken JSON, 422 with the field for a value that is not accepted.
pub fn parse_body<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    // Whether it is JSON at all comes first: otherwise the first unknown member would hide that the rest is broken.
    serde_json::from_slice::<IgnoredAny>(bytes).map_err(|error| broken_json(&error.to_string()))?;
    match from_bytes(bytes) {
        Ok(value) => Ok(value),
        Err(problem) => whole_numbers(bytes).map_or(Err(problem), |bytes| from_bytes(&bytes)),
    }
}

fn from_bytes<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    let deserializer = &mut serde_json::Deserializer::from_slice(bytes);
    let object: Result<Object<T>, _> = serde_path_to_error::deserialize(deserializer);
    object.map(|Object(value)| value).map_err(|error| json_problem(&error))
}

/// The same body with `5` for `5.0`, which JSON Schema takes for the same integer; none when there is no such number.
fn whole_numbers(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut value: Value = serde_json::from_slice(bytes).ok()?;
    make_whole(&mut value).then(|| value.to_string().into_bytes())
}

/// Whether something was changed. The depth is bounded by the parser.
fn make_whole(value: &mut Value) -> bool {
    match value {
        Value::Number(number) => {
            // Beyond 2^53 a double no longer tells whole numbers apart.
            let whole =
                number.as_f64().filter(|x| number.is_f64() && x.fract() == 0.0 && x.abs() < 9_007_199_254_740_992.0);
            #[expect(clippy::cast_possible_truncation, reason = "whole, and within 53 bits")]
            let whole = whole.map(|x| x as i64);
            whole.map(|whole| *number = whole.into()).is_some()
        }
        Value::Array(items) => make_all_whole(items.iter_mut()),
        Value::Object(members) => make_all_whole(members.values_mut()),
        Value::Null | Value::Bool(_) | Value::String(_) => false,
    }
}

fn json_problem(error: &serde_path_to_error::Error<serde_json::Error>) -> Problem {
    let inner = error.inner();
    // serde appends " at line 1 column 7", which says nothing to who reads the field's name. The text is JSON, so what is
    // not of the data but "of the syntax" is a value of another kind than the enumeration wants.
    let text = inner.to_string();
    let reason = text.rsplit_once(" at line ").map_or(text.as_str(), |(reason, _)| reason);
    let reason = if inner.is_data() { reason } else { "is not of the kind that is accepted" };
    let path = error.path().to_string();
    let field = if path == "." { missing_field(reason).unwrap_or("body").to_owned() } else { path };
    // What no schema can say.
    if reason == EACH_SKILL_ONCE {
        return unfit(field, reason);
    }
    invalid(field, shorten(reason))
}

/// The field of serde's "missing field `x`" and "unknown field `x`, ...", which have no path of their own.
fn missing_field(reason: &str) -> Option<&str> {
    let rest = reason.strip_prefix("missing field `").or_else(|| reason.strip_prefix("unknown field `"))?;
    rest.split('`').next()
}

fn broken_json(reason: &str) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "broken_json", "the body is not JSON").field("body", shorten(reason))
}

fn shorten(reason: &str) -> String {
    reason.chars().take(MAX_REASON_CHARS).collect()
}

fn make_all_whole<'a>(values: impl Iterator<Item = &'a mut Value>) -> bool {
    let mut changed = false;
    for value in values {
        changed |= make_whole(value);
    }
    changed
}

/// Query parameters; unknown ones are refused, since a misspelt filter would show everything.
#[derive(Debug)]
pub struct Query<T>(pub T);

impl<T: DeserializeOwned> FromRequestParts<App> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _app: &App) -> Result<Self, Problem> {
        let query = parts.uri.query().unwrap_or_default();
        let deserializer = serde_urlencoded::Deserializer::new(form_urlencoded::parse(query.as_bytes()));
        serde_path_to_error::deserialize(deserializer).map(Self).map_err(|error| {
            let reason = error.inner().to_string();
            let path = error.path().to_string();
            let field = if path == "." { missing_field(&reason).unwrap_or("query").to_owned() } else { path };
            Problem::new(StatusCode::BAD_REQUEST, "bad_query", "a query parameter is not accepted")
                .field(field, shorten(&reason))
        })
    }
}

/// How many items a page may have: 1 to 500, 100 when not said.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "String")]
pub struct Limit(usize);

impl Limit {
    /// The number.
    #[must_use]
    pub const fn value(self) -> usize {
        self.0
    }

    /// One more than the number, to see whether there is a next page.
    #[must_use]
    pub fn plus_one(self) -> i64 {
        i64::try_from(self.0).unwrap_or(500) + 1
    }
}

impl Default for Limit {
    fn default() -> Self {
        Self(100)
    }
}

impl TryFrom<String> for Limit {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let number = text.parse().ok().filter(|number| (1..=500).contains(number));
        number.map(Self).ok_or("must be a whole number from 1 to 500")
    }
}

/// What every list accepts.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Paging {
    /// Most items of the answer, 1 to 500; 100 when left out.
    #[param(value_type = Option<u16>, minimum = 1, maximum = 500)]
    pub limit: Option<Limit>,
    /// `next_cursor` of the page before.
    #[param(format = Uuid)]
    pub cursor: Option<String>,
}

/// What the list of skills accepts: its cursor is a skill's name.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct NamePaging {
    /// Most items of the answer, 1 to 500; 100 when left out.
    #[param(value_type = Option<u16>, minimum = 1, maximum = 500)]
    pub limit: Option<Limit>,
    /// `next_cursor` of the page before.
    #[param(min_length = 1, max_length = 64, pattern = "^[0-9A-Za-z._-]+$")]
    pub cursor: Option<String>,
}

/// The id a cursor of ours holds.
///
/// # Errors
/// 400 for a cursor that is none of ours.
pub fn id_cursor(cursor: &str) -> Result<Uuid, Problem> {
    Uuid::try_parse(cursor).map_err(|_| bad_cursor())
}

/// A cursor that is none of ours.
#[must_use]
pub fn bad_cursor() -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "bad_cursor", "the cursor is none of this list")
        .field("cursor", "must be a next_cursor of this list")
}

/// The last id of a path. An id that is none cannot exist, so it is answered as unknown.
#[derive(Debug)]
pub struct Id<T>(pub T);

impl<T: std::str::FromStr + Send> FromRequestParts<App> for Id<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let (name, text) = last_param(parts, app).await?;
        text.parse().map(Self).map_err(|_| not_found_named(&name))
    }
}

async fn last_param(parts: &mut Parts, app: &App) -> Result<(String, String), Problem> {
    let params = RawPathParams::from_request_parts(parts, app).await.map_err(|_| not_found("object"))?;
    let last = params.iter().last().map(|(name, value)| (name.to_owned(), value.to_owned()));
    last.ok_or_else(|| not_found("object"))
}

/// The two last parameters of a path.
#[derive(Debug)]
pub struct Id2<A, B>(pub A, pub B);

impl<A: std::str::FromStr + Send, B: std::str::FromStr + Send> FromRequestParts<App> for Id2<A, B> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let params = RawPathParams::from_request_parts(parts, app).await.map_err(|_| not_found("object"))?;
        let all: Vec<(String, String)> = params.iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
        let [.., (first, a), (second, b)] = all.as_slice() else { return Err(not_found("object")) };
        let a = a.parse().map_err(|_| not_found_named(first))?;
        let b = b.parse().map_err(|_| not_found_named(second))?;
        Ok(Self(a, b))
    }
}

fn not_found_named(name: &str) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "not_found", format!("there is no such {name}"))
        .field(name, "is not an id of that kind")
}

/// The tenant of a path.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
pub struct TenantPath {
    /// The tenant's id.
    #[expect(dead_code, reason = "documents the parameter; the gate reads it")]
    tenant: Uuid,
}

/// The agent of a path.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
pub struct AgentPath {
    /// The agent's id.
    #[expect(dead_code, reason = "documents the parameter")]
    agent: Uuid,
}

/// The skill of a path.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
pub struct SkillPath {
    /// The skill's name.
    #[param(min_length = 1, max_length = 64, pattern = "^[0-9A-Za-z._-]+$")]
    #[expect(dead_code, reason = "documents the parameter")]
    skill: String,
}

/// The queue of a path.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
pub struct QueuePath {
    /// The queue's id.
    #[expect(dead_code, reason = "documents the parameter")]
    queue: Uuid,
}

/// The trunk of a path.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
pub struct TrunkPath {
    /// The trunk's id.
    #[expect(dead_code, reason = "documents the parameter")]
    trunk: Uuid,
}

/// The route of a path.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
pub struct RoutePath {
    /// The route's id.
    #[expect(dead_code, reason = "documents the parameter")]
    route: Uuid,
}

/// The recording of a path.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
pub struct RecordingPath {
    /// The recording's id.
    #[expect(dead_code, reason = "documents the parameter")]
    recording: Uuid,
}

/// The outbound route of a path.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
pub struct OutboundRoutePath {
    /// The outbound route's id.
    #[expect(dead_code, reason = "documents the parameter")]
    outbound_route: Uuid,
}

/// The user of a path.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
pub struct UserPath {
    /// The user's id.
    #[expect(dead_code, reason = "documents the parameter")]
    user: Uuid,
}

/// The API token of a path.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
pub struct TokenPath {
    /// The API token's id.
    #[expect(dead_code, reason = "documents the parameter")]
    token: Uuid,
}

/// The interaction of a path.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
pub struct InteractionPath {
    /// The interaction's id.
    #[expect(dead_code, reason = "documents the parameter")]
    interaction: Uuid,
}

/// The header every write accepts.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
pub struct IdempotencyHeader {
    /// 1 to 128 printable ASCII characters. A repeat of the same request with the same key has no second effect and gets the
    /// first answer; kept for 24 hours.
    #[param(
        rename = "Idempotency-Key",
        required = false,
        min_length = 1,
        max_length = 128,
        pattern = "^[!-~]([ -~]*[!-~])?$"
    )]
    #[expect(dead_code, reason = "documents the header")]
    idempotency_key: Option<String>,
}

/// The headers a change of an object accepts.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
pub struct ChangeHeaders {
    /// 1 to 128 printable ASCII characters. A repeat of the same request with the same key has no second effect and gets the
    /// first answer; kept for 24 hours.
    #[param(
        rename = "Idempotency-Key",
        required = false,
        min_length = 1,
        max_length = 128,
        pattern = "^[!-~]([ -~]*[!-~])?$"
    )]
    #[expect(dead_code, reason = "documents the header")]
    idempotency_key: Option<String>,
    /// The `ETag` of the object as it was read, several of them, or `*`; the change is refused with 412 when it has none of
    /// them by now. A weak tag never matches (RFC 9110 13.1.1).
    #[param(rename = "If-Match", required = false, pattern = "^(\\*|(W/)?\"[!#-~]*\"( *, *(W/)?\"[!#-~]*\")*)$")]
    #[expect(dead_code, reason = "documents the header")]
    if_match: Option<String>,
}

/// A page of a list.
#[derive(Debug, Serialize, ToSchema)]
pub struct Page<T> {
    /// The items.
    pub items: Vec<T>,
    /// Give it as `cursor` to get the next page; null at the end.
    pub next_cursor: Option<String>,
}

impl<T> Page<T> {
    /// A page from one more item than asked for, if there are that many.
    #[must_use]
    pub fn cut(mut items: Vec<T>, limit: Limit, cursor: impl Fn(&T) -> String) -> Self {
        let more = items.len() > limit.value();
        items.truncate(limit.value());
        let next_cursor = items.last().filter(|_| more).map(cursor);
        Self { items, next_cursor }
    }
}

/// A JSON answer that no cache keeps.
#[derive(Debug)]
pub struct Json<T>(pub T);

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        match serde_json::to_vec(&self.0) {
            Ok(body) => {
                let headers = [
                    (CONTENT_TYPE, HeaderValue::from_static("application/json")),
                    (CACHE_CONTROL, HeaderValue::from_static("no-store")),
                ];
                (headers, body).into_response()
            }
            Err(error) => internal("encode an answer", &error).into_response(),
        }
    }
}

/// An object that was made: 201 with its address.
#[derive(Debug)]
pub struct Created<T> {
    /// Where it is.
    pub location: String,
    /// Its mark, if it has one.
    pub etag: Option<String>,
    /// The object.
    pub body: T,
}

impl<T: Serialize> IntoResponse for Created<T> {
    fn into_response(self) -> Response {
        let mut response = (StatusCode::CREATED, Json(self.body)).into_response();
        let mut set = |name, text: &str| {
            if let Ok(value) = HeaderValue::from_str(text) {
                response.headers_mut().insert(name, value);
            }
        };
        set(LOCATION, &self.location);
        if let Some(etag) = &self.etag {
            set(ETAG, etag);
        }
        response
    }
}

/// A field that is not accepted.
#[must_use]
pub fn invalid(field: impl Into<String>, reason: impl Into<String>) -> Problem {
    unprocessable("invalid", "a field is not accepted").field(field, reason)
}

/// A field that is fine by itself and does not go with the others, or with what there is.
#[must_use]
pub fn unfit(field: impl Into<String>, reason: impl Into<String>) -> Problem {
    unprocessable("does_not_fit", "a field does not go with the others").field(field, reason)
}

/// A request that cannot be done as it is.
#[must_use]
pub fn unprocessable(code: &'static str, detail: impl Into<String>) -> Problem {
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, code, detail)
}

/// No such object, or none this caller may know of.
#[must_use]
pub fn not_found(what: &str) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "not_found", format!("there is no such {what}"))
}

/// No token, or a bad one.
#[must_use]
pub fn unauthorized(detail: &str) -> Problem {
    Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", detail).challenge()
}

/// A role that does not suffice.
#[must_use]
pub fn forbidden(detail: &str) -> Problem {
    Problem::new(StatusCode::FORBIDDEN, "forbidden", detail)
}

/// The object is in a state that forbids it.
#[must_use]
pub fn conflict(code: &'static str, detail: impl Into<String>) -> Problem {
    Problem::new(StatusCode::CONFLICT, code, detail)
}

/// An Idempotency-Key that stood for another request.
#[must_use]
pub fn key_reused() -> Problem {
    unprocessable("idempotency_key_reused", "this Idempotency-Key was used for another request")
        .field("Idempotency-Key", "must be a new one for a new request")
}

/// The object has changed since it was read.
#[must_use]
pub fn precondition_failed() -> Problem {
    let detail = "the object has changed since it was read; read it again";
    Problem::new(StatusCode::PRECONDITION_FAILED, "changed_meanwhile", detail).field("If-Match", "is not its ETag")
}

/// A body beyond the limit.
#[must_use]
pub fn too_large() -> Problem {
    let detail = format!("the body must have at most {} bytes", MAX_BODY_BYTES);
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", detail).field("body", "is too large")
}

/// The tenant or the queue is full.
#[must_use]
pub fn full(detail: impl Into<String>) -> Problem {
    Problem::new(StatusCode::TOO_MANY_REQUESTS, "full", detail).retry_after(5)
}

/// Too many attempts.
#[must_use]
pub fn too_many_attempts(wait: std::time::Duration) -> Problem {
    let detail = "too many log-in attempts; wait";
    Problem::new(StatusCode::TOO_MANY_REQUESTS, "too_many_attempts", detail).retry_after(wait.as_secs().max(1))
}

/// No outcome in time.
#[must_use]
pub fn outcome_unknown() -> Problem {
    let detail = "the router has not answered in time; whether it was done is unknown. \
                  Repeating the request with the same Idempotency-Key is safe and tells";
    Problem::new(StatusCode::GATEWAY_TIMEOUT, "outcome_unknown", detail).retry_after(1)
}

/// The configuration that has the object is on its way to the router.
#[must_use]
pub fn not_yet_applied() -> Problem {
    let detail = "the configuration is on its way to the router; repeat the request";
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "not_yet_applied", detail).retry_after(1)
}

/// A store is away.
#[must_use]
pub fn unavailable(detail: &str) -> Problem {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail).retry_after(2)
}

/// A failure of Redis as an answer, logged.
#[must_use]
pub fn store_problem(error: &StoreError) -> Problem {
    match error {
        StoreError::Overloaded { .. } => {
            log::warn!(error:display; "refusing work: too much at once");
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "overloaded", "too much at once; come back").retry_after(1)
        }
        StoreError::Unavailable { .. } | StoreError::Unknown { .. } => {
            log::warn!(error:display; "Redis is away");
            unavailable("the live store is not available")
        }
        StoreError::Refused { .. } | StoreError::Unreadable { .. } => {
            log::error!(error:display; "Redis did not do as asked");
            unavailable("the live store did not do as asked; the log says why")
        }
    }
}

/// What only a defect of ours can cause: logged, told apart from the caller's faults.
#[must_use]
pub fn internal(what: &str, error: &dyn std::fmt::Display) -> Problem {
    log::error!(what, error:display; "internal failure");
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "the service failed; its log says why")
}

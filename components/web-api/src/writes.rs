//! Writing configuration: one transaction per request, with the request's Idempotency-Key inside it, then a bounded wait
//! until the routers run what was written.
//!
//! A key is inserted first, in the same transaction as the change: a concurrent repeat waits for the first one's end, and
//! a later one gets the first one's answer. A change and its key are never apart, whatever dies when.

use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_MATCH, LOCATION};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use ringdown_domain::{TenantId, UserId};
use ringdown_pg_store::{Isolation, Retry, Retryable};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::answers;
use crate::app::App;
use crate::apply::{self, Applied, Patience};
use crate::auth::principal::Principal;
use crate::auth::sessions;
use crate::auth::token::hex;
use crate::db::{self, Session, Tx};
use crate::problem::Problem;

/// How long a key is kept, in hours.
pub const KEY_HOURS: i32 = 24;

/// Members of bodies that hold secrets.
const SECRET_MEMBERS: [&str; 2] = ["password", "sip_password"];

static CONFIG_REVISION: HeaderName = HeaderName::from_static("ringdown-config-revision");
static CONFIG_APPLIED: HeaderName = HeaderName::from_static("ringdown-config-applied");
/// Says that an answer is the first one's.
pub static REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// An Idempotency-Key: 1 to 128 printable ASCII characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key(String);

impl Key {
    /// The request's key, if it has one.
    ///
    /// # Errors
    /// 400 for a key that is not accepted, or several.
    pub fn from_headers(headers: &HeaderMap) -> Result<Option<Self>, Problem> {
        let mut keys = headers.get_all("idempotency-key").iter();
        let (Some(first), others) = (keys.next(), keys.count()) else { return Ok(None) };
        let text = first.to_str().unwrap_or_default().trim();
        let fits = (1..=128).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic() || b == b' ');
        if fits && others == 0 {
            return Ok(Some(Self(text.to_owned())));
        }
        let detail = "the Idempotency-Key is not accepted";
        Err(Problem::new(StatusCode::BAD_REQUEST, "bad_header", detail)
            .field("Idempotency-Key", "must be one key of 1 to 128 printable ASCII characters"))
    }

    /// The key as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Under which terms a change is made.
#[derive(Debug)]
pub struct Terms {
    key: Option<Key>,
    if_match: Option<IfMatch>,
    fingerprint: String,
    /// The secrets of a body that has a key, and their salted hash.
    secrets: Option<Secrets>,
    patience: Patience,
}

/// Secrets of a request as text, and hashed as passwords are: a plain hash of one could be guessed.
#[derive(Clone)]
struct Secrets {
    text: String,
    hash: String,
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secrets(..)")
    }
}

impl Terms {
    fn new(method: &Method, uri: &Uri, headers: &HeaderMap, body: &[u8]) -> Result<Self, Problem> {
        let mut hash = Sha256::new();
        for part in [method.as_str().as_bytes(), uri.path().as_bytes(), body] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        Ok(Self {
            key: Key::from_headers(headers)?,
            if_match: if_match(headers)?,
            fingerprint: hex(&hash.finalize()),
            secrets: None,
            patience: Patience::from_headers(headers),
        })
    }

    /// Refuses the change of an object that is another by now.
    ///
    /// # Errors
    /// 412.
    pub fn check(&self, etag: &str) -> Result<(), Problem> {
        match &self.if_match {
            Some(wanted) if !wanted.matches(etag) => Err(answers::precondition_failed()),
            Some(_) | None => Ok(()),
        }
    }
}

/// What an `If-Match` asks for (RFC 9110 13.1.1).
#[derive(Debug, PartialEq, Eq)]
enum IfMatch {
    /// `*`: any object that is there.
    Any,
    /// One of these strong tags, in their quotes. Weak tags never match, so they are not kept.
    OneOf(Vec<String>),
}

/// The longest `If-Match`; a tag of ours has 12 characters.
const MAX_IF_MATCH_CHARS: usize = 1_024;

impl IfMatch {
    fn matches(&self, etag: &str) -> bool {
        match self {
            Self::Any => true,
            Self::OneOf(tags) => tags.iter().any(|tag| tag == etag),
        }
    }

    /// Reads the field's value: `*`, or a list of entity tags with commas between them. An empty element is passed over
    /// (RFC 9110 5.6.1.2).
    fn parse(text: &str) -> Option<Self> {
        if text.trim() == "*" {
            return Some(Self::Any);
        }
        let (mut tags, mut rest, mut found) = (Vec::new(), text.trim_start_matches([' ', '\t', ',']), false);
        while !rest.is_empty() {
            let (weak, quoted) = rest.strip_prefix("W/").map_or((false, rest), |rest| (true, rest));
            let (tag, after) = quoted.strip_prefix('"')?.split_once('"')?;
            if !tag.bytes().all(|byte| byte == 0x21 || (0x23..=0x7e).contains(&byte) || byte >= 0x80) {
                return None;
            }
            if !weak {
                tags.push(format!("\"{tag}\""));
            }
            found = true;
            let after = after.trim_start_matches([' ', '\t']);
            rest = after.trim_start_matches([' ', '\t', ',']);
            if !rest.is_empty() && !after.starts_with(',') {
                return None;
            }
        }
        found.then_some(Self::OneOf(tags))
    }
}

fn if_match(headers: &HeaderMap) -> Result<Option<IfMatch>, Problem> {
    let lines: Vec<&str> = headers.get_all(IF_MATCH).iter().map(|value| value.to_str().unwrap_or("?")).collect();
    if lines.is_empty() {
        return Ok(None);
    }
    let text = lines.join(",");
    let read = if text.len() <= MAX_IF_MATCH_CHARS { IfMatch::parse(&text) } else { None };
    read.map(Some).ok_or_else(|| {
        let detail = "the If-Match header is not accepted";
        Problem::new(StatusCode::BAD_REQUEST, "bad_header", detail)
            .field("If-Match", "must be a list of entity tags, or *")
    })
}

/// The terms of a change without a body.
impl FromRequestParts<App> for Terms {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _app: &App) -> Result<Self, Problem> {
        Self::new(&parts.method, &parts.uri, &parts.headers, &[])
    }
}

/// A change with a body.
#[derive(Debug)]
pub struct Change<T> {
    /// The body, parsed.
    pub input: T,
    /// Its terms.
    pub terms: Terms,
}

impl<T: DeserializeOwned + Send> FromRequest<App> for Change<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &App) -> Result<Self, Problem> {
        let (method, uri, headers) = (request.method().clone(), request.uri().clone(), request.headers().clone());
        let bytes = answers::json_bytes(request).await?;
        let input = answers::parse_body(&bytes)?;
        let (plain, secrets) = split_secrets(&bytes);
        let mut terms = Terms::new(&method, &uri, &headers, &plain)?;
        if let (Some(text), Some(_)) = (secrets, &terms.key) {
            let hash = app.passwords.hash(text.clone()).await.map_err(|error| sessions::hasher_problem(&error))?;
            terms.secrets = Some(Secrets { text, hash });
        }
        Ok(Self { input, terms })
    }
}

/// The body without its secrets, as it goes into the stored fingerprint, and the secrets if there are any.
fn split_secrets(body: &[u8]) -> (Vec<u8>, Option<String>) {
    let mut value: Value = serde_json::from_slice(body).unwrap_or(Value::Null);
    let mut secrets = serde_json::Map::new();
    if let Some(members) = value.as_object_mut() {
        for name in SECRET_MEMBERS {
            if let Some(secret) = members.remove(name) {
                secrets.insert(name.to_owned(), secret);
            }
        }
    }
    let text = (!secrets.is_empty()).then(|| Value::Object(secrets).to_string());
    (value.to_string().into_bytes(), text)
}

/// What a change answers, and what a repeat of it will answer.
#[derive(Debug)]
pub struct Effect {
    status: StatusCode,
    body: Value,
    /// The body for a repeat, where the first one shows a secret.
    repeat_body: Option<Value>,
    etag: Option<String>,
    location: Option<String>,
}

impl Effect {
    /// Something was made.
    ///
    /// # Errors
    /// When the object cannot be shown, which is a defect.
    pub fn created<T: Serialize>(location: String, etag: String, object: &T) -> Result<Self, Problem> {
        Ok(Self { status: StatusCode::CREATED, location: Some(location), ..Self::changed(etag, object)? })
    }

    /// Something was changed.
    ///
    /// # Errors
    /// When the object cannot be shown, which is a defect.
    pub fn changed<T: Serialize>(etag: String, object: &T) -> Result<Self, Problem> {
        let body = serde_json::to_value(object).map_err(|error| answers::internal("encode an answer", &error))?;
        Ok(Self { status: StatusCode::OK, body, repeat_body: None, etag: Some(etag), location: None })
    }

    /// Something is gone.
    #[must_use]
    pub const fn removed() -> Self {
        let body = Value::Null;
        Self { status: StatusCode::NO_CONTENT, body, repeat_body: None, etag: None, location: None }
    }

    /// The same without its secret for a repeat: secrets are shown once and stored nowhere.
    #[must_use]
    pub fn with_repeat_body(mut self, body: Value) -> Self {
        self.repeat_body = Some(body);
        self
    }
}

/// The answer of a change.
#[derive(Debug)]
pub struct Written {
    effect: Effect,
    replayed: bool,
    applied: Option<Applied>,
}

impl IntoResponse for Written {
    fn into_response(self) -> Response {
        let mut response = if self.effect.body.is_null() {
            self.effect.status.into_response()
        } else {
            (self.effect.status, self.effect.body.to_string()).into_response()
        };
        let has_body = response.status() != StatusCode::NO_CONTENT;
        let headers = response.headers_mut();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if has_body {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        insert(headers, ETAG, self.effect.etag.as_deref());
        insert(headers, LOCATION, self.effect.location.as_deref());
        if self.replayed {
            headers.insert(REPLAYED.clone(), HeaderValue::from_static("true"));
        }
        if let Some(applied) = self.applied {
            headers.insert(CONFIG_REVISION.clone(), HeaderValue::from(applied.revision));
            let known = if applied.running { "true" } else { "false" };
            headers.insert(CONFIG_APPLIED.clone(), HeaderValue::from_static(known));
        }
        response
    }
}

/// Our etags and paths are ASCII; anything else would be left out rather than fail the answer.
fn insert(headers: &mut HeaderMap, name: HeaderName, text: Option<&str>) {
    if let Some(value) = text.and_then(|text| HeaderValue::from_str(text).ok()) {
        headers.insert(name, value);
    }
}

/// A transaction with the request's key inside.
pub struct Write<'session, 'request> {
    tx: Tx<'session>,
    who: &'request Principal,
    terms: &'request Terms,
}

/// What a beginning change meets.
pub enum Begun<'session, 'request> {
    /// It is new: do it.
    Open(Write<'session, 'request>),
    /// The key stands for the same request: this is its answer.
    Repeat(Effect),
}

impl<'session, 'request> Write<'session, 'request> {
    /// Begins. Changes of one tenant come one after another (the tenant's revision is held from here on), so they cannot
    /// deadlock, and revisions become visible in order.
    ///
    /// # Errors
    /// 422 for a key that stood for another request; 503 when PostgreSQL is away.
    pub async fn begin(
        app: &App,
        session: &'session mut Session<'_>,
        who: &'request Principal,
        tenant: Option<TenantId>,
        terms: &'request Terms,
    ) -> Result<Begun<'session, 'request>, Problem> {
        let mut tx = session.begin(Isolation::ReadCommitted).await.map_err(|error| db::problem(&error))?;
        still_entitled(&mut tx, who).await?;
        if let Some(tenant) = tenant {
            let sql = "SELECT revision FROM tenant_revisions WHERE tenant_id = $1 FOR UPDATE";
            db::maybe(&mut tx, sql, &[&tenant.0]).await?;
        }
        if let Some(key) = &terms.key
            && let Some(effect) = recall(app, &mut tx, who, key, terms).await?
        {
            return Ok(Begun::Repeat(effect));
        }
        Ok(Begun::Open(Self { tx, who, terms }))
    }

    /// The transaction.
    pub const fn tx(&mut self) -> &mut Tx<'session> {
        &mut self.tx
    }

    /// Stores the answer with the key and makes it all last.
    ///
    /// # Errors
    /// 504 when it is unknown whether it was made; 503 when PostgreSQL is away.
    pub async fn finish(mut self, app: &App, effect: &Effect) -> Result<(), Problem> {
        sessions::end_narrowed(&app.redis, &mut self.tx).await?;
        if let Some(key) = &self.terms.key {
            remember(&mut self.tx, self.who, key, effect).await?;
        }
        match self.tx.commit().await {
            Ok(()) => Ok(()),
            Err(error) if error.retry() == Retry::Unknown => {
                log::warn!(error:display; "it is unknown whether a change was made");
                Err(answers::outcome_unknown())
            }
            Err(error) => Err(db::problem(&error)),
        }
    }
}

/// A connection for a change.
///
/// # Errors
/// 503 when PostgreSQL is away.
pub async fn session(app: &App) -> Result<Session<'_>, Problem> {
    app.pg.session("write").await.map_err(|error| db::problem(&error))
}

/// The answer, once the tenant's router runs the change or the wait is over.
pub async fn settle(app: &App, tenant: Option<TenantId>, terms: &Terms, effect: Effect, replayed: bool) -> Written {
    let applied = match tenant {
        Some(tenant) => apply::wait(app, tenant, terms.patience).await,
        None => None,
    };
    Written { effect, replayed, applied }
}

/// Makes a change: the work in a transaction with the request's key, then the wait until the tenant's router runs it. The
/// work is a block over `tx` that ends in `Result<Effect, Problem>`; its refusal takes everything back.
///
/// A macro and not a function with a closure: the compiler cannot yet tell that a future which borrows both the
/// transaction and the request may be sent between threads (rust-lang/rust#110338).
macro_rules! make {
    ($app:expr, $who:expr, $tenant:expr, $terms:expr, |$tx:ident| $work:block) => {{
        let tenant: Option<ringdown_domain::TenantId> = $tenant;
        // The connection goes back at the end of this block, before the wait.
        let (effect, replayed) = {
            let mut session = $crate::writes::session(&$app).await?;
            match $crate::writes::Write::begin(&$app, &mut session, &$who, tenant, &$terms).await? {
                $crate::writes::Begun::Repeat(effect) => (effect, true),
                $crate::writes::Begun::Open(mut write) => {
                    let $tx = write.tx();
                    let effect: Result<$crate::writes::Effect, $crate::problem::Problem> = async { $work }.await;
                    let effect = effect?;
                    write.finish(&$app, &effect).await?;
                    (effect, false)
                }
            }
        };
        Ok::<_, $crate::problem::Problem>($crate::writes::settle(&$app, tenant, &$terms, effect, replayed).await)
    }};
}
pub(crate) use make;

/// Refuses a change by somebody who was narrowed or removed since the log-in was looked up. The lock is shared among changes by
/// one user and held until their end; [`hold_user`] takes it alone, and its turn comes in order.
async fn still_entitled(tx: &mut Tx<'_>, who: &Principal) -> Result<(), Problem> {
    db::maybe(tx, "SELECT pg_advisory_xact_lock_shared(hashtextextended($1, 1))", &[&who.user.to_string()]).await?;
    let sql = "SELECT coalesce(g.generation, 0) AS generation FROM users u \
               LEFT JOIN user_generations g ON g.user_id = u.id WHERE u.id = $1";
    let row = db::maybe(tx, sql, &[&who.user.0]).await?;
    let newest = row.map(|row| u64::try_from(row.get::<_, i64>("generation")).unwrap_or(0));
    match newest {
        Some(newest) if newest <= who.generation => Ok(()),
        Some(_) | None => Err(answers::unauthorized("the log-in has ended")),
    }
}

/// Waits for the changes that a user is making, and lets none begin until this transaction ends.
///
/// # Errors
/// 503 when PostgreSQL is away.
pub async fn hold_user(tx: &mut Tx<'_>, user: UserId) -> Result<(), Problem> {
    db::maybe(tx, "SELECT pg_advisory_xact_lock(hashtextextended($1, 1))", &[&user.to_string()]).await?;
    Ok(())
}

/// Takes the key, or gives what it stood for. A concurrent holder of the same key is waited for.
async fn recall(
    app: &App,
    tx: &mut Tx<'_>,
    who: &Principal,
    key: &Key,
    terms: &Terms,
) -> Result<Option<Effect>, Problem> {
    let sql = "INSERT INTO idempotency_keys (user_id, key, fingerprint, secret_hash) VALUES ($1, $2, $3, $4) \
               ON CONFLICT DO NOTHING";
    let hash = terms.secrets.as_ref().map(|secrets| secrets.hash.as_str());
    let taken = db::execute(tx, sql, &[&who.user.0, &key.0, &terms.fingerprint, &hash]).await?;
    if taken == 1 {
        return Ok(None);
    }
    let sql = "SELECT fingerprint, secret_hash, status, body, etag, location FROM idempotency_keys \
               WHERE user_id = $1 AND key = $2";
    let row = db::one(tx, sql, &[&who.user.0, &key.0]).await?;
    if row.get::<_, &str>("fingerprint") != terms.fingerprint {
        return Err(answers::key_reused());
    }
    if let (Some(secrets), Some(stored)) = (&terms.secrets, row.get::<_, Option<String>>("secret_hash")) {
        let same = app.passwords.verify(secrets.text.clone(), Some(stored)).await;
        if !same.map_err(|error| sessions::hasher_problem(&error))? {
            return Err(answers::key_reused());
        }
    }
    let status: i16 = row.get("status");
    let status = u16::try_from(status).ok().and_then(|status| StatusCode::from_u16(status).ok());
    Ok(Some(Effect {
        status: status.unwrap_or(StatusCode::OK),
        body: row.get::<_, Option<Value>>("body").unwrap_or(Value::Null),
        repeat_body: None,
        etag: row.get("etag"),
        location: row.get("location"),
    }))
}

async fn remember(tx: &mut Tx<'_>, who: &Principal, key: &Key, effect: &Effect) -> Result<(), Problem> {
    let sql = "UPDATE idempotency_keys SET status = $3, body = $4, etag = $5, location = $6 \
               WHERE user_id = $1 AND key = $2";
    let status = i16::try_from(effect.status.as_u16()).unwrap_or(200);
    let body = effect.repeat_body.as_ref().unwrap_or(&effect.body);
    let body = (!body.is_null()).then_some(body);
    let values: db::Values<'_, 6> = [&who.user.0, &key.0, &status, &body, &effect.etag, &effect.location];
    db::execute(tx, sql, &values).await?;
    Ok(())
}

/// Forgets keys whose time is over; run now and then.
///
/// # Errors
/// 503 when PostgreSQL is away.
pub async fn forget_old_keys(app: &App) -> Result<u64, Problem> {
    let sql = "DELETE FROM idempotency_keys WHERE created_at < now() - make_interval(hours => $1)";
    db::change(app, "forget_keys", sql, &[&KEY_HOURS]).await
}

#[cfg(test)]
mod tests {
    use super::IfMatch;

    #[test]
    fn if_match_is_read_as_rfc_9110_says() {
        let check = |text: &str, expected: Option<bool>| {
            let read = IfMatch::parse(text);
            assert_eq!(read.map(|wanted| wanted.matches("\"7\"")), expected, "{text}");
        };
        check("*", Some(true));
        check("\"7\"", Some(true));
        check("\"6\", \"7\"", Some(true));
        check("\"6\",\"7\" ,, ", Some(true));
        check(", \"7\"", Some(true));
        check("W/\"7\"", Some(false));
        check("W/\"7\", \"7\"", Some(true));
        check("\"\"", Some(false));
        check("\"a,b\", \"7\"", Some(true));
        for malformed in ["", "7", "\"7", "7\"", "\"7\" \"8\"", "*, \"7\"", "w/\"7\"", "\"a b\"", ","] {
            check(malformed, None);
        }
    }
}

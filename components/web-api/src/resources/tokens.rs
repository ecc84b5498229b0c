//! API tokens: for programs that act as a user. Shown once, stored as their SHA-256, revoked at once.

use axum::extract::State;
use ringdown_domain::{Name, TenantId, UserId};
use ringdown_pg_store::Row;
use ringdown_redis_store::session;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::fields::Bounded;
use crate::answers::{self, Id, IdempotencyHeader, Json, Page, TokenPath, UserPath};
use crate::app::App;
use crate::auth::access::ForUser;
use crate::auth::principal::Principal;
use crate::auth::token::Token;
use crate::db::{self, Tx};
use crate::problem::Problem;
use crate::quotas::{self, Quota};
use crate::writes::{self, Change, Effect, Terms, Written};

/// The most tokens of one user.
const MAX_TOKENS: i64 = 100;

/// From a minute to two years.
type Lifetime = Bounded<60, 63_072_000>;

/// An API token, without the token.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ApiToken {
    /// Which.
    pub id: Uuid,
    /// What it is for.
    pub name: String,
    /// When it was made, UTC milliseconds.
    pub created_at_ms: i64,
    /// When it ends by itself, UTC milliseconds; null: never.
    pub expires_at_ms: Option<i64>,
}

/// A new API token, with the token.
#[derive(Debug, Serialize, ToSchema)]
pub struct NewApiToken {
    /// The bearer token for `Authorization`; shown this once (null in the answer to a repeat).
    pub token: Option<String>,
    /// What is kept of it.
    #[serde(flatten)]
    pub kept: ApiToken,
}

/// What a token is for.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ApiTokenInput {
    /// What it is for: 1 to 120 characters.
    #[schema(value_type = String, min_length = 1, max_length = 120, pattern = "^[^\\x00-\\x1f\\x7f-\\x9f]*[^\\s\\x00-\\x1f\\x7f-\\x9f][^\\x00-\\x1f\\x7f-\\x9f]*$")]
    name: Name,
    /// How long it lives, seconds: a minute to two years; without end when left out.
    #[serde(default)]
    #[schema(value_type = Option<i64>, minimum = 60, maximum = 63_072_000)]
    expires_in_s: Option<Lifetime>,
}

const COLUMNS: &str = "id, name, (extract(epoch FROM created_at) * 1000)::bigint AS created_at_ms, \
    (extract(epoch FROM expires_at) * 1000)::bigint AS expires_at_ms";

fn from_row(row: &Row) -> ApiToken {
    ApiToken {
        id: row.get("id"),
        name: row.get("name"),
        created_at_ms: row.get("created_at_ms"),
        expires_at_ms: row.get("expires_at_ms"),
    }
}

/// Lists a user's API tokens; one's own, or as an administrator those of the users one administers.
#[utoipa::path(get, path = "/users/{user}/tokens", tag = "users", params(UserPath),
    responses((status = 200, description = "All of them; at most 100.", body = Page<ApiToken>)))]
pub async fn list_tokens(
    State(app): State<App>,
    ForUser { who, user }: ForUser,
) -> Result<Json<Page<ApiToken>>, Problem> {
    let own = who.tenant.map(|tenant| tenant.0);
    let sql = "SELECT 1 FROM users WHERE id = $1 AND ($2::uuid IS NULL OR tenant_id = $2)";
    let known = db::query(&app, "read_users", sql, &[&user.0, &own]).await?;
    if known.is_empty() {
        return Err(answers::not_found("user"));
    }
    let sql = format!("SELECT {COLUMNS} FROM api_tokens WHERE user_id = $1 ORDER BY id LIMIT $2");
    let rows = db::query(&app, "read_tokens", &sql, &[&user.0, &MAX_TOKENS]).await?;
    Ok(Json(Page { items: rows.iter().map(from_row).collect(), next_cursor: None }))
}

/// Makes an API token that acts as the user.
#[utoipa::path(post, path = "/users/{user}/tokens", tag = "users",
    params(UserPath, IdempotencyHeader), request_body = ApiTokenInput,
    responses((status = 201, description = "Made; the token is shown this once.", body = NewApiToken)))]
pub async fn create_token(
    State(app): State<App>,
    ForUser { who, user }: ForUser,
    Change { input, terms }: Change<ApiTokenInput>,
) -> Result<Written, Problem> {
    let token = Token::draw().map_err(|error| answers::internal("draw a token", &error))?;
    let id = app.new_id(UserId::from_parts).0;
    writes::make!(app, who, None, terms, |tx| {
        lock_user(tx, &who, user).await?;
        check_count(tx, user).await?;
        if let Some(tenant) = tenant_of(tx, user).await? {
            quotas::check_row(&app, tx, tenant, Quota::ApiTokens).await?;
        }
        let seconds = input.expires_in_s.map(|seconds| f64::from(i32::try_from(seconds.value()).unwrap_or(i32::MAX)));
        let sql = format!(
            "INSERT INTO api_tokens (id, user_id, name, token_sha256, expires_at) \
             VALUES ($1, $2, $3, $4, now() + make_interval(secs => $5)) RETURNING {COLUMNS}"
        );
        let values: db::Values<'_, 5> = [&id, &user.0, &input.name.as_str(), &token.digest(), &seconds];
        let kept = from_row(&db::one(tx, &sql, &values).await?);
        let location = format!("/api/v1/users/{user}/tokens/{id}");
        let shown = NewApiToken { token: Some(token.reveal().to_owned()), kept: kept.clone() };
        let hidden = serde_json::to_value(NewApiToken { token: None, kept })
            .map_err(|error| answers::internal("encode an answer", &error))?;
        Ok(Effect::created(location, format!("\"{id}\""), &shown)?.with_repeat_body(hidden))
    })
}

/// Revokes an API token, at once and for good.
#[utoipa::path(delete, path = "/users/{user}/tokens/{token}", tag = "users",
    params(UserPath, TokenPath, IdempotencyHeader),
    responses((status = 204, description = "Revoked.")))]
pub async fn delete_token(
    State(app): State<App>,
    ForUser { who, user }: ForUser,
    Id(token): Id<Uuid>,
    terms: Terms,
) -> Result<Written, Problem> {
    writes::make!(app, who, None, terms, |tx| {
        lock_user(tx, &who, user).await?;
        let sql = "DELETE FROM api_tokens WHERE user_id = $1 AND id = $2 RETURNING token_sha256";
        let removed = db::maybe(tx, sql, &[&user.0, &token]).await?.ok_or_else(|| answers::not_found("token"))?;
        // Before the commit: should it fail, the token is looked up in PostgreSQL until Redis has forgotten this.
        let digest: &str = removed.get("token_sha256");
        session::revoke(&app.redis, digest, user).await.map_err(|error| answers::store_problem(&error))?;
        Ok(Effect::removed())
    })
}

/// Holds the user for this transaction; one of another tenant does not exist for the caller.
async fn lock_user(tx: &mut Tx<'_>, who: &Principal, user: UserId) -> Result<(), Problem> {
    let own = who.tenant.map(|tenant| tenant.0);
    let sql = "SELECT 1 FROM users WHERE id = $1 AND ($2::uuid IS NULL OR tenant_id = $2) FOR UPDATE";
    let known = db::maybe(tx, sql, &[&user.0, &own]).await?;
    known.map(drop).ok_or_else(|| answers::not_found("user"))
}

async fn tenant_of(tx: &mut Tx<'_>, user: UserId) -> Result<Option<TenantId>, Problem> {
    let row = db::one(tx, "SELECT tenant_id FROM users WHERE id = $1", &[&user.0]).await?;
    Ok(row.get::<_, Option<Uuid>>("tenant_id").map(TenantId))
}

async fn check_count(tx: &mut Tx<'_>, user: UserId) -> Result<(), Problem> {
    let sql = "SELECT count(*) AS count FROM api_tokens WHERE user_id = $1";
    let count: i64 = db::one(tx, sql, &[&user.0]).await?.get("count");
    if count < MAX_TOKENS {
        return Ok(());
    }
    Err(answers::conflict("too_many_tokens", format!("a user has at most {MAX_TOKENS} API tokens")))
}

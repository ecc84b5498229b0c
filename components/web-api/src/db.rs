//! PostgreSQL as the routes use it: rows or a problem document.
//!
//! A rule of the schema that a request breaks is the caller's fault and names the field; PostgreSQL being away is 503; only a
//! statement PostgreSQL does not accept is ours, and logged as such.

use axum::http::header::ETAG;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use ringdown_pg_store::{PgError, Row, ToSql};
use serde::Serialize;

use crate::answers::{self, Json};
use crate::app::App;
use crate::problem::Problem;

pub use ringdown_pg_store::{Session, Transaction as Tx};

/// The values of a statement.
pub type Values<'a, const N: usize> = [&'a (dyn ToSql + Sync); N];

/// Reads rows outside a transaction. `operation` is a fixed word for metrics.
///
/// # Errors
/// 503 when PostgreSQL is away.
pub async fn query(
    app: &App,
    operation: &'static str,
    sql: &str,
    values: &[&(dyn ToSql + Sync)],
) -> Result<Vec<Row>, Problem> {
    let mut session = app.pg.session(operation).await.map_err(|error| problem(&error))?;
    session.query(sql, values).await.map_err(|error| problem(&error))
}

/// Changes rows outside a transaction.
///
/// # Errors
/// As [`problem`].
pub async fn change(
    app: &App,
    operation: &'static str,
    sql: &str,
    values: &[&(dyn ToSql + Sync)],
) -> Result<u64, Problem> {
    let mut session = app.pg.session(operation).await.map_err(|error| problem(&error))?;
    session.execute(sql, values).await.map_err(|error| problem(&error))
}

/// Changes rows in a transaction; how many.
///
/// # Errors
/// As [`problem`].
pub async fn execute(tx: &mut Tx<'_>, sql: &str, values: &[&(dyn ToSql + Sync)]) -> Result<u64, Problem> {
    tx.execute(sql, values).await.map_err(|error| problem(&error))
}

/// Reads exactly one row in a transaction.
///
/// # Errors
/// As [`problem`].
pub async fn one(tx: &mut Tx<'_>, sql: &str, values: &[&(dyn ToSql + Sync)]) -> Result<Row, Problem> {
    tx.query_one(sql, values).await.map_err(|error| problem(&error))
}

/// Reads one row or none in a transaction.
///
/// # Errors
/// As [`problem`].
pub async fn maybe(tx: &mut Tx<'_>, sql: &str, values: &[&(dyn ToSql + Sync)]) -> Result<Option<Row>, Problem> {
    tx.query_opt(sql, values).await.map_err(|error| problem(&error))
}

/// Reads rows in a transaction.
///
/// # Errors
/// As [`problem`].
pub async fn all(tx: &mut Tx<'_>, sql: &str, values: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>, Problem> {
    tx.query(sql, values).await.map_err(|error| problem(&error))
}

/// The mark of a row selected with `xmin::text AS etag`: the transaction that wrote it, so it changes with every write.
#[must_use]
pub fn etag(row: &Row) -> String {
    format!("\"{}\"", row.get::<_, &str>("etag"))
}

/// An object with its mark.
#[derive(Debug)]
pub struct Shown<T> {
    /// The object.
    pub object: T,
    /// Its mark.
    pub etag: String,
}

impl<T: Serialize> IntoResponse for Shown<T> {
    fn into_response(self) -> Response {
        let mut response = Json(self.object).into_response();
        if let Ok(value) = HeaderValue::from_str(&self.etag) {
            response.headers_mut().insert(ETAG, value);
        }
        response
    }
}

/// A failure of PostgreSQL as an answer.
#[must_use]
pub fn problem(error: &PgError) -> Problem {
    match error {
        PgError::Unique { constraint } => taken(constraint),
        PgError::ForeignKey { constraint } => reference(constraint),
        PgError::Check { constraint } => answers::invalid(field_of(constraint), "breaks a rule of the configuration"),
        PgError::Conflict(_) | PgError::GaveUp(_) => {
            log::info!(error:display; "a change came second");
            let detail = "another change came first; repeat the request";
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "came_second", detail).retry_after(1)
        }
        PgError::Unavailable { .. } => {
            log::warn!(error:display; "PostgreSQL is away");
            answers::unavailable("the configuration store is not available")
        }
        PgError::Lost(_) | PgError::TimedOut(_) => {
            log::warn!(error:display; "PostgreSQL did not answer");
            answers::unavailable("the configuration store did not answer; nothing was acknowledged")
        }
        PgError::RowCount(source) => answers::internal("count rows", source),
        PgError::Refused(source) => answers::internal("run a statement", source),
    }
}

/// The field a constraint is about: the schema names constraints `<table>_<field>_<kind>`.
fn field_of(constraint: &str) -> String {
    let kinds = ["_key", "_unique", "_check", "_fkey", "_idx"];
    let bare = kinds.iter().find_map(|kind| constraint.strip_suffix(kind)).unwrap_or(constraint);
    bare.split_once('_').map_or(bare, |(_, field)| field).to_owned()
}

fn taken(constraint: &str) -> Problem {
    if constraint == "trunks_sources_overlap" {
        return source_taken();
    }
    let field =
        ["realm", "login", "sip_user", "sources", "did", "name"].into_iter().find(|field| constraint.contains(field));
    let field = field.unwrap_or(if constraint.starts_with("skills") { "name" } else { "id" });
    answers::conflict("taken", format!("another object has this {field}")).field(field, "must be unique")
}

/// A trunk's source that somebody else has. Whose it is is nobody's business.
#[must_use]
pub fn source_taken() -> Problem {
    answers::conflict("source_taken", "a source overlaps an address that is in use in this installation")
        .field("sources", "must not overlap what is in use")
}

fn reference(constraint: &str) -> Problem {
    let field = ["skill", "queue", "trunk", "agent", "tenant"].into_iter().find(|field| constraint.contains(field));
    let field = field.unwrap_or("reference");
    answers::unprocessable("reference", format!("the {field} does not exist, or something still refers to it"))
        .field(field, "must exist")
}

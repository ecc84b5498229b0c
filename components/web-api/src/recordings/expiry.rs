//! Removes recordings whose time is over.

use ringdown_object_files::ObjectError;

use crate::app::App;
use crate::db;
use crate::problem::Problem;

/// How many at once: the rest goes at the next round.
const MOST: i64 = 500;

/// Removes what is over, the file before its row: a row without a file would be a lie, a file without a row would stay for ever.
/// How many.
///
/// # Errors
/// 503 when PostgreSQL is away.
pub async fn remove_expired(app: &App) -> Result<u64, Problem> {
    let now = i64::try_from(app.clock.now().0).unwrap_or(i64::MAX);
    let sql =
        "SELECT id, object FROM recordings WHERE kept_until_ms < $1 AND NOT legal_hold ORDER BY kept_until_ms LIMIT $2";
    let rows = db::query(app, "expired_recordings", sql, &[&now, &MOST]).await?;
    let mut removed = 0;
    for row in &rows {
        let (id, object): (uuid::Uuid, String) = (row.get("id"), row.get("object"));
        match app.files.remove(&object).await {
            Ok(()) | Err(ObjectError::Missing { .. }) => {}
            Err(error) => {
                log::warn!(object = object.as_str(), error:display; "a recording that is over cannot be removed; tried again");
                continue;
            }
        }
        // One that was put under legal hold meanwhile has lost its file already; its row says so by staying.
        removed += db::change(app, "expired_recordings", "DELETE FROM recordings WHERE id = $1", &[&id]).await?;
    }
    Ok(removed)
}

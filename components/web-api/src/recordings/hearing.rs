//! Hearing a recording: the file, whole or in parts (RFC 9110 14), and its outline for a picture.

use axum::body::Body;
use axum::extract::State;
use axum::http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, RANGE,
};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use ringdown_object_files::ObjectError;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{RecordingId, row};
use crate::answers::{self, Id, Json, Query, RecordingPath, TenantPath};
use crate::app::App;
use crate::auth::access::{InTenant, Supervise};
use crate::problem::Problem;

/// Bytes read from the store at once.
const CHUNK: u64 = 256 * 1024;
/// Bytes before the sound of a WAV file, and bytes per sample.
const HEADER: u64 = 44;

/// The sound of a recording, as WAV (8 kHz, 16 bits, one channel).
#[utoipa::path(get, path = "/tenants/{tenant}/recordings/{recording}/audio", tag = "recordings",
    params(TenantPath, RecordingPath),
    responses(
        (status = 200, description = "The file.", content_type = "audio/wav", body = Vec<u8>),
        (status = 206, description = "The part that Range asks for.", content_type = "audio/wav", body = Vec<u8>)))]
pub async fn get_recording_audio(
    State(app): State<App>,
    scope: InTenant<Supervise>,
    Id(id): Id<RecordingId>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let row = row(&app, scope.tenant, id).await?;
    let object: String = row.get("object");
    let length = app.files.look(&object).await.map_err(|error| refusal(&error))?.length;
    log::info!(user:% = scope.who.user, tenant:% = scope.tenant, recording:% = id.0; "a recording is heard");
    let range = headers.get(RANGE).and_then(|value| value.to_str().ok()).map(|text| part(text, length));
    let (status, start, end) = match range {
        None | Some(Asked::Whole) => (StatusCode::OK, 0, length),
        Some(Asked::Part(start, end)) => (StatusCode::PARTIAL_CONTENT, start, end),
        Some(Asked::Nothing) => {
            let range = [(CONTENT_RANGE, format!("bytes */{length}"))];
            return Ok((StatusCode::RANGE_NOT_SATISFIABLE, range).into_response());
        }
    };
    let name = format!("attachment; filename=\"{}.wav\"", id.0);
    let mut response = (
        status,
        [
            (CONTENT_TYPE, "audio/wav".to_owned()),
            (ACCEPT_RANGES, "bytes".to_owned()),
            (CONTENT_LENGTH, (end - start).to_string()),
            (CONTENT_DISPOSITION, name),
            // Whoever may hear it now may not tomorrow.
            (CACHE_CONTROL, "private, no-store".to_owned()),
        ],
        pieces(app, object, start, end),
    )
        .into_response();
    if status == StatusCode::PARTIAL_CONTENT
        && let Ok(value) = format!("bytes {start}-{}/{length}", end - 1).parse()
    {
        response.headers_mut().insert(CONTENT_RANGE, value);
    }
    Ok(response)
}

/// The file from `start` to before `end`, read as fast as it is taken.
fn pieces(app: App, object: String, start: u64, end: u64) -> Body {
    let chunks = stream::unfold((app, object, start), move |(app, object, at)| async move {
        if at >= end {
            return None;
        }
        let length = CHUNK.min(end - at);
        let chunk = app.files.get_part(&object, at, length).await;
        // A part that cannot be read ends the body early, which its length tells.
        let next = if chunk.is_ok() { at + length } else { end };
        Some((chunk, (app, object, next)))
    });
    Body::from_stream(chunks)
}

/// What a Range asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    /// Everything: no range, or one that is not understood (RFC 9110 14.2 lets it be passed over).
    Whole,
    /// From the first to before the second byte.
    Part(u64, u64),
    /// What is not there.
    Nothing,
}

/// Reads a Range of one part.
fn part(text: &str, length: u64) -> Asked {
    let Some((first, last)) = text.strip_prefix("bytes=").and_then(|range| range.split_once('-')) else {
        return Asked::Whole;
    };
    let bounds = match (first.trim().parse::<u64>(), last.trim().parse::<u64>()) {
        (Ok(first), Ok(last)) if first <= last => Some((first, last.saturating_add(1).min(length))),
        (Ok(first), Err(_)) if last.trim().is_empty() => Some((first, length)),
        (Err(_), Ok(last)) if first.trim().is_empty() => Some((length.saturating_sub(last), length)),
        _ => None,
    };
    match bounds {
        None => Asked::Whole,
        Some((first, end)) if first < end => Asked::Part(first, end),
        Some(_) => Asked::Nothing,
    }
}

/// How fine the outline is.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Fineness {
    /// How many points, 10 to 2,000; 500 when left out.
    #[param(value_type = Option<u16>, minimum = 10, maximum = 2000)]
    points: Option<Points>,
}

/// A number of points.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "String")]
pub struct Points(u64);

impl TryFrom<String> for Points {
    type Error = &'static str;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        let number = text.parse().ok().filter(|number| (10..=2_000).contains(number));
        number.map(Self).ok_or("must be a whole number from 10 to 2000")
    }
}

/// The outline of a recording.
#[derive(Debug, Serialize, ToSchema)]
pub struct Outline {
    /// The loudest moment of each of as many equal parts, 0 (silence) to 100.
    pub peaks: Vec<u8>,
}

/// The outline of a recording, to be drawn.
#[utoipa::path(get, path = "/tenants/{tenant}/recordings/{recording}/outline", tag = "recordings",
    params(TenantPath, RecordingPath, Fineness),
    responses((status = 200, description = "The outline.", body = Outline)))]
pub async fn get_recording_outline(
    State(app): State<App>,
    scope: InTenant<Supervise>,
    Id(id): Id<RecordingId>,
    Query(fineness): Query<Fineness>,
) -> Result<Json<Outline>, Problem> {
    let row = row(&app, scope.tenant, id).await?;
    let object: String = row.get("object");
    let length = app.files.look(&object).await.map_err(|error| refusal(&error))?.length;
    let points = fineness.points.map_or(500, |points| points.0);
    let samples = length.saturating_sub(HEADER) / 2;
    let mut peaks = vec![0_u16; usize::try_from(points).unwrap_or(0)];
    let mut at = HEADER;
    while at < length {
        let take = CHUNK.min(length - at);
        let chunk = app.files.get_part(&object, at, take).await.map_err(|error| refusal(&error))?;
        for (index, sample) in chunk.chunks_exact(2).enumerate() {
            let position = (at - HEADER) / 2 + index as u64;
            let point = usize::try_from(position * points / samples.max(1)).unwrap_or(usize::MAX);
            if let Some(peak) = peaks.get_mut(point) {
                *peak = (*peak).max(i16::from_le_bytes([sample[0], sample[1]]).unsigned_abs());
            }
        }
        at += take;
    }
    let percent = |peak: u16| u8::try_from(u32::from(peak) * 100 / 32_768).unwrap_or(100);
    Ok(Json(Outline { peaks: peaks.into_iter().map(percent).collect() }))
}

fn refusal(error: &ObjectError) -> Problem {
    match error {
        ObjectError::Missing { .. } => answers::not_found("recording"),
        ObjectError::Failed { .. } | ObjectError::Late { .. } | ObjectError::Name => {
            log::error!(error:display; "a recording cannot be read");
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "the store of recordings is away; try again")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Asked, part};

    #[test]
    fn ranges_are_read_as_rfc_9110_says() {
        assert_eq!(part("bytes=0-9", 100), Asked::Part(0, 10));
        assert_eq!(part("bytes=90-", 100), Asked::Part(90, 100));
        assert_eq!(part("bytes=-10", 100), Asked::Part(90, 100));
        assert_eq!(part("bytes=-500", 100), Asked::Part(0, 100));
        assert_eq!(part("bytes=50-500", 100), Asked::Part(50, 100));
        assert_eq!(part("bytes=100-", 100), Asked::Nothing);
        assert_eq!(part("bytes=-0", 100), Asked::Nothing);
        for text in ["bytes=9-0", "items=0-9", "bytes=a-b", "bytes=0-1,5-6", "bytes="] {
            assert_eq!(part(text, 100), Asked::Whole, "{text}");
        }
    }
}

//! The console: its files, which are built into this program, and its log-in by cookie ([`session`]).
//!
//! Names of assets carry a hash of their content, so browsers keep them for a year; pages are asked for again each time, and
//! answered by 304 when they are the same. Addresses below `/agent`, `/supervisor`, `/admin` and `/wallboard` belong to those
//! pages' own routers.

pub mod session;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH,
    REFERRER_POLICY, VARY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

/// A file of the console.
struct File {
    /// Its path below `dist`.
    name: &'static str,
    /// Its entity tag, with quotes.
    tag: &'static str,
    plain: &'static [u8],
    brotli: Option<&'static [u8]>,
    gzip: Option<&'static [u8]>,
}

include!(concat!(env!("OUT_DIR"), "/console_files.rs"));

const NOT_BUILT: &str =
    "The console is not in this program: it was compiled before components/console/build had run.\n";
const PERMISSIONS_POLICY: HeaderName = HeaderName::from_static("permissions-policy");
/// What pages may use of the browser. A softphone needs the microphone, and the choice of the loudspeaker.
const PERMISSIONS: &str = "microphone=(self), speaker-selection=(self), camera=(), geolocation=(), display-capture=()";

/// The pages and assets. `connects` are the places beside this host that pages connect with: live events, SIP.
pub fn routes(connects: &[String]) -> Router {
    let policy = HeaderValue::from_str(&content_policy(connects))
        .unwrap_or_else(|_| HeaderValue::from_static("default-src 'self'"));
    Router::new()
        .route("/", get(|headers: HeaderMap| std::future::ready(page("index.html", &headers))))
        .route("/agent", get(|headers: HeaderMap| std::future::ready(page("agent.html", &headers))))
        .route("/agent/{*rest}", get(|headers: HeaderMap| std::future::ready(page("agent.html", &headers))))
        .route("/supervisor", get(|headers: HeaderMap| std::future::ready(page("supervisor.html", &headers))))
        .route("/supervisor/{*rest}", get(|headers: HeaderMap| std::future::ready(page("supervisor.html", &headers))))
        .route("/admin", get(|headers: HeaderMap| std::future::ready(page("admin.html", &headers))))
        .route("/admin/{*rest}", get(|headers: HeaderMap| std::future::ready(page("admin.html", &headers))))
        .route("/wallboard", get(|headers: HeaderMap| std::future::ready(page("wallboard.html", &headers))))
        .route("/wallboard/{*rest}", get(|headers: HeaderMap| std::future::ready(page("wallboard.html", &headers))))
        .route("/assets/{*name}", get(asset))
        .layer(middleware::from_fn_with_state(policy, guard))
}

/// Nothing but what this host serves runs, and nothing else is connected with but what the configuration names.
fn content_policy(connects: &[String]) -> String {
    // A path is on this host, which 'self' covers.
    let elsewhere: Vec<&str> =
        connects.iter().map(String::as_str).filter(|place| !place.starts_with('/')).map(origin).collect();
    format!(
        "default-src 'self'; connect-src 'self' {}; img-src 'self' data: blob:; media-src 'self' blob:; object-src 'none'; \
         base-uri 'none'; frame-ancestors 'none'; form-action 'self'",
        elsewhere.join(" ")
    )
}

/// `wss://host:port` of a URL.
fn origin(url: &str) -> &str {
    let start = url.find("://").map_or(0, |at| at + 3);
    url[start..].find('/').map_or(url, |end| &url[..start + end])
}

async fn guard(State(policy): State<HeaderValue>, request: axum::extract::Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, policy);
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    headers.insert(PERMISSIONS_POLICY, HeaderValue::from_static(PERMISSIONS));
    response
}

fn page(name: &str, headers: &HeaderMap) -> Response {
    match find(name) {
        Some(file) => answer(file, headers, "no-cache"),
        None => (StatusCode::SERVICE_UNAVAILABLE, NOT_BUILT).into_response(),
    }
}

async fn asset(Path(name): Path<String>, headers: HeaderMap) -> Response {
    match find(&format!("assets/{name}")) {
        Some(file) => answer(file, &headers, "public, max-age=31536000, immutable"),
        None if FILES.is_empty() => (StatusCode::SERVICE_UNAVAILABLE, NOT_BUILT).into_response(),
        None => crate::answers::not_found("path").into_response(),
    }
}

fn find(name: &str) -> Option<&'static File> {
    FILES.binary_search_by(|file| file.name.cmp(name)).ok().map(|index| &FILES[index])
}

fn answer(file: &'static File, headers: &HeaderMap, kept: &'static str) -> Response {
    let (encoding, body) = encoded(file, headers);
    let common = [
        (ETAG, HeaderValue::from_static(file.tag)),
        (CACHE_CONTROL, HeaderValue::from_static(kept)),
        (VARY, HeaderValue::from_static("accept-encoding")),
    ];
    let known = headers.get(IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    // A proxy may have made the tag a weak one.
    if known.is_some_and(|tags| tags.split(',').any(|tag| tag.trim().trim_start_matches("W/") == file.tag)) {
        return (StatusCode::NOT_MODIFIED, common).into_response();
    }
    let mut response = (common, [(CONTENT_TYPE, HeaderValue::from_static(kind(file.name)))], body).into_response();
    if let Some(encoding) = encoding {
        response.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static(encoding));
    }
    response
}

/// The smallest form the browser takes.
fn encoded(file: &'static File, headers: &HeaderMap) -> (Option<&'static str>, &'static [u8]) {
    let accepted = headers.get(ACCEPT_ENCODING).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let takes = |name: &str| {
        accepted.split(',').any(|coding| {
            let mut parts = coding.split(';').map(str::trim);
            parts.next() == Some(name) && !parts.any(|part| part == "q=0")
        })
    };
    match (file.brotli, file.gzip) {
        (Some(bytes), _) if takes("br") => (Some("br"), bytes),
        (_, Some(bytes)) if takes("gzip") => (Some("gzip"), bytes),
        (_, _) => (None, file.plain),
    }
}

fn kind(name: &str) -> &'static str {
    match name.rsplit('.').next().unwrap_or_default() {
        "html" => "text/html; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "woff2" => "font/woff2",
        "json" => "application/json",
        "webmanifest" => "application/manifest+json",
        "wav" => "audio/wav",
        "txt" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_connect_with_nobody_but_whom_the_configuration_names() {
        let policy =
            content_policy(&["/ws".into(), "wss://phones.example:8089/sip".into(), "ws://127.0.0.1:8088".into()]);
        assert!(policy.contains("connect-src 'self' wss://phones.example:8089 ws://127.0.0.1:8088;"), "{policy}");
        assert!(!policy.contains("unsafe") && !policy.contains('*'), "{policy}");
    }

    #[test]
    fn the_smallest_form_that_is_accepted_is_sent() {
        static FILE: File =
            File { name: "a.js", tag: "\"1\"", plain: b"plain", brotli: Some(b"br"), gzip: Some(b"gz") };
        let sent = |accepted: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT_ENCODING, accepted.parse().unwrap());
            encoded(&FILE, &headers).0
        };
        assert_eq!(sent("gzip, deflate, br"), Some("br"));
        assert_eq!(sent("gzip;q=0.5, br;q=0"), Some("gzip"));
        assert_eq!(sent("identity"), None);
    }
}

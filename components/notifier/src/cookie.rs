//! The log-in that a browser brings by itself.
//!
//! A browser sends cookies with the WebSocket of any page, also a stranger's (RFC 6455 10.2): the cookie counts only where the
//! page comes from the host that was asked. Ports may differ, since the API and this daemon may have ports of their own.

use axum::http::header::{COOKIE, HOST, ORIGIN};
use axum::http::{HeaderMap, HeaderName};
use ringdown_redis_store::session;

/// The token of the cookie, where the page is our own.
pub(crate) fn of_own_page(headers: &HeaderMap) -> Option<String> {
    let page = text(headers, &ORIGIN)?.split_once("://")?.1;
    if !host(page).eq_ignore_ascii_case(host(text(headers, &HOST)?)) {
        return None;
    }
    let lines = headers.get_all(COOKIE).into_iter().filter_map(|value| value.to_str().ok());
    let mut cookies = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    cookies.find(|(name, _)| *name == session::COOKIE).map(|(_, token)| token.to_owned())
}

fn text<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// Without the port; an IPv6 address keeps its brackets.
fn host(authority: &str) -> &str {
    let end = authority.rfind(':').filter(|colon| !authority[*colon..].contains(']'));
    end.map_or(authority, |colon| &authority[..colon])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(origin: Option<&str>, host: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, host.parse().unwrap());
        headers.insert(COOKIE, format!("theme=dark; {}=secret", session::COOKIE).parse().unwrap());
        if let Some(origin) = origin {
            headers.insert(ORIGIN, origin.parse().unwrap());
        }
        headers
    }

    #[test]
    fn the_cookie_counts_for_pages_of_the_host_that_was_asked() {
        for (origin, host) in [
            ("https://desk.example", "desk.example"),
            ("http://127.0.0.1:8000", "127.0.0.1:8001"),
            ("https://DESK.example:8443", "desk.EXAMPLE"),
            ("http://[::1]:8000", "[::1]:8001"),
        ] {
            assert_eq!(of_own_page(&headers(Some(origin), host)).as_deref(), Some("secret"), "{origin} {host}");
        }
    }

    #[test]
    fn a_strangers_page_and_what_is_no_page_have_no_cookie() {
        for origin in [Some("https://evil.example"), Some("https://desk.example.evil.example"), Some("null"), None] {
            assert_eq!(of_own_page(&headers(origin, "desk.example")), None, "{origin:?}");
        }
    }
}

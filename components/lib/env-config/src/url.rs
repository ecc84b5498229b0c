//! The address of a peer.
//!
//! Only as much of RFC 3986 as a peer's address needs: scheme, user, hosts with ports, the rest. Several hosts separated by
//! commas are accepted, because PostgreSQL's and Sentinel's addresses have them and the URL standard does not.

use std::fmt;

use crate::Secret;

/// Longest accepted address, in bytes; far above any real one.
const LENGTH_MAX: usize = 2_048;
/// Schemes whose address is a path on this host, without an authority.
const PATH_SCHEMES: [&str; 3] = ["unix", "redis+unix", "file"];

/// A peer's address whose scheme, hosts and ports have been checked. `Debug` and `Display` leave the password out.
#[derive(Clone, PartialEq, Eq)]
pub struct Url {
    text: String,
    scheme_length: usize,
}

impl Url {
    /// Checks `text` against the accepted `schemes`. The error says what is wrong and never repeats `text`.
    pub fn parse(text: &str, schemes: &[&str]) -> Result<Self, String> {
        if text.len() > LENGTH_MAX {
            return Err(format!("is longer than {LENGTH_MAX} bytes"));
        }
        if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err("has a blank or control character in it".into());
        }
        let (scheme, rest) = text.split_once("://").ok_or("has no scheme")?;
        if !schemes.contains(&scheme) {
            return Err("has another scheme".into());
        }
        if PATH_SCHEMES.contains(&scheme) {
            return check_path(rest).map(|()| Self { text: text.into(), scheme_length: scheme.len() });
        }
        let url = Self { text: text.into(), scheme_length: scheme.len() };
        check_hosts(url.hosts())?;
        Ok(url)
    }

    /// The whole address with its password: for the client library that connects, never for a log.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.text
    }

    /// The scheme, e.g. `redis`.
    #[must_use]
    pub fn scheme(&self) -> &str {
        &self.text[..self.scheme_length]
    }

    /// `host:port` or several of them separated by commas; empty for a path on this host.
    #[must_use]
    pub fn hosts(&self) -> &str {
        let authority = self.authority();
        authority.rsplit_once('@').map_or(authority, |(_, hosts)| hosts)
    }

    /// Whether the address itself carries a password.
    #[must_use]
    pub fn has_password(&self) -> bool {
        self.authority().rsplit_once('@').is_some_and(|(user, _)| user.contains(':'))
    }

    /// The same address with `password` in it, percent-encoded; for a password that comes from a variable of its own.
    /// Only for an address with hosts: a path has no place for a password.
    #[must_use]
    pub fn with_password(&self, password: &Secret) -> Self {
        let authority = self.authority();
        let (user, hosts) = authority.rsplit_once('@').unwrap_or(("", authority));
        let user = user.split_once(':').map_or(user, |(name, _)| name);
        let rest = &self.after_scheme()[authority.len()..];
        let text = format!("{}://{user}:{}@{hosts}{rest}", self.scheme(), percent_encode(password.expose()));
        Self { text, scheme_length: self.scheme_length }
    }

    fn after_scheme(&self) -> &str {
        &self.text[self.scheme_length + "://".len()..]
    }

    fn authority(&self) -> &str {
        let rest = self.after_scheme();
        &rest[..rest.find(['/', '?', '#']).unwrap_or(rest.len())]
    }
}

impl fmt::Display for Url {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let authority = self.authority();
        let path = &self.after_scheme()[authority.len()..];
        // Query parameters may hold a password too (libpq's `?password=`), so they stay out.
        let path = &path[..path.find(['?', '#']).unwrap_or(path.len())];
        write!(formatter, "{}://{}{path}", self.scheme(), self.hosts())
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Url({self})")
    }
}

fn check_path(path: &str) -> Result<(), String> {
    if path.starts_with('/') { Ok(()) } else { Err("needs an absolute path after the scheme".into()) }
}

fn check_hosts(hosts: &str) -> Result<(), String> {
    for host_and_port in hosts.split(',') {
        let (host, port) = split_port(host_and_port);
        if host.is_empty() {
            return Err("has no host".into());
        }
        if port.is_some_and(|port| port.parse::<u16>().map_or(true, |port| port == 0)) {
            return Err("has a port outside 1 to 65535".into());
        }
    }
    Ok(())
}

/// Splits `host:port`; the colons inside `[IPv6]` belong to the host.
fn split_port(host_and_port: &str) -> (&str, Option<&str>) {
    let after_bracket = host_and_port.rfind(']').map_or(0, |at| at + 1);
    match host_and_port[after_bracket..].rfind(':') {
        Some(at) => (&host_and_port[..after_bracket + at], Some(&host_and_port[after_bracket + at + 1..])),
        None => (host_and_port, None),
    }
}

/// RFC 3986 section 2.1; everything but the unreserved characters of section 2.3.
fn percent_encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

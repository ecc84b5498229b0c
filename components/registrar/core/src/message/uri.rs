//! URIs (RFC 3261 19.1, RFC 3966 as an opaque scheme).

use super::address::Host;
use super::scan::{Params, is_space};

/// A URI's scheme.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// `sip`.
    Sip,
    /// `sips`.
    Sips,
    /// `tel`.
    Tel,
    /// Any other; the rest of the URI is opaque to us.
    Other,
}

/// A URI, borrowed from the message. For schemes other than `sip` and `sips` only `raw` and `scheme` mean something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Uri<'a> {
    /// All of it, as it came.
    pub raw: &'a [u8],
    /// The scheme.
    pub scheme: Scheme,
    /// The user part before `:` and `@`, still escaped.
    pub user: Option<&'a [u8]>,
    /// The host; for opaque schemes an empty name.
    pub host: Host<'a>,
    /// The port, when given.
    pub port: Option<u16>,
    /// URI parameters.
    pub params: Params<'a>,
    /// What follows `?`, when something does.
    pub headers: Option<&'a [u8]>,
}

impl<'a> Uri<'a> {
    /// Reads a URI; none when it is malformed.
    pub fn parse(raw: &'a [u8]) -> Option<Self> {
        if raw.iter().any(|&byte| is_space(byte) || byte < 0x21 || matches!(byte, b'<' | b'>' | b'"')) {
            return None;
        }
        let colon = raw.iter().position(|&byte| byte == b':')?;
        let name = &raw[..colon];
        let rest = &raw[colon + 1..];
        let scheme = parse_scheme(name)?;
        match scheme {
            Scheme::Sip | Scheme::Sips => Self::parse_sip(raw, scheme, rest),
            Scheme::Tel | Scheme::Other => (!rest.is_empty()).then_some(Self {
                raw,
                scheme,
                user: None,
                host: Host::Name(""),
                port: None,
                params: Params::default(),
                headers: None,
            }),
        }
    }

    fn parse_sip(raw: &'a [u8], scheme: Scheme, rest: &'a [u8]) -> Option<Self> {
        let (user, place) = match rest.iter().position(|&byte| byte == b'@') {
            Some(0) => return None,
            Some(at) => (Some(&rest[..at]), &rest[at + 1..]),
            None => (None, rest),
        };
        let (place, headers) = match place.iter().position(|&byte| byte == b'?') {
            Some(at) => (&place[..at], Some(&place[at + 1..])),
            None => (place, None),
        };
        let semi = place.iter().position(|&byte| byte == b';').unwrap_or(place.len());
        let (host, port) = Host::parse_with_port(&place[..semi])?;
        let params = Params::parse(&place[semi..])?;
        let user = user.map(|user| &user[..user.iter().position(|&byte| byte == b':').unwrap_or(user.len())]);
        Some(Self { raw, scheme, user, host, port, params, headers })
    }

    /// True for `sip` and `sips`.
    pub fn is_sip(&self) -> bool {
        matches!(self.scheme, Scheme::Sip | Scheme::Sips)
    }

    /// The user part with its `%` escapes taken out; none when there is none or it is not UTF-8.
    pub fn user_text(&self) -> Option<String> {
        let user = self.user?;
        let mut plain = Vec::with_capacity(user.len());
        let mut at = 0;
        while let Some(&byte) = user.get(at) {
            match (byte, user.get(at + 1..at + 3).and_then(hex_pair)) {
                (b'%', Some(decoded)) => {
                    plain.push(decoded);
                    at += 3;
                }
                _ => {
                    plain.push(byte);
                    at += 1;
                }
            }
        }
        String::from_utf8(plain).ok()
    }
}

fn hex_pair(pair: &[u8]) -> Option<u8> {
    u8::from_str_radix(str::from_utf8(pair).ok().filter(|text| !text.starts_with('+'))?, 16).ok()
}

fn parse_scheme(name: &[u8]) -> Option<Scheme> {
    let valid = name.first().is_some_and(u8::is_ascii_alphabetic)
        && name.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'));
    if !valid {
        return None;
    }
    Some(if name.eq_ignore_ascii_case(b"sip") {
        Scheme::Sip
    } else if name.eq_ignore_ascii_case(b"sips") {
        Scheme::Sips
    } else if name.eq_ignore_ascii_case(b"tel") {
        Scheme::Tel
    } else {
        Scheme::Other
    })
}

//! Hosts in URIs and Via (RFC 3261 25.1 `host`, RFC 5118).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A host: an address, or a name that we compare but never look up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Host<'a> {
    /// An IPv4 or bracketed IPv6 literal.
    Address(IpAddr),
    /// A name, as it came.
    Name(&'a str),
}

impl<'a> Host<'a> {
    /// Reads `host [":" port]`; white space around the colon is allowed (`sent-by`).
    pub(crate) fn parse_with_port(bytes: &'a [u8]) -> Option<(Self, Option<u16>)> {
        let (host, rest) = split_host(bytes)?;
        let host = Self::parse(host)?;
        let rest = super::scan::trim(rest);
        if rest.is_empty() {
            return Some((host, None));
        }
        let digits = super::scan::trim(rest.strip_prefix(b":")?);
        let port = super::scan::parse_number(digits).and_then(|port| u16::try_from(port).ok())?;
        Some((host, Some(port)))
    }

    fn parse(bytes: &'a [u8]) -> Option<Self> {
        let text = str::from_utf8(bytes).ok()?;
        if let Some(inner) = text.strip_prefix('[') {
            let address: Ipv6Addr = inner.strip_suffix(']')?.parse().ok()?;
            return Some(Self::Address(address.into()));
        }
        if let Ok(address) = text.parse::<Ipv4Addr>() {
            return Some(Self::Address(address.into()));
        }
        let named = !text.is_empty()
            && text.len() <= 255
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'));
        named.then_some(Self::Name(text))
    }

    /// The address, when it is one.
    pub fn address(&self) -> Option<IpAddr> {
        match self {
            Self::Address(address) => Some(*address),
            Self::Name(_) => None,
        }
    }

    /// Lower-case text, a name without its trailing dot: what realms are compared by.
    pub fn to_key(&self) -> String {
        match self {
            Self::Address(address) => address.to_string(),
            Self::Name(name) => name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase(),
        }
    }
}

fn split_host(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    if bytes.first() == Some(&b'[') {
        let close = bytes.iter().position(|&byte| byte == b']')?;
        return Some(bytes.split_at(close + 1));
    }
    let end = bytes.iter().position(|&byte| byte == b':' || super::scan::is_space(byte)).unwrap_or(bytes.len());
    Some(bytes.split_at(end))
}

//! Via values (RFC 3261 20.42, RFC 3581).

use super::address::Host;
use super::scan::{Params, is_space, is_token, trim};

/// One Via value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Via<'a> {
    /// The transport token, as it came: `UDP`, `TCP`, or one we do not know.
    pub transport: &'a [u8],
    /// `sent-by` host.
    pub host: Host<'a>,
    /// `sent-by` port.
    pub port: Option<u16>,
    /// `sent-by` as it came.
    pub sent_by: &'a [u8],
    /// Parameters.
    pub params: Params<'a>,
}

impl<'a> Via<'a> {
    /// Reads one value; none when it is malformed.
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (name, rest) = split_at_byte(bytes, b'/')?;
        let (version, rest) = split_at_byte(rest, b'/')?;
        if !trim(name).eq_ignore_ascii_case(b"SIP") || trim(version) != b"2.0" {
            return None;
        }
        let rest = trim(rest);
        let gap = rest.iter().position(|&byte| is_space(byte))?;
        let (transport, rest) = rest.split_at(gap);
        let rest = trim(rest);
        let semi = rest.iter().position(|&byte| byte == b';').unwrap_or(rest.len());
        let sent_by = trim(&rest[..semi]);
        let (host, port) = Host::parse_with_port(sent_by)?;
        let params = Params::parse(&rest[semi..])?;
        is_token(transport).then_some(Self { transport, host, port, sent_by, params })
    }

    /// The branch; none when missing or nothing but the magic cookie (RFC 4475 3.2.1), which identifies nothing.
    pub fn branch(&self) -> Option<&'a [u8]> {
        let branch = self.params.value("branch")?;
        (!branch.eq_ignore_ascii_case(MAGIC_COOKIE)).then_some(branch)
    }

    /// True when the branch promises to be unique (RFC 3261 8.1.1.7).
    pub fn has_magic_branch(&self) -> bool {
        self.branch().is_some_and(|branch| branch.len() > 7 && branch[..7].eq_ignore_ascii_case(MAGIC_COOKIE))
    }

    /// True when the sender asked for the answer at the source port (RFC 3581).
    pub fn wants_rport(&self) -> bool {
        self.params.get("rport").is_some()
    }
}

/// What every branch of an RFC 3261 element begins with.
pub(crate) const MAGIC_COOKIE: &[u8] = b"z9hG4bK";

fn split_at_byte(bytes: &[u8], separator: u8) -> Option<(&[u8], &[u8])> {
    let at = bytes.iter().position(|&byte| byte == separator)?;
    Some((&bytes[..at], &bytes[at + 1..]))
}

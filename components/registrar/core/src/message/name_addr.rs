//! `name-addr` and `addr-spec` with parameters: From, To, Contact, Route (RFC 3261 20.10, 25.1).

use super::scan::{Params, is_space, quoted_end, trim};
use super::uri::Uri;

/// An address with its URI and header parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NameAddr<'a> {
    /// The URI.
    pub uri: Uri<'a>,
    /// Parameters of the header field, not of the URI.
    pub params: Params<'a>,
    /// True when the URI stood in angle brackets.
    pub bracketed: bool,
}

impl<'a> NameAddr<'a> {
    /// Reads one address; none when it is malformed. Without brackets, `;` starts header parameters, and a URI with
    /// `?` or `,` is refused (20.10).
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let bytes = trim(bytes);
        let open = match bytes.first()? {
            b'"' => {
                let end = quoted_end(bytes, 0)?;
                let gap = bytes[end..].iter().take_while(|&&byte| is_space(byte)).count();
                (bytes.get(end + gap) == Some(&b'<')).then_some(end + gap)?
            }
            _ => match bytes.iter().position(|&byte| byte == b'<') {
                Some(open) if bytes[..open].iter().all(|&byte| is_space(byte) || is_name_byte(byte)) => open,
                Some(_) => return None,
                None => return Self::parse_bare(bytes),
            },
        };
        let close = bytes[open..].iter().position(|&byte| byte == b'>').map(|at| open + at)?;
        let uri = Uri::parse(&bytes[open + 1..close])?;
        let params = Params::parse(&bytes[close + 1..])?;
        Some(Self { uri, params, bracketed: true })
    }

    fn parse_bare(bytes: &'a [u8]) -> Option<Self> {
        let semi = bytes.iter().position(|&byte| byte == b';').unwrap_or(bytes.len());
        let spec = trim(&bytes[..semi]);
        if spec.iter().any(|&byte| byte == b'?' || byte == b',') {
            return None;
        }
        Some(Self { uri: Uri::parse(spec)?, params: Params::parse(&bytes[semi..])?, bracketed: false })
    }

    /// The `tag` parameter.
    pub fn tag(&self) -> Option<&'a [u8]> {
        self.params.value("tag")
    }
}

/// A display name without quotes should be made of tokens. Phones write people's names there, `Muster, Ana` too, and nothing
/// is decided by them; what would change the structure is refused.
fn is_name_byte(byte: u8) -> bool {
    byte > 0x20 && byte != 0x7f && !matches!(byte, b'"' | b'<' | b'>')
}

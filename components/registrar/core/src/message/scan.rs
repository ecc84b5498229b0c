//! Looking at bytes of a header value: white space with folding, tokens, lists and parameters (RFC 3261 25.1).
//!
//! Inside a value, CR and LF can only be part of a fold (the reader made sure), so they count as white space here.

use std::borrow::Cow;

/// A piece of a message: offsets into its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// First byte.
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
}

impl Span {
    pub(crate) fn new(start: usize, end: usize) -> Self {
        Self { start, end }
    }

    /// These bytes of `buffer`; empty when out of range.
    pub fn of<'a>(&self, buffer: &'a [u8]) -> &'a [u8] {
        buffer.get(self.start..self.end).unwrap_or_default()
    }
}

pub(crate) fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

/// `token` of RFC 3261 25.1.
pub(crate) fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'!' | b'%' | b'*' | b'_' | b'+' | b'`' | b'\'' | b'~')
}

pub(crate) fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|&byte| is_token_byte(byte))
}

pub(crate) fn trim(mut bytes: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = bytes
        && is_space(*first)
    {
        bytes = rest;
    }
    while let [rest @ .., last] = bytes
        && is_space(*last)
    {
        bytes = rest;
    }
    bytes
}

/// A decimal number; none for anything else or when it does not fit.
pub(crate) fn parse_number(bytes: &[u8]) -> Option<u64> {
    if bytes.is_empty() || bytes.len() > 20 {
        return None;
    }
    bytes.iter().try_fold(0_u64, |sum, byte| {
        if !byte.is_ascii_digit() {
            return None;
        }
        sum.checked_mul(10)?.checked_add(u64::from(byte - b'0'))
    })
}

/// Where a quoted string that opens at `from` ends (one past its closing quote).
pub(crate) fn quoted_end(bytes: &[u8], from: usize) -> Option<usize> {
    let mut at = from + 1;
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'\\' => at += 2,
            b'"' => return Some(at + 1),
            _ => at += 1,
        }
    }
    None
}

/// The text of a value that may be a quoted string, without its quotes and escapes.
pub fn unquote(bytes: &[u8]) -> Cow<'_, [u8]> {
    let [b'"', inner @ .., b'"'] = bytes else { return Cow::Borrowed(bytes) };
    if !inner.contains(&b'\\') {
        return Cow::Borrowed(inner);
    }
    let mut plain = Vec::with_capacity(inner.len());
    let mut escaped = false;
    for &byte in inner {
        if byte == b'\\' && !escaped {
            escaped = true;
        } else {
            plain.push(byte);
            escaped = false;
        }
    }
    Cow::Owned(plain)
}

/// The items of a comma list, trimmed, as offsets into the value. Commas in quotes and angle brackets do not part.
///
/// An item is an error when a quote or bracket stays open; the list ends there.
pub struct ListItems<'a> {
    bytes: &'a [u8],
    at: usize,
    done: bool,
}

impl<'a> ListItems<'a> {
    /// The items of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0, done: false }
    }

    fn trimmed(&self, start: usize, end: usize) -> Span {
        let piece = &self.bytes[start..end];
        let lead = piece.iter().take_while(|&&byte| is_space(byte)).count();
        let span_start = start + lead;
        Span::new(span_start, span_start + trim(piece).len())
    }

    fn fail(&mut self) -> Option<Result<Span, ()>> {
        self.done = true;
        Some(Err(()))
    }
}

impl Iterator for ListItems<'_> {
    type Item = Result<Span, ()>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let start = self.at;
        let mut at = start;
        let mut bracket = false;
        while let Some(&byte) = self.bytes.get(at) {
            match byte {
                b'"' if !bracket => match quoted_end(self.bytes, at) {
                    Some(end) => {
                        at = end;
                        continue;
                    }
                    None => return self.fail(),
                },
                b'<' => bracket = true,
                b'>' => bracket = false,
                b',' if !bracket => {
                    self.at = at + 1;
                    return Some(Ok(self.trimmed(start, at)));
                }
                _ => {}
            }
            at += 1;
        }
        if bracket {
            return self.fail();
        }
        self.done = true;
        Some(Ok(self.trimmed(start, at.min(self.bytes.len()))))
    }
}

/// Checked parameters: `*( SEMI name [ EQUAL value ] )`, kept as they came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Params<'a>(&'a [u8]);

impl<'a> Params<'a> {
    /// Checks that every parameter has a name and a readable value. `bytes` is empty or starts with `;`.
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let bytes = trim(bytes);
        let mut rest = bytes;
        while !rest.is_empty() {
            let (_, _, after) = next_param(rest)?;
            rest = after;
        }
        Some(Self(bytes))
    }

    /// Every parameter: name and value, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)> + use<'a> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            let (name, value, after) = next_param(rest)?;
            rest = after;
            Some((name, value))
        })
    }

    /// The first parameter of this name (case-insensitive): `Some(None)` when it has no value.
    pub fn get(&self, name: &str) -> Option<Option<&'a [u8]>> {
        self.iter().find(|(key, _)| key.eq_ignore_ascii_case(name.as_bytes())).map(|(_, value)| value)
    }

    /// The value of a parameter that must have one.
    pub fn value(&self, name: &str) -> Option<&'a [u8]> {
        self.get(name).flatten()
    }

    /// The bytes as they came, from the first `;`.
    pub fn as_bytes(&self) -> &'a [u8] {
        self.0
    }
}

type Param<'a> = (&'a [u8], Option<&'a [u8]>, &'a [u8]);

/// One parameter off the front: name, value, the rest.
fn next_param(bytes: &[u8]) -> Option<Param<'_>> {
    let bytes = trim(bytes);
    let body = bytes.strip_prefix(b";")?;
    let name_end = body.iter().position(|&byte| byte == b'=' || byte == b';').unwrap_or(body.len());
    let name = trim(&body[..name_end]);
    if !is_param_text(name) {
        return None;
    }
    if body.get(name_end) != Some(&b'=') {
        return Some((name, None, &body[name_end..]));
    }
    let mut start = name_end + 1;
    while body.get(start).is_some_and(|&byte| is_space(byte)) {
        start += 1;
    }
    let end = if body.get(start) == Some(&b'"') {
        quoted_end(body, start)?
    } else {
        body[start..].iter().position(|&byte| byte == b';').map_or(body.len(), |at| start + at)
    };
    let value = trim(&body[start..end]);
    let after = trim(&body[end..]);
    let readable = value.first() == Some(&b'"') || is_param_text(value);
    (readable && (after.is_empty() || after.first() == Some(&b';'))).then_some((name, Some(value), after))
}

/// Token, host or what phones put in their place: anything without separators that would change the structure.
fn is_param_text(bytes: &[u8]) -> bool {
    !bytes.is_empty()
        && bytes.iter().all(|&byte| !is_space(byte) && byte > 0x20 && !matches!(byte, b'"' | b'<' | b'>' | b',' | b';'))
}

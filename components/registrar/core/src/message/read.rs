//! Finding the lines of a message (RFC 3261 7, 7.3.1, 18.3).

use super::Method;
use super::field::{Field, FieldName};
use super::scan::{ListItems, Span, is_space, is_token, parse_number, trim};
use super::view::Defect;

/// Longest message in bytes: what a UDP datagram can hold.
pub const MAX_MESSAGE_BYTES: usize = 65_535;
/// Most header field lines; phones send 10 to 30.
pub const MAX_FIELDS: usize = 100;
/// Longest line in bytes, folds included.
pub const MAX_LINE_BYTES: usize = 8_192;

/// Why bytes are not even a broken SIP message: nothing to answer, so they are dropped and counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// Longer than [`MAX_MESSAGE_BYTES`].
    #[error("message is too large")]
    TooLarge,
    /// A line longer than [`MAX_LINE_BYTES`].
    #[error("line is too long")]
    LineTooLong,
    /// More than [`MAX_FIELDS`] lines.
    #[error("too many header lines")]
    TooManyFields,
    /// The empty line after the headers is missing.
    #[error("header section has no end")]
    NoHeaderEnd,
    /// The first line is neither a request nor a response.
    #[error("first line is not SIP")]
    StartLine,
    /// CR without LF or LF without CR: readers disagree about it, so it is never relayed.
    #[error("bare CR or LF")]
    BareLineEnd,
}

/// The first line.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Start {
    Request { method: Method, name: Span, uri: Span, version: Span },
    Response { status: u16 },
}

/// A message: its bytes and where things lie in them.
#[derive(Clone, Debug)]
pub struct Message {
    pub(crate) buffer: Vec<u8>,
    pub(crate) start: Start,
    pub(crate) fields: Vec<Field>,
    pub(crate) body_at: usize,
    pub(crate) defect: Option<Defect>,
}

impl Message {
    /// Reads one message from a datagram or from a frame of a stream.
    ///
    /// Leading empty lines are skipped (RFC 3261 7.5). Bytes after the body that Content-Length announces are cut off
    /// (18.3). A message that can be answered but is wrong is returned; [`Message::request`] names its defect.
    pub fn read(bytes: &[u8]) -> Result<Self, Unreadable> {
        if bytes.len() > MAX_MESSAGE_BYTES {
            return Err(Unreadable::TooLarge);
        }
        let lead = bytes.iter().take_while(|&&byte| byte == b'\r' || byte == b'\n').count();
        let buffer = bytes[lead..].to_vec();
        let first = line_end(&buffer, 0)?.ok_or(Unreadable::NoHeaderEnd)?;
        let start = read_start(&buffer[..first])?;
        let mut message = Self { buffer, start, fields: Vec::with_capacity(16), body_at: 0, defect: None };
        message.read_fields(first + 2)?;
        message.settle_body();
        Ok(message)
    }

    /// All bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.buffer
    }

    /// The body.
    pub fn body(&self) -> &[u8] {
        &self.buffer[self.body_at..]
    }

    /// The header fields in order.
    pub fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// The first field of this name.
    pub fn field(&self, name: FieldName) -> Option<&Field> {
        self.fields.iter().find(|field| field.name == name)
    }

    /// The value of the first field of this name.
    pub fn value(&self, name: FieldName) -> Option<&[u8]> {
        self.field(name).map(|field| field.value.of(&self.buffer))
    }

    /// The items of all fields of this name, comma lists taken apart, as spans of the message.
    pub fn items(&self, name: FieldName) -> impl Iterator<Item = Result<Span, Defect>> + '_ {
        self.fields.iter().filter(move |field| field.name == name).flat_map(move |field| {
            let base = field.value.start;
            ListItems::new(field.value.of(&self.buffer)).map(move |item| {
                item.map(|span| Span::new(base + span.start, base + span.end)).map_err(|()| Defect::Invalid(name))
            })
        })
    }

    /// The method, when this is a request.
    pub fn method(&self) -> Option<Method> {
        match self.start {
            Start::Request { method, .. } => Some(method),
            Start::Response { .. } => None,
        }
    }

    /// The status, when this is a response.
    pub fn status(&self) -> Option<u16> {
        match self.start {
            Start::Response { status } => Some(status),
            Start::Request { .. } => None,
        }
    }

    fn read_fields(&mut self, mut at: usize) -> Result<(), Unreadable> {
        let mut seen = 0_u32;
        loop {
            let end = folded_line_end(&self.buffer, at)?.ok_or(Unreadable::NoHeaderEnd)?;
            if end == at {
                self.body_at = at + 2;
                return Ok(());
            }
            if end - at > MAX_LINE_BYTES {
                return Err(Unreadable::LineTooLong);
            }
            if self.fields.len() == MAX_FIELDS {
                return Err(Unreadable::TooManyFields);
            }
            let field = read_field(&self.buffer, at, end);
            match field {
                Some(field) => self.keep(field, &mut seen),
                None => self.note(Defect::HeaderLine),
            }
            at = end + 2;
        }
    }

    fn keep(&mut self, field: Field, seen: &mut u32) {
        let bit = 1_u32 << (field.name as u8);
        if field.name.is_single() && *seen & bit != 0 {
            self.note(Defect::Duplicate(field.name));
        }
        *seen |= bit;
        self.fields.push(field);
    }

    fn settle_body(&mut self) {
        let Some(value) = self.value(FieldName::ContentLength) else { return };
        let Some(announced) = parse_number(value).and_then(|length| usize::try_from(length).ok()) else {
            return self.note(Defect::Invalid(FieldName::ContentLength));
        };
        let present = self.buffer.len() - self.body_at;
        if announced > present {
            return self.note(Defect::BodyShort);
        }
        self.buffer.truncate(self.body_at + announced);
    }

    fn note(&mut self, defect: Defect) {
        self.defect.get_or_insert(defect);
    }
}

/// Where the line that starts at `from` ends (offset of its CR); none when there is no CRLF.
fn line_end(buffer: &[u8], from: usize) -> Result<Option<usize>, Unreadable> {
    let rest = buffer.get(from..).unwrap_or_default();
    let Some(offset) = rest.iter().position(|&byte| byte == b'\r' || byte == b'\n') else {
        return if rest.len() > MAX_LINE_BYTES { Err(Unreadable::LineTooLong) } else { Ok(None) };
    };
    if offset > MAX_LINE_BYTES {
        return Err(Unreadable::LineTooLong);
    }
    match rest[offset..] {
        [b'\r', b'\n', ..] => Ok(Some(from + offset)),
        _ => Err(Unreadable::BareLineEnd),
    }
}

/// The same with the lines folded to it: a line that begins with white space continues the one before.
fn folded_line_end(buffer: &[u8], from: usize) -> Result<Option<usize>, Unreadable> {
    let Some(mut end) = line_end(buffer, from)? else { return Ok(None) };
    while end > from && matches!(buffer.get(end + 2), Some(b' ' | b'\t')) {
        match line_end(buffer, end + 2)? {
            Some(next) => end = next,
            None => return Ok(None),
        }
        if end - from > MAX_LINE_BYTES {
            return Err(Unreadable::LineTooLong);
        }
    }
    Ok(Some(end))
}

fn read_field(buffer: &[u8], at: usize, end: usize) -> Option<Field> {
    let line = &buffer[at..end];
    let colon = line.iter().position(|&byte| byte == b':')?;
    let name = match line[..colon] {
        [.., b' ' | b'\t'] => trim(&line[..colon]),
        _ => &line[..colon],
    };
    if !is_token(name) || is_space(line[0]) {
        return None;
    }
    let raw = &line[colon + 1..];
    let lead = raw.iter().take_while(|&&byte| is_space(byte)).count();
    let start = at + colon + 1 + lead;
    let value = Span::new(start, start + trim(raw).len());
    Some(Field { name: FieldName::parse(name), line: Span::new(at, end + 2), value })
}

fn read_start(line: &[u8]) -> Result<Start, Unreadable> {
    if line.len() >= 4 && line[..4].eq_ignore_ascii_case(b"SIP/") { read_status(line) } else { read_request_line(line) }
}

/// `SIP/2.0 SP 3DIGIT SP reason`; the reason may be empty.
fn read_status(line: &[u8]) -> Result<Start, Unreadable> {
    let known = line.len() >= 11 && line[..8].eq_ignore_ascii_case(b"SIP/2.0 ");
    let rest = if known { &line[8..] } else { return Err(Unreadable::StartLine) };
    let status = parse_number(&rest[..3]).filter(|status| (100..700).contains(status)).ok_or(Unreadable::StartLine)?;
    if !matches!(rest.get(3), None | Some(b' ')) {
        return Err(Unreadable::StartLine);
    }
    let status = u16::try_from(status).map_err(|_| Unreadable::StartLine)?;
    Ok(Start::Response { status })
}

/// Method up to the first space, version after the last one; what is between is the Request-URI, checked later so
/// that a bad one can be answered.
fn read_request_line(line: &[u8]) -> Result<Start, Unreadable> {
    let first = line.iter().position(|&byte| byte == b' ').ok_or(Unreadable::StartLine)?;
    let trimmed = trim(line).len();
    let last = line[..trimmed].iter().rposition(|&byte| byte == b' ').ok_or(Unreadable::StartLine)?;
    let name = &line[..first];
    let looks_like_sip = last > first && line.get(last + 1..last + 5).is_some_and(|v| v.eq_ignore_ascii_case(b"SIP/"));
    if !is_token(name) || !looks_like_sip {
        return Err(Unreadable::StartLine);
    }
    Ok(Start::Request {
        method: Method::parse(name),
        name: Span::new(0, first),
        uri: Span::new(first + 1, last),
        version: Span::new(last + 1, line.len()),
    })
}

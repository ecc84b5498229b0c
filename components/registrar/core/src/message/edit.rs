//! Changing a message on its way through: splices into the bytes, everything else as it came.

use std::io::Write;

use super::field::FieldName;
use super::read::{Message, Start};
use super::scan::{Span, is_space};
use super::via::Via;

/// Collects changes, then writes the changed message.
///
/// Changes must not overlap; of two at one place the first made comes first.
pub struct Editor<'m> {
    message: &'m Message,
    splices: Vec<Splice>,
}

struct Splice {
    span: Span,
    text: Vec<u8>,
}

impl<'m> Editor<'m> {
    /// An editor without changes.
    pub fn new(message: &'m Message) -> Self {
        Self { message, splices: Vec::with_capacity(8) }
    }

    /// Puts another Request-URI in place; a response stays as it is.
    pub fn set_request_uri(&mut self, uri: &[u8]) {
        if let Start::Request { uri: span, .. } = self.message.start {
            self.replace(span, uri.to_vec());
        }
    }

    /// Puts a whole header line (without CRLF) before all others; several keep the order of the calls.
    pub fn add_first(&mut self, line: &[u8]) {
        let at = self.message.fields.first().map_or(self.message.body_at.saturating_sub(2), |field| field.line.start);
        self.insert_line(at, line);
    }

    /// Puts a whole header line (without CRLF) after all others.
    pub fn add_last(&mut self, line: &[u8]) {
        self.insert_line(self.message.body_at.saturating_sub(2), line);
    }

    /// Replaces the value of the first field of this name, or adds the field.
    pub fn set_value(&mut self, name: FieldName, value: &str) {
        match self.message.field(name) {
            Some(field) => self.replace(field.value, value.as_bytes().to_vec()),
            None => self.add_last(format!("{}: {value}", name.label()).as_bytes()),
        }
    }

    /// Takes a field's line out.
    pub fn remove_line(&mut self, line: Span) {
        self.replace(line, Vec::new());
    }

    /// Takes the first `count` items of the fields of this name out, lines that become empty included.
    pub fn remove_first_items(&mut self, name: FieldName, count: usize) {
        let message = self.message;
        let mut left = count;
        for field in message.fields.iter().filter(|field| field.name == name) {
            if left == 0 {
                return;
            }
            let starts: Vec<usize> = items_of(message, field.value).map(|span| span.start).collect();
            match starts.get(left) {
                Some(&next) => {
                    self.replace(Span::new(field.value.start, next), Vec::new());
                    left = 0;
                }
                None => {
                    self.remove_line(field.line);
                    left -= starts.len().min(left);
                }
            }
        }
    }

    /// Takes the last item of the fields of this name out.
    pub fn remove_last_item(&mut self, name: FieldName) {
        let message = self.message;
        let Some(field) = message.fields.iter().rfind(|field| field.name == name) else { return };
        let ends: Vec<usize> = items_of(message, field.value).map(|span| span.end).collect();
        match ends.as_slice() {
            [.., before, _] => self.replace(Span::new(*before, field.value.end), Vec::new()),
            _ => self.remove_line(field.line),
        }
    }

    /// Writes `received` and `rport` into the topmost Via (RFC 3261 18.2.1, RFC 3581 4).
    pub fn stamp_top_via(&mut self, source: std::net::SocketAddr) {
        stamp(self.message, source, |span, text| self.splices.push(Splice { span, text }));
    }

    /// Announces the length of the body where the sender left it out, as streams need it.
    pub fn ensure_content_length(&mut self) {
        if self.message.field(FieldName::ContentLength).is_none() {
            self.add_last(format!("Content-Length: {}", self.message.body().len()).as_bytes());
        }
    }

    /// Puts another body in place, and announces its length.
    pub fn set_body(&mut self, body: &[u8]) {
        let end = self.message.buffer.len();
        self.set_value(FieldName::ContentLength, &body.len().to_string());
        self.replace(Span::new(self.message.body_at, end), body.to_vec());
    }

    /// The changed message.
    pub fn finish(mut self) -> Vec<u8> {
        self.splices.sort_by_key(|splice| splice.span.start);
        let buffer = &self.message.buffer;
        let added: usize = self.splices.iter().map(|splice| splice.text.len()).sum();
        let mut out = Vec::with_capacity(buffer.len() + added);
        let mut at = 0;
        for splice in &self.splices {
            out.extend_from_slice(buffer.get(at..splice.span.start).unwrap_or_default());
            out.extend_from_slice(&splice.text);
            at = at.max(splice.span.end);
        }
        out.extend_from_slice(buffer.get(at..).unwrap_or_default());
        out
    }

    fn insert_line(&mut self, at: usize, line: &[u8]) {
        let mut text = Vec::with_capacity(line.len() + 2);
        text.extend_from_slice(line);
        text.extend_from_slice(b"\r\n");
        self.replace(Span::new(at, at), text);
    }

    fn replace(&mut self, span: Span, text: Vec<u8>) {
        self.splices.push(Splice { span, text });
    }
}

fn items_of(message: &Message, value: Span) -> impl Iterator<Item = Span> + '_ {
    super::scan::ListItems::new(value.of(&message.buffer))
        .map_while(Result::ok)
        .map(move |span| Span::new(value.start + span.start, value.start + span.end))
}

/// Calls `splice` for each change that stamps the topmost Via; nothing when it cannot be read.
pub(super) fn stamp(message: &Message, source: std::net::SocketAddr, mut splice: impl FnMut(Span, Vec<u8>)) {
    let Some(Ok(span)) = message.items(FieldName::Via).next() else { return };
    let value = span.of(&message.buffer);
    let Some(via) = Via::parse(value) else { return };
    let mut added = Vec::new();
    let differs = via.host.address() != Some(source.ip());
    if (differs || via.wants_rport()) && via.params.get("received").is_none() {
        // Writing to a Vec cannot fail.
        let _ = write!(added, ";received={}", source.ip());
    }
    if via.params.get("rport") == Some(None)
        && let Some(at) = find_bare_rport(value)
    {
        let place = span.start + at;
        splice(Span::new(place, place), format!("={}", source.port()).into_bytes());
    }
    if !added.is_empty() {
        splice(Span::new(span.end, span.end), added);
    }
}

/// One past the name of an `rport` parameter without a value.
fn find_bare_rport(value: &[u8]) -> Option<usize> {
    let mut at = 0;
    while let Some(semi) = value.get(at..)?.iter().position(|&byte| byte == b';') {
        let mut start = at + semi + 1;
        while value.get(start).is_some_and(|&byte| is_space(byte)) {
            start += 1;
        }
        let name = value.get(start..start + 5)?;
        let next = value.get(start + 5);
        let ends = next.is_none_or(|&byte| byte == b';' || is_space(byte));
        if name.eq_ignore_ascii_case(b"rport") && ends {
            return Some(start + 5);
        }
        at += semi + 1;
    }
    None
}

//! Answers we make ourselves (RFC 3261 8.2.6).

use std::io::Write;
use std::net::SocketAddr;

use super::edit::stamp;
use super::field::FieldName;
use super::name_addr::NameAddr;
use super::read::Message;
use super::scan::Span;

/// A response to `request`, made of its Via, From, To, Call-ID and CSeq lines as they came.
pub struct Reply<'m> {
    request: &'m Message,
    status: u16,
    reason: String,
    to_tag: Option<String>,
    lines: Vec<String>,
    source: Option<SocketAddr>,
}

impl<'m> Reply<'m> {
    /// A response with the usual reason phrase.
    pub fn new(request: &'m Message, status: u16) -> Self {
        let reason = reason_phrase(status).to_owned();
        Self { request, status, reason, to_tag: None, lines: Vec::new(), source: None }
    }

    /// Another reason phrase; it must not hold line ends.
    pub fn reason(mut self, reason: impl Into<String>) -> Self {
        self.reason = reason.into();
        self
    }

    /// The tag for To when the request has none; not for 100.
    pub fn to_tag(mut self, tag: impl Into<String>) -> Self {
        self.to_tag = Some(tag.into());
        self
    }

    /// One more header line, without CRLF.
    pub fn line(mut self, line: impl Into<String>) -> Self {
        self.lines.push(line.into());
        self
    }

    /// More header lines, without CRLF.
    pub fn lines(mut self, lines: impl IntoIterator<Item = String>) -> Self {
        self.lines.extend(lines);
        self
    }

    /// Where the request came from: written into the topmost Via.
    pub fn source(mut self, source: SocketAddr) -> Self {
        self.source = Some(source);
        self
    }

    /// What a repeat of the request has in common with it, and no other request (RFC 3261 8.2.7).
    pub fn identity(&self) -> [&[u8]; 4] {
        [FieldName::Via, FieldName::From, FieldName::CallId, FieldName::CSeq]
            .map(|name| self.request.value(name).unwrap_or_default())
    }

    /// The bytes.
    pub fn finish(self) -> Vec<u8> {
        let mut out = Vec::with_capacity(512);
        // Writing to a Vec cannot fail.
        let _ = write!(out, "SIP/2.0 {} {}\r\n", self.status, self.reason);
        self.write_vias(&mut out);
        for name in [FieldName::From, FieldName::To, FieldName::CallId, FieldName::CSeq] {
            let Some(field) = self.request.field(name) else { continue };
            let line = field.line.of(&self.request.buffer);
            out.extend_from_slice(line.strip_suffix(b"\r\n").unwrap_or(line));
            if name == FieldName::To {
                self.write_to_tag(field.value.of(&self.request.buffer), &mut out);
            }
            out.extend_from_slice(b"\r\n");
        }
        for line in &self.lines {
            out.extend_from_slice(line.as_bytes());
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b"Content-Length: 0\r\n\r\n");
        out
    }

    fn write_vias(&self, out: &mut Vec<u8>) {
        let mut splices: Vec<(Span, Vec<u8>)> = Vec::new();
        if let Some(source) = self.source {
            stamp(self.request, source, |span, text| splices.push((span, text)));
            splices.sort_by_key(|(span, _)| span.start);
        }
        let mut splices = splices.into_iter().peekable();
        for field in self.request.fields.iter().filter(|field| field.name == FieldName::Via) {
            let mut at = field.line.start;
            while let Some((span, text)) = splices.next_if(|(span, _)| span.start < field.line.end) {
                out.extend_from_slice(self.request.buffer.get(at..span.start).unwrap_or_default());
                out.extend_from_slice(&text);
                at = span.end;
            }
            out.extend_from_slice(self.request.buffer.get(at..field.line.end).unwrap_or_default());
        }
    }

    fn write_to_tag(&self, to: &[u8], out: &mut Vec<u8>) {
        let Some(tag) = &self.to_tag else { return };
        if NameAddr::parse(to).is_some_and(|to| to.tag().is_none()) {
            // Writing to a Vec cannot fail.
            let _ = write!(out, ";tag={tag}");
        }
    }
}

/// The usual reason phrase of a status we send.
pub fn reason_phrase(status: u16) -> &'static str {
    match status {
        100 => "Trying",
        200 => "OK",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        407 => "Proxy Authentication Required",
        408 => "Request Timeout",
        415 => "Unsupported Media Type",
        416 => "Unsupported URI Scheme",
        420 => "Bad Extension",
        423 => "Interval Too Brief",
        430 => "Flow Failed",
        480 => "Temporarily Unavailable",
        481 => "Call/Transaction Does Not Exist",
        482 => "Loop Detected",
        483 => "Too Many Hops",
        487 => "Request Terminated",
        489 => "Bad Event",
        500 => "Server Internal Error",
        501 => "Not Implemented",
        503 => "Service Unavailable",
        505 => "Version Not Supported",
        _ => "Unspecified",
    }
}

//! Messages out of a stream (RFC 3261 18.3, RFC 5626 3.5.1).

use super::field::FieldName;
use super::read::{MAX_MESSAGE_BYTES, Unreadable};
use super::scan::{parse_number, trim};

/// What came out of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Framed {
    /// The bytes of one message.
    Message(Vec<u8>),
    /// A keep-alive ping (CRLF CRLF): answer with CRLF.
    Ping,
}

/// Cuts a stream into messages. Holds at most one message ([`MAX_MESSAGE_BYTES`]) plus the last chunk.
///
/// After an error the place of the next message is unknown: close the connection.
#[derive(Debug, Default)]
pub struct StreamFramer {
    buffer: Vec<u8>,
    /// Up to here no end of headers was found: each byte is looked at once.
    scanned: usize,
}

impl StreamFramer {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes bytes that came in.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// True when no begun message waits for its rest.
    pub fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    /// The next whole message or ping, none when more bytes are needed.
    pub fn next_frame(&mut self) -> Result<Option<Framed>, Unreadable> {
        if self.buffer.starts_with(b"\r\n\r\n") {
            self.take(4);
            return Ok(Some(Framed::Ping));
        }
        if self.buffer == b"\r\n" || self.buffer == b"\r\n\r" || self.buffer == b"\r" {
            return Ok(None);
        }
        while self.buffer.starts_with(b"\r\n") {
            self.take(2);
        }
        let from = self.scanned.saturating_sub(3);
        let Some(end) = find(&self.buffer[from..], b"\r\n\r\n").map(|at| from + at) else {
            self.scanned = self.buffer.len();
            return if self.buffer.len() > MAX_MESSAGE_BYTES { Err(Unreadable::TooLarge) } else { Ok(None) };
        };
        let total = content_length(&self.buffer[..end])?
            .checked_add(end + 4)
            .filter(|total| *total <= MAX_MESSAGE_BYTES)
            .ok_or(Unreadable::TooLarge)?;
        if self.buffer.len() < total {
            self.scanned = end;
            return Ok(None);
        }
        Ok(Some(Framed::Message(self.take(total))))
    }

    fn take(&mut self, count: usize) -> Vec<u8> {
        let rest = self.buffer.split_off(count);
        self.scanned = 0;
        std::mem::replace(&mut self.buffer, rest)
    }
}

/// The announced length of the body, 0 when there is none. On a stream a bad one cannot be recovered from.
fn content_length(head: &[u8]) -> Result<usize, Unreadable> {
    let mut found = None;
    for line in head.split(|&byte| byte == b'\n').skip(1) {
        let Some(colon) = line.iter().position(|&byte| byte == b':') else { continue };
        if FieldName::parse(trim(&line[..colon])) != FieldName::ContentLength || line[0] == b' ' || line[0] == b'\t' {
            continue;
        }
        let length = parse_number(trim(&line[colon + 1..])).and_then(|length| usize::try_from(length).ok());
        let length = length.ok_or(Unreadable::NoHeaderEnd)?;
        if found.replace(length).is_some_and(|earlier| earlier != length) {
            return Err(Unreadable::NoHeaderEnd);
        }
    }
    Ok(found.unwrap_or(0))
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

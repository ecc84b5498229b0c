//! What the registrar tells.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

/// A line of the registrar's.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Answer {
    /// It did not understand.
    Refused { refused: String },
    /// The reader was too slow.
    Missed { missed: u64 },
    /// A message.
    Message(SipMessage),
}

/// A message that the registrar received or sent.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct SipMessage {
    /// When, UTC milliseconds.
    pub(super) at_ms: u64,
    /// Sent by the registrar; else received.
    pub(super) sent: bool,
    pub(super) transport: String,
    /// The registrar's address, when it is known.
    pub(super) local: Option<SocketAddr>,
    /// The other's.
    pub(super) peer: SocketAddr,
    /// Without credentials and keys.
    pub(super) message: String,
}

impl SipMessage {
    /// What it is, in a few words: `INVITE ada` or `180 Ringing (INVITE)`.
    pub(super) fn summary(&self) -> String {
        let first = self.message.lines().next().unwrap_or_default();
        let mut words = first.splitn(3, ' ');
        let (one, two, rest) = (words.next().unwrap_or_default(), words.next().unwrap_or_default(), words.next());
        if one.starts_with("SIP/") {
            let of = self.field("cseq").and_then(|cseq| cseq.split_whitespace().nth(1)).unwrap_or("?");
            return format!("{two} {} ({of})", rest.unwrap_or_default());
        }
        let target = two.strip_prefix("sip:").or_else(|| two.strip_prefix("sips:")).unwrap_or(two);
        let target = target.split(['@', ';', '?']).next().unwrap_or_default();
        let media = if self.message.contains("\nv=0") { " with SDP" } else { "" };
        format!("{one} {target}{media}")
    }

    /// The Call-ID.
    pub(super) fn call(&self) -> &str {
        self.field("call-id").or_else(|| self.field("i")).unwrap_or_default()
    }

    fn field(&self, name: &str) -> Option<&str> {
        let fields = self.message.lines().skip(1).take_while(|line| !line.is_empty());
        let mut named = fields.filter_map(|line| line.split_once(':'));
        named.find_map(|(found, value)| found.trim_end().eq_ignore_ascii_case(name).then(|| value.trim()))
    }
}

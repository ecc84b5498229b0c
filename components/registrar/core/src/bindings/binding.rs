//! A binding: where a phone of an address of record is reached.

use serde::{Deserialize, Serialize};

use crate::flow::Flow;

/// An address of record: a user of a realm. The realm is lower case.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Aor {
    /// The SIP realm (domain).
    pub realm: String,
    /// The user, unescaped.
    pub user: String,
}

/// `q` in thousandths, 0 to 1000 (RFC 3261 20.10).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Quality(pub u16);

impl Quality {
    /// Reads `0`, `0.7`, `1.000`.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let (whole, fraction) = match bytes {
            [whole, b'.', fraction @ ..] if fraction.len() <= 3 => (*whole, fraction),
            [whole] => (*whole, &[][..]),
            _ => return None,
        };
        let mut thousandths = match whole {
            b'0' => 0,
            b'1' => 1_000,
            _ => return None,
        };
        let mut weight = 100;
        for digit in fraction {
            let digit = digit.is_ascii_digit().then(|| u16::from(digit - b'0'))?;
            thousandths += digit * weight;
            weight /= 10;
        }
        (thousandths <= 1_000).then_some(Self(thousandths))
    }
}

/// A binding as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Binding {
    /// What a later REGISTER finds it by: instance and reg-id, or the contact's canonical form.
    pub key: String,
    /// The contact URI as the phone wrote it; the Request-URI of calls to it.
    pub contact: String,
    /// The contact's header parameters as the phone wrote them, without `expires` and `q`; starts with `;` or is empty.
    pub params: String,
    /// Preference among the bindings of the AOR.
    pub q: Quality,
    /// Call-ID of the REGISTER.
    pub call_id: String,
    /// CSeq of the REGISTER.
    pub cseq: u32,
    /// From tag of the REGISTER: another one is another life of the phone. Empty in records of versions without it.
    #[serde(default)]
    pub from_tag: String,
    /// UTC milliseconds of the REGISTER: the oldest goes first when there are too many. 0 in records of versions without it.
    #[serde(default)]
    pub registered_at_ms: u64,
    /// UTC milliseconds; not reachable from then on.
    pub expires_at_ms: u64,
    /// The way its REGISTER came; requests to the phone go back the same way (RFC 3581, RFC 5626).
    #[serde(flatten)]
    pub flow: Flow,
    /// Which life of which process holds the flow: a stream of another one is gone.
    pub holder: String,
    /// `User-Agent`, at most 128 bytes; for people.
    #[serde(default)]
    pub user_agent: String,
    /// `+sip.instance` (RFC 5626), when the phone gave one.
    #[serde(default)]
    pub instance: Option<String>,
    /// `reg-id` (RFC 5626).
    #[serde(default)]
    pub reg_id: Option<u32>,
}

impl Binding {
    /// Whole seconds left, rounded up.
    pub fn remaining_s(&self, now_ms: u64) -> u64 {
        self.expires_at_ms.saturating_sub(now_ms).div_ceil(1_000)
    }

    /// The Contact line of a response, without CRLF.
    pub fn contact_line(&self, now_ms: u64) -> String {
        let q = if self.q.0 == 1_000 { String::new() } else { format!(";q=0.{:03}", self.q.0) };
        format!("Contact: <{}>{}{q};expires={}", self.contact, self.params, self.remaining_s(now_ms))
    }
}

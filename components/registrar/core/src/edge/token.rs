//! What our Record-Route remembers about a dialog, so that we need no memory of it (RFC 3261 16.6 step 4).
//!
//! A dialog through us has two ends: an Asterisk node, and a phone. The phone is named by its *binding*, not by a socket:
//! a phone that reconnected still gets its BYE. The user part of our URI is
//! `<proof>.<node>.<phone>.<user>.<realm>` with `.m<rtpengine>` behind where one has the media, all in hex; the proof is an HMAC, so a phone cannot name another end.

use super::ids::fingerprint;
use crate::bindings::Aor;
use crate::digest::{NonceKey, hex};
use crate::flow::{Flow, Transport};

/// The two ends of a dialog.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Token {
    /// Fingerprint of the node's address.
    pub(super) node: u64,
    /// The phone.
    pub(super) phone: PhoneEnd,
    /// Whose phone; empty for one that never registered.
    pub(super) aor: Aor,
    /// The rtpengine that has the call's media; none: nobody stands between.
    pub(super) media: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PhoneEnd {
    /// Fingerprint of the binding's key.
    Binding(u64),
    /// A phone that calls without being registered.
    Flow(Flow),
}

impl Token {
    pub(super) fn node_of(address: std::net::SocketAddr) -> u64 {
        fingerprint(&[address.to_string().as_bytes()])
    }

    pub(super) fn phone_of(binding_key: &str) -> PhoneEnd {
        PhoneEnd::Binding(fingerprint(&[binding_key.as_bytes()]))
    }

    pub(super) fn write(&self, key: &NonceKey) -> String {
        let phone = self.phone_text();
        let media = self.media.map(|node| format!(".m{node:x}")).unwrap_or_default();
        let (user, realm) = (hex(self.aor.user.as_bytes()), hex(self.aor.realm.as_bytes()));
        let text = format!("{:x}.{phone}.{user}.{realm}{media}", self.node);
        format!("{}.{text}", proof(key, &text))
    }

    /// Reads a token; a sender who is not trusted needs the proof.
    pub(super) fn read(text: &[u8], key: &NonceKey, trusted: bool) -> Option<Self> {
        let text = str::from_utf8(text).ok()?;
        let (given, body) = text.split_once('.')?;
        if !trusted && !bool::from(subtle::ConstantTimeEq::ct_eq(given.as_bytes(), proof(key, body).as_bytes())) {
            return None;
        }
        let mut parts = body.split('.');
        let node = u64::from_str_radix(parts.next()?, 16).ok()?;
        let phone = read_phone(parts.next()?)?;
        let user = unhex(parts.next()?)?;
        let realm = unhex(parts.next()?)?;
        let media = match parts.next() {
            Some(part) => Some(u64::from_str_radix(part.strip_prefix('m')?, 16).ok()?),
            None => None,
        };
        parts.next().is_none().then_some(Self { node, phone, aor: Aor { realm, user }, media })
    }

    /// The name that rtpengine knows the call by: of several phones that ring, each has one of its own.
    pub(super) fn media_call(&self, call_id: &[u8]) -> String {
        let name = fingerprint(&[call_id, &self.node.to_be_bytes(), self.phone_text().as_bytes()]);
        format!("rd-{name:016x}")
    }

    fn phone_text(&self) -> String {
        match self.phone {
            PhoneEnd::Binding(binding) => format!("b{binding:x}"),
            PhoneEnd::Flow(flow) => write_flow(flow),
        }
    }
}

fn proof(key: &NonceKey, text: &str) -> String {
    hex(&key.sign("route", &[text.as_bytes()])[..8])
}

/// The transport's letter, the link, the peer, and our address when it is known.
fn write_flow(flow: Flow) -> String {
    let Flow { transport, link, peer, local } = flow;
    let kind = match transport {
        Transport::Udp => 'u',
        Transport::Tcp => 't',
        Transport::Tls => 's',
        Transport::Ws => 'w',
        Transport::Wss => 'x',
    };
    let local = local.map(|local| format!("~{}", hex(local.to_string().as_bytes()))).unwrap_or_default();
    format!("{kind}{link:x}~{}{local}", hex(peer.to_string().as_bytes()))
}

fn read_phone(text: &str) -> Option<PhoneEnd> {
    let (kind, rest) = text.split_at_checked(1)?;
    if kind == "b" {
        return u64::from_str_radix(rest, 16).ok().map(PhoneEnd::Binding);
    }
    let mut parts = rest.split('~');
    let link = u64::from_str_radix(parts.next()?, 16).ok()?;
    let peer = unhex(parts.next()?)?.parse().ok()?;
    let flow = match kind {
        "u" => Flow::udp(link, peer),
        "t" => Flow::tcp(link, peer),
        "s" => Flow::stream(Transport::Tls, link, peer),
        "w" => Flow::stream(Transport::Ws, link, peer),
        "x" => Flow::stream(Transport::Wss, link, peer),
        _ => return None,
    };
    let local = match parts.next() {
        Some(local) => Some(unhex(local)?.parse().ok()?),
        None => None,
    };
    parts.next().is_none().then_some(PhoneEnd::Flow(Flow { local, ..flow }))
}

fn unhex(text: &str) -> Option<String> {
    let digits = text.as_bytes();
    let bytes = digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(str::from_utf8(pair).ok().filter(|text| text.len() == 2)?, 16).ok())
        .collect::<Option<Vec<u8>>>()?;
    String::from_utf8(bytes).ok()
}

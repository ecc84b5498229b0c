//! Keeping the way to phones behind NAT open (RFC 5626 4.4.2 from the other end, RFC 4787 4.3).
//!
//! A router forgets a UDP flow that nothing passes by, some after 30 seconds, and then no call gets in. A phone whose
//! datagrams come from elsewhere than its contact says is behind one: it is sent an OPTIONS now and then, by the registrar
//! that it registered at and by no other. Whatever it answers, or whether, is not looked at.

use super::{Edge, TimerKey};
use crate::bindings::{Aor, Binding};
use crate::flow::Flow;
use crate::message::Uri;

/// Between two pings of a phone: less than the shortest memory of routers in the field.
const PING_MS: u64 = 25_000;
/// Branches of pings: the answers are nobody's.
pub(super) const PING_BRANCH: &str = "z9hG4bKping";

impl Edge {
    /// Begins to ping the phones of an AOR that need it, those that are not pinged yet.
    pub(super) fn ping_later(&mut self, aor: &Aor, now_ms: u64) {
        let flows: Vec<Flow> = self
            .locations
            .all(aor)
            .iter()
            .filter(|binding| self.needs_pings(binding))
            .map(|binding| binding.flow)
            .collect();
        for flow in flows {
            if self.pinged.insert(flow) {
                self.timers.set(TimerKey::Ping(flow), now_ms + PING_MS);
            }
        }
    }

    /// Pings a flow and comes back later, for as long as a phone is registered there.
    pub(super) fn ping(&mut self, flow: Flow, now_ms: u64) {
        let binding = self.locations.at_flow(flow).and_then(|(aor, key)| {
            let mut live = self.locations.live(aor, now_ms);
            live.find(|binding| binding.key == *key && self.needs_pings(binding)).cloned()
        });
        let Some(binding) = binding else {
            self.pinged.remove(&flow);
            return;
        };
        let bytes = self.options(&binding);
        self.send(flow, bytes);
        self.timers.set(TimerKey::Ping(flow), now_ms + PING_MS);
    }

    fn options(&mut self, binding: &Binding) -> Vec<u8> {
        let number = self.ids.tag();
        let via = self.via_line(binding.flow, &format!("{PING_BRANCH}{number}"));
        let ours = self.local(binding.flow);
        let (contact, host, port) = (&binding.contact, ours.host, ours.port);
        format!(
            "OPTIONS {contact} SIP/2.0\r\n{via}\r\nMax-Forwards: 70\r\nFrom: <sip:{host}:{port}>;tag={number}\r\n\
             To: <{contact}>\r\nCall-ID: {number}\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
        )
        .into_bytes()
    }

    /// A phone on datagrams that registered here (in whatever life of this process) and is seen at another address than
    /// its contact's.
    fn needs_pings(&self, binding: &Binding) -> bool {
        let node = |holder: &str| holder.split('/').next().map(str::to_owned);
        binding.flow.connection().is_none()
            && node(&binding.holder) == node(&self.settings.holder)
            && !is_seen_at_contact(binding)
    }
}

fn is_seen_at_contact(binding: &Binding) -> bool {
    let Some(uri) = Uri::parse(binding.contact.as_bytes()) else { return true };
    let peer = binding.flow.peer;
    uri.host.address() == Some(peer.ip()) && uri.port.unwrap_or(5060) == peer.port()
}

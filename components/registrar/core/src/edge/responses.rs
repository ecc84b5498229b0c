//! Responses find the request we sent (RFC 3261 16.7 step 1, 17.1.3, 18.1.2).

use std::net::SocketAddr;

use super::clients::ClientKey;
use super::forks::upstream;
use super::pings::PING_BRANCH;
use super::{Edge, HostPort, Observation};
use crate::flow::Flow;
use crate::message::{Message, Method, Response};
use crate::transaction::{Class, ClientEvent};

impl Edge {
    pub(super) fn on_response(&mut self, message: &Message, now_ms: u64) {
        let Ok(response) = message.response() else {
            return self.observe(Observation::Dropped("malformed_response"));
        };
        let branch = response.via.params.value("branch").unwrap_or_default();
        let method = Method::parse(response.cseq.method);
        let client = branch_number(branch).map(|id| ClientKey { id, cancel: method == Method::Cancel }).filter(|key| {
            self.clients.get(key).is_some_and(|client| client.branch.as_bytes() == branch && client.method == method)
        });
        match client {
            None if branch.starts_with(PING_BRANCH.as_bytes()) => {}
            Some(key) => {
                self.step_client(key, ClientEvent::Response(Class::of(response.status)), Some(message), now_ms);
            }
            None => self.on_stray(message, &response, method),
        }
    }

    /// A repeat after its time, or somebody else's: without the branch's transaction it goes to nobody (RFC 6026 8.9). But a
    /// phone that answered while we were started anew repeats its 2xx until the ACK comes, and then gives the call up. That
    /// goes to the node which the next Via names, as RFC 3261 16.7 has it, and to nobody else.
    fn on_stray(&mut self, message: &Message, response: &Response<'_>, method: Method) {
        let branch = response.via.params.value("branch").unwrap_or_default();
        let other_life = life_of(branch).is_some_and(|life| life != self.ids.life());
        let answers = other_life && method == Method::Invite && (200..300).contains(&response.status);
        match self.asking_node(message).filter(|_| answers) {
            Some(peer) => {
                let flow = Flow::udp(0, peer);
                self.send(flow, upstream(message, flow));
            }
            None => self.observe(Observation::Dropped("stray_response")),
        }
    }

    /// The node that asked, by the Via below ours.
    fn asking_node(&self, message: &Message) -> Option<SocketAddr> {
        let mut vias = message.vias();
        let own = vias.next()?;
        let place = HostPort { host: own.host.to_key(), port: own.port.unwrap_or(5060) };
        let via = vias.next().filter(|_| self.settings.is_ours(&place))?;
        let asked = SocketAddr::new(via.host.address()?, via.port.unwrap_or(5060));
        self.settings.nodes.contains(&asked).then_some(asked)
    }
}

/// The number in a branch of ours: 16 hex digits behind the magic cookie.
fn branch_number(branch: &[u8]) -> Option<u64> {
    let digits = branch.strip_prefix(b"z9hG4bK")?.get(..16)?;
    u64::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()
}

/// The life of this process that made a branch: 8 hex digits behind the number.
fn life_of(branch: &[u8]) -> Option<u32> {
    let digits = branch.strip_prefix(b"z9hG4bK")?.get(16..24)?;
    u32::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()
}

//! Responses find the request we sent (RFC 3261 16.7 step 1, 17.1.3, 18.1.2).

use super::clients::ClientKey;
use super::{Edge, Observation};
use crate::message::{Message, Method};
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
            Some(key) => {
                self.step_client(key, ClientEvent::Response(Class::of(response.status)), Some(message), now_ms);
            }
            // Ours from before a restart, a repeat after its time, or somebody else's: without the branch's transaction
            // there is nobody to pass it to.
            None => self.observe(Observation::Dropped("stray_response")),
        }
    }
}

/// The number in a branch of ours: 16 hex digits behind the magic cookie.
fn branch_number(branch: &[u8]) -> Option<u64> {
    let digits = branch.strip_prefix(b"z9hG4bK")?.get(..16)?;
    u64::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()
}

//! REGISTER: authenticate, decide, store, answer (RFC 3261 10.3).

use std::sync::Arc;

use super::requests::{Arrival, options};
use super::{Edge, Effect, Observation, RegisterSender, StoreResult};
use crate::bindings::{Aor, Binding, Decision, MIN_EXPIRES_S, Refusal, RegisterRequest, decide};
use crate::message::{FieldName, Message, Reply};

/// A REGISTER that waits for the store.
pub(super) struct Storing {
    server: u64,
    message: Arc<Message>,
    aor: Aor,
}

/// Most REGISTERs that wait for the store at once: half a second of its capacity.
const MAX_STORING: usize = 5_000;

/// How long a phone should wait when the store is away; phones spread their retries themselves.
const RETRY_AFTER_S: u32 = 5;

impl Edge {
    pub(super) fn on_register(&mut self, arrival: Arrival<'_>) {
        let Arrival { message, request, flow, now_ms } = arrival;
        if !self.directory.loaded {
            return self.not_ready(arrival);
        }
        let Some(proved) = self.prove(arrival, FieldName::Authorization, 401) else { return };
        if self.named(&request.to.uri) != proved || self.named(&request.from.uri) != proved {
            self.observe(Observation::AuthFailure("other_user"));
            return self.refuse(arrival, 403);
        }
        let required = options(message, FieldName::Require);
        if !required.is_empty() {
            let reply = Reply::new(message, 420).line(format!("Unsupported: {}", required.join(", ")));
            return self.answer(&request, flow, reply, 420, now_ms);
        }
        let register = match RegisterRequest::read(message) {
            Ok(register) => register,
            Err(defect) => {
                let reply = Reply::new(message, 400).reason(defect.to_string());
                return self.answer(&request, flow, reply, 400, now_ms);
            }
        };
        let current = self.locations.all(&proved);
        let decision = decide(current, &register, flow, &self.settings.holder, now_ms);
        let Some(server) = self.begin_server(&request, flow) else { return };
        match decision {
            Decision::Answer => self.answer_bindings(server, message, &proved, now_ms),
            Decision::Refuse(refusal) => self.refuse_register(server, message, refusal, now_ms),
            Decision::Store(changes) => {
                let waiting = Storing { server, message: Arc::clone(message), aor: proved.clone() };
                let Some(tenant) = self.directory.tenant(&proved.realm).filter(|_| self.storing.len() < MAX_STORING)
                else {
                    return self.store_away(server, message, now_ms);
                };
                let operation = self.number();
                self.storing.insert(operation, waiting);
                let RegisterRequest { call_id, cseq, from_tag, .. } = register;
                let sender = RegisterSender { call_id, cseq, from_tag };
                self.effects.push_back(Effect::Store { operation, tenant, aor: proved, sender, changes });
            }
        }
    }

    /// What became of an [`Effect::Store`].
    pub fn stored(&mut self, operation: u64, result: StoreResult, now_ms: u64) {
        let Some(Storing { server, message, aor }) = self.storing.remove(&operation) else { return };
        match result {
            StoreResult::Done(bindings) => {
                self.load_location(&aor, bindings, now_ms);
                self.answer_bindings(server, &message, &aor, now_ms);
            }
            StoreResult::Refused(refusal) => self.refuse_register(server, &message, refusal, now_ms),
            StoreResult::Unavailable => self.store_away(server, &message, now_ms),
        }
    }

    fn answer_bindings(&mut self, server: u64, message: &Message, aor: &Aor, now_ms: u64) {
        let mut bindings: Vec<&Binding> = self.locations.live(aor, now_ms).collect();
        bindings.sort_by(|a, b| a.key.cmp(&b.key));
        let lines: Vec<String> = bindings.iter().map(|binding| binding.contact_line(now_ms)).collect();
        self.answer_server(server, 200, Reply::new(message, 200).lines(lines), now_ms);
    }

    fn refuse_register(&mut self, server: u64, message: &Message, refusal: Refusal, now_ms: u64) {
        let (status, reply) = match refusal {
            Refusal::TooBrief => (423, Reply::new(message, 423).line(format!("Min-Expires: {MIN_EXPIRES_S}"))),
            Refusal::OutOfOrder => (500, Reply::new(message, 500).reason("CSeq Out Of Order")),
            Refusal::TooMany => (403, Reply::new(message, 403).reason("Too Many Bindings")),
        };
        self.answer_server(server, status, reply, now_ms);
    }

    fn store_away(&mut self, server: u64, message: &Message, now_ms: u64) {
        let reply = Reply::new(message, 503).line(format!("Retry-After: {RETRY_AFTER_S}"));
        self.answer_server(server, 503, reply, now_ms);
    }
}

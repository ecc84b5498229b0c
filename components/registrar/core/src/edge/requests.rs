//! What a request is and who sends it (RFC 3261 8.2, 16.3).

use std::sync::Arc;

use super::servers::server_key;
use super::{Edge, Effect, Observation, Outgoing};
use crate::bindings::Aor;
use crate::digest::Verdict;
use crate::flow::Flow;
use crate::message::{FieldName, Message, Method, Reply, Request, Scheme, Unreadable};
use crate::strangers::{Guesser, source_key};
use crate::transaction::ServerEvent;

/// Methods that we answer or pass on, for Allow.
const ALLOW: &str = "Allow: INVITE, ACK, CANCEL, BYE, OPTIONS, REGISTER, INFO, PRACK, UPDATE";
/// Bodies of INFO that Asterisk knows: digits. It never answers others.
const INFO_BODIES: [&[u8]; 2] = [b"application/dtmf-relay", b"application/dtmf"];

/// How long somebody who guessed too often is told to wait: the time in which a try comes back.
const BRAKED_S: u32 = 12;

/// A request on its way through the checks.
#[derive(Clone, Copy)]
pub(super) struct Arrival<'m> {
    pub(super) message: &'m Arc<Message>,
    pub(super) request: Request<'m>,
    pub(super) flow: Flow,
    pub(super) now_ms: u64,
}

impl Edge {
    /// A datagram or a stream's frame came in.
    pub fn receive(&mut self, flow: Flow, bytes: &[u8], now_ms: u64) {
        if bytes.iter().all(|&byte| matches!(byte, b'\r' | b'\n' | 0)) {
            // Keep-alives of phones behind NAT need no answer over UDP (RFC 5626 3.5.1 uses STUN for that).
            return;
        }
        match Message::read(bytes) {
            Ok(message) if message.status().is_some() => self.on_response(&message, now_ms),
            Ok(message) => self.on_request(&Arc::new(message), flow, now_ms),
            Err(reason) => self.observe(Observation::Dropped(drop_reason(reason))),
        }
    }

    fn on_request(&mut self, message: &Arc<Message>, flow: Flow, now_ms: u64) {
        let request = match message.request() {
            Ok(request) => request,
            Err(_) if message.method() == Some(Method::Ack) => {
                return self.observe(Observation::Dropped("malformed_ack"));
            }
            Err(defect) => {
                let status = defect.status();
                let reply = Reply::new(message, status).reason(defect.to_string());
                return self.answer_stranger(message.method().unwrap_or(Method::Other), status, reply, flow, now_ms);
            }
        };
        let arrival = Arrival { message, request, flow, now_ms };
        match request.method {
            Method::Ack => self.on_ack(arrival),
            Method::Cancel => self.on_cancel(arrival),
            Method::Invite
            | Method::Bye
            | Method::Options
            | Method::Register
            | Method::Info
            | Method::Prack
            | Method::Update
            | Method::Refer
            | Method::Message
            | Method::Subscribe
            | Method::Notify
            | Method::Publish
            | Method::Other => match self.server_keys.get(&server_key(&request, request.method_name)) {
                Some(&id) => {
                    self.step_server(id, ServerEvent::Request, now_ms);
                }
                None => self.on_new(arrival),
            },
        }
    }

    fn on_ack(&mut self, arrival: Arrival<'_>) {
        if let Some(&id) = self.server_keys.get(&server_key(&arrival.request, b"INVITE"))
            && !self.step_server(id, ServerEvent::Ack, arrival.now_ms)
        {
            return;
        }
        let trusted = self.is_node(arrival.flow);
        let own = self.own_route(&arrival.request, trusted);
        match self.plan_dialog(&arrival.request, own, trusted, arrival.now_ms) {
            Some(plan) if arrival.request.max_forwards != Some(0) => {
                self.forward_ack(&arrival.request, arrival.flow, plan, arrival.now_ms);
            }
            // ACK for an answer we gave without remembering it, or of no dialog of ours.
            _ => self.observe(Observation::Dropped("stray_ack")),
        }
    }

    fn on_cancel(&mut self, arrival: Arrival<'_>) {
        let Arrival { request, flow, now_ms, .. } = arrival;
        if let Some(&id) = self.server_keys.get(&server_key(&request, b"CANCEL")) {
            self.step_server(id, ServerEvent::Request, now_ms);
            return;
        }
        let invite = self.server_keys.get(&server_key(&request, b"INVITE")).copied();
        let fork = invite.and_then(|id| self.servers.get(&id)).map(|server| server.fork);
        let Some(fork) = fork else { return self.refuse(arrival, 481) };
        self.answer(&request, flow, Reply::new(request.message, 200), 200, now_ms);
        if let Some(fork) = fork {
            self.cancel_fork(fork, now_ms);
        }
    }

    fn on_new(&mut self, arrival: Arrival<'_>) {
        let Arrival { request, flow, now_ms, .. } = arrival;
        if let Some(refusal) = self.reasonable(&request) {
            let status = refusal.0;
            let reply = Reply::new(request.message, status).lines(refusal.1);
            return self.answer_stranger(request.method, status, reply, flow, now_ms);
        }
        let trusted = self.is_node(flow);
        let own = self.own_route(&request, trusted);
        if request.to.tag().is_some() && request.method != Method::Register {
            let in_dialog = own.token.is_some() || trusted;
            return match self.plan_dialog(&request, own, trusted, now_ms) {
                Some(_) if !trusted && self.refuse_in_dialog(arrival) => {}
                Some(plan) => self.forward(arrival.message, &request, flow, plan, now_ms),
                None if in_dialog => self.refuse(arrival, 480),
                None => self.refuse(arrival, 481),
            };
        }
        if request.method == Method::Register {
            return self.on_register(arrival);
        }
        // A stranger who names no user asks us, whatever the domain: which domains are ours is not told.
        if request.uri.user.is_none() && (!trusted || self.is_us(&request.uri)) {
            return self.for_us(arrival);
        }
        if !self.directory.loaded {
            return self.not_ready(arrival);
        }
        match request.method {
            Method::Bye | Method::Prack | Method::Update => self.refuse(arrival, 481),
            Method::Invite
            | Method::Ack
            | Method::Cancel
            | Method::Options
            | Method::Register
            | Method::Info
            | Method::Refer
            | Method::Message
            | Method::Subscribe
            | Method::Notify
            | Method::Publish
            | Method::Other => {
                if trusted {
                    self.call_phone(arrival, own.change);
                } else {
                    self.call_node(arrival, own.change);
                }
            }
        }
    }

    /// The reasonable checks of 16.3 that do not depend on who asks: status and header lines of the refusal.
    fn reasonable(&self, request: &Request<'_>) -> Option<(u16, Vec<String>)> {
        let message = request.message;
        if matches!(request.uri.scheme, Scheme::Other | Scheme::Sips) {
            return Some((416, Vec::new()));
        }
        if request.max_forwards == Some(0) {
            return Some((483, Vec::new()));
        }
        let hash = format!(".{:016x}", Self::loop_hash(request));
        let looped = message.vias().any(|via| {
            let ours = |host: &str, port: u16| self.settings.is_ours(&super::HostPort { host: host.to_owned(), port });
            via.branch().is_some_and(|branch| branch.ends_with(hash.as_bytes()))
                && ours(&via.host.to_key(), via.port.unwrap_or(5060))
        });
        if looped {
            return Some((482, Vec::new()));
        }
        let required = options(message, FieldName::ProxyRequire);
        (!required.is_empty()).then(|| (420, vec![format!("Unsupported: {}", required.join(", "))]))
    }

    /// A request for the edge itself.
    fn for_us(&mut self, arrival: Arrival<'_>) {
        let Arrival { request, flow, now_ms, .. } = arrival;
        let status = match request.method {
            Method::Options => 200,
            Method::Other => 501,
            Method::Invite
            | Method::Ack
            | Method::Cancel
            | Method::Bye
            | Method::Register
            | Method::Info
            | Method::Prack
            | Method::Update
            | Method::Refer
            | Method::Message
            | Method::Subscribe
            | Method::Notify
            | Method::Publish => 405,
        };
        let reply = Reply::new(request.message, status).line(ALLOW);
        self.answer_stranger(request.method, status, reply, flow, now_ms);
    }

    /// From an Asterisk node to the phones of an address of record.
    fn call_phone(&mut self, arrival: Arrival<'_>, change: super::plan::Change) {
        let Arrival { message, request, flow, now_ms } = arrival;
        if !request.uri.is_sip() {
            return self.refuse(arrival, 416);
        }
        let user = request.uri.user_text().unwrap_or_default();
        let aor = Aor { realm: request.uri.host.to_key(), user };
        if !self.directory.knows(&aor.realm, &aor.user) {
            return self.refuse(arrival, 404);
        }
        let plan = self.plan_bindings(&aor, flow, request.call_id, change, now_ms);
        if plan.targets.is_empty() {
            return self.refuse(arrival, 480);
        }
        self.forward(message, &request, flow, plan, now_ms);
    }

    /// From a phone that has proved who it is, outside of a dialog, and no call: ours to answer (RFC 3261 8.2.1). Asterisk
    /// knows nothing of phones' lamps, presence and messages.
    fn for_edge(&mut self, arrival: Arrival<'_>) {
        let status = match arrival.request.method {
            Method::Options => 200,
            Method::Subscribe | Method::Publish => 489,
            Method::Notify | Method::Bye | Method::Prack | Method::Update => 481,
            Method::Other => 501,
            Method::Message
            | Method::Info
            | Method::Refer
            | Method::Invite
            | Method::Ack
            | Method::Cancel
            | Method::Register => 405,
        };
        let reply = Reply::new(arrival.request.message, status).line(ALLOW);
        self.answer_stranger(arrival.request.method, status, reply, arrival.flow, arrival.now_ms);
    }

    /// Answers a phone's request inside a dialog that Asterisk would leave without an answer; true when it was one.
    fn refuse_in_dialog(&mut self, arrival: Arrival<'_>) -> bool {
        let Arrival { request, .. } = arrival;
        let (status, line) = match request.method {
            Method::Refer | Method::Message | Method::Register => (405, ALLOW),
            Method::Subscribe | Method::Publish => (489, ALLOW),
            Method::Notify => (481, ALLOW),
            Method::Other => (501, ALLOW),
            Method::Info if !is_known_info(request.message) => {
                (415, "Accept: application/dtmf-relay, application/dtmf")
            }
            Method::Info
            | Method::Invite
            | Method::Ack
            | Method::Cancel
            | Method::Bye
            | Method::Options
            | Method::Prack
            | Method::Update => return false,
        };
        let reply = Reply::new(request.message, status).line(line);
        self.answer_stranger(request.method, status, reply, arrival.flow, arrival.now_ms);
        true
    }

    /// From a phone to an Asterisk node.
    fn call_node(&mut self, arrival: Arrival<'_>, change: super::plan::Change) {
        let Arrival { message, request, flow, now_ms } = arrival;
        let Some(aor) = self.prove(arrival, FieldName::ProxyAuthorization, 407) else { return };
        if self.named(&request.from.uri) != aor {
            self.observe(Observation::AuthFailure("other_user"));
            return self.refuse(arrival, 403);
        }
        if request.method != Method::Invite {
            return self.for_edge(arrival);
        }
        if self.settings.outgoing == Outgoing::Refuse {
            let reply = Reply::new(request.message, 403).reason("Phones Make No Calls Here");
            return self.answer_stranger(request.method, 403, reply, flow, now_ms);
        }
        let plan = self.plan_nodes(flow, &aor, request.call_id, change);
        if plan.targets.is_empty() {
            return self.refuse(arrival, 503);
        }
        self.forward(message, &request, flow, plan, now_ms);
    }

    /// The sender as proved by digest; none when the request was answered (challenged or refused).
    pub(super) fn prove(&mut self, arrival: Arrival<'_>, field: FieldName, status: u16) -> Option<Aor> {
        let Arrival { request, flow, now_ms, .. } = arrival;
        let claimed = if status == 401 { request.to.uri } else { request.from.uri };
        if !claimed.is_sip() {
            self.observe(Observation::AuthFailure("no_sip_address"));
            self.refuse(arrival, if status == 401 { 404 } else { 403 });
            return None;
        }
        let realm = self.realm_of(&claimed);
        let bytes = request.message.bytes();
        let values = request.message.fields().iter().filter(|each| each.name == field).map(|each| each.value.of(bytes));
        let Some(shown) = self.digest.find(values, &realm) else {
            self.challenge(arrival, &realm, false, status);
            return None;
        };
        let aor = Aor { realm, user: shown.user().to_owned() };
        let registered = self.locations.at_flow(flow).is_some_and(|(owner, _)| *owner == aor);
        let guesser = Guesser { source: flow.peer, realm: &aor.realm, user: &aor.user, registered };
        if !self.guesses.allows(guesser, now_ms) {
            self.observe(Observation::AuthFailure("braked"));
            let reply = Reply::new(request.message, 503).line(format!("Retry-After: {BRAKED_S}"));
            self.answer_stranger(request.method, 503, reply, flow, now_ms);
            return None;
        }
        let stored = self.proofs(&aor, now_ms);
        match self.digest.check(&shown, request.method_name, now_ms, &stored) {
            Verdict::Right => {
                self.guesses.right(guesser, now_ms);
                self.proved(flow, now_ms);
                return Some(aor);
            }
            Verdict::Wrong => {
                self.observe(Observation::AuthFailure("wrong"));
                if self.guesses.wrong(guesser, now_ms) {
                    self.effects.push_back(Effect::Guessing { source: flow.peer, user: aor.user.clone() });
                }
                self.challenge(arrival, &aor.realm, false, status);
            }
            Verdict::Stale => {
                self.observe(Observation::AuthFailure("stale"));
                self.challenge(arrival, &aor.realm, true, status);
            }
        }
        None
    }

    /// What the source's challenge cost is given back; a stream is kept.
    fn proved(&mut self, flow: Flow, now_ms: u64) {
        self.challenges.give_back(&[&source_key(flow.peer.ip())], now_ms);
        if let Some(connection) = flow.connection()
            && self.proved.insert(connection)
        {
            self.effects.push_back(Effect::Proved { connection });
        }
    }

    /// Asks for credentials. Nothing is remembered: a flood of requests without them costs no memory.
    fn challenge(&mut self, arrival: Arrival<'_>, realm: &str, stale: bool, status: u16) {
        let Arrival { request, flow, now_ms, .. } = arrival;
        if !self.is_familiar(flow) && !self.challenges.take(&[&source_key(flow.peer.ip())], now_ms) {
            return self.observe(Observation::Dropped("challenges_spent"));
        }
        let random = self.ids.next();
        let name = if status == 401 { "WWW-Authenticate" } else { "Proxy-Authenticate" };
        let agent = request.message.value(FieldName::UserAgent).unwrap_or_default();
        let challenges = self.digest.challenges(realm, agent, stale, now_ms, random);
        let lines = challenges.into_iter().map(|value| format!("{name}: {value}"));
        let reply = Reply::new(request.message, status).lines(lines);
        self.answer_stateless(request.method, status, reply, flow);
    }

    /// Answers with a status and nothing else to say: a node for as long as it repeats itself, others once.
    pub(super) fn refuse(&mut self, arrival: Arrival<'_>, status: u16) {
        let Arrival { request, flow, now_ms, .. } = arrival;
        let reply = Reply::new(request.message, status);
        if self.is_node(flow) {
            self.answer(&request, flow, reply, status, now_ms);
        } else {
            self.answer_stranger(request.method, status, reply, flow, now_ms);
        }
    }

    /// The directory is not known yet: come back soon.
    pub(super) fn not_ready(&mut self, arrival: Arrival<'_>) {
        let reply = Reply::new(arrival.request.message, 503).line("Retry-After: 5");
        self.answer_stranger(arrival.request.method, 503, reply, arrival.flow, arrival.now_ms);
    }

    pub(super) fn is_node(&self, flow: Flow) -> bool {
        !flow.is_reliable() && self.settings.nodes.contains(&flow.peer)
    }
}

/// True for a body of INFO that Asterisk answers.
fn is_known_info(message: &Message) -> bool {
    let kind = message.value(FieldName::ContentType).unwrap_or_default();
    let kind = kind.split(|&byte| byte == b';').next().unwrap_or_default().trim_ascii();
    INFO_BODIES.iter().any(|known| kind.eq_ignore_ascii_case(known))
}

/// The option tags of all fields of this name, readable ones only.
pub(super) fn options(message: &Message, name: FieldName) -> Vec<String> {
    message
        .items(name)
        .filter_map(|span| str::from_utf8(span.ok()?.of(message.bytes())).ok())
        .filter(|text| !text.is_empty() && !text.contains(char::is_control))
        .map(str::to_owned)
        .collect()
}

fn drop_reason(reason: Unreadable) -> &'static str {
    match reason {
        Unreadable::TooLarge => "too_large",
        Unreadable::LineTooLong => "line_too_long",
        Unreadable::TooManyFields => "too_many_fields",
        Unreadable::NoHeaderEnd => "no_header_end",
        Unreadable::StartLine => "not_sip",
        Unreadable::BareLineEnd => "bare_line_end",
    }
}

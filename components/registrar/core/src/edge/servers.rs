//! Server transactions at work: what came in, and the answer it got.

use super::{Edge, NODES_PART, Observation, TimerKey};
use crate::digest::hex;
use crate::flow::Flow;
use crate::message::{Method, Reply, Request};
use crate::strangers::source_key;
use crate::transaction::{Action, Class, Kind, ServerEvent, ServerMachine};

/// A request being answered.
pub(super) struct Server {
    machine: ServerMachine,
    key: Vec<u8>,
    pub(super) flow: Flow,
    method: Method,
    last: Vec<u8>,
    /// The forwarded request, when it was forwarded.
    pub(super) fork: Option<u64>,
}

/// What a repeat of a request, its ACK and its CANCEL are recognised by (RFC 3261 17.2.3, 9.2).
///
/// `method` is the method of the transaction that is looked for.
pub(super) fn server_key(request: &Request<'_>, method: &[u8]) -> Vec<u8> {
    let mut key = Vec::with_capacity(96);
    let mut add = |part: &[u8]| {
        key.extend_from_slice(part);
        key.push(0);
    };
    add(method);
    match request.via.branch().filter(|_| request.via.has_magic_branch()) {
        Some(branch) => {
            add(&branch.to_ascii_lowercase());
            add(&request.via.sent_by.to_ascii_lowercase());
        }
        // RFC 2543 elements: the To tag is left out because ACK carries one that INVITE did not have.
        None => {
            add(request.uri.raw);
            add(request.from.tag().unwrap_or_default());
            add(request.call_id);
            add(request.cseq.number.to_string().as_bytes());
            add(request.via.sent_by);
            add(request.via.params.as_bytes());
        }
    }
    key
}

impl Edge {
    /// Begins a server transaction, for a node or for a phone that has proved who it is; none when there are too many
    /// (the request was answered 503).
    pub(super) fn begin_server(&mut self, request: &Request<'_>, flow: Flow) -> Option<u64> {
        if !self.make_room(flow) {
            self.observe(Observation::Dropped("too_many_transactions"));
            let reply = Reply::new(request.message, 503).line("Retry-After: 5");
            self.answer_stateless(request.method, 503, reply, flow);
            return None;
        }
        let kind = if request.method == Method::Invite { Kind::Invite } else { Kind::NonInvite };
        let id = self.number();
        let key = server_key(request, request.method_name);
        let machine = ServerMachine::new(kind, flow.is_reliable());
        self.server_keys.insert(key.clone(), id);
        self.servers.insert(id, Server { machine, key, flow, method: request.method, last: Vec::new(), fork: None });
        Some(id)
    }

    /// True when there is room for one more; those that only wait for repeats of what they have answered make it.
    fn make_room(&mut self, flow: Flow) -> bool {
        let all = self.settings.transactions;
        let limit = if self.is_node(flow) { all } else { all - all / NODES_PART };
        while self.servers.len() >= limit {
            let Some(oldest) = self.finished.pop_front() else { return false };
            self.end_server(oldest);
        }
        true
    }

    /// Answers somebody who has not proved who it is: within its source's budget, and without remembering it.
    pub(super) fn answer_stranger(&mut self, method: Method, status: u16, reply: Reply<'_>, flow: Flow, now_ms: u64) {
        if self.is_familiar(flow) || self.answers.take(&[&source_key(flow.peer.ip())], now_ms) {
            self.answer_stateless(method, status, reply, flow);
        } else {
            self.observe(Observation::Dropped("answers_spent"));
        }
    }

    /// Who costs no budget: nodes, and who is where a phone is registered.
    pub(super) fn is_familiar(&self, flow: Flow) -> bool {
        self.is_node(flow) || self.locations.at_flow(flow).is_some()
    }

    /// Sends a response of our own without remembering it. A repeated request gets the same (RFC 3261 8.2.7).
    pub(super) fn answer_stateless(&mut self, method: Method, status: u16, reply: Reply<'_>, flow: Flow) {
        let tag = hex(&self.settings.key.sign("tag", &reply.identity())[..8]);
        self.observe(Observation::Answered { method, status });
        self.send(flow, reply.source(flow.peer).to_tag(tag).finish());
    }

    /// Begins a server transaction and answers it at once.
    pub(super) fn answer(&mut self, request: &Request<'_>, flow: Flow, reply: Reply<'_>, status: u16, now_ms: u64) {
        if let Some(id) = self.begin_server(request, flow) {
            self.answer_server(id, status, reply, now_ms);
        }
    }

    /// Answers a transaction with a response of our own.
    pub(super) fn answer_server(&mut self, id: u64, status: u16, reply: Reply<'_>, now_ms: u64) {
        let Some(flow) = self.servers.get(&id).map(|server| server.flow) else { return };
        let reply = if status == 100 { reply } else { reply.to_tag(self.ids.tag()) };
        self.respond(id, status, reply.source(flow.peer).finish(), now_ms);
    }

    /// Gives a transaction these bytes as its latest response.
    pub(super) fn respond(&mut self, id: u64, status: u16, bytes: Vec<u8>, now_ms: u64) {
        let Some(server) = self.servers.get_mut(&id) else { return };
        server.last = bytes;
        let method = server.method;
        if status >= 200 {
            self.observe(Observation::Answered { method, status });
        }
        self.step_server(id, ServerEvent::Respond(Class::of(status)), now_ms);
        if status >= 200 && method != Method::Invite && self.servers.contains_key(&id) {
            // In the order in which they end by themselves, so those in front that are gone are gone for good.
            while self.finished.front().is_some_and(|first| !self.servers.contains_key(first)) {
                self.finished.pop_front();
            }
            self.finished.push_back(id);
        }
    }

    /// Feeds one event; true when the message is for the transaction's user.
    pub(super) fn step_server(&mut self, id: u64, event: ServerEvent, now_ms: u64) -> bool {
        let Some(server) = self.servers.get_mut(&id) else { return false };
        let mut delivered = false;
        for action in server.machine.step(event) {
            match action {
                Action::Send => self.send_last(id),
                Action::Deliver => delivered = true,
                Action::SetRepeat(after_ms) => self.timers.set(TimerKey::ServerRepeat(id), now_ms + after_ms),
                Action::StopRepeat => {
                    self.timers.clear(TimerKey::ServerRepeat(id));
                }
                Action::SetEnd(after_ms) => self.timers.set(TimerKey::ServerEnd(id), now_ms + after_ms),
                Action::TellTimeout => self.observe(Observation::Dropped("ack_never_came")),
                Action::TellUnreachable | Action::SendAck => {}
                Action::Terminate => self.end_server(id),
            }
        }
        delivered
    }

    /// Forgets a transaction, whatever its state.
    pub(super) fn end_server(&mut self, id: u64) {
        self.timers.clear(TimerKey::ServerRepeat(id));
        self.timers.clear(TimerKey::ServerEnd(id));
        if let Some(server) = self.servers.remove(&id) {
            self.server_keys.remove(&server.key);
        }
    }

    fn send_last(&mut self, id: u64) {
        let Some(server) = self.servers.get(&id).filter(|server| !server.last.is_empty()) else { return };
        let (flow, bytes) = (server.flow, server.last.clone());
        self.send(flow, bytes);
    }
}

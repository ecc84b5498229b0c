//! Forwarding: a request goes out on branches, responses come back (RFC 3261 16.6, 16.7).

use std::collections::BTreeSet;
use std::sync::Arc;

use super::clients::{ClientKey, Outgoing};
use super::ids::fingerprint;
use super::media::{MediaLeg, Waiting, event_of};
use super::plan::{Change, Plan, Target};
use super::{Edge, TIMER_C_MS, TimerKey, build};
use crate::flow::Flow;
use crate::message::{Editor, FieldName, Message, Method, NameAddr, Reply, Request};
use crate::proxy::{Best, BranchEvent, BranchState, Fork, ForkAction};
use crate::transaction::{Kind, TRANSACTION_TIMEOUT_MS};

/// Max-Forwards of a request that came without (RFC 3261 16.6 step 3).
const DEFAULT_MAX_FORWARDS: u8 = 70;

/// A forwarded request.
pub(super) struct ForkState {
    pub(super) fork: Fork,
    server: u64,
    message: Arc<Message>,
    source: Flow,
    method: Method,
    /// How the request is changed on its way.
    change: Change,
    reserve: Vec<Target>,
    branches: Vec<Branch>,
    /// The To tags of the 2xx responses that were told to end: their ACK is repeated, their BYE is not.
    released: BTreeSet<Vec<u8>>,
    /// The To tag of the 2xx that went upstream: another one of the same branch comes from a fork behind the phone.
    winner: Option<Vec<u8>>,
}

struct Branch {
    client: Option<ClientKey>,
    /// The rtpengine between the two sides.
    media: Option<MediaLeg>,
    /// Its final failure, ready to go upstream.
    failure: Option<(u16, Vec<u8>)>,
}

impl Edge {
    /// Forwards a request along `plan` and answers it when that is decided.
    pub(super) fn forward(
        &mut self,
        message: &Arc<Message>,
        request: &Request<'_>,
        flow: Flow,
        plan: Plan,
        now_ms: u64,
    ) {
        let Some(server) = self.begin_server(request, flow) else { return };
        let kind = if request.method == Method::Invite { Kind::Invite } else { Kind::NonInvite };
        if kind == Kind::Invite {
            self.answer_server(server, 100, Reply::new(message, 100), now_ms);
        }
        let id = self.number();
        if let Some(server) = self.servers.get_mut(&server) {
            server.fork = Some(id);
        }
        let state = ForkState {
            fork: Fork::new(kind, plan.targets.len(), plan.reserve.len()),
            server,
            message: Arc::clone(message),
            source: flow,
            method: request.method,
            change: plan.change,
            reserve: plan.reserve,
            branches: Vec::with_capacity(plan.targets.len()),
            released: BTreeSet::new(),
            winner: None,
        };
        self.forks.insert(id, state);
        for target in plan.targets {
            self.start_branch(id, &target, now_ms);
        }
    }

    /// Passes an ACK for a 2xx on; it has no transaction and no answer (16.11).
    pub(super) fn forward_ack(&mut self, request: &Request<'_>, flow: Flow, plan: Plan, now_ms: u64) {
        let via = request.via.params.value("branch").unwrap_or_default();
        for target in &plan.targets {
            let hash =
                fingerprint(&[via, request.via.sent_by, request.call_id, target.flow.peer.to_string().as_bytes()]);
            let bytes = self.outgoing(request.message, flow, target, &plan.change, &format!("z9hG4bKack{hash:016x}"));
            let waiting = Waiting::Ack { flow: target.flow, bytes };
            self.send_branch(target.media.clone(), waiting, request, now_ms);
        }
    }

    /// The caller gave up.
    pub(super) fn cancel_fork(&mut self, id: u64, now_ms: u64) {
        if let Some(state) = self.forks.get_mut(&id) {
            let actions = state.fork.cancel();
            self.act_fork(id, actions, None, now_ms);
        }
    }

    /// Feeds what happened to a branch.
    pub(super) fn step_branch(
        &mut self,
        id: u64,
        at: usize,
        event: BranchEvent,
        response: Option<&Message>,
        now_ms: u64,
    ) {
        self.settle_timers(id, at, event, now_ms);
        match event {
            BranchEvent::Failure(_) | BranchEvent::Silence | BranchEvent::Unreachable => self.give_up_media(id, at),
            BranchEvent::Provisional(_) | BranchEvent::Success | BranchEvent::RingsTooLong => {}
        }
        let Some(state) = self.forks.get_mut(&id) else { return };
        if let (BranchEvent::Failure(status), Some(response)) = (event, response) {
            let bytes = upstream(response, state.source);
            if let Some(branch) = state.branches.get_mut(at) {
                branch.failure.get_or_insert((status, bytes));
            }
        }
        let tag = response.filter(|_| event == BranchEvent::Success).and_then(to_tag);
        let mut actions = state.fork.step(at, event);
        if actions.first() == Some(&ForkAction::Forward(at)) && tag.is_some() {
            let winner = state.winner.get_or_insert_with(|| tag.clone().unwrap_or_default());
            if tag.as_ref() != Some(winner) {
                actions = vec![ForkAction::Release(at)];
            }
        }
        self.act_fork(id, actions, response, now_ms);
    }

    /// Repeats no more on a branch that was given up.
    pub(super) fn quiet_branch(&mut self, id: u64, at: usize) {
        if let Some(key) = self.client_of(id, at) {
            self.quiet_client(key);
        }
    }

    /// The branch's transaction is over; when all are and the answer is out, so is the fork.
    pub(super) fn leave_fork(&mut self, id: u64, at: usize) {
        let Some(state) = self.forks.get_mut(&id) else { return };
        if let Some(branch) = state.branches.get_mut(at) {
            branch.client = None;
        }
        self.settle_fork(id);
    }

    /// The hash part of our branch: equal for a request that comes back unchanged, so it loops (16.3 step 4).
    pub(super) fn loop_hash(request: &Request<'_>) -> u64 {
        let message = request.message;
        fingerprint(&[
            request.uri.raw,
            request.from.tag().unwrap_or_default(),
            request.to.tag().unwrap_or_default(),
            request.call_id,
            request.cseq.number.to_string().as_bytes(),
            message.value(FieldName::Route).unwrap_or_default(),
            message.value(FieldName::ProxyAuthorization).unwrap_or_default(),
        ])
    }

    fn start_branch(&mut self, id: u64, target: &Target, now_ms: u64) {
        let number = u64::from_be_bytes(self.ids.next());
        let Some(state) = self.forks.get(&id) else { return };
        let (message, source, change, method) =
            (Arc::clone(&state.message), state.source, state.change.clone(), state.method);
        let at = state.branches.len();
        let hash = message.request().map_or(0, |request| Self::loop_hash(&request));
        let branch = format!("z9hG4bK{number:016x}{:08x}.{hash:016x}", self.ids.life());
        let bytes = self.outgoing(&message, source, target, &change, &branch);
        let key = ClientKey { id: number, cancel: false };
        if let Some(state) = self.forks.get_mut(&id) {
            state.branches.push(Branch { client: Some(key), media: target.media.clone(), failure: None });
        }
        if method == Method::Invite {
            self.timers.set(TimerKey::NoResponse(id, at), now_ms + self.settings.no_response_ms);
            self.timers.set(TimerKey::TimerC(id, at), now_ms + TIMER_C_MS);
        }
        let outgoing = Outgoing { flow: target.flow, bytes, branch, method, owner: Some((id, at)) };
        if let (Method::Bye, Some(leg)) = (method, &target.media) {
            self.end_media(leg);
        }
        let Ok(request) = message.request() else { return };
        self.send_branch(target.media.clone(), Waiting::Branch { fork: id, at, key, outgoing }, &request, now_ms);
    }

    /// True while somebody waits for what this branch will say.
    pub(super) fn branch_is_wanted(&self, id: u64, at: usize) -> bool {
        let Some(state) = self.forks.get(&id) else { return false };
        !state.fork.is_answered()
            && matches!(state.fork.branch_state(at), Some(BranchState::Calling | BranchState::Proceeding))
    }

    /// Takes a response of a branch, or has it wait for its session description.
    pub(super) fn on_branch_response(&mut self, id: u64, at: usize, response: &Message, now_ms: u64) {
        let held = self.forks.get(&id).and_then(|state| {
            let leg = state.branches.get(at)?.media.clone()?;
            Some((leg, Arc::clone(&state.message)))
        });
        if let Some((leg, request)) = held {
            // What was said at all ends the wait for it, however long its description takes.
            self.timers.clear(TimerKey::NoResponse(id, at));
            if self.hold_response(&leg, (id, at), &request, response, now_ms) {
                return;
            }
        }
        self.step_branch(id, at, event_of(response), Some(response), now_ms);
    }

    /// Forgets a fork that is answered and whose transactions are over.
    pub(super) fn settle_fork(&mut self, id: u64) {
        let over =
            |state: &ForkState| state.fork.is_answered() && state.branches.iter().all(|branch| branch.client.is_none());
        if self.forks.get(&id).is_some_and(over) {
            self.forks.remove(&id);
        }
    }

    /// A call that this branch would have begun does not come about: its media ends.
    fn give_up_media(&mut self, id: u64, at: usize) {
        let Some(state) = self.forks.get(&id).filter(|state| state.method == Method::Invite) else { return };
        let inside = state.message.request().is_ok_and(|request| request.to.tag().is_some());
        let leg = state.branches.get(at).and_then(|branch| branch.media.clone()).filter(|_| !inside);
        if let Some(leg) = leg {
            self.end_media(&leg);
        }
    }

    fn act_fork(&mut self, id: u64, actions: Vec<ForkAction>, response: Option<&Message>, now_ms: u64) {
        for action in actions {
            match action {
                ForkAction::Forward(_) => self.pass_upstream(id, response, now_ms),
                ForkAction::Cancel(at) => self.cancel_branch(id, at, now_ms),
                ForkAction::Answer(best) => self.answer_fork(id, best, now_ms),
                ForkAction::TryNext => self.try_next(id, now_ms),
                ForkAction::Release(at) => self.release_branch(id, at, response, now_ms),
                ForkAction::GiveUp => self.drop_server(id),
            }
        }
    }

    fn pass_upstream(&mut self, id: u64, response: Option<&Message>, now_ms: u64) {
        let (Some(state), Some(response)) = (self.forks.get(&id), response) else { return };
        let (server, bytes) = (state.server, upstream(response, state.source));
        self.respond(server, response.status().unwrap_or(500), bytes, now_ms);
    }

    fn answer_fork(&mut self, id: u64, best: Best, now_ms: u64) {
        let Some(state) = self.forks.get_mut(&id) else { return };
        let (server, message) = (state.server, Arc::clone(&state.message));
        match best {
            Best::Branch(at) => {
                let failure = state.branches.get_mut(at).and_then(|branch| branch.failure.take());
                let (status, bytes) = failure.unwrap_or((500, Vec::new()));
                self.respond(server, status, bytes, now_ms);
            }
            Best::Status(status) => self.answer_server(server, status, Reply::new(&message, status), now_ms),
        }
    }

    fn try_next(&mut self, id: u64, now_ms: u64) {
        let Some(state) = self.forks.get_mut(&id) else { return };
        if state.reserve.is_empty() {
            return;
        }
        let target = state.reserve.remove(0);
        state.fork.add_branch();
        self.start_branch(id, &target, now_ms);
    }

    fn cancel_branch(&mut self, id: u64, at: usize, now_ms: u64) {
        self.timers.clear(TimerKey::TimerC(id, at));
        let Some(client) = self.client_of(id, at).and_then(|key| Some((key, self.clients.get(&key)?))) else { return };
        let (key, client) = client;
        let Some(bytes) = build::cancel(&client.bytes) else { return };
        let (flow, branch) = (client.flow, client.branch.clone());
        self.timers.set(TimerKey::AfterCancel(id, at), now_ms + TRANSACTION_TIMEOUT_MS);
        let outgoing = Outgoing { flow, bytes, branch, method: Method::Cancel, owner: None };
        self.begin_client(ClientKey { id: key.id, cancel: true }, outgoing, now_ms);
    }

    fn release_branch(&mut self, id: u64, at: usize, response: Option<&Message>, now_ms: u64) {
        let numbers = [self.ids.next(), self.ids.next()].map(u64::from_be_bytes);
        let branches = numbers.map(|number| format!("z9hG4bK{number:016x}.0"));
        let client = self.client_of(id, at).and_then(|key| self.clients.get(&key));
        let (Some(client), Some(response)) = (client, response) else { return };
        let flow = client.flow;
        let [ack_branch, bye_branch] = branches;
        let Some([ack, bye]) = build::release(&client.bytes, response, [&ack_branch, &bye_branch]) else { return };
        self.send(flow, ack);
        self.give_up_media(id, at);
        let tag = to_tag(response).unwrap_or_default();
        let first = self.forks.get_mut(&id).is_some_and(|state| state.released.insert(tag));
        if !first {
            // Its ACK was lost; its BYE is repeated by the transaction that it has.
            return;
        }
        let outgoing = Outgoing { flow, bytes: bye, branch: bye_branch, method: Method::Bye, owner: None };
        self.begin_client(ClientKey { id: numbers[1], cancel: false }, outgoing, now_ms);
    }

    fn drop_server(&mut self, id: u64) {
        if let Some(server) = self.forks.get(&id).map(|state| state.server) {
            self.end_server(server);
        }
    }

    pub(super) fn client_of(&self, id: u64, at: usize) -> Option<ClientKey> {
        self.forks.get(&id)?.branches.get(at)?.client
    }

    fn settle_timers(&mut self, id: u64, at: usize, event: BranchEvent, now_ms: u64) {
        self.timers.clear(TimerKey::NoResponse(id, at));
        match event {
            BranchEvent::Provisional(100) => {}
            BranchEvent::Provisional(_) => {
                let ringing = self.timers.clear(TimerKey::TimerC(id, at));
                if ringing {
                    self.timers.set(TimerKey::TimerC(id, at), now_ms + TIMER_C_MS);
                }
            }
            BranchEvent::RingsTooLong => {}
            BranchEvent::Success | BranchEvent::Failure(_) | BranchEvent::Silence | BranchEvent::Unreachable => {
                self.timers.clear(TimerKey::TimerC(id, at));
                self.timers.clear(TimerKey::AfterCancel(id, at));
            }
        }
    }

    /// The request as it leaves (16.6 steps 1 to 8).
    fn outgoing(&self, message: &Message, source: Flow, target: &Target, change: &Change, branch: &str) -> Vec<u8> {
        let mut editor = Editor::new(message);
        if let Some(uri) = target.request_uri.as_ref().or(change.request_uri.as_ref()) {
            editor.set_request_uri(uri);
        }
        editor.add_first(self.via_line(target.flow, branch).as_bytes());
        if let Some(token) = &target.token {
            for line in self.record_route_lines(token, source, target.flow) {
                editor.add_first(line.as_bytes());
            }
        }
        editor.stamp_top_via(source.peer);
        editor.remove_first_items(FieldName::Route, change.remove_routes);
        if change.remove_last_route {
            editor.remove_last_item(FieldName::Route);
        }
        self.strip_credentials(message, &mut editor);
        let left = message.request().ok().and_then(|request| request.max_forwards);
        let left = left.map_or(DEFAULT_MAX_FORWARDS, |left| left.saturating_sub(1));
        editor.set_value(FieldName::MaxForwards, &left.to_string());
        if target.flow.is_reliable() {
            editor.ensure_content_length();
        }
        editor.finish()
    }

    /// Credentials for us are nobody else's business.
    fn strip_credentials(&self, message: &Message, editor: &mut Editor<'_>) {
        for field in message.fields() {
            let credentials = matches!(field.name, FieldName::Authorization | FieldName::ProxyAuthorization);
            let ours = || {
                crate::digest::Credentials::parse(field.value.of(message.bytes()))
                    .is_some_and(|shown| self.directory.realms.contains_key(shown.realm()))
            };
            if credentials && ours() {
                editor.remove_line(field.line);
            }
        }
    }
}

fn to_tag(response: &Message) -> Option<Vec<u8>> {
    let to = NameAddr::parse(response.value(FieldName::To)?)?;
    to.tag().map(<[u8]>::to_vec)
}

/// A response as it goes on to the sender of the request: without our Via (16.7 step 3).
pub(super) fn upstream(response: &Message, source: Flow) -> Vec<u8> {
    let mut editor = Editor::new(response);
    editor.remove_first_items(FieldName::Via, 1);
    if source.is_reliable() {
        editor.ensure_content_length();
    }
    editor.finish()
}

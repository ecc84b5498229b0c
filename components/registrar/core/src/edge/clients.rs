//! Client transactions at work: what we sent, and what came back.

use super::{Edge, TimerKey, build};
use crate::flow::Flow;
use crate::message::{Message, Method};
use crate::proxy::BranchEvent;
use crate::transaction::{Action, ClientEvent, ClientMachine, Kind};

/// A client transaction: the id in our branch, and whether it is the CANCEL that shares the branch of an INVITE.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ClientKey {
    pub(super) id: u64,
    pub(super) cancel: bool,
}

/// A request we sent.
pub(super) struct Client {
    machine: ClientMachine,
    pub(super) flow: Flow,
    pub(super) bytes: Vec<u8>,
    pub(super) branch: String,
    pub(super) method: Method,
    /// The fork and branch that wait for the response; none for CANCEL and BYE of our own.
    owner: Option<(u64, usize)>,
}

/// A request about to be sent.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) flow: Flow,
    pub(super) bytes: Vec<u8>,
    pub(super) branch: String,
    pub(super) method: Method,
    pub(super) owner: Option<(u64, usize)>,
}

impl Edge {
    /// Sends a request and waits for its response.
    pub(super) fn begin_client(&mut self, key: ClientKey, outgoing: Outgoing, now_ms: u64) {
        let Outgoing { flow, bytes, branch, method, owner } = outgoing;
        let kind = if method == Method::Invite { Kind::Invite } else { Kind::NonInvite };
        let (machine, actions) = ClientMachine::start(kind, flow.is_reliable());
        self.clients.insert(key, Client { machine, flow, bytes, branch, method, owner });
        self.clients_by_flow.entry(flow).or_default().insert(key);
        self.act_client(key, actions, None, now_ms);
    }

    /// Feeds one event.
    pub(super) fn step_client(&mut self, key: ClientKey, event: ClientEvent, response: Option<&Message>, now_ms: u64) {
        let Some(client) = self.clients.get_mut(&key) else { return };
        let actions = client.machine.step(event);
        self.act_client(key, actions, response, now_ms);
    }

    /// Stops repeating a request that is not waited for any more.
    pub(super) fn quiet_client(&mut self, key: ClientKey) {
        self.timers.clear(TimerKey::ClientRepeat(key));
    }

    /// Forgets a transaction, whatever its state.
    pub(super) fn end_client(&mut self, key: ClientKey) {
        self.timers.clear(TimerKey::ClientRepeat(key));
        self.timers.clear(TimerKey::ClientEnd(key));
        let Some(client) = self.clients.remove(&key) else { return };
        if let Some(keys) = self.clients_by_flow.get_mut(&client.flow) {
            keys.remove(&key);
            if keys.is_empty() {
                self.clients_by_flow.remove(&client.flow);
            }
        }
        if let Some((fork, branch)) = client.owner {
            self.leave_fork(fork, branch);
        }
    }

    fn act_client(&mut self, key: ClientKey, actions: Vec<Action>, response: Option<&Message>, now_ms: u64) {
        for action in actions {
            let Some(client) = self.clients.get(&key) else { return };
            let (flow, owner) = (client.flow, client.owner);
            match action {
                Action::Send => {
                    let bytes = client.bytes.clone();
                    self.send(flow, bytes);
                }
                Action::SendAck => {
                    if let Some(ack) = response.and_then(|response| build::ack_failure(&client.bytes, response)) {
                        self.send(flow, ack);
                    }
                }
                Action::Deliver => self.deliver(owner, response, now_ms),
                Action::TellTimeout => self.tell(owner, BranchEvent::Silence, now_ms),
                Action::TellUnreachable => self.tell(owner, BranchEvent::Unreachable, now_ms),
                Action::SetRepeat(after_ms) => self.timers.set(TimerKey::ClientRepeat(key), now_ms + after_ms),
                Action::StopRepeat => self.quiet_client(key),
                Action::SetEnd(after_ms) => self.timers.set(TimerKey::ClientEnd(key), now_ms + after_ms),
                Action::Terminate => self.end_client(key),
            }
        }
    }

    fn deliver(&mut self, owner: Option<(u64, usize)>, response: Option<&Message>, now_ms: u64) {
        let (Some((fork, branch)), Some(response)) = (owner, response) else { return };
        self.on_branch_response(fork, branch, response, now_ms);
    }

    fn tell(&mut self, owner: Option<(u64, usize)>, event: BranchEvent, now_ms: u64) {
        if let Some((fork, branch)) = owner {
            self.step_branch(fork, branch, event, None, now_ms);
        }
    }
}

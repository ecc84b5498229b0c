//! Server transactions (RFC 3261 17.2, RFC 6026 7.1).

use super::{Action, Class, Kind, T1_MS, T2_MS, T4_MS, TRANSACTION_TIMEOUT_MS};

/// Where a server transaction is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ServerState {
    /// Non-INVITE: nothing sent yet.
    Trying,
    /// INVITE: begun. Non-INVITE: a provisional response was sent.
    Proceeding,
    /// INVITE: a 2xx was sent; more may follow.
    Accepted,
    /// A final response was sent (INVITE: 3xx to 6xx).
    Completed,
    /// INVITE: ACK came.
    Confirmed,
    /// Over.
    Terminated,
}

/// What happens to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerEvent {
    /// The request came again.
    Request,
    /// ACK came (INVITE only).
    Ack,
    /// The user gives a response; it is stored before the event.
    Respond(Class),
    /// Timer G.
    Repeat,
    /// Timers H, I, J, L.
    End,
    /// The response could not be sent.
    SendFailed,
}

/// A server transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerMachine {
    kind: Kind,
    reliable: bool,
    state: ServerState,
    interval_ms: u64,
}

impl ServerMachine {
    /// One that a request has just begun.
    pub fn new(kind: Kind, reliable: bool) -> Self {
        let state = match kind {
            Kind::Invite => ServerState::Proceeding,
            Kind::NonInvite => ServerState::Trying,
        };
        Self { kind, reliable, state, interval_ms: T1_MS }
    }

    /// Takes one event.
    pub fn step(&mut self, event: ServerEvent) -> Vec<Action> {
        match self.kind {
            Kind::Invite => self.step_invite(event),
            Kind::NonInvite => self.step_non_invite(event),
        }
    }

    /// Where it is.
    pub fn state(&self) -> ServerState {
        self.state
    }

    fn step_invite(&mut self, event: ServerEvent) -> Vec<Action> {
        use ServerState::{Accepted, Completed, Confirmed, Proceeding, Terminated, Trying};
        match (self.state, event) {
            (Proceeding | Trying, ServerEvent::Request) => vec![Action::Send],
            (Proceeding | Trying, ServerEvent::Respond(Class::Provisional)) => vec![Action::Send],
            (Proceeding | Trying, ServerEvent::Respond(Class::Success)) => {
                self.state = Accepted;
                vec![Action::Send, Action::SetEnd(TRANSACTION_TIMEOUT_MS)]
            }
            (Proceeding | Trying, ServerEvent::Respond(Class::Failure)) => self.complete_invite(),
            (Proceeding | Trying, ServerEvent::SendFailed) => vec![Action::TellUnreachable],
            (Proceeding | Trying, ServerEvent::Ack | ServerEvent::Repeat | ServerEvent::End) => Vec::new(),
            // Further 2xx of other branches, and repeats of the one, pass (RFC 6026 7.1).
            (Accepted, ServerEvent::Respond(Class::Success)) => vec![Action::Send],
            (Accepted, ServerEvent::Ack) => vec![Action::Deliver],
            (Accepted, ServerEvent::SendFailed) => vec![Action::TellUnreachable],
            (Accepted | Confirmed, ServerEvent::End) => self.terminate(),
            (Accepted, ServerEvent::Request | ServerEvent::Repeat | ServerEvent::Respond(_)) => Vec::new(),
            (Completed, ServerEvent::Request) => vec![Action::Send],
            (Completed, ServerEvent::Repeat) => self.repeat(),
            (Completed, ServerEvent::Ack) => self.confirm(),
            (Completed, ServerEvent::End) => {
                self.state = Terminated;
                vec![Action::TellTimeout, Action::Terminate]
            }
            (Completed, ServerEvent::SendFailed) => vec![Action::TellUnreachable],
            (Completed, ServerEvent::Respond(_)) => Vec::new(),
            (
                Confirmed,
                ServerEvent::Request
                | ServerEvent::Ack
                | ServerEvent::Respond(_)
                | ServerEvent::Repeat
                | ServerEvent::SendFailed,
            )
            | (Terminated, _) => Vec::new(),
        }
    }

    fn step_non_invite(&mut self, event: ServerEvent) -> Vec<Action> {
        use ServerState::{Accepted, Completed, Confirmed, Proceeding, Terminated, Trying};
        match (self.state, event) {
            (Trying, ServerEvent::Request) => Vec::new(),
            (Proceeding, ServerEvent::Request) => vec![Action::Send],
            (Trying | Proceeding, ServerEvent::Respond(Class::Provisional)) => {
                self.state = Proceeding;
                vec![Action::Send]
            }
            (Trying | Proceeding, ServerEvent::Respond(Class::Success | Class::Failure)) => {
                self.state = Completed;
                vec![Action::Send, Action::SetEnd(if self.reliable { 0 } else { TRANSACTION_TIMEOUT_MS })]
            }
            (Trying | Proceeding | Completed, ServerEvent::SendFailed) => vec![Action::TellUnreachable],
            (Trying | Proceeding, ServerEvent::Ack | ServerEvent::Repeat | ServerEvent::End) => Vec::new(),
            (Completed, ServerEvent::Request) => vec![Action::Send],
            (Completed, ServerEvent::End) => self.terminate(),
            (Completed, ServerEvent::Ack | ServerEvent::Repeat | ServerEvent::Respond(_)) => Vec::new(),
            (Accepted | Confirmed | Terminated, _) => Vec::new(),
        }
    }

    fn complete_invite(&mut self) -> Vec<Action> {
        self.state = ServerState::Completed;
        let mut actions = vec![Action::Send];
        if !self.reliable {
            actions.push(Action::SetRepeat(self.interval_ms));
        }
        actions.push(Action::SetEnd(TRANSACTION_TIMEOUT_MS));
        actions
    }

    fn repeat(&mut self) -> Vec<Action> {
        self.interval_ms = (self.interval_ms * 2).min(T2_MS);
        vec![Action::Send, Action::SetRepeat(self.interval_ms)]
    }

    fn confirm(&mut self) -> Vec<Action> {
        self.state = ServerState::Confirmed;
        vec![Action::StopRepeat, Action::SetEnd(if self.reliable { 0 } else { T4_MS })]
    }

    fn terminate(&mut self) -> Vec<Action> {
        self.state = ServerState::Terminated;
        vec![Action::Terminate]
    }
}

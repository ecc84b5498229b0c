//! Client transactions (RFC 3261 17.1, RFC 6026 7.2).

use super::{Action, Class, Kind, T1_MS, T2_MS, T4_MS, TIMER_D_MS, TRANSACTION_TIMEOUT_MS};

/// Where a client transaction is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ClientState {
    /// INVITE: sent, no answer.
    Calling,
    /// Non-INVITE: sent, no answer.
    Trying,
    /// A provisional response came.
    Proceeding,
    /// INVITE: a 2xx came; more may follow.
    Accepted,
    /// A final response came (INVITE: 3xx to 6xx).
    Completed,
    /// Over.
    Terminated,
}

/// What happens to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientEvent {
    /// A response of this class came.
    Response(Class),
    /// Timers A, E.
    Repeat,
    /// Timers B, D, F, K, M.
    End,
    /// The request could not be sent.
    SendFailed,
}

/// A client transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientMachine {
    kind: Kind,
    reliable: bool,
    state: ClientState,
    interval_ms: u64,
}

impl ClientMachine {
    /// One about to send its request, and what to do for that.
    pub fn start(kind: Kind, reliable: bool) -> (Self, Vec<Action>) {
        let state = match kind {
            Kind::Invite => ClientState::Calling,
            Kind::NonInvite => ClientState::Trying,
        };
        let machine = Self { kind, reliable, state, interval_ms: T1_MS };
        let mut actions = vec![Action::Send];
        if !reliable {
            actions.push(Action::SetRepeat(T1_MS));
        }
        actions.push(Action::SetEnd(TRANSACTION_TIMEOUT_MS));
        (machine, actions)
    }

    /// Takes one event.
    pub fn step(&mut self, event: ClientEvent) -> Vec<Action> {
        match self.kind {
            Kind::Invite => self.step_invite(event),
            Kind::NonInvite => self.step_non_invite(event),
        }
    }

    /// Where it is.
    pub fn state(&self) -> ClientState {
        self.state
    }

    fn step_invite(&mut self, event: ClientEvent) -> Vec<Action> {
        use ClientState::{Accepted, Calling, Completed, Proceeding, Terminated, Trying};
        match (self.state, event) {
            (Calling | Trying, ClientEvent::Repeat) => {
                self.interval_ms *= 2;
                vec![Action::Send, Action::SetRepeat(self.interval_ms)]
            }
            (Calling | Trying, ClientEvent::End) => self.give_up(),
            (Calling | Trying, ClientEvent::SendFailed) => self.unreachable(),
            // Timer C, the proxy's, replaces timer B from here on.
            (Calling | Trying | Proceeding, ClientEvent::Response(Class::Provisional)) => {
                let first = self.state != Proceeding;
                self.state = Proceeding;
                if first { vec![Action::StopRepeat, Action::Deliver] } else { vec![Action::Deliver] }
            }
            (Calling | Trying | Proceeding, ClientEvent::Response(Class::Success)) => {
                self.state = Accepted;
                vec![Action::StopRepeat, Action::Deliver, Action::SetEnd(TRANSACTION_TIMEOUT_MS)]
            }
            (Calling | Trying | Proceeding, ClientEvent::Response(Class::Failure)) => {
                self.state = Completed;
                let end_ms = if self.reliable { 0 } else { TIMER_D_MS };
                vec![Action::StopRepeat, Action::SendAck, Action::Deliver, Action::SetEnd(end_ms)]
            }
            (Proceeding, ClientEvent::SendFailed) => self.unreachable(),
            (Proceeding, ClientEvent::Repeat | ClientEvent::End) => Vec::new(),
            (Accepted, ClientEvent::Response(Class::Success)) => vec![Action::Deliver],
            (Completed, ClientEvent::Response(Class::Failure)) => vec![Action::SendAck],
            (Completed | Accepted, ClientEvent::End) => self.terminate(),
            (Accepted | Completed, ClientEvent::Response(_) | ClientEvent::Repeat | ClientEvent::SendFailed)
            | (Terminated, _) => Vec::new(),
        }
    }

    fn step_non_invite(&mut self, event: ClientEvent) -> Vec<Action> {
        use ClientState::{Accepted, Calling, Completed, Proceeding, Terminated, Trying};
        match (self.state, event) {
            (Trying | Calling, ClientEvent::Repeat) => {
                self.interval_ms = (self.interval_ms * 2).min(T2_MS);
                vec![Action::Send, Action::SetRepeat(self.interval_ms)]
            }
            (Proceeding, ClientEvent::Repeat) => vec![Action::Send, Action::SetRepeat(T2_MS)],
            (Trying | Calling | Proceeding, ClientEvent::End) => self.give_up(),
            (Trying | Calling | Proceeding, ClientEvent::SendFailed) => self.unreachable(),
            (Trying | Calling | Proceeding, ClientEvent::Response(Class::Provisional)) => {
                self.state = Proceeding;
                vec![Action::Deliver]
            }
            (Trying | Calling | Proceeding, ClientEvent::Response(Class::Success | Class::Failure)) => {
                self.state = Completed;
                let end_ms = if self.reliable { 0 } else { T4_MS };
                vec![Action::StopRepeat, Action::Deliver, Action::SetEnd(end_ms)]
            }
            (Completed, ClientEvent::End) => self.terminate(),
            (Completed, ClientEvent::Response(_) | ClientEvent::Repeat | ClientEvent::SendFailed)
            | (Accepted | Terminated, _) => Vec::new(),
        }
    }

    fn give_up(&mut self) -> Vec<Action> {
        self.state = ClientState::Terminated;
        vec![Action::TellTimeout, Action::Terminate]
    }

    fn unreachable(&mut self) -> Vec<Action> {
        self.state = ClientState::Terminated;
        vec![Action::TellUnreachable, Action::Terminate]
    }

    fn terminate(&mut self) -> Vec<Action> {
        self.state = ClientState::Terminated;
        vec![Action::Terminate]
    }
}

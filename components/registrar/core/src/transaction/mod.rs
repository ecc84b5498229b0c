//! The four transaction machines (RFC 3261 17, RFC 6026): states and events in, actions out.
//!
//! ```text
//! UAS INVITE      Proceeding -1xx-> Proceeding -2xx-> Accepted --L--> end
//!                 Proceeding -3xx..6xx-> Completed (G repeats) -ACK-> Confirmed --I--> end;  Completed --H--> end
//! UAS non-INVITE  Trying -1xx-> Proceeding -2xx..6xx-> Completed --J--> end
//! UAC INVITE      Calling (A repeats, B ends) -1xx-> Proceeding -2xx-> Accepted --M--> end
//!                 Calling, Proceeding -3xx..6xx-> Completed (ACK) --D--> end
//! UAC non-INVITE  Trying, Proceeding (E repeats, F ends) -2xx..6xx-> Completed --K--> end
//! ```
//! A machine knows nothing of messages: it says when to send what is stored, when to tell its user, when to end.

mod client;
mod server;

#[cfg(test)]
mod tests;

pub use client::{ClientEvent, ClientMachine, ClientState};
pub use server::{ServerEvent, ServerMachine, ServerState};

/// Round trip estimate.
pub const T1_MS: u64 = 500;
/// Longest pause between repeats of requests other than INVITE and of responses to INVITE.
pub const T2_MS: u64 = 4_000;
/// Longest time a datagram stays in the network.
pub const T4_MS: u64 = 5_000;
/// Timers B, F, H, J, L, M: when a transaction without news is over.
pub const TRANSACTION_TIMEOUT_MS: u64 = 64 * T1_MS;
/// Timer D over datagrams.
pub const TIMER_D_MS: u64 = 32_000;

/// Which of the two kinds a transaction is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Begun by INVITE.
    Invite,
    /// Begun by anything else but ACK.
    NonInvite,
}

/// What a machine wants done, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Send the stored request or latest response (again).
    Send,
    /// Send an ACK for the final response (client INVITE only).
    SendAck,
    /// Hand the message to the transaction's user.
    Deliver,
    /// Tell the user that no answer came in time.
    TellTimeout,
    /// Tell the user that the message could not be sent.
    TellUnreachable,
    /// Call back with the repeat event in this many milliseconds.
    SetRepeat(u64),
    /// Repeat no more.
    StopRepeat,
    /// Call back with the end event in this many milliseconds; replaces an earlier order.
    SetEnd(u64),
    /// Forget the transaction.
    Terminate,
}

/// The class of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// 1xx.
    Provisional,
    /// 2xx.
    Success,
    /// 3xx to 6xx.
    Failure,
}

impl Class {
    /// The class of a status.
    pub fn of(status: u16) -> Self {
        match status {
            0..=199 => Self::Provisional,
            200..=299 => Self::Success,
            300.. => Self::Failure,
        }
    }
}

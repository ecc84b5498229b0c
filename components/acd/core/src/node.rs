//! A media node (an Asterisk host), decided without I/O: whether it is alive ([`Liveness`]), and what becomes of channels and
//! bridges on it that no call knows ([`Strangers`]).
//!
//! ```text
//!              websocket opens, or any answer
//!        .----------------------------------------.
//!        v                                        |
//!      Alive -- a look fails, no websocket --> Doubtful -- a row of failures --> Dead (once) --> any answer: Alive
//! ```
//!
//! Slow is not dead: a node whose websocket is open is alive whatever its REST interface does, only consecutive failures
//! count, and every answer ends the row. What was there before its owner is dealt with by what the interactions' state says;
//! nothing is hung up because its tenant's configuration cannot be read.

mod liveness;
mod strangers;

pub use liveness::{CLOSED_ROW, Liveness, Look, SILENT_FOR_MS, SILENT_ROW, UNREACHABLE_ROW, Verdict};
pub use strangers::{ListedChannel, ListedNode, Owner, StrangerOrder, Strangers, UNCLAIMED_LISTINGS};

#[cfg(test)]
mod tests;

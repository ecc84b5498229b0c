//! What Ringdown's SIP registrar and edge proxy decides, without a socket, a clock, a store or a random source.
//!
//! - [`message`]: SIP messages as bytes, views on them, splices.
//! - [`flow`]: the ways between us and our peers.
//! - [`digest`]: challenges and answers.
//! - [`bindings`]: what a REGISTER does.
//! - [`transaction`]: the four machines of RFC 3261 17.
//! - [`strangers`]: budgets for those who have not proved who they are.
//! - [`proxy`]: branches and the one answer.
//! - [`edge`]: all of it together, inputs in, effects out. The daemon drives this one.
//!
//! Time comes in as UTC milliseconds, randomness as a seed. The same inputs give the same effects.

pub mod bencode;
pub mod bindings;
pub mod digest;
pub mod edge;
pub mod flow;
pub mod message;
pub mod proxy;
pub mod strangers;
pub mod transaction;

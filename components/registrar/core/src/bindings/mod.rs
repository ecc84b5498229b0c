//! The registrar (RFC 3261 10.3): what a REGISTER does to the bindings of an address of record.
//!
//! [`decide`] is the rule, on the bindings as we know them. The write is one atomic step in the store, which checks
//! CSeq and the number of bindings again on what it really holds ([`Refusal`] is its vocabulary too), so that two
//! registrars cannot undo each other's work.

mod binding;
mod decide;
mod location;
mod request;

#[cfg(test)]
mod tests;

pub use binding::{Aor, Binding, Quality};
pub use decide::{Change, Decision, Refusal, decide, surplus};
pub use location::{Locations, Removed};
pub use request::{ContactRequest, Contacts, RegisterRequest};

/// Most bindings of one AOR: a person's phones, not a way to call the world at once.
pub const MAX_BINDINGS: usize = 10;
/// Shortest registration, seconds; less is answered 423.
pub const MIN_EXPIRES_S: u32 = 60;
/// Longest registration, seconds; more is shortened.
pub const MAX_EXPIRES_S: u32 = 3_600;
/// When the phone does not say, seconds.
pub const DEFAULT_EXPIRES_S: u32 = 600;

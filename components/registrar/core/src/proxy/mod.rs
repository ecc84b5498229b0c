//! What a stateful proxy decides about the branches of one request (RFC 3261 16.6 to 16.10).

mod fork;

#[cfg(test)]
mod tests;

pub use fork::{Best, BranchEvent, BranchState, Fork, ForkAction};

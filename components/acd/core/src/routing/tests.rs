//! Three ways to find a fault: a table of every situation and input ([`table`]), a naive model fed the same random history
//! ([`history`] against [`model`]), and what must hold after every step ([`conservation`]). Single features are in
//! [`features`].
//!
//! `RINGDOWN_STEPS` scales the random histories (default 3,000,000 steps); `RINGDOWN_SEED` runs one seed only.

#![expect(clippy::wildcard_enum_match_arm, reason = "a test names what it looks for, not all it does not")]

mod conservation;
mod conversations;
mod features;
mod history;
mod model;
mod setup;
mod table;

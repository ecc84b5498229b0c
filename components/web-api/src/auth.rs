//! Who asks and what they may do: passwords, tokens, sessions, roles, the brake on guessing, and the gate of every route.

pub mod access;
pub mod limiter;
pub mod password;
pub mod principal;
pub mod sessions;
pub mod token;

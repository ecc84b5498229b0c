//! The ACD daemon: duties that act on what the core decides.
//!
//! [`router`] routes the interactions of each tenant whose lease this process holds. Duties share a process and a pool,
//! nothing else; they meet in Redis. [`voice`] controls the calls of the Asterisk node whose lease this process holds.

pub mod config;
pub mod router;
pub mod voice;

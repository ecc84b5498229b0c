//! The edge as a whole, in virtual time.

mod calls;
mod conserve;
mod registering;
mod strangers;
mod torture;
mod torture_messages;
mod world;

//! What the ACD decides, without doing anything: who gets which interaction ([`routing`]), the life of a call's legs
//! ([`call`]), whether a media node is alive and whose its channels are ([`node`]).
//!
//! Inputs and the time go in, effects and the next deadline come out. Nothing here reads a clock, a variable, a socket or a
//! random source, awaits or locks; the crate has no dependency that could.

pub mod call;
pub mod conversation;
pub mod node;
pub mod routing;

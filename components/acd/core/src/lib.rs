//! What the ACD decides, without doing anything: who gets which interaction ([`routing`]), what a conversation's legs
//! and rooms are to be ([`conversation`]), whether a media node is alive and whose its channels are ([`node`]).
//!
//! Inputs and the time go in, effects and the next deadline come out. Nothing here reads a clock, a variable, a socket or a
//! random source, awaits or locks; the crate has no dependency that could.

pub mod conversation;
pub mod node;
pub mod routing;

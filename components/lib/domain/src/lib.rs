//! The words of the trade as types: identities, skills, agents' and interactions' states, numbers, time.
//!
//! Everything here is plain data that cannot be wrong inside: text from outside is parsed into these types at the
//! border and never checked again. This crate depends on serde and uuid only; it never does I/O, reads a clock or
//! draws a random number (an id is made from bytes that the caller drew).

mod agent;
mod id;
mod interaction;
mod number;
mod skill;
mod text;
mod time;

pub use agent::{AgentState, AgentStatus, ReasonCode};
pub use id::{
    AgentId, CommandId, IdError, InteractionId, NodeId, OfferId, QueueId, RouteId, TenantId, TrunkId, UserId,
};
pub use interaction::{
    CustomerSide, Delivery, Direction, EndReason, InteractionState, Media, OfferFailure, Origin, PartyRole, Priority,
    PriorityError, Recording,
};
pub use number::{NumberPlan, PhoneNumber};
pub use skill::{MAX_REQUIREMENTS, MAX_SKILLS_PER_AGENT, SkillLevel, SkillLevelError, SkillName, SkillRequirement};
pub use text::{Name, TextError};
pub use time::TimestampMs;

#[cfg(test)]
mod tests;

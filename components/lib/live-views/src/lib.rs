//! What people see of the live ACD: the same records, names and scopes over REST and WebSocket.
//!
//! | part | for |
//! |---|---|
//! | [`LiveAgent`], [`Interaction`], [`QueueFigures`] | records as they are now |
//! | [`StoryEntry`], [`Decision`] | what happened to an interaction, and why |
//! | [`ClientMessage`], [`ServerMessage`], [`LiveEvent`] | what is said over the WebSocket |
//! | [`Scope`] | who sees what |
//!
//! They mirror `ringdown_events` and `ringdown_domain` field by field; the compiler checks each conversion. Nothing here reads a
//! store, and what only the router needs to know (an agent's place to return to) is not shown.

mod agent;
mod call;
mod figures;
mod interaction;
mod message;
mod scope;
mod story;

pub use agent::{AgentState, AgentStatus, Engagement, EngagementState, LiveAgent};
pub use call::{Call, Direction, Disposition, Origin, Party, PartyKind, PartyRole, Recording};
pub use figures::QueueFigures;
pub use interaction::{Delivery, EndReason, Interaction, InteractionState, Media, Requirement};
pub use message::{ClientMessage, LiveEvent, MAX_CLIENT_MESSAGE_BYTES, Position, ServerMessage, SnapshotCause, Topic};
pub use scope::Scope;
pub use story::{CandidateAgent, CandidateInteraction, Decision, OfferFailure, StoryEntry, StoryEvent, Trigger};

//! Live records as the API shows them: the same as the WebSocket's.

pub use ringdown_live_views::{Delivery, Interaction, LiveAgent, StoryEntry};

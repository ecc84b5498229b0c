//! Conversations: what they are to look like.

mod wanted;

pub use wanted::{is_voice, wanted};

//! What daemons say to each other: commands into a tenant's ACD, outcomes back, journal entries out, effects for the
//! voice duty, the records kept in Redis and the compiled configuration.
//!
//! Everything is JSON with a `kind` tag. A reader ignores fields it does not know, so that a field may be added while
//! two versions run side by side; a field is never renamed or given another meaning: a new one is added instead.
//! `tests.rs` pins a golden sample of each message.

mod command;
mod config;
mod decision;
mod journal;
mod outcome;
mod record;
mod voice;

pub use command::{Command, CommandEnvelope, NewInteraction};
pub use config::{
    AfterNoAnswer, AgentConfig, CompiledConfig, ConfigMeta, PhoneCredential, QueueConfig, QueueRules, RouteConfig,
    SipCredential, TrunkConfig,
};
pub use decision::{CandidateAgent, CandidateInteraction, Decision, MAX_CANDIDATES, Trigger};
pub use journal::{JournalEntry, JournalEvent};
pub use outcome::{Done, Outcome, Refusal, RefusalCode};
pub use record::{AgentRecord, InteractionRecord, RefusalRow, RouterRecord};
pub use voice::{VoiceEffect, VoiceEffectEntry};

/// The version of the messages in this crate, carried by every command envelope. A router refuses a newer one.
pub const MESSAGE_VERSION: u8 = 1;

#[cfg(test)]
mod tests;

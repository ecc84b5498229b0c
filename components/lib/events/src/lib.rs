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
mod recording;
mod voice;

pub use command::{Command, CommandEnvelope, ConsultEnd, NewCall, NewInteraction, SupervisionMode, Target};
pub use config::{
    AfterNoAnswer, AgentConfig, CompiledConfig, ConfigMeta, OutboundRouteConfig, PhoneCredential, QueueConfig,
    QueueRules, RouteConfig, SipCredential, TrunkConfig,
};
pub use decision::{CandidateAgent, CandidateInteraction, Decision, MAX_CANDIDATES, Trigger};
pub use journal::{JournalEntry, JournalEvent};
pub use outcome::{Done, Outcome, Refusal, RefusalCode};
pub use record::{
    AgentRecord, Disposition, Engagement, EngagementState, InteractionRecord, Party, RefusalRow, RouterRecord,
};
pub use recording::{RecordedParty, RecordingNote};
pub use voice::{VoiceEffect, VoiceEffectEntry, WantedConversation, WantedCustomer, WantedLeg, WantedParty};

/// The version of the messages in this crate, carried by every command envelope. A router refuses a newer one.
pub const MESSAGE_VERSION: u8 = 1;

/// For members that records leave out when they are false.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
pub(crate) const fn is_false(value: &bool) -> bool {
    !*value
}

#[cfg(test)]
mod tests;

//! Outcomes: the durable answer to each command, written in the same commit as its effects.

use ringdown_domain::{AgentId, CommandId, InteractionId, OfferId};
use serde::{Deserialize, Serialize};

/// One entry of the outcome stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// The command answered.
    pub command: CommandId,
    /// Done, or refused and nothing changed.
    pub result: Result<Done, Refusal>,
}

/// What a command did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Done {
    /// The change was made.
    Changed,
    /// The interaction was created, and assigned at once if an agent was free.
    Created {
        /// The interaction.
        interaction: InteractionId,
        /// The agent and the offer, when there was a match at once.
        offered: Option<(AgentId, OfferId)>,
    },
    /// Everything was so already; nothing changed.
    Unchanged,
}

/// Why a command was refused. Nothing changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// For programs.
    pub code: RefusalCode,
    /// For people: one sentence.
    pub detail: String,
}

/// The kinds of refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefusalCode {
    /// The agent has an offer or an interaction that forbids it.
    AgentBusy,
    /// Another interaction has this id.
    DuplicateInteraction,
    /// The interaction has ended; nothing leaves that state.
    InteractionEnded,
    /// The command breaks a limit or contradicts itself, or is of a newer version.
    Malformed,
    /// The interaction is not where that is possible: not with an agent, its customer not on the line, no consultation open.
    NotConnected,
    /// The offer is over: withdrawn, failed, accepted by somebody else.
    StaleOffer,
    /// The tenant or the queue holds as many waiting interactions as it may.
    Full,
    /// No such agent.
    UnknownAgent,
    /// No such interaction.
    UnknownInteraction,
    /// No such queue.
    UnknownQueue,
    /// No such skill in this tenant.
    UnknownSkill,
}

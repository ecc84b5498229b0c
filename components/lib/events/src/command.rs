//! Commands: the only way into a tenant's ACD.

use std::collections::BTreeMap;

use ringdown_domain::{
    AgentId, AgentStatus, CommandId, Delivery, EndReason, InteractionId, Media, NodeId, OfferFailure, OfferId,
    PhoneNumber, Priority, QueueId, SkillRequirement, TimestampMs,
};
use serde::{Deserialize, Serialize};

/// One entry of the command stream.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CommandEnvelope {
    /// [`crate::MESSAGE_VERSION`] of the writer.
    pub version: u8,
    /// Identity of the command. A second command with the same id has no effect and gets the first one's outcome.
    pub id: CommandId,
    /// The process that waits for the outcome; it filters the outcome stream by this.
    pub asker: String,
    /// When the command was made, in the asker's clock. Only for reports: the router decides by its own clock.
    pub at_ms: TimestampMs,
    /// What to do.
    pub command: Command,
}

/// What can be asked of the router.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Command {
    /// The agent accepted the offer: the phone was answered, or the desktop's button pressed.
    AcceptOffer {
        /// What was offered.
        interaction: InteractionId,
        /// The offer accepted; a stale one is refused.
        offer: OfferId,
    },
    /// A new interaction arrives.
    CreateInteraction(NewInteraction),
    /// The interaction is over; ends every state, abandon before an agent has it included. Ending twice is accepted.
    EndInteraction {
        /// Which one.
        interaction: InteractionId,
        /// Why. The router turns `CallerHangup` into `Abandoned` when no agent had it.
        reason: EndReason,
        /// When it truly ended, if the asker knows; the router's clock otherwise.
        at_ms: Option<TimestampMs>,
    },
    /// The agent's wrap-up is done before its time.
    FinishWrapUp {
        /// Who.
        agent: AgentId,
    },
    /// The offer came to nothing; the interaction returns to its place.
    FailOffer {
        /// What was offered.
        interaction: InteractionId,
        /// The offer that failed; a stale one is refused.
        offer: OfferId,
        /// Why.
        failure: OfferFailure,
        /// The SIP response code behind it, 300 to 699, if any.
        sip_code: Option<u16>,
    },
    /// Everything on a media node is gone; its interactions end as `NodeLost`.
    LoseNode {
        /// The node.
        node: NodeId,
        /// Only interactions created before this moment are lost: the node may already have new ones.
        before_ms: TimestampMs,
    },
    /// The phone rings.
    RingOffer {
        /// What is offered.
        interaction: InteractionId,
        /// The offer.
        offer: OfferId,
    },
    /// Opens (every agent ready) or closes (every agent not ready, `acd_closed`) the ACD.
    SetAcdOpen {
        /// Open or closed.
        open: bool,
    },
    /// The agent declares a status.
    SetAgentStatus {
        /// Who.
        agent: AgentId,
        /// What.
        status: AgentStatus,
    },
}

/// An interaction as it arrives.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NewInteraction {
    /// Its identity, chosen by who creates it.
    pub id: InteractionId,
    /// What kind.
    pub media: Media,
    /// How it reaches its agent.
    pub delivery: Delivery,
    /// Its queue; its rules apply. None: the tenant's default rules, and `requirements` must not be empty.
    pub queue: Option<QueueId>,
    /// The skills it needs beyond the queue's; at most [`ringdown_domain::MAX_REQUIREMENTS`] together.
    #[serde(default)]
    pub requirements: Vec<SkillRequirement>,
    /// Its priority; the queue's when none.
    pub priority: Option<Priority>,
    /// Who calls.
    pub caller: Option<PhoneNumber>,
    /// What was dialled.
    pub called: Option<PhoneNumber>,
    /// The media node that holds it, for voice.
    pub node: Option<NodeId>,
    /// Free notes of who creates it: at most 16 pairs, keys to 64 and values to 256 characters.
    #[serde(default)]
    pub attributes: BTreeMap<String, String>,
    /// When it truly arrived, if that was earlier than the command (a call that waited while we were away).
    pub arrived_at_ms: Option<TimestampMs>,
}

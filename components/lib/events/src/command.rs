//! Commands: the only way into a tenant's ACD.

use std::collections::BTreeMap;

use ringdown_domain::{
    AgentId, AgentStatus, CommandId, Delivery, EndReason, InteractionId, Media, NodeId, OfferFailure, OfferId,
    PhoneNumber, Priority, QueueId, Recording, SkillRequirement, TimestampMs,
};
use serde::{Deserialize, Serialize};

use crate::Disposition;

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
    /// The customer who was dialled has answered.
    AnswerCustomer {
        /// Which interaction.
        interaction: InteractionId,
    },
    /// Its agent asks somebody about a connected interaction; the customer is on hold meanwhile. Refused while a
    /// consultation is open.
    ConsultInteraction {
        /// About which interaction.
        interaction: InteractionId,
        /// The identity of the consultation, chosen by who asks.
        consult: InteractionId,
        /// Whom.
        target: Target,
    },
    /// The open consultation of an interaction comes to its end.
    EndConsult {
        /// Of which interaction (the parent).
        interaction: InteractionId,
        /// How.
        how: ConsultEnd,
    },
    /// The leg of an agent or an outside number that was joined to the conversation is gone.
    EndLeg {
        /// Whose leg it was: the interaction or a child of it.
        interaction: InteractionId,
        /// The offer (or the identity of an outside leg).
        leg: OfferId,
        /// When, true time.
        at_ms: TimestampMs,
    },
    /// Gives the agent more time to wrap up.
    ExtendWrapUp {
        /// Who.
        agent: AgentId,
        /// By how much, 1,000 to 3,600,000 ms.
        by_ms: u64,
    },
    /// Puts the customer of a connected interaction on hold, or takes the customer back.
    HoldInteraction {
        /// Which one.
        interaction: InteractionId,
        /// On hold, or not.
        held: bool,
    },
    /// Another queue for an interaction that waits or is offered. It keeps its arrival.
    MoveInteraction {
        /// Which one.
        interaction: InteractionId,
        /// Where to.
        queue: QueueId,
    },
    /// Mutes the agent's leg of a connected interaction, or opens it.
    MuteInteraction {
        /// Which one.
        interaction: InteractionId,
        /// Muted, or not.
        muted: bool,
    },
    /// The edge saw the agent's first phone come, or the last one go.
    ObservePhone {
        /// Who.
        agent: AgentId,
        /// Whether a phone is registered.
        reachable: bool,
    },
    /// An agent calls an outside number, or another agent. The agent's own phone is called first.
    PlaceCall(NewCall),
    /// Sends digits (DTMF) to the customer.
    SendDigits {
        /// Which interaction.
        interaction: InteractionId,
        /// 1 to 32 of `0-9 * # A-D`.
        digits: String,
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
    /// How its agent classes an interaction: from its offer until the record is gone.
    SetDisposition {
        /// Which one.
        interaction: InteractionId,
        /// How.
        disposition: Disposition,
    },
    /// Starts, pauses, goes on with or stops the recording of a connected interaction.
    SetRecording {
        /// Which one.
        interaction: InteractionId,
        /// What it is from now on.
        recording: Recording,
    },
    /// A supervisor takes part in a connected interaction, or changes how.
    SuperviseInteraction {
        /// Which one.
        interaction: InteractionId,
        /// The identity of the supervision, chosen by who asks; an open one of the same supervisor changes instead.
        supervision: InteractionId,
        /// The supervisor, who is an agent with a phone.
        supervisor: AgentId,
        /// How.
        mode: SupervisionMode,
    },
    /// Hands a connected interaction over without a word: the agent is out at once.
    TransferInteraction {
        /// Which one.
        interaction: InteractionId,
        /// To whom.
        target: Target,
    },
}

/// To whom a call, a consultation or a transfer goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// This agent, if free.
    Agent(AgentId),
    /// An outside number.
    Number(PhoneNumber),
    /// Whoever the queue finds.
    Queue(QueueId),
}

/// How a consultation ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConsultEnd {
    /// The one who was asked is out; the agent is with the customer again.
    Cancel,
    /// The one who was asked has the customer; the agent is out.
    Complete,
    /// All three talk.
    Conference,
}

/// How a supervisor takes part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SupervisionMode {
    /// Talks with everybody.
    Barge,
    /// Hears everybody, unheard.
    Listen,
    /// Has the interaction; its agent is out.
    TakeOver,
    /// Hears everybody; only the agent hears the supervisor.
    Whisper,
}

/// A call that an agent makes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewCall {
    /// Its identity, chosen by who asks.
    pub id: InteractionId,
    /// Who calls.
    pub agent: AgentId,
    /// Whom: a number or an agent. A queue is refused.
    pub target: Target,
    /// The queue for which the agent calls: its wrap-up, recording and caller id; none: the tenant's default rules.
    pub queue: Option<QueueId>,
    /// The media node that is to hold the call.
    pub node: NodeId,
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

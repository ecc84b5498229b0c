//! Routing: which agent gets which interaction.
//!
//! One [`Router`] holds the live ACD of one tenant. The shell feeds it commands, configurations and the time, then drains what
//! happened ([`Router::drain_events`]) and what changed in the stored state ([`Router::drain_changes`]), and calls
//! [`Router::tick`] no later than [`Router::next_deadline`].
//!
//! ```text
//! interaction   (arrival) --> Waiting <--> Offered --> Connected --> Ended
//!                                |  ^         |          |   ^         ^
//!                                |  '---------|- transfer '   | External (an outside number has it)
//!                                '------------'----- abandon wins -----'
//! agent state   Idle --> Reserved --> Ringing --> Talking --> WrappingUp --> Idle
//!                 ^---------'------------'  offer over
//! ```
//!
//! The parts: `skills` (names as numbers), `line` (available agents in order), `waiting` (waiting interactions by need), `slots`
//! (the records), `arrival`, `offers`, `ending`, `agents`, `phones`, `config`, `restore` (one kind of input each),
//! `controls`, `consult`, `transfers`, `placing`, `supervision` (what agents and supervisors do with calls), `family` (who takes part
//! in a conversation), `directed` (offers to one agent by name), `settling` (the two searches), `timers`, `changes` (what the shell
//! must write), `hashing`.
//!
//! What holds after every call, and what tests check:
//! - An interaction is in exactly one place: waiting, with one agent (offered or connected), or over.
//! - An agent in the line is ready, idle and matches nobody who waits.
//! - What occupies an agent is an interaction, a child of another one included; a child's parent is live and names it.
//! - A record alone says everything: a router restored from records goes on exactly as the one that wrote them.
//!
//! It never reads a clock, draws a random number, does I/O, knows SIP, or decides by anything that is not in a record or in the
//! configuration.

mod agents;
mod arrival;
mod changes;
mod config;
mod consult;
mod controls;
mod directed;
mod ending;
mod family;
mod hashing;
mod line;
mod offers;
mod phones;
mod placing;
mod restore;
mod settling;
mod skills;
mod slots;
mod supervision;
mod timers;
mod transfers;
mod waiting;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::hash::BuildHasherDefault;

use ringdown_domain::{AgentId, InteractionId, QueueId, TimestampMs};
use ringdown_events::{
    AgentRecord, CandidateInteraction, Command, Done, InteractionRecord, JournalEvent, QueueRules, Refusal, RefusalCode,
};

pub use changes::{AvailabilityChange, Changes, QueueChange};
pub use offers::OfferIds;

use line::{Hit, Line};
use skills::Skills;
use slots::{Agents, EndedIds, Interactions, RecentlyEnded};
use timers::Timers;
use waiting::{QueuePlace, Waiting};

/// Most waiting interactions of a tenant; a further one is refused as full.
pub const MAX_WAITING: u32 = 100_000;
/// How many ended interactions a router answers for; an older one is unknown.
pub const MAX_ENDED: usize = slots::MAX_ENDED;
/// How many final records a router keeps, so that they can be classed after the end.
pub const MAX_RECENT: usize = slots::MAX_RECENT;
/// How long an agent whose phone was busy is left alone, in milliseconds; twice as long each further time in a row.
pub const BUSY_PAUSE_MS: u64 = 2_000;
/// The longest such pause: about a minute, as long as a caller may be worth another try.
pub const MAX_PAUSE_MS: u64 = 64_000;

/// Iteration order is never relied on; a fixed hasher keeps the core free of random sources.
type Hashing = BuildHasherDefault<hashing::Folding>;

/// The live ACD of one tenant. See the module's text.
#[derive(Debug)]
pub struct Router {
    offer_ids: OfferIds,
    clock: Clock,
    open: bool,
    config_version: u64,
    skills: Skills,
    queues: BTreeMap<QueueId, Queue>,
    agents: Agents,
    interactions: Interactions,
    ended: EndedIds,
    recent: RecentlyEnded,
    /// Roots of families in which something changed since they were settled.
    families: BTreeSet<InteractionId>,
    line: Line,
    waiting: Waiting,
    timers: Timers,
    events: Vec<(TimestampMs, JournalEvent)>,
    changes: Changes,
    offered: u32,
    connected: u32,
    repairs: u32,
    /// Room for what a search finds, kept between searches.
    hits: Vec<Hit>,
    places: Vec<QueuePlace>,
}

/// A queue, live.
#[derive(Debug, Default)]
struct Queue {
    /// None when the queue is no longer configured but interactions of it still live.
    rules: Option<QueueRules>,
    waiting: u32,
}

/// The router's time: never goes back.
#[derive(Debug, Default)]
struct Clock {
    now: TimestampMs,
    /// Added to the shell's time, after the records of a predecessor turned out to be from a clock ahead of ours.
    ahead_ms: u64,
}

/// Figures for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Configured agents, and removed ones who still talk.
    pub agents: u32,
    /// Agents who could get an interaction now.
    pub agents_available: u32,
    /// Interactions that wait.
    pub waiting: u32,
    /// Interactions offered to an agent.
    pub offered: u32,
    /// Interactions with an agent.
    pub connected: u32,
    /// Records [`Router::restore`] had to put right.
    pub repairs: u32,
}

impl Router {
    /// An ACD without agents, closed, before its first configuration.
    #[must_use]
    pub fn new(offer_ids: OfferIds) -> Self {
        Self {
            offer_ids,
            clock: Clock::default(),
            open: false,
            config_version: 0,
            skills: Skills::default(),
            queues: BTreeMap::new(),
            agents: Agents::default(),
            interactions: Interactions::default(),
            ended: EndedIds::default(),
            recent: RecentlyEnded::default(),
            families: BTreeSet::new(),
            line: Line::new(),
            waiting: Waiting::default(),
            timers: Timers::default(),
            events: Vec::new(),
            changes: Changes::default(),
            offered: 0,
            connected: 0,
            repairs: 0,
            hits: Vec::new(),
            places: Vec::new(),
        }
    }

    /// Carries out one command at `now`. Deadlines that passed are not looked at first: after an absence the backlog of
    /// commands comes before [`Self::tick`], so that a phone answered in time counts as answered.
    ///
    /// # Errors
    /// The refusal for the asker; the command then changed nothing.
    pub fn command(&mut self, now: TimestampMs, command: &Command) -> Result<Done, Refusal> {
        self.advance(now);
        let result = self.carry_out(command);
        self.settle_families();
        result
    }

    fn carry_out(&mut self, command: &Command) -> Result<Done, Refusal> {
        match command {
            Command::AcceptOffer { interaction, offer } => self.accept_offer(*interaction, *offer),
            Command::AnswerCustomer { interaction } => self.answer_customer(*interaction),
            Command::ConsultInteraction { interaction, consult, target } => {
                self.consult(*interaction, *consult, target)
            }
            Command::CreateInteraction(new) => self.create_interaction(new),
            Command::EndConsult { interaction, how } => self.end_consult(*interaction, *how),
            Command::EndInteraction { interaction, reason, at_ms } => {
                self.end_interaction(*interaction, *reason, *at_ms)
            }
            Command::EndLeg { interaction, leg, at_ms } => self.end_leg(*interaction, *leg, *at_ms),
            Command::ExtendWrapUp { agent, by_ms } => self.extend_wrap_up(*agent, *by_ms),
            Command::FinishWrapUp { agent } => self.finish_wrap_up(*agent),
            Command::FailOffer { interaction, offer, failure, sip_code } => {
                self.fail_offer(*interaction, *offer, *failure, *sip_code)
            }
            Command::HoldInteraction { interaction, held } => self.hold(*interaction, *held),
            Command::LoseNode { node, before_ms } => Ok(self.lose_node(node, *before_ms)),
            Command::MoveInteraction { interaction, queue } => self.move_to_queue(*interaction, *queue),
            Command::MuteInteraction { interaction, muted } => self.mute(*interaction, *muted),
            Command::ObservePhone { agent, reachable } => self.observe_phone(*agent, *reachable),
            Command::PlaceCall(new) => self.place_call(new),
            Command::RingOffer { interaction, offer } => self.ring_offer(*interaction, *offer),
            Command::SendDigits { interaction, digits } => self.send_digits(*interaction, digits),
            Command::SetAcdOpen { open } => Ok(self.set_open(*open)),
            Command::SetAgentStatus { agent, status } => self.set_agent_status(*agent, status),
            Command::SetDisposition { interaction, disposition } => self.set_disposition(*interaction, disposition),
            Command::SetRecording { interaction, recording } => self.set_recording(*interaction, *recording),
            Command::SuperviseInteraction { interaction, supervision, supervisor, mode } => {
                self.supervise(*interaction, *supervision, *supervisor, *mode)
            }
            Command::TransferInteraction { interaction, target } => self.transfer(*interaction, target),
        }
    }

    /// Carries out every deadline that has passed at `now`, in their order.
    pub fn tick(&mut self, now: TimestampMs) {
        self.advance(now);
        while let Some(timer) = self.timers.pop_due(self.clock.now) {
            self.on_timer(timer);
            self.settle_families();
        }
        self.settle_families();
    }

    /// Appends what happened since the last drain, in order, each with its time.
    pub fn drain_events(&mut self, out: &mut Vec<(TimestampMs, JournalEvent)>) {
        out.append(&mut self.events);
    }

    /// When [`Self::tick`] is due next, in the shell's time; none: nothing is pending.
    #[must_use]
    pub fn next_deadline(&self) -> Option<TimestampMs> {
        self.timers.next().map(|due| TimestampMs(due.0.saturating_sub(self.clock.ahead_ms)))
    }

    /// An agent as it is now. A removed agent who still talks is found until the interaction ends.
    #[must_use]
    pub fn agent(&self, id: AgentId) -> Option<&AgentRecord> {
        self.agents.find(id).map(|slot| &self.agents[slot].record)
    }

    /// A live interaction. One that ended is in [`Changes::ended`] and is gone from here.
    #[must_use]
    pub fn interaction(&self, id: InteractionId) -> Option<&InteractionRecord> {
        self.interactions.find(id).map(|slot| &self.interactions[slot].record)
    }

    /// All agents, in no order that means anything.
    pub fn agents(&self) -> impl Iterator<Item = &AgentRecord> {
        self.agents.iter().map(|(_, agent)| &agent.record)
    }

    /// All live interactions, in no order that means anything.
    pub fn interactions(&self) -> impl Iterator<Item = &InteractionRecord> {
        self.interactions.iter().map(|(_, interaction)| &interaction.record)
    }

    /// Whether the ACD is open.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.open
    }

    /// The version of the configuration in force; 0 before the first.
    #[must_use]
    pub fn config_version(&self) -> u64 {
        self.config_version
    }

    /// Figures for metrics.
    #[must_use]
    pub fn counts(&self) -> Counts {
        Counts {
            agents: self.agents.len(),
            agents_available: self.line.available(),
            waiting: self.waiting.len(),
            offered: self.offered,
            connected: self.connected,
            repairs: self.repairs,
        }
    }

    /// How many interactions wait in a queue.
    #[must_use]
    pub fn waiting_in(&self, queue: QueueId) -> u32 {
        self.queues.get(&queue).map_or(0, |queue| queue.waiting)
    }

    /// Where offers get their identities.
    #[must_use]
    pub fn offer_ids(&self) -> &OfferIds {
        &self.offer_ids
    }

    /// Takes the time and lets agents whose pause is over back into the line. That comes before everything else, so that
    /// the line is always complete.
    fn advance(&mut self, now: TimestampMs) {
        self.clock.advance(now);
        while let Some(agent) = self.timers.pop_rested(self.clock.now) {
            self.end_pause(agent);
        }
    }

    fn now(&self) -> TimestampMs {
        self.clock.now
    }

    fn emit(&mut self, event: JournalEvent) {
        self.events.push((self.clock.now, event));
    }
}

impl Clock {
    /// Largest step back, in milliseconds, that is waited out. A larger one moves our time forward for good, since deadlines
    /// must come due even when a predecessor's clock was hours ahead.
    const MAX_STEP_BACK_MS: u64 = 1_000;

    fn advance(&mut self, now: TimestampMs) {
        let behind_ms = self.now.since_ms(now.plus_ms(self.ahead_ms));
        if behind_ms > Self::MAX_STEP_BACK_MS {
            self.ahead_ms = self.ahead_ms.saturating_add(behind_ms);
        }
        self.now = self.now.max(now.plus_ms(self.ahead_ms));
    }
}

impl From<&QueuePlace> for CandidateInteraction {
    fn from(place: &QueuePlace) -> Self {
        Self { interaction: place.id, rank_ms: place.rank }
    }
}

fn refuse<T>(code: RefusalCode, detail: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal { code, detail: detail.into() })
}

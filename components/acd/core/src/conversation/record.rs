//! The state of a conversation. Its JSON is the call record.

use std::collections::{BTreeMap, BTreeSet};

use ringdown_domain::{AgentId, EndReason, InteractionId, OfferId, PhoneNumber, TenantId, TimestampMs};
use ringdown_events::{WantedConversation, WantedCustomer, WantedLeg};
use serde::{Deserialize, Serialize};

use super::machine::Order;
use super::seats::{Room, Seat};
use super::tracks::Track;

/// A phone that has not rung so shortly before its offer ends cannot be reached. The edge, which hears the phone, reports a
/// silent one within seconds; whatever spoke at all may take its whole ring time.
pub const UNRUNG_MARGIN_MS: u64 = 300;
/// A caller whose call the router has not confirmed after this is answered anyway: nobody is refused because the router is
/// away.
pub const ANSWER_ANYWAY_MS: u64 = 500;
/// Q.850 16: normal clearing.
pub const NORMAL_CLEARING: u16 = 16;
/// Q.850 34: no circuit available; the caller's side hears 503 and may go another way.
pub const CONGESTION: u16 = 34;

/// The layout of a call record. One with another number is not read: the call is rebuilt from the listing and its interaction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub(super) struct RecordVersion;

impl RecordVersion {
    /// Members with defaults may be added under the same number.
    const NUMBER: u8 = 2;
}

impl TryFrom<u8> for RecordVersion {
    type Error = String;

    fn try_from(number: u8) -> Result<Self, String> {
        if number == Self::NUMBER { Ok(Self) } else { Err(format!("a call record of version {number}")) }
    }
}

impl From<RecordVersion> for u8 {
    fn from(_: RecordVersion) -> Self {
        RecordVersion::NUMBER
    }
}

/// One conversation. Its JSON is the call record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conversation {
    pub(super) version: RecordVersion,
    /// Whose.
    pub tenant: TenantId,
    /// The interaction to which it belongs.
    pub interaction: InteractionId,
    /// When it began.
    pub arrived_at_ms: TimestampMs,
    /// The customer's side; none: there is no customer, or none yet.
    pub(super) customer: Option<Customer>,
    /// Everybody else's.
    pub(super) legs: Vec<Leg>,
    /// Legs that were made so far; numbers their channels.
    pub(super) legs_made: u32,
    /// Accepted legs that ended, until the router no longer wants them.
    #[serde(default)]
    pub(super) gone: Vec<GoneLeg>,
    /// The router's last word; none: it has not said anything yet.
    pub(super) wanted: Option<WantedConversation>,
    /// Where each channel was last ordered to be.
    #[serde(default)]
    pub(super) seats: BTreeMap<String, Seat>,
    /// When a seat was last ordered: what a listing showed before says nothing about it.
    #[serde(default)]
    pub(super) seated_at_ms: TimestampMs,
    /// Channels that Asterisk refused to seat as ordered.
    #[serde(default)]
    pub(super) unsure: BTreeSet<String>,
    /// Legs that were last ordered to be mute.
    #[serde(default)]
    pub(super) muted: BTreeSet<String>,
    /// Rooms in which the ringing tone was last ordered to play.
    #[serde(default)]
    pub(super) ringback: BTreeSet<Room>,
    /// What is recorded.
    #[serde(default)]
    pub(super) tracks: Vec<Track>,
    /// Tracks that were begun so far; numbers them.
    #[serde(default)]
    pub(super) tracks_made: u32,
    /// What the router was told of the interaction's end. Its answer may be lost with the process that asked: a successor
    /// tells it again.
    pub(super) reported: Option<End>,
    /// The interaction is over; what is left is cleaned up.
    pub(super) over: bool,
}

/// How and when an interaction ended, as its legs showed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// Who or what ended it.
    pub reason: EndReason,
    /// True time.
    pub at_ms: TimestampMs,
}

/// The customer's leg.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Customer {
    /// Its channel: named by Asterisk when the customer called, by us when the customer was dialled.
    pub channel: String,
    /// How far it is.
    pub stage: CustomerStage,
    /// The number that was dialled; none: the customer called.
    #[serde(default)]
    pub dialled: Option<PhoneNumber>,
    /// Trunks that were tried for it, less one.
    #[serde(default)]
    pub way: u32,
}

/// How far the customer's leg is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CustomerStage {
    /// Called, and was not answered yet. A refusal is a SIP error now; afterwards it is a hang-up.
    Arrived,
    /// Is being dialled.
    Dialling,
    /// The customer's phone rings.
    Ringing,
    /// Answered.
    Here,
    /// Left.
    Gone,
}

/// A leg that is not the customer's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leg {
    /// Its identity: the offer it serves.
    pub leg: OfferId,
    /// The interaction of that offer.
    pub interaction: InteractionId,
    /// The agent; none: an outside number.
    pub agent: Option<AgentId>,
    /// Its channel.
    pub channel: String,
    /// The number in its channel's name.
    pub number: u32,
    /// When it was dialled.
    pub dialled_at_ms: TimestampMs,
    /// When its offer ends; none: unknown.
    pub deadline_ms: Option<TimestampMs>,
    /// How far it is.
    pub stage: LegStage,
    /// The phone rang at some time.
    pub rang: bool,
    /// The router knows that the offer is over, or we told it: no second report.
    pub settled: bool,
    /// It was in its place, as Asterisk said: whoever is there was heard.
    pub joined: bool,
    /// Trunks that were tried for it, less one.
    #[serde(default)]
    pub way: u32,
}

/// How far a leg is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LegStage {
    /// INVITE sent.
    Dialling,
    /// The phone rings.
    Ringing,
    /// Answered.
    Answered,
    /// Hung up by us; its end is awaited.
    Closing,
}

/// An accepted leg that ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct GoneLeg {
    pub(super) leg: OfferId,
    pub(super) interaction: InteractionId,
    pub(super) channel: String,
    pub(super) at_ms: TimestampMs,
    /// Whether it was in its place; none: it was ordered there, and Asterisk has not said.
    pub(super) joined: Option<bool>,
}

/// What a node shows of a conversation whose record cannot be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// The customer was answered.
    pub is_answered: bool,
    /// The customer sits in the main room: with somebody who may be gone.
    pub is_joined: bool,
    /// Its other legs.
    pub legs: Vec<FoundLeg>,
}

/// A leg that a node shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundLeg {
    /// Its channel.
    pub channel: String,
    /// The number in its name.
    pub number: u32,
    /// For which offer it was answered; none: not yet.
    pub answered_for: Option<OfferId>,
    /// It rings, or was answered.
    pub rings: bool,
}

impl Conversation {
    fn new(tenant: TenantId, interaction: InteractionId, arrived_at_ms: TimestampMs) -> Self {
        Self {
            version: RecordVersion,
            tenant,
            interaction,
            arrived_at_ms,
            customer: None,
            legs: Vec::new(),
            legs_made: 0,
            gone: Vec::new(),
            wanted: None,
            seats: BTreeMap::new(),
            seated_at_ms: TimestampMs(0),
            unsure: BTreeSet::new(),
            muted: BTreeSet::new(),
            ringback: BTreeSet::new(),
            tracks: Vec::new(),
            tracks_made: 0,
            reported: None,
            over: false,
        }
    }

    /// A call that has just arrived, and what to do first. It is answered when the router has confirmed it.
    #[must_use]
    pub fn arrived(
        tenant: TenantId,
        interaction: InteractionId,
        channel: String,
        arrived_at_ms: TimestampMs,
    ) -> (Self, Vec<Order>) {
        let mut call = Self::new(tenant, interaction, arrived_at_ms);
        call.customer = Some(Customer { channel, stage: CustomerStage::Arrived, dialled: None, way: 0 });
        (call, vec![Order::Create])
    }

    /// A conversation that begins with us: nobody is there yet. Feed what is wanted next.
    #[must_use]
    pub fn outgoing(tenant: TenantId, interaction: InteractionId, begun_at_ms: TimestampMs) -> Self {
        Self::new(tenant, interaction, begun_at_ms)
    }

    /// A call whose record is not there or cannot be read, from what the node shows of it. `wanted` is what its interaction's
    /// state says; feed that afterwards, as for every call that is taken over.
    #[must_use]
    pub fn rebuilt(
        tenant: TenantId,
        interaction: InteractionId,
        channel: String,
        arrived_at_ms: TimestampMs,
        now: TimestampMs,
        found: Found,
        wanted: &WantedConversation,
    ) -> Self {
        let (mut call, _create) = Self::arrived(tenant, interaction, channel, arrived_at_ms);
        call.legs_made = found.legs.iter().map(|leg| leg.number).max().unwrap_or(0);
        if let Some(customer) = &mut call.customer
            && found.is_answered
        {
            customer.stage = CustomerStage::Here;
        }
        for leg in &wanted.legs {
            if let Some(shown) = leg_shown(&found, leg) {
                call.legs.push(rebuilt_leg(leg, shown, found.is_joined, now));
            }
        }
        call
    }

    /// The customer's leg, if there is or was one.
    #[must_use]
    pub const fn customer(&self) -> Option<&Customer> {
        self.customer.as_ref()
    }

    /// Everybody else's legs.
    #[must_use]
    pub fn legs(&self) -> &[Leg] {
        &self.legs
    }

    /// The leg of a channel.
    #[must_use]
    pub fn leg(&self, channel: &str) -> Option<&Leg> {
        self.legs.iter().find(|leg| leg.channel == channel)
    }

    /// The router's last word.
    #[must_use]
    pub const fn wanted(&self) -> Option<&WantedConversation> {
        self.wanted.as_ref()
    }

    /// Whether a channel is the customer's or a leg's.
    #[must_use]
    pub fn knows(&self, channel: &str) -> bool {
        self.customer.as_ref().is_some_and(|customer| customer.channel == channel) || self.leg(channel).is_some()
    }

    /// What the router was told of the end, if the legs showed one.
    #[must_use]
    pub const fn reported(&self) -> Option<End> {
        self.reported
    }

    /// Whether the interaction is over and only remains are left.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        self.over
    }

    /// Whether nothing is left of it.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.over && self.customer_channel().is_none() && self.legs.is_empty()
    }

    /// When [`super::Input::Tick`] has something to do.
    #[must_use]
    pub fn deadline(&self) -> Option<TimestampMs> {
        if self.over {
            return None;
        }
        if self.customer.as_ref().is_some_and(|customer| customer.stage == CustomerStage::Arrived) {
            return Some(self.arrived_at_ms.plus_ms(ANSWER_ANYWAY_MS));
        }
        self.legs.iter().filter_map(Leg::unrung_deadline).min()
    }

    /// The customer's channel, while the customer is there.
    pub(super) fn customer_channel(&self) -> Option<&str> {
        self.customer.as_ref().filter(|customer| customer.stage != CustomerStage::Gone).map(|it| it.channel.as_str())
    }

    /// What is wanted of a leg.
    pub(super) fn wanted_leg(&self, leg: OfferId) -> Option<&WantedLeg> {
        self.wanted.as_ref()?.legs.iter().find(|wanted| wanted.leg == leg)
    }

    /// Whether the router has committed that this leg takes part.
    pub(super) fn is_accepted(&self, leg: OfferId) -> bool {
        self.wanted_leg(leg).is_some_and(|wanted| wanted.ring_until_ms.is_none())
    }

    /// The place the router wants for the customer: until it has spoken, the queue.
    pub(super) fn wanted_customer(&self) -> &WantedCustomer {
        self.wanted.as_ref().map_or(&WantedCustomer::Waiting, |wanted| &wanted.customer)
    }
}

impl Leg {
    /// Until when it must have rung.
    pub(super) fn unrung_deadline(&self) -> Option<TimestampMs> {
        let end = self.deadline_ms.filter(|_| self.stage == LegStage::Dialling)?;
        Some(TimestampMs(end.0.saturating_sub(UNRUNG_MARGIN_MS)).max(self.dialled_at_ms))
    }
}

/// The channel of a wanted leg: the one that was answered for it, or, while it rings, the last one dialled.
fn leg_shown<'a>(found: &'a Found, wanted: &WantedLeg) -> Option<&'a FoundLeg> {
    let answered = found.legs.iter().find(|leg| leg.answered_for == Some(wanted.leg));
    let last = || found.legs.iter().max_by_key(|leg| leg.number).filter(|leg| leg.answered_for.is_none());
    answered.or_else(|| wanted.ring_until_ms.and_then(|_| last()))
}

fn rebuilt_leg(wanted: &WantedLeg, shown: &FoundLeg, is_joined: bool, now: TimestampMs) -> Leg {
    let is_accepted = wanted.ring_until_ms.is_none();
    Leg {
        leg: wanted.leg,
        interaction: wanted.interaction,
        agent: super::machine::agent_of(&wanted.party),
        channel: shown.channel.clone(),
        number: shown.number,
        // Older than any listing, so that the next one counts.
        dialled_at_ms: TimestampMs(now.0.saturating_sub(10_000)),
        deadline_ms: wanted.ring_until_ms,
        stage: match (is_accepted, shown.rings) {
            (true, _) => LegStage::Answered,
            (false, true) => LegStage::Ringing,
            (false, false) => LegStage::Dialling,
        },
        rang: shown.rings,
        settled: is_accepted,
        joined: is_accepted && is_joined,
        way: 0,
    }
}

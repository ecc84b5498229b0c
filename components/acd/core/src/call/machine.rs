//! The machine itself: one [`Call`], its inputs and orders.

use ringdown_domain::{AgentId, EndReason, InteractionId, OfferFailure, OfferId, TenantId, TimestampMs};
use serde::{Deserialize, Serialize};

use super::outcome::{LegEnd, judge};

/// A phone that has not rung so shortly before its offer ends cannot be reached. The edge, which hears the phone, reports a
/// silent one within seconds; whatever spoke at all may take its whole ring time.
pub const UNRUNG_MARGIN_MS: u64 = 300;
/// A caller whose call the router has not confirmed after this is answered anyway: nobody is refused because the router is
/// away.
pub const ANSWER_ANYWAY_MS: u64 = 500;
/// A leg younger than this may be missing from a listing that was taken while it was made.
const LISTING_GRACE_MS: u64 = 3_000;

/// The layout of a call record. One with another number is not read: the call is rebuilt from the listing and its interaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
struct RecordVersion;

impl RecordVersion {
    /// Members with defaults may be added under the same number.
    const NUMBER: u8 = 1;
}

impl Default for RecordVersion {
    /// Records from before there was a number.
    fn default() -> Self {
        Self
    }
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

/// One inbound call. Its JSON is the call record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    #[serde(default)]
    version: RecordVersion,
    /// Whose.
    pub tenant: TenantId,
    /// Its interaction.
    pub interaction: InteractionId,
    /// The caller's channel, named by Asterisk.
    pub caller: String,
    /// When it arrived.
    pub arrived_at_ms: TimestampMs,
    /// Whether the caller's channel still exists, as far as we know.
    caller_here: bool,
    /// The agent's leg.
    leg: Option<Leg>,
    /// Legs dialled so far; numbers their channels.
    legs: u32,
    /// The offer for which both legs were to be joined.
    joined: Option<OfferId>,
    /// The offer for which they were joined, as Asterisk said.
    #[serde(default)]
    heard: Option<OfferId>,
    /// The agent's leg ended while it was being joined: whether the caller heard anybody is not known yet.
    #[serde(default)]
    lost: Option<LostLeg>,
    /// The caller was answered, or is just being answered. Before, a refusal is a SIP error; afterwards it is a hang-up.
    answered: bool,
    /// What the router was told of the interaction's end. Its answer may be lost with the process that asked: a successor
    /// tells it again.
    reported: Option<End>,
    /// The interaction is over; what is left is cleaned up.
    over: bool,
}

/// How and when an interaction ended, as its legs showed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// Who or what ended it.
    pub reason: EndReason,
    /// True time.
    pub at_ms: TimestampMs,
}

/// A leg that ended while it was being joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct LostLeg {
    offer: OfferId,
    at_ms: TimestampMs,
}

/// The leg to an agent's phone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leg {
    /// The offer it serves.
    pub offer: OfferId,
    /// The agent.
    pub agent: AgentId,
    /// Its channel.
    pub channel: String,
    /// When it was dialled.
    pub dialled_at_ms: TimestampMs,
    /// When its offer ends; none in the records of earlier versions.
    #[serde(default)]
    pub deadline_ms: Option<TimestampMs>,
    /// How far it is.
    pub stage: LegStage,
    /// The phone rang at some time.
    pub rang: bool,
    /// The router knows that the offer is over, or we told it: no second report.
    pub settled: bool,
}

/// How far a leg is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LegStage {
    /// INVITE sent.
    Dialling,
    /// The phone rings.
    Ringing,
    /// Answered; the router is asked.
    Answered,
    /// Hung up by us; its end is awaited.
    Closing,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// The caller's channel is gone.
    CallerGone {
        /// When, true time.
        at_ms: TimestampMs,
    },
    /// The router's answer to the creation: the call is wanted, or not.
    Created {
        /// Why not, as a Q.850 cause; none: it has an interaction now.
        refused: Option<u16>,
    },
    /// The router's answer to the acceptance of an offer.
    Accepted {
        /// Which.
        offer: OfferId,
        /// Whether it stands.
        accepted: bool,
    },
    /// The router committed the acceptance.
    Connect {
        /// Which offer.
        offer: OfferId,
    },
    /// The router ended the interaction.
    End,
    /// What became of joining the legs.
    Joined {
        /// For which offer.
        offer: OfferId,
        /// They are joined; otherwise Asterisk refused, since one of them is gone.
        done: bool,
    },
    /// The agent's phone rings, or says that it works on it.
    LegRinging {
        /// Its channel.
        channel: String,
    },
    /// The agent's phone was answered.
    LegAnswered {
        /// Its channel.
        channel: String,
    },
    /// The agent's leg is gone.
    LegGone {
        /// Its channel.
        channel: String,
        /// How.
        end: LegEnd,
        /// When, true time.
        at_ms: TimestampMs,
    },
    /// What a listing of the media node shows of the call.
    Listed(Listed),
    /// The router offers the interaction to an agent.
    Offer {
        /// Which offer.
        offer: OfferId,
        /// To whom.
        agent: AgentId,
        /// The phone's address of record, `user@realm`; none: the agent has no phone.
        address: Option<String>,
        /// When the offer ends by itself.
        deadline_ms: TimestampMs,
    },
    /// Time passed; see [`Call::deadline`].
    Tick,
    /// The router ended an offer.
    Withdraw {
        /// Which.
        offer: OfferId,
    },
}

/// What a listing of the media node shows of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The caller's channel exists.
    pub caller: bool,
    /// The leg's channel exists.
    pub leg: bool,
    /// The caller's channel is in one of the call's bridges.
    pub caller_bridged: bool,
    /// The caller's channel is in the mixing bridge: it was joined to somebody, who may be gone.
    pub caller_mixed: bool,
    /// Caller and leg are in the mixing bridge together.
    pub joined: bool,
}

/// What a node shows of a call whose record cannot be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FoundCall {
    /// The caller was answered.
    pub is_answered: bool,
    /// The caller is in the mixing bridge.
    pub is_mixed: bool,
    /// The interaction is connected for the leg's offer.
    pub is_connected: bool,
    /// The leg of the interaction's current offer, if its channel is there.
    pub leg: Option<Leg>,
    /// The highest number a leg of the call has; a further one must have a name of its own.
    pub legs: u32,
}

/// What to do. Orders of one call are carried out in their order; each may be repeated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// To the router: the phone was answered.
    AcceptOffer(OfferId),
    /// To Asterisk: answer the caller and play music.
    AnswerWithMusic,
    /// To the router: a new interaction.
    Create,
    /// To Asterisk: ring the phone on this channel for so long.
    Dial {
        /// The channel's id.
        channel: String,
        /// The offer, for the Stasis arguments.
        offer: OfferId,
        /// `user@realm`.
        address: String,
        /// Longest ringing in milliseconds.
        ring_ms: u64,
    },
    /// To the router: the interaction is over.
    EndInteraction(EndReason, TimestampMs),
    /// To the router: the offer came to nothing.
    FailOffer(OfferId, OfferFailure, Option<u16>),
    /// Nothing is left: forget the call and its record.
    Forget,
    /// To Asterisk: hang up the caller with this Q.850 cause; one who was not answered gets the SIP error it stands for.
    HangUpCaller(u16),
    /// To Asterisk: hang up a leg.
    HangUpLeg(String),
    /// To Asterisk: join caller and leg.
    Join(String),
    /// To Asterisk: delete the call's bridges.
    RemoveBridges,
    /// To the router: the phone rings.
    RingOffer(OfferId),
}

/// Q.850 16: normal clearing.
pub const NORMAL_CLEARING: u16 = 16;
/// Q.850 34: no circuit available; the caller's side hears 503 and may go another way.
pub const CONGESTION: u16 = 34;

impl Call {
    /// A call that has just arrived, and what to do first. It is answered when the router has confirmed it.
    #[must_use]
    pub fn arrived(
        tenant: TenantId,
        interaction: InteractionId,
        caller: String,
        arrived_at_ms: TimestampMs,
    ) -> (Self, Vec<Order>) {
        let call = Self {
            tenant,
            interaction,
            version: RecordVersion,
            caller,
            arrived_at_ms,
            caller_here: true,
            leg: None,
            legs: 0,
            joined: None,
            heard: None,
            lost: None,
            answered: false,
            reported: None,
            over: false,
        };
        (call, vec![Order::Create])
    }

    /// A call whose record is not there or cannot be read, from what the node shows of it and what its interaction is doing.
    /// Feed the interaction's state afterwards, as for every call that is taken over.
    #[must_use]
    pub fn rebuilt(
        tenant: TenantId,
        interaction: InteractionId,
        caller: String,
        arrived_at_ms: TimestampMs,
        found: FoundCall,
    ) -> Self {
        let (mut call, _create) = Self::arrived(tenant, interaction, caller, arrived_at_ms);
        call.answered = found.is_answered;
        call.legs = found.legs;
        if let Some(leg) = found.leg {
            if found.is_connected {
                call.joined = Some(leg.offer);
                call.heard = found.is_mixed.then_some(leg.offer);
            }
            call.leg = Some(leg);
        }
        call
    }

    /// The agent's leg, if there is one.
    #[must_use]
    pub const fn leg(&self) -> Option<&Leg> {
        self.leg.as_ref()
    }

    /// The offer for which caller and agent were joined.
    #[must_use]
    pub const fn joined(&self) -> Option<OfferId> {
        self.joined
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
    pub const fn is_done(&self) -> bool {
        self.over && !self.caller_here && self.leg.is_none()
    }

    /// When [`Input::Tick`] has something to do.
    #[must_use]
    pub fn deadline(&self) -> Option<TimestampMs> {
        if !self.answered && !self.over {
            return Some(self.arrived_at_ms.plus_ms(ANSWER_ANYWAY_MS));
        }
        let leg = self.leg.as_ref().filter(|leg| leg.stage == LegStage::Dialling)?;
        leg.deadline_ms.map(|end| TimestampMs(end.0.saturating_sub(UNRUNG_MARGIN_MS)).max(leg.dialled_at_ms))
    }

    /// Takes one input; gives the orders, first one first.
    #[must_use]
    pub fn take(&mut self, now: TimestampMs, input: Input) -> Vec<Order> {
        let mut orders = Vec::new();
        match input {
            Input::CallerGone { at_ms } => self.caller_gone(at_ms, &mut orders),
            Input::Created { refused: None } => self.answer(&mut orders),
            Input::Created { refused: Some(cause) } => self.finish(cause, &mut orders),
            Input::Accepted { offer, accepted } => self.accepted(offer, accepted, &mut orders),
            Input::Connect { offer } => self.connect(offer, &mut orders),
            Input::End => self.finish(NORMAL_CLEARING, &mut orders),
            Input::Joined { offer, done } => self.join_settled(offer, done, &mut orders),
            Input::LegRinging { channel } => self.leg_ringing(&channel, &mut orders),
            Input::LegAnswered { channel } => self.leg_answered(&channel, &mut orders),
            Input::LegGone { channel, end, at_ms } => self.leg_gone(&channel, end, at_ms, &mut orders),
            Input::Listed(listed) => self.listed(now, listed, &mut orders),
            Input::Offer { offer, agent, address, deadline_ms } => {
                self.offered(now, offer, agent, address, deadline_ms, &mut orders);
            }
            Input::Tick => self.tick(now, &mut orders),
            Input::Withdraw { offer } => self.withdraw(offer, &mut orders),
        }
        if self.is_done() {
            orders.push(Order::RemoveBridges);
            orders.push(Order::Forget);
        }
        orders
    }

    fn answer(&mut self, orders: &mut Vec<Order>) {
        if !self.answered && !self.over && self.caller_here {
            self.answered = true;
            orders.push(Order::AnswerWithMusic);
        }
    }

    fn offered(
        &mut self,
        now: TimestampMs,
        offer: OfferId,
        agent: AgentId,
        address: Option<String>,
        deadline_ms: TimestampMs,
        orders: &mut Vec<Order>,
    ) {
        let known = self.leg.as_ref().is_some_and(|leg| leg.offer == offer);
        if known || self.over || !self.caller_here || self.joined == Some(offer) {
            return;
        }
        // An offer is a confirmation too, and may come before it; and the router took an earlier one back.
        self.answer(orders);
        self.take_back(orders);
        let Some(address) = address else {
            orders.push(Order::FailOffer(offer, OfferFailure::Unreachable, None));
            return;
        };
        // A leg of an older offer is on its way out, or its withdrawal is still to come.
        self.drop_leg(orders);
        self.legs += 1;
        let channel = format!("rd-{}-a{}", self.interaction, self.legs);
        let ring_ms = deadline_ms.since_ms(now).max(1_000);
        orders.push(Order::Dial { channel: channel.clone(), offer, address, ring_ms });
        self.leg = Some(Leg {
            offer,
            agent,
            channel,
            dialled_at_ms: now,
            deadline_ms: Some(deadline_ms),
            stage: LegStage::Dialling,
            rang: false,
            settled: false,
        });
    }

    fn leg_ringing(&mut self, channel: &str, orders: &mut Vec<Order>) {
        let Some(leg) = self.leg.as_mut().filter(|leg| leg.channel == channel) else { return };
        if leg.stage == LegStage::Dialling {
            leg.stage = LegStage::Ringing;
            leg.rang = true;
            orders.push(Order::RingOffer(leg.offer));
        }
    }

    fn leg_answered(&mut self, channel: &str, orders: &mut Vec<Order>) {
        let ours = self.leg.as_ref().is_some_and(|leg| leg.channel == channel);
        if !ours || self.over {
            // A leg that was answered too late, or of an older offer.
            orders.push(Order::HangUpLeg(channel.to_owned()));
            return;
        }
        let Some(leg) = self.leg.as_mut() else { return };
        match leg.stage {
            LegStage::Dialling | LegStage::Ringing => {
                leg.stage = LegStage::Answered;
                orders.push(Order::AcceptOffer(leg.offer));
            }
            LegStage::Answered => {}
            LegStage::Closing => orders.push(Order::HangUpLeg(channel.to_owned())),
        }
    }

    fn accepted(&mut self, offer: OfferId, accepted: bool, orders: &mut Vec<Order>) {
        let ours = self.leg.as_ref().is_some_and(|leg| leg.offer == offer);
        if ours && !accepted && self.joined != Some(offer) {
            self.drop_leg(orders);
        }
    }

    fn connect(&mut self, offer: OfferId, orders: &mut Vec<Order>) {
        if self.over || !self.caller_here || self.joined == Some(offer) {
            return;
        }
        match self.leg.as_mut().filter(|leg| leg.offer == offer) {
            Some(leg) if leg.stage != LegStage::Closing => {
                leg.stage = LegStage::Answered;
                leg.settled = true;
                orders.push(Order::Join(leg.channel.clone()));
                self.joined = Some(offer);
            }
            // The agent hung up before the caller was there: the caller heard nobody and goes back to the old place.
            Some(_) | None => {
                self.answered = true;
                orders.push(Order::FailOffer(offer, OfferFailure::HungUp, None));
            }
        }
    }

    /// Asterisk said what became of the legs.
    fn join_settled(&mut self, offer: OfferId, done: bool, orders: &mut Vec<Order>) {
        if self.joined != Some(offer) || self.over {
            return;
        }
        if done {
            self.heard = Some(offer);
        }
        if self.lost.is_some_and(|lost| lost.offer == offer) {
            self.decide_lost(done, orders);
        }
    }

    /// The agent's leg ended while it was being joined: whoever was heard has had the call, who was not has not.
    fn decide_lost(&mut self, was_joined: bool, orders: &mut Vec<Order>) {
        let Some(lost) = self.lost.take() else { return };
        if was_joined {
            self.report(EndReason::AgentHangup, lost.at_ms, orders);
            self.finish(NORMAL_CLEARING, orders);
        } else {
            self.take_back(orders);
            orders.push(Order::FailOffer(lost.offer, OfferFailure::HungUp, None));
        }
    }

    /// The router ended the offer. It does so to one that was joined only when it heard that nobody came together.
    fn withdraw(&mut self, offer: OfferId, orders: &mut Vec<Order>) {
        if self.joined == Some(offer) {
            self.take_back(orders);
        } else if self.leg.as_ref().is_some_and(|leg| leg.offer == offer) {
            self.drop_leg(orders);
        }
    }

    /// A caller whose connection the router took back waits again, with music.
    fn take_back(&mut self, orders: &mut Vec<Order>) {
        if self.joined.take().is_none() {
            return;
        }
        (self.heard, self.lost) = (None, None);
        self.drop_leg(orders);
        if self.caller_here && !self.over {
            orders.push(Order::AnswerWithMusic);
        }
    }

    fn leg_gone(&mut self, channel: &str, end: LegEnd, at_ms: TimestampMs, orders: &mut Vec<Order>) {
        let Some(leg) = self.leg.take_if(|leg| leg.channel == channel) else { return };
        if self.over {
            return;
        }
        if self.joined == Some(leg.offer) {
            self.lost = Some(LostLeg { offer: leg.offer, at_ms });
            if self.heard == Some(leg.offer) {
                self.decide_lost(true, orders);
            }
        } else if !leg.settled {
            let failure = if leg.stage == LegStage::Answered { OfferFailure::HungUp } else { judge(end, leg.rang) };
            orders.push(Order::FailOffer(leg.offer, failure, end.sip_code));
        }
    }

    fn caller_gone(&mut self, at_ms: TimestampMs, orders: &mut Vec<Order>) {
        if !std::mem::replace(&mut self.caller_here, false) || self.over {
            return;
        }
        self.report(EndReason::CallerHangup, at_ms, orders);
        self.finish(NORMAL_CLEARING, orders);
    }

    fn report(&mut self, reason: EndReason, at_ms: TimestampMs, orders: &mut Vec<Order>) {
        self.reported = Some(End { reason, at_ms });
        orders.push(Order::EndInteraction(reason, at_ms));
    }

    fn listed(&mut self, now: TimestampMs, listed: Listed, orders: &mut Vec<Order>) {
        let was_over = self.over;
        if let Some(known) = self.leg.clone()
            && !listed.leg
            && now.since_ms(known.dialled_at_ms) > LISTING_GRACE_MS
        {
            self.leg_gone(&known.channel, LegEnd::default(), now, orders);
        }
        self.seen_together(now, listed);
        if !listed.caller {
            self.caller_gone(now, orders);
        } else if was_over {
            // An earlier hang-up got lost.
            orders.push(Order::HangUpCaller(NORMAL_CLEARING));
        } else if self.lost.is_some() {
            self.decide_lost(listed.caller_mixed, orders);
        } else if !self.over && now.since_ms(self.arrived_at_ms) > LISTING_GRACE_MS {
            self.repair(listed, orders);
        }
    }

    /// What a listing says about a connection whose joining nobody reported.
    fn seen_together(&mut self, now: TimestampMs, listed: Listed) {
        let Some(offer) = self.joined.filter(|_| !self.over) else { return };
        if listed.joined {
            self.heard = Some(offer);
        }
        // A record of before says that they were to be joined, and no leg is left.
        if self.leg.is_none() && self.lost.is_none() {
            self.lost = Some(LostLeg { offer, at_ms: now });
        }
    }

    /// Repeats what did not happen: a bridge order that got lost with the process that gave it.
    fn repair(&mut self, listed: Listed, orders: &mut Vec<Order>) {
        match &self.leg {
            Some(leg) if self.joined == Some(leg.offer) => {
                if !listed.joined && listed.leg {
                    orders.push(Order::Join(leg.channel.clone()));
                }
            }
            Some(_) | None => {
                if !listed.caller_bridged {
                    self.answered = true;
                    orders.push(Order::AnswerWithMusic);
                }
            }
        }
    }

    fn tick(&mut self, now: TimestampMs, orders: &mut Vec<Order>) {
        if self.deadline().is_none_or(|deadline| now < deadline) {
            return;
        }
        if !self.answered {
            return self.answer(orders);
        }
        if let Some(leg) = &self.leg {
            orders.push(Order::FailOffer(leg.offer, OfferFailure::Unreachable, None));
        }
        self.drop_leg(orders);
    }

    /// Hangs up the leg and expects no report of its offer any more.
    fn drop_leg(&mut self, orders: &mut Vec<Order>) {
        let Some(leg) = &mut self.leg else { return };
        leg.settled = true;
        if leg.stage != LegStage::Closing {
            leg.stage = LegStage::Closing;
            orders.push(Order::HangUpLeg(leg.channel.clone()));
        }
    }

    /// The interaction is over: everything that is left is hung up.
    fn finish(&mut self, cause: u16, orders: &mut Vec<Order>) {
        if std::mem::replace(&mut self.over, true) {
            return;
        }
        self.drop_leg(orders);
        if self.caller_here {
            orders.push(Order::HangUpCaller(cause));
        }
    }
}

//! The machine itself: one [`Call`], its inputs and orders.

use ringdown_domain::{AgentId, EndReason, InteractionId, OfferFailure, OfferId, TenantId, TimestampMs};
use serde::{Deserialize, Serialize};

use super::outcome::{LegEnd, judge};

/// A phone that has not rung after this is dead: a live one answers 180 within a round trip.
pub const DEAD_PHONE_MS: u64 = 2_000;
/// A caller whose call the router has not confirmed after this is answered anyway: nobody is refused because the router is
/// away.
pub const ANSWER_ANYWAY_MS: u64 = 500;
/// A leg younger than this may be missing from a listing that was taken while it was made.
const LISTING_GRACE_MS: u64 = 3_000;

/// One inbound call. Its JSON is the call record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
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
    /// The offer for which both legs were joined.
    joined: Option<OfferId>,
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
    /// The agent's phone rings.
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
    /// Caller and leg are in the mixing bridge together.
    pub joined: bool,
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
            caller,
            arrived_at_ms,
            caller_here: true,
            leg: None,
            legs: 0,
            joined: None,
            answered: false,
            reported: None,
            over: false,
        };
        (call, vec![Order::Create])
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
        let leg = self.leg.as_ref()?;
        (leg.stage == LegStage::Dialling).then(|| leg.dialled_at_ms.plus_ms(DEAD_PHONE_MS))
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
            Input::Connect { offer } => self.connect(now, offer, &mut orders),
            Input::End => self.finish(NORMAL_CLEARING, &mut orders),
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
        // An offer is a confirmation too, and may come before it.
        self.answer(orders);
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

    fn connect(&mut self, now: TimestampMs, offer: OfferId, orders: &mut Vec<Order>) {
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
            // The agent hung up between the answer and the commit: the interaction cannot stay connected to nobody.
            Some(_) | None => self.report(EndReason::AgentHangup, now, orders),
        }
    }

    fn withdraw(&mut self, offer: OfferId, orders: &mut Vec<Order>) {
        if self.leg.as_ref().is_some_and(|leg| leg.offer == offer) && self.joined != Some(offer) {
            self.drop_leg(orders);
        }
    }

    fn leg_gone(&mut self, channel: &str, end: LegEnd, at_ms: TimestampMs, orders: &mut Vec<Order>) {
        let Some(leg) = self.leg.take_if(|leg| leg.channel == channel) else { return };
        if self.over {
            return;
        }
        if self.joined == Some(leg.offer) {
            self.report(EndReason::AgentHangup, at_ms, orders);
            self.finish(NORMAL_CLEARING, orders);
        } else if !leg.settled {
            let failure = if leg.stage == LegStage::Answered { OfferFailure::Rejected } else { judge(end, leg.rang) };
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
        if !listed.caller {
            self.caller_gone(now, orders);
        } else if was_over {
            // An earlier hang-up got lost.
            orders.push(Order::HangUpCaller(NORMAL_CLEARING));
        } else if !self.over && now.since_ms(self.arrived_at_ms) > LISTING_GRACE_MS {
            self.repair(listed, orders);
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

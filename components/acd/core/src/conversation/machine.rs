//! Inputs, and what follows from each.

use std::collections::{BTreeMap, BTreeSet};

use ringdown_domain::{AgentId, EndReason, InteractionId, OfferFailure, OfferId, PhoneNumber, TimestampMs};
use ringdown_events::{WantedConversation, WantedCustomer, WantedLeg, WantedParty};

use super::outcome::{LegEnd, judge};
use super::record::{Conversation, Customer, CustomerStage, End, GoneLeg, Leg, LegStage, NORMAL_CLEARING};
use super::seats::{Room, Seat, SeenSeat};
use super::tracks::Track;

/// A leg younger than this may be missing from a listing that was taken while it was made.
const LISTING_GRACE_MS: u64 = 3_000;
/// How long an outside number that the conversation dials by itself may ring.
const CUSTOMER_RING_MS: u64 = 60_000;

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// The router's answer to the acceptance of an offer.
    Accepted {
        /// Which.
        leg: OfferId,
        /// Whether it stands.
        accepted: bool,
    },
    /// The router's answer to the creation: the call is wanted, or not.
    Created {
        /// Why not, as a Q.850 cause; none: it has an interaction now.
        refused: Option<u16>,
    },
    /// A channel was answered.
    Answered {
        /// The customer's (whom we dialled) or a leg's.
        channel: String,
    },
    /// A channel is gone.
    Gone {
        /// The customer's or a leg's.
        channel: String,
        /// How.
        end: LegEnd,
        /// When, true time.
        at_ms: TimestampMs,
    },
    /// What a listing of the media node shows of the conversation.
    Listed(Listed),
    /// No further trunk leads to the number of this channel.
    NoWay {
        /// The customer's or a leg's.
        channel: String,
    },
    /// A phone rings, or says that it works on it.
    Ringing {
        /// The customer's channel (whom we dialled) or a leg's.
        channel: String,
    },
    /// What became of seating channels.
    Seated {
        /// Which.
        channels: Vec<String>,
        /// They are there; otherwise Asterisk refused, since one of them is gone.
        done: bool,
    },
    /// Digits for the customer.
    SendDigits {
        /// 1 to 32 of `0-9 * # A-D`.
        digits: String,
    },
    /// Time passed; see [`Conversation::deadline`].
    Tick,
    /// The router says how the conversation is to look.
    Wanted(WantedConversation),
}

/// What a listing of the media node shows of a conversation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listed {
    /// When it was asked for.
    pub taken_at_ms: TimestampMs,
    /// Channels of the conversation that exist.
    pub channels: BTreeSet<String>,
    /// Where they are, those that are somewhere.
    pub seats: BTreeMap<String, SeenSeat>,
}

/// What to do. Orders of one conversation are carried out in their order; each may be repeated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// To the router: the phone was answered.
    AcceptOffer(InteractionId, OfferId),
    /// To the router: the customer whom we dialled has answered.
    AnswerCustomer,
    /// To Asterisk: answer the caller and play music.
    AnswerWithMusic(String),
    /// To Asterisk: record a party.
    BeginTrack(Track),
    /// To the router: a new interaction.
    Create,
    /// To Asterisk: ring an agent's phone on this channel for so long.
    Dial {
        /// The channel's id.
        channel: String,
        /// The offer, for the Stasis arguments.
        leg: OfferId,
        /// `user@realm`.
        address: String,
        /// Longest ringing in milliseconds.
        ring_ms: u64,
        /// The phone is to answer by itself.
        auto_answer: bool,
    },
    /// To Asterisk: dial an outside number.
    DialNumber {
        /// The channel's id.
        channel: String,
        /// The leg's identity, for the Stasis arguments; none: it is the customer's.
        leg: Option<OfferId>,
        /// The number.
        number: PhoneNumber,
        /// Trunks to pass over: they were tried.
        way: u32,
        /// Longest ringing in milliseconds.
        ring_ms: u64,
    },
    /// To the router: the interaction is over.
    EndInteraction(EndReason, TimestampMs),
    /// To the router: the leg, which took part, is gone.
    EndLeg(InteractionId, OfferId, TimestampMs),
    /// To Asterisk: delete a spy's bridge and spying channel; the number is that of the leg.
    EndSpying {
        /// The spy's leg number.
        number: u32,
    },
    /// To Asterisk: end a recording.
    EndTrack(Track),
    /// To the router: the offer came to nothing.
    FailOffer(InteractionId, OfferId, OfferFailure, Option<u16>),
    /// Nothing is left: forget the conversation and its record.
    Forget,
    /// To Asterisk: hang up the customer with this Q.850 cause; one who was not answered gets the SIP error it stands for.
    HangUpCustomer(String, u16),
    /// To Asterisk: hang up a leg.
    HangUpLeg(String),
    /// To Asterisk: nobody hears this leg, or everybody again.
    Mute {
        /// Its channel.
        channel: String,
        /// Muted, or not.
        muted: bool,
    },
    /// To Asterisk: write nothing of a recording, or go on, as its `paused` says.
    PauseTrack(Track),
    /// To Asterisk: delete the conversation's bridges.
    RemoveBridges,
    /// To the router: the phone rings.
    RingOffer(InteractionId, OfferId),
    /// To Asterisk: play the ringing tone in a room, or stop it.
    Ringback {
        /// Which.
        room: Room,
        /// Play, or stop.
        on: bool,
    },
    /// To Asterisk: put channels into a room, all or none.
    Seat {
        /// Which room.
        room: Room,
        /// The channels that are not there yet.
        channels: Vec<String>,
    },
    /// To Asterisk: send digits to a channel's other end.
    SendDigits {
        /// The channel.
        channel: String,
        /// The digits.
        digits: String,
    },
    /// To Asterisk: let a channel hear what another says and hears.
    Spy {
        /// The spy's channel.
        channel: String,
        /// Its leg number, which names the bridge and the spying channel.
        number: u32,
        /// On whom.
        on: String,
        /// Whether that one hears the spy.
        whispers: bool,
    },
}

/// The agent of a party, if it is one.
pub(super) const fn agent_of(party: &WantedParty) -> Option<AgentId> {
    match party {
        WantedParty::Agent { agent, .. } => Some(*agent),
        WantedParty::Number { .. } => None,
    }
}

impl Conversation {
    /// Takes one input; gives the orders, first one first.
    #[must_use]
    pub fn take(&mut self, now: TimestampMs, input: Input) -> Vec<Order> {
        let mut orders = Vec::new();
        match input {
            Input::Accepted { leg, accepted } => self.accepted(leg, accepted, &mut orders),
            Input::Created { refused: None } => self.answer(&mut orders),
            Input::Created { refused: Some(cause) } => self.finish(cause, &mut orders),
            Input::Answered { channel } => self.answered(&channel, &mut orders),
            Input::Gone { channel, end, at_ms } => self.gone(&channel, end, at_ms, &mut orders),
            Input::Listed(listed) => self.listed(now, &listed, &mut orders),
            Input::NoWay { channel } => self.no_way(now, &channel, &mut orders),
            Input::Ringing { channel } => self.ringing(&channel, &mut orders),
            Input::Seated { channels, done } => self.seated(&channels, done, &mut orders),
            Input::SendDigits { digits } => self.send_digits(digits, &mut orders),
            Input::Tick => self.tick(now, &mut orders),
            Input::Wanted(wanted) => self.want(now, wanted, &mut orders),
        }
        self.arrange(now, &mut orders);
        if self.is_done() {
            orders.push(Order::RemoveBridges);
            orders.push(Order::Forget);
        }
        orders
    }

    fn answer(&mut self, orders: &mut Vec<Order>) {
        if self.over {
            return;
        }
        let Some(customer) = self.customer.as_mut().filter(|it| it.stage == CustomerStage::Arrived) else { return };
        customer.stage = CustomerStage::Here;
        let channel = customer.channel.clone();
        self.seats.insert(channel.clone(), Seat::Room(Room::Waiting));
        orders.push(Order::AnswerWithMusic(channel));
    }

    /// The router's word: who is to be there, and where.
    fn want(&mut self, now: TimestampMs, wanted: WantedConversation, orders: &mut Vec<Order>) {
        if self.over {
            return;
        }
        if let WantedCustomer::Gone { .. } = wanted.customer {
            self.wanted = Some(wanted);
            return self.finish(NORMAL_CLEARING, orders);
        }
        // That the router speaks of it is the answer to its creation, too, and may come before it.
        self.answer(orders);
        self.gone.retain(|gone| wanted.legs.iter().any(|leg| leg.leg == gone.leg));
        self.try_seats_again();
        self.wanted = Some(wanted.clone());
        self.drop_unwanted(orders);
        for leg in &wanted.legs {
            match leg.ring_until_ms {
                Some(until_ms) => self.call(now, leg, until_ms, orders),
                None => self.take_part(now, leg, orders),
            }
        }
        if let WantedCustomer::Dialled { number } = &wanted.customer
            && self.customer.is_none()
            && self.main_leg().is_some()
        {
            self.dial_customer(number.clone(), 0, orders);
        }
    }

    fn drop_unwanted(&mut self, orders: &mut Vec<Order>) {
        let unwanted = |leg: &&Leg| leg.stage != LegStage::Closing && self.wanted_leg(leg.leg).is_none();
        let channels: Vec<String> = self.legs.iter().filter(unwanted).map(|leg| leg.channel.clone()).collect();
        for channel in channels {
            self.drop_leg(&channel, orders);
        }
    }

    /// Calls the party of a leg, unless that was done.
    fn call(&mut self, now: TimestampMs, wanted: &WantedLeg, until_ms: TimestampMs, orders: &mut Vec<Order>) {
        let is_known = self.legs.iter().any(|leg| leg.leg == wanted.leg);
        if is_known || self.customer.as_ref().is_some_and(|customer| customer.stage == CustomerStage::Gone) {
            return;
        }
        let ring_ms = until_ms.since_ms(now).max(1_000);
        let number = self.legs_made + 1;
        let channel = format!("rd-{}-a{number}", self.interaction);
        match &wanted.party {
            WantedParty::Agent { address: None, .. } => {
                let failed = OfferFailure::Unreachable;
                return orders.push(Order::FailOffer(wanted.interaction, wanted.leg, failed, None));
            }
            WantedParty::Agent { address: Some(address), .. } => orders.push(Order::Dial {
                channel: channel.clone(),
                leg: wanted.leg,
                address: address.clone(),
                ring_ms,
                auto_answer: wanted.auto_answer,
            }),
            WantedParty::Number { number: dialled } => orders.push(Order::DialNumber {
                channel: channel.clone(),
                leg: Some(wanted.leg),
                number: dialled.clone(),
                way: 0,
                ring_ms,
            }),
        }
        self.legs_made = number;
        self.legs.push(Leg {
            leg: wanted.leg,
            interaction: wanted.interaction,
            agent: agent_of(&wanted.party),
            channel,
            number,
            dialled_at_ms: now,
            deadline_ms: Some(until_ms),
            stage: LegStage::Dialling,
            rang: false,
            settled: false,
            joined: false,
            way: 0,
        });
    }

    /// The router committed that a leg takes part: from now on it is seated, or its end is told.
    fn take_part(&mut self, now: TimestampMs, wanted: &WantedLeg, orders: &mut Vec<Order>) {
        if let Some(leg) = self.legs.iter_mut().find(|leg| leg.leg == wanted.leg && leg.stage != LegStage::Closing) {
            leg.stage = LegStage::Answered;
            leg.settled = true;
            leg.interaction = wanted.interaction;
            return;
        }
        match self.gone.iter().find(|gone| gone.leg == wanted.leg) {
            // Told before, and maybe lost; Asterisk's answer is awaited otherwise.
            Some(gone) => orders.extend(report_of(gone)),
            // It ended before it took part: whoever waited for it heard nobody.
            None => {
                orders.push(Order::FailOffer(wanted.interaction, wanted.leg, OfferFailure::HungUp, None));
                self.gone.push(GoneLeg {
                    leg: wanted.leg,
                    interaction: wanted.interaction,
                    channel: String::new(),
                    at_ms: now,
                    joined: Some(false),
                });
            }
        }
    }

    fn dial_customer(&mut self, number: PhoneNumber, way: u32, orders: &mut Vec<Order>) {
        let channel = format!("rd-{}-c{}", self.interaction, way + 1);
        orders.push(Order::DialNumber {
            channel: channel.clone(),
            leg: None,
            number: number.clone(),
            way,
            ring_ms: CUSTOMER_RING_MS,
        });
        self.customer = Some(Customer { channel, stage: CustomerStage::Dialling, dialled: Some(number), way });
    }

    fn ringing(&mut self, channel: &str, orders: &mut Vec<Order>) {
        if let Some(customer) = self.customer.as_mut().filter(|it| it.channel == channel) {
            if customer.stage == CustomerStage::Dialling {
                customer.stage = CustomerStage::Ringing;
            }
            return;
        }
        let Some(leg) = self.legs.iter_mut().find(|leg| leg.channel == channel) else { return };
        if leg.stage == LegStage::Dialling {
            leg.stage = LegStage::Ringing;
            leg.rang = true;
            orders.push(Order::RingOffer(leg.interaction, leg.leg));
        }
    }

    fn answered(&mut self, channel: &str, orders: &mut Vec<Order>) {
        if self.customer.as_ref().is_some_and(|it| it.channel == channel) {
            return self.customer_answered(orders);
        }
        let over = self.over;
        let leg = self.legs.iter_mut().find(|leg| leg.channel == channel);
        let Some(leg) = leg.filter(|_| !over) else {
            // A leg that was answered too late, or of an older offer.
            return orders.push(Order::HangUpLeg(channel.to_owned()));
        };
        match leg.stage {
            LegStage::Dialling | LegStage::Ringing => {
                leg.stage = LegStage::Answered;
                orders.push(Order::AcceptOffer(leg.interaction, leg.leg));
            }
            LegStage::Answered => {}
            LegStage::Closing => orders.push(Order::HangUpLeg(channel.to_owned())),
        }
    }

    fn customer_answered(&mut self, orders: &mut Vec<Order>) {
        let over = self.over;
        let Some(customer) = &mut self.customer else { return };
        match customer.stage {
            CustomerStage::Dialling | CustomerStage::Ringing if !over => {
                customer.stage = CustomerStage::Here;
                orders.push(Order::AnswerCustomer);
            }
            CustomerStage::Dialling | CustomerStage::Ringing => {
                orders.push(Order::HangUpCustomer(customer.channel.clone(), NORMAL_CLEARING));
            }
            CustomerStage::Arrived | CustomerStage::Here | CustomerStage::Gone => {}
        }
    }

    fn accepted(&mut self, leg: OfferId, accepted: bool, orders: &mut Vec<Order>) {
        if accepted || self.is_accepted(leg) {
            return;
        }
        if let Some(leg) = self.legs.iter().find(|it| it.leg == leg) {
            let channel = leg.channel.clone();
            self.drop_leg(&channel, orders);
        }
    }

    /// Asterisk said what became of seating channels.
    fn seated(&mut self, channels: &[String], done: bool, orders: &mut Vec<Order>) {
        if self.over {
            return;
        }
        for leg in self.legs.iter_mut().filter(|leg| channels.contains(&leg.channel)) {
            leg.joined |= done;
        }
        let undecided = self.gone.iter_mut().filter(|gone| gone.joined.is_none() && channels.contains(&gone.channel));
        for gone in undecided {
            gone.joined = Some(done);
            orders.extend(report_of(gone));
        }
        if !done {
            // Nobody moved, since one of them is gone. Ordering it again at once would be refused again: it is tried when it is
            // known who is gone, at the router's next word, or by the listing.
            self.unsure.extend(channels.iter().cloned());
        }
    }

    /// Something is known that may let channels be seated that were refused.
    fn try_seats_again(&mut self) {
        for channel in std::mem::take(&mut self.unsure) {
            self.seats.remove(&channel);
        }
    }

    fn gone(&mut self, channel: &str, end: LegEnd, at_ms: TimestampMs, orders: &mut Vec<Order>) {
        if self.customer_channel() == Some(channel) {
            return self.customer_gone(end, at_ms, orders);
        }
        let Some(index) = self.legs.iter().position(|leg| leg.channel == channel) else { return };
        if self.goes_another_way(index, end, orders) {
            return;
        }
        self.try_seats_again();
        let leg = self.legs.remove(index);
        let was_ordered = self.seats.remove(channel).is_some();
        if self.over {
            return;
        }
        if self.is_accepted(leg.leg) {
            let joined = if leg.joined || !was_ordered { Some(leg.joined) } else { None };
            let gone = GoneLeg { leg: leg.leg, interaction: leg.interaction, channel: leg.channel, at_ms, joined };
            orders.extend(report_of(&gone));
            self.gone.push(gone);
        } else if !leg.settled {
            let failure = if leg.stage == LegStage::Answered { OfferFailure::HungUp } else { judge(end, leg.rang) };
            orders.push(Order::FailOffer(leg.interaction, leg.leg, failure, end.sip_code));
        }
    }

    /// An outside number that one trunk cannot reach is tried over the next. True when it is.
    fn goes_another_way(&mut self, index: usize, end: LegEnd, orders: &mut Vec<Order>) -> bool {
        let made = self.legs_made + 1;
        let interaction = self.interaction;
        let leg = &mut self.legs[index];
        let is_trunks_fault = !leg.rang && leg.stage == LegStage::Dialling && is_trunks_fault(end);
        if leg.agent.is_some() || leg.settled || !is_trunks_fault || self.over {
            return false;
        }
        let wanted = self.wanted.as_ref().and_then(|wanted| wanted.legs.iter().find(|it| it.leg == leg.leg));
        let Some(WantedLeg { party: WantedParty::Number { number }, ring_until_ms: Some(until_ms), .. }) = wanted
        else {
            return false;
        };
        leg.way += 1;
        leg.number = made;
        leg.channel = format!("rd-{interaction}-a{made}");
        orders.push(Order::DialNumber {
            channel: leg.channel.clone(),
            leg: Some(leg.leg),
            number: number.clone(),
            way: leg.way,
            ring_ms: until_ms.since_ms(leg.dialled_at_ms).max(1_000),
        });
        self.legs_made = made;
        true
    }

    fn customer_gone(&mut self, end: LegEnd, at_ms: TimestampMs, orders: &mut Vec<Order>) {
        let over = self.over;
        let Some(customer) = &mut self.customer else { return };
        let stage = std::mem::replace(&mut customer.stage, CustomerStage::Gone);
        if over {
            return;
        }
        let reason = match stage {
            CustomerStage::Dialling if is_trunks_fault(end) => {
                let (number, way) = (customer.dialled.clone(), customer.way + 1);
                if let Some(number) = number {
                    return self.dial_customer(number, way, orders);
                }
                EndReason::Unreachable
            }
            CustomerStage::Dialling | CustomerStage::Ringing => not_reached(end, stage == CustomerStage::Ringing),
            CustomerStage::Arrived | CustomerStage::Here | CustomerStage::Gone => EndReason::CallerHangup,
        };
        self.report(reason, at_ms, orders);
        self.finish(NORMAL_CLEARING, orders);
    }

    /// No trunk leads there.
    fn no_way(&mut self, now: TimestampMs, channel: &str, orders: &mut Vec<Order>) {
        let end = LegEnd { sip_code: Some(404), cause: 1 };
        if self.customer_channel() == Some(channel) {
            if let Some(customer) = &mut self.customer {
                customer.stage = CustomerStage::Gone;
            }
            self.report(EndReason::Unreachable, now, orders);
            return self.finish(NORMAL_CLEARING, orders);
        }
        self.gone(channel, end, now, orders);
    }

    fn report(&mut self, reason: EndReason, at_ms: TimestampMs, orders: &mut Vec<Order>) {
        self.reported = Some(End { reason, at_ms });
        orders.push(Order::EndInteraction(reason, at_ms));
    }

    fn listed(&mut self, now: TimestampMs, listed: &Listed, orders: &mut Vec<Order>) {
        let was_over = self.over;
        let is_missing = |leg: &&Leg| {
            !listed.channels.contains(&leg.channel) && listed.taken_at_ms.since_ms(leg.dialled_at_ms) > LISTING_GRACE_MS
        };
        let missing: Vec<String> = self.legs.iter().filter(is_missing).map(|leg| leg.channel.clone()).collect();
        for channel in missing {
            self.gone(&channel, LegEnd::default(), now, orders);
        }
        self.decide_by_listing(listed, orders);
        let is_old = listed.taken_at_ms.since_ms(self.arrived_at_ms) > LISTING_GRACE_MS;
        match self.customer_channel().map(str::to_owned) {
            Some(channel) if !listed.channels.contains(&channel) => {
                let is_new = self.customer.as_ref().is_some_and(|customer| customer.dialled.is_some())
                    && listed.taken_at_ms.since_ms(self.seated_at_ms) <= LISTING_GRACE_MS;
                if !is_new {
                    self.customer_gone(LegEnd::default(), now, orders);
                }
            }
            // An earlier hang-up got lost.
            Some(channel) if was_over => orders.push(Order::HangUpCustomer(channel, NORMAL_CLEARING)),
            Some(_) | None => {}
        }
        let is_settled = listed.taken_at_ms.since_ms(self.seated_at_ms) > LISTING_GRACE_MS;
        if !self.over && is_old && is_settled {
            self.answer(orders);
            self.unsure.clear();
            self.believe(&listed.seats);
        }
    }

    /// What a listing says about legs whose seating nobody reported: a customer who sits with the agents was heard.
    fn decide_by_listing(&mut self, listed: &Listed, orders: &mut Vec<Order>) {
        if self.over {
            return;
        }
        for leg in &mut self.legs {
            leg.joined |= listed.seats.contains_key(&leg.channel);
        }
        let is_joined = self
            .customer
            .as_ref()
            .is_some_and(|customer| listed.seats.get(&customer.channel) == Some(&SeenSeat::Room(Room::Main)));
        for gone in self.gone.iter_mut().filter(|gone| gone.joined.is_none()) {
            gone.joined = Some(is_joined);
            orders.extend(report_of(gone));
        }
    }

    fn send_digits(&self, digits: String, orders: &mut Vec<Order>) {
        let here = self.customer.as_ref().filter(|customer| customer.stage == CustomerStage::Here && !self.over);
        if let Some(customer) = here {
            orders.push(Order::SendDigits { channel: customer.channel.clone(), digits });
        }
    }

    fn tick(&mut self, now: TimestampMs, orders: &mut Vec<Order>) {
        if self.deadline().is_none_or(|deadline| now < deadline) {
            return;
        }
        if self.customer.as_ref().is_some_and(|customer| customer.stage == CustomerStage::Arrived) {
            return self.answer(orders);
        }
        let is_late = |leg: &&Leg| leg.unrung_deadline().is_some_and(|deadline| deadline <= now);
        let late: Vec<Leg> = self.legs.iter().filter(is_late).cloned().collect();
        for leg in late {
            orders.push(Order::FailOffer(leg.interaction, leg.leg, OfferFailure::Unreachable, None));
            self.drop_leg(&leg.channel, orders);
        }
    }

    /// Hangs up a leg and expects no report of its offer any more.
    fn drop_leg(&mut self, channel: &str, orders: &mut Vec<Order>) {
        let Some(leg) = self.legs.iter_mut().find(|leg| leg.channel == channel) else { return };
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
        let channels: Vec<String> = self.legs.iter().map(|leg| leg.channel.clone()).collect();
        for channel in channels {
            self.drop_leg(&channel, orders);
        }
        if let Some(channel) = self.customer_channel() {
            orders.push(Order::HangUpCustomer(channel.to_owned(), cause));
        }
    }
}

/// What the router is told of an accepted leg that ended: it took part, or nobody heard anybody. None: not known yet.
fn report_of(gone: &GoneLeg) -> Option<Order> {
    match gone.joined? {
        true => Some(Order::EndLeg(gone.interaction, gone.leg, gone.at_ms)),
        false => Some(Order::FailOffer(gone.interaction, gone.leg, OfferFailure::HungUp, None)),
    }
}

/// Whether a call failed at the trunk, so that another may do better: nobody answered, refused, or had no room.
const fn is_trunks_fault(end: LegEnd) -> bool {
    match end.sip_code {
        Some(code) => code == 408 || (code >= 500 && code < 600),
        None => matches!(end.cause, 34 | 38 | 41 | 42),
    }
}

/// Why a customer whom we dialled did not answer.
fn not_reached(end: LegEnd, rang: bool) -> EndReason {
    match judge(end, rang) {
        OfferFailure::Busy | OfferFailure::Rejected => EndReason::Busy,
        OfferFailure::NoAnswer | OfferFailure::HungUp => EndReason::NoAnswer,
        OfferFailure::Unreachable => EndReason::Unreachable,
    }
}

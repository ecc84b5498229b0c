//! Random histories. The small Asterisk keeps channels and seats and forgets to tell things; the router says the whole each time.
//! Once both are quiet, what is wanted is what there is; nothing that is wanted was hung up; nothing was done twice.

use proptest::prelude::*;

use super::*;
use crate::conversation::SeenSeat;

/// What a small Asterisk knows.
#[derive(Debug, Default)]
struct Media {
    channels: BTreeSet<String>,
    seats: BTreeMap<String, SeenSeat>,
    /// Channels that were dialled; each at most once.
    dialled: BTreeSet<String>,
    /// Channels that were hung up before: a hang-up may be repeated.
    hung_up: BTreeSet<String>,
    /// What went wrong.
    faults: Vec<String>,
    forgotten: bool,
}

impl Media {
    /// Carries orders out; what it answers to them comes back.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the model knows what channels it has and where they are; nothing else"
    )]
    fn carry_out(&mut self, call: &Conversation, orders: &[Order]) -> Vec<Input> {
        let mut answers = Vec::new();
        for order in orders {
            match order {
                Order::Dial { channel, .. } | Order::DialNumber { channel, .. } => {
                    if !self.dialled.insert(channel.clone()) {
                        self.faults.push(format!("{channel} was dialled twice"));
                    }
                    self.channels.insert(channel.clone());
                }
                Order::HangUpLeg(channel) => {
                    let leg = call.leg(channel).map(|leg| leg.leg);
                    let is_first = self.hung_up.insert(channel.clone());
                    if is_first && !call.is_over() && leg.is_some_and(|leg| call.is_accepted(leg)) {
                        self.faults.push(format!("{channel} takes part and was hung up"));
                    }
                    self.remove(channel);
                }
                Order::HangUpCustomer(channel, _) => {
                    if !call.is_over() {
                        self.faults.push("the customer was hung up in the middle of it".to_owned());
                    }
                    self.remove(channel);
                }
                Order::AnswerWithMusic(channel) => self.seat(channel, SeenSeat::Room(Room::Waiting)),
                Order::Seat { room, channels } => {
                    let done = channels.iter().all(|channel| self.channels.contains(channel));
                    if done {
                        channels.iter().for_each(|channel| self.seat(channel, SeenSeat::Room(*room)));
                    }
                    answers.push(Input::Seated { channels: channels.clone(), done });
                }
                Order::Spy { channel, on, whispers, .. } => {
                    let done = self.channels.contains(channel) && self.channels.contains(on);
                    if done {
                        self.seat(channel, SeenSeat::Spy { whispers: *whispers });
                    }
                    answers.push(Input::Seated { channels: vec![channel.clone()], done });
                }
                Order::Forget => self.forgotten = true,
                _ => {}
            }
        }
        answers
    }

    fn seat(&mut self, channel: &str, seat: SeenSeat) {
        if self.channels.contains(channel) {
            self.seats.insert(channel.to_owned(), seat);
        }
    }

    fn remove(&mut self, channel: &str) {
        self.channels.remove(channel);
        self.seats.remove(channel);
    }

    fn listed(&self, taken_at_ms: TimestampMs) -> Input {
        Input::Listed(Listed { taken_at_ms, channels: self.channels.clone(), seats: self.seats.clone() })
    }
}

/// One input, its orders, and what Asterisk answers, unless that is lost.
fn feed(call: &mut Conversation, media: &mut Media, now: TimestampMs, input: Input, is_lost: bool) {
    let orders = call.take(now, input);
    for answer in media.carry_out(call, &orders) {
        if !is_lost {
            feed(call, media, now, answer, false);
        }
    }
}

const ROLES: [Option<PartyRole>; 5] =
    [None, Some(PartyRole::Consult), Some(PartyRole::Conference), Some(PartyRole::Listen), Some(PartyRole::Whisper)];

/// A word of the router: up to three legs, each ringing or accepted, and a place for the customer.
fn word() -> impl Strategy<Value = WantedConversation> {
    let leg = (1_u8..7, 0..ROLES.len(), any::<bool>(), any::<bool>());
    (prop::collection::btree_map(0_u8..3, leg, 0..3), 0_u8..3, any::<bool>()).prop_map(|(drawn, place, recorded)| {
        let mut legs: BTreeMap<u8, WantedLeg> = BTreeMap::new();
        for (_, (number, role, rings, muted)) in drawn {
            let leg = if rings { rung(number, ROLES[role]) } else { joined(number, ROLES[role]) };
            legs.insert(number, WantedLeg { muted, ..leg });
        }
        let customer =
            [WantedCustomer::Waiting, WantedCustomer::Held, WantedCustomer::Joined][usize::from(place)].clone();
        let recording = if recorded { Recording::On } else { Recording::Off };
        WantedConversation { recording, ..conversation(customer, legs.into_values().collect()) }
    })
}

/// What every router keeps to: an offer that is over never comes back, one that was accepted does not ring again, and a
/// conversation has one agent of its own.
#[derive(Default)]
struct Router {
    over: BTreeSet<OfferId>,
    rings: BTreeSet<OfferId>,
    accepted: BTreeSet<OfferId>,
}

impl Router {
    fn says(&mut self, mut word: WantedConversation) -> WantedConversation {
        word.legs.retain(|leg| !self.over.contains(&leg.leg));
        let mut has_own = false;
        for leg in &mut word.legs {
            if self.accepted.contains(&leg.leg) {
                leg.ring_until_ms = None;
            }
            if leg.role.is_none() && std::mem::replace(&mut has_own, true) {
                leg.role = Some(PartyRole::Conference);
            }
            let known = if leg.ring_until_ms.is_some() { &mut self.rings } else { &mut self.accepted };
            known.insert(leg.leg);
        }
        let named: BTreeSet<OfferId> = word.legs.iter().map(|leg| leg.leg).collect();
        self.over.extend(self.rings.union(&self.accepted).filter(|leg| !named.contains(leg)));
        word
    }
}

#[derive(Clone, Debug)]
enum Step {
    Word(WantedConversation),
    Ring(usize),
    Answer(usize),
    Leave(usize),
    Move(usize, bool),
    List,
    Tick,
    Reload,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => word().prop_map(Step::Word),
        2 => (0_usize..4).prop_map(Step::Ring),
        3 => (0_usize..4).prop_map(Step::Answer),
        1 => (0_usize..4).prop_map(Step::Leave),
        1 => (0_usize..4, any::<bool>()).prop_map(|(which, away)| Step::Move(which, away)),
        2 => Just(Step::List),
        1 => Just(Step::Tick),
        1 => Just(Step::Reload),
    ]
}

fn nth_leg(call: &Conversation, which: usize) -> Option<String> {
    let legs = call.legs();
    (!legs.is_empty()).then(|| legs[which % legs.len()].channel.clone())
}

fn run(call: &mut Conversation, media: &mut Media, now: TimestampMs, step: Step, is_lost: bool) {
    match step {
        Step::Word(word) => feed(call, media, now, Input::Wanted(word), is_lost),
        Step::Ring(which) => {
            if let Some(channel) = nth_leg(call, which) {
                feed(call, media, now, Input::Ringing { channel }, is_lost);
            }
        }
        Step::Answer(which) => {
            if let Some(channel) = nth_leg(call, which) {
                feed(call, media, now, Input::Answered { channel }, is_lost);
            }
        }
        Step::Leave(which) => {
            if let Some(channel) = nth_leg(call, which) {
                media.remove(&channel);
                // A lost event changed the media and nobody was told.
                if !is_lost {
                    feed(call, media, now, gone(&channel, None), false);
                }
            }
        }
        Step::Move(which, away) => {
            if let Some(channel) = nth_leg(call, which).filter(|_| away) {
                media.seats.remove(&channel);
            }
        }
        Step::List => {
            let listed = media.listed(now);
            feed(call, media, now, listed, is_lost);
        }
        Step::Tick => feed(call, media, now, Input::Tick, is_lost),
        // Another process goes on with the record.
        Step::Reload => {
            let record = serde_json::to_string(call).expect("a call has string keys only");
            *call = serde_json::from_str(&record).expect("its own record");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3_000, ..ProptestConfig::default() })]

    #[test]
    fn what_is_wanted_is_reached_and_nothing_is_left(
        steps in prop::collection::vec((step(), any::<bool>(), 0_u64..4_000), 1..50),
        last in word(),
    ) {
        let mut call = arrived();
        let mut media = Media { channels: BTreeSet::from(["caller".to_owned()]), ..Media::default() };
        let mut now = START;
        feed(&mut call, &mut media, now, Input::Created { refused: None }, false);
        let mut router = Router::default();
        for (step, is_lost, wait) in steps {
            now = now.plus_ms(wait);
            let step = if let Step::Word(word) = step { Step::Word(router.says(word)) } else { step };
            run(&mut call, &mut media, now, step, is_lost);
            prop_assert!(media.faults.is_empty(), "{:?} in {call:?}", media.faults);
        }
        let last = router.says(last);
        // Everybody is quiet: the last word, every phone is answered, and listings.
        feed(&mut call, &mut media, now, Input::Wanted(last.clone()), false);
        let all: Vec<String> = call.legs().iter().map(|leg| leg.channel.clone()).collect();
        for channel in all {
            if media.channels.contains(&channel) {
                feed(&mut call, &mut media, now, Input::Answered { channel }, false);
            }
        }
        feed(&mut call, &mut media, now, Input::Wanted(last), false);
        for _ in 0..3 {
            now = now.plus_ms(5_000);
            let listed = media.listed(now);
            feed(&mut call, &mut media, now, listed, false);
        }
        prop_assert!(media.faults.is_empty(), "{:?}", media.faults);
        for (channel, seat) in call.wanted_seats() {
            let seen = media.seats.get(&channel).copied();
            prop_assert!(seen.is_some_and(|seen| seat.is_as_seen(seen)), "{channel}: {seat:?}, seen {seen:?}: {call:?}");
        }
        let known: BTreeSet<&str> = call.legs().iter().map(|leg| leg.channel.as_str()).chain(["caller"]).collect();
        prop_assert!(media.channels.iter().all(|channel| known.contains(channel.as_str())), "{media:?}");
        // And the end.
        let over = WantedCustomer::Gone { reason: EndReason::Completed };
        feed(&mut call, &mut media, now, wanted(over, vec![]), false);
        for _ in 0..2 {
            now = now.plus_ms(5_000);
            let listed = media.listed(now);
            feed(&mut call, &mut media, now, listed, false);
        }
        prop_assert!(media.channels.is_empty() && media.forgotten, "{media:?} {call:?}");
    }
}

//! Every input in every stage, and random interleavings against a small Asterisk that loses events.

use proptest::prelude::*;
use ringdown_domain::{AgentId, EndReason, InteractionId, OfferFailure, OfferId, TenantId, TimestampMs};

use super::{
    ANSWER_ANYWAY_MS, CONGESTION, Call, End, FoundCall, Input, Leg, LegEnd, LegStage, Listed, NORMAL_CLEARING, Order,
    UNRUNG_MARGIN_MS, judge,
};

const START: TimestampMs = TimestampMs(1_000_000);

fn offer(number: u8) -> OfferId {
    OfferId::from_parts(u64::from(number), &[number; 10])
}

fn new_call() -> Call {
    let (call, orders) = Call::arrived(
        TenantId::from_parts(1, &[1; 10]),
        InteractionId::from_parts(2, &[2; 10]),
        "caller".to_owned(),
        START,
    );
    assert_eq!(orders, [Order::Create]);
    call
}

fn offered(number: u8) -> Input {
    Input::Offer {
        offer: offer(number),
        agent: AgentId::from_parts(3, &[3; 10]),
        address: Some("ada@demo.invalid".to_owned()),
        deadline_ms: START.plus_ms(15_000),
    }
}

fn channel(call: &Call) -> String {
    call.leg().expect("a leg").channel.clone()
}

fn gone(call: &Call, sip_code: Option<u16>) -> Input {
    Input::LegGone { channel: channel(call), end: LegEnd { sip_code, cause: 16 }, at_ms: START.plus_ms(50) }
}

/// A call brought to a stage.
fn at(stage: &str) -> Call {
    let mut call = new_call();
    let ringing = |call: &Call| Input::LegRinging { channel: channel(call) };
    let answered = |call: &Call| Input::LegAnswered { channel: channel(call) };
    let joined = Input::Joined { offer: offer(1), done: true };
    for step in ["waiting", "dialling", "ringing", "answered", "joining", "talking"] {
        let input = match step {
            "waiting" => Input::Created { refused: None },
            "dialling" => offered(1),
            "ringing" => ringing(&call),
            "answered" => answered(&call),
            "joining" => Input::Connect { offer: offer(1) },
            _ => joined.clone(),
        };
        // What these orders are is tested where each step is the subject.
        drop(call.take(START, input));
        if step == stage {
            return call;
        }
    }
    panic!("no stage {stage}");
}

fn check(stage: &str, input: impl FnOnce(&Call) -> Input, expected: &[Order]) {
    let mut call = at(stage);
    let input = input(&call);
    let told = format!("{stage}: {input:?}");
    assert_eq!(call.take(START.plus_ms(100), input), expected, "{told}");
}

fn leg_name() -> String {
    channel(&at("dialling"))
}

#[test]
fn the_way_of_a_call_that_goes_well() {
    let mut call = new_call();
    assert_eq!(call.take(START, Input::Created { refused: None }), [Order::AnswerWithMusic]);
    let dial = call.take(START, offered(1));
    let expected =
        Order::Dial { channel: leg_name(), offer: offer(1), address: "ada@demo.invalid".to_owned(), ring_ms: 15_000 };
    assert_eq!(dial, [expected]);
    let name = channel(&call);
    assert_eq!(call.take(START, Input::LegRinging { channel: name.clone() }), [Order::RingOffer(offer(1))]);
    assert_eq!(call.take(START, Input::LegAnswered { channel: name.clone() }), [Order::AcceptOffer(offer(1))]);
    assert_eq!(call.take(START, Input::Accepted { offer: offer(1), accepted: true }), []);
    assert_eq!(call.take(START, Input::Connect { offer: offer(1) }), [Order::Join(name.clone())]);
    assert_eq!(call.take(START, Input::Joined { offer: offer(1), done: true }), []);
    let end = call.take(START, Input::CallerGone { at_ms: START.plus_ms(9) });
    let ended = Order::EndInteraction(EndReason::CallerHangup, START.plus_ms(9));
    assert_eq!(end, [ended, Order::HangUpLeg(name)]);
    assert_eq!(call.take(START, Input::End), []);
    let input = gone(&call, None);
    assert_eq!(call.take(START, input), [Order::RemoveBridges, Order::Forget]);
}

#[test]
fn a_caller_is_answered_when_the_router_confirmed_or_took_too_long() {
    let mut call = new_call();
    assert_eq!(call.deadline(), Some(START.plus_ms(ANSWER_ANYWAY_MS)));
    assert_eq!(call.take(START.plus_ms(ANSWER_ANYWAY_MS - 1), Input::Tick), []);
    let late = START.plus_ms(ANSWER_ANYWAY_MS);
    assert_eq!(call.take(late, Input::Tick), [Order::AnswerWithMusic]);
    assert_eq!(call.deadline(), None);
    assert_eq!(call.take(late, Input::Created { refused: None }), [], "once");
    // An offer that overtook the confirmation says as much.
    let mut call = new_call();
    let orders = call.take(START, offered(1));
    assert!(matches!(&orders[..], [Order::AnswerWithMusic, Order::Dial { .. }]), "{orders:?}");
}

#[test]
fn a_caller_the_router_refuses_hears_an_error_instead_of_an_answer() {
    let mut call = new_call();
    let refused = Input::Created { refused: Some(CONGESTION) };
    assert_eq!(call.take(START, refused.clone()), [Order::HangUpCaller(CONGESTION)]);
    assert_eq!(call.deadline(), None, "it is not answered any more");
    assert_eq!(call.take(START.plus_ms(ANSWER_ANYWAY_MS), Input::Tick), []);
    let orders = call.take(START, Input::CallerGone { at_ms: START });
    assert_eq!(orders, [Order::RemoveBridges, Order::Forget], "the router has no interaction to end");
}

#[test]
fn a_successor_finds_how_it_ended() {
    let mut call = at("talking");
    assert_eq!(call.reported(), None);
    let input = gone(&call, None);
    drop(call.take(START.plus_ms(60), input));
    assert_eq!(call.reported(), Some(End { reason: EndReason::AgentHangup, at_ms: START.plus_ms(50) }));
    let record = serde_json::to_string(&call).unwrap();
    assert_eq!(serde_json::from_str::<Call>(&record).unwrap(), call);
}

#[test]
fn a_caller_who_leaves_ends_everything_at_every_stage() {
    let input = |_: &Call| Input::CallerGone { at_ms: START };
    let ended = Order::EndInteraction(EndReason::CallerHangup, START);
    check("waiting", input, &[ended.clone(), Order::RemoveBridges, Order::Forget]);
    for stage in ["dialling", "ringing", "answered", "joining", "talking"] {
        check(stage, input, &[ended.clone(), Order::HangUpLeg(leg_name())]);
    }
}

#[test]
fn the_routers_end_hangs_up_what_is_left() {
    check("waiting", |_| Input::End, &[Order::HangUpCaller(NORMAL_CLEARING)]);
    for stage in ["dialling", "ringing", "answered", "joining", "talking"] {
        check(stage, |_| Input::End, &[Order::HangUpLeg(leg_name()), Order::HangUpCaller(NORMAL_CLEARING)]);
    }
}

#[test]
fn a_leg_that_ends_is_reported_once_with_its_reason() {
    let failed = |failure, code| [Order::FailOffer(offer(1), failure, code)];
    check("dialling", |call| gone(call, Some(404)), &failed(OfferFailure::Unreachable, Some(404)));
    check("ringing", |call| gone(call, Some(486)), &failed(OfferFailure::Busy, Some(486)));
    check("ringing", |call| gone(call, Some(603)), &failed(OfferFailure::Rejected, Some(603)));
    check("ringing", |call| gone(call, Some(480)), &failed(OfferFailure::NoAnswer, Some(480)));
    check("answered", |call| gone(call, None), &failed(OfferFailure::HungUp, None));
    let ended = Order::EndInteraction(EndReason::AgentHangup, START.plus_ms(50));
    check("talking", |call| gone(call, None), &[ended, Order::HangUpCaller(NORMAL_CLEARING)]);
}

#[test]
fn a_dead_phone_is_told_apart_from_one_that_nobody_answers() {
    let end = |code| LegEnd { sip_code: code, cause: 19 };
    assert_eq!(judge(end(Some(480)), true), OfferFailure::NoAnswer);
    assert_eq!(judge(end(Some(480)), false), OfferFailure::Unreachable);
    assert_eq!(judge(end(Some(408)), false), OfferFailure::Unreachable);
    assert_eq!(judge(end(None), false), OfferFailure::Unreachable);
    assert_eq!(judge(end(Some(503)), true), OfferFailure::Unreachable);
    let mut call = at("dialling");
    let last = START.plus_ms(15_000 - UNRUNG_MARGIN_MS);
    assert_eq!(call.deadline(), Some(last), "a phone may take its whole ring time to ring");
    assert_eq!(call.take(START.plus_ms(8_000), Input::Tick), []);
    let orders = call.take(last, Input::Tick);
    let failed = Order::FailOffer(offer(1), OfferFailure::Unreachable, None);
    assert_eq!(orders, [failed, Order::HangUpLeg(leg_name())]);
    let input = gone(&call, Some(487));
    assert_eq!(call.take(START, input), [], "an offer is reported once");
    assert_eq!(at("ringing").deadline(), None);
}

#[test]
fn a_withdrawn_offer_stops_ringing_and_the_next_one_rings() {
    check("ringing", |_| Input::Withdraw { offer: offer(1) }, &[Order::HangUpLeg(leg_name())]);
    check("ringing", |_| Input::Withdraw { offer: offer(9) }, &[]);
    let mut call = at("ringing");
    drop(call.take(START, Input::Withdraw { offer: offer(1) }));
    let orders = call.take(START, offered(2));
    assert!(matches!(&orders[..], [Order::Dial { channel, .. }] if channel.ends_with("-a2")), "{orders:?}");
    // The old leg's end says nothing about the new one.
    let input = Input::LegGone { channel: leg_name(), end: LegEnd::default(), at_ms: START };
    assert_eq!(call.take(START, input), []);
    assert_eq!(call.leg().map(|leg| leg.stage), Some(LegStage::Dialling));
}

#[test]
fn what_comes_twice_does_nothing_twice() {
    check("dialling", |_| offered(1), &[]);
    check("ringing", |call| Input::LegRinging { channel: channel(call) }, &[]);
    check("answered", |call| Input::LegAnswered { channel: channel(call) }, &[]);
    check("talking", |_| Input::Connect { offer: offer(1) }, &[]);
    check("talking", |_| offered(1), &[]);
}

#[test]
fn an_agent_without_a_phone_is_unreachable_at_once() {
    let mut call = at("waiting");
    let input =
        Input::Offer { offer: offer(1), agent: AgentId::from_parts(3, &[3; 10]), address: None, deadline_ms: START };
    assert_eq!(call.take(START, input), [Order::FailOffer(offer(1), OfferFailure::Unreachable, None)]);
}

#[test]
fn an_answer_that_came_too_late_is_hung_up() {
    check("answered", |_| Input::Accepted { offer: offer(1), accepted: false }, &[Order::HangUpLeg(leg_name())]);
    let stranger = |_: &Call| Input::LegAnswered { channel: "rd-old".to_owned() };
    check("waiting", stranger, &[Order::HangUpLeg("rd-old".to_owned())]);
}

fn hung_up() -> Order {
    Order::FailOffer(offer(1), OfferFailure::HungUp, None)
}

#[test]
fn a_caller_who_heard_nobody_goes_back_to_the_queue() {
    // The agent hung up between the answer and the commit.
    let mut call = at("answered");
    let input = gone(&call, None);
    assert_eq!(call.take(START, input), [hung_up()]);
    assert_eq!(call.take(START, Input::Connect { offer: offer(1) }), [hung_up()], "the commit came first after all");
    // While the legs were being joined: Asterisk's answer decides.
    let mut call = at("joining");
    let input = gone(&call, None);
    assert_eq!(call.take(START, input), []);
    let refused = Input::Joined { offer: offer(1), done: false };
    assert_eq!(call.take(START, refused.clone()), [Order::AnswerWithMusic, hung_up()]);
    assert_eq!(call.take(START, refused), [], "once");
    let orders = call.take(START, offered(2));
    assert!(matches!(&orders[..], [Order::Dial { offer: next, .. }] if *next == offer(2)), "{orders:?}");
    let mut call = at("joining");
    let input = gone(&call, None);
    drop(call.take(START, input));
    let ended = Order::EndInteraction(EndReason::AgentHangup, START.plus_ms(50));
    let orders = call.take(START, Input::Joined { offer: offer(1), done: true });
    assert_eq!(orders, [ended, Order::HangUpCaller(NORMAL_CLEARING)], "they heard each other");
    // The router took the connection back.
    check("talking", |_| Input::Withdraw { offer: offer(1) }, &[Order::HangUpLeg(leg_name()), Order::AnswerWithMusic]);
}

#[test]
fn a_successor_decides_by_the_listing_whether_they_heard_each_other() {
    let later = START.plus_ms(5_000);
    let listed = |caller_mixed| {
        Input::Listed(Listed { caller: true, leg: false, caller_bridged: true, caller_mixed, joined: false })
    };
    // It finds the record of before the join, and no leg any more.
    let record = serde_json::to_string(&at("joining")).unwrap();
    let mut call: Call = serde_json::from_str(&record).unwrap();
    assert_eq!(call.take(later, listed(false)), [Order::AnswerWithMusic, hung_up()]);
    let mut call: Call = serde_json::from_str(&record).unwrap();
    let ended = Order::EndInteraction(EndReason::AgentHangup, later);
    assert_eq!(call.take(later, listed(true)), [ended, Order::HangUpCaller(NORMAL_CLEARING)]);
}

#[test]
fn a_record_of_another_version_is_not_read_and_one_without_a_number_is() {
    let mut record: serde_json::Value = serde_json::to_value(at("talking")).unwrap();
    assert_eq!(record["version"], 1);
    record["version"] = 2.into();
    assert!(serde_json::from_value::<Call>(record.clone()).is_err());
    record.as_object_mut().unwrap().retain(|key, _| !["version", "heard", "lost"].contains(&key.as_str()));
    assert!(serde_json::from_value::<Call>(record).is_ok());
}

#[test]
fn a_call_is_rebuilt_from_what_the_node_shows() {
    let original = at("talking");
    let leg: Leg = original.leg().unwrap().clone();
    let rebuild = |found| {
        Call::rebuilt(original.tenant, original.interaction, original.caller.clone(), original.arrived_at_ms, found)
    };
    let later = START.plus_ms(5_000);
    let all = Listed { caller: true, leg: true, caller_bridged: true, caller_mixed: true, joined: true };
    let found = FoundCall { is_answered: true, is_mixed: true, is_connected: true, leg: Some(leg.clone()), legs: 1 };
    let mut talking = rebuild(found.clone());
    assert_eq!(talking.take(later, Input::Connect { offer: offer(1) }), [], "they talk, and go on talking");
    assert_eq!(talking.take(later, Input::Listed(all)), []);
    // Connected by the router, never joined: that is done now.
    let mut apart = rebuild(FoundCall { is_mixed: false, ..found.clone() });
    assert_eq!(apart.take(later, Input::Connect { offer: offer(1) }), []);
    let not_joined = Listed { caller_mixed: false, joined: false, ..all };
    assert_eq!(apart.take(later, Input::Listed(not_joined)), [Order::Join(leg.channel.clone())]);
    // Connected to an agent whose leg is gone.
    let mut alone = rebuild(FoundCall { leg: None, ..found });
    assert_eq!(alone.take(later, Input::Connect { offer: offer(1) }), [hung_up()]);
    // Waiting with music, and a further leg gets a name of its own.
    let mut waiting = rebuild(FoundCall { is_answered: true, legs: 3, ..FoundCall::default() });
    assert_eq!(waiting.take(later, Input::Created { refused: None }), []);
    let orders = waiting.take(later, offered(7));
    assert!(matches!(&orders[..], [Order::Dial { channel, .. }] if channel.ends_with("-a4")), "{orders:?}");
}

#[test]
fn a_listing_finds_what_ended_without_a_word_and_repeats_what_did_not_happen() {
    let all = Listed { caller: true, leg: true, caller_bridged: true, caller_mixed: true, joined: true };
    let later = START.plus_ms(5_000);
    let check = |stage: &str, listed: Listed, expected: &[Order]| {
        assert_eq!(at(stage).take(later, Input::Listed(listed)), expected, "{stage}: {listed:?}");
    };
    check("talking", all, &[]);
    check("waiting", Listed { leg: false, caller_mixed: false, joined: false, ..all }, &[]);
    check(
        "waiting",
        Listed { caller_bridged: false, caller_mixed: false, joined: false, ..all },
        &[Order::AnswerWithMusic],
    );
    check("talking", Listed { joined: false, ..all }, &[Order::Join(leg_name())]);
    let ended = |reason| Order::EndInteraction(reason, later);
    check(
        "talking",
        Listed { leg: false, joined: false, ..all },
        &[ended(EndReason::AgentHangup), Order::HangUpCaller(NORMAL_CLEARING)],
    );
    check("talking", Listed { caller: false, ..all }, &[ended(EndReason::CallerHangup), Order::HangUpLeg(leg_name())]);
    let failed = Order::FailOffer(offer(1), OfferFailure::NoAnswer, None);
    check("ringing", Listed { leg: false, joined: false, ..all }, &[failed]);
    // A leg that was dialled while the listing was made is not missing.
    assert_eq!(at("dialling").take(START.plus_ms(10), Input::Listed(Listed { leg: false, ..all })), []);
}

/// A small Asterisk: which channels exist, which are joined. Its events may be lost on their way.
#[derive(Default)]
struct Media {
    caller: bool,
    legs: Vec<String>,
    joined: Option<String>,
}

impl Media {
    fn carry_out(&mut self, orders: &[Order], reported: &mut Vec<OfferId>, ended: &mut u32) {
        for order in orders {
            match order {
                Order::Dial { channel, .. } => self.legs.push(channel.clone()),
                Order::HangUpCaller(_) => self.caller = false,
                Order::HangUpLeg(name) => self.legs.retain(|leg| leg != name),
                Order::Join(name) if self.legs.contains(name) => self.joined = Some(name.clone()),
                Order::AnswerWithMusic => self.joined = None,
                Order::Join(_) => {}
                // The router refuses a second report of an offer that was never connected; that of a hang-up may come twice.
                Order::FailOffer(_, OfferFailure::HungUp, _) => {}
                Order::FailOffer(offer, ..) => reported.push(*offer),
                Order::EndInteraction(..) => *ended += 1,
                Order::AcceptOffer(_) | Order::Create | Order::Forget | Order::RemoveBridges | Order::RingOffer(_) => {}
            }
        }
    }

    fn listed(&self, call: &Call) -> Listed {
        let leg = call.leg().is_some_and(|leg| self.legs.contains(&leg.channel));
        let joined = leg && self.joined.as_ref() == call.leg().map(|leg| &leg.channel);
        Listed { caller: self.caller, leg, caller_bridged: true, caller_mixed: self.joined.is_some(), joined }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    /// Whatever happens in whatever order, and whichever events get lost: once the router ended the interaction and a few
    /// listings were made, no channel is left, and no offer was reported twice.
    #[test]
    fn nothing_is_left_and_nothing_is_told_twice(steps in prop::collection::vec((0_u8..13, any::<bool>(), 0_u64..4_000), 1..60)) {
        let mut call = new_call();
        let mut media = Media { caller: true, ..Media::default() };
        let (mut reported, mut ended, mut next, mut now) = (Vec::new(), 0, 0_u8, START);
        let mut forgotten = false;
        for (step, lost, wait) in steps {
            now = now.plus_ms(wait);
            let current = call.leg().map(|leg| (leg.channel.clone(), leg.offer));
            let input = match (step, current) {
                (0, _) => { next += 1; offered(next) }
                (9, _) => Input::Created { refused: lost.then_some(CONGESTION) },
                (1, Some((channel, _))) => Input::LegRinging { channel },
                (2, Some((channel, _))) => Input::LegAnswered { channel },
                (3, Some((_, offer))) => Input::Connect { offer },
                (4, Some((_, offer))) => Input::Withdraw { offer },
                (5, Some((channel, _))) => {
                    media.legs.retain(|leg| *leg != channel);
                    Input::LegGone { channel, end: LegEnd { sip_code: Some(486), cause: 17 }, at_ms: now }
                }
                (6, _) => { media.caller = false; Input::CallerGone { at_ms: now } }
                (7, _) => Input::Listed(media.listed(&call)),
                (8, Some((_, offer))) => Input::Accepted { offer, accepted: step % 2 == 0 },
                (10, Some((_, offer))) => Input::Joined { offer, done: !lost },
                _ => Input::Tick,
            };
            // A lost event changed the media and nobody was told; what the router says is never lost.
            if lost && matches!(input, Input::LegGone { .. } | Input::CallerGone { .. } | Input::LegRinging { .. }) {
                continue;
            }
            let orders = call.take(now, input);
            forgotten |= orders.contains(&Order::Forget);
            media.carry_out(&orders, &mut reported, &mut ended);
        }
        for input in [Input::End, Input::Tick] {
            let orders = call.take(now, input);
            forgotten |= orders.contains(&Order::Forget);
            media.carry_out(&orders, &mut reported, &mut ended);
        }
        for _ in 0..4 {
            now = now.plus_ms(5_000);
            let orders = call.take(now, Input::Listed(media.listed(&call)));
            forgotten |= orders.contains(&Order::Forget);
            media.carry_out(&orders, &mut reported, &mut ended);
        }
        prop_assert!(forgotten, "the call is forgotten: {call:?}");
        prop_assert!(!media.caller && media.legs.is_empty(), "left: {} {:?}", media.caller, media.legs);
        let unique: std::collections::BTreeSet<_> = reported.iter().collect();
        prop_assert_eq!(unique.len(), reported.len(), "an offer was reported twice");
    }
}

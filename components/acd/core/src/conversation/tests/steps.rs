//! What each input leads to.

use ringdown_domain::{OfferFailure, PhoneNumber};
use ringdown_events::RecordedParty;

use super::*;
use crate::conversation::{
    ANSWER_ANYWAY_MS, CONGESTION, End, NORMAL_CLEARING, Seat, SeenSeat, Track, UNRUNG_MARGIN_MS, judge,
};

fn hang_up(number: u32) -> Order {
    Order::HangUpLeg(channel(number))
}

fn hang_up_customer() -> Order {
    Order::HangUpCustomer("caller".to_owned(), NORMAL_CLEARING)
}

fn music() -> Order {
    Order::AnswerWithMusic("caller".to_owned())
}

fn failed(failure: OfferFailure, code: Option<u16>) -> Order {
    Order::FailOffer(interaction(), leg_id(1), failure, code)
}

#[test]
fn the_way_of_a_call_that_goes_well() {
    let call = check(arrived(), Input::Created { refused: None }, &[music()]);
    let dial = Order::Dial {
        channel: channel(1),
        leg: leg_id(1),
        address: "agent1@demo.invalid".to_owned(),
        ring_ms: 14_900,
        auto_answer: false,
    };
    let call = check(call, wanted(WantedCustomer::Waiting, vec![rung(1, None)]), &[dial]);
    let ring = Order::RingOffer(interaction(), leg_id(1));
    let call = check(call, Input::Ringing { channel: channel(1) }, &[ring]);
    let accept = Order::AcceptOffer(interaction(), leg_id(1));
    let call = check(call, Input::Answered { channel: channel(1) }, &[accept]);
    let call = check(call, Input::Accepted { leg: leg_id(1), accepted: true }, &[]);
    let join = seat(Room::Main, &["caller", &channel(1)]);
    let call = check(call, wanted(WantedCustomer::Joined, vec![joined(1, None)]), &[join]);
    let call = check(call, Input::Seated { channels: vec!["caller".to_owned(), channel(1)], done: true }, &[]);
    let call = check(call, gone("caller", None), &[ended(EndReason::CallerHangup, 50), hang_up(1)]);
    let over = WantedCustomer::Gone { reason: EndReason::CallerHangup };
    let call = check(call, wanted(over, vec![]), &[]);
    check(call, gone(&channel(1), None), &[Order::RemoveBridges, Order::Forget]);
}

#[test]
fn a_caller_is_answered_when_the_router_confirmed_or_took_too_long() {
    let mut call = arrived();
    assert_eq!(call.deadline(), Some(START.plus_ms(ANSWER_ANYWAY_MS)));
    assert_eq!(call.take(START.plus_ms(ANSWER_ANYWAY_MS - 1), Input::Tick), []);
    let late = START.plus_ms(ANSWER_ANYWAY_MS);
    assert_eq!(call.take(late, Input::Tick), [music()]);
    assert_eq!(call.deadline(), None);
    assert_eq!(call.take(late, Input::Created { refused: None }), [], "once");
    // An offer that overtook the confirmation says as much.
    let mut call = arrived();
    let orders = call.take(START, wanted(WantedCustomer::Waiting, vec![rung(1, None)]));
    assert!(matches!(&orders[..], [Order::AnswerWithMusic(_), Order::Dial { .. }]), "{orders:?}");
}

#[test]
fn a_caller_the_router_refuses_hears_an_error_instead_of_an_answer() {
    let refused = Order::HangUpCustomer("caller".to_owned(), CONGESTION);
    let call = check(arrived(), Input::Created { refused: Some(CONGESTION) }, &[refused]);
    assert_eq!(call.deadline(), None, "it is not answered any more");
    // The router has no interaction to end.
    check(call, gone("caller", None), &[Order::RemoveBridges, Order::Forget]);
}

#[test]
fn a_successor_finds_how_it_ended() {
    let call = after(talking(), gone("caller", None));
    assert_eq!(call.reported(), Some(End { reason: EndReason::CallerHangup, at_ms: START.plus_ms(50) }));
    let record = serde_json::to_string(&call).unwrap();
    assert_eq!(serde_json::from_str::<Conversation>(&record).unwrap(), call);
}

#[test]
fn a_customer_who_leaves_ends_everything_at_every_stage() {
    let left = ended(EndReason::CallerHangup, 50);
    check(waiting(), gone("caller", None), &[left.clone(), Order::RemoveBridges, Order::Forget]);
    for call in [dialling(), answered(), joining(), talking()] {
        check(call, gone("caller", None), &[left.clone(), hang_up(1)]);
    }
    check(consulting(), gone("caller", None), &[left, hang_up(1), hang_up(2)]);
}

#[test]
fn the_routers_end_hangs_up_what_is_left() {
    let over = || wanted(WantedCustomer::Gone { reason: EndReason::Completed }, vec![]);
    check(waiting(), over(), &[hang_up_customer()]);
    for call in [dialling(), answered(), joining(), talking()] {
        check(call, over(), &[hang_up(1), hang_up_customer()]);
    }
    check(consulting(), over(), &[hang_up(1), hang_up(2), hang_up_customer()]);
}

#[test]
fn a_leg_that_ends_is_reported_once_with_its_reason() {
    let ringing = || after(dialling(), Input::Ringing { channel: channel(1) });
    let cases = [
        (dialling(), Some(404), OfferFailure::Unreachable),
        (ringing(), Some(486), OfferFailure::Busy),
        (ringing(), Some(603), OfferFailure::Rejected),
        (ringing(), Some(480), OfferFailure::NoAnswer),
        (answered(), None, OfferFailure::HungUp),
    ];
    for (call, code, failure) in cases {
        let call = check(call, gone(&channel(1), code), &[failed(failure, code)]);
        check(call, gone(&channel(1), code), &[]);
    }
    let left = Order::EndLeg(interaction(), leg_id(1), START.plus_ms(50));
    check(talking(), gone(&channel(1), None), &[left]);
}

#[test]
fn a_dead_phone_is_told_apart_from_one_that_nobody_answers() {
    let end = |code| LegEnd { sip_code: code, cause: 19 };
    assert_eq!(judge(end(Some(480)), true), OfferFailure::NoAnswer);
    assert_eq!(judge(end(Some(480)), false), OfferFailure::Unreachable);
    assert_eq!(judge(end(Some(408)), false), OfferFailure::Unreachable);
    assert_eq!(judge(end(None), false), OfferFailure::Unreachable);
    assert_eq!(judge(end(Some(503)), true), OfferFailure::Unreachable);
    let mut call = dialling();
    let last = START.plus_ms(15_000 - UNRUNG_MARGIN_MS);
    assert_eq!(call.deadline(), Some(last), "a phone may take its whole ring time to ring");
    assert_eq!(call.take(START.plus_ms(8_000), Input::Tick), []);
    assert_eq!(call.take(last, Input::Tick), [failed(OfferFailure::Unreachable, None), hang_up(1)]);
    check(call, gone(&channel(1), Some(487)), &[]);
    assert_eq!(after(dialling(), Input::Ringing { channel: channel(1) }).deadline(), None);
}

#[test]
fn an_offer_that_is_over_stops_ringing_and_the_next_one_rings() {
    let call = check(answered(), wanted(WantedCustomer::Waiting, vec![]), &[hang_up(1)]);
    let mut call = call;
    let orders = call.take(START, wanted(WantedCustomer::Waiting, vec![rung(2, None)]));
    assert!(matches!(&orders[..], [Order::Dial { channel: name, .. }] if *name == channel(2)), "{orders:?}");
    // The old leg's end says nothing about the new one.
    let call = check(call, gone(&channel(1), None), &[]);
    assert_eq!(call.legs().len(), 1);
}

#[test]
fn what_comes_twice_does_nothing_twice() {
    check(dialling(), wanted(WantedCustomer::Waiting, vec![rung(1, None)]), &[]);
    check(answered(), Input::Answered { channel: channel(1) }, &[]);
    check(talking(), wanted(WantedCustomer::Joined, vec![joined(1, None)]), &[]);
    let asks = wanted(WantedCustomer::Held, vec![joined(1, None), joined(2, Some(PartyRole::Consult))]);
    check(consulting(), asks, &[]);
}

#[test]
fn an_agent_without_a_phone_is_unreachable_at_once() {
    let party = WantedParty::Agent { agent: AgentId::from_parts(3, &[3; 10]), address: None };
    let leg = WantedLeg { party, ..rung(1, None) };
    check(waiting(), wanted(WantedCustomer::Waiting, vec![leg]), &[failed(OfferFailure::Unreachable, None)]);
}

#[test]
fn an_answer_that_came_too_late_is_hung_up() {
    check(answered(), Input::Accepted { leg: leg_id(1), accepted: false }, &[hang_up(1)]);
    let old = Input::Answered { channel: "rd-old".to_owned() };
    check(waiting(), old, &[Order::HangUpLeg("rd-old".to_owned())]);
}

#[test]
fn a_caller_who_heard_nobody_goes_back_to_the_queue() {
    let hung_up = failed(OfferFailure::HungUp, None);
    // The agent hung up between the answer and the commit.
    let call = check(answered(), gone(&channel(1), None), std::slice::from_ref(&hung_up));
    let call = check(
        call,
        wanted(WantedCustomer::Joined, vec![joined(1, None)]),
        &[hung_up.clone(), seat(Room::Main, &["caller"])],
    );
    check(call, wanted(WantedCustomer::Waiting, vec![]), &[seat(Room::Waiting, &["caller"])]);
    // While they were being joined: Asterisk's answer decides.
    let both = || vec!["caller".to_owned(), channel(1)];
    let call = check(joining(), gone(&channel(1), None), &[]);
    let refused = Input::Seated { channels: both(), done: false };
    let mut undecided = call.clone();
    let orders = undecided.take(START, refused);
    assert_eq!(orders.first(), Some(&hung_up), "{orders:?}");
    check(undecided, wanted(WantedCustomer::Waiting, vec![]), &[seat(Room::Waiting, &["caller"])]);
    let left = Order::EndLeg(interaction(), leg_id(1), START.plus_ms(50));
    check(call, Input::Seated { channels: both(), done: true }, &[left]);
    // The router took the connection back.
    check(talking(), wanted(WantedCustomer::Waiting, vec![]), &[hang_up(1), seat(Room::Waiting, &["caller"])]);
}

#[test]
fn a_successor_decides_by_the_listing_whether_they_heard_each_other() {
    let later = START.plus_ms(5_000);
    let record = serde_json::to_string(&after(joining(), gone(&channel(1), None))).unwrap();
    let told = |seen: SeenSeat| {
        let mut call: Conversation = serde_json::from_str(&record).unwrap();
        call.take(later, listed(later, &["caller"], &[("caller", seen)])).first().cloned()
    };
    assert_eq!(told(SeenSeat::Room(Room::Waiting)), Some(failed(OfferFailure::HungUp, None)));
    let left = Order::EndLeg(interaction(), leg_id(1), START.plus_ms(50));
    assert_eq!(told(SeenSeat::Room(Room::Main)), Some(left));
}

#[test]
fn hold_and_resume_move_the_customer() {
    let held = wanted(WantedCustomer::Held, vec![joined(1, None)]);
    let call = check(talking(), held, &[seat(Room::Waiting, &["caller"])]);
    let call = check(call, wanted(WantedCustomer::Joined, vec![joined(1, None)]), &[seat(Room::Main, &["caller"])]);
    let muted = WantedLeg { muted: true, ..joined(1, None) };
    let mute = |muted| Order::Mute { channel: channel(1), muted };
    let call = check(call, wanted(WantedCustomer::Joined, vec![muted]), &[mute(true)]);
    check(call, wanted(WantedCustomer::Joined, vec![joined(1, None)]), &[mute(false)]);
}

#[test]
fn a_consultation_opens_a_room_of_its_own_with_a_ringing_tone() {
    let asks = |second| wanted(WantedCustomer::Held, vec![joined(1, None), second]);
    let mut call = talking();
    let orders = call.take(START, asks(rung(2, Some(PartyRole::Consult))));
    let ringback = |on| Order::Ringback { room: Room::Consult, on };
    assert!(matches!(&orders[0], Order::Dial { channel: name, .. } if *name == channel(2)), "{orders:?}");
    assert_eq!(orders[1..], [seat(Room::Waiting, &["caller"]), seat(Room::Consult, &[&channel(1)]), ringback(true)]);
    let call = after(call, Input::Answered { channel: channel(2) });
    let call =
        check(call, asks(joined(2, Some(PartyRole::Consult))), &[seat(Room::Consult, &[&channel(2)]), ringback(false)]);
    // The one who was asked hangs up; the router hears whose leg it was, and has everybody back.
    let call = after(call, Input::Seated { channels: vec![channel(2)], done: true });
    let left = Order::EndLeg(child(2), leg_id(2), START.plus_ms(50));
    let call = check(call, gone(&channel(2), None), &[left]);
    check(call, wanted(WantedCustomer::Joined, vec![joined(1, None)]), &[seat(Room::Main, &["caller", &channel(1)])]);
}

#[test]
fn a_consultation_becomes_a_transfer_or_a_conference() {
    // The second leg is the conversation's own agent from now on.
    let complete = wanted(WantedCustomer::Joined, vec![WantedLeg { interaction: interaction(), ..joined(2, None) }]);
    check(consulting(), complete, &[hang_up(1), seat(Room::Main, &["caller", &channel(2)])]);
    let all = wanted(WantedCustomer::Joined, vec![joined(1, None), joined(2, Some(PartyRole::Conference))]);
    check(consulting(), all, &[seat(Room::Main, &["caller", &channel(1), &channel(2)])]);
}

#[test]
fn a_supervisor_listens_whispers_and_barges() {
    let with = |role| wanted(WantedCustomer::Joined, vec![joined(1, None), joined(2, Some(role))]);
    let call =
        after(talking(), wanted(WantedCustomer::Joined, vec![joined(1, None), rung(2, Some(PartyRole::Listen))]));
    let call = after(call, Input::Answered { channel: channel(2) });
    let spy = |whispers| Order::Spy { channel: channel(2), number: 2, on: channel(1), whispers };
    let call = check(call, with(PartyRole::Listen), &[spy(false)]);
    let call = check(call, with(PartyRole::Whisper), &[spy(true)]);
    let call =
        check(call, with(PartyRole::Conference), &[Order::EndSpying { number: 2 }, seat(Room::Main, &[&channel(2)])]);
    // Taken over: the supervisor's leg is the conversation's own.
    let over = wanted(WantedCustomer::Joined, vec![joined(2, None)]);
    check(call, over, &[hang_up(1)]);
}

#[test]
fn each_party_is_recorded_and_a_pause_is_told() {
    let recorded = |recording| {
        let talks = conversation(WantedCustomer::Joined, vec![joined(1, None)]);
        Input::Wanted(WantedConversation { recording, ..talks })
    };
    let begun_at_ms = START.plus_ms(100);
    let track = |number, on: &str, party, paused| Track { on: on.to_owned(), number, party, begun_at_ms, paused };
    let ada = RecordedParty::Agent(AgentId::from_parts(3, &[1; 10]));
    let customer = |paused| track(1, "caller", RecordedParty::Customer, paused);
    let agent = |paused| track(2, &channel(1), ada, paused);
    let call = check(
        talking(),
        recorded(Recording::On),
        &[Order::BeginTrack(customer(false)), Order::BeginTrack(agent(false))],
    );
    let call =
        check(call, recorded(Recording::Paused), &[Order::PauseTrack(customer(true)), Order::PauseTrack(agent(true))]);
    let call =
        check(call, recorded(Recording::On), &[Order::PauseTrack(customer(false)), Order::PauseTrack(agent(false))]);
    check(call, recorded(Recording::Off), &[Order::EndTrack(customer(false)), Order::EndTrack(agent(false))]);
}

#[test]
fn an_agents_own_call_rings_the_agent_first_and_then_the_number() {
    let number: PhoneNumber = "+4930123".parse().unwrap();
    let mut call = Conversation::outgoing(TenantId::from_parts(1, &[1; 10]), interaction(), START);
    let own = WantedLeg { auto_answer: true, ..rung(1, None) };
    let orders = call.take(START, wanted(WantedCustomer::Nobody, vec![own]));
    assert!(matches!(&orders[..], [Order::Dial { auto_answer: true, .. }]), "{orders:?}");
    let call = after(call, Input::Answered { channel: channel(1) });
    let customer = format!("rd-{}-c1", interaction());
    let dialled = |way| Order::DialNumber {
        channel: format!("rd-{}-c{}", interaction(), way + 1),
        leg: None,
        number: number.clone(),
        way,
        ring_ms: 60_000,
    };
    let calls = || wanted(WantedCustomer::Dialled { number: number.clone() }, vec![joined(1, None)]);
    let ringback = |on| Order::Ringback { room: Room::Main, on };
    let call = check(call, calls(), &[dialled(0), seat(Room::Main, &[&channel(1)]), ringback(true)]);
    // The first trunk has no room: the next one is tried.
    let call = check(call, gone(&customer, Some(503)), &[dialled(1)]);
    let customer = format!("rd-{}-c2", interaction());
    let call = check(
        call,
        Input::Answered { channel: customer.clone() },
        &[Order::AnswerCustomer, seat(Room::Main, &[&customer]), ringback(false)],
    );
    let call = check(call, wanted(WantedCustomer::Joined, vec![joined(1, None)]), &[]);
    check(call, gone(&customer, None), &[ended(EndReason::CallerHangup, 50), hang_up(1)]);
}

#[test]
fn a_number_that_does_not_answer_ends_the_call_with_its_reason() {
    let number: PhoneNumber = "+4930123".parse().unwrap();
    let dialled = || {
        let call = Conversation::outgoing(TenantId::from_parts(1, &[1; 10]), interaction(), START);
        let call = after(call, wanted(WantedCustomer::Nobody, vec![rung(1, None)]));
        let call = after(call, Input::Answered { channel: channel(1) });
        after(call, wanted(WantedCustomer::Dialled { number: number.clone() }, vec![joined(1, None)]))
    };
    let customer = format!("rd-{}-c1", interaction());
    check(dialled(), gone(&customer, Some(486)), &[ended(EndReason::Busy, 50), hang_up(1)]);
    check(dialled(), gone(&customer, Some(404)), &[ended(EndReason::Unreachable, 50), hang_up(1)]);
    let rings = after(dialled(), Input::Ringing { channel: customer.clone() });
    check(rings, gone(&customer, Some(480)), &[ended(EndReason::NoAnswer, 50), hang_up(1)]);
    check(dialled(), Input::NoWay { channel: customer }, &[ended(EndReason::Unreachable, 100), hang_up(1)]);
}

#[test]
fn digits_go_to_the_customer() {
    let digits = || Input::SendDigits { digits: "12#".to_owned() };
    check(talking(), digits(), &[Order::SendDigits { channel: "caller".to_owned(), digits: "12#".to_owned() }]);
    check(arrived(), digits(), &[]);
}

#[test]
fn a_listing_repairs_what_did_not_happen() {
    let later = START.plus_ms(10_000);
    let room = SeenSeat::Room;
    let both = [channel(1)];
    let channels = ["caller", both[0].as_str()];
    let in_place = [("caller", room(Room::Main)), (both[0].as_str(), room(Room::Main))];
    let mut call = talking();
    assert_eq!(call.take(later, listed(later, &channels, &in_place)), []);
    // The customer still hears music.
    let apart = [("caller", room(Room::Waiting)), (both[0].as_str(), room(Room::Main))];
    assert_eq!(call.take(later, listed(later, &channels, &apart)), [seat(Room::Main, &["caller"])]);
    assert_eq!(call.wanted_seats().get("caller"), Some(&Seat::Room(Room::Main)));
    // What was just ordered is not ordered again because an older listing does not show it.
    assert_eq!(call.take(later, listed(later.plus_ms(1_000), &channels, &apart)), []);
    // Who is not listed has left.
    let mut call = talking();
    let left = Order::EndLeg(interaction(), leg_id(1), later);
    assert_eq!(call.take(later, listed(later, &["caller"], &[("caller", room(Room::Main))]))[0], left);
    let mut call = talking();
    let orders = call.take(later, listed(later, &[both[0].as_str()], &[]));
    assert_eq!(orders[0], Order::EndInteraction(EndReason::CallerHangup, later));
    // A leg that was dialled while the listing was made is not missing.
    assert_eq!(dialling().take(START.plus_ms(10), listed(START.plus_ms(10), &["caller"], &[])), []);
}

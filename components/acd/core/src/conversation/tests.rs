//! What each input leads to, and random histories against a small Asterisk and a router that say what they like in any order.

mod model;
mod steps;

use std::collections::{BTreeMap, BTreeSet};

use ringdown_domain::{AgentId, EndReason, InteractionId, OfferId, PartyRole, Recording, TenantId, TimestampMs};
use ringdown_events::{WantedConversation, WantedCustomer, WantedLeg, WantedParty};

use super::{Conversation, Input, LegEnd, Listed, Order, Room};

const START: TimestampMs = TimestampMs(1_000_000);

fn leg_id(number: u8) -> OfferId {
    OfferId::from_parts(u64::from(number), &[number; 10])
}

fn interaction() -> InteractionId {
    InteractionId::from_parts(2, &[2; 10])
}

fn child(number: u8) -> InteractionId {
    InteractionId::from_parts(2, &[number; 10])
}

fn channel(number: u32) -> String {
    format!("rd-{}-a{number}", interaction())
}

fn arrived() -> Conversation {
    let (call, orders) =
        Conversation::arrived(TenantId::from_parts(1, &[1; 10]), interaction(), "caller".to_owned(), START);
    assert_eq!(orders, [Order::Create]);
    call
}

fn agent_party(number: u8) -> WantedParty {
    WantedParty::Agent {
        agent: AgentId::from_parts(3, &[number; 10]),
        address: Some(format!("agent{number}@demo.invalid")),
    }
}

/// A leg that is to ring.
fn rung(number: u8, role: Option<PartyRole>) -> WantedLeg {
    WantedLeg {
        leg: leg_id(number),
        interaction: if role.is_none() { interaction() } else { child(number) },
        party: agent_party(number),
        ring_until_ms: Some(START.plus_ms(15_000)),
        role,
        muted: false,
        auto_answer: false,
    }
}

/// One that takes part.
fn joined(number: u8, role: Option<PartyRole>) -> WantedLeg {
    WantedLeg { ring_until_ms: None, ..rung(number, role) }
}

fn conversation(customer: WantedCustomer, legs: Vec<WantedLeg>) -> WantedConversation {
    WantedConversation { customer, legs, recording: Recording::Off, queue: None, shows: None }
}

fn wanted(customer: WantedCustomer, legs: Vec<WantedLeg>) -> Input {
    Input::Wanted(conversation(customer, legs))
}

fn seat(room: Room, channels: &[&str]) -> Order {
    Order::Seat { room, channels: channels.iter().map(|channel| (*channel).to_owned()).collect() }
}

fn gone(channel: &str, sip_code: Option<u16>) -> Input {
    Input::Gone { channel: channel.to_owned(), end: LegEnd { sip_code, cause: 16 }, at_ms: START.plus_ms(50) }
}

/// The call after one input, whose orders are tested where they are the subject.
fn after(mut call: Conversation, input: Input) -> Conversation {
    drop(call.take(START, input));
    call
}

/// A call that waits.
fn waiting() -> Conversation {
    after(arrived(), Input::Created { refused: None })
}

fn dialling() -> Conversation {
    after(waiting(), wanted(WantedCustomer::Waiting, vec![rung(1, None)]))
}

fn answered() -> Conversation {
    let call = after(dialling(), Input::Ringing { channel: channel(1) });
    after(call, Input::Answered { channel: channel(1) })
}

/// Its agent was accepted, and the seats are ordered.
fn joining() -> Conversation {
    after(answered(), wanted(WantedCustomer::Joined, vec![joined(1, None)]))
}

fn talking() -> Conversation {
    after(joining(), Input::Seated { channels: vec!["caller".to_owned(), channel(1)], done: true })
}

/// The customer is apart while the agent asks a second one, who has been seated.
fn consulting() -> Conversation {
    let asks = |second| wanted(WantedCustomer::Held, vec![joined(1, None), second]);
    let call = after(talking(), asks(rung(2, Some(PartyRole::Consult))));
    let call = after(call, Input::Ringing { channel: channel(2) });
    let call = after(call, Input::Answered { channel: channel(2) });
    let call = after(call, asks(joined(2, Some(PartyRole::Consult))));
    after(call, Input::Seated { channels: vec![channel(2)], done: true })
}

fn check(call: Conversation, input: Input, expected: &[Order]) -> Conversation {
    let mut call = call;
    let told = format!("{input:?}");
    assert_eq!(call.take(START.plus_ms(100), input), expected, "{told}");
    call
}

fn ended(reason: EndReason, after_ms: u64) -> Order {
    Order::EndInteraction(reason, START.plus_ms(after_ms))
}

fn listed(taken_at_ms: TimestampMs, channels: &[&str], seats: &[(&str, super::SeenSeat)]) -> Input {
    Input::Listed(Listed {
        taken_at_ms,
        channels: channels.iter().map(|channel| (*channel).to_owned()).collect::<BTreeSet<_>>(),
        seats: seats.iter().map(|(channel, seat)| ((*channel).to_owned(), *seat)).collect::<BTreeMap<_, _>>(),
    })
}

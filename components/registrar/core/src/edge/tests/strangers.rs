//! What strangers cost, and that they never cost a node or a phone its place.

use super::world::{
    NODE, REALM, World, authorization, from_node, nonce_of, only, register_text, response_to, settings, udp,
};
use crate::digest::Algorithm;
use crate::edge::{Observation, Outgoing, Settings};
use crate::flow::Flow;

const STRANGER: &str = "192.0.2.66:5060";
const PHONE: &str = "10.0.0.5:5062";

fn request(method: &str, number: usize, more: &str) -> String {
    format!(
        "{method} sip:{REALM} SIP/2.0\r\nVia: SIP/2.0/UDP {STRANGER};branch=z9hG4bKs{number}\r\n\
         From: <sip:x@y.example>;tag=x\r\nTo: <sip:{REALM}>{more}\r\nCall-ID: s{number}\r\nCSeq: 1 {method}\r\n\r\n"
    )
}

#[test]
fn nothing_is_remembered_for_strangers() {
    let mut world = World::new();
    let kinds = [
        ("OPTIONS", ""),
        ("SUBSCRIBE", ""),
        ("DANCE", ""),
        ("BYE", ";tag=1"),
        ("INVITE", ";tag=1"),
        ("CANCEL", ""),
        ("INVITE", ""),
    ];
    for number in 0..700 {
        let (method, more) = kinds[number % kinds.len()];
        only(world.receive(udp(STRANGER), &request(method, number, more)));
    }
    for (number, from, to) in [(800, "Max-Forwards: 0", ""), (801, "Proxy-Require: x", "")] {
        let text = request("OPTIONS", number, to).replace("CSeq", &format!("{from}\r\nCSeq"));
        only(world.receive(udp(STRANGER), &text));
    }
    let gauges = world.edge.gauges();
    assert_eq!((gauges.server_transactions, gauges.client_transactions), (0, 0));
    assert_eq!(world.edge.next_deadline_ms(), None, "nothing is due");
}

/// An INVITE with a forged source is answered at most once, not eleven times (timer G).
#[test]
fn a_forged_request_is_answered_once() {
    let mut world = World::new();
    let invite = request("INVITE", 1, ";tag=forged");
    assert_eq!(only(world.receive(udp(STRANGER), &invite)).status(), Some(481));
    assert!(world.pass(60_000).is_empty());
    // A repeat gets the same answer again: it is one, whoever asks (RFC 3261 8.2.7).
    let options = request("OPTIONS", 2, "");
    let first = only(world.receive(udp(STRANGER), &options));
    let again = only(world.receive(udp(STRANGER), &options));
    assert_eq!(first.bytes(), again.bytes());
}

#[test]
fn a_flood_has_a_budget_and_others_have_theirs() {
    let mut world = World::new();
    let phone = world.phone("100", PHONE);
    let mut answered = 0;
    for number in 0..40_000 {
        // 4,000 a second.
        if number % 4 == 0 {
            world.now_ms += 1;
        }
        answered += world.receive(udp(STRANGER), &request("OPTIONS", number, "")).len();
    }
    assert!((1_000..=2_100).contains(&answered), "{answered} of 40,000 in 10 s");
    assert!(world.observed.contains(&Observation::Dropped("answers_spent")));
    // Its own challenge is another budget, and others are not touched.
    let register = register_text("101", udp(STRANGER), "", 1, "");
    assert_eq!(only(world.receive(udp(STRANGER), &register)).status(), Some(401));
    assert_eq!(world.register("100", phone, &format!("<sip:100@{PHONE}>"), 50).status(), Some(200));
    let out = world.receive(udp(NODE), &from_node("INVITE", "100", "a", ""));
    assert_eq!(out.len(), 2, "the node's call goes on");
}

/// Phones behind one address register at any rate: the right password gives the challenge back.
#[test]
fn honest_phones_of_one_address_have_no_limit() {
    let mut world = World::new();
    for number in 0..6_000_u32 {
        let flow = udp(&format!("10.0.0.5:{}", 1_024 + number));
        assert_eq!(world.register("100", flow, "<sip:100@10.0.0.5:5062>", 10_000 * number + 1).status(), Some(200));
    }
}

/// More REGISTERs than there are transactions: those that have their answer make room, and a repeat of a late one still
/// finds its answer.
#[test]
fn answered_requests_make_room() {
    let mut world = World::new();
    world.restart(Settings { transactions: 50, ..settings() });
    for number in 0..400_u32 {
        let flow = udp(&format!("10.0.1.{}:5060", number % 200));
        let contact = format!("<sip:100@10.0.1.{}:5060>", number % 200);
        assert_eq!(world.register("100", flow, &contact, 10 * number + 1).status(), Some(200), "number {number}");
    }
    assert!(world.edge.gauges().server_transactions <= 50);
}

/// What phones hold open leaves a part for the nodes.
#[test]
fn nodes_have_a_part_of_their_own() {
    let mut world = World::new();
    world.restart(Settings { transactions: 50, ..settings() });
    world.phone("101", "10.0.0.6:5062");
    let invite = |number: usize, more: &str| {
        format!(
            "INVITE sip:5551234@{REALM} SIP/2.0\r\nVia: SIP/2.0/UDP {PHONE};branch=z9hG4bKo{number}{}\r\n\
             From: <sip:100@{REALM}>;tag=x\r\nTo: <sip:5551234@{REALM}>\r\nCall-ID: o{number}\r\nCSeq: 1 INVITE\r\n\
             Contact: <sip:100@{PHONE}>\r\n{more}\r\n",
            more.len()
        )
    };
    let mut refused = 0;
    for number in 0..60 {
        let challenge = only(world.receive(udp(PHONE), &invite(number, "")));
        let line = authorization("Proxy-Authorization", Algorithm::Sha256, "100", "INVITE", &nonce_of(&challenge), 1);
        let out = world.receive(udp(PHONE), &invite(number, &line));
        refused += usize::from(out[0].1.status() == Some(503));
    }
    assert!(refused >= 20, "phones have their limit: {refused}");
    let out = world.receive(udp(NODE), &from_node("INVITE", "101", "node", ""));
    assert_eq!(out[0].1.status(), Some(100), "the node's call is taken");
}

fn guess(world: &mut World, flow: Flow, cseq: u32, right: bool) -> Option<u16> {
    let challenge = world.receive(flow, &register_text("100", flow, "<sip:100@10.0.0.5:5062>", cseq, ""));
    let line = authorization("Authorization", Algorithm::Md5, "100", "REGISTER", &nonce_of(&only(challenge)), 1);
    let line = if right { line } else { line.replace("response=\"", "response=\"0") };
    only(world.receive(flow, &register_text("100", flow, "<sip:100@10.0.0.5:5062>", cseq + 1, &line))).status()
}

#[test]
fn guesses_are_braked_and_told_once() {
    let mut world = World::new();
    let wrong: Vec<Option<u16>> = (0..20).map(|at| guess(&mut world, udp(STRANGER), 10 * at + 1, false)).collect();
    assert_eq!(wrong[..5], [Some(401); 5]);
    assert_eq!(wrong[5..], [Some(503); 15]);
    assert_eq!(world.guessing, [STRANGER.parse().expect("an address")]);
    // The right one is not looked at either, or the brake would tell that it is right.
    assert_eq!(guess(&mut world, udp(STRANGER), 1_001, true), Some(503));
    assert_eq!(guess(&mut world, udp(PHONE), 1_001, true), Some(200), "the owner elsewhere");
    world.pass(13_000);
    assert_eq!(guess(&mut world, udp(STRANGER), 2_001, true), Some(200), "a try comes back every 12 s");
}

#[test]
fn a_stream_is_proved_once() {
    let mut world = World::new();
    world.edge.opened(3);
    let flow = Flow::tcp(3, "10.0.0.9:40000".parse().expect("an address"));
    let contact = "<sip:100@10.0.0.9:40000;transport=tcp>";
    only(world.receive(flow, &register_text("100", flow, contact, 1, "")));
    assert_eq!(world.proved, [] as [u64; 0]);
    world.register("100", flow, contact, 10);
    world.register("100", flow, contact, 20);
    assert_eq!(world.proved, [3]);
}

/// What a phone asks outside of a call is answered by us, at once and rightly (RFC 3261 8.2.1, RFC 6665 4.2.1).
#[test]
fn requests_outside_of_a_call_get_their_answer() {
    let cases = [
        ("OPTIONS", 200),
        ("SUBSCRIBE", 489),
        ("PUBLISH", 489),
        ("MESSAGE", 405),
        ("REFER", 405),
        ("INFO", 405),
        ("NOTIFY", 481),
        ("DANCE", 501),
    ];
    for (method, status) in cases {
        let mut world = World::new();
        let text = |branch: &str, more: &str| {
            format!(
                "{method} sip:101@{REALM} SIP/2.0\r\nVia: SIP/2.0/UDP {PHONE};branch=z9hG4bK{branch}\r\n\
                 From: <sip:100@{REALM}>;tag=x\r\nTo: <sip:101@{REALM}>\r\nCall-ID: out\r\nCSeq: 1 {method}\r\n\
                 {more}\r\n"
            )
        };
        let challenge = only(world.receive(udp(PHONE), &text("a", "")));
        assert_eq!(challenge.status(), Some(407), "{method}");
        let line = authorization("Proxy-Authorization", Algorithm::Sha256, "100", method, &nonce_of(&challenge), 1);
        let answer = only(world.receive(udp(PHONE), &text("b", &line)));
        assert_eq!(answer.status(), Some(status), "{method}");
        assert!(String::from_utf8_lossy(answer.bytes()).contains("\r\nAllow: INVITE, "), "{method}");
    }
}

/// Where nothing takes calls of phones they are refused by us, and no node is troubled.
#[test]
fn a_call_of_a_phone_is_refused_where_nobody_takes_it() {
    let mut world = World::new();
    world.restart(Settings { outgoing: Outgoing::Refuse, ..settings() });
    let invite = |branch: &str, more: &str| {
        format!(
            "INVITE sip:5551234@{REALM} SIP/2.0\r\nVia: SIP/2.0/UDP {PHONE};branch=z9hG4bK{branch}\r\n\
             From: <sip:100@{REALM}>;tag=x\r\nTo: <sip:5551234@{REALM}>\r\nCall-ID: out\r\nCSeq: 1 INVITE\r\n{more}\r\n"
        )
    };
    let challenge = only(world.receive(udp(PHONE), &invite("a", "")));
    let line = authorization("Proxy-Authorization", Algorithm::Sha256, "100", "INVITE", &nonce_of(&challenge), 1);
    assert_eq!(only(world.receive(udp(PHONE), &invite("b", &line))).status(), Some(403));
}

/// Inside a call, what Asterisk would leave without an answer gets one from us, and the rest reaches it.
#[test]
fn requests_inside_a_call_are_answered_or_passed() {
    let mut world = World::new();
    world.phone("100", PHONE);
    let out = world.receive(udp(NODE), &from_node("INVITE", "100", "a", ""));
    let invite = out[1].1.clone();
    world.receive(udp(PHONE), &response_to(&invite, 200, "sip:100@10.0.0.5:5062"));
    let route = super::world::value(&invite, crate::message::FieldName::RecordRoute);
    let text = |method: &str, kind: &str| {
        format!(
            "{method} sip:asterisk@{NODE} SIP/2.0\r\nVia: SIP/2.0/UDP {PHONE};branch=z9hG4bKi{method}{}\r\n\
             Route: {route}\r\nFrom: <sip:100@{REALM}>;tag=p1\r\nTo: <sip:caller@{NODE}>;tag=n1\r\nCall-ID: call-a\r\n\
             CSeq: 1 {method}\r\nContent-Type: {kind}\r\nContent-Length: 0\r\n\r\n",
            kind.len()
        )
    };
    for (method, status) in
        [("REFER", 405), ("MESSAGE", 405), ("PUBLISH", 489), ("NOTIFY", 481), ("XYZ", 501), ("INFO", 415)]
    {
        let answer = only(world.receive(udp(PHONE), &text(method, "text/plain")));
        assert_eq!(answer.status(), Some(status), "{method}");
    }
    for method in ["INFO", "UPDATE", "PRACK", "OPTIONS", "BYE"] {
        let out = world.receive(udp(PHONE), &text(method, "application/dtmf-relay"));
        assert_eq!(out[0].1.status(), None, "{method} goes to the node");
        assert_eq!(out[0].0, udp(NODE), "{method}");
    }
}

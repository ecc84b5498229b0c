//! Calls from a node to phones and back.

use super::world::{
    NODE, NODE_2, REALM, World, authorization, from_node, nonce_of, only, response_to, settings, texts, udp, value,
};
use crate::digest::Algorithm;
use crate::edge::Settings;
use crate::flow::Flow;
use crate::message::{FieldName, Message};

const PHONE: &str = "10.0.0.5:5062";

fn ring(world: &mut World, branch: &str) -> Message {
    let out = world.receive(udp(NODE), &from_node("INVITE", "100", branch, ""));
    assert_eq!(out[0].1.status(), Some(100), "100 Trying at once");
    assert_eq!(out.len(), 2);
    out[1].1.clone()
}

/// A request inside the dialog that `invite` and its 200 made, from the node.
fn in_dialog(invite: &Message, method: &str, cseq: u32, target: &str) -> String {
    let route = value(invite, FieldName::RecordRoute);
    let call_id = value(invite, FieldName::CallId);
    format!(
        "{method} {target} SIP/2.0\r\nVia: SIP/2.0/UDP {NODE};branch=z9hG4bK{method}{cseq}\r\nRoute: {route}\r\n\
         Max-Forwards: 70\r\nFrom: <sip:caller@{NODE}>;tag=n1\r\nTo: <sip:100@{REALM}>;tag=p1\r\n\
         Call-ID: {call_id}\r\nCSeq: {cseq} {method}\r\nContent-Length: 0\r\n\r\n"
    )
}

#[test]
fn a_call_is_relayed_from_invite_to_bye() {
    let mut world = World::new();
    world.phone("100", PHONE);
    let invite = ring(&mut world, "a");
    assert!(invite.bytes().starts_with(b"INVITE sip:100@10.0.0.5:5062 SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:5060;"));
    assert_eq!(value(&invite, FieldName::MaxForwards), "69");
    assert!(invite.field(FieldName::Route).is_none(), "our own Route is taken off");

    let ringing = world.receive(udp(PHONE), &response_to(&invite, 180, "sip:100@10.0.0.5:5062"));
    assert_eq!(texts(&ringing), [format!("{NODE} SIP/2.0 180 Whatever")]);
    assert_eq!(ringing[0].1.vias().count(), 1);
    let answered = world.receive(udp(PHONE), &response_to(&invite, 200, "sip:100@10.0.0.5:5062"));
    assert_eq!(texts(&answered), [format!("{NODE} SIP/2.0 200 Whatever")]);

    let target = "sip:100@10.0.0.5:5062";
    let ack = world.receive(udp(NODE), &in_dialog(&invite, "ACK", 10, target));
    assert_eq!(texts(&ack), [format!("{PHONE} ACK {target} SIP/2.0")]);
    let bye = world.receive(udp(NODE), &in_dialog(&invite, "BYE", 11, target));
    assert_eq!(texts(&bye), [format!("{PHONE} BYE {target} SIP/2.0")]);
    assert!(bye[0].1.field(FieldName::Route).is_none());
    let done = world.receive(udp(PHONE), &response_to(&bye[0].1, 200, target));
    assert_eq!(texts(&done), [format!("{NODE} SIP/2.0 200 Whatever")]);
    world.pass(100_000);
    let gauges = world.edge.gauges();
    assert_eq!((gauges.server_transactions, gauges.client_transactions, gauges.pending_forks), (0, 0, 0));
}

#[test]
fn an_answer_that_comes_after_a_restart_reaches_the_node_and_its_ack_the_phone() {
    let mut world = World::new();
    world.phone("100", PHONE);
    let invite = ring(&mut world, "a");
    let target = "sip:100@10.0.0.5:5062";
    world.restart(Settings { seed: [10; 32], ..settings() });
    for status in [180, 486] {
        assert!(world.receive(udp(PHONE), &response_to(&invite, status, target)).is_empty(), "{status} is stray");
    }
    let answered = world.receive(udp(PHONE), &response_to(&invite, 200, target));
    assert_eq!(texts(&answered), [format!("{NODE} SIP/2.0 200 Whatever")]);
    assert_eq!(answered[0].1.vias().count(), 1);
    let ack = world.receive(udp(NODE), &in_dialog(&invite, "ACK", 10, target));
    assert_eq!(texts(&ack), [format!("{PHONE} ACK {target} SIP/2.0")]);
    // To nobody but a node.
    let elsewhere = response_to(&invite, 200, target).replace(NODE, "10.9.9.9:5060");
    assert!(world.receive(udp(PHONE), &elsewhere).is_empty());
}

#[test]
fn the_phone_hangs_up() {
    let mut world = World::new();
    world.phone("100", PHONE);
    let invite = ring(&mut world, "a");
    world.receive(udp(PHONE), &response_to(&invite, 200, "sip:100@10.0.0.5:5062"));
    let route = value(&invite, FieldName::RecordRoute);
    let bye = format!(
        "BYE sip:asterisk@{NODE} SIP/2.0\r\nVia: SIP/2.0/UDP {PHONE};branch=z9hG4bKpb\r\nRoute: {route}\r\n\
         From: <sip:100@{REALM}>;tag=p1\r\nTo: <sip:caller@{NODE}>;tag=n1\r\nCall-ID: call-a\r\nCSeq: 1 BYE\r\n\
         Content-Length: 0\r\n\r\n"
    );
    assert_eq!(texts(&world.receive(udp(PHONE), &bye)), [format!("{NODE} BYE sip:asterisk@{NODE} SIP/2.0")]);
    // The same without our proof goes nowhere.
    let forged = bye.replace("z9hG4bKpb", "z9hG4bKpc").replace("Route: <sip:", "Route: <sip:0");
    assert_eq!(only(world.receive(udp(PHONE), &forged)).status(), Some(481));
}

#[test]
fn a_strict_router_in_front_is_understood() {
    let mut world = World::new();
    world.phone("100", PHONE);
    let invite = ring(&mut world, "a");
    world.receive(udp(PHONE), &response_to(&invite, 200, "sip:100@10.0.0.5:5062"));
    let ours = value(&invite, FieldName::RecordRoute).replace(['<', '>'], "");
    let strict = in_dialog(&invite, "BYE", 11, &ours);
    let route_line = format!("Route: <{ours}>\r\n");
    let strict = strict.replace(&route_line, "Route: <sip:100@10.0.0.5:5062>\r\n");
    let out = world.receive(udp(NODE), &strict);
    assert_eq!(texts(&out), [format!("{PHONE} BYE sip:100@10.0.0.5:5062 SIP/2.0")]);
    assert!(out[0].1.field(FieldName::Route).is_none());
}

#[test]
fn a_repeated_invite_is_absorbed() {
    let mut world = World::new();
    world.phone("100", PHONE);
    let invite = ring(&mut world, "a");
    let repeat = world.receive(udp(NODE), &from_node("INVITE", "100", "a", ""));
    assert_eq!(texts(&repeat), [format!("{NODE} SIP/2.0 100 Trying")]);
    world.receive(udp(PHONE), &response_to(&invite, 180, "sip:100@10.0.0.5:5062"));
    let repeat = world.receive(udp(NODE), &from_node("INVITE", "100", "a", ""));
    assert_eq!(texts(&repeat), [format!("{NODE} SIP/2.0 180 Whatever")]);
}

#[test]
fn busy_is_passed_on_and_acknowledged() {
    let mut world = World::new();
    world.phone("100", PHONE);
    let invite = ring(&mut world, "a");
    let out = world.receive(udp(PHONE), &response_to(&invite, 486, "sip:100@10.0.0.5:5062"));
    assert_eq!(
        texts(&out),
        [format!("{PHONE} ACK sip:100@10.0.0.5:5062 SIP/2.0"), format!("{NODE} SIP/2.0 486 Whatever")]
    );
    // Without ACK it is repeated (timer G); with it, silence.
    assert_eq!(world.pass(500).len(), 1);
    let ack = from_node("INVITE", "100", "a", "").replace("INVITE sip", "ACK sip").replace("10 INVITE", "10 ACK");
    assert!(world.receive(udp(NODE), &ack).is_empty());
    assert!(world.pass(40_000).is_empty());
}

#[test]
fn a_call_given_up_is_cancelled_at_the_phone() {
    let mut world = World::new();
    world.phone("100", PHONE);
    let invite = ring(&mut world, "a");
    let cancel = from_node("CANCEL", "100", "a", "");
    // Before the phone said anything CANCEL must wait (9.1).
    let early = world.receive(udp(NODE), &cancel);
    assert_eq!(texts(&early), [format!("{NODE} SIP/2.0 200 OK")]);
    let out = world.receive(udp(PHONE), &response_to(&invite, 180, "sip:100@10.0.0.5:5062"));
    assert_eq!(texts(&out), [format!("{PHONE} CANCEL sip:100@10.0.0.5:5062 SIP/2.0")]);
    assert_eq!(out[0].1.request().expect("sound").via.branch(), invite.request().expect("sound").via.branch());
    world.receive(udp(PHONE), &response_to(&out[0].1, 200, "sip:100@10.0.0.5:5062"));
    let ended = world.receive(udp(PHONE), &response_to(&invite, 487, "sip:100@10.0.0.5:5062"));
    assert_eq!(texts(&ended)[1], format!("{NODE} SIP/2.0 487 Whatever"));
    let stray = from_node("CANCEL", "100", "zz", "");
    assert_eq!(only(world.receive(udp(NODE), &stray)).status(), Some(481));
}

#[test]
fn a_vanished_phone_is_told_in_two_seconds() {
    let mut world = World::new();
    world.phone("100", PHONE);
    ring(&mut world, "a");
    let out = world.pass(2_000);
    let repeats = out.iter().filter(|(flow, _)| *flow == udp(PHONE)).count();
    assert_eq!(repeats, 2, "timer A repeats at 500 and 1500 ms");
    assert_eq!(texts(&out).last().map(String::as_str), Some("127.0.0.1:5070 SIP/2.0 408 Request Timeout"));
}

#[test]
fn a_phone_that_wakes_up_too_late_is_released() {
    let mut world = World::new();
    world.phone("100", PHONE);
    let invite = ring(&mut world, "a");
    world.pass(2_500);
    let contact = "sip:100@10.0.0.5:5062";
    let woken = world.receive(udp(PHONE), &response_to(&invite, 180, contact));
    assert_eq!(texts(&woken), [format!("{PHONE} CANCEL {contact} SIP/2.0")]);
    let late = world.receive(udp(PHONE), &response_to(&invite, 200, contact));
    assert_eq!(texts(&late), [format!("{PHONE} ACK {contact} SIP/2.0"), format!("{PHONE} BYE {contact} SIP/2.0")]);
}

#[test]
fn nobody_answers_until_timer_c() {
    let mut world = World::new();
    world.phone("100", PHONE);
    let invite = ring(&mut world, "a");
    world.receive(udp(PHONE), &response_to(&invite, 180, "sip:100@10.0.0.5:5062"));
    assert!(world.pass(180_000).is_empty());
    let cancel = world.pass(1_500);
    assert!(texts(&cancel)[0].contains("CANCEL"));
    let out = world.pass(40_000);
    // Nobody acknowledges it in this test, so it is repeated; but it is one answer.
    let answers: Vec<String> = texts(&out).into_iter().filter(|text| text.starts_with(NODE)).collect();
    assert!(!answers.is_empty() && answers.iter().all(|text| text.contains(" 408 ")), "{answers:?}");
    world.pass(100_000);
    assert_eq!(world.edge.gauges().client_transactions, 0);
}

#[test]
fn all_phones_ring_and_the_first_wins() {
    let mut world = World::new();
    world.phone("100", PHONE);
    world.phone("100", "10.0.0.6:5062");
    let out = world.receive(udp(NODE), &from_node("INVITE", "100", "a", ""));
    assert_eq!(out.len(), 3);
    let (first, second) = (out[1].1.clone(), out[2].1.clone());
    world.receive(out[1].0, &response_to(&first, 180, "sip:100@10.0.0.5:5062"));
    world.receive(out[2].0, &response_to(&second, 180, "sip:100@10.0.0.6:5062"));
    let won = world.receive(out[2].0, &response_to(&second, 200, "sip:100@10.0.0.6:5062"));
    assert_eq!(
        texts(&won),
        [format!("{NODE} SIP/2.0 200 Whatever"), format!("{PHONE} CANCEL sip:100@10.0.0.5:5062 SIP/2.0")]
    );
    // Its answer is repeated until the ACK comes, and goes on.
    let repeated = world.receive(out[2].0, &response_to(&second, 200, "sip:100@10.0.0.6:5062"));
    assert_eq!(texts(&repeated), [format!("{NODE} SIP/2.0 200 Whatever")]);
    // Both answered at the same moment: the other one is acknowledged and hung up, once.
    let contact = "sip:100@10.0.0.5:5062";
    let ended = [format!("{PHONE} ACK {contact} SIP/2.0"), format!("{PHONE} BYE {contact} SIP/2.0")];
    let also = world.receive(out[1].0, &response_to(&first, 200, contact));
    assert_eq!(texts(&also), ended);
    let again = world.receive(out[1].0, &response_to(&first, 200, contact));
    assert_eq!(texts(&again), ended[..1]);
}

/// A phone that is a proxy itself may answer twice on one branch: the second answer is ended as well.
#[test]
fn a_second_answer_on_one_branch_is_ended() {
    let mut world = World::new();
    world.phone("100", PHONE);
    let invite = ring(&mut world, "a");
    let contact = "sip:100@10.0.0.5:5062";
    world.receive(udp(PHONE), &response_to(&invite, 200, contact));
    let other = response_to(&invite, 200, contact).replace(";tag=p1", ";tag=p2");
    let ended = [format!("{PHONE} ACK {contact} SIP/2.0"), format!("{PHONE} BYE {contact} SIP/2.0")];
    assert_eq!(texts(&world.receive(udp(PHONE), &other)), ended);
}

#[test]
fn who_is_not_there() {
    let mut world = World::new();
    let status = |world: &mut World, user: &str| {
        let out = world.receive(udp(NODE), &from_node("INVITE", user, user, ""));
        only(out).status()
    };
    assert_eq!(status(&mut world, "100"), Some(480), "no binding");
    assert_eq!(status(&mut world, "999"), Some(404), "no such user");
}

#[test]
fn a_phone_calls_out_with_credentials() {
    let mut world = World::new();
    world.phone("100", PHONE);
    let invite = |branch: &str, more: &str| {
        format!(
            "INVITE sip:5551234@{REALM} SIP/2.0\r\nVia: SIP/2.0/UDP {PHONE};branch=z9hG4bK{branch}\r\n\
             Max-Forwards: 70\r\nFrom: <sip:100@{REALM}>;tag=x\r\nTo: <sip:5551234@{REALM}>\r\nCall-ID: out\r\n\
             CSeq: 1 INVITE\r\nContact: <sip:100@{PHONE}>\r\n{more}Content-Length: 0\r\n\r\n"
        )
    };
    let challenge = only(world.receive(udp(PHONE), &invite("a", "")));
    assert_eq!(challenge.status(), Some(407));
    let line = authorization("Proxy-Authorization", Algorithm::Sha256, "100", "INVITE", &nonce_of(&challenge), 1);
    let out = world.receive(udp(PHONE), &invite("b", &line));
    assert_eq!(
        texts(&out),
        [format!("{PHONE} SIP/2.0 100 Trying"), format!("{NODE} INVITE sip:5551234@{REALM} SIP/2.0"),]
    );
    assert!(out[1].1.field(FieldName::ProxyAuthorization).is_none(), "credentials are stripped");
    // The first node is silent: the next one gets it.
    let next = world.pass(2_000);
    assert_eq!(texts(&next).last(), Some(&format!("{NODE_2} INVITE sip:5551234@{REALM} SIP/2.0")));
    let invite = next.last().expect("a message").1.clone();
    let answered = world.receive(udp(NODE_2), &response_to(&invite, 200, "sip:x@127.0.0.1:5071"));
    assert_eq!(texts(&answered), [format!("{PHONE} SIP/2.0 200 Whatever")]);
    // Somebody else's From is refused.
    let challenge = only(world.receive(udp(PHONE), &invite_as_other("c", "")));
    let line = authorization("Proxy-Authorization", Algorithm::Sha256, "100", "INVITE", &nonce_of(&challenge), 1);
    assert_eq!(only(world.receive(udp(PHONE), &invite_as_other("d", &line))).status(), Some(403));
}

fn invite_as_other(branch: &str, more: &str) -> String {
    format!(
        "INVITE sip:5551234@{REALM} SIP/2.0\r\nVia: SIP/2.0/UDP {PHONE};branch=z9hG4bK{branch}\r\n\
         From: <sip:101@{REALM}>;tag=x\r\nTo: <sip:5551234@{REALM}>\r\nCall-ID: out\r\nCSeq: 1 INVITE\r\n\
         {more}Content-Length: 0\r\n\r\n"
    )
}

#[test]
fn a_phone_on_tcp_that_is_gone_is_unreachable_at_once() {
    let mut world = World::new();
    let peer = "10.0.0.9:40000".parse().expect("an address");
    let flow = Flow::tcp(3, peer);
    world.edge.opened(3);
    let answer = world.register("100", flow, "<sip:100@10.0.0.9:40000;transport=tcp>", 1);
    assert_eq!(answer.status(), Some(200));
    let out = world.receive(udp(NODE), &from_node("INVITE", "100", "a", ""));
    assert_eq!(out[1].0, flow);
    assert_eq!(
        out[1].1.fields().iter().filter(|field| field.name == FieldName::RecordRoute).count(),
        2,
        "the transports differ"
    );
    world.edge.closed(flow, world.now_ms);
    let told = world.drain();
    assert_eq!(texts(&told), [format!("{NODE} SIP/2.0 480 Temporarily Unavailable")]);
    assert_eq!(world.forgotten.len(), 1);
    let again = only(world.receive(udp(NODE), &from_node("INVITE", "100", "b", "")));
    assert_eq!(again.status(), Some(480));
}

#[test]
fn a_phone_that_moved_still_gets_its_bye() {
    let mut world = World::new();
    let instance = ";+sip.instance=\"<urn:uuid:1>\";reg-id=1";
    let here = udp(PHONE);
    world.register("100", here, &format!("<sip:100@{PHONE}>{instance}"), 1);
    let invite = ring(&mut world, "a");
    world.receive(here, &response_to(&invite, 200, "sip:100@10.0.0.5:5062"));
    let there = udp("10.9.9.9:7777");
    let moved = world.register("100", there, &format!("<sip:100@10.9.9.9:7777>{instance}"), 1);
    assert_eq!(moved.status(), Some(200));
    let bye = world.receive(udp(NODE), &in_dialog(&invite, "BYE", 11, "sip:100@10.0.0.5:5062"));
    assert_eq!(texts(&bye), ["10.9.9.9:7777 BYE sip:100@10.0.0.5:5062 SIP/2.0"]);
}

#[test]
fn a_loop_is_detected() {
    let mut world = World::new();
    world.phone("100", PHONE);
    // A phone that registered our own address as its contact.
    let out = world.receive(udp(NODE), &from_node("OPTIONS", "100", "a", ""));
    let forwarded = out[0].1.clone();
    // It comes back with the URI it had when we hashed it.
    let back = String::from_utf8_lossy(forwarded.bytes())
        .replace("OPTIONS sip:100@10.0.0.5:5062", &format!("OPTIONS sip:100@{REALM}"))
        .replace("Max-Forwards", "Route: <sip:127.0.0.1:5060;lr>\r\nMax-Forwards");
    let back = back.replacen("Via:", &format!("Via: SIP/2.0/UDP {NODE};branch=z9hG4bKloop\r\nVia:"), 1);
    assert_eq!(only(world.receive(udp(NODE), &back)).status(), Some(482));
}

#[test]
fn a_forgotten_transaction_may_begin_again() {
    let mut world = World::new();
    let call = from_node("INVITE", "100", "again", "");
    assert_eq!(only(world.receive(udp(NODE), &call)).status(), Some(480));
    world.pass(100_000);
    assert_eq!(only(world.receive(udp(NODE), &call)).status(), Some(480));
}

/// Bytes behind the body that Content-Length announces are not ours to relay (RFC 3261 18.3).
#[test]
fn what_follows_the_body_is_cut_off() {
    let mut world = World::new();
    world.phone("100", PHONE);
    let call = from_node("INVITE", "100", "tail", "") + "BYE sip:smuggled@x SIP/2.0\r\n\r\n";
    let out = world.receive(udp(NODE), &call);
    assert_eq!(out.len(), 2);
    assert!(out.iter().all(|(_, message)| !String::from_utf8_lossy(message.bytes()).contains("smuggled")));
    assert!(out[1].1.body().is_empty());
}

#[test]
fn options_to_us_is_answered() {
    let mut world = World::new();
    let text = |method: &str| {
        format!(
            "{method} sip:{REALM} SIP/2.0\r\nVia: SIP/2.0/UDP {PHONE};branch=z9hG4bKo{method}\r\n\
             From: <sip:100@{REALM}>;tag=x\r\nTo: <sip:{REALM}>\r\nCall-ID: o\r\nCSeq: 1 {method}\r\n\r\n"
        )
    };
    let status = |world: &mut World, method: &str| only(world.receive(udp(PHONE), &text(method))).status();
    assert_eq!(status(&mut world, "OPTIONS"), Some(200));
    assert_eq!(status(&mut world, "PUBLISH"), Some(405));
    assert_eq!(status(&mut world, "DANCE"), Some(501));
}

/// All in one host, listening everywhere: the node is told a loopback address, so that it comes back from the address it
/// is trusted by; the phone is told the one it can reach.
#[test]
fn each_side_is_told_how_it_reaches_us() {
    let mut world = World::new();
    let mut settings = settings();
    settings.udp[0].host = "192.0.2.2".into();
    settings.any_address_ports = [5060].into();
    world.restart(settings);
    world.phone("100", PHONE);
    let invite = ring(&mut world, "a");
    let routes: Vec<String> = invite
        .fields()
        .iter()
        .filter(|field| field.name == FieldName::RecordRoute)
        .map(|field| String::from_utf8_lossy(field.value.of(invite.bytes())).into_owned())
        .collect();
    assert!(routes[0].contains("@192.0.2.2:5060;lr") && routes[1].contains("@127.0.0.1:5060;lr"), "{routes:?}");
    world.receive(udp(PHONE), &response_to(&invite, 200, "sip:100@10.0.0.5:5062"));
    let bye = in_dialog(&invite, "BYE", 11, "sip:100@10.0.0.5:5062")
        .replace(&format!("Route: {}", routes[0]), &format!("Route: {}, {}", routes[1], routes[0]));
    let out = world.receive(udp(NODE), &bye);
    assert_eq!(texts(&out), [format!("{PHONE} BYE sip:100@10.0.0.5:5062 SIP/2.0")]);
    assert!(out[0].1.field(FieldName::Route).is_none(), "both of ours are taken off");
}

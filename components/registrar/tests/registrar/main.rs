//! The registrar with real sockets, a real Redis, sipp and baresip.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on stops")]

mod house;
mod media;
mod multihomed;
mod others;
mod peers;
mod store;
mod trace;
mod transports;

use std::time::Duration;

use house::{House, LIMIT, Phone, REALM, authorization};
use ringdown_registrar_core::digest::Algorithm;
use ringdown_registrar_core::message::{FieldName, Message};
use ringdown_test_support::wait_until;

const BOTH: &[Algorithm] = &[Algorithm::Sha256, Algorithm::Md5];

/// A request of the node to the phones of user 100.
fn from_node(node: &Phone, method: &str, branch: &str) -> String {
    let address = node.address;
    format!(
        "{method} sip:100@{REALM} SIP/2.0\r\nVia: SIP/2.0/UDP {address};branch=z9hG4bK{branch};rport\r\n\
         Max-Forwards: 70\r\nFrom: <sip:caller@{address}>;tag=n1\r\nTo: <sip:100@{REALM}>\r\n\
         Call-ID: call-{branch}\r\nCSeq: 10 {method}\r\nContact: <sip:node@{address}>\r\nContent-Length: 0\r\n\r\n"
    )
}

fn in_dialog(node: &Phone, invite: &Message, method: &str, cseq: u32) -> String {
    let text = |name: FieldName| String::from_utf8_lossy(invite.value(name).unwrap()).into_owned();
    let target = String::from_utf8_lossy(invite.request().unwrap().uri.raw).into_owned();
    let routes: String = invite
        .fields()
        .iter()
        .filter(|field| field.name == FieldName::RecordRoute)
        .map(|field| format!("Route: {}\r\n", String::from_utf8_lossy(field.value.of(invite.bytes()))))
        .rev()
        .collect();
    format!(
        "{method} {target} SIP/2.0\r\nVia: SIP/2.0/UDP {};branch=z9hG4bK{method}{cseq}{}\r\n{routes}\
         Max-Forwards: 70\r\nFrom: {}\r\nTo: <sip:100@{REALM}>;tag=p1\r\nCall-ID: {}\r\nCSeq: {cseq} {method}\r\n\
         Content-Length: 0\r\n\r\n",
        node.address,
        text(FieldName::CallId),
        text(FieldName::From),
        text(FieldName::CallId)
    )
}

async fn relay(house: &House, phone: &Phone) {
    let node = Phone::udp_at(house.node, house.sip).await;
    node.send(from_node(&node, "INVITE", "busy").as_bytes()).await;
    assert_eq!(node.next().await.status(), Some(100));
    let invite = phone.next().await;
    phone.answer(&invite, 486).await;
    assert_eq!(phone.next().await.request().unwrap().method_name, b"ACK");
    assert_eq!(node.final_response().await.status(), Some(486));
    let ack = from_node(&node, "INVITE", "busy").replace("INVITE sip", "ACK sip").replace("10 INVITE", "10 ACK");
    node.send(ack.as_bytes()).await;

    node.send(from_node(&node, "INVITE", "cancel").as_bytes()).await;
    let invite = phone.next().await;
    phone.answer(&invite, 180).await;
    assert_eq!(node.next().await.status(), Some(100));
    assert_eq!(node.next().await.status(), Some(180));
    node.send(from_node(&node, "CANCEL", "cancel").as_bytes()).await;
    assert_eq!(node.next().await.status(), Some(200));
    let cancel = phone.next().await;
    assert_eq!(cancel.request().unwrap().method_name, b"CANCEL");
    phone.answer(&cancel, 200).await;
    phone.answer(&invite, 487).await;
    assert_eq!(phone.next().await.request().unwrap().method_name, b"ACK");
    assert_eq!(node.final_response().await.status(), Some(487));
    let ack = from_node(&node, "INVITE", "cancel").replace("INVITE sip", "ACK sip").replace("10 INVITE", "10 ACK");
    node.send(ack.as_bytes()).await;

    node.send(from_node(&node, "INVITE", "talk").as_bytes()).await;
    let invite = phone.next().await;
    phone.answer(&invite, 200).await;
    assert_eq!(node.final_response().await.status(), Some(200));
    node.send(in_dialog(&node, &invite, "ACK", 10).as_bytes()).await;
    assert_eq!(phone.next().await.request().unwrap().method_name, b"ACK");
    node.send(in_dialog(&node, &invite, "BYE", 11).as_bytes()).await;
    let bye = phone.next().await;
    assert_eq!(bye.request().unwrap().method_name, b"BYE");
    phone.answer(&bye, 200).await;
    assert_eq!(node.final_response().await.status(), Some(200));
}

#[tokio::test]
async fn a_phone_on_udp_is_called() {
    let house = House::build(BOTH).await;
    let phone = Phone::udp(house.sip).await;
    let answer = phone.register("100", 1, Algorithm::Sha256).await;
    assert_eq!(answer.status(), Some(200));
    assert_eq!(house.stored("100").await.len(), 1);
    relay(&house, &phone).await;
    house.stop().await;
}

#[tokio::test]
async fn a_phone_on_tcp_is_called_and_missed_at_once_when_gone() {
    let house = House::build(BOTH).await;
    let phone = Phone::tcp(house.sip).await;
    assert_eq!(phone.register("100", 1, Algorithm::Md5).await.status(), Some(200));
    relay(&house, &phone).await;

    let node = Phone::udp_at("127.0.0.1:0".parse().unwrap(), house.sip).await;
    drop(node);
    drop(phone);
    wait_until(LIMIT, "the binding is dropped", async || house.stored("100").await.is_empty().then_some(())).await;
    let node = Phone::udp_at(house.node, house.sip).await;
    node.send(from_node(&node, "INVITE", "gone").as_bytes()).await;
    assert_eq!(node.final_response().await.status(), Some(480));
    house.stop().await;
}

#[tokio::test]
async fn a_phone_that_vanished_is_told_apart_quickly() {
    let house = House::build(BOTH).await;
    let phone = Phone::udp(house.sip).await;
    assert_eq!(phone.register("100", 1, Algorithm::Sha256).await.status(), Some(200));
    drop(phone);
    let node = Phone::udp_at(house.node, house.sip).await;
    let begun = std::time::Instant::now();
    node.send(from_node(&node, "INVITE", "vanished").as_bytes()).await;
    assert_eq!(node.final_response().await.status(), Some(408));
    let took = begun.elapsed();
    assert!((1_900..4_000).contains(&took.as_millis()), "{took:?}");
    house.stop().await;
}

#[tokio::test]
async fn a_phone_calls_out_through_the_node() {
    let house = House::build(BOTH).await;
    let phone = Phone::udp(house.sip).await;
    assert_eq!(phone.register("100", 1, Algorithm::Sha256).await.status(), Some(200));
    let node = Phone::udp_at(house.node, house.sip).await;
    let invite = |branch: &str, more: &str| {
        format!(
            "INVITE sip:5551234@{REALM} SIP/2.0\r\nVia: SIP/2.0/UDP {0};branch=z9hG4bK{branch}\r\nMax-Forwards: 70\r\n\
             From: <sip:100@{REALM}>;tag=x\r\nTo: <sip:5551234@{REALM}>\r\nCall-ID: out-{branch}\r\nCSeq: 1 INVITE\r\n\
             Contact: <sip:100@{0}>\r\n{more}Content-Length: 0\r\n\r\n",
            phone.address
        )
    };
    let challenge = phone.exchange(&invite("a", "")).await.unwrap();
    assert_eq!(challenge.status(), Some(407));
    let line = authorization(&challenge, Algorithm::Sha256, "100", "INVITE");
    phone.send(invite("b", &line).as_bytes()).await;
    let arrived = node.next().await;
    assert_eq!(arrived.request().unwrap().uri.user, Some(&b"5551234"[..]));
    assert!(arrived.field(FieldName::ProxyAuthorization).is_none());
    node.answer(&arrived, 200).await;
    assert_eq!(phone.final_response().await.status(), Some(200));
    house.stop().await;
}

#[tokio::test]
async fn garbage_does_not_stop_it() {
    let house = House::build(BOTH).await;
    let attacker = Phone::udp(house.sip).await;
    let sound = attacker.register_text("100", 1, "");
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for round in 0..5_000_usize {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let mut bytes = sound.clone().into_bytes();
        let at = usize::try_from(state >> 33).unwrap() % bytes.len();
        match round % 3 {
            0 => bytes[at] = state.to_be_bytes()[3],
            1 => bytes.truncate(at),
            _ => bytes.splice(at..at, [0xff; 40]).for_each(drop),
        }
        attacker.send(&bytes).await;
    }
    let mut broken = tokio::net::TcpStream::connect(house.sip).await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut broken, &vec![b'x'; 100_000]).await.ok();
    // The socket's buffer holds what was not read yet; a phone repeats itself, and so does the test.
    let phone = Phone::udp(house.sip).await;
    wait_until(LIMIT, "a phone is served", async || {
        let answer = phone.exchange(&phone.register_text("100", 1, "")).await?;
        (answer.status() == Some(401)).then_some(())
    })
    .await;
    assert_eq!(phone.register("100", 10, Algorithm::Sha256).await.status(), Some(200));
    let metrics = house.life.metrics().encode();
    assert!(metrics.contains("ringdown_sip_dropped_total"), "{metrics}");
    house.stop().await;
}

#[tokio::test]
async fn pings_on_tcp_are_answered_and_silence_is_not_mistaken() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let house = House::build(BOTH).await;
    let mut stream = tokio::net::TcpStream::connect(house.sip).await.unwrap();
    stream.write_all(b"\r\n\r\n").await.unwrap();
    let mut pong = [0_u8; 2];
    tokio::time::timeout(Duration::from_secs(5), stream.read_exact(&mut pong)).await.unwrap().unwrap();
    assert_eq!(&pong, b"\r\n");
    house.stop().await;
}

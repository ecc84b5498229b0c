//! A host with several addresses: whoever reached one of them hears from that one (RFC 3261 18.2.2, RFC 3581 4).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ringdown_registrar::start;
use ringdown_registrar_core::bindings::Binding;
use ringdown_registrar_core::digest::Algorithm;
use ringdown_registrar_core::message::FieldName;
use ringdown_service::{Clock, Life};
use ringdown_test_support::wait_until;

use super::house::{House, LIMIT, Phone};
use super::{BOTH, from_node, relay};

const SECOND_ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 9));

/// A registered phone that asks the second address and hears that one only.
async fn strict_phone(house: &House) -> Phone {
    let phone = Phone::connected(SocketAddr::new(SECOND_ADDRESS, house.sip.port())).await;
    let answer = phone.register("100", 1, Algorithm::Sha256).await;
    assert_eq!(answer.status(), Some(200));
    phone
}

#[tokio::test]
async fn answers_and_calls_come_from_the_address_that_was_reached() {
    // A socket on [::] speaks IPv4 as well.
    for listen in [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)] {
        let house = House::build_on(listen, BOTH).await;
        let phone = strict_phone(&house).await;
        relay(&house, &phone).await;
        let node = Phone::udp_at(house.node, house.sip).await;
        node.send(from_node(&node, "INVITE", "routes").as_bytes()).await;
        let invite = phone.next().await;
        let route = String::from_utf8_lossy(invite.value(FieldName::RecordRoute).unwrap()).into_owned();
        let reached = format!("@{SECOND_ADDRESS}:{};lr>", house.sip.port());
        assert!(route.ends_with(&reached), "{route} names the address that the phone reaches");
        phone.answer(&invite, 486).await;
        house.stop().await;
    }
}

#[tokio::test]
async fn an_ipv6_peer_is_answered_from_the_address_it_asked() {
    let house = House::build_on(Ipv6Addr::UNSPECIFIED.into(), BOTH).await;
    let registrar = SocketAddr::new(Ipv6Addr::LOCALHOST.into(), house.sip.port());
    let Ok(socket) = tokio::net::UdpSocket::bind("[::1]:0").await else {
        // This host speaks no IPv6: nothing to show.
        return house.stop().await;
    };
    let phone = Phone::over(socket, registrar).await;
    assert_eq!(phone.register("100", 1, Algorithm::Sha256).await.status(), Some(200));
    relay(&house, &phone).await;
    house.stop().await;
}

/// The registrar that takes the virtual address over calls from it, whoever took the registration.
#[tokio::test]
async fn a_restarted_registrar_calls_from_the_address_that_the_phone_knows() {
    let house = House::build_on(Ipv4Addr::UNSPECIFIED.into(), BOTH).await;
    let phone = strict_phone(&house).await;
    let stored = house.stored("100").await;
    let binding: Binding = serde_json::from_str(stored.values().next().unwrap()).unwrap();
    assert_eq!(binding.flow.local, Some(SocketAddr::new(SECOND_ADDRESS, house.sip.port())));
    let House { life, config, redis: _redis, sip, node, .. } = house;
    assert!(life.stop(LIMIT).await);
    let life = Life::detached("registrar", Clock::system());
    start(config, life.clone()).await.unwrap();
    let node = Phone::udp_at(node, sip).await;
    let mut round = 0;
    let invite = wait_until(LIMIT, "the call arrives", async || {
        round += 1;
        node.send(from_node(&node, "INVITE", &format!("again{round}")).as_bytes()).await;
        phone.next_within(std::time::Duration::from_millis(200)).await
    })
    .await;
    phone.answer(&invite, 486).await;
    assert!(life.stop(LIMIT).await);
}

/// A binding whose address of ours has gone to another host is still called, from an address that is left.
#[tokio::test]
async fn an_address_that_is_not_ours_any_more_does_not_stop_the_call() {
    let house = House::build_on(Ipv4Addr::UNSPECIFIED.into(), BOTH).await;
    let phone = Phone::udp(house.sip).await;
    assert_eq!(phone.register("100", 1, Algorithm::Sha256).await.status(), Some(200));
    let (key, text) = house.stored("100").await.pop_first().unwrap();
    let mut binding: Binding = serde_json::from_str(&text).unwrap();
    binding.flow = binding.flow.reached_at(SocketAddr::from(([192, 0, 2, 77], house.sip.port())));
    house.store("100", &key, &binding).await;
    house.publish("another", "100").await;
    let node = Phone::udp_at(house.node, house.sip).await;
    let mut round = 0;
    let invite = wait_until(LIMIT, "the changed binding is called", async || {
        round += 1;
        node.send(from_node(&node, "INVITE", &format!("gone{round}")).as_bytes()).await;
        let invite = phone.next_within(std::time::Duration::from_millis(200)).await?;
        let via = String::from_utf8_lossy(invite.value(FieldName::Via)?).into_owned();
        via.contains("192.0.2.77").then_some(invite)
    })
    .await;
    phone.answer(&invite, 486).await;
    house.stop().await;
}

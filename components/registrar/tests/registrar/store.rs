//! Redis behind the registrar: killed, restarted, and asked what it holds.

use ringdown_registrar::start;
use ringdown_registrar_core::bindings::{Aor, Binding};
use ringdown_registrar_core::digest::Algorithm;
use ringdown_service::{Clock, Life};
use ringdown_test_support::wait_until;

use super::house::{House, LIMIT, Phone};
use super::{BOTH, from_node};

#[tokio::test]
async fn redis_is_killed_and_comes_back() {
    let mut house = House::build(BOTH).await;
    let phone = Phone::udp(house.sip).await;
    assert_eq!(phone.register("100", 1, Algorithm::Sha256).await.status(), Some(200));
    house.redis.kill9().unwrap();

    let other = Phone::udp(house.sip).await;
    let refused = other.register("101", 1, Algorithm::Sha256).await;
    assert_eq!(refused.status(), Some(503));
    assert!(String::from_utf8_lossy(refused.bytes()).contains("\r\nRetry-After: "));
    // Who is registered is called.
    let node = Phone::udp_at(house.node, house.sip).await;
    node.send(from_node(&node, "INVITE", "away").as_bytes()).await;
    let invite = phone.next().await;
    phone.answer(&invite, 486).await;
    assert_eq!(node.final_response().await.status(), Some(486));

    house.redis.restart().await.unwrap();
    let mut cseq = 10;
    wait_until(LIMIT, "registrations are stored again", async || {
        cseq += 10;
        (other.register("101", cseq, Algorithm::Sha256).await.status() == Some(200)).then_some(())
    })
    .await;
    assert_eq!(house.stored("101").await.len(), 1);
    house.stop().await;
}

#[tokio::test]
async fn a_restarted_registrar_knows_the_phones_on_udp() {
    let house = House::build(BOTH).await;
    let phone = Phone::udp(house.sip).await;
    assert_eq!(phone.register("100", 1, Algorithm::Sha256).await.status(), Some(200));
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

#[tokio::test]
async fn what_is_stored_can_be_read_by_others() {
    let house = House::build(BOTH).await;
    let phone = Phone::udp(house.sip).await;
    assert_eq!(phone.register("100", 1, Algorithm::Sha256).await.status(), Some(200));
    let stored = house.stored("100").await;
    let binding: Binding = serde_json::from_str(stored.values().next().unwrap()).unwrap();
    assert_eq!(binding.flow.peer(), phone.address);
    let plain: serde_json::Value = serde_json::from_str(stored.values().next().unwrap()).unwrap();
    assert_eq!(plain["transport"], "udp");
    assert_eq!(plain["contact"], format!("sip:100@{};transport=UDP", phone.address));
    assert_eq!(Aor { realm: "rd.test".into(), user: "100".into() }.user, "100");
    house.stop().await;
}

//! Two registrars on one Redis: a phone at either is called by way of both.

use std::net::SocketAddr;

use ringdown_redis_store::{Retry, keys, redis};
use ringdown_registrar::start;
use ringdown_registrar_core::bindings::Binding;
use ringdown_registrar_core::digest::Algorithm;
use ringdown_registrar_core::message::Message;
use ringdown_service::{Clock, Life};
use ringdown_test_support::{free_port, wait_until};

use super::house::{House, LIMIT, Phone};
use super::{BOTH, from_node};

/// A second registrar of the same house, with a node of its own.
struct Second {
    life: Life,
    sip: SocketAddr,
    node: Phone,
    calls: std::cell::Cell<u32>,
}

impl Second {
    async fn build(house: &House) -> Self {
        let local = |port: u16| SocketAddr::from(([127, 0, 0, 1], port));
        let (sip, node) = (local(free_port()), local(free_port()));
        let mut config = house.config.clone();
        (config.udp, config.tcp, config.nodes) = (vec![sip], vec![sip], vec![node]);
        (config.tls, config.ws, config.wss) = (Vec::new(), Vec::new(), Vec::new());
        let life = Life::detached("registrar", Clock::system());
        start(config, life.clone()).await.unwrap();
        let second = Self { life, sip, node: Phone::udp_at(node, sip).await, calls: 0.into() };
        wait_until(LIMIT, "the second registrar knows who exists", async || {
            let status = second.call().await.status();
            (status == Some(480)).then_some(())
        })
        .await;
        second
    }

    /// Calls user 100; the first answer that is not 100.
    async fn call(&self) -> Message {
        self.invite().await;
        loop {
            let answer = self.node.next().await;
            if answer.status() != Some(100) {
                return answer;
            }
        }
    }

    async fn invite(&self) {
        let branch = format!("second{}", self.calls.replace(self.calls.get() + 1));
        self.node.send(from_node(&self.node, "INVITE", &branch).as_bytes()).await;
    }

    /// Until a call by way of this registrar reaches the phone.
    async fn reaches(&self, phone: &Phone) {
        let invite = wait_until(LIMIT, "the call reaches the phone", async || {
            self.invite().await;
            phone.next_within(std::time::Duration::from_millis(100)).await
        })
        .await;
        assert_eq!(invite.request().unwrap().method_name, b"INVITE");
        phone.answer(&invite, 486).await;
    }

    async fn stop(self) {
        assert!(self.life.stop(LIMIT).await, "the second registrar drains");
    }
}

#[tokio::test]
async fn a_phone_that_comes_to_one_is_called_by_the_other() {
    let house = House::build(BOTH).await;
    let second = Second::build(&house).await;
    let phone = Phone::udp(house.sip).await;
    assert_eq!(phone.register("100", 1, Algorithm::Sha256).await.status(), Some(200));
    second.reaches(&phone).await;

    // It leaves the first one.
    let gone = phone.register_with("100", 10, Algorithm::Sha256, "Expires: 0\r\n").await;
    assert_eq!(gone.status(), Some(200));
    wait_until(LIMIT, "the other one knows that it left", async || {
        // What was relayed before is answered by now or never: each call here is a new one.
        (second.call().await.status() == Some(480)).then_some(())
    })
    .await;
    second.stop().await;
    house.stop().await;
}

/// A renewal is not published: whoever thinks that a binding has expired looks before believing it.
#[tokio::test]
async fn a_binding_that_was_renewed_elsewhere_does_not_expire() {
    let house = House::build(BOTH).await;
    let second = Second::build(&house).await;
    let phone = Phone::udp(house.sip).await;
    assert_eq!(phone.register("100", 1, Algorithm::Sha256).await.status(), Some(200));
    let stored = house.stored("100").await;
    let (key, text) = stored.first_key_value().unwrap();
    let mut binding: Binding = serde_json::from_str(text).unwrap();

    // As a third registrar would write it: soon to expire, told to all; then renewed, told to nobody.
    let soon_ms = Clock::system().now().0 + 4_000;
    (binding.cseq, binding.expires_at_ms) = (20, soon_ms);
    house.store("100", key, &binding).await;
    house.publish("third", "100").await;
    let asker = Phone::udp(second.sip).await;
    wait_until(LIMIT, "it was heard of", async || {
        let bindings = asker.query("100", Algorithm::Sha256).await;
        String::from_utf8_lossy(bindings.bytes()).contains(";expires=4\r\n").then_some(())
    })
    .await;
    (binding.cseq, binding.expires_at_ms) = (21, soon_ms + 600_000);
    house.store("100", key, &binding).await;
    wait_until(LIMIT, "the first one has expired", async || (Clock::system().now().0 > soon_ms + 50).then_some(()))
        .await;
    second.reaches(&phone).await;
    second.stop().await;
    house.stop().await;
}

/// A subscription cannot tell what was published while it was away.
#[tokio::test]
async fn what_was_missed_while_nobody_listened_is_read_again() {
    let house = House::build(BOTH).await;
    let second = Second::build(&house).await;
    let phone = Phone::udp(house.sip).await;
    assert_eq!(phone.register("100", 1, Algorithm::Sha256).await.status(), Some(200));
    let (key, text) = house.stored("100").await.pop_first().unwrap();
    second.reaches(&phone).await;
    // Changed behind everybody's back, told to nobody; then all who listen lose their connection.
    let other = Phone::udp(house.sip).await;
    let mut binding: Binding = serde_json::from_str(&text).unwrap();
    binding.flow = ringdown_registrar_core::flow::Flow::udp(0, other.address);
    house.store("100", &key, &binding).await;
    let mut cmd = redis::cmd("CLIENT");
    cmd.arg("KILL").arg("TYPE").arg("pubsub");
    let listened: i64 = house.pool.run("test", Retry::Never, &cmd).await.unwrap();
    assert!(listened >= 2, "both registrars listened: {listened}");
    second.reaches(&other).await;
    second.stop().await;
    house.stop().await;
}

impl House {
    pub(crate) async fn store(&self, user: &str, key: &str, binding: &Binding) {
        let mut cmd = redis::cmd("HSET");
        cmd.arg(keys::location(self.tenant, user)).arg(key).arg(serde_json::to_string(binding).unwrap());
        let _added: i64 = self.pool.run("test", Retry::Safe, &cmd).await.unwrap();
    }

    pub(crate) async fn publish(&self, holder: &str, user: &str) {
        let mut cmd = redis::cmd("PUBLISH");
        cmd.arg(keys::location_changed(self.tenant)).arg(format!("{holder} {user}"));
        let _heard: i64 = self.pool.run("test", Retry::Safe, &cmd).await.unwrap();
    }
}

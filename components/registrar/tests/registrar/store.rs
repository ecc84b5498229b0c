//! Redis behind the registrar: killed, restarted, and asked what it holds.

use ringdown_redis_store::{Retry, keys, redis};
use ringdown_registrar::start;
use ringdown_registrar_core::bindings::{
    Binding, Change, ContactRequest, Contacts, Decision, MAX_BINDINGS, Quality, Refusal, RegisterRequest, decide,
    surplus,
};
use ringdown_registrar_core::digest::Algorithm;
use ringdown_registrar_core::flow::Flow;
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
    assert_eq!(binding.flow.peer, phone.address);
    let plain: serde_json::Value = serde_json::from_str(stored.values().next().unwrap()).unwrap();
    assert_eq!(plain["transport"], "udp");
    assert_eq!(plain["contact"], format!("sip:100@{};transport=UDP", phone.address));
    house.stop().await;
}

/// The script and the core's rule, fed the same random history, hold the same bindings and refuse the same requests.
#[tokio::test]
async fn script_and_core_agree() {
    let house = House::build(BOTH).await;
    let script = redis::Script::new(include_str!("../../src/store/register.lua"));
    let flow = Flow::udp(0, "10.0.0.1:5060".parse().unwrap());
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    let mut below = move |limit: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random % limit
    };
    let (mut refused, mut evicted) = (0, 0);
    for history in 0..12 {
        let key = [keys::location(house.tenant, &format!("history{history}"))];
        let mut now_ms = Clock::system().now().0;
        let mut bindings: Vec<Binding> = Vec::new();
        for _ in 0..80 {
            now_ms += below(300_000);
            let contacts =
                (0..=below(3)).map(|_| contact(below(20), [0, 600, 3_600, 3_600][below(4) as usize])).collect();
            let (call_id, from_tag) = (below(3).to_string(), below(2).to_string());
            let cseq = u32::try_from(below(40)).unwrap();
            let request = RegisterRequest {
                call_id: call_id.clone(),
                cseq,
                from_tag: from_tag.clone(),
                contacts: Contacts::These(contacts),
                user_agent: String::new(),
            };
            // The core is asked without its own checks of order and number, as if its memory were empty: the script alone
            // must refuse what the rule refuses on the true bindings.
            let Decision::Store(changes) = decide(&[], &request, flow, "here", now_ms) else { continue };
            let expected = decide(&bindings, &request, flow, "here", now_ms);
            let mut args = vec![
                now_ms.to_string(),
                call_id,
                cseq.to_string(),
                MAX_BINDINGS.to_string(),
                "channel".to_owned(),
                "holder".to_owned(),
                "user".to_owned(),
                from_tag,
            ];
            for change in &changes {
                args.extend(match change {
                    Change::Put(binding) => {
                        let text = serde_json::to_string(binding).unwrap();
                        ["put".to_owned(), binding.key.clone(), text, binding.expires_at_ms.to_string()]
                    }
                    Change::Remove(key) => ["del".to_owned(), key.clone(), String::new(), "0".to_owned()],
                });
            }
            let args: Vec<&str> = args.iter().map(String::as_str).collect();
            let answer: Vec<String> = house.pool.run_script("test", Retry::Never, &script, &key, &args).await.unwrap();
            match expected {
                Decision::Store(changes) => {
                    bindings.retain(|binding| binding.expires_at_ms > now_ms);
                    let named: Vec<String> = changes.iter().map(|change| change.key().to_owned()).collect();
                    for change in changes {
                        bindings.retain(|binding| binding.key != change.key());
                        if let Change::Put(binding) = change {
                            bindings.push(*binding);
                        }
                    }
                    let kept = named.iter().map(String::as_str).collect();
                    let gone: Vec<String> = surplus(&bindings, &kept).into_iter().map(str::to_owned).collect();
                    evicted += gone.len();
                    bindings.retain(|binding| !gone.contains(&binding.key));
                    assert_eq!(answer[0], "ok");
                    let mut stored: Vec<Binding> =
                        answer[1..].iter().map(|text| serde_json::from_str(text).unwrap()).collect();
                    stored.sort_by(|a, b| a.key.cmp(&b.key));
                    bindings.sort_by(|a, b| a.key.cmp(&b.key));
                    assert_eq!(stored, bindings);
                }
                Decision::Refuse(Refusal::OutOfOrder) => assert_eq!(answer, ["out_of_order"]),
                Decision::Refuse(Refusal::TooMany) => assert_eq!(answer, ["too_many"]),
                other @ (Decision::Answer | Decision::Refuse(Refusal::TooBrief)) => panic!("{other:?}"),
            }
            refused += usize::from(answer[0] != "ok");
        }
    }
    assert!(evicted > 20, "only {evicted} made room");
    assert!(refused > 20, "only {refused} refusals");
    house.stop().await;
}

fn contact(number: u64, expires_s: u32) -> ContactRequest {
    ContactRequest {
        key: format!("k{number:02}"),
        uri: format!("sip:{number}@10.0.0.1"),
        params: String::new(),
        q: Quality(1_000),
        expires_s,
        instance: None,
        reg_id: None,
    }
}

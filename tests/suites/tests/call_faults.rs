//! Calls that are cut at any instant, on either side, against a real Asterisk: whatever comes in whatever order, each call is
//! an interaction with one end, and nothing is left over: no channel, no bridge, no busy agent. And calls under an acd that is
//! killed again and again, and an Asterisk that answers slowly: every caller is heard, none is dropped.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on stops")]
#![expect(clippy::print_stdout, reason = "the seed and the figures are what people read")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ringdown_suites::acd_world::random::Random;
use ringdown_suites::call_centre::{CARRIER, CallCentre, PATIENCE, PHONE_PASSWORD, Wishes};
use ringdown_suites::phone::{Manner, Phone, Seen};
use ringdown_test_support::wait_until;
use serde_json::{Value, json};
use tokio::task::JoinSet;

const CALLER_HZ: f64 = 1_100.0;
const AGENT_HZ: f64 = 700.0;
/// Callers under an acd that is killed.
const PATIENT_CALLERS: u64 = 30;
/// Callers at the same time.
const LINES: u64 = 6;
const AGENTS: [&str; 4] = ["ada", "bob", "cleo", "dan"];
/// What a caller may be told whose call we did not refuse: nothing but the own cancellation.
const CANCELLED: u16 = 487;

fn calls() -> u64 {
    std::env::var("RINGDOWN_CALLS").ok().and_then(|text| text.parse().ok()).unwrap_or(100)
}

/// An agent's phone that answers, refuses, rings on or hangs up as it likes.
async fn whimsical(centre: &CallCentre, name: &str, seed: u64, stop: Arc<AtomicBool>) -> tokio::task::JoinHandle<()> {
    let mut phone = Phone::new("127.0.0.1", name, 700.0, Manner::Answer).await.unwrap();
    phone.register(centre.registrar, &centre.realm, PHONE_PASSWORD).await.unwrap();
    let mut random = Random::new(seed);
    tokio::spawn(async move {
        while !stop.load(Ordering::Relaxed) {
            let manner = match random.below(8) {
                0 => Manner::Refuse(486),
                1 => Manner::Refuse(603),
                2 => Manner::RingForEver,
                _ => Manner::Answer,
            };
            phone.set_manner(manner);
            let talks = matches!(phone.next(Duration::from_millis(100 + random.below(300))).await, Ok(Seen::Talking));
            if talks && random.below(2) == 0 {
                tokio::time::sleep(Duration::from_millis(random.below(800))).await;
                // The caller may have been quicker.
                if phone.hang_up().await.is_err() {
                    continue;
                }
            }
        }
        // A call that stands ends with its caller.
        phone.set_manner(Manner::Answer);
        while phone.next(Duration::from_secs(3)).await.is_ok() {}
    })
}

/// One caller who gives up after a random time, in whatever stage that is; what was seen.
async fn impatient(trunk: std::net::SocketAddr, number: u64, mut random: Random) -> Result<(), String> {
    let mut caller = Phone::new(CARRIER, &format!("49305{number:05}"), 1_100.0, Manner::Answer).await.unwrap();
    caller.call("100", trunk).await.unwrap();
    // A third each: about the time of the answer, of ringing, of talking.
    let longest = [30, 300, 2_500][random.below(3) as usize];
    let patience = Duration::from_millis(random.below(longest));
    let give_up = tokio::time::Instant::now() + patience;
    let mut talking = false;
    loop {
        let left = give_up.saturating_duration_since(tokio::time::Instant::now());
        match caller.next(left).await {
            Ok(Seen::Talking) => talking = true,
            Ok(Seen::HungUp) => return Ok(()),
            Ok(Seen::Failed(code)) => return Err(format!("call {number} was refused with {code}")),
            Ok(Seen::Rang | Seen::Cancelled) => return Err("a caller's phone rang".to_owned()),
            Err(_) => break,
        }
    }
    if !talking {
        caller.cancel().await.unwrap();
        match caller.next(PATIENCE).await {
            Ok(Seen::Failed(CANCELLED)) => return Ok(()),
            // The answer was quicker than the cancellation.
            Ok(Seen::Talking) => {}
            other => return Err(format!("call {number} was cancelled, and then: {other:?}")),
        }
    }
    // The agent may have been quicker.
    match caller.hang_up().await {
        Ok(()) | Err(_) => Ok(()),
    }
}

/// How often each interaction was queued and ended, by the journal.
async fn ledger(centre: &CallCentre) -> BTreeMap<String, (u32, u32)> {
    let client = redis::Client::open(centre.redis.url()).unwrap();
    let mut redis = client.get_multiplexed_async_connection().await.unwrap();
    let key = format!("{{{}}}:journal", centre.tenant);
    let journal: redis::streams::StreamRangeReply =
        redis::cmd("XRANGE").arg(key).arg("-").arg("+").query_async(&mut redis).await.unwrap();
    let mut ledger = BTreeMap::new();
    for entry in journal.ids {
        let entry: Value = serde_json::from_str(&entry.get::<String>("e").unwrap()).unwrap();
        let Some(id) = entry["event"]["interaction"]["id"].as_str() else { continue };
        let counts: &mut (u32, u32) = ledger.entry(id.to_owned()).or_default();
        match entry["event"]["kind"].as_str() {
            // One that is queued again after an offer has an older number in it.
            Some("interaction_queued") if counts.0 == 0 => counts.0 += 1,
            Some("interaction_ended") => counts.1 += 1,
            _ => {}
        }
    }
    ledger
}

async fn nothing_is_left(centre: &CallCentre, agents: &[String]) {
    for what in ["channels", "bridges"] {
        let empty = async || centre.asterisk_has(what).await.ok()?.as_array()?.is_empty().then_some(());
        let waited = tokio::time::timeout(PATIENCE, wait_until(PATIENCE * 2, what, empty)).await;
        assert!(waited.is_ok(), "Asterisk still has {what}: {:#}", centre.asterisk_has(what).await.unwrap());
    }
    for agent in agents {
        centre.agent(agent, "an agent is idle", |record| record["state"]["kind"] == "idle").await;
    }
    wait_until(PATIENCE, "each interaction has one end", async || {
        ledger(centre).await.values().all(|counts| *counts == (1, 1)).then_some(())
    })
    .await;
    let live = centre.get(&centre.of_tenant("interactions")).await.unwrap();
    assert_eq!(live["items"], json!([]), "no live interaction");
}

async fn storm(seed: u64, kills: bool) {
    println!("RINGDOWN_SEED={seed}");
    let mut centre = CallCentre::open(Wishes::default()).await.unwrap();
    let queue = centre.of_tenant(&format!("queues/{}", centre.queue));
    centre.patch(&queue, json!({ "ring_timeout_ms": 1_500, "wrap_up_ms": 0 })).await.unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let (mut agents, mut phones) = (Vec::new(), Vec::new());
    for (number, name) in AGENTS.into_iter().enumerate() {
        agents.push(centre.hire(name, json!({ "English": 5 })).await.unwrap());
        phones.push(whimsical(&centre, name, seed + number as u64, Arc::clone(&stop)).await);
    }
    let mut random = Random::new(seed);
    let (mut lines, mut refused, mut next) = (JoinSet::new(), Vec::new(), 0);
    let mut until_kill = 5 + random.below(20);
    while next < calls() || !lines.is_empty() {
        while next < calls() && (lines.len() as u64) < LINES {
            lines.spawn(impatient(centre.trunk, next, Random::new(random.draw())));
            next += 1;
        }
        if let Some(ended) = lines.join_next().await {
            refused.extend(ended.unwrap().err());
        }
        // Who refused or did not answer is not ready any more: back to work.
        for agent in &agents {
            // While a dead router's lease runs out, an answer takes longer than the API waits.
            wait_until(PATIENCE, "an agent is ready", async || centre.set_status(agent, "ready").await.ok()).await;
        }
        until_kill = until_kill.saturating_sub(1);
        if kills && until_kill == 0 {
            until_kill = 5 + random.below(20);
            centre.acd.kill9().unwrap();
            tokio::time::sleep(Duration::from_millis(random.below(1_500))).await;
            centre.acd.restart().unwrap();
            centre.acd.wait_ready(PATIENCE).await.unwrap();
        }
    }
    stop.store(true, Ordering::Relaxed);
    for phone in phones {
        phone.await.unwrap();
    }
    assert_eq!(refused, Vec::<String>::new(), "no caller is refused");
    nothing_is_left(&centre, &agents).await;
    let seen = ledger(&centre).await.len();
    println!("storm_calls {} calls", calls());
    println!("storm_interactions {seen} interactions");
    assert!(seen as u64 > calls() / 2, "most calls lived long enough to be interactions: {seen}");
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_cut_at_any_instant_leave_nothing_behind() {
    storm(Random::seed(), false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_cut_at_any_instant_while_the_acd_is_killed_leave_nothing_behind() {
    storm(Random::seed(), true).await;
}

/// An agent who waits a while for a voice, talks for a moment, and hangs up on whoever says nothing.
async fn listening(centre: &CallCentre, name: &str, stop: Arc<AtomicBool>) -> tokio::task::JoinHandle<u64> {
    let mut phone = Phone::new("127.0.0.1", name, AGENT_HZ, Manner::Answer).await.unwrap();
    phone.register(centre.registrar, &centre.realm, PHONE_PASSWORD).await.unwrap();
    tokio::spawn(async move {
        let mut unheard = 0;
        while !stop.load(Ordering::Relaxed) {
            if !matches!(phone.next(Duration::from_millis(300)).await, Ok(Seen::Talking)) {
                continue;
            }
            if phone.hears(CALLER_HZ, Duration::from_secs(2)).await {
                // The caller hangs up; an agent whose caller does not, does.
                if matches!(phone.next(Duration::from_secs(5)).await, Ok(Seen::HungUp)) {
                    continue;
                }
            } else {
                unheard += 1;
            }
            // The caller may have been quicker.
            if phone.hang_up().await.is_err() {
                continue;
            }
        }
        unheard
    })
}

/// A caller who waits until somebody is heard, talks for a moment and hangs up; what went wrong otherwise.
async fn patient(trunk: std::net::SocketAddr, number: u64) -> Result<(), String> {
    let mut caller = Phone::new(CARRIER, &format!("49306{number:05}"), CALLER_HZ, Manner::Answer).await.unwrap();
    caller.call("100", trunk).await.unwrap();
    loop {
        match caller.next(PATIENCE).await {
            Ok(Seen::Talking) => break,
            Ok(Seen::Rang | Seen::Cancelled) => {}
            other => return Err(format!("call {number} before any answer: {other:?}")),
        }
    }
    let started = tokio::time::Instant::now();
    // A voice is told from music by half a second of sound.
    while !caller.hears(AGENT_HZ, Duration::from_millis(1_500)).await {
        match caller.next(Duration::from_millis(1)).await {
            Ok(Seen::HungUp) => return Err(format!("call {number} was hung up and had heard nobody")),
            Ok(other) => return Err(format!("call {number} while it waited: {other:?}")),
            Err(_) if started.elapsed() > Duration::from_secs(120) => {
                return Err(format!("call {number} heard nobody"));
            }
            Err(_) => {}
        }
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    // The agent may have been quicker.
    match caller.hang_up().await {
        Ok(()) | Err(_) => Ok(()),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_caller_is_heard_though_the_acd_is_killed_every_two_seconds() {
    let mut centre = CallCentre::open(Wishes::default()).await.unwrap();
    let queue = centre.of_tenant(&format!("queues/{}", centre.queue));
    centre.patch(&queue, json!({ "ring_timeout_ms": 10_000, "wrap_up_ms": 0 })).await.unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let (mut agents, mut phones) = (Vec::new(), Vec::new());
    for name in AGENTS {
        agents.push(centre.hire(name, json!({ "English": 5 })).await.unwrap());
        phones.push(listening(&centre, name, Arc::clone(&stop)).await);
    }
    let (mut lines, mut wrong, mut next, mut kills) = (JoinSet::new(), Vec::new(), 0, 0);
    while next < PATIENT_CALLERS || !lines.is_empty() {
        while next < PATIENT_CALLERS && (lines.len() as u64) < LINES {
            lines.spawn(patient(centre.trunk, next));
            next += 1;
        }
        // Two seconds of work for each acd; how many are over by then is what they are.
        let ended = tokio::time::timeout(Duration::from_secs(2), async {
            while let Some(ended) = lines.join_next().await {
                wrong.extend(ended.unwrap().err());
            }
        });
        // A time-out is the usual end.
        drop(ended.await);
        centre.acd.kill9().unwrap();
        centre.acd.restart().unwrap();
        centre.acd.wait_ready(PATIENCE).await.unwrap();
        kills += 1;
        for agent in &agents {
            wait_until(PATIENCE, "an agent is ready", async || centre.set_status(agent, "ready").await.ok()).await;
        }
    }
    stop.store(true, Ordering::Relaxed);
    let mut unheard = 0;
    for phone in phones {
        unheard += phone.await.unwrap();
    }
    println!("killed_calls {} heard of {PATIENT_CALLERS}, {kills} kills", PATIENT_CALLERS - wrong.len() as u64);
    println!("killed_picked_up_in_vain {unheard} times");
    assert_eq!(wrong, Vec::<String>::new(), "every caller is heard");
    assert!(kills >= 3, "it was killed {kills} times");
    nothing_is_left(&centre, &agents).await;
}

/// How long Asterisk is slow: short by default, minutes where somebody asks.
fn slow_for() -> Duration {
    let seconds = std::env::var("RINGDOWN_SLOW_S").ok().and_then(|text| text.parse().ok());
    Duration::from_secs(seconds.unwrap_or(25))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_asterisk_that_answers_slowly_ends_no_call() {
    let centre = CallCentre::open(Wishes { slow_ari: true, ..Wishes::default() }).await.unwrap();
    let agent = centre.hire("ada", json!({ "English": 5 })).await.unwrap();
    let mut ada = Phone::new("127.0.0.1", "ada", AGENT_HZ, Manner::Answer).await.unwrap();
    ada.register(centre.registrar, &centre.realm, PHONE_PASSWORD).await.unwrap();
    let caller = async |number: &str| {
        let mut caller = Phone::new(CARRIER, number, CALLER_HZ, Manner::Answer).await.unwrap();
        caller.call("100", centre.trunk).await.unwrap();
        assert_eq!(caller.next(PATIENCE).await.unwrap(), Seen::Talking);
        caller
    };
    let first = caller("4930601").await;
    assert!(first.hears(AGENT_HZ, PATIENCE).await, "the caller hears the agent");
    let second = caller("4930602").await;
    // Longer than requests waited for an answer once: four of them in a row ended every call.
    centre.ari_link.delay(Duration::from_secs(4));
    let slow_until = tokio::time::Instant::now() + slow_for();
    while tokio::time::Instant::now() < slow_until {
        assert!(first.hears(AGENT_HZ, PATIENCE).await, "the caller hears the agent");
        assert!(ada.hears(CALLER_HZ, PATIENCE).await, "the agent hears the caller");
        assert!(second.hears(261.6, PATIENCE).await, "the second caller hears music");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let live = centre.get(&centre.of_tenant("interactions")).await.unwrap();
    assert_eq!(live["items"].as_array().map(Vec::len), Some(2), "{live:#}");
    // The next call goes its way while Asterisk is slow, only slowly.
    first.hang_up().await.unwrap();
    assert!(second.hears(AGENT_HZ, Duration::from_secs(60)).await, "the second caller hears the agent");
    centre.ari_link.delay(Duration::ZERO);
    second.hang_up().await.unwrap();
    while ada.next(PATIENCE).await.is_ok() {}
    nothing_is_left(&centre, &[agent]).await;
}

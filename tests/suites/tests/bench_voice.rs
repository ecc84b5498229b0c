//! Calls per second through queue, music, offer, bridge and hang-up, one Asterisk, sipp on both sides: what fails, what a call
//! costs, how long the way to an agent is. Beside it, in the same run, the same callers and phones with nothing but
//! Asterisk's own dialplan between them. Prints `name value unit`.
//!
//! `RINGDOWN_BENCH=short` calls for 10 seconds, else for 60. `RINGDOWN_BENCH_ENFORCE=1` makes the design's bars fail the
//! run; a failed call always does.

#![expect(clippy::print_stdout, reason = "the figures are the output")]

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, ensure};
use ringdown_suites::call_centre::{CallCentre, PATIENCE, Wishes};
use ringdown_suites::setup_times::SetupTimes;
use ringdown_suites::sipp::{Crowd, Sipp};
use ringdown_test_support::wait_until;
use serde_json::{Value, json};

const RATE: u32 = 40;
const LASTS: Duration = Duration::from_millis(1_500);
/// More than talk at once (60 at 40 calls per second): callers do not wait for each other.
const AGENTS: usize = 90;
/// The design's bar: acd's processor time per call.
const ACD_CPU_BAR_MS: f64 = 2.0;
/// The design's bar: what the way over the ACD may add to Asterisk's own, at the 95th percentile.
const ADDED_BAR_MS: u64 = 20;
/// Calls of this number are connected by Asterisk's dialplan.
const DIRECT: &str = "900";

fn is(name: &str, value: &str) -> bool {
    std::env::var(name).is_ok_and(|text| text == value)
}

/// When each step of a call happened, in the router's time.
#[derive(Default)]
struct Steps {
    queued_ms: Option<u64>,
    offered_ms: Option<u64>,
    connected_ms: Option<u64>,
    ended_ms: Option<u64>,
}

async fn journal(centre: &CallCentre) -> anyhow::Result<BTreeMap<String, Steps>> {
    let client = redis::Client::open(centre.redis.url())?;
    let mut redis = client.get_multiplexed_async_connection().await?;
    let key = format!("{{{}}}:journal", centre.tenant);
    let entries: redis::streams::StreamRangeReply =
        redis::cmd("XRANGE").arg(key).arg("-").arg("+").query_async(&mut redis).await?;
    let mut calls: BTreeMap<String, Steps> = BTreeMap::new();
    for entry in &entries.ids {
        let text: String = entry.get("e").context("a journal entry")?;
        let entry: Value = serde_json::from_str(&text)?;
        let Some(id) = entry["event"]["interaction"]["id"].as_str() else { continue };
        let steps = calls.entry(id.to_owned()).or_default();
        let at_ms = entry["at_ms"].as_u64();
        match entry["event"]["kind"].as_str() {
            Some("interaction_queued") => steps.queued_ms = at_ms,
            Some("interaction_offered") => steps.offered_ms = at_ms,
            Some("interaction_connected") => steps.connected_ms = at_ms,
            Some("interaction_ended") => steps.ended_ms = at_ms,
            _ => {}
        }
    }
    Ok(calls)
}

/// A percentile of sorted times.
fn percentile(sorted_ms: &[u64], percent: usize) -> u64 {
    sorted_ms.get(sorted_ms.len().saturating_sub(1) * percent / 100).copied().unwrap_or_default()
}

/// The lines with a step's percentiles.
fn percentiles(name: &str, mut times_ms: Vec<u64>) -> String {
    times_ms.sort_unstable();
    let line = |percent: usize| format!("voice_{name}_p{percent} {} ms", percentile(&times_ms, percent));
    [50, 95, 99].map(line).join("\n")
}

/// The same crowd over Asterisk's own dialplan: the set-up times, sorted.
async fn direct(centre: &CallCentre, sipp: &Sipp, times: &SetupTimes, crowd: Crowd) -> anyhow::Result<Vec<u64>> {
    let before_ms = centre.asterisk.cpu_ms()?;
    let ended = sipp.call(DIRECT, centre.trunk, crowd).await?;
    ensure!(ended.failed == 0, "Asterisk alone: {ended:?}: {}", sipp.complaints());
    let took_ms = centre.asterisk.cpu_ms()?.saturating_sub(before_ms) as f64 / f64::from(crowd.calls);
    println!("voice_direct_asterisk_cpu {took_ms:.2} ms_per_call");
    let mut own_ms = times.take();
    ensure!(own_ms.len() as u64 == ended.good, "{} of {} calls were timed", own_ms.len(), ended.good);
    own_ms.sort_unstable();
    Ok(own_ms)
}

fn took(
    calls: &BTreeMap<String, Steps>,
    from: impl Fn(&Steps) -> Option<u64>,
    to: impl Fn(&Steps) -> Option<u64>,
) -> Vec<u64> {
    calls.values().filter_map(|steps| Some(to(steps)?.saturating_sub(from(steps)?))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_per_second() -> anyhow::Result<()> {
    let seconds = if is("RINGDOWN_BENCH", "short") { 10 } else { 60 };
    let mut centre = CallCentre::open(Wishes { measured: true, ..Wishes::default() }).await?;
    let queue = centre.of_tenant(&format!("queues/{}", centre.queue));
    centre.patch(&queue, json!({ "wrap_up_ms": 0 })).await?;
    let users: Vec<String> = (0..AGENTS).map(|number| format!("agent{number}")).collect();
    for user in &users {
        centre.hire(user, json!({ "English": 5 })).await?;
    }
    let sipp = Sipp::new()?;
    let _phones = sipp.answer(&centre, &users).await?;
    centre.dial_directly(DIRECT, &users[0]).await?;
    let times = SetupTimes::listen(&centre).await?;
    let crowd = Crowd { calls: RATE * seconds, rate: RATE, lasts: LASTS };
    let own_ms = direct(&centre, &sipp, &times, crowd).await?;
    let before_ms = (centre.acd.process().cpu_ms()?, centre.asterisk.cpu_ms()?, centre.redis.process().cpu_ms()?);
    let ended = sipp.call("100", centre.trunk, crowd).await?;
    let calls = wait_until(PATIENCE, "every call is over in the journal", async || {
        let calls = journal(&centre).await.ok()?;
        let over = calls.values().filter(|steps| steps.ended_ms.is_some()).count();
        (over == calls.len() && over as u64 >= ended.good).then_some(calls)
    })
    .await;
    let per_call = |now: u64, before: u64| now.saturating_sub(before) as f64 / f64::from(crowd.calls);
    let acd_ms = per_call(centre.acd.process().cpu_ms()?, before_ms.0);
    let connected = calls.values().filter(|steps| steps.connected_ms.is_some()).count() as u64;
    let failures = u64::from(crowd.calls).saturating_sub(connected.min(ended.good));
    println!("voice_calls {} calls", crowd.calls);
    println!("voice_failures {failures} calls");
    println!("voice_acd_cpu {acd_ms:.2} ms_per_call");
    println!("voice_asterisk_cpu {:.2} ms_per_call", per_call(centre.asterisk.cpu_ms()?, before_ms.1));
    println!("voice_redis_cpu {:.2} ms_per_call", per_call(centre.redis.process().cpu_ms()?, before_ms.2));
    let offered = took(&calls, |steps| steps.queued_ms, |steps| steps.offered_ms);
    println!("{}", percentiles("offer", offered));
    let connected = took(&calls, |steps| steps.queued_ms, |steps| steps.connected_ms);
    println!("{}", percentiles("connect", connected));
    let mut over_acd_ms = times.take();
    over_acd_ms.sort_unstable();
    let added_ms = percentile(&over_acd_ms, 95).saturating_sub(percentile(&own_ms, 95));
    println!("{}", percentiles("setup_direct", own_ms));
    println!("{}", percentiles("setup", over_acd_ms));
    println!("voice_setup_added_p95 {added_ms} ms");
    ensure!(failures == 0, "{failures} calls failed; callers saw {ended:?}: {}", sipp.complaints());
    if is("RINGDOWN_BENCH_ENFORCE", "1") {
        ensure!(acd_ms <= ACD_CPU_BAR_MS, "acd takes {acd_ms:.2} ms per call");
        ensure!(added_ms <= ADDED_BAR_MS, "the way over the ACD takes {added_ms} ms more");
    }
    Ok(())
}

//! Calls per second through queue, music, offer, bridge and hang-up, one Asterisk, sipp on both sides: what fails, what a call
//! costs, how long the way to an agent is. Prints `name value unit`.
//!
//! `RINGDOWN_BENCH=short` calls for 10 seconds, else for 60. `RINGDOWN_BENCH_ENFORCE=1` makes the design's bar for acd's
//! processor time fail the run; a failed call always does.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, ensure};
use ringdown_suites::call_centre::{CallCentre, PATIENCE, Wishes};
use ringdown_suites::sipp::{Crowd, Sipp};
use ringdown_test_support::wait_until;
use serde_json::{Value, json};

const RATE: u32 = 40;
const LASTS: Duration = Duration::from_millis(1_500);
/// More than talk at once (60 at 40 calls per second): callers do not wait for each other.
const AGENTS: usize = 90;
/// The design's bar: acd's processor time per call.
const ACD_CPU_BAR_MS: f64 = 2.0;

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

/// The lines with a step's percentiles.
fn percentiles(name: &str, mut times_ms: Vec<u64>) -> String {
    times_ms.sort_unstable();
    let line = |percent: usize| {
        let at = times_ms.len().saturating_sub(1) * percent / 100;
        format!("voice_{name}_p{percent} {} ms", times_ms.get(at).copied().unwrap_or_default())
    };
    [50, 95, 99].map(line).join("\n")
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
    let before_ms = (centre.acd.process().cpu_ms()?, centre.asterisk.cpu_ms()?, centre.redis.process().cpu_ms()?);
    let crowd = Crowd { calls: RATE * seconds, rate: RATE, lasts: LASTS };
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
    ensure!(failures == 0, "{failures} calls failed; callers saw {ended:?}: {}", sipp.complaints());
    ensure!(acd_ms <= ACD_CPU_BAR_MS || !is("RINGDOWN_BENCH_ENFORCE", "1"), "acd takes {acd_ms:.2} ms per call");
    Ok(())
}

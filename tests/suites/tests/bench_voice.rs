//! Calls per second through queue, music, offer, bridge and hang-up, one Asterisk, sipp on both sides: what fails, what a call
//! costs, how long the way to an agent is. Beside it, in the same run, on the same Asterisk, registrar and phones: the calls
//! Asterisk's own dialplan makes of answer, music and Dial. Asterisk's clock measures both. Prints `name value unit`.
//!
//! `RINGDOWN_BENCH=short` calls for 10 seconds without sound; else for 60, then again with callers who sing and phones that
//! give it back. `RINGDOWN_BENCH_ENFORCE=1` makes the design's bars fail the run; a failed call always does.

#![expect(clippy::print_stdout, reason = "figures are what a suite is run for")]

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, ensure};
use ringdown_suites::asterisk_watch::{AsteriskWatch, Passage};
use ringdown_suites::call_centre::{CallCentre, PATIENCE, Wishes};
use ringdown_suites::sipp::{Crowd, Ended, Sipp};
use ringdown_test_support::wait_until;
use serde_json::{Value, json};

const RATE: u32 = 40;
const LASTS: Duration = Duration::from_millis(1_500);
/// More than talk at once (60 at 40 calls per second): callers do not wait for each other.
const AGENTS: usize = 90;
/// The number behind which Asterisk's dialplan does all alone; the ACD's is 100.
const ALONE: &str = "200";
const ACD: &str = "100";
/// The design's bar: acd's processor time per call.
const ACD_CPU_BAR_MS: f64 = 2.0;
/// The design's bar: what the ACD adds to the 95th percentile of the way to an agent.
const ADDED_BAR_MS: i64 = 20;
/// Of the 75 packets of a call with sound, so many must come from each side.
const PACKETS: u64 = 50;
/// Of so many calls in a hundred, Asterisk must have told the packets of both sides.
const TOLD_PERCENT: u64 = 90;

fn is(name: &str, value: &str) -> bool {
    std::env::var(name).is_ok_and(|text| text == value)
}

fn say(name: &str, value: impl std::fmt::Display, unit: &str) {
    println!("voice_{name} {value} {unit}");
}

/// Prints a step's percentiles; gives the 95th.
fn percentiles(name: &str, mut times_ms: Vec<u64>) -> u64 {
    times_ms.sort_unstable();
    let at =
        |percent: usize| times_ms.get(times_ms.len().saturating_sub(1) * percent / 100).copied().unwrap_or_default();
    for percent in [50, 95, 99] {
        say(&format!("{name}_p{percent}"), at(percent), "ms");
    }
    at(95)
}

/// Processor time so far, in milliseconds.
#[derive(Clone, Copy)]
struct Spent {
    acd: u64,
    asterisk: u64,
    redis: u64,
    registrar: u64,
}

impl Spent {
    fn read(centre: &mut CallCentre) -> anyhow::Result<Self> {
        Ok(Self {
            acd: centre.acd.process().cpu_ms()?,
            asterisk: centre.asterisk.cpu_ms()?,
            redis: centre.redis.process().cpu_ms()?,
            registrar: centre.registrar_daemon.process().cpu_ms()?,
        })
    }

    /// Prints what each process took per call since `self`; gives acd's.
    fn since(self, centre: &mut CallCentre, name: &str, calls: u32) -> anyhow::Result<f64> {
        let now = Self::read(centre)?;
        let per_call = |now: u64, before: u64| now.saturating_sub(before) as f64 / f64::from(calls);
        let acd = per_call(now.acd, self.acd);
        let others = [
            ("acd", acd),
            ("asterisk", per_call(now.asterisk, self.asterisk)),
            ("registrar", per_call(now.registrar, self.registrar)),
            ("redis", per_call(now.redis, self.redis)),
        ];
        for (process, took) in others {
            say(&format!("{name}_{process}_cpu"), format_args!("{took:.2}"), "ms_per_call");
        }
        Ok(acd)
    }
}

/// What became of a crowd's calls.
struct Run {
    failures: u64,
    acd_cpu_ms: f64,
    set_up_p95_ms: u64,
}

/// One crowd on one number, as the callers and Asterisk saw it.
async fn run(centre: &mut CallCentre, sipp: &Sipp, name: &str, number: &str, crowd: Crowd) -> anyhow::Result<Run> {
    let watch = AsteriskWatch::open(centre, name, crowd.sound).await?;
    let before = Spent::read(centre)?;
    let ended = sipp.call(number, centre.trunk, crowd).await?;
    if number == ACD {
        all_over(centre).await;
    }
    let acd_cpu_ms = before.since(centre, name, crowd.calls)?;
    let passages = counted(&watch, crowd).await;
    let served = count(&passages, |passage| passage.joined_ms > 0).min(ended.good);
    let failures = u64::from(crowd.calls).saturating_sub(served);
    say(&format!("{name}_calls"), crowd.calls, "calls");
    say(&format!("{name}_failures"), failures, "calls");
    if crowd.sound {
        heard(name, &passages, crowd)?;
    }
    let set_up_p95_ms = steps(name, &passages);
    complain(sipp, name, failures, ended)?;
    Ok(Run { failures, acd_cpu_ms, set_up_p95_ms })
}

/// The calls as Asterisk saw them; those with sound when the last packets are counted, which it tells at the very end.
async fn counted(watch: &AsteriskWatch, crowd: Crowd) -> Vec<Passage> {
    if !crowd.sound {
        return watch.passages();
    }
    wait_until(PATIENCE, "every channel is gone", async || {
        let passages = watch.passages();
        passages.iter().all(|passage| passage.over).then_some(passages)
    })
    .await
}

fn complain(sipp: &Sipp, name: &str, failures: u64, ended: Ended) -> anyhow::Result<()> {
    ensure!(failures == 0, "{name}: {failures} calls failed; callers saw {ended:?}: {}", sipp.complaints());
    Ok(())
}

/// Prints the way to an agent and its parts; gives the 95th percentile of the whole.
fn steps(name: &str, passages: &[Passage]) -> u64 {
    let step = |part: &str, from: fn(&Passage) -> u64, to: fn(&Passage) -> u64| {
        let took = passages.iter().map(|passage| to(passage).saturating_sub(from(passage))).collect();
        percentiles(&format!("{name}_{part}"), took)
    };
    step("answer", |passage| passage.arrived_ms, |passage| passage.answered_ms);
    step("to_dial", |passage| passage.arrived_ms, |passage| passage.dialled_ms);
    step("to_ring", |passage| passage.dialled_ms, |passage| passage.rang_ms);
    step("to_pick_up", |passage| passage.rang_ms, |passage| passage.picked_up_ms);
    step("to_join", |passage| passage.picked_up_ms, |passage| passage.joined_ms);
    step("set_up", |passage| passage.arrived_ms, |passage| passage.joined_ms)
}

/// Prints how many calls had sound from both sides, of those Asterisk told.
fn heard(name: &str, passages: &[Passage], crowd: Crowd) -> anyhow::Result<()> {
    let mut packets: Vec<u64> = passages.iter().filter_map(|passage| passage.packets).collect();
    packets.sort_unstable();
    say(&format!("{name}_packets_min"), packets.first().copied().unwrap_or_default(), "packets");
    say(&format!("{name}_packets_p50"), packets.get(packets.len() / 2).copied().unwrap_or_default(), "packets");
    let told = packets.len() as u64;
    let both = packets.iter().filter(|packets| **packets >= PACKETS).count() as u64;
    say(&format!("{name}_sound_told"), told, "calls");
    say(&format!("{name}_heard_both_ways"), both, "calls");
    ensure!(
        told * 100 >= u64::from(crowd.calls) * TOLD_PERCENT,
        "{name}: Asterisk told the packets of {told} calls only"
    );
    ensure!(both == told, "{name}: {both} of {told} calls had sound both ways");
    Ok(())
}

fn count(passages: &[Passage], wanted: impl Fn(&Passage) -> bool) -> u64 {
    passages.iter().filter(|passage| wanted(passage)).count() as u64
}

/// When each step of a call happened, in the router's time.
#[derive(Default)]
struct Decided {
    queued_ms: Option<u64>,
    offered_ms: Option<u64>,
    connected_ms: Option<u64>,
    ended_ms: Option<u64>,
}

async fn journal(centre: &CallCentre) -> anyhow::Result<BTreeMap<String, Decided>> {
    let client = redis::Client::open(centre.redis.url())?;
    let mut redis = client.get_multiplexed_async_connection().await?;
    let key = format!("{{{}}}:journal", centre.tenant);
    let entries: redis::streams::StreamRangeReply =
        redis::cmd("XRANGE").arg(key).arg("-").arg("+").query_async(&mut redis).await?;
    let mut calls: BTreeMap<String, Decided> = BTreeMap::new();
    for entry in &entries.ids {
        let text: String = entry.get("e").context("a journal entry")?;
        let entry: Value = serde_json::from_str(&text)?;
        let Some(id) = entry["event"]["interaction"]["id"].as_str() else { continue };
        let decided = calls.entry(id.to_owned()).or_default();
        let at_ms = entry["at_ms"].as_u64();
        match entry["event"]["kind"].as_str() {
            Some("interaction_queued") => decided.queued_ms = at_ms,
            Some("interaction_offered") => decided.offered_ms = at_ms,
            Some("interaction_connected") => decided.connected_ms = at_ms,
            Some("interaction_ended") => decided.ended_ms = at_ms,
            _ => {}
        }
    }
    Ok(calls)
}

/// Waits until every call the journal knows is over.
async fn all_over(centre: &CallCentre) -> BTreeMap<String, Decided> {
    wait_until(PATIENCE, "every call is over in the journal", async || {
        let calls = journal(centre).await.ok()?;
        calls.values().all(|decided| decided.ended_ms.is_some()).then_some(calls)
    })
    .await
}

fn decided(calls: &BTreeMap<String, Decided>, name: &str, to: impl Fn(&Decided) -> Option<u64>) {
    let took = calls.values().filter_map(|decided| Some(to(decided)?.saturating_sub(decided.queued_ms?))).collect();
    percentiles(name, took);
}

/// Prints the mean of durations acd measures itself.
async fn means(centre: &CallCentre) -> anyhow::Result<()> {
    let metrics = centre.acd.get("/metrics").await?.body;
    let figure = |name: &str| -> Option<f64> {
        let found = metrics.lines().filter(|line| !line.starts_with('#') && line.contains(name));
        found.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).reduce(|sum, more| sum + more)
    };
    for name in ["ari_request_seconds", "voice_event_lag_seconds", "commit_seconds", "answer_seconds"] {
        let sum = figure(&format!("{name}_sum")).with_context(|| format!("acd does not measure {name}"))?;
        let number = figure(&format!("{name}_count")).unwrap_or_default().max(1.0);
        say(&format!("mean_{name}"), format_args!("{:.2}", sum * 1_000.0 / number), "ms");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_per_second() -> anyhow::Result<()> {
    let short = is("RINGDOWN_BENCH", "short");
    let seconds = if short { 10 } else { 60 };
    let mut centre = CallCentre::open(Wishes { measured: true, ..Wishes::default() }).await?;
    let queue = centre.of_tenant(&format!("queues/{}", centre.queue));
    centre.patch(&queue, json!({ "wrap_up_ms": 0 })).await?;
    let users: Vec<String> = (0..AGENTS).map(|number| format!("agent{number}")).collect();
    for user in &users {
        centre.hire(user, json!({ "English": 5 })).await?;
    }
    // Each caller has a number of the own, and so the agents take turns.
    centre.dial_directly(ALONE, &format!("agent$[${{CALLERID(num)}} % {AGENTS}]")).await?;
    let sipp = Sipp::new()?;
    let _phones = sipp.answer(&centre, &users).await?;
    for sound in if short { &[false][..] } else { &[false, true][..] } {
        let crowd = Crowd { calls: RATE * seconds, rate: RATE, lasts: LASTS, sound: *sound };
        let with_sound = if *sound { "_with_sound" } else { "" };
        let alone = run(&mut centre, &sipp, &format!("alone{with_sound}"), ALONE, crowd).await?;
        let acd = run(&mut centre, &sipp, &format!("acd{with_sound}"), ACD, crowd).await?;
        let added_ms = i64::try_from(acd.set_up_p95_ms)? - i64::try_from(alone.set_up_p95_ms)?;
        say(&format!("added{with_sound}_p95"), added_ms, "ms");
        say(&format!("failures{with_sound}"), alone.failures + acd.failures, "calls");
        let bars = acd.acd_cpu_ms <= ACD_CPU_BAR_MS && added_ms <= ADDED_BAR_MS;
        ensure!(
            bars || !is("RINGDOWN_BENCH_ENFORCE", "1"),
            "acd takes {:.2} ms per call and adds {added_ms} ms",
            acd.acd_cpu_ms
        );
    }
    let calls = all_over(&centre).await;
    decided(&calls, "queued_to_offered", |decided| decided.offered_ms);
    decided(&calls, "queued_to_connected", |decided| decided.connected_ms);
    means(&centre).await
}

//! How fast the router is, beside the Redis Basic ACD's way in the same run. Prints `name value unit`.
//!
//! One pair is one interaction created and assigned, and ended, which releases its agent: two commands through the command
//! stream, both acknowledged only when committed. `RINGDOWN_BENCH=short` measures 10,000 agents for three seconds per AOF
//! setting; else all sizes for ten. `RINGDOWN_BENCH_ENFORCE=1` makes the bars of the design fail the run.
//!
//! The daemon is the one `RINGDOWN_TEST_PROGRAMS` names: `tests/run` names the shipped build. What the core does alone is measured
//! by its own benchmark (`components/acd/core/benches/routing.rs`), which the suite runs before this.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::ensure;
use futures_util::StreamExt;
use ringdown_domain::{Delivery, EndReason, InteractionId, SkillName};
use ringdown_events::{Command, Done};
use ringdown_suites::acd_world::peer::Peer;
use ringdown_suites::acd_world::random::Random;
use ringdown_suites::acd_world::{Shape, World, new_interaction, skill};
use ringdown_test_support::{Appendfsync, wait_until};
use uuid::Uuid;

const READY: Duration = Duration::from_secs(60);
/// Callers at once: enough to keep the router busy, few enough that their waiting for each other is not what is measured.
/// With `always` more of them share an fsync. Never so many that the agents run out.
fn callers(fsync: Appendfsync, agents: usize) -> u64 {
    let most = match fsync {
        Appendfsync::Always => 512,
        Appendfsync::Everysec | Appendfsync::No => 24,
    };
    most.min(agents as u64 / 8)
}
/// What ended is not read again here.
const KEEP: (&str, &str) = ("RINGDOWN_ACD_KEEP_ENDED_S", "5");

fn is_short() -> bool {
    std::env::var("RINGDOWN_BENCH").is_ok_and(|text| text == "short")
}

fn is_enforced() -> bool {
    std::env::var("RINGDOWN_BENCH_ENFORCE").is_ok_and(|text| text == "1")
}

/// What one run gave.
struct Measured {
    pairs_per_second: f64,
    p50_ms: f64,
    p99_ms: f64,
    cpu_ms_per_1000: f64,
    redis_cpu_ms_per_1000: f64,
}

fn sizes() -> &'static [u64] {
    if is_short() { &[10_000] } else { &[1_000, 10_000, 100_000] }
}

#[tokio::test(flavor = "multi_thread")]
async fn assign_and_release() -> anyhow::Result<()> {
    let time = Duration::from_secs(if is_short() { 3 } else { 10 });
    let settings: &[(Appendfsync, &str)] = &[(Appendfsync::Everysec, "everysec"), (Appendfsync::Always, "always")];
    for agents in sizes().iter().map(|agents| *agents as usize) {
        for (fsync, name) in settings {
            let world = Arc::new(World::new(&Shape { agents, fsync: *fsync, seed: 11 }).await?);
            let measured = run(&world, *fsync, time).await?;
            let of = format!("{agents}_{name}");
            println!("acd_pairs_{of} {:.0} per_s", measured.pairs_per_second);
            println!("acd_assign_p50_{of} {:.2} ms", measured.p50_ms);
            println!("acd_assign_p99_{of} {:.2} ms", measured.p99_ms);
            println!("acd_cpu_{of} {:.1} ms_per_1000_pairs", measured.cpu_ms_per_1000);
            println!("acd_redis_cpu_{of} {:.1} ms_per_1000_pairs", measured.redis_cpu_ms_per_1000);
            let skills: Vec<Vec<SkillName>> = world.agents.iter().map(|(_, skills)| skills.clone()).collect();
            let mut peer = Peer::new(world.redis_url(), &skills).await?;
            let peer_rate = peer.pairs_per_second(&skills, time.min(Duration::from_secs(4))).await?;
            println!("acd_peer_pairs_{of} {peer_rate:.0} per_s");
            println!("acd_over_peer_{of} {:.1} times", measured.pairs_per_second / peer_rate);
            enforce(agents, *fsync, &measured)?;
        }
    }
    Ok(())
}

fn enforce(agents: usize, fsync: Appendfsync, measured: &Measured) -> anyhow::Result<()> {
    if !is_enforced() {
        return Ok(());
    }
    let bar = if agents > 10_000 { 2_000.0 } else { 5_000.0 };
    ensure!(measured.pairs_per_second >= bar, "{agents} agents: below {bar} pairs/s");
    let counts = fsync == Appendfsync::Everysec && agents == 10_000;
    ensure!(!counts || measured.p99_ms < 5.0, "{agents} agents: p99 is not below 5 ms");
    Ok(())
}

async fn run(world: &Arc<World>, fsync: Appendfsync, time: Duration) -> anyhow::Result<Measured> {
    let mut acd = world.start_acd(&[KEEP])?;
    acd.wait_ready(READY).await?;
    world.ready_all(256).await?;
    let stop = Arc::new(AtomicBool::new(false));
    let caller = |number| tokio::spawn(call(Arc::clone(world), Arc::clone(&stop), number));
    let cpu_before = acd.process().cpu_ms()?;
    let redis_before = world.redis.lock().await.process().cpu_ms()?;
    let started = Instant::now();
    let callers: Vec<_> = (1..=callers(fsync, world.agents.len())).map(caller).collect();
    tokio::time::sleep(time).await;
    stop.store(true, Ordering::Relaxed);
    let mut waits_ms = Vec::new();
    for caller in callers {
        waits_ms.extend(caller.await??);
    }
    let took = started.elapsed();
    let cpu_ms = acd.process().cpu_ms()? - cpu_before;
    let redis_cpu_ms = world.redis.lock().await.process().cpu_ms()? - redis_before;
    waits_ms.sort_by(f64::total_cmp);
    let at = |share: f64| waits_ms[((waits_ms.len() - 1) as f64 * share) as usize];
    let pairs = waits_ms.len() as f64;
    Ok(Measured {
        pairs_per_second: pairs / took.as_secs_f64(),
        p50_ms: at(0.5),
        p99_ms: at(0.99),
        cpu_ms_per_1000: cpu_ms as f64 * 1_000.0 / pairs,
        redis_cpu_ms_per_1000: redis_cpu_ms as f64 * 1_000.0 / pairs,
    })
}

/// Creates and ends interactions; gives how long each assignment took, from asking to knowing.
async fn call(world: Arc<World>, stop: Arc<AtomicBool>, number: u64) -> anyhow::Result<Vec<f64>> {
    let mut random = Random::new(number.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    let mut waits_ms = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let interaction = InteractionId(Uuid::now_v7());
        let one = random.below(world.agents.len() as u64) as usize;
        let needs = random.needs(&world.agents[one].1);
        let asked = Instant::now();
        let outcome = world.ask(new_interaction(interaction, Delivery::Direct, &needs)).await?;
        waits_ms.push(asked.elapsed().as_secs_f64() * 1_000.0);
        let assigned = matches!(outcome.result, Ok(Done::Created { offered: Some(_), .. }));
        ensure!(assigned, "not assigned at once: {outcome:?}");
        let end = Command::EndInteraction { interaction, reason: EndReason::Completed, at_ms: None };
        world.ask(end).await?.result.map_err(|refusal| anyhow::anyhow!("{refusal:?}"))?;
    }
    Ok(waits_ms)
}

/// Six skills, where every agent has five: nobody can serve it, though every skill is there.
fn unmatchable() -> Command {
    let needs: Vec<SkillName> = (0..6).map(skill).collect();
    new_interaction(InteractionId(Uuid::now_v7()), Delivery::Direct, &needs)
}

async fn create_unmatchable(world: &World, count: usize) -> anyhow::Result<()> {
    let asks = futures_util::stream::iter((0..count).map(|_| world.ask(unmatchable())));
    for outcome in asks.buffer_unordered(256).collect::<Vec<_>>().await {
        let result = outcome?.result;
        ensure!(matches!(result, Ok(Done::Created { offered: None, .. })), "somebody served it: {result:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn unmatchable_interactions_cost_others_nothing() -> anyhow::Result<()> {
    let world = World::new(&Shape { agents: 200, fsync: Appendfsync::Everysec, seed: 5 }).await?;
    let mut acd = world.start_acd(&[])?;
    acd.wait_ready(READY).await?;
    world.ready_all(64).await?;
    create_unmatchable(&world, 1_000).await?;
    let started = Instant::now();
    let needs: Vec<Vec<SkillName>> = world.agents.iter().take(50).map(|(_, skills)| skills[..2].to_vec()).collect();
    let asks =
        needs.iter().map(|needs| world.ask(new_interaction(InteractionId(Uuid::now_v7()), Delivery::Direct, needs)));
    let outcomes = futures_util::future::join_all(asks).await;
    let took_ms = started.elapsed().as_secs_f64() * 1_000.0;
    println!("acd_50_behind_1000_unmatchable {took_ms:.1} ms");
    for outcome in outcomes {
        let result = outcome?.result;
        ensure!(matches!(result, Ok(Done::Created { offered: Some(_), .. })), "not assigned: {result:?}");
    }
    ensure!(took_ms < 1_000.0, "all 50 must be assigned within a second");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn recovery_of_a_large_tenant() -> anyhow::Result<()> {
    const SIZE: usize = 10_000;
    let world = World::new(&Shape { agents: SIZE, fsync: Appendfsync::Everysec, seed: 6 }).await?;
    let mut acd = world.start_acd(&[])?;
    acd.wait_ready(READY).await?;
    world.ready_all(256).await?;
    create_unmatchable(&world, SIZE).await?;
    acd.kill9()?;
    acd.restart()?;
    let seconds: f64 = wait_until(READY, "the tenant routed again", async || {
        let text = acd.get("/metrics").await.ok()?.body;
        let sum = text.lines().find_map(|line| line.strip_prefix("ringdown_acd_recovery_seconds_sum "));
        sum?.trim().parse().ok().filter(|sum| *sum > 0.0)
    })
    .await;
    println!("acd_recovery_{SIZE}_agents_{SIZE}_waiting {:.0} ms", seconds * 1_000.0);
    let state = ringdown_redis_store::snapshot::read(&world.pool, world.tenant).await?;
    ensure!(state.interactions.len() == SIZE, "{} of {SIZE} wait", state.interactions.len());
    ensure!(seconds < 1.0 || !is_enforced(), "recovery took {seconds} s");
    Ok(())
}

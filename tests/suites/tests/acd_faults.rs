//! Nothing lost, stuck or doubled when routers, Redis and PostgreSQL die under load.
//!
//! Real acd processes, real Redis with `appendfsync always`, real PostgreSQL with `fsync`. `RINGDOWN_KILLS` (50) says how many
//! routers are killed; Redis and PostgreSQL are killed a twentieth as often, at least five times (`RINGDOWN_REDIS_KILLS`,
//! `RINGDOWN_POSTGRES_KILLS`). `RINGDOWN_SEED` repeats a run's choices (not its timing).
#![expect(clippy::print_stdout, reason = "a suite's report is its output")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use futures_util::StreamExt;
use ringdown_domain::{AgentId, Delivery, EndReason, InteractionId};
use ringdown_events::{Command, Refusal};
use ringdown_redis_store::snapshot;
use ringdown_suites::acd_world::clerks::Clerks;
use ringdown_suites::acd_world::ledger::{LedgerReader, judge};
use ringdown_suites::acd_world::load::Load;
use ringdown_suites::acd_world::office::{Death, Office};
use ringdown_suites::acd_world::random::Random;
use ringdown_suites::acd_world::{Shape, World, new_interaction, skill};
use ringdown_test_support::{Appendfsync, Daemon, wait_until};
use uuid::Uuid;

/// Short, so that a take-over costs the suite half a second instead of two.
const LEASE: (&str, &str) = ("RINGDOWN_ACD_LEASE_MS", "500");
/// Long enough for the ledger to miss nothing while it waits for a Redis that restarts.
const JOURNAL: (&str, &str) = ("RINGDOWN_ACD_JOURNAL_LENGTH", "200000");
/// What ended is judged by the journal, so that a long run needs little memory.
const KEEP: (&str, &str) = ("RINGDOWN_ACD_KEEP_ENDED_S", "30");
const AGENTS: usize = 300;
const WORKERS: u64 = 48;
/// Who change the configuration.
const CLERKS: usize = 6;
const TAKE_OVER: Duration = Duration::from_secs(20);
/// Nobody's death: the longest time without any answer of the router that still counts as going on.
const NO_PAUSE: Duration = Duration::from_secs(1);

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Which of the daemons has a process id.
fn place(acds: &mut [Daemon], pid: u32) -> Option<usize> {
    acds.iter_mut().position(|acd| acd.process().id() == pid)
}

fn announced_seed() -> u64 {
    let seed = Random::seed();
    println!("seed {seed}");
    seed
}

/// How often a store is killed: five times in the plain run.
fn store_kills(name: &str) -> u64 {
    number(name, (number("RINGDOWN_KILLS", 50) / 20).max(5))
}

/// Two routers, one tenant, a load, and a ledger that reads along.
struct Scene {
    world: Arc<World>,
    acds: Vec<Daemon>,
    load: Arc<Load>,
    workers: Vec<tokio::task::JoinHandle<anyhow::Result<()>>>,
    ledger: LedgerReader,
    random: Random,
}

impl Scene {
    async fn begin(fsync: Appendfsync) -> anyhow::Result<Self> {
        let seed = announced_seed();
        let world = World::new(&Shape { agents: AGENTS, fsync, seed }).await?;
        Self::begin_in(world, seed).await
    }

    async fn begin_in(world: World, seed: u64) -> anyhow::Result<Self> {
        let acds = (0..2).map(|_| world.start_acd(&[LEASE, JOURNAL, KEEP])).collect::<anyhow::Result<Vec<Daemon>>>()?;
        world.wait_holder(TAKE_OVER).await;
        world.ready_all(64).await?;
        let ledger = LedgerReader::new(&world.pool, world.tenant);
        let (world, load) = (Arc::new(world), Arc::new(Load::default()));
        let worker = |number| tokio::spawn(Arc::clone(&load).work(Arc::clone(&world), seed ^ (number << 32)));
        let workers = (1..=WORKERS).map(worker).collect();
        Ok(Self { world, acds, load, workers, ledger, random: Random::new(seed) })
    }

    /// Reads the journal for a while: the suite's way to let time pass under load.
    async fn let_pass(&mut self, time: Duration) {
        let until = Instant::now() + time;
        while Instant::now() < until {
            let left = until.saturating_duration_since(Instant::now()).min(Duration::from_millis(50));
            self.ledger.read(left).await;
        }
        assert!(!self.workers.iter().any(|worker| worker.is_finished()), "somebody got no outcome and gave up");
    }

    /// Reads the journal until a further command was answered.
    async fn let_answer(&mut self) {
        let (before, started) = (self.load.steps(), Instant::now());
        while self.load.steps() == before {
            assert!(started.elapsed() < TAKE_OVER, "nothing is answered");
            self.let_pass(Duration::from_millis(20)).await;
        }
    }

    async fn active(&mut self) -> &mut Daemon {
        loop {
            let pid = self.world.wait_holder(TAKE_OVER).await;
            let place = place(&mut self.acds, pid);
            // The lease may still name a process that is dead: it ends by itself.
            match place {
                Some(place) => return &mut self.acds[place],
                None => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    }

    /// Ends the load, waits for rest and judges. Gives the commands answered.
    async fn end(mut self) -> anyhow::Result<u64> {
        self.load.stop();
        for worker in self.workers.drain(..) {
            worker.await??;
        }
        self.world.wait_at_rest(TAKE_OVER).await;
        let newest = snapshot::read(&self.world.pool, self.world.tenant).await?.router.seq;
        self.ledger.read_to_end(newest).await;
        let ledger = &self.ledger.ledger;
        let accepted = self.load.accepted();
        let findings = judge(&self.world, &accepted, ledger).await?;
        println!("acd_faults_interactions {} count", accepted.len());
        println!("acd_faults_journal_entries {} count", ledger.seq);
        println!("acd_faults_journal_gaps {} count", ledger.gaps);
        for (name, found) in [("lost", &findings.lost), ("stuck", &findings.stuck), ("doubled", &findings.doubled)] {
            println!("acd_faults_{name} {} count", found.len());
        }
        println!("lost, stuck, doubled: {}", findings.line());
        assert!(findings.is_clean(), "{findings:#?}");
        assert_eq!((ledger.seq, ledger.gaps), (newest, 0), "the journal is gapless and read to its end");
        let ended = self.load.ended();
        let forgotten =
            ended.iter().filter(|id| ledger.places.get(id) != Some(&ringdown_suites::acd_world::ledger::Place::Ended));
        assert_eq!(forgotten.count(), 0, "acknowledged ends that did not happen");
        let acts = self.load.acts();
        println!("acd_faults_acts_on_calls {acts} count");
        assert!(acts > 0, "no call changed hands");
        Ok(self.load.steps())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn routers_killed_under_load_lose_nothing() -> anyhow::Result<()> {
    let kills = number("RINGDOWN_KILLS", 50);
    let mut scene = Scene::begin(Appendfsync::Always).await?;
    for kill in 1..=kills {
        scene.active().await;
        // A death may come in the middle of a recovery, but not for ever: who waits 20 s for an outcome gives up, and on a
        // busy host that is the time of many deaths.
        if kill % 10 == 0 {
            scene.let_answer().await;
        }
        let moment = Duration::from_millis(scene.random.below(400));
        scene.let_pass(moment).await;
        let active = scene.active().await;
        active.kill9()?;
        active.restart()?;
        if kill % 100 == 0 {
            println!("killed {kill} of {kills}, commands answered {}", scene.load.steps());
        }
    }
    scene.active().await;
    scene.let_pass(Duration::from_secs(1)).await;
    let answered = scene.end().await?;
    println!("acd_faults_router_kills {kills} count");
    println!("acd_faults_commands_answered {answered} count");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_killed_under_load_loses_nothing() -> anyhow::Result<()> {
    let mut scene = Scene::begin(Appendfsync::Always).await?;
    let world = Arc::clone(&scene.world);
    let kills = store_kills("RINGDOWN_REDIS_KILLS");
    for kill in 0..kills {
        let moment = Duration::from_millis(500 + scene.random.below(1_000));
        scene.let_pass(moment).await;
        // Every second time away for longer than the lease lives.
        let away = Duration::from_millis(if kill % 2 == 0 { 50 } else { 1_500 });
        world.redis_killed_for(away).await?;
        scene.active().await;
    }
    scene.let_pass(Duration::from_secs(2)).await;
    let answered = scene.end().await?;
    println!("acd_faults_redis_kills {kills} count");
    println!("acd_faults_commands_answered {answered} count");
    Ok(())
}

/// The whole chain from the API to the router, with PostgreSQL dying in it: routing does not notice, and every change of
/// configuration that was acknowledged is there, once.
#[tokio::test(flavor = "multi_thread")]
async fn postgres_killed_under_load_loses_nothing() -> anyhow::Result<()> {
    let seed = announced_seed();
    let (world, office) = World::with_office(&Shape { agents: AGENTS, fsync: Appendfsync::Always, seed }).await?;
    let office = Arc::new(office);
    let mut scene = Scene::begin_in(world, seed).await?;
    let clerks = Arc::new(Clerks::new(office.founded.clone()));
    let agents: Vec<AgentId> = scene.world.agents.iter().map(|(agent, _)| *agent).collect();
    let at_work = agents.chunks(AGENTS / CLERKS).zip(1..).map(|(agents, number)| {
        tokio::spawn(Arc::clone(&clerks).work(Arc::clone(&office), agents.to_vec(), seed ^ (number << 40)))
    });
    let at_work: Vec<_> = at_work.collect();
    let wanted = store_kills("RINGDOWN_POSTGRES_KILLS");
    let mut kills = 0;
    // A kill between a commit and its answer is what a repeat is for, and is a matter of luck: it goes on until one was met.
    while kills < wanted || (clerks.book().replayed == 0 && kills < 3 * wanted) {
        let moment = Duration::from_millis(300 + scene.random.below(1_500));
        scene.let_pass(moment).await;
        office.kill_postgres(if scene.random.below(2) == 0 { Death::Whole } else { Death::Postmaster }).await?;
        // Every third time away for longer than the API waits for a connection, twice over.
        scene.let_pass(Duration::from_millis([50, 1_000, 7_000][kills as usize % 3])).await;
        office.restart_postgres().await?;
        kills += 1;
    }
    scene.let_pass(Duration::from_secs(2)).await;
    clerks.stop();
    for clerk in at_work {
        clerk.await??;
    }
    judge_configuration(&scene.world, &office, &clerks).await?;
    let pause = scene.load.longest_pause();
    let answered = scene.end().await?;
    println!("acd_faults_postgres_kills {kills} count");
    println!("acd_faults_commands_answered {answered} count");
    println!("acd_faults_longest_pause_without_postgres {} ms", pause.as_millis());
    assert!(pause < NO_PAUSE, "routing paused for {pause:?}");
    Ok(())
}

/// Compares what was acknowledged with PostgreSQL, with the compiled configuration, and with what the router runs.
async fn judge_configuration(world: &World, office: &Office, clerks: &Clerks) -> anyhow::Result<()> {
    let expected = clerks.book().view.clone();
    let written = office.written().await?;
    let started = Instant::now();
    let (in_force, running) = loop {
        let views = (office.in_force(&world.pool).await?, office.running(&world.pool).await?);
        if started.elapsed() > TAKE_OVER || (views.0 == written && views.1 == written) {
            break views;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    let (mut lost, mut doubled) = (Vec::new(), Vec::new());
    for (place, seen) in [("PostgreSQL", &written), ("in force", &in_force), ("router", &running)] {
        lost.extend(expected.without(seen).into_iter().map(|what| format!("{place} lacks {what}")));
        doubled.extend(seen.without(&expected).into_iter().map(|what| format!("{place} has {what}")));
    }
    let book = clerks.book();
    println!("acd_faults_writes_acknowledged {} count", book.acknowledged);
    println!("acd_faults_writes_refused {} count", book.refused);
    println!("acd_faults_writes_unknown {} count", book.unknown);
    println!("acd_faults_writes_replayed {} count", book.replayed);
    println!("acd_faults_writes_slowest_answer {} ms", book.slowest.as_millis());
    for (name, count) in [("lost", lost.len()), ("stuck", book.stuck.len()), ("doubled", doubled.len())] {
        println!("acd_faults_writes_{name} {count} count");
    }
    assert!(lost.is_empty() && book.stuck.is_empty() && doubled.is_empty(), "{lost:#?} {:#?} {doubled:#?}", book.stuck);
    assert!(book.wrong.is_empty(), "answers that cannot be: {:#?}", book.wrong);
    let (refused, replayed) = (book.refused, book.replayed);
    assert!(refused > 0, "the outages were not felt");
    assert!(replayed > 0, "no repeat met its first, though {} outcomes were unknown", book.unknown);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_router_that_slept_past_its_lease_writes_nothing() -> anyhow::Result<()> {
    let mut scene = Scene::begin(Appendfsync::Everysec).await?;
    for _pause in 0..number("RINGDOWN_PAUSES", 5) {
        scene.active().await;
        let moment = Duration::from_millis(300 + scene.random.below(300));
        scene.let_pass(moment).await;
        let slept = {
            let active = scene.active().await;
            active.pause()?;
            active.process().id()
        };
        let world = Arc::clone(&scene.world);
        wait_until(TAKE_OVER, "the standby to take over", async || {
            world.holder().await.filter(|holder| *holder != slept)
        })
        .await;
        scene.let_pass(Duration::from_millis(200)).await;
        let sleeper = place(&mut scene.acds, slept).context("the sleeper is one of ours")?;
        let sleeper = &mut scene.acds[sleeper];
        let before = sleeper.process().log_text().matches("no longer the router").count();
        sleeper.resume()?;
        wait_until(TAKE_OVER, "the sleeper to notice", async || {
            let now = sleeper.process().log_text().matches("no longer the router").count();
            (now > before).then_some(())
        })
        .await;
    }
    scene.let_pass(Duration::from_secs(1)).await;
    scene.end().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_planned_stop_hands_over_at_once_and_a_death_within_three_seconds() -> anyhow::Result<()> {
    let world = World::new(&Shape { agents: 10, fsync: Appendfsync::Always, seed: 1 }).await?;
    let mut acds = (0..2).map(|_| world.start_acd(&[])).collect::<anyhow::Result<Vec<Daemon>>>()?;
    let pid = world.wait_holder(TAKE_OVER).await;
    world.ready_all(10).await?;
    let first = place(&mut acds, pid).context("the holder is one of ours")?;
    // Both must be there: a standby that is still starting proves nothing.
    for acd in &mut acds {
        acd.wait_ready(TAKE_OVER).await?;
    }
    let started = Instant::now();
    assert!(acds[first].stop(TAKE_OVER).await?.success());
    world.ready(world.agents[0].0).await?;
    let planned_ms = started.elapsed().as_millis();
    println!("acd_faults_handover_planned {planned_ms} ms");
    acds[first].restart()?;
    acds[first].wait_ready(TAKE_OVER).await?;
    let second = 1 - first;
    let started = Instant::now();
    acds[second].kill9()?;
    world.ready(world.agents[1].0).await?;
    let death_ms = started.elapsed().as_millis();
    println!("acd_faults_handover_death {death_ms} ms");
    assert!(planned_ms < 1_000, "a planned stop took {planned_ms} ms");
    assert!(death_ms < 3_000, "a death took {death_ms} ms");
    Ok(())
}

/// In each of 200 lanes two interactions want one of the fifty agents with the skill; then both end at once. The end of
/// one frees an agent for somebody who waits, and that one may be ending at the same moment.
#[tokio::test(flavor = "multi_thread")]
async fn abandon_raced_against_assign_leaks_no_agent() -> anyhow::Result<()> {
    const LANES: u64 = 200;
    let races = number("RINGDOWN_RACES", 10_000);
    let world = World::new(&Shape { agents: 200, fsync: Appendfsync::Everysec, seed: 7 }).await?;
    let _acd = world.start_acd(&[JOURNAL, KEEP])?;
    world.wait_holder(TAKE_OVER).await;
    world.ready_all(64).await?;
    let lane = async || {
        for _race in 0..races / LANES {
            race(&world).await?;
        }
        anyhow::Ok(())
    };
    let lanes: Vec<_> = (0..LANES).map(|_| lane()).collect();
    futures_util::stream::iter(lanes)
        .buffer_unordered(LANES as usize)
        .collect::<Vec<_>>()
        .await
        .into_iter()
        .collect::<anyhow::Result<()>>()?;
    world.wait_at_rest(TAKE_OVER).await;
    let state = snapshot::read(&world.pool, world.tenant).await?;
    let leaked = state.agents.iter().filter(|agent| agent.available_since_ms.is_none()).count();
    println!("acd_faults_races {races} count");
    println!("acd_faults_agents_leaked {leaked} count");
    assert_eq!((leaked, state.interactions.len()), (0, 0));
    Ok(())
}

fn refused(refusal: Refusal) -> anyhow::Error {
    anyhow::anyhow!("refused: {refusal:?}")
}

async fn race(world: &World) -> anyhow::Result<()> {
    let needs = [skill(0)];
    let (first, second) = (InteractionId(Uuid::now_v7()), InteractionId(Uuid::now_v7()));
    for id in [first, second] {
        world.ask(new_interaction(id, Delivery::Direct, &needs)).await?.result.map_err(refused)?;
    }
    let end = |interaction, reason| world.ask(Command::EndInteraction { interaction, reason, at_ms: None });
    let (one, two) = tokio::join!(end(first, EndReason::Completed), end(second, EndReason::CallerHangup));
    one?.result.map_err(refused)?;
    two?.result.map_err(refused)?;
    Ok(())
}

//! What routing costs, one thread, nothing but the core: 20 skills, 5 per agent at random levels, interactions that need 1 to
//! 3 skills somebody has; events and changes are drained as the shell does.
//!
//! `cargo bench -p ringdown-acd-core` measures with divan. With `RINGDOWN_BENCH_LINES=1` it prints lines `name value unit`
//! instead, for the benchmark suite.
#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark reports on standard output and may stop at a surprise"
)]

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use divan::Bencher;
use ringdown_acd_core::routing::{Changes, OfferIds, Router};
use ringdown_domain::{
    AgentId, Delivery, EndReason, InteractionId, Media, SkillLevel, SkillName, SkillRequirement, TenantId, TimestampMs,
};
use ringdown_events::{
    AgentConfig, AgentRecord, Command, CompiledConfig, ConfigMeta, Done, InteractionRecord, JournalEvent,
    NewInteraction, RouterRecord,
};

const SKILLS: u64 = 20;
const SKILLS_PER_AGENT: usize = 5;
/// Commands between two drains, as a busy shell batches them.
const BATCH: u64 = 256;
/// Commands within one millisecond.
const COMMANDS_PER_MS: u64 = 500;

fn main() {
    if std::env::var_os("RINGDOWN_BENCH_LINES").is_some() {
        print_lines();
    } else {
        divan::main();
    }
}

#[divan::bench(args = [1_000, 10_000, 100_000], sample_size = 1_000)]
fn assign_release(bencher: Bencher, agents: u64) {
    let mut centre = Centre::new(agents, 1);
    centre.fill(agents / 2);
    bencher.counter(divan::counter::ItemsCount::new(1_u32)).bench_local(|| centre.assign_release());
}

/// As above, with minimum levels: ten times as many different needs.
#[divan::bench(args = [1_000, 10_000, 100_000], sample_size = 1_000)]
fn assign_release_with_levels(bencher: Bencher, agents: u64) {
    let mut centre = Centre::new(agents, 10);
    centre.fill(agents / 2);
    bencher.counter(divan::counter::ItemsCount::new(1_u32)).bench_local(|| centre.assign_release());
}

/// More callers than agents: every release finds the best-ranked interaction.
#[divan::bench(args = [1_000, 10_000, 100_000], sample_size = 1_000)]
fn assign_release_crowded(bencher: Bencher, agents: u64) {
    let mut centre = Centre::new(agents, 1);
    centre.fill(agents + 10_000);
    bencher.counter(divan::counter::ItemsCount::new(1_u32)).bench_local(|| centre.assign_release());
}

/// An interaction nobody can serve although everybody is free, each with other needs; its end included.
#[divan::bench(args = [1_000, 10_000, 100_000], sample_size = 1_000)]
fn no_match(bencher: Bencher, agents: u64) {
    let mut centre = Centre::new(agents, 1);
    bencher.bench_local(|| centre.no_match());
}

/// 10,000 agents and 10,000 waiting interactions, from records.
#[divan::bench(sample_count = 20)]
fn restore(bencher: Bencher) {
    let records = Records::new(10_000, 10_000);
    bencher.with_inputs(|| records.clone()).bench_local_values(Records::restore);
}

fn print_lines() {
    for agents in [1_000, 10_000, 100_000] {
        for (name, levels, live) in [
            ("assign_release", 1, agents / 2),
            ("assign_release_levels", 10, agents / 2),
            ("crowded", 1, agents + 10_000),
        ] {
            let mut centre = Centre::new(agents, levels);
            centre.fill(live);
            let seconds = time(500_000, || centre.assign_release());
            println!("acd_core_{name}_{agents}_agents {:.0} per_s", 500_000.0 / seconds);
        }
        let mut centre = Centre::new(agents, 1);
        let seconds = time(100_000, || centre.no_match());
        println!("acd_core_no_match_{agents}_agents {:.2} us", seconds * 10.0);
    }
    let records = Records::new(10_000, 10_000);
    let copy = records.clone();
    let started = Instant::now();
    divan::black_box(copy.restore());
    println!("acd_core_restore_10000_agents_10000_waiting {:.1} ms", started.elapsed().as_secs_f64() * 1_000.0);
}

fn time(times: u64, mut work: impl FnMut()) -> f64 {
    let started = Instant::now();
    (0..times).for_each(|_| work());
    started.elapsed().max(Duration::from_nanos(1)).as_secs_f64()
}

/// A router with its agents ready and something to do.
struct Centre {
    router: Router,
    random: u64,
    commands: u64,
    next_id: u64,
    live: VecDeque<InteractionId>,
    /// What interactions need: all sets of 1 to 3 skills that some agent has, at `levels` levels.
    needs: Vec<Vec<SkillRequirement>>,
    hopeless: Vec<Vec<SkillRequirement>>,
    events: Vec<(TimestampMs, JournalEvent)>,
    changes: Changes,
}

impl Centre {
    fn new(agents: u64, levels: u64) -> Self {
        let mut random = 88_172_645_463_325_252;
        let config = config(agents, &mut random);
        let mut router = Router::new(OfferIds::new(config.meta.tenant, 1));
        router.apply_config(TimestampMs(1), &config);
        router.command(TimestampMs(2), &Command::SetAcdOpen { open: true }).unwrap();
        let possible = |needs: &Vec<SkillRequirement>| config.agents.values().any(|agent| able(agent, needs));
        let mut needs = all_needs(levels, &mut random);
        needs.retain(possible);
        let hopeless = (0..SKILLS).map(|other| vec![need(other, 1), need(SKILLS, 1)]).collect();
        let (events, changes) = (Vec::new(), Changes::default());
        let live = VecDeque::new();
        Self { router, random, commands: 10_000, next_id: 0, live, needs, hopeless, events, changes }
    }

    fn fill(&mut self, live: u64) {
        (0..live).for_each(|_| self.create());
    }

    fn assign_release(&mut self) {
        self.create();
        if let Some(oldest) = self.live.pop_front() {
            self.end(oldest);
        }
    }

    fn no_match(&mut self) {
        let index = usize::try_from(self.next_id % self.hopeless.len() as u64).unwrap();
        let needs = self.hopeless[index].clone();
        self.create_with(needs);
        if let Some(oldest) = self.live.pop_front() {
            self.end(oldest);
        }
    }

    fn create(&mut self) {
        let index = usize::try_from(next(&mut self.random) % self.needs.len() as u64).unwrap();
        let needs = self.needs[index].clone();
        self.create_with(needs);
    }

    fn create_with(&mut self, requirements: Vec<SkillRequirement>) {
        self.next_id += 1;
        let id = InteractionId::from_parts(self.next_id, &random_bytes(&mut self.random));
        self.live.push_back(id);
        let done = self.command(&Command::CreateInteraction(NewInteraction {
            id,
            media: Media::Task,
            delivery: Delivery::Direct,
            queue: None,
            requirements,
            priority: None,
            caller: None,
            called: None,
            node: None,
            attributes: BTreeMap::new(),
            arrived_at_ms: None,
        }));
        assert!(matches!(done, Done::Created { .. }));
    }

    fn end(&mut self, interaction: InteractionId) {
        self.command(&Command::EndInteraction { interaction, reason: EndReason::Completed, at_ms: None });
    }

    fn command(&mut self, command: &Command) -> Done {
        self.commands += 1;
        let done = self.router.command(TimestampMs(self.commands / COMMANDS_PER_MS), command).unwrap();
        if self.commands.is_multiple_of(BATCH) {
            self.router.drain_events(&mut self.events);
            self.router.drain_changes(&mut self.changes);
            divan::black_box((&self.events, &self.changes));
            self.events.clear();
            self.changes.clear();
        }
        done
    }
}

#[derive(Clone)]
struct Records {
    config: CompiledConfig,
    agents: Vec<AgentRecord>,
    interactions: Vec<InteractionRecord>,
}

impl Records {
    /// Everybody talks, so that the rest of the interactions waits.
    fn new(agents: u64, waiting: u64) -> Self {
        let mut centre = Centre::new(agents, 1);
        while u64::from(centre.router.counts().waiting) < waiting {
            centre.create();
        }
        let mut random = 88_172_645_463_325_252;
        let config = config(agents, &mut random);
        let agents = centre.router.agents().cloned().collect();
        Self { config, agents, interactions: centre.router.interactions().cloned().collect() }
    }

    fn restore(self) -> Router {
        let record = RouterRecord { open: true, config_version: 1, ..RouterRecord::default() };
        let ids = OfferIds::new(self.config.meta.tenant, 2);
        Router::restore(ids, &self.config, self.agents, self.interactions, &record)
    }
}

fn config(agents: u64, random: &mut u64) -> CompiledConfig {
    let agents = (0..agents).map(|_| agent(random)).map(|agent| (agent.id, agent)).collect();
    CompiledConfig {
        meta: ConfigMeta {
            tenant: TenantId::from_parts(1, &[1; 10]),
            name: "Bench".parse().unwrap(),
            realm: "bench.invalid".to_owned(),
            version: 1,
            compiled_at_ms: TimestampMs(0),
            counts: BTreeMap::new(),
        },
        skills: (0..=SKILLS).map(skill).collect(),
        agents,
        queues: BTreeMap::new(),
        routes: BTreeMap::new(),
        trunks: BTreeMap::new(),
        credentials: BTreeMap::new(),
    }
}

fn agent(random: &mut u64) -> AgentConfig {
    let mut skills = BTreeMap::new();
    while skills.len() < SKILLS_PER_AGENT {
        skills.insert(skill(next(random) % SKILLS), level(1 + next(random) % 10));
    }
    let id = AgentId::from_parts(0, &random_bytes(random));
    AgentConfig { id, name: "Agent".parse().unwrap(), skills, sip_user: None }
}

/// Every set of 1 to 3 skills, each `levels` times at random minimum levels of 1 to `levels`.
fn all_needs(levels: u64, random: &mut u64) -> Vec<Vec<SkillRequirement>> {
    let mut sets: Vec<Vec<u64>> = Vec::new();
    for one in 0..SKILLS {
        sets.push(vec![one]);
        for two in 0..one {
            sets.push(vec![two, one]);
            sets.extend((0..two).map(|three| vec![three, two, one]));
        }
    }
    let graded = |skills: &Vec<u64>| skills.iter().map(|skill| need(*skill, 1 + next(random) % levels)).collect();
    sets.iter().cycle().take(sets.len() * usize::try_from(levels).unwrap()).map(graded).collect()
}

fn able(agent: &AgentConfig, needs: &[SkillRequirement]) -> bool {
    needs.iter().all(|need| agent.skills.get(&need.skill).is_some_and(|level| *level >= need.min_level))
}

fn need(number: u64, min_level: u64) -> SkillRequirement {
    SkillRequirement { skill: skill(number), min_level: level(min_level) }
}

fn skill(number: u64) -> SkillName {
    format!("skill-{number}").parse().unwrap()
}

fn level(value: u64) -> SkillLevel {
    SkillLevel::try_from(u8::try_from(value).unwrap()).unwrap()
}

fn random_bytes(random: &mut u64) -> [u8; 10] {
    let mut bytes = [0; 10];
    bytes[2..].copy_from_slice(&next(random).to_be_bytes());
    bytes
}

fn next(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

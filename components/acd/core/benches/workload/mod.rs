//! The work of the routing core's benchmarks: 20 skills, 5 per agent at random levels, interactions that need 1 to 3 skills
//! somebody has; events and changes are drained as the shell does. The suite `bench-acd` compiles this file too.
#![expect(clippy::unwrap_used, reason = "a benchmark may stop at a surprise")]

use std::collections::{BTreeMap, VecDeque};

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

/// A router with its agents ready and something to do.
pub(crate) struct Centre {
    router: Router,
    random: u64,
    commands: u64,
    next_id: u64,
    assigned: u64,
    live: VecDeque<InteractionId>,
    /// What interactions need: all sets of 1 to 3 skills that some agent has, at `levels` levels.
    needs: Vec<Vec<SkillRequirement>>,
    hopeless: Vec<Vec<SkillRequirement>>,
    events: Vec<(TimestampMs, JournalEvent)>,
    changes: Changes,
}

impl Centre {
    pub(crate) fn new(agents: u64, levels: u64) -> Self {
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
        Self { router, random, commands: 10_000, next_id: 0, assigned: 0, live, needs, hopeless, events, changes }
    }

    pub(crate) fn fill(&mut self, live: u64) {
        (0..live).for_each(|_| self.create());
    }

    pub(crate) fn assign_release(&mut self) {
        self.create();
        if let Some(oldest) = self.live.pop_front() {
            self.end(oldest);
        }
    }

    pub(crate) fn no_match(&mut self) {
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

    /// How many of the interactions so far got an agent at once, in percent.
    pub(crate) fn assigned_percent(&self) -> f64 {
        self.assigned as f64 * 100.0 / self.next_id as f64
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
        let Done::Created { offered, .. } = done else { panic!("not created: {done:?}") };
        self.assigned += u64::from(offered.is_some());
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
            std::hint::black_box((&self.events, &self.changes));
            self.events.clear();
            self.changes.clear();
        }
        done
    }
}

#[derive(Clone)]
pub(crate) struct Records {
    config: CompiledConfig,
    agents: Vec<AgentRecord>,
    interactions: Vec<InteractionRecord>,
}

impl Records {
    /// Everybody talks, so that the rest of the interactions waits.
    pub(crate) fn new(agents: u64, waiting: u64) -> Self {
        let mut centre = Centre::new(agents, 1);
        while u64::from(centre.router.counts().waiting) < waiting {
            centre.create();
        }
        let mut random = 88_172_645_463_325_252;
        let config = config(agents, &mut random);
        let agents = centre.router.agents().cloned().collect();
        Self { config, agents, interactions: centre.router.interactions().cloned().collect() }
    }

    pub(crate) fn restore(self) -> Router {
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
            outbound: Vec::new(),
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

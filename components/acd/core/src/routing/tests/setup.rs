//! Builders and a seeded source of choices.

use std::collections::{BTreeMap, BTreeSet};

use ringdown_domain::{
    AgentId, Delivery, InteractionId, Media, OfferId, QueueId, SkillLevel, SkillName, SkillRequirement, TenantId,
    TimestampMs,
};
use ringdown_events::{
    AgentConfig, Command, CompiledConfig, ConfigMeta, Done, JournalEvent, NewInteraction, QueueConfig, QueueRules,
    Refusal,
};

use crate::routing::{Changes, OfferIds, Router};

/// xorshift64*: good enough to choose inputs, and the same everywhere.
pub(super) struct Choices(u64);

impl Choices {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub(super) fn below(&mut self, limit: u64) -> u64 {
        (self.next() >> 32) % limit
    }

    pub(super) fn one_in(&mut self, of: u64) -> bool {
        self.below(of) == 0
    }

    pub(super) fn pick<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[usize::try_from(self.below(list.len() as u64)).unwrap()]
    }
}

pub(super) fn bytes(number: u64) -> [u8; 10] {
    let mut bytes = [0; 10];
    bytes[3..].copy_from_slice(&number.to_be_bytes()[1..]);
    bytes
}

pub(super) fn agent_id(number: u64) -> AgentId {
    AgentId::from_parts(0, &bytes(number))
}

pub(super) fn interaction_id(number: u64) -> InteractionId {
    InteractionId::from_parts(0, &bytes(number))
}

pub(super) fn queue_id(number: u64) -> QueueId {
    QueueId::from_parts(0, &bytes(number))
}

pub(super) fn tenant() -> TenantId {
    TenantId::from_parts(1, &bytes(77))
}

pub(super) fn skill(number: u64) -> SkillName {
    format!("s{number}").parse().unwrap()
}

pub(super) fn level(value: u64) -> SkillLevel {
    SkillLevel::try_from(u8::try_from(value).unwrap()).unwrap()
}

pub(super) fn need(number: u64, min_level: u64) -> SkillRequirement {
    SkillRequirement { skill: skill(number), min_level: level(min_level) }
}

pub(super) fn config(version: u64, skills: u64) -> CompiledConfig {
    CompiledConfig {
        meta: ConfigMeta {
            tenant: tenant(),
            name: "Test".parse().unwrap(),
            realm: "test.invalid".to_owned(),
            outbound: Vec::new(),
            version,
            compiled_at_ms: TimestampMs(0),
            counts: BTreeMap::new(),
        },
        skills: (0..skills).map(skill).collect::<BTreeSet<_>>(),
        agents: BTreeMap::new(),
        queues: BTreeMap::new(),
        routes: BTreeMap::new(),
        trunks: BTreeMap::new(),
        credentials: BTreeMap::new(),
    }
}

pub(super) fn add_agent(config: &mut CompiledConfig, number: u64, skills: &[(u64, u64)]) {
    let id = agent_id(number);
    let skills = skills.iter().map(|(name, graded)| (skill(*name), level(*graded))).collect();
    config
        .agents
        .insert(id, AgentConfig { id, name: format!("Agent {number}").parse().unwrap(), skills, sip_user: None });
}

pub(super) fn add_queue(config: &mut CompiledConfig, number: u64, rules: QueueRules) {
    let id = queue_id(number);
    config.queues.insert(id, QueueConfig { id, name: format!("Queue {number}").parse().unwrap(), rules });
}

pub(super) fn new_interaction(number: u64, requirements: Vec<SkillRequirement>) -> NewInteraction {
    NewInteraction {
        id: interaction_id(number),
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
    }
}

/// A router with its drained output, for tests that read like a story.
pub(super) struct Stage {
    pub(super) router: Router,
    pub(super) now: TimestampMs,
    pub(super) events: Vec<(TimestampMs, JournalEvent)>,
    pub(super) changes: Changes,
}

impl Stage {
    /// The configuration taken at 1,000,000 ms, every agent ready from 1,000,001 ms on in the order of ids, 1 ms apart.
    pub(super) fn open(config: &CompiledConfig) -> Self {
        let mut stage = Self {
            router: Router::new(OfferIds::new(tenant(), 1)),
            now: TimestampMs(1_000_000),
            events: Vec::new(),
            changes: Changes::default(),
        };
        stage.router.apply_config(stage.now, config);
        for agent in config.agents.keys() {
            stage.pass(1);
            let status = ringdown_domain::AgentStatus::Ready;
            stage.run(&Command::SetAgentStatus { agent: *agent, status }).unwrap();
        }
        stage.pass(1);
        stage.events.clear();
        stage.changes.clear();
        stage
    }

    pub(super) fn run(&mut self, command: &Command) -> Result<Done, Refusal> {
        let result = self.router.command(self.now, command);
        self.drain();
        result
    }

    pub(super) fn create(&mut self, new: NewInteraction) -> Option<(AgentId, OfferId)> {
        match self.run(&Command::CreateInteraction(new)).unwrap() {
            Done::Created { offered, .. } => offered,
            other => panic!("{other:?}"),
        }
    }

    /// Lets time pass and everything fall due that does.
    pub(super) fn pass(&mut self, milliseconds: u64) {
        self.now = self.now.plus_ms(milliseconds);
        self.router.tick(self.now);
        self.drain();
    }

    pub(super) fn drain(&mut self) {
        self.router.drain_events(&mut self.events);
        self.router.drain_changes(&mut self.changes);
    }
}

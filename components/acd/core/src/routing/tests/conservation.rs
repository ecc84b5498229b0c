//! What holds after every step: each interaction in exactly one place, indexes that say what records say, a store that would
//! be what the router is.

use std::collections::{BTreeMap, BTreeSet};

use ringdown_domain::{
    AgentId, AgentState, AgentStatus, InteractionId, InteractionState, PartyRole, SkillName, TimestampMs,
};
use ringdown_events::{AgentRecord, InteractionRecord};

use crate::routing::timers::Timer;
use crate::routing::{Changes, Router};

/// The stored state as the shell would write it from the changes alone.
#[derive(Default)]
pub(super) struct Store {
    pub(super) agents: BTreeMap<AgentId, AgentRecord>,
    pub(super) live: BTreeMap<InteractionId, InteractionRecord>,
    available: BTreeMap<SkillName, BTreeMap<AgentId, TimestampMs>>,
    queue: BTreeMap<InteractionId, TimestampMs>,
}

impl Store {
    pub(super) fn write(&mut self, router: &Router, changes: &Changes) {
        for id in &changes.agents_removed {
            self.agents.remove(id);
        }
        for id in &changes.agents {
            self.agents.insert(*id, router.agent(*id).unwrap().clone());
        }
        for id in &changes.interactions {
            self.live.insert(*id, router.interaction(*id).unwrap().clone());
        }
        for record in &changes.ended {
            self.live.remove(&record.id);
        }
        for change in &changes.available {
            for skill in change.left.iter().flat_map(|skills| skills.iter()) {
                assert!(self.available.get_mut(skill).and_then(|set| set.remove(&change.agent)).is_some());
            }
            if let Some((skills, since)) = &change.appeared {
                for skill in skills.iter() {
                    self.available.entry(skill.clone()).or_default().insert(change.agent, *since);
                }
            }
        }
        for change in &changes.queue {
            match change.rank_ms {
                Some(rank) => assert_ne!(self.queue.insert(change.interaction, rank), Some(rank)),
                None => assert!(self.queue.remove(&change.interaction).is_some()),
            }
        }
    }

    /// The store must say exactly what the router says.
    pub(super) fn check(&self, router: &Router) {
        assert!(self.agents.values().eq(sorted_agents(router).values().copied()), "agents in the store");
        assert!(self.live.values().eq(sorted_live(router).values().copied()), "interactions in the store");
        let mut available: BTreeMap<SkillName, BTreeMap<AgentId, TimestampMs>> = BTreeMap::new();
        for agent in router.agents() {
            for skill in agent.available_since_ms.iter().flat_map(|_| agent.skills.keys()) {
                let since = agent.available_since_ms.unwrap();
                available.entry(skill.clone()).or_default().insert(agent.id, since);
            }
        }
        let stored = self.available.iter().filter(|(_, set)| !set.is_empty());
        assert!(stored.eq(available.iter()), "index of available agents in the store");
        let waiting = router.interactions().filter(|i| i.state == InteractionState::Waiting);
        let queue: BTreeMap<_, _> = waiting.map(|i| (i.id, i.rank_ms)).collect();
        assert_eq!(self.queue, queue, "universal queue in the store");
    }
}

pub(super) fn sorted_agents(router: &Router) -> BTreeMap<AgentId, &AgentRecord> {
    router.agents().map(|agent| (agent.id, agent)).collect()
}

pub(super) fn sorted_live(router: &Router) -> BTreeMap<InteractionId, &InteractionRecord> {
    router.interactions().map(|interaction| (interaction.id, interaction)).collect()
}

/// Every live interaction is in exactly one place, every index is what the records say.
pub(super) fn check(router: &Router) {
    let mut timers = BTreeSet::new();
    let mut pauses = BTreeSet::new();
    let mut counts = (0, 0);
    let (places, bucket_entries) = router.waiting.all();
    for (slot, interaction) in router.interactions.iter() {
        let record = &interaction.record;
        let waits = places.iter().filter(|(place, _)| place.id == record.id).collect::<Vec<_>>();
        let holders = router.agents().filter(|agent| held(&agent.state) == Some(record.id)).count();
        match &record.state {
            InteractionState::Waiting => {
                assert_eq!(waits, [&(interaction.place(slot), interaction.set)], "{record:?} waits once, in its set");
                assert_eq!(holders, 0, "{record:?} waits, so nobody has it");
                timers.extend(record.wait_limit_at_ms.map(|at| (at, Timer::Wait(record.id))));
            }
            InteractionState::Offered { agent, offer, deadline_ms } => {
                assert_eq!((waits.len(), holders), (0, 1), "{record:?} is with one agent only");
                match router.agent(*agent).unwrap().state {
                    AgentState::Reserved { offer: open, interaction, deadline_ms: until }
                    | AgentState::Ringing { offer: open, interaction, deadline_ms: until } => {
                        assert_eq!((open, interaction, until), (*offer, record.id, *deadline_ms));
                    }
                    ref other => panic!("{record:?} is offered, its agent is {other:?}"),
                }
                timers.insert((*deadline_ms, Timer::Offer(record.id)));
                counts.0 += 1;
            }
            InteractionState::Connected { agent, .. } => {
                assert_eq!((waits.len(), holders), (0, 1), "{record:?} is with one agent only");
                assert!(
                    matches!(router.agent(*agent).unwrap().state, AgentState::Talking { interaction, .. } if interaction == record.id)
                );
                counts.1 += 1;
            }
            InteractionState::External { deadline_ms, .. } => {
                assert_eq!((waits.len(), holders), (0, 0), "{record:?} is with a number only");
                timers.extend(deadline_ms.map(|at| (at, Timer::Offer(record.id))));
            }
            InteractionState::Ended { .. } => panic!("{record:?} has ended and is still here"),
        }
    }
    check_families(router);
    let mut in_line = 0;
    for (slot, agent) in router.agents.iter() {
        let record = &agent.record;
        let is_idle = record.status == AgentStatus::Ready && record.state == AgentState::Idle;
        assert!(!is_idle || record.place_since_ms.is_none(), "{record:?} keeps the place");
        assert_eq!(record.available_since_ms.is_some(), is_idle, "{record:?}");
        assert!(
            held(&record.state).is_none_or(|id| router.interaction(id).is_some()),
            "{record:?} has what is not there"
        );
        let clock = record.available_since_ms.or(record.place_since_ms);
        let pauses_now = clock.is_some_and(|since| since > router.clock.now);
        if pauses_now {
            pauses.insert((clock.unwrap(), record.id));
        }
        assert_eq!(router.line.is_available(slot), is_idle && !pauses_now, "{record:?} in the line");
        assert_eq!(router.line.has_seat(slot), clock.is_some() && !pauses_now, "{record:?} has a seat");
        in_line += u32::from(is_idle && !pauses_now);
        if let AgentState::WrappingUp { until_ms, .. } = record.state {
            timers.insert((until_ms, Timer::WrapUp(record.id)));
        }
        if is_idle && !pauses_now {
            let waiting = router.interactions().find(|i| i.state == InteractionState::Waiting && fits(record, i));
            assert_eq!(waiting, None, "{record:?} is free and this waits");
        }
    }
    let (due, paused) = (router.timers.all_due(), router.timers.all_pauses());
    assert!(due.iter().eq(timers.iter()), "timers {due:?}, records say {timers:?}");
    assert!(paused.iter().eq(pauses.iter()), "pauses {paused:?}, records say {pauses:?}");
    let figures = router.counts();
    let waiting = u32::try_from(places.len()).unwrap();
    assert_eq!((figures.offered, figures.connected, figures.waiting), (counts.0, counts.1, waiting));
    assert_eq!((figures.agents_available, figures.repairs), (in_line, 0));
    assert_eq!(router.waiting.users(), u32::try_from(router.interactions().count()).unwrap(), "users of sets");
    let sets: BTreeSet<_> = places.iter().map(|(_, set)| *set).collect();
    assert_eq!(sets.len(), bucket_entries, "one bucket entry per set in which somebody waits");
    for (id, queue) in &router.queues {
        let waiting = router.interactions().filter(|i| i.queue == Some(*id) && i.state == InteractionState::Waiting);
        assert_eq!(queue.waiting as usize, waiting.count(), "waiting in {id}");
    }
}

/// Parents and children name each other, only who has somebody has children, and what is derived is up to date.
fn check_families(router: &Router) {
    for record in router.interactions() {
        let live: Vec<&InteractionRecord> =
            record.children.iter().map(|child| router.interaction(*child).expect("children live")).collect();
        assert!(live.iter().all(|child| child.parent == Some(record.id) && child.children.is_empty()), "{record:?}");
        assert!(live.iter().map(|child| child.id).eq(record.parties.iter().map(|party| party.interaction)));
        let is_with_somebody =
            matches!(record.state, InteractionState::Connected { .. } | InteractionState::External { .. });
        assert!(live.is_empty() || is_with_somebody, "{record:?} has children and nobody has it");
        let consults = live.iter().filter(|child| child.role == Some(PartyRole::Consult)).count();
        assert!(consults <= 1, "{record:?} has several open consultations");
        if let Some(parent) = record.parent {
            let parent = router.interaction(parent).expect("parents live");
            assert!(parent.parent.is_none() && parent.children.contains(&record.id), "{record:?}");
        }
        if record.target.is_some() {
            assert!(matches!(record.state, InteractionState::Offered { .. }), "{record:?} waits for one agent");
        }
    }
    for (slot, agent) in router.agents.iter() {
        assert_eq!(agent.record.engagements, router.engagements(slot), "{:?}", agent.record);
    }
    assert!(router.families.is_empty());
}

fn held(state: &AgentState) -> Option<InteractionId> {
    match state {
        AgentState::Idle | AgentState::WrappingUp { .. } => None,
        AgentState::Reserved { interaction, .. }
        | AgentState::Ringing { interaction, .. }
        | AgentState::Talking { interaction, .. } => Some(*interaction),
    }
}

fn fits(agent: &AgentRecord, interaction: &InteractionRecord) -> bool {
    let calls_nobody = crate::conversation::is_voice(interaction) && agent.reachable == Some(false);
    !calls_nobody
        && interaction
            .requirements
            .iter()
            .all(|r| agent.skills.get(&r.skill).is_some_and(|level| *level >= r.min_level))
}

//! A new configuration is taken whole. What it does to agents and interactions is found by comparing it with their
//! records, so taking the same one again does nothing, and a restored router may take a newer one than its records knew.

use ringdown_domain::{AgentId, AgentState, AgentStatus, EndReason, OfferFailure, TimestampMs};
use ringdown_events::{AgentConfig, AgentRecord, CompiledConfig, Done, JournalEvent, Trigger};

use super::Router;
use super::directed::has_place;
use super::slots::Agent;
use super::timers::Timer;
use super::waiting::QueuePlace;

impl Router {
    /// Takes a configuration at `now`.
    ///
    /// New agents are logged out. Skills of known ones change in the index, their clocks stay. An agent who is gone loses an
    /// open offer, as unreachable, and goes; who talks goes after the interaction. Rules of queues hold for interactions that
    /// arrive afterwards (what becomes of an agent who does not answer: for offers that fail afterwards). A skill that is
    /// gone is gone from agents and from what waiting interactions need.
    pub fn apply_config(&mut self, now: TimestampMs, config: &CompiledConfig) -> Done {
        self.advance(now);
        let events = self.events.len();
        self.skills.set_known(&config.skills);
        self.set_queues(config);
        if self.config_version != config.meta.version {
            self.config_version = config.meta.version;
            self.emit(JournalEvent::ConfigApplied { version: config.meta.version });
        }
        let leaving = self.retire_agents(config);
        let changed = self.change_agents(config);
        let returned = self.take_back_offers(&leaving);
        let eased = self.ease_needs();
        self.rematch(&changed, returned, eased);
        self.settle_families();
        if self.events.len() == events { Done::Unchanged } else { Done::Changed }
    }

    /// Takes over the rules of queues; a queue that is gone stays as long as interactions of it wait.
    pub(super) fn set_queues(&mut self, config: &CompiledConfig) {
        for queue in self.queues.values_mut() {
            queue.rules = None;
        }
        for (id, queue) in &config.queues {
            self.queues.entry(*id).or_default().rules = Some(queue.rules.clone());
        }
        self.queues.retain(|_, queue| queue.rules.is_some() || queue.waiting > 0);
    }

    /// Removes the agents who are gone; gives those who must give back an offer first.
    fn retire_agents(&mut self, config: &CompiledConfig) -> Vec<AgentId> {
        let mut leaving = Vec::new();
        for (id, slot) in self.agents_by_id() {
            if config.agents.contains_key(&id) {
                continue;
            }
            match self.agents[slot].record.state {
                AgentState::Talking { .. } => self.agents[slot].removed = true,
                AgentState::Reserved { .. } | AgentState::Ringing { .. } => {
                    self.agents[slot].removed = true;
                    leaving.push(id);
                }
                AgentState::WrappingUp { until_ms, .. } => {
                    self.timers.clear(until_ms, Timer::WrapUp(id));
                    self.remove_agent(slot);
                }
                AgentState::Idle => {
                    self.step_out(slot);
                    self.remove_agent(slot);
                }
            }
        }
        leaving
    }

    /// Adds and changes agents; gives those in the line whose skills are others than before.
    fn change_agents(&mut self, config: &CompiledConfig) -> Vec<u32> {
        let mut changed = Vec::new();
        for (id, agent) in &config.agents {
            let Some(slot) = self.agents.find(*id) else {
                self.add_agent(agent);
                continue;
            };
            self.agents[slot].removed = false;
            if self.change_agent(slot, agent) && self.line.is_available(slot) {
                changed.push(slot);
            }
        }
        changed
    }

    fn add_agent(&mut self, agent: &AgentConfig) {
        let now = self.now();
        let record = AgentRecord {
            id: agent.id,
            name: agent.name.clone(),
            skills: self.known_skills(agent),
            status: AgentStatus::LoggedOut,
            status_since_ms: now,
            state: AgentState::Idle,
            state_since_ms: now,
            available_since_ms: None,
            place_since_ms: None,
            refusals: None,
            reachable: None,
            engagements: Vec::new(),
        };
        let profile = self.skills.profile(&record.skills, true);
        let slot = self.agents.insert(agent.id, Agent::new(record));
        self.line.set_profile(slot, profile);
        self.agent_changed(slot);
    }

    /// Changes an agent's name and skills; true when the skills are others than before.
    fn change_agent(&mut self, slot: u32, agent: &AgentConfig) -> bool {
        let skills = self.known_skills(agent);
        let entry = &mut self.agents[slot];
        let skills_change = entry.record.skills != skills;
        if !skills_change && entry.record.name == agent.name {
            return false;
        }
        entry.record.name = agent.name.clone();
        if skills_change {
            entry.skill_names = skills.keys().cloned().collect();
            let has_phone = !super::phones::is_unreachable(&entry.record);
            self.line.set_profile(slot, self.skills.profile(&skills, has_phone));
            entry.record.skills = skills;
        }
        self.agent_changed(slot);
        skills_change
    }

    fn known_skills(
        &self,
        agent: &AgentConfig,
    ) -> std::collections::BTreeMap<ringdown_domain::SkillName, ringdown_domain::SkillLevel> {
        let known = agent.skills.iter().filter(|(name, _)| self.skills.is_known(name));
        known.map(|(name, level)| (name.clone(), *level)).collect()
    }

    /// Withdraws the offers of agents who are gone, and removes these; gives the interactions, which wait again.
    fn take_back_offers(&mut self, leaving: &[AgentId]) -> Vec<QueuePlace> {
        let mut returned = Vec::new();
        for agent in leaving {
            // Gone already with another one's offer: they were in one conversation.
            let Some(agent) = self.agents.find(*agent) else { continue };
            let (AgentState::Reserved { interaction, .. } | AgentState::Ringing { interaction, .. }) =
                self.agents[agent].record.state
            else {
                continue;
            };
            self.step_out_of_offer(agent);
            if let Some(interaction) = self.interactions.find(interaction) {
                self.close_offer(interaction, Some(OfferFailure::Unreachable), None);
                self.interactions[interaction].record.target = None;
                if has_place(&self.interactions[interaction].record) {
                    self.set_waiting(interaction);
                    self.enqueue(interaction);
                    returned.push(self.interactions[interaction].place(interaction));
                } else {
                    self.finish(interaction, EndReason::Unreachable, None, None);
                }
            }
            self.remove_agent(agent);
        }
        returned
    }

    /// Gives up the place that an agent with an open offer has in the line.
    fn step_out_of_offer(&mut self, agent: u32) {
        let record = &mut self.agents[agent].record;
        if let Some(since) = record.place_since_ms.take() {
            self.timers.clear_pause(since, record.id);
        }
        self.line.leave(agent);
    }

    /// Takes skills that are gone out of what waiting interactions need; gives those it helped.
    fn ease_needs(&mut self) -> Vec<QueuePlace> {
        let known =
            |needs: &super::skills::Grades| needs.list().iter().any(|need| !self.skills.is_known_number(need.skill));
        let places = self.waiting.places_where(known);
        for place in &places {
            self.dequeue(place.interaction);
            self.set_waiting(place.interaction);
            self.enqueue(place.interaction);
        }
        places
    }

    /// Makes the matches that became possible: agents with other skills first, longest available first, then the
    /// interactions that came back or need less.
    fn rematch(&mut self, changed: &[u32], returned: Vec<QueuePlace>, eased: Vec<QueuePlace>) {
        let clock = |slot: &u32| (self.agents[*slot].record.available_since_ms, self.agents[*slot].record.id, *slot);
        let mut agents: Vec<(Option<TimestampMs>, AgentId, u32)> = changed.iter().map(clock).collect();
        agents.sort_unstable();
        for (since, _, agent) in agents {
            if let Some(since) = since {
                self.line.hide(agent);
                self.seek_interaction(agent, since, Trigger::ConfigChanged);
            }
        }
        let mut places: Vec<(QueuePlace, Trigger)> =
            returned.into_iter().map(|place| (place, Trigger::OfferFailed)).collect();
        places.extend(eased.into_iter().map(|place| (place, Trigger::ConfigChanged)));
        places.sort_unstable_by_key(|(place, _)| *place);
        for (place, trigger) in places {
            // It may have ended with another that an agent's removal ended.
            if !self.interactions.is_filled(place.interaction) || !self.interactions[place.interaction].waits() {
                continue;
            }
            self.dequeue(place.interaction);
            if self.seek_agent(place.interaction, trigger).is_none() {
                self.enqueue(place.interaction);
            }
        }
    }
}

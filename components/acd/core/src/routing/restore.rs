//! A router from the records another one wrote.
//!
//! Records are committed together, so they agree. Should they not (somebody edited the store), what disagrees is put
//! right and counted, never trusted: an agent without the interaction the record names is free, an interaction without its
//! agent waits again or, if they talked, has failed.

use ringdown_domain::{AgentState, AgentStatus, EndReason, InteractionId, InteractionState, TimestampMs};
use ringdown_events::{AgentRecord, CompiledConfig, InteractionRecord, RouterRecord};

use super::directed::has_place;
use super::phones;
use super::slots::{Agent, Interaction};
use super::timers::Timer;
use super::{OfferIds, Router};
use crate::conversation::is_voice;

impl Router {
    /// A router that goes on where the one that wrote the records stopped. `offer_ids` must be of a new epoch.
    ///
    /// `config` may be newer than the one the records were written under. Call [`Router::apply_config`] with it at once: that
    /// does nothing when it is not, and all that follows from it when it is. Then feed the commands after the committed
    /// position, then [`Router::tick`]. Interactions that ended are told by [`Router::remember_ended`].
    #[must_use]
    pub fn restore(
        offer_ids: OfferIds,
        config: &CompiledConfig,
        agents: Vec<AgentRecord>,
        interactions: Vec<InteractionRecord>,
        router: &RouterRecord,
    ) -> Self {
        let mut restored = Self::new(offer_ids);
        restored.open = router.open;
        restored.config_version = router.config_version;
        restored.skills.set_known(&config.skills);
        restored.set_queues(config);
        restored.clock.now = latest_time(&agents, &interactions);
        restored.load_agents(agents, config);
        restored.load_interactions(interactions);
        let agents_adrift = restored.seat_agents();
        let interactions_adrift = restored.index_interactions();
        restored.put_right(&agents_adrift, &interactions_adrift);
        restored.join_families();
        restored
    }

    /// Interactions that ended under a predecessor, oldest first: they are answered for as ended, and never created again.
    pub fn remember_ended(&mut self, ids: impl IntoIterator<Item = InteractionId>) {
        for id in ids {
            self.ended.insert(id);
        }
    }

    fn load_agents(&mut self, agents: Vec<AgentRecord>, config: &CompiledConfig) {
        for record in agents {
            if self.agents.find(record.id).is_some() {
                self.repairs += 1;
                continue;
            }
            let profile = self.skills.profile(&record.skills, !phones::is_unreachable(&record));
            let mut agent = Agent::new(record);
            let talks = matches!(agent.record.state, AgentState::Talking { .. });
            agent.removed = talks && !config.agents.contains_key(&agent.record.id);
            agent.shown = agent.record.available_since_ms.map(|since| (agent.skill_names.clone(), since));
            let slot = self.agents.insert(agent.record.id, agent);
            self.line.set_profile(slot, profile);
        }
    }

    fn load_interactions(&mut self, interactions: Vec<InteractionRecord>) {
        for record in interactions {
            let id = record.id;
            if let InteractionState::Ended { .. } = record.state {
                self.ended.insert(id);
                self.recent.insert(&record);
            } else if self.interactions.find(id).is_some() {
                self.repairs += 1;
            } else {
                let needs = self.skills.needs(&record.requirements, is_voice(&record));
                let set = self.waiting.use_set(needs, &mut self.line);
                let mut interaction = Interaction { record, set, dirty: false, shown: None };
                interaction.shown = interaction.waits().then_some(interaction.record.rank_ms);
                self.interactions.insert(id, interaction);
            }
        }
    }

    /// Gives the agents their places in the line, their pauses and wrap-up times. Gives those whose records are wrong.
    fn seat_agents(&mut self) -> Vec<u32> {
        let seat = |record: &AgentRecord| record.available_since_ms.or(record.place_since_ms);
        let mut slots: Vec<_> =
            self.agents.iter().map(|(slot, agent)| (seat(&agent.record), agent.record.id, slot)).collect();
        slots.sort_unstable();
        let mut adrift = Vec::new();
        for (since, id, slot) in slots {
            if !self.agent_agrees(&self.agents[slot].record) {
                adrift.push(slot);
                continue;
            }
            let record = &self.agents[slot].record;
            if let AgentState::WrappingUp { until_ms, .. } = record.state {
                self.timers.set(until_ms, Timer::WrapUp(id));
            }
            let Some(since) = since else { continue };
            if since > self.clock.now {
                self.timers.set_pause(since, id);
                continue;
            }
            self.line.hold(slot, id, since);
            if record.available_since_ms.is_some() {
                self.line.show(slot);
            }
        }
        adrift
    }

    /// Puts the interactions into the indexes. Gives those whose records are wrong.
    fn index_interactions(&mut self) -> Vec<u32> {
        let mut slots: Vec<_> = self.interactions.iter().map(|(slot, entry)| (entry.record.id, slot)).collect();
        slots.sort_unstable();
        let mut adrift = Vec::new();
        for (id, slot) in slots {
            if !self.interaction_agrees(&self.interactions[slot].record) {
                adrift.push(slot);
                continue;
            }
            match self.interactions[slot].record.state {
                InteractionState::Waiting => self.enqueue(slot),
                InteractionState::Offered { deadline_ms, .. } => {
                    self.offered += 1;
                    self.timers.set(deadline_ms, Timer::Offer(id));
                }
                InteractionState::Connected { .. } => self.connected += 1,
                InteractionState::External { deadline_ms, .. } => {
                    if let Some(deadline_ms) = deadline_ms {
                        self.timers.set(deadline_ms, Timer::Offer(id));
                    }
                }
                InteractionState::Ended { .. } => {}
            }
        }
        adrift
    }

    /// Children whose parents are gone or do not know them end; parents forget children that are gone.
    fn join_families(&mut self) {
        let mut ids: Vec<InteractionId> = self.interactions.iter().map(|(_, entry)| entry.record.id).collect();
        ids.sort_unstable();
        for id in ids {
            let Some(slot) = self.interactions.find(id) else { continue };
            let is_known = |child: &InteractionId| {
                let child = self.interactions.find(*child).map(|child| &self.interactions[child].record);
                child.is_some_and(|child| child.parent == Some(id))
            };
            let record = &self.interactions[slot].record;
            let children: Vec<InteractionId> = record.children.iter().copied().filter(is_known).collect();
            let parent = record.parent.map(|parent| self.interactions.find(parent));
            let is_orphan = parent.is_some_and(|parent| {
                parent.is_none_or(|parent| !self.interactions[parent].record.children.contains(&id))
            });
            if children.len() != record.children.len() {
                self.repairs += 1;
                self.interactions[slot].record.children = children;
                self.touch_interaction(slot);
            }
            if is_orphan {
                self.repairs += 1;
                self.end(slot, EndReason::Failed, None);
            }
        }
        self.settle_families();
    }

    /// Interactions first: an agent they name may be adrift too and must not be freed twice.
    fn put_right(&mut self, agents: &[u32], interactions: &[u32]) {
        for slot in interactions {
            self.repairs += 1;
            let record = &mut self.interactions[*slot].record;
            let talked = matches!(record.state, InteractionState::Connected { .. });
            let has_no_place = record.target.take().is_some() || !has_place(record);
            self.set_waiting(*slot);
            self.enqueue(*slot);
            if talked || has_no_place {
                self.end(*slot, EndReason::Failed, None);
            }
        }
        for slot in agents {
            self.repairs += 1;
            let now = self.now();
            let record = &mut self.agents[*slot].record;
            record.state = AgentState::Idle;
            record.state_since_ms = now;
            record.place_since_ms = None;
            self.settle_agent(*slot, now);
        }
        // Whoever waits again may match somebody who was in the line all along.
        for slot in interactions {
            if self.interactions.is_filled(*slot) && self.interactions[*slot].waits() {
                self.dequeue(*slot);
                if self.seek_agent(*slot, ringdown_events::Trigger::OfferFailed).is_none() {
                    self.enqueue(*slot);
                }
            }
        }
    }

    fn agent_agrees(&self, agent: &AgentRecord) -> bool {
        let ready = agent.status == AgentStatus::Ready;
        let available = agent.available_since_ms.is_some();
        match agent.state {
            AgentState::Idle => available == ready && agent.place_since_ms.is_none(),
            AgentState::WrappingUp { .. } => !available && agent.place_since_ms.is_none(),
            AgentState::Reserved { offer, interaction, .. } | AgentState::Ringing { offer, interaction, .. } => {
                let state = self.interactions.find(interaction).map(|slot| &self.interactions[slot].record.state);
                let agrees = |state: &InteractionState| matches!(state, InteractionState::Offered { agent: other, offer: open, .. } if *other == agent.id && *open == offer);
                let is_directed = self.interactions.find(interaction).is_some_and(|slot| self.is_directed(slot));
                let is_placed = agent.place_since_ms.is_some();
                let stands = if is_directed { ready || !is_placed } else { ready && is_placed };
                stands && !available && state.is_some_and(agrees)
            }
            AgentState::Talking { interaction, .. } => {
                let state = self.interactions.find(interaction).map(|slot| &self.interactions[slot].record.state);
                let agrees = |state: &InteractionState| matches!(state, InteractionState::Connected { agent: other, .. } if *other == agent.id);
                !available && agent.place_since_ms.is_none() && state.is_some_and(agrees)
            }
        }
    }

    fn interaction_agrees(&self, interaction: &InteractionRecord) -> bool {
        match interaction.state {
            InteractionState::Waiting | InteractionState::External { .. } | InteractionState::Ended { .. } => true,
            InteractionState::Offered { agent, .. } | InteractionState::Connected { agent, .. } => {
                let agent = self.agents.find(agent).map(|slot| &self.agents[slot].record);
                agent.is_some_and(|agent| holds(agent, interaction) && self.agent_agrees(agent))
            }
        }
    }
}

/// True when the agent's record names the interaction.
fn holds(agent: &AgentRecord, interaction: &InteractionRecord) -> bool {
    match agent.state {
        AgentState::Idle | AgentState::WrappingUp { .. } => false,
        AgentState::Reserved { interaction: held, .. }
        | AgentState::Ringing { interaction: held, .. }
        | AgentState::Talking { interaction: held, .. } => held == interaction.id,
    }
}

/// The latest time the records know to have passed.
fn latest_time(agents: &[AgentRecord], interactions: &[InteractionRecord]) -> TimestampMs {
    let of_agents = agents.iter().map(|agent| agent.status_since_ms.max(agent.state_since_ms));
    let of_interactions = interactions.iter().map(|interaction| match interaction.state {
        InteractionState::Waiting | InteractionState::Offered { .. } => interaction.arrived_at_ms,
        InteractionState::Connected { since_ms, .. } | InteractionState::External { since_ms, .. } => since_ms,
        InteractionState::Ended { at_ms, .. } => at_ms,
    });
    of_agents.chain(of_interactions).max().unwrap_or_default()
}

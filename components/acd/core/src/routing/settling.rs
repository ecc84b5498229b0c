//! The two searches, and what they have in common: an interaction that seeks an agent, an agent who seeks an interaction.
//!
//! After every input both sides are settled: nobody in the line could serve anybody who waits. So a search is needed only for
//! who is new to one of the two sides.

use ringdown_domain::{AgentId, AgentState, AgentStatus, Delivery, InteractionState, OfferId, TimestampMs};
use ringdown_events::{CandidateAgent, CandidateInteraction, Decision, JournalEvent, Trigger};

use super::Router;
use super::slots::Interaction;
use super::timers::Timer;

impl Router {
    /// Offers an interaction, which waits but is in no index, to the longest available agent with the skills. None: there
    /// is no such agent, and nothing changed.
    pub(super) fn seek_agent(&mut self, interaction: u32, trigger: Trigger) -> Option<(AgentId, OfferId)> {
        let mut hits = std::mem::take(&mut self.hits);
        self.line.longest_available(self.waiting.abilities(self.interactions[interaction].set), &mut hits);
        let winner = hits.first().copied();
        let candidate = |hit: &super::Hit| CandidateAgent { agent: hit.id, available_since_ms: hit.since };
        let agents: Vec<CandidateAgent> = hits.iter().map(candidate).collect();
        self.hits = hits;
        let winner = winner?;
        let decision = Decision {
            trigger,
            waited_ms: self.now().since_ms(self.interactions[interaction].record.arrived_at_ms),
            available_ms: self.now().since_ms(winner.since),
            agents_available: self.line.available(),
            interactions_waiting: self.waiting.len().saturating_add(1),
            agents,
            interactions: Vec::new(),
        };
        Some((winner.id, self.assign(interaction, winner.agent, Some(winner.since), decision)))
    }

    /// Gives an agent, who is ready and idle since `since` but not shown in the line, the best-ranked waiting interaction the
    /// agent can serve. False: there is none, and the agent is in the line.
    pub(super) fn seek_interaction(&mut self, agent: u32, since: TimestampMs, trigger: Trigger) -> bool {
        self.line.hold(agent, self.agents[agent].record.id, since);
        let mut places = std::mem::take(&mut self.places);
        self.waiting.best_for(self.line.profile(agent), &mut places);
        let winner = places.first().copied();
        let interactions: Vec<CandidateInteraction> = places.iter().map(CandidateInteraction::from).collect();
        self.places = places;
        let Some(winner) = winner else {
            self.line.show(agent);
            return false;
        };
        let decision = Decision {
            trigger,
            waited_ms: self.now().since_ms(winner.arrived),
            available_ms: self.now().since_ms(since),
            agents_available: self.line.available().saturating_add(1),
            interactions_waiting: self.waiting.len(),
            agents: Vec::new(),
            interactions,
        };
        self.dequeue(winner.interaction);
        self.assign(winner.interaction, agent, Some(since), decision);
        true
    }

    /// Makes an idle agent available since `since` if the agent is ready, with all that follows, and tells the journal. Who is no
    /// longer configured goes.
    pub(super) fn settle_agent(&mut self, agent: u32, since: TimestampMs) {
        if self.agents[agent].removed {
            return self.remove_agent(agent);
        }
        let record = &mut self.agents[agent].record;
        (record.available_since_ms, record.place_since_ms) = (None, None);
        if record.status != AgentStatus::Ready {
            self.timers.clear_pause(since, record.id);
            self.line.leave(agent);
            self.agent_changed(agent);
            return;
        }
        record.available_since_ms = Some(since);
        if since > self.clock.now {
            self.timers.set_pause(since, record.id);
            self.agent_changed(agent);
        } else if !self.seek_interaction(agent, since, Trigger::AgentAvailable) {
            self.agent_changed(agent);
        }
    }

    /// Takes an agent out of the line or out of a pause, or gives up the place kept there.
    pub(super) fn step_out(&mut self, agent: u32) {
        let record = &mut self.agents[agent].record;
        if let Some(since) = record.available_since_ms.take().or(record.place_since_ms.take()) {
            self.timers.clear_pause(since, record.id);
        }
        self.line.leave(agent);
    }

    /// The pause of an agent whose phone was busy is over.
    pub(super) fn end_pause(&mut self, id: AgentId) {
        let Some(agent) = self.agents.find(id) else { return };
        let record = &self.agents[agent].record;
        match (record.available_since_ms, record.place_since_ms) {
            (Some(since), _) => {
                self.seek_interaction(agent, since, Trigger::AgentAvailable);
            }
            (None, Some(since)) => self.keep_place(agent, since),
            (None, None) => {}
        }
    }

    /// Keeps the place with the clock `since` for an agent who is not available: a hidden seat, or the rest of a pause.
    fn keep_place(&mut self, agent: u32, since: TimestampMs) {
        let id = self.agents[agent].record.id;
        if since > self.clock.now {
            self.timers.set_pause(since, id);
        } else {
            self.line.hold(agent, id, since);
            self.line.hide(agent);
        }
    }

    /// Puts an interaction back to its place and lets it seek the next agent.
    pub(super) fn return_to_queue(&mut self, interaction: u32) {
        self.set_waiting(interaction);
        self.seek_or_wait(interaction, Trigger::OfferFailed);
    }

    /// Lets an interaction, which waits but is in no index, seek an agent; it goes into the indexes when there is none.
    pub(super) fn seek_or_wait(&mut self, interaction: u32, trigger: Trigger) -> Option<(AgentId, OfferId)> {
        let offered = self.seek_agent(interaction, trigger);
        if offered.is_none() {
            self.enqueue(interaction);
        }
        offered
    }

    /// The interaction waits again, in no index yet.
    pub(super) fn set_waiting(&mut self, interaction: u32) {
        self.interactions[interaction].record.state = InteractionState::Waiting;
        self.drop_unknown_needs(interaction);
        self.touch_interaction(interaction);
        let record = self.interactions[interaction].record.clone();
        self.emit(JournalEvent::InteractionQueued { interaction: record });
    }

    /// Puts a waiting interaction into the indexes.
    pub(super) fn enqueue(&mut self, interaction: u32) {
        let entry = &self.interactions[interaction];
        self.waiting.insert(entry.set, entry.place(interaction), &self.line);
        let record = &entry.record;
        if let Some(at) = record.wait_limit_at_ms {
            self.timers.set(at, Timer::Wait(record.id));
        }
        if let Some(queue) = record.queue {
            self.queues.entry(queue).or_default().waiting += 1;
        }
    }

    /// Takes a waiting interaction out of the indexes.
    pub(super) fn dequeue(&mut self, interaction: u32) {
        let entry = &self.interactions[interaction];
        self.waiting.remove(entry.set, entry.place(interaction));
        let record = &entry.record;
        if let Some(at) = record.wait_limit_at_ms {
            self.timers.clear(at, Timer::Wait(record.id));
        }
        if let Some(queue) = record.queue.and_then(|queue| self.queues.get_mut(&queue)) {
            queue.waiting -= 1;
        }
    }

    /// Makes the offer, or the connection where nothing rings. `place` is the agent's clock in the line; none: the agent is
    /// not in it.
    pub(super) fn assign(
        &mut self,
        interaction: u32,
        agent: u32,
        place: Option<TimestampMs>,
        decision: Decision,
    ) -> OfferId {
        let now = self.clock.now;
        let offer = self.offer_ids.next(now);
        let record = &mut self.interactions[interaction].record;
        let person = &mut self.agents[agent].record;
        record.offers += 1;
        person.available_since_ms = None;
        person.place_since_ms = None;
        person.state_since_ms = now;
        let connected = match record.delivery {
            Delivery::Direct => {
                record.state = InteractionState::Connected { agent: person.id, offer, since_ms: now };
                person.state = AgentState::Talking { interaction: record.id, since_ms: now };
                record.target = None;
                if let Some(since) = place {
                    self.timers.clear_pause(since, person.id);
                }
                self.line.leave(agent);
                self.connected += 1;
                Some(record.clone())
            }
            Delivery::Ring => {
                let deadline_ms = now.plus_ms(record.ring_timeout_ms);
                record.state = InteractionState::Offered { agent: person.id, offer, deadline_ms };
                person.state = AgentState::Reserved { offer, interaction: record.id, deadline_ms };
                person.place_since_ms = place;
                self.line.hide(agent);
                self.timers.set(deadline_ms, Timer::Offer(record.id));
                self.offered += 1;
                None
            }
        };
        let offered = record.clone();
        self.emit(JournalEvent::InteractionOffered { interaction: offered, decision });
        if let Some(interaction) = connected {
            self.emit(JournalEvent::InteractionConnected { interaction });
        }
        self.touch_interaction(interaction);
        self.agent_changed(agent);
        offer
    }
}

impl Interaction {
    /// True while it waits.
    pub(super) fn waits(&self) -> bool {
        self.record.state == InteractionState::Waiting
    }
}

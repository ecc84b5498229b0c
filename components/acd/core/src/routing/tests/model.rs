//! The rules of routing once more, as lists and scans: slow, plain, and written apart from the core. No index, no timer: who
//! fits is searched among all, what is due is read from the records.

use std::collections::{BTreeMap, BTreeSet};

use ringdown_domain::{
    AgentId, AgentState as A, AgentStatus, CustomerSide, Delivery, EndReason, InteractionId, InteractionState as I,
    Media, OfferFailure, OfferId, Origin, PartyRole, QueueId, ReasonCode, Recording, SkillRequirement, TimestampMs,
};
use ringdown_events::{
    AfterNoAnswer, AgentRecord, CandidateAgent, CandidateInteraction, Command, CompiledConfig, Decision, Done,
    Engagement, EngagementState as Occupied, InteractionRecord, JournalEvent as E, NewInteraction, QueueRules,
    RefusalCode as No, RefusalRow, Trigger,
};

use crate::routing::OfferIds;

mod calls;

use calls::reason_of;

pub(super) struct Model {
    pub(super) now: TimestampMs,
    pub(super) config: CompiledConfig,
    pub(super) agents: BTreeMap<AgentId, AgentRecord>,
    pub(super) live: BTreeMap<InteractionId, InteractionRecord>,
    pub(super) ended: Vec<InteractionRecord>,
    pub(super) open: bool,
    pub(super) events: Vec<(TimestampMs, E)>,
    offer_ids: OfferIds,
    /// Agents whose phone was busy and whose pause is not over.
    resting: BTreeSet<AgentId>,
}

type Answer = Result<Done, No>;

impl Model {
    pub(super) fn new(offer_ids: OfferIds, mut no_config: CompiledConfig) -> Self {
        no_config.meta.version = 0;
        Self {
            now: TimestampMs(0),
            config: no_config,
            agents: BTreeMap::new(),
            live: BTreeMap::new(),
            ended: Vec::new(),
            open: false,
            events: Vec::new(),
            offer_ids,
            resting: BTreeSet::new(),
        }
    }

    pub(super) fn command(&mut self, now: TimestampMs, command: &Command) -> Answer {
        self.advance(now);
        let answer = self.carry_out(command);
        self.families();
        answer
    }

    fn carry_out(&mut self, command: &Command) -> Answer {
        match command {
            Command::AcceptOffer { interaction, offer } => self.accept(*interaction, *offer),
            Command::CreateInteraction(new) => self.create(new),
            Command::EndInteraction { interaction, reason, at_ms } => match self.known(*interaction) {
                Err(No::InteractionEnded) => Ok(Done::Unchanged),
                Err(no) => Err(no),
                Ok(_) => {
                    self.end(*interaction, *reason, *at_ms);
                    Ok(Done::Changed)
                }
            },
            Command::FinishWrapUp { agent } => match self.configured(*agent)?.state {
                A::Idle => Ok(Done::Unchanged),
                A::WrappingUp { .. } => {
                    self.free(*agent);
                    Ok(Done::Changed)
                }
                A::Reserved { .. } | A::Ringing { .. } | A::Talking { .. } => Err(No::AgentBusy),
            },
            Command::FailOffer { interaction, offer, failure, sip_code } => {
                let record = self.known(*interaction)?;
                let joins = record.delivery == Delivery::Ring && *failure == OfferFailure::HungUp;
                match record.state {
                    I::Offered { offer: open, .. } if open == *offer => {}
                    I::External { leg, deadline_ms: Some(_), .. } if leg == *offer => {
                        self.fail_number(*interaction, *failure);
                        return Ok(Done::Changed);
                    }
                    I::Connected { agent, offer: taken, .. } if taken == *offer && joins => {
                        self.unjoined(*interaction, agent, taken, *sip_code);
                        return Ok(Done::Changed);
                    }
                    _ => return Err(No::StaleOffer),
                }
                self.fail(*interaction, *failure, *sip_code);
                Ok(Done::Changed)
            }
            Command::LoseNode { node, before_ms } => {
                let lost = |i: &&InteractionRecord| i.node.as_ref() == Some(node) && i.arrived_at_ms < *before_ms;
                let mut lost: Vec<_> = self.live.values().filter(lost).cloned().collect();
                lost.sort_by_key(|i| (matches!(i.state, I::Offered { .. }), i.arrived_at_ms, i.id));
                lost.sort_by_key(|i| matches!(i.state, I::Connected { .. } | I::External { .. }));
                for one in &lost {
                    if self.live.contains_key(&one.id) {
                        self.end(one.id, EndReason::NodeLost, None);
                    }
                }
                Ok(if lost.is_empty() { Done::Unchanged } else { Done::Changed })
            }
            Command::RingOffer { interaction, offer } => self.ring(*interaction, *offer),
            Command::SetAcdOpen { open } => Ok(self.set_open(*open)),
            Command::SetAgentStatus { agent, status } => self.status(*agent, status),
            other => self.call_command(other),
        }
    }

    pub(super) fn tick(&mut self, now: TimestampMs) {
        self.advance(now);
        while let Some((at, kind, i, a)) = self.due().into_iter().min() {
            if at > self.now {
                break;
            }
            match (kind, i, a) {
                (0, Some(i), _) if matches!(self.live[&i].state, I::External { .. }) => {
                    self.fail_number(i, OfferFailure::NoAnswer);
                }
                (0, Some(i), _) => self.fail(i, OfferFailure::NoAnswer, None),
                (1, Some(i), _) => self.end(i, EndReason::WaitLimit, None),
                (_, _, Some(a)) => self.free(a),
                other => unreachable!("{other:?}"),
            }
            self.families();
        }
        self.families();
    }

    pub(super) fn next_deadline(&self) -> Option<TimestampMs> {
        let pauses = self.resting.iter().filter_map(|a| self.clock(*a));
        self.due().into_iter().map(|(at, ..)| at).chain(pauses).min()
    }

    pub(super) fn apply_config(&mut self, now: TimestampMs, config: &CompiledConfig) {
        self.advance(now);
        let old = std::mem::replace(&mut self.config, config.clone());
        if old.meta.version != config.meta.version {
            self.emit(E::ConfigApplied { version: config.meta.version });
        }
        let gone: Vec<_> = self.agents.values().filter(|a| !config.agents.contains_key(&a.id)).cloned().collect();
        for agent in gone.iter().filter(|a| matches!(a.state, A::Idle | A::WrappingUp { .. })) {
            self.remove(agent.id);
        }
        let mut changed = Vec::new();
        for (id, new) in &config.agents {
            let skills: BTreeMap<_, _> =
                new.skills.iter().filter(|(s, _)| config.skills.contains(s)).map(|(s, l)| (s.clone(), *l)).collect();
            let Some(agent) = self.agents.get_mut(id) else {
                self.agents.insert(*id, fresh_agent(*id, &new.name, skills, now));
                self.emit_agent(*id);
                continue;
            };
            if agent.skills != skills && agent.available_since_ms.is_some() && !self.resting.contains(id) {
                changed.push((agent.available_since_ms, *id));
            }
            if agent.skills != skills || agent.name != new.name {
                (agent.skills, agent.name) = (skills, new.name.clone());
                self.emit_agent(*id);
            }
        }
        let mut seekers = Vec::new();
        for agent in &gone {
            let state = self.agents.get(&agent.id).map(|agent| agent.state.clone());
            if let Some(A::Reserved { interaction, .. } | A::Ringing { interaction, .. }) = state {
                self.close_offer(interaction, Some(OfferFailure::Unreachable), None);
                self.live.get_mut(&interaction).unwrap().target = None;
                if calls::may_wait(&self.live[&interaction]) {
                    self.requeue(interaction);
                    seekers.push((self.place(interaction), Trigger::OfferFailed));
                } else {
                    self.over(interaction, reason_of(OfferFailure::Unreachable));
                }
                self.remove(agent.id);
            }
        }
        let unknown = |i: &&InteractionRecord| i.requirements.iter().any(|r| !config.skills.contains(&r.skill));
        let waiting = self.live.values().filter(|i| i.state == I::Waiting);
        let mut eased: Vec<_> = waiting.filter(unknown).map(|i| self.place(i.id)).collect();
        eased.sort();
        for place in eased {
            self.requeue(place.2);
            seekers.push((place, Trigger::ConfigChanged));
        }
        changed.sort();
        for (_, agent) in changed {
            self.seek_interaction(agent, Trigger::ConfigChanged);
        }
        seekers.sort_by_key(|(place, _)| *place);
        for ((.., id), trigger) in seekers {
            if self.live.get(&id).is_some_and(|record| record.state == I::Waiting) {
                self.seek_agent(id, trigger);
            }
        }
        self.families();
    }

    fn advance(&mut self, now: TimestampMs) {
        self.now = now;
        let mut rested: Vec<_> = self.resting.iter().map(|a| (self.clock(*a), *a)).collect();
        rested.retain(|(since, _)| *since <= Some(now));
        rested.sort();
        for (_, agent) in rested {
            self.resting.remove(&agent);
            if self.agents[&agent].available_since_ms.is_some() {
                self.seek_interaction(agent, Trigger::AgentAvailable);
            }
        }
    }

    /// The agent's clock in the line, available or kept for later.
    fn clock(&self, agent: AgentId) -> Option<TimestampMs> {
        self.agents[&agent].available_since_ms.or(self.agents[&agent].place_since_ms)
    }

    fn create(&mut self, new: &NewInteraction) -> Answer {
        if self.live.contains_key(&new.id) || self.ended.iter().any(|i| i.id == new.id) {
            return Err(No::DuplicateInteraction);
        }
        let rules = match new.queue {
            None => QueueRules::default(),
            Some(queue) => self.config.queues.get(&queue).ok_or(No::UnknownQueue)?.rules.clone(),
        };
        if new.queue.is_some_and(|queue| self.waiting_in(queue) >= rules.capacity as usize) {
            return Err(No::Full);
        }
        if new.queue.is_none() && new.requirements.is_empty() {
            return Err(No::Malformed);
        }
        if new.requirements.iter().any(|r| !self.config.skills.contains(&r.skill)) {
            return Err(No::UnknownSkill);
        }
        let mut needs = BTreeMap::new();
        for need in rules.requirements.iter().chain(&new.requirements) {
            let level = needs.entry(need.skill.clone()).or_insert(need.min_level);
            *level = need.min_level.max(*level);
        }
        needs.retain(|skill, _| self.config.skills.contains(skill));
        let requirements = needs.into_iter().map(|(skill, min_level)| SkillRequirement { skill, min_level }).collect();
        let priority = new.priority.unwrap_or(rules.priority);
        let arrived = new.arrived_at_ms.map_or(self.now, |at| at.min(self.now));
        let arrived = TimestampMs(arrived.0.max(self.now.0.saturating_sub(86_400_000)));
        let record = InteractionRecord {
            id: new.id,
            media: new.media,
            delivery: new.delivery,
            queue: new.queue,
            requirements,
            priority,
            caller: new.caller.clone(),
            called: new.called.clone(),
            node: new.node.clone(),
            attributes: new.attributes.clone(),
            arrived_at_ms: arrived,
            rank_ms: TimestampMs(arrived.0.saturating_sub(u64::from(priority.value()) * 10_000)),
            wait_limit_at_ms: rules.wait_limit_ms.map(|limit| TimestampMs(arrived.0 + limit)),
            ring_timeout_ms: rules.ring_timeout_ms,
            wrap_up_ms: rules.wrap_up_ms,
            offers: 0,
            state: I::Waiting,
            origin: if new.media == Media::Task { Origin::Task } else { Origin::Inbound },
            parent: None,
            role: None,
            initiator: None,
            target: None,
            children: vec![],
            parties: vec![],
            held_since_ms: None,
            muted: false,
            recording: if rules.recorded && new.media == Media::Voice { Recording::On } else { Recording::Off },
            customer: CustomerSide::Here,
            disposition: None,
        };
        self.live.insert(new.id, record.clone());
        self.emit(E::InteractionQueued { interaction: record });
        let offered = self.seek_agent(new.id, Trigger::InteractionArrived);
        Ok(Done::Created { interaction: new.id, offered })
    }

    fn ring(&mut self, id: InteractionId, named: OfferId) -> Answer {
        match self.known(id)?.state {
            I::External { leg, .. } if leg == named => Ok(Done::Unchanged),
            I::Connected { offer, .. } if offer == named => Ok(Done::Unchanged),
            I::Offered { agent, offer, .. } if offer == named => {
                let record = self.agents.get_mut(&agent).unwrap();
                let A::Reserved { offer, interaction, deadline_ms } = record.state else { return Ok(Done::Unchanged) };
                record.state = A::Ringing { offer, interaction, deadline_ms };
                record.state_since_ms = self.now;
                self.emit_agent(agent);
                Ok(Done::Changed)
            }
            _ => Err(No::StaleOffer),
        }
    }

    fn accept(&mut self, id: InteractionId, named: OfferId) -> Answer {
        match self.known(id)?.state {
            I::Connected { offer, .. } if offer == named => Ok(Done::Unchanged),
            I::External { leg, deadline_ms: None, .. } if leg == named => Ok(Done::Unchanged),
            I::External { leg, .. } if leg == named => self.answer_number(id),
            I::Offered { agent, offer, .. } if offer == named => {
                let named = self.talk(id, agent, offer);
                self.emit(E::InteractionConnected { interaction: self.live[&id].clone() });
                self.emit_agent(agent);
                self.after_answer(id, named);
                Ok(Done::Changed)
            }
            _ => Err(No::StaleOffer),
        }
    }

    fn fail(&mut self, id: InteractionId, failure: OfferFailure, sip_code: Option<u16>) {
        let I::Offered { agent, .. } = self.live[&id].state else { unreachable!() };
        if self.live[&id].target.is_some() {
            return self.fail_directed(id, failure, sip_code);
        }
        let pause = self.bear(id, agent, failure);
        self.give_back(id, failure, sip_code, pause);
    }

    fn take_back(&mut self, id: InteractionId, agent: AgentId, offer: OfferId, sip_code: Option<u16>) {
        let failure = Some(OfferFailure::HungUp);
        let record = self.live.get_mut(&id).unwrap();
        (record.held_since_ms, record.muted) = (None, false);
        self.emit(E::OfferFailed { interaction: id, agent, offer, failure, sip_code });
        let pause = self.bear(id, agent, OfferFailure::HungUp);
        let record = self.agents.get_mut(&agent).unwrap();
        record.state = A::Idle;
        record.state_since_ms = self.now;
        self.requeue(id);
        self.seek_agent(id, Trigger::OfferFailed);
        self.settle(agent, TimestampMs(self.now.0 + pause));
    }

    /// How long the agent is left alone; a new status if there is one is set.
    fn bear(&mut self, id: InteractionId, agent: AgentId, failure: OfferFailure) -> u64 {
        let rules = self.live[&id].queue.and_then(|queue| self.config.queues.get(&queue)).map(|queue| &queue.rules);
        let stays = rules.is_some_and(|rules| rules.after_no_answer == AfterNoAnswer::StayReady);
        let limit = rules.map_or(3, |rules| rules.busy_limit);
        let record = self.agents.get_mut(&agent).unwrap();
        let row = match record.refusals {
            Some(row) if row.failure == failure => RefusalRow { failure, count: row.count + 1 },
            _ => RefusalRow { failure, count: 1 },
        };
        record.refusals = Some(row);
        let reason = match failure {
            OfferFailure::Busy => (row.count >= limit).then_some("busy"),
            OfferFailure::HungUp => None,
            OfferFailure::NoAnswer => (!stays).then_some("rona"),
            OfferFailure::Rejected => Some("rejected"),
            OfferFailure::Unreachable => Some("unreachable"),
        };
        if let Some(reason) = reason {
            let record = self.agents.get_mut(&agent).unwrap();
            record.status = AgentStatus::NotReady { reason: reason.parse().unwrap() };
            record.status_since_ms = self.now;
        }
        let pauses = [0, 2_000, 4_000, 8_000, 16_000, 32_000, 64_000];
        let pause = |times: u32| pauses[(times as usize).min(pauses.len() - 1)];
        match failure {
            OfferFailure::Busy => pause(row.count),
            OfferFailure::HungUp | OfferFailure::NoAnswer => pause(row.count - 1),
            OfferFailure::Rejected | OfferFailure::Unreachable => 0,
        }
    }

    fn give_back(&mut self, id: InteractionId, failure: OfferFailure, sip_code: Option<u16>, pause: u64) {
        let (agent, _) = self.close_offer(id, Some(failure), sip_code);
        self.requeue(id);
        self.seek_agent(id, Trigger::OfferFailed);
        self.settle(agent, TimestampMs(self.now.0 + pause));
    }

    fn end(&mut self, id: InteractionId, reason: EndReason, at: Option<TimestampMs>) {
        self.end_children(id, reason, at);
        let before = self.live[&id].state.clone();
        let offered = matches!(before, I::Offered { .. }).then(|| self.close_offer(id, None, None));
        let mut record = self.live.remove(&id).unwrap();
        let talker = if let I::Connected { agent, .. } = before { Some(agent) } else { None };
        let had_party = matches!(before, I::Connected { .. } | I::External { .. });
        let reason = match reason {
            EndReason::CallerHangup if !had_party => EndReason::Abandoned,
            EndReason::Abandoned if had_party => EndReason::CallerHangup,
            other => other,
        };
        let at_ms = at.unwrap_or(self.now).min(self.now).max(record.arrived_at_ms);
        record.state = I::Ended { reason, at_ms, agent: talker };
        self.ended.push(record.clone());
        let wrap_up_ms = record.wrap_up_ms;
        self.events.push((at_ms, E::InteractionEnded { interaction: record.clone() }));
        self.lost(&record, reason, at);
        if let Some((agent, place)) = offered {
            self.settle(agent, place);
        }
        if let Some(agent) = talker {
            self.release(agent, id, wrap_up_ms);
        }
    }

    fn release(&mut self, agent: AgentId, id: InteractionId, wrap_up_ms: u64) {
        self.agents.get_mut(&agent).unwrap().refusals = None;
        if !self.config.agents.contains_key(&agent) {
            self.remove(agent);
        } else if wrap_up_ms == 0 {
            self.free(agent);
        } else {
            let record = self.agents.get_mut(&agent).unwrap();
            record.state = A::WrappingUp { interaction: id, until_ms: TimestampMs(self.now.0 + wrap_up_ms) };
            record.state_since_ms = self.now;
            self.emit_agent(agent);
        }
    }

    fn status(&mut self, id: AgentId, status: &AgentStatus) -> Answer {
        if self.configured(id)?.status == *status {
            return Ok(Done::Unchanged);
        }
        self.declare(id, status);
        self.after_status(id);
        Ok(Done::Changed)
    }

    fn declare(&mut self, id: AgentId, status: &AgentStatus) {
        let record = self.agents.get_mut(&id).unwrap();
        record.status = status.clone();
        record.status_since_ms = self.now;
        (record.available_since_ms, record.place_since_ms) = (None, None);
        record.refusals = None;
        self.resting.remove(&id);
    }

    fn after_status(&mut self, id: AgentId) {
        match self.agents[&id].state {
            A::Idle => self.settle(id, self.now),
            A::Reserved { interaction, .. } | A::Ringing { interaction, .. } => {
                if self.live[&interaction].target.is_none() {
                    self.give_back(interaction, OfferFailure::Rejected, None, 0);
                } else if self.agents[&id].status == AgentStatus::LoggedOut {
                    self.fail_directed(interaction, OfferFailure::Rejected, None);
                } else {
                    self.emit_agent(id);
                }
            }
            A::Talking { .. } | A::WrappingUp { .. } => self.emit_agent(id),
        }
    }

    fn set_open(&mut self, open: bool) -> Done {
        let events = self.events.len();
        if self.open != open {
            self.open = open;
            self.emit(E::AcdChanged { open });
        }
        let ids: Vec<_> = self.config.agents.keys().copied().filter(|id| self.agents.contains_key(id)).collect();
        if open {
            for id in ids {
                self.status(id, &AgentStatus::Ready).unwrap();
            }
        } else {
            let closed = AgentStatus::NotReady { reason: ReasonCode::known("acd_closed") };
            let here = |id: &AgentId| ![AgentStatus::LoggedOut, closed.clone()].contains(&self.agents[id].status);
            let ids: Vec<_> = ids.into_iter().filter(here).collect();
            ids.iter().for_each(|id| self.declare(*id, &closed));
            for id in ids {
                if self.agents[&id].state == A::Idle {
                    self.emit_agent(id);
                } else {
                    self.after_status(id);
                }
            }
        }
        if self.events.len() == events { Done::Unchanged } else { Done::Changed }
    }

    fn free(&mut self, agent: AgentId) {
        let record = self.agents.get_mut(&agent).unwrap();
        record.state = A::Idle;
        record.state_since_ms = self.now;
        self.settle(agent, self.now);
    }

    fn settle(&mut self, agent: AgentId, since: TimestampMs) {
        if !self.config.agents.contains_key(&agent) {
            return self.remove(agent);
        }
        let record = self.agents.get_mut(&agent).unwrap();
        let clock = (record.status == AgentStatus::Ready).then_some(since);
        (record.available_since_ms, record.place_since_ms) = (clock, None);
        self.resting.remove(&agent);
        let rests = since > self.now && clock.is_some();
        if rests {
            self.resting.insert(agent);
        }
        if rests
            || self.agents[&agent].available_since_ms.is_none()
            || !self.seek_interaction(agent, Trigger::AgentAvailable)
        {
            self.emit_agent(agent);
        }
    }

    fn seek_interaction(&mut self, agent: AgentId, trigger: Trigger) -> bool {
        let record = self.agents[&agent].clone();
        let fits = |i: &&InteractionRecord| i.state == I::Waiting && able(&record, i);
        let mut places: Vec<_> = self.live.values().filter(fits).map(|i| self.place(i.id)).collect();
        places.sort();
        places.truncate(5);
        let Some((_, arrived, winner)) = places.first().copied() else { return false };
        let candidate = |p: &(TimestampMs, _, InteractionId)| CandidateInteraction { interaction: p.2, rank_ms: p.0 };
        let decision = Decision {
            trigger,
            waited_ms: self.now.0 - arrived.0,
            available_ms: self.now.0 - record.available_since_ms.unwrap().0,
            agents_available: self.available(),
            interactions_waiting: self.waiting(),
            agents: vec![],
            interactions: places.iter().map(candidate).collect(),
        };
        self.offer(winner, agent, decision);
        true
    }

    fn seek_agent(&mut self, id: InteractionId, trigger: Trigger) -> Option<(AgentId, OfferId)> {
        let interaction = self.live[&id].clone();
        let able = self.agents.values().filter(|a| self.is_here(a)).filter(|a| able(a, &interaction));
        let mut agents: Vec<_> = able.map(|a| (a.available_since_ms.unwrap(), a.id)).collect();
        agents.sort();
        agents.truncate(5);
        let (since, winner) = agents.first().copied()?;
        let decision = Decision {
            trigger,
            waited_ms: self.now.0 - interaction.arrived_at_ms.0,
            available_ms: self.now.0 - since.0,
            agents_available: self.available(),
            interactions_waiting: self.waiting(),
            agents: agents.iter().map(|(s, a)| CandidateAgent { agent: *a, available_since_ms: *s }).collect(),
            interactions: vec![],
        };
        Some((winner, self.offer(id, winner, decision)))
    }

    fn offer(&mut self, id: InteractionId, agent: AgentId, decision: Decision) -> OfferId {
        let offer = self.offer_ids.next(self.now);
        let interaction = self.live.get_mut(&id).unwrap();
        interaction.offers += 1;
        if interaction.delivery == Delivery::Direct {
            self.talk(id, agent, offer);
        } else {
            let deadline_ms = TimestampMs(self.now.0 + interaction.ring_timeout_ms);
            interaction.state = I::Offered { agent, offer, deadline_ms };
            let record = self.agents.get_mut(&agent).unwrap();
            record.state = A::Reserved { offer, interaction: id, deadline_ms };
            record.state_since_ms = self.now;
            record.place_since_ms = record.available_since_ms.take();
        }
        let record = self.live[&id].clone();
        self.emit(E::InteractionOffered { interaction: record.clone(), decision });
        if record.delivery == Delivery::Direct {
            self.emit(E::InteractionConnected { interaction: record });
        }
        self.emit_agent(agent);
        offer
    }

    /// Gives whom it was for by name.
    fn talk(&mut self, id: InteractionId, agent: AgentId, offer: OfferId) -> Option<AgentId> {
        self.resting.remove(&agent);
        let interaction = self.live.get_mut(&id).unwrap();
        interaction.state = I::Connected { agent, offer, since_ms: self.now };
        let named = interaction.target.take();
        let record = self.agents.get_mut(&agent).unwrap();
        record.state = A::Talking { interaction: id, since_ms: self.now };
        record.state_since_ms = self.now;
        (record.available_since_ms, record.place_since_ms) = (None, None);
        named
    }

    fn close_offer(
        &mut self,
        id: InteractionId,
        failure: Option<OfferFailure>,
        code: Option<u16>,
    ) -> (AgentId, TimestampMs) {
        let I::Offered { agent, offer, .. } = self.live[&id].state else { unreachable!() };
        self.emit(E::OfferFailed { interaction: id, agent, offer, failure, sip_code: code });
        let record = self.agents.get_mut(&agent).unwrap();
        record.state = A::Idle;
        record.state_since_ms = self.now;
        (agent, record.place_since_ms.take().unwrap_or(self.now))
    }

    fn requeue(&mut self, id: InteractionId) {
        let record = self.live.get_mut(&id).unwrap();
        record.state = I::Waiting;
        record.requirements.retain(|need| self.config.skills.contains(&need.skill));
        let interaction = record.clone();
        self.emit(E::InteractionQueued { interaction });
    }

    fn remove(&mut self, agent: AgentId) {
        self.agents.remove(&agent);
        self.resting.remove(&agent);
        self.emit(E::AgentRemoved { agent });
    }

    fn emit(&mut self, event: E) {
        self.events.push((self.now, event));
    }

    fn emit_agent(&mut self, id: AgentId) {
        let engagements = self.engagements(id);
        self.agents.get_mut(&id).unwrap().engagements = engagements;
        self.emit(E::AgentChanged { agent: self.agents[&id].clone() });
    }

    fn engagements(&self, id: AgentId) -> Vec<Engagement> {
        let agent = &self.agents[&id];
        let since_ms = agent.state_since_ms;
        let (interaction, state) = match agent.state {
            A::Idle => return vec![],
            A::Reserved { interaction, .. } => (interaction, Occupied::Reserved),
            A::Ringing { interaction, .. } => (interaction, Occupied::Ringing),
            A::WrappingUp { interaction, .. } => (interaction, Occupied::WrappingUp),
            A::Talking { interaction, .. } => (interaction, Occupied::Talking),
        };
        let mut all = vec![Engagement { interaction, state, since_ms }];
        let Some(held) = self.live.get(&interaction).filter(|_| state == Occupied::Talking) else { return all };
        let consult = self.live.values().find(|i| i.parent == Some(interaction) && i.role == Some(PartyRole::Consult));
        for since_ms in [held.held_since_ms, consult.map(|i| i.arrived_at_ms)].into_iter().flatten() {
            if all[0].state == Occupied::Talking || since_ms < all[0].since_ms {
                all[0] = Engagement { interaction, state: Occupied::Held, since_ms };
            }
        }
        if let Some(i) = consult {
            all.push(Engagement { interaction: i.id, state: Occupied::Talking, since_ms: i.arrived_at_ms });
        }
        all
    }

    fn known(&self, id: InteractionId) -> Result<&InteractionRecord, No> {
        let ended = self.ended.iter().any(|i| i.id == id);
        self.live.get(&id).ok_or(if ended { No::InteractionEnded } else { No::UnknownInteraction })
    }

    fn configured(&self, id: AgentId) -> Result<&AgentRecord, No> {
        self.agents.get(&id).filter(|_| self.config.agents.contains_key(&id)).ok_or(No::UnknownAgent)
    }

    fn place(&self, id: InteractionId) -> (TimestampMs, TimestampMs, InteractionId) {
        (self.live[&id].rank_ms, self.live[&id].arrived_at_ms, id)
    }

    fn is_here(&self, agent: &AgentRecord) -> bool {
        agent.available_since_ms.is_some() && !self.resting.contains(&agent.id)
    }

    fn available(&self) -> u32 {
        u32::try_from(self.agents.values().filter(|a| self.is_here(a)).count()).unwrap()
    }

    fn waiting(&self) -> u32 {
        u32::try_from(self.live.values().filter(|i| i.state == I::Waiting).count()).unwrap()
    }

    fn waiting_in(&self, queue: QueueId) -> usize {
        self.live.values().filter(|i| i.queue == Some(queue) && i.state == I::Waiting).count()
    }

    fn due(&self) -> Vec<(TimestampMs, u8, Option<InteractionId>, Option<AgentId>)> {
        let mut due = Vec::new();
        for i in self.live.values() {
            match i.state {
                I::Offered { deadline_ms, .. } => due.push((deadline_ms, 0, Some(i.id), None)),
                I::Waiting => due.extend(i.wait_limit_at_ms.map(|at| (at, 1, Some(i.id), None))),
                I::External { deadline_ms, .. } => due.extend(deadline_ms.map(|at| (at, 0, Some(i.id), None))),
                I::Connected { .. } | I::Ended { .. } => {}
            }
        }
        for a in self.agents.values() {
            if let A::WrappingUp { until_ms, .. } = a.state {
                due.push((until_ms, 2, None, Some(a.id)));
            }
        }
        due
    }
}

fn able(agent: &AgentRecord, interaction: &InteractionRecord) -> bool {
    let rings =
        interaction.media == Media::Voice && interaction.delivery == Delivery::Ring && interaction.node.is_some();
    let calls_nobody = rings && agent.reachable == Some(false);
    !calls_nobody
        && interaction
            .requirements
            .iter()
            .all(|r| agent.skills.get(&r.skill).is_some_and(|level| *level >= r.min_level))
}

fn fresh_agent(
    id: AgentId,
    name: &ringdown_domain::Name,
    skills: BTreeMap<ringdown_domain::SkillName, ringdown_domain::SkillLevel>,
    now: TimestampMs,
) -> AgentRecord {
    AgentRecord {
        id,
        name: name.clone(),
        skills,
        status: AgentStatus::LoggedOut,
        status_since_ms: now,
        state: A::Idle,
        state_since_ms: now,
        available_since_ms: None,
        place_since_ms: None,
        refusals: None,
        reachable: None,
        engagements: vec![],
    }
}

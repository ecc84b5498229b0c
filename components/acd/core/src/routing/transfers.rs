//! An interaction that goes elsewhere: to another queue, agent or number, or out of one queue into another.

use ringdown_domain::{
    CustomerSide, EndReason, InteractionId, InteractionState, Media, OfferFailure, OfferId, Origin, PartyRole, QueueId,
    Recording, SkillRequirement, TimestampMs,
};
use ringdown_events::{Done, QueueRules, Refusal, RefusalCode, Target, Trigger};

use super::arrival::{MIN_RING_TIMEOUT_MS, check_room, recording_of};
use super::family::connected_agent;
use super::{MAX_WAITING, Router, refuse, skills};
use crate::conversation::is_voice;

impl Router {
    /// The agent is out at once and wraps up. Everybody else in the conversation leaves it too. An agent or a number that does not
    /// take it gives it back to its queue, at its old place; without a queue or skills it ends.
    pub(super) fn transfer(&mut self, id: InteractionId, target: &Target) -> Result<Done, Refusal> {
        let (root, agent) = self.connected_root(id)?;
        let record = &self.interactions[root].record;
        if record.customer != CustomerSide::Here {
            return refuse(RefusalCode::NotConnected, "no customer is on the line");
        }
        let is_open = |child: &u32| self.interactions[*child].record.role == Some(PartyRole::Consult);
        if self.children(root).iter().any(is_open) {
            return refuse(RefusalCode::NotConnected, "a consultation is open; complete or cancel it");
        }
        let wrap_up_ms = record.wrap_up_ms;
        match target {
            Target::Agent(to) if *to == agent => {
                return refuse(RefusalCode::AgentBusy, "the agent has the interaction already");
            }
            Target::Agent(to) => {
                let to = self.free_agent(*to)?;
                self.take_from_agent(root);
                self.interactions[root].record.target = Some(self.agents[to].record.id);
                self.renew_wait_limit(root);
                self.set_waiting(root);
                self.offer_to(root, to);
            }
            Target::Queue(queue) => {
                let (rules, requirements) = self.admit_to(*queue)?;
                self.take_from_agent(root);
                self.enter_queue(root, *queue, &rules, requirements);
                self.set_waiting(root);
                self.seek_or_wait(root, Trigger::InteractionArrived);
            }
            Target::Number(_) if !is_voice(record) => {
                return refuse(RefusalCode::NotConnected, "the interaction is not a call");
            }
            Target::Number(number) => {
                self.take_from_agent(root);
                self.renew_wait_limit(root);
                self.dial(root, number);
                self.interaction_changed(root);
            }
        }
        if let Some(agent) = self.agents.find(agent) {
            self.release(agent, id, wrap_up_ms);
        }
        Ok(Done::Changed)
    }

    /// A waiting interaction, or one that is offered to whoever has the skills, in another queue. It keeps its arrival; how long
    /// it may wait counts anew.
    pub(super) fn move_to_queue(&mut self, id: InteractionId, queue: QueueId) -> Result<Done, Refusal> {
        let slot = self.find_interaction(id)?;
        let record = &self.interactions[slot].record;
        let is_offered = match record.state {
            InteractionState::Waiting => false,
            InteractionState::Offered { .. } if record.target.is_none() => true,
            InteractionState::Offered { .. }
            | InteractionState::Connected { .. }
            | InteractionState::External { .. }
            | InteractionState::Ended { .. } => {
                return refuse(RefusalCode::NotConnected, "the interaction does not wait in a queue");
            }
        };
        if record.queue == Some(queue) {
            return Ok(Done::Unchanged);
        }
        let (rules, requirements) = self.admit_to(queue)?;
        let offered_to = if is_offered {
            self.close_offer(slot, None, None)
        } else {
            self.dequeue(slot);
            None
        };
        self.enter_queue(slot, queue, &rules, requirements);
        self.set_waiting(slot);
        self.seek_or_wait(slot, Trigger::InteractionArrived);
        if let Some((agent, place)) = offered_to {
            self.settle_agent(agent, place);
        }
        Ok(Done::Changed)
    }

    /// The leg of an agent or of an outside number that was joined is gone.
    pub(super) fn end_leg(&mut self, id: InteractionId, leg: OfferId, at: TimestampMs) -> Result<Done, Refusal> {
        let slot = match self.find_interaction(id) {
            Err(refusal) if refusal.code == RefusalCode::InteractionEnded => return Ok(Done::Unchanged),
            found => found?,
        };
        match self.interactions[slot].record.state {
            InteractionState::Connected { offer, .. } if offer == leg => {
                self.part(slot, EndReason::AgentHangup, at);
                Ok(Done::Changed)
            }
            // A number that ends the conversation it was handed has completed it.
            InteractionState::External { leg: own, deadline_ms: None, .. } if own == leg => {
                self.part(slot, EndReason::Completed, at);
                Ok(Done::Changed)
            }
            InteractionState::Connected { .. }
            | InteractionState::Ended { .. }
            | InteractionState::External { .. }
            | InteractionState::Offered { .. }
            | InteractionState::Waiting => refuse(RefusalCode::StaleOffer, "the leg is not part of the conversation"),
        }
    }

    /// Who has an interaction is gone: a party of the conference has it now, or it ends.
    pub(super) fn part(&mut self, slot: u32, reason: EndReason, at: TimestampMs) {
        match self.successor(slot) {
            Some(child) => self.take_over(slot, child),
            None => self.end(slot, reason, Some(at)),
        }
    }

    /// The party of a conference who has the conversation when its agent goes: an agent rather than an outside number, the one
    /// who came first.
    fn successor(&self, root: u32) -> Option<u32> {
        let in_conference = |child: &u32| {
            let record = &self.interactions[*child].record;
            record.origin == Origin::Consult && record.role == Some(PartyRole::Conference) && self.is_answered(*child)
        };
        let parties: Vec<u32> = self.children(root).into_iter().filter(in_conference).collect();
        let is_agent = |child: &&u32| connected_agent(&self.interactions[**child].record.state).is_some();
        parties.iter().find(is_agent).or(parties.first()).copied()
    }

    /// Takes a connected interaction from its agent, whom the caller releases once the interaction is somewhere else.
    fn take_from_agent(&mut self, root: u32) {
        self.dismiss(root, |_| true);
        let record = &mut self.interactions[root].record;
        (record.held_since_ms, record.muted) = (None, false);
        self.connected -= 1;
    }

    /// The rules of a queue that takes one more interaction, and what it needs.
    pub(super) fn admit_to(&self, queue: QueueId) -> Result<(QueueRules, Vec<SkillRequirement>), Refusal> {
        let Some(super::Queue { rules: Some(rules), waiting }) = self.queues.get(&queue) else {
            return refuse(RefusalCode::UnknownQueue, "no such queue");
        };
        check_room(*waiting, rules.capacity, "the queue")?;
        check_room(self.waiting.len(), MAX_WAITING, "the tenant")?;
        let known = rules.requirements.iter().filter(|need| self.skills.is_known(&need.skill));
        Ok((rules.clone(), skills::merge(known)))
    }

    /// Puts an interaction, which is in no index, under the rules of a queue.
    fn enter_queue(&mut self, slot: u32, queue: QueueId, rules: &QueueRules, requirements: Vec<SkillRequirement>) {
        let now = self.now();
        let needs = self.skills.needs(&requirements, is_voice(&self.interactions[slot].record));
        let set = self.waiting.use_set(needs, &mut self.line);
        let old = std::mem::replace(&mut self.interactions[slot].set, set);
        self.waiting.drop_set(old, &mut self.line);
        let record = &mut self.interactions[slot].record;
        record.queue = Some(queue);
        record.requirements = requirements;
        record.priority = rules.priority;
        record.rank_ms = TimestampMs(record.arrived_at_ms.0.saturating_sub(rules.priority.head_start_ms()));
        record.wait_limit_at_ms = rules.wait_limit_ms.map(|limit| now.plus_ms(limit));
        record.ring_timeout_ms = rules.ring_timeout_ms.max(MIN_RING_TIMEOUT_MS);
        record.wrap_up_ms = rules.wrap_up_ms;
        if record.recording == Recording::Off && record.media == Media::Voice {
            record.recording = recording_of(rules);
        }
    }

    /// Who talked may wait as long as anybody when nobody takes the call.
    fn renew_wait_limit(&mut self, slot: u32) {
        let now = self.now();
        let queue = self.interactions[slot].record.queue.and_then(|queue| self.queues.get(&queue));
        let limit = queue.and_then(|queue| queue.rules.as_ref()).and_then(|rules| rules.wait_limit_ms);
        self.interactions[slot].record.wait_limit_at_ms = limit.map(|limit| now.plus_ms(limit));
    }

    /// The agent answered and hung up before the customer was joined. Whoever has a place to wait goes back to it.
    pub(super) fn give_back_unjoined(
        &mut self,
        interaction: u32,
        agent: ringdown_domain::AgentId,
        offer: OfferId,
        sip_code: Option<u16>,
    ) {
        if super::directed::has_place(&self.interactions[interaction].record) {
            self.dismiss(interaction, |_| true);
            self.take_back(interaction, agent, offer, sip_code);
        } else {
            self.part(interaction, super::directed::reason_of(OfferFailure::HungUp), self.now());
        }
    }
}

//! Calls that agents make: to outside numbers, and to each other. The agent's own phone is called first.

use std::collections::BTreeMap;

use ringdown_domain::{
    AgentId, CustomerSide, Delivery, EndReason, InteractionId, InteractionState, Media, Origin, PartyRole, TimestampMs,
};
use ringdown_events::{Done, InteractionRecord, JournalEvent, NewCall, QueueRules, Refusal, RefusalCode, Target};

use super::arrival::{MIN_RING_TIMEOUT_MS, recording_of};
use super::family::NewChild;
use super::{Router, phones, refuse, skills};

impl Router {
    pub(super) fn place_call(&mut self, new: &NewCall) -> Result<Done, Refusal> {
        self.check_new_id(new.id)?;
        let record = self.placed_record(new)?;
        let agent = self.free_agent(new.agent)?;
        if let Target::Agent(callee) = new.target {
            self.free_agent(callee)?;
        }
        self.emit(JournalEvent::InteractionQueued { interaction: record.clone() });
        let slot = self.insert_record(record);
        let offered = Some(self.offer_to(slot, agent));
        Ok(Done::Created { interaction: new.id, offered })
    }

    /// The customer who was dialled has answered.
    pub(super) fn answer_customer(&mut self, id: InteractionId) -> Result<Done, Refusal> {
        let (slot, _) = self.connected_root(id)?;
        match self.interactions[slot].record.customer {
            CustomerSide::Here => Ok(Done::Unchanged),
            CustomerSide::Nobody => refuse(RefusalCode::NotConnected, "the call has no customer"),
            CustomerSide::Dialling => {
                self.interactions[slot].record.customer = CustomerSide::Here;
                self.interaction_changed(slot);
                Ok(Done::Changed)
            }
        }
    }

    /// The agent who calls another is on the line: now the other one is called.
    pub(super) fn call_callee(&mut self, root: u32, caller: AgentId, callee: AgentId) {
        let agent = match self.free_agent(callee) {
            Ok(agent) => agent,
            Err(_) => {
                let silent = self.agents.find(callee).is_some_and(|a| phones::is_unreachable(&self.agents[a].record));
                let reason = if silent { EndReason::Unreachable } else { EndReason::Busy };
                return self.end(root, reason, None);
            }
        };
        let id = InteractionId(self.offer_ids.next(self.now()).0);
        let child = self.add_child(
            root,
            NewChild {
                id,
                origin: Origin::Internal,
                role: Some(PartyRole::Conference),
                initiator: caller,
                target: Some(callee),
                queue: None,
                state: InteractionState::Waiting,
            },
        );
        self.offer_to(child, agent);
    }

    fn placed_record(&self, new: &NewCall) -> Result<InteractionRecord, Refusal> {
        let default_rules = QueueRules::default();
        let rules = match new.queue {
            None => &default_rules,
            Some(queue) => match self.queues.get(&queue).and_then(|queue| queue.rules.as_ref()) {
                Some(rules) => rules,
                None => return refuse(RefusalCode::UnknownQueue, "no such queue"),
            },
        };
        // For an internal call, whom it is for until the caller's own phone is answered; for a manual one, whose phone that is.
        let (origin, customer, target, called) = match &new.target {
            Target::Number(number) => (Origin::Manual, CustomerSide::Dialling, new.agent, Some(number.clone())),
            Target::Agent(callee) if *callee == new.agent => {
                return refuse(RefusalCode::Malformed, "agents cannot call themselves");
            }
            Target::Agent(callee) => (Origin::Internal, CustomerSide::Nobody, *callee, None),
            Target::Queue(_) => {
                return refuse(RefusalCode::Malformed, "a queue cannot be called; name a number or agent");
            }
        };
        let now = self.now();
        let known = rules.requirements.iter().filter(|need| self.skills.is_known(&need.skill));
        Ok(InteractionRecord {
            id: new.id,
            media: Media::Voice,
            delivery: Delivery::Ring,
            queue: new.queue,
            requirements: skills::merge(known),
            priority: rules.priority,
            caller: None,
            called,
            node: Some(new.node.clone()),
            attributes: BTreeMap::new(),
            arrived_at_ms: now,
            rank_ms: TimestampMs(now.0.saturating_sub(rules.priority.head_start_ms())),
            wait_limit_at_ms: None,
            ring_timeout_ms: rules.ring_timeout_ms.max(MIN_RING_TIMEOUT_MS),
            wrap_up_ms: if origin == Origin::Internal { 0 } else { rules.wrap_up_ms },
            offers: 0,
            state: InteractionState::Waiting,
            origin,
            parent: None,
            role: None,
            initiator: Some(new.agent),
            target: Some(target),
            children: Vec::new(),
            parties: Vec::new(),
            held_since_ms: None,
            muted: false,
            recording: recording_of(rules),
            customer,
            disposition: None,
        })
    }
}

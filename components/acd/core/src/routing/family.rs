//! A conversation's family: the interaction it belongs to (the root), and the children by which others take part in it.
//!
//! ```text
//! root    Connected or External while it has children; when it ends, or leaves its agent, they end first
//! child   an interaction like any other (waits, is offered, connected), with `parent`, `role` and `origin`
//!         consultation   Consult --> Conference        takes the root over: ends as Transferred, its party has the root
//!         supervision    Listen, Whisper, Conference   or no role yet: takes over as soon as the phone is answered
//!         internal call  Conference                    the root has no customer and ends with it
//! ```
//!
//! What is derived from a family (a root's parties, what occupies an agent) is computed in one place each, when a command, a
//! deadline or a configuration has been carried out.

use std::collections::BTreeMap;

use ringdown_domain::{
    AgentId, AgentState, CustomerSide, Delivery, EndReason, InteractionId, InteractionState, Media, Origin, PartyRole,
    QueueId, Recording, SkillRequirement, TimestampMs,
};
use ringdown_events::{
    Engagement, EngagementState, InteractionRecord, JournalEvent, Party, QueueRules, Refusal, RefusalCode,
};

use super::arrival::MIN_RING_TIMEOUT_MS;
use super::slots::Interaction;
use super::{Router, refuse};
use crate::conversation::is_voice;

/// Most children of one interaction at a time.
const MAX_CHILDREN: usize = 16;

/// How somebody takes part in a conversation.
pub(super) struct NewChild {
    pub(super) id: InteractionId,
    pub(super) origin: Origin,
    pub(super) role: Option<PartyRole>,
    pub(super) initiator: AgentId,
    /// The only agent it may go to.
    pub(super) target: Option<AgentId>,
    /// The queue that finds an agent, its rules and what it needs.
    pub(super) queue: Option<(QueueId, QueueRules, Vec<SkillRequirement>)>,
    /// Where it begins: waiting, or with an outside number.
    pub(super) state: InteractionState,
}

impl Router {
    /// The slot and the agent of a connected interaction that has a conversation of its own.
    pub(super) fn connected_root(&self, id: InteractionId) -> Result<(u32, AgentId), Refusal> {
        let slot = self.find_interaction(id)?;
        let record = &self.interactions[slot].record;
        if let Some(parent) = record.parent {
            return refuse(RefusalCode::NotConnected, format!("it takes part in the conversation of {parent}"));
        }
        match record.state {
            InteractionState::Connected { agent, .. } => Ok((slot, agent)),
            InteractionState::Waiting
            | InteractionState::Offered { .. }
            | InteractionState::External { .. }
            | InteractionState::Ended { .. } => refuse(RefusalCode::NotConnected, "no agent has the interaction"),
        }
    }

    /// As [`Self::connected_root`], for a call whose customer is on the line.
    pub(super) fn call_with_customer(&self, id: InteractionId) -> Result<(u32, AgentId), Refusal> {
        let (slot, agent) = self.connected_call(id)?;
        if self.interactions[slot].record.customer != CustomerSide::Here {
            return refuse(RefusalCode::NotConnected, "no customer is on the line");
        }
        Ok((slot, agent))
    }

    /// As [`Self::connected_root`], for a call.
    pub(super) fn connected_call(&self, id: InteractionId) -> Result<(u32, AgentId), Refusal> {
        let (slot, agent) = self.connected_root(id)?;
        if !is_voice(&self.interactions[slot].record) {
            return refuse(RefusalCode::NotConnected, "the interaction is not a call");
        }
        Ok((slot, agent))
    }

    /// Refuses a further child when there are too many, or its id is taken.
    pub(super) fn check_new_child(&self, root: u32, id: InteractionId) -> Result<(), Refusal> {
        self.check_new_id(id)?;
        if self.interactions[root].record.children.len() >= MAX_CHILDREN {
            return refuse(
                RefusalCode::Full,
                format!("the conversation has {MAX_CHILDREN} parties, as many as it may"),
            );
        }
        Ok(())
    }

    /// Refuses an id that is taken.
    pub(super) fn check_new_id(&self, id: InteractionId) -> Result<(), Refusal> {
        if self.interactions.find(id).is_some() || self.ended.contains(id) {
            return refuse(RefusalCode::DuplicateInteraction, "another interaction has this id");
        }
        Ok(())
    }

    /// Adds a child, which is in no index yet.
    pub(super) fn add_child(&mut self, root: u32, child: NewChild) -> u32 {
        let record = self.child_record(root, child);
        let id = record.id;
        self.interactions[root].record.children.push(id);
        let slot = self.insert_record(record.clone());
        self.emit(match record.state {
            InteractionState::External { .. } => JournalEvent::InteractionChanged { interaction: record },
            InteractionState::Waiting
            | InteractionState::Offered { .. }
            | InteractionState::Connected { .. }
            | InteractionState::Ended { .. } => JournalEvent::InteractionQueued { interaction: record },
        });
        slot
    }

    /// Gives a new record its slot; it is in no index yet.
    pub(super) fn insert_record(&mut self, record: InteractionRecord) -> u32 {
        let needs = self.skills.needs(&record.requirements, is_voice(&record));
        let set = self.waiting.use_set(needs, &mut self.line);
        let slot = self.interactions.insert(record.id, Interaction { record, set, dirty: false, shown: None });
        self.touch_interaction(slot);
        slot
    }

    fn child_record(&self, root: u32, child: NewChild) -> InteractionRecord {
        let now = self.now();
        let root = &self.interactions[root].record;
        let (queue, rules, requirements) = match child.queue {
            Some((queue, rules, requirements)) => (Some(queue), rules, requirements),
            None => (None, QueueRules::default(), Vec::new()),
        };
        InteractionRecord {
            id: child.id,
            media: Media::Voice,
            delivery: Delivery::Ring,
            queue,
            requirements,
            priority: rules.priority,
            caller: root.caller.clone(),
            called: root.called.clone(),
            node: root.node.clone(),
            attributes: BTreeMap::new(),
            arrived_at_ms: now,
            rank_ms: TimestampMs(now.0.saturating_sub(rules.priority.head_start_ms())),
            wait_limit_at_ms: rules.wait_limit_ms.map(|limit| now.plus_ms(limit)),
            ring_timeout_ms: rules.ring_timeout_ms.max(MIN_RING_TIMEOUT_MS),
            // Nobody writes up a consultation: the one who has the customer afterwards writes up the call.
            wrap_up_ms: 0,
            offers: 0,
            state: child.state,
            origin: child.origin,
            parent: Some(root.id),
            role: child.role,
            initiator: Some(child.initiator),
            target: child.target,
            children: Vec::new(),
            parties: Vec::new(),
            held_since_ms: None,
            muted: false,
            recording: Recording::Off,
            customer: CustomerSide::Here,
            disposition: None,
        }
    }

    /// The open consultation of an interaction; else the youngest one that has become a conference.
    pub(super) fn consultation(&self, root: u32) -> Option<u32> {
        let of_role = |role| {
            let is = move |child: &&u32| {
                let record = &self.interactions[**child].record;
                record.origin == Origin::Consult && record.role == Some(role)
            };
            self.children(root).iter().rev().find(is).copied()
        };
        of_role(PartyRole::Consult).or_else(|| of_role(PartyRole::Conference))
    }

    /// The children's slots, the oldest first.
    pub(super) fn children(&self, root: u32) -> Vec<u32> {
        self.interactions[root].record.children.iter().filter_map(|child| self.interactions.find(*child)).collect()
    }

    /// Whether somebody is on the line of a child.
    pub(super) fn is_answered(&self, child: u32) -> bool {
        joined(&self.interactions[child].record.state).is_some()
    }

    /// The party of a child has the conversation from now on: the child ends without releasing it, the former agent is
    /// released to wrap up. The child must be answered.
    pub(super) fn take_over(&mut self, root: u32, child: u32) {
        let id = self.interactions[child].record.id;
        let is_outside = matches!(self.interactions[child].record.state, InteractionState::External { .. });
        self.dismiss(root, |record| {
            record.id != id
                && (record.role == Some(PartyRole::Consult) || is_outside && record.origin == Origin::Supervision)
        });
        let record = &mut self.interactions[root].record;
        record.children.retain(|other| *other != id);
        let (root_id, wrap_up_ms) = (record.id, record.wrap_up_ms);
        let former = connected_agent(&record.state);
        let (state, muted) = (self.interactions[child].record.state.clone(), self.interactions[child].record.muted);
        self.connected -= u32::from(former.is_some()) + u32::from(!is_outside);
        self.close(child, EndReason::Transferred, None, connected_agent(&state));
        self.hand_to(root, state, muted);
        if let Some(former) = former.and_then(|former| self.agents.find(former)) {
            self.release(former, root_id, wrap_up_ms);
        }
    }

    /// Puts the root with who was with the child.
    fn hand_to(&mut self, root: u32, state: InteractionState, muted: bool) {
        let now = self.now();
        let record = &mut self.interactions[root].record;
        (record.held_since_ms, record.muted) = (None, muted);
        match state {
            InteractionState::Connected { agent, offer, .. } => {
                record.state = InteractionState::Connected { agent, offer, since_ms: now };
                let (id, interaction) = (record.id, record.clone());
                self.connected += 1;
                self.touch_interaction(root);
                self.emit(JournalEvent::InteractionConnected { interaction });
                if let Some(agent) = self.agents.find(agent) {
                    let person = &mut self.agents[agent].record;
                    person.state = AgentState::Talking { interaction: id, since_ms: now };
                    person.state_since_ms = now;
                    self.agent_changed(agent);
                }
            }
            InteractionState::External { number, leg, .. } => {
                record.state = InteractionState::External { number, leg, deadline_ms: None, since_ms: now };
                self.interaction_changed(root);
            }
            InteractionState::Waiting | InteractionState::Offered { .. } | InteractionState::Ended { .. } => {}
        }
    }

    /// Ends the children for which `chosen` says yes.
    pub(super) fn dismiss(&mut self, root: u32, chosen: impl Fn(&InteractionRecord) -> bool) {
        let ids: Vec<InteractionId> = self.interactions[root].record.children.clone();
        for id in ids {
            if let Some(child) = self.interactions.find(id)
                && chosen(&self.interactions[child].record)
            {
                self.end(child, EndReason::Completed, None);
            }
        }
    }

    /// A child has ended. An internal call is over when one of its two sides is.
    pub(super) fn lose_child(&mut self, child: &InteractionRecord, reason: EndReason, at: Option<TimestampMs>) {
        let Some(root) = child.parent.and_then(|parent| self.interactions.find(parent)) else { return };
        let record = &mut self.interactions[root].record;
        let before = record.children.len();
        record.children.retain(|other| *other != child.id);
        if record.children.len() == before {
            return;
        }
        self.touch_interaction(root);
        if child.origin == Origin::Internal {
            self.end(root, reason, at);
        }
    }

    /// Something about an interaction changed that no other event tells.
    pub(super) fn interaction_changed(&mut self, slot: u32) {
        self.touch_interaction(slot);
        let interaction = self.interactions[slot].record.clone();
        self.emit(JournalEvent::InteractionChanged { interaction });
    }

    /// Brings what is derived from the families that changed up to date, in the order of their ids.
    pub(super) fn settle_families(&mut self) {
        while let Some(id) = self.families.pop_first() {
            let Some(root) = self.interactions.find(id) else { continue };
            let parties = self.parties(root);
            if self.interactions[root].record.parties != parties {
                self.interactions[root].record.parties = parties;
                self.interaction_changed(root);
                // Noted again by that, and settled.
                self.families.remove(&id);
            }
            let agent = connected_agent(&self.interactions[root].record.state);
            if let Some(agent) = agent.and_then(|agent| self.agents.find(agent))
                && self.agents[agent].record.engagements != self.engagements(agent)
            {
                self.agent_changed(agent);
            }
        }
    }

    /// What occupies an agent, from the agent's state and the children of the interaction the agent has.
    pub(super) fn engagements(&self, agent: u32) -> Vec<Engagement> {
        let record = &self.agents[agent].record;
        let of = |interaction, state| Engagement { interaction, state, since_ms: record.state_since_ms };
        match record.state {
            AgentState::Idle => Vec::new(),
            AgentState::Reserved { interaction, .. } => vec![of(interaction, EngagementState::Reserved)],
            AgentState::Ringing { interaction, .. } => vec![of(interaction, EngagementState::Ringing)],
            AgentState::WrappingUp { interaction, .. } => vec![of(interaction, EngagementState::WrappingUp)],
            AgentState::Talking { interaction, .. } => self.talks(of(interaction, EngagementState::Talking)),
        }
    }

    /// The engagement of who talks, or holds it and talks with somebody else about it.
    fn talks(&self, talking: Engagement) -> Vec<Engagement> {
        let Some(root) = self.interactions.find(talking.interaction) else { return vec![talking] };
        let is_consultation = |child: &u32| self.interactions[*child].record.role == Some(PartyRole::Consult);
        let consultation = self.children(root).into_iter().find(is_consultation);
        let consultation = consultation.map(|child| &self.interactions[child].record);
        let held_ms = self.interactions[root].record.held_since_ms;
        let held_ms = held_ms.into_iter().chain(consultation.map(|record| record.arrived_at_ms)).min();
        let own = held_ms.map_or(talking, |since_ms| Engagement { state: EngagementState::Held, since_ms, ..talking });
        let with = consultation.map(|record| Engagement {
            interaction: record.id,
            state: EngagementState::Talking,
            since_ms: record.arrived_at_ms,
        });
        std::iter::once(own).chain(with).collect()
    }

    fn parties(&self, root: u32) -> Vec<Party> {
        self.children(root).into_iter().map(|child| party(&self.interactions[child].record)).collect()
    }
}

fn party(child: &InteractionRecord) -> Party {
    let (agent, number) = match &child.state {
        InteractionState::Offered { agent, .. } | InteractionState::Connected { agent, .. } => (Some(*agent), None),
        InteractionState::External { number, .. } => (None, Some(number.clone())),
        InteractionState::Waiting | InteractionState::Ended { .. } => (None, None),
    };
    Party {
        interaction: child.id,
        origin: child.origin,
        role: child.role,
        agent,
        number,
        joined_ms: joined(&child.state),
    }
}

/// Since when somebody is on the line.
fn joined(state: &InteractionState) -> Option<TimestampMs> {
    match state {
        InteractionState::Connected { since_ms, .. } => Some(*since_ms),
        InteractionState::External { deadline_ms, since_ms, .. } => deadline_ms.is_none().then_some(*since_ms),
        InteractionState::Waiting | InteractionState::Offered { .. } | InteractionState::Ended { .. } => None,
    }
}

/// The agent who has an interaction in this state.
pub(super) fn connected_agent(state: &InteractionState) -> Option<AgentId> {
    match state {
        InteractionState::Connected { agent, .. } => Some(*agent),
        InteractionState::Waiting
        | InteractionState::Offered { .. }
        | InteractionState::External { .. }
        | InteractionState::Ended { .. } => None,
    }
}

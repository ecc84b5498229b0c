//! The rules of what agents and supervisors do with calls once more, as plainly.

use ringdown_domain::{CustomerSide, Origin, PartyRole as Role, PhoneNumber, Recording};
use ringdown_events::{ConsultEnd, Disposition, NewCall, Party, SupervisionMode, Target};

use super::*;

impl Model {
    pub(super) fn call_command(&mut self, command: &Command) -> Answer {
        match command {
            Command::AnswerCustomer { interaction } => {
                let (id, _) = self.held_by(*interaction)?;
                match self.live[&id].customer {
                    CustomerSide::Here => Ok(Done::Unchanged),
                    CustomerSide::Nobody => Err(No::NotConnected),
                    CustomerSide::Dialling => self.changing(id, |record| record.customer = CustomerSide::Here),
                }
            }
            Command::ConsultInteraction { interaction, consult, target } => {
                self.consult(*interaction, *consult, target)
            }
            Command::EndConsult { interaction, how } => self.end_consult(*interaction, *how),
            Command::EndLeg { interaction, leg, at_ms } => match self.known(*interaction) {
                Err(No::InteractionEnded) => Ok(Done::Unchanged),
                Err(no) => Err(no),
                Ok(record) => {
                    let reason = match record.state {
                        I::Connected { offer, .. } if offer == *leg => EndReason::AgentHangup,
                        I::External { leg: own, deadline_ms: None, .. } if own == *leg => EndReason::Completed,
                        _ => return Err(No::StaleOffer),
                    };
                    self.part(*interaction, reason, *at_ms);
                    Ok(Done::Changed)
                }
            },
            Command::ExtendWrapUp { agent, by_ms } => {
                let record = self.configured(*agent)?.clone();
                if *by_ms < 1_000 || *by_ms > 3_600_000 {
                    return Err(No::Malformed);
                }
                let A::WrappingUp { interaction, until_ms } = record.state else { return Err(No::AgentBusy) };
                let later = (until_ms.0 + by_ms).min(self.now.0 + 3_600_000);
                if later <= until_ms.0 {
                    return Ok(Done::Unchanged);
                }
                let state = A::WrappingUp { interaction, until_ms: TimestampMs(later) };
                self.agents.get_mut(agent).unwrap().state = state;
                self.emit_agent(*agent);
                Ok(Done::Changed)
            }
            Command::HoldInteraction { interaction, held } => {
                let id = self.call(*interaction)?.0;
                if self.live[&id].held_since_ms.is_some() == *held {
                    return Ok(Done::Unchanged);
                }
                let since = held.then_some(self.now);
                self.changing(id, |record| record.held_since_ms = since)
            }
            Command::MoveInteraction { interaction, queue } => self.move_to(*interaction, *queue),
            Command::MuteInteraction { interaction, muted } => {
                let record = self.known(*interaction)?;
                if !is_call(record) || !matches!(record.state, I::Connected { .. }) {
                    return Err(No::NotConnected);
                }
                if record.muted == *muted {
                    return Ok(Done::Unchanged);
                }
                self.changing(*interaction, |record| record.muted = *muted)
            }
            Command::ObservePhone { agent, reachable } => self.observe(*agent, *reachable),
            Command::PlaceCall(new) => self.place_call(new),
            Command::SendDigits { interaction, digits } => {
                let id = self.call(*interaction)?.0;
                let known = digits.chars().all(|digit| "0123456789*#ABCD".contains(digit));
                if digits.is_empty() || digits.len() > 32 || !known {
                    return Err(No::Malformed);
                }
                self.changing(id, |_| {})
            }
            Command::SetDisposition { interaction, disposition } => self.class(*interaction, disposition),
            Command::SetRecording { interaction, recording } => {
                let (id, _) = self.held_by(*interaction)?;
                if !is_call(&self.live[&id]) {
                    return Err(No::NotConnected);
                }
                match (self.live[&id].recording, recording) {
                    (before, after) if before == *after => Ok(Done::Unchanged),
                    (Recording::Off, Recording::Paused) => Err(No::NotConnected),
                    _ => self.changing(id, |record| record.recording = *recording),
                }
            }
            Command::SuperviseInteraction { interaction, supervision, supervisor, mode } => {
                self.supervise(*interaction, *supervision, *supervisor, *mode)
            }
            Command::TransferInteraction { interaction, target } => self.transfer(*interaction, target),
            other => unreachable!("{other:?}"),
        }
    }

    /// After each input: who takes part in what, and what follows for the agents who have it.
    pub(super) fn families(&mut self) {
        let ids: Vec<_> = self.live.keys().copied().collect();
        for id in ids {
            let parties: Vec<_> = self.live[&id].children.iter().map(|child| party(&self.live[child])).collect();
            if self.live[&id].parties != parties {
                self.changing(id, |record| record.parties = parties).unwrap();
            }
            if let I::Connected { agent, .. } = self.live[&id].state
                && self.agents[&agent].engagements != self.engagements(agent)
            {
                self.emit_agent(agent);
            }
        }
    }

    pub(super) fn end_children(&mut self, id: InteractionId, reason: EndReason, at: Option<TimestampMs>) {
        let record = self.live.get_mut(&id).unwrap();
        record.parties.clear();
        let mut children = std::mem::take(&mut record.children);
        children.sort_by_key(|child| match self.live[child].state {
            I::Waiting => 0,
            I::Offered { .. } => 1,
            _ => 2,
        });
        let reason = if reason == EndReason::NodeLost { reason } else { EndReason::Completed };
        children.into_iter().for_each(|child| self.end(child, reason, at));
    }

    /// A child is gone from the live ones.
    pub(super) fn lost(&mut self, child: &InteractionRecord, reason: EndReason, at: Option<TimestampMs>) {
        let Some(parent) = child.parent.and_then(|parent| self.live.get_mut(&parent)) else { return };
        if parent.children.contains(&child.id) {
            parent.children.retain(|other| *other != child.id);
            if child.origin == Origin::Internal {
                self.end(child.parent.unwrap(), reason, at);
            }
        }
    }

    /// One that nobody has ends.
    pub(super) fn over(&mut self, id: InteractionId, reason: EndReason) {
        let mut record = self.live.remove(&id).unwrap();
        record.state = I::Ended { reason, at_ms: self.now, agent: None };
        self.ended.push(record.clone());
        self.emit(E::InteractionEnded { interaction: record.clone() });
        self.lost(&record, reason, None);
    }

    /// The open offer to an agent by name came to nothing.
    pub(super) fn fail_directed(&mut self, id: InteractionId, failure: OfferFailure, code: Option<u16>) {
        let (agent, place) = self.close_offer(id, Some(failure), code);
        let now = self.now;
        let record = self.agents.get_mut(&agent).unwrap();
        let is_silent = record.reachable == Some(false);
        if failure == OfferFailure::Unreachable && record.status == AgentStatus::Ready && !is_silent {
            record.status = AgentStatus::NotReady { reason: "unreachable".parse().unwrap() };
            record.status_since_ms = now;
        }
        self.back_or_over(id, failure);
        self.settle(agent, place);
    }

    pub(super) fn back_or_over(&mut self, id: InteractionId, failure: OfferFailure) {
        self.live.get_mut(&id).unwrap().target = None;
        if may_wait(&self.live[&id]) {
            self.requeue(id);
            self.seek_agent(id, Trigger::OfferFailed);
        } else {
            self.over(id, reason_of(failure));
        }
    }

    /// An agent's phone was answered, and hung up before the customer was there.
    pub(super) fn unjoined(&mut self, id: InteractionId, agent: AgentId, offer: OfferId, code: Option<u16>) {
        if may_wait(&self.live[&id]) {
            self.dismiss(id, |_| true);
            self.take_back(id, agent, offer, code);
        } else {
            self.part(id, EndReason::AgentHangup, self.now);
        }
    }

    /// What an answered phone leads to.
    pub(super) fn after_answer(&mut self, id: InteractionId, named: Option<AgentId>) {
        let record = self.live[&id].clone();
        let I::Connected { agent, .. } = record.state else { unreachable!() };
        if record.origin == Origin::Internal && record.parent.is_none() {
            let Some(callee) = named else { return };
            if self.is_free(callee).is_err() {
                let silent = self.agents.get(&callee).is_some_and(|agent| agent.reachable == Some(false));
                let reason = if silent { EndReason::Unreachable } else { EndReason::Busy };
                return self.end(id, reason, None);
            }
            let child = InteractionId(self.offer_ids.next(self.now).0);
            self.child(id, child, Origin::Internal, Some(Role::Conference), agent, Some(callee));
            self.offer_by_name(child, callee);
        } else if record.origin == Origin::Supervision
            && record.role.is_none()
            && let Some(parent) = record.parent
        {
            self.take_over(parent, id);
        }
    }

    pub(super) fn fail_number(&mut self, id: InteractionId, failure: OfferFailure) {
        self.back_or_over(id, failure);
    }

    pub(super) fn answer_number(&mut self, id: InteractionId) -> Answer {
        let now = self.now;
        self.changing(id, |record| {
            let I::External { deadline_ms, since_ms, .. } = &mut record.state else { unreachable!() };
            (*deadline_ms, *since_ms) = (None, now);
        })
    }

    fn changing(&mut self, id: InteractionId, change: impl FnOnce(&mut InteractionRecord)) -> Answer {
        let record = self.live.get_mut(&id).unwrap();
        change(record);
        let interaction = record.clone();
        self.emit(E::InteractionChanged { interaction });
        Ok(Done::Changed)
    }

    /// The id of one with a conversation of its own, and the agent who has it.
    fn held_by(&self, id: InteractionId) -> Result<(InteractionId, AgentId), No> {
        let record = self.known(id)?;
        match record.state {
            I::Connected { agent, .. } if record.parent.is_none() => Ok((id, agent)),
            _ => Err(No::NotConnected),
        }
    }

    fn call(&self, id: InteractionId) -> Result<(InteractionId, AgentId), No> {
        let found = self.held_by(id)?;
        let record = &self.live[&id];
        if is_call(record) && record.customer == CustomerSide::Here { Ok(found) } else { Err(No::NotConnected) }
    }

    /// Somebody to whom something can be offered by name.
    fn is_free(&self, id: AgentId) -> Result<(), No> {
        let agent = self.configured(id)?;
        let is_free =
            agent.status != AgentStatus::LoggedOut && agent.state == A::Idle && agent.reachable != Some(false);
        if is_free { Ok(()) } else { Err(No::AgentBusy) }
    }

    fn fresh(&self, id: InteractionId) -> Result<(), No> {
        let is_taken = self.live.contains_key(&id) || self.ended.iter().any(|record| record.id == id);
        if is_taken { Err(No::DuplicateInteraction) } else { Ok(()) }
    }

    /// The rules of a queue with room.
    fn queue_with_room(&self, queue: QueueId) -> Result<QueueRules, No> {
        let rules = self.config.queues.get(&queue).ok_or(No::UnknownQueue)?.rules.clone();
        if self.waiting_in(queue) >= rules.capacity as usize { Err(No::Full) } else { Ok(rules) }
    }

    fn offer_by_name(&mut self, id: InteractionId, agent: AgentId) -> (AgentId, OfferId) {
        let record = self.agents[&agent].clone();
        let since = record.available_since_ms;
        let decision = Decision {
            trigger: Trigger::Directed,
            waited_ms: self.now.0 - self.live[&id].arrived_at_ms.0,
            available_ms: since.map_or(0, |since| self.now.0.saturating_sub(since.0)),
            agents_available: self.available(),
            interactions_waiting: self.waiting(),
            agents: vec![CandidateAgent { agent, available_since_ms: since.unwrap_or(record.state_since_ms) }],
            interactions: vec![],
        };
        (agent, self.offer(id, agent, decision))
    }

    fn child(
        &mut self,
        parent: InteractionId,
        id: InteractionId,
        origin: Origin,
        role: Option<Role>,
        initiator: AgentId,
        target: Option<AgentId>,
    ) {
        let root = self.live.get_mut(&parent).unwrap();
        root.children.push(id);
        let record = InteractionRecord {
            id,
            delivery: Delivery::Ring,
            media: Media::Voice,
            caller: root.caller.clone(),
            called: root.called.clone(),
            node: root.node.clone(),
            ..blank(id, self.now)
        };
        let record =
            InteractionRecord { origin, parent: Some(parent), role, initiator: Some(initiator), target, ..record };
        self.live.insert(id, record.clone());
        self.emit(E::InteractionQueued { interaction: record });
    }

    fn consult(&mut self, root: InteractionId, id: InteractionId, target: &Target) -> Answer {
        let (_, agent) = self.call(root)?;
        self.fresh(id)?;
        if self.live[&root].children.len() >= 16 {
            return Err(No::Full);
        }
        if self.live[&root].children.iter().any(|child| self.live[child].role == Some(Role::Consult)) {
            return Err(No::NotConnected);
        }
        let role = Some(Role::Consult);
        let offered = match target {
            Target::Agent(asked) if *asked == agent => return Err(No::AgentBusy),
            Target::Agent(asked) => {
                self.is_free(*asked)?;
                self.child(root, id, Origin::Consult, role, agent, Some(*asked));
                Some(self.offer_by_name(id, *asked))
            }
            Target::Queue(queue) => {
                let rules = self.queue_with_room(*queue)?;
                self.child(root, id, Origin::Consult, role, agent, None);
                self.events.pop();
                self.under(id, *queue, &rules);
                self.live.get_mut(&id).unwrap().wrap_up_ms = 0;
                self.live.get_mut(&id).unwrap().recording = Recording::Off;
                self.emit(E::InteractionQueued { interaction: self.live[&id].clone() });
                self.seek_agent(id, Trigger::InteractionArrived)
            }
            Target::Number(number) => {
                self.child(root, id, Origin::Consult, role, agent, None);
                self.events.pop();
                self.dial(id, number);
                None
            }
        };
        Ok(Done::Created { interaction: id, offered })
    }

    fn dial(&mut self, id: InteractionId, number: &PhoneNumber) {
        let leg = self.offer_ids.next(self.now);
        let (since_ms, deadline_ms) = (self.now, Some(TimestampMs(self.now.0 + 30_000)));
        let state = I::External { number: number.clone(), leg, deadline_ms, since_ms };
        self.changing(id, |record| record.state = state).unwrap();
    }

    fn end_consult(&mut self, root: InteractionId, how: ConsultEnd) -> Answer {
        self.held_by(root)?;
        let in_role = |role| {
            let is = |child: &&InteractionId| {
                self.live[*child].origin == Origin::Consult && self.live[*child].role == Some(role)
            };
            self.live[&root].children.iter().rfind(is).copied()
        };
        let child = in_role(Role::Consult).or(in_role(Role::Conference)).ok_or(No::NotConnected)?;
        if how == ConsultEnd::Cancel {
            self.end(child, EndReason::Completed, None);
            return Ok(Done::Changed);
        }
        if party(&self.live[&child]).joined_ms.is_none() {
            return Err(No::AgentBusy);
        }
        if how == ConsultEnd::Complete {
            self.take_over(root, child);
            return Ok(Done::Changed);
        }
        if self.live[&child].role == Some(Role::Conference) {
            return Ok(Done::Unchanged);
        }
        self.live.get_mut(&root).unwrap().held_since_ms = None;
        self.changing(child, |record| record.role = Some(Role::Conference))
    }

    fn dismiss(&mut self, root: InteractionId, chosen: impl Fn(&InteractionRecord) -> bool) {
        for child in self.live[&root].children.clone() {
            if self.live.get(&child).is_some_and(&chosen) {
                self.end(child, EndReason::Completed, None);
            }
        }
    }

    fn take_over(&mut self, root: InteractionId, child: InteractionId) {
        let is_number = matches!(self.live[&child].state, I::External { .. });
        self.dismiss(root, |record| {
            record.id != child
                && (record.role == Some(Role::Consult) || (is_number && record.origin == Origin::Supervision))
        });
        let mut gone = self.live.remove(&child).unwrap();
        let state = gone.state.clone();
        let agent = if let I::Connected { agent, .. } = state { Some(agent) } else { None };
        gone.state = I::Ended { reason: EndReason::Transferred, at_ms: self.now, agent };
        self.ended.push(gone.clone());
        let muted = gone.muted;
        self.emit(E::InteractionEnded { interaction: gone });
        let now = self.now;
        let record = self.live.get_mut(&root).unwrap();
        record.children.retain(|other| *other != child);
        let former = if let I::Connected { agent, .. } = record.state { Some(agent) } else { None };
        let wrap_up_ms = record.wrap_up_ms;
        (record.held_since_ms, record.muted) = (None, muted);
        match state {
            I::Connected { agent, offer, .. } => {
                record.state = I::Connected { agent, offer, since_ms: now };
                let interaction = record.clone();
                self.emit(E::InteractionConnected { interaction });
                let person = self.agents.get_mut(&agent).unwrap();
                person.state = A::Talking { interaction: root, since_ms: now };
                person.state_since_ms = now;
                self.emit_agent(agent);
            }
            I::External { number, leg, .. } => {
                let state = I::External { number, leg, deadline_ms: None, since_ms: now };
                self.changing(root, |record| record.state = state).unwrap();
            }
            other => unreachable!("{other:?}"),
        }
        if let Some(former) = former {
            self.release(former, root, wrap_up_ms);
        }
    }

    fn part(&mut self, id: InteractionId, reason: EndReason, at: TimestampMs) {
        let heirs = self.live[&id].children.iter().filter(|child| {
            let child = &self.live[*child];
            child.origin == Origin::Consult
                && child.role == Some(Role::Conference)
                && matches!(child.state, I::Connected { .. } | I::External { deadline_ms: None, .. })
        });
        let mut heirs: Vec<_> = heirs.copied().collect();
        heirs.sort_by_key(|child| matches!(self.live[child].state, I::External { .. }));
        match heirs.first() {
            Some(heir) => self.take_over(id, *heir),
            None => self.end(id, reason, Some(at)),
        }
    }

    /// Under the rules of another queue.
    fn under(&mut self, id: InteractionId, queue: QueueId, rules: &QueueRules) {
        let known: BTreeMap<_, _> = rules
            .requirements
            .iter()
            .filter(|need| self.config.skills.contains(&need.skill))
            .map(|need| (need.skill.clone(), need.min_level))
            .collect();
        let now = self.now;
        let record = self.live.get_mut(&id).unwrap();
        record.queue = Some(queue);
        record.requirements =
            known.into_iter().map(|(skill, min_level)| SkillRequirement { skill, min_level }).collect();
        record.priority = rules.priority;
        let head_start = u64::from(rules.priority.value()) * 10_000;
        record.rank_ms = TimestampMs(record.arrived_at_ms.0.saturating_sub(head_start));
        record.wait_limit_at_ms = rules.wait_limit_ms.map(|limit| TimestampMs(now.0 + limit));
        record.ring_timeout_ms = rules.ring_timeout_ms;
        record.wrap_up_ms = rules.wrap_up_ms;
        if rules.recorded && record.media == Media::Voice && record.recording == Recording::Off {
            record.recording = Recording::On;
        }
    }

    fn transfer(&mut self, id: InteractionId, target: &Target) -> Answer {
        let (_, agent) = self.held_by(id)?;
        let record = &self.live[&id];
        let is_open = record.children.iter().any(|child| self.live[child].role == Some(Role::Consult));
        if record.customer != CustomerSide::Here || is_open {
            return Err(No::NotConnected);
        }
        let wrap_up_ms = record.wrap_up_ms;
        let rules = match target {
            Target::Agent(to) if *to == agent => return Err(No::AgentBusy),
            Target::Agent(to) => {
                self.is_free(*to)?;
                None
            }
            Target::Queue(queue) => Some(self.queue_with_room(*queue)?),
            Target::Number(_) if !is_call(record) => return Err(No::NotConnected),
            Target::Number(_) => None,
        };
        self.dismiss(id, |_| true);
        let limit = self.live[&id].queue.and_then(|queue| self.config.queues.get(&queue));
        let limit = limit.and_then(|queue| queue.rules.wait_limit_ms).map(|limit| TimestampMs(self.now.0 + limit));
        let record = self.live.get_mut(&id).unwrap();
        (record.held_since_ms, record.muted) = (None, false);
        match (target, rules) {
            (Target::Queue(queue), Some(rules)) => {
                self.under(id, *queue, &rules);
                self.requeue(id);
                self.seek_agent(id, Trigger::InteractionArrived);
            }
            (Target::Agent(to), _) => {
                (record.target, record.wait_limit_at_ms) = (Some(*to), limit);
                self.requeue(id);
                self.offer_by_name(id, *to);
            }
            (Target::Number(number), _) => {
                record.wait_limit_at_ms = limit;
                self.dial(id, number);
            }
            (Target::Queue(_), None) => unreachable!(),
        }
        self.release(agent, id, wrap_up_ms);
        Ok(Done::Changed)
    }

    fn move_to(&mut self, id: InteractionId, queue: QueueId) -> Answer {
        let record = self.known(id)?.clone();
        let is_offered = matches!(record.state, I::Offered { .. });
        if record.state != I::Waiting && (!is_offered || record.target.is_some()) {
            return Err(No::NotConnected);
        }
        if record.queue == Some(queue) {
            return Ok(Done::Unchanged);
        }
        let rules = self.queue_with_room(queue)?;
        let freed = is_offered.then(|| self.close_offer(id, None, None));
        self.live.get_mut(&id).unwrap().state = I::Waiting;
        self.under(id, queue, &rules);
        self.requeue(id);
        self.seek_agent(id, Trigger::InteractionArrived);
        if let Some((agent, place)) = freed {
            self.settle(agent, place);
        }
        Ok(Done::Changed)
    }

    fn observe(&mut self, id: AgentId, reachable: bool) -> Answer {
        if self.configured(id)?.reachable == Some(reachable) {
            return Ok(Done::Unchanged);
        }
        let record = self.agents.get_mut(&id).unwrap();
        record.reachable = Some(reachable);
        match (record.state.clone(), reachable) {
            (A::Idle, true) if record.available_since_ms.is_some() && !self.resting.contains(&id) => {
                if !self.seek_interaction(id, Trigger::AgentAvailable) {
                    self.emit_agent(id);
                }
            }
            (A::Reserved { interaction, .. } | A::Ringing { interaction, .. }, false)
                if crate::conversation::is_voice(&self.live[&interaction]) =>
            {
                if self.live[&interaction].target.is_some() {
                    self.fail_directed(interaction, OfferFailure::Unreachable, None);
                } else {
                    let (agent, place) = self.close_offer(interaction, Some(OfferFailure::Unreachable), None);
                    self.requeue(interaction);
                    self.seek_agent(interaction, Trigger::OfferFailed);
                    self.settle(agent, place);
                }
            }
            _ => self.emit_agent(id),
        }
        Ok(Done::Changed)
    }

    fn place_call(&mut self, new: &NewCall) -> Answer {
        self.fresh(new.id)?;
        let rules = match new.queue {
            None => QueueRules::default(),
            Some(queue) => self.config.queues.get(&queue).ok_or(No::UnknownQueue)?.rules.clone(),
        };
        let (origin, customer, target, called) = match &new.target {
            Target::Number(number) => (Origin::Manual, CustomerSide::Dialling, new.agent, Some(number.clone())),
            Target::Agent(callee) if *callee != new.agent => (Origin::Internal, CustomerSide::Nobody, *callee, None),
            Target::Agent(_) | Target::Queue(_) => return Err(No::Malformed),
        };
        self.is_free(new.agent)?;
        if let Target::Agent(callee) = new.target {
            self.is_free(callee)?;
        }
        let record = InteractionRecord { media: Media::Voice, delivery: Delivery::Ring, ..blank(new.id, self.now) };
        self.live.insert(new.id, record);
        match new.queue {
            Some(queue) => self.under(new.id, queue, &rules),
            None => self.live.get_mut(&new.id).unwrap().wrap_up_ms = rules.wrap_up_ms,
        }
        let record = self.live.get_mut(&new.id).unwrap();
        record.wait_limit_at_ms = None;
        (record.origin, record.customer, record.called) = (origin, customer, called);
        (record.node, record.initiator, record.target) = (Some(new.node.clone()), Some(new.agent), Some(target));
        if origin == Origin::Internal {
            record.wrap_up_ms = 0;
        }
        let interaction = record.clone();
        self.emit(E::InteractionQueued { interaction });
        let offered = Some(self.offer_by_name(new.id, new.agent));
        Ok(Done::Created { interaction: new.id, offered })
    }

    fn supervise(
        &mut self,
        root: InteractionId,
        id: InteractionId,
        supervisor: AgentId,
        mode: SupervisionMode,
    ) -> Answer {
        let (_, agent) = self.held_by(root)?;
        if !is_call(&self.live[&root]) {
            return Err(No::NotConnected);
        }
        if agent == supervisor {
            return Err(No::AgentBusy);
        }
        let role = match mode {
            SupervisionMode::Barge => Some(Role::Conference),
            SupervisionMode::Listen => Some(Role::Listen),
            SupervisionMode::TakeOver => None,
            SupervisionMode::Whisper => Some(Role::Whisper),
        };
        let children = self.live[&root].children.clone();
        let own = children.iter().find(|child| {
            self.live[*child].origin == Origin::Supervision && self.live[*child].initiator == Some(supervisor)
        });
        if let Some(child) = own {
            if role.is_none() && party(&self.live[child]).joined_ms.is_some() {
                self.take_over(root, *child);
                return Ok(Done::Changed);
            }
            if self.live[child].role == role {
                return Ok(Done::Unchanged);
            }
            return self.changing(*child, |record| record.role = role);
        }
        self.fresh(id)?;
        if children.len() >= 16 {
            return Err(No::Full);
        }
        self.is_free(supervisor)?;
        self.child(root, id, Origin::Supervision, role, supervisor, Some(supervisor));
        let offered = Some(self.offer_by_name(id, supervisor));
        Ok(Done::Created { interaction: id, offered })
    }

    fn class(&mut self, id: InteractionId, disposition: &Disposition) -> Answer {
        if disposition.code.is_empty() {
            return Err(No::Malformed);
        }
        match self.known(id) {
            Ok(record) if record.disposition.as_ref() == Some(disposition) => Ok(Done::Unchanged),
            Ok(_) => self.changing(id, |record| record.disposition = Some(disposition.clone())),
            Err(No::InteractionEnded) => {
                let end = |record: &InteractionRecord| match record.state {
                    I::Ended { at_ms, agent: Some(_), .. } => Some((at_ms, record.id)),
                    _ => None,
                };
                let mut ends: Vec<_> = self.ended.iter().filter_map(end).collect();
                ends.sort();
                let recent = ends.split_off(ends.len().saturating_sub(crate::routing::MAX_RECENT));
                let now = self.now;
                if !recent.iter().any(|(at, other)| *other == id && at.0 + 3_600_000 >= now.0) {
                    return Err(No::InteractionEnded);
                }
                let record = self.ended.iter_mut().find(|record| record.id == id).unwrap();
                if record.disposition.as_ref() == Some(disposition) {
                    return Ok(Done::Unchanged);
                }
                record.disposition = Some(disposition.clone());
                let interaction = record.clone();
                self.emit(E::InteractionChanged { interaction });
                Ok(Done::Changed)
            }
            Err(no) => Err(no),
        }
    }
}

fn is_call(record: &InteractionRecord) -> bool {
    record.media == Media::Voice && record.delivery == Delivery::Ring && record.node.is_some()
}

/// Whether it may wait for whoever has the skills.
pub(super) fn may_wait(record: &InteractionRecord) -> bool {
    let is_served = match record.origin {
        Origin::Supervision | Origin::Internal => false,
        Origin::Consult | Origin::Manual => record.queue.is_some(),
        _ => true,
    };
    is_served && record.customer == CustomerSide::Here
}

pub(super) fn reason_of(failure: OfferFailure) -> EndReason {
    match failure {
        OfferFailure::Busy | OfferFailure::Rejected => EndReason::Busy,
        OfferFailure::HungUp => EndReason::AgentHangup,
        OfferFailure::NoAnswer => EndReason::NoAnswer,
        OfferFailure::Unreachable => EndReason::Unreachable,
    }
}

fn party(child: &InteractionRecord) -> Party {
    let (agent, number, joined_ms) = match &child.state {
        I::Offered { agent, .. } => (Some(*agent), None, None),
        I::Connected { agent, since_ms, .. } => (Some(*agent), None, Some(*since_ms)),
        I::External { number, deadline_ms: None, since_ms, .. } => (None, Some(number.clone()), Some(*since_ms)),
        I::External { number, .. } => (None, Some(number.clone()), None),
        _ => (None, None, None),
    };
    Party { interaction: child.id, origin: child.origin, role: child.role, agent, number, joined_ms }
}

fn blank(id: InteractionId, now: TimestampMs) -> InteractionRecord {
    let rules = QueueRules::default();
    InteractionRecord {
        id,
        media: Media::Task,
        delivery: Delivery::Direct,
        queue: None,
        requirements: vec![],
        priority: rules.priority,
        caller: None,
        called: None,
        node: None,
        attributes: BTreeMap::new(),
        arrived_at_ms: now,
        rank_ms: now,
        wait_limit_at_ms: None,
        ring_timeout_ms: rules.ring_timeout_ms,
        wrap_up_ms: 0,
        offers: 0,
        state: I::Waiting,
        origin: Origin::Inbound,
        parent: None,
        role: None,
        initiator: None,
        target: None,
        children: vec![],
        parties: vec![],
        held_since_ms: None,
        muted: false,
        recording: Recording::Off,
        customer: CustomerSide::Here,
        disposition: None,
    }
}

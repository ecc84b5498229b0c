//! Offers: ringing, accepted, failed, rung out.

use ringdown_domain::{
    AgentId, AgentState, AgentStatus, Delivery, InteractionId, InteractionState, OfferFailure, OfferId, Origin,
    ReasonCode, TenantId, TimestampMs,
};
use ringdown_events::{AfterNoAnswer, Done, JournalEvent, QueueRules, Refusal, RefusalCode, RefusalRow};

use super::timers::Timer;
use super::{BUSY_PAUSE_MS, MAX_PAUSE_MS, Router, refuse};

/// Where offers get their identities: from the time, the epoch of the router's lease and a counter. No two routers of a
/// tenant share an epoch, so no two offers share an identity, and none needs a random source.
#[derive(Clone, Debug)]
pub struct OfferIds {
    tenant: u64,
    epoch: u32,
    counter: u32,
}

impl OfferIds {
    /// `epoch` is the fencing epoch of the lease under which the router runs.
    #[must_use]
    pub fn new(tenant: TenantId, epoch: u64) -> Self {
        let (high, low) = tenant.0.as_u64_pair();
        // Spread, so that tenants with neighbouring ids do not get neighbouring offers.
        let tenant = (high.rotate_left(32) ^ low).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        // 2^32 take-overs of one tenant are out of reach, so the low half tells them apart.
        let epoch = u32::try_from(epoch & u64::from(u32::MAX)).expect("masked to 32 bits");
        Self { tenant, epoch, counter: 0 }
    }

    /// The next identity. After 2^32 within one millisecond and epoch they would repeat.
    pub(super) fn next(&mut self, now: TimestampMs) -> OfferId {
        self.counter = self.counter.wrapping_add(1);
        let counter = self.counter.to_be_bytes();
        // Bytes 0 and 2 are partly version and variant (RFC 9562 5.7), so nothing that counts stands there. The tenant's bits
        // make offers of two tenants differ.
        let mut bytes = [0_u8; 10];
        bytes[1] = counter[0];
        bytes[3..7].copy_from_slice(&self.epoch.to_be_bytes());
        bytes[7..].copy_from_slice(&counter[1..]);
        for (byte, tenant) in bytes[2..].iter_mut().zip(self.tenant.to_be_bytes()) {
            *byte ^= tenant;
        }
        OfferId::from_parts(now.0, &bytes)
    }
}

impl Router {
    pub(super) fn ring_offer(&mut self, id: InteractionId, offer: OfferId) -> Result<Done, Refusal> {
        let interaction = self.find_interaction(id)?;
        let now = self.now();
        match self.interactions[interaction].record.state {
            InteractionState::Offered { agent, offer: open, .. } if open == offer => {
                let Some(agent) = self.agents.find(agent) else { return stale() };
                let record = &mut self.agents[agent].record;
                let AgentState::Reserved { offer, interaction, deadline_ms } = record.state else {
                    return Ok(Done::Unchanged);
                };
                record.state = AgentState::Ringing { offer, interaction, deadline_ms };
                record.state_since_ms = now;
                self.agent_changed(agent);
                Ok(Done::Changed)
            }
            InteractionState::External { leg, .. } if leg == offer => Ok(Done::Unchanged),
            // The news of the ringing came after that of the answer.
            InteractionState::Connected { offer: taken, .. } if taken == offer => Ok(Done::Unchanged),
            InteractionState::Connected { .. }
            | InteractionState::Ended { .. }
            | InteractionState::External { .. }
            | InteractionState::Offered { .. }
            | InteractionState::Waiting => stale(),
        }
    }

    pub(super) fn accept_offer(&mut self, id: InteractionId, offer: OfferId) -> Result<Done, Refusal> {
        let interaction = self.find_interaction(id)?;
        match self.interactions[interaction].record.state {
            InteractionState::Offered { agent, offer: open, deadline_ms } if open == offer => {
                let Some(agent) = self.agents.find(agent) else { return stale() };
                self.timers.clear(deadline_ms, Timer::Offer(id));
                self.connect(interaction, agent, offer);
                Ok(Done::Changed)
            }
            InteractionState::External { leg, deadline_ms, .. } if leg == offer => {
                if deadline_ms.is_none() {
                    return Ok(Done::Unchanged);
                }
                self.answer_number(interaction);
                Ok(Done::Changed)
            }
            InteractionState::Connected { offer: taken, .. } if taken == offer => Ok(Done::Unchanged),
            InteractionState::Connected { .. }
            | InteractionState::Ended { .. }
            | InteractionState::External { .. }
            | InteractionState::Offered { .. }
            | InteractionState::Waiting => stale(),
        }
    }

    pub(super) fn fail_offer(
        &mut self,
        id: InteractionId,
        offer: OfferId,
        failure: OfferFailure,
        sip_code: Option<u16>,
    ) -> Result<Done, Refusal> {
        let interaction = self.find_interaction(id)?;
        if sip_code.is_some_and(|code| !(300..=699).contains(&code)) {
            return refuse(RefusalCode::Malformed, "sip_code must be 300 to 699");
        }
        match self.interactions[interaction].record.state {
            InteractionState::Offered { offer: open, .. } if open == offer => {
                self.fail_open_offer(interaction, failure, sip_code);
                Ok(Done::Changed)
            }
            // The agent's phone was answered, and hung up before the caller was joined: the caller has had nobody yet.
            InteractionState::Connected { agent, offer: taken, .. }
                if taken == offer
                    && failure == OfferFailure::HungUp
                    && self.interactions[interaction].record.delivery == Delivery::Ring =>
            {
                self.give_back_unjoined(interaction, agent, offer, sip_code);
                Ok(Done::Changed)
            }
            InteractionState::External { leg, deadline_ms: Some(_), .. } if leg == offer => {
                self.fail_number(interaction, failure);
                Ok(Done::Changed)
            }
            InteractionState::Connected { .. }
            | InteractionState::Ended { .. }
            | InteractionState::External { .. }
            | InteractionState::Offered { .. }
            | InteractionState::Waiting => stale(),
        }
    }

    /// The open offer of an interaction came to nothing; the agent bears what the failure means.
    pub(super) fn fail_open_offer(&mut self, interaction: u32, failure: OfferFailure, sip_code: Option<u16>) {
        if self.is_directed(interaction) {
            return self.fail_directed(interaction, failure, sip_code);
        }
        let agent = self.offered_agent(interaction);
        let since = agent.map_or(self.now(), |agent| self.bear(agent, interaction, failure));
        self.withdraw_offer(interaction, failure, sip_code, since);
    }

    /// What a failed offer means for its agent: another status, or a pause that grows with each failure in a row. Gives the
    /// clock with which the agent stands in the line again.
    fn bear(&mut self, agent: u32, interaction: u32, failure: OfferFailure) -> TimestampMs {
        let now = self.now();
        let queue = self.interactions[interaction].record.queue;
        let rules = queue.and_then(|queue| self.queues.get(&queue)).and_then(|queue| queue.rules.as_ref());
        let record = &mut self.agents[agent].record;
        let before = record.refusals.filter(|row| row.failure == failure).map_or(0, |row| row.count);
        let count = before.saturating_add(1);
        record.refusals = Some(RefusalRow { failure, count });
        match after_failure(failure, count, rules) {
            AfterFailure::NotReady(reason) => {
                record.status = AgentStatus::NotReady { reason: ReasonCode::known(reason) };
                record.status_since_ms = now;
                now
            }
            AfterFailure::Pause(pause_ms) => now.plus_ms(pause_ms),
        }
    }

    /// A connection that never came about: the interaction goes back to its place and on to the next agent, then its agent
    /// is free again.
    pub(super) fn take_back(&mut self, interaction: u32, agent_id: AgentId, offer: OfferId, sip_code: Option<u16>) {
        let failure = OfferFailure::HungUp;
        let record = &mut self.interactions[interaction].record;
        (record.held_since_ms, record.muted) = (None, false);
        let id = record.id;
        self.connected -= 1;
        self.emit(JournalEvent::OfferFailed {
            interaction: id,
            agent: agent_id,
            offer,
            failure: Some(failure),
            sip_code,
        });
        let agent = self.agents.find(agent_id);
        let now = self.now();
        let since = agent.map_or(now, |agent| self.bear(agent, interaction, failure));
        if let Some(agent) = agent {
            let person = &mut self.agents[agent].record;
            person.state = AgentState::Idle;
            person.state_since_ms = now;
        }
        self.return_to_queue(interaction);
        match agent {
            Some(agent) if self.agents[agent].removed => self.remove_agent(agent),
            Some(agent) => self.settle_agent(agent, since),
            None => {}
        }
    }

    /// Ends the open offer of an interaction: the interaction goes back to its place and on to the next agent, then the agent,
    /// whose status says what the agent may get now, stands in the line anew with the clock `since`.
    pub(super) fn withdraw_offer(
        &mut self,
        interaction: u32,
        failure: OfferFailure,
        sip_code: Option<u16>,
        since: TimestampMs,
    ) {
        let Some((agent, _)) = self.close_offer(interaction, Some(failure), sip_code) else { return };
        self.line.leave(agent);
        self.return_to_queue(interaction);
        self.settle_agent(agent, since);
    }

    /// The open offer of an interaction came to nothing through nobody's fault: the interaction goes back to its place, and the
    /// agent keeps the one in the line.
    pub(super) fn give_up_offer(&mut self, interaction: u32, failure: OfferFailure, sip_code: Option<u16>) {
        if self.is_directed(interaction) {
            return self.fail_directed(interaction, failure, sip_code);
        }
        let Some((agent, place)) = self.close_offer(interaction, Some(failure), sip_code) else { return };
        self.return_to_queue(interaction);
        self.settle_agent(agent, place);
    }

    /// Ends the open offer on the agent's side: idle, in no index, the place in the line still held. Gives the agent and
    /// the clock of that place. The interaction's state is the caller's to change.
    pub(super) fn close_offer(
        &mut self,
        interaction: u32,
        failure: Option<OfferFailure>,
        sip_code: Option<u16>,
    ) -> Option<(u32, TimestampMs)> {
        let record = &self.interactions[interaction].record;
        let InteractionState::Offered { agent: agent_id, offer, deadline_ms } = record.state else { return None };
        let id = record.id;
        self.timers.clear(deadline_ms, Timer::Offer(id));
        self.offered -= 1;
        self.emit(JournalEvent::OfferFailed { interaction: id, agent: agent_id, offer, failure, sip_code });
        let agent = self.agents.find(agent_id)?;
        let now = self.now();
        let person = &mut self.agents[agent].record;
        person.state = AgentState::Idle;
        person.state_since_ms = now;
        let place = person.place_since_ms.take().unwrap_or(now);
        Some((agent, place))
    }

    /// The slot of a live interaction.
    pub(super) fn find_interaction(&self, id: InteractionId) -> Result<u32, Refusal> {
        match self.interactions.find(id) {
            Some(slot) => Ok(slot),
            None if self.ended.contains(id) => refuse(RefusalCode::InteractionEnded, "the interaction has ended"),
            None => refuse(RefusalCode::UnknownInteraction, "no such interaction"),
        }
    }

    /// The agent to whom an interaction is offered.
    pub(super) fn offered_agent(&self, interaction: u32) -> Option<u32> {
        let InteractionState::Offered { agent, .. } = self.interactions[interaction].record.state else { return None };
        self.agents.find(agent)
    }

    fn connect(&mut self, interaction: u32, agent: u32, offer: OfferId) {
        let now = self.now();
        let record = &mut self.interactions[interaction].record;
        let person = &mut self.agents[agent].record;
        record.state = InteractionState::Connected { agent: person.id, offer, since_ms: now };
        person.state = AgentState::Talking { interaction: record.id, since_ms: now };
        person.state_since_ms = now;
        if let Some(since) = person.place_since_ms.take() {
            self.timers.clear_pause(since, person.id);
        }
        let called = record.target.take();
        let (is_placed, caller) = (record.origin == Origin::Internal && record.parent.is_none(), person.id);
        let record = record.clone();
        self.line.leave(agent);
        self.offered -= 1;
        self.connected += 1;
        self.touch_interaction(interaction);
        self.emit(JournalEvent::InteractionConnected { interaction: record });
        self.agent_changed(agent);
        match called {
            Some(callee) if is_placed => self.call_callee(interaction, caller, callee),
            Some(_) | None => self.take_over_if_asked(interaction),
        }
    }
}

/// What becomes of an agent whose offer failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AfterFailure {
    /// Not ready, with this reason, until the agent says ready again.
    NotReady(&'static str),
    /// Ready, and left alone for so many milliseconds.
    Pause(u64),
}

/// `count` is how often in a row, this time included.
fn after_failure(failure: OfferFailure, count: u32, rules: Option<&QueueRules>) -> AfterFailure {
    let default_rules;
    let rules = match rules {
        Some(rules) => rules,
        None => {
            default_rules = QueueRules::default();
            &default_rules
        }
    };
    match (failure, rules.after_no_answer) {
        (OfferFailure::Busy, _) if count >= rules.busy_limit => AfterFailure::NotReady(ReasonCode::BUSY),
        (OfferFailure::Busy, _) => AfterFailure::Pause(pause_ms(count)),
        // No fault of the agent's the first time; a phone that picks up and hangs up by itself is not rung in a loop.
        (OfferFailure::HungUp, _) | (OfferFailure::NoAnswer, AfterNoAnswer::StayReady) => {
            AfterFailure::Pause(pause_ms(count - 1))
        }
        (OfferFailure::NoAnswer, AfterNoAnswer::NotReady) => AfterFailure::NotReady(ReasonCode::RONA),
        (OfferFailure::Rejected, _) => AfterFailure::NotReady(ReasonCode::REJECTED),
        (OfferFailure::Unreachable, _) => AfterFailure::NotReady(ReasonCode::UNREACHABLE),
    }
}

/// 0, then [`BUSY_PAUSE_MS`], then twice as long each time.
fn pause_ms(times: u32) -> u64 {
    let doublings = times.saturating_sub(1).min(16);
    if times == 0 { 0 } else { (BUSY_PAUSE_MS << doublings).min(MAX_PAUSE_MS) }
}

fn stale<T>() -> Result<T, Refusal> {
    refuse(RefusalCode::StaleOffer, "the offer is over")
}

//! Offers to one agent by name: transfers, consultations, calls to and by agents, supervision.
//!
//! Such an offer is made at once or not at all; it never stands among the waiting. Its agent need not be ready, and what
//! becomes of it says nothing about the agent, except that the phone cannot be reached.

use ringdown_domain::{
    AgentId, AgentState, AgentStatus, CustomerSide, EndReason, InteractionState, OfferFailure, OfferId, Origin,
    PhoneNumber, ReasonCode,
};
use ringdown_events::{CandidateAgent, Decision, InteractionRecord, Refusal, RefusalCode, Trigger};

use super::timers::Timer;
use super::{Router, phones, refuse};

/// How long an outside number may ring: as long as a mobile network lets it before its voice box answers.
pub(super) const NUMBER_RING_MS: u64 = 30_000;

impl Router {
    /// The slot of an agent to whom something can be offered by name now.
    pub(super) fn free_agent(&self, id: AgentId) -> Result<u32, Refusal> {
        let agent = self.find_agent(id)?;
        let record = &self.agents[agent].record;
        if record.status == AgentStatus::LoggedOut {
            return refuse(RefusalCode::AgentBusy, "the agent is logged out");
        }
        if record.state != AgentState::Idle {
            return refuse(RefusalCode::AgentBusy, "the agent has another interaction");
        }
        if phones::is_unreachable(record) {
            return refuse(RefusalCode::AgentBusy, "no phone of the agent is registered");
        }
        Ok(agent)
    }

    /// Offers an interaction, which is in no index, to an agent who is free.
    pub(super) fn offer_to(&mut self, interaction: u32, agent: u32) -> (AgentId, OfferId) {
        let now = self.now();
        let record = &self.agents[agent].record;
        let (id, place) = (record.id, record.available_since_ms);
        let decision = Decision {
            trigger: Trigger::Directed,
            waited_ms: now.since_ms(self.interactions[interaction].record.arrived_at_ms),
            available_ms: place.map_or(0, |since| now.since_ms(since)),
            agents_available: self.line.available(),
            interactions_waiting: self.waiting.len().saturating_add(1),
            agents: vec![CandidateAgent { agent: id, available_since_ms: place.unwrap_or(record.state_since_ms) }],
            interactions: Vec::new(),
        };
        (id, self.assign(interaction, agent, place, decision))
    }

    /// Whether the open offer of an interaction is to one agent by name.
    pub(super) fn is_directed(&self, interaction: u32) -> bool {
        self.interactions[interaction].record.target.is_some()
    }

    /// The open offer to one agent by name came to nothing.
    pub(super) fn fail_directed(&mut self, interaction: u32, failure: OfferFailure, sip_code: Option<u16>) {
        let Some((agent, place)) = self.close_offer(interaction, Some(failure), sip_code) else { return };
        let now = self.now();
        let record = &mut self.agents[agent].record;
        if failure == OfferFailure::Unreachable
            && record.status == AgentStatus::Ready
            && !phones::is_unreachable(record)
        {
            record.status = AgentStatus::NotReady { reason: ReasonCode::known(ReasonCode::UNREACHABLE) };
            record.status_since_ms = now;
        }
        self.go_back_or_end(interaction, failure);
        self.settle_agent(agent, place);
    }

    /// An interaction that nobody has, in no index: it waits in its queue again, at its old place, or there is none and it ends.
    pub(super) fn go_back_or_end(&mut self, interaction: u32, failure: OfferFailure) {
        let record = &mut self.interactions[interaction].record;
        record.target = None;
        if has_place(record) {
            self.return_to_queue(interaction);
        } else {
            self.finish(interaction, reason_of(failure), None, None);
        }
    }

    /// Gives an interaction to an outside number, which is dialled. It must be in no index.
    pub(super) fn dial(&mut self, interaction: u32, number: &PhoneNumber) {
        let now = self.now();
        let state = self.dialled(number);
        let InteractionState::External { deadline_ms: Some(deadline_ms), .. } = state else { return };
        let record = &mut self.interactions[interaction].record;
        record.state = state;
        debug_assert!(deadline_ms > now, "it rings for a while");
        let id = record.id;
        self.timers.set(deadline_ms, Timer::Offer(id));
    }

    /// The state of an interaction whose outside number is being dialled.
    pub(super) fn dialled(&mut self, number: &PhoneNumber) -> InteractionState {
        let now = self.now();
        InteractionState::External {
            number: number.clone(),
            leg: self.offer_ids.next(now),
            deadline_ms: Some(now.plus_ms(NUMBER_RING_MS)),
            since_ms: now,
        }
    }

    /// An outside number that rang came to nothing.
    pub(super) fn fail_number(&mut self, interaction: u32, failure: OfferFailure) {
        let record = &self.interactions[interaction].record;
        if let InteractionState::External { deadline_ms: Some(at), .. } = record.state {
            self.timers.clear(at, Timer::Offer(record.id));
        }
        self.go_back_or_end(interaction, failure);
    }

    /// An outside number answered.
    pub(super) fn answer_number(&mut self, interaction: u32) {
        let now = self.now();
        let record = &mut self.interactions[interaction].record;
        let id = record.id;
        if let InteractionState::External { deadline_ms, since_ms, .. } = &mut record.state
            && let Some(at) = deadline_ms.take()
        {
            *since_ms = now;
            self.timers.clear(at, Timer::Offer(id));
            self.interaction_changed(interaction);
        }
    }
}

/// Whether an interaction can wait for whoever has the skills: its customer is on the line, and it came to be served so or belongs
/// to a queue.
pub(super) fn has_place(record: &InteractionRecord) -> bool {
    let may_wait = match record.origin {
        Origin::Callback | Origin::Campaign | Origin::Inbound | Origin::Message | Origin::Task => true,
        Origin::Consult | Origin::Manual => record.queue.is_some(),
        Origin::Internal | Origin::Supervision => false,
    };
    may_wait && record.customer == CustomerSide::Here
}

/// What a failed offer means for an interaction that was for one party only.
pub(super) const fn reason_of(failure: OfferFailure) -> EndReason {
    match failure {
        OfferFailure::Busy | OfferFailure::Rejected => EndReason::Busy,
        OfferFailure::HungUp => EndReason::AgentHangup,
        OfferFailure::NoAnswer => EndReason::NoAnswer,
        OfferFailure::Unreachable => EndReason::Unreachable,
    }
}

//! Consultations: an agent asks somebody about a call, and what comes of it.

use ringdown_domain::{EndReason, InteractionId, InteractionState, Origin, PartyRole};
use ringdown_events::{ConsultEnd, Done, Refusal, RefusalCode, Target, Trigger};

use super::family::NewChild;
use super::timers::Timer;
use super::{Router, refuse};

impl Router {
    pub(super) fn consult(
        &mut self,
        id: InteractionId,
        consult: InteractionId,
        target: &Target,
    ) -> Result<Done, Refusal> {
        let (root, initiator) = self.call_with_customer(id)?;
        self.check_new_child(root, consult)?;
        let is_open = |child: &u32| self.interactions[*child].record.role == Some(PartyRole::Consult);
        if self.children(root).iter().any(is_open) {
            return refuse(RefusalCode::NotConnected, "a consultation is open already");
        }
        let new = NewChild {
            id: consult,
            origin: Origin::Consult,
            role: Some(PartyRole::Consult),
            initiator,
            target: None,
            queue: None,
            state: InteractionState::Waiting,
        };
        let offered = match target {
            Target::Agent(asked) if *asked == initiator => {
                return refuse(RefusalCode::AgentBusy, "the agent has the interaction already");
            }
            Target::Agent(asked) => {
                let agent = self.free_agent(*asked)?;
                let child = self.add_child(root, NewChild { target: Some(*asked), ..new });
                Some(self.offer_to(child, agent))
            }
            Target::Queue(queue) => {
                let (rules, requirements) = self.admit_to(*queue)?;
                let child = self.add_child(root, NewChild { queue: Some((*queue, rules, requirements)), ..new });
                self.seek_or_wait(child, Trigger::InteractionArrived)
            }
            Target::Number(number) => {
                let state = self.dialled(number);
                if let InteractionState::External { deadline_ms: Some(at), .. } = state {
                    self.timers.set(at, Timer::Offer(consult));
                }
                self.add_child(root, NewChild { state, ..new });
                None
            }
        };
        Ok(Done::Created { interaction: consult, offered })
    }

    /// Cancelling is possible at any time; the rest when who was asked is on the line. A consultation that became a conference
    /// can still be completed (the agent leaves it) or cancelled (the third party does).
    pub(super) fn end_consult(&mut self, id: InteractionId, how: ConsultEnd) -> Result<Done, Refusal> {
        let (root, _) = self.connected_root(id)?;
        let Some(child) = self.consultation(root) else {
            return refuse(RefusalCode::NotConnected, "no consultation is open");
        };
        if how == ConsultEnd::Cancel {
            self.end(child, EndReason::Completed, None);
            return Ok(Done::Changed);
        }
        if !self.is_answered(child) {
            return refuse(RefusalCode::AgentBusy, "who is asked has not answered yet; cancel, and transfer instead");
        }
        if how == ConsultEnd::Complete {
            self.take_over(root, child);
            return Ok(Done::Changed);
        }
        if self.interactions[child].record.role == Some(PartyRole::Conference) {
            return Ok(Done::Unchanged);
        }
        self.interactions[child].record.role = Some(PartyRole::Conference);
        self.interactions[root].record.held_since_ms = None;
        self.interaction_changed(child);
        Ok(Done::Changed)
    }
}

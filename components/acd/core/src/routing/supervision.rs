//! Supervisors who take part in a call: they listen, whisper, barge in or take over.

use ringdown_domain::{AgentId, InteractionId, InteractionState, Origin, PartyRole};
use ringdown_events::{Done, Refusal, RefusalCode, SupervisionMode};

use super::family::NewChild;
use super::{Router, refuse};

impl Router {
    /// A supervisor's first act calls the supervisor's phone; a further one changes how the supervisor takes part.
    pub(super) fn supervise(
        &mut self,
        id: InteractionId,
        supervision: InteractionId,
        supervisor: AgentId,
        mode: SupervisionMode,
    ) -> Result<Done, Refusal> {
        let (root, agent) = self.connected_call(id)?;
        if supervisor == agent {
            return refuse(RefusalCode::AgentBusy, "the supervisor has the interaction already");
        }
        let is_own = |child: &u32| {
            let record = &self.interactions[*child].record;
            record.origin == Origin::Supervision && record.initiator == Some(supervisor)
        };
        if let Some(child) = self.children(root).into_iter().find(is_own) {
            return Ok(self.change_supervision(root, child, role_of(mode)));
        }
        self.check_new_child(root, supervision)?;
        let phone = self.free_agent(supervisor)?;
        let child = self.add_child(
            root,
            NewChild {
                id: supervision,
                origin: Origin::Supervision,
                role: role_of(mode),
                initiator: supervisor,
                target: Some(supervisor),
                queue: None,
                state: InteractionState::Waiting,
            },
        );
        let offered = Some(self.offer_to(child, phone));
        Ok(Done::Created { interaction: supervision, offered })
    }

    fn change_supervision(&mut self, root: u32, child: u32, role: Option<PartyRole>) -> Done {
        if role.is_none() && self.is_answered(child) {
            self.take_over(root, child);
            return Done::Changed;
        }
        if self.interactions[child].record.role == role {
            return Done::Unchanged;
        }
        self.interactions[child].record.role = role;
        self.interaction_changed(child);
        Done::Changed
    }

    /// A supervisor who is to take over has answered the phone.
    pub(super) fn take_over_if_asked(&mut self, child: u32) {
        let record = &self.interactions[child].record;
        if record.origin != Origin::Supervision || record.role.is_some() {
            return;
        }
        let Some(root) = record.parent.and_then(|parent| self.interactions.find(parent)) else { return };
        if matches!(self.interactions[root].record.state, InteractionState::Connected { .. }) {
            self.take_over(root, child);
        }
    }
}

/// How a supervisor takes part; none: takes over as soon as the phone is answered.
const fn role_of(mode: SupervisionMode) -> Option<PartyRole> {
    match mode {
        SupervisionMode::Barge => Some(PartyRole::Conference),
        SupervisionMode::Listen => Some(PartyRole::Listen),
        SupervisionMode::TakeOver => None,
        SupervisionMode::Whisper => Some(PartyRole::Whisper),
    }
}

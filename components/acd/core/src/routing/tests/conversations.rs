//! What agents and supervisors do with calls, one test per feature, read as a story. Agents 0 to 3 have skill 0, agent 4 skill 1;
//! queue 0 needs skill 0 and has a wrap-up of 5 s, queue 1 needs skill 1.

use std::collections::BTreeMap;

use ringdown_domain::{
    AgentState, AgentStatus, CustomerSide, Delivery, EndReason, InteractionState, Media, OfferFailure, OfferId, Origin,
    PartyRole, ReasonCode, Recording,
};
use ringdown_events::{
    Command, ConsultEnd, Disposition, Done, EngagementState, NewCall, NewInteraction, QueueRules, Refusal, RefusalCode,
    RouterRecord, SupervisionMode, Target,
};

use super::conservation;
use super::setup::{Stage, add_agent, add_queue, agent_id, config, interaction_id, need, new_interaction, queue_id};
use crate::routing::{OfferIds, Router};

fn office() -> Stage {
    let mut config = config(1, 2);
    (0..4).for_each(|agent| add_agent(&mut config, agent, &[(0, 5)]));
    add_agent(&mut config, 4, &[(1, 5)]);
    let rules = |skill| QueueRules { requirements: vec![need(skill, 1)], wrap_up_ms: 5_000, ..QueueRules::default() };
    add_queue(&mut config, 0, rules(0));
    add_queue(&mut config, 1, rules(1));
    Stage::open(&config)
}

fn call(number: u64) -> NewInteraction {
    NewInteraction {
        media: Media::Voice,
        delivery: Delivery::Ring,
        queue: Some(queue_id(0)),
        node: Some("voice1".parse().unwrap()),
        ..new_interaction(number, vec![])
    }
}

impl Stage {
    /// Call 1 is connected to agent 0.
    fn with_call() -> Self {
        let mut stage = office();
        let (agent, offer) = stage.create(call(1)).unwrap();
        assert_eq!(agent, agent_id(0));
        stage.accept(1, offer);
        stage
    }

    fn act(&mut self, command: &Command) -> Done {
        let done = self.run(command).unwrap_or_else(|refusal| panic!("{command:?}: {refusal:?}"));
        conservation::check(&self.router);
        done
    }

    fn refused(&mut self, command: &Command) -> RefusalCode {
        let Refusal { code, .. } = self.run(command).unwrap_err();
        code
    }

    fn accept(&mut self, number: u64, offer: OfferId) {
        self.act(&Command::AcceptOffer { interaction: interaction_id(number), offer });
    }

    fn consult(&mut self, number: u64, target: Target) -> Option<OfferId> {
        let command =
            Command::ConsultInteraction { interaction: interaction_id(1), consult: interaction_id(number), target };
        match self.act(&command) {
            Done::Created { offered, .. } => offered.map(|(_, offer)| offer),
            other => panic!("{other:?}"),
        }
    }

    fn supervise(&mut self, agent: u64, mode: SupervisionMode) -> Done {
        self.act(&Command::SuperviseInteraction {
            interaction: interaction_id(1),
            supervision: interaction_id(9),
            supervisor: agent_id(agent),
            mode,
        })
    }

    fn end_consult(&mut self, how: ConsultEnd) {
        self.act(&Command::EndConsult { interaction: interaction_id(1), how });
    }

    fn offer_of(&self, number: u64) -> OfferId {
        match self.router.interaction(interaction_id(number)).unwrap().state {
            InteractionState::Offered { offer, .. } | InteractionState::Connected { offer, .. } => offer,
            InteractionState::External { leg, .. } => leg,
            ref other => panic!("{other:?}"),
        }
    }

    fn has(&self, agent: u64) -> AgentState {
        self.router.agent(agent_id(agent)).unwrap().state.clone()
    }

    fn is_connected_to(&self, number: u64, agent: u64) -> bool {
        let state = &self.router.interaction(interaction_id(number)).unwrap().state;
        matches!(state, InteractionState::Connected { agent: with, .. } if *with == agent_id(agent))
    }

    fn end_reason(&self, number: u64) -> Option<EndReason> {
        let ended = self.changes.ended.iter().find(|record| record.id == interaction_id(number))?;
        match ended.state {
            InteractionState::Ended { reason, .. } => Some(reason),
            ref other => panic!("{other:?}"),
        }
    }

    fn engaged(&self, agent: u64) -> Vec<(u64, EngagementState)> {
        let number = |id| (0..100).find(|number| interaction_id(*number) == id).unwrap();
        let engagements = &self.router.agent(agent_id(agent)).unwrap().engagements;
        engagements.iter().map(|engagement| (number(engagement.interaction), engagement.state)).collect()
    }

    fn status(&mut self, agent: u64, status: AgentStatus) {
        self.act(&Command::SetAgentStatus { agent: agent_id(agent), status });
    }
}

fn number() -> Target {
    Target::Number("+4930123".parse().unwrap())
}

#[test]
fn a_consultation_is_completed_and_the_call_changes_hands() {
    let mut stage = Stage::with_call();
    let offer = stage.consult(2, Target::Agent(agent_id(1))).unwrap();
    assert_eq!(stage.engaged(0), [(1, EngagementState::Held), (2, EngagementState::Talking)]);
    assert_eq!(stage.engaged(1), [(2, EngagementState::Reserved)]);
    let complete = Command::EndConsult { interaction: interaction_id(1), how: ConsultEnd::Complete };
    assert_eq!(stage.refused(&complete), RefusalCode::AgentBusy, "nobody has answered");
    stage.accept(2, offer);
    assert_eq!(stage.engaged(1), [(2, EngagementState::Talking)]);
    stage.end_consult(ConsultEnd::Complete);
    assert!(stage.is_connected_to(1, 1));
    assert_eq!(stage.end_reason(2), Some(EndReason::Transferred));
    assert!(matches!(stage.has(0), AgentState::WrappingUp { .. }));
    assert_eq!(stage.engaged(1), [(1, EngagementState::Talking)]);
    stage.act(&Command::EndInteraction {
        interaction: interaction_id(1),
        reason: EndReason::CallerHangup,
        at_ms: None,
    });
    assert!(matches!(stage.has(1), AgentState::WrappingUp { .. }));
}

#[test]
fn a_consultation_that_fails_puts_everybody_back() {
    for (failure, reason) in [
        (OfferFailure::Busy, EndReason::Busy),
        (OfferFailure::NoAnswer, EndReason::NoAnswer),
        (OfferFailure::Rejected, EndReason::Busy),
    ] {
        let mut stage = Stage::with_call();
        let before = stage.router.agent(agent_id(1)).unwrap().clone();
        let offer = stage.consult(2, Target::Agent(agent_id(1))).unwrap();
        stage.act(&Command::FailOffer { interaction: interaction_id(2), offer, failure, sip_code: None });
        assert_eq!(stage.end_reason(2), Some(reason));
        assert_eq!(stage.engaged(0), [(1, EngagementState::Talking)]);
        let after = stage.router.agent(agent_id(1)).unwrap();
        assert_eq!((&after.status, after.available_since_ms), (&before.status, before.available_since_ms));
        assert!(stage.router.interaction(interaction_id(1)).unwrap().parties.is_empty());
    }
}

#[test]
fn a_queue_finds_who_is_consulted_and_the_next_one_after_a_failure() {
    let mut stage = Stage::with_call();
    let offer = stage.consult(2, Target::Queue(queue_id(1))).unwrap();
    stage.act(&Command::FailOffer {
        interaction: interaction_id(2),
        offer,
        failure: OfferFailure::NoAnswer,
        sip_code: None,
    });
    assert_eq!(stage.router.interaction(interaction_id(2)).unwrap().state, InteractionState::Waiting);
    stage.status(4, AgentStatus::Ready);
    let offer = stage.offer_of(2);
    stage.accept(2, offer);
    stage.end_consult(ConsultEnd::Cancel);
    assert_eq!((stage.end_reason(2), stage.has(4)), (Some(EndReason::Completed), AgentState::Idle), "no wrap-up");
    assert!(stage.is_connected_to(1, 0));
}

#[test]
fn a_conference_goes_on_without_the_agent_who_made_it() {
    let mut stage = Stage::with_call();
    stage.act(&Command::HoldInteraction { interaction: interaction_id(1), held: true });
    stage.consult(2, number());
    let leg = stage.offer_of(2);
    stage.accept(2, leg);
    stage.end_consult(ConsultEnd::Conference);
    assert_eq!(stage.engaged(0), [(1, EngagementState::Talking)]);
    let root = stage.router.interaction(interaction_id(1)).unwrap();
    assert_eq!((root.held_since_ms, root.parties[0].role), (None, Some(PartyRole::Conference)));
    let own = stage.offer_of(1);
    let at_ms = stage.now;
    stage.act(&Command::EndLeg { interaction: interaction_id(1), leg: own, at_ms });
    let state = stage.router.interaction(interaction_id(1)).unwrap().state.clone();
    assert!(matches!(state, InteractionState::External { deadline_ms: None, .. }), "{state:?}");
    assert!(matches!(stage.has(0), AgentState::WrappingUp { .. }));
    stage.act(&Command::EndLeg { interaction: interaction_id(1), leg, at_ms });
    assert_eq!(stage.end_reason(1), Some(EndReason::Completed));
}

#[test]
fn a_transfer_to_an_agent_who_does_not_answer_returns_to_its_place() {
    let mut stage = Stage::with_call();
    let arrived = stage.router.interaction(interaction_id(1)).unwrap().arrived_at_ms;
    let transfer = |target| Command::TransferInteraction { interaction: interaction_id(1), target };
    stage.act(&transfer(Target::Agent(agent_id(4))));
    assert!(matches!(stage.has(0), AgentState::WrappingUp { .. }));
    assert!(matches!(stage.has(4), AgentState::Reserved { .. }));
    stage.pass(15_000);
    let record = stage.router.interaction(interaction_id(1)).unwrap();
    assert_eq!(record.arrived_at_ms, arrived);
    assert!(
        matches!(record.state, InteractionState::Offered { agent, .. } if agent == agent_id(1)),
        "whoever has the skill"
    );
    assert_eq!(stage.router.agent(agent_id(4)).unwrap().status, AgentStatus::Ready, "nobody blames the agent");
    let offer = stage.offer_of(1);
    stage.accept(1, offer);
    stage.act(&transfer(Target::Queue(queue_id(1))));
    assert!(matches!(stage.has(4), AgentState::Reserved { .. }));
    let offer = stage.offer_of(1);
    stage.accept(1, offer);
    stage.act(&transfer(number()));
    stage.pass(30_000);
    let record = stage.router.interaction(interaction_id(1)).unwrap();
    assert!(matches!(record.state, InteractionState::Offered { agent, .. } if agent == agent_id(4)), "{record:?}");
}

#[test]
fn an_agent_calls_a_number_and_another_agent() {
    let mut stage = office();
    let place = |number, target| {
        let (id, agent, node) = (interaction_id(number), agent_id(0), "voice1".parse().unwrap());
        Command::PlaceCall(NewCall { id, agent, target, queue: None, node })
    };
    stage.status(0, AgentStatus::NotReady { reason: ReasonCode::known("break") });
    stage.act(&place(1, number()));
    let offer = stage.offer_of(1);
    stage.accept(1, offer);
    let record = stage.router.interaction(interaction_id(1)).unwrap();
    assert_eq!((record.origin, record.customer), (Origin::Manual, CustomerSide::Dialling));
    let digits = Command::SendDigits { interaction: interaction_id(1), digits: "1#".to_owned() };
    assert_eq!(stage.refused(&digits), RefusalCode::NotConnected, "nobody is there to hear them");
    stage.act(&Command::AnswerCustomer { interaction: interaction_id(1) });
    stage.act(&digits);
    stage.act(&Command::EndInteraction { interaction: interaction_id(1), reason: EndReason::AgentHangup, at_ms: None });
    assert_eq!(stage.has(0), AgentState::Idle, "no queue, no wrap-up");
    stage.act(&place(2, Target::Agent(agent_id(1))));
    let offer = stage.offer_of(2);
    stage.accept(2, offer);
    let AgentState::Reserved { interaction: child, offer, .. } = stage.has(1) else { panic!("{:?}", stage.has(1)) };
    stage.act(&Command::AcceptOffer { interaction: child, offer });
    let at_ms = stage.now;
    stage.act(&Command::EndLeg { interaction: child, leg: offer, at_ms });
    assert_eq!(stage.end_reason(2), Some(EndReason::AgentHangup), "one side alone is no call");
    assert_eq!((stage.has(0), stage.has(1)), (AgentState::Idle, AgentState::Idle));
    stage.act(&place(3, Target::Agent(agent_id(1))));
    let own = stage.offer_of(3);
    stage.status(1, AgentStatus::LoggedOut);
    stage.accept(3, own);
    assert_eq!(stage.end_reason(3), Some(EndReason::Busy));
}

#[test]
fn a_supervisor_listens_barges_in_and_takes_over() {
    let mut stage = Stage::with_call();
    stage.supervise(3, SupervisionMode::Listen);
    let offer = stage.offer_of(9);
    stage.accept(9, offer);
    let role = |stage: &Stage| stage.router.interaction(interaction_id(9)).unwrap().role;
    assert_eq!(role(&stage), Some(PartyRole::Listen));
    assert_eq!(stage.supervise(3, SupervisionMode::Barge), Done::Changed);
    assert_eq!(
        (role(&stage), stage.supervise(3, SupervisionMode::Barge)),
        (Some(PartyRole::Conference), Done::Unchanged)
    );
    stage.supervise(3, SupervisionMode::TakeOver);
    assert!(stage.is_connected_to(1, 3));
    assert!(matches!(stage.has(0), AgentState::WrappingUp { .. }));
}

#[test]
fn a_supervisor_takes_over_as_soon_as_the_phone_is_answered() {
    let mut stage = Stage::with_call();
    stage.consult(2, Target::Agent(agent_id(1)));
    stage.supervise(3, SupervisionMode::TakeOver);
    assert!(stage.is_connected_to(1, 0), "the phone rings");
    let offer = stage.offer_of(9);
    stage.accept(9, offer);
    assert!(stage.is_connected_to(1, 3));
    assert_eq!((stage.end_reason(2), stage.has(1)), (Some(EndReason::Completed), AgentState::Idle));
}

#[test]
fn when_a_call_ends_everybody_in_it_is_free() {
    let mut stage = Stage::with_call();
    let offer = stage.consult(2, Target::Agent(agent_id(1))).unwrap();
    stage.accept(2, offer);
    stage.supervise(3, SupervisionMode::Whisper);
    stage.act(&Command::LoseNode { node: "voice1".parse().unwrap(), before_ms: stage.now.plus_ms(1) });
    assert_eq!([1, 2, 9].map(|number| stage.end_reason(number)), [Some(EndReason::NodeLost); 3]);
    assert_eq!((stage.has(1), stage.has(3)), (AgentState::Idle, AgentState::Idle));
    assert_eq!(stage.router.interactions().count(), 0);
}

#[test]
fn who_cannot_be_reached_keeps_the_place_in_the_line() {
    let mut stage = office();
    let observe = |agent, reachable| Command::ObservePhone { agent: agent_id(agent), reachable };
    let since = stage.router.agent(agent_id(0)).unwrap().available_since_ms;
    stage.act(&observe(0, false));
    assert_eq!(stage.router.agent(agent_id(0)).unwrap().available_since_ms, since, "available for other work");
    assert_eq!(stage.create(call(1)).unwrap().0, agent_id(1));
    stage.act(&observe(1, false));
    assert!(matches!(stage.has(2), AgentState::Reserved { .. }), "the call went on");
    stage.pass(1_000);
    stage.act(&observe(0, true));
    assert_eq!(stage.router.agent(agent_id(0)).unwrap().available_since_ms, since);
    assert_eq!(stage.create(call(2)).unwrap().0, agent_id(0), "first again");
    assert_eq!(stage.act(&observe(1, false)), Done::Unchanged);
    let consult = Command::PlaceCall(NewCall {
        id: interaction_id(3),
        agent: agent_id(1),
        target: number(),
        queue: None,
        node: "voice1".parse().unwrap(),
    });
    assert_eq!(stage.refused(&consult), RefusalCode::AgentBusy);
}

#[test]
fn a_call_is_recorded_muted_moved_and_classed() {
    let mut stage = Stage::with_call();
    let record = |recording| Command::SetRecording { interaction: interaction_id(1), recording };
    assert_eq!(stage.refused(&record(Recording::Paused)), RefusalCode::NotConnected);
    stage.act(&record(Recording::On));
    stage.act(&record(Recording::Paused));
    stage.act(&Command::MuteInteraction { interaction: interaction_id(1), muted: true });
    let live = stage.router.interaction(interaction_id(1)).unwrap();
    assert_eq!((live.recording, live.muted), (Recording::Paused, true));
    stage.act(&Command::EndInteraction { interaction: interaction_id(1), reason: EndReason::AgentHangup, at_ms: None });
    let until = |stage: &Stage| match stage.has(0) {
        AgentState::WrappingUp { until_ms, .. } => until_ms,
        other => panic!("{other:?}"),
    };
    let before = until(&stage);
    stage.act(&Command::ExtendWrapUp { agent: agent_id(0), by_ms: 60_000 });
    assert_eq!(until(&stage), before.plus_ms(60_000));
    let disposition = Disposition { code: "sold".to_owned(), notes: String::new(), fields: BTreeMap::new() };
    let class = Command::SetDisposition { interaction: interaction_id(1), disposition: disposition.clone() };
    assert_eq!((stage.act(&class), stage.act(&class)), (Done::Changed, Done::Unchanged));
    assert_eq!(stage.changes.classed[0].disposition, Some(disposition));
    stage.pass(3_600_001);
    assert_eq!(stage.refused(&class), RefusalCode::InteractionEnded);
    (0..5).for_each(|agent| stage.status(agent, AgentStatus::LoggedOut));
    assert_eq!(stage.create(call(5)), None);
    stage.status(4, AgentStatus::Ready);
    stage.act(&Command::MoveInteraction { interaction: interaction_id(5), queue: queue_id(1) });
    assert!(matches!(stage.has(4), AgentState::Reserved { .. }));
}

#[test]
fn children_without_parents_end_when_a_router_is_restored() {
    let mut stage = Stage::with_call();
    let offer = stage.consult(2, Target::Agent(agent_id(1))).unwrap();
    stage.accept(2, offer);
    let agents: Vec<_> = stage.router.agents().cloned().collect();
    let mut interactions: Vec<_> = stage.router.interactions().cloned().collect();
    interactions.retain(|interaction| interaction.id == interaction_id(2));
    let record = RouterRecord { config_version: 1, ..RouterRecord::default() };
    let mut config = config(1, 2);
    (0..4).for_each(|agent| add_agent(&mut config, agent, &[(0, 5)]));
    stage.router = Router::restore(OfferIds::new(super::setup::tenant(), 2), &config, agents, interactions, &record);
    stage.drain();
    assert!(stage.router.counts().repairs > 0);
    assert_eq!(stage.router.interactions().count(), 0);
    assert_eq!((stage.has(0), stage.has(1)), (AgentState::Idle, AgentState::Idle));
}

//! Every situation with every input: what is answered, and where interaction and agent are afterwards. The table in
//! `table.txt` is the reference; a line that changes is a rule that changed.
//!
//! One agent, one interaction (unless the situation says otherwise), wrap-up of 10 s, wait limit of 60 s.

use std::fmt::Write;

use ringdown_domain::{
    AgentId, AgentState, AgentStatus, Delivery, EndReason, InteractionState, OfferFailure, OfferId, ReasonCode,
};
use ringdown_events::{Command, CompiledConfig, NewInteraction, QueueRules};

use super::setup::{
    Stage, add_agent, add_queue, agent_id, bytes, config, interaction_id, need, new_interaction, queue_id,
};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Situation {
    Waiting,
    Reserved,
    Ringing,
    Talking,
    TalkingRemoved,
    WrappingUp,
    Pausing,
    Ended,
    Nothing,
}

const SITUATIONS: [Situation; 9] = [
    Situation::Waiting,
    Situation::Reserved,
    Situation::Ringing,
    Situation::Talking,
    Situation::TalkingRemoved,
    Situation::WrappingUp,
    Situation::Pausing,
    Situation::Ended,
    Situation::Nothing,
];

#[derive(Clone, Copy, Debug)]
enum Input {
    Create,
    Accept,
    AcceptStale,
    Ring,
    RingStale,
    FailBusy,
    FailHungUp,
    FailNoAnswer,
    FailRejected,
    FailUnreachable,
    FailStale,
    EndByCaller,
    EndByAgent,
    FinishWrapUp,
    Ready,
    NotReady,
    LoggedOut,
    OpenAcd,
    CloseAcd,
    LoseNode,
    RemoveAgent,
    ChangeSkills,
    PassAnHour,
}

const INPUTS: [Input; 23] = [
    Input::Create,
    Input::Accept,
    Input::AcceptStale,
    Input::Ring,
    Input::RingStale,
    Input::FailBusy,
    Input::FailHungUp,
    Input::FailNoAnswer,
    Input::FailRejected,
    Input::FailUnreachable,
    Input::FailStale,
    Input::EndByCaller,
    Input::EndByAgent,
    Input::FinishWrapUp,
    Input::Ready,
    Input::NotReady,
    Input::LoggedOut,
    Input::OpenAcd,
    Input::CloseAcd,
    Input::LoseNode,
    Input::RemoveAgent,
    Input::ChangeSkills,
    Input::PassAnHour,
];

#[test]
fn every_situation_meets_every_input() {
    let mut table = String::new();
    for situation in SITUATIONS {
        for input in INPUTS {
            let (mut stage, offer) = arrange(situation);
            let answer = give(&mut stage, input, offer);
            super::conservation::check(&stage.router);
            writeln!(
                table,
                "{:<15} {:<15} {answer:<40} {}",
                format!("{situation:?}"),
                format!("{input:?}"),
                outcome(&stage)
            )
            .unwrap();
        }
    }
    if let Some(path) = std::env::var_os("RINGDOWN_WRITE_TABLE") {
        std::fs::write(path, &table).unwrap();
    }
    for (line, (is, should)) in table.lines().zip(include_str!("table.txt").lines()).enumerate() {
        assert_eq!(is, should, "line {}", line + 1);
    }
    assert_eq!(table.lines().count(), include_str!("table.txt").lines().count());
}

fn centre(version: u64, agents: u64) -> CompiledConfig {
    let mut config = config(version, 2);
    let rules = QueueRules { wrap_up_ms: 10_000, wait_limit_ms: Some(60_000), ..QueueRules::default() };
    add_queue(&mut config, 0, rules);
    (0..agents).for_each(|agent| add_agent(&mut config, agent, &[(0, 5)]));
    config
}

fn arrange(situation: Situation) -> (Stage, OfferId) {
    let mut stage = Stage::open(&centre(1, 1));
    let mut offer = OfferId::from_parts(1, &bytes(1));
    if situation == Situation::Nothing {
        return (stage, offer);
    }
    if situation == Situation::Waiting {
        set_status(&mut stage, AgentStatus::NotReady { reason: ReasonCode::known("break") });
    }
    if let Some((_, made)) = stage.create(interaction()) {
        offer = made;
    }
    stage.pass(5);
    let interaction = interaction_id(1);
    match situation {
        Situation::Waiting | Situation::Reserved | Situation::Nothing => {}
        Situation::Ringing => drop(stage.run(&Command::RingOffer { interaction, offer })),
        Situation::Pausing => drop(stage.run(&failed(offer, OfferFailure::Busy))),
        Situation::Talking | Situation::TalkingRemoved | Situation::WrappingUp | Situation::Ended => {
            stage.run(&Command::AcceptOffer { interaction, offer }).unwrap();
        }
    }
    match situation {
        Situation::TalkingRemoved => drop(stage.router.apply_config(stage.now, &centre(2, 0))),
        Situation::WrappingUp | Situation::Ended => drop(stage.run(&ended(EndReason::CallerHangup))),
        Situation::Nothing | Situation::Pausing | Situation::Reserved => {}
        Situation::Ringing | Situation::Talking | Situation::Waiting => {}
    }
    if situation == Situation::Ended {
        stage.run(&Command::FinishWrapUp { agent: agent_id(0) }).unwrap();
    }
    stage.pass(5);
    stage.events.clear();
    (stage, offer)
}

fn give(stage: &mut Stage, input: Input, offer: OfferId) -> String {
    let interaction = interaction_id(1);
    let stale = OfferId::from_parts(2, &bytes(2));
    let command = match input {
        Input::Create => Command::CreateInteraction(self::interaction()),
        Input::Accept => Command::AcceptOffer { interaction, offer },
        Input::AcceptStale => Command::AcceptOffer { interaction, offer: stale },
        Input::Ring => Command::RingOffer { interaction, offer },
        Input::RingStale => Command::RingOffer { interaction, offer: stale },
        Input::FailBusy => failed(offer, OfferFailure::Busy),
        Input::FailHungUp => failed(offer, OfferFailure::HungUp),
        Input::FailNoAnswer => failed(offer, OfferFailure::NoAnswer),
        Input::FailRejected => failed(offer, OfferFailure::Rejected),
        Input::FailUnreachable => failed(offer, OfferFailure::Unreachable),
        Input::FailStale => failed(stale, OfferFailure::Rejected),
        Input::EndByCaller => ended(EndReason::CallerHangup),
        Input::EndByAgent => ended(EndReason::AgentHangup),
        Input::FinishWrapUp => Command::FinishWrapUp { agent: agent_id(0) },
        Input::Ready => return set_status(stage, AgentStatus::Ready),
        Input::NotReady => return set_status(stage, AgentStatus::NotReady { reason: ReasonCode::known("lunch") }),
        Input::LoggedOut => return set_status(stage, AgentStatus::LoggedOut),
        Input::OpenAcd => Command::SetAcdOpen { open: true },
        Input::CloseAcd => Command::SetAcdOpen { open: false },
        Input::LoseNode => Command::LoseNode { node: "n1".parse().unwrap(), before_ms: stage.now },
        Input::RemoveAgent => return configure(stage, &centre(3, 0)),
        Input::ChangeSkills => {
            let mut config = centre(3, 0);
            add_agent(&mut config, 0, &[(1, 5)]);
            return configure(stage, &config);
        }
        Input::PassAnHour => {
            stage.pass(3_600_000);
            return "-".to_owned();
        }
    };
    answer(stage, &command)
}

fn answer(stage: &mut Stage, command: &Command) -> String {
    match stage.run(command) {
        Ok(done) => format!("{done:?}").split(' ').next().unwrap().to_owned(),
        Err(refusal) => format!("refused {:?}", refusal.code),
    }
}

fn configure(stage: &mut Stage, config: &CompiledConfig) -> String {
    let done = stage.router.apply_config(stage.now, config);
    stage.drain();
    format!("{done:?}")
}

fn set_status(stage: &mut Stage, status: AgentStatus) -> String {
    answer(stage, &Command::SetAgentStatus { agent: agent_id(0), status })
}

fn interaction() -> NewInteraction {
    NewInteraction {
        delivery: Delivery::Ring,
        queue: Some(queue_id(0)),
        node: Some("n1".parse().unwrap()),
        ..new_interaction(1, vec![need(0, 1)])
    }
}

fn ended(reason: EndReason) -> Command {
    Command::EndInteraction { interaction: interaction_id(1), reason, at_ms: None }
}

fn failed(offer: OfferId, failure: OfferFailure) -> Command {
    Command::FailOffer { interaction: interaction_id(1), offer, failure, sip_code: None }
}

fn outcome(stage: &Stage) -> String {
    let live = stage.router.interaction(interaction_id(1)).or(stage.changes.ended.last());
    let interaction = match live.map(|record| &record.state) {
        None => "none".to_owned(),
        Some(InteractionState::Waiting) => "waiting".to_owned(),
        Some(InteractionState::Offered { .. }) => "offered".to_owned(),
        Some(InteractionState::Connected { .. }) => "connected".to_owned(),
        Some(InteractionState::External { .. }) => "external".to_owned(),
        Some(InteractionState::Ended { reason, .. }) => format!("ended {reason:?}"),
    };
    format!("{interaction:<20} {}", person(stage, agent_id(0)))
}

fn person(stage: &Stage, id: AgentId) -> String {
    let Some(agent) = stage.router.agent(id) else { return "gone".to_owned() };
    let state = match agent.state {
        AgentState::Idle => "idle",
        AgentState::Reserved { .. } => "reserved",
        AgentState::Ringing { .. } => "ringing",
        AgentState::Talking { .. } => "talking",
        AgentState::WrappingUp { .. } => "wrapping up",
    };
    let status = match &agent.status {
        AgentStatus::LoggedOut => "logged out".to_owned(),
        AgentStatus::NotReady { reason } => format!("not ready ({reason})"),
        AgentStatus::Ready => "ready".to_owned(),
    };
    let clock = match agent.available_since_ms {
        None => String::new(),
        Some(since) if since > stage.now => format!(", available in {} ms", since.0 - stage.now.0),
        Some(since) => format!(", available for {} ms", stage.now.0 - since.0),
    };
    format!("{status}, {state}{clock}")
}

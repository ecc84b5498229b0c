//! One test per feature, read as a story.

use std::collections::BTreeSet;

use ringdown_domain::{
    AgentId, AgentState, AgentStatus, Delivery, EndReason, InteractionState, OfferFailure, OfferId, Priority,
    ReasonCode, TenantId, TimestampMs,
};
use ringdown_events::{
    AfterNoAnswer, Command, CompiledConfig, Done, JournalEvent, NewInteraction, QueueRules, RefusalCode, RouterRecord,
    Trigger,
};

use super::setup::{
    Stage, add_agent, add_queue, agent_id, bytes, config, interaction_id, need, new_interaction, queue_id, skill,
    tenant,
};
use crate::routing::{BUSY_PAUSE_MS, Changes, MAX_WAITING, OfferIds, Router};

/// Agents 0, 1, 2 ... with the one skill 0, and queue 0 with default rules.
fn plain(agents: u64) -> CompiledConfig {
    let mut config = config(1, 3);
    (0..agents).for_each(|agent| add_agent(&mut config, agent, &[(0, 5)]));
    add_queue(&mut config, 0, QueueRules { requirements: vec![need(0, 1)], ..QueueRules::default() });
    config
}

fn ringing(number: u64) -> NewInteraction {
    NewInteraction { delivery: Delivery::Ring, ..new_interaction(number, vec![need(0, 1)]) }
}

fn end(number: u64, reason: EndReason) -> Command {
    Command::EndInteraction { interaction: interaction_id(number), reason, at_ms: None }
}

fn accept(number: u64, offer: OfferId) -> Command {
    Command::AcceptOffer { interaction: interaction_id(number), offer }
}

fn fail(number: u64, offer: OfferId, failure: OfferFailure) -> Command {
    Command::FailOffer { interaction: interaction_id(number), offer, failure, sip_code: None }
}

fn status(agent: u64, status: AgentStatus) -> Command {
    Command::SetAgentStatus { agent: agent_id(agent), status }
}

fn not_ready(reason: &'static str) -> AgentStatus {
    AgentStatus::NotReady { reason: ReasonCode::known(reason) }
}

fn winner(offered: Option<(AgentId, OfferId)>) -> Option<AgentId> {
    offered.map(|(agent, _)| agent)
}

fn state(stage: &Stage, number: u64) -> InteractionState {
    stage.router.interaction(interaction_id(number)).unwrap().state.clone()
}

#[test]
fn the_longest_available_agent_with_the_skills_and_levels_wins() {
    let mut config = config(1, 3);
    add_agent(&mut config, 0, &[(0, 2)]);
    add_agent(&mut config, 1, &[(0, 5), (1, 5)]);
    add_agent(&mut config, 2, &[(0, 9), (1, 1)]);
    let mut stage = Stage::open(&config);
    assert_eq!(winner(stage.create(new_interaction(1, vec![need(0, 3), need(1, 1)]))), Some(agent_id(1)));
    assert_eq!(winner(stage.create(new_interaction(2, vec![need(0, 3), need(1, 2)]))), None);
    assert_eq!(winner(stage.create(new_interaction(3, vec![need(0, 1)]))), Some(agent_id(0)));
    assert_eq!(winner(stage.create(new_interaction(4, vec![need(0, 9)]))), Some(agent_id(2)));
}

#[test]
fn equal_clocks_go_by_id_in_whatever_order_they_came() {
    for order in [[0, 1, 2, 3, 4, 5], [5, 4, 3, 2, 1, 0], [3, 5, 1, 0, 4, 2]] {
        let mut stage = Stage::open(&plain(6));
        stage.run(&Command::SetAcdOpen { open: false }).unwrap();
        for agent in order {
            stage.run(&status(agent, AgentStatus::Ready)).unwrap();
        }
        let winners: Vec<_> =
            (0..6).map(|n| winner(stage.create(new_interaction(n, vec![need(0, 1)]))).unwrap()).collect();
        assert_eq!(winners, (0..6).map(agent_id).collect::<Vec<_>>());
    }
}

#[test]
fn adding_a_skill_does_not_change_the_idle_order() {
    let mut config = plain(2);
    let mut stage = Stage::open(&config);
    stage.pass(1_000);
    config.meta.version = 2;
    add_agent(&mut config, 0, &[(0, 5), (1, 5)]);
    stage.router.apply_config(stage.now, &config);
    assert_eq!(winner(stage.create(new_interaction(1, vec![need(0, 1)]))), Some(agent_id(0)));
}

#[test]
fn an_old_ordinary_interaction_overtakes_a_young_urgent_one() {
    let mut stage = Stage::open(&plain(1));
    stage.create(new_interaction(0, vec![need(0, 1)]));
    let urgent = |number| NewInteraction {
        priority: Some(Priority::try_from(1).unwrap()),
        ..new_interaction(number, vec![need(0, 1)])
    };
    stage.create(new_interaction(1, vec![need(0, 1)]));
    stage.pass(Priority::STEP_MS - 1);
    stage.create(urgent(2));
    stage.pass(2);
    stage.create(urgent(3));
    for expected in [2, 1, 3] {
        let last = stage.router.agent(agent_id(0)).unwrap().state.clone();
        let AgentState::Talking { interaction, .. } = last else { panic!("{last:?}") };
        stage.run(&Command::EndInteraction { interaction, reason: EndReason::Completed, at_ms: None }).unwrap();
        assert!(matches!(state(&stage, expected), InteractionState::Connected { .. }), "{expected} is next");
    }
}

#[test]
fn an_unanswered_offer_goes_to_the_next_agent_at_its_deadline() {
    let mut stage = Stage::open(&plain(2));
    let (first, offer) = stage.create(ringing(1)).unwrap();
    assert_eq!(first, agent_id(0));
    stage.run(&Command::RingOffer { interaction: interaction_id(1), offer }).unwrap();
    assert_eq!(stage.router.next_deadline(), Some(stage.now.plus_ms(15_000)));
    stage.pass(14_999);
    assert!(matches!(state(&stage, 1), InteractionState::Offered { agent, .. } if agent == agent_id(0)));
    stage.pass(1);
    assert!(matches!(state(&stage, 1), InteractionState::Offered { agent, .. } if agent == agent_id(1)));
    assert_eq!(stage.router.agent(agent_id(0)).unwrap().status, not_ready(ReasonCode::RONA));
    let late = stage.run(&Command::AcceptOffer { interaction: interaction_id(1), offer });
    assert_eq!(late.unwrap_err().code, RefusalCode::StaleOffer);
}

#[test]
fn a_queue_may_keep_unanswering_agents_ready_at_the_end_of_the_line() {
    let mut config = plain(2);
    let rules = QueueRules { after_no_answer: AfterNoAnswer::StayReady, ..QueueRules::default() };
    add_queue(&mut config, 1, rules);
    let mut stage = Stage::open(&config);
    let new = NewInteraction { queue: Some(queue_id(1)), ..ringing(1) };
    stage.create(new).unwrap();
    for expected in [1, 0, 1] {
        stage.pass(15_000);
        let next = agent_id(expected);
        assert!(matches!(state(&stage, 1), InteractionState::Offered { agent, .. } if agent == next));
    }
}

#[test]
fn a_busy_phone_is_left_alone_for_a_moment_and_never_rung_in_a_loop() {
    let mut stage = Stage::open(&plain(1));
    let (agent, offer) = stage.create(ringing(1)).unwrap();
    stage.run(&fail(1, offer, OfferFailure::Busy)).unwrap();
    assert_eq!(state(&stage, 1), InteractionState::Waiting);
    assert_eq!(stage.router.next_deadline(), Some(stage.now.plus_ms(BUSY_PAUSE_MS)));
    assert_eq!(stage.router.counts().agents_available, 0);
    assert_eq!(winner(stage.create(ringing(2))), None, "nobody else gets the agent meanwhile");
    stage.pass(BUSY_PAUSE_MS);
    assert!(matches!(state(&stage, 1), InteractionState::Offered { agent: again, .. } if again == agent));
}

#[test]
fn a_phone_that_stays_busy_is_rung_less_and_less_and_then_its_agent_is_not_ready() {
    let mut config = plain(1);
    config.queues.clear();
    let rules = QueueRules { busy_limit: 4, ..QueueRules::default() };
    add_queue(&mut config, 1, rules);
    let mut stage = Stage::open(&config);
    let new = NewInteraction { queue: Some(queue_id(1)), ..ringing(1) };
    let mut offer = stage.create(new).unwrap().1;
    for pause_ms in [2_000, 4_000, 8_000] {
        stage.run(&fail(1, offer, OfferFailure::Busy)).unwrap();
        assert_eq!(stage.router.next_deadline(), Some(stage.now.plus_ms(pause_ms)));
        stage.pass(pause_ms);
        let InteractionState::Offered { offer: next, .. } = state(&stage, 1) else { panic!("not offered again") };
        offer = next;
    }
    stage.run(&fail(1, offer, OfferFailure::Busy)).unwrap();
    let agent = stage.router.agent(agent_id(0)).unwrap();
    assert_eq!(agent.status, AgentStatus::NotReady { reason: ReasonCode::known(ReasonCode::BUSY) });
    // Whoever says ready again begins anew.
    stage.run(&Command::SetAgentStatus { agent: agent_id(0), status: AgentStatus::Ready }).unwrap();
    assert_eq!(stage.router.agent(agent_id(0)).unwrap().refusals, None);
}

#[test]
fn a_caller_who_was_never_joined_goes_back_to_the_old_place() {
    let mut stage = Stage::open(&plain(1));
    let (agent, offer) = stage.create(ringing(1)).unwrap();
    stage.pass(1_000);
    stage.create(ringing(2));
    stage.run(&accept(1, offer)).unwrap();
    stage.run(&fail(1, offer, OfferFailure::HungUp)).unwrap();
    assert!(
        matches!(state(&stage, 1), InteractionState::Offered { agent: again, .. } if again == agent),
        "before the one who came later"
    );
    assert_eq!(state(&stage, 2), InteractionState::Waiting);
    // What a phone refuses otherwise does not take a conversation apart.
    let InteractionState::Offered { offer, .. } = state(&stage, 1) else { panic!("offered") };
    stage.run(&accept(1, offer)).unwrap();
    assert!(stage.run(&fail(1, offer, OfferFailure::Rejected)).is_err());
}

#[test]
fn an_agent_whose_offer_is_withdrawn_by_the_caller_keeps_the_place_in_line() {
    let mut stage = Stage::open(&plain(2));
    let before = stage.router.agent(agent_id(0)).unwrap().available_since_ms;
    stage.create(ringing(1)).unwrap();
    stage.pass(5_000);
    stage.run(&end(1, EndReason::CallerHangup)).unwrap();
    assert!(stage.events.iter().any(|(_, event)| matches!(event, JournalEvent::OfferFailed { failure: None, .. })));
    let ended = stage.changes.ended.last().unwrap();
    assert!(matches!(ended.state, InteractionState::Ended { reason: EndReason::Abandoned, agent: None, .. }));
    assert_eq!(stage.router.agent(agent_id(0)).unwrap().available_since_ms, before);
    assert_eq!(winner(stage.create(ringing(2))), Some(agent_id(0)));
}

#[test]
fn an_agent_who_steps_away_while_it_rings_passes_the_offer_on() {
    let mut stage = Stage::open(&plain(2));
    stage.create(ringing(1)).unwrap();
    stage.run(&status(0, not_ready("break"))).unwrap();
    assert!(matches!(state(&stage, 1), InteractionState::Offered { agent, .. } if agent == agent_id(1)));
    assert_eq!(stage.router.agent(agent_id(0)).unwrap().status, not_ready("break"));
    stage.run(&status(1, AgentStatus::LoggedOut)).unwrap();
    assert_eq!(state(&stage, 1), InteractionState::Waiting);
    assert_eq!(stage.router.interaction(interaction_id(1)).unwrap().offers, 2);
}

#[test]
fn a_returned_interaction_stands_at_its_old_place() {
    let mut stage = Stage::open(&plain(1));
    let (_, offer) = stage.create(ringing(1)).unwrap();
    stage.pass(1_000);
    stage.create(ringing(2));
    stage.pass(1_000);
    stage.run(&fail(1, offer, OfferFailure::Rejected)).unwrap();
    assert_eq!(stage.router.agent(agent_id(0)).unwrap().status, not_ready(ReasonCode::REJECTED));
    stage.run(&status(0, AgentStatus::Ready)).unwrap();
    assert!(matches!(state(&stage, 1), InteractionState::Offered { .. }));
    assert_eq!(state(&stage, 2), InteractionState::Waiting);
}

#[test]
fn wrap_up_is_bounded_and_the_status_said_meanwhile_counts_after_it() {
    let mut config = plain(1);
    add_queue(&mut config, 1, QueueRules { wrap_up_ms: 30_000, ..QueueRules::default() });
    let mut stage = Stage::open(&config);
    let new = |number| NewInteraction { queue: Some(queue_id(1)), ..new_interaction(number, vec![need(0, 1)]) };
    stage.create(new(1)).unwrap();
    stage.run(&end(1, EndReason::AgentHangup)).unwrap();
    assert_eq!(winner(stage.create(new(2))), None);
    stage.pass(30_000);
    assert!(matches!(state(&stage, 2), InteractionState::Connected { .. }));
    stage.run(&status(0, not_ready("break"))).unwrap();
    stage.run(&end(2, EndReason::AgentHangup)).unwrap();
    stage.run(&Command::FinishWrapUp { agent: agent_id(0) }).unwrap();
    assert_eq!(winner(stage.create(new(3))), None);
    stage.run(&status(0, AgentStatus::Ready)).unwrap();
    assert!(matches!(state(&stage, 3), InteractionState::Connected { .. }));
}

#[test]
fn closing_and_opening_are_the_basic_acds() {
    let mut config = plain(3);
    let mut stage = Stage::open(&config);
    stage.create(ringing(1)).unwrap();
    stage.run(&status(2, AgentStatus::LoggedOut)).unwrap();
    stage.run(&Command::SetAcdOpen { open: true }).unwrap();
    assert_eq!(stage.run(&Command::SetAcdOpen { open: true }), Ok(Done::Unchanged));
    stage.run(&status(2, AgentStatus::LoggedOut)).unwrap();
    stage.run(&Command::SetAcdOpen { open: false }).unwrap();
    assert_eq!(stage.run(&Command::SetAcdOpen { open: false }), Ok(Done::Unchanged));
    let statuses: Vec<_> = (0..3).map(|n| stage.router.agent(agent_id(n)).unwrap().status.clone()).collect();
    let closed = not_ready(ReasonCode::ACD_CLOSED);
    assert_eq!(statuses, [closed.clone(), closed, AgentStatus::LoggedOut]);
    assert_eq!(state(&stage, 1), InteractionState::Waiting);
    assert_eq!(stage.router.interaction(interaction_id(1)).unwrap().offers, 1, "not passed from one to the next");
    config.meta.version = 2;
    add_agent(&mut config, 9, &[(1, 1)]);
    stage.router.apply_config(stage.now, &config);
    stage.run(&Command::SetAcdOpen { open: true }).unwrap();
    assert!(stage.router.agents().all(|agent| agent.status == AgentStatus::Ready), "all who are configured");
    assert!(matches!(state(&stage, 1), InteractionState::Offered { .. }));
}

#[test]
fn a_wait_ends_at_its_limit_but_an_open_offer_goes_on() {
    let mut config = plain(1);
    add_queue(&mut config, 1, QueueRules { wait_limit_ms: Some(5_000), ..QueueRules::default() });
    let mut stage = Stage::open(&config);
    let new = |number| NewInteraction { queue: Some(queue_id(1)), ..ringing(number) };
    let (_, offer) = stage.create(new(1)).unwrap();
    stage.create(new(2));
    stage.pass(5_000);
    assert!(matches!(state(&stage, 1), InteractionState::Offered { .. }));
    let ended = &stage.changes.ended[0];
    assert!(matches!(ended.state, InteractionState::Ended { reason: EndReason::WaitLimit, .. }));
    stage.run(&fail(1, offer, OfferFailure::Unreachable)).unwrap();
    assert_eq!(stage.router.next_deadline(), Some(stage.now), "its wait is over too");
    stage.pass(0);
    assert_eq!(stage.changes.ended.len(), 2);
}

#[test]
fn what_a_dead_node_held_is_over_and_its_agents_are_free() {
    let mut stage = Stage::open(&plain(3));
    let on = |node: &str, number| NewInteraction { node: Some(node.parse().unwrap()), ..ringing(number) };
    let (_, offer) = stage.create(on("n1", 1)).unwrap();
    stage.run(&Command::AcceptOffer { interaction: interaction_id(1), offer }).unwrap();
    stage.create(on("n1", 2)).unwrap();
    stage.create(on("n2", 3)).unwrap();
    stage.create(on("n1", 4));
    stage.create(on("n2", 5));
    stage.pass(10);
    let before_ms = stage.now;
    stage.create(on("n1", 6));
    stage.events.clear();
    stage.run(&Command::LoseNode { node: "n1".parse().unwrap(), before_ms }).unwrap();
    let lost: Vec<_> = stage.changes.ended.iter().map(|ended| ended.id).collect();
    assert_eq!(lost, [4, 2, 1].map(interaction_id));
    assert!(matches!(state(&stage, 5), InteractionState::Offered { .. }), "freed agents go on");
    assert!(matches!(state(&stage, 6), InteractionState::Offered { .. }), "the node's new calls are not lost");
}

#[test]
fn an_agent_who_is_no_longer_configured_goes_after_the_interaction() {
    let config = plain(4);
    let mut stage = Stage::open(&config);
    stage.create(new_interaction(0, vec![need(0, 1)])).unwrap();
    stage.create(ringing(1)).unwrap();
    stage.create(ringing(2)).unwrap();
    let mut smaller = plain(0);
    smaller.meta.version = 2;
    add_agent(&mut smaller, 3, &[(0, 5)]);
    stage.router.apply_config(stage.now, &smaller);
    stage.drain();
    assert_eq!(stage.router.agents().count(), 2, "who talks is still here");
    assert!(matches!(state(&stage, 1), InteractionState::Offered { agent, .. } if agent == agent_id(3)));
    assert_eq!(state(&stage, 2), InteractionState::Waiting);
    assert_eq!(stage.run(&status(0, AgentStatus::LoggedOut)).unwrap_err().code, RefusalCode::UnknownAgent);
    stage.run(&end(0, EndReason::AgentHangup)).unwrap();
    assert!(stage.router.agent(agent_id(0)).is_none());
    assert_eq!(stage.changes.agents_removed.iter().copied().collect::<BTreeSet<_>>(), (0..3).map(agent_id).collect());
}

#[test]
fn a_skill_that_is_gone_is_gone_everywhere() {
    let mut config = plain(1);
    let mut stage = Stage::open(&config);
    stage.create(new_interaction(1, vec![need(0, 1), need(1, 1)]));
    config.meta.version = 2;
    config.skills.remove(&skill(1));
    stage.router.apply_config(stage.now, &config);
    stage.drain();
    assert!(matches!(state(&stage, 1), InteractionState::Connected { .. }), "nobody waits for what does not exist");
    let decided = stage.events.iter().find_map(|(_, event)| match event {
        JournalEvent::InteractionOffered { decision, .. } => Some(decision.trigger),
        _ => None,
    });
    assert_eq!(decided, Some(Trigger::ConfigChanged));
    config.meta.version = 3;
    config.skills.remove(&skill(0));
    stage.router.apply_config(stage.now, &config);
    assert!(stage.router.agent(agent_id(0)).unwrap().skills.is_empty());
}

#[test]
fn taking_the_same_configuration_again_does_nothing() {
    let config = plain(3);
    let mut stage = Stage::open(&config);
    stage.create(ringing(1));
    stage.events.clear();
    assert_eq!(stage.router.apply_config(stage.now, &config), Done::Unchanged);
    stage.changes.clear();
    stage.drain();
    assert!(stage.events.is_empty() && stage.changes.is_empty());
}

#[test]
fn what_cannot_be_matched_costs_others_nothing() {
    let mut config = config(1, 3);
    (0..200).for_each(|agent| add_agent(&mut config, agent, &[(0, 5)]));
    let mut stage = Stage::open(&config);
    (0..1_000).for_each(|number| assert_eq!(stage.create(new_interaction(number, vec![need(1, 1)])), None));
    stage.pass(10_000);
    (1_000..1_050).for_each(|number| assert!(stage.create(new_interaction(number, vec![need(0, 1)])).is_some()));
}

#[test]
fn a_decision_names_at_most_five_candidates_and_why() {
    let mut stage = Stage::open(&plain(7));
    stage.pass(100);
    stage.create(new_interaction(1, vec![need(0, 1)]));
    let offered = stage.events.iter().find_map(|(_, event)| match event {
        JournalEvent::InteractionOffered { decision, .. } => Some(decision),
        _ => None,
    });
    let decision = offered.unwrap();
    assert_eq!(
        decision.agents.iter().map(|candidate| candidate.agent).collect::<Vec<_>>(),
        (0..5).map(agent_id).collect::<Vec<_>>()
    );
    assert_eq!((decision.agents_available, decision.interactions_waiting), (7, 1));
    assert_eq!((decision.waited_ms, decision.available_ms), (0, 107));
}

#[test]
fn wrong_input_is_refused_and_changes_nothing() {
    let mut config = plain(0);
    add_queue(&mut config, 1, QueueRules { capacity: 2, ..QueueRules::default() });
    let mut stage = Stage::open(&config);
    let of_queue = |number, queue| NewInteraction { queue: Some(queue_id(queue)), ..new_interaction(number, vec![]) };
    stage.create(of_queue(1, 1));
    stage.create(of_queue(2, 1));
    let attribute = |key: usize, value: usize| NewInteraction {
        attributes: [("k".repeat(key), "v".repeat(value))].into(),
        ..of_queue(9, 0)
    };
    let many =
        NewInteraction { attributes: (0..17).map(|n| (n.to_string(), String::new())).collect(), ..of_queue(9, 0) };
    let needs = (0..17).map(|_| need(0, 1)).collect();
    let table = [
        (Command::CreateInteraction(new_interaction(9, vec![])), RefusalCode::Malformed),
        (Command::CreateInteraction(new_interaction(9, needs)), RefusalCode::Malformed),
        (Command::CreateInteraction(attribute(65, 1)), RefusalCode::Malformed),
        (Command::CreateInteraction(attribute(1, 257)), RefusalCode::Malformed),
        (Command::CreateInteraction(many), RefusalCode::Malformed),
        (Command::CreateInteraction(new_interaction(9, vec![need(7, 1)])), RefusalCode::UnknownSkill),
        (Command::CreateInteraction(of_queue(9, 7)), RefusalCode::UnknownQueue),
        (Command::CreateInteraction(of_queue(9, 1)), RefusalCode::Full),
        (Command::CreateInteraction(of_queue(1, 1)), RefusalCode::DuplicateInteraction),
        (end(9, EndReason::Completed), RefusalCode::UnknownInteraction),
        (fail(1, OfferId::from_parts(1, &bytes(1)), OfferFailure::Busy), RefusalCode::StaleOffer),
        (status(9, AgentStatus::Ready), RefusalCode::UnknownAgent),
        (Command::FinishWrapUp { agent: agent_id(9) }, RefusalCode::UnknownAgent),
    ];
    stage.events.clear();
    for (command, code) in table {
        let refusal = stage.run(&command).unwrap_err();
        assert_eq!(refusal.code, code, "{command:?}: {}", refusal.detail);
    }
    let wrong_code = Command::FailOffer {
        interaction: interaction_id(1),
        offer: OfferId::from_parts(1, &bytes(1)),
        failure: OfferFailure::Busy,
        sip_code: Some(200),
    };
    assert_eq!(stage.run(&wrong_code).unwrap_err().code, RefusalCode::Malformed);
    assert!(stage.events.is_empty());
}

#[test]
fn a_tenant_has_room_for_so_many_and_no_more() {
    let mut stage = Stage::open(&plain(0));
    (0..u64::from(MAX_WAITING))
        .for_each(|number| assert_eq!(stage.create(new_interaction(number, vec![need(0, 1)])), None));
    let one_more = Command::CreateInteraction(new_interaction(u64::from(MAX_WAITING), vec![need(0, 1)]));
    assert_eq!(stage.run(&one_more).unwrap_err().code, RefusalCode::Full);
    stage.run(&end(7, EndReason::CallerHangup)).unwrap();
    assert!(stage.run(&one_more).is_ok());
}

#[test]
fn no_two_offers_share_an_identity() {
    let mut seen = BTreeSet::new();
    for tenant in [tenant(), TenantId::from_parts(1, &bytes(78))] {
        for epoch in [1, 2, 0xffff_ffff, 0x1234_5678] {
            let mut ids = OfferIds::new(tenant, epoch);
            for _ in 0..1_000 {
                assert!(seen.insert(ids.next(TimestampMs(1_700_000_000_000))));
            }
        }
    }
}

#[test]
fn deadlines_come_due_although_a_predecessors_clock_was_ahead() {
    let config = plain(1);
    let mut stage = Stage::open(&config);
    stage.now = TimestampMs(900_000_000);
    stage.create(ringing(1)).unwrap();
    let agents = stage.router.agents().cloned().collect();
    let interactions = stage.router.interactions().cloned().collect();
    let record = RouterRecord { config_version: 1, ..RouterRecord::default() };
    stage.router = Router::restore(OfferIds::new(tenant(), 2), &config, agents, interactions, &record);
    stage.now = TimestampMs(2_000_000);
    stage.pass(0);
    let due = stage.router.next_deadline().unwrap();
    assert_eq!(due, stage.now.plus_ms(15_000), "in our time");
    stage.pass(15_000);
    assert_eq!(state(&stage, 1), InteractionState::Waiting);
    stage.now = TimestampMs(stage.now.0 - 500);
    stage.run(&status(0, AgentStatus::Ready)).unwrap();
    let times: Vec<_> = stage.events.iter().map(|(at, _)| *at).collect();
    assert!(times.is_sorted(), "time never goes back");
}

#[test]
fn records_that_disagree_are_put_right() {
    let config = plain(4);
    let mut stage = Stage::open(&config);
    stage.create(new_interaction(0, vec![need(0, 1)])).unwrap();
    stage.create(ringing(1)).unwrap();
    stage.create(new_interaction(2, vec![need(0, 1)])).unwrap();
    let mut agents: Vec<_> = stage.router.agents().cloned().collect();
    let mut interactions: Vec<_> = stage.router.interactions().cloned().collect();
    interactions.retain(|interaction| interaction.id != interaction_id(2));
    agents.retain(|agent| agent.id != agent_id(0));
    for agent in agents.iter_mut().filter(|agent| agent.id == agent_id(1)) {
        agent.state = AgentState::Idle;
    }
    let record = RouterRecord { config_version: 1, ..RouterRecord::default() };
    stage.router = Router::restore(OfferIds::new(tenant(), 2), &config, agents, interactions, &record);
    stage.drain();
    assert_eq!(stage.router.counts().repairs, 4);
    let ended = stage.changes.ended.last().unwrap();
    assert!(matches!(ended.state, InteractionState::Ended { reason: EndReason::Failed, .. }), "{ended:?}");
    assert!(matches!(state(&stage, 1), InteractionState::Offered { .. }));
    stage.router.apply_config(stage.now, &config);
    assert_eq!(stage.router.counts().agents, 4);
}

#[test]
fn everything_can_be_drained_for_a_rebuild() {
    let mut stage = Stage::open(&plain(3));
    stage.create(ringing(1)).unwrap();
    (2..5).for_each(|number| assert_eq!(stage.create(new_interaction(number, vec![need(1, 1)])), None));
    let mut everything = Changes::default();
    stage.router.drain_everything(&mut everything);
    assert_eq!((everything.agents.len(), everything.interactions.len()), (3, 4));
    assert_eq!((everything.available.len(), everything.queue.len()), (2, 3));
}

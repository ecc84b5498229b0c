//! Audience and board against naive models.

use std::collections::BTreeMap;

use proptest::prelude::*;
use ringdown_domain::{
    AgentId, CustomerSide, Delivery, EndReason, InteractionId, InteractionState, Media, OfferFailure, OfferId, Origin,
    Priority, QueueId, Recording, TimestampMs,
};
use ringdown_events::{InteractionRecord, JournalEvent};

use ringdown_live_views::{ClientMessage, LiveEvent, QueueFigures, Scope, Topic};

use crate::{Audience, CloseCode, QueueBoard};

fn agent(number: u8) -> AgentId {
    AgentId::from_parts(u64::from(number), &[number; 10])
}

fn offer() -> OfferId {
    OfferId::from_parts(1, &[1; 10])
}

fn interaction(number: u8, queue: Option<u8>, state: InteractionState) -> InteractionRecord {
    InteractionRecord {
        id: InteractionId::from_parts(u64::from(number), &[number; 10]),
        media: Media::Voice,
        delivery: Delivery::Ring,
        queue: queue.map(|queue| QueueId::from_parts(u64::from(queue), &[queue; 10])),
        requirements: vec![],
        priority: Priority::default(),
        caller: None,
        called: None,
        node: None,
        attributes: BTreeMap::new(),
        arrived_at_ms: TimestampMs(u64::from(number)),
        rank_ms: TimestampMs(u64::from(number)),
        wait_limit_at_ms: None,
        ring_timeout_ms: 1,
        wrap_up_ms: 0,
        offers: 0,
        state,
        origin: Origin::default(),
        parent: None,
        role: None,
        initiator: None,
        target: None,
        children: vec![],
        parties: vec![],
        held_since_ms: None,
        muted: false,
        recording: Recording::default(),
        customer: CustomerSide::default(),
        disposition: None,
    }
}

fn state(step: u8, with: AgentId) -> InteractionState {
    match step {
        0 => InteractionState::Waiting,
        1 => InteractionState::Offered { agent: with, offer: offer(), deadline_ms: TimestampMs(9) },
        2 => InteractionState::Connected { agent: with, offer: offer(), since_ms: TimestampMs(9) },
        _ => InteractionState::Ended { reason: EndReason::Completed, at_ms: TimestampMs(9), agent: Some(with) },
    }
}

#[test]
fn an_agent_sees_only_what_is_the_agents_own() {
    let own = Audience { topics: [Topic::Agents, Topic::Interactions].into(), scope: Scope::Agent(agent(1)) };
    let check = |event: JournalEvent, sees: bool| assert_eq!(own.sees(&event), sees, "{event:?}");
    check(JournalEvent::InteractionQueued { interaction: interaction(1, None, state(0, agent(1))) }, false);
    check(JournalEvent::InteractionConnected { interaction: interaction(1, None, state(2, agent(1))) }, true);
    check(JournalEvent::InteractionConnected { interaction: interaction(1, None, state(2, agent(2))) }, false);
    check(JournalEvent::InteractionEnded { interaction: interaction(1, None, state(3, agent(1))) }, true);
    check(JournalEvent::AgentRemoved { agent: agent(2) }, false);
    check(JournalEvent::AgentRemoved { agent: agent(1) }, true);
    check(JournalEvent::AcdChanged { open: true }, true);
    let failed = |to| JournalEvent::OfferFailed {
        interaction: interaction(1, None, InteractionState::Waiting).id,
        agent: to,
        offer: offer(),
        failure: Some(OfferFailure::Busy),
        sip_code: Some(486),
    };
    check(failed(agent(1)), true);
    check(failed(agent(2)), false);
}

#[test]
fn an_agent_is_not_told_of_others() {
    let own = Audience { topics: [Topic::Interactions, Topic::Queues].into(), scope: Scope::Agent(agent(1)) };
    assert!(own.asks_too_much() && !own.sees_queues());
    let decision = ringdown_events::Decision {
        trigger: ringdown_events::Trigger::InteractionArrived,
        waited_ms: 1,
        available_ms: 2,
        agents_available: 3,
        interactions_waiting: 4,
        agents: vec![ringdown_events::CandidateAgent { agent: agent(2), available_since_ms: TimestampMs(1) }],
        interactions: vec![],
    };
    let offered = || JournalEvent::InteractionOffered {
        interaction: interaction(1, None, state(1, agent(1))),
        decision: decision.clone(),
    };
    assert!(own.sees(&offered()));
    let told = |scope| serde_json::to_string(&LiveEvent::seen(offered(), scope)).unwrap();
    assert!(!told(own.scope).contains("decision"));
    assert!(told(Scope::Tenant).contains("agents_available"));
}

#[test]
fn a_supervisor_sees_the_topics_asked_for() {
    let board = Audience { topics: [Topic::Queues].into(), scope: Scope::Tenant };
    assert!(board.sees_queues());
    assert!(!board.sees_agent(agent(1)));
    assert!(!board.sees_interaction(&interaction(1, None, InteractionState::Waiting)));
}

#[test]
fn close_codes_tell_whether_to_come_back() {
    for code in CloseCode::ALL {
        assert!((4000..5000).contains(&code.code()) || (1002..=1009).contains(&code.code()));
        assert_eq!(code.comes_back(), (4000..4500).contains(&code.code()), "{code:?}");
        assert!(code.reason().len() <= 123);
    }
}

#[test]
fn a_client_message_with_anything_unknown_is_refused() {
    let check = |text: &str, accepted: bool| {
        assert_eq!(serde_json::from_str::<ClientMessage>(text).is_ok(), accepted, "{text}");
    };
    check(r#"{"kind":"open","token":"t","topics":["agents"]}"#, true);
    check(r#"{"kind":"open","token":"t","topics":["agents"],"position":{"epoch":"e","seq":4}}"#, true);
    check(r#"{"kind":"open","token":"t","topics":["agents"],"position":{"epoch":"e","seq":-4}}"#, false);
    check(r#"{"kind":"open","token":"t","topics":["everything"]}"#, false);
    // A browser of the console: the log-in is in its cookie.
    check(r#"{"kind":"open","topics":["agents"]}"#, true);
    check(r#"{"kind":"open","token":"t","topics":["agents"],"shout":1}"#, false);
    check(r#"{"kind":"shout"}"#, false);
}

/// Counts by looking at everything.
fn naive(records: &BTreeMap<InteractionId, InteractionRecord>, queue: Option<QueueId>) -> QueueFigures {
    let mut figures = QueueFigures { queue: queue.map(|queue| queue.0), ..QueueFigures::default() };
    for record in records.values().filter(|record| record.queue == queue) {
        match record.state {
            InteractionState::Waiting => {
                figures.waiting += 1;
                let arrived = record.arrived_at_ms.0;
                figures.oldest_arrived_at_ms = Some(figures.oldest_arrived_at_ms.map_or(arrived, |at| at.min(arrived)));
            }
            InteractionState::Offered { .. } => figures.offered += 1,
            InteractionState::Connected { .. } | InteractionState::External { .. } => figures.connected += 1,
            InteractionState::Ended { .. } => {}
        }
    }
    figures
}

proptest! {
    #[test]
    fn the_board_counts_as_a_look_at_everything_would(
        steps in prop::collection::vec((0u8..20, prop::option::of(0u8..3), 0u8..4), 1..300),
    ) {
        let mut board = QueueBoard::default();
        let mut records: BTreeMap<InteractionId, InteractionRecord> = BTreeMap::new();
        let mut shown: BTreeMap<Option<QueueId>, QueueFigures> = BTreeMap::new();
        for (number, queue, step) in steps {
            let id = interaction(number, None, InteractionState::Waiting).id;
            // An interaction never changes its queue while it lives.
            let queue = records.get(&id).map_or(interaction(number, queue, InteractionState::Waiting).queue, |r| r.queue);
            let mut record = interaction(number, None, state(step, agent(1)));
            record.queue = queue;
            if step < 3 {
                records.insert(id, record.clone());
            } else {
                records.remove(&id);
            }
            board.apply(&JournalEvent::InteractionQueued { interaction: record });
            shown.extend(board.take_changes());
            for (queue, figures) in &shown {
                prop_assert_eq!(figures, &naive(&records, *queue));
            }
        }
        let rebuilt = QueueBoard::from_records(records.values());
        for (queue, figures) in rebuilt.figures() {
            prop_assert_eq!(&figures, &naive(&records, queue));
        }
    }
}

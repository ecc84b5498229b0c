//! Golden samples: what another version of a daemon, or the Info Mart years later, will read. A failing test here means
//! that a message changed on the wire: add a field instead.

use std::collections::BTreeMap;

use ringdown_domain::{
    AgentId, AgentState, AgentStatus, CommandId, CustomerSide, Delivery, EndReason, InteractionId, InteractionState,
    Media, OfferFailure, OfferId, Origin, Priority, ReasonCode, Recording, SkillLevel, SkillRequirement, TimestampMs,
};
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    AgentRecord, CandidateAgent, Command, CommandEnvelope, Decision, Done, InteractionRecord, JournalEntry,
    JournalEvent, NewInteraction, Outcome, QueueRules, Refusal, RefusalCode, SipCredential, Trigger, VoiceEffect,
    VoiceEffectEntry,
};

/// The value must read as `golden`, and `golden` must read back as the value.
fn check<T>(value: &T, golden: &str)
where
    T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug,
{
    assert_eq!(serde_json::to_string(value).unwrap(), golden);
    assert_eq!(&serde_json::from_str::<T>(golden).unwrap(), value);
}

fn interaction_id() -> InteractionId {
    InteractionId::from_parts(1, &[1; 10])
}

fn agent_id() -> AgentId {
    AgentId::from_parts(2, &[2; 10])
}

fn offer_id() -> OfferId {
    OfferId::from_parts(3, &[3; 10])
}

fn new_interaction() -> NewInteraction {
    NewInteraction {
        id: interaction_id(),
        media: Media::Voice,
        delivery: Delivery::Ring,
        queue: None,
        requirements: vec![SkillRequirement { skill: "English".parse().unwrap(), min_level: SkillLevel::MIN }],
        priority: None,
        caller: Some("+4930123".parse().unwrap()),
        called: Some("100".parse().unwrap()),
        node: Some("voice-1".parse().unwrap()),
        attributes: BTreeMap::new(),
        arrived_at_ms: None,
    }
}

fn interaction() -> InteractionRecord {
    InteractionRecord {
        id: interaction_id(),
        media: Media::Task,
        delivery: Delivery::Direct,
        queue: None,
        requirements: vec![],
        priority: Priority::default(),
        caller: None,
        called: None,
        node: None,
        attributes: BTreeMap::new(),
        arrived_at_ms: TimestampMs(10),
        rank_ms: TimestampMs(10),
        wait_limit_at_ms: None,
        ring_timeout_ms: 15_000,
        wrap_up_ms: 0,
        offers: 1,
        state: InteractionState::Connected { agent: agent_id(), offer: offer_id(), since_ms: TimestampMs(20) },
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

#[test]
fn commands() {
    let envelope = |command| CommandEnvelope {
        version: 1,
        id: CommandId::from_parts(4, &[4; 10]),
        asker: "web-api-1".to_owned(),
        at_ms: TimestampMs(5),
        command,
    };
    check(
        &envelope(Command::CreateInteraction(new_interaction())),
        r#"{"version":1,"id":"00000000-0004-7404-8404-040404040404","asker":"web-api-1","at_ms":5,"command":{"kind":"create_interaction","id":"00000000-0001-7101-8101-010101010101","media":"voice","delivery":"ring","queue":null,"requirements":[{"skill":"English","min_level":1}],"priority":null,"caller":"+4930123","called":"100","node":"voice-1","attributes":{},"arrived_at_ms":null}}"#,
    );
    check(
        &envelope(Command::FailOffer {
            interaction: interaction_id(),
            offer: offer_id(),
            failure: OfferFailure::NoAnswer,
            sip_code: Some(480),
        }),
        r#"{"version":1,"id":"00000000-0004-7404-8404-040404040404","asker":"web-api-1","at_ms":5,"command":{"kind":"fail_offer","interaction":"00000000-0001-7101-8101-010101010101","offer":"00000000-0003-7303-8303-030303030303","failure":"no_answer","sip_code":480}}"#,
    );
    check(
        &envelope(Command::SetAgentStatus {
            agent: agent_id(),
            status: AgentStatus::NotReady { reason: ReasonCode::known(ReasonCode::RONA) },
        }),
        r#"{"version":1,"id":"00000000-0004-7404-8404-040404040404","asker":"web-api-1","at_ms":5,"command":{"kind":"set_agent_status","agent":"00000000-0002-7202-8202-020202020202","status":{"kind":"not_ready","reason":"rona"}}}"#,
    );
    check(
        &envelope(Command::EndInteraction {
            interaction: interaction_id(),
            reason: EndReason::CallerHangup,
            at_ms: Some(TimestampMs(9)),
        }),
        r#"{"version":1,"id":"00000000-0004-7404-8404-040404040404","asker":"web-api-1","at_ms":5,"command":{"kind":"end_interaction","interaction":"00000000-0001-7101-8101-010101010101","reason":"caller_hangup","at_ms":9}}"#,
    );
}

#[test]
fn outcomes() {
    check(
        &Outcome {
            command: CommandId::from_parts(4, &[4; 10]),
            result: Ok(Done::Created { interaction: interaction_id(), offered: Some((agent_id(), offer_id())) }),
        },
        r#"{"command":"00000000-0004-7404-8404-040404040404","result":{"Ok":{"kind":"created","interaction":"00000000-0001-7101-8101-010101010101","offered":["00000000-0002-7202-8202-020202020202","00000000-0003-7303-8303-030303030303"]}}}"#,
    );
    check(
        &Outcome {
            command: CommandId::from_parts(4, &[4; 10]),
            result: Err(Refusal { code: RefusalCode::StaleOffer, detail: "the offer is over".to_owned() }),
        },
        r#"{"command":"00000000-0004-7404-8404-040404040404","result":{"Err":{"code":"stale_offer","detail":"the offer is over"}}}"#,
    );
}

#[test]
fn journal_entries() {
    check(
        &JournalEntry {
            seq: 7,
            at_ms: TimestampMs(20),
            event: JournalEvent::InteractionOffered {
                interaction: interaction(),
                decision: Decision {
                    trigger: Trigger::InteractionArrived,
                    waited_ms: 0,
                    available_ms: 12,
                    agents_available: 3,
                    interactions_waiting: 1,
                    agents: vec![CandidateAgent { agent: agent_id(), available_since_ms: TimestampMs(8) }],
                    interactions: vec![],
                },
            },
        },
        r#"{"seq":7,"at_ms":20,"event":{"kind":"interaction_offered","interaction":{"id":"00000000-0001-7101-8101-010101010101","media":"task","delivery":"direct","queue":null,"requirements":[],"priority":0,"caller":null,"called":null,"node":null,"arrived_at_ms":10,"rank_ms":10,"wait_limit_at_ms":null,"ring_timeout_ms":15000,"wrap_up_ms":0,"offers":1,"state":{"kind":"connected","agent":"00000000-0002-7202-8202-020202020202","offer":"00000000-0003-7303-8303-030303030303","since_ms":20}},"decision":{"trigger":"interaction_arrived","waited_ms":0,"available_ms":12,"agents_available":3,"interactions_waiting":1,"agents":[{"agent":"00000000-0002-7202-8202-020202020202","available_since_ms":8}]}}}"#,
    );
    check(
        &JournalEntry {
            seq: 8,
            at_ms: TimestampMs(21),
            event: JournalEvent::AgentChanged {
                agent: AgentRecord {
                    id: agent_id(),
                    name: "Ada".parse().unwrap(),
                    skills: BTreeMap::from([("English".parse().unwrap(), SkillLevel::MAX)]),
                    status: AgentStatus::Ready,
                    status_since_ms: TimestampMs(1),
                    state: AgentState::Talking { interaction: interaction_id(), since_ms: TimestampMs(20) },
                    state_since_ms: TimestampMs(20),
                    available_since_ms: None,
                    place_since_ms: None,
                    refusals: None,
                    reachable: None,
                    engagements: vec![],
                },
            },
        },
        r#"{"seq":8,"at_ms":21,"event":{"kind":"agent_changed","agent":{"id":"00000000-0002-7202-8202-020202020202","name":"Ada","skills":{"English":10},"status":{"kind":"ready"},"status_since_ms":1,"state":{"kind":"talking","interaction":"00000000-0001-7101-8101-010101010101","since_ms":20},"state_since_ms":20,"available_since_ms":null}}}"#,
    );
}

#[test]
fn voice_effects() {
    check(
        &VoiceEffectEntry {
            seq: 9,
            at_ms: TimestampMs(30),
            effect: VoiceEffect::Offer {
                interaction: interaction_id(),
                offer: offer_id(),
                agent: agent_id(),
                sip_user: Some("ada".to_owned()),
                realm: "demo.invalid".to_owned(),
                deadline_ms: TimestampMs(15_030),
            },
        },
        r#"{"seq":9,"at_ms":30,"effect":{"kind":"offer","interaction":"00000000-0001-7101-8101-010101010101","offer":"00000000-0003-7303-8303-030303030303","agent":"00000000-0002-7202-8202-020202020202","sip_user":"ada","realm":"demo.invalid","deadline_ms":15030}}"#,
    );
}

#[test]
fn configuration() {
    check(
        &QueueRules::default(),
        r#"{"requirements":[],"priority":0,"ring_timeout_ms":15000,"wrap_up_ms":0,"wait_limit_ms":null,"capacity":100000,"service_level_ms":20000,"after_no_answer":"not_ready","busy_limit":3}"#,
    );
    // As the version before wrote it.
    let before = r#"{"requirements":[],"priority":0,"ring_timeout_ms":15000,"wrap_up_ms":0,"wait_limit_ms":null,"capacity":100000,"service_level_ms":20000,"after_no_answer":"not_ready"}"#;
    assert_eq!(serde_json::from_str::<QueueRules>(before).unwrap(), QueueRules::default());
    let credential = SipCredential {
        user: "ada".to_owned(),
        agent: agent_id(),
        ha1_md5: "aa".repeat(16),
        ha1_sha256: "bb".repeat(32),
    };
    assert!(!format!("{credential:?}").contains("aaaa"), "hashes stay out of logs");
}

#[test]
fn a_field_of_a_newer_version_is_ignored() {
    let newer = r#"{"seq":1,"at_ms":2,"event":{"kind":"acd_changed","open":true,"by":"somebody"},"trace":"x"}"#;
    let entry: JournalEntry = serde_json::from_str(newer).unwrap();
    assert_eq!(entry.event, JournalEvent::AcdChanged { open: true });
}

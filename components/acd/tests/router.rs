//! The router duty as a process: what it answers, what it leaves in Redis, what it survives. Faults under load are in
//! `tests/suites/tests/acd_faults.rs`.
#![expect(clippy::unwrap_used, reason = "a test stops at a surprise")]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ringdown_domain::{
    AgentId, AgentStatus, CommandId, Delivery, EndReason, InteractionId, InteractionState, Media, NodeId, OfferId,
    PartyRole, SkillName, SkillRequirement, TenantId, TimestampMs,
};
use ringdown_events::{
    AgentConfig, Command, CompiledConfig, ConfigMeta, ConsultEnd, Disposition, Done, InteractionRecord, JournalEntry,
    JournalEvent, NewInteraction, Outcome, RefusalCode, Target, VoiceEffect, VoiceEffectEntry, WantedConversation,
    WantedCustomer, WantedParty,
};
use ringdown_redis_store::{
    Answer, CommandClient, ConfigWriter, RedisOptions as StoreOptions, RedisPool, Retry, StoreMetrics, StreamEntry,
    StreamReader, StreamStart, keys, redis, snapshot,
};
use ringdown_test_support::{Appendfsync, Daemon, PrivateRedis, RedisOptions, wait_until, workspace_binary};

const LIMIT: Duration = Duration::from_secs(15);

/// A tenant with two agents (1: sales; 2: sales, support), a Redis and an acd.
struct House {
    redis: PrivateRedis,
    acd: Daemon,
    pool: RedisPool,
    client: CommandClient,
    next: std::cell::Cell<u8>,
}

fn tenant() -> TenantId {
    TenantId::from_parts(1, &[1; 10])
}

fn agent(number: u8) -> AgentId {
    AgentId::from_parts(2, &[number; 10])
}

fn interaction(number: u8) -> InteractionId {
    InteractionId::from_parts(3, &[number; 10])
}

fn skill(name: &str) -> SkillName {
    name.parse().unwrap()
}

fn config(version: u64) -> CompiledConfig {
    let agent = |number: u8, skills: &[&str]| {
        let skills: BTreeMap<_, _> = skills.iter().map(|name| (skill(name), Default::default())).collect();
        let name = format!("Agent {number}").parse().unwrap();
        let id = agent(number);
        (id, AgentConfig { id, name, skills, sip_user: Some(format!("100{number}")) })
    };
    CompiledConfig {
        meta: ConfigMeta {
            tenant: tenant(),
            name: "Acme".parse().unwrap(),
            realm: "acme.example".to_owned(),
            version,
            compiled_at_ms: TimestampMs(version),
            counts: BTreeMap::new(),
            outbound: Vec::new(),
        },
        skills: BTreeSet::from([skill("sales"), skill("support")]),
        agents: BTreeMap::from([agent(1, &["sales"]), agent(2, &["sales", "support"])]),
        queues: BTreeMap::new(),
        routes: BTreeMap::new(),
        trunks: BTreeMap::new(),
        credentials: BTreeMap::new(),
    }
}

fn call(number: u8, needs: &str, node: Option<&str>) -> Command {
    let voice = node.is_some();
    Command::CreateInteraction(NewInteraction {
        id: interaction(number),
        media: if voice { Media::Voice } else { Media::Task },
        delivery: if voice { Delivery::Ring } else { Delivery::Direct },
        queue: None,
        requirements: vec![SkillRequirement { skill: skill(needs), min_level: Default::default() }],
        priority: None,
        caller: None,
        called: None,
        node: node.map(|name| name.parse().unwrap()),
        attributes: BTreeMap::new(),
        arrived_at_ms: None,
    })
}

/// Registers an agent's phone until then, as a registrar does.
async fn register(pool: &RedisPool, number: u8, expires_at_ms: u64) {
    let binding = serde_json::json!({ "expires_at_ms": expires_at_ms }).to_string();
    let mut pipe = redis::pipe();
    pipe.cmd("HSET").arg(keys::location(tenant(), &format!("100{number}"))).arg("phone").arg(binding).ignore();
    pipe.cmd("PUBLISH").arg(keys::location_changed(tenant())).arg(format!("test 100{number}")).ignore();
    let () = pool.run_pipeline("register", Retry::Safe, &pipe).await.unwrap();
}

impl House {
    async fn new() -> Self {
        Self::with(&[]).await
    }

    /// With further variables of the acd.
    async fn with(variables: &[(&str, &str)]) -> Self {
        // A killed Redis keeps everything only so.
        let options = RedisOptions { appendfsync: Appendfsync::Always, ..RedisOptions::default() };
        let redis = PrivateRedis::start(options).await.unwrap();
        let pool = RedisPool::new(StoreOptions::from_url(&redis.url()).unwrap(), StoreMetrics::default());
        let writer = ConfigWriter::new(pool.clone());
        writer.write(&config(1)).await.unwrap();
        writer.flip(&config(1), None).await.unwrap();
        for number in [1, 2] {
            register(&pool, number, u64::MAX / 2).await;
        }
        let (client, tail) = CommandClient::new(pool.clone(), "test".to_owned());
        tokio::spawn(tail.run(std::future::pending()));
        let acd = Daemon::builder(workspace_binary("ringdown-acd").unwrap())
            .unwrap()
            .env("RINGDOWN_REDIS_URL", redis.url())
            .env("RINGDOWN_ACD_DUTIES", "router")
            .env("RINGDOWN_ACD_LEASE_MS", "500");
        let acd = variables.iter().fold(acd, |acd, (name, value)| acd.env(*name, *value));
        let mut acd = acd.start().unwrap();
        acd.wait_ready(LIMIT).await.unwrap();
        Self { redis, acd, pool, client, next: std::cell::Cell::new(0) }
    }

    async fn ask(&self, command: Command) -> Outcome {
        self.next.set(self.next.get() + 1);
        self.ask_as(self.next.get(), command).await
    }

    async fn ask_as(&self, id: u8, command: Command) -> Outcome {
        let id = CommandId::from_parts(4, &[id; 10]);
        wait_until(LIMIT, "an outcome", async || {
            match self.client.send_as(tenant(), id, command.clone()).await.unwrap() {
                Answer::Outcome(outcome) => Some(outcome),
                Answer::Unknown { .. } => None,
            }
        })
        .await
    }

    async fn ready(&self, number: u8) {
        let command = Command::SetAgentStatus { agent: agent(number), status: AgentStatus::Ready };
        self.ask(command).await.result.unwrap();
    }

    async fn end(&self, number: u8, reason: EndReason) -> Result<Done, RefusalCode> {
        let command = Command::EndInteraction { interaction: interaction(number), reason, at_ms: None };
        self.ask(command).await.result.map_err(|refusal| refusal.code)
    }

    async fn add_raw(&self, text: &str) -> String {
        let mut cmd = redis::cmd("XADD");
        cmd.arg(keys::commands(tenant())).arg("*").arg(keys::ENTRY_FIELD).arg(text);
        self.query(&cmd).await
    }

    async fn query<T: redis::FromRedisValue>(&self, cmd: &redis::Cmd) -> T {
        self.pool.run("test", Retry::Safe, cmd).await.unwrap()
    }

    async fn stream(&self, key: &str) -> Vec<StreamEntry> {
        let mut reader = StreamReader::new(&self.pool, "test", 10_000);
        reader.follow(key, StreamStart::Oldest);
        reader.next(Duration::ZERO).await.unwrap()
    }

    async fn journal(&self) -> Vec<JournalEntry> {
        let entries = self.stream(&keys::journal(tenant())).await;
        entries.iter().map(|entry| serde_json::from_str(entry.field(keys::ENTRY_FIELD).unwrap()).unwrap()).collect()
    }
}

fn offered(outcome: &Outcome) -> Option<(AgentId, OfferId)> {
    match &outcome.result {
        Ok(Done::Created { offered, .. }) => *offered,
        other => panic!("not created: {other:?}"),
    }
}

#[tokio::test]
async fn state_journal_history_and_position_tell_one_story() {
    let house = House::new().await;
    house.ready(1).await;
    house.ready(2).await;
    let created = house.ask(call(1, "sales", None)).await;
    assert_eq!(offered(&created).unwrap().0, agent(1), "the longest available");
    let state = snapshot::read(&house.pool, tenant()).await.unwrap();
    let mut score = redis::cmd("ZRANGE");
    score.arg(keys::available(tenant(), &skill("sales"))).arg(0).arg(-1);
    assert_eq!(house.query::<Vec<String>>(&score).await, [agent(2).to_string()]);
    assert!(matches!(state.interactions[0].state, InteractionState::Connected { agent: with, .. } if with == agent(1)));
    house.end(1, EndReason::Completed).await.unwrap();
    let journal = house.journal().await;
    assert!(journal.iter().zip(1..).all(|(entry, seq)| entry.seq == seq), "gapless from 1");
    let state = snapshot::read(&house.pool, tenant()).await.unwrap();
    assert_eq!((state.router.seq, state.interactions.len()), (journal.len() as u64, 0));
    let mut history = redis::cmd("LRANGE");
    history.arg(keys::history(tenant(), interaction(1))).arg(0).arg(-1);
    let history: Vec<String> = house.query(&history).await;
    let own: Vec<String> = journal
        .iter()
        .filter(|entry| entry.event.interaction_id() == Some(interaction(1)))
        .map(|entry| serde_json::to_string(entry).unwrap())
        .collect();
    assert_eq!(history, own, "the history is the journal of one interaction");
    for key in [keys::history(tenant(), interaction(1)), keys::interaction(tenant(), interaction(1))] {
        let mut ttl = redis::cmd("TTL");
        ttl.arg(&key);
        let ttl: i64 = house.query(&ttl).await;
        assert!((3_500..=3_600).contains(&ttl), "{key} expires an hour after the end, not in {ttl} s");
    }
    let commands = house.stream(&keys::commands(tenant())).await;
    assert_eq!(commands.last().map(|entry| entry.id.clone()), Some(state.router.position));
}

#[tokio::test]
async fn malformed_commands_are_refused_or_skipped_and_stop_nothing() {
    let house = House::new().await;
    let known = CommandId::from_parts(9, &[9; 10]);
    let from_future = serde_json::json!({
        "version": 200, "id": known, "asker": "test", "at_ms": 1, "command": { "kind": "set_acd_open", "open": true }
    });
    let unknown_kind = serde_json::json!({
        "version": 1, "id": CommandId::from_parts(9, &[8; 10]), "asker": "test", "at_ms": 1, "command": { "kind": "dance" }
    });
    let huge = "x".repeat(70_000);
    for text in
        ["", "{", "[]", "null", "\u{0}", "{\"version\":1}", &huge, &from_future.to_string(), &unknown_kind.to_string()]
    {
        house.add_raw(text).await;
    }
    let mut other_field = redis::cmd("XADD");
    other_field.arg(keys::commands(tenant())).arg("*").arg("something").arg("else");
    let _id: String = house.query(&other_field).await;
    let mut not_text = redis::cmd("XADD");
    not_text.arg(keys::commands(tenant())).arg("*").arg(keys::ENTRY_FIELD).arg(&[0xFF_u8, 0xFE, 0x00][..]);
    let _id: String = house.query(&not_text).await;
    house.ready(1).await;
    let outcomes = house.stream(&keys::outcomes(tenant())).await;
    let refused: Vec<Outcome> = outcomes
        .iter()
        .map(|entry| serde_json::from_str::<Outcome>(entry.field(keys::OUTCOME_FIELD).unwrap()).unwrap())
        .filter(|outcome| outcome.result.as_ref().is_err_and(|refusal| refusal.code == RefusalCode::Malformed))
        .collect();
    assert_eq!(refused.len(), 2, "those that say who asked");
    let metrics = house.acd.get("/metrics").await.unwrap().body;
    assert!(metrics.contains("ringdown_acd_commands_total{kind=\"unreadable\",result=\"skipped\"} 9"), "{metrics}");
}

#[tokio::test]
async fn bad_commands_get_the_right_refusal() {
    let house = House::new().await;
    let unknown_skill = house.ask(call(1, "juggling", None)).await.result.unwrap_err().code;
    assert_eq!(unknown_skill, RefusalCode::UnknownSkill);
    let nobody = Command::SetAgentStatus { agent: agent(9), status: AgentStatus::Ready };
    assert_eq!(house.ask(nobody).await.result.unwrap_err().code, RefusalCode::UnknownAgent);
    assert_eq!(house.end(9, EndReason::Completed).await, Err(RefusalCode::UnknownInteraction));
    house.ask(call(1, "sales", None)).await.result.unwrap();
    let twice = house.ask(call(1, "sales", None)).await.result.unwrap_err().code;
    assert_eq!(twice, RefusalCode::DuplicateInteraction);
}

#[tokio::test]
async fn a_repeated_command_gets_its_first_outcome_also_from_a_successor() {
    let mut house = House::new().await;
    house.ready(1).await;
    let first = house.ask_as(77, call(1, "sales", None)).await;
    assert_eq!(house.ask_as(77, call(1, "sales", None)).await, first);
    house.acd.kill9().unwrap();
    house.acd.restart().unwrap();
    assert_eq!(house.ask_as(77, call(1, "sales", None)).await, first, "rebuilt from the outcomes");
    assert_eq!(snapshot::read(&house.pool, tenant()).await.unwrap().interactions.len(), 1);
    let journal = house.journal().await;
    assert!(journal.iter().zip(1..).all(|(entry, seq)| entry.seq == seq), "gapless over the take-over");
}

#[tokio::test]
async fn a_successor_answers_for_what_ended_and_does_not_do_it_again() {
    let mut house = House::new().await;
    house.ready(1).await;
    let (_, offer) = offered(&house.ask(call(1, "sales", None)).await).unwrap();
    house.end(1, EndReason::Completed).await.unwrap();
    house.acd.kill9().unwrap();
    house.acd.restart().unwrap();
    let accept = house.ask(Command::AcceptOffer { interaction: interaction(1), offer }).await;
    assert_eq!(accept.result.map_err(|refusal| refusal.code), Err(RefusalCode::InteractionEnded));
    assert_eq!(house.end(1, EndReason::Completed).await, Ok(Done::Unchanged));
    // Another command than the first: the memory of commands does not help.
    let again = house.ask(call(1, "sales", None)).await;
    assert_eq!(again.result.map_err(|refusal| refusal.code), Err(RefusalCode::DuplicateInteraction));
    assert!(snapshot::read(&house.pool, tenant()).await.unwrap().interactions.is_empty());
}

#[tokio::test]
async fn records_of_what_ended_are_bounded_and_the_oldest_go_first() {
    let house = House::with(&[("RINGDOWN_ACD_KEEP_ENDED_MOST", "100")]).await;
    for number in 1..=103 {
        house.ask(call(number, "sales", None)).await.result.unwrap();
        house.end(number, EndReason::Abandoned).await.unwrap();
    }
    for (number, is_there) in [(1, false), (3, false), (4, true), (103, true)] {
        for key in [keys::interaction(tenant(), interaction(number)), keys::history(tenant(), interaction(number))] {
            let mut exists = redis::cmd("EXISTS");
            exists.arg(&key);
            assert_eq!(house.query::<bool>(&exists).await, is_there, "{key}");
        }
    }
    let again = house.ask(call(1, "sales", None)).await;
    assert_eq!(
        again.result.map_err(|refusal| refusal.code),
        Err(RefusalCode::DuplicateInteraction),
        "though unreadable"
    );
}

#[tokio::test]
async fn a_redis_that_lost_nothing_keeps_the_journals_epoch() {
    let mut house = House::new().await;
    house.ready(1).await;
    let before = snapshot::read_router(&house.pool, tenant()).await.unwrap().unwrap();
    house.redis.kill9().unwrap();
    // Longer than the lease: the router must come back to it.
    let gone = async || house.acd.get("/readyz").await.is_ok_and(|answer| answer.status != 200).then_some(());
    wait_until(LIMIT, "the acd notices", gone).await;
    house.redis.restart().await.unwrap();
    let after = wait_until(LIMIT, "another tenure", async || {
        house.ready(1).await;
        let record = snapshot::read_router(&house.pool, tenant()).await.ok()??;
        (record.epoch > before.epoch).then_some(record)
    });
    assert_eq!(after.await.journal_epoch, before.journal_epoch);
}

#[tokio::test]
async fn a_call_on_a_node_gives_its_voice_duty_the_effects() {
    let house = House::new().await;
    house.ready(1).await;
    let (with, offer) = offered(&house.ask(call(1, "sales", Some("ast-1"))).await).unwrap();
    let accept = Command::AcceptOffer { interaction: interaction(1), offer };
    house.ask(accept).await.result.unwrap();
    house.end(1, EndReason::CallerHangup).await.unwrap();
    let (_, second) = offered(&house.ask(call(2, "sales", Some("ast-1"))).await).unwrap();
    house.end(2, EndReason::CallerHangup).await.unwrap();
    let node: NodeId = "ast-1".parse().unwrap();
    let entries = house.stream(&keys::voice(tenant(), &node)).await;
    let effects: Vec<VoiceEffect> = entries
        .iter()
        .map(|entry| serde_json::from_str::<VoiceEffectEntry>(entry.field(keys::ENTRY_FIELD).unwrap()).unwrap().effect)
        .collect();
    let looks: Vec<(InteractionId, &WantedConversation)> = effects
        .iter()
        .map(|effect| match effect {
            VoiceEffect::Converse { interaction, wanted } => (*interaction, wanted),
            VoiceEffect::SendDigits { .. } => panic!("no digits: {effect:?}"),
        })
        .collect();
    let (first, wanted) = looks[0];
    assert_eq!((first, &wanted.customer), (interaction(1), &WantedCustomer::Waiting));
    let leg = &wanted.legs[0];
    assert!(leg.leg == offer && leg.ring_until_ms.is_some(), "{leg:?}");
    let phone = WantedParty::Agent { agent: with, address: Some("1001@acme.example".to_owned()) };
    assert_eq!(leg.party, phone);
    let (_, joined) = looks[1];
    assert_eq!((&joined.customer, joined.legs[0].ring_until_ms), (&WantedCustomer::Joined, None));
    assert_eq!(looks[2].1.customer, WantedCustomer::Gone { reason: EndReason::CallerHangup });
    assert!(looks[2].1.legs.is_empty());
    assert!(looks[3].0 == interaction(2) && looks[3].1.legs[0].leg == second, "{looks:?}");
    assert_eq!(looks.last().unwrap().1.customer, WantedCustomer::Gone { reason: EndReason::Abandoned });
}

#[tokio::test]
async fn children_are_part_of_their_parents_conversation() {
    let house = House::new().await;
    house.ready(1).await;
    house.ready(2).await;
    let (with, offer) = offered(&house.ask(call(1, "sales", Some("ast-1"))).await).unwrap();
    house.ask(Command::AcceptOffer { interaction: interaction(1), offer }).await.result.unwrap();
    let other = if with == agent(1) { agent(2) } else { agent(1) };
    let consult = Command::ConsultInteraction {
        interaction: interaction(1),
        consult: interaction(2),
        target: Target::Agent(other),
    };
    let (_, asked) = offered(&house.ask(consult).await).unwrap();
    house.ask(Command::AcceptOffer { interaction: interaction(2), offer: asked }).await.result.unwrap();
    let digits = Command::SendDigits { interaction: interaction(1), digits: "1#".to_owned() };
    house.ask(digits).await.result.unwrap();
    let complete = Command::EndConsult { interaction: interaction(1), how: ConsultEnd::Complete };
    house.ask(complete).await.result.unwrap();
    let node: NodeId = "ast-1".parse().unwrap();
    let entries: Vec<VoiceEffectEntry> = house
        .stream(&keys::voice(tenant(), &node))
        .await
        .iter()
        .map(|entry| serde_json::from_str(entry.field(keys::ENTRY_FIELD).unwrap()).unwrap())
        .collect();
    assert!(entries.iter().map(|entry| entry.seq).is_sorted(), "{entries:?}");
    let looks: Vec<&WantedConversation> = entries
        .iter()
        .filter_map(|entry| match &entry.effect {
            VoiceEffect::Converse { interaction: id, wanted } => {
                assert_eq!(*id, interaction(1), "one conversation");
                Some(wanted)
            }
            VoiceEffect::SendDigits { interaction: id, digits } => {
                assert_eq!((*id, digits.as_str()), (interaction(1), "1#"));
                None
            }
        })
        .collect();
    assert_eq!(entries.len() - looks.len(), 1, "the digits are sent once");
    let consulted = looks.iter().find(|look| look.legs.len() == 2 && look.legs[1].ring_until_ms.is_none()).unwrap();
    assert_eq!((&consulted.customer, consulted.legs[1].role), (&WantedCustomer::Held, Some(PartyRole::Consult)));
    let last = looks.last().unwrap();
    assert_eq!((&last.customer, last.legs.len(), last.legs[0].leg), (&WantedCustomer::Joined, 1, asked));
    assert_eq!((last.legs[0].interaction, last.legs[0].role), (interaction(1), None));
}

#[tokio::test]
async fn an_ended_call_is_classed_also_after_another_process_took_over() {
    let mut house = House::new().await;
    house.ready(1).await;
    offered(&house.ask(call(1, "sales", None)).await).unwrap();
    house.end(1, EndReason::Completed).await.unwrap();
    house.acd.kill9().unwrap();
    house.acd.restart().unwrap();
    house.acd.wait_ready(LIMIT).await.unwrap();
    let disposition = Disposition { code: "sold".to_owned(), notes: "well".to_owned(), fields: BTreeMap::new() };
    let class = Command::SetDisposition { interaction: interaction(1), disposition: disposition.clone() };
    assert_eq!(house.ask(class).await.result, Ok(Done::Changed));
    let mut get = redis::cmd("GET");
    get.arg(keys::interaction(tenant(), interaction(1)));
    let record: InteractionRecord = serde_json::from_str(&house.query::<String>(&get).await).unwrap();
    assert_eq!(record.disposition, Some(disposition));
    let mut ttl = redis::cmd("TTL");
    ttl.arg(keys::interaction(tenant(), interaction(1)));
    assert!(house.query::<i64>(&ttl).await > 0, "it goes when it would have");
}

#[tokio::test]
async fn phones_that_leave_come_or_expire_are_noticed() {
    let house = House::new().await;
    house.ready(1).await;
    let reachable = async |expected: bool| {
        wait_until(LIMIT, "the router knows", async || {
            let state = snapshot::read(&house.pool, tenant()).await.unwrap();
            let record = state.agents.into_iter().find(|record| record.id == agent(1))?;
            (record.reachable == Some(expected)).then_some(())
        })
        .await;
    };
    reachable(true).await;
    let mut gone = redis::cmd("DEL");
    gone.arg(keys::location(tenant(), "1001"));
    let _: i64 = house.pool.run("unregister", Retry::Safe, &gone).await.unwrap();
    let mut told = redis::cmd("PUBLISH");
    told.arg(keys::location_changed(tenant())).arg("test 1001");
    let _: i64 = house.pool.run("unregister", Retry::Safe, &told).await.unwrap();
    reachable(false).await;
    assert_eq!(offered(&house.ask(call(1, "sales", Some("ast-1"))).await), None, "a call needs a phone");
    assert!(offered(&house.ask(call(2, "sales", None)).await).is_some(), "a task does not");
    house.end(2, EndReason::Completed).await.unwrap();

    // It comes back for a moment, and its binding ends by itself.
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    register(&house.pool, 1, u64::try_from(now.as_millis()).unwrap() + 1_500).await;
    reachable(true).await;
    reachable(false).await;
}

#[tokio::test]
async fn an_offer_nobody_answers_goes_to_the_next_agent_by_itself() {
    let house = House::new().await;
    house.ready(1).await;
    house.ready(2).await;
    let mut changed = config(2);
    let rules = ringdown_events::QueueRules { ring_timeout_ms: 1_000, ..Default::default() };
    let queue = ringdown_domain::QueueId::from_parts(5, &[5; 10]);
    let entry = ringdown_events::QueueConfig { id: queue, name: "Sales".parse().unwrap(), rules };
    changed.queues.insert(queue, entry);
    let writer = ConfigWriter::new(house.pool.clone());
    writer.write(&changed).await.unwrap();
    writer.flip(&changed, Some(1)).await.unwrap();
    wait_until(LIMIT, "version 2 in force", async || {
        let router = snapshot::read_router(&house.pool, tenant()).await.unwrap()?;
        (router.config_version == 2).then_some(())
    })
    .await;
    let Command::CreateInteraction(mut new) = call(1, "sales", Some("ast-1")) else { unreachable!() };
    new.queue = Some(queue);
    let (first, _) = offered(&house.ask(Command::CreateInteraction(new)).await).unwrap();
    assert_eq!(first, agent(1));
    wait_until(LIMIT, "the second agent to be asked", async || {
        let state = snapshot::read(&house.pool, tenant()).await.unwrap();
        matches!(state.interactions[0].state, InteractionState::Offered { agent: with, .. } if with == agent(2))
            .then_some(())
    })
    .await;
    let failed = house
        .journal()
        .await
        .into_iter()
        .any(|entry| matches!(entry.event, JournalEvent::OfferFailed { agent: whose, .. } if whose == agent(1)));
    assert!(failed);
}

#[tokio::test]
async fn wrong_variables_are_named_and_a_redis_that_is_away_is_waited_for() {
    let program = workspace_binary("ringdown-acd").unwrap();
    let wrong = Daemon::builder(&program).unwrap();
    let mut wrong = wrong.env("RINGDOWN_ACD_DUTIES", "everything").env("RINGDOWN_ACD_LEASE_MS", "1").start().unwrap();
    let status = wrong.process().wait_exit(LIMIT).await.unwrap();
    let log = wrong.process().log_text();
    assert_eq!(status.code(), Some(78), "{log}");
    assert!(log.contains("RINGDOWN_ACD_DUTIES") && log.contains("RINGDOWN_ACD_LEASE_MS"), "{log}");
    let mut redis = PrivateRedis::start(RedisOptions::default()).await.unwrap();
    redis.kill9().unwrap();
    let early = Daemon::builder(&program).unwrap().env("RINGDOWN_REDIS_URL", redis.url());
    let mut early = early.env("RINGDOWN_ACD_DUTIES", "router").start().unwrap();
    let said = wait_until(LIMIT, "acd to say what it waits for", async || {
        let answer = early.get("/readyz").await.ok()?;
        (answer.status == 503 && answer.body.contains("redis")).then_some(answer.body)
    })
    .await;
    assert!(!said.is_empty());
    redis.restart().await.unwrap();
    early.wait_ready(LIMIT).await.unwrap();
    assert!(early.stop(LIMIT).await.unwrap().success());
}

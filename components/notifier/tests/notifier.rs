//! The notifier in process, with a real Redis and real WebSockets. The test writes the journal as the router does: state,
//! entry and position in one transaction.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on stops")]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use redis::AsyncCommands;
use ringdown_domain::{
    AgentId, AgentState, AgentStatus, CustomerSide, Delivery, InteractionId, InteractionState, Media, OfferId, Origin,
    Priority, QueueId, Recording, TenantId, TimestampMs, UserId,
};
use ringdown_env_config::Url;
use ringdown_events::{AgentRecord, InteractionRecord, JournalEntry, JournalEvent, RouterRecord};
use ringdown_notifier::{Config, Limits, bind};
use ringdown_redis_store::session::{self, Role, Session};
use ringdown_redis_store::{RedisOptions, RedisPool, StoreMetrics, keys, snapshot};
use ringdown_service::{Clock, Life};
use ringdown_test_support::{PrivateRedis, RedisOptions as PrivateRedisOptions, free_address};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode as WireCode;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

const LIMIT: Duration = Duration::from_secs(20);

struct House {
    redis: PrivateRedis,
    pool: RedisPool,
    life: Life,
    address: SocketAddr,
    tenant: TenantId,
    router: RouterRecord,
}

impl House {
    async fn build(limits: Limits) -> Self {
        let redis = PrivateRedis::start(PrivateRedisOptions::default()).await.unwrap();
        let life = Life::detached("notifier", Clock::system());
        let config = Config { listen: free_address(), redis: Url::parse(&redis.url(), &["redis"]).unwrap(), limits };
        let bound = bind(config, &life).await.unwrap();
        let pool = RedisPool::new(RedisOptions::from_url(&redis.url()).unwrap(), StoreMetrics::default());
        let router = RouterRecord {
            epoch: 1,
            position: "0-0".to_owned(),
            seq: 0,
            journal_epoch: "first".to_owned(),
            config_version: 1,
            open: true,
        };
        let tenant = TenantId::from_parts(7, &[7; 10]);
        Self { redis, pool, life, address: bound.address, tenant, router }
    }

    async fn redis(&self) -> redis::aio::MultiplexedConnection {
        let client = redis::Client::open(self.redis.url()).unwrap();
        client.get_multiplexed_async_connection().await.unwrap()
    }

    /// A log-in of `role` in the tenant; its token.
    async fn log_in(&self, role: Role, agent: Option<AgentId>) -> String {
        let token = format!("token-{role}-{agent:?}");
        let session = Session {
            user: UserId::from_parts(1, &[1; 10]),
            tenant: Some(self.tenant),
            role,
            agent,
            created: TimestampMs(0),
            expires: TimestampMs(u64::MAX),
            generation: 0,
            api_token: false,
        };
        session::store(&self.pool, &token, &session, Duration::from_secs(600)).await.unwrap();
        token
    }

    /// Commits events as the router would: records, journal, position, in one step.
    async fn commit(&mut self, events: Vec<JournalEvent>) {
        let mut pipe = redis::pipe();
        pipe.atomic();
        for event in events {
            self.router.seq += 1;
            match &event {
                JournalEvent::AgentChanged { agent } => {
                    pipe.sadd(keys::agents(self.tenant), agent.id.to_string());
                    pipe.set(keys::agent(self.tenant, agent.id), serde_json::to_string(agent).unwrap());
                }
                JournalEvent::InteractionQueued { interaction }
                | JournalEvent::InteractionChanged { interaction }
                | JournalEvent::InteractionConnected { interaction } => {
                    pipe.sadd(keys::live(self.tenant), interaction.id.to_string());
                    let text = serde_json::to_string(interaction).unwrap();
                    pipe.set(keys::interaction(self.tenant, interaction.id), text);
                }
                JournalEvent::AcdChanged { .. }
                | JournalEvent::AgentRemoved { .. }
                | JournalEvent::ConfigApplied { .. }
                | JournalEvent::InteractionEnded { .. }
                | JournalEvent::InteractionOffered { .. }
                | JournalEvent::OfferFailed { .. } => panic!("not written by this test: {event:?}"),
            }
            let entry = JournalEntry { seq: self.router.seq, at_ms: TimestampMs(self.router.seq), event };
            let text = serde_json::to_string(&entry).unwrap();
            pipe.xadd(keys::journal(self.tenant), format!("{}-0", entry.seq), &[(keys::ENTRY_FIELD, text)]);
        }
        for (field, value) in snapshot::router_fields(&self.router) {
            pipe.hset(keys::router(self.tenant), field, value);
        }
        let _: () = pipe.query_async(&mut self.redis().await).await.unwrap();
    }

    async fn open(&self, token: &str, topics: &[&str], position: Option<&Value>) -> Browser {
        let mut opening = json!({"kind": "open", "token": token, "topics": topics});
        if let Some(position) = position {
            opening["position"] = position.clone();
        }
        let mut browser = self.connect().await;
        browser.say(&opening.to_string()).await;
        browser
    }

    async fn connect(&self) -> Browser {
        let (socket, _) = connect_async(format!("ws://{}/ws", self.address)).await.unwrap();
        Browser(socket)
    }
}

struct Browser(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Browser {
    async fn say(&mut self, text: &str) {
        self.0.send(Message::text(text)).await.unwrap();
    }

    /// The next message, or the close code.
    async fn hear(&mut self) -> Result<Value, u16> {
        loop {
            let message = tokio::time::timeout(LIMIT, self.0.next()).await.expect("a message within the limit");
            match message {
                Some(Ok(Message::Text(text))) => return Ok(serde_json::from_str(&text).unwrap()),
                Some(Ok(Message::Close(Some(frame)))) => return Err(u16::from(frame.code)),
                Some(Ok(Message::Close(None))) => return Err(u16::from(WireCode::Status)),
                Some(Ok(_)) => {}
                Some(Err(error)) => panic!("no close frame: {error}"),
                None => panic!("no close frame"),
            }
        }
    }

    /// The next message of one kind; positions and figures are passed over.
    async fn hear_kind(&mut self, kind: &str) -> Value {
        loop {
            let message = self.hear().await.unwrap_or_else(|code| panic!("closed with {code}, waiting for {kind}"));
            if message["kind"] == kind {
                return message;
            }
            let passing = ["position", "queues", "snapshot", "event", "resumed"];
            assert!(passing.iter().any(|known| message["kind"] == *known), "{message}");
        }
    }

    async fn hear_close(&mut self) -> u16 {
        loop {
            if let Err(code) = self.hear().await {
                return code;
            }
        }
    }
}

fn agent(number: u8) -> AgentRecord {
    AgentRecord {
        id: AgentId::from_parts(u64::from(number), &[number; 10]),
        name: format!("Agent {number}").parse().unwrap(),
        skills: BTreeMap::new(),
        status: AgentStatus::Ready,
        status_since_ms: TimestampMs(1),
        state: AgentState::Idle,
        state_since_ms: TimestampMs(1),
        available_since_ms: Some(TimestampMs(1)),
        place_since_ms: None,
        refusals: None,
        reachable: None,
        engagements: vec![],
    }
}

fn interaction(number: u8, state: InteractionState) -> InteractionRecord {
    InteractionRecord {
        id: InteractionId::from_parts(u64::from(number), &[number; 10]),
        media: Media::Voice,
        delivery: Delivery::Ring,
        queue: Some(QueueId::from_parts(3, &[3; 10])),
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

fn changed(number: u8) -> JournalEvent {
    JournalEvent::AgentChanged { agent: agent(number) }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_comes_first_then_deltas_in_order() {
    let mut house = House::build(Limits::default()).await;
    house.commit(vec![changed(1), changed(2)]).await;
    let token = house.log_in(Role::Supervisor, None).await;
    let mut browser = house.open(&token, &["agents", "interactions", "queues"], None).await;
    let first = browser.hear().await.unwrap();
    assert_eq!(first["kind"], "snapshot");
    assert_eq!(first["cause"], "first");
    assert_eq!(first["last"], true);
    assert_eq!(first["acd_open"], true);
    assert_eq!(first["position"], json!({"epoch": "first", "seq": 2}));
    assert_eq!(first["agents"].as_array().unwrap().len(), 2);
    let waiting = interaction(9, InteractionState::Waiting);
    house.commit(vec![JournalEvent::InteractionQueued { interaction: waiting.clone() }, changed(1)]).await;
    let third = browser.hear_kind("event").await;
    assert_eq!((&third["seq"], &third["event"]["kind"]), (&json!(3), &json!("interaction_queued")));
    let fourth = browser.hear_kind("event").await;
    assert_eq!((&fourth["seq"], &fourth["event"]["kind"]), (&json!(4), &json!("agent_changed")));
    let figures = browser.hear_kind("queues").await;
    assert_eq!(figures["queues"][0]["waiting"], 1);
    assert_eq!(figures["queues"][0]["oldest_arrived_at_ms"], 9);
    assert!(house.life.stop(LIMIT).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_that_comes_back_misses_nothing_and_gets_nothing_twice() {
    // A ring of 16 entries, so that many resumes have to read pages from Redis.
    let mut house = House::build(Limits { ring_entries: 16, ..Limits::default() }).await;
    house.commit(vec![changed(1)]).await;
    let token = house.log_in(Role::Supervisor, None).await;
    let mut browser = house.open(&token, &["agents"], None).await;
    let mut position = browser.hear_kind("snapshot").await["position"].clone();
    let total = 1_500_u64;
    let mut seen: Vec<u64> = Vec::new();
    let mut hearing = 1_u64;
    while house.router.seq < total || seen.len() < usize::try_from(total - 1).unwrap() {
        if house.router.seq < total {
            // Batches of 1 to 97 entries, so that the ring is sometimes enough and sometimes not.
            let batch = (hearing * 37 % 97 + 1).min(total - house.router.seq);
            house.commit((0..batch).map(|number| changed(u8::try_from(number % 50).unwrap())).collect()).await;
        }
        for _ in 0..(hearing * 53 % 83 + 1) {
            if seen.last().is_some_and(|seq| *seq >= house.router.seq) {
                break;
            }
            let event = browser.hear_kind("event").await;
            seen.push(event["seq"].as_u64().unwrap());
        }
        position["seq"] = json!(seen.last().copied().unwrap_or(1));
        drop(browser);
        browser = house.open(&token, &["agents"], Some(&position)).await;
        let resumed = browser.hear().await.unwrap();
        assert_eq!(resumed["kind"], "resumed", "{resumed}");
        assert_eq!(resumed["position"], position);
        hearing += 1;
    }
    let expected: Vec<u64> = (2..=total).collect();
    assert_eq!(seen, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_position_that_is_no_longer_kept_or_of_another_journal_gets_a_snapshot() {
    let mut house = House::build(Limits::default()).await;
    house.commit((0..40).map(changed).collect()).await;
    let token = house.log_in(Role::Supervisor, None).await;
    let _: u64 =
        house.redis().await.xtrim(keys::journal(house.tenant), redis::streams::StreamMaxlen::Equals(10)).await.unwrap();
    let old = json!({"epoch": "first", "seq": 5});
    let mut browser = house.open(&token, &["agents"], Some(&old)).await;
    assert_eq!(browser.hear().await.unwrap()["cause"], "too_old");
    let kept = json!({"epoch": "first", "seq": 30});
    let mut browser = house.open(&token, &["agents"], Some(&kept)).await;
    assert_eq!(browser.hear().await.unwrap()["kind"], "resumed");
    // Redis lost everything; a router begins a new journal while the browser stays connected.
    let _: () = redis::cmd("FLUSHALL").query_async(&mut house.redis().await).await.unwrap();
    house.log_in(Role::Supervisor, None).await;
    house.router.seq = 0;
    house.router.journal_epoch = "second".to_owned();
    house.commit(vec![changed(3)]).await;
    let snapshot = browser.hear_kind("snapshot").await;
    assert_eq!(snapshot["cause"], "journal_reset");
    assert_eq!(snapshot["position"]["epoch"], "second");
    house.commit(vec![changed(4)]).await;
    assert_eq!(browser.hear_kind("event").await["seq"], 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_is_told_only_what_is_the_agents_own() {
    let mut house = House::build(Limits::default()).await;
    house.commit(vec![changed(1), changed(2)]).await;
    let own = agent(1).id;
    let token = house.log_in(Role::Agent, Some(own)).await;
    let mut browser = house.open(&token, &["agents", "interactions"], None).await;
    let snapshot = browser.hear().await.unwrap();
    assert_eq!(snapshot["agents"].as_array().unwrap().len(), 1);
    let with = |agent| InteractionState::Connected {
        agent,
        offer: OfferId::from_parts(1, &[1; 10]),
        since_ms: TimestampMs(1),
    };
    let others = interaction(1, with(agent(2).id));
    let mine = interaction(2, with(own));
    house.commit(vec![changed(2), JournalEvent::InteractionConnected { interaction: others }]).await;
    house.commit(vec![JournalEvent::InteractionConnected { interaction: mine.clone() }]).await;
    let event = browser.hear_kind("event").await;
    assert_eq!(event["seq"], 5);
    assert_eq!(event["event"]["interaction"]["id"], json!(mine.id));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_see_is_told_to_stop() {
    let limits = Limits {
        open_wait: Duration::from_millis(300),
        session_every: Duration::from_millis(100),
        ..Limits::default()
    };
    let house = House::build(limits).await;
    let token = house.log_in(Role::Supervisor, None).await;
    let close_of = async |opening: String| {
        let mut browser = house.connect().await;
        browser.say(&opening).await;
        browser.hear_close().await
    };
    let open = |token: &str| json!({"kind": "open", "token": token, "topics": ["agents"]});
    assert_eq!(close_of(open("wrong").to_string()).await, 4501);
    assert_eq!(close_of("not json".to_owned()).await, 4500);
    assert_eq!(close_of(json!({"kind": "open", "token": token, "topics": []}).to_string()).await, 4500);
    let mut of_another = open(&token);
    of_another["tenant"] = json!(TenantId::from_parts(8, &[8; 10]));
    assert_eq!(close_of(of_another.to_string()).await, 4502);
    assert_eq!(house.connect().await.hear_close().await, 4003, "a silent client is not waited for");
    let mut browser = house.open(&token, &["agents"], None).await;
    browser.hear_kind("snapshot").await;
    browser.say("{}").await;
    assert_eq!(browser.hear_close().await, 4500);
    let mut browser = house.open(&token, &["agents"], None).await;
    browser.hear_kind("snapshot").await;
    session::end(&house.pool, &token).await.unwrap();
    assert_eq!(browser.hear_close().await, 4501, "a log-out reaches the open connection");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_does_not_read_is_told_so_and_can_come_back() {
    let limits =
        Limits { write_wait: Duration::from_secs(2), ring_entries: 64, lag_entries: 5_000, ..Limits::default() };
    let mut house = House::build(limits).await;
    house.commit(vec![changed(1)]).await;
    let token = house.log_in(Role::Supervisor, None).await;
    let mut slow = house.open(&token, &["agents"], None).await;
    slow.hear_kind("snapshot").await;
    // 40,000 entries are more than socket buffers hold, and more than the lag allowed.
    for _ in 0..40 {
        house.commit((0..1_000).map(|number: u32| changed(u8::try_from(number % 50).unwrap())).collect()).await;
    }
    // Give up reading only after the notifier gave up writing: its own counter says when.
    ringdown_test_support::wait_until(LIMIT, "the slow reader is sent away", async || {
        let text = house.life.metrics().encode();
        text.contains("closed_total{code=\"4001\"} 1").then_some(())
    })
    .await;
    let mut last = 1;
    let code = loop {
        match slow.hear().await {
            Ok(message) if message["kind"] == "event" => {
                let seq = message["seq"].as_u64().unwrap();
                assert_eq!(seq, last + 1, "what a slow reader gets has no gap");
                last = seq;
            }
            Ok(_) => {}
            Err(code) => break code,
        }
    };
    assert_eq!(code, 4001);
    let mut back = house.open(&token, &["agents"], Some(&json!({"epoch": "first", "seq": house.router.seq - 3}))).await;
    assert_eq!(back.hear().await.unwrap()["kind"], "resumed");
    assert_eq!(back.hear_kind("event").await["seq"], json!(house.router.seq - 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_of_redis_interrupts_but_loses_nothing() {
    let mut house = House::build(Limits::default()).await;
    house.commit(vec![changed(1)]).await;
    let token = house.log_in(Role::Supervisor, None).await;
    let mut browser = house.open(&token, &["agents"], None).await;
    browser.hear_kind("snapshot").await;
    house.commit(vec![changed(1)]).await;
    assert_eq!(browser.hear_kind("event").await["seq"], 2);
    house.redis.kill9().unwrap();
    house.redis.restart().await.unwrap();
    house.commit(vec![changed(2)]).await;
    assert_eq!(browser.hear_kind("event").await["seq"], 3, "an open connection goes on");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_planned_stop_tells_browsers_to_come_back() {
    let mut house = House::build(Limits::default()).await;
    house.commit(vec![changed(1)]).await;
    let token = house.log_in(Role::Supervisor, None).await;
    let mut browser = house.open(&token, &["agents"], None).await;
    browser.hear_kind("snapshot").await;
    let life = house.life.clone();
    let (stopped, code) = tokio::join!(life.stop(LIMIT), browser.hear_close());
    assert!(stopped);
    assert_eq!(code, 4000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_breach_of_the_protocol_is_told_with_a_close_code() {
    use tokio::io::AsyncWriteExt;
    let mut house = House::build(Limits::default()).await;
    house.commit(vec![changed(1)]).await;
    let token = house.log_in(Role::Supervisor, None).await;
    // A reserved opcode, a frame without a mask, a text that is no UTF-8.
    let breaches: [(&[u8], u16); 3] =
        [(&[0x83, 0x80, 0, 0, 0, 0], 1002), (&[0x81, 0x01, b'a'], 1002), (&[0x81, 0x81, 0, 0, 0, 0, 0xff], 1007)];
    for opened in [false, true] {
        for (bytes, code) in breaches {
            let mut browser = if opened { house.open(&token, &["agents"], None).await } else { house.connect().await };
            if opened {
                browser.hear_kind("snapshot").await;
            }
            let MaybeTlsStream::Plain(stream) = browser.0.get_mut() else { panic!("plain") };
            stream.write_all(bytes).await.unwrap();
            assert_eq!(browser.hear_close().await, code, "{bytes:?}, opened: {opened}");
        }
        let mut browser = if opened { house.open(&token, &["agents"], None).await } else { house.connect().await };
        if opened {
            browser.hear_kind("snapshot").await;
        }
        browser.say(&"x".repeat(5_000)).await;
        assert_eq!(browser.hear_close().await, 1009, "opened: {opened}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_gets_only_what_rest_gives() {
    let mut house = House::build(Limits::default()).await;
    house.commit(vec![changed(1)]).await;
    let token = house.log_in(Role::Agent, Some(AgentId::from_parts(1, &[1; 10]))).await;
    let mut browser = house.open(&token, &["interactions", "queues"], None).await;
    assert_eq!(browser.hear_close().await, 4502);
    let mut browser = house.open(&token, &["agents", "interactions"], None).await;
    browser.hear_kind("snapshot").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_narrowed_user_sees_nothing_more() {
    let limits = Limits { session_every: Duration::from_millis(100), ..Limits::default() };
    let mut house = House::build(limits).await;
    house.commit(vec![changed(1)]).await;
    let token = house.log_in(Role::Supervisor, None).await;
    let mut browser = house.open(&token, &["agents"], None).await;
    browser.hear_kind("snapshot").await;
    session::raise_generation(&house.pool, UserId::from_parts(1, &[1; 10]), 7).await.unwrap();
    assert_eq!(browser.hear_close().await, 4501);
    assert_eq!(house.open(&token, &["agents"], None).await.hear_close().await, 4501);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_emptied_while_redis_was_away_is_told_as_empty() {
    let mut house = House::build(Limits::default()).await;
    let waiting = interaction(1, InteractionState::Waiting);
    let queue = waiting.queue.expect("a queue");
    house.commit(vec![JournalEvent::InteractionQueued { interaction: waiting.clone() }]).await;
    let token = house.log_in(Role::Supervisor, None).await;
    let mut browser = house.open(&token, &["queues"], None).await;
    let told = browser.hear_kind("queues").await;
    assert_eq!(told["queues"][0]["waiting"], 1);
    // The journal is another one, and the interaction is gone from it.
    let mut redis = house.redis().await;
    let _: () = redis.srem(keys::live(house.tenant), waiting.id.to_string()).await.unwrap();
    let _: () = redis.del(keys::journal(house.tenant)).await.unwrap();
    house.router.journal_epoch = "second".to_owned();
    house.router.seq = 0;
    house.commit(vec![changed(1)]).await;
    loop {
        let told = browser.hear_kind("queues").await;
        let figures = told["queues"].as_array().unwrap();
        let emptied = figures.iter().find(|figures| figures["queue"] == queue.to_string());
        if emptied.is_some_and(|figures| figures["waiting"] == 0) {
            return;
        }
    }
}

//! A caller's call over a trunk reaches the right agent's phone, and every way in which that can go wrong. All servers are
//! real: Redis, PostgreSQL, Asterisk, our five daemons. The phones are the suite's own, and baresip.

#![expect(clippy::print_stdout, reason = "figures are what a suite is run for")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on stops")]

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use ringdown_suites::call_centre::{CARRIER, CallCentre, PATIENCE, PHONE_PASSWORD, Wishes, text};
use ringdown_suites::phone::{Manner, Phone, Seen};
use ringdown_suites::sipp::Sipp;
use ringdown_suites::voice::Voice;
use ringdown_test_support::{Folder, Spec, free_address, free_port, wait_until};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

const AGENT_HZ: f64 = 700.0;
const CALLER_HZ: f64 = 1_100.0;

async fn phone(centre: &CallCentre, user: &str, manner: Manner) -> Phone {
    let phone = Phone::new("127.0.0.1", user, AGENT_HZ, manner).await.unwrap();
    phone.register(centre.registrar, &centre.realm, PHONE_PASSWORD).await.unwrap();
    phone
}

async fn caller(centre: &CallCentre) -> Phone {
    let caller = Phone::new(CARRIER, "4930555", CALLER_HZ, Manner::Answer).await.unwrap();
    caller.call("100", centre.trunk).await.unwrap();
    caller
}

/// A caller who is answered by an Asterisk that was started a moment ago: it connects before it listens for SIP.
async fn caller_again(centre: &CallCentre) -> Phone {
    wait_until(PATIENCE, "a call comes in again", async || {
        let mut caller = caller(centre).await;
        matches!(caller.next(Duration::from_secs(1)).await, Ok(Seen::Talking)).then_some(caller)
    })
    .await
}

fn english() -> Value {
    json!({ "English": 5 })
}

fn is(state: &'static str) -> impl Fn(&Value) -> bool {
    move |record| record["state"]["kind"] == state
}

async fn expect(phone: &mut Phone, seen: Seen) {
    assert_eq!(phone.next(PATIENCE).await.unwrap(), seen);
}

/// One agent on the phone with one caller: they hear each other. An interaction is connected, durably, before its channels are
/// joined: who kills the acd between the two kills no conversation.
async fn talking(centre: &CallCentre) -> (String, Phone, Phone, String) {
    let agent = centre.hire("ada", english()).await.unwrap();
    let mut ada = phone(centre, "ada", Manner::Answer).await;
    let mut caller = caller(centre).await;
    expect(&mut caller, Seen::Talking).await;
    expect(&mut ada, Seen::Rang).await;
    expect(&mut ada, Seen::Talking).await;
    let record = centre.interaction("the interaction is connected", is("connected")).await;
    assert!(caller.hears(AGENT_HZ, PATIENCE).await, "the caller hears the agent");
    assert!(ada.hears(CALLER_HZ, PATIENCE).await, "the agent hears the caller");
    (agent, ada, caller, text(&record, "id").unwrap())
}

/// Waits until an agent is free; since when.
async fn is_free(centre: &CallCentre, agent: &str) -> u64 {
    let free = |record: &Value| record["state"]["kind"] == "idle" && record["available_since_ms"].is_u64();
    centre.agent(agent, "the agent is free", free).await["available_since_ms"].as_u64().unwrap()
}

/// The agent's place among those available for English, as Redis has it: the time of its clock. None: not available.
async fn place(centre: &CallCentre, agent: &str) -> Option<u64> {
    let client = redis::Client::open(centre.redis.url()).unwrap();
    let mut redis = client.get_multiplexed_async_connection().await.unwrap();
    let key = format!("{{{}}}:available:English", centre.tenant);
    let score: Option<f64> = redis::cmd("ZSCORE").arg(key).arg(agent).query_async(&mut redis).await.unwrap();
    score.map(|score| score as u64)
}

/// The design's bar after an acd comes back: everything is right within a second. Both times are acd's own: when it was ready
/// (`back_ms`), and when it decided this about the interaction.
async fn is_soon(centre: &CallCentre, interaction: &Value, kind: &str, back_ms: u64) {
    let (_, journal) = record_and_journal(centre, interaction.as_str().unwrap()).await;
    let entry = journal.iter().rfind(|entry| entry["event"]["kind"] == kind).unwrap();
    let took_ms = entry["at_ms"].as_u64().unwrap().saturating_sub(back_ms);
    println!("first_call_{kind}_after_return {took_ms} ms");
    assert!(took_ms <= 1_000, "{kind} {took_ms} ms after the return");
}

/// An interaction's record in Redis, and what the journal has about it.
async fn record_and_journal(centre: &CallCentre, interaction: &str) -> (Value, Vec<Value>) {
    let client = redis::Client::open(centre.redis.url()).unwrap();
    let mut redis = client.get_multiplexed_async_connection().await.unwrap();
    let key = |part: &str| format!("{{{}}}:{part}", centre.tenant);
    let record: String =
        redis::cmd("GET").arg(key(&format!("interaction:{interaction}"))).query_async(&mut redis).await.unwrap();
    let journal: redis::streams::StreamRangeReply =
        redis::cmd("XRANGE").arg(key("journal")).arg("-").arg("+").query_async(&mut redis).await.unwrap();
    let journal = journal.ids.iter().map(|entry| serde_json::from_str(&entry.get::<String>("e").unwrap()).unwrap());
    let about = journal.filter(|entry: &Value| entry["event"]["interaction"]["id"] == interaction).collect();
    (serde_json::from_str(&record).unwrap(), about)
}

const STORY: [&str; 4] = ["interaction_queued", "interaction_offered", "interaction_connected", "interaction_ended"];

/// Whether state in Redis, journal and API tell one story: of a call that waited, and was taken by the first agent.
async fn stores_tell_the_same(centre: &CallCentre, interaction: &str, agent: &str) {
    assert_eq!(centre.story(interaction).await.unwrap(), STORY, "the API's history");
    let (record, journal) = record_and_journal(centre, interaction).await;
    let through_api = centre.get(&centre.of_tenant(&format!("interactions/{interaction}"))).await.unwrap();
    assert_eq!(record["state"], through_api["state"], "state in Redis and API");
    assert_eq!(record["state"]["agent"], agent);
    let kinds: Vec<&Value> = journal.iter().map(|entry| &entry["event"]["kind"]).collect();
    assert_eq!(kinds, STORY, "the journal");
    assert_eq!(journal.last().unwrap()["event"]["interaction"], record, "the journal's last word and the state");
}

/// Whether the WebSocket tells it too.
async fn tells_the_same(centre: &CallCentre, browser: &[Value], interaction: &str, agent: &str) {
    stores_tell_the_same(centre, interaction, agent).await;
    let about = |entry: &&Value| entry["event"]["interaction"]["id"] == interaction;
    let seen: Vec<&Value> = browser.iter().filter(about).map(|entry| &entry["event"]["kind"]).collect();
    assert_eq!(seen, STORY, "the WebSocket");
}

/// Listens at the notifier until the interaction has ended.
async fn watch(centre: &CallCentre) -> tokio::task::JoinHandle<Vec<Value>> {
    let (mut socket, _) = tokio_tungstenite::connect_async(format!("ws://{}/ws", centre.notifier)).await.unwrap();
    let opening = json!({ "kind": "open", "token": centre.token, "tenant": centre.tenant, "topics": ["interactions"] });
    socket.send(Message::text(opening.to_string())).await.unwrap();
    let first = socket.next().await.unwrap().unwrap();
    assert!(first.to_string().contains("snapshot"), "{first}");
    tokio::spawn(async move {
        let mut events = Vec::new();
        while let Some(Ok(message)) = socket.next().await {
            let Ok(value) = serde_json::from_str::<Value>(message.to_text().unwrap_or_default()) else { continue };
            let ended = value["event"]["kind"] == "interaction_ended";
            events.push(value);
            if ended {
                break;
            }
        }
        events
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_reaches_the_longest_available_agent_with_the_skill_and_both_hear_each_other() {
    let centre = CallCentre::open(Wishes::default()).await.unwrap();
    // Bob is available longest, but lacks the skill; Ada longer than Cleo.
    centre.post(&centre.of_tenant("skills"), json!({ "name": "Spanish" })).await.unwrap();
    centre.hire("bob", json!({ "Spanish": 9 })).await.unwrap();
    let ada_id = centre.hire("ada", english()).await.unwrap();
    centre.hire("cleo", english()).await.unwrap();
    let mut ada = phone(&centre, "ada", Manner::Answer).await;
    let _bob = phone(&centre, "bob", Manner::Answer).await;
    let _cleo = phone(&centre, "cleo", Manner::Answer).await;
    let browser = watch(&centre).await;
    // The caller is sipp; what it says and hears is ours, so that the tones can be told.
    let (sipp, mouth) = (Sipp::new().unwrap(), Voice::answering_back(CARRIER, CALLER_HZ).await.unwrap());
    let mut caller = sipp.call_with("100", centre.trunk, &mouth, Duration::from_secs(6)).unwrap();
    expect(&mut ada, Seen::Rang).await;
    expect(&mut ada, Seen::Talking).await;
    let record = centre.interaction("the interaction is connected", is("connected")).await;
    assert_eq!(record["state"]["agent"], ada_id.as_str());
    assert!(mouth.hears(AGENT_HZ, PATIENCE).await, "the caller hears the agent");
    assert!(ada.hears(CALLER_HZ, PATIENCE).await, "the agent hears the caller");
    let ended = caller.wait_exit(PATIENCE).await.unwrap();
    assert!(ended.success(), "sipp's call went as it should: {ended}; {}", sipp.complaints());
    expect(&mut ada, Seen::HungUp).await;
    let interaction = text(&record, "id").unwrap();
    assert_eq!(centre.ended(&interaction).await["reason"], "caller_hangup");
    is_free(&centre, &ada_id).await;
    let events = browser.await.unwrap();
    tells_the_same(&centre, &events, &interaction, &ada_id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_waits_with_music_and_may_leave() {
    let centre = CallCentre::open(Wishes::default()).await.unwrap();
    let mut caller = caller(&centre).await;
    expect(&mut caller, Seen::Talking).await;
    let record = centre.interaction("it waits", is("waiting")).await;
    // The first note of the product's own music: C4.
    assert!(caller.hears(261.6, PATIENCE).await, "the caller hears music");
    caller.hang_up().await.unwrap();
    assert_eq!(centre.ended(&text(&record, "id").unwrap()).await["reason"], "abandoned");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_who_leaves_while_it_rings_stops_the_ringing() {
    let centre = CallCentre::open(Wishes::default()).await.unwrap();
    let agent = centre.hire("ada", english()).await.unwrap();
    let since = is_free(&centre, &agent).await;
    assert_eq!(place(&centre, &agent).await, Some(since));
    let mut ada = phone(&centre, "ada", Manner::RingForEver).await;
    let mut caller = caller(&centre).await;
    expect(&mut caller, Seen::Talking).await;
    expect(&mut ada, Seen::Rang).await;
    let record = centre.interaction("it is offered", is("offered")).await;
    assert_eq!(place(&centre, &agent).await, None, "an agent whose phone rings is not available");
    caller.hang_up().await.unwrap();
    expect(&mut ada, Seen::Cancelled).await;
    assert_eq!(centre.ended(&text(&record, "id").unwrap()).await["reason"], "abandoned");
    assert_eq!(is_free(&centre, &agent).await, since, "the agent keeps the place among those who wait for calls");
    assert_eq!(place(&centre, &agent).await, Some(since), "in Redis too");
}

/// The first agent's phone does as `manner` says; the call must reach the second agent, and the first one be left as
/// `accept` says: who is not ready has no place among those available, who is ready goes to the end.
async fn passes_on(manner: Manner, accept: impl Fn(&Value) -> bool) {
    let centre = CallCentre::open(Wishes::default()).await.unwrap();
    let first = centre.hire("ada", english()).await.unwrap();
    let before = is_free(&centre, &first).await;
    let second = centre.hire("bob", english()).await.unwrap();
    let _ada = phone(&centre, "ada", manner).await;
    let mut bob = phone(&centre, "bob", Manner::Answer).await;
    let mut caller = caller(&centre).await;
    expect(&mut caller, Seen::Talking).await;
    expect(&mut bob, Seen::Rang).await;
    expect(&mut bob, Seen::Talking).await;
    let record = centre.interaction("the second agent has it", is("connected")).await;
    assert_eq!(record["state"]["agent"], second.as_str());
    let left = centre.agent(&first, "the first agent is left as it should", accept).await;
    let since = left["available_since_ms"].as_u64();
    assert_eq!(place(&centre, &first).await, since, "Redis and API agree on the place");
    assert_eq!(since.is_some_and(|since| since > before), left["status"]["kind"] == "ready", "{left}");
    assert!(caller.hears(AGENT_HZ, PATIENCE).await);
    bob.hang_up().await.unwrap();
    expect(&mut caller, Seen::HungUp).await;
    assert_eq!(centre.ended(&text(&record, "id").unwrap()).await["reason"], "agent_hangup");
}

fn not_ready(reason: &'static str) -> impl Fn(&Value) -> bool {
    move |record| record["status"] == json!({ "kind": "not_ready", "reason": reason })
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_who_rejects_is_passed_over() {
    passes_on(Manner::Refuse(603), not_ready("rejected")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_phone_is_passed_over_and_its_agent_stays_ready() {
    let ready = |record: &Value| record["status"]["kind"] == "ready" && record["state"]["kind"] == "idle";
    passes_on(Manner::Refuse(486), ready).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_who_does_not_answer_is_set_not_ready_and_the_next_one_rings() {
    passes_on(Manner::RingForEver, not_ready("rona")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_phone_that_vanished_is_told_apart_from_one_nobody_answers() {
    passes_on(Manner::Silent, not_ready("unreachable")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_nobody_can_take_waits_until_its_limit() {
    let centre = CallCentre::open(Wishes::default()).await.unwrap();
    let queue = centre.of_tenant(&format!("queues/{}", centre.queue));
    centre.patch(&queue, json!({ "wait_limit_ms": 2_000 })).await.unwrap();
    let mut caller = caller(&centre).await;
    expect(&mut caller, Seen::Talking).await;
    let record = centre.interaction("it waits", is("waiting")).await;
    expect(&mut caller, Seen::HungUp).await;
    assert_eq!(centre.ended(&text(&record, "id").unwrap()).await["reason"], "wait_limit");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_number_nobody_routes_is_refused_with_404() {
    let centre = CallCentre::open(Wishes::default()).await.unwrap();
    let mut caller = Phone::new(CARRIER, "4930555", CALLER_HZ, Manner::Answer).await.unwrap();
    caller.call("999", centre.trunk).await.unwrap();
    expect(&mut caller, Seen::Failed(404)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_number_reaches_its_route_however_the_carrier_writes_it() {
    let centre = CallCentre::open(Wishes::default()).await.unwrap();
    let trunks = centre.get(&centre.of_tenant("trunks")).await.unwrap();
    let trunk = text(&trunks["items"][0], "id").unwrap();
    centre.patch(&centre.of_tenant(&format!("trunks/{trunk}")), json!({ "country_code": "49" })).await.unwrap();
    centre.post(&centre.of_tenant("routes"), json!({ "did": "+4930123456", "queue": centre.queue })).await.unwrap();
    let call = async |number: &str| {
        let mut caller = Phone::new(CARRIER, "01701234567", CALLER_HZ, Manner::Answer).await.unwrap();
        caller.call(number, centre.trunk).await.unwrap();
        (caller.next(PATIENCE).await.unwrap(), caller)
    };
    // The new route takes a moment to reach the acd.
    wait_until(PATIENCE, "the number is routed", async || {
        let (seen, caller) = call("+4930123456").await;
        (seen == Seen::Talking).then_some(caller)
    })
    .await
    .hang_up()
    .await
    .unwrap();
    for number in [
        "4930123456",
        "004930123456",
        "030123456",
        "%2B4930123456",
        "+49-30-123456",
        "+49.30.123456",
        "+49(30)123456",
        "+4930123456;npdi",
        "+4930123456;npdi=yes;rn=+4930999",
        "030123456;phone-context=+49",
    ] {
        let (seen, caller) = call(number).await;
        assert_eq!(seen, Seen::Talking, "{number}");
        let record = centre.interaction("the call waits", |record| record["state"]["kind"] == "waiting").await;
        assert_eq!(
            (&record["called"], &record["caller"]),
            (&json!("+4930123456"), &json!("+491701234567")),
            "{number}"
        );
        caller.hang_up().await.unwrap();
        centre.ended(&text(&record, "id").unwrap()).await;
    }
    assert_eq!(call("+4930000000").await.0, Seen::Failed(404));
}

fn now_ms() -> u64 {
    u64::try_from(std::time::UNIX_EPOCH.elapsed().unwrap().as_millis()).unwrap()
}

/// The acd dies, stays away for five seconds, and comes back; since when all its parts (Asterisk's websocket among them) are
/// ready, as it says itself.
async fn away(centre: &mut CallCentre, meanwhile: impl AsyncFnOnce()) -> u64 {
    centre.acd.kill9().unwrap();
    let gone = Instant::now();
    meanwhile().await;
    tokio::time::sleep_until((gone + Duration::from_secs(5)).into()).await;
    centre.acd.restart().unwrap();
    centre.acd.wait_ready(PATIENCE).await.unwrap();
    let log = centre.acd.process().log_text();
    let line = log.lines().rfind(|line| line.contains("] ready part=")).unwrap();
    let time = line.trim_start_matches('[').split(' ').next().unwrap();
    u64::try_from(time.parse::<jiff::Timestamp>().unwrap().as_millisecond()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_acd_that_dies_while_callers_wait_loses_and_refuses_nobody() {
    let mut centre = CallCentre::open(Wishes::default()).await.unwrap();
    let mut early = caller(&centre).await;
    expect(&mut early, Seen::Talking).await;
    let waiting = centre.interaction("it waits", is("waiting")).await;
    assert!(early.hears(261.6, PATIENCE).await, "the caller hears music");
    let mut late = None;
    let trunk = centre.trunk;
    let back_ms = away(&mut centre, async || {
        assert!(early.hears(261.6, PATIENCE).await, "the music goes on");
        let caller = Phone::new(CARRIER, "4930556", CALLER_HZ, Manner::Answer).await.unwrap();
        caller.call("100", trunk).await.unwrap();
        late = Some(caller);
    })
    .await;
    let mut late = late.unwrap();
    expect(&mut late, Seen::Talking).await;
    let other = centre.interaction("the late one waits too", |record| record["id"] != waiting["id"]).await;
    is_soon(&centre, &other["id"], "interaction_queued", back_ms).await;
    let agent = centre.employ("ada", english()).await.unwrap();
    let mut ada = phone(&centre, "ada", Manner::Answer).await;
    centre.set_status(&agent, "ready").await.unwrap();
    // The one who came first is served first.
    let record = centre.interaction("the first caller is served", is("connected")).await;
    assert_eq!(record["id"], waiting["id"]);
    expect(&mut ada, Seen::Rang).await;
    assert_eq!(record["state"]["agent"], agent.as_str());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_acd_that_dies_while_it_rings_goes_on_ringing_and_joins() {
    let mut centre = CallCentre::open(Wishes::default()).await.unwrap();
    let queue = centre.of_tenant(&format!("queues/{}", centre.queue));
    centre.patch(&queue, json!({ "ring_timeout_ms": 30_000 })).await.unwrap();
    centre.hire("ada", english()).await.unwrap();
    let mut ada = phone(&centre, "ada", Manner::RingForEver).await;
    let mut caller = caller(&centre).await;
    expect(&mut caller, Seen::Talking).await;
    expect(&mut ada, Seen::Rang).await;
    centre.interaction("it is offered", is("offered")).await;
    // The phone is answered while nobody listens.
    let back_ms = away(&mut centre, async || {
        ada.set_manner(Manner::Answer);
        expect(&mut ada, Seen::Talking).await;
    })
    .await;
    let record = centre.interaction("it is connected", is("connected")).await;
    is_soon(&centre, &record["id"], "interaction_connected", back_ms).await;
    assert!(caller.hears(AGENT_HZ, PATIENCE).await, "caller and agent are joined");
    assert!(ada.hears(CALLER_HZ, PATIENCE).await, "agent and caller are joined");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_acd_that_dies_while_they_talk_is_not_heard_and_the_end_is_reported_at_its_time() {
    let mut centre = CallCentre::open(Wishes::default()).await.unwrap();
    let (agent, mut ada, caller, interaction) = talking(&centre).await;
    let mut hung_up_ms = 0;
    let back_ms = away(&mut centre, async || {
        assert!(caller.hears(AGENT_HZ, PATIENCE).await, "they talk on");
        assert!(ada.hears(CALLER_HZ, PATIENCE).await, "they talk on");
        caller.hang_up().await.unwrap();
        hung_up_ms = now_ms();
    })
    .await;
    let end = centre.ended(&interaction).await;
    is_soon(&centre, &json!(interaction), "interaction_ended", back_ms).await;
    assert_eq!(end["reason"], "caller_hangup");
    let at_ms = end["at_ms"].as_u64().unwrap();
    assert!(at_ms.abs_diff(hung_up_ms) < 500, "ended at {at_ms}, hung up at {hung_up_ms}");
    expect(&mut ada, Seen::HungUp).await;
    is_free(&centre, &agent).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_dies_while_one_talks_and_one_waits_is_not_heard_and_loses_neither() {
    let mut centre = CallCentre::open(Wishes::default()).await.unwrap();
    let (ada_id, mut ada, first, talks) = talking(&centre).await;
    let mut second = caller(&centre).await;
    expect(&mut second, Seen::Talking).await;
    let waits = text(&centre.interaction("the second caller waits", is("waiting")).await, "id").unwrap();
    let they_talk = async || {
        assert!(first.hears(AGENT_HZ, PATIENCE).await, "the caller hears the agent");
        assert!(ada.hears(CALLER_HZ, PATIENCE).await, "the agent hears the caller");
        assert!(second.hears(261.6, PATIENCE).await, "the other caller hears music");
    };
    they_talk().await;
    centre.redis.kill9().unwrap();
    let died = Instant::now();
    they_talk().await;
    tokio::time::sleep_until((died + Duration::from_secs(2)).into()).await;
    they_talk().await;
    centre.redis.restart().await.unwrap();
    they_talk().await;
    centre.acd.wait_ready(PATIENCE).await.unwrap();
    centre.interaction("the second caller still waits", |record| record["id"] == waits.as_str()).await;

    let bob_id = centre.employ("bob", english()).await.unwrap();
    let mut bob = phone(&centre, "bob", Manner::Answer).await;
    centre.set_status(&bob_id, "ready").await.unwrap();
    expect(&mut bob, Seen::Rang).await;
    expect(&mut bob, Seen::Talking).await;
    assert!(second.hears(AGENT_HZ, PATIENCE).await, "the caller hears the second agent");
    assert!(bob.hears(CALLER_HZ, PATIENCE).await, "the second agent hears the caller");
    bob.hang_up().await.unwrap();
    expect(&mut second, Seen::HungUp).await;
    first.hang_up().await.unwrap();
    expect(&mut ada, Seen::HungUp).await;
    for (interaction, reason, agent) in [(&waits, "agent_hangup", &bob_id), (&talks, "caller_hangup", &ada_id)] {
        assert_eq!(centre.ended(interaction).await["reason"], reason);
        is_free(&centre, agent).await;
        stores_tell_the_same(&centre, interaction, agent).await;
    }
    centre.asterisk_is_empty().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_that_end_while_redis_is_away_end_with_their_true_times() {
    let mut centre = CallCentre::open(Wishes::default()).await.unwrap();
    let (ada_id, mut ada, first, talks) = talking(&centre).await;
    let mut second = caller(&centre).await;
    expect(&mut second, Seen::Talking).await;
    let waits = text(&centre.interaction("the second caller waits", is("waiting")).await, "id").unwrap();
    centre.redis.kill9().unwrap();
    first.hang_up().await.unwrap();
    second.hang_up().await.unwrap();
    let hung_up_ms = now_ms();
    expect(&mut ada, Seen::HungUp).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    centre.redis.restart().await.unwrap();
    for (interaction, reason) in [(&talks, "caller_hangup"), (&waits, "abandoned")] {
        let end = centre.ended(interaction).await;
        assert_eq!(end["reason"], reason);
        let at_ms = end["at_ms"].as_u64().unwrap();
        assert!(at_ms.abs_diff(hung_up_ms) < 500, "ended at {at_ms}, hung up at {hung_up_ms}");
    }
    is_free(&centre, &ada_id).await;
    stores_tell_the_same(&centre, &talks, &ada_id).await;
    centre.asterisk_is_empty().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_asterisk_that_dies_while_it_rings_frees_its_agent_at_the_old_place() {
    let mut centre = CallCentre::open(Wishes::default()).await.unwrap();
    let queue = centre.of_tenant(&format!("queues/{}", centre.queue));
    centre.patch(&queue, json!({ "ring_timeout_ms": 30_000 })).await.unwrap();
    let agent = centre.hire("ada", english()).await.unwrap();
    let since = is_free(&centre, &agent).await;
    let mut ada = phone(&centre, "ada", Manner::RingForEver).await;
    let mut caller = caller(&centre).await;
    expect(&mut caller, Seen::Talking).await;
    expect(&mut ada, Seen::Rang).await;
    let record = centre.interaction("it is offered", is("offered")).await;
    centre.asterisk.kill9().unwrap();
    let died = Instant::now();
    assert_eq!(centre.ended(&text(&record, "id").unwrap()).await["reason"], "node_lost");
    assert_eq!(is_free(&centre, &agent).await, since, "the agent did nothing to lose the place");
    assert!(died.elapsed() < Duration::from_secs(5), "free after {:?}", died.elapsed());
    assert_eq!(place(&centre, &agent).await, Some(since), "in Redis too");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_asterisk_that_dies_frees_its_agents_and_takes_calls_again() {
    let mut centre = CallCentre::open(Wishes::default()).await.unwrap();
    let (agent, ada, _caller, interaction) = talking(&centre).await;
    assert_eq!(place(&centre, &agent).await, None, "who talks is not available");
    centre.asterisk.kill9().unwrap();
    let died = Instant::now();
    let since = is_free(&centre, &agent).await;
    assert_eq!(place(&centre, &agent).await, Some(since), "available in Redis too");
    assert!(died.elapsed() < Duration::from_secs(5), "free after {:?}", died.elapsed());
    assert_eq!(centre.ended(&interaction).await["reason"], "node_lost");
    drop(ada);
    let mut ada = phone(&centre, "ada", Manner::Answer).await;
    centre.restart_asterisk().unwrap();
    centre.acd.wait_ready(PATIENCE).await.unwrap();
    let mut caller = caller_again(&centre).await;
    expect(&mut ada, Seen::Rang).await;
    expect(&mut ada, Seen::Talking).await;
    assert!(caller.hears(AGENT_HZ, PATIENCE).await);
    ada.hang_up().await.unwrap();
    expect(&mut caller, Seen::HungUp).await;
}

/// The classic websocket: an Asterisk before 22 cannot open it, so the ACD does, and what happens while it is away is lost
/// to it. Nobody else shall notice.
#[tokio::test(flavor = "multi_thread")]
async fn an_asterisk_that_cannot_connect_by_itself_takes_calls_and_keeps_callers_while_the_acd_is_away() {
    let mut centre = CallCentre::open(Wishes { classic: true, ..Wishes::default() }).await.unwrap();
    let mut early = caller(&centre).await;
    expect(&mut early, Seen::Talking).await;
    let waiting = centre.interaction("it waits", is("waiting")).await;
    assert!(early.hears(261.6, PATIENCE).await, "the caller hears music");
    let mut late = Phone::new(CARRIER, "4930556", CALLER_HZ, Manner::Answer).await.unwrap();
    centre.acd.kill9().unwrap();
    assert!(early.hears(261.6, PATIENCE).await, "the music goes on");
    late.call("100", centre.trunk).await.unwrap();
    // The dialplan keeps a caller for five seconds.
    tokio::time::sleep(Duration::from_secs(2)).await;
    centre.acd.restart().unwrap();
    expect(&mut late, Seen::Talking).await;
    let agent = centre.employ("ada", english()).await.unwrap();
    let mut ada = phone(&centre, "ada", Manner::Answer).await;
    centre.set_status(&agent, "ready").await.unwrap();
    let record = centre.interaction("the first caller is served", is("connected")).await;
    assert_eq!(record["id"], waiting["id"]);
    expect(&mut ada, Seen::Rang).await;
    assert!(early.hears(AGENT_HZ, PATIENCE).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happened_unseen_over_the_classic_websocket_is_found_by_listing() {
    let mut centre = CallCentre::open(Wishes { classic: true, ..Wishes::default() }).await.unwrap();
    let (agent, mut ada, caller, interaction) = talking(&centre).await;
    away(&mut centre, async || {
        assert!(caller.hears(AGENT_HZ, PATIENCE).await, "they talk on");
        caller.hang_up().await.unwrap();
    })
    .await;
    let back = Instant::now();
    assert_eq!(centre.ended(&interaction).await["reason"], "caller_hangup");
    assert!(back.elapsed() < Duration::from_secs(5), "found after {:?}", back.elapsed());
    expect(&mut ada, Seen::HungUp).await;
    is_free(&centre, &agent).await;
}

/// One more call, from the first ring to the caller's end.
async fn one_more_call(centre: &CallCentre, agent: &str, ada: &mut Phone) {
    let caller = caller_again(centre).await;
    expect(ada, Seen::Rang).await;
    expect(ada, Seen::Talking).await;
    assert!(caller.hears(AGENT_HZ, PATIENCE).await, "the caller hears the agent");
    caller.hang_up().await.unwrap();
    expect(ada, Seen::HungUp).await;
    is_free(centre, agent).await;
}

/// The acd is killed, and comes back where Asterisk's websocket may arrive at `listen`; it opens one itself.
async fn comes_to_asterisk(centre: &mut CallCentre, listen: SocketAddr) {
    centre.acd.set("RINGDOWN_ACD_ARI_LISTEN", listen.to_string());
    centre.acd.restart().unwrap();
    is_connected(centre, 1).await;
}

/// Waits until Asterisk is connected over a websocket that the acd has opened (1) or not (0).
async fn is_connected(centre: &CallCentre, opened_here: u8) {
    wait_until(PATIENCE, "Asterisk is connected", async || {
        let page = centre.acd.get("/metrics").await.ok()?.body;
        let says = |line: &str| page.lines().any(|said| said == line).then_some(());
        says(&format!("ringdown_voice_opened_here {opened_here}")).and(says("ringdown_voice_connected 1"))
    })
    .await;
}

/// Asterisk can stop trying to connect (see the acd's `classic.rs`). Here it tries a port where nobody is. Later it comes
/// again, but its application has gone with the acd's own websocket. Started anew, it connects by itself.
#[tokio::test(flavor = "multi_thread")]
async fn an_asterisk_that_does_not_come_is_come_to_and_calls_go_on() {
    let mut centre = CallCentre::open(Wishes::default()).await.unwrap();
    let (agent, mut ada, caller, interaction) = talking(&centre).await;
    let usual = centre.websocket;
    comes_to_asterisk(&mut centre, free_address()).await;
    assert!(caller.hears(AGENT_HZ, PATIENCE).await, "they talk on");
    caller.hang_up().await.unwrap();
    assert_eq!(centre.ended(&interaction).await["reason"], "caller_hangup");
    expect(&mut ada, Seen::HungUp).await;
    is_free(&centre, &agent).await;
    one_more_call(&centre, &agent, &mut ada).await;
    comes_to_asterisk(&mut centre, usual).await;
    one_more_call(&centre, &agent, &mut ada).await;
    centre.asterisk.kill9().unwrap();
    centre.restart_asterisk().unwrap();
    is_connected(&centre, 0).await;
    one_more_call(&centre, &agent, &mut ada).await;
    centre.asterisk_is_empty().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_for_whom_there_is_no_room_hears_503_and_is_never_answered() {
    let centre = CallCentre::open(Wishes::default()).await.unwrap();
    let queue = centre.of_tenant(&format!("queues/{}", centre.queue));
    centre.patch(&queue, json!({ "capacity": 1 })).await.unwrap();
    let mut first = caller(&centre).await;
    expect(&mut first, Seen::Talking).await;
    let mut second = caller(&centre).await;
    expect(&mut second, Seen::Failed(503)).await;
    // The one who waits is not touched.
    assert!(first.hears(261.6, PATIENCE).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_name_server_calls_are_as_quick() {
    let centre = CallCentre::open(Wishes { dns_cut_off: true, ..Wishes::default() }).await.unwrap();
    let started = Instant::now();
    let (_, ada, caller, _) = talking(&centre).await;
    // One look-up that waits for a server costs five seconds.
    assert!(started.elapsed() < Duration::from_secs(4), "took {:?}", started.elapsed());
    assert!(caller.hears(AGENT_HZ, PATIENCE).await);
    assert!(ada.hears(CALLER_HZ, PATIENCE).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_phone_nobody_here_wrote_takes_a_call() {
    let centre = CallCentre::open(Wishes::default()).await.unwrap();
    let agent = centre.hire("ada", english()).await.unwrap();
    let folder = Folder::new("baresip").unwrap();
    let config = format!(
        "sip_listen 127.0.0.1:{}\nmodule_path /usr/lib/baresip/modules\nmodule account.so\nmodule_app menu.so\n\
         module g711.so\nmodule aubridge.so\naudio_source aubridge,ear\naudio_player aubridge,ear\n\
         jitter_buffer_delay 0-0\n",
        free_port()
    );
    std::fs::write(folder.join("config"), config).unwrap();
    let account = format!(
        "<sip:ada@{}>;auth_user=ada;auth_pass={PHONE_PASSWORD};answermode=auto;audio_codecs=PCMU/8000/1;\
         outbound=\"sip:{};transport=udp\";regint=600\n",
        centre.realm, centre.registrar
    );
    std::fs::write(folder.join("accounts"), account).unwrap();
    std::fs::write(folder.join("contacts"), "").unwrap();
    let spec = Spec::new("baresip", "/usr/bin/baresip", folder.join("baresip.log")).arg("-f").arg(folder.path());
    let baresip = spec.start().unwrap();
    let client = redis::Client::open(centre.redis.url()).unwrap();
    let mut redis = client.get_multiplexed_async_connection().await.unwrap();
    let location = format!("{{{}}}:location:ada", centre.tenant);
    let limit = Duration::from_secs(10);
    wait_until(limit, "baresip is registered", async || {
        let bindings: u64 = redis::cmd("HLEN").arg(&location).query_async(&mut redis).await.ok()?;
        (bindings > 0).then_some(())
    })
    .await;
    let mut caller = caller(&centre).await;
    expect(&mut caller, Seen::Talking).await;
    let record = centre.interaction("baresip took the call", is("connected")).await;
    assert_eq!(record["state"]["agent"], agent.as_str());
    // Its ear is wired to its mouth: the caller hears the own tone come back.
    assert!(caller.hears(CALLER_HZ, PATIENCE).await, "baresip gives the tone back: {}", baresip.log_tail());
    caller.hang_up().await.unwrap();
    assert_eq!(centre.ended(&text(&record, "id").unwrap()).await["reason"], "caller_hangup");
    is_free(&centre, &agent).await;
}

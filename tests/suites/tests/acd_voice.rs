//! What agents and supervisors do with calls, on a real Asterisk with phones that sing: who hears whom is proved by tones.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on stops")]

use std::time::Duration;

use ringdown_suites::call_centre::{CARRIER, CallCentre, PATIENCE, PHONE_PASSWORD, Wishes, text};
use ringdown_suites::phone::{Manner, Phone, Seen};
use ringdown_suites::voice::share;
use ringdown_test_support::wait_until;
use serde_json::{Value, json};

const CALLER_HZ: f64 = 1_100.0;
const ADA_HZ: f64 = 700.0;
const BOB_HZ: f64 = 900.0;
const SUE_HZ: f64 = 500.0;
/// Long enough for a tone to come through that should not.
const A_MOMENT: Duration = Duration::from_millis(1_200);

/// An agent with a phone.
struct Agent {
    id: String,
    phone: Phone,
    hz: f64,
}

impl Agent {
    async fn hire(centre: &CallCentre, name: &str, hz: f64, skills: Value) -> Self {
        let id = centre.employ(name, skills).await.unwrap();
        let phone = Phone::new("127.0.0.1", name, hz, Manner::Answer).await.unwrap();
        // The router has the new agent; the registrar takes its configuration by itself.
        wait_until(PATIENCE, "the phone is registered", async || {
            phone.register(centre.registrar, &centre.realm, PHONE_PASSWORD).await.ok()
        })
        .await;
        Self { id, phone, hz }
    }

    async fn ready(self, centre: &CallCentre) -> Self {
        centre.set_status(&self.id, "ready").await.unwrap();
        self
    }

    async fn sees(&mut self, seen: Seen) {
        assert_eq!(self.phone.next(PATIENCE).await.unwrap(), seen);
    }

    /// At work, but for no calls from queues.
    async fn apart(self, centre: &CallCentre) -> Self {
        let status = json!({ "status": "not_ready", "reason": "supervising" });
        centre.put(&centre.of_tenant(&format!("agents/{}/status", self.id)), status).await.unwrap();
        self
    }

    async fn answers(&mut self) {
        self.sees(Seen::Rang).await;
        self.sees(Seen::Talking).await;
    }

    async fn state(&self, centre: &CallCentre, kind: &'static str) {
        centre.agent(&self.id, kind, |record| record["state"]["kind"] == kind).await;
    }
}

/// One caller on the phone with Ada; Bob and Sue have phones, and nothing to do.
struct Scene {
    centre: CallCentre,
    caller: Phone,
    ada: Agent,
    bob: Agent,
    sue: Agent,
    id: String,
}

impl Scene {
    async fn open() -> Self {
        let centre = CallCentre::open(Wishes::default()).await.unwrap();
        let ada = Agent::hire(&centre, "ada", ADA_HZ, json!({ "English": 5 })).await.ready(&centre).await;
        let bob = Agent::hire(&centre, "bob", BOB_HZ, json!({})).await.ready(&centre).await;
        let sue = Agent::hire(&centre, "sue", SUE_HZ, json!({})).await.apart(&centre).await;
        let caller = Phone::new(CARRIER, "4930555", CALLER_HZ, Manner::Answer).await.unwrap();
        let mut scene = Self { centre, caller, ada, bob, sue, id: String::new() };
        scene.call().await;
        scene
    }

    async fn call(&mut self) {
        self.caller.call("100", self.centre.trunk).await.unwrap();
        assert_eq!(self.caller.next(PATIENCE).await.unwrap(), Seen::Talking);
        self.ada.answers().await;
        let record = self.centre.interaction("connected", |record| record["state"]["kind"] == "connected").await;
        self.id = text(&record, "id").unwrap();
        self.talk().await;
    }

    /// The caller and Ada hear each other.
    async fn talk(&self) {
        assert!(self.caller.hears(ADA_HZ, PATIENCE).await, "the caller hears Ada");
        assert!(self.ada.phone.hears(CALLER_HZ, PATIENCE).await, "Ada hears the caller");
    }

    async fn act(&self, act: &str, body: Value) -> Value {
        let path = self.centre.of_tenant(&format!("interactions/{}/{act}", self.id));
        self.centre.post(&path, body).await.unwrap_or_else(|error| panic!("{act}: {error}"))
    }

    async fn record(&self, what: &str, accept: impl Fn(&Value) -> bool) -> Value {
        let path = self.centre.of_tenant(&format!("interactions/{}", self.id));
        wait_until(PATIENCE, what, async || self.centre.get(&path).await.ok().filter(|record| accept(record))).await
    }

    /// Everybody hangs up: nothing is left in Asterisk, and everybody is free.
    async fn end(self) {
        self.caller.hang_up().await.unwrap();
        self.centre.ended(&self.id).await;
        self.centre.asterisk_is_empty().await;
        for agent in [&self.ada, &self.bob, &self.sue] {
            agent.state(&self.centre, "idle").await;
        }
    }
}

fn to_agent(agent: &Agent) -> Value {
    json!({ "target": { "agent": agent.id } })
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_no_phone_gets_no_calls_but_tasks() {
    let centre = CallCentre::open(Wishes::default()).await.unwrap();
    let mut ada = Agent::hire(&centre, "ada", ADA_HZ, json!({ "English": 5 })).await.ready(&centre).await;
    centre.agent(&ada.id, "can be reached", |record| record["reachable"] == true).await;
    ada.phone.unregister(centre.registrar, &centre.realm, PHONE_PASSWORD).await.unwrap();
    centre.agent(&ada.id, "cannot be reached", |record| record["reachable"] == false).await;

    let mut caller = Phone::new(CARRIER, "4930555", CALLER_HZ, Manner::Answer).await.unwrap();
    caller.call("100", centre.trunk).await.unwrap();
    assert_eq!(caller.next(PATIENCE).await.unwrap(), Seen::Talking, "with the music");
    let call = centre.interaction("waits", |record| record["media"] == "voice").await;
    assert_eq!((&call["state"]["kind"], &call["offers"]), (&json!("waiting"), &json!(0)), "{call}");
    let queue = call["queue"].clone();
    let task = centre.post(&centre.of_tenant("interactions"), json!({ "queue": queue })).await.unwrap();
    let task = centre.of_tenant(&format!("interactions/{}", text(&task, "id").unwrap()));
    assert_eq!(centre.get(&task).await.unwrap()["state"]["kind"], "connected", "other work needs no phone");
    centre.post(&format!("{task}/end"), json!({})).await.unwrap();
    centre.post(&centre.of_tenant(&format!("agents/{}/finish-wrap-up", ada.id)), json!({})).await.unwrap();
    ada.state(&centre, "idle").await;

    // Whoever comes back is the longest available still, and there is somebody who waits.
    ada.phone.register(centre.registrar, &centre.realm, PHONE_PASSWORD).await.unwrap();
    ada.answers().await;
    assert!(caller.hears(ADA_HZ, PATIENCE).await, "the caller hears Ada");
    caller.hang_up().await.unwrap();
    centre.ended(&text(&call, "id").unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hold_gives_the_customer_music_and_resume_gives_the_agent_back() {
    let scene = Scene::open().await;
    scene.act("hold", json!({})).await;
    scene.record("held", |record| record["call"]["held"] == true).await;
    assert!(!scene.caller.hears(ADA_HZ, A_MOMENT).await, "the customer does not hear Ada on hold");
    assert!(!scene.ada.phone.hears(CALLER_HZ, A_MOMENT).await, "Ada does not hear the customer on hold");
    scene.act("resume", json!({})).await;
    scene.talk().await;
    scene.act("mute", json!({})).await;
    wait_until(PATIENCE, "nobody hears Ada", async || (!scene.caller.hears(ADA_HZ, A_MOMENT).await).then_some(()))
        .await;
    assert!(scene.ada.phone.hears(CALLER_HZ, PATIENCE).await, "Ada still hears the customer");
    scene.act("unmute", json!({})).await;
    scene.talk().await;
    scene.act("digits", json!({ "digits": "12#" })).await;
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blind_transfer_hands_the_customer_to_an_agent_and_to_a_queue() {
    let mut scene = Scene::open().await;
    scene.act("transfer", to_agent(&scene.bob)).await;
    scene.ada.sees(Seen::HungUp).await;
    scene.bob.answers().await;
    assert!(scene.caller.hears(BOB_HZ, PATIENCE).await, "the customer hears Bob");
    assert!(scene.bob.phone.hears(CALLER_HZ, PATIENCE).await, "Bob hears the customer");
    scene.ada.state(&scene.centre, "idle").await;
    // Back to the queue, where Ada is the only one with the skill.
    scene.act("transfer", json!({ "target": { "queue": scene.centre.queue } })).await;
    scene.bob.sees(Seen::HungUp).await;
    scene.ada.answers().await;
    scene.talk().await;
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transfer_that_nobody_answers_brings_the_customer_back_to_the_queue() {
    let mut scene = Scene::open().await;
    scene.bob.phone.set_manner(Manner::Refuse(486));
    scene.act("transfer", to_agent(&scene.bob)).await;
    scene.ada.sees(Seen::HungUp).await;
    scene.bob.sees(Seen::Rang).await;
    scene.ada.answers().await;
    scene.talk().await;
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consultation_is_apart_from_the_customer_and_is_given_up_or_completed() {
    let mut scene = Scene::open().await;
    let consult = scene.act("consult", to_agent(&scene.bob)).await;
    assert_eq!((&consult["origin"], &consult["parent"]), (&json!("consult"), &json!(scene.id)));
    scene.bob.answers().await;
    assert!(scene.ada.phone.hears(BOB_HZ, PATIENCE).await, "Ada hears Bob");
    assert!(scene.bob.phone.hears(ADA_HZ, PATIENCE).await, "Bob hears Ada");
    assert!(!scene.bob.phone.hears(CALLER_HZ, A_MOMENT).await, "Bob does not hear the customer");
    assert!(!scene.caller.hears(ADA_HZ, A_MOMENT).await, "the customer does not hear Ada");
    scene.act("consult/cancel", json!({})).await;
    scene.bob.sees(Seen::HungUp).await;
    scene.talk().await;
    scene.bob.state(&scene.centre, "idle").await;
    // Asked again, and handed over.
    scene.act("consult", to_agent(&scene.bob)).await;
    scene.bob.answers().await;
    assert!(scene.ada.phone.hears(BOB_HZ, PATIENCE).await, "Ada hears Bob");
    scene.act("consult/complete", json!({})).await;
    scene.ada.sees(Seen::HungUp).await;
    assert!(scene.caller.hears(BOB_HZ, PATIENCE).await, "the customer hears Bob");
    assert!(scene.bob.phone.hears(CALLER_HZ, PATIENCE).await, "Bob hears the customer");
    let bob = scene.bob.id.clone();
    scene.record("Bob has it", |record| record["state"]["agent"] == bob.as_str()).await;
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consultation_that_fails_puts_everybody_back_where_they_were() {
    let mut scene = Scene::open().await;
    scene.bob.phone.set_manner(Manner::Refuse(603));
    scene.act("consult", to_agent(&scene.bob)).await;
    scene.bob.sees(Seen::Rang).await;
    scene.talk().await;
    scene.record("no consultation is left", |record| record["call"]["consult"].is_null()).await;
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_conference_everybody_hears_everybody_and_it_outlives_its_first_agent() {
    let mut scene = Scene::open().await;
    scene.act("consult", to_agent(&scene.bob)).await;
    scene.bob.answers().await;
    assert!(scene.ada.phone.hears(BOB_HZ, PATIENCE).await, "Ada hears Bob");
    scene.act("consult/conference", json!({})).await;
    for (who, phone, others) in [
        ("the customer", &scene.caller, [scene.ada.hz, scene.bob.hz]),
        ("Ada", &scene.ada.phone, [CALLER_HZ, scene.bob.hz]),
        ("Bob", &scene.bob.phone, [CALLER_HZ, scene.ada.hz]),
    ] {
        for hz in others {
            assert!(phone.hears(hz, PATIENCE).await, "{who} hears {hz} Hz");
        }
    }
    scene.ada.phone.hang_up().await.unwrap();
    let bob = scene.bob.id.clone();
    scene.record("Bob has it", |record| record["state"]["agent"] == bob.as_str()).await;
    assert!(scene.caller.hears(BOB_HZ, PATIENCE).await, "the customer still hears Bob");
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_supervisor_listens_whispers_barges_and_takes_over() {
    let mut scene = Scene::open().await;
    let with = |mode: &str| json!({ "mode": mode, "agent": scene.sue.id });
    scene.act("supervision", with("listen")).await;
    let (whisper, barge, over) = (with("whisper"), with("barge"), with("take_over"));
    scene.sue.answers().await;
    assert!(scene.sue.phone.hears(CALLER_HZ, PATIENCE).await, "Sue hears the customer");
    assert!(scene.sue.phone.hears(ADA_HZ, PATIENCE).await, "Sue hears Ada");
    assert!(!scene.ada.phone.hears(SUE_HZ, A_MOMENT).await, "Ada does not hear a listener");
    scene.act("supervision", whisper).await;
    assert!(scene.ada.phone.hears(SUE_HZ, PATIENCE).await, "Ada hears the whisper");
    assert!(!scene.caller.hears(SUE_HZ, A_MOMENT).await, "the customer does not");
    scene.act("supervision", barge).await;
    assert!(scene.caller.hears(SUE_HZ, PATIENCE).await, "the customer hears Sue");
    scene.act("supervision", over).await;
    scene.ada.sees(Seen::HungUp).await;
    assert!(scene.caller.hears(SUE_HZ, PATIENCE).await, "the customer hears Sue");
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_supervisor_who_leaves_is_not_noticed() {
    let mut scene = Scene::open().await;
    let listen = json!({ "mode": "listen", "agent": scene.sue.id });
    scene.act("supervision", listen).await;
    scene.sue.answers().await;
    assert!(scene.sue.phone.hears(CALLER_HZ, PATIENCE).await, "Sue hears the customer");
    let path = scene.centre.of_tenant(&format!("interactions/{}/supervision", scene.id));
    scene.centre.delete(&path).await.unwrap();
    scene.sue.sees(Seen::HungUp).await;
    scene.talk().await;
    scene.end().await;
}

/// An outside number behind the trunk, whose phone answers.
async fn outside(centre: &CallCentre, manner: Manner) -> Phone {
    let phone = Phone::new(CARRIER, "4930999", SUE_HZ, manner).await.unwrap();
    phone.hears_from(centre.trunk);
    let trunks = centre.get(&centre.of_tenant("trunks")).await.unwrap();
    let trunk = text(&trunks["items"][0], "id").unwrap();
    let destination = json!({ "destination": phone.address().to_string() });
    centre.patch(&centre.of_tenant(&format!("trunks/{trunk}")), destination).await.unwrap();
    let route = json!({ "prefix": "+49", "strip": "+49", "prepend": "0", "trunks": [trunk] });
    centre.post(&centre.of_tenant("outbound-routes"), route).await.unwrap();
    phone
}

#[tokio::test(flavor = "multi_thread")]
async fn a_customer_is_transferred_to_an_outside_number_and_an_outside_number_is_asked() {
    let mut scene = Scene::open().await;
    let mut outside = outside(&scene.centre, Manner::Answer).await;
    let number = json!({ "target": { "number": "+4930999" } });
    scene.act("consult", number.clone()).await;
    assert_eq!(outside.next(PATIENCE).await.unwrap(), Seen::Rang);
    assert_eq!(outside.next(PATIENCE).await.unwrap(), Seen::Talking);
    assert!(scene.ada.phone.hears(SUE_HZ, PATIENCE).await, "Ada hears the number");
    assert!(outside.hears(ADA_HZ, PATIENCE).await, "the number hears Ada");
    scene.act("consult/cancel", json!({})).await;
    assert_eq!(outside.next(PATIENCE).await.unwrap(), Seen::HungUp);
    scene.talk().await;
    scene.act("transfer", number).await;
    scene.ada.sees(Seen::HungUp).await;
    assert_eq!(outside.next(PATIENCE).await.unwrap(), Seen::Rang);
    assert_eq!(outside.next(PATIENCE).await.unwrap(), Seen::Talking);
    assert!(scene.caller.hears(SUE_HZ, PATIENCE).await, "the customer hears the number");
    assert!(outside.hears(CALLER_HZ, PATIENCE).await, "the number hears the customer");
    scene.ada.state(&scene.centre, "idle").await;
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_calls_a_number_and_another_agent() {
    let centre = CallCentre::open(Wishes::default()).await.unwrap();
    let mut ada = Agent::hire(&centre, "ada", ADA_HZ, json!({})).await.apart(&centre).await;
    let mut bob = Agent::hire(&centre, "bob", BOB_HZ, json!({})).await.ready(&centre).await;
    let mut outside = outside(&centre, Manner::Answer).await;
    let calls = centre.of_tenant(&format!("agents/{}/calls", ada.id));
    let call = centre.post(&calls, json!({ "number": "+4930999" })).await.unwrap();
    assert_eq!((&call["origin"], &call["direction"]), (&json!("manual"), &json!("outbound")));
    ada.answers().await;
    assert_eq!(outside.next(PATIENCE).await.unwrap(), Seen::Rang);
    assert_eq!(outside.next(PATIENCE).await.unwrap(), Seen::Talking);
    assert!(ada.phone.hears(SUE_HZ, PATIENCE).await, "Ada hears the number");
    assert!(outside.hears(ADA_HZ, PATIENCE).await, "the number hears Ada");
    outside.hang_up().await.unwrap();
    ada.sees(Seen::HungUp).await;
    assert_eq!(centre.ended(&text(&call, "id").unwrap()).await["reason"], "caller_hangup");
    ada.state(&centre, "idle").await;
    // A number that is busy.
    outside.set_manner(Manner::Refuse(486));
    let call = centre.post(&calls, json!({ "number": "+4930999" })).await.unwrap();
    ada.answers().await;
    ada.sees(Seen::HungUp).await;
    assert_eq!(centre.ended(&text(&call, "id").unwrap()).await["reason"], "busy");
    ada.state(&centre, "idle").await;
    // Another agent.
    let call = centre.post(&calls, json!({ "agent": bob.id })).await.unwrap();
    assert_eq!(call["origin"], "internal");
    ada.answers().await;
    bob.answers().await;
    assert!(ada.phone.hears(BOB_HZ, PATIENCE).await, "Ada hears Bob");
    assert!(bob.phone.hears(ADA_HZ, PATIENCE).await, "Bob hears Ada");
    bob.phone.hang_up().await.unwrap();
    ada.sees(Seen::HungUp).await;
    for agent in [&ada, &bob] {
        agent.state(&centre, "idle").await;
    }
    centre.asterisk_is_empty().await;
}

/// The sound of a recording: its samples.
async fn sound(centre: &CallCentre, recording: &Value) -> Vec<i16> {
    let path = centre.of_tenant(&format!("recordings/{}/audio", text(recording, "id").unwrap()));
    let file = centre.file(&path).await.unwrap();
    assert_eq!(file.len(), recording["bytes"].as_u64().unwrap() as usize);
    file[44..].chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]])).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_party_is_recorded_on_its_own_and_a_pause_is_silence() {
    let scene = Scene::open().await;
    scene.act("recording", json!({ "action": "start" })).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    scene.act("recording", json!({ "action": "pause" })).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    scene.act("recording", json!({ "action": "resume" })).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    scene.caller.hang_up().await.unwrap();
    scene.centre.ended(&scene.id).await;
    let path = scene.centre.of_tenant(&format!("recordings?interaction={}", scene.id));
    let list = wait_until(PATIENCE, "both are kept", async || {
        let list = scene.centre.get(&path).await.ok()?;
        (list["items"].as_array()?.len() == 2).then_some(list)
    })
    .await;
    for recording in list["items"].as_array().unwrap() {
        let (own, other) = if recording["party"] == "customer" { (CALLER_HZ, ADA_HZ) } else { (ADA_HZ, CALLER_HZ) };
        let samples = sound(&scene.centre, recording).await;
        let seconds = samples.len() as f64 / 8_000.0;
        assert!((5.0..8.0).contains(&seconds), "{seconds} s of {recording}");
        let loud = |from: f64, to: f64| &samples[(from * 8_000.0) as usize..(to * 8_000.0) as usize];
        assert!(share(loud(0.5, 1.5), own) > 0.8, "the party is heard");
        assert!(share(loud(0.5, 1.5), other) < 0.05, "and nobody else");
        let middle = loud(2.5, 3.5).iter().map(|sample| i32::from(*sample).abs()).max().unwrap();
        assert!(middle < 200, "the pause is silence: {middle}");
        assert!(share(loud(seconds - 1.2, seconds - 0.5), own) > 0.8, "the party is heard again");
    }
    scene.centre.asterisk_is_empty().await;
}

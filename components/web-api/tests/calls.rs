//! What agents and supervisors do with calls, over REST, with the real provisioner and the real router. The voice duty's part (a call
//! arrives, a phone is answered) is said to the router by its own commands.

mod world;

use reqwest::Method;
use ringdown_domain::{CommandId, Delivery, EndReason, InteractionId, Media, NodeId, OfferId, QueueId, TenantId};
use ringdown_events::{Command, NewInteraction};
use ringdown_redis_store::{
    Answer as Told, CommandClient, RedisOptions as StoreOptions, RedisPool, Retry, StoreMetrics, keys, redis,
};
use ringdown_test_support::wait_until;
use serde_json::{Value, json};
use world::{Answer, Caller, PATIENCE, World};

/// A tenant with a queue and three agents, the first of whom is ready and a user.
struct House {
    world: World,
    tenant: String,
    queue: String,
    agents: Vec<String>,
    ada: Caller,
    pool: RedisPool,
    voice: CommandClient,
    commands: std::cell::Cell<u8>,
}

impl House {
    async fn build() -> Self {
        let world = World::live().await;
        let root = &world.root;
        let tenant = world.tenant("calls.example").await;
        root.post(&format!("{tenant}/skills"), json!({ "name": "english" })).await.expect(201);
        let rules = json!({ "name": "Sales", "requirements": [{ "skill": "english" }], "wrap_up_ms": 60_000, "ring_timeout_ms": 60_000 });
        let queue = root.post(&format!("{tenant}/queues"), rules).await.expect(201).id();
        let mut agents = Vec::new();
        for name in ["Ada", "Bob", "Cleo"] {
            let agent = json!({ "name": name, "skills": { "english": 5 } });
            agents.push(root.post(&format!("{tenant}/agents"), agent).await.expect(201).id());
        }
        let ada = world.user("ada", "agent", Some(&tenant), Some(&agents[0])).await;
        let pool = RedisPool::new(StoreOptions::from_url(&world.redis.url()).expect("a URL"), StoreMetrics::default());
        let (voice, tail) = CommandClient::new(pool.clone(), "voice".to_owned());
        tokio::spawn(tail.run(std::future::pending()));
        let house = Self { world, tenant, queue, agents, ada, pool, voice, commands: std::cell::Cell::new(0) };
        house.register_phones().await;
        house.ready(0).await;
        house
    }

    /// Registers a phone of every agent, as a registrar does, and waits until the router has heard of them.
    async fn register_phones(&self) {
        let tenant = self.tenant_id();
        for agent in &self.agents {
            let binding = json!({ "expires_at_ms": u64::MAX / 2 }).to_string();
            let mut pipe = redis::pipe();
            pipe.cmd("HSET").arg(keys::location(tenant, agent)).arg("phone").arg(binding).ignore();
            pipe.cmd("PUBLISH").arg(keys::location_changed(tenant)).arg(format!("test {agent}")).ignore();
            let () = self.pool.run_pipeline("register", Retry::Safe, &pipe).await.expect("registered");
        }
        for agent in 0..self.agents.len() {
            let reachable = async || (self.agent(agent).await["reachable"] == true).then_some(());
            wait_until(PATIENCE, "an agent can be reached", reachable).await;
        }
    }

    fn root(&self) -> &Caller {
        &self.world.root
    }

    fn at(&self, rest: &str) -> String {
        format!("{}{rest}", self.tenant)
    }

    async fn ready(&self, agent: usize) {
        let path = self.at(&format!("/agents/{}/status", self.agents[agent]));
        self.root().put(&path, json!({ "status": "ready" })).await.expect(200);
    }

    async fn agent(&self, agent: usize) -> Value {
        self.root().get(&self.at(&format!("/agents/{}/status", self.agents[agent]))).await.expect(200).body
    }

    async fn act(&self, who: &Caller, interaction: &str, act: &str, body: Value) -> Answer {
        who.post(&self.at(&format!("/interactions/{interaction}/{act}")), body).await
    }

    async fn interaction(&self, id: &str) -> Value {
        self.root().get(&self.at(&format!("/interactions/{id}"))).await.expect(200).body
    }

    fn tenant_id(&self) -> TenantId {
        self.tenant.rsplit('/').next().expect("a tenant").parse().expect("an id")
    }

    /// Says something to the router as the voice duty would.
    async fn tell(&self, command: Command) {
        self.commands.set(self.commands.get() + 1);
        let id = CommandId::from_parts(7, &[self.commands.get(); 10]);
        wait_until(PATIENCE, "an outcome", async || {
            match self.voice.send_as(self.tenant_id(), id, command.clone()).await.expect("Redis") {
                Told::Outcome(outcome) => Some(outcome.result.expect("it is done")),
                Told::Unknown { .. } => None,
            }
        })
        .await;
    }

    /// A call arrives and its agent answers the phone.
    async fn connected_call(&self) -> String {
        let id = InteractionId::from_parts(5, &[5; 10]);
        let queue: QueueId = self.queue.parse().expect("an id");
        self.tell(Command::CreateInteraction(NewInteraction {
            id,
            media: Media::Voice,
            delivery: Delivery::Ring,
            queue: Some(queue),
            requirements: vec![],
            priority: None,
            caller: Some("+4930123".parse().expect("a number")),
            called: None,
            node: Some("voice-1".parse().expect("a node")),
            attributes: std::collections::BTreeMap::new(),
            arrived_at_ms: None,
        }))
        .await;
        self.answer(&id.to_string()).await;
        id.to_string()
    }

    /// The phone that rings for an interaction is answered.
    async fn answer(&self, id: &str) {
        let state = &self.interaction(id).await["state"];
        let offer: OfferId = state["offer"].as_str().expect("an offer").parse().expect("an id");
        self.tell(Command::AcceptOffer { interaction: id.parse().expect("an id"), offer }).await;
    }

    /// A media node that an acd has.
    async fn node(&self, name: &str, calls: u64) {
        let node: NodeId = name.parse().expect("a node");
        let mut sign = redis::cmd("HSET");
        sign.arg(keys::NODES).arg(name).arg(json!({ "connected": true, "calls": calls }).to_string());
        let _new: i64 = self.pool.run("test", Retry::Safe, &sign).await.expect("Redis");
        let mut lease = redis::cmd("SET");
        lease.arg(keys::node_lease(&node)).arg("1:somebody");
        let _ok: String = self.pool.run("test", Retry::Safe, &lease).await.expect("Redis");
    }
}

#[tokio::test]
async fn an_agent_consults_and_hands_over() {
    let house = House::build().await;
    let (ada, id) = (&house.ada, house.connected_call().await);
    let held = house.act(ada, &id, "hold", json!({})).await.expect(200);
    assert_eq!((&held.body["call"]["held"], &held.body["call"]["parties"][0]["role"]), (&json!(true), &json!("held")));
    assert_eq!(held.body["origin"], "inbound");
    house.act(ada, &id, "resume", json!({})).await.expect(200);
    let target = json!({ "target": { "agent": house.agents[1] } });
    assert_eq!(
        house.act(ada, &id, "consult", target.clone()).await.expect(409).body["code"],
        "agent_busy",
        "logged out"
    );
    house.ready(1).await;
    let consult = house.act(ada, &id, "consult", target.clone()).await.expect(201);
    assert_eq!((&consult.body["origin"], &consult.body["parent"]), (&json!("consult"), &json!(id)));
    assert_eq!(house.interaction(&id).await["call"]["consult"], consult.body["id"]);
    assert_eq!(
        ada.get(&house.at(&format!("/interactions/{}", consult.id()))).await.expect(200).body["id"],
        consult.id()
    );
    let engagements = house.agent(0).await["engagements"].clone();
    assert_eq!((&engagements[0]["state"], &engagements[1]["state"]), (&json!("held"), &json!("talking")));
    assert_eq!(house.act(ada, &id, "consult", target).await.expect(409).body["code"], "not_connected", "one at a time");
    assert_eq!(house.act(ada, &id, "consult/complete", json!({})).await.expect(409).body["code"], "agent_busy");
    house.answer(&consult.id()).await;
    house.act(ada, &id, "consult/conference", json!({})).await.expect(200);
    let parties = house.interaction(&id).await["call"]["parties"].clone();
    assert_eq!((&parties[1]["agent"], &parties[1]["role"]), (&json!(house.agents[1]), &json!("talking")));
    let done = house.act(ada, &id, "consult/complete", json!({})).await.expect(200);
    assert_eq!(done.body["state"]["agent"], house.agents[1]);
    house.act(ada, &id, "hold", json!({})).await.expect(404);
    let path = house.at(&format!("/agents/{}", house.agents[0]));
    let before = house.agent(0).await["engagements"][0]["deadline"].as_u64().expect("a deadline");
    let longer = ada.post(&format!("{path}/extend-wrap-up"), json!({ "by_ms": 60_000 })).await.expect(200);
    assert_eq!(longer.body["engagements"][0]["deadline"], before + 60_000);
    ada.post(&format!("{path}/extend-wrap-up"), json!({ "by_ms": 5 })).await.refuses(422, "by_ms");
}

#[tokio::test]
async fn an_agent_transfers_records_and_classes() {
    let house = House::build().await;
    let (ada, id) = (&house.ada, house.connected_call().await);
    house.act(ada, &id, "recording", json!({ "action": "resume" })).await.expect(409);
    house.act(ada, &id, "recording", json!({ "action": "start" })).await.expect(200);
    let paused = house.act(ada, &id, "recording", json!({ "action": "pause" })).await.expect(200);
    assert_eq!(paused.body["call"]["recording"], "paused");
    assert_eq!(house.act(ada, &id, "mute", json!({})).await.expect(200).body["call"]["muted"], true);
    house.act(ada, &id, "unmute", json!({})).await.expect(200);
    house.act(ada, &id, "digits", json!({ "digits": "1x" })).await.refuses(422, "digits");
    house.act(ada, &id, "digits", json!({ "digits": "12#" })).await.expect(200);
    house.act(ada, &id, "transfer", json!({ "target": {} })).await.refuses(422, "target");
    let both = json!({ "target": { "queue": house.queue, "number": "+49301" } });
    house.act(ada, &id, "transfer", both).await.refuses(422, "target");
    let away = house.act(ada, &id, "transfer", json!({ "target": { "number": "+49301" } })).await.expect(200);
    assert_eq!(away.body["state"]["kind"], "external");
    assert_eq!(house.agent(0).await["state"]["kind"], "wrapping_up");
    let interaction = id.parse().expect("an id");
    house.tell(Command::EndInteraction { interaction, reason: EndReason::CallerHangup, at_ms: None }).await;
    house.ready(0).await;
    let second = house.root().post(&house.at("/interactions"), json!({ "queue": house.queue })).await.expect(201);
    let finish = house.at(&format!("/agents/{}/finish-wrap-up", house.agents[0]));
    ada.send(ada.request(Method::POST, &finish)).await.expect(200);
    let second = second.id();
    wait_until(PATIENCE, "an agent", async || {
        (house.interaction(&second).await["state"]["kind"] == "connected").then_some(())
    })
    .await;
    house.act(ada, &second, "end", json!({})).await.expect(200);
    let path = house.at(&format!("/interactions/{second}/disposition"));
    let classed = ada.put(&path, json!({ "code": "sold", "fields": { "product": "A1" } })).await.expect(200);
    assert_eq!(classed.body["disposition"], json!({ "code": "sold", "notes": "", "fields": { "product": "A1" } }));
    assert_eq!(classed.body["state"]["kind"], "ended", "after the end");
    ada.put(&path, json!({ "code": "" })).await.refuses(422, "code");
}

#[tokio::test]
async fn a_supervisor_takes_part_and_moves_what_waits() {
    let house = House::build().await;
    let (root, id) = (house.root(), house.connected_call().await);
    let path = house.at(&format!("/interactions/{id}/supervision"));
    let listen = |agent: &str, mode: &str| json!({ "mode": mode, "agent": agent });
    house.ada.post(&path, listen(&house.agents[0], "listen")).await.expect(403);
    house.ready(2).await;
    let cleo = house.agents[2].clone();
    let supervision = root.post(&path, listen(&cleo, "listen")).await.expect(201);
    assert_eq!((&supervision.body["origin"], &supervision.body["parent"]), (&json!("supervision"), &json!(id)));
    house.answer(&supervision.id()).await;
    let changed = root.post(&path, listen(&cleo, "whisper")).await.expect(200);
    assert_eq!(changed.id(), supervision.id());
    let party = house.interaction(&id).await["call"]["parties"][1].clone();
    assert_eq!((&party["kind"], &party["role"]), (&json!("supervisor"), &json!("whispering")));
    let left = root.delete(&path).await.expect(200);
    assert_eq!(left.body["call"]["parties"].as_array().expect("parties").len(), 1);
    root.delete(&path).await.expect(200);
    let again = root.post(&path, listen(&cleo, "take_over")).await.expect(201);
    house.answer(&again.id()).await;
    assert_eq!(house.interaction(&id).await["state"]["agent"], cleo);

    let rules = json!({ "name": "Other", "requirements": [{ "skill": "english" }] });
    let other = root.post(&house.at("/queues"), rules).await.expect(201).id();
    let waiting = root.post(&house.at("/interactions"), json!({ "queue": house.queue })).await.expect(201);
    let moved = house.act(root, &waiting.id(), "move", json!({ "queue": other })).await.expect(200);
    assert_eq!((&moved.body["queue"], &moved.body["arrived_at_ms"]), (&json!(other), &waiting.body["arrived_at_ms"]));
    house.act(&house.ada, &waiting.id(), "move", json!({ "queue": other })).await.expect(403);
    house.act(root, &id, "move", json!({ "queue": other })).await.expect(409);
}

#[tokio::test]
async fn an_agent_calls_out_once_over_the_node_with_the_fewest_calls() {
    let house = House::build().await;
    let ada = &house.ada;
    let path = house.at(&format!("/agents/{}/calls", house.agents[0]));
    let call = json!({ "number": "+49301234", "queue": house.queue });
    assert_eq!(ada.post(&path, call.clone()).await.expect(503).body["code"], "unavailable");
    house.node("voice-1", 3).await;
    house.node("voice-2", 1).await;
    let send =
        async |body: &Value| ada.send(ada.request(Method::POST, &path).header("idempotency-key", "k").json(body)).await;
    let placed = send(&call).await.expect(201);
    assert_eq!((&placed.body["origin"], &placed.body["direction"]), (&json!("manual"), &json!("outbound")));
    assert_eq!((&placed.body["node"], &placed.body["called"]), (&json!("voice-2"), &json!("+49301234")));
    assert_eq!(placed.body["state"]["agent"], house.agents[0]);
    house.node("voice-2", 9).await;
    assert_eq!(send(&call).await.expect(201).id(), placed.id());
    send(&json!({ "number": "+49309" })).await.refuses(422, "Idempotency-Key");
    ada.post(&path, json!({})).await.refuses(422, "number");
    assert_eq!(ada.post(&path, call.clone()).await.expect(409).body["code"], "agent_busy");
    ada.post(&house.at(&format!("/agents/{}/calls", house.agents[1])), call).await.expect(403);
    house.act(ada, &placed.id(), "end", json!({})).await.expect(200);
    house.ready(1).await;
    let internal = ada.post(&path, json!({ "agent": house.agents[1] })).await.expect(201);
    assert_eq!(internal.body["origin"], "internal");
    house.answer(&internal.id()).await;
    let called = house.agent(1).await;
    assert_eq!(called["state"]["kind"], "reserved", "the other one is called: {called}");
}

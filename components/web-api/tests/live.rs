//! Live routes with the real provisioner and the real router: what is configured is running when the answer comes, commands
//! do what they say, once, and agents touch only what is theirs.

mod world;

use reqwest::Method;
use ringdown_test_support::wait_until;
use serde_json::{Value, json};
use world::{Answer, Caller, PATIENCE, World};

/// A tenant with two skills, a queue and an agent, all running.
struct House {
    world: World,
    tenant: String,
    queue: String,
    agent: String,
}

impl House {
    async fn build() -> Self {
        let world = World::live().await;
        let root = &world.root;
        let tenant = world.tenant("live.example").await;
        for name in ["english", "german"] {
            root.post(&format!("{tenant}/skills"), json!({ "name": name })).await.expect(201);
        }
        let rules = json!({ "name": "Sales", "requirements": [{ "skill": "english" }], "wrap_up_ms": 60_000, "ring_timeout_ms": 60_000 });
        let queue = root.post(&format!("{tenant}/queues"), rules).await.expect(201).id();
        let agent = json!({ "name": "Ada", "skills": { "english": 5, "german": 2 } });
        let made = root.post(&format!("{tenant}/agents"), agent).await.expect(201);
        assert_eq!(made.header("ringdown-config-applied"), "true", "the answer comes when the router runs it");
        let agent = made.id();
        Self { world, tenant, queue, agent }
    }

    fn root(&self) -> &Caller {
        &self.world.root
    }

    fn at(&self, rest: &str) -> String {
        format!("{}{rest}", self.tenant)
    }

    async fn status(&self, caller: &Caller, body: Value) -> Answer {
        caller.put(&self.at(&format!("/agents/{}/status", self.agent)), body).await
    }

    async fn create(&self, body: Value) -> Answer {
        self.root().post(&self.at("/interactions"), body).await
    }

    async fn interaction(&self, id: &str) -> Value {
        self.root().get(&self.at(&format!("/interactions/{id}"))).await.expect(200).body
    }
}

#[tokio::test]
async fn an_interaction_meets_an_agent_and_ends() {
    let house = House::build().await;
    let root = house.root();
    let ready = house.status(root, json!({ "status": "ready" })).await.expect(200);
    assert!(ready.body["available_since_ms"].is_u64(), "{}", ready.text);

    let task = json!({ "requirements": [{ "skill": "german", "min_level": 2 }], "attributes": { "order": "42" } });
    let made = house.create(task).await.expect(201);
    assert_eq!(made.body["state"]["kind"], "connected", "direct delivery assigns at once: {}", made.text);
    assert_eq!(made.body["state"]["agent"], house.agent);
    let id = made.id();
    assert_eq!(house.interaction(&id).await, made.body);
    assert!(made.header("location").ends_with(&id));

    let second = house.create(json!({ "queue": house.queue, "priority": 3 })).await.expect(201);
    assert_eq!(second.body["state"]["kind"], "waiting");
    assert_eq!(second.body["requirements"], json!([{ "skill": "english", "min_level": 1 }]));
    let acd = root.get(&house.at("/acd")).await.expect(200);
    assert_eq!((&acd.body["live_interactions"], &acd.body["waiting_interactions"]), (&json!(2), &json!(1)));
    let waiting = root.get(&house.at("/interactions?state=waiting")).await.expect(200);
    assert_eq!(waiting.body["items"].as_array().expect("items").len(), 1);
    let figures = root.get(&house.at(&format!("/queues/{}/live", house.queue))).await.expect(200);
    assert_eq!((&figures.body["waiting"], &figures.body["staffed_agents"]), (&json!(1), &json!(1)), "{}", figures.text);

    let ended = root.post(&house.at(&format!("/interactions/{id}/end")), json!({})).await.expect(200);
    assert_eq!(ended.body["state"]["reason"], "completed");
    root.post(&house.at(&format!("/interactions/{id}/end")), json!({})).await.expect(200);
    let story = root.get(&house.at(&format!("/interactions/{id}/history"))).await.expect(200);
    let kinds: Vec<&str> =
        story.body["items"].as_array().expect("items").iter().filter_map(|e| e["event"]["kind"].as_str()).collect();
    assert_eq!(kinds.last(), Some(&"interaction_ended"), "{kinds:?}");
    let offered =
        story.body["items"].as_array().expect("items").iter().find(|e| e["event"]["kind"] == "interaction_offered");
    let decision = &offered.expect("an offer")["event"]["decision"];
    assert_eq!(decision["agents"][0]["agent"], house.agent, "the winner is told: {}", story.text);

    // The task without a queue has no wrap-up, so the waiting one follows at once; it has one.
    let second = second.id();
    assert_eq!(house.interaction(&second).await["state"]["kind"], "connected");
    root.post(&house.at(&format!("/interactions/{second}/end")), json!({})).await.expect(200);
    let path = house.at(&format!("/agents/{}", house.agent));
    let wrapping = root.get(&format!("{path}/status")).await.expect(200);
    assert_eq!(wrapping.body["state"]["kind"], "wrapping_up", "{}", wrapping.text);
    let done = root.send(root.request(Method::POST, &format!("{path}/finish-wrap-up"))).await.expect(200);
    assert_eq!(done.body["state"]["kind"], "idle");
}

#[tokio::test]
async fn a_key_creates_one_interaction() {
    let house = House::build().await;
    let root = house.root();
    let send = async |key: &str, body: Value| {
        let request = root.request(Method::POST, &house.at("/interactions")).header("idempotency-key", key);
        root.send(request.json(&body)).await
    };
    let task = json!({ "queue": house.queue, "attributes": { "n": "1" } });
    let first = send("k", task.clone()).await.expect(201);
    let again = send("k", task.clone()).await.expect(201);
    assert_eq!(first.id(), again.id());
    send("k", json!({ "queue": house.queue, "attributes": { "n": "2" } })).await.refuses(422, "Idempotency-Key");
    assert_ne!(send("k2", task).await.expect(201).id(), first.id());
    let acd = root.get(&house.at("/acd")).await.expect(200);
    assert_eq!(acd.body["live_interactions"], 2);
}

#[tokio::test]
async fn a_desktop_accepts_and_rejects_offers() {
    let house = House::build().await;
    let ada = house.world.user("ada", "agent", Some(&house.tenant), Some(&house.agent)).await;
    house.status(&ada, json!({ "status": "ready" })).await.expect(200);
    let ring = json!({ "queue": house.queue, "delivery": "ring" });
    let made = house.create(ring.clone()).await.expect(201);
    assert_eq!(made.body["state"]["kind"], "offered", "{}", made.text);
    let offer = made.body["state"]["offer"].clone();
    let path = house.at(&format!("/interactions/{}", made.id()));
    assert_eq!(ada.get(&path).await.expect(200).body, made.body, "agents see what is offered to them");

    let nothing = json!({ "offer": "0190b5a0-0000-7000-8000-000000000001" });
    assert_eq!(ada.post(&format!("{path}/accept"), nothing).await.expect(409).body["code"], "stale_offer");
    let rejected = ada.post(&format!("{path}/reject"), json!({ "offer": offer })).await.expect(200);
    assert_eq!(rejected.body["state"]["kind"], "waiting");
    let status = house.root().get(&house.at(&format!("/agents/{}/status", house.agent))).await.expect(200);
    assert_eq!(status.body["status"], json!({ "kind": "not_ready", "reason": "rejected" }));

    house.status(&ada, json!({ "status": "ready" })).await.expect(200);
    let offered = ada.get(&path).await.expect(200);
    assert_eq!(offered.body["state"]["kind"], "offered");
    assert_ne!(offered.body["state"]["offer"], offer, "a new offer has a new id");
    let accept = json!({ "offer": offered.body["state"]["offer"] });
    let accepted = ada.post(&format!("{path}/accept"), accept).await.expect(200);
    assert_eq!(accepted.body["state"]["kind"], "connected");
    ada.post(&format!("{path}/end"), json!({ "reason": "completed" })).await.expect(200);
}

#[tokio::test]
async fn agents_touch_only_what_is_theirs() {
    let house = House::build().await;
    let bob = house
        .root()
        .post(&house.at("/agents"), json!({ "name": "Bob", "skills": { "english": 1 } }))
        .await
        .expect(201)
        .id();
    let ada = house.world.user("ada", "agent", Some(&house.tenant), Some(&house.agent)).await;
    let bob_status = house.at(&format!("/agents/{bob}/status"));
    ada.put(&bob_status, json!({ "status": "ready" })).await.expect(403);
    ada.get(&bob_status).await.expect(403);
    house.root().put(&bob_status, json!({ "status": "ready" })).await.expect(200);
    let made = house.create(json!({ "queue": house.queue })).await.expect(201);
    assert_eq!(made.body["state"]["agent"], bob);
    let path = house.at(&format!("/interactions/{}", made.id()));
    ada.get(&path).await.expect(404);
    ada.post(&format!("{path}/end"), json!({})).await.expect(404);
    ada.get(&house.at("/interactions")).await.expect(403);
    ada.get(&format!("{path}/history")).await.expect(403);
}

#[tokio::test]
async fn the_acd_opens_and_closes() {
    let house = House::build().await;
    let root = house.root();
    let open = root.put(&house.at("/acd"), json!({ "open": true })).await.expect(200);
    assert_eq!(open.body["open"], true);
    let path = house.at("/live/agents?available=true");
    assert_eq!(root.get(&path).await.expect(200).body["items"].as_array().expect("items").len(), 1);
    let closed = root.put(&house.at("/acd"), json!({ "open": false })).await.expect(200);
    assert_eq!(closed.body["open"], false);
    assert_eq!(root.get(&path).await.expect(200).body["items"], json!([]));
    let closed = root.get(&house.at("/live/agents?status=not_ready")).await.expect(200);
    assert_eq!(closed.body["items"][0]["status"]["reason"], "acd_closed");
}

#[tokio::test]
async fn what_the_router_refuses_is_a_clear_4xx() {
    let house = House::build().await;
    let root = house.root();
    house.create(json!({ "requirements": [] })).await.refuses(422, "requirements");
    house.create(json!({ "requirements": [{ "skill": "klingon" }] })).await.refuses(422, "requirements");
    house.create(json!({ "queue": house.agent })).await.refuses(422, "queue");
    house.status(root, json!({ "status": "ready", "reason": "lunch" })).await.refuses(422, "reason");
    house.status(root, json!({ "status": "sleeping" })).await.refuses(422, "status");
    house.status(root, json!({ "status": "not_ready", "reason": "Not A Code" })).await.refuses(422, "reason");
    let nobody = house.at(&format!("/agents/{}/status", house.queue));
    root.put(&nobody, json!({ "status": "ready" })).await.expect(404);
    root.get(&nobody).await.expect(404);
    root.get(&house.at(&format!("/interactions/{}", house.queue))).await.expect(404);
    root.post(&house.at(&format!("/interactions/{}/end", house.queue)), json!({})).await.expect(404);
    let foreign = format!("/tenants/{}/acd", house.queue);
    root.put(&foreign, json!({ "open": true })).await.expect(404);
    root.get(&foreign).await.expect(404);
}

#[tokio::test]
async fn new_skills_count_for_who_waits() {
    let house = House::build().await;
    let root = house.root();
    root.post(&house.at("/skills"), json!({ "name": "french" })).await.expect(201);
    house.status(root, json!({ "status": "ready" })).await.expect(200);
    let before = root.get(&house.at(&format!("/agents/{}/status", house.agent))).await.expect(200);
    let made = house.create(json!({ "requirements": [{ "skill": "french" }] })).await.expect(201);
    assert_eq!(made.body["state"]["kind"], "waiting");
    let path = house.at(&format!("/agents/{}/skills/french", house.agent));
    let given = root.put(&path, json!({ "level": 3 })).await.expect(200);
    assert_eq!(given.header("ringdown-config-applied"), "true");
    let id = made.id();
    wait_until(PATIENCE, "the interaction meets the agent", async || {
        (house.interaction(&id).await["state"]["kind"] == "connected").then_some(())
    })
    .await;
    assert!(before.body["available_since_ms"].is_u64());
    // Removed everywhere: nobody has it, and nothing can ask for it any more.
    root.delete(&house.at("/skills/french")).await.expect(204);
    house.create(json!({ "requirements": [{ "skill": "french" }] })).await.refuses(422, "requirements");
    let provisioning = root.get(&house.at("/provisioning")).await.expect(200);
    assert_eq!(provisioning.body["written"], provisioning.body["router"], "{}", provisioning.text);
    assert!(!provisioning.body["hosts"].as_object().expect("hosts").is_empty(), "{}", provisioning.text);
}

#[tokio::test]
async fn nobody_waits_who_does_not_want_to() {
    let house = House::build().await;
    let root = house.root();
    let request = root.request(Method::POST, &house.at("/agents")).header("prefer", "respond-async");
    let made = root.send(request.json(&json!({ "name": "Eve" }))).await.expect(201);
    assert!(["true", "false"].contains(&made.header("ringdown-config-applied")));
    // Asked at once, the router may not know the agent yet; the caller does not have to care.
    let path = house.at(&format!("/agents/{}/status", made.id()));
    root.put(&path, json!({ "status": "ready" })).await.expect(200);
}

#[tokio::test]
async fn the_same_key_twice_at_the_same_time_gets_one_outcome() {
    let world = World::live().await;
    let root = world.root.clone();
    let tenant = world.tenant("twice.example").await;
    root.post(&format!("{tenant}/skills"), json!({ "name": "english" })).await.expect(201);
    for round in 0..10 {
        let asks: Vec<_> = (0..4)
            .map(|_| {
                let (root, path) = (root.clone(), format!("{tenant}/interactions"));
                tokio::spawn(async move {
                    let request = root.request(Method::POST, &path);
                    let request = request.header("idempotency-key", format!("twice-{round}"));
                    root.send(request.json(&json!({ "requirements": [{ "skill": "english" }] }))).await
                })
            })
            .collect();
        let mut ids = std::collections::BTreeSet::new();
        for ask in asks {
            ids.insert(ask.await.expect("an answer").expect(201).id());
        }
        assert_eq!(ids.len(), 1, "round {round}");
    }
}

#[tokio::test]
async fn ended_interactions_are_listed_and_a_repeat_gets_the_first_answer() {
    let world = World::live().await;
    let root = world.root.clone();
    let tenant = world.tenant("ended.example").await;
    let unknown = json!({ "requirements": [{ "skill": "klingon" }] });
    let refused = root.post(&format!("{tenant}/interactions"), unknown).await.refuses(422, "requirements");
    assert!(refused.text.contains("klingon"), "{}", refused.text);
    root.post(&format!("{tenant}/skills"), json!({ "name": "english" })).await.expect(201);
    let mut ended = Vec::new();
    for number in 0..3 {
        let path = format!("{tenant}/interactions");
        let send = async || {
            let request = root.request(Method::POST, &path).header("idempotency-key", format!("e{number}"));
            root.send(request.json(&json!({ "requirements": [{ "skill": "english" }] }))).await.expect(201)
        };
        let made = send().await;
        root.post(&format!("{path}/{}/end", made.id()), json!({})).await.expect(200);
        let repeat = send().await;
        assert_eq!(repeat.body, made.body, "the first answer, though it has ended since");
        assert_eq!(repeat.header("idempotency-replayed"), "true");
        ended.insert(0, made.id());
        let request = root.request(Method::POST, &path).header("idempotency-key", format!("e{number}"));
        root.send(request.json(&json!({ "requirements": [{ "skill": "english" }], "priority": 9 })))
            .await
            .refuses(422, "Idempotency-Key");
    }
    let mut listed = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = root.get(&format!("{tenant}/interactions?state=ended&limit=2{cursor}")).await.expect(200);
        for item in page.body["items"].as_array().expect("items") {
            assert_eq!(item["state"]["kind"], "ended");
            listed.push(item["id"].as_str().expect("an id").to_owned());
        }
        let Some(next) = page.body["next_cursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(listed, ended);
}

#[tokio::test]
async fn the_websocket_is_found_and_described() {
    let world = World::configuration().await;
    let found = world.root.get("/websocket").await.expect(200);
    assert_eq!(found.body["url"], "ws://127.0.0.1:8001/ws");
    let document = world.root.get("/asyncapi.json").await.expect(200).body;
    assert_eq!(document["asyncapi"], "3.0.0");
    for name in ["ClientMessage", "ServerMessage", "LiveEvent", "LiveAgent", "Interaction"] {
        assert!(document["components"]["schemas"][name].is_object(), "{name}");
    }
}

#[tokio::test]
async fn agents_read_the_directory_and_what_they_had_themselves() {
    let house = House::build().await;
    let root = house.root();
    let bob = root.post(&house.at("/agents"), json!({ "name": "Bob" })).await.expect(201).id();
    house.status(root, json!({ "status": "ready" })).await.expect(200);
    let task = house.create(json!({ "queue": house.queue })).await.expect(201).id();
    let ada = house.world.user("ada", "agent", Some(&house.tenant), Some(&house.agent)).await;

    let directory = ada.get(&house.at("/directory")).await.expect(200).body;
    assert_eq!(directory["queues"], json!([{ "id": house.queue, "name": "Sales", "recorded": false }]));
    let named =
        |name: &str| directory["agents"].as_array().unwrap().iter().find(|agent| agent["name"] == name).unwrap();
    assert_eq!((&named("Ada")["status"], &named("Ada")["state"]), (&json!("ready"), &json!("talking")));
    assert_eq!(named("Bob")["status"], "logged_out");
    assert!(!directory.to_string().contains(&task), "with whom colleagues speak is theirs");
    let found = ada.get(&house.at("/directory?search=bO")).await.expect(200).body;
    assert_eq!(found["agents"].as_array().unwrap().len(), 1, "{found}");
    ada.get(&house.at("/directory?search=")).await.expect(400);

    let own = house.at(&format!("/agents/{}/interactions", house.agent));
    assert_eq!(ada.get(&own).await.expect(200).body["items"], json!([]), "it has not ended");
    ada.post(&house.at(&format!("/interactions/{task}/end")), json!({})).await.expect(200);
    let ended = ada.get(&format!("{own}?state=ended&limit=50")).await.expect(200).body;
    assert_eq!(ended["items"][0]["id"], json!(task), "{ended}");
    ada.get(&house.at(&format!("/agents/{bob}/interactions"))).await.expect(403);
}

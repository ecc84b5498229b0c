//! Configuration: each resource's life, ETags, Idempotency-Keys, paging, what refers to what, and that tenants do not see
//! each other.

mod world;

use reqwest::Method;
use serde_json::{Value, json};
use world::{Caller, World};

/// Makes, reads, lists, changes and removes one object of a resource.
async fn check_life(root: &Caller, path: &str, new: Value, patch: Value, changed: &str) {
    let made = root.post(path, new).await.expect(201);
    assert_eq!(made.header("ringdown-config-applied"), "false", "there is no router here");
    let location = made.header("location").trim_start_matches("/api/v1").to_owned();
    let read = root.get(&location).await.expect(200);
    assert_eq!(read.body, made.body);
    let etag = read.header("etag").to_owned();
    assert_eq!(etag, made.header("etag"), "{path}");
    let listed = root.get(path).await.expect(200);
    assert!(listed.body["items"].as_array().expect("items").contains(&read.body), "{path}: {}", listed.text);

    let stale = root.request(Method::PATCH, &location).header("if-match", "\"0\"").json(&patch);
    root.send(stale).await.refuses(412, "If-Match");
    let fresh = root.request(Method::PATCH, &location).header("if-match", &etag).json(&patch);
    let after = root.send(fresh).await.expect(200);
    assert_ne!(after.header("etag"), etag);
    assert_eq!(after.body[changed], patch[changed], "{path}");
    assert_eq!(root.patch(&location, json!({})).await.expect(200).body, after.body, "nothing asked, nothing changed");

    let stale = root.request(Method::DELETE, &location).header("if-match", &etag);
    root.send(stale).await.refuses(412, "If-Match");
    root.delete(&location).await.expect(204);
    root.get(&location).await.expect(404);
    root.delete(&location).await.expect(404);
}

#[tokio::test]
async fn resources_live_and_die() {
    let world = World::configuration().await;
    let root = &world.root;
    let tenant = world.tenant("life.example").await;
    let at = |resource: &str| format!("{tenant}/{resource}");
    root.post(&at("skills"), json!({ "name": "english" })).await.expect(201);
    let queue = root.post(&at("queues"), json!({ "name": "Sales" })).await.expect(201).id();

    let skill = json!({ "name": "german", "description": "Guten Tag" });
    check_life(root, &at("skills"), skill, json!({ "description": "Moin" }), "description").await;
    let agent = json!({ "name": "Ada", "skills": { "english": 7 }, "sip_user": "1001", "sip_password": "eight-8888x" });
    check_life(root, &at("agents"), agent, json!({ "skills": { "english": 3 } }), "skills").await;
    let rules =
        json!({ "name": "Support", "requirements": [{ "skill": "english", "min_level": 2 }], "wrap_up_ms": 5000 });
    check_life(root, &at("queues"), rules, json!({ "wait_limit_ms": 60_000 }), "wait_limit_ms").await;
    let trunk = json!({ "name": "Carrier", "sources": ["192.0.2.0/24", "2001:db8::7"] });
    check_life(root, &at("trunks"), trunk, json!({ "capacity": 7 }), "capacity").await;
    check_life(root, &at("routes"), json!({ "did": "+4930", "queue": queue }), json!({ "did": "+4940" }), "did").await;
}

#[tokio::test]
async fn tenants_and_users_live_and_die() {
    let world = World::configuration().await;
    let root = &world.root;
    let tenant = world.tenant("Folded.Example").await;
    let read = root.get(&tenant).await.expect(200);
    assert_eq!(read.body["realm"], "folded.example");
    root.post("/tenants", json!({ "name": "x", "realm": "FOLDED.example" })).await.refuses(409, "realm");
    root.patch(&tenant, json!({ "realm": "other.example" })).await.refuses(422, "realm");
    root.patch(&tenant, json!({ "name": "Other" })).await.expect(200);

    let id = tenant.trim_start_matches("/tenants/");
    let agent = root.post(&format!("{tenant}/agents"), json!({ "name": "Ada" })).await.expect(201).id();
    let user = |login: &str, role: &str, tenant: Value, agent: Value| json!({ "login": login, "name": "U", "password": "long enough", "role": role, "tenant": tenant, "agent": agent });
    root.post("/users", user("a", "agent", json!(id), Value::Null)).await.refuses(422, "agent");
    root.post("/users", user("a", "agent", Value::Null, json!(agent))).await.refuses(422, "tenant");
    root.post("/users", user("a", "administrator", json!(id), json!(agent))).await.refuses(422, "agent");
    root.post("/users", user("a", "agent", json!(id), json!(id))).await.refuses(422, "agent");
    let made = root.post("/users", user("a", "agent", json!(id), json!(agent))).await.expect(201);
    assert!(!made.text.contains("long enough") && !made.text.contains("argon2"));
    root.post("/users", user("A", "supervisor", json!(id), Value::Null)).await.refuses(409, "login");
    let path = format!("/users/{}", made.id());
    assert_eq!(root.get(&path).await.expect(200).body, made.body);
    let filtered = root.get(&format!("/users?tenant={id}&role=agent")).await.expect(200);
    assert_eq!(filtered.body["items"], json!([made.body]));
    root.patch(&path, json!({ "role": "supervisor", "agent": null })).await.expect(200);
    root.delete(&tenant).await.expect(204);
    root.get(&path).await.expect(404);
    root.get(&tenant).await.expect(404);
}

#[tokio::test]
async fn an_idempotency_key_makes_a_write_happen_once() {
    let world = World::configuration().await;
    let root = &world.root;
    let tenant = world.tenant("once.example").await;
    let path = format!("{tenant}/agents");
    let send = async |key: &str, name: &str| {
        let request = root.request(Method::POST, &path).header("idempotency-key", key);
        root.send(request.json(&json!({ "name": name }))).await
    };
    let (first, second) = tokio::join!(send("k", "Ada"), send("k", "Ada"));
    let (first, second) = (first.expect(201), second.expect(201));
    assert_eq!(first.body, second.body, "two at once are one");
    assert_eq!(first.header("location"), second.header("location"));
    let replayed = [&first, &second].iter().filter(|answer| answer.header("idempotency-replayed") == "true").count();
    assert_eq!(replayed, 1);
    send("k", "Bob").await.refuses(422, "Idempotency-Key");
    send("k2", "Ada").await.expect(201);
    send(&"x".repeat(129), "Ada").await.refuses(400, "Idempotency-Key");
    assert_eq!(root.get(&path).await.expect(200).body["items"].as_array().expect("items").len(), 2);

    let remove = async || {
        let request = root.request(Method::DELETE, &format!("{path}/{}", first.id()));
        root.send(request.header("idempotency-key", "gone")).await
    };
    remove().await.expect(204);
    remove().await.expect(204);
    // A refusal takes nothing: the key is free for the right request.
    let request = root
        .request(Method::POST, &path)
        .header("idempotency-key", "r")
        .json(&json!({ "name": "X", "skills": { "no": 1 } }));
    root.send(request).await.refuses(422, "skills");
    send("r", "Eve").await.expect(201);
}

#[tokio::test]
async fn lists_are_paged_without_gap_or_double() {
    let world = World::configuration().await;
    let root = &world.root;
    let tenant = world.tenant("pages.example").await;
    let path = format!("{tenant}/skills");
    let mut names: Vec<String> = (0..23).map(|n| format!("skill-{n}")).collect();
    for name in &names {
        root.post(&path, json!({ "name": name })).await.expect(201);
    }
    names.sort();
    let mut found = Vec::new();
    let mut next = format!("{path}?limit=10");
    loop {
        let page = root.get(&next).await.expect(200);
        let items = page.body["items"].as_array().expect("items");
        assert!(items.len() <= 10);
        found.extend(items.iter().map(|item| item["name"].as_str().expect("name").to_owned()));
        match page.body["next_cursor"].as_str() {
            Some(cursor) => next = format!("{path}?limit=10&cursor={cursor}"),
            None => break,
        }
    }
    assert_eq!(found, names);
    for (query, field) in [
        ("limit=0", "limit"),
        ("limit=501", "limit"),
        ("limit=x", "limit"),
        ("cursor=%00", "cursor"),
        ("colour=red", "colour"),
    ] {
        root.get(&format!("{path}?{query}")).await.refuses(400, field);
    }
}

#[tokio::test]
async fn skills_are_added_removed_and_removed_everywhere() {
    let world = World::configuration().await;
    let root = &world.root;
    let tenant = world.tenant("skills.example").await;
    for name in ["english", "german"] {
        root.post(&format!("{tenant}/skills"), json!({ "name": name })).await.expect(201);
    }
    root.post(&format!("{tenant}/skills"), json!({ "name": "english" })).await.refuses(409, "name");
    let agent = root.post(&format!("{tenant}/agents"), json!({ "name": "Ada" })).await.expect(201);
    let path = format!("{tenant}/agents/{}", agent.id());
    let after = root.put(&format!("{path}/skills/english"), json!({ "level": 4 })).await.expect(200);
    assert_eq!(after.body["skills"], json!({ "english": 4 }));
    assert_ne!(after.header("etag"), agent.header("etag"));
    root.put(&format!("{path}/skills/german"), json!({})).await.expect(200);
    root.put(&format!("{path}/skills/french"), json!({})).await.refuses(422, "skill");
    root.put(&format!("{path}/skills/english"), json!({ "level": 11 })).await.refuses(422, "level");
    let after = root.delete(&format!("{path}/skills/german")).await.expect(200);
    assert_eq!(after.body["skills"], json!({ "english": 4 }));
    root.delete(&format!("{path}/skills/german")).await.expect(404);

    let needs = json!({ "name": "Q", "requirements": [{ "skill": "english" }] });
    let queue = root.post(&format!("{tenant}/queues"), needs).await.expect(201).id();
    let refused = root.delete(&format!("{tenant}/skills/english")).await.expect(409);
    assert_eq!(refused.body["code"], "skill_in_use");
    root.delete(&format!("{tenant}/skills/english?from_queues=true")).await.expect(204);
    assert_eq!(root.get(&path).await.expect(200).body["skills"], json!({}));
    assert_eq!(root.get(&format!("{tenant}/queues/{queue}")).await.expect(200).body["requirements"], json!([]));
}

#[tokio::test]
async fn phones_need_user_and_password_together() {
    let world = World::configuration().await;
    let root = &world.root;
    let tenant = world.tenant("phones.example").await;
    let path = format!("{tenant}/agents");
    for weak in ["12345678", "1234567890", "aaaaaaaaaaaa", "phone-of-1001"] {
        let body = json!({ "name": "W", "sip_user": "1001", "sip_password": weak });
        root.post(&path, body).await.refuses(422, "sip_password");
    }
    let drawn = root.post(&path, json!({ "name": "D", "sip_user": "77" })).await.expect(201);
    assert_eq!(drawn.body["sip_password"].as_str().map(str::len), Some(20), "a strong one is made: {}", drawn.text);
    let again = root.get(&format!("{path}/{}", drawn.id())).await.expect(200);
    assert!(again.body["sip_password"].is_null(), "shown once: {}", again.text);
    root.post(&path, json!({ "name": "A", "sip_password": "eight-8888x" })).await.refuses(422, "sip_password");
    let made =
        root.post(&path, json!({ "name": "A", "sip_user": "1", "sip_password": "eight-8888x" })).await.expect(201);
    assert!(!made.text.contains("eight888") && !made.text.contains("ha1"));
    root.post(&path, json!({ "name": "B", "sip_user": "1", "sip_password": "eight-8888x" }))
        .await
        .refuses(409, "sip_user");
    let agent = format!("{path}/{}", made.id());
    let renamed = root.patch(&agent, json!({ "sip_user": "2" })).await.expect(200);
    assert_eq!(renamed.body["sip_password"].as_str().map(str::len), Some(20), "{}", renamed.text);
    root.patch(&agent, json!({ "sip_user": "2", "sip_password": "eight-8888x" })).await.expect(200);
    root.patch(&agent, json!({ "sip_password": "nine-99999x" })).await.expect(200);
    let none = root.patch(&agent, json!({ "sip_user": null })).await.expect(200);
    assert!(none.body["sip_user"].is_null());
    root.patch(&agent, json!({ "sip_password": "nine-99999x" })).await.refuses(422, "sip_password");
}

#[tokio::test]
async fn what_is_referred_to_is_not_removed() {
    let world = World::configuration().await;
    let root = &world.root;
    let tenant = world.tenant("refs.example").await;
    let other = world.tenant("other.example").await;
    let queue = root.post(&format!("{tenant}/queues"), json!({ "name": "Q" })).await.expect(201).id();
    let foreign = root.post(&format!("{other}/queues"), json!({ "name": "Q" })).await.expect(201).id();
    let trunk = json!({ "name": "T", "sources": ["192.0.2.1"] });
    let trunk = root.post(&format!("{tenant}/trunks"), trunk).await.expect(201).id();
    let routes = format!("{tenant}/routes");
    root.post(&routes, json!({ "did": "1", "queue": foreign })).await.refuses(422, "queue");
    root.post(&routes, json!({ "did": "1", "queue": queue, "trunk": foreign })).await.refuses(422, "trunk");
    let route = root.post(&routes, json!({ "did": "1", "queue": queue, "trunk": trunk })).await.expect(201).id();
    root.post(&routes, json!({ "did": "1", "queue": queue })).await.refuses(409, "did");
    assert_eq!(root.delete(&format!("{tenant}/queues/{queue}")).await.expect(409).body["code"], "queue_in_use");
    assert_eq!(root.delete(&format!("{tenant}/trunks/{trunk}")).await.expect(409).body["code"], "trunk_in_use");
    root.patch(&format!("{routes}/{route}"), json!({ "trunk": null })).await.expect(200);
    root.delete(&format!("{tenant}/trunks/{trunk}")).await.expect(204);
}

#[tokio::test]
async fn every_change_raises_the_revision() {
    let world = World::configuration().await;
    let root = &world.root;
    let tenant = world.tenant("revisions.example").await;
    let mut last = 0;
    for n in 0..5 {
        let answer = root.post(&format!("{tenant}/skills"), json!({ "name": format!("s{n}") })).await.expect(201);
        let revision: u64 = answer.header("ringdown-config-revision").parse().expect("a number");
        assert!(revision > last, "{revision} after {last}");
        last = revision;
    }
}

#[tokio::test]
async fn a_source_belongs_to_one_tenant() {
    let world = World::configuration().await;
    let root = &world.root;
    let (a, b) = (world.tenant("a.example").await, world.tenant("b.example").await);
    let trunk = |name: &str, source: &str| json!({ "name": name, "sources": [source] });
    root.post(&format!("{a}/trunks"), trunk("A", "192.0.2.7")).await.expect(201);
    for overlapping in ["192.0.2.7", "192.0.2.0/24", "192.0.2.7/32"] {
        let refused = root.post(&format!("{b}/trunks"), trunk("B", overlapping)).await.refuses(409, "sources");
        assert!(!refused.text.contains(a.trim_start_matches("/tenants/")), "whose it is is not told: {}", refused.text);
    }
    let older = root.post(&format!("{b}/trunks"), trunk("B", "198.51.100.0/24")).await.expect(201);
    let older = format!("{b}/trunks/{}", older.id());
    root.patch(&older, json!({ "sources": ["192.0.0.0/16"] })).await.refuses(409, "sources");
    root.patch(&older, json!({ "sources": ["198.51.100.0/25"], "name": "B2" })).await.expect(200);
    // A network and an address inside it may be two trunks of one tenant; the same source may not.
    root.post(&format!("{b}/trunks"), trunk("C", "198.51.100.5")).await.expect(201);
    root.post(&format!("{b}/trunks"), trunk("D", "198.51.100.5")).await.refuses(409, "sources");

    let options = ringdown_redis_store::RedisOptions::from_url(&world.redis.url()).expect("a URL");
    let pool = ringdown_redis_store::RedisPool::new(options, ringdown_redis_store::StoreMetrics::default());
    let now = ringdown_service::Clock::system().now();
    let addresses = vec!["10.0.0.5".parse().expect("an address")];
    let sign = ringdown_redis_store::RendererSign { at_ms: now, addresses };
    ringdown_redis_store::ConfigReader::new(pool, "asterisk", "voice-1".to_owned())
        .sign_as_renderer(&sign)
        .await
        .expect("Redis");
    root.post(&format!("{b}/trunks"), trunk("E", "10.0.0.0/8")).await.refuses(409, "sources");
}

#[tokio::test]
async fn of_two_tenants_that_want_one_source_at_the_same_time_one_gets_it() {
    let world = World::configuration().await;
    let mut tenants = Vec::new();
    for number in 0..6 {
        tenants.push(world.tenant(&format!("t{number}.example")).await);
    }
    for round in 0..5 {
        let asks: Vec<_> = tenants
            .iter()
            .map(|tenant| {
                let (root, path) = (world.root.clone(), format!("{tenant}/trunks"));
                let body = json!({ "name": format!("T{round}"), "sources": [format!("203.0.113.{round}")] });
                tokio::spawn(async move { root.post(&path, body).await.status })
            })
            .collect();
        let mut made = 0;
        for ask in asks {
            made += usize::from(ask.await.expect("an answer") == 201);
        }
        assert_eq!(made, 1, "round {round}");
    }
}

#[tokio::test]
async fn a_key_with_another_secret_is_another_request() {
    let world = World::configuration().await;
    let send = async |password: &str| {
        let body = json!({ "login": "kim", "name": "Kim", "password": password, "role": "administrator" });
        let request = world.root.request(Method::POST, "/users").header("idempotency-key", "kim-1").json(&body);
        world.root.send(request).await
    };
    let made = send("correct horse battery").await.expect(201);
    let repeat = send("correct horse battery").await.expect(201);
    assert_eq!((repeat.id(), repeat.header("idempotency-replayed")), (made.id(), "true"));
    send("another password").await.refuses(422, "Idempotency-Key");
    world.root.log_in("kim", "correct horse battery").await.expect(201);
}

#[tokio::test]
async fn a_tenant_has_quotas() {
    let world = World::configuration_with(&[("RINGDOWN_WEB_API_QUOTA_AGENTS", "2")]).await;
    let root = &world.root;
    let tenant = world.tenant("quota.example").await;
    let path = format!("{tenant}/agents");
    for name in ["A", "B"] {
        root.post(&path, json!({ "name": name })).await.expect(201);
    }
    let refused = root.post(&path, json!({ "name": "C" })).await.refuses(409, "agents");
    assert_eq!(refused.body["code"], "quota_exceeded");
    let shown = root.get(&format!("{tenant}/quotas")).await.expect(200);
    let agents = shown.body["items"].as_array().expect("items").iter().find(|item| item["quota"] == "agents");
    assert_eq!(agents.expect("agents")["used"], 2, "{}", shown.text);
    let other = world.tenant("other.example").await;
    root.post(&format!("{other}/agents"), json!({ "name": "C" })).await.expect(201);
}

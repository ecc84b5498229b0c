//! Stores and routers away: clear answers, never a 500, and everything works again by itself.

mod world;

use reqwest::Method;
use ringdown_test_support::wait_until;
use serde_json::json;
use world::{Answer, PASSWORD, PATIENCE, World};

fn is_away(answer: &Answer) {
    assert_eq!(answer.status, 503, "{}", answer.text);
    assert_eq!(answer.header("content-type"), "application/problem+json");
    assert!(answer.header("retry-after").parse::<u64>().is_ok(), "503 says when to come back");
}

#[tokio::test]
async fn postgres_dies_and_comes_back() {
    let mut world = World::live().await;
    let root = world.root.clone();
    let tenant = world.tenant("pg.example").await;
    root.post(&format!("{tenant}/skills"), json!({ "name": "english" })).await.expect(201);
    let agent = json!({ "name": "Ada", "skills": { "english": 1 } });
    let agent = root.post(&format!("{tenant}/agents"), agent).await.expect(201).id();
    let status = format!("{tenant}/agents/{agent}/status");
    root.put(&status, json!({ "status": "not_ready" })).await.expect(200);
    world.postgres.kill9().expect("kill");

    is_away(&root.get(&format!("{tenant}/agents")).await);
    is_away(&root.post(&format!("{tenant}/skills"), json!({ "name": "german" })).await);
    is_away(&root.log_in("admin", PASSWORD).await);
    // Routing goes on: sessions and commands need Redis only.
    root.get("/sessions/current").await.expect(200);
    root.put(&status, json!({ "status": "ready" })).await.expect(200);
    let task = json!({ "requirements": [{ "skill": "english" }] });
    let made = root.post(&format!("{tenant}/interactions"), task).await.expect(201);
    assert_eq!(made.body["state"]["kind"], "connected");

    world.postgres.restart().await.expect("PostgreSQL");
    wait_until(PATIENCE, "changes are accepted again", async || {
        let answer = root.post(&format!("{tenant}/skills"), json!({ "name": "german" })).await;
        matches!(answer.status, 201 | 409).then_some(())
    })
    .await;
}

#[tokio::test]
async fn redis_dies_and_comes_back() {
    let mut world = World::live().await;
    let root = world.root.clone();
    let tenant = world.tenant("redis.example").await;
    world.redis.kill9().expect("kill");
    is_away(&root.get(&tenant).await);
    is_away(&root.put(&format!("{tenant}/acd"), json!({ "open": true })).await);
    is_away(&root.log_in("admin", PASSWORD).await);
    assert_eq!(world.api.get("/livez").await.expect("an answer").status, 200);
    assert_eq!(world.api.get("/readyz").await.expect("an answer").status, 503);

    world.redis.restart().await.expect("Redis");
    wait_until(PATIENCE, "commands are answered again", async || {
        (root.put(&format!("{tenant}/acd"), json!({ "open": true })).await.status == 200).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_router_that_is_away_leaves_the_outcome_unknown() {
    let mut world = World::live().await;
    let root = world.root.clone();
    let tenant = world.tenant("router.example").await;
    root.post(&format!("{tenant}/skills"), json!({ "name": "english" })).await.expect(201);
    root.get(&format!("{tenant}/acd")).await.expect(200);
    let acd = world.acd.as_mut().expect("the router");
    acd.kill9().expect("kill");
    let send = async || {
        let request = root.request(Method::POST, &format!("{tenant}/interactions")).header("idempotency-key", "once");
        root.send(request.json(&json!({ "requirements": [{ "skill": "english" }] }))).await
    };
    let unknown = send().await.expect(504);
    assert_eq!(unknown.body["code"], "outcome_unknown");
    acd.restart().expect("the router");
    let made = wait_until(PATIENCE, "the outcome is known", async || {
        let answer = send().await;
        (answer.status == 201).then_some(answer)
    })
    .await;
    assert_eq!(send().await.expect(201).id(), made.id());
    let acd = root.get(&format!("{tenant}/acd")).await.expect(200);
    assert_eq!(acd.body["live_interactions"], 1, "asked many times, made once");
}

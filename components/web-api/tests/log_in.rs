//! Log-in, log-out, API tokens, the first administrator.

mod world;

use serde_json::json;
use world::{PASSWORD, World, init_admin};

#[tokio::test]
async fn log_in_and_out() {
    let world = World::configuration().await;
    let root = &world.root;
    let current = root.get("/sessions/current").await.expect(200);
    assert_eq!(current.body["role"], "administrator");
    assert!(current.body["tenant"].is_null());
    assert!(!current.text.contains(root.token()), "a token is shown once");

    let wrong = root.log_in("admin", "wrong password").await.expect(401);
    let unknown = root.log_in("nobody", "wrong password").await.expect(401);
    assert_eq!(wrong.text, unknown.text, "nobody learns which logins exist");
    assert!(wrong.header("www-authenticate").starts_with("Bearer"));
    let folded = root.log_in("ADMIN", PASSWORD).await.expect(201);
    assert_eq!(folded.body["user"], current.body["user"]);

    root.delete("/sessions/current").await.expect(204);
    root.get("/sessions/current").await.expect(401);
    root.nobody().get("/sessions/current").await.expect(401);
    root.with_token("x").get("/sessions/current").await.expect(401);
    root.with_token(&"a".repeat(43)).get("/sessions/current").await.expect(401);
}

#[tokio::test]
async fn guessing_is_braked() {
    let world = World::configuration().await;
    let mut answers = Vec::new();
    for _ in 0..12 {
        answers.push(world.root.log_in("victim", "guess").await);
    }
    let braked: Vec<_> = answers.iter().filter(|answer| answer.status == 429).collect();
    assert_eq!(braked.len(), 2, "ten guesses, then the brake");
    assert!(braked[0].header("retry-after").parse::<u64>().expect("seconds") >= 1);
    assert_eq!(braked[0].body["code"], "too_many_attempts");
    world.root.log_in("admin", PASSWORD).await.expect(201);
}

#[tokio::test]
async fn expired_sessions_end() {
    let world = World::configuration().await;
    let user = world.root.get("/sessions/current").await.expect(200).body["user"].as_str().expect("id").to_owned();
    let made = world.root.post(&format!("/users/{user}/tokens"), json!({ "name": "short", "expires_in_s": 60 })).await;
    let token = made.expect(201).body["token"].as_str().expect("a token").to_owned();
    let program = world.root.with_token(&token);
    program.get("/tenants").await.expect(200);
    // The clock of the test cannot wait a minute: its end is moved in the database, and the remembered session removed.
    world
        .postgres
        .sql("postgres", "UPDATE api_tokens SET expires_at = now() - interval '1 second'")
        .await
        .expect("sql");
    program.delete("/sessions/current").await.expect(204);
    program.get("/tenants").await.expect(401);
}

#[tokio::test]
async fn api_tokens_act_until_they_are_revoked() {
    let world = World::configuration().await;
    let root = &world.root;
    let user = root.get("/sessions/current").await.expect(200).body["user"].as_str().expect("id").to_owned();
    let path = format!("/users/{user}/tokens");
    let request = root.request(reqwest::Method::POST, &path).header("idempotency-key", "t1");
    let made = root.send(request.json(&json!({ "name": "robot" }))).await.expect(201);
    let token = made.body["token"].as_str().expect("a token").to_owned();
    let robot = root.with_token(&token);
    robot.get("/tenants").await.expect(200);

    let request = root.request(reqwest::Method::POST, &path).header("idempotency-key", "t1");
    let repeat = root.send(request.json(&json!({ "name": "robot" }))).await.expect(201);
    assert!(repeat.body["token"].is_null(), "a token is shown once");
    assert_eq!(repeat.body["id"], made.body["id"]);
    let listed = root.get(&path).await.expect(200);
    assert_eq!(listed.body["items"].as_array().expect("items").len(), 1);
    assert!(!listed.text.contains(&token));

    root.delete(&format!("{path}/{}", made.id())).await.expect(204);
    robot.get("/tenants").await.expect(401);
    root.delete(&format!("{path}/{}", made.id())).await.expect(404);
}

#[tokio::test]
async fn a_changed_user_is_logged_out() {
    let world = World::configuration().await;
    let tenant = world.tenant("a.example").await;
    let supervisor = world.user("sue", "supervisor", Some(&tenant), None).await;
    let id = supervisor.get("/sessions/current").await.expect(200).body["user"].as_str().expect("id").to_owned();
    world.root.patch(&format!("/users/{id}"), json!({ "name": "Sue" })).await.expect(200);
    supervisor.get("/sessions/current").await.expect(200);
    world.root.patch(&format!("/users/{id}"), json!({ "password": "another password" })).await.expect(200);
    supervisor.get("/sessions/current").await.expect(401);
    supervisor.log_in("sue", PASSWORD).await.expect(401);
    let supervisor = supervisor.logged_in("sue", "another password").await;
    world.root.delete(&tenant).await.expect(204);
    supervisor.get("/sessions/current").await.expect(401);
    supervisor.log_in("sue", "another password").await.expect(401);
}

#[tokio::test]
async fn the_first_administrator_is_made_once() {
    let world = World::configuration().await;
    let (code, text) = init_admin(&world.postgres.url(), "second", "another password").await;
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("exists already"), "{text}");
    world.root.log_in("second", "another password").await.expect(401);
    let (code, text) = init_admin(&world.postgres.url(), "admin", "short").await;
    assert_eq!(code, 78, "{text}");
    assert!(text.contains("RINGDOWN_ADMIN_PASSWORD") && !text.contains("short"), "{text}");
    let (code, text) = init_admin(&world.postgres.url(), "not a login", "long enough").await;
    assert_eq!(code, 64, "{text}");
}

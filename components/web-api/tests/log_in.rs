//! Log-in, log-out, API tokens, the first administrator.

mod world;

use ringdown_redis_store::{RedisOptions, RedisPool, StoreMetrics, session};
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
async fn a_browser_signs_in_by_a_cookie_and_writes_with_a_second_proof() {
    let world = World::configuration().await;
    let nobody = world.root.nobody();
    let path = "/console/session";
    nobody.get(path).await.expect(401);
    let attempt = json!({ "login": "admin", "password": PASSWORD });
    let signed_in = nobody.post(path, attempt).await.expect(201);
    let set = signed_in.header("set-cookie").to_owned();
    assert!(set.contains("; HttpOnly; SameSite=Strict") && !set.contains("Secure"), "{set}");
    let cookie = set.split(';').next().expect("a cookie").to_owned();
    let csrf = signed_in.body["csrf"].as_str().expect("a proof").to_owned();
    assert!(!signed_in.text.contains(cookie.split('=').nth(1).expect("a token")), "no script sees the token");

    let ask = |method: reqwest::Method, path: &str, proof: Option<&str>| {
        let request = nobody.request(method, path).header("cookie", format!("theme=dark; {cookie}"));
        proof.into_iter().fold(request, |request, proof| request.header("x-ringdown-csrf", proof))
    };
    let shown = nobody.send(ask(reqwest::Method::GET, path, None)).await.expect(200);
    assert_eq!((&shown.body["csrf"], &shown.body["role"]), (&json!(csrf), &json!("administrator")));
    nobody.send(ask(reqwest::Method::GET, "/tenants", None)).await.expect(200);
    let tenant = json!({ "name": "Acme", "realm": "acme.example" });
    for proof in [None, Some("wrong")] {
        let refused = nobody.send(ask(reqwest::Method::POST, "/tenants", proof).json(&tenant)).await.expect(403);
        assert_eq!(refused.body["code"], "csrf");
    }
    nobody.send(ask(reqwest::Method::POST, "/tenants", Some(&csrf)).json(&tenant)).await.expect(201);
    nobody.send(ask(reqwest::Method::DELETE, path, None)).await.expect(403);
    let out = nobody.send(ask(reqwest::Method::DELETE, path, Some(&csrf))).await.expect(204);
    assert!(out.header("set-cookie").contains("Max-Age=0"));
    let over = nobody.send(ask(reqwest::Method::GET, path, None)).await.expect(401);
    assert_eq!(over.body["code"], "signed_out");
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

/// Log-ins that are on their way while their user changes; how many of them still work afterwards.
async fn survivors(world: &World, rounds: usize, change: impl AsyncFn(&World, &str)) -> usize {
    let tenant = world.tenant("race.example").await;
    let mut alive = 0;
    for round in 0..rounds {
        let login = format!("racer{round}");
        let body = json!({ "login": login, "name": "R", "password": PASSWORD, "role": "supervisor",
            "tenant": tenant.trim_start_matches("/tenants/") });
        let id = world.root.post("/users", body).await.expect(201).id();
        let log_ins: Vec<_> = (0..4)
            .map(|_| {
                let (root, login) = (world.root.clone(), login.clone());
                tokio::spawn(async move { root.log_in(&login, PASSWORD).await })
            })
            .collect();
        change(world, &format!("/users/{id}")).await;
        for log_in in log_ins {
            let answer = log_in.await.expect("a log-in");
            let Some(token) = answer.body["token"].as_str() else { continue };
            let session = world.root.with_token(token).get("/sessions/current").await;
            alive += usize::from(session.status == 200 && session.body["role"] != "agent");
        }
    }
    alive
}

#[tokio::test]
async fn a_log_in_on_its_way_does_not_survive_removal() {
    let world = World::configuration().await;
    let alive = survivors(&world, 6, async |world, user| {
        world.root.delete(user).await.expect(204);
    })
    .await;
    assert_eq!(alive, 0);
}

#[tokio::test]
async fn a_log_in_on_its_way_does_not_survive_a_new_password() {
    let world = World::configuration().await;
    let alive = survivors(&world, 6, async |world, user| {
        world.root.patch(user, json!({ "password": "another password" })).await.expect(200);
    })
    .await;
    assert_eq!(alive, 0);
}

#[tokio::test]
async fn a_session_of_an_older_generation_is_worth_nothing() {
    let mut world = World::configuration().await;
    let tenant = world.tenant("gen.example").await;
    let admin = world.user("gen", "administrator", Some(&tenant), None).await;
    let id = admin.get("/sessions/current").await.expect(200).body["user"].as_str().expect("id").to_owned();
    let tokens = format!("/users/{id}/tokens");
    let robot = admin.post(&tokens, json!({ "name": "robot" })).await.expect(201);
    let robot = world.root.with_token(robot.body["token"].as_str().expect("a token"));
    robot.get(&tenant).await.expect(200);
    // Redis fails between the two writes: the change is refused and nothing has changed.
    world.redis.kill9().expect("kill");
    assert_eq!(world.root.patch(&format!("/users/{id}"), json!({ "role": "supervisor" })).await.status, 503);
    world.redis.restart().await.expect("Redis");
    ringdown_test_support::wait_until(world::PATIENCE, "Redis is back", async || {
        (admin.get("/sessions/current").await.status == 200).then_some(())
    })
    .await;
    assert_eq!(world.root.get(&format!("/users/{id}")).await.expect(200).body["role"], "administrator");

    world.root.patch(&format!("/users/{id}"), json!({ "role": "supervisor" })).await.expect(200);
    admin.get("/sessions/current").await.expect(401);
    assert_eq!(robot.get("/sessions/current").await.expect(200).body["role"], "supervisor");
    robot
        .post("/users", json!({ "login": "x", "name": "x", "password": PASSWORD, "role": "administrator" }))
        .await
        .expect(403);
    world.root.logged_in("gen", PASSWORD).await.get("/sessions/current").await.expect(200);
    world.root.delete(&tenant).await.expect(204);
    robot.get("/sessions/current").await.expect(401);
}

#[tokio::test]
async fn a_generation_that_was_taken_back_locks_nobody_out() {
    let world = World::configuration().await;
    let root = &world.root;
    let id = root.get("/sessions/current").await.expect(200).body["user"].as_str().expect("id").to_owned();
    // A change whose commit failed after Redis was told.
    let options = RedisOptions::from_url(&world.redis.url()).expect("a URL");
    let pool = RedisPool::new(options, StoreMetrics::default());
    session::raise_generation(&pool, id.parse().expect("an id"), 2_000_000_000_000_000).await.expect("Redis");
    root.get("/sessions/current").await.expect(401);
    root.logged_in("admin", PASSWORD).await.get("/sessions/current").await.expect(200);
}

#[tokio::test]
async fn a_revoked_api_token_works_no_more() {
    let world = World::configuration().await;
    let root = &world.root;
    let id = root.get("/sessions/current").await.expect(200).body["user"].as_str().expect("id").to_owned();
    for _ in 0..30 {
        let made = root.post(&format!("/users/{id}/tokens"), json!({ "name": "robot" })).await.expect(201);
        let robot = root.with_token(made.body["token"].as_str().expect("a token"));
        let users: Vec<_> = (0..8)
            .map(|_| {
                let robot = robot.clone();
                tokio::spawn(async move { robot.get("/sessions/current").await.status })
            })
            .collect();
        root.delete(&format!("/users/{id}/tokens/{}", made.id())).await.expect(204);
        assert_eq!(robot.get("/sessions/current").await.status, 401);
        for user in users {
            user.await.expect("an answer");
        }
        assert_eq!(robot.get("/sessions/current").await.status, 401);
    }
}

//! The matrix of roles and endpoints, made from the OpenAPI document: no route answers 2xx to somebody whose role or tenant
//! does not suffice, and none is forgotten.

mod world;

use std::collections::BTreeMap;

use reqwest::Method;
use serde_json::{Value, json};
use world::{Caller, World};

/// The least each route needs, by operation id. A new route must be put here.
const NEEDS: [(&str, &str); 51] = [
    ("accept_offer", "work"),
    ("create_agent", "administer"),
    ("create_interaction", "supervise"),
    ("create_queue", "administer"),
    ("create_route", "administer"),
    ("create_session", "nothing"),
    ("create_skill", "administer"),
    ("create_tenant", "install"),
    ("create_token", "own"),
    ("create_trunk", "administer"),
    ("create_user", "administer"),
    ("delete_agent", "administer"),
    ("delete_agent_skill", "administer"),
    ("delete_queue", "administer"),
    ("delete_route", "administer"),
    ("delete_session", "session"),
    ("delete_skill", "administer"),
    ("delete_tenant", "install"),
    ("delete_token", "own"),
    ("delete_trunk", "administer"),
    ("delete_user", "administer"),
    ("end_interaction", "work"),
    ("finish_wrap_up", "own"),
    ("get_acd", "supervise"),
    ("get_agent", "supervise"),
    ("get_history", "supervise"),
    ("get_interaction", "work"),
    ("get_live_queue", "supervise"),
    ("get_provisioning", "supervise"),
    ("get_queue", "supervise"),
    ("get_route", "supervise"),
    ("get_session", "session"),
    ("get_skill", "work"),
    ("get_status", "own"),
    ("get_tenant", "work"),
    ("get_trunk", "supervise"),
    ("get_user", "administer"),
    ("list_agents", "supervise"),
    ("list_interactions", "supervise"),
    ("list_live_agents", "supervise"),
    ("list_live_queues", "supervise"),
    ("list_queues", "supervise"),
    ("list_routes", "supervise"),
    ("list_skills", "work"),
    ("list_tenants", "session"),
    ("list_tokens", "own"),
    ("list_trunks", "supervise"),
    ("list_users", "administer"),
    ("patch_agent", "administer"),
    ("patch_queue", "administer"),
    ("patch_route", "administer"),
];
const FURTHER_NEEDS: [(&str, &str); 11] = [
    ("create_phone_credentials", "own"),
    ("get_websocket", "session"),
    ("list_quotas", "supervise"),
    ("patch_skill", "administer"),
    ("patch_tenant", "administer"),
    ("patch_trunk", "administer"),
    ("patch_user", "administer"),
    ("put_acd", "supervise"),
    ("put_agent_skill", "administer"),
    ("put_status", "own"),
    ("reject_offer", "work"),
];

const CONSOLE_NEEDS: [(&str, &str); 5] = [
    ("create_console_session", "nothing"),
    ("delete_console_session", "session"),
    ("get_console_session", "session"),
    ("get_directory", "work"),
    ("list_agent_interactions", "own"),
];

const CALL_NEEDS: [(&str, &str); 28] = [
    ("cancel_consult", "work"),
    ("complete_consult", "work"),
    ("conference", "work"),
    ("consult", "work"),
    ("create_outbound_route", "administer"),
    ("delete_outbound_route", "administer"),
    ("delete_recording", "administer"),
    ("end_supervision", "supervise"),
    ("extend_wrap_up", "own"),
    ("get_outbound_route", "supervise"),
    ("get_recording", "supervise"),
    ("get_recording_audio", "supervise"),
    ("get_recording_outline", "supervise"),
    ("hold", "work"),
    ("list_outbound_routes", "supervise"),
    ("list_recordings", "supervise"),
    ("move_interaction", "supervise"),
    ("mute", "work"),
    ("patch_outbound_route", "administer"),
    ("patch_recording", "administer"),
    ("place_call", "own"),
    ("put_disposition", "work"),
    ("resume", "work"),
    ("send_digits", "work"),
    ("set_recording", "work"),
    ("supervise", "supervise"),
    ("transfer", "work"),
    ("unmute", "work"),
];

struct Route {
    id: String,
    method: Method,
    path: String,
}

fn routes() -> Vec<Route> {
    let text = ringdown_web_api::router::document().to_json().expect("a document");
    let document: Value = serde_json::from_str(&text).expect("JSON");
    let mut routes = Vec::new();
    for (path, item) in document["paths"].as_object().expect("paths") {
        for (method, operation) in item.as_object().expect("operations") {
            let method: Method = method.to_uppercase().parse().expect("a method");
            let id = operation["operationId"].as_str().expect("an id").to_owned();
            routes.push(Route { id, method, path: path.trim_start_matches("/api/v1").to_owned() });
        }
    }
    routes
}

/// Whether a role of the own tenant suffices.
fn suffices(role: &str, need: &str) -> bool {
    match need {
        "nothing" | "session" | "work" => true,
        "own" | "supervise" => role != "agent",
        "administer" => role == "tenant administrator" || role == "administrator",
        "install" => role == "administrator",
        other => panic!("no such need: {other}"),
    }
}

async fn ask(caller: &Caller, route: &Route, ids: &BTreeMap<&str, String>) -> u16 {
    let mut path = route.path.clone();
    for (name, id) in ids {
        path = path.replace(&format!("{{{name}}}"), id);
    }
    // A body that no route accepts: what gets as far as the body has passed the gate, and nothing is changed.
    let request = caller.request(route.method.clone(), &path);
    let request = if route.method == Method::GET { request } else { request.json(&json!({ "unknown member": 1 })) };
    // A DELETE has no body to refuse, so it refuses by an ETag that no object has.
    caller.send(request.header("if-match", "\"0\"")).await.status
}

#[tokio::test]
async fn no_role_gets_what_it_may_not_have() {
    let needs: BTreeMap<&str, &str> =
        NEEDS.into_iter().chain(FURTHER_NEEDS).chain(CALL_NEEDS).chain(CONSOLE_NEEDS).collect();
    let world = World::configuration().await;
    let own = world.tenant("own.example").await;
    let other = world.tenant("other.example").await;
    let agent = world.root.post(&format!("{own}/agents"), json!({ "name": "Ada" })).await.expect(201).id();
    let colleague = world.root.post(&format!("{own}/agents"), json!({ "name": "Bob" })).await.expect(201).id();
    let callers = [
        ("agent", world.user("agent", "agent", Some(&own), Some(&agent)).await),
        ("supervisor", world.user("supervisor", "supervisor", Some(&own), None).await),
        ("tenant administrator", world.user("boss", "administrator", Some(&own), None).await),
        ("administrator", world.root.clone()),
    ];
    let own_ids = ids(&own, &colleague);
    let other_ids = ids(&other, &colleague);
    for route in routes() {
        let need = needs.get(route.id.as_str()).unwrap_or_else(|| panic!("{} has no row in the matrix", route.id));
        check_nobody(&world.root.nobody(), &route, &own_ids, need).await;
        if *need == "session" {
            continue;
        }
        for (role, caller) in &callers {
            check_own(caller, role, &route, &own_ids, need).await;
            if *role != "administrator" && route.path.contains("{tenant}") {
                let status = ask(caller, &route, &other_ids).await;
                assert_eq!(status, 404, "{role} in another tenant: {} {}", route.method, route.path);
            }
        }
    }
    assert_eq!(needs.len(), routes().len(), "the matrix has a row for a route that is gone");
}

async fn check_nobody(nobody: &Caller, route: &Route, ids: &BTreeMap<&str, String>, need: &str) {
    let expected = if need == "nothing" { 422 } else { 401 };
    for caller in [nobody.clone(), nobody.with_token("bad"), nobody.with_token(&"b".repeat(43))] {
        assert_eq!(ask(&caller, route, ids).await, expected, "nobody: {} {}", route.method, route.path);
    }
}

async fn check_own(caller: &Caller, role: &str, route: &Route, ids: &BTreeMap<&str, String>, need: &str) {
    let status = ask(caller, route, ids).await;
    let name = format!("{role}: {} {} gave {status}", route.method, route.path);
    if suffices(role, need) {
        assert_ne!(status, 401, "{name}");
        assert_ne!(status, 403, "{name}");
    } else {
        assert!(matches!(status, 403 | 404), "{name}");
    }
    assert!(status < 500 || status == 503, "{name}");
}

fn ids(tenant: &str, agent: &str) -> BTreeMap<&'static str, String> {
    let nothing = "0190b5a0-0000-7000-8000-000000000001".to_owned();
    BTreeMap::from([
        ("tenant", tenant.trim_start_matches("/tenants/").to_owned()),
        ("agent", agent.to_owned()),
        ("skill", "english".to_owned()),
        ("queue", nothing.clone()),
        ("trunk", nothing.clone()),
        ("route", nothing.clone()),
        ("interaction", nothing.clone()),
        ("outbound_route", nothing.clone()),
        ("recording", nothing.clone()),
        ("token", nothing.clone()),
        ("user", nothing),
    ])
}

#[tokio::test]
async fn a_tenants_administrator_stays_within_the_tenant() {
    let world = World::configuration().await;
    let own = world.tenant("own.example").await;
    let other = world.tenant("other.example").await;
    let boss = world.user("boss", "administrator", Some(&own), None).await;
    let other_id = other.trim_start_matches("/tenants/");
    let listed = boss.get("/tenants").await.expect(200);
    assert_eq!(listed.body["items"].as_array().expect("items").len(), 1);
    boss.post("/tenants", json!({ "name": "x", "realm": "x.example" })).await.expect(403);
    let user = |tenant: Value| json!({ "login": "new", "name": "N", "password": "long enough", "role": "administrator", "tenant": tenant });
    boss.post("/users", user(json!(other_id))).await.refuses(422, "tenant");
    let made = boss.post("/users", user(Value::Null)).await.expect(201);
    assert_eq!(made.body["tenant"], own.trim_start_matches("/tenants/"), "never an administrator of the installation");
    let foreign = world.user("foreign", "supervisor", Some(&other), None).await;
    let foreign = foreign.get("/sessions/current").await.expect(200).body["user"].as_str().expect("id").to_owned();
    boss.get(&format!("/users/{foreign}")).await.expect(404);
    boss.patch(&format!("/users/{foreign}"), json!({ "name": "x" })).await.expect(404);
    boss.delete(&format!("/users/{foreign}")).await.expect(404);
    boss.get(&format!("/users/{foreign}/tokens")).await.expect(404);
    boss.post(&format!("/users/{foreign}/tokens"), json!({ "name": "x" })).await.expect(404);
    let users = boss.get("/users").await.expect(200);
    assert_eq!(users.body["items"].as_array().expect("items").len(), 2);
    let me = boss.get("/sessions/current").await.expect(200).body["user"].as_str().expect("id").to_owned();
    assert_eq!(boss.delete(&format!("/users/{me}")).await.expect(409).body["code"], "own_user");
    assert_eq!(
        boss.patch(&format!("/users/{me}"), json!({ "role": "supervisor" })).await.expect(409).body["code"],
        "own_role"
    );
}

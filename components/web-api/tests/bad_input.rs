//! Every route against bad input of every kind, driven by the OpenAPI document: each is answered with a problem document
//! of the right status, never with a 5xx, and the service answers afterwards.

mod world;

use reqwest::Method;
use serde_json::{Value, json};
use world::{Answer, Caller, World};

struct Route {
    name: String,
    method: Method,
    path: String,
    members: Vec<(String, Value)>,
    required: Vec<String>,
}

fn routes(tenant: &str, agent: &str) -> Vec<Route> {
    let text = ringdown_web_api::router::document().to_json().expect("a document");
    let document: Value = serde_json::from_str(&text).expect("JSON");
    let nothing = "0190b5a0-0000-7000-8000-000000000001";
    let mut routes = Vec::new();
    for (path, item) in document["paths"].as_object().expect("paths") {
        for (method, operation) in item.as_object().expect("operations") {
            let mut path = path.trim_start_matches("/api/v1").to_owned();
            path = path.replace("{tenant}", tenant.trim_start_matches("/tenants/")).replace("{agent}", agent);
            for name in ["queue", "trunk", "route", "outbound_route", "recording", "interaction", "token", "user"] {
                path = path.replace(&format!("{{{name}}}"), nothing);
            }
            path = path.replace("{skill}", "english");
            let (members, required) = body_of(&document, operation);
            let method: Method = method.to_uppercase().parse().expect("a method");
            routes.push(Route { name: format!("{method} {path}"), method, path, members, required });
        }
    }
    routes
}

fn body_of(document: &Value, operation: &Value) -> (Vec<(String, Value)>, Vec<String>) {
    let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
    let schema = match schema["$ref"].as_str() {
        Some(reference) => document.pointer(reference.trim_start_matches('#')).expect("a schema"),
        None => schema,
    };
    let members = schema["properties"].as_object().into_iter().flatten();
    let required = schema["required"].as_array().into_iter().flatten().filter_map(|name| name.as_str());
    (members.map(|(name, schema)| (name.clone(), schema.clone())).collect(), required.map(ToOwned::to_owned).collect())
}

/// A problem document of a 4xx (or 503, where a router is asked that is not there).
#[track_caller]
fn check(answer: &Answer, name: &str, what: &str, expected: &[u16]) {
    assert!(expected.contains(&answer.status), "{name} with {what}: {} {}", answer.status, answer.text);
    assert_eq!(answer.header("content-type"), "application/problem+json", "{name} with {what}");
    for member in ["type", "title", "status", "code", "detail"] {
        assert!(!answer.body[member].is_null(), "{name} with {what}: no {member}: {}", answer.text);
    }
}

#[tokio::test]
async fn no_bad_input_is_a_5xx() {
    let world = World::configuration().await;
    let tenant = world.tenant("bad.example").await;
    world.root.post(&format!("{tenant}/skills"), json!({ "name": "english" })).await.expect(201);
    let agent = world.root.post(&format!("{tenant}/agents"), json!({ "name": "Ada" })).await.expect(201).id();
    let mut asked = 0;
    for route in routes(&tenant, &agent) {
        if route.name.ends_with("DELETE /sessions/current") {
            continue;
        }
        asked += wrong_heads(&world.root, &route).await;
        if !route.members.is_empty() {
            asked += wrong_bodies(&world.root, &route).await;
        }
    }
    assert!(asked > 1_000, "only {asked} requests were made");
    world.root.get("/sessions/current").await.expect(200);
}

async fn wrong_heads(root: &Caller, route: &Route) -> usize {
    let mut asked = 0;
    let open = ["/sessions", "/console/session"].contains(&route.path.as_str()) && route.method == Method::POST;
    if !open {
        for (what, caller) in [("no token", root.nobody()), ("a bad token", root.with_token("not a token"))] {
            let answer = caller.send(caller.request(route.method.clone(), &route.path)).await;
            check(&answer, &route.name, what, &[401]);
            asked += 1;
        }
    }
    for method in [Method::PUT, Method::TRACE, Method::from_bytes(b"BREW").expect("a method")] {
        let answer = root.send(root.request(method.clone(), &route.path)).await;
        if answer.status == 405 {
            check(&answer, &route.name, "a wrong method", &[405]);
            assert!(
                answer.header("allow").contains(route.method.as_str()),
                "{}: {}",
                route.name,
                answer.header("allow")
            );
        }
        assert!(answer.status < 500, "{method} {}: {}", route.path, answer.text);
        asked += 1;
    }
    let (id, rest) = route.path.rsplit_once('/').unwrap_or_default();
    for bad in ["x", "%00", "%FF", "..%2f..%2f", "0190b5a0-0000-7000-8000-00000000000G", &"a".repeat(3_000)] {
        let answer = root.send(root.request(route.method.clone(), &format!("{id}/{rest}/{bad}"))).await;
        assert!((400..500).contains(&answer.status), "{} + {bad}: {} {}", route.name, answer.status, answer.text);
        asked += 1;
    }
    if route.method == Method::GET {
        for query in ["?limit=-1", "?cursor=%00%FF", "?no_such=1", "?limit=1&limit=2", "?%"] {
            let answer = root.get(&format!("{}{query}", route.path)).await;
            assert!(answer.status < 500 || answer.status == 503, "{}{query}: {}", route.name, answer.text);
            asked += 1;
        }
    }
    asked
}

async fn wrong_bodies(root: &Caller, route: &Route) -> usize {
    let mut asked = 0;
    let send = async |kind: &str, body: Vec<u8>| {
        let request = root.request(route.method.clone(), &route.path).header("content-type", kind);
        root.send(request.body(body)).await
    };
    let json = "application/json";
    for broken in ["", "{", "nul", "{\"a\":", "[1,2", "{} {}", "\u{feff}{}", "{'a':1}"] {
        check(&send(json, broken.into()).await, &route.name, broken, &[400]);
        asked += 1;
    }
    check(&send(json, b"{\"name\":\"\xff\xfe\"}".to_vec()).await, &route.name, "no UTF-8", &[400, 422]);
    for wrong in ["[]", "1", "\"text\"", "null", "true", "{\"unknown member\":1}"] {
        check(&send(json, wrong.into()).await, &route.name, wrong, &[422]);
        asked += 1;
    }
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    check(&send(json, deep.into()).await, &route.name, "a deep body", &[400, 422]);
    check(&send(json, vec![b' '; 65 * 1024]).await, &route.name, "an oversize body", &[413]);
    check(&send("text/plain", b"{}".to_vec()).await, &route.name, "text", &[415]);
    check(&send("application/x-www-form-urlencoded", b"a=1".to_vec()).await, &route.name, "a form", &[415]);
    asked + 5 + wrong_members(root, route).await
}

/// Each member with values of the wrong type, beyond its bounds, and missing.
async fn wrong_members(root: &Caller, route: &Route) -> usize {
    let values = [
        json!([[]]),
        json!({ "a": { "b": [] } }),
        json!(-1),
        json!(1e300),
        json!(u64::MAX),
        json!(1.5),
        json!("\u{0}"),
        json!("x".repeat(5_000)),
        json!(vec!["x"; 2_000]),
    ];
    let mut asked = 0;
    for (name, _) in &route.members {
        for value in &values {
            let answer = root.send(root.request(route.method.clone(), &route.path).json(&json!({ name: value }))).await;
            check(&answer, &route.name, &format!("{name} = {value:.60}"), &[422]);
            asked += 1;
        }
    }
    for name in &route.required {
        let answer = root.send(root.request(route.method.clone(), &route.path).json(&json!({}))).await;
        check(&answer, &route.name, &format!("no {name}"), &[422]);
        asked += 1;
    }
    asked
}

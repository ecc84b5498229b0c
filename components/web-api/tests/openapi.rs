//! The OpenAPI document: pinned as a snapshot, so that a change of the interface is seen in review, and complete.

use std::collections::BTreeSet;

use serde_json::Value;

fn document() -> Value {
    let text = ringdown_web_api::router::document().to_json().expect("a document");
    serde_json::from_str(&text).expect("JSON")
}

#[test]
fn the_interface_is_as_reviewed() {
    insta::assert_json_snapshot!("openapi", document());
}

/// What is said over the WebSocket; the console's types are generated from this.
#[test]
fn the_messages_are_as_reviewed() {
    insta::assert_json_snapshot!("asyncapi", ringdown_web_api::live::websocket::document("ws://127.0.0.1:8001/ws"));
}

#[test]
fn every_route_is_described_completely() {
    let document = document();
    assert_eq!(document["openapi"], "3.1.0");
    let mut operation_ids = BTreeSet::new();
    for (path, item) in document["paths"].as_object().expect("paths") {
        for (method, operation) in item.as_object().expect("operations") {
            let name = format!("{method} {path}");
            let id = operation["operationId"].as_str().unwrap_or_else(|| panic!("{name} has no id"));
            assert!(operation_ids.insert(id.to_owned()), "{id} is the name of two routes");
            assert!(operation["summary"].is_string(), "{name} is not described");
            check_parameters(&name, path, operation);
            check_responses(&name, operation);
        }
    }
    for (name, response) in document["components"]["responses"].as_object().expect("refusals") {
        let content = &response["content"]["application/problem+json"]["schema"]["$ref"];
        assert_eq!(content, "#/components/schemas/Problem", "{name}");
    }
    check_references(&document, &document);
}

fn check_parameters(name: &str, path: &str, operation: &Value) {
    let in_path: BTreeSet<&str> = path.split(['{', '}']).skip(1).step_by(2).collect();
    let described: BTreeSet<&str> = operation["parameters"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|parameter| parameter["in"] == "path")
        .filter_map(|parameter| parameter["name"].as_str())
        .collect();
    assert_eq!(in_path, described, "{name}");
}

fn check_responses(name: &str, operation: &Value) {
    let responses = operation["responses"].as_object().expect("responses");
    assert!(responses.keys().any(|status| status.starts_with('2')), "{name} never succeeds");
    for (status, response) in responses.iter().filter(|(status, _)| !status.starts_with('2')) {
        let reference = response["$ref"].as_str().unwrap_or_else(|| panic!("{name} {status} is described apart"));
        assert!(reference.starts_with("#/components/responses/"), "{name} {status}");
    }
    assert!(responses.contains_key("401") && responses.contains_key("503"), "{name}");
    let writes = !name.starts_with("get ");
    let sessions = name.contains("/sessions") || name.contains("/console/session");
    let key = operation["parameters"].as_array().into_iter().flatten().any(|p| p["name"] == "Idempotency-Key");
    assert!(!writes || sessions || key, "{name} takes no Idempotency-Key");
}

/// Every `$ref` leads somewhere.
fn check_references(document: &Value, part: &Value) {
    match part {
        Value::Object(members) => {
            if let Some(Value::String(reference)) = members.get("$ref") {
                let pointer = reference.trim_start_matches('#');
                assert!(document.pointer(pointer).is_some(), "{reference} leads nowhere");
            }
            members.values().for_each(|member| check_references(document, member));
        }
        Value::Array(items) => items.iter().for_each(|item| check_references(document, item)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

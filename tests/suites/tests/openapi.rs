//! The OpenAPI document against a running installation, by schemathesis, which nobody here wrote: no 5xx, no status or body that
//! the document does not have, no request refused as malformed that is right by the document.
//!
//! `RINGDOWN_SCHEMATHESIS` names its program; tests/run installs it.

use std::process::Stdio;
use std::time::Duration;

use ringdown_suites::installation::{Installation, PASSWORD};
use ringdown_test_support::Folder;
use serde_json::{Value, json};

/// How long schemathesis may look for something.
const SECONDS: u64 = 150;
/// Until it is taken to hang.
const LIMIT: Duration = Duration::from_secs(SECONDS + 240);

/// Not called: they would end the token of the run itself, or what the others need, or want a media node (503 without one).
const LEFT_OUT: [&str; 3] = ["delete_session", "delete_tenant", "place_call"];

async fn furnish(house: &Installation) -> anyhow::Result<String> {
    let root = house.log_in("admin", PASSWORD).await?;
    let post = async |path: String, body: Value| -> anyhow::Result<Value> {
        let request = house.client.post(format!("{}{path}", house.api)).bearer_auth(&root).json(&body);
        Ok(request.send().await?.error_for_status()?.json().await?)
    };
    let tenant = post("/tenants".to_owned(), json!({ "name": "Contract", "realm": "contract.invalid" })).await?;
    let tenant = format!("/tenants/{}", tenant["id"].as_str().unwrap_or_default());
    post(format!("{tenant}/skills"), json!({ "name": "english" })).await?;
    let agent = json!({ "name": "Ada", "skills": { "english": 1 } });
    post(format!("{tenant}/agents"), agent).await?;
    post(format!("{tenant}/queues"), json!({ "name": "Sales", "requirements": [{ "skill": "english" }] })).await?;
    Ok(root)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_document_is_what_the_service_does() {
    let program = std::env::var("RINGDOWN_SCHEMATHESIS")
        .expect("RINGDOWN_SCHEMATHESIS names schemathesis' program: tests/run installs and sets it");
    let house = Installation::start().await.expect("an installation");
    let token = furnish(&house).await.expect("a tenant");
    let folder = Folder::new("schemathesis").expect("a folder");
    let hooks = concat!(env!("CARGO_MANIFEST_DIR"), "/schemathesis_hooks.py");
    std::fs::copy(hooks, folder.join("schemathesis_hooks.py")).expect("the hooks");
    let checks = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,\
                  unsupported_method,not_refused_as_malformed";
    let origin = house.api.trim_end_matches("/api/v1").to_owned();
    let mut command = tokio::process::Command::new(program);
    command
        .current_dir(folder.path())
        .env("SCHEMATHESIS_HOOKS", "schemathesis_hooks")
        .env("PYTHONPATH", folder.path())
        .env("NO_COLOR", "1")
        .arg("run")
        .arg(format!("{}/openapi.json", house.api))
        .args(["--url", &origin, "--checks", checks, "--header", &format!("Authorization: Bearer {token}")])
        .args(["--max-time", &SECONDS.to_string(), "--seed", "1"])
        .args(["--continue-on-failure", "--workers", "1", "--warnings", "off"]);
    for operation in LEFT_OUT {
        command.args(["--exclude-operation-id", operation]);
    }
    let run = command.stdin(Stdio::null()).kill_on_drop(true).output();
    let output = tokio::time::timeout(LIMIT, run).await.expect("schemathesis ends").expect("schemathesis runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    println!("{said}");
}

/// Opens the WebSocket; the first message, or the close code.
async fn open(url: &str, token: &str, tenant: &str) -> Result<Value, u16> {
    use futures_util::{SinkExt, StreamExt};
    use tokio_tungstenite::tungstenite::Message;
    let (mut socket, _) = tokio_tungstenite::connect_async(url).await.expect("the notifier answers");
    let opening = json!({ "kind": "open", "token": token, "tenant": tenant, "topics": ["agents"] });
    socket.send(Message::text(opening.to_string())).await.expect("it is sent");
    loop {
        match socket.next().await {
            Some(Ok(Message::Text(text))) => return Ok(serde_json::from_str(&text).expect("JSON")),
            Some(Ok(Message::Close(Some(frame)))) => return Err(u16::from(frame.code)),
            Some(Ok(_)) => {}
            Some(Err(error)) => panic!("no close frame: {error}"),
            None => panic!("no close frame"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_token_opens_the_websocket_without_rest_until_it_is_revoked() {
    let house = Installation::start().await.expect("an installation");
    let root = furnish(&house).await.expect("a tenant");
    let get = async |path: &str| -> Value {
        let request = house.client.get(format!("{}{path}", house.api)).bearer_auth(&root);
        request.send().await.expect("an answer").json().await.expect("JSON")
    };
    let tenant = get("/tenants").await["items"][0]["id"].as_str().expect("a tenant").to_owned();
    let user = get("/sessions/current").await["user"].as_str().expect("a user").to_owned();
    let tokens = format!("{}/users/{user}/tokens", house.api);
    let made = house.client.post(&tokens).bearer_auth(&root).json(&json!({ "name": "watcher" }));
    let made: Value = made.send().await.expect("an answer").json().await.expect("JSON");
    let (token, id) = (made["token"].as_str().expect("a token"), made["id"].as_str().expect("an id"));
    let (_, notifier) = house.daemons.iter().find(|(name, _)| *name == "notifier").expect("the notifier");
    let url = format!("ws://{}/ws", notifier.admin());
    assert_eq!(open(&url, token, &tenant).await.expect("it opens")["kind"], "snapshot");
    assert_eq!(open(&url, &"a".repeat(43), &tenant).await, Err(4501), "a token that nobody has");
    let revoked = house.client.delete(format!("{tokens}/{id}")).bearer_auth(&root).send().await.expect("an answer");
    assert_eq!(revoked.status(), 204);
    assert_eq!(open(&url, token, &tenant).await, Err(4501), "revoked");
}

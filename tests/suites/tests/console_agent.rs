//! The agent's desk in a real browser, with real calls: `tests/suites/console/agent.mjs` says what it must show.

use ringdown_suites::call_centre::{CallCentre, Wishes};
use ringdown_suites::console;
use serde_json::json;

#[tokio::test]
async fn an_agent_works_a_day_in_a_browser() {
    let mut centre = CallCentre::open(Wishes { browsers: true, ..Wishes::default() }).await.unwrap();
    console::employ(&centre, "Ada Marín", "agent", json!({ "English": 7 })).await.unwrap();
    console::employ(&centre, "Bruno Castro", "agent", json!({ "English": 5 })).await.unwrap();
    let queue = centre.of_tenant(&format!("queues/{}", centre.queue));
    centre.patch(&queue, json!({ "ring_timeout_ms": 20_000, "wrap_up_ms": 60_000 })).await.unwrap();
    console::play("agent", &mut centre).await.unwrap();
}

//! The supervisor's board in a real browser, with real calls: `tests/suites/console/supervisor.mjs` says what it must show.

use ringdown_suites::call_centre::{CallCentre, Wishes, text};
use ringdown_suites::console;
use serde_json::json;

#[tokio::test]
async fn a_supervisor_sees_everything_and_steps_in() {
    let mut centre = CallCentre::open(Wishes { browsers: true, ..Wishes::default() }).await.unwrap();
    console::employ(&centre, "Ada Marín", "agent", json!({ "English": 7 })).await.unwrap();
    console::employ(&centre, "Sofia Lind", "supervisor", json!({})).await.unwrap();
    let support = centre.of_tenant(&format!("queues/{}", centre.queue));
    centre.patch(&support, json!({ "ring_timeout_ms": 20_000, "wrap_up_ms": 60_000 })).await.unwrap();
    // A queue for which nobody has the skill.
    centre.post(&centre.of_tenant("skills"), json!({ "name": "Spanish" })).await.unwrap();
    let ventas = json!({ "name": "Ventas", "requirements": [{ "skill": "Spanish", "min_level": 5 }] });
    let ventas = text(&centre.post(&centre.of_tenant("queues"), ventas).await.unwrap(), "id").unwrap();
    centre.post(&centre.of_tenant("routes"), json!({ "did": "200", "queue": ventas })).await.unwrap();
    console::play("supervisor", &mut centre).await.unwrap();
}

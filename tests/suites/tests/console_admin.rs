//! The administrator's pages in a real browser: `tests/suites/console/admin.mjs` says what they must show.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on stops")]

use ringdown_suites::call_centre::{CARRIER, CallCentre, PATIENCE, PHONE_PASSWORD, Wishes};
use ringdown_suites::console;
use ringdown_suites::phone::{Manner, Phone, Seen};
use ringdown_test_support::wait_until;
use serde_json::json;

/// One recorded call, so that there is something to hear.
async fn record_a_call(centre: &CallCentre) {
    let queue = centre.of_tenant(&format!("queues/{}", centre.queue));
    centre.patch(&queue, json!({ "recorded": true, "wrap_up_ms": 0 })).await.unwrap();
    let desk = Phone::new("127.0.0.1", "bruno", 440.0, Manner::Answer).await.unwrap();
    centre.hire("bruno", json!({ "English": 5 })).await.unwrap();
    desk.register(centre.registrar, &centre.realm, PHONE_PASSWORD).await.unwrap();
    let mut caller = Phone::new(CARRIER, "4930555", 1_000.0, Manner::Answer).await.unwrap();
    caller.call("100", centre.trunk).await.unwrap();
    assert_eq!(caller.next(PATIENCE).await.unwrap(), Seen::Talking);
    assert!(caller.hears(440.0, PATIENCE).await, "a conversation");
    let long_enough = |record: &serde_json::Value| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default().as_millis();
        record["state"]["since_ms"].as_u64().is_some_and(|since| now > u128::from(since) + 2_000)
    };
    centre.interaction("two seconds of conversation", long_enough).await;
    caller.hang_up().await.unwrap();
    wait_until(PATIENCE, "the recording is entered", async || {
        let list = centre.get(&centre.of_tenant("recordings")).await.ok()?;
        (!list["items"].as_array()?.is_empty()).then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_administrator_keeps_every_object_in_a_browser() {
    let mut centre = CallCentre::open(Wishes { browsers: true, ..Wishes::default() }).await.unwrap();
    record_a_call(&centre).await;
    console::employ(&centre, "Ada Marín", "agent", json!({ "English": 7 })).await.unwrap();
    let tom = json!({ "login": "tom", "name": "Tom Ford", "password": console::PASSWORD, "role": "administrator", "tenant": centre.tenant });
    centre.post("/users", tom).await.unwrap();
    console::play("admin", &mut centre).await.unwrap();
}

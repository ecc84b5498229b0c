//! A blank installation and one browser: `tests/suites/console/first-use.mjs` goes by clicks and typing to the first answered call.

use ringdown_suites::call_centre::{CallCentre, Wishes};
use ringdown_suites::console;

#[tokio::test]
async fn the_first_call_is_answered_by_clicks_and_typing() {
    let mut centre = CallCentre::open(Wishes { browsers: true, blank: true, ..Wishes::default() }).await.unwrap();
    console::play("first-use", &mut centre).await.unwrap();
}

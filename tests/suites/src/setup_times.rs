//! How long Asterisk takes from a caller's arrival until the caller is joined with somebody, by Asterisk's own clock, whoever
//! drives it: the ACD, or its own dialplan.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context;
use futures_util::StreamExt;
use serde_json::Value;
use tokio::task::JoinHandle;
use tokio_tungstenite::connect_async;

use crate::call_centre::CallCentre;

/// Listens to everything that happens in a centre's Asterisk, until dropped.
pub struct SetupTimes {
    seen: Arc<Mutex<Seen>>,
    listening: JoinHandle<()>,
}

#[derive(Default)]
struct Seen {
    /// Channels of callers, and when they were created.
    created_ms: HashMap<String, i64>,
    /// From the creation until the first bridge with two members.
    times_ms: Vec<u64>,
}

impl Drop for SetupTimes {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

impl SetupTimes {
    /// Begins to listen.
    ///
    /// # Errors
    /// Asterisk does not let a second listener in.
    pub async fn listen(centre: &CallCentre) -> anyhow::Result<Self> {
        let (mut socket, _) = connect_async(centre.events_url()).await.context("listening to Asterisk")?;
        let seen = Arc::new(Mutex::new(Seen::default()));
        let into = Arc::clone(&seen);
        let listening = tokio::spawn(async move {
            while let Some(Ok(message)) = socket.next().await {
                let Ok(event) = serde_json::from_str::<Value>(message.to_text().unwrap_or_default()) else { continue };
                into.lock().unwrap_or_else(PoisonError::into_inner).take(&event);
            }
        });
        Ok(Self { seen, listening })
    }

    /// The times so far, in milliseconds, in the order of the calls; then they are forgotten.
    #[must_use]
    pub fn take(&self) -> Vec<u64> {
        std::mem::take(&mut self.seen.lock().unwrap_or_else(PoisonError::into_inner).times_ms)
    }
}

impl Seen {
    fn take(&mut self, event: &Value) {
        let Some(at_ms) = event["timestamp"].as_str().and_then(milliseconds) else { return };
        match event["type"].as_str() {
            Some("ChannelCreated") => {
                let (id, name) = (event["channel"]["id"].as_str(), event["channel"]["name"].as_str());
                if let (Some(id), Some(name)) = (id, name)
                    && name.contains("/trunk-")
                {
                    self.created_ms.insert(id.to_owned(), at_ms);
                }
            }
            Some("ChannelEnteredBridge") => {
                let members = event["bridge"]["channels"].as_array().map(Vec::as_slice).unwrap_or_default();
                if members.len() < 2 || event["bridge"]["bridge_type"] == "holding" {
                    return;
                }
                for member in members.iter().filter_map(Value::as_str) {
                    if let Some(created_ms) = self.created_ms.remove(member) {
                        self.times_ms.push(u64::try_from(at_ms - created_ms).unwrap_or_default());
                    }
                }
            }
            _ => {}
        }
    }
}

/// The milliseconds within a day of `2026-11-20T23:38:46.733+0000`, which is enough for differences (a run over midnight is
/// a day off and shows it).
fn milliseconds(text: &str) -> Option<i64> {
    let time = text.split_once('T')?.1;
    let number = |from: usize, to: usize| time.get(from..to)?.parse::<i64>().ok();
    Some(((number(0, 2)? * 60 + number(3, 5)?) * 60 + number(6, 8)?) * 1_000 + number(9, 12)?)
}

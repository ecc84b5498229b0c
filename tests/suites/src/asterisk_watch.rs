//! What Asterisk itself tells about its channels, whoever controls them: when a caller came, when an agent's phone was called,
//! rang and was picked up, when both were joined. So the same call made by the ACD and by Asterisk's own dialplan is measured
//! by one clock, in the same way. It changes nothing in Asterisk.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Context;
use futures_util::StreamExt;
use serde::Deserialize;
use tokio::task::JoinHandle;
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Message;

use crate::call_centre::CallCentre;

/// The steps of one call in Asterisk's time, milliseconds since 1970.
#[derive(Clone, Copy, Debug, Default)]
pub struct Passage {
    /// The caller's channel was made.
    pub arrived_ms: u64,
    /// The caller was answered.
    pub answered_ms: u64,
    /// The agent's channel was made.
    pub dialled_ms: u64,
    /// The agent's phone rang.
    pub rang_ms: u64,
    /// The agent answered.
    pub picked_up_ms: u64,
    /// Caller and agent were in one bridge.
    pub joined_ms: u64,
    /// The fewer of the RTP packets that came from the two of them. None: not watched, not over, or not told: Asterisk forgets
    /// it of a few channels in a hundred that both sides hang up at once.
    pub packets: Option<u64>,
    /// Both channels are gone: all is told.
    pub over: bool,
}

/// Watches until dropped.
pub struct AsteriskWatch {
    seen: Arc<Mutex<Seen>>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Seen {
    channels: HashMap<String, Leg>,
    /// Caller, agent, and when they were joined.
    pairs: Vec<(String, String, u64)>,
}

#[derive(Default)]
struct Leg {
    made_ms: u64,
    rang_ms: u64,
    up_ms: u64,
    packets: Option<u64>,
    gone: bool,
}

#[derive(Deserialize)]
struct Event {
    #[serde(rename = "type")]
    kind: String,
    timestamp: String,
    channel: Option<RawChannel>,
    bridge: Option<RawBridge>,
    #[serde(default)]
    variable: String,
    #[serde(default)]
    value: String,
}

#[derive(Deserialize)]
struct RawChannel {
    id: String,
    name: String,
    state: String,
}

#[derive(Deserialize)]
struct RawBridge {
    bridge_type: String,
    channels: Vec<String>,
}

impl AsteriskWatch {
    /// Watches from now on under a name nobody else has (Asterisk forgets a listener some time after it left); `packets`: also how many RTP packets came, which Asterisk tells with much else.
    pub async fn open(centre: &CallCentre, name: &str, packets: bool) -> anyhow::Result<Self> {
        // The ACD listens under a name too.
        let listener = format!("watch-{name}");
        let (mut socket, _) = connect_async(centre.events_url(&listener)).await.context("watching Asterisk")?;
        let mut kinds = vec!["ChannelCreated", "ChannelStateChange", "ChannelEnteredBridge"];
        kinds.extend(packets.then_some(["ChannelDestroyed", "ChannelVarset"]).into_iter().flatten());
        centre.hear_only(&listener, &kinds).await?;
        let seen = Arc::new(Mutex::new(Seen::default()));
        let told = Arc::clone(&seen);
        let task = tokio::spawn(async move {
            while let Some(Ok(message)) = socket.next().await {
                let Message::Text(text) = message else { continue };
                if let Ok(event) = serde_json::from_str::<Event>(&text) {
                    lock(&told).take(event);
                }
            }
        });
        Ok(Self { seen, task })
    }

    /// The calls so far whose two sides were joined.
    #[must_use]
    pub fn passages(&self) -> Vec<Passage> {
        let seen = lock(&self.seen);
        let passage = |(caller, agent, joined_ms): &(String, String, u64)| {
            let (caller, agent) = (seen.channels.get(caller)?, seen.channels.get(agent)?);
            Some(Passage {
                arrived_ms: caller.made_ms,
                answered_ms: caller.up_ms,
                dialled_ms: agent.made_ms,
                rang_ms: agent.rang_ms,
                picked_up_ms: agent.up_ms,
                joined_ms: *joined_ms,
                packets: caller.packets.zip(agent.packets).map(|(caller, agent)| caller.min(agent)),
                over: caller.gone && agent.gone,
            })
        };
        seen.pairs.iter().filter_map(passage).collect()
    }
}

impl Drop for AsteriskWatch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Seen {
    fn take(&mut self, event: Event) {
        let Some(at_ms) = milliseconds(&event.timestamp) else { return };
        let Some(about) = event.channel else { return };
        let channel = self.channels.entry(about.id.clone()).or_default();
        match (event.kind.as_str(), about.state.as_str()) {
            ("ChannelDestroyed", _) => channel.gone = true,
            ("ChannelCreated", _) => channel.made_ms = at_ms,
            ("ChannelStateChange", "Ringing") => channel.rang_ms = at_ms,
            ("ChannelStateChange", "Up") => channel.up_ms = at_ms,
            ("ChannelVarset", _) if event.variable == "RTPAUDIOQOS" => channel.packets = received(&event.value),
            ("ChannelEnteredBridge", _) => self.joined(&about, event.bridge, at_ms),
            _ => {}
        }
    }

    fn joined(&mut self, entered: &RawChannel, bridge: Option<RawBridge>, at_ms: u64) {
        let Some(bridge) = bridge.filter(|bridge| bridge.bridge_type != "holding") else { return };
        let [one, other] = bridge.channels.as_slice() else { return };
        let other = if *one == entered.id { other } else { one };
        let (caller, agent) = if entered.name.starts_with("PJSIP/trunk-") {
            (entered.id.clone(), other.clone())
        } else {
            (other.clone(), entered.id.clone())
        };
        self.pairs.push((caller, agent, at_ms));
    }
}

fn lock(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

fn milliseconds(timestamp: &str) -> Option<u64> {
    let time: jiff::Timestamp = timestamp.parse().ok()?;
    u64::try_from(time.as_millisecond()).ok()
}

/// Packets received, of `ssrc=1;...;rxcount=75;...`.
fn received(quality: &str) -> Option<u64> {
    quality.split(';').find_map(|part| part.strip_prefix("rxcount="))?.parse().ok()
}

//! What systemd is told. Without systemd nothing is sent.

use std::sync::Arc;
use std::time::Duration;

use sd_notify::NotifyState;

use crate::health::Health;

/// How often STATUS is compared with what was last said.
const STATUS_EVERY: Duration = Duration::from_secs(1);

pub(crate) fn ready() {
    send(&[NotifyState::Ready]);
}

pub(crate) fn stopping() {
    send(&[NotifyState::Stopping, NotifyState::Status("draining")]);
}

/// Keeps STATUS true, and feeds the watchdog while every main loop turns. Never ends; it is aborted with the runtime.
pub(crate) async fn report(health: Arc<Health>) {
    let watchdog = sd_notify::watchdog_enabled();
    // systemd asks for at least two signs per interval; three leave room for a late one.
    let every = watchdog.map_or(STATUS_EVERY, |limit| (limit / 3).min(STATUS_EVERY));
    let mut ticks = tokio::time::interval(every.max(Duration::from_millis(10)));
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut said = String::new();
    let mut stalled_before = false;
    loop {
        ticks.tick().await;
        let status = status(&health.waiting());
        if status != said {
            send(&[NotifyState::Status(&status)]);
            said = status;
        }
        let stalled = health.stalled();
        if stalled.is_empty() && watchdog.is_some() {
            send(&[NotifyState::Watchdog]);
        }
        if !stalled.is_empty() && !stalled_before {
            log::error!(loops:? = stalled; "main loops stand still; the watchdog is not fed");
        }
        stalled_before = !stalled.is_empty();
    }
}

fn status(waiting: &[(String, String)]) -> String {
    if waiting.is_empty() {
        return "ready".into();
    }
    let parts: Vec<String> = waiting.iter().map(|(part, why)| format!("{part} ({why})")).collect();
    // STATUS is one line by its protocol.
    format!("waits for {}", parts.join(", ")).replace('\n', " ")
}

fn send(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        log::warn!(error:% = error; "systemd could not be told");
    }
}

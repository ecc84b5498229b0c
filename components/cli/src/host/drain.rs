//! Keeping new work away from this host: the mark its daemons look for, and the wait until it shows.

use std::fmt;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use super::command::ask;
use crate::appliance::Appliance;
use crate::health;

/// What the daemons look for (RINGDOWN_DRAIN_FILE).
const MARK: &str = "/run/ringdown/drain";
/// How long daemons may take to see it: they look four times a second.
const SEEN_LIMIT: Duration = Duration::from_secs(5);
/// A load balancer's two checks, and the requests it had sent before.
const BALANCER: Duration = Duration::from_secs(2);
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// What is kept away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kept {
    /// A load balancer's requests; calls go on being taken.
    Requests,
    /// New calls too: callers hear 503.
    Calls,
}

/// Whether the host is drained.
pub(crate) fn is_drained() -> bool {
    Path::new(MARK).exists()
}

/// Sets the mark, and waits until every daemon of this host has seen it and a load balancer had time to.
pub(crate) async fn begin(appliance: &Appliance, kept: Kept) -> anyhow::Result<()> {
    let word = match kept {
        Kept::Requests => "requests\n",
        Kept::Calls => "calls\n",
    };
    let folder = Path::new(MARK).parent().context("the mark lies in a folder")?;
    std::fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    let new = folder.join("drain.new");
    std::fs::write(&new, word).and_then(|()| std::fs::rename(&new, MARK)).with_context(|| format!("making {MARK}"))?;
    let began = Instant::now();
    while let Some(name) = unaware(appliance).await {
        if began.elapsed() > SEEN_LIMIT {
            bail!("{name} does not see that this host is drained: journalctl -u ringdown-{name}");
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    if appliance.parts().any(|part| matches!(part, "web-api" | "notifier")) {
        tokio::time::sleep(BALANCER).await;
    }
    Ok(())
}

/// Takes the mark away, and waits until every daemon of this host has seen it: then it takes new work.
pub(crate) async fn undo(appliance: &Appliance) -> anyhow::Result<()> {
    end()?;
    let began = Instant::now();
    while let Some(name) = still_drained(appliance).await {
        if began.elapsed() > SEEN_LIMIT {
            bail!("{name} does not see that this host takes new work again: journalctl -u ringdown-{name}");
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    Ok(())
}

async fn still_drained(appliance: &Appliance) -> Option<&'static str> {
    for part in appliance.parts().filter(|part| health::is_daemon(part)) {
        if health::ask_component(appliance, part).await.drained {
            return Some(part);
        }
    }
    None
}

/// Takes the mark away; daemons take work again within their next look.
pub(crate) fn end() -> anyhow::Result<()> {
    match std::fs::remove_file(MARK) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error).with_context(|| format!("removing {MARK}")),
    }
}

/// A daemon that runs and does not say that it is drained. One that does not answer takes no work anyhow.
async fn unaware(appliance: &Appliance) -> Option<&'static str> {
    for part in appliance.parts().filter(|part| health::is_daemon(part)) {
        let health = health::ask_component(appliance, part).await;
        if health.ready && !health.drained {
            return Some(part);
        }
    }
    None
}

/// Calls in progress on this host's Asterisk; none when nobody can say: the acd does not answer, or it does not know yet
/// what there is, since it was started a moment ago.
pub(crate) async fn calls(appliance: &Appliance) -> Option<u64> {
    if !appliance.has("asterisk") || !asterisk_runs().await {
        return Some(0);
    }
    match health::figures(appliance.address_of("acd").ok()?, ["voice_counted", "voice_calls"]).await? {
        [1, calls] => Some(calls),
        _ => None,
    }
}

/// Whether there may be calls: an Asterisk that does not run has none, whatever anybody remembers.
async fn asterisk_runs() -> bool {
    let state = ask("systemctl", &["show", "--property=ActiveState", "--value", "ringdown-asterisk.service"]).await;
    // Who cannot say is taken to run.
    state.map_or(true, |state| !matches!(state.trim(), "inactive" | "failed"))
}

/// Calls that had not ended when the limit had passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Left {
    /// So many; none is the wished end.
    Counted(u64),
    /// Nobody could say: that is no reason to believe that there are none.
    Unknown,
}

impl Left {
    pub(crate) const fn is_none(self) -> bool {
        matches!(self, Self::Counted(0))
    }
}

impl fmt::Display for Left {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Counted(count) => write!(formatter, "{count} calls"),
            Self::Unknown => formatter.write_str("an unknown number of calls (the acd does not say)"),
        }
    }
}

/// Waits until no call is left; `told` hears the count whenever it changes. Gives what is left when `limit` has passed.
pub(crate) async fn wait_for_calls(appliance: &Appliance, limit: Duration, mut told: impl FnMut(u64)) -> Left {
    let began = Instant::now();
    let mut last = None;
    loop {
        // Who cannot be asked now (it is starting) is asked again: a call may be there.
        let now = calls(appliance).await;
        if let Some(count) = now.filter(|count| last != Some(*count)) {
            told(count);
            last = Some(count);
        }
        if now == Some(0) {
            return Left::Counted(0);
        }
        if began.elapsed() >= limit {
            return now.map_or(Left::Unknown, Left::Counted);
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

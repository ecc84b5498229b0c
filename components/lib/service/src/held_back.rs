//! Whether this host takes new work: an operator's mark, a file that `ringdown host drain` makes and takes away.
//!
//! A file and not a request, since it needs no port, holds for every daemon of the host, and is still there when a daemon
//! is started again meanwhile. It lies in /run: a host that boots takes work.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::health::Health;

/// How often the mark is looked for: well below the checks of a load balancer.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// More than any word in it.
const LONGEST: u64 = 64;
/// What it says when calls go on being taken.
const REQUESTS: &str = "requests";

/// What this host does not take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HeldBack {
    /// It takes everything.
    #[default]
    Nothing,
    /// Requests of a load balancer: `/readyz` says no.
    Requests,
    /// New calls too.
    Calls,
}

impl HeldBack {
    /// What the mark says; whoever made it without a word meant everything.
    fn read(path: &Path) -> Self {
        let mut text = String::new();
        match std::fs::File::open(path).and_then(|file| file.take(LONGEST).read_to_string(&mut text)) {
            Ok(_) if text.trim() == REQUESTS => Self::Requests,
            Ok(_) => Self::Calls,
            Err(error) if error.kind() == std::io::ErrorKind::InvalidData => Self::Calls,
            // Not there; or not to be read, and then nobody may be kept from working by it.
            Err(_) => Self::Nothing,
        }
    }

    fn why(self) -> Option<String> {
        match self {
            Self::Nothing => None,
            Self::Requests => Some("drained by the operator".to_owned()),
            Self::Calls => Some("drained by the operator, calls too".to_owned()),
        }
    }
}

/// The mark as it was when last looked for; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Mark {
    seen: Arc<watch::Sender<HeldBack>>,
    health: Arc<Health>,
}

impl Mark {
    pub(crate) fn new(health: Arc<Health>) -> Self {
        Self { seen: Arc::default(), health }
    }

    pub(crate) fn now(&self) -> HeldBack {
        *self.seen.borrow()
    }

    pub(crate) fn changes(&self) -> watch::Receiver<HeldBack> {
        self.seen.subscribe()
    }

    pub(crate) fn look(&self, path: &Path) {
        let now = HeldBack::read(path);
        if self.seen.send_replace(now) != now {
            log::info!(held_back:? = now; "the operator's mark changed");
            self.health.hold_back(now.why());
        }
    }
}

/// Keeps the mark true. Never ends; it is aborted with the daemon.
pub(crate) async fn keep_looking(mark: Mark, path: PathBuf) {
    let mut ticks = tokio::time::interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        mark.look(&path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Clock;

    #[test]
    fn the_mark_is_seen_and_is_not_ready() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("drain");
        let health = Health::new(Clock::system());
        let mark = Mark::new(Arc::clone(&health));
        let see = |text: Option<&[u8]>| {
            match text {
                Some(text) => std::fs::write(&path, text).unwrap(),
                None => std::fs::remove_file(&path).unwrap(),
            }
            mark.look(&path);
            (mark.now(), health.waiting().len())
        };
        assert_eq!(see(Some(b"requests\n")), (HeldBack::Requests, 1));
        assert_eq!(see(Some(b"")), (HeldBack::Calls, 1));
        assert_eq!(see(Some(b"\xff\xff")), (HeldBack::Calls, 1));
        assert_eq!(see(None), (HeldBack::Nothing, 0));
        assert_eq!(see(Some(&[b'a'; 4_000])), (HeldBack::Calls, 1));
    }
}

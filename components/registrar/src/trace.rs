//! The messages of the last hour, in memory: what an operator looks at when a phone does not register or a call does not come.
//!
//! Bounded in time and in bytes, the oldest go first; credentials and media keys are taken out before a message is kept. Read
//! over a socket in the file system that root alone may open (`ringdown sip trace`): messages have people's numbers in them.

mod door;
mod redact;
mod selection;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use ringdown_registrar_core::flow::Flow;
use serde::Serialize;
use tokio::sync::broadcast;

pub(crate) use door::Door;

/// For how long messages are kept.
const KEPT_MS: u64 = 3_600_000;
/// What an entry costs beside its message, about.
const OVERHEAD: usize = 160;
/// Messages a live reader may be behind.
const BEHIND: usize = 4_096;

/// A message that was received or sent.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Entry {
    /// When, UTC milliseconds.
    at_ms: u64,
    /// Sent by us; else received.
    sent: bool,
    /// `udp`, `tcp`, `tls`, `ws`, `wss`.
    transport: &'static str,
    /// Our address, when it is known.
    local: Option<SocketAddr>,
    /// The other's.
    peer: SocketAddr,
    /// The message without credentials and keys; what is no text in it is replaced.
    message: String,
}

#[derive(Debug, Default)]
struct Kept {
    entries: VecDeque<Arc<Entry>>,
    bytes: usize,
}

/// The recorder; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Trace {
    kept: Arc<Mutex<Kept>>,
    most_bytes: usize,
    live: broadcast::Sender<Arc<Entry>>,
}

impl Trace {
    /// A recorder that keeps at most so many bytes; with 0 it keeps nothing.
    pub(crate) fn new(most_bytes: usize) -> Self {
        Self { kept: Arc::default(), most_bytes, live: broadcast::Sender::new(BEHIND) }
    }

    /// Notes a message. Pings of connections (nothing but line ends) are none.
    pub(crate) fn note(&self, at_ms: u64, sent: bool, flow: Flow, bytes: &[u8]) {
        if self.most_bytes == 0 || bytes.iter().all(u8::is_ascii_whitespace) {
            return;
        }
        let message = redact::redact(bytes);
        let entry =
            Entry { at_ms, sent, transport: flow.transport.label(), local: flow.local, peer: flow.peer, message };
        let entry = Arc::new(entry);
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.bytes += cost(&entry);
        kept.entries.push_back(Arc::clone(&entry));
        while let Some(oldest) = kept.entries.front()
            && (kept.bytes > self.most_bytes || oldest.at_ms + KEPT_MS < at_ms)
        {
            kept.bytes -= cost(oldest);
            kept.entries.pop_front();
        }
        // Sent while the lock is held: a reader who takes what is kept and then listens misses nothing. Nobody may listen.
        drop(self.live.send(entry));
    }

    /// What is kept, oldest first, and what comes from now on.
    fn read(&self) -> (Vec<Arc<Entry>>, broadcast::Receiver<Arc<Entry>>) {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        (kept.entries.iter().cloned().collect(), self.live.subscribe())
    }
}

fn cost(entry: &Entry) -> usize {
    entry.message.len() + OVERHEAD
}

#[cfg(test)]
mod tests {
    use super::*;

    const BYE: &[u8] = b"BYE sip:ada@10.0.0.1 SIP/2.0\r\nCall-ID: 1\r\n\r\n";

    fn flow() -> Flow {
        Flow::udp(0, "192.0.2.1:5060".parse().unwrap())
    }

    #[test]
    fn the_oldest_go_when_there_are_too_many_bytes() {
        let trace = Trace::new(3 * (BYE.len() + OVERHEAD));
        (0..10).for_each(|at_ms| trace.note(at_ms, false, flow(), BYE));
        let times: Vec<u64> = trace.read().0.iter().map(|entry| entry.at_ms).collect();
        assert_eq!(times, [7, 8, 9]);
    }

    #[test]
    fn what_is_older_than_an_hour_goes() {
        let trace = Trace::new(1_000_000);
        trace.note(0, false, flow(), BYE);
        trace.note(1_000, true, flow(), BYE);
        trace.note(KEPT_MS + 1, false, flow(), BYE);
        let times: Vec<u64> = trace.read().0.iter().map(|entry| entry.at_ms).collect();
        assert_eq!(times, [1_000, KEPT_MS + 1]);
    }

    #[test]
    fn nothing_is_kept_where_nothing_may_be_and_pings_never() {
        let none = Trace::new(0);
        none.note(0, false, flow(), BYE);
        assert!(none.read().0.is_empty());
        let some = Trace::new(1_000);
        some.note(0, false, flow(), b"\r\n\r\n");
        assert!(some.read().0.is_empty());
    }

    #[test]
    fn who_listens_hears_what_comes_after_what_was_kept() {
        let trace = Trace::new(10_000);
        trace.note(1, false, flow(), BYE);
        let (kept, mut live) = trace.read();
        trace.note(2, true, flow(), BYE);
        assert_eq!((kept.len(), live.try_recv().unwrap().at_ms), (1, 2));
    }
}

//! TCP connections of phones: bounded in number, in silence, in what waits to be written.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ringdown_registrar_core::bindings::Flow;
use ringdown_registrar_core::message::{Framed, StreamFramer};
use ringdown_service::{Life, within};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::time::Instant;

use crate::driver::Input;
use crate::metrics::RegistrarMetrics;

/// Messages that may wait to be written; a phone that reads slower than this is disconnected.
const OUTBOX: usize = 256;
/// Longest time to the first message, and for a begun message to be whole.
const MESSAGE_LIMIT: Duration = Duration::from_secs(30);
/// Longest silence: longer than the longest registration.
const IDLE_LIMIT: Duration = Duration::from_secs(3_700);
/// Longest time for one write.
const WRITE_LIMIT: Duration = Duration::from_secs(10);
/// After an error of the listener (no descriptors left), so that it cannot spin.
const PAUSE: Duration = Duration::from_millis(100);

/// What all listeners share.
#[derive(Clone)]
pub(crate) struct Connections {
    pub(crate) inbox: Sender<Input>,
    pub(crate) metrics: RegistrarMetrics,
    pub(crate) places: Arc<Semaphore>,
    pub(crate) numbers: Arc<AtomicU64>,
    pub(crate) life: Life,
}

/// Accepts until the daemon stops.
pub(crate) async fn accept(listener: TcpListener, shared: Connections) -> anyhow::Result<()> {
    let shutdown = shared.life.shutdown();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = shutdown.requested() => return Ok(()),
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                log::warn!(error:% = error; "accepting a connection failed");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let Ok(place) = Arc::clone(&shared.places).try_acquire_owned() else {
            shared.metrics.dropped("too_many_connections");
            continue;
        };
        let flow = Flow::tcp(shared.numbers.fetch_add(1, Ordering::Relaxed), peer);
        let flow = stream.local_addr().map_or(flow, |local| flow.reached_at(local.ip()));
        let connection = Connection { flow, inbox: shared.inbox.clone(), metrics: shared.metrics.clone() };
        shared.life.spawn_finite("sip-tcp", async move {
            connection.live(stream).await;
            drop(place);
        });
    }
}

struct Connection {
    flow: Flow,
    inbox: Sender<Input>,
    metrics: RegistrarMetrics,
}

/// Why a connection ends, for the log.
#[derive(Debug, thiserror::Error)]
enum End {
    #[error("closed by the phone")]
    Peer,
    #[error("closed by us")]
    Ours,
    #[error("silent for too long")]
    Idle,
    #[error("not SIP: {0}")]
    NotSip(#[from] ringdown_registrar_core::message::Unreadable),
    #[error("{0}")]
    Io(#[from] std::io::Error),
    #[error("{0}")]
    Slow(#[from] ringdown_service::TimedOut),
}

impl Connection {
    /// The whole life: told to the driver at both ends.
    async fn live(self, stream: TcpStream) {
        let (outbox, outgoing) = mpsc::channel(OUTBOX);
        let flow = self.flow;
        if self.inbox.send(Input::Opened { connection: flow.link, outbox }).await.is_err() {
            return;
        }
        let end = self.serve(stream, outgoing).await;
        if let End::NotSip(_) = end {
            self.metrics.dropped("broken_stream");
        }
        log::debug!(peer:% = flow.peer, why:% = end; "connection ended");
        // The driver is gone only when the daemon ends.
        let _ = self.inbox.send(Input::Closed { flow }).await;
    }

    async fn serve(&self, mut stream: TcpStream, mut outgoing: Receiver<Vec<u8>>) -> End {
        if let Err(error) = stream.set_nodelay(true) {
            return error.into();
        }
        let mut framer = StreamFramer::new();
        let mut buffer = vec![0_u8; 16_384];
        let mut until = Instant::now() + MESSAGE_LIMIT;
        loop {
            let step = tokio::select! {
                read = stream.read(&mut buffer) => match read {
                    Ok(0) => Err(End::Peer),
                    Ok(length) => self.take(&buffer[..length], &mut framer, &mut stream).await,
                    Err(error) => Err(error.into()),
                },
                bytes = outgoing.recv() => match bytes {
                    Some(bytes) => write(&mut stream, &bytes).await.map(|()| true),
                    None => Err(End::Ours),
                },
                () = tokio::time::sleep_until(until) => Err(End::Idle),
            };
            match step {
                // A begun message must become whole in the time it has.
                Ok(false) => until = until.min(Instant::now() + MESSAGE_LIMIT),
                Ok(true) => until = Instant::now() + IDLE_LIMIT,
                Err(end) => return end,
            }
        }
    }

    /// Hands whole messages on and answers pings; true when nothing is left over.
    async fn take(&self, bytes: &[u8], framer: &mut StreamFramer, stream: &mut TcpStream) -> Result<bool, End> {
        framer.push(bytes);
        while let Some(frame) = framer.next_frame()? {
            match frame {
                Framed::Ping => write(stream, b"\r\n").await?,
                Framed::Message(bytes) => {
                    // Waiting here is back pressure on this phone alone.
                    self.inbox.send(Input::Received { flow: self.flow, bytes }).await.map_err(|_| End::Ours)?;
                }
            }
        }
        Ok(framer.is_empty())
    }
}

async fn write(stream: &mut TcpStream, bytes: &[u8]) -> Result<(), End> {
    within("writing to a phone", WRITE_LIMIT, stream.write_all(bytes)).await??;
    Ok(())
}

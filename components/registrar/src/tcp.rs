//! TCP connections of phones: bounded in number, in silence, in what waits to be written.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ringdown_registrar_core::flow::Flow;
use ringdown_registrar_core::message::{Framed, StreamFramer};
use ringdown_service::{Life, within};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::time::Instant;

use crate::driver::Input;
use crate::metrics::RegistrarMetrics;
use crate::slots::{Slot, Slots, Standing};

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
    pub(crate) slots: Slots,
    /// How long a connection may stay before its phone has proved who it is.
    pub(crate) unproved_limit: Duration,
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
        let number = shared.numbers.fetch_add(1, Ordering::Relaxed);
        let Some(slot) = shared.slots.take(number, peer) else {
            shared.metrics.dropped("too_many_connections");
            continue;
        };
        let Ok(local) = stream.local_addr() else { continue };
        let flow = Flow::tcp(number, canonical(peer)).reached_at(canonical(local));
        let connection = Connection {
            flow,
            unproved_limit: shared.unproved_limit,
            inbox: shared.inbox.clone(),
            metrics: shared.metrics.clone(),
        };
        shared.life.spawn_finite("sip-tcp", async move {
            connection.live(stream, slot).await;
        });
    }
}

struct Connection {
    flow: Flow,
    unproved_limit: Duration,
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
    #[error("did not authenticate in time")]
    Unproved,
    #[error("gave its place to another")]
    GivenUp,
    #[error("not SIP: {0}")]
    NotSip(#[from] ringdown_registrar_core::message::Unreadable),
    #[error("{0}")]
    Io(#[from] std::io::Error),
    #[error("{0}")]
    Slow(#[from] ringdown_service::TimedOut),
}

impl Connection {
    /// The whole life: told to the driver at both ends.
    async fn live(self, stream: TcpStream, slot: Slot) {
        let (outbox, outgoing) = mpsc::channel(OUTBOX);
        let flow = self.flow;
        if self.inbox.send(Input::Opened { connection: flow.link, outbox }).await.is_err() {
            return;
        }
        let end = self.serve(stream, outgoing, slot).await;
        match end {
            End::NotSip(_) => self.metrics.dropped("broken_stream"),
            End::Unproved => self.metrics.dropped("unauthenticated_connection"),
            End::GivenUp => self.metrics.dropped("connection_gave_way"),
            End::Peer | End::Ours | End::Idle | End::Io(_) | End::Slow(_) => {}
        }
        log::debug!(peer:% = flow.peer, why:% = end; "connection ended");
        // The driver is gone only when the daemon ends.
        let _ = self.inbox.send(Input::Closed { flow }).await;
    }

    async fn serve(&self, mut stream: TcpStream, mut outgoing: Receiver<Vec<u8>>, mut slot: Slot) -> End {
        if let Err(error) = stream.set_nodelay(true) {
            return error.into();
        }
        let mut framer = StreamFramer::new();
        let mut buffer = vec![0_u8; 16_384];
        let prove_until = Instant::now() + self.unproved_limit;
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
                standing = slot.changed() => match standing {
                    Standing::GivenUp => Err(End::GivenUp),
                    Standing::Unproved | Standing::Proved => continue,
                },
                () = tokio::time::sleep_until(prove_until), if slot.standing() == Standing::Unproved => Err(End::Unproved),
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
                    let flow = self.flow;
                    // Waiting here is back pressure on this phone alone.
                    self.inbox.send(Input::Received { flow, bytes }).await.map_err(|_| End::Ours)?;
                }
            }
        }
        Ok(framer.is_empty())
    }
}

/// A peer that reached a socket on [::] over IPv4 is known by its IPv4 address.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

async fn write(stream: &mut TcpStream, bytes: &[u8]) -> Result<(), End> {
    within("writing to a phone", WRITE_LIMIT, stream.write_all(bytes)).await??;
    Ok(())
}

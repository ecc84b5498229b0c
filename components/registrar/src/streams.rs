//! Connections of phones over TCP, TLS and WebSockets: bounded in number, in silence, in what waits to be written.
//!
//! ```text
//! accept -> PROXY header (from load balancers only) -> place -> TLS -> WebSocket upgrade -> messages until an end
//! ```
//! [`bytes`] cuts messages out of a stream of bytes, [`web`] takes one from each WebSocket message, [`proxy`] reads who is
//! behind a load balancer.

mod bytes;
mod proxy;
mod web;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use nix::sys::socket::{setsockopt, sockopt};
use ringdown_registrar_core::flow::{Flow, Transport};
use ringdown_service::{Life, within};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::time::Instant;
use tokio_tungstenite::WebSocketStream;

use crate::certificates::Certificates;
use crate::driver::Input;
use crate::metrics::RegistrarMetrics;
use crate::slots::{Slot, Slots, Standing};

/// Messages that may wait to be written; a phone that reads slower than this is disconnected.
const OUTBOX: usize = 256;
/// Longest time for one write.
const WRITE_LIMIT: Duration = Duration::from_secs(10);
/// Longest time for a load balancer to say who is behind it.
const PROXY_LIMIT: Duration = Duration::from_secs(3);
/// After an error of the listener (no descriptors left), so that it cannot spin.
const PAUSE: Duration = Duration::from_millis(100);
/// The kernel asks a silent peer whether it is there after so many seconds, ...
const KEEP_ALIVE_IDLE_S: u32 = 60;
/// ... again after so many, ...
const KEEP_ALIVE_EVERY_S: u32 = 10;
/// ... and gives it up after so many questions without an answer.
const KEEP_ALIVE_TRIES: u32 = 3;

/// What all listeners share.
#[derive(Clone)]
pub(crate) struct Connections {
    pub(crate) inbox: Sender<Input>,
    pub(crate) metrics: RegistrarMetrics,
    pub(crate) slots: Slots,
    /// How long a connection may stay before its phone has proved who it is.
    pub(crate) unproved_limit: Duration,
    /// Load balancers whose PROXY header is read, and demanded.
    pub(crate) proxies: Vec<IpAddr>,
    /// What TLS and WSS show to who connects.
    pub(crate) certificates: Option<Certificates>,
    pub(crate) numbers: Arc<AtomicU64>,
    pub(crate) life: Life,
}

/// Accepts until the daemon stops.
pub(crate) async fn accept(
    listener: TcpListener,
    transport: Transport,
    connections: Connections,
) -> anyhow::Result<()> {
    let shutdown = connections.life.shutdown();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = shutdown.requested() => return Ok(()),
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                log::warn!(error:% = error; "accepting a connection failed");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        connections.life.spawn_finite("sip-connection", connections.clone().take(stream, transport));
    }
}

impl Connections {
    /// The whole life of a connection.
    async fn take(self, mut stream: TcpStream, transport: Transport) {
        let begun = Instant::now();
        let ends = match self.ends(&mut stream).await {
            Ok(ends) => ends,
            Err(error) => {
                log::debug!(error:% = error; "a connection without a sound beginning");
                return self.metrics.dropped("broken_proxy_header");
            }
        };
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let Some(slot) = self.slots.take(number, ends.peer) else {
            return self.metrics.dropped("too_many_connections");
        };
        let flow = Flow::stream(transport, number, ends.peer).reached_at(ends.local);
        let prove_until = begun + self.unproved_limit;
        Connection { flow, prove_until, connections: self }.live(stream, slot).await;
    }

    /// Who connected, and which address of ours was meant: behind a load balancer, what it says.
    async fn ends(&self, stream: &mut TcpStream) -> std::io::Result<Ends> {
        let seen = Ends { peer: canonical(stream.peer_addr()?), local: canonical(stream.local_addr()?) };
        if !self.proxies.contains(&seen.peer.ip()) {
            return Ok(seen);
        }
        let told = tokio::time::timeout(PROXY_LIMIT, proxy::read(stream))
            .await
            .map_err(|_| std::io::ErrorKind::TimedOut)??;
        Ok(told.unwrap_or(seen))
    }
}

/// The two ends of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ends {
    peer: SocketAddr,
    local: SocketAddr,
}

/// Bytes both ways, encrypted or not.
trait Bytes: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Bytes for S {}

/// A connection that is ready for messages.
enum Carrier {
    Bytes(Box<dyn Bytes>),
    Web(Box<WebSocketStream<Box<dyn Bytes>>>),
}

struct Connection {
    flow: Flow,
    prove_until: Instant,
    connections: Connections,
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
    #[error("there is no certificate yet")]
    NoCertificate,
    #[error("not SIP: {0}")]
    NotSip(#[from] ringdown_registrar_core::message::Unreadable),
    #[error("not a WebSocket for SIP: {0}")]
    NotWeb(Box<tokio_tungstenite::tungstenite::Error>),
    #[error("{0}")]
    Io(#[from] std::io::Error),
    #[error("{0}")]
    Slow(#[from] ringdown_service::TimedOut),
}

impl From<tokio_tungstenite::tungstenite::Error> for End {
    fn from(error: tokio_tungstenite::tungstenite::Error) -> Self {
        Self::NotWeb(Box::new(error))
    }
}

impl Connection {
    /// Told to the driver at both ends.
    async fn live(self, stream: TcpStream, mut slot: Slot) {
        let flow = self.flow;
        let end = match self.ready(stream, &mut slot).await {
            Ok(carrier) => {
                let (outbox, outgoing) = mpsc::channel(OUTBOX);
                if self.connections.inbox.send(Input::Opened { flow, outbox }).await.is_err() {
                    return;
                }
                let end = self.serve(carrier, outgoing, slot).await;
                // The driver is gone only when the daemon ends.
                let _ = self.connections.inbox.send(Input::Closed { flow }).await;
                end
            }
            Err(end) => end,
        };
        let metrics = &self.connections.metrics;
        match end {
            End::NotSip(_) | End::NotWeb(_) => metrics.dropped("broken_stream"),
            End::Unproved => metrics.dropped("unauthenticated_connection"),
            End::GivenUp => metrics.dropped("connection_gave_way"),
            End::NoCertificate => metrics.dropped("no_certificate"),
            End::Peer | End::Ours | End::Idle | End::Io(_) | End::Slow(_) => {}
        }
        log::debug!(peer:% = flow.peer, transport = flow.transport.label(), why:% = end; "connection ended");
    }

    /// Encryption and upgrade, in the time a stranger has.
    async fn ready(&self, stream: TcpStream, slot: &mut Slot) -> Result<Carrier, End> {
        tokio::select! {
            ready = self.carrier(stream) => ready,
            () = given_up(slot) => Err(End::GivenUp),
            () = tokio::time::sleep_until(self.prove_until) => Err(End::Unproved),
        }
    }

    async fn carrier(&self, stream: TcpStream) -> Result<Carrier, End> {
        stream.set_nodelay(true)?;
        keep_alive(&stream)?;
        Ok(match self.flow.transport {
            Transport::Udp | Transport::Tcp => Carrier::Bytes(Box::new(stream)),
            Transport::Tls => Carrier::Bytes(self.encrypted(stream).await?),
            Transport::Ws => Carrier::Web(Box::new(web::upgraded(Box::new(stream)).await?)),
            Transport::Wss => Carrier::Web(Box::new(web::upgraded(self.encrypted(stream).await?).await?)),
        })
    }

    async fn encrypted(&self, stream: TcpStream) -> Result<Box<dyn Bytes>, End> {
        let acceptor = self.connections.certificates.as_ref().and_then(Certificates::acceptor);
        let acceptor = acceptor.ok_or(End::NoCertificate)?;
        Ok(Box::new(acceptor.accept(stream).await?))
    }

    async fn serve(&self, carrier: Carrier, outgoing: Receiver<Vec<u8>>, slot: Slot) -> End {
        match carrier {
            Carrier::Bytes(stream) => self.serve_bytes(stream, outgoing, slot).await,
            Carrier::Web(socket) => self.serve_web(*socket, outgoing, slot).await,
        }
    }

    /// Hands a whole message on. Waiting here is back pressure on this phone alone.
    async fn received(&self, bytes: Vec<u8>) -> Result<(), End> {
        self.connections.inbox.send(Input::Received { flow: self.flow, bytes }).await.map_err(|_| End::Ours)
    }

    /// When a stranger's time is over; never for a phone that has proved who it is.
    async fn unproved(&self, standing: Standing) {
        match standing {
            Standing::Unproved => tokio::time::sleep_until(self.prove_until).await,
            Standing::Proved | Standing::GivenUp => std::future::pending().await,
        }
    }
}

/// When the connection's place goes to another.
async fn given_up(slot: &mut Slot) {
    while slot.changed().await != Standing::GivenUp {}
}

/// Has the kernel notice peers that vanished without a word.
fn keep_alive(stream: &TcpStream) -> std::io::Result<()> {
    setsockopt(stream, sockopt::KeepAlive, &true)?;
    setsockopt(stream, sockopt::TcpKeepIdle, &KEEP_ALIVE_IDLE_S)?;
    setsockopt(stream, sockopt::TcpKeepInterval, &KEEP_ALIVE_EVERY_S)?;
    setsockopt(stream, sockopt::TcpKeepCount, &KEEP_ALIVE_TRIES)?;
    Ok(())
}

/// A peer that reached a socket on [::] over IPv4 is known by its IPv4 address.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// A write with its limit.
async fn in_time<T, E>(write: impl Future<Output = Result<T, E>>) -> Result<T, End>
where
    End: From<E>,
{
    Ok(within("writing to a phone", WRITE_LIMIT, write).await??)
}

//! The websocket that brings Asterisk's events, and where Asterisk's own arrives. Only the node's owner accepts it, and not
//! beside one that this process has opened itself; Asterisk tries again four times a second.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::State;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use ringdown_service::{HttpLimits, Life};
use subtle::ConstantTimeEq;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use super::Config;

/// Events on their way from the socket to the node. When it is full, Asterisk waits, and queues on its side.
const EVENTS: usize = 4_096;
/// The largest event: a channel with all its fields has about 2 kB.
pub(super) const MAX_EVENT_BYTES: usize = 262_144;
/// We ping this often; an Asterisk that says nothing for three pings is gone.
const PING_EVERY: Duration = Duration::from_secs(1);

/// What arrives from Asterisk.
#[derive(Debug)]
pub(crate) enum Arrived {
    /// The websocket is open. The number tells connections apart.
    Connected(u64),
    /// An event's text, on this connection.
    Event(u64, String),
    /// This connection is over.
    Disconnected(u64),
}

/// Whether a websocket may come in, and where its events go. Cloning shares it.
#[derive(Clone)]
pub(crate) struct Gate(Arc<Inner>);

struct Inner {
    expected: String,
    state: Mutex<GateState>,
}

#[derive(Default)]
struct GateState {
    owner: Option<mpsc::Sender<Arrived>>,
    connections: u64,
    /// Asterisk answers, but its websocket does not come.
    missed: bool,
    /// This process has opened one itself, and it is not over.
    opened_here: bool,
}

impl Gate {
    pub(crate) fn new(config: &Config) -> Self {
        let pair = format!("{}:{}", config.user, config.password.expose());
        let expected = format!("Basic {}", BASE64_STANDARD.encode(pair));
        Self(Arc::new(Inner { expected, state: Mutex::default() }))
    }

    /// This process owns the node: events go to the receiver.
    pub(crate) fn open(&self) -> mpsc::Receiver<Arrived> {
        let (sender, receiver) = mpsc::channel(EVENTS);
        self.lock().owner = Some(sender);
        receiver
    }

    /// This process does not own the node any more.
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        state.owner = None;
        state.missed = false;
    }

    /// Says whether Asterisk's websocket is waited for in vain, though Asterisk answers.
    pub(crate) fn miss(&self, missed: bool) {
        self.lock().missed = missed;
    }

    /// Whether it is.
    pub(crate) fn is_missed(&self) -> bool {
        self.lock().missed
    }

    /// Whether this process owns the node.
    pub(crate) fn is_open(&self) -> bool {
        self.lock().owner.as_ref().is_some_and(|owner| !owner.is_closed())
    }

    /// A number for a connection that Asterisk opens, and where its events go; none when this process does not own the node,
    /// or has opened one itself.
    fn enter(&self) -> Option<(u64, mpsc::Sender<Arrived>)> {
        let mut state = self.lock();
        if state.opened_here { None } else { state.enter() }
    }

    /// The same for a connection that this process has opened, until [`Gate::leave`].
    pub(super) fn enter_opened(&self) -> Option<(u64, mpsc::Sender<Arrived>)> {
        let mut state = self.lock();
        let entered = state.enter();
        state.opened_here = entered.is_some();
        entered
    }

    /// The connection that this process had opened is over.
    pub(super) fn leave(&self) {
        self.lock().opened_here = false;
    }

    fn is_asterisk(&self, headers: &HeaderMap) -> bool {
        let shown = headers.get(header::AUTHORIZATION).map_or(&b""[..], |value| value.as_bytes());
        shown.ct_eq(self.0.expected.as_bytes()).into()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, GateState> {
        // Each change is one assignment, so a panic elsewhere leaves the state whole.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl GateState {
    fn enter(&mut self) -> Option<(u64, mpsc::Sender<Arrived>)> {
        let owner = self.owner.clone().filter(|owner| !owner.is_closed())?;
        self.connections += 1;
        Some((self.connections, owner))
    }
}

/// Serves the port until shutdown.
pub(crate) fn serve(life: &Life, listener: TcpListener, gate: Gate) {
    let router = Router::new().route("/ari", get(upgrade)).with_state(gate);
    let limits = HttpLimits { connections: 16, prompt: true, ..HttpLimits::default() };
    life.serve_http("ari_socket", listener, router, limits);
}

async fn upgrade(State(gate): State<Gate>, headers: HeaderMap, upgrade: WebSocketUpgrade) -> Response {
    if !gate.is_asterisk(&headers) {
        log::warn!("a websocket with a wrong user or password was refused");
        return (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, "Basic realm=\"ringdown\"")]).into_response();
    }
    let Some((number, owner)) = gate.enter() else {
        return (StatusCode::SERVICE_UNAVAILABLE, "not the owner of this node, or one is open already\n")
            .into_response();
    };
    upgrade
        .protocols(["ari"])
        .max_message_size(MAX_EVENT_BYTES)
        .on_upgrade(move |socket| relay(number, owner, Accepted(socket)))
}

/// What a websocket says.
pub(super) enum Heard {
    /// An event's text.
    Event(String),
    /// It lives.
    Life,
    /// It is over.
    End,
}

/// A websocket, whichever side opened it.
pub(super) trait Line {
    async fn next(&mut self) -> Heard;

    /// `false` when it is over.
    async fn ping(&mut self) -> bool;
}

struct Accepted(WebSocket);

impl Line for Accepted {
    async fn next(&mut self) -> Heard {
        match self.0.recv().await {
            Some(Ok(Message::Text(text))) => Heard::Event(text.to_string()),
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Binary(_))) => Heard::Life,
            Some(Ok(Message::Close(_)) | Err(_)) | None => Heard::End,
        }
    }

    async fn ping(&mut self) -> bool {
        self.0.send(Message::Ping(axum::body::Bytes::new())).await.is_ok()
    }
}

/// Hands events on until either side is gone.
pub(super) async fn relay(number: u64, owner: mpsc::Sender<Arrived>, mut line: impl Line) {
    if owner.send(Arrived::Connected(number)).await.is_err() {
        return;
    }
    let mut ping = tokio::time::interval(PING_EVERY);
    let mut heard = Instant::now();
    loop {
        tokio::select! {
            said = line.next() => {
                match said {
                    Heard::Event(text) => if owner.send(Arrived::Event(number, text)).await.is_err() { break },
                    Heard::Life => {}
                    Heard::End => break,
                }
                // After the hand-over: while we were the slow ones, Asterisk was not.
                heard = Instant::now();
            }
            _ = ping.tick() => {
                let dead = heard.elapsed() > PING_EVERY * 3;
                if dead || owner.is_closed() || !line.ping().await {
                    break;
                }
            }
        }
    }
    // An owner that is gone needs no word about it.
    if owner.send(Arrived::Disconnected(number)).await.is_err() {
        log::debug!("the websocket's owner left first");
    }
}

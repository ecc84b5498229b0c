//! Opens the websocket for an Asterisk that cannot (before 22), or does not: the classic inbound one, `GET /ari/events`.
//!
//! Asterisk 22 opens it itself, and may stop trying. When the acd is killed while Asterisk writes an event, the writing thread
//! closes the socket under the thread that waits on it (`res_http_websocket.c`, `websocket_close` by force); when the
//! descriptor's number is taken by something else before that thread looks again, it waits on the wrong one, maybe for ever.
//! All else in Asterisk goes on, so this process comes to Asterisk then. The application is that connection's from then on
//! and goes with it, so the next process will come to Asterisk too, until Asterisk is started anew.
//!
//! Nothing is queued for a reader who is away. What happened in between is found by the listing after each connection, and
//! callers who come meanwhile are kept by the dialplan, which tries for five seconds.

use std::time::Duration;

use anyhow::Context;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use futures_util::{SinkExt, StreamExt};
use ringdown_service::Life;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::handshake::client::Request;
use tokio_tungstenite::tungstenite::http::{HeaderValue, header};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async_with_config};

use super::Config;
use super::metrics::VoiceMetrics;
use super::socket::{Gate, Heard, Line, MAX_EVENT_BYTES, relay};

/// How often a connection is tried, and how often a process that does not own the node looks whether it does.
const TRY_EVERY: Duration = Duration::from_millis(250);
/// Longest wait for one connection.
const CONNECT_LIMIT: Duration = Duration::from_secs(2);

/// The request that opens the websocket.
///
/// # Errors
/// `RINGDOWN_ARI_URL` or the user's name cannot stand in a request.
pub(crate) fn request(config: &Config) -> anyhow::Result<Request> {
    let base = config.ari.expose().trim_end_matches('/');
    let rest = base.strip_prefix("http://").context("RINGDOWN_ARI_URL does not start with http://")?;
    let url = format!("ws://{rest}/events?app=acd&subscribeAll=false");
    let mut request = url.into_client_request().context("RINGDOWN_ARI_URL cannot be asked for a websocket")?;
    let pair = BASE64_STANDARD.encode(format!("{}:{}", config.user, config.password.expose()));
    let mut shown = HeaderValue::from_str(&format!("Basic {pair}")).context("RINGDOWN_ARI_USER")?;
    shown.set_sensitive(true);
    request.headers_mut().insert(header::AUTHORIZATION, shown);
    request.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static("ari"));
    Ok(request)
}

/// When this process opens the websocket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Opens {
    /// Asterisk never does.
    Always,
    /// When Asterisk's own is waited for in vain.
    WhenMissed,
}

/// Keeps a websocket open while this process owns the node, until shutdown.
pub(crate) async fn run(
    request: Request,
    opens: Opens,
    gate: Gate,
    metrics: VoiceMetrics,
    life: Life,
) -> anyhow::Result<()> {
    let shutdown = life.shutdown();
    let mut quiet = false;
    while !shutdown.is_requested() {
        if gate.is_open() && (opens == Opens::Always || gate.is_missed()) {
            match connect(&request).await {
                Ok(line) => {
                    quiet = false;
                    // An ownership that ended meanwhile closes the line at once.
                    if let Some((number, owner)) = gate.enter_opened() {
                        let missed = opens == Opens::WhenMissed;
                        if missed {
                            log::warn!(
                                "Asterisk answers but does not open its websocket: it was opened from here, and calls are \
                                 served. Restart Asterisk when it has no calls"
                            );
                        }
                        metrics.opened_here.set(i64::from(missed));
                        relay(number, owner, line).await;
                        gate.leave();
                        metrics.opened_here.set(0);
                    }
                }
                Err(error) => {
                    // Once per absence: the node's readiness says the rest.
                    if !std::mem::replace(&mut quiet, true) {
                        log::warn!(error:% = error; "Asterisk's websocket cannot be opened; tried again four times a second");
                    }
                }
            }
        }
        tokio::select! {
            () = tokio::time::sleep(TRY_EVERY) => {}
            () = shutdown.requested() => {}
        }
    }
    Ok(())
}

async fn connect(request: &Request) -> anyhow::Result<Opened> {
    let config = WebSocketConfig::default().max_message_size(Some(MAX_EVENT_BYTES));
    let connecting = connect_async_with_config(request.clone(), Some(config), true);
    let (stream, _answer) = tokio::time::timeout(CONNECT_LIMIT, connecting).await.context("no answer in time")??;
    Ok(Opened(stream))
}

struct Opened(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Line for Opened {
    async fn next(&mut self) -> Heard {
        match self.0.next().await {
            Some(Ok(Message::Text(text))) => Heard::Event(text.to_string()),
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Binary(_) | Message::Frame(_))) => Heard::Life,
            Some(Ok(Message::Close(_)) | Err(_)) | None => Heard::End,
        }
    }

    async fn ping(&mut self) -> bool {
        let sent: Result<(), Error> = self.0.send(Message::Ping(Vec::new().into())).await;
        sent.is_ok()
    }
}

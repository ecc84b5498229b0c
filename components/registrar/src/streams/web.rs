//! SIP over WebSockets (RFC 7118): each WebSocket message is one SIP message.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use ringdown_registrar_core::message::{MAX_MESSAGE_BYTES, Message as SipMessage};
use tokio::sync::mpsc::Receiver;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::http::header::SEC_WEBSOCKET_PROTOCOL;
use tokio_tungstenite::tungstenite::http::{HeaderValue, StatusCode};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Bytes as WebBytes, Message};
use tokio_tungstenite::{WebSocketStream, accept_hdr_async_with_config};

use super::{Bytes, Connection, End, in_time};
use crate::slots::{Slot, Standing};

/// The subprotocol that a client must ask for (RFC 7118 4.1).
const PROTOCOL: &str = "sip";
/// How often a browser is asked whether it is there: it answers by itself, and routers on the way keep the connection.
const PING_EVERY: Duration = Duration::from_secs(15);
/// Longest silence, two pings and their answers: a lid was closed, a network is gone.
const SILENCE_LIMIT: Duration = Duration::from_secs(40);

/// The connection as a WebSocket; refused with 400 when the client does not speak SIP.
pub(super) async fn upgraded(stream: Box<dyn Bytes>) -> Result<WebSocketStream<Box<dyn Bytes>>, End> {
    let limits = WebSocketConfig::default()
        .max_message_size(Some(MAX_MESSAGE_BYTES))
        .max_frame_size(Some(MAX_MESSAGE_BYTES))
        // Each message is written at once; one that is not written in time ends the connection.
        .write_buffer_size(0)
        .max_write_buffer_size(MAX_MESSAGE_BYTES * 4);
    Ok(accept_hdr_async_with_config(stream, speaks_sip, Some(limits)).await?)
}

#[expect(clippy::result_large_err, reason = "the library's signature")]
fn speaks_sip(request: &Request, mut response: Response) -> Result<Response, ErrorResponse> {
    let offered = request.headers().get_all(SEC_WEBSOCKET_PROTOCOL);
    let names = offered.iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    if names.map(str::trim).any(|name| name.eq_ignore_ascii_case(PROTOCOL)) {
        response.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(PROTOCOL));
        return Ok(response);
    }
    let mut refusal = ErrorResponse::new(Some("this WebSocket is for the subprotocol sip\n".to_owned()));
    *refusal.status_mut() = StatusCode::BAD_REQUEST;
    Err(refusal)
}

impl Connection {
    pub(super) async fn serve_web(
        &self,
        mut socket: WebSocketStream<Box<dyn Bytes>>,
        mut outgoing: Receiver<Vec<u8>>,
        mut slot: Slot,
    ) -> End {
        let mut heard = Instant::now();
        let mut ping = tokio::time::interval_at(heard + PING_EVERY, PING_EVERY);
        ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let standing = slot.standing();
            let step = tokio::select! {
                message = socket.next() => {
                    heard = Instant::now();
                    match message {
                        None => Err(End::Peer),
                        Some(Err(error)) => Err(error.into()),
                        Some(Ok(message)) => self.take_web(message, &mut socket).await,
                    }
                }
                bytes = outgoing.recv() => match bytes {
                    Some(bytes) => in_time(socket.send(written(bytes))).await,
                    None => {
                        // Who is gone already needs no good-bye.
                        let _ = in_time(socket.close(None)).await;
                        Err(End::Ours)
                    }
                },
                _ = ping.tick() => in_time(socket.send(Message::Ping(WebBytes::new()))).await,
                standing = slot.changed() => match standing {
                    Standing::GivenUp => Err(End::GivenUp),
                    Standing::Unproved | Standing::Proved => continue,
                },
                () = self.unproved(standing) => Err(End::Unproved),
                () = tokio::time::sleep_until(heard + SILENCE_LIMIT) => Err(End::Idle),
            };
            if let Err(end) = step {
                return end;
            }
        }
    }

    /// Hands a message on; a keep-alive ping (RFC 5626 3.5.1, sent by some browsers' phones) gets its pong.
    async fn take_web(&self, message: Message, socket: &mut WebSocketStream<Box<dyn Bytes>>) -> Result<(), End> {
        let bytes = match message {
            Message::Text(text) => text.as_bytes().to_vec(),
            Message::Binary(bytes) => bytes.to_vec(),
            Message::Close(_) => return Err(End::Peer),
            Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => return Ok(()),
        };
        if bytes == b"\r\n\r\n" {
            return in_time(socket.send(Message::text("\r\n"))).await;
        }
        // A message that cannot be read says that something else than SIP is spoken: nothing good follows.
        SipMessage::read(&bytes)?;
        self.received(bytes).await
    }
}

/// Text, as browsers' phones expect it; what is not UTF-8 goes as bytes.
fn written(bytes: Vec<u8>) -> Message {
    match String::from_utf8(bytes) {
        Ok(text) => Message::text(text),
        Err(error) => Message::binary(error.into_bytes()),
    }
}

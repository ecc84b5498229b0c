//! Talks to rtpengines by their ng protocol: several, each with its weight, those that answer are told to the core.
//!
//! A question is a datagram with a cookie in front; its answer carries the same cookie. What is lost is asked again with the
//! same cookie, which rtpengine answers as before. Nobody waits for another one's answer.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ringdown_registrar_core::bencode::Value;
use ringdown_registrar_core::edge::{MediaNode, MediaOrder, MediaQuestion, Towards};
use ringdown_service::{Life, Shutdown, entropy};
use tokio::net::UdpSocket;
use tokio::sync::mpsc::Sender;
use tokio::sync::oneshot;

use crate::driver::Input;

/// How long an answer is waited for before the question is asked again.
const ANSWER_LIMIT: Duration = Duration::from_millis(300);
/// How often a question is asked: 1.2 s in all, less than a node waits before it repeats an INVITE twice.
const TRIES: u32 = 4;
/// How often each rtpengine is asked whether it is there.
const PING_EVERY: Duration = Duration::from_secs(1);
/// Pings without an answer in a row after which one counts as gone: slow is not dead.
const MISSES: u32 = 3;
/// Questions of one rtpengine without an answer at once: two seconds of what one answers.
const MAX_PENDING: usize = 2_000;

/// Where an rtpengine is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MediaPlace {
    /// Its ng port.
    pub address: SocketAddr,
    /// Its part of the calls.
    pub weight: u32,
}

/// The way to all of them. Cloning shares it.
#[derive(Clone)]
pub(crate) struct Media {
    engines: Arc<Vec<Engine>>,
    inbox: Sender<Input>,
    life: Life,
}

struct Engine {
    place: MediaPlace,
    id: u64,
    socket: UdpSocket,
    cookie: String,
    next: AtomicU64,
    pending: Mutex<HashMap<String, oneshot::Sender<Vec<u8>>>>,
}

impl Media {
    /// Opens the sockets and begins to ask who is there.
    pub(crate) async fn start(places: &[MediaPlace], inbox: &Sender<Input>, life: &Life) -> std::io::Result<Self> {
        let mut engines = Vec::with_capacity(places.len());
        for place in places {
            engines.push(Engine::open(*place).await?);
        }
        let media = Self { engines: Arc::new(engines), inbox: inbox.clone(), life: life.clone() };
        for at in 0..media.engines.len() {
            life.spawn("rtpengine-answers", media.clone().hear(at));
        }
        life.spawn("rtpengine-health", media.clone().watch(life.shutdown()));
        Ok(media)
    }

    /// Asks; what became of it is told to the driver.
    pub(crate) fn ask(&self, operation: u64, order: Box<MediaOrder>) {
        let media = self.clone();
        self.life.spawn_finite("rtpengine-question", async move {
            let answer = match media.engine(order.node) {
                Some(engine) => engine.ask(&question(&order)).await,
                None => None,
            };
            let sdp = answer.as_ref().and_then(|answer| answer.get("sdp")?.bytes()).map(<[u8]>::to_vec);
            if sdp.is_none() {
                let reason = answer.as_ref().and_then(|answer| answer.get("error-reason")?.bytes());
                let reason = reason.map_or("no answer".into(), String::from_utf8_lossy);
                log::warn!(call = order.call.as_str(), reason = reason.as_ref(); "rtpengine made no session description");
            }
            // The driver is gone only when the daemon ends.
            let _ = media.inbox.send(Input::Media { operation, sdp }).await;
        });
    }

    /// Ends a call there; one that never was is no fault.
    pub(crate) fn end(&self, node: u64, call: String) {
        let media = self.clone();
        self.life.spawn_finite("rtpengine-end", async move {
            let delete = Value::dictionary(vec![
                ("command", Value::text("delete")),
                ("call-id", Value::text(&call)),
                ("delete-delay", Value::Number(0)),
            ]);
            if let Some(engine) = media.engine(node)
                && engine.ask(&delete).await.is_none()
            {
                log::debug!(call; "rtpengine did not confirm the end of a call; it ends there when it falls silent");
            }
        });
    }

    fn engine(&self, id: u64) -> Option<&Engine> {
        self.engines.iter().find(|engine| engine.id == id)
    }

    async fn hear(self, at: usize) -> anyhow::Result<()> {
        let shutdown = self.life.shutdown();
        tokio::select! {
            () = shutdown.requested() => Ok(()),
            () = self.engines[at].hear() => Ok(()),
        }
    }

    async fn watch(self, shutdown: Shutdown) -> anyhow::Result<()> {
        let mut misses = vec![MISSES; self.engines.len()];
        let mut told = Vec::new();
        let mut turn = tokio::time::interval(PING_EVERY);
        loop {
            tokio::select! {
                _ = turn.tick() => {}
                () = shutdown.requested() => return Ok(()),
            }
            let pings = self.engines.iter().map(Engine::answers);
            for (missed, answers) in misses.iter_mut().zip(futures_util::future::join_all(pings).await) {
                *missed = if answers { 0 } else { (*missed + 1).min(MISSES) };
            }
            let there = self.engines.iter().zip(&misses).filter(|(_, missed)| **missed < MISSES);
            let there: Vec<MediaNode> = there.map(|(engine, _)| engine.node()).collect();
            if there != told {
                log::info!(there = there.len(), of = self.engines.len(); "rtpengines that answer");
                told.clone_from(&there);
                self.inbox.send(Input::MediaNodes(there)).await?;
            }
        }
    }
}

impl Engine {
    async fn open(place: MediaPlace) -> std::io::Result<Self> {
        let any = if place.address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        let socket = UdpSocket::bind(any).await?;
        socket.connect(place.address).await?;
        Ok(Self {
            place,
            id: MediaNode::at(place.address, place.weight).id,
            socket,
            cookie: format!("{:016x}", u64::from_be_bytes(entropy::bytes())),
            next: AtomicU64::new(0),
            pending: Mutex::default(),
        })
    }

    fn node(&self) -> MediaNode {
        MediaNode { id: self.id, weight: self.place.weight }
    }

    async fn answers(&self) -> bool {
        let ping = Value::dictionary(vec![("command", Value::text("ping"))]);
        self.try_ask(&ping, 2).await.is_some()
    }

    async fn ask(&self, question: &Value) -> Option<Value> {
        self.try_ask(question, TRIES).await
    }

    async fn try_ask(&self, question: &Value, tries: u32) -> Option<Value> {
        let cookie = format!("{}_{}", self.cookie, self.next.fetch_add(1, Ordering::Relaxed));
        let (answer, mut answered) = oneshot::channel();
        {
            let mut pending = self.pending();
            if pending.len() >= MAX_PENDING {
                return None;
            }
            pending.insert(cookie.clone(), answer);
        }
        let mut datagram = format!("{cookie} ").into_bytes();
        datagram.extend_from_slice(&question.encode());
        let mut found = None;
        for _ in 0..tries {
            // What could not be sent is asked again, like what was lost.
            if let Err(error) = self.socket.send(&datagram).await {
                log::debug!(error:% = error; "a question to rtpengine could not be sent");
            }
            if let Ok(answer) = tokio::time::timeout(ANSWER_LIMIT, &mut answered).await {
                found = answer.ok();
                break;
            }
        }
        self.pending().remove(&cookie);
        Value::decode(&found?)
    }

    async fn hear(&self) {
        let mut buffer = vec![0_u8; 65_536];
        loop {
            let Ok(length) = self.socket.recv(&mut buffer).await else {
                // The port is closed: pings say so, and this must not spin.
                tokio::time::sleep(ANSWER_LIMIT).await;
                continue;
            };
            let Some(space) = buffer[..length].iter().position(|&byte| byte == b' ') else { continue };
            let Ok(cookie) = str::from_utf8(&buffer[..space]) else { continue };
            if let Some(answer) = self.pending().remove(cookie) {
                // Who asked may have given up.
                let _ = answer.send(buffer[space + 1..length].to_vec());
            }
        }
    }

    fn pending(&self) -> std::sync::MutexGuard<'_, HashMap<String, oneshot::Sender<Vec<u8>>>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Flags that work between Chromium and Asterisk (measured). Each description is made for who gets it.
fn question(order: &MediaOrder) -> Value {
    let command = match order.question {
        MediaQuestion::Offer => "offer",
        MediaQuestion::Answer => "answer",
    };
    let mut entries = vec![
        ("command", Value::text(command)),
        ("call-id", Value::text(&order.call)),
        ("from-tag", Value::text(&order.from_tag)),
        ("sdp", Value::text(&order.sdp)),
        ("replace", Value::texts(&["origin", "session-connection"])),
    ];
    if let Some(tag) = &order.to_tag {
        entries.push(("to-tag", Value::text(tag)));
    }
    match order.towards {
        Towards::Browser => {
            let mux: &[&str] =
                if order.question == MediaQuestion::Offer { &["offer", "require"] } else { &["require"] };
            entries.push(("transport-protocol", Value::text("UDP/TLS/RTP/SAVPF")));
            entries.push(("ICE", Value::text("force")));
            entries.push(("rtcp-mux", Value::texts(mux)));
            entries.push(("SDES", Value::texts(&["off"])));
            entries.push(("flags", Value::texts(&["generate-mid"])));
        }
        Towards::Node => {
            entries.push(("transport-protocol", Value::text("RTP/AVP")));
            entries.push(("ICE", Value::text("remove")));
            entries.push(("rtcp-mux", Value::texts(&["demux"])));
        }
    }
    Value::dictionary(entries)
}

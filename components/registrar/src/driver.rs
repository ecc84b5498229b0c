//! The one task that owns the core: waits for one thing, feeds one input, carries out all effects, waits again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ringdown_registrar_core::bindings::{Aor, Binding};
use ringdown_registrar_core::edge::{Directory, Edge, Effect, MediaNode, ShortLived, StoreResult};
use ringdown_registrar_core::flow::Flow;
use ringdown_service::{Clock, Heartbeat, Life, Shutdown};
use tokio::sync::mpsc::{Receiver, Sender};
use tokio::time::{Instant, sleep_until};

use crate::media::Media;
use crate::metrics::RegistrarMetrics;
use crate::slots::Slots;
use crate::sockets::{self, SipSocket};
use crate::store::{Order, Store};
use crate::trace::Trace;
use crate::warnings::GuessWarnings;

/// Inputs that may wait: about 20 ms of work.
pub(crate) const INBOX: usize = 4_096;
/// How often gauges are shown and the heartbeat is touched when nothing happens.
const TURN: Duration = Duration::from_secs(1);
/// After SIGTERM, how long requests on their way may take to get their answers.
const FINISH_LIMIT: Duration = Duration::from_secs(3);

/// What happens outside of the core.
#[derive(Debug)]
pub(crate) enum Input {
    /// A datagram or a whole message of a stream.
    Received { flow: Flow, bytes: Vec<u8> },
    /// A connection was accepted; what is put into its outbox is written.
    Opened { flow: Flow, outbox: Sender<Vec<u8>> },
    /// It ended.
    Closed { flow: Flow },
    /// What became of an order to the store.
    Stored { operation: u64, result: StoreResult },
    /// Who exists.
    Directory(Directory),
    /// What proves a user for a while, all of it.
    ShortLived { aor: Aor, credentials: Vec<ShortLived> },
    /// The rtpengines that answer.
    MediaNodes(Vec<MediaNode>),
    /// What an rtpengine made of a session description.
    Media { operation: u64, sdp: Option<Vec<u8>> },
    /// Where an AOR was registered before we started.
    Loaded { aor: Aor, bindings: Vec<Binding> },
}

/// What the driver hands things to.
pub(crate) struct Surroundings {
    pub(crate) slots: Slots,
    pub(crate) store: Store,
    pub(crate) media: Media,
    pub(crate) trace: Trace,
    pub(crate) metrics: RegistrarMetrics,
}

/// The owner of the core.
pub(crate) struct Driver {
    edge: Edge,
    sockets: Vec<Arc<SipSocket>>,
    connections: BTreeMap<u64, Sender<Vec<u8>>>,
    slots: Slots,
    warnings: GuessWarnings,
    store: Store,
    media: Media,
    trace: Trace,
    metrics: RegistrarMetrics,
    clock: Clock,
    shutdown: Shutdown,
    heartbeat: Heartbeat,
}

impl Driver {
    pub(crate) fn new(edge: Edge, sockets: Vec<Arc<SipSocket>>, surroundings: Surroundings, life: &Life) -> Self {
        let Surroundings { slots, store, media, trace, metrics } = surroundings;
        Self {
            edge,
            sockets,
            connections: BTreeMap::new(),
            slots,
            warnings: GuessWarnings::new(Instant::now()),
            store,
            media,
            trace,
            metrics,
            clock: life.clock().clone(),
            shutdown: life.shutdown(),
            heartbeat: life.heartbeat("sip", TURN * 5),
        }
    }

    /// Until the daemon stops and the requests on their way have their answers, or had their time.
    pub(crate) async fn drive(mut self, mut inbox: Receiver<Input>) -> anyhow::Result<()> {
        let shutdown = self.shutdown.clone();
        let mut turn = tokio::time::interval(TURN);
        loop {
            let deadline = self.deadline();
            tokio::select! {
                input = inbox.recv() => match input {
                    Some(input) => self.feed(input),
                    None => return Ok(()),
                },
                () = sleep_until(deadline) => self.tick(),
                _ = turn.tick() => self.show(),
                () = shutdown.requested() => break,
            }
        }
        self.finish(&mut inbox).await;
        Ok(())
    }

    async fn finish(&mut self, inbox: &mut Receiver<Input>) {
        let limit = Instant::now() + FINISH_LIMIT;
        while self.edge.gauges().pending_forks > 0 {
            let deadline = self.deadline().min(limit);
            tokio::select! {
                Some(input) = inbox.recv() => self.feed(input),
                () = sleep_until(deadline) => self.tick(),
            }
            if Instant::now() >= limit {
                return;
            }
        }
    }

    fn feed(&mut self, input: Input) {
        let now_ms = self.clock.now().0;
        match input {
            Input::Received { flow, bytes } => {
                self.trace.note(now_ms, false, flow, &bytes);
                self.edge.receive(flow, &bytes, now_ms);
            }
            Input::Opened { flow, outbox } => {
                self.connections.insert(flow.link, outbox);
                self.edge.opened(flow.link);
            }
            Input::Closed { flow } => {
                self.connections.remove(&flow.link);
                self.edge.closed(flow, now_ms);
            }
            Input::Stored { operation, result } => self.edge.stored(operation, result, now_ms),
            Input::Directory(directory) => self.edge.set_directory(directory),
            Input::MediaNodes(nodes) => {
                self.metrics.rtpengines(nodes.len());
                self.edge.set_media(nodes);
            }
            Input::Media { operation, sdp } => self.edge.media_done(operation, sdp.as_deref(), now_ms),
            Input::ShortLived { aor, credentials } => self.edge.set_short_lived(aor, credentials),
            Input::Loaded { aor, bindings } => self.edge.load_location(&aor, bindings, now_ms),
        }
        self.edge.tick(now_ms);
        self.carry_out(now_ms);
    }

    fn tick(&mut self) {
        let now_ms = self.clock.now().0;
        self.edge.tick(now_ms);
        self.carry_out(now_ms);
    }

    fn show(&mut self) {
        self.heartbeat.touch();
        self.metrics.show(self.edge.gauges(), self.connections.len());
    }

    fn carry_out(&mut self, now_ms: u64) {
        while let Some(effect) = self.edge.next_effect() {
            match effect {
                Effect::Send { flow, bytes } => self.send(flow, bytes, now_ms),
                Effect::Store { operation, tenant, aor, sender, changes } => {
                    let order = Order::Register { operation, sender, changes };
                    if !self.store.order(tenant, aor, order) {
                        self.edge.stored(operation, StoreResult::Unavailable, now_ms);
                    }
                }
                Effect::Forget { tenant, aor, binding } => {
                    if !self.store.order(tenant, aor, Order::Forget { binding }) {
                        log::debug!("no room to forget a binding; it expires in the store by itself");
                    }
                }
                Effect::Media { operation, order } => self.media.ask(operation, order),
                Effect::EndMedia { node, call } => self.media.end(node, call),
                Effect::Observe(observation) => self.metrics.observe(observation),
                Effect::Proved { connection } => self.slots.prove(connection),
                Effect::Guessing { source, user } => self.warnings.guessing(source, &user, Instant::now()),
            }
        }
    }

    /// Sends without waiting: a datagram that does not fit is lost as datagrams are, a connection that does not take
    /// more is closed.
    fn send(&mut self, flow: Flow, bytes: Vec<u8>, now_ms: u64) {
        self.trace.note(now_ms, true, flow, &bytes);
        match flow.connection() {
            None => match sockets::send(&self.sockets, &bytes, flow) {
                Ok(()) => {}
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    self.metrics.dropped("send_buffer_full")
                }
                Err(error) => {
                    log::debug!(peer:% = flow.peer, error:% = error; "a datagram could not be sent");
                    self.metrics.dropped("send_failed");
                    self.edge.unreachable(flow, now_ms);
                }
            },
            Some(connection) => {
                let taken = self.connections.get(&connection).is_some_and(|outbox| outbox.try_send(bytes).is_ok());
                if !taken {
                    self.metrics.dropped("connection_gone");
                    self.connections.remove(&connection);
                    self.edge.unreachable(flow, now_ms);
                }
            }
        }
    }

    fn deadline(&self) -> Instant {
        let now_ms = self.clock.now().0;
        let wait_ms = self.edge.next_deadline_ms().map_or(TURN.as_secs() * 1_000, |at_ms| at_ms.saturating_sub(now_ms));
        Instant::now() + Duration::from_millis(wait_ms.min(60_000))
    }
}

//! One media node while this process owns it: a single task that owns all its calls.
//!
//! It waits for one thing, feeds one input to one call, and hands the orders to that call's workers. Requests that may be
//! slow (listings, probes) run beside it and come back as inputs too.

mod listings;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ringdown_acd_core::call::{Call, Input, LegEnd, Order};
use ringdown_domain::{CommandId, InteractionId, TenantId, TimestampMs};
use ringdown_events::{Command, VoiceEffect, VoiceEffectEntry};
use ringdown_redis_store::{
    ConfigChange, ConfigReader, ConfigWatch, Lease, Retry, StoreError, StreamStart, keys, newest_stream_id, redis,
};
use ringdown_service::{HeldBack, Readiness};
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::Shared;
use super::ari::{AriError, node_status, owner_of};
use super::effects::{self, TenantEffect};
use super::event::{self, Arrival, Event, Said, What};
use super::listing::Listing;
use super::recovery::{self, Configs};
use super::socket::Arrived;
use super::worker::{Face, Feedback, Worker, channel_time};

/// How often everything is listed.
const LIST_EVERY: Duration = Duration::from_secs(2);
/// How long Asterisk's queued events may take after it connected, when our mark behind them does not come.
const QUEUE_DRAINED: Duration = Duration::from_millis(700);
/// How often Asterisk is asked whether it is there while its websocket is not.
const PROBE_EVERY: Duration = Duration::from_millis(500);
/// Probes in a row that Asterisk answers without a websocket that serves: it tries four times a second, so it will not come by
/// itself. Three seconds: the dialplan keeps a caller for five.
const MISSED_AFTER_PROBES: u32 = 6;
/// Refused connections in a row after which the node's Asterisk is dead: its port is closed, nothing hangs.
const DEAD_AFTER_REFUSED: u32 = 3;
/// Silences in a row (each a few seconds) after which it is dead too.
const DEAD_AFTER_SILENT: u32 = 4;
/// Listings in which an interaction without a channel must be missing before it is ended.
const UNCLAIMED_LISTINGS: u32 = 3;
/// Feedback and effects on their way to the node.
const INBOX: usize = 4_096;
/// Q.850 1: unallocated number; the caller hears 404.
const UNALLOCATED: u16 = 1;

/// Q.850 42: congestion; the caller's carrier hears 503 and may go another way.
const CONGESTION: u16 = 42;

/// What comes back from requests that run beside the node's task.
enum Report {
    Listing(Result<Listing, AriError>),
    Probe(Result<String, AriError>),
}

/// How far we are with what happened before Asterisk connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CatchUp {
    /// Not connected, or what Asterisk queued is still coming; since when.
    Queue(Instant),
    /// The queue is read; the first listing is asked for since then.
    Listing(Instant),
    /// We know what there is. From now on silence means something.
    Done,
}

struct Live {
    call: Call,
    worker: Worker,
    known_since: Instant,
    /// The SIP code a hang-up request named; the end itself may not.
    sip_code: Option<u16>,
}

/// See the module's text.
pub(crate) struct Node {
    shared: Shared,
    configs: Configs,
    watch: ConfigWatch,
    calls: HashMap<InteractionId, Live>,
    by_caller: HashMap<String, InteractionId>,
    /// Per tenant: journal entries up to here are in the state we took.
    taken_up_to: HashMap<TenantId, u64>,
    /// Interactions on this node for which nothing was found yet.
    unclaimed: HashMap<InteractionId, (TenantId, u32)>,
    /// Strangers of the last listing; those that are there twice are dealt with.
    strangers: HashSet<String>,
    /// When the node's Asterisk says it was started; none: dead or never seen.
    started: Option<String>,
    connected: Option<u64>,
    catch_up: CatchUp,
    /// Whether the connected Asterisk has said when it was started, and filters its events. It connects before it has
    /// booted, and answers 503 for a second.
    met: bool,
    /// Probes in a row that Asterisk answered without a websocket that serves.
    unserved: u32,
    refused: u32,
    silent: u32,
    feedback: (mpsc::Sender<Feedback>, mpsc::Receiver<Feedback>),
    reports: (mpsc::Sender<Report>, mpsc::Receiver<Report>),
    effects: mpsc::Receiver<TenantEffect>,
    /// Tenants whose effects the reader shall follow from now on.
    follow: mpsc::Sender<(TenantId, StreamStart)>,
    listing: bool,
    probing: bool,
    end: CancellationToken,
    _end: DropGuard,
}

impl Node {
    /// Builds the picture from Redis. Asterisk is asked when its websocket is there.
    pub(crate) async fn recover(shared: Shared) -> Result<Self, StoreError> {
        let reader = ConfigReader::new(shared.pool.clone(), "voice", shared.life.node().to_string());
        let end = CancellationToken::new();
        let (follow, follows) = mpsc::channel(INBOX);
        let reports = mpsc::channel(INBOX);
        let (sender, effects) = mpsc::channel(INBOX);
        shared.life.spawn_finite("voice effects", effects::follow(shared.clone(), follows, sender, end.clone()));
        let mut node = Self {
            started: read_started(&shared).await?,
            watch: reader.clone().watch(),
            configs: Configs::default(),
            calls: HashMap::new(),
            by_caller: HashMap::new(),
            taken_up_to: HashMap::new(),
            unclaimed: HashMap::new(),
            strangers: HashSet::new(),
            connected: None,
            catch_up: CatchUp::Queue(Instant::now()),
            met: false,
            unserved: 0,
            refused: 0,
            silent: 0,
            feedback: mpsc::channel(INBOX),
            reports,
            effects,
            follow,
            listing: false,
            probing: false,
            _end: end.clone().drop_guard(),
            end,
            shared,
        };
        for tenant in reader.tenants().await? {
            match reader.read(tenant).await {
                Ok(Some(config)) => node.configs.insert(Arc::new(config)),
                Ok(None) => continue,
                Err(error) => log::warn!(tenant:% = tenant, error:% = error; "configuration not readable"),
            }
            node.recover_tenant(tenant).await?;
        }
        log::info!(calls = node.calls.len(), unclaimed = node.unclaimed.len(); "calls taken over");
        Ok(node)
    }

    async fn recover_tenant(&mut self, tenant: TenantId) -> Result<(), StoreError> {
        let stream = keys::voice(tenant, &self.shared.config.node);
        let position = newest_stream_id(&self.shared.pool, &stream).await?;
        let state = recovery::read(&self.shared.pool, tenant, &self.shared.config.node).await?;
        self.taken_up_to.insert(tenant, state.seq);
        self.follow_tenant(tenant, StreamStart::After(position)).await;
        let Some(config) = self.configs.get(tenant).cloned() else { return Ok(()) };
        for (record, call) in state.calls {
            let Some(call) = call else {
                self.unclaimed.insert(record.id, (tenant, 0));
                continue;
            };
            let reported = call.reported();
            let inputs = recovery::inputs(&record, &call, &config);
            let face = Face {
                node: self.shared.config.node.clone(),
                queue: record.queue,
                caller_number: record.caller.clone(),
                dialled: record.called.clone(),
            };
            let id = self.adopt(call, face);
            if let Some(end) = reported {
                // Told before, and maybe lost with the process that told it; the router takes it once.
                self.give(id, vec![Order::EndInteraction(end.reason, end.at_ms)]);
            }
            for input in inputs {
                self.apply(id, input);
            }
        }
        Ok(())
    }

    /// Runs until the lease is lost or the daemon stops.
    pub(crate) async fn run(mut self, lease: &Lease, readiness: &Readiness) {
        let mut arrivals = self.shared.gate.open();
        let shutdown = self.shared.life.shutdown();
        let mut renew = tokio::time::interval(self.shared.config.lease_ttl / 4);
        let mut list = tokio::time::interval(LIST_EVERY);
        let mut probe = tokio::time::interval(PROBE_EVERY);
        for interval in [&mut renew, &mut list, &mut probe] {
            interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        }
        self.say(readiness);
        loop {
            let deadline = self.until_deadline();
            tokio::select! {
                () = shutdown.requested() => return,
                _ = renew.tick() => if !self.holds(lease).await { return },
                arrived = arrivals.recv() => match arrived {
                    Some(arrived) => self.arrived(arrived, readiness).await,
                    None => return,
                },
                Some(feedback) = self.feedback.1.recv() => self.apply(feedback.interaction, feedback.input),
                Some(report) = self.reports.1.recv() => self.report(report, readiness).await,
                Some((tenant, entry)) = self.effects.recv() => self.effect(tenant, entry),
                change = self.watch.next() => self.configured(change).await,
                () = tokio::time::sleep(deadline) => self.tick(),
                _ = list.tick() => self.start_listing(),
                _ = probe.tick() => {
                    if self.connected.is_some() && !self.met {
                        self.meet().await;
                        self.say(readiness);
                    }
                    self.start_probe();
                    if let CatchUp::Listing(_) = self.catch_up {
                        // It failed; nothing goes on before it.
                        self.start_listing();
                    }
                }
            }
        }
    }

    async fn holds(&self, lease: &Lease) -> bool {
        match lease.renew(&self.shared.pool).await {
            Ok(Ok(())) => true,
            Ok(Err(_)) => false,
            Err(_) => !lease.is_surely_over(),
        }
    }

    fn say(&self, readiness: &Readiness) {
        let ready = self.connected.is_some() && self.met;
        self.shared.metrics.connected.set(i64::from(ready));
        let counted = self.connected.is_some() && self.catch_up == CatchUp::Done;
        self.shared.metrics.counted.set(i64::from(counted));
        if ready {
            readiness.ready();
        } else {
            readiness.waiting("Asterisk's websocket");
        }
    }

    async fn arrived(&mut self, arrived: Arrived, readiness: &Readiness) {
        match arrived {
            Arrived::Connected(number) => {
                self.connected = Some(number);
                self.catch_up = CatchUp::Queue(Instant::now());
                self.met = false;
                log::info!(node:% = self.shared.config.node; "Asterisk is connected");
                self.meet().await;
            }
            Arrived::Disconnected(number) if self.connected == Some(number) => {
                self.connected = None;
                self.catch_up = CatchUp::Queue(Instant::now());
                log::warn!(node:% = self.shared.config.node; "Asterisk's websocket is gone; its calls go on");
            }
            Arrived::Disconnected(_) => {}
            Arrived::Event(number, text) => match event::parse(&text) {
                Ok(Some(Said::Event(event))) => self.happened(event).await,
                Ok(Some(Said::Mark(of))) if of == number && self.connected == Some(number) => self.queue_read(),
                Ok(Some(Said::Mark(_)) | None) => {}
                Err(error) => log::warn!(error:% = error; "an event could not be read"),
            },
        }
        self.say(readiness);
    }

    /// A websocket is there: is it the Asterisk we know? Its queued events come next, and our mark behind them. Repeated
    /// until it answers.
    async fn meet(&mut self) {
        let Some(connection) = self.connected else { return };
        match self.shared.ari.started().await {
            Ok(started) => self.seen(started).await,
            Err(error) => {
                log::debug!(error:% = error; "Asterisk does not say yet when it was started");
                return;
            }
        }
        match self.shared.ari.filter_events().await {
            Ok(()) => {
                self.met = true;
                self.miss(false);
            }
            Err(error) => {
                log::warn!(error:% = error; "events are not filtered yet");
                // Its application went with a websocket of ours: this one brings nothing.
                if error.is_missing() {
                    self.miss(true);
                }
            }
        }
        if let Err(error) = self.shared.ari.mark(connection).await {
            log::warn!(error:% = error; "the end of the queued events cannot be marked; they get their time");
        }
    }

    /// A probe's outcome: whether Asterisk answers without a websocket that serves.
    fn miss(&mut self, missed: bool) {
        self.unserved = if missed { self.unserved.saturating_add(1) } else { 0 };
        self.shared.gate.miss(self.unserved >= MISSED_AFTER_PROBES);
    }

    /// Everything Asterisk had queued has come; a listing finds what ended without a word.
    fn queue_read(&mut self) {
        if let CatchUp::Queue(since) = self.catch_up {
            log::debug!(took:? = since.elapsed(); "what Asterisk had queued is read");
            self.catch_up = CatchUp::Listing(Instant::now());
            self.start_listing();
        }
    }

    /// Compares with what we know, and remembers it where a successor finds it.
    async fn seen(&mut self, started: String) {
        (self.refused, self.silent) = (0, 0);
        if self.started.as_ref() == Some(&started) {
            return;
        }
        if self.started.is_some() {
            log::error!(node:% = self.shared.config.node; "Asterisk was started anew: its calls are lost");
            self.lose().await;
        }
        self.started = Some(started);
        self.write_status().await;
    }

    async fn write_status(&self) {
        let started = self.started.as_deref().unwrap_or_default();
        let status = node_status(&self.shared.config.node, self.connected.is_some(), self.calls.len(), started);
        let mut cmd = redis::cmd("HSET");
        cmd.arg(keys::NODES).arg(self.shared.config.node.as_str()).arg(status);
        let written: Result<i64, StoreError> = self.shared.pool.run("node_status", Retry::Safe, &cmd).await;
        if let Err(error) = written {
            log::warn!(error:% = error; "the node's status was not written");
        }
    }

    /// Everything on the node is gone: the router frees its agents.
    async fn lose(&mut self) {
        self.shared.metrics.nodes_lost.inc();
        let before_ms = self.shared.life.clock().now();
        for tenant in self.configs.tenants() {
            let command = Command::LoseNode { node: self.shared.config.node.clone(), before_ms };
            self.append(tenant, command).await;
        }
        self.calls.clear();
        self.by_caller.clear();
        self.unclaimed.clear();
        self.shared.metrics.calls.set(0);
    }

    async fn append(&self, tenant: TenantId, command: Command) {
        let id: CommandId = self.shared.life.new_id(CommandId::from_parts);
        if let Err(error) = self.shared.client.append(tenant, id, command).await {
            log::error!(tenant:% = tenant, error:% = error; "a command did not reach the router");
        }
    }

    async fn happened(&mut self, event: Event) {
        let now = self.shared.life.clock().now();
        let at_ms = event.at_ms.unwrap_or(now);
        self.shared.metrics.event_lag.observe(Duration::from_millis(now.since_ms(at_ms)).as_secs_f64());
        self.shared.metrics.event(kind(&event.what));
        if let What::Arrived(arrival) = event.what {
            self.caller_arrived(event.channel, at_ms, arrival).await;
            return;
        }
        if let Some(id) = owner_of(&event.channel) {
            self.leg_event(id, event.channel, at_ms, event.what).await;
        } else if let Some(id) = self.by_caller.get(&event.channel).copied() {
            match event.what {
                What::Gone { .. } | What::Left => self.apply(id, Input::CallerGone { at_ms }),
                What::Arrived(_) | What::HangupRequested { .. } | What::LegAnswered | What::Ringing => {}
            }
        }
    }

    async fn leg_event(&mut self, id: InteractionId, channel: String, at_ms: TimestampMs, what: What) {
        if !self.calls.contains_key(&id) {
            if what == What::LegAnswered {
                self.hang_up_stranger(&channel).await;
            }
            return;
        }
        match what {
            What::Ringing => self.apply(id, Input::LegRinging { channel }),
            What::LegAnswered => self.apply(id, Input::LegAnswered { channel }),
            What::HangupRequested { sip_code } => {
                if let Some(live) = self.calls.get_mut(&id).filter(|_| sip_code.is_some()) {
                    live.sip_code = sip_code;
                }
            }
            What::Gone { cause, sip_code } => {
                let named = self.calls.get_mut(&id).and_then(|live| live.sip_code.take());
                let end = LegEnd { sip_code: sip_code.or(named), cause };
                self.apply(id, Input::LegGone { channel, end, at_ms });
            }
            What::Arrived(_) | What::Left => {}
        }
    }

    /// A caller: whose, and where to?
    async fn caller_arrived(&mut self, channel: String, at_ms: TimestampMs, arrival: Arrival) {
        if self.by_caller.contains_key(&channel) {
            return;
        }
        let config = self.configs.of_trunk(arrival.trunk).cloned();
        let route = config.as_ref().and_then(|config| config.routes.get(&arrival.dialled));
        let route = route.filter(|route| route.trunk.is_none_or(|trunk| trunk == arrival.trunk));
        let (Some(config), Some(route)) = (&config, route) else {
            self.shared.metrics.refused.inc();
            log::info!(trunk:% = arrival.trunk; "a call for a number nobody routes was refused");
            log::debug!(channel, dialled = arrival.dialled.as_str(), known = config.is_some(); "that number");
            if let Err(error) = self.shared.ari.hang_up(&channel, UNALLOCATED).await {
                log::warn!(error:% = error; "a refused call was not hung up");
            }
            return;
        };
        if self.shared.life.held() == HeldBack::Calls {
            self.shared.metrics.refused.inc();
            log::info!(trunk:% = arrival.trunk; "a call was refused: this host is drained");
            if let Err(error) = self.shared.ari.hang_up(&channel, CONGESTION).await {
                log::warn!(error:% = error; "a refused call was not hung up");
            }
            return;
        }
        self.shared.metrics.arrived.inc();
        let id = recovery::interaction_of(&channel, channel_time(&channel).unwrap_or(at_ms));
        self.unclaimed.remove(&id);
        let face = Face {
            node: self.shared.config.node.clone(),
            queue: Some(route.queue),
            caller_number: arrival.caller.parse().ok(),
            dialled: arrival.dialled.parse().ok(),
        };
        let (call, orders) = Call::arrived(config.meta.tenant, id, channel, at_ms);
        self.adopt(call, face);
        self.give(id, orders);
    }

    fn adopt(&mut self, call: Call, face: Face) -> InteractionId {
        let id = call.interaction;
        let worker = Worker::start(&self.shared, &call, face, self.feedback.0.clone());
        self.by_caller.insert(call.caller.clone(), id);
        self.calls.insert(id, Live { call, worker, known_since: Instant::now(), sip_code: None });
        self.shared.metrics.calls.set(i64::try_from(self.calls.len()).unwrap_or(i64::MAX));
        id
    }

    /// Feeds one input to one call and hands its orders on.
    fn apply(&mut self, id: InteractionId, input: Input) {
        let now = self.shared.life.clock().now();
        let Some(live) = self.calls.get_mut(&id) else { return };
        let before = live.call.clone();
        let orders = live.call.take(now, input);
        for order in &orders {
            if let Order::FailOffer(_, failure, _) = order {
                self.shared.metrics.leg(failure_name(*failure));
            }
        }
        if !orders.is_empty() || live.call != before {
            self.give(id, orders);
        }
    }

    fn give(&mut self, id: InteractionId, orders: Vec<Order>) {
        let forget = orders.contains(&Order::Forget);
        let Some(live) = self.calls.get(&id) else { return };
        if !live.worker.give(&live.call, orders) {
            log::error!(interaction:% = id; "a call has too many outstanding orders; the listing will repair it");
        }
        if forget && let Some(live) = self.calls.remove(&id) {
            self.by_caller.remove(&live.call.caller);
            self.shared.metrics.calls.set(i64::try_from(self.calls.len()).unwrap_or(i64::MAX));
        }
    }

    fn until_deadline(&self) -> Duration {
        match self.catch_up {
            CatchUp::Queue(since) if self.connected.is_some() => return QUEUE_DRAINED.saturating_sub(since.elapsed()),
            // Silence of a phone says nothing yet: its ringing may be among what we missed.
            CatchUp::Queue(_) | CatchUp::Listing(_) => return LIST_EVERY,
            CatchUp::Done => {}
        }
        let now = self.shared.life.clock().now();
        let next = self.calls.values().filter_map(|live| live.call.deadline()).min();
        next.map_or(LIST_EVERY, |due| Duration::from_millis(due.since_ms(now)).min(LIST_EVERY))
    }

    fn tick(&mut self) {
        match self.catch_up {
            CatchUp::Queue(since) if self.connected.is_some() && since.elapsed() >= QUEUE_DRAINED => {
                return self.queue_read();
            }
            CatchUp::Queue(_) | CatchUp::Listing(_) => return,
            CatchUp::Done => {}
        }
        let now = self.shared.life.clock().now();
        let due = |live: &Live| live.call.deadline().is_some_and(|deadline| deadline <= now);
        let ids: Vec<InteractionId> = self.calls.iter().filter(|(_, live)| due(live)).map(|(id, _)| *id).collect();
        for id in ids {
            self.apply(id, Input::Tick);
        }
    }

    async fn report(&mut self, report: Report, readiness: &Readiness) {
        match report {
            Report::Listing(listing) => {
                self.listing = false;
                match listing {
                    Ok(listing) => self.listed(listing).await,
                    Err(error) => self.probed(Err(error)).await,
                }
                self.say(readiness);
                self.write_status().await;
            }
            Report::Probe(result) => {
                self.probing = false;
                // One that was asked before the websocket came says nothing.
                if self.connected.is_none() {
                    self.miss(result.is_ok());
                }
                self.probed(result).await;
                self.say(readiness);
            }
        }
    }

    fn effect(&mut self, tenant: TenantId, entry: VoiceEffectEntry) {
        if self.taken_up_to.get(&tenant).is_some_and(|seq| entry.seq <= *seq) {
            return;
        }
        let (id, input) = match entry.effect {
            VoiceEffect::Connect { interaction, offer } => (interaction, Input::Connect { offer }),
            VoiceEffect::End { interaction, .. } => (interaction, Input::End),
            VoiceEffect::Withdraw { interaction, offer } => (interaction, Input::Withdraw { offer }),
            VoiceEffect::Offer { interaction, offer, agent, sip_user, realm, deadline_ms } => {
                let address = sip_user.map(|user| format!("{user}@{realm}"));
                (interaction, Input::Offer { offer, agent, address, deadline_ms })
            }
        };
        self.apply(id, input);
    }

    fn start_probe(&mut self) {
        if self.probing || self.connected.is_some() {
            return;
        }
        self.probing = true;
        let (ari, reports) = (self.shared.ari.clone(), self.reports.0.clone());
        self.shared.life.spawn_finite("voice probe", async move {
            let report = Report::Probe(ari.started().await);
            send(&reports, report).await;
        });
    }

    async fn probed(&mut self, result: Result<String, AriError>) {
        match result {
            Ok(started) => self.seen(started).await,
            // It answers; what it did not like is the request's affair.
            Err(AriError::Refused { .. }) => (self.refused, self.silent) = (0, 0),
            Err(AriError::Away { source, .. }) => {
                if source.is_connect() {
                    self.refused += 1;
                } else {
                    self.silent += 1;
                }
            }
        }
        let had_calls = self.started.is_some() || !self.calls.is_empty();
        if had_calls && (self.refused >= DEAD_AFTER_REFUSED || self.silent >= DEAD_AFTER_SILENT) {
            log::error!(node:% = self.shared.config.node; "Asterisk is dead: its calls are lost");
            self.lose().await;
            self.started = None;
        }
    }

    async fn configured(&mut self, change: ConfigChange) {
        match change {
            ConfigChange::Taken(config) => {
                let tenant = config.meta.tenant;
                let new = self.configs.get(tenant).is_none();
                self.configs.insert(config);
                if new {
                    self.follow_tenant(tenant, StreamStart::Oldest).await;
                }
            }
            ConfigChange::Removed(tenant) => self.configs.remove(tenant),
        }
    }

    async fn follow_tenant(&self, tenant: TenantId, from: StreamStart) {
        // The reader ends only with the node.
        if self.follow.send((tenant, from)).await.is_err() {
            log::error!(tenant:% = tenant; "the reader of effects is gone");
            self.end.cancel();
        }
    }
}

async fn send(reports: &mpsc::Sender<Report>, report: Report) {
    // A node that is gone needs no report.
    if reports.send(report).await.is_err() {
        log::debug!("a report came after the node was given up");
    }
}

async fn read_started(shared: &Shared) -> Result<Option<String>, StoreError> {
    let mut cmd = redis::cmd("HGET");
    cmd.arg(keys::NODES).arg(shared.config.node.as_str());
    let text: Option<String> = shared.pool.run("node_status", Retry::Safe, &cmd).await?;
    let status: Option<serde_json::Value> = text.and_then(|text| serde_json::from_str(&text).ok());
    let started = status.and_then(|status| status["asterisk_started"].as_str().map(str::to_owned));
    Ok(started.filter(|started| !started.is_empty()))
}

const fn kind(what: &What) -> &'static str {
    match what {
        What::Arrived(_) => "arrived",
        What::Gone { .. } => "gone",
        What::HangupRequested { .. } => "hangup_requested",
        What::Left => "left",
        What::LegAnswered => "leg_answered",
        What::Ringing => "ringing",
    }
}

const fn failure_name(failure: ringdown_domain::OfferFailure) -> &'static str {
    match failure {
        ringdown_domain::OfferFailure::Busy => "busy",
        ringdown_domain::OfferFailure::NoAnswer => "no_answer",
        ringdown_domain::OfferFailure::Rejected => "rejected",
        ringdown_domain::OfferFailure::Unreachable => "unreachable",
    }
}

//! One media node while this process owns it: a single task that owns all its calls.
//!
//! It waits for one thing, feeds one input to one call, and hands the orders to that call's workers. It waits for no request:
//! those run beside it (`errands`), and what they bring comes back as a report. The lease is renewed by the fence's own task.
//!
//! The parts: `asterisk` (is it there, is it the one we know), `arrivals` (callers and what happens to channels), `listings`
//! (what events did not tell), `taking_over` (calls of a predecessor), `errands`.

mod arrivals;
mod asterisk;
mod errands;
mod listings;
mod taking_over;

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use ringdown_acd_core::conversation::{Conversation, Input, Order};
use ringdown_acd_core::node::{Liveness, Strangers};
use ringdown_domain::{InteractionId, TenantId};
use ringdown_events::{VoiceEffect, VoiceEffectEntry, WantedCustomer};
use ringdown_redis_store::{ConfigChange, ConfigWatch, StoreError, StreamStart};
use ringdown_service::Readiness;
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::Shared;
use super::ari::AriError;
use super::configs::Configs;
use super::effects::TenantEffect;
use super::listing::{FoundCaller, Listing};
use super::recovery::{InteractionNow, Recovered};
use super::trunks::{Way, ways};
use super::worker::{CallFacts, Feedback, Worker};

/// How often everything is listed.
const LIST_EVERY: Duration = Duration::from_secs(2);
/// How long Asterisk's queued events may take after it was met, when our mark behind them does not come.
const QUEUE_DRAINED: Duration = Duration::from_millis(700);
/// How often Asterisk is asked whether it is there while its websocket is not.
const PROBE_EVERY: Duration = Duration::from_millis(500);
/// Probes in a row that Asterisk answers without a websocket that serves: it tries four times a second, so it will not come by
/// itself. Three seconds: the dialplan keeps a caller for five.
const MISSED_AFTER_PROBES: u32 = 6;
/// Feedback and effects on their way to the node.
const INBOX: usize = 4_096;

/// What comes back from requests that run beside the node's task.
enum Report {
    Listing(Result<Listing, AriError>),
    /// Of a connection: when its Asterisk was started, and whether it filters its events.
    Met {
        connection: u64,
        started: Result<String, AriError>,
        filtered: Result<(), AriError>,
    },
    Probe(Result<String, AriError>),
    /// A tenant's calls, which could not be read before, and where its effects begin.
    State {
        tenant: TenantId,
        state: Result<(StreamStart, Recovered), StoreError>,
    },
    /// A caller nobody knew, and the interaction of that channel, if it could be read.
    Placed {
        found: Box<FoundCaller>,
        interaction: Box<Option<InteractionNow>>,
    },
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
    call: Conversation,
    worker: Worker,
    known_since: Instant,
    /// Effects up to this journal entry are contained in the call.
    taken_up_to: u64,
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
    /// Interactions on this node without a readable call record, and whose they are.
    expected: HashMap<InteractionId, TenantId>,
    /// Callers whose interaction is being read, and the effects that came meanwhile.
    placing: HashMap<InteractionId, Vec<VoiceEffectEntry>>,
    /// Tenants whose state is being asked for again.
    reading: HashSet<TenantId>,
    strangers: Strangers,
    liveness: Liveness,
    /// When the node's Asterisk says it was started; none: dead or never seen.
    started: Option<String>,
    connected: Option<u64>,
    catch_up: CatchUp,
    /// Whether the connected Asterisk has said when it was started, and filters its events. It connects before it has
    /// booted, and answers 503 for a second.
    met: bool,
    /// It is being asked. What it queued waits meanwhile: it may not be the Asterisk we know.
    meeting: bool,
    /// Probes in a row that Asterisk answered without a websocket that serves.
    unserved: u32,
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
    /// Runs until the lease is lost or the daemon stops.
    pub(crate) async fn run(mut self, readiness: &Readiness) {
        let mut arrivals = self.shared.gate.open();
        let shutdown = self.shared.life.shutdown();
        let fence = self.shared.fence.clone();
        let mut list = tokio::time::interval(LIST_EVERY);
        let mut probe = tokio::time::interval(PROBE_EVERY);
        for interval in [&mut list, &mut probe] {
            interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        }
        self.say(readiness);
        loop {
            let deadline = self.until_deadline();
            tokio::select! {
                () = shutdown.requested() => return,
                () = fence.lost() => return,
                arrived = arrivals.recv(), if !self.meeting => match arrived {
                    Some(arrived) => {
                        self.arrived(arrived);
                        self.say(readiness);
                    }
                    None => return,
                },
                Some(feedback) = self.feedback.1.recv() => self.fed_back(feedback),
                Some(report) = self.reports.1.recv() => {
                    self.report(report);
                    self.say(readiness);
                }
                Some((tenant, entry)) = self.effects.recv() => self.effect(tenant, entry),
                change = self.watch.next() => self.configured(change),
                () = tokio::time::sleep(deadline) => self.tick(),
                _ = list.tick() => {
                    self.start_listing();
                    self.ask_for_states();
                }
                _ = probe.tick() => self.probe(),
            }
        }
    }

    fn probe(&mut self) {
        if !self.met {
            self.meet();
        }
        self.start_probe();
        if let CatchUp::Listing(_) = self.catch_up {
            // It failed; nothing goes on before it.
            self.start_listing();
        }
    }

    fn report(&mut self, report: Report) {
        match report {
            Report::Listing(listing) => {
                self.listing = false;
                match listing {
                    Ok(listing) => self.listed(listing),
                    Err(error) => self.failed(&error),
                }
                self.write_status();
            }
            Report::Met { connection, started, filtered } => self.met(connection, started, filtered),
            Report::Probe(result) => self.probed(result),
            Report::State { tenant, state } => self.state_read(tenant, state),
            Report::Placed { found, interaction } => self.placed(*found, *interaction),
        }
    }

    fn fed_back(&mut self, feedback: Feedback) {
        match feedback {
            Feedback::Input { interaction, input } => self.apply(interaction, input),
            Feedback::Interaction { interaction, now } => self.learn(interaction, *now),
        }
    }

    fn adopt(&mut self, call: Conversation, facts: CallFacts, taken_up_to: u64) -> InteractionId {
        let id = call.interaction;
        self.strangers.claimed(id);
        self.expected.remove(&id);
        let worker = Worker::start(&self.shared, &call, facts, self.feedback.0.clone());
        if let Some(customer) = call.customer() {
            self.by_caller.insert(customer.channel.clone(), id);
        }
        self.calls.insert(id, Live { call, worker, known_since: Instant::now(), taken_up_to, sip_code: None });
        self.count_calls();
        id
    }

    fn count_calls(&self) {
        self.shared.metrics.calls.set(i64::try_from(self.calls.len()).unwrap_or(i64::MAX));
    }

    /// Feeds one input to one call and hands its orders on.
    fn apply(&mut self, id: InteractionId, input: Input) {
        let now = self.shared.life.clock().now();
        let Some(live) = self.calls.get_mut(&id) else { return };
        let before = live.call.clone();
        let orders = live.call.take(now, input);
        for order in &orders {
            if let Order::FailOffer(_, _, failure, _) = order {
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
        let (orders, nowhere) = self.find_ways(live.call.tenant, orders);
        if !live.worker.give(&live.call, orders) {
            log::error!(interaction:% = id; "a call has too many outstanding orders; the listing will repair it");
        }
        if forget && let Some(live) = self.calls.remove(&id) {
            if let Some(customer) = live.call.customer() {
                self.by_caller.remove(&customer.channel);
            }
            self.count_calls();
        }
        for channel in nowhere {
            log::info!(interaction:% = id; "no trunk leads to the number that is to be dialled");
            self.apply(id, Input::NoWay { channel });
        }
    }

    /// Finds the trunk for each number that is to be dialled; gives the channels of those to which none leads.
    fn find_ways(&self, tenant: TenantId, orders: Vec<Order>) -> (Vec<(Order, Option<Way>)>, Vec<String>) {
        let mut nowhere = Vec::new();
        let mut found = Vec::with_capacity(orders.len());
        for order in orders {
            let Order::DialNumber { number, way, channel, .. } = &order else {
                found.push((order, None));
                continue;
            };
            let mut ways = self.configs.get(tenant).map(|config| ways(config, number)).unwrap_or_default();
            let index = usize::try_from(*way).unwrap_or(usize::MAX);
            if index < ways.len() {
                let way = ways.swap_remove(index);
                found.push((order, Some(way)));
            } else {
                nowhere.push(channel.clone());
            }
        }
        (found, nowhere)
    }

    fn until_deadline(&self) -> Duration {
        match self.catch_up {
            CatchUp::Queue(since) if self.may_be_drained() => {
                return QUEUE_DRAINED.saturating_sub(since.elapsed());
            }
            // Silence of a phone says nothing yet: its ringing may be among what we missed.
            CatchUp::Queue(_) | CatchUp::Listing(_) => return LIST_EVERY,
            CatchUp::Done => {}
        }
        let now = self.shared.life.clock().now();
        let next = self.calls.values().filter_map(|live| live.call.deadline()).min();
        next.map_or(LIST_EVERY, |due| Duration::from_millis(due.since_ms(now)).min(LIST_EVERY))
    }

    /// Whether what Asterisk queued is being read: it is the one we know, and nothing holds its events back.
    fn may_be_drained(&self) -> bool {
        self.connected.is_some() && self.started.is_some() && !self.meeting
    }

    fn tick(&mut self) {
        match self.catch_up {
            CatchUp::Queue(since) if self.may_be_drained() && since.elapsed() >= QUEUE_DRAINED => {
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

    fn effect(&mut self, tenant: TenantId, entry: VoiceEffectEntry) {
        if self.taken_up_to.get(&tenant).is_some_and(|seq| entry.seq <= *seq) {
            return;
        }
        let (id, input) = match entry.effect.clone() {
            VoiceEffect::Converse { interaction, wanted } => (interaction, Input::Wanted(wanted)),
            VoiceEffect::SendDigits { interaction, digits } => (interaction, Input::SendDigits { digits }),
        };
        if let Some(later) = self.placing.get_mut(&id) {
            later.push(entry);
            return;
        }
        self.begin(tenant, id, &input);
        let Some(live) = self.calls.get_mut(&id).filter(|live| entry.seq > live.taken_up_to) else { return };
        live.taken_up_to = entry.seq;
        self.apply(id, input);
    }

    /// A conversation that begins with us: nobody has called, and somebody is to be.
    pub(super) fn begin(&mut self, tenant: TenantId, id: InteractionId, input: &Input) {
        let Input::Wanted(wanted) = input else { return };
        let is_ours = matches!(wanted.customer, WantedCustomer::Nobody | WantedCustomer::Dialled { .. });
        if self.calls.contains_key(&id) || !is_ours || wanted.legs.is_empty() {
            return;
        }
        let now = self.shared.life.clock().now();
        let facts = CallFacts {
            node: self.shared.config.node.clone(),
            queue: wanted.queue,
            caller_number: None,
            dialled: wanted.shows.clone(),
        };
        self.adopt(Conversation::outgoing(tenant, id, now), facts, 0);
    }

    fn configured(&mut self, change: ConfigChange) {
        match change {
            ConfigChange::Taken(config) => {
                let tenant = config.meta.tenant;
                self.configs.insert(config);
                if self.configs.is_unread(tenant) {
                    // Its effects are followed from where its state was read.
                    return;
                }
                if let Entry::Vacant(new) = self.taken_up_to.entry(tenant) {
                    new.insert(0);
                    self.follow_tenant(tenant, StreamStart::Oldest);
                }
            }
            ConfigChange::Removed(tenant) => self.configs.remove(tenant),
        }
    }

    fn follow_tenant(&self, tenant: TenantId, from: StreamStart) {
        // The reader ends only with the node, and takes one at each turn.
        if self.follow.try_send((tenant, from)).is_err() {
            log::error!(tenant:% = tenant; "the reader of effects is gone");
            self.end.cancel();
        }
    }
}

const fn failure_name(failure: ringdown_domain::OfferFailure) -> &'static str {
    match failure {
        ringdown_domain::OfferFailure::Busy => "busy",
        ringdown_domain::OfferFailure::HungUp => "hung_up",
        ringdown_domain::OfferFailure::NoAnswer => "no_answer",
        ringdown_domain::OfferFailure::Rejected => "rejected",
        ringdown_domain::OfferFailure::Unreachable => "unreachable",
    }
}

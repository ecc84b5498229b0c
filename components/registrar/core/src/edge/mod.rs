//! The whole SIP edge as one machine: datagrams, frames, store results and time in; sends and store orders out.
//!
//! ```text
//!  receive, stored, closed, tick           next_effect, next_deadline_ms
//!        |                                        ^
//!        v                                        |
//!  classify -> authenticate -> register / route -> transactions -> effects in the order they were decided
//! ```
//! Who may do what:
//! - An Asterisk node (known by address **and** port) may call any address of record, without credentials.
//! - A phone registers and calls with digest credentials; whatever it calls goes to an Asterisk node.
//! - Requests inside a dialog are routed by the token in our Record-Route, to the node or the phone's current binding.
//!
//! Nothing is remembered for anybody else: what a stranger asks is answered within a budget and forgotten.
//!
//! Nothing here resolves a name or opens a connection, so nobody's odd address can delay somebody else's call. One core
//! handles its messages one after the other: responses of a call cannot overtake each other.

mod build;
mod clients;
mod directory;
mod forks;
mod ids;
mod local;
mod media;
mod pings;
mod plan;
mod register;
mod requests;
mod responses;
mod route;
mod servers;
mod timers;
mod token;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;

use ringdown_domain::TenantId;

pub use directory::{Directory, Realm, ShortLived};
pub use media::{MediaNode, MediaOrder, MediaQuestion, Towards};

use crate::bindings::{Aor, Binding, Change, Locations, Refusal};
use crate::digest::{Algorithm, Digest, Ha1, MAX_PROOFS, NonceKey};
use crate::flow::{Flow, Transport};
use crate::message::Method;
use crate::strangers::{Buckets, Guesses, Rate};
use clients::{Client, ClientKey};
use forks::ForkState;
use ids::Ids;
use servers::Server;
use timers::Timers;

/// Server transactions at once, about 2 KB each: 30 s of 3,000 requests a second. Beyond it those that have their final
/// answer go first, the oldest before the others; strangers get none at all.
pub const MAX_TRANSACTIONS: usize = 100_000;
/// One in so many is for Asterisk nodes alone: phones, whatever they do, never keep a node's call out.
const NODES_PART: usize = 5;
/// Answers to a source that has not proved who it is and asks for nothing but an answer: an office that monitors us, not a
/// flood, and little use to who reflects them at somebody.
const ANSWERS: Rate = Rate { per_minute: 6_000, burst: 1_000 };
/// Challenges to such a source. The right password gives the token back: phones of one address, however many, register at
/// any rate; a flood is answered at this one.
const CHALLENGES: Rate = Rate { per_minute: 30_000, burst: 4_000 };
/// Timer C: how long a call may ring, RFC 3261 16.6 step 11 (more than 3 minutes).
pub const TIMER_C_MS: u64 = 181_000;

/// A host and port as we write them into Via and Record-Route.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HostPort {
    /// An address (IPv6 in brackets) or a name that phones and nodes can reach.
    pub host: String,
    /// The port.
    pub port: u16,
}

/// What becomes of calls that phones make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outgoing {
    /// 403.
    Refuse,
    /// They go to an Asterisk node.
    ToNodes,
}

/// What the shell decided before the start.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The host that stands in Via and Record-Route whatever address of ours a peer reached: the operator's word.
    pub advertise: Option<String>,
    /// Our UDP sockets as others reach them, at least one; [`Flow::link`] counts them.
    pub udp: Vec<HostPort>,
    /// Our first listener of each kind of stream, as others reach it.
    pub streams: BTreeMap<Transport, HostPort>,
    /// Everything else that means us in Route and Request-URI.
    pub aliases: BTreeSet<HostPort>,
    /// Ports on which every literal address means us (listeners on 0.0.0.0).
    pub any_address_ports: BTreeSet<u16>,
    /// The Asterisk nodes, by source address and port.
    pub nodes: Vec<SocketAddr>,
    /// Names this life of this process in bindings.
    pub holder: String,
    /// How long an INVITE may stay without any response, milliseconds.
    pub no_response_ms: u64,
    /// What digest offers, best first.
    pub algorithms: Vec<Algorithm>,
    /// Signs nonces and route tokens.
    pub key: NonceKey,
    /// Whether calls of phones go to the nodes. Where nothing there would take them they are refused at once.
    pub outgoing: Outgoing,
    /// The realm of phones that have an address of ours as their domain; none: such phones are strangers.
    pub address_realm: Option<String>,
    /// Most server transactions, [`MAX_TRANSACTIONS`] but in tests.
    pub transactions: usize,
    /// Where branches and tags come from: drawn by the shell, new for each start.
    pub seed: [u8; 32],
}

/// An order to the shell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Send these bytes; report failure with [`Edge::unreachable`] or [`Edge::closed`].
    Send {
        /// Which way.
        flow: Flow,
        /// What.
        bytes: Vec<u8>,
    },
    /// Change bindings: all of it or nothing. Report with [`Edge::stored`] in any case.
    Store {
        /// Names this order.
        operation: u64,
        /// Whose AOR.
        tenant: TenantId,
        /// Which AOR.
        aor: Aor,
        /// What the order check compares.
        sender: RegisterSender,
        /// The changes.
        changes: Vec<Change>,
    },
    /// Remove a binding that expired or lost its connection, unless a newer one took its place. No report.
    Forget {
        /// Whose AOR.
        tenant: TenantId,
        /// Which AOR.
        aor: Aor,
        /// The binding that is gone.
        binding: Box<Binding>,
    },
    /// Ask an rtpengine for a session description. Report with [`Edge::media_done`] in any case.
    Media {
        /// Names this order.
        operation: u64,
        /// What.
        order: Box<MediaOrder>,
    },
    /// A call is over at its rtpengine. No report.
    EndMedia {
        /// Which rtpengine.
        node: u64,
        /// The call's name there.
        call: String,
    },
    /// Count something.
    Observe(Observation),
    /// Who is behind this stream has proved it: the connection stays.
    Proved {
        /// The connection.
        connection: u64,
    },
    /// Somebody guesses passwords and is not listened to any more. At most one a minute and source.
    Guessing {
        /// Where from.
        source: SocketAddr,
        /// Whose password, as the stranger wrote it.
        user: String,
    },
}

/// What says whether a REGISTER is older than the binding that is there (RFC 3261 10.3 step 7).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegisterSender {
    /// Call-ID.
    pub call_id: String,
    /// CSeq.
    pub cseq: u32,
    /// From tag: another one is another life of the phone.
    pub from_tag: String,
}

/// Something worth counting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Observation {
    /// A request got its final answer from us or through us.
    Answered {
        /// Its method.
        method: Method,
        /// 200 to 699.
        status: u16,
    },
    /// Credentials were wrong, stale, or of another user.
    AuthFailure(&'static str),
    /// Bytes were dropped without an answer.
    Dropped(&'static str),
}

/// What the store said to [`Effect::Store`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreResult {
    /// Done; these are all bindings of the AOR now.
    Done(Vec<Binding>),
    /// Nothing was changed.
    Refused(Refusal),
    /// It is not known whether it was done: the store did not answer.
    Unavailable,
}

/// Numbers for the gauges.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gauges {
    /// Server transactions.
    pub server_transactions: usize,
    /// Client transactions.
    pub client_transactions: usize,
    /// Bindings in memory.
    pub bindings: usize,
    /// Forwarded requests without a final answer.
    pub pending_forks: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum TimerKey {
    ServerRepeat(u64),
    ServerEnd(u64),
    ClientRepeat(ClientKey),
    ClientEnd(ClientKey),
    /// No response at all on this branch of this fork.
    NoResponse(u64, usize),
    TimerC(u64, usize),
    /// No final response after our CANCEL.
    AfterCancel(u64, usize),
    Expiry,
    /// A phone behind NAT is due for a ping.
    Ping(Flow),
}

/// The SIP edge.
pub struct Edge {
    settings: Settings,
    directory: Directory,
    /// What browsers' phones may use beside what is configured.
    short_lived: BTreeMap<Aor, Vec<ShortLived>>,
    digest: Digest,
    locations: Locations,
    connections: BTreeSet<u64>,
    /// Of these, those whose phone has proved who it is.
    proved: BTreeSet<u64>,
    servers: BTreeMap<u64, Server>,
    /// Server transactions that have their final answer and wait for repeats only, oldest first; some may be gone.
    finished: VecDeque<u64>,
    server_keys: BTreeMap<Vec<u8>, u64>,
    clients: BTreeMap<ClientKey, Client>,
    clients_by_flow: BTreeMap<Flow, BTreeSet<ClientKey>>,
    forks: BTreeMap<u64, ForkState>,
    /// The rtpengines that answer.
    media_nodes: Vec<MediaNode>,
    /// Messages that wait for session descriptions, by call and direction.
    media_lines: BTreeMap<(String, Towards), media::MediaLine>,
    /// Which line an order is for.
    media_asked: BTreeMap<u64, (String, Towards)>,
    /// Flows with a ping to come.
    pinged: BTreeSet<Flow>,
    answers: Buckets,
    challenges: Buckets,
    guesses: Guesses,
    /// REGISTER transactions that wait for the store, by operation.
    storing: BTreeMap<u64, register::Storing>,
    timers: Timers<TimerKey>,
    ids: Ids,
    next_number: u64,
    next_node: usize,
    effects: VecDeque<Effect>,
}

impl Edge {
    /// An edge without bindings and without a directory; answers 503 until it has one.
    pub fn new(settings: Settings) -> Self {
        Self {
            digest: Digest::new(settings.key.clone(), settings.algorithms.clone()),
            ids: Ids::new(settings.seed),
            directory: Directory::default(),
            short_lived: BTreeMap::new(),
            locations: Locations::default(),
            connections: BTreeSet::new(),
            proved: BTreeSet::new(),
            servers: BTreeMap::new(),
            finished: VecDeque::new(),
            pinged: BTreeSet::new(),
            media_nodes: Vec::new(),
            media_lines: BTreeMap::new(),
            media_asked: BTreeMap::new(),
            answers: Buckets::new(ANSWERS, settings.seed),
            challenges: Buckets::new(CHALLENGES, settings.seed),
            guesses: Guesses::new(settings.seed),
            server_keys: BTreeMap::new(),
            clients: BTreeMap::new(),
            clients_by_flow: BTreeMap::new(),
            forks: BTreeMap::new(),
            storing: BTreeMap::new(),
            timers: Timers::new(),
            next_number: 0,
            next_node: 0,
            effects: VecDeque::new(),
            settings,
        }
    }

    /// Replaces who exists.
    pub fn set_directory(&mut self, directory: Directory) {
        self.directory = directory;
    }

    /// Replaces the short-lived credentials of an AOR.
    pub fn set_short_lived(&mut self, aor: Aor, credentials: Vec<ShortLived>) {
        if credentials.is_empty() {
            self.short_lived.remove(&aor);
        } else {
            self.short_lived.insert(aor, credentials);
        }
    }

    /// What proves a user now: what is configured, and what was issued for a while. Nothing for who does not exist.
    fn proofs(&self, aor: &Aor, now_ms: u64) -> Vec<Ha1> {
        if !self.directory.knows(&aor.realm, &aor.user) {
            return Vec::new();
        }
        let issued = self.short_lived.get(aor).map_or(&[][..], Vec::as_slice);
        let issued = issued.iter().filter(|each| each.expires_at_ms > now_ms).map(|each| each.ha1.clone());
        self.directory.ha1(&aor.realm, &aor.user).into_iter().chain(issued).take(MAX_PROOFS).collect()
    }

    /// Replaces the bindings of an AOR by what the store holds. Those whose stream ended with another process life are
    /// left out.
    pub fn load_location(&mut self, aor: &Aor, mut bindings: Vec<Binding>, now_ms: u64) {
        bindings.retain(|binding| self.is_reachable(binding));
        self.locations.set(aor, bindings);
        self.arm_expiry();
        self.ping_later(aor, now_ms);
    }

    /// A stream was accepted.
    pub fn opened(&mut self, connection: u64) {
        self.connections.insert(connection);
    }

    /// A stream ended: its bindings are dropped and what waits for it fails.
    pub fn closed(&mut self, flow: Flow, now_ms: u64) {
        self.connections.remove(&flow.link);
        self.proved.remove(&flow.link);
        for removed in self.locations.drop_flow(flow) {
            self.forget(removed);
        }
        self.arm_expiry();
        self.unreachable(flow, now_ms);
    }

    /// Sending to this flow failed at once.
    pub fn unreachable(&mut self, flow: Flow, now_ms: u64) {
        let keys = self.clients_by_flow.get(&flow).cloned().unwrap_or_default();
        for key in keys {
            self.step_client(key, crate::transaction::ClientEvent::SendFailed, None, now_ms);
        }
    }

    /// Lets everything happen that is due.
    pub fn tick(&mut self, now_ms: u64) {
        while let Some(key) = self.timers.pop_due(now_ms) {
            self.on_timer(key, now_ms);
        }
    }

    /// The next order, in the order they were decided. Drain after every input.
    pub fn next_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// When [`Self::tick`] is due next.
    pub fn next_deadline_ms(&self) -> Option<u64> {
        self.timers.next_ms()
    }

    /// Numbers for the gauges.
    pub fn gauges(&self) -> Gauges {
        Gauges {
            server_transactions: self.servers.len(),
            client_transactions: self.clients.len(),
            bindings: self.locations.len(),
            pending_forks: self.forks.values().filter(|fork| !fork.fork.is_answered()).count(),
        }
    }

    /// The bindings of an AOR in memory.
    pub fn bindings(&self, aor: &Aor) -> &[Binding] {
        self.locations.all(aor)
    }

    fn on_timer(&mut self, key: TimerKey, now_ms: u64) {
        use crate::proxy::BranchEvent;
        use crate::transaction::{ClientEvent, ServerEvent};
        match key {
            TimerKey::ServerRepeat(id) => {
                self.step_server(id, ServerEvent::Repeat, now_ms);
            }
            TimerKey::ServerEnd(id) => {
                self.step_server(id, ServerEvent::End, now_ms);
            }
            TimerKey::ClientRepeat(key) => self.step_client(key, ClientEvent::Repeat, None, now_ms),
            TimerKey::ClientEnd(key) => self.step_client(key, ClientEvent::End, None, now_ms),
            TimerKey::NoResponse(fork, branch) => {
                self.quiet_branch(fork, branch);
                self.step_branch(fork, branch, BranchEvent::Silence, None, now_ms);
            }
            TimerKey::AfterCancel(fork, branch) => {
                self.step_branch(fork, branch, BranchEvent::Silence, None, now_ms);
                if let Some(key) = self.client_of(fork, branch) {
                    self.end_client(key);
                }
            }
            TimerKey::TimerC(fork, branch) => {
                self.step_branch(fork, branch, BranchEvent::RingsTooLong, None, now_ms);
            }
            TimerKey::Ping(flow) => self.ping(flow, now_ms),
            TimerKey::Expiry => {
                for removed in self.locations.expire(now_ms) {
                    self.forget(removed);
                }
                self.arm_expiry();
            }
        }
    }

    fn forget(&mut self, removed: crate::bindings::Removed) {
        if let Some(tenant) = self.directory.tenant(&removed.aor.realm) {
            let (aor, binding) = (removed.aor, Box::new(removed.binding));
            self.effects.push_back(Effect::Forget { tenant, aor, binding });
        }
    }

    fn arm_expiry(&mut self) {
        match self.locations.next_expiry_ms() {
            Some(at_ms) => self.timers.set(TimerKey::Expiry, at_ms),
            None => {
                self.timers.clear(TimerKey::Expiry);
            }
        }
    }

    fn is_reachable(&self, binding: &Binding) -> bool {
        binding.flow.connection().is_none() || (binding.holder == self.settings.holder && !self.is_gone(binding.flow))
    }

    /// True for a stream that ended.
    fn is_gone(&self, flow: Flow) -> bool {
        flow.connection().is_some_and(|connection| !self.connections.contains(&connection))
    }

    fn number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number
    }

    fn send(&mut self, flow: Flow, bytes: Vec<u8>) {
        self.effects.push_back(Effect::Send { flow, bytes });
    }

    fn observe(&mut self, observation: Observation) {
        self.effects.push_back(Effect::Observe(observation));
    }
}

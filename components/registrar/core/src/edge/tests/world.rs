//! An edge with two realms' users, a clock that the test turns, and everything it sent.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use ringdown_domain::TenantId;

use crate::bindings::{Aor, Binding, Change, Refusal, surplus};
use crate::digest::{Algorithm, Ha1, NonceKey};
use crate::edge::{
    Directory, Edge, Effect, HostPort, MediaOrder, Observation, Outgoing, Realm, RegisterSender, Settings, StoreResult,
};
use crate::flow::{Flow, Transport};
use crate::message::{FieldName, Message};

pub(super) const REALM: &str = "rd.test";
pub(super) const NODE: &str = "127.0.0.1:5070";
pub(super) const NODE_2: &str = "127.0.0.1:5071";

pub(super) struct World {
    pub(super) edge: Edge,
    pub(super) now_ms: u64,
    pub(super) sent: Vec<(Flow, Vec<u8>)>,
    pub(super) observed: Vec<Observation>,
    pub(super) forgotten: Vec<Binding>,
    /// Streams that were proved, and sources that were reported for guessing.
    pub(super) proved: Vec<u64>,
    pub(super) media: Vec<(u64, MediaOrder)>,
    pub(super) ended_media: Vec<String>,
    pub(super) guessing: Vec<SocketAddr>,
    /// The store, kept as the script would.
    pub(super) stored: BTreeMap<Aor, Vec<Binding>>,
    pub(super) store_away: bool,
}

pub(super) fn udp(address: &str) -> Flow {
    Flow::udp(0, address.parse().expect("an address"))
}

pub(super) fn aor(user: &str) -> Aor {
    Aor { realm: REALM.into(), user: user.into() }
}

pub(super) fn ha1(user: &str, realm: &str, password: &str) -> Ha1 {
    let parts = [user.as_bytes(), realm.as_bytes(), password.as_bytes()];
    Ha1 { md5: Algorithm::Md5.hash(&parts), sha256: Algorithm::Sha256.hash(&parts) }
}

pub(super) fn settings() -> Settings {
    Settings {
        advertise: None,
        udp: vec![HostPort { host: "127.0.0.1".into(), port: 5060 }],
        streams: [(Transport::Tcp, HostPort { host: "127.0.0.1".into(), port: 5060 })].into(),
        aliases: BTreeSet::new(),
        any_address_ports: BTreeSet::new(),
        nodes: [NODE, NODE_2].iter().map(|node| node.parse::<SocketAddr>().expect("an address")).collect(),
        holder: "here".into(),
        no_response_ms: 2_000,
        algorithms: vec![Algorithm::Sha256, Algorithm::Md5],
        key: NonceKey::new([7; 32]),
        outgoing: Outgoing::ToNodes,
        address_realm: None,
        transactions: crate::edge::MAX_TRANSACTIONS,
        seed: [9; 32],
    }
}

fn edge(settings: Settings) -> Edge {
    let mut edge = Edge::new(settings);
    let users = ["100", "101"].map(|user| (user.to_owned(), Some(ha1(user, REALM, "secret"))));
    let realm = Realm { tenant: TenantId::from_parts(1, &[1; 10]), users: users.into() };
    let realms = [(REALM.to_owned(), realm)].into();
    edge.set_directory(Directory { realms, loaded: true });
    edge
}

impl World {
    pub(super) fn new() -> Self {
        Self {
            edge: edge(settings()),
            now_ms: 1_764_558_000_000,
            sent: Vec::new(),
            observed: Vec::new(),
            forgotten: Vec::new(),
            proved: Vec::new(),
            media: Vec::new(),
            ended_media: Vec::new(),
            guessing: Vec::new(),
            stored: BTreeMap::new(),
            store_away: false,
        }
    }

    /// Another edge in the place of the old one.
    pub(super) fn restart(&mut self, settings: Settings) {
        self.edge = edge(settings);
    }

    pub(super) fn receive(&mut self, flow: Flow, text: &str) -> Vec<(Flow, Message)> {
        self.receive_bytes(flow, text.as_bytes())
    }

    pub(super) fn receive_bytes(&mut self, flow: Flow, bytes: &[u8]) -> Vec<(Flow, Message)> {
        self.edge.receive(flow, bytes, self.now_ms);
        self.drain()
    }

    /// Lets time pass, stopping at every deadline.
    pub(super) fn pass(&mut self, ms: u64) -> Vec<(Flow, Message)> {
        let until = self.now_ms + ms;
        let mut out = Vec::new();
        while let Some(at_ms) = self.edge.next_deadline_ms().filter(|at_ms| *at_ms <= until) {
            self.now_ms = self.now_ms.max(at_ms);
            self.edge.tick(self.now_ms);
            out.extend(self.drain());
        }
        self.now_ms = until;
        out
    }

    pub(super) fn drain(&mut self) -> Vec<(Flow, Message)> {
        let mut out = Vec::new();
        while let Some(effect) = self.edge.next_effect() {
            match effect {
                Effect::Send { flow, bytes } => {
                    let message = Message::read(&bytes).expect("we send readable SIP");
                    match message.status() {
                        Some(_) => drop(message.response().expect("we send sound responses")),
                        None => drop(message.request().expect("we send sound requests")),
                    }
                    self.sent.push((flow, bytes));
                    out.push((flow, message));
                }
                Effect::Store { operation, aor, sender, changes, .. } => {
                    let result = self.store(&aor, &sender, changes);
                    self.edge.stored(operation, result, self.now_ms);
                }
                Effect::Forget { binding, .. } => self.forgotten.push(*binding),
                Effect::Media { operation, order } => self.media.push((operation, *order)),
                Effect::EndMedia { call, .. } => self.ended_media.push(call),
                Effect::Observe(observation) => self.observed.push(observation),
                Effect::Proved { connection } => self.proved.push(connection),
                Effect::Guessing { source, .. } => self.guessing.push(source),
            }
        }
        out
    }

    fn store(&mut self, aor: &Aor, sender: &RegisterSender, changes: Vec<Change>) -> StoreResult {
        if self.store_away {
            return StoreResult::Unavailable;
        }
        let bindings = self.stored.entry(aor.clone()).or_default();
        bindings.retain(|binding| binding.expires_at_ms > self.now_ms);
        let kept: Vec<String> = changes.iter().map(|change| change.key().to_owned()).collect();
        for change in changes {
            let at = bindings.iter().position(|binding| binding.key == change.key());
            let late = |binding: &Binding| {
                binding.call_id == sender.call_id && binding.cseq >= sender.cseq && binding.from_tag == sender.from_tag
            };
            if at.is_some_and(|at| late(&bindings[at])) {
                return StoreResult::Refused(Refusal::OutOfOrder);
            }
            match (change, at) {
                (Change::Put(binding), Some(at)) => bindings[at] = *binding,
                (Change::Put(binding), None) => bindings.push(*binding),
                (Change::Remove(_), Some(at)) => drop(bindings.remove(at)),
                (Change::Remove(_), None) => {}
            }
        }
        let gone: Vec<String> =
            surplus(bindings, &kept.iter().map(String::as_str).collect()).into_iter().map(str::to_owned).collect();
        bindings.retain(|binding| !gone.contains(&binding.key));
        StoreResult::Done(bindings.clone())
    }

    /// Registers `user` at `flow` with digest and gives the final response.
    pub(super) fn register(&mut self, user: &str, flow: Flow, contact: &str, cseq: u32) -> Message {
        let plain = register_text(user, flow, contact, cseq, "");
        let challenge = only(self.receive(flow, &plain));
        assert_eq!(challenge.status(), Some(401));
        let nonce = nonce_of(&challenge);
        let line = authorization("Authorization", Algorithm::Sha256, user, "REGISTER", &nonce, cseq);
        only(self.receive(flow, &register_text(user, flow, contact, cseq + 1, &line)))
    }

    /// A phone registered with a contact at its own address.
    pub(super) fn phone(&mut self, user: &str, address: &str) -> Flow {
        let flow = udp(address);
        let answer = self.register(user, flow, &format!("<sip:{user}@{address}>"), 1);
        assert_eq!(answer.status(), Some(200), "{}", String::from_utf8_lossy(answer.bytes()));
        flow
    }
}

pub(super) fn only(mut messages: Vec<(Flow, Message)>) -> Message {
    assert_eq!(messages.len(), 1, "exactly one message");
    messages.remove(0).1
}

pub(super) fn register_text(user: &str, flow: Flow, contact: &str, cseq: u32, more: &str) -> String {
    let peer = flow.peer;
    let transport = if flow.is_reliable() { "TCP" } else { "UDP" };
    let contact = if contact.is_empty() { String::new() } else { format!("Contact: {contact}\r\n") };
    format!(
        "REGISTER sip:{REALM} SIP/2.0\r\nVia: SIP/2.0/{transport} {peer};branch=z9hG4bKreg{user}{cseq}{};rport\r\n\
         Max-Forwards: 70\r\nFrom: <sip:{user}@{REALM}>;tag=a\r\nTo: <sip:{user}@{REALM}>\r\n\
         Call-ID: reg-{user}-{peer}\r\nCSeq: {cseq} REGISTER\r\n{contact}{more}Content-Length: 0\r\n\r\n",
        peer.port()
    )
}

pub(super) fn nonce_of(challenge: &Message) -> String {
    let name = if challenge.status() == Some(401) { FieldName::WwwAuthenticate } else { FieldName::ProxyAuthenticate };
    let value = String::from_utf8_lossy(challenge.value(name).expect("a challenge")).into_owned();
    let start = value.find("nonce=\"").expect("a nonce") + 7;
    value[start..].split('"').next().expect("a closing quote").to_owned()
}

pub(super) fn authorization(
    field: &str,
    algorithm: Algorithm,
    user: &str,
    method: &str,
    nonce: &str,
    count: u32,
) -> String {
    let parts = [user.as_bytes(), REALM.as_bytes(), b"secret"];
    let uri = format!("sip:{REALM}");
    let first = algorithm.hash(&parts);
    let second = algorithm.hash(&[method.as_bytes(), uri.as_bytes()]);
    let count = format!("{count:08x}");
    let response =
        algorithm.hash(&[first.as_bytes(), nonce.as_bytes(), count.as_bytes(), b"cn", b"auth", second.as_bytes()]);
    format!(
        "{field}: Digest username=\"{user}\", realm=\"{REALM}\", nonce=\"{nonce}\", uri=\"{uri}\", \
         response=\"{response}\", algorithm={}, qop=auth, nc={count}, cnonce=\"cn\"\r\n",
        algorithm.name()
    )
}

/// A request from the node to the phones of `user`.
pub(super) fn from_node(method: &str, user: &str, branch: &str, more: &str) -> String {
    format!(
        "{method} sip:{user}@{REALM} SIP/2.0\r\nVia: SIP/2.0/UDP {NODE};branch=z9hG4bK{branch};rport\r\n\
         Route: <sip:127.0.0.1:5060;lr>\r\nMax-Forwards: 70\r\nFrom: <sip:caller@{NODE}>;tag=n1\r\n\
         To: <sip:{user}@{REALM}>\r\nCall-ID: call-{branch}\r\nCSeq: 10 {method}\r\n\
         Contact: <sip:asterisk@{NODE}>\r\n{more}Content-Length: 0\r\n\r\n"
    )
}

/// A response to a request as a phone makes it: all Via and Record-Route, tag on To, Contact.
pub(super) fn response_to(request: &Message, status: u16, contact: &str) -> String {
    let mut text = format!("SIP/2.0 {status} Whatever\r\n");
    for field in request.fields() {
        let copied = matches!(
            field.name,
            FieldName::Via | FieldName::RecordRoute | FieldName::From | FieldName::CallId | FieldName::CSeq
        );
        let line = String::from_utf8_lossy(field.line.of(request.bytes())).into_owned();
        if copied {
            text.push_str(&line);
        } else if field.name == FieldName::To {
            text.push_str(line.trim_end());
            text.push_str(if line.contains(";tag=") || status == 100 { "\r\n" } else { ";tag=p1\r\n" });
        }
    }
    text.push_str(&format!("Contact: <{contact}>\r\nContent-Length: 0\r\n\r\n"));
    text
}

pub(super) fn texts(messages: &[(Flow, Message)]) -> Vec<String> {
    messages
        .iter()
        .map(|(flow, message)| {
            let first = String::from_utf8_lossy(message.bytes()).lines().next().unwrap_or_default().to_owned();
            format!("{} {first}", flow.peer)
        })
        .collect()
}

pub(super) fn value(message: &Message, name: FieldName) -> String {
    String::from_utf8_lossy(message.value(name).unwrap_or_default()).into_owned()
}

//! What the hot paths cost: reading a message, deciding a registration, relaying a call.

use std::collections::{BTreeMap, BTreeSet};

use divan::Bencher;
use ringdown_domain::TenantId;
use ringdown_registrar_core::digest::{Algorithm, Ha1, NonceKey};
use ringdown_registrar_core::edge::{Directory, Edge, Effect, HostPort, Realm, Settings, StoreResult};
use ringdown_registrar_core::flow::Flow;
use ringdown_registrar_core::message::Message;

fn main() {
    divan::main();
}

fn register(cseq: u32, more: &str) -> String {
    format!(
        "REGISTER sip:rd.test SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.5:5060;branch=z9hG4bK{cseq};rport\r\n\
         Max-Forwards: 70\r\nFrom: <sip:100@rd.test>;tag=a\r\nTo: <sip:100@rd.test>\r\nCall-ID: 1@10.0.0.5\r\n\
         CSeq: {cseq} REGISTER\r\nContact: <sip:100@10.0.0.5:5060>\r\nExpires: 600\r\nUser-Agent: bench\r\n\
         {more}Content-Length: 0\r\n\r\n"
    )
}

#[divan::bench]
fn read_register(bencher: Bencher<'_, '_>) {
    let line = "Authorization: Digest username=\"100\", realm=\"rd.test\", nonce=\"0123456789abcdef0123456789abcdef\", \
                uri=\"sip:rd.test\", response=\"0123456789abcdef0123456789abcdef\", algorithm=MD5\r\n";
    let text = register(1, line);
    bencher.bench(|| {
        let message = Message::read(divan::black_box(text.as_bytes())).expect("sound");
        message.request().expect("sound").cseq.number
    });
}

/// Challenge and registration, with the store answering at once: everything the core does for one registration.
#[divan::bench]
fn register_sha256(bencher: Bencher<'_, '_>) {
    let mut edge = edge();
    let flow = Flow::udp(0, "10.0.0.5:5060".parse().expect("an address"));
    let ha1 = Algorithm::Sha256.hash(&[b"100", b"rd.test", b"secret"]);
    let ha2 = Algorithm::Sha256.hash(&[b"REGISTER", b"sip:rd.test"]);
    let (mut cseq, mut now_ms) = (0, 1_000_000);
    bencher.bench_local(|| {
        now_ms += 50;
        edge.tick(now_ms);
        edge.receive(flow, register(cseq + 1, "").as_bytes(), now_ms);
        let challenge = drain(&mut edge, now_ms);
        let text = String::from_utf8_lossy(&challenge).into_owned();
        let nonce = text.split("nonce=\"").nth(1).and_then(|rest| rest.split('"').next()).expect("a nonce");
        let response =
            Algorithm::Sha256.hash(&[ha1.as_bytes(), nonce.as_bytes(), b"00000001", b"c", b"auth", ha2.as_bytes()]);
        let line = format!(
            "Authorization: Digest username=\"100\", realm=\"rd.test\", nonce=\"{nonce}\", uri=\"sip:rd.test\", \
             response=\"{response}\", algorithm=SHA-256, qop=auth, nc=00000001, cnonce=\"c\"\r\n"
        );
        edge.receive(flow, register(cseq + 2, &line).as_bytes(), now_ms);
        cseq += 2;
        let answer = drain(&mut edge, now_ms);
        assert!(answer.starts_with(b"SIP/2.0 200"));
    });
}

/// Carries out effects; the last message sent.
fn drain(edge: &mut Edge, now_ms: u64) -> Vec<u8> {
    let mut last = Vec::new();
    while let Some(effect) = edge.next_effect() {
        match effect {
            Effect::Send { bytes, .. } => last = bytes,
            Effect::Store { operation, changes, .. } => {
                let bindings = changes.into_iter().filter_map(|change| match change {
                    ringdown_registrar_core::bindings::Change::Put(binding) => Some(*binding),
                    ringdown_registrar_core::bindings::Change::Remove(_) => None,
                });
                edge.stored(operation, StoreResult::Done(bindings.collect()), now_ms);
            }
            Effect::Media { .. } | Effect::EndMedia { .. } => {}
            Effect::Forget { .. } | Effect::Observe(_) | Effect::Proved { .. } | Effect::Guessing { .. } => {}
        }
    }
    last
}

fn edge() -> Edge {
    let place = HostPort { host: "127.0.0.1".into(), port: 5060 };
    let mut edge = Edge::new(Settings {
        advertise: None,
        udp: vec![place],
        streams: BTreeMap::new(),
        aliases: BTreeSet::new(),
        any_address_ports: BTreeSet::new(),
        nodes: vec!["127.0.0.1:5070".parse().expect("an address")],
        holder: "bench".into(),
        no_response_ms: 2_000,
        algorithms: vec![Algorithm::Sha256, Algorithm::Md5],
        key: NonceKey::new([1; 32]),
        outgoing: ringdown_registrar_core::edge::Outgoing::Refuse,
        address_realm: None,
        transactions: ringdown_registrar_core::edge::MAX_TRANSACTIONS,
        seed: [2; 32],
    });
    let parts: [&[u8]; 3] = [b"100", b"rd.test", b"secret"];
    let ha1 = Ha1 { md5: Algorithm::Md5.hash(&parts), sha256: Algorithm::Sha256.hash(&parts) };
    let realm = Realm { tenant: TenantId::from_parts(1, &[1; 10]), users: [("100".to_owned(), Some(ha1))].into() };
    edge.set_directory(Directory { realms: [("rd.test".to_owned(), realm)].into(), loaded: true });
    edge
}

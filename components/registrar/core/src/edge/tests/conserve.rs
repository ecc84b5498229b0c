//! Nothing lost, nothing twice: calls to phones that answer, refuse, vanish and wake up, with packets lost and doubled.

use std::collections::BTreeMap;

use super::world::{NODE, NODE_2, World, from_node, response_to, udp};
use crate::flow::Flow;
use crate::message::{Message, Method};

/// What the node heard of one INVITE.
#[derive(Debug, Default)]
struct Heard {
    /// Statuses in the order they came, repeats included.
    statuses: Vec<u16>,
}

struct Run {
    world: World,
    random: u64,
    phones: Vec<Flow>,
    /// INVITEs that reached phones and may still be answered.
    ringing: Vec<(Flow, Message)>,
    heard: BTreeMap<String, Heard>,
    calls: u32,
}

impl Run {
    fn new(seed: u64) -> Self {
        let mut world = World::new();
        let phones = vec![world.phone("100", "10.0.0.5:5062"), world.phone("100", "10.0.0.6:5062")];
        let random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        Self { world, random, phones, ringing: Vec::new(), heard: BTreeMap::new(), calls: 0 }
    }

    fn below(&mut self, limit: usize) -> usize {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        usize::try_from(self.random % limit as u64).expect("small")
    }

    fn step(&mut self) {
        match self.below(8) {
            0 => {
                self.calls += 1;
                let branch = format!("c{}", self.calls);
                self.heard.insert(format!("call-{branch}"), Heard::default());
                self.feed(udp(NODE), &from_node("INVITE", "100", &branch, ""));
            }
            1 if self.calls > 0 => {
                let branch = format!("c{}", 1 + self.below(self.calls as usize));
                self.feed(udp(NODE), &from_node("INVITE", "100", &branch, ""));
            }
            2 if self.calls > 0 => {
                let branch = format!("c{}", 1 + self.below(self.calls as usize));
                self.feed(udp(NODE), &from_node("CANCEL", "100", &branch, ""));
            }
            3..=5 if !self.ringing.is_empty() => {
                let at = self.below(self.ringing.len());
                let (flow, invite) = self.ringing[at].clone();
                let status = [100, 180, 183, 200, 200, 486, 503, 600][self.below(8)];
                self.feed(flow, &response_to(&invite, status, &format!("sip:100@{}", flow.peer)));
            }
            _ => {
                let ms = [10, 300, 1_000, 5_000, 40_000][self.below(5)];
                let out = self.world.pass(ms);
                self.take(out);
            }
        }
    }

    /// Delivers a message, or loses it, or delivers it twice.
    fn feed(&mut self, flow: Flow, text: &str) {
        let times = [0, 1, 1, 1, 1, 1, 1, 2][self.below(8)];
        for _ in 0..times {
            let out = self.world.receive(flow, text);
            self.take(out);
        }
    }

    fn take(&mut self, out: Vec<(Flow, Message)>) {
        for (flow, message) in out {
            if self.phones.contains(&flow) {
                self.phone_takes(flow, &message);
            } else if let Some(status) = message.status() {
                self.node_takes(&message, status);
            }
        }
    }

    fn phone_takes(&mut self, flow: Flow, message: &Message) {
        match message.method() {
            Some(Method::Invite) => self.ringing.push((flow, message.clone())),
            Some(Method::Cancel | Method::Bye) => {
                let answer = response_to(message, 200, "sip:x@10.0.0.1");
                self.feed(flow, &answer);
                let branch = |message: &Message| message.top_via().and_then(|via| via.branch().map(<[u8]>::to_vec));
                let invite = self.ringing.iter().find(|(_, invite)| branch(invite) == branch(message)).cloned();
                if let (Some((flow, invite)), Some(Method::Cancel)) = (invite, message.method()) {
                    self.feed(flow, &response_to(&invite, 487, "sip:x@10.0.0.1"));
                }
            }
            _ => {}
        }
    }

    fn node_takes(&mut self, message: &Message, status: u16) {
        let response = message.response().expect("sound");
        if response.cseq.method != b"INVITE" {
            return;
        }
        let call_id =
            String::from_utf8_lossy(message.value(crate::message::FieldName::CallId).expect("one")).into_owned();
        self.heard.get_mut(&call_id).expect("a call of ours").statuses.push(status);
        if status >= 300 {
            let branch = call_id.trim_start_matches("call-");
            let ack = from_node("INVITE", "100", branch, "").replace("INVITE sip", "ACK sip");
            self.feed(udp(NODE), &ack.replace("10 INVITE", "10 ACK"));
        }
    }
}

#[test]
fn every_invite_gets_exactly_one_outcome() {
    let mut seen = std::collections::BTreeSet::new();
    for seed in 0..400 {
        let mut run = Run::new(seed);
        for _ in 0..80 {
            run.step();
        }
        for _ in 0..40 {
            let out = run.world.pass(10_000);
            run.take(out);
        }
        let gauges = run.world.edge.gauges();
        assert_eq!(
            (gauges.server_transactions, gauges.client_transactions, gauges.pending_forks),
            (0, 0, 0),
            "seed {seed}"
        );
        for (call, heard) in &run.heard {
            check(seed, call, &heard.statuses);
            seen.extend(heard.statuses.iter().copied());
        }
    }
    // The histories are rich enough to mean something.
    for status in [100, 180, 183, 200, 408, 486, 487, 500, 600] {
        assert!(seen.contains(&status), "no call ever heard {status}");
    }
}

/// A repeated INVITE after everything was forgotten is a new call to us, so outcomes come in groups; within a group
/// there is one: 2xx (several may pass) or one failure (repeated until ACK), and nothing provisional after it.
fn check(seed: u64, call: &str, statuses: &[u16]) {
    let mut outcome: Option<u16> = None;
    for &status in statuses {
        match (status, outcome) {
            // 100 begins a new transaction; repeats of INVITE get the latest response.
            (100, _) => outcome = None,
            (101..=199, None) | (200.., None) => outcome = (status >= 200).then_some(status),
            (200..=299, Some(200..=299)) => {}
            (status, Some(before)) => assert_eq!(status, before, "seed {seed} {call} {statuses:?}"),
            (0..=99, None) => panic!("seed {seed} {call} {statuses:?}"),
        }
    }
    // A call that was begun (100) and ran its time has an outcome, whatever was lost on the way.
    if !statuses.is_empty() {
        assert!(outcome.is_some(), "seed {seed} {call} {statuses:?}");
    }
}

/// The trusted side is as robust: mutated requests from a node and mutated answers of phones, deep in the call logic.
#[test]
fn mutated_calls_never_panic() {
    let mut run = Run::new(77);
    for round in 0..60_000_usize {
        let phone = run.phones[round % 2];
        let (flow, text) = match (run.below(3), run.ringing.last().cloned()) {
            (0, Some((_, invite))) => (phone, response_to(&invite, [180, 200, 486][run.below(3)], "sip:100@10.0.0.5")),
            (1, _) => (udp(NODE_2), from_node("CANCEL", "100", &format!("m{}", run.below(50)), "")),
            _ => (udp(NODE), from_node("INVITE", "100", &format!("m{}", run.below(50)), "")),
        };
        let mut bytes = text.into_bytes();
        for _ in 0..run.below(3) {
            let at = run.below(bytes.len());
            bytes[at] = [b'\r', b'\n', b' ', b';', b'<', b'"', b'0', 0, 0xff, b':'][run.below(10)];
        }
        run.world.edge.receive(flow, &bytes, run.world.now_ms);
        // What leaves carries the mutations on, so only INVITEs that are still readable can be answered.
        while let Some(effect) = run.world.edge.next_effect() {
            if let crate::edge::Effect::Send { flow, bytes } = effect
                && run.phones.contains(&flow)
                && let Ok(message) = Message::read(&bytes)
                && message.method() == Some(Method::Invite)
            {
                run.ringing = vec![(flow, message)];
            }
        }
        if round % 200 == 0 {
            run.world.now_ms += 3_000;
            run.world.edge.tick(run.world.now_ms);
        }
    }
    run.world.now_ms += 10_000_000;
    for _ in 0..50 {
        run.world.now_ms += 200_000;
        run.world.edge.tick(run.world.now_ms);
        while run.world.edge.next_effect().is_some() {}
    }
    let gauges = run.world.edge.gauges();
    assert_eq!((gauges.server_transactions, gauges.client_transactions, gauges.pending_forks), (0, 0, 0));
}

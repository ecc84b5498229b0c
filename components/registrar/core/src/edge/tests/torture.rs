//! The 49 cases of RFC 4475, written from its descriptions: valid ones are never refused as malformed, invalid ones get
//! the answer the RFC asks for or are dropped.

use super::torture_messages::{Expect, cases};
use super::world::{World, udp};
use crate::edge::Effect;
use crate::message::Message;

/// The statuses with which the edge answers these bytes from a stranger, in order.
fn statuses(bytes: &[u8]) -> Vec<u16> {
    let mut world = World::new();
    world.edge.receive(udp("192.0.2.77:5060"), bytes, world.now_ms);
    let mut found = Vec::new();
    while let Some(effect) = world.edge.next_effect() {
        if let Effect::Send { bytes, .. } = effect {
            found.push(Message::read(&bytes).expect("we send readable SIP").status().expect("an answer"));
        }
    }
    found
}

#[test]
fn there_are_49() {
    assert_eq!(cases().len(), 49);
}

#[test]
fn each_has_its_outcome() {
    for case in cases() {
        let found = statuses(&case.bytes);
        let read = Message::read(&case.bytes);
        match case.expect {
            Expect::Sound(status) => {
                let message = read.unwrap_or_else(|error| panic!("{}: {error}", case.name));
                let sound = match message.status() {
                    Some(_) => message.response().map(drop),
                    None => message.request().map(drop),
                };
                assert_eq!(sound, Ok(()), "{}", case.name);
                assert_eq!(found, status.into_iter().collect::<Vec<_>>(), "{}", case.name);
            }
            Expect::Answer(status) => assert_eq!(found, [status], "{}", case.name),
            Expect::Drop => assert_eq!(found, [] as [u16; 0], "{}", case.name),
        }
    }
}

/// Every case mutated at random: no panic, no answer to a response, no endless work.
#[test]
fn mutations_of_all_cases_never_panic() {
    let rounds = 250_000_u64;
    let cases = cases();
    let mut world = World::new();
    let mut random = Random(0x2545_f491_4f6c_dd1d);
    for round in 0..rounds {
        let case = &cases[random.below(cases.len())];
        let mut bytes = case.bytes.clone();
        for _ in 0..=random.below(4) {
            let other = random.below(cases.len());
            random.mutate(&mut bytes, &cases[other].bytes);
        }
        world.edge.receive(udp("192.0.2.77:5060"), &bytes, world.now_ms + round);
        while world.edge.next_effect().is_some() {}
        if round % 5_000 == 0 {
            world.pass(200_000);
        }
    }
    world.pass(1_000_000);
    let gauges = world.edge.gauges();
    assert_eq!((gauges.server_transactions, gauges.client_transactions, gauges.pending_forks), (0, 0, 0));
}

/// The same through the framer, in pieces of random size, as a stream would.
#[test]
fn mutated_streams_never_panic() {
    let cases = cases();
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for _ in 0..20_000 {
        let mut framer = crate::message::StreamFramer::new();
        let mut bytes = cases[random.below(cases.len())].bytes.clone();
        bytes.extend_from_slice(&cases[random.below(cases.len())].bytes);
        random.mutate(&mut bytes, b"Content-Length: 3\r\n\r\n");
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(1 + random.below(rest.len()));
            rest = after;
            framer.push(piece);
            let mut broken = false;
            loop {
                match framer.next_frame() {
                    Ok(Some(_)) => {}
                    Ok(None) => break,
                    Err(_) => {
                        broken = true;
                        break;
                    }
                }
            }
            if broken {
                break;
            }
        }
    }
}

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit.max(1) as u64).expect("smaller than a usize")
    }

    fn mutate(&mut self, bytes: &mut Vec<u8>, other: &[u8]) {
        let at = self.below(bytes.len());
        let to = (at + self.below(40)).min(bytes.len());
        match self.below(6) {
            0 if !bytes.is_empty() => bytes[at] = self.next().to_le_bytes()[0],
            1 => drop(bytes.drain(at..to)),
            2 => bytes.truncate(at),
            3 => {
                let piece = bytes[at..to].to_vec();
                bytes.splice(at..at, piece);
            }
            4 => {
                let from = self.below(other.len());
                let until = (from + self.below(60)).min(other.len());
                bytes.splice(at..to, other[from..until].iter().copied());
            }
            _ => {
                let special = b"\r\n \t;,:<>\"\\@[]()=?*%\0\xff/";
                let byte = special[self.below(special.len())];
                bytes.insert(at, byte);
            }
        }
    }
}

/// Where rsip 0.4 can read a message too, it sees the same method, Call-ID and CSeq.
#[test]
fn rsip_agrees_where_it_can_read() {
    use rsip::prelude::{HeadersExt, UntypedHeader};
    let mut compared = 0;
    for case in cases() {
        let Ok(theirs) = rsip::Request::try_from(case.bytes.clone()) else { continue };
        let Ok(ours) = Message::read(&case.bytes) else { continue };
        let Ok(ours) = ours.request() else { continue };
        let Ok(call_id) = theirs.call_id_header() else { continue };
        assert_eq!(call_id.value().as_bytes(), ours.call_id, "{}", case.name);
        assert_eq!(theirs.method.to_string().as_bytes(), ours.method_name, "{}", case.name);
        if let Ok(Ok(cseq)) = theirs.cseq_header().map(|header| header.seq()) {
            assert_eq!(cseq, ours.cseq.number, "{}", case.name);
        }
        compared += 1;
    }
    assert!(compared >= 10, "only {compared} compared");
}

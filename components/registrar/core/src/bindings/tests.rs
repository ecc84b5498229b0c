//! The registrar's rule against a naive model, on random histories.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::{
    Aor, Binding, Change, ContactRequest, Contacts, Decision, Flow, Locations, MAX_BINDINGS, Quality, Refusal,
    RegisterRequest, decide,
};

/// What the model remembers of a contact: Call-ID, CSeq, end.
type Model = BTreeMap<u8, (u8, u32, u64)>;

/// One step of a history.
#[derive(Clone, Debug)]
enum Step {
    Register { call: u8, cseq: u32, contacts: Vec<(u8, u32)> },
    RemoveAll { call: u8, cseq: u32 },
    Query,
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let expires = prop_oneof![Just(0_u32), Just(30), 60..4_000_u32];
    prop_oneof![
        6 => (0..3_u8, 0..20_u32, prop::collection::vec((0..14_u8, expires), 1..4))
            .prop_map(|(call, cseq, contacts)| Step::Register { call, cseq, contacts }),
        1 => (0..3_u8, 0..20_u32).prop_map(|(call, cseq)| Step::RemoveAll { call, cseq }),
        1 => Just(Step::Query),
        2 => (1..900_000_u64).prop_map(Step::Wait),
    ]
}

fn flow() -> Flow {
    Flow::Udp { socket: 0, peer: "10.0.0.1:5060".parse().expect("an address") }
}

fn contact(number: u8, expires_s: u32) -> ContactRequest {
    ContactRequest {
        key: format!("k{number:02}"),
        uri: format!("sip:{number}@10.0.0.1"),
        params: String::new(),
        q: Quality(1_000),
        expires_s,
        instance: None,
        reg_id: None,
    }
}

/// The RFC's words, contact by contact, without cleverness.
fn model(model: &Model, call: u8, cseq: u32, contacts: &[(u8, u32)], now_ms: u64) -> Result<Model, Refusal> {
    if contacts.iter().any(|(_, expires)| (1..60).contains(expires)) {
        return Err(Refusal::TooBrief);
    }
    let mut next: Model = model.clone();
    next.retain(|_, (_, _, end_ms)| *end_ms > now_ms);
    let before = next.clone();
    for (number, expires) in contacts {
        if let Some((old_call, old_cseq, _)) = before.get(number)
            && *old_call == call
            && *old_cseq >= cseq
        {
            return Err(Refusal::OutOfOrder);
        }
        if *expires == 0 {
            next.remove(number);
        } else {
            next.insert(*number, (call, cseq, now_ms + u64::from((*expires).min(3_600)) * 1_000));
        }
    }
    if next.len() > 10 { Err(Refusal::TooMany) } else { Ok(next) }
}

fn seen(bindings: &[Binding], now_ms: u64) -> Model {
    bindings
        .iter()
        .filter(|binding| binding.expires_at_ms > now_ms)
        .map(|binding| {
            let number = binding.key[1..].parse().expect("a number");
            let call = binding.call_id.parse().expect("a number");
            (number, (call, binding.cseq, binding.expires_at_ms))
        })
        .collect()
}

fn apply(bindings: &mut Vec<Binding>, changes: Vec<Change>) {
    for change in changes {
        bindings.retain(|binding| binding.key != change.key());
        if let Change::Put(binding) = change {
            bindings.push(*binding);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn the_rule_agrees_with_the_model(steps in prop::collection::vec(step(), 1..60)) {
        let mut now_ms = 1_000_000;
        let mut naive = Model::new();
        let mut bindings: Vec<Binding> = Vec::new();
        for step in steps {
            let (call, cseq, contacts, pairs) = match step {
                Step::Wait(ms) => {
                    now_ms += ms;
                    continue;
                }
                Step::Query => (0, 0, Contacts::Query, Vec::new()),
                Step::RemoveAll { call, cseq } => {
                    let all = naive.iter().filter(|(_, entry)| entry.2 > now_ms).map(|(number, _)| (*number, 0));
                    (call, cseq, Contacts::RemoveAll, all.collect())
                }
                Step::Register { call, cseq, contacts } => {
                    let these = contacts.iter().map(|(number, expires)| contact(*number, *expires)).collect();
                    (call, cseq, Contacts::These(these), contacts)
                }
            };
            let expected = model(&naive, call, cseq, &pairs, now_ms);
            let request = RegisterRequest { call_id: call.to_string(), cseq, contacts, user_agent: String::new() };
            match (decide(&bindings, &request, flow(), "here", now_ms), expected) {
                (Decision::Answer, Ok(_)) => {}
                (Decision::Store(changes), Ok(next)) => {
                    apply(&mut bindings, changes);
                    naive = next;
                }
                (Decision::Refuse(found), Err(expected)) => prop_assert_eq!(found, expected),
                (found, expected) => prop_assert!(false, "{:?} but the model says {:?}", found, expected),
            }
            let live = naive.iter().filter(|(_, entry)| entry.2 > now_ms);
            prop_assert_eq!(seen(&bindings, now_ms), live.map(|(key, entry)| (*key, *entry)).collect::<Model>());
            prop_assert!(seen(&bindings, now_ms).len() <= MAX_BINDINGS);
        }
    }

    /// Whatever is set, removed, expired and dropped: the three indexes hold the same bindings.
    #[test]
    fn the_indexes_agree(steps in prop::collection::vec((0..4_u8, 0..5_u8, 0..8_u8, 1..100_u64), 1..80)) {
        let mut locations = Locations::default();
        let mut now_ms = 0;
        for (what, user, number, ms) in steps {
            let aor = Aor { realm: "r".into(), user: user.to_string() };
            let peer = "10.0.0.1:5060".parse().expect("an address");
            let flow = Flow::Tcp { connection: u64::from(number % 3), peer };
            match what {
                0 => {
                    let mut bindings = locations.all(&aor).to_vec();
                    let request = RegisterRequest {
                        call_id: "1".into(),
                        cseq: 1,
                        contacts: Contacts::These(vec![contact(number, 60)]),
                        user_agent: String::new(),
                    };
                    if let Decision::Store(changes) = decide(&[], &request, flow, "here", now_ms) {
                        apply(&mut bindings, changes);
                    }
                    locations.set(&aor, bindings);
                }
                1 => drop(locations.remove(&aor, &format!("k{number:02}"))),
                2 => {
                    now_ms += ms * 1_000;
                    for removed in locations.expire(now_ms) {
                        prop_assert!(removed.binding.expires_at_ms <= now_ms);
                    }
                }
                _ => {
                    locations.drop_flow(flow);
                    prop_assert!(locations.at_flow(flow).is_none());
                }
            }
            let held: usize = (0..5).map(|user: u8| {
                locations.all(&Aor { realm: "r".into(), user: user.to_string() }).len()
            }).sum();
            prop_assert_eq!(held, locations.len());
            prop_assert!(locations.next_expiry_ms().is_none_or(|at_ms| at_ms > now_ms));
        }
    }
}

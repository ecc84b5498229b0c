//! The registrar's rule against a naive model, on random histories.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::{
    Aor, Binding, Change, ContactRequest, Contacts, Decision, Locations, MAX_BINDINGS, Quality, Refusal,
    RegisterRequest, decide, surplus,
};
use crate::flow::Flow;

/// What the model remembers of a contact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Known {
    call: u8,
    tag: u8,
    cseq: u32,
    end_ms: u64,
    begun_ms: u64,
}

type Model = BTreeMap<u8, Known>;

/// Who sends a REGISTER: Call-ID, From tag, CSeq.
type Sender = (u8, u8, u32);

/// One step of a history.
#[derive(Clone, Debug)]
enum Step {
    Register { sender: Sender, contacts: Vec<(u8, u32)> },
    RemoveAll { sender: Sender },
    Query,
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let expires = prop_oneof![Just(0_u32), Just(30), 60..4_000_u32];
    prop_oneof![
        6 => ((0..3_u8, 0..2_u8, 0..20_u32), prop::collection::vec((0..14_u8, expires), 1..4))
            .prop_map(|(sender, contacts)| Step::Register { sender, contacts }),
        1 => (0..3_u8, 0..2_u8, 0..20_u32).prop_map(|sender| Step::RemoveAll { sender }),
        1 => Just(Step::Query),
        2 => (1..900_000_u64).prop_map(Step::Wait),
    ]
}

fn flow() -> Flow {
    Flow::udp(0, "10.0.0.1:5060".parse().expect("an address"))
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
fn model(model: &Model, sender: Sender, contacts: &[(u8, u32)], now_ms: u64) -> Result<Model, Refusal> {
    let (call, tag, cseq) = sender;
    if contacts.iter().any(|(_, expires)| (1..60).contains(expires)) {
        return Err(Refusal::TooBrief);
    }
    let mut next: Model = model.clone();
    next.retain(|_, known| known.end_ms > now_ms);
    let before = next.clone();
    for (number, expires) in contacts {
        if let Some(old) = before.get(number)
            && (old.call, old.tag) == (call, tag)
            && old.cseq >= cseq
        {
            return Err(Refusal::OutOfOrder);
        }
        if *expires == 0 {
            next.remove(number);
        } else {
            let end_ms = now_ms + u64::from((*expires).min(3_600)) * 1_000;
            next.insert(*number, Known { call, tag, cseq, end_ms, begun_ms: now_ms });
        }
    }
    while next.len() > 10 {
        let named = |number: &u8| contacts.iter().any(|(named, _)| named == number);
        let oldest =
            next.iter().filter(|(number, _)| !named(number)).min_by_key(|(number, known)| (known.begun_ms, **number));
        let oldest = *oldest.expect("at most 3 are named").0;
        next.remove(&oldest);
    }
    Ok(next)
}

fn seen(bindings: &[Binding], now_ms: u64) -> Model {
    bindings
        .iter()
        .filter(|binding| binding.expires_at_ms > now_ms)
        .map(|binding| {
            let number = binding.key[1..].parse().expect("a number");
            let known = Known {
                call: binding.call_id.parse().expect("a number"),
                tag: binding.from_tag.parse().expect("a number"),
                cseq: binding.cseq,
                end_ms: binding.expires_at_ms,
                begun_ms: binding.registered_at_ms,
            };
            (number, known)
        })
        .collect()
}

/// What the store does: the changes, then room for the newest.
fn apply(bindings: &mut Vec<Binding>, changes: Vec<Change>, now_ms: u64) {
    bindings.retain(|binding| binding.expires_at_ms > now_ms);
    let named: Vec<String> = changes.iter().map(|change| change.key().to_owned()).collect();
    for change in changes {
        bindings.retain(|binding| binding.key != change.key());
        if let Change::Put(binding) = change {
            bindings.push(*binding);
        }
    }
    let kept = named.iter().map(String::as_str).collect();
    let gone: Vec<String> = surplus(bindings, &kept).into_iter().map(str::to_owned).collect();
    bindings.retain(|binding| !gone.contains(&binding.key));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn the_rule_agrees_with_the_model(steps in prop::collection::vec(step(), 1..60)) {
        let mut now_ms = 1_000_000;
        let mut naive = Model::new();
        let mut bindings: Vec<Binding> = Vec::new();
        for step in steps {
            let (sender, contacts, pairs) = match step {
                Step::Wait(ms) => {
                    now_ms += ms;
                    continue;
                }
                Step::Query => ((0, 0, 0), Contacts::Query, Vec::new()),
                Step::RemoveAll { sender } => {
                    let all = naive.iter().filter(|(_, known)| known.end_ms > now_ms).map(|(number, _)| (*number, 0));
                    (sender, Contacts::RemoveAll, all.collect())
                }
                Step::Register { sender, contacts } => {
                    let these = contacts.iter().map(|(number, expires)| contact(*number, *expires)).collect();
                    (sender, Contacts::These(these), contacts)
                }
            };
            let expected = model(&naive, sender, &pairs, now_ms);
            let (call, tag, cseq) = sender;
            let (call_id, from_tag) = (call.to_string(), tag.to_string());
            let request = RegisterRequest { call_id, cseq, from_tag, contacts, user_agent: String::new() };
            match (decide(&bindings, &request, flow(), "here", now_ms), expected) {
                (Decision::Answer, Ok(_)) => {}
                (Decision::Store(changes), Ok(next)) => {
                    apply(&mut bindings, changes, now_ms);
                    naive = next;
                }
                (Decision::Refuse(found), Err(expected)) => prop_assert_eq!(found, expected),
                (found, expected) => prop_assert!(false, "{:?} but the model says {:?}", found, expected),
            }
            let live = naive.iter().filter(|(_, known)| known.end_ms > now_ms);
            prop_assert_eq!(seen(&bindings, now_ms), live.map(|(key, known)| (*key, *known)).collect::<Model>());
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
            let flow = Flow::tcp(u64::from(number % 3), peer);
            match what {
                0 => {
                    let mut bindings = locations.all(&aor).to_vec();
                    let request = RegisterRequest {
                        call_id: "1".into(),
                        cseq: 1,
                        from_tag: "1".into(),
                        contacts: Contacts::These(vec![contact(number, 60)]),
                        user_agent: String::new(),
                    };
                    if let Decision::Store(changes) = decide(&[], &request, flow, "here", now_ms) {
                        apply(&mut bindings, changes, now_ms);
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

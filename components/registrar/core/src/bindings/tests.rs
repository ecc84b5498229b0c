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
    Flow::udp(0, "10.0.0.1:5060".parse().expect("an address"))
}

fn contact(number: u8, expires_s: u32) -> ContactRequest {
    ContactRequest {
        key: format!("k{number:02}"),
        uri: format!("sip:{number}@10.0.0.1"),
        params: String::new(),
        q: Quality(1_000),
        address: Some(flow().peer),
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
    while next.len() > 10 {
        let others = next.iter().filter(|(number, _)| contacts.iter().all(|(asked, _)| asked != *number));
        let oldest = others.map(|(number, (_, _, end_ms))| (*end_ms, *number)).min();
        next.remove(&oldest.ok_or(Refusal::TooMany)?.1);
    }
    Ok(next)
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
            let request = RegisterRequest { call_id: call.to_string(), cseq, contacts, from_tag: "t".into(), user_agent: String::new() };
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
            let flow = Flow::tcp(u64::from(number % 3), peer);
            match what {
                0 => {
                    let mut bindings = locations.all(&aor).to_vec();
                    let request = RegisterRequest {
                        call_id: "1".into(),
                        cseq: 1,
                        from_tag: "t".into(),
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

#[test]
fn a_flow_is_read_and_written_as_registrars_before_and_after_do() {
    let old = r#"{"transport":"udp","socket":1,"peer":"10.0.0.1:5060"}"#;
    let peer = "10.0.0.1:5060".parse().expect("an address");
    let flow: Flow = serde_json::from_str(old).expect("what the version before wrote");
    assert_eq!(flow, Flow::udp(1, peer));
    assert_eq!(serde_json::to_string(&flow).expect("written"), old);
    let reached = Flow::tcp(7, peer).reached_at("10.0.0.9".parse().expect("an address"));
    let text = serde_json::to_string(&reached).expect("written");
    assert_eq!(text, r#"{"transport":"tcp","connection":7,"peer":"10.0.0.1:5060","local":"10.0.0.9"}"#);
    assert_eq!(serde_json::from_str::<Flow>(&text).expect("read"), reached);
}

fn registering(call_id: &str, from_tag: &str, cseq: u32, contacts: Vec<ContactRequest>) -> RegisterRequest {
    RegisterRequest {
        call_id: call_id.into(),
        cseq,
        from_tag: from_tag.into(),
        contacts: Contacts::These(contacts),
        user_agent: String::new(),
    }
}

#[test]
fn a_restarted_phone_counts_anew() {
    let mut bindings = Vec::new();
    let first = registering("fixed", "before", 50, vec![contact(1, 600)]);
    let Decision::Store(changes) = decide(&bindings, &first, flow(), "here", 0) else { panic!("stored") };
    apply(&mut bindings, changes);
    let late = registering("fixed", "before", 1, vec![contact(1, 600)]);
    assert_eq!(decide(&bindings, &late, flow(), "here", 1), Decision::Refuse(Refusal::OutOfOrder));
    let restarted = registering("fixed", "after", 1, vec![contact(1, 600)]);
    assert!(matches!(decide(&bindings, &restarted, flow(), "here", 1), Decision::Store(_)));
}

#[test]
fn a_phone_behind_nat_comes_back_before_it_is_forgotten() {
    let granted = |contact: ContactRequest, flow: Flow| {
        let request = registering("1", "t", 1, vec![contact]);
        let Decision::Store(changes) = decide(&[], &request, flow, "here", 0) else { panic!("stored") };
        let mut bindings = Vec::new();
        apply(&mut bindings, changes);
        bindings[0].expires_at_ms / 1_000
    };
    let behind = ContactRequest { address: Some("192.168.1.7:5060".parse().expect("an address")), ..contact(1, 600) };
    assert_eq!(granted(contact(1, 600), flow()), 600);
    assert_eq!(granted(behind.clone(), flow()), 60);
    assert_eq!(granted(ContactRequest { address: None, ..behind.clone() }, flow()), 60);
    assert_eq!(granted(behind, Flow::tcp(1, flow().peer)), 600, "a stream keeps the way open");
}

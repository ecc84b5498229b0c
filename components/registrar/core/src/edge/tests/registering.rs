//! REGISTER through the whole edge.

use super::world::{
    REALM, World, aor, authorization, nonce_of, only, register_text, response_to, settings, texts, udp, value,
};
use crate::digest::Algorithm;
use crate::edge::{Observation, Settings};
use crate::message::{FieldName, Message};

const PHONE: &str = "10.0.0.5:5062";
const CONTACT: &str = "<sip:100@10.0.0.5:5062>";

#[test]
fn both_algorithms_register() {
    for algorithm in [Algorithm::Sha256, Algorithm::Md5] {
        let mut world = World::new();
        let flow = udp(PHONE);
        let challenge = only(world.receive(flow, &register_text("100", flow, CONTACT, 1, "")));
        let offered: Vec<String> = challenge
            .fields()
            .iter()
            .filter(|field| field.name == FieldName::WwwAuthenticate)
            .map(|field| String::from_utf8_lossy(field.value.of(challenge.bytes())).into_owned())
            .collect();
        assert!(offered[0].contains("algorithm=SHA-256") && offered[1].contains("algorithm=MD5"), "{offered:?}");
        let line = authorization("Authorization", algorithm, "100", "REGISTER", &nonce_of(&challenge), 1);
        let text = register_text("100", flow, CONTACT, 2, &line);
        let answer = only(world.receive(flow, &text));
        assert_eq!(answer.status(), Some(200));
        assert_eq!(value(&answer, FieldName::Contact), "<sip:100@10.0.0.5:5062>;expires=600");
        // The same datagram again gets the same answer; its nonce count is not counted twice.
        let again = only(world.receive(flow, &text));
        assert_eq!(again.bytes(), answer.bytes());
        // The same credentials in another request do not.
        let replay = register_text("100", flow, CONTACT, 3, &line);
        let refused = only(world.receive(flow, &replay));
        assert_eq!(refused.status(), Some(401));
        assert!(value(&refused, FieldName::WwwAuthenticate).contains("stale=true"));
    }
}

#[test]
fn an_answer_without_qop_is_challenged_again() {
    let mut world = World::new();
    let flow = udp(PHONE);
    let challenge = only(world.receive(flow, &register_text("100", flow, CONTACT, 1, "")));
    let nonce = nonce_of(&challenge);
    let first = Algorithm::Md5.hash(&[b"100", REALM.as_bytes(), b"secret"]);
    let second = Algorithm::Md5.hash(&[b"REGISTER", b"sip:127.0.0.1:5060"]);
    let response = Algorithm::Md5.hash(&[first.as_bytes(), nonce.as_bytes(), second.as_bytes()]);
    let line = format!(
        "Authorization: Digest username=\"100\",realm=\"{REALM}\",uri=\"sip:127.0.0.1:5060\",nonce=\"{nonce}\",\
         response=\"{response}\",algorithm=MD5\r\n"
    );
    assert_eq!(only(world.receive(flow, &register_text("100", flow, CONTACT, 2, &line))).status(), Some(401));
}

#[test]
fn known_and_unknown_users_are_answered_alike() {
    let mut world = World::new();
    let flow = udp(PHONE);
    let shape = |message: &Message| message.fields().iter().map(|field| field.name).collect::<Vec<_>>();
    let mut answers = Vec::new();
    for (user, realm) in [("100", REALM), ("nobody", REALM), ("100", "no.where")] {
        let text = |cseq: u32, more: &str| {
            register_text(user, flow, CONTACT, cseq, more).replace(&format!("@{REALM}"), &format!("@{realm}"))
        };
        let challenge = only(world.receive(flow, &text(1, "")));
        let line = authorization("Authorization", Algorithm::Md5, user, "REGISTER", &nonce_of(&challenge), 1)
            .replace("response=\"", "response=\"0")
            .replace(&format!("realm=\"{REALM}"), &format!("realm=\"{realm}"));
        let refused = only(world.receive(flow, &text(2, &line)));
        assert_eq!((challenge.status(), refused.status()), (Some(401), Some(401)));
        assert!(value(&challenge, FieldName::WwwAuthenticate).contains(&format!("realm=\"{realm}\"")));
        answers.push((shape(&challenge), shape(&refused)));
    }
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    assert!(world.observed.contains(&Observation::AuthFailure("wrong")));
}

#[test]
fn intervals_have_bounds() {
    let mut world = World::new();
    let flow = udp(PHONE);
    let brief = world.register("100", flow, "<sip:100@10.0.0.5:5062>;expires=10", 1);
    assert_eq!(brief.status(), Some(423));
    assert!(String::from_utf8_lossy(brief.bytes()).contains("\r\nMin-Expires: 60\r\n"));
    let long = world.register("100", flow, "<sip:100@10.0.0.5:5062>;expires=99999", 10);
    assert!(value(&long, FieldName::Contact).ends_with(";expires=3600"));
    world.pass(1_000_000);
    let query = world.register("100", flow, "", 20);
    assert!(value(&query, FieldName::Contact).ends_with(";expires=2600"));
    world.pass(2_600_000);
    assert!(world.edge.bindings(&aor("100")).is_empty(), "expired by itself");
    assert_eq!(world.forgotten.len(), 1);
}

#[test]
fn the_star_removes_all() {
    let mut world = World::new();
    let flow = udp(PHONE);
    world.register("100", flow, CONTACT, 1);
    world.register("100", udp("10.0.0.6:5062"), "<sip:100@10.0.0.6:5062>", 1);
    assert_eq!(world.edge.bindings(&aor("100")).len(), 2);
    let bad = world.register("100", flow, "*", 10);
    assert_eq!(bad.status(), Some(400), "without Expires: 0");
    let challenge = only(world.receive(flow, &register_text("100", flow, "*", 20, "Expires: 0\r\n")));
    let line = authorization("Authorization", Algorithm::Sha256, "100", "REGISTER", &nonce_of(&challenge), 1);
    let text = register_text("100", flow, "*", 21, &format!("Expires: 0\r\n{line}"));
    assert_eq!(only(world.receive(flow, &text)).status(), Some(200));
    assert!(world.edge.bindings(&aor("100")).is_empty());
}

#[test]
fn an_old_register_that_comes_late_changes_nothing() {
    let mut world = World::new();
    let flow = udp(PHONE);
    assert_eq!(world.register("100", flow, CONTACT, 10).status(), Some(200));
    assert_eq!(world.register("100", flow, "<sip:100@10.0.0.5:5062>;expires=0", 3).status(), Some(500));
    assert_eq!(world.edge.bindings(&aor("100")).len(), 1);
}

#[test]
fn the_eleventh_phone_takes_the_place_of_the_oldest() {
    let mut world = World::new();
    for phone in 1..=13 {
        let address = format!("10.0.1.{phone}:5060");
        assert_eq!(world.register("100", udp(&address), &format!("<sip:100@{address}>"), 1).status(), Some(200));
        world.pass(10);
    }
    let bindings = world.edge.bindings(&aor("100"));
    assert_eq!(bindings.len(), 10);
    assert!((4..=13).all(|phone| bindings.iter().any(|binding| binding.contact.ends_with(&format!(".{phone}:5060")))));
}

/// A desk phone with a fixed Call-ID counts from 1 again after a reboot; its new From tag tells the two lives apart.
#[test]
fn a_rebooted_phone_registers_at_once() {
    let mut world = World::new();
    let flow = udp(PHONE);
    assert_eq!(world.register("100", flow, CONTACT, 50).status(), Some(200));
    let rebooted = |cseq: u32, more: &str| register_text("100", flow, CONTACT, cseq, more).replace(";tag=a", ";tag=b");
    let challenge = only(world.receive(flow, &rebooted(1, "")));
    let line = authorization("Authorization", Algorithm::Sha256, "100", "REGISTER", &nonce_of(&challenge), 1);
    assert_eq!(only(world.receive(flow, &rebooted(2, &line))).status(), Some(200));
    assert_eq!(world.edge.bindings(&aor("100"))[0].cseq, 2);
}

#[test]
fn a_contact_of_2_kb_is_kept_whole() {
    let mut world = World::new();
    let token = "x".repeat(1_900);
    let answer = world.register("100", udp(PHONE), &format!("<sip:100@10.0.0.5:5062;pn-prid={token}>"), 1);
    assert_eq!(answer.status(), Some(200));
    assert!(value(&answer, FieldName::Contact).contains(&token));
    let huge = "x".repeat(2_100);
    let answer = world.register("100", udp(PHONE), &format!("<sip:100@10.0.0.5:5062;pn-prid={huge}>"), 5);
    assert_eq!(answer.status(), Some(400));
}

#[test]
fn without_the_store_a_register_is_sent_away_and_calls_go_on() {
    let mut world = World::new();
    world.phone("100", PHONE);
    world.store_away = true;
    let refused = world.register("100", udp(PHONE), CONTACT, 10);
    assert_eq!(refused.status(), Some(503));
    assert!(String::from_utf8_lossy(refused.bytes()).contains("\r\nRetry-After: "));
    assert_eq!(world.edge.bindings(&aor("100")).len(), 1);
    world.store_away = false;
    assert_eq!(world.register("100", udp(PHONE), CONTACT, 20).status(), Some(200));
}

#[test]
fn somebody_elses_address_is_refused() {
    let mut world = World::new();
    let flow = udp(PHONE);
    let other = |cseq: u32, more: &str| {
        register_text("100", flow, CONTACT, cseq, more).replace("To: <sip:100@", "To: <sip:101@")
    };
    let challenge = only(world.receive(flow, &other(1, "")));
    let line = authorization("Authorization", Algorithm::Sha256, "100", "REGISTER", &nonce_of(&challenge), 1);
    assert_eq!(only(world.receive(flow, &other(2, &line))).status(), Some(403));
    let foreign = register_text("100", flow, CONTACT, 3, "").replace(&format!("@{REALM}"), "@else.where");
    assert_eq!(only(world.receive(flow, &foreign)).status(), Some(401), "a realm that is not ours is not told apart");
}

#[test]
fn before_the_directory_is_known_nobody_is_told_they_do_not_exist() {
    let mut world = World::new();
    world.edge.set_directory(crate::edge::Directory::default());
    let flow = udp(PHONE);
    assert_eq!(only(world.receive(flow, &register_text("100", flow, CONTACT, 1, ""))).status(), Some(503));
}

/// The Contact cases of RFC 4475 (3.1.2.13, 3.3.11 to 3.3.14) from a phone that may register.
#[test]
fn contacts_of_the_torture_test() {
    let cases = [
        ("sip:user@example.com?Route=%3Csip:sip.example.com%3E", 400),
        ("<sip:user@example.com?Route=%3Csip:sip.example.com%3E>", 200),
        ("sip:+19725552222@gw1.example.net;unknownparam", 200),
        ("<sip:+19725552222@gw1.example.net;unknownparam>", 200),
        ("<sip:%00@host5.example.net>", 200),
        ("<name:John_Smith>", 200),
        ("<sip:a@b>;q=2", 400),
        ("<sip:a@b>,", 400),
        ("\"unclosed <sip:a@b>", 400),
    ];
    for (contact, status) in cases {
        let mut world = World::new();
        let answer = world.register("100", udp(PHONE), contact, 1);
        assert_eq!(answer.status(), Some(status), "{contact}");
    }
}

/// What JsSIP sends: quoted instance with angle brackets, and several contacts in one line.
#[test]
fn instances_and_lists_of_contacts() {
    let mut world = World::new();
    let contact = "<sip:a@1.2.3.4;transport=ws>;+sip.ice;reg-id=1;+sip.instance=\"<urn:uuid:7>\";expires=600, \
                   \"x, y\" <sip:b@[2001:db8::1]:5070>;q=0.5";
    let answer = world.register("100", udp(PHONE), contact, 1);
    let text = String::from_utf8_lossy(answer.bytes()).into_owned();
    assert!(text.contains(
        "Contact: <sip:a@1.2.3.4;transport=ws>;+sip.ice;reg-id=1;+sip.instance=\"<urn:uuid:7>\";expires=600\r\n"
    ));
    assert!(text.contains("Contact: <sip:b@[2001:db8::1]:5070>;q=0.500;expires=600\r\n"), "{text}");
    // The same instance from elsewhere replaces its binding.
    let moved = "<sip:a@5.6.7.8;transport=ws>;reg-id=1;+sip.instance=\"<urn:uuid:7>\"";
    world.register("100", udp("10.0.0.7:5062"), moved, 1);
    assert_eq!(world.edge.bindings(&aor("100")).len(), 2);
}

/// Phones that are set to this host's address instead of a domain, where one tenant owns the address.
#[test]
fn an_address_of_ours_may_stand_for_a_realm() {
    let mut world = World::new();
    let flow = udp(PHONE);
    let at_address = |cseq: u32, more: &str| {
        register_text("100", flow, CONTACT, cseq, more).replace(&format!("@{REALM}"), "@127.0.0.1")
    };
    let register = |world: &mut World, cseq: u32| {
        let challenge = only(world.receive(flow, &at_address(cseq, "")));
        let line = authorization("Authorization", Algorithm::Sha256, "100", "REGISTER", &nonce_of(&challenge), 1);
        only(world.receive(flow, &at_address(cseq + 1, &line))).status()
    };
    assert_eq!(register(&mut world, 1), Some(401), "nobody owns it");
    world.restart(Settings { address_realm: Some(REALM.into()), ..settings() });
    assert_eq!(register(&mut world, 10), Some(200));
    assert_eq!(world.edge.bindings(&aor("100")).len(), 1);
}

/// Names of people are no reason to refuse: UTF-8 in a user, a comma without quotes; nor is a clock in UTC.
#[test]
fn odd_names_and_dates_are_taken() {
    let mut world = World::new();
    let flow = udp(PHONE);
    for (at, from) in
        (1..).zip(["<sip:müller@rd.test>", "Muster, Ana <sip:100@rd.test>", "Ana (Home) <sip:100@rd.test>"])
    {
        let text = register_text("100", flow, CONTACT, at, "Date: Sun, 06 Nov 1994 08:49:37 UTC\r\n")
            .replace("From: <sip:100@rd.test>", &format!("From: {from}"));
        assert_eq!(only(world.receive(flow, &text)).status(), Some(401), "{from}");
    }
}

/// A phone behind NAT is pinged by the registrar that it came to, until it is gone; one that is seen where it says is not.
#[test]
fn phones_behind_nat_are_pinged() {
    let mut world = World::new();
    world.phone("101", "10.0.0.6:5062");
    assert!(world.pass(120_000).is_empty(), "no NAT, no ping");
    let seen = udp("198.51.100.7:40000");
    let private = "<sip:100@192.168.1.20:5060>;expires=60";
    assert_eq!(world.register("100", seen, private, 1).status(), Some(200));
    let pings = world.pass(59_000);
    assert_eq!(texts(&pings), ["198.51.100.7:40000 OPTIONS sip:100@192.168.1.20:5060 SIP/2.0"; 2]);
    assert!(world.receive(seen, &response_to(&pings[0].1, 200, "sip:100@192.168.1.20")).is_empty(), "nobody waits");
    assert!(!world.observed.contains(&Observation::Dropped("stray_response")));
    assert!(world.pass(120_000).is_empty(), "it has expired");
    // A registration at another registrar is that one's to keep.
    let mut binding = world.stored[&aor("100")][0].clone();
    (binding.holder, binding.expires_at_ms) = ("elsewhere/1".into(), world.now_ms + 600_000);
    world.edge.load_location(&aor("100"), vec![binding], world.now_ms);
    assert!(world.pass(120_000).is_empty());
}

/// Raw UTF-8 in a user part breaks RFC 3261 25.1; its bytes mean the user all the same.
#[test]
fn raw_utf8_in_a_user_is_read() {
    let mut world = World::new();
    let flow = udp(PHONE);
    let text =
        register_text("100", flow, CONTACT, 1, "").replace("From: <sip:100@", "From: J\u{fc}rgen <sip:j\u{fc}rgen@");
    assert_eq!(only(world.receive(flow, &text)).status(), Some(401), "asked who it is, not refused as malformed");
}

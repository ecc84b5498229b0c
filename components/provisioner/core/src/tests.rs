//! Compiling, summaries and rendering.

use std::net::SocketAddr;

use proptest::prelude::*;
use ringdown_domain::{AgentId, QueueId, RouteId, TenantId, TimestampMs, TrunkId};
use ringdown_events::TrunkConfig;

use crate::asterisk::{FOLDERS, RenderError, Settings, hold_music, reloads, render};
use crate::{
    AgentRow, AgentSkillRow, OutboundRouteRow, QueueRow, QueueSkillRow, RouteRow, Summary, TenantRows, TrunkRow,
    compile,
};

fn queue_id() -> QueueId {
    QueueId::from_parts(2, &[2; 10])
}

fn trunk_id(number: u8) -> TrunkId {
    TrunkId::from_parts(u64::from(number), &[number; 10])
}

fn rows() -> TenantRows {
    let agent = AgentId::from_parts(1, &[1; 10]);
    TenantRows {
        tenant: TenantId::from_parts(0, &[0; 10]),
        name: "Demo".to_owned(),
        realm: "demo.invalid".to_owned(),
        revision: 7,
        skills: vec!["English".to_owned(), "Support".to_owned()],
        agents: vec![AgentRow {
            id: agent,
            name: "Ada".to_owned(),
            sip_user: Some("ada".to_owned()),
            ha1_md5: Some("a".repeat(32)),
            ha1_sha256: Some("b".repeat(64)),
        }],
        agent_skills: vec![AgentSkillRow { agent, skill: "English".to_owned(), level: 5 }],
        queues: vec![QueueRow {
            id: queue_id(),
            name: "Support".to_owned(),
            priority: 0,
            ring_timeout_ms: 15_000,
            wrap_up_ms: 0,
            wait_limit_ms: None,
            capacity: 100,
            service_level_ms: 20_000,
            after_no_answer: "not_ready".to_owned(),
            busy_limit: 3,
            recorded: false,
        }],
        queue_skills: vec![QueueSkillRow { queue: queue_id(), skill: "English".to_owned(), min_level: 2 }],
        trunks: vec![TrunkRow {
            id: trunk_id(3),
            name: "Carrier".to_owned(),
            sources: vec!["192.0.2.7".to_owned(), "198.51.100.0/24".to_owned()],
            capacity: 30,
            country_code: Some("49".to_owned()),
            international_prefix: "00".to_owned(),
            national_prefix: "0".to_owned(),
            destination: Some("192.0.2.7:5060".to_owned()),
            caller_id: None,
        }],
        outbound_routes: vec![OutboundRouteRow {
            id: RouteId::from_parts(5, &[5; 10]),
            prefix: "+49".to_owned(),
            strip: "+49".to_owned(),
            prepend: "0".to_owned(),
            trunks: vec![trunk_id(3)],
            caller_id: Some("+49301234".to_owned()),
        }],
        routes: vec![RouteRow {
            id: RouteId::from_parts(4, &[4; 10]),
            did: "+49301234".to_owned(),
            queue: queue_id(),
            trunk: Some(trunk_id(3)),
        }],
    }
}

/// A change of sound rows, and a piece of every complaint it must cause.
fn check(change: impl FnOnce(&mut TenantRows), complaints: &[&str]) {
    let mut rows = rows();
    change(&mut rows);
    let result = compile(&rows, TimestampMs(9));
    if complaints.is_empty() {
        assert_eq!(result.map(|config| config.meta.version), Ok(7));
        return;
    }
    let wrong = result.expect_err("a contradiction");
    let told: Vec<String> = wrong.iter().map(ToString::to_string).collect();
    for complaint in complaints {
        assert!(told.iter().any(|text| text.contains(complaint)), "{complaint:?} not in {told:?}");
    }
    assert_eq!(told.len(), complaints.len(), "{told:?}");
}

#[test]
fn sound_rows_compile() {
    check(|_| {}, &[]);
    check(|rows| rows.agents[0].sip_user = None, &[]);
    check(|rows| rows.routes[0].trunk = None, &[]);
}

#[test]
fn what_contradicts_itself_is_named() {
    check(|rows| rows.realm = "Demo Realm".to_owned(), &["the realm must be"]);
    check(|rows| rows.agents[0].name = " ".to_owned(), &["the name must not be empty"]);
    check(|rows| rows.agents[0].sip_user = Some("a b".to_owned()), &["the SIP user must be"]);
    check(|rows| rows.agents[0].ha1_md5 = Some("xyz".to_owned()), &["hashes are malformed"]);
    check(|rows| rows.agent_skills[0].level = 11, &["level must be 1 to 10"]);
    check(|rows| rows.agent_skills[0].skill = "Klingon".to_owned(), &["names a skill that does not exist"]);
    check(|rows| rows.queue_skills[0].min_level = 0, &["level must be 1 to 10"]);
    check(|rows| rows.queues[0].priority = 101, &["the priority must be"]);
    check(|rows| rows.queues[0].ring_timeout_ms = 0, &["the ring timeout must be"]);
    check(|rows| rows.queues[0].wait_limit_ms = Some(1), &["the wait limit must be"]);
    check(|rows| rows.queues[0].after_no_answer = "explode".to_owned(), &["after no answer must be"]);
    check(|rows| rows.trunks[0].sources = vec![], &["1 to 32 sources"]);
    check(|rows| rows.trunks[0].destination = Some("carrier.example".to_owned()), &["the destination must be"]);
    check(|rows| rows.trunks[0].caller_id = Some("+".to_owned()), &["the number that is shown"]);
    check(|rows| rows.outbound_routes[0].trunks = vec![trunk_id(9)], &["each of which exists"]);
    check(|rows| rows.outbound_routes[0].prefix = "0x".to_owned(), &["at most 15 digits"]);
    check(|rows| rows.trunks[0].sources[0] = "carrier.example".to_owned(), &["a source must be an address"]);
    check(|rows| rows.trunks[0].sources[1] = "192.0.2.0/33".to_owned(), &["a source must be an address"]);
    check(|rows| rows.trunks[0].country_code = Some("0".to_owned()), &["the country code must be"]);
    check(|rows| rows.trunks[0].national_prefix = "+".to_owned(), &["a prefix must be"]);
    check(|rows| rows.queues[0].busy_limit = 0, &["busy answers must be"]);
    check(|rows| rows.trunks[0].capacity = 0, &["the capacity must be"]);
    check(|rows| rows.routes[0].did = "1;2".to_owned(), &["the number may only hold"]);
    check(|rows| rows.routes[0].queue = QueueId::from_parts(9, &[9; 10]), &["a queue that does not exist"]);
    check(|rows| rows.routes[0].trunk = Some(trunk_id(9)), &["a trunk that does not exist"]);
}

#[test]
fn everything_wrong_is_told_at_once() {
    let change = |rows: &mut TenantRows| {
        rows.queues[0].capacity = 0;
        rows.agents[0].name = "\n".to_owned();
        rows.trunks[0].capacity = -1;
    };
    let told = ["the capacity must be 1 to 100000", "the name must not be empty", "the capacity must be 1 to 10,000"];
    check(change, &told);
}

#[test]
fn a_summary_counts_what_changed() {
    let older = compile(&rows(), TimestampMs(1)).unwrap();
    let mut changed = rows();
    changed.skills.push("Billing".to_owned());
    changed.agents[0].name = "Ada L.".to_owned();
    changed.routes.clear();
    let newer = compile(&changed, TimestampMs(2)).unwrap();
    assert_eq!(Summary::between(Some(&older), &newer).to_string(), "agents +0 -0 ~1, routes +0 -1 ~0, skills +1 -0 ~0");
    assert_eq!(Summary::between(Some(&older), &older).to_string(), "nothing");
    assert!(!Summary::between(None, &older).is_empty());
}

fn settings() -> Settings {
    let address = |text: &str| text.parse::<SocketAddr>().unwrap();
    Settings {
        node: "voice-1".parse().unwrap(),
        folder: "/srv".to_owned(),
        modules: "/usr/lib/asterisk/modules".to_owned(),
        sip: address("127.0.0.1:5070"),
        registrar: address("127.0.0.1:5060"),
        http: address("127.0.0.1:7088"),
        acd_url: Some("ws://127.0.0.1:8012/ari".to_owned()),
        ari_user: "ringdown".to_owned(),
        ari_password: "0123456789abcdef".to_owned(),
        rtp_ports: (16_384, 32_767),
    }
}

fn trunks() -> Vec<TrunkConfig> {
    compile(&rows(), TimestampMs(1)).unwrap().trunks.into_values().collect()
}

#[test]
fn the_files_of_an_instance() {
    let files = render(&settings(), &trunks()).unwrap();
    insta::assert_snapshot!("pjsip", files["etc/pjsip.conf"]);
    insta::assert_snapshot!("extensions", files["etc/extensions.conf"]);
    insta::assert_snapshot!("http", files["etc/http.conf"]);
    insta::assert_snapshot!("ari", files["etc/ari.conf"]);
    insta::assert_snapshot!("websocket_client", files["etc/websocket_client.conf"]);
    insta::assert_snapshot!("hosts", files["hosts"]);
    for name in files.keys().filter(|name| name.starts_with("etc/")) {
        assert!(FOLDERS.contains(&"etc"), "{name} has its folder");
    }
    assert_eq!(reloads("etc/pjsip.conf"), Some("res_pjsip.so"));
    assert_eq!(reloads("etc/modules.conf"), None);
}

#[test]
fn where_the_acd_opens_the_websocket_asterisk_opens_none() {
    let files = render(&Settings { acd_url: None, ..settings() }, &trunks()).unwrap();
    for name in ["etc/ari.conf", "etc/websocket_client.conf"] {
        assert!(!files[name].contains("[ringdown-acd]"), "{name}: {}", files[name]);
    }
}

#[test]
fn a_setting_that_would_break_out_of_its_line_is_refused() {
    let check = |change: fn(&mut Settings), expected: &str| {
        let mut settings = settings();
        change(&mut settings);
        match render(&settings, &[]) {
            Err(RenderError::Setting { field, .. }) => assert_eq!(field, expected),
            Err(other) => panic!("{other}"),
            Ok(_) => panic!("{expected} was accepted"),
        }
    };
    check(|s| s.folder = "srv".to_owned(), "folder");
    check(|s| s.folder = "/srv\n[x]".to_owned(), "folder");
    check(|s| s.modules = "/a;b".to_owned(), "modules");
    check(|s| s.acd_url = Some("ws://x\n".to_owned()), "acd_url");
    check(|s| s.ari_user = "a]".to_owned(), "ari_user");
    check(|s| s.ari_password = "short".to_owned(), "ari_password");
    check(|s| s.rtp_ports = (10_001, 20_000), "rtp_ports");
}

#[test]
fn two_trunks_with_one_source_cannot_be_told_apart() {
    let mut list = trunks();
    let mut second = list[0].clone();
    second.id = trunk_id(5);
    list.push(second);
    assert!(matches!(render(&settings(), &list), Err(RenderError::SourceClaimedTwice { .. })));
}

#[test]
fn music_is_audible_and_never_clips() {
    let bytes = hold_music();
    assert_eq!(bytes.len(), 614_400);
    let samples: Vec<i16> = bytes.chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]])).collect();
    assert!(samples.iter().all(|sample| sample.unsigned_abs() <= 6_500));
    let loud = samples.iter().filter(|sample| sample.unsigned_abs() > 500).count();
    assert!(loud > samples.len() / 2, "{loud} of {} samples are audible", samples.len());
}

proptest! {
    /// Whatever text arrives in a row, no file gets a line or a section that the template does not have.
    #[test]
    fn no_row_breaks_out_of_its_line(name in ".*", source in ".*", realm in ".*", did in ".*") {
        let mut rows = rows();
        rows.trunks[0].name = name;
        rows.trunks[0].sources = vec![source];
        rows.realm = realm;
        rows.routes[0].did = did;
        if let Ok(config) = compile(&rows, TimestampMs(1)) {
            let list: Vec<TrunkConfig> = config.trunks.into_values().collect();
            let files = render(&settings(), &list).unwrap();
            let mut plain = trunks();
            plain[0].sources.truncate(1);
            let expected = render(&settings(), &plain).unwrap();
            for (file, text) in &files {
                prop_assert_eq!(text.lines().count(), expected[file].lines().count(), "{}", file);
            }
        }
    }
}

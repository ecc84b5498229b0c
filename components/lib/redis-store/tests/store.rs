//! The store against a real Redis: what holds when leases are lost, answers do not come, Redis restarts and versions flip.
#![expect(clippy::unwrap_used, reason = "a test stops at a surprise")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ringdown_domain::{AgentId, CommandId, InteractionId, NodeId, SkillName, TenantId, TimestampMs, UserId};
use ringdown_events::{AgentConfig, Command, CompiledConfig, ConfigMeta, Done, Outcome, RouterRecord};
use ringdown_redis_store::session::{self, Role, Session};
use ringdown_redis_store::{
    Answer, CommandClient, Commit, CommitError, Committer, ConfigChange, ConfigReader, ConfigWriter, FlipError, Guard,
    Lease, LeaseKeys, RedisOptions as StoreOptions, RedisPool, Retry, StoreError, StoreMetrics, StreamReader,
    StreamStart, keys, newest_stream_id, redis, snapshot,
};
use ringdown_test_support::{Appendfsync, PrivateRedis, RedisOptions, wait_until};

const LIMIT: Duration = Duration::from_secs(10);

fn id(number: u8) -> [u8; 10] {
    [number; 10]
}

fn tenant() -> TenantId {
    TenantId::from_parts(1, &id(1))
}

async fn store() -> (PrivateRedis, RedisPool) {
    // A killed Redis keeps everything only so: with `everysec` a write may wait while the disk is busy.
    let options = RedisOptions { appendfsync: Appendfsync::Always, ..RedisOptions::default() };
    let redis = PrivateRedis::start(options).await.expect("a Redis");
    let options = StoreOptions::from_url(&redis.url()).expect("a URL");
    (redis, RedisPool::new(options, StoreMetrics::default()))
}

fn lease_keys() -> LeaseKeys {
    LeaseKeys { lease: keys::router_lease(tenant()), epoch: keys::router_epoch(tenant()) }
}

async fn acquire(pool: &RedisPool, holder: &str, ttl_ms: u64) -> Option<Lease> {
    Lease::acquire(pool, &lease_keys(), holder, Duration::from_millis(ttl_ms)).await.expect("Redis answers")
}

async fn get(pool: &RedisPool, key: &str) -> Option<String> {
    let mut cmd = redis::cmd("GET");
    cmd.arg(key);
    pool.run("test", Retry::Safe, &cmd).await.expect("Redis answers")
}

fn set(key: &str, value: &str) -> Commit {
    let mut commit = Commit::new();
    commit.push(["SET".to_owned(), key.to_owned(), value.to_owned()]);
    commit
}

#[tokio::test]
async fn a_lease_has_one_holder_and_a_growing_epoch() {
    let (_redis, pool) = store().await;
    let first = acquire(&pool, "a", 60_000).await.expect("the lease is free");
    assert_eq!((first.epoch(), name(first.value())), (1, "1:a"));
    assert!(acquire(&pool, "b", 60_000).await.is_none(), "one holder at a time");
    assert_eq!(first.renew(&pool).await.unwrap(), Ok(()));
    first.release(&pool).await.unwrap();
    assert!(first.is_lost());
    let second = acquire(&pool, "a", 60_000).await.expect("released");
    assert_eq!(second.epoch(), 2);
    first.release(&pool).await.unwrap();
    let held = get(&pool, second.key()).await;
    assert_eq!(held.as_deref().map(name), Some("2:a"), "an old holder releases nothing");
}

/// A lease's value without the mark of its process.
fn name(value: &str) -> &str {
    value.split('~').next().unwrap_or_default()
}

#[tokio::test]
async fn a_holder_that_died_on_this_host_is_not_waited_for_and_one_that_may_live_is() {
    let (_redis, pool) = store().await;
    let own = ringdown_service::ProcessMark::own().expect("Linux tells").to_string();
    let mut parts: Vec<String> = own.split('/').map(str::to_owned).collect();
    let held = async |mark: String| {
        let mut cmd = redis::cmd("SET");
        cmd.arg(lease_keys().lease).arg(format!("7:a~{mark}")).arg("PX").arg(60_000);
        let _ok: String = pool.run("test", Retry::Safe, &cmd).await.expect("Redis answers");
        acquire(&pool, "b", 60_000).await
    };
    assert!(held(own.clone()).await.is_none(), "this process lives");
    let mut child = std::process::Command::new("true").spawn().expect("a child");
    parts[2] = child.id().to_string();
    child.wait().expect("it ends");
    let taken = held(parts.join("/")).await.expect("taken over at once");
    assert_eq!(name(taken.value()), "1:b");
    parts[0] = "another-boot".to_owned();
    assert!(held(parts.join("/")).await.is_none(), "who is on another host may live");
    assert!(held("rubbish".to_owned()).await.is_none());
}

#[tokio::test]
async fn a_commit_is_acknowledged_when_a_replica_has_it_and_not_before() {
    let (master, pool) = store().await;
    let of = ("replicaof".to_owned(), format!("127.0.0.1 {}", master.port()));
    let options = RedisOptions { directives: vec![of], ..RedisOptions::default() };
    let mut replica = PrivateRedis::start(options).await.expect("a replica");
    let lease = acquire(&pool, "a", 60_000).await.unwrap();
    let mut committer = Committer::new(&pool, keys::unshown(tenant()), 1);
    let copy = StoreOptions::from_url(&replica.url()).expect("a URL");
    let copy = RedisPool::new(copy, StoreMetrics::default());
    // A replica that has just been started takes its first copy.
    wait_until(LIMIT, "the first copy", async || get(&copy, lease.key()).await.map(|_| ())).await;
    committer.commit(&lease, None, &set("{x}:k", "1")).await.expect("the replica confirms");
    assert_eq!(get(&copy, "{x}:k").await.as_deref(), Some("1"), "acknowledged is copied");

    replica.pause().unwrap();
    let guard = Guard { key: "{x}:record".to_owned(), field: "commits", expected: String::new() };
    let mut commit = set("{x}:k", "2");
    commit.push(["HSET".to_owned(), "{x}:record".to_owned(), "commits".to_owned(), "1".to_owned()]);
    let alone = committer.commit(&lease, Some(&guard), &commit).await;
    assert!(matches!(alone, Err(CommitError::TooFewReplicas { confirmed: 0, wanted: 1 })), "{alone:?}");
    // Asking again does nothing twice: the guard says that it is there.
    let again = committer.commit(&lease, Some(&guard), &commit).await;
    assert!(matches!(&again, Err(CommitError::Moved { found }) if found == "1"), "{again:?}");
    replica.resume().unwrap();
    committer.confirm(&lease).await.expect("the replica is back and has it");
    assert_eq!(get(&copy, "{x}:k").await.as_deref(), Some("2"));
}

/// A commit that shows an entry in a stream others read.
fn telling(value: &str) -> Commit {
    let mut commit = set("{x}:k", value);
    let text = commit.share(value.to_owned());
    let row = vec!["*".to_owned().into(), "e".to_owned().into(), text.into()];
    commit.show_group(vec!["XADD".to_owned(), keys::outcomes(tenant())], vec![row]);
    commit
}

async fn told(pool: &RedisPool) -> Vec<String> {
    let mut reader = StreamReader::new(pool, "test", 100);
    reader.follow(&keys::outcomes(tenant()), StreamStart::Oldest);
    let entries = reader.next(Duration::ZERO).await.expect("Redis answers");
    entries.iter().filter_map(|entry| entry.field("e").map(str::to_owned)).collect()
}

#[tokio::test]
async fn nobody_is_told_of_what_no_replica_has() {
    let (master, pool) = store().await;
    let of = ("replicaof".to_owned(), format!("127.0.0.1 {}", master.port()));
    let options = RedisOptions { directives: vec![of], ..RedisOptions::default() };
    let mut replica = PrivateRedis::start(options).await.expect("a replica");
    let lease = acquire(&pool, "a", 60_000).await.unwrap();
    let copy = RedisPool::new(StoreOptions::from_url(&replica.url()).expect("a URL"), StoreMetrics::default());
    wait_until(LIMIT, "the first copy", async || get(&copy, lease.key()).await.map(|_| ())).await;
    let mut committer = Committer::new(&pool, keys::unshown(tenant()), 1);
    committer.commit(&lease, None, &telling("1")).await.expect("the replica confirms");
    assert_eq!(told(&pool).await, ["1"]);

    replica.pause().unwrap();
    let alone = committer.commit(&lease, None, &telling("2")).await;
    assert!(matches!(alone, Err(CommitError::TooFewReplicas { .. })), "{alone:?}");
    assert_eq!(told(&pool).await, ["1"], "told before a replica has it");
    // The one who committed dies; a successor without a replica tells nobody either.
    let mut end = redis::cmd("DEL");
    end.arg(lease.key());
    let _ended: u32 = pool.run("test", Retry::Safe, &end).await.expect("Redis answers");
    let successor = acquire(&pool, "b", 60_000).await.expect("the lease is over");
    let mut second = Committer::new(&pool, keys::unshown(tenant()), 1);
    let alone = second.show_left(&successor).await;
    assert!(matches!(alone, Err(CommitError::TooFewReplicas { .. })), "{alone:?}");
    let late = committer.confirm(&lease).await;
    assert!(matches!(late, Err(CommitError::TooFewReplicas { .. })), "{late:?}");
    assert_eq!(told(&pool).await, ["1"]);

    replica.resume().unwrap();
    let late = wait_until(LIMIT, "the replica confirms", async || match committer.confirm(&lease).await {
        Err(CommitError::TooFewReplicas { .. }) => None,
        other => Some(other),
    });
    assert!(matches!(late.await, Err(CommitError::Fenced { .. })), "showing is the successor's");
    assert_eq!(told(&pool).await, ["1"]);
    second.show_left(&successor).await.expect("the replica is back");
    assert_eq!(told(&pool).await, ["1", "2"]);
    second.show_left(&successor).await.expect("nothing is left");
    assert_eq!(told(&pool).await, ["1", "2"], "once");
}

#[tokio::test]
async fn what_a_lost_lease_commits_is_refused_whole() {
    let (_redis, pool) = store().await;
    let mut committer = Committer::new(&pool, keys::unshown(tenant()), 0);
    let old = acquire(&pool, "a", 100).await.unwrap();
    committer.commit(&old, None, &set("{x}:k", "1")).await.unwrap();
    wait_until(LIMIT, "the lease to end", async || get(&pool, old.key()).await.is_none().then_some(())).await;
    let refused = committer.commit(&old, None, &set("{x}:k", "2")).await;
    assert!(matches!(refused, Err(CommitError::Fenced { .. })), "nobody holds it: {refused:?}");
    let new = acquire(&pool, "b", 60_000).await.unwrap();
    let refused = committer.commit(&old, None, &set("{x}:k", "3")).await;
    assert!(matches!(refused, Err(CommitError::Fenced { held_by }) if name(&held_by) == "2:b"));
    assert_eq!(get(&pool, "{x}:k").await.as_deref(), Some("1"));
    committer.commit(&new, None, &set("{x}:k", "4")).await.unwrap();
    assert_eq!(get(&pool, "{x}:k").await.as_deref(), Some("4"));
    assert!(old.renew(&pool).await.unwrap().is_err() && old.is_lost());
}

#[tokio::test]
async fn a_commit_extends_its_lease() {
    let (_redis, pool) = store().await;
    let mut committer = Committer::new(&pool, keys::unshown(tenant()), 0);
    let lease = acquire(&pool, "a", 300).await.unwrap();
    for _ in 0..10 {
        tokio::time::sleep(Duration::from_millis(60)).await;
        committer.commit(&lease, None, &set("{x}:k", "1")).await.unwrap();
    }
    assert!(!lease.is_surely_over());
}

#[tokio::test]
async fn a_repeated_commit_is_applied_once() {
    let (_redis, pool) = store().await;
    let mut committer = Committer::new(&pool, keys::unshown(tenant()), 0);
    let lease = acquire(&pool, "a", 60_000).await.unwrap();
    let key = keys::router(tenant());
    let mut commit = Commit::new();
    commit.push(["INCR".to_owned(), "{x}:count".to_owned()]);
    commit.push(["HSET".to_owned(), key.clone(), "commits".to_owned(), "1".to_owned()]);
    let guard = Guard { key, field: "commits", expected: String::new() };
    committer.commit(&lease, Some(&guard), &commit).await.unwrap();
    let again = committer.commit(&lease, Some(&guard), &commit).await;
    assert!(matches!(again, Err(CommitError::Moved { found }) if found == "1"));
    assert_eq!(get(&pool, "{x}:count").await.as_deref(), Some("1"));
}

#[tokio::test]
async fn a_large_commit_with_any_text_arrives_as_it_was() {
    let (_redis, pool) = store().await;
    let mut committer = Committer::new(&pool, keys::unshown(tenant()), 0);
    let lease = acquire(&pool, "a", 60_000).await.unwrap();
    let text = "Zoë \u{1F4DE} \" \\ \n \u{0}".repeat(10_000);
    let mut commit = set("{x}:text", &text);
    let pairs = (0..1_900).flat_map(|number| [format!("{{x}}:{number}"), "v".to_owned()]);
    commit.push_list(std::iter::once("MSET".to_owned()).chain(pairs).collect());
    for number in 0..5_000 {
        commit.push(["RPUSH".to_owned(), "{x}:list".to_owned(), number.to_string()]);
    }
    committer.commit(&lease, None, &commit).await.unwrap();
    assert_eq!(get(&pool, "{x}:text").await, Some(text));
    assert_eq!(get(&pool, "{x}:1899").await.as_deref(), Some("v"));
}

#[tokio::test]
async fn everything_survives_a_restart_of_redis() {
    let (mut redis, pool) = store().await;
    let mut committer = Committer::new(&pool, keys::unshown(tenant()), 0);
    let mut reader = StreamReader::new(&pool, "test", 10);
    reader.follow("{x}:s", StreamStart::Oldest);
    let lease = acquire(&pool, "a", 60_000).await.unwrap();
    committer.commit(&lease, None, &set("{x}:k", "1")).await.unwrap();
    redis.kill9().unwrap();
    let down = committer.commit(&lease, None, &set("{x}:k", "2")).await;
    assert!(matches!(down, Err(CommitError::Store(error)) if error.is_passing()));
    let error = reader.next(Duration::from_millis(10)).await.unwrap_err();
    assert!(error.is_passing(), "{error}");
    assert!(pool.ping().await.is_err());
    redis.restart().await.unwrap();
    assert_eq!(get(&pool, "{x}:k").await.as_deref(), Some("1"));
    committer.commit(&lease, None, &set("{x}:k", "3")).await.unwrap();
    let mut cmd = redis::cmd("XADD");
    cmd.arg("{x}:s").arg("*").arg("e").arg("hello");
    let added: String = pool.run("test", Retry::Safe, &cmd).await.unwrap();
    let entries = reader.next(Duration::from_secs(1)).await.unwrap();
    assert_eq!((entries[0].id.as_str(), entries[0].field("e")), (added.as_str(), Some("hello")));
    assert_eq!(newest_stream_id(&pool, "{x}:s").await.unwrap(), added);
}

#[tokio::test]
async fn a_wrong_password_is_refused_and_says_so() {
    let options = RedisOptions { password: Some("right".to_owned()), ..Default::default() };
    let redis = PrivateRedis::start(options).await.unwrap();
    let wrong = StoreOptions::from_url(&redis.url().replace("right", "wrong")).unwrap();
    assert!(!format!("{wrong:?}").contains("wrong"), "no password in logs");
    let pool = RedisPool::new(wrong, StoreMetrics::default());
    let error = pool.ping().await.unwrap_err();
    assert!(!error.is_passing() || matches!(error, StoreError::Unavailable { .. }), "{error}");
    assert!(!error.to_string().contains("wrong:"), "{error}");
}

/// Answers commands as a router would, but only from the second one on.
async fn answer_from_second(pool: RedisPool) {
    let mut reader = StreamReader::new(&pool, "test", 10);
    reader.follow(&keys::commands(tenant()), StreamStart::Oldest);
    let mut seen = 0;
    loop {
        for entry in reader.next(Duration::from_millis(100)).await.unwrap() {
            seen += 1;
            let text = entry.field(keys::ENTRY_FIELD).unwrap();
            let envelope: ringdown_events::CommandEnvelope = serde_json::from_str(text).unwrap();
            if seen < 2 {
                continue;
            }
            let outcome = Outcome { command: envelope.id, result: Ok(Done::Changed) };
            let mut cmd = redis::cmd("XADD");
            cmd.arg(keys::outcomes(tenant())).arg("*").arg(keys::OUTCOME_ASKER_FIELD).arg(envelope.asker);
            cmd.arg(keys::OUTCOME_COMMAND_FIELD).arg(envelope.id.to_string());
            cmd.arg(keys::OUTCOME_FIELD).arg(serde_json::to_string(&outcome).unwrap());
            let _id: String = pool.run("test", Retry::Safe, &cmd).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_command_without_an_answer_is_unknown_and_can_be_asked_again() {
    let (_redis, pool) = store().await;
    let (client, tail) = CommandClient::new(pool.clone(), "asker".to_owned());
    let client = client.with_answer_limit(Duration::from_millis(500));
    let tail = tokio::spawn(tail.run(std::future::pending()));
    let router = tokio::spawn(answer_from_second(pool.clone()));
    let (id, command) = (CommandId::from_parts(1, &id(9)), Command::SetAcdOpen { open: true });
    let first = client.send_as(tenant(), id, command.clone()).await.unwrap();
    assert_eq!(first, Answer::Unknown { command: id });
    let second = client.send_as(tenant(), id, command).await.unwrap();
    assert_eq!(second, Answer::Outcome(Outcome { command: id, result: Ok(Done::Changed) }));
    tail.abort();
    router.abort();
}

fn config(version: u64, agents: u8) -> CompiledConfig {
    let agent = |number: u8| {
        let id = AgentId::from_parts(version, &id(number));
        let name = format!("Version {version}").parse().unwrap();
        (id, AgentConfig { id, name, skills: BTreeMap::new(), sip_user: Some(format!("v{version}")) })
    };
    CompiledConfig {
        meta: ConfigMeta {
            tenant: tenant(),
            name: "Acme".parse().unwrap(),
            realm: "acme.example".to_owned(),
            version,
            compiled_at_ms: TimestampMs(version),
            counts: BTreeMap::new(),
            outbound: Vec::new(),
        },
        skills: BTreeSet::from(["sales".parse::<SkillName>().unwrap()]),
        agents: (0..agents).map(agent).collect(),
        queues: BTreeMap::new(),
        routes: BTreeMap::new(),
        trunks: BTreeMap::new(),
        credentials: BTreeMap::new(),
    }
}

#[tokio::test]
async fn a_version_is_seen_whole_or_not_at_all() {
    let (_redis, pool) = store().await;
    let writer = ConfigWriter::new(pool.clone()).with_grace(Duration::from_secs(1));
    let reader = ConfigReader::new(pool.clone(), "test", "host".to_owned());
    assert_eq!(reader.read(tenant()).await.unwrap(), None);
    writer.write(&config(1, 3)).await.unwrap();
    assert_eq!(reader.read(tenant()).await.unwrap(), None, "written, not in force");
    writer.flip(&config(1, 3), None).await.unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let (seen, ended) = (reader.clone(), Arc::clone(&stop));
    let hammer = tokio::spawn(async move {
        let mut reads = 0_u32;
        while !ended.load(Ordering::Relaxed) {
            let config = seen.read(tenant()).await.unwrap().expect("never missing");
            let version = config.meta.version;
            let whole = config.agents.len() == usize::try_from(version % 7 + 3).unwrap();
            let mixed = config.agents.values().any(|agent| agent.sip_user != Some(format!("v{version}")));
            assert!(whole && !mixed || version == 1, "version {version} is mixed");
            reads += 1;
        }
        reads
    });
    for version in 2..60 {
        let next = config(version, u8::try_from(version % 7 + 3).unwrap());
        writer.write(&next).await.unwrap();
        writer.flip(&next, Some(version - 1)).await.unwrap();
    }
    stop.store(true, Ordering::Relaxed);
    assert!(hammer.await.unwrap() > 20, "the reader really read meanwhile");
}

#[tokio::test]
async fn flipping_compares_and_rolls_back() {
    let (_redis, pool) = store().await;
    let writer = ConfigWriter::new(pool.clone());
    let reader = ConfigReader::new(pool.clone(), "test", "host".to_owned());
    let (one, two) = (config(1, 1), config(2, 2));
    let missing = writer.flip(&one, None).await;
    assert!(matches!(missing, Err(FlipError::Missing { version: 1 })), "{missing:?}");
    writer.write(&one).await.unwrap();
    writer.write(&two).await.unwrap();
    writer.flip(&one, None).await.unwrap();
    let moved = writer.flip(&two, None).await;
    assert!(matches!(moved, Err(FlipError::Moved { found: Some(1) })), "{moved:?}");
    writer.flip(&two, Some(1)).await.unwrap();
    writer.flip(&two, Some(1)).await.expect("a repeat is fine");
    writer.flip(&one, Some(2)).await.expect("roll back");
    assert_eq!(reader.read(tenant()).await.unwrap().map(|config| config.agents.len()), Some(1));
    let mut ttl = redis::cmd("PTTL");
    ttl.arg(keys::config_meta(tenant(), 1));
    assert_eq!(pool.run::<i64>("test", Retry::Safe, &ttl).await.unwrap(), -1, "the version in force never expires");
    writer.remove(tenant()).await.unwrap();
    assert!(reader.tenants().await.unwrap().is_empty());
    assert_eq!(reader.read(tenant()).await.unwrap(), None);
}

#[tokio::test]
async fn a_watch_tells_each_change_and_reports_what_runs() {
    let (mut redis, pool) = store().await;
    let writer = ConfigWriter::new(pool.clone());
    let mut watch = ConfigReader::new(pool.clone(), "acd", "host".to_owned()).watch();
    for version in 1..4 {
        let next = config(version, 1);
        writer.write(&next).await.unwrap();
        writer.flip(&next, (version > 1).then(|| version - 1)).await.unwrap();
        let change = tokio::time::timeout(LIMIT, watch.next()).await.unwrap();
        assert!(matches!(change, ConfigChange::Taken(taken) if taken.meta.version == version));
        if version == 2 {
            redis.restart().await.unwrap();
        }
    }
    let mut status = redis::cmd("HGET");
    status.arg(keys::config_status("host")).arg(format!("acd/{}", tenant()));
    let status: String = pool.run("test", Retry::Safe, &status).await.unwrap();
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    assert_eq!((status["version"].as_u64(), status["error"].is_null()), (Some(3), true));
    writer.remove(tenant()).await.unwrap();
    let change = tokio::time::timeout(LIMIT, watch.next()).await.unwrap();
    assert!(matches!(change, ConfigChange::Removed(gone) if gone == tenant()));
}

#[tokio::test]
async fn a_broken_version_keeps_the_old_one_and_is_reported() {
    let (_redis, pool) = store().await;
    let writer = ConfigWriter::new(pool.clone());
    let mut watch = ConfigReader::new(pool.clone(), "acd", "host".to_owned()).watch();
    writer.write(&config(1, 1)).await.unwrap();
    writer.flip(&config(1, 1), None).await.unwrap();
    tokio::time::timeout(LIMIT, watch.next()).await.unwrap();
    writer.write(&config(2, 2)).await.unwrap();
    let mut lose = redis::cmd("HDEL");
    lose.arg(keys::config_part(tenant(), 2, keys::ConfigPart::Agents)).arg(AgentId::from_parts(2, &id(1)).to_string());
    assert_eq!(pool.run::<i64>("test", Retry::Never, &lose).await.unwrap(), 1);
    writer.flip(&config(2, 2), Some(1)).await.unwrap();
    let told = tokio::time::timeout(Duration::from_secs(3), watch.next()).await;
    assert!(told.is_err(), "a version that is not whole is never told");
    assert_eq!(watch.running(tenant()), Some(1));
    let mut status = redis::cmd("HGET");
    status.arg(keys::config_status("host")).arg(format!("acd/{}", tenant()));
    let status: String = pool.run("test", Retry::Safe, &status).await.unwrap();
    assert!(status.contains("agents has 1 of 2 entries"), "{status}");
}

#[tokio::test]
async fn a_session_is_found_by_its_token_until_it_ends() {
    let (_redis, pool) = store().await;
    let written = Session {
        user: UserId::from_parts(1, &id(1)),
        tenant: Some(tenant()),
        role: Role::Supervisor,
        agent: None,
        created: TimestampMs(1),
        expires: TimestampMs(2),
        generation: 0,
        api_token: false,
    };
    session::store(&pool, "token", &written, Duration::from_secs(60)).await.unwrap();
    assert_eq!(session::find(&pool, "token").await.unwrap(), Some(written.clone()));
    assert_eq!(session::find(&pool, "Token").await.unwrap(), None);
    // The NIST example for "abc" (FIPS 180-4) pins the digest's form.
    let digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert_eq!(session::token_digest("abc"), digest);
    session::end(&pool, "token").await.unwrap();
    assert_eq!(session::find(&pool, "token").await.unwrap(), None);
    session::store(&pool, "short", &written, Duration::from_millis(20)).await.unwrap();
    wait_until(LIMIT, "the session to expire", async || {
        session::find(&pool, "short").await.unwrap().is_none().then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_snapshot_of_nothing_is_empty_and_a_record_survives_the_round_trip() {
    let (_redis, pool) = store().await;
    assert_eq!(snapshot::read(&pool, tenant()).await.unwrap(), snapshot::Snapshot::default());
    let record = RouterRecord {
        epoch: 7,
        position: "12-3".to_owned(),
        seq: 42,
        journal_epoch: "abc".to_owned(),
        config_version: 5,
        open: true,
    };
    let mut cmd = redis::cmd("HSET");
    cmd.arg(keys::router(tenant()));
    for (name, value) in snapshot::router_fields(&record) {
        cmd.arg(name).arg(value);
    }
    let _added: i64 = pool.run("test", Retry::Safe, &cmd).await.unwrap();
    assert_eq!(snapshot::read_router(&pool, tenant()).await.unwrap(), Some(record.clone()));
    assert_eq!(snapshot::read_as_lease_holder(&pool, tenant()).await.unwrap().router, record);
    let mut missing = redis::cmd("SADD");
    missing.arg(keys::live(tenant())).arg(InteractionId::from_parts(1, &id(2)).to_string());
    let _added: i64 = pool.run("test", Retry::Safe, &missing).await.unwrap();
    let half = snapshot::read_as_lease_holder(&pool, tenant()).await;
    assert!(matches!(half, Err(StoreError::Unreadable { .. })), "half a state is no state: {half:?}");
}

#[test]
fn keys_of_a_tenant_share_its_hash_tag() {
    let tag = format!("{{{}}}:", tenant());
    let (agent, interaction) = (AgentId::from_parts(1, &id(1)), InteractionId::from_parts(1, &id(1)));
    let node: NodeId = "node-1".parse().unwrap();
    let all = [
        keys::commands(tenant()),
        keys::outcomes(tenant()),
        keys::journal(tenant()),
        keys::voice(tenant(), &node),
        keys::router(tenant()),
        keys::agent(tenant(), agent),
        keys::interaction(tenant(), interaction),
        keys::history(tenant(), interaction),
        keys::queue(tenant()),
        keys::live(tenant()),
        keys::router_lease(tenant()),
        keys::router_epoch(tenant()),
        keys::config_current(tenant()),
        keys::config_part(tenant(), 1, keys::ConfigPart::Agents),
        keys::location(tenant(), "1001"),
    ];
    assert!(all.iter().all(|key| key.starts_with(&tag)), "{all:?}");
}

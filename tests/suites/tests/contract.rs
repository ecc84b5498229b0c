//! What every daemon keeps, whoever is there and whoever comes later: systemd is told the truth, health is told, stores that
//! come and go are waited for, SIGTERM ends it in order. Real processes, a real notify socket, real Redis and PostgreSQL.

#![expect(clippy::expect_used, reason = "a test that cannot go on stops")]

use std::time::Duration;

use ringdown_suites::installation::{DAEMONS, describe};
use ringdown_test_support::{
    Folder, PostgresOptions, PrivatePostgres, PrivateRedis, RedisOptions, free_address, wait_until,
};
use tokio::net::UnixDatagram;

const PATIENCE: Duration = Duration::from_secs(30);
/// systemd's interval, as a unit with `WatchdogSec=600ms` would give it.
const WATCHDOG_US: u32 = 600_000;

/// systemd's end of the notify socket.
struct Manager {
    socket: UnixDatagram,
    folder: Folder,
    heard: Vec<String>,
}

impl Manager {
    fn listen() -> Self {
        let folder = Folder::new("notify").expect("a folder");
        let socket = UnixDatagram::bind(folder.join("socket")).expect("a socket");
        Self { socket, folder, heard: Vec::new() }
    }

    fn address(&self) -> String {
        self.folder.join("socket").display().to_string()
    }

    /// Waits until a line of this kind is told, now or before.
    async fn hears(&mut self, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        let mut buffer = [0; 4_096];
        let hear = async {
            loop {
                if let Some(line) = self.heard.iter().rev().find(|line| wanted(line)) {
                    return line.clone();
                }
                let length = self.socket.recv(&mut buffer).await.expect("a message");
                let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
                self.heard.extend(text.lines().map(str::to_owned));
            }
        };
        let heard = tokio::time::timeout(PATIENCE, hear).await;
        heard.unwrap_or_else(|_| panic!("never told: {what}; told were {:?}", self.heard))
    }

    fn count(&self, line: &str) -> usize {
        self.heard.iter().filter(|heard| *heard == line).count()
    }
}

fn waits_for(line: &str, whom: &str) -> bool {
    line.starts_with("STATUS=waits for ") && line.to_lowercase().contains(whom)
}

/// Without its stores it starts, lives, is fed, and says whom it waits for; with them it is ready; when they go it says so.
#[tokio::test]
async fn stores_may_come_late_and_go() {
    let mut redis = PrivateRedis::start(RedisOptions::default()).await.expect("Redis");
    let mut postgres = PrivatePostgres::start(PostgresOptions::default()).await.expect("PostgreSQL");
    for name in DAEMONS {
        redis.kill9().expect("Redis is killed");
        postgres.kill9().expect("PostgreSQL is killed");
        let mut manager = Manager::listen();
        let mut daemon = describe(name, &redis.url(), &postgres.url(), free_address())
            .expect("a daemon")
            .env("NOTIFY_SOCKET", manager.address())
            .env("WATCHDOG_USEC", WATCHDOG_US.to_string())
            .start()
            .expect("it starts");

        // Absent peers are no reason not to start.
        manager.hears("READY", |line| line == "READY=1").await;
        manager.hears("for whom it waits", |line| waits_for(line, "redis")).await;
        let answer = daemon.get("/readyz").await.expect("an answer");
        assert_eq!(answer.status, 503, "{name}: {}", answer.body);
        assert_eq!(daemon.get("/livez").await.expect("an answer").status, 200, "{name}");
        manager.heard.clear();
        manager.hears("the watchdog is fed", |line| line == "WATCHDOG=1").await;

        redis.restart().await.expect("Redis");
        postgres.restart().await.expect("PostgreSQL");
        daemon.wait_ready(PATIENCE).await.unwrap_or_else(|error| panic!("{name}: {error:#}"));
        manager.hears("STATUS=ready", |line| line == "STATUS=ready").await;
        let page = daemon.get("/metrics").await.expect("an answer").body;
        assert!(page.contains(&format!("ringdown_build_info{{daemon=\"{name}\"")), "{name}: {page}");

        redis.kill9().expect("Redis is killed");
        manager.heard.clear();
        manager.hears("that Redis went", |line| waits_for(line, "redis")).await;
        redis.restart().await.expect("Redis");
        daemon.wait_ready(PATIENCE).await.unwrap_or_else(|error| panic!("{name}: {error:#}"));

        let ended = daemon.stop(PATIENCE).await.expect("it ends");
        assert_eq!(ended.code(), Some(0), "{name}: {}", daemon.process().log_tail());
        manager.hears("STOPPING", |line| line == "STOPPING=1").await;
        assert_eq!(manager.count("READY=1"), 0, "{name}: ready is told once: {:?}", manager.heard);
    }
}

/// How stores are lost.
#[derive(Clone, Copy, Debug)]
enum Lost {
    /// Connections are refused.
    Away,
    /// Connections are taken, and nothing is ever answered.
    Silent,
}

/// What a store owes an answer for is no reason to be cut off by the drain limit: a restart amid a fault is no failure.
#[tokio::test]
async fn it_ends_in_order_while_its_stores_are_lost() {
    let mut redis = PrivateRedis::start(RedisOptions::default()).await.expect("Redis");
    let mut postgres = PrivatePostgres::start(PostgresOptions::default()).await.expect("PostgreSQL");
    for lost in [Lost::Away, Lost::Silent] {
        for name in DAEMONS {
            let mut manager = Manager::listen();
            let mut daemon = describe(name, &redis.url(), &postgres.url(), free_address())
                .expect("a daemon")
                .env("NOTIFY_SOCKET", manager.address())
                .start()
                .expect("it starts");
            daemon.wait_ready(PATIENCE).await.unwrap_or_else(|error| panic!("{name}: {error:#}"));
            // It has met its stores: before, it is ready for want of parts that are not.
            let met = async || daemon.process().log_text().contains("] ready part=").then_some(());
            wait_until(PATIENCE, "a store was met", met).await;
            match lost {
                Lost::Away => {
                    redis.kill9().expect("Redis is killed");
                    postgres.kill9().expect("PostgreSQL is killed");
                }
                Lost::Silent => {
                    redis.pause().expect("Redis is stopped");
                    postgres.pause().expect("PostgreSQL is stopped");
                }
            }
            manager.hears("that Redis went", |line| waits_for(line, "redis")).await;
            let ended = daemon.stop(PATIENCE).await.unwrap_or_else(|error| panic!("{name}, {lost:?}: {error:#}"));
            assert_eq!(ended.code(), Some(0), "{name}, {lost:?}: {}", daemon.process().log_tail());
            match lost {
                Lost::Away => {
                    redis.restart().await.expect("Redis");
                    postgres.restart().await.expect("PostgreSQL");
                }
                Lost::Silent => {
                    redis.resume().expect("Redis goes on");
                    postgres.resume().expect("PostgreSQL goes on");
                }
            }
        }
    }
}

/// A process that does not turn feeds nobody: what systemd's watchdog is for.
#[tokio::test]
async fn a_process_that_stands_still_feeds_no_watchdog() {
    let redis = PrivateRedis::start(RedisOptions::default()).await.expect("Redis");
    let mut manager = Manager::listen();
    let mut daemon = describe("notifier", &redis.url(), "", free_address())
        .expect("a daemon")
        .env("NOTIFY_SOCKET", manager.address())
        .env("WATCHDOG_USEC", WATCHDOG_US.to_string())
        .start()
        .expect("it starts");
    daemon.wait_ready(PATIENCE).await.expect("it is ready");
    manager.hears("the watchdog is fed", |line| line == "WATCHDOG=1").await;
    daemon.pause().expect("it is stopped");
    // What was told before it stood still is read away.
    let mut buffer = [0; 4_096];
    while manager.socket.try_recv(&mut buffer).is_ok() {}
    let silence = Duration::from_micros(u64::from(WATCHDOG_US));
    assert!(tokio::time::timeout(silence, manager.socket.recv(&mut buffer)).await.is_err(), "nothing is told");
    daemon.resume().expect("it goes on");
    manager.heard.clear();
    manager.hears("the watchdog is fed again", |line| line == "WATCHDOG=1").await;
    assert_eq!(daemon.stop(PATIENCE).await.expect("it ends").code(), Some(0));
}

/// Asked twice, it goes at once, and says by its exit code that something was cut off.
#[tokio::test]
async fn asked_twice_it_goes_at_once() {
    let redis = PrivateRedis::start(RedisOptions::default()).await.expect("Redis");
    let postgres = PrivatePostgres::start(PostgresOptions::default()).await.expect("PostgreSQL");
    let mut daemon = describe("web-api", &redis.url(), &postgres.url(), free_address())
        .expect("a daemon")
        .env("RINGDOWN_DRAIN_MS", "600000")
        .start()
        .expect("it starts");
    daemon.wait_ready(PATIENCE).await.expect("it is ready");
    // A request that never ends: its body does not come. (One whose head does not come has not begun, and is not waited for.)
    let mut hanging = tokio::net::TcpStream::connect(daemon.admin()).await.expect("a connection");
    let head =
        b"POST /api/v1/sessions HTTP/1.1\r\nHost: api\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{";
    tokio::io::AsyncWriteExt::write_all(&mut hanging, head).await.expect("half a request");
    wait_until(PATIENCE, "the connection is counted", async || {
        let page = daemon.get("/metrics").await.ok()?.body;
        page.contains("_connections 2").then_some(())
    })
    .await;
    daemon.process().terminate().expect("asked once");
    wait_until(PATIENCE, "it drains", async || daemon.process().log_tail().contains("draining").then_some(())).await;
    assert!(daemon.process().exited().expect("a state").is_none(), "the request in progress is waited for");
    let ended = daemon.stop(PATIENCE).await.expect("it ends");
    assert_eq!(ended.code(), Some(1), "{}", daemon.process().log_tail());
}

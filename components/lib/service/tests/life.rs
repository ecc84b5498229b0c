//! A daemon's life as its parts see it: tasks, health, the admin port, HTTP with bounds, the way out.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on stops")]

use std::future::pending;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use ringdown_service::{Backoff, Clock, HttpLimits, Life, within};
use ringdown_test_support::{http_get, wait_until};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;

const LIMIT: Duration = Duration::from_secs(10);

fn life() -> Life {
    Life::detached("probe", Clock::system())
}

/// The first failure of a life in which this happens.
async fn failure_of(begin: impl FnOnce(&Life)) -> String {
    let life = life();
    begin(&life);
    let why = tokio::time::timeout(LIMIT, life.failed()).await.unwrap();
    assert!(!life.stop(LIMIT).await, "a life that failed does not end well");
    why
}

#[tokio::test]
async fn a_task_that_fails_panics_or_ends_early_stops_the_daemon() {
    let why =
        failure_of(|life| drop(life.spawn("pump", async { Err(anyhow::anyhow!("dry").context("pumping")) }))).await;
    assert_eq!(why, "task pump pumping: dry");
    let why = failure_of(|life| drop(life.spawn("pump", async { Ok(()) }))).await;
    assert_eq!(why, "task pump ended although nobody asked it to");
    let why = failure_of(|life| drop(life.spawn("pump", async { panic!("a defect") }))).await;
    assert_eq!(why, "task pump panicked");
    let why = failure_of(|life| drop(life.spawn_finite("visitor", async { panic!("a defect") }))).await;
    assert_eq!(why, "task visitor panicked");
    let why = failure_of(|life| life.fail("no way on")).await;
    assert_eq!(why, "no way on");
}

#[tokio::test]
async fn what_ends_when_its_work_is_done_and_what_ends_on_request_is_no_failure() {
    let life = life();
    let (done, shutdown) = (Arc::new(Notify::new()), life.shutdown());
    let told = Arc::clone(&done);
    life.spawn_finite("visitor", async move { told.notify_one() });
    life.spawn("pump", async move {
        shutdown.requested().await;
        Ok(())
    });
    done.notified().await;
    assert!(life.stop(LIMIT).await);
}

#[tokio::test]
async fn hooks_run_after_all_tasks_the_last_one_first() {
    let life = life();
    let order = Arc::new(Mutex::new(Vec::new()));
    let note = |what: &'static str| {
        let order = Arc::clone(&order);
        move || order.lock().unwrap().push(what)
    };
    let (first, second, task) = (note("first hook"), note("second hook"), note("task"));
    life.on_stop("first", async move { first() });
    life.on_stop("second", async move { second() });
    let shutdown = life.shutdown();
    life.spawn("pump", async move {
        shutdown.requested().await;
        // What is left to do after the request is waited for.
        tokio::task::yield_now().await;
        task();
        Ok(())
    });
    assert!(life.stop(LIMIT).await);
    assert_eq!(*order.lock().unwrap(), ["task", "second hook", "first hook"]);
}

#[tokio::test]
async fn what_does_not_end_is_cut_off_at_the_limit() {
    let life = life();
    life.spawn("deaf", pending());
    assert!(!life.stop(Duration::from_millis(50)).await);
}

/// A life that serves its admin routes on a port of its own.
async fn served(life: &Life, router: Router, limits: HttpLimits) -> SocketAddr {
    let listener = life.bind_tcp("RINGDOWN_PROBE_LISTEN", "127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = listener.local_addr().unwrap();
    life.serve_http("probe", listener, router, limits);
    address
}

#[tokio::test]
async fn readyz_says_for_whom_it_waits() {
    let life = life();
    let address = served(&life, life.admin_router(), HttpLimits::default()).await;
    let (redis, lease) = (life.readiness("redis"), life.readiness("lease"));
    let ask = async || {
        let answer = http_get(address, "/readyz").await.unwrap();
        (answer.status, serde_json::from_str::<serde_json::Value>(&answer.body).unwrap())
    };
    lease.ready();
    redis.waiting("connection refused");
    let waiting = serde_json::json!([{ "for": "redis", "why": "connection refused" }]);
    let (status, body) = ask().await;
    assert_eq!((status, &body["ready"], &body["waiting"]), (503, &false.into(), &waiting));
    redis.ready();
    assert!(redis.is_ready());
    assert_eq!(ask().await.0, 200);
    lease.waiting("another one holds it");
    assert_eq!(ask().await.0, 503);
    // A part that is gone is not waited for.
    drop(lease);
    let (status, body) = ask().await;
    assert_eq!((status, &body["daemon"]), (200, &"probe".into()));
    assert!(life.stop(LIMIT).await);
}

#[tokio::test]
async fn livez_says_which_loop_stands_still() {
    let life = life();
    let address = served(&life, life.admin_router(), HttpLimits::default()).await;
    let still = life.heartbeat("still", Duration::from_millis(20));
    let turning = life.heartbeat("turning", LIMIT);
    let stalled = wait_until(LIMIT, "it stands still", async || {
        let answer = http_get(address, "/livez").await.unwrap();
        (answer.status == 503).then_some(answer.body)
    })
    .await;
    assert!(stalled.contains("still") && !stalled.contains("turning"), "{stalled}");
    turning.touch();
    // A loop that has ended cannot stall.
    drop(still);
    assert_eq!(http_get(address, "/livez").await.unwrap().status, 200);
    assert!(life.stop(LIMIT).await);
}

#[tokio::test]
async fn metrics_say_which_daemon_it_is() {
    let life = life();
    let address = served(&life, life.admin_router(), HttpLimits::default()).await;
    let page = http_get(address, "/metrics").await.unwrap();
    assert!(page.head.contains("application/openmetrics-text"), "{}", page.head);
    assert!(page.body.contains(r#"ringdown_build_info{daemon="probe",version="detached"} 1"#), "{}", page.body);
    assert!(page.body.contains("ringdown_probe_connections 1"), "{}", page.body);
    assert!(page.body.ends_with("# EOF\n"), "{}", page.body);
    assert!(life.stop(LIMIT).await);
}

/// What comes on a connection until its end; nothing more after the limit.
async fn rest_of(stream: &mut TcpStream) -> String {
    let mut text = String::new();
    tokio::time::timeout(LIMIT, stream.read_to_string(&mut text)).await.unwrap().unwrap();
    text
}

#[tokio::test]
async fn connections_past_the_limit_wait_for_their_turn() {
    let life = life();
    let limits = HttpLimits { connections: 1, ..HttpLimits::default() };
    let address = served(&life, Router::new().route("/", get(async || "hello")), limits).await;
    let mut first = TcpStream::connect(address).await.unwrap();
    // It shows who it is, and is no guest any more.
    first.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer x\r\n\r\n").await.unwrap();
    let mut answer = [0; 12];
    first.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");
    // The first one stays open: the second one is not served before it goes.
    let mut second = TcpStream::connect(address).await.unwrap();
    second.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.unwrap();
    assert!(tokio::time::timeout(Duration::from_millis(200), second.read_u8()).await.is_err(), "it has to wait");
    drop(first);
    assert!(rest_of(&mut second).await.starts_with("HTTP/1.1 200"));
    assert!(life.stop(LIMIT).await);
}

#[tokio::test]
async fn guests_that_send_half_a_request_keep_nobody_out() {
    let life = life();
    let limits = HttpLimits { connections: 8, guests_per_source: 6, ..HttpLimits::default() };
    let address = served(&life, Router::new().route("/", get(async || "hello")), limits).await;
    let mut known = TcpStream::connect(address).await.unwrap();
    let request = b"GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer x\r\n\r\n";
    let mut answer = [0; 12];
    known.write_all(request).await.unwrap();
    known.read_exact(&mut answer).await.unwrap();
    let mut halves = Vec::new();
    for _ in 0..40 {
        let mut half = TcpStream::connect(address).await.unwrap();
        half.write_all(b"GET / HTTP/1.1\r\nX-Half: ").await.unwrap();
        halves.push(half);
    }
    // Somebody new is answered at once, and who is known stays.
    let mut new = TcpStream::connect(address).await.unwrap();
    new.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.unwrap();
    assert!(rest_of(&mut new).await.starts_with("HTTP/1.1 200"));
    known.write_all(request).await.unwrap();
    let mut whole = [0; 12];
    tokio::time::timeout(LIMIT, async {
        // The rest of the first answer comes before.
        while &whole != b"HTTP/1.1 200" {
            whole.rotate_left(1);
            whole[11] = known.read_u8().await.unwrap();
        }
    })
    .await
    .unwrap();
    // The oldest halves have left.
    let mut first = halves.swap_remove(0);
    assert_eq!(tokio::time::timeout(LIMIT, first.read(&mut [0; 1])).await.unwrap().unwrap_or(0), 0);
    assert!(life.stop(LIMIT).await);
}

#[tokio::test]
async fn the_first_request_has_to_come_soon() {
    let life = life();
    let limits = HttpLimits { first_wait: Duration::from_millis(100), ..HttpLimits::default() };
    let address = served(&life, Router::new().route("/", get(async || "hello")), limits).await;
    let mut half = TcpStream::connect(address).await.unwrap();
    half.write_all(b"GET / HTTP/1.1\r\nX-Half: ").await.unwrap();
    assert_eq!(tokio::time::timeout(LIMIT, half.read(&mut [0; 1])).await.unwrap().unwrap_or(0), 0);
    assert!(life.stop(LIMIT).await);
}

#[tokio::test]
async fn slow_and_oversize_headers_hold_nothing() {
    let life = life();
    let limits = HttpLimits { header_wait: Duration::from_millis(100), ..HttpLimits::default() };
    let address = served(&life, Router::new().route("/", get(async || "hello")), limits).await;
    let mut slow = TcpStream::connect(address).await.unwrap();
    slow.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nX-Half: ").await.unwrap();
    let said = rest_of(&mut slow).await;
    assert!(said.is_empty() || said.starts_with("HTTP/1.1 408"), "{said}");

    let mut large = TcpStream::connect(address).await.unwrap();
    let line = format!("GET / HTTP/1.1\r\nHost: a\r\nX-Large: {}\r\n\r\n", "x".repeat(100_000));
    large.write_all(line.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    large.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 431");
    assert!(life.stop(LIMIT).await);
}

#[tokio::test]
async fn a_request_in_progress_is_finished_and_idle_connections_are_closed() {
    let life = life();
    let (begun, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (tell, wait) = (Arc::clone(&begun), Arc::clone(&go_on));
    let slow = async move || {
        tell.notify_one();
        wait.notified().await;
        "finished"
    };
    let address = served(&life, Router::new().route("/slow", get(slow)), HttpLimits::default()).await;
    let mut idle = TcpStream::connect(address).await.unwrap();
    let mut busy = TcpStream::connect(address).await.unwrap();
    busy.write_all(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    begun.notified().await;
    let stopping = tokio::spawn({
        let life = life.clone();
        async move { life.stop(LIMIT).await }
    });
    assert_eq!(rest_of(&mut idle).await, "");
    assert!(!stopping.is_finished(), "the request in progress is waited for");
    go_on.notify_one();
    let answer = rest_of(&mut busy).await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("finished"), "{answer}");
    assert!(stopping.await.unwrap());
    let refused = TcpStream::connect(address).await.unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
}

#[tokio::test]
async fn an_occupied_port_names_its_variable() {
    let life = life();
    let first = life.bind_tcp("RINGDOWN_PROBE_LISTEN", "127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = first.local_addr().unwrap();
    let second = life.bind_tcp("RINGDOWN_PROBE_LISTEN", address).await.unwrap_err().to_string();
    assert!(second.starts_with(&format!("RINGDOWN_PROBE_LISTEN: cannot listen on TCP {address}: ")), "{second}");
    let socket = life.bind_udp("RINGDOWN_PROBE_UDP", "127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = socket.local_addr().unwrap();
    let second = life.bind_udp("RINGDOWN_PROBE_UDP", address).await.unwrap_err().to_string();
    assert!(second.starts_with(&format!("RINGDOWN_PROBE_UDP: cannot listen on UDP {address}: ")), "{second}");
    assert!(life.stop(LIMIT).await);
}

#[tokio::test]
async fn delays_double_up_to_their_limit_and_are_not_in_step() {
    let (first, max) = (Duration::from_millis(100), Duration::from_millis(800));
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..50 {
        let mut backoff = Backoff::new(first, max);
        for step_ms in [100, 200, 400, 800, 800] {
            let delay = backoff.next_delay();
            let step = Duration::from_millis(step_ms);
            assert!(delay >= step / 2 && delay <= step, "{delay:?} of {step:?}");
            seen.insert(delay);
        }
        backoff.reset();
        assert!(backoff.next_delay() <= first);
    }
    assert!(seen.len() > 50, "drawn, not fixed: {}", seen.len());

    // A daemon that is to stop waits no more.
    let life = life();
    let shutdown = life.shutdown();
    assert!(Backoff::new(Duration::from_millis(1), Duration::from_millis(1)).wait(&shutdown).await);
    assert!(life.stop(LIMIT).await);
    assert!(!Backoff::new(Duration::from_secs(3_600), Duration::from_secs(3_600)).wait(&shutdown).await);
}

#[tokio::test]
async fn a_limit_names_what_was_waited_for() {
    assert_eq!(within("an answer", LIMIT, async { 7 }).await.unwrap(), 7);
    let late = within("an answer", Duration::from_millis(5), pending::<()>()).await.unwrap_err();
    assert_eq!(late.to_string(), "an answer did not end within 5 ms");
}

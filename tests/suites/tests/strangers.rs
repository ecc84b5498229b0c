//! Strangers at the SIP port: floods, guessed passwords, slots that are held, forged requests. Phones and the Asterisk node go
//! on as if nobody were there, and nothing grows.

#![expect(clippy::print_stdout, reason = "figures are what a suite is run for")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on stops")]

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ringdown_suites::call_centre::{CallCentre, PATIENCE, PHONE_PASSWORD, Wishes};
use ringdown_suites::phone::{Manner, Phone, Seen, authorization, status};
use ringdown_test_support::wait_until;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream, UdpSocket};

/// Requests a second of the flood, from all its sources together.
const FLOOD_PER_S: u64 = 4_000;
const FLOOD_SOURCES: u8 = 4;
/// How much memory a flood, guesses and connections may cost: tables of fixed size that are touched for the first time.
const MEMORY_KIB: u64 = 64 * 1_024;

#[tokio::test]
async fn strangers_cost_nobody_anything() {
    let mut centre = CallCentre::open(Wishes::default()).await.unwrap();
    centre.hire("ada", json!({ "English": 5 })).await.unwrap();
    centre.employ("bob", json!({ "English": 5 })).await.unwrap();
    let before = centre.registrar_daemon.process().resident_kib().unwrap();
    a_flood_keeps_nobody_out(&centre).await;
    a_forged_request_is_answered_once(&centre).await;
    guesses_are_braked(&mut centre).await;
    held_connections_make_room(&centre).await;
    let grown = centre.registrar_daemon.process().resident_kib().unwrap().saturating_sub(before);
    println!("strangers_memory_grown {grown} kib");
    assert!(grown < MEMORY_KIB, "the registrar grew by {grown} KiB");
}

/// While OPTIONS and INVITEs of strangers pour in, phones register and a caller reaches an agent.
async fn a_flood_keeps_nobody_out(centre: &CallCentre) {
    let flood = Flood::start(centre.registrar);
    wait_until(PATIENCE, "the flood is on", async || (flood.sent() > FLOOD_PER_S).then_some(())).await;
    let mut slowest = Duration::ZERO;
    // Long enough that a table of 100,000 transactions would have been full at 4,000 a second.
    while flood.sent() < 26 * FLOOD_PER_S {
        let begun = Instant::now();
        let bob = Phone::new("127.0.0.1", "bob", 500.0, Manner::RingForEver).await.unwrap();
        bob.register(centre.registrar, &centre.realm, PHONE_PASSWORD).await.unwrap();
        slowest = slowest.max(begun.elapsed());
    }
    let mut ada = Phone::new("127.0.0.1", "ada", 700.0, Manner::Answer).await.unwrap();
    ada.register(centre.registrar, &centre.realm, PHONE_PASSWORD).await.unwrap();
    let mut caller = Phone::new("127.0.0.1", "4930555", 1_100.0, Manner::Answer).await.unwrap();
    caller.call("100", centre.trunk).await.unwrap();
    while caller.next(PATIENCE).await.unwrap() != Seen::Talking {}
    while ada.next(PATIENCE).await.unwrap() != Seen::Talking {}
    caller.hang_up().await.unwrap();
    let (sent, answered) = flood.stop().await;
    println!("strangers_flood_sent {sent} requests");
    println!("strangers_flood_answered {answered} answers");
    println!("strangers_slowest_register {} ms", slowest.as_millis());
    assert!(answered < sent / 2, "{answered} answers to {sent} requests: the budget holds");
    assert!(slowest < Duration::from_secs(2), "a phone registers within 2 s: {slowest:?}");
}

struct Flood {
    on: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    answered: Arc<AtomicU64>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Flood {
    fn start(target: SocketAddr) -> Self {
        let (on, sent, answered) = (Arc::new(AtomicBool::new(true)), Arc::default(), Arc::default());
        let tasks = (0..FLOOD_SOURCES)
            .map(|source| {
                let (on, sent, answered) = (Arc::clone(&on), Arc::clone(&sent), Arc::clone(&answered));
                tokio::spawn(pour(Ipv4Addr::new(127, 0, 7, 1 + source), target, on, sent, answered))
            })
            .collect();
        Self { on, sent, answered, tasks }
    }

    fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// How many requests were sent, and how many answers came.
    async fn stop(self) -> (u64, u64) {
        self.on.store(false, Ordering::Relaxed);
        for task in self.tasks {
            task.await.unwrap();
        }
        (self.sent.load(Ordering::Relaxed), self.answered.load(Ordering::Relaxed))
    }
}

/// A source's part of the flood, 10 ms at a time.
async fn pour(
    source: Ipv4Addr,
    target: SocketAddr,
    on: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    answered: Arc<AtomicU64>,
) {
    let socket = UdpSocket::bind((source, 0)).await.unwrap();
    let own = socket.local_addr().unwrap();
    let mut turn = tokio::time::interval(Duration::from_millis(10));
    let mut buffer = [0; 2_048];
    let mut number = 0_u64;
    while on.load(Ordering::Relaxed) {
        turn.tick().await;
        for _ in 0..FLOOD_PER_S / u64::from(FLOOD_SOURCES) / 100 {
            number += 1;
            let (method, tag) = [("OPTIONS", ""), ("INVITE", ";tag=x"), ("SUBSCRIBE", "")][number as usize % 3];
            let text = request(method, own, number, tag);
            // A full buffer is the flood's own loss.
            drop(socket.try_send_to(text.as_bytes(), target));
            sent.fetch_add(1, Ordering::Relaxed);
        }
        while socket.try_recv(&mut buffer).is_ok() {
            answered.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn request(method: &str, own: SocketAddr, number: u64, tag: &str) -> String {
    format!(
        "{method} sip:{own} SIP/2.0\r\nVia: SIP/2.0/UDP {own};branch=z9hG4bK{number}p{};rport\r\nMax-Forwards: 70\r\n\
         From: <sip:x@y.example>;tag={number}\r\nTo: <sip:z@y.example>{tag}\r\nCall-ID: {number}@{own}\r\n\
         CSeq: 1 {method}\r\nContent-Length: 0\r\n\r\n",
        own.port()
    )
}

/// Somebody writes another's address as the source: that one hears of it once at the most. It used to hear it eleven times,
/// the second one after half a second.
async fn a_forged_request_is_answered_once(centre: &CallCentre) {
    let victim = UdpSocket::bind("127.0.7.99:0").await.unwrap();
    let own = victim.local_addr().unwrap();
    victim.send_to(request("INVITE", own, 1, ";tag=forged").as_bytes(), centre.registrar).await.unwrap();
    let mut answers = 0;
    let until = Instant::now() + Duration::from_secs(4);
    let mut buffer = [0; 2_048];
    while let Some(left) = until.checked_duration_since(Instant::now()) {
        if tokio::time::timeout(left, victim.recv(&mut buffer)).await.is_ok() {
            answers += 1;
        }
    }
    assert_eq!(answers, 1, "answers to one forged request");
}

/// One source guesses as fast as it can: a few of its guesses are looked at, the log says so once, and the phone's owner
/// registers from elsewhere meanwhile.
async fn guesses_are_braked(centre: &mut CallCentre) {
    let stranger = UdpSocket::bind("127.0.7.50:0").await.unwrap();
    let (mut looked_at, mut braked) = (0, 0);
    for number in 0..300 {
        let challenge = exchange(&stranger, centre, 2 * number, "").await;
        assert_eq!(status(&challenge), Some(401), "{challenge}");
        let line = authorization(&challenge, "bob", &centre.realm, "guessed").unwrap();
        let answer = exchange(&stranger, centre, 2 * number + 1, &line).await;
        match status(&answer) {
            Some(401) => looked_at += 1,
            Some(503) => braked += 1,
            other => panic!("{other:?}: {answer}"),
        }
    }
    println!("strangers_guesses_looked_at {looked_at} guesses");
    assert!((5..=10).contains(&looked_at) && braked >= 290, "{looked_at} looked at, {braked} braked");
    let bob = Phone::new("127.0.0.1", "bob", 500.0, Manner::RingForEver).await.unwrap();
    bob.register(centre.registrar, &centre.realm, PHONE_PASSWORD).await.unwrap();
    let log = centre.registrar_daemon.process().log_text();
    let told = log.lines().filter(|line| line.contains("WARN") && line.contains("127.0.7.50")).count();
    assert_eq!(told, 1, "the log tells the source, once");
}

async fn exchange(socket: &UdpSocket, centre: &CallCentre, number: u32, more: &str) -> String {
    let text = register("UDP", socket.local_addr().unwrap(), &centre.realm, number, more);
    socket.send_to(text.as_bytes(), centre.registrar).await.unwrap();
    let mut buffer = [0; 4_096];
    let length = tokio::time::timeout(PATIENCE, socket.recv(&mut buffer)).await.unwrap().unwrap();
    String::from_utf8_lossy(&buffer[..length]).into_owned()
}

fn register(transport: &str, own: SocketAddr, realm: &str, number: u32, more: &str) -> String {
    format!(
        "REGISTER sip:{realm} SIP/2.0\r\nVia: SIP/2.0/{transport} {own};branch=z9hG4bKr{number}p{};rport\r\n\
         Max-Forwards: 70\r\nFrom: <sip:bob@{realm}>;tag=r\r\nTo: <sip:bob@{realm}>\r\nCall-ID: {own}\r\n\
         CSeq: {number} REGISTER\r\nContact: <sip:bob@{own};transport={transport}>\r\n{more}Content-Length: 0\r\n\r\n",
        own.port()
    )
}

/// A stranger opens more connections than one source may have, each with one ping: a phone still registers over TCP, from
/// that source too, and those who never authenticate are gone soon.
async fn held_connections_make_room(centre: &CallCentre) {
    let mut held = Vec::new();
    for _ in 0..1_200 {
        let mut stream = connect(centre.registrar).await;
        stream.write_all(b"\r\n\r\n").await.unwrap();
        held.push(stream);
    }
    let mut phone = connect(centre.registrar).await;
    let own = phone.local_addr().unwrap();
    let challenge = over_stream(&mut phone, &register("TCP", own, &centre.realm, 1, "")).await;
    let line = authorization(&challenge, "bob", &centre.realm, PHONE_PASSWORD).unwrap();
    let answer = over_stream(&mut phone, &register("TCP", own, &centre.realm, 2, &line)).await;
    assert_eq!(status(&answer), Some(200), "{answer}");
    let begun = Instant::now();
    for stream in &mut held {
        let mut rest = Vec::new();
        // An error is an end as well.
        drop(tokio::time::timeout(Duration::from_secs(15), stream.read_to_end(&mut rest)).await.expect("it is closed"));
    }
    println!("strangers_connections_gone_after {} ms", begun.elapsed().as_millis());
    let again = over_stream(&mut phone, &register("TCP", own, &centre.realm, 3, "")).await;
    assert_eq!(status(&again), Some(401), "the phone's own connection stays");
}

async fn connect(target: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.7.60:0".parse().unwrap()).unwrap();
    socket.connect(target).await.unwrap()
}

async fn over_stream(stream: &mut TcpStream, text: &str) -> String {
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut buffer = [0; 4_096];
    let length = tokio::time::timeout(PATIENCE, stream.read(&mut buffer)).await.unwrap().unwrap();
    String::from_utf8_lossy(&buffer[..length]).into_owned()
}

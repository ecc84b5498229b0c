//! Suite `bad-input`: wrong input at every border of a running installation is answered clearly and stops nothing. (Each
//! component's own tests go deeper: every route of the OpenAPI document, the torture messages of RFC 4475.)

use std::net::SocketAddr;
use std::path::Path;
use std::process::Output;
use std::time::{Duration, Instant};

use reqwest::Method;
use ringdown_suites::installation::{DAEMONS, Installation, PASSWORD, describe};
use ringdown_test_support::{PrivateRedis, RedisOptions, free_address, wait_until, workspace_binary};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};

/// The longest wait for anything here.
const PATIENCE: Duration = Duration::from_secs(30);

/// One request and what it must be answered with.
struct Ask<'a> {
    what: &'a str,
    method: Method,
    path: String,
    kind: &'a str,
    body: Vec<u8>,
    token: &'a str,
    status: u16,
    /// The field that must be named, if it is about one.
    field: &'a str,
}

impl Furnished {
    async fn check(&self, ask: Ask<'_>) {
        let url = format!("{}{}", self.house.api, ask.path);
        let request = self.house.client.request(ask.method, url).header("content-type", ask.kind).body(ask.body);
        let request = if ask.token.is_empty() { request } else { request.bearer_auth(ask.token) };
        let response = request.send().await.unwrap_or_else(|error| panic!("{}: {error}", ask.what));
        let status = response.status().as_u16();
        let kind = response.headers().get("content-type").and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned();
        let text = response.text().await.expect("a body");
        assert_eq!(status, ask.status, "{}: {text}", ask.what);
        assert_eq!(kind, "application/problem+json", "{}", ask.what);
        let problem: Value = serde_json::from_str(&text).expect("JSON");
        assert!(problem["detail"].is_string() && problem["code"].is_string(), "{}: {text}", ask.what);
        if !ask.field.is_empty() {
            let errors = problem["errors"].as_array().cloned().unwrap_or_default();
            let named = errors.iter().any(|error| error["field"] == ask.field && error["reason"].is_string());
            assert!(named, "{}: {} is not named: {text}", ask.what, ask.field);
        }
    }
}

/// An installation with a tenant and people in it.
struct Furnished {
    house: Installation,
    root: String,
    agent_token: String,
    tenant: String,
    agent: String,
}

async fn furnished() -> Furnished {
    let house = Installation::start().await.expect("an installation");
    let root = house.log_in("admin", PASSWORD).await.expect("a log-in");
    let post = async |path: &str, body: Value| -> Value {
        let request = house.client.post(format!("{}{path}", house.api)).bearer_auth(&root).json(&body);
        let response = request.send().await.expect("an answer");
        assert_eq!(response.status().as_u16(), 201, "{path}");
        response.json().await.expect("JSON")
    };
    let tenant_id = post("/tenants", json!({ "name": "Bad", "realm": "bad.example" })).await["id"].clone();
    let tenant = format!("/tenants/{}", tenant_id.as_str().expect("an id"));
    post(&format!("{tenant}/skills"), json!({ "name": "english" })).await;
    let agent = json!({ "name": "Ada", "skills": { "english": 1 }, "sip_user": "1001", "sip_password": "eight-8888x" });
    let agent = post(&format!("{tenant}/agents"), agent).await["id"].as_str().expect("an id").to_owned();
    let user = json!({
        "login": "ada", "name": "Ada", "password": PASSWORD, "role": "agent", "tenant": tenant_id, "agent": agent,
    });
    post("/users", user).await;
    let agent_token = house.log_in("ada", PASSWORD).await.expect("a log-in");
    Furnished { house, root, agent_token, tenant, agent }
}

#[tokio::test]
async fn the_api_refuses_clearly() {
    let mut place = furnished().await;
    let expired = place.house.log_in("admin", PASSWORD).await.expect("a log-in");
    let end = place.house.client.delete(format!("{}/sessions/current", place.house.api)).bearer_auth(&expired);
    assert_eq!(end.send().await.expect("an answer").status().as_u16(), 204);

    check_bodies(&place).await;
    check_heads(&place, &expired).await;
    let interactions = format!("{}/interactions", place.tenant);
    let status = format!("{}/agents/{}/status", place.tenant, place.agent);
    let root = place.root.clone();
    place.house.check_alive().await.expect("nothing stops");
    // The empty skills that stop the Basic ACD's dispatcher: here an interaction is served right after.
    let ready = place.house.client.put(format!("{}{status}", place.house.api)).bearer_auth(&root);
    assert_eq!(ready.json(&json!({ "status": "ready" })).send().await.expect("an answer").status().as_u16(), 200);
    let task = place.house.client.post(format!("{}{interactions}", place.house.api)).bearer_auth(&root);
    let made = task.json(&json!({ "requirements": [{ "skill": "english" }] })).send().await.expect("an answer");
    let made: Value = made.json().await.expect("JSON");
    assert_eq!(made["state"]["kind"], "connected", "{made}");
}

/// Bodies of a new interaction: what is wrong, the body, the status and the field that must be named.
async fn check_bodies(place: &Furnished) {
    let long = json!({ "requirements": [{ "skill": "x".repeat(65) }] }).to_string();
    let many: Vec<Value> = (0..100).map(|n| json!({ "skill": format!("s{n}") })).collect();
    let many = json!({ "requirements": many }).to_string();
    let oversize = "x".repeat(200_000);
    let rows = [
        ("empty skills", "{\"requirements\":[]}", 422, "requirements"),
        ("an unknown skill", "{\"requirements\":[{\"skill\":\"klingon\"}]}", 422, "requirements"),
        ("a skill's name beyond its length", &long, 422, "requirements[0].skill"),
        ("a hundred skills", &many, 422, "requirements"),
        ("an oversize body", &oversize, 413, "body"),
        ("a wrong type", "{\"requirements\":\"english\"}", 422, "requirements"),
        ("a wrong number", "{\"queue\":null,\"priority\":101}", 422, "priority"),
        ("broken JSON", "{\"requirements\":[", 400, "body"),
        ("an unknown member", "{\"skills\":[\"english\"]}", 422, "skills"),
        ("no object", "[]", 422, "body"),
    ];
    for (what, body, status, field) in rows {
        let (method, path) = (Method::POST, format!("{}/interactions", place.tenant));
        let (kind, body) = ("application/json", body.as_bytes().to_vec());
        place.check(Ask { what, method, path, kind, body, token: &place.root, status, field }).await;
    }
}

/// Requests that are wrong before their body is looked at: what is wrong, the request, who asks, the status.
async fn check_heads(place: &Furnished, expired: &str) {
    let interactions = format!("{}/interactions", place.tenant);
    let status = format!("{}/agents/{}/status", place.tenant, place.agent);
    let unknown = "/tenants/0190b5a0-0000-7000-8000-000000000001/interactions";
    let (root, agent) = (place.root.as_str(), place.agent_token.as_str());
    let rows = [
        ("a wrong method", Method::PATCH, interactions.as_str(), root, 405),
        ("an unknown path", Method::GET, "/no/such/path", root, 404),
        ("an unknown tenant", Method::POST, unknown, root, 422),
        ("no token", Method::GET, &interactions, "", 401),
        ("an ended token", Method::GET, &interactions, expired, 401),
        ("garbage for a token", Method::GET, &interactions, "%%%%", 401),
        ("a wrong role", Method::POST, &interactions, agent, 403),
        ("a wrong role for configuration", Method::POST, "/tenants", agent, 403),
        ("a body that is missing", Method::PUT, &status, root, 422),
    ];
    for (what, method, path, token, status) in rows {
        let (path, body) = (path.to_owned(), b"{}".to_vec());
        place.check(Ask { what, method, path, kind: "application/json", body, token, status, field: "" }).await;
    }
    let (method, path) = (Method::POST, interactions);
    let (what, kind, field) = ("another type", "text/plain", "Content-Type");
    place.check(Ask { what, method, path, kind, body: b"hello".to_vec(), token: root, status: 415, field }).await;
}

#[tokio::test]
async fn raw_garbage_on_http_ports_stops_nothing() {
    let mut house = Installation::start().await.expect("an installation");
    let garbage: [&[u8]; 6] = [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST /api/v1/sessions HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n",
        b"POST /api/v1/sessions HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nZZZ\r\n",
        b"\x00\x00\x00\x00\x00\x00\x00\x00",
        b"GET /api/v1/tenants/\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n",
    ];
    for at in 0..house.daemons.len() {
        let (name, admin) = (house.daemons[at].0, house.daemons[at].1.admin());
        for bytes in garbage {
            let mut stream = TcpStream::connect(admin).await.unwrap_or_else(|error| panic!("{name}: {error}"));
            stream.write_all(bytes).await.expect("sent");
            stream.shutdown().await.expect("half closed");
            let mut answer = Vec::new();
            // An answer or a close, both are clear; hanging is not.
            let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
            assert!(read.is_ok(), "{name} hangs on {bytes:?}");
            let text = String::from_utf8_lossy(&answer);
            assert!(!text.starts_with("HTTP/1.1 5") && !text.starts_with("HTTP/1.1 2"), "{name}: {text}");
        }
    }
    house.check_alive().await.expect("nothing stops");
}

/// A whole OPTIONS that the registrar answers with 200: the sign that it still listens.
fn options(branch: usize, from: SocketAddr, sip: SocketAddr, transport: &str) -> String {
    format!(
        "OPTIONS sip:{sip} SIP/2.0\r\nVia: SIP/2.0/{transport} {from};rport;branch=z9hG4bK{branch}\r\n\
         Max-Forwards: 70\r\nFrom: <sip:probe@elsewhere.example>;tag=1\r\nTo: <sip:{sip}>\r\nCall-ID: probe-{branch}\r\n\
         CSeq: {branch} OPTIONS\r\nContent-Length: 0\r\n\r\n"
    )
}

/// Broken messages: noise, cut off, contradicting themselves, beyond every bound.
fn broken_sip(from: SocketAddr) -> Vec<Vec<u8>> {
    let via = format!("Via: SIP/2.0/UDP {from};branch=z9hG4bKbad\r\n");
    let rest =
        "From: <sip:1001@bad.example>;tag=1\r\nTo: <sip:1001@bad.example>\r\nCall-ID: bad\r\nCSeq: 1 REGISTER\r\n";
    let mut messages: Vec<Vec<u8>> = vec![
        b"\x00\x01\x02\x03".to_vec(),
        b"\r\n\r\n\r\n\r\n".to_vec(),
        b"REGISTER".to_vec(),
        b"REGISTER sip:bad.example SIP/2.0\r\n".to_vec(),
        b"SIP/2.0 200 OK\r\n\r\n".to_vec(),
        b"SIP/2.0 99999 What\r\nCSeq: x\r\n\r\n".to_vec(),
        format!("REGISTER sip:bad.example SIP/2.0\r\n{via}\r\n").into_bytes(),
        format!("REGISTER sip:bad.example SIP/7.0\r\n{via}{rest}\r\n").into_bytes(),
        format!("BREW sip:bad.example SIP/2.0\r\n{via}{}\r\n", rest.replace("REGISTER", "BREW")).into_bytes(),
        format!("INVITE sip:1001@bad.example SIP/2.0\r\n{via}{rest}\r\n").into_bytes(),
        format!("REGISTER sip:bad.example SIP/2.0\r\n{via}{rest}Contact: <sip:\r\nExpires: -7\r\n\r\n").into_bytes(),
        format!("REGISTER sip:bad.example SIP/2.0\r\n{via}{rest}Authorization: Digest username=\"1001\r\n\r\n")
            .into_bytes(),
        format!("REGISTER sip:bad.example SIP/2.0\r\n{via}{rest}Content-Length: 4294967296\r\n\r\nx").into_bytes(),
        format!("REGISTER sip:bad.example SIP/2.0\r\n{via}{rest}Content-Length: -1\r\n\r\n").into_bytes(),
        format!("REGISTER sip:bad.example SIP/2.0\r\n{via}{rest}X: {}\r\n\r\n", "y".repeat(20_000)).into_bytes(),
        format!("REGISTER sip:bad.example SIP/2.0\r\n{via}{rest}{}\r\n", "X: y\r\n".repeat(2_000)).into_bytes(),
        format!("REGISTER sip:{}@bad.example SIP/2.0\r\n{via}{rest}\r\n", "a".repeat(10_000)).into_bytes(),
        format!("REGISTER sip:bad.example SIP/2.0\r\n{}{rest}\r\n", via.repeat(500)).into_bytes(),
    ];
    let whole = format!("REGISTER sip:bad.example SIP/2.0\r\n{via}{rest}Content-Length: 0\r\n\r\n").into_bytes();
    messages.extend((1..whole.len()).step_by(7).map(|end| whole[..end].to_vec()));
    messages.extend((0..whole.len()).step_by(3).map(|at| {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x80;
        bytes
    }));
    messages
}

#[tokio::test]
async fn broken_sip_stops_nobody() {
    let mut house = Installation::start().await.expect("an installation");
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
    socket.connect(house.sip).await.expect("an address");
    let from = socket.local_addr().expect("an address");
    for (n, message) in broken_sip(from).into_iter().enumerate() {
        socket.send(&message).await.expect("sent");
        let mut stream = TcpStream::connect(house.sip).await.expect("the registrar listens");
        // A close in the middle of what it does not understand is an answer too.
        drop(stream.write_all(&message).await);
        drop(stream);
        if n % 10 == 0 {
            udp_answers(&socket, 1_000 + n, from).await;
        }
    }
    udp_answers(&socket, 9_000, from).await;
    tcp_answers(house.sip).await;
    house.check_alive().await.expect("nothing stops");
}

async fn udp_answers(socket: &UdpSocket, branch: usize, from: SocketAddr) {
    let sip = socket.peer_addr().expect("a connected socket");
    let wanted = format!("Call-ID: probe-{branch}");
    let mut buffer = vec![0; 65_536];
    wait_until(PATIENCE, "OPTIONS over UDP is answered", async || {
        socket.send(options(branch, from, sip, "UDP").as_bytes()).await.ok()?;
        let until = Instant::now() + Duration::from_millis(500);
        while let Ok(Ok(length)) =
            tokio::time::timeout(until.saturating_duration_since(Instant::now()), socket.recv(&mut buffer)).await
        {
            let text = String::from_utf8_lossy(&buffer[..length]);
            // Refusals of the broken ones are among them: each must be a 4xx or 5xx of SIP, never silence of the rest.
            if text.contains(&wanted) {
                assert!(text.starts_with("SIP/2.0 200"), "{text}");
                return Some(());
            }
        }
        None
    })
    .await;
}

async fn tcp_answers(sip: SocketAddr) {
    let mut stream = TcpStream::connect(sip).await.expect("the registrar listens");
    let from = stream.local_addr().expect("an address");
    stream.write_all(options(9_001, from, sip, "TCP").as_bytes()).await.expect("sent");
    let mut buffer = vec![0; 4_096];
    let read = tokio::time::timeout(PATIENCE, stream.read(&mut buffer)).await.expect("an answer in time");
    let text = String::from_utf8_lossy(&buffer[..read.expect("an answer")]).into_owned();
    assert!(text.starts_with("SIP/2.0 200"), "{text}");
}

/// Runs a daemon to its end, with these variables only.
async fn run(name: &str, arguments: &[&str], variables: &[(String, String)]) -> Output {
    let binary = workspace_binary(&format!("ringdown-{name}")).expect("the daemon is built");
    let mut command = tokio::process::Command::new(binary);
    command.args(arguments).env_clear().envs(variables.iter().cloned()).kill_on_drop(true);
    tokio::time::timeout(PATIENCE, command.output()).await.expect("it ends").expect("it runs")
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Names and what each takes, from the daemon's own table.
async fn variables_of(name: &str) -> Vec<(String, String)> {
    let table = run(name, &["--env-table"], &[]).await;
    let rows = String::from_utf8_lossy(&table.stdout).into_owned();
    let cells = |row: &str| row.split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>();
    let rows = rows.lines().skip(2).map(cells).filter(|cells| cells.len() > 3);
    rows.map(|cells| (cells[1].trim_matches('`').to_owned(), cells[2].clone())).collect()
}

#[tokio::test]
async fn wrong_variables_are_all_named_and_none_is_shown() {
    for name in DAEMONS {
        let known = variables_of(name).await;
        assert!(known.len() > 5, "{name} has a table of variables");
        // A value that is wrong for every kind but free text: it has blanks, is no number, no address, no URL, no choice.
        let secret = "hunter two ::: ";
        let judged = |takes: &str| !takes.contains("line of text") && !takes.contains("secret");
        let wrong: Vec<(String, String)> = known
            .iter()
            .filter(|(_, takes)| judged(takes))
            .map(|(variable, _)| (variable.clone(), secret.to_owned()))
            .collect();
        assert!(wrong.len() > 4, "{name}: {wrong:?}");
        for arguments in [&["--check-config"][..], &[]] {
            let output = run(name, arguments, &wrong).await;
            let text = said(&output);
            assert_eq!(output.status.code(), Some(78), "{name} {arguments:?}: {text}");
            for (variable, _) in &wrong {
                assert!(text.contains(variable.as_str()), "{name} does not name {variable}: {text}");
            }
            assert!(!text.contains("hunter"), "{name} shows a value: {text}");
        }
    }
}

#[tokio::test]
async fn missing_misspelt_and_contradicting_variables_are_named() {
    for name in DAEMONS {
        let rows: [(&str, &str, &str); 4] = [
            ("RINGDOWN_REDIS_URLL", "redis://127.0.0.1:1/0", "RINGDOWN_REDIS_URL"),
            ("RINGDOWN_REDIS_URL_FILE", "/no/such/file", "RINGDOWN_REDIS_URL"),
            ("RINGDOWN_DRAIN_MS", "999999999999", "RINGDOWN_DRAIN_MS"),
            ("RINGDOWN_LOG_LEVEL", "loud", "RINGDOWN_LOG_LEVEL"),
        ];
        for (variable, value, named) in rows {
            let output = run(name, &["--check-config"], &[(variable.to_owned(), value.to_owned())]).await;
            let text = said(&output);
            assert_eq!(output.status.code(), Some(78), "{name} {variable}: {text}");
            assert!(text.contains(named) && !text.contains(value), "{name} {variable}: {text}");
        }
        let both = [("RINGDOWN_REDIS_URL", "redis://:hunter2@127.0.0.1:1/0"), ("RINGDOWN_REDIS_PASSWORD", "hunter3")];
        let both = both.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let output = run(name, &["--check-config"], &both).await;
        let text = said(&output);
        assert_eq!(output.status.code(), Some(78), "{name}: {text}");
        assert!(text.contains("RINGDOWN_REDIS_PASSWORD") && !text.contains("hunter"), "{name}: {text}");
        let output = run(name, &["--no-such-flag"], &[]).await;
        assert_eq!(output.status.code(), Some(64), "{name}: {}", said(&output));
    }
    let output = run("provisioner", &["--check-config"], &[]).await;
    assert_eq!(output.status.code(), Some(78), "{}", said(&output));
    assert!(said(&output).contains("RINGDOWN_ARI_PASSWORD"), "{}", said(&output));
}

#[tokio::test]
async fn an_occupied_port_is_named() {
    for name in DAEMONS {
        let taken = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = taken.local_addr().expect("an address");
        let port = match name {
            "web-api" => "RINGDOWN_WEB_API_LISTEN",
            "provisioner" => "RINGDOWN_PROVISIONER_LISTEN",
            "notifier" => "RINGDOWN_NOTIFIER_LISTEN",
            "registrar" => "RINGDOWN_REGISTRAR_TCP_LISTEN",
            _ => "RINGDOWN_ADMIN_ADDRESS",
        };
        let mut variables = vec![
            (port.to_owned(), address.to_string()),
            ("RINGDOWN_REDIS_URL".to_owned(), "redis://127.0.0.1:1/0".to_owned()),
            ("RINGDOWN_POSTGRES_URL".to_owned(), "postgres://nobody@127.0.0.1:1/none".to_owned()),
        ];
        let further = [
            ("RINGDOWN_PROVISIONER_DUTIES", "compile".to_owned(), "provisioner"),
            ("RINGDOWN_ACD_DUTIES", "router".to_owned(), "acd"),
            ("RINGDOWN_REGISTRAR_UDP_LISTEN", "127.0.0.1:0".to_owned(), "registrar"),
            ("RINGDOWN_REGISTRAR_WS_LISTEN", free_address().to_string(), "registrar"),
            ("RINGDOWN_ADMIN_ADDRESS", free_address().to_string(), "registrar"),
        ];
        variables.extend(
            further.into_iter().filter(|(.., of)| *of == name).map(|(variable, value, _)| (variable.to_owned(), value)),
        );
        let output = run(name, &[], &variables).await;
        let text = said(&output);
        assert_eq!(output.status.code(), Some(75), "{name}: {text}");
        assert!(text.contains(port), "{name} does not name {port}: {text}");
        assert!(text.contains(&address.to_string()), "{name}: {text}");
        drop(taken);
    }
}

#[tokio::test]
async fn a_wrong_redis_password_is_waited_out() {
    let options = RedisOptions { password: Some("right".to_owned()), ..RedisOptions::default() };
    let redis = PrivateRedis::start(options).await.expect("Redis");
    let wrong = redis.url().replace("right", "hunter2");
    let house = Installation::start().await.expect("an installation");
    let sip = free_address();
    for name in DAEMONS {
        let mut daemon =
            describe(name, &wrong, &house.postgres.url(), sip).expect("a daemon").start().expect("it starts");
        let waiting = wait_until(PATIENCE, "it says whom it waits for", async || {
            let answer = daemon.get("/readyz").await.ok()?;
            (answer.status == 503 && answer.body.to_lowercase().contains("redis")).then_some(answer.body)
        })
        .await;
        assert_eq!(daemon.get("/livez").await.expect("an answer").status, 200, "{name}");
        assert!(daemon.process().exited().expect("a state").is_none(), "{name} ended: {}", daemon.process().log_tail());
        let log = daemon.process().log_tail();
        assert!(!log.contains("hunter2") && !waiting.contains("hunter2"), "{name} shows the password: {waiting} {log}");
        if name == "registrar" {
            // The password is put right: it goes on by itself.
            allow(&redis, "hunter2").await;
            daemon.wait_ready(PATIENCE).await.expect("it recovers");
            allow(&redis, "right").await;
        }
    }
}

/// Gives Redis another password, as its administrator.
async fn allow(redis: &PrivateRedis, password: &str) {
    for current in ["right", "hunter2"] {
        let address = redis.url().replace("right", current);
        let Ok(client) = redis::Client::open(address) else { continue };
        let Ok(mut connection) = client.get_multiplexed_async_connection().await else { continue };
        let mut set = redis::cmd("CONFIG");
        set.arg("SET").arg("requirepass").arg(password);
        if set.query_async::<()>(&mut connection).await.is_ok() {
            return;
        }
    }
    panic!("Redis accepts neither password");
}

#[test]
fn the_suite_names_every_daemon() {
    let components = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../components");
    for entry in std::fs::read_dir(components).expect("components") {
        let entry = entry.expect("an entry");
        let name = entry.file_name().to_string_lossy().into_owned();
        let is_daemon = entry.path().join("src/main.rs").is_file() && name != "cli";
        assert!(!is_daemon || DAEMONS.contains(&name.as_str()), "{name} is not in this suite");
    }
}

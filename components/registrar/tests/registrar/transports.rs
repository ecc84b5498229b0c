//! TLS, WebSockets, certificates that change, load balancers in front.

use ringdown_events::PhoneCredential;
use ringdown_redis_store::{Retry, keys, redis};
use ringdown_registrar_core::digest::Algorithm;
use ringdown_service::Clock;
use ringdown_test_support::wait_until;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::house::{House, LIMIT, Phone, REALM, certify, shown_certificate};
use super::{BOTH, relay};

#[tokio::test]
async fn phones_on_tls_and_websockets_are_called_and_missed_at_once_when_gone() {
    for transport in ["TLS", "WS", "WSS"] {
        let house = House::build(BOTH).await;
        let phone = if transport == "TLS" { Phone::tls(&house).await } else { Phone::web(&house, transport).await };
        assert_eq!(phone.register("100", 1, Algorithm::Sha256).await.status(), Some(200), "{transport}");
        let stored = house.stored("100").await.into_values().next().expect("a binding");
        assert!(stored.contains(&format!(r#""transport":"{}""#, transport.to_lowercase())), "{stored}");
        relay(&house, &phone).await;
        drop(phone);
        wait_until(LIMIT, "the binding is dropped", async || house.stored("100").await.is_empty().then_some(())).await;
        house.stop().await;
    }
}

#[tokio::test]
async fn a_new_certificate_is_shown_without_a_restart_and_a_broken_one_is_not() {
    let house = House::build(BOTH).await;
    let port = house.config.wss[0];
    let first = shown_certificate(port).await;
    let files = house.config.certificate.clone().expect("a certificate");
    certify(files.certificate.parent().expect("a folder")).await;
    let second = wait_until(LIMIT, "the new certificate is shown", async || {
        let shown = shown_certificate(port).await;
        (shown != first).then_some(shown)
    })
    .await;
    tokio::fs::write(&files.certificate, "nonsense").await.unwrap();
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    assert_eq!(shown_certificate(port).await, second);
    house.stop().await;
}

#[tokio::test]
async fn a_websocket_that_speaks_something_else_is_refused() {
    let house = House::build(BOTH).await;
    let error = tokio_tungstenite::connect_async(format!("ws://{}/", house.config.ws[0])).await.unwrap_err();
    assert!(error.to_string().contains("400"), "{error}");
    house.stop().await;
}

/// Who stands behind a load balancer is known by the own address, and a balancer that does not say is not served.
#[tokio::test]
async fn a_load_balancer_says_who_is_behind_it() {
    let house = House::build_behind(&["127.0.0.1"], BOTH).await;
    let mut stream = TcpStream::connect(house.config.tcp[0]).await.unwrap();
    stream.write_all(b"PROXY TCP4 192.0.2.77 192.0.2.1 40123 5060\r\n").await.unwrap();
    let phone = Phone::over_stream(stream, house.sip);
    let answer = phone.exchange(&phone.register_text("100", 1, "")).await.unwrap();
    let text = String::from_utf8_lossy(answer.bytes()).into_owned();
    assert!(text.contains("received=192.0.2.77") && text.contains("rport=40123"), "{text}");
    let mut silent = TcpStream::connect(house.config.tcp[0]).await.unwrap();
    silent.write_all(phone.register_text("100", 2, "").as_bytes()).await.unwrap();
    let mut buffer = Vec::new();
    let read = tokio::time::timeout(LIMIT, silent.read_to_end(&mut buffer)).await.expect("closed");
    assert!(read.is_err() || buffer.is_empty(), "{}", String::from_utf8_lossy(&buffer));
    house.stop().await;
}

/// A browser's phone proves itself by what web-api issued, beside the configured password, until that expires.
#[tokio::test]
async fn short_lived_credentials_work_beside_the_configured_ones() {
    let house = House::build(BOTH).await;
    let phone = Phone::web(&house, "WSS").await;
    let hash = |algorithm: Algorithm| algorithm.hash(&[b"100", REALM.as_bytes(), b"issued"]);
    let issue = async |expires_at_ms: u64| {
        let credential =
            PhoneCredential { ha1_md5: hash(Algorithm::Md5), ha1_sha256: hash(Algorithm::Sha256), expires_at_ms };
        let mut pipe = redis::pipe();
        let text = serde_json::to_string(&credential).unwrap();
        pipe.cmd("HSET").arg(keys::phone_credentials(house.tenant, "100")).arg("one").arg(text).ignore();
        pipe.cmd("PUBLISH").arg(keys::phone_credentials_changed(house.tenant)).arg("100").ignore();
        let _: () = house.pool.run_pipeline("test", Retry::Safe, &pipe).await.unwrap();
    };
    let mut cseq = 0;
    let mut registers = async |password: &str| {
        cseq += 2;
        phone.register_as("100", cseq, Algorithm::Sha256, password).await.status() == Some(200)
    };
    assert!(!registers("issued").await, "nothing was issued yet");
    issue(Clock::system().now().0 + 60_000).await;
    let mut seen = false;
    // Few tries: wrong ones are braked.
    for _ in 0..3 {
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
        seen = registers("issued").await;
        if seen {
            break;
        }
    }
    assert!(seen, "what was issued is accepted");
    assert!(registers("secret").await, "the configured password still is");
    issue(1).await;
    for _ in 0..100 {
        seen = registers("issued").await;
        if !seen {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert!(!seen, "what expired is not");
    house.stop().await;
}

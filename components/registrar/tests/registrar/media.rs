//! A browser's call: session descriptions go through a real rtpengine, and nothing is left over there.

use ringdown_registrar_core::digest::Algorithm;
use ringdown_registrar_core::message::Message;
use ringdown_test_support::{PrivateRtpengine, wait_until};

use super::house::{House, LIMIT, Phone, response_to};
use super::{BOTH, from_node, in_dialog};

const RTP: &str = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 20000 RTP/AVP 0 101\r\n\
    a=rtpmap:0 PCMU/8000\r\na=rtpmap:101 telephone-event/8000\r\na=sendrecv\r\n";
const WEB: &str = "v=0\r\no=- 2 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\nm=audio 30000 UDP/TLS/RTP/SAVPF 0 101\r\n\
    c=IN IP4 127.0.0.1\r\na=candidate:1 1 udp 2113937151 127.0.0.1 30000 typ host\r\na=ice-ufrag:abcd\r\n\
    a=ice-pwd:abcdefghijklmnopqrstuvwx\r\na=fingerprint:sha-256 \
    00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF\r\n\
    a=setup:active\r\na=mid:0\r\na=rtcp-mux\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:101 telephone-event/8000\r\na=sendrecv\r\n";

fn with_sdp(text: &str, sdp: &str) -> String {
    let length = format!("Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{sdp}", sdp.len());
    text.replace("Content-Length: 0\r\n\r\n", &length)
}

fn body(message: &Message) -> String {
    String::from_utf8_lossy(message.body()).into_owned()
}

/// How many calls rtpengine holds.
async fn calls(engine: &PrivateRtpengine) -> usize {
    let list = engine.ask("d7:command4:list5:limiti100ee").await.unwrap_or_default();
    list.matches("rd-").count()
}

#[tokio::test]
async fn a_browsers_call_goes_through_rtpengine_and_ends_there() {
    let engine = PrivateRtpengine::start().await.unwrap();
    let house = House::build_with_media(engine.ng(), BOTH).await;
    let phone = Phone::web(&house, "WSS").await;
    assert_eq!(phone.register("100", 1, Algorithm::Sha256).await.status(), Some(200));
    let node = Phone::udp_at(house.node, house.sip).await;

    // Answered, then ended by the node.
    let invite = wait_until(LIMIT, "rtpengine is known", async || {
        let branch = format!("web{}", ringdown_service::Clock::system().now().0);
        node.send(with_sdp(&from_node(&node, "INVITE", &branch), RTP).as_bytes()).await;
        assert_eq!(node.next().await.status(), Some(100));
        let invite = phone.next().await;
        if body(&invite).contains("UDP/TLS/RTP/SAVPF") {
            return Some(invite);
        }
        phone.answer(&invite, 486).await;
        phone.next().await;
        node.final_response().await;
        None
    })
    .await;
    let offer = body(&invite);
    for wanted in ["a=fingerprint:", "a=candidate:", "a=rtcp-mux", "PCMU"] {
        assert!(offer.contains(wanted), "{wanted}: {offer}");
    }
    let answer = response_to(&invite, 200, &format!("sip:100@{}", phone.address));
    phone.send(with_sdp(&answer, WEB).as_bytes()).await;
    let answered = node.final_response().await;
    assert_eq!(answered.status(), Some(200));
    let answer = body(&answered);
    assert!(answer.contains("RTP/AVP") && !answer.contains("candidate") && !answer.contains("SAVPF"), "{answer}");
    assert_eq!(calls(&engine).await, 1);
    node.send(in_dialog(&node, &invite, "BYE", 11).as_bytes()).await;
    let bye = phone.next().await;
    assert_eq!(bye.request().unwrap().method_name, b"BYE");
    phone.answer(&bye, 200).await;
    assert_eq!(node.final_response().await.status(), Some(200));
    wait_until(LIMIT, "rtpengine forgets the call", async || (calls(&engine).await == 0).then_some(())).await;

    // Rejected by the browser.
    node.send(with_sdp(&from_node(&node, "INVITE", "rejected"), RTP).as_bytes()).await;
    let invite = phone.next().await;
    assert_eq!(calls(&engine).await, 1);
    phone.answer(&invite, 486).await;
    assert_eq!(node.final_response().await.status(), Some(486));
    wait_until(LIMIT, "rtpengine forgets the call", async || (calls(&engine).await == 0).then_some(())).await;
    house.stop().await;
}

#[tokio::test]
async fn a_dead_rtpengine_fails_its_calls_quickly_and_nothing_else() {
    let mut engine = PrivateRtpengine::start().await.unwrap();
    let house = House::build_with_media(engine.ng(), BOTH).await;
    let phone = Phone::web(&house, "WS").await;
    assert_eq!(phone.register("100", 1, Algorithm::Sha256).await.status(), Some(200));
    let node = Phone::udp_at(house.node, house.sip).await;
    wait_until(LIMIT, "rtpengine is known", async || {
        house.life.metrics().encode().contains("ringdown_sip_rtpengines 1").then_some(())
    })
    .await;
    engine.kill9().unwrap();
    let begun = std::time::Instant::now();
    node.send(with_sdp(&from_node(&node, "INVITE", "dead"), RTP).as_bytes()).await;
    let answer = node.final_response().await;
    assert!(matches!(answer.status(), Some(408 | 480)), "{:?}", answer.status());
    assert!(begun.elapsed().as_millis() < 3_000, "{:?}", begun.elapsed());
    assert_eq!(phone.query("100", Algorithm::Sha256).await.status(), Some(200));
    house.stop().await;
}

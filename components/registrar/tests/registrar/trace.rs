//! The socket by which `ringdown sip trace` reads messages.

use ringdown_registrar_core::digest::Algorithm;
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::timeout;

use super::BOTH;
use super::house::{House, LIMIT, Phone};

struct Reader {
    lines: Lines<BufReader<OwnedReadHalf>>,
    /// Closed, it would tell that nobody listens any more.
    _write: OwnedWriteHalf,
}

impl Reader {
    async fn ask(house: &House, question: &str) -> Self {
        let socket = UnixStream::connect(house.config.trace_socket.as_ref().unwrap()).await.unwrap();
        let (read, mut write) = socket.into_split();
        write.write_all(format!("{question}\n").as_bytes()).await.unwrap();
        Self { lines: BufReader::new(read).lines(), _write: write }
    }

    async fn next(&mut self) -> Option<Value> {
        let line = timeout(LIMIT, self.lines.next_line()).await.expect("an answer or an end").unwrap();
        line.map(|line| serde_json::from_str(&line).unwrap())
    }

    async fn all(mut self) -> Vec<Value> {
        let mut all = Vec::new();
        while let Some(entry) = self.next().await {
            all.push(entry);
        }
        all
    }
}

#[tokio::test]
async fn messages_are_read_without_what_proves_their_sender() {
    let house = House::build(BOTH).await;
    let socket = house.config.trace_socket.clone().unwrap();
    assert_eq!(std::fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600, "for root alone");
    let phone = Phone::udp(house.sip).await;
    assert_eq!(phone.register("101", 1, Algorithm::Sha256).await.status(), Some(200));

    let question = json!({ "of": "101" }).to_string();
    let seen = Reader::ask(&house, &question).await.all().await;
    let texts: Vec<&str> = seen.iter().map(|entry| entry["message"].as_str().unwrap()).collect();
    let firsts: Vec<&str> = texts.iter().map(|text| text.split(' ').take(2).last().unwrap()).collect();
    assert_eq!(firsts.len(), 4, "a REGISTER, its challenge, the proof, the answer: {texts:#?}");
    assert_eq!((firsts[1], firsts[3]), ("401", "200"));
    let sent: Vec<bool> = seen.iter().map(|entry| entry["sent"].as_bool().unwrap()).collect();
    assert_eq!(sent, [false, true, false, true]);
    assert!(texts[2].contains("\r\nAuthorization: (left out)\r\n"), "{}", texts[2]);
    assert!(texts.iter().all(|text| !text.contains("response=")), "{texts:#?}");
    assert_eq!(Reader::ask(&house, &json!({ "of": "102" }).to_string()).await.all().await, Vec::<Value>::new());
    assert!(Reader::ask(&house, "nonsense").await.all().await[0]["refused"].is_string());
    house.stop().await;
    assert!(!socket.exists(), "the socket goes with the registrar");
}

#[tokio::test]
async fn a_reader_who_stays_sees_what_comes() {
    let house = House::build(BOTH).await;
    let mut reader = Reader::ask(&house, &json!({ "of": "100@rd.test", "follow": true }).to_string()).await;
    let phone = Phone::udp(house.sip).await;
    let answered = phone.register("100", 1, Algorithm::Sha256);
    let (answer, first) = tokio::join!(answered, reader.next());
    assert_eq!(answer.status(), Some(200));
    // What was asked while the house was waited for may come first: it is the same user.
    assert!(first.unwrap()["message"].as_str().unwrap().starts_with("REGISTER "));
    house.stop().await;
}

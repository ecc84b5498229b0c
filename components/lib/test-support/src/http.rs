//! The smallest HTTP client that can ask an admin port.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Longest wait for an answer.
const LIMIT: Duration = Duration::from_secs(5);
/// Most bytes of an answer; a metrics page is far below.
const ANSWER_MAX: u64 = 4 * 1024 * 1024;

/// An answer of an HTTP server.
#[derive(Clone, Debug)]
pub struct HttpAnswer {
    /// E.g. 200.
    pub status: u16,
    /// The head, as received.
    pub head: String,
    /// The body.
    pub body: String,
}

/// `GET path` with one connection; for routes that answer with a length, as ours do.
pub async fn http_get(address: SocketAddr, path: &str) -> anyhow::Result<HttpAnswer> {
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    let answer = tokio::time::timeout(LIMIT, exchange(address, request.as_bytes()));
    let text = answer.await.context("no answer in time")??;
    let (head, body) = text.split_once("\r\n\r\n").context("an answer has a head")?;
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).context("an answer has a status")?;
    Ok(HttpAnswer { status, head: head.to_owned(), body: body.to_owned() })
}

async fn exchange(address: SocketAddr, request: &[u8]) -> anyhow::Result<String> {
    let mut stream = TcpStream::connect(address).await.context("connecting")?;
    stream.write_all(request).await.context("asking")?;
    let mut answer = Vec::new();
    stream.take(ANSWER_MAX).read_to_end(&mut answer).await.context("reading the answer")?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

//! A client of HTTP/1.1 that repeats nothing by itself: what fails is seen. And the client's end of a WebSocket.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Longest answer that is read.
const MOST_BYTES: usize = 4 << 20;

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: String,
}

/// One client; its connection is kept while the server keeps it.
#[derive(Debug)]
pub(crate) struct Client {
    server: SocketAddr,
    token: String,
    limit: Duration,
    keep: bool,
    connection: Option<BufReader<TcpStream>>,
}

impl Client {
    pub(crate) fn new(server: SocketAddr, token: &str, limit: Duration) -> Self {
        Self { server, token: token.to_owned(), limit, keep: true, connection: None }
    }

    /// A new connection for each request.
    pub(crate) fn without_keeping(mut self) -> Self {
        self.keep = false;
        self
    }

    pub(crate) fn get(&mut self, path: &str) -> io::Result<Answer> {
        self.request("GET", path, "", "")
    }

    /// Sends a body of JSON; `key` makes a repeat of it harmless.
    pub(crate) fn post(&mut self, path: &str, key: &str, body: &str) -> io::Result<Answer> {
        self.request("POST", path, &format!("Idempotency-Key: {key}\r\nContent-Type: application/json\r\n"), body)
    }

    /// The same, to replace what is there.
    pub(crate) fn put(&mut self, path: &str, key: &str, body: &str) -> io::Result<Answer> {
        self.request("PUT", path, &format!("Idempotency-Key: {key}\r\nContent-Type: application/json\r\n"), body)
    }

    fn request(&mut self, method: &str, path: &str, headers: &str, body: &str) -> io::Result<Answer> {
        let mut connection = match self.connection.take() {
            Some(kept) => kept,
            None => connect(self.server, self.limit)?,
        };
        let authorization =
            if self.token.is_empty() { String::new() } else { format!("Authorization: Bearer {}\r\n", self.token) };
        let keeping = if self.keep { "" } else { "Connection: close\r\n" };
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\n{authorization}{keeping}{headers}Content-Length: {}\r\n\r\n{body}",
            self.server,
            body.len()
        );
        connection.get_mut().write_all(head.as_bytes())?;
        let (answer, keeps) = read_answer(&mut connection)?;
        if keeps && self.keep {
            self.connection = Some(connection);
        }
        Ok(answer)
    }
}

fn connect(server: SocketAddr, limit: Duration) -> io::Result<BufReader<TcpStream>> {
    let stream = TcpStream::connect_timeout(&server, limit)?;
    stream.set_read_timeout(Some(limit))?;
    stream.set_write_timeout(Some(limit))?;
    stream.set_nodelay(true)?;
    Ok(BufReader::new(stream))
}

fn wrong(text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text.to_owned())
}

/// Status and headers, in small letters.
fn read_head(connection: &mut BufReader<TcpStream>) -> io::Result<(u16, Vec<String>)> {
    let mut line = String::new();
    if connection.read_line(&mut line)? == 0 {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "closed without an answer"));
    }
    let status = line.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or_else(|| wrong(&line))?;
    let mut headers = Vec::new();
    loop {
        let mut header = String::new();
        connection.read_line(&mut header)?;
        match header.trim_end() {
            "" => return Ok((status, headers)),
            header => headers.push(header.to_ascii_lowercase()),
        }
    }
}

fn read_answer(connection: &mut BufReader<TcpStream>) -> io::Result<(Answer, bool)> {
    let (status, headers) = read_head(connection)?;
    let value = |name: &str| headers.iter().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    let length = value("content-length").map_or(Ok(0), str::parse).map_err(|_| wrong("content-length"))?;
    if length > MOST_BYTES || value("transfer-encoding").is_some() {
        return Err(wrong("a body this client does not read"));
    }
    let mut body = vec![0; length];
    connection.read_exact(&mut body)?;
    let keeps = value("connection") != Some("close");
    Ok((Answer { status, body: String::from_utf8_lossy(&body).into_owned() }, keeps))
}

/// A browser's WebSocket.
#[derive(Debug)]
pub(crate) struct WebSocket(BufReader<TcpStream>);

impl WebSocket {
    /// Connects, and says the opening message.
    pub(crate) fn open(server: SocketAddr, limit: Duration, message: &str) -> io::Result<Self> {
        let mut connection = connect(server, limit)?;
        let head = format!(
            "GET /ws HTTP/1.1\r\nHost: {server}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        connection.get_mut().write_all(head.as_bytes())?;
        let (status, headers) = read_head(&mut connection)?;
        if status != 101 || !headers.iter().any(|line| line == "sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=") {
            return Err(wrong(&format!("{status} {headers:?}")));
        }
        let mut socket = Self(connection);
        socket.send(1, message.as_bytes())?;
        Ok(socket)
    }

    fn send(&mut self, kind: u8, bytes: &[u8]) -> io::Result<()> {
        let length = u16::try_from(bytes.len()).map_err(|_| wrong("a long message"))?;
        // Masked with zeros, which changes nothing (RFC 6455 5.3).
        let mut frame = vec![0x80 | kind];
        match u8::try_from(length) {
            Ok(short) if short < 126 => frame.push(0x80 | short),
            _ => {
                frame.push(0x80 | 126);
                frame.extend(length.to_be_bytes());
            }
        }
        frame.extend([0; 4]);
        frame.extend(bytes);
        self.0.get_mut().write_all(&frame)
    }

    /// The next message: its kind and text.
    pub(crate) fn read(&mut self) -> io::Result<(u8, String)> {
        let mut start = [0; 2];
        self.0.read_exact(&mut start)?;
        let length = match start[1] & 0x7f {
            126 => {
                let mut long = [0; 2];
                self.0.read_exact(&mut long)?;
                usize::from(u16::from_be_bytes(long))
            }
            127 => return Err(wrong("a very long message")),
            short => usize::from(short),
        };
        let mut text = vec![0; length];
        self.0.read_exact(&mut text)?;
        Ok((start[0] & 0x0f, String::from_utf8_lossy(&text).into_owned()))
    }

    /// Asks for a sign of life, and reads until it comes.
    pub(crate) fn lives(&mut self) -> io::Result<()> {
        self.send(9, b"alive?")?;
        loop {
            match self.read()? {
                (10, text) if text == "alive?" => return Ok(()),
                (9, text) => self.send(10, text.as_bytes())?,
                (8, text) => return Err(wrong(&format!("closed: {text:?}"))),
                _ => {}
            }
        }
    }
}

//! Registers phones (RFC 3261 section 10) with digest authentication (RFC 7616, RFC 8760), SHA-256 before MD5.
//!
//! sipp registers with MD5 only and takes the first challenge it sees, so the phones register here and sipp answers for them.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, bail};
use md5::Md5;
use sha2::{Digest, Sha256};
use tokio::net::{UdpSocket, lookup_host};
use uuid::Uuid;

use super::sipp::Phone;

/// How long a binding lasts, seconds: longer than any simulation but the longest, so that phones register once.
const BINDING_S: u32 = 3_600;
/// Waits for an answer before each repeat (RFC 3261 timer E, its beginning).
const WAITS: [Duration; 5] = [
    Duration::from_millis(500),
    Duration::from_millis(1_000),
    Duration::from_millis(2_000),
    Duration::from_millis(4_000),
    Duration::from_millis(4_000),
];

/// Registers all of them, one after the other, from `contact`: the registrar reaches a phone where it registered from. The
/// address is free again afterwards, for who answers there.
pub(super) async fn register(
    registrar: &str,
    realm: &str,
    phones: &[Phone],
    contact: SocketAddr,
) -> anyhow::Result<()> {
    let mut addresses = lookup_host(registrar).await.with_context(|| format!("looking up {registrar}"))?;
    let server = addresses.next().with_context(|| format!("{registrar} has no address"))?;
    let socket = UdpSocket::bind(contact).await.with_context(|| format!("binding {contact} to register from"))?;
    // Connected, so that a closed port is an error at once, and nobody else's messages are read.
    socket.connect(server).await.with_context(|| format!("reaching {registrar}"))?;
    for phone in phones {
        let registration = Registration { socket: &socket, realm, phone, contact, call: Uuid::now_v7() };
        registration.perform().await.with_context(|| format!("registering {} at {registrar}", phone.user))?;
    }
    Ok(())
}

struct Registration<'a> {
    socket: &'a UdpSocket,
    realm: &'a str,
    phone: &'a Phone,
    contact: SocketAddr,
    call: Uuid,
}

impl Registration<'_> {
    async fn perform(&self) -> anyhow::Result<()> {
        let answer = self.ask(1, "").await?;
        if status(&answer) != Some(401) {
            bail!("expected a challenge, got: {}", first_line(&answer));
        }
        let challenges: Vec<Challenge> = answer.lines().filter_map(Challenge::parse).collect();
        let offered = |algorithm: Algorithm| challenges.iter().find(|challenge| challenge.algorithm == algorithm);
        let challenge = offered(Algorithm::Sha256).or_else(|| offered(Algorithm::Md5));
        let challenge = challenge.context("the challenge offers neither SHA-256 nor MD5")?;
        let header = challenge.answer(self.phone, &format!("sip:{}", self.realm));
        let answer = self.ask(2, &header).await?;
        if status(&answer) == Some(200) { Ok(()) } else { bail!("refused: {}", first_line(&answer)) }
    }

    async fn ask(&self, number: u32, authorization: &str) -> anyhow::Result<String> {
        let Self { realm, contact, call, .. } = self;
        let user = &self.phone.user;
        let own = self.socket.local_addr().context("asking for the own address")?;
        let call = call.simple();
        let text = format!(
            "REGISTER sip:{realm} SIP/2.0\r\nVia: SIP/2.0/UDP {own};branch=z9hG4bK{call}{number};rport\r\nMax-Forwards: 70\r\n\
             From: <sip:{user}@{realm}>;tag={call}\r\nTo: <sip:{user}@{realm}>\r\nCall-ID: {call}\r\n\
             CSeq: {number} REGISTER\r\nContact: <sip:{user}@{contact}>\r\nExpires: {BINDING_S}\r\n{authorization}\
             Content-Length: 0\r\n\r\n"
        );
        let sequence = format!("{number} REGISTER");
        for wait in WAITS {
            self.socket.send(text.as_bytes()).await.context("sending")?;
            let heard = tokio::time::timeout(wait, self.final_answer(&sequence)).await;
            if let Ok(answer) = heard {
                return answer;
            }
        }
        bail!("no answer")
    }

    /// The next answer to this request of ours that is no provisional one.
    async fn final_answer(&self, sequence: &str) -> anyhow::Result<String> {
        let mut buffer = vec![0; 65_535];
        loop {
            let length = self.socket.recv(&mut buffer).await.context("nobody listens there")?;
            let answer = String::from_utf8_lossy(&buffer[..length]).into_owned();
            let ours = header(&answer, "Call-ID") == Some(&self.call.simple().to_string());
            if ours && header(&answer, "CSeq") == Some(sequence) && status(&answer).is_some_and(|code| code >= 200) {
                return Ok(answer);
            }
        }
    }
}

fn first_line(message: &str) -> &str {
    message.lines().next().unwrap_or_default()
}

fn status(message: &str) -> Option<u16> {
    first_line(message).strip_prefix("SIP/2.0 ")?.get(..3)?.parse().ok()
}

fn header<'a>(message: &'a str, name: &str) -> Option<&'a str> {
    message.lines().find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.trim().eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Algorithm {
    Md5,
    Sha256,
}

impl Algorithm {
    fn hash(self, text: &str) -> String {
        let bytes = match self {
            Self::Md5 => Md5::digest(text.as_bytes()).to_vec(),
            Self::Sha256 => Sha256::digest(text.as_bytes()).to_vec(),
        };
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Md5 => "MD5",
            Self::Sha256 => "SHA-256",
        }
    }
}

/// One challenge we can answer.
#[derive(Debug, PartialEq, Eq)]
struct Challenge {
    algorithm: Algorithm,
    realm: String,
    nonce: String,
    opaque: Option<String>,
    quality: bool,
}

impl Challenge {
    fn parse(line: &str) -> Option<Self> {
        let (name, value) = line.split_once(':')?;
        let parameters = value.trim().strip_prefix("Digest ")?;
        if !name.trim().eq_ignore_ascii_case("WWW-Authenticate") {
            return None;
        }
        let algorithm = match parameter(parameters, "algorithm") {
            None => Algorithm::Md5,
            Some(name) if name.eq_ignore_ascii_case("MD5") => Algorithm::Md5,
            Some(name) if name.eq_ignore_ascii_case("SHA-256") => Algorithm::Sha256,
            Some(_) => return None,
        };
        let quality = parameter(parameters, "qop").is_some_and(|list| list.split(',').any(|one| one.trim() == "auth"));
        Some(Self {
            algorithm,
            realm: parameter(parameters, "realm")?,
            nonce: parameter(parameters, "nonce")?,
            opaque: parameter(parameters, "opaque"),
            quality,
        })
    }

    /// The header that answers it.
    fn answer(&self, phone: &Phone, uri: &str) -> String {
        let client_nonce = Uuid::now_v7().simple().to_string();
        let response = self.response(phone, uri, &client_nonce);
        let Self { algorithm, realm, nonce, opaque, quality } = self;
        let mut text = format!(
            "Authorization: Digest username=\"{}\", realm=\"{realm}\", nonce=\"{nonce}\", uri=\"{uri}\", response=\"{response}\", algorithm={}",
            phone.user,
            algorithm.name()
        );
        if let Some(opaque) = opaque {
            text.push_str(&format!(", opaque=\"{opaque}\""));
        }
        if *quality {
            text.push_str(&format!(", qop=auth, nc=00000001, cnonce=\"{client_nonce}\""));
        }
        text + "\r\n"
    }

    fn response(&self, phone: &Phone, uri: &str, client_nonce: &str) -> String {
        let hash = |text: String| self.algorithm.hash(&text);
        let secret = hash(format!("{}:{}:{}", phone.user, self.realm, phone.password));
        let request = hash(format!("REGISTER:{uri}"));
        if self.quality {
            hash(format!("{secret}:{}:00000001:{client_nonce}:auth:{request}", self.nonce))
        } else {
            hash(format!("{secret}:{}:{request}", self.nonce))
        }
    }
}

/// A parameter of a challenge, without its quotes. Values with commas are quoted, so commas inside quotes do not divide.
fn parameter(parameters: &str, name: &str) -> Option<String> {
    let mut quoted = false;
    let parts = parameters.split(|c| {
        quoted ^= c == '"';
        c == ',' && !quoted
    });
    parts.into_iter().find_map(|part| {
        let (found, value) = part.split_once('=')?;
        found.trim().eq_ignore_ascii_case(name).then(|| value.trim().trim_matches('"').to_owned())
    })
}

/// The address phones are reached at.
pub(super) fn contact(address: Ipv4Addr, port: u16) -> SocketAddr {
    SocketAddr::from((address, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7616's example values with REGISTER in place of GET, both algorithms, checked with another implementation.
    #[test]
    fn challenges_are_read_and_answered() {
        let line = "WWW-Authenticate: Digest realm=\"http-auth@example.org\", qop=\"auth, auth-int\", algorithm=SHA-256, \
                    nonce=\"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v\", opaque=\"FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS\"";
        let challenge = Challenge::parse(line).unwrap();
        assert_eq!((challenge.algorithm, challenge.quality), (Algorithm::Sha256, true));
        assert_eq!(challenge.nonce, "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v");
        let phone = Phone { user: "Mufasa".into(), password: "Circle of Life".into() };
        let hash = |text: &str| Algorithm::Sha256.hash(text);
        let secret = hash("Mufasa:http-auth@example.org:Circle of Life");
        assert_eq!(secret, "7987c64c30e25f1b74be53f966b49b90f2808aa92faf9a00262392d7b4794232");
        let expected = hash(&format!("{secret}:{}:00000001:c:auth:{}", challenge.nonce, hash("REGISTER:sip:x")));
        assert_eq!(challenge.response(&phone, "sip:x", "c"), expected);
        assert_eq!(
            Algorithm::Md5.hash("Mufasa:http-auth@example.org:Circle of Life"),
            "3d78807defe7de2157e2b0b6573a855f"
        );
        assert!(Challenge::parse("WWW-Authenticate: Digest realm=\"r\", nonce=\"n\", algorithm=SHA-512-256").is_none());
        assert!(Challenge::parse("WWW-Authenticate: Basic realm=\"r\"").is_none());
    }
}

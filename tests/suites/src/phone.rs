//! A SIP telephone for tests, written apart from the product: agents' phones and callers. One call at a time over UDP; only as
//! much of RFC 3261 as a plain phone needs.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use md5::{Digest, Md5};
use tokio::net::UdpSocket;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use crate::voice::Voice;

/// Calls of this process.
static CALLS: AtomicU32 = AtomicU32::new(1);

/// How a phone treats a call that comes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// Rings, then answers.
    Answer,
    /// Rings, then answers with this SIP code.
    Refuse(u16),
    /// Rings until it is cancelled.
    RingForEver,
    /// Says nothing at all.
    Silent,
}

/// What a phone has seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// An INVITE came in.
    Rang,
    /// The call stands.
    Talking,
    /// The other side cancelled it before the answer.
    Cancelled,
    /// The call is over: the other side hung up.
    HungUp,
    /// A final answer that is no success.
    Failed(u16),
}

/// A telephone.
pub struct Phone {
    inner: Arc<Inner>,
    seen: mpsc::UnboundedReceiver<Seen>,
    tasks: Vec<JoinHandle<()>>,
}

struct Inner {
    sip: UdpSocket,
    voice: Voice,
    address: SocketAddr,
    user: String,
    /// Whom it has sent to: like a phone behind NAT, it hears nobody else.
    reached: Mutex<BTreeSet<SocketAddr>>,
    call: Mutex<Option<CallState>>,
    manner: watch::Sender<Manner>,
    told: mpsc::UnboundedSender<Seen>,
    answers: watch::Sender<Option<String>>,
    /// REGISTERs sent so far.
    registers: AtomicU32,
}

#[derive(Clone, Debug)]
struct CallState {
    call_id: String,
    from: String,
    to: String,
    target: String,
    route: Vec<String>,
    next_hop: SocketAddr,
    media: Option<SocketAddr>,
    via: String,
    cseq: u32,
    /// The other side has our answer.
    acknowledged: bool,
}

/// Waits before a message is sent again (RFC 3261 17.1.1.2 and 13.3.1.4, the same here), until something answers it.
const REPEATS: [u64; 8] = [500, 1_000, 2_000, 4_000, 4_000, 4_000, 4_000, 4_000];

impl Drop for Phone {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

impl Phone {
    /// A phone on a port of `host`, which sings `tone_hz` when it talks.
    pub async fn new(host: &str, user: &str, tone_hz: f64, manner: Manner) -> anyhow::Result<Self> {
        let sip = UdpSocket::bind((host, 0)).await?;
        let (told, seen) = mpsc::unbounded_channel();
        let inner = Arc::new(Inner {
            address: sip.local_addr()?,
            sip,
            voice: Voice::new(host, tone_hz).await?,
            user: user.to_owned(),
            reached: Mutex::default(),
            call: Mutex::default(),
            manner: watch::Sender::new(manner),
            told,
            answers: watch::Sender::new(None),
            registers: AtomicU32::new(0),
        });
        let tasks = vec![tokio::spawn(Arc::clone(&inner).listen())];
        Ok(Self { inner, seen, tasks })
    }

    /// Changes how the next call is treated; a ringing one is answered when it becomes `Answer`.
    pub fn set_manner(&self, manner: Manner) {
        self.inner.manner.send_replace(manner);
    }

    /// What happens next, within `limit`.
    pub async fn next(&mut self, limit: Duration) -> anyhow::Result<Seen> {
        let seen = tokio::time::timeout(limit, self.seen.recv()).await;
        let seen = seen.with_context(|| format!("{}: nothing happened within {limit:?}", self.inner.user))?;
        seen.context("the phone is gone")
    }

    /// Registers with MD5 digest at the registrar.
    pub async fn register(&self, registrar: SocketAddr, realm: &str, password: &str) -> anyhow::Result<()> {
        self.register_for(registrar, realm, password, 600).await
    }

    /// Takes the registration back.
    pub async fn unregister(&self, registrar: SocketAddr, realm: &str, password: &str) -> anyhow::Result<()> {
        self.register_for(registrar, realm, password, 0).await
    }

    /// Registers for so many seconds.
    pub async fn register_for(&self, to: SocketAddr, realm: &str, password: &str, seconds: u32) -> anyhow::Result<()> {
        let expires = format!("Expires: {seconds}\r\n");
        let challenge = self.ask_register(to, realm, &expires).await?;
        anyhow::ensure!(status(&challenge) == Some(401), "expected a challenge: {challenge}");
        let authorization = authorization(&challenge, &self.inner.user, realm, password)?;
        let answer = self.ask_register(to, realm, &format!("{expires}{authorization}")).await?;
        anyhow::ensure!(status(&answer) == Some(200), "not registered: {answer}");
        Ok(())
    }

    async fn ask_register(&self, to: SocketAddr, realm: &str, more: &str) -> anyhow::Result<String> {
        let inner = &self.inner;
        let cseq = inner.registers.fetch_add(1, Ordering::Relaxed) + 1;
        let (user, at) = (&inner.user, inner.address);
        let request = format!(
            "REGISTER sip:{realm} SIP/2.0\r\nVia: SIP/2.0/UDP {at};branch=z9hG4bK-{user}-{cseq}-{};rport\r\n\
             From: <sip:{user}@{realm}>;tag=f{user}\r\nTo: <sip:{user}@{realm}>\r\nCall-ID: reg-{user}-{}\r\n\
             CSeq: {cseq} REGISTER\r\nContact: <sip:{user}@{at}>\r\nMax-Forwards: 70\r\n{more}\
             Content-Length: 0\r\n\r\n",
            at.port(),
            at.port()
        );
        let mut answers = inner.answers.subscribe();
        inner.reach(to);
        inner.sip.send_to(request.as_bytes(), to).await?;
        let wanted = format!("{cseq} REGISTER");
        let found = answers.wait_for(|text| {
            text.as_ref().is_some_and(|text| header(text, "CSeq").as_deref() == Some(wanted.as_str()))
        });
        let found = tokio::time::timeout(Duration::from_secs(5), found).await.context("no answer to REGISTER")??;
        Ok(found.clone().unwrap_or_default())
    }

    /// Hears this address too, though nothing was sent there: a phone without a NAT before it.
    pub fn hears_from(&self, address: SocketAddr) {
        self.inner.reach(address);
    }

    /// Where it speaks SIP.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.inner.address
    }

    /// Calls a number; the outcome is told by [`Phone::next`].
    pub async fn call(&self, number: &str, to: SocketAddr) -> anyhow::Result<()> {
        let inner = &self.inner;
        let at = inner.address;
        // Ports come back: a number of their own keeps a later call apart from a transaction Asterisk still remembers.
        let call_id = format!("call-{}-{}", at.port(), CALLS.fetch_add(1, Ordering::Relaxed));
        let state = CallState {
            from: format!("<sip:{}@{at}>;tag=c{}", inner.user, at.port()),
            to: format!("<sip:{number}@{to}>"),
            target: format!("sip:{number}@{to}"),
            route: Vec::new(),
            next_hop: to,
            media: None,
            via: format!("SIP/2.0/UDP {at};branch=z9hG4bK-{call_id}"),
            call_id,
            cseq: 1,
            acknowledged: false,
        };
        let invite = inner.request("INVITE", &state, Some(&inner.sdp()));
        let answered = inner.answer_to(&state.call_id, "INVITE");
        *inner.lock() = Some(state);
        inner.send(invite.clone(), to).await;
        tokio::spawn(Arc::clone(inner).repeat(invite, to, answered));
        Ok(())
    }

    /// Gives up before the answer.
    pub async fn cancel(&self) -> anyhow::Result<()> {
        let state = self.inner.lock().clone().context("no call to cancel")?;
        let cancel = self.inner.request("CANCEL", &state, None);
        self.inner.sip.send_to(cancel.as_bytes(), state.next_hop).await?;
        Ok(())
    }

    /// Hangs up a call that stands.
    pub async fn hang_up(&self) -> anyhow::Result<()> {
        let mut state = self.inner.lock().take().context("no call to hang up")?;
        self.inner.voice.sing_to(None);
        state.cseq += 1;
        state.via = format!("SIP/2.0/UDP {};branch=z9hG4bK-bye-{}-{}", self.inner.address, state.call_id, state.cseq);
        let bye = self.inner.request("BYE", &state, None);
        let answered = self.inner.answer_to(&state.call_id, "BYE");
        self.inner.send(bye.clone(), state.next_hop).await;
        tokio::spawn(Arc::clone(&self.inner).repeat(bye, state.next_hop, answered));
        Ok(())
    }

    /// Whether a tone is heard among what arrives from now on.
    pub async fn hears(&self, hz: f64, limit: Duration) -> bool {
        self.inner.voice.hears(hz, limit).await
    }

    /// Stops answering for good, without a word: the cable is out.
    pub fn vanish(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

impl Inner {
    fn lock(&self) -> std::sync::MutexGuard<'_, Option<CallState>> {
        self.call.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, seen: Seen) {
        // A test that looks away needs no word.
        drop(self.told.send(seen));
    }

    fn sdp(&self) -> String {
        let (host, port) = (self.address.ip(), self.voice.address().port());
        format!(
            "v=0\r\no=- 1 1 IN IP4 {host}\r\ns=-\r\nc=IN IP4 {host}\r\nt=0 0\r\nm=audio {port} RTP/AVP 0\r\n\
             a=rtpmap:0 PCMU/8000\r\na=sendrecv\r\n"
        )
    }

    fn request(&self, method: &str, state: &CallState, body: Option<&str>) -> String {
        let routes: String = state.route.iter().map(|route| format!("Route: {route}\r\n")).collect();
        let body = body.unwrap_or_default();
        let kind = if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
        format!(
            "{method} {} SIP/2.0\r\nVia: {}\r\n{routes}From: {}\r\nTo: {}\r\nCall-ID: {}\r\nCSeq: {} {method}\r\n\
             Contact: <sip:{}@{}>\r\nMax-Forwards: 70\r\n{kind}Content-Length: {}\r\n\r\n{body}",
            state.target,
            state.via,
            state.from,
            state.to,
            state.call_id,
            state.cseq,
            self.user,
            self.address,
            body.len()
        )
    }

    /// Ends when anything answers the request of this method in this call.
    fn answer_to(&self, call_id: &str, method: &'static str) -> impl Future<Output = ()> + Send + use<> {
        let (mut answers, call_id) = (self.answers.subscribe(), call_id.to_owned());
        async move {
            let ours = |text: &str| {
                header(text, "Call-ID").as_deref() == Some(call_id.as_str())
                    && header(text, "CSeq").is_some_and(|cseq| cseq.ends_with(method))
            };
            // An error is the phone's end.
            drop(answers.wait_for(|text| text.as_deref().is_some_and(ours)).await);
        }
    }

    /// Sends a request again until it is answered.
    async fn repeat(self: Arc<Self>, request: String, to: SocketAddr, answered: impl Future<Output = ()> + Send) {
        let mut answered = std::pin::pin!(answered);
        for wait_ms in REPEATS {
            if tokio::time::timeout(Duration::from_millis(wait_ms), answered.as_mut()).await.is_ok() {
                return;
            }
            self.send(request.clone(), to).await;
        }
    }

    /// Sends the answer to an INVITE again until its ACK comes; without one there is no call.
    async fn repeat_answer(self: Arc<Self>, answer: String, to: SocketAddr, call_id: String) {
        for wait_ms in REPEATS {
            tokio::time::sleep(Duration::from_millis(wait_ms)).await;
            let open = self.lock().as_ref().is_some_and(|state| state.call_id == call_id && !state.acknowledged);
            if !open {
                return;
            }
            self.send(answer.clone(), to).await;
        }
        if self.lock().take_if(|state| state.call_id == call_id && !state.acknowledged).is_some() {
            self.voice.sing_to(None);
            self.tell(Seen::HungUp);
        }
    }

    async fn listen(self: Arc<Self>) {
        let mut buffer = vec![0_u8; 65_535];
        while let Ok((length, from)) = self.sip.recv_from(&mut buffer).await {
            if !self.is_reached(from) {
                continue;
            }
            let Ok(text) = std::str::from_utf8(&buffer[..length]) else { continue };
            if text.starts_with("SIP/2.0") {
                self.answered(text, from).await;
            } else {
                Arc::clone(&self).asked(text.to_owned(), from).await;
            }
        }
    }

    /// A response.
    async fn answered(&self, text: &str, from: SocketAddr) {
        self.answers.send_replace(Some(text.to_owned()));
        let method = header(text, "CSeq").unwrap_or_default();
        let Some(code) = status(text).filter(|code| *code >= 200 && method.ends_with("INVITE")) else { return };
        let Some(mut state) = self.lock().clone() else { return };
        if header(text, "Call-ID").as_deref() != Some(state.call_id.as_str()) {
            return;
        }
        state.to = header(text, "To").unwrap_or_default();
        let success = code < 300;
        if success {
            state.target = contact(text).unwrap_or(state.target);
            state.route = headers(text, "Record-Route").into_iter().rev().collect();
            state.via = format!("SIP/2.0/UDP {};branch=z9hG4bK-ack-{}", self.address, state.call_id);
            state.media = media(text);
        }
        state.next_hop = from;
        let ack = self.request("ACK", &state, None);
        self.send(ack, from).await;
        let news = self.lock().replace(state.clone()).is_some_and(|before| before.media.is_none());
        self.voice.sing_to(state.media);
        if !success {
            *self.lock() = None;
            self.tell(Seen::Failed(code));
        } else if news {
            self.tell(Seen::Talking);
        }
    }

    /// A request.
    async fn asked(self: Arc<Self>, text: String, from: SocketAddr) {
        let method = text.split(' ').next().unwrap_or_default().to_owned();
        if *self.manner.borrow() == Manner::Silent {
            return;
        }
        match method.as_str() {
            "INVITE" => drop(tokio::spawn(self.rung(text, from))),
            "ACK" => {
                let call_id = header(&text, "Call-ID");
                if let Some(state) = self.lock().as_mut().filter(|state| Some(&state.call_id) == call_id.as_ref()) {
                    state.acknowledged = true;
                }
            }
            "CANCEL" => {
                let call_id = header(&text, "Call-ID");
                // One that was answered stands until a BYE.
                let ringing =
                    self.lock().take_if(|state| Some(&state.call_id) == call_id.as_ref() && state.media.is_none());
                let code = if ringing.is_some() { 200 } else { 481 };
                self.send(self.response(&text, code, None), from).await;
                if ringing.is_some() {
                    self.answers.send_replace(Some("CANCELLED".to_owned()));
                }
            }
            "BYE" => {
                self.send(self.response(&text, 200, None), from).await;
                if self.lock().take().is_some() {
                    self.voice.sing_to(None);
                    self.tell(Seen::HungUp);
                }
            }
            _ => self.send(self.response(&text, 200, None), from).await,
        }
    }

    /// An INVITE: rings, then does what the manner says.
    async fn rung(self: Arc<Self>, text: String, from: SocketAddr) {
        let call_id = header(&text, "Call-ID").unwrap_or_default();
        let current = self.lock().as_ref().map(|state| state.call_id == call_id);
        match current {
            // Sent again.
            Some(true) => return,
            Some(false) => return self.send(self.response(&text, 486, None), from).await,
            None => {}
        }
        let state = CallState {
            call_id,
            // In requests of ours the roles are swapped.
            from: format!("{};tag=p{}", header(&text, "To").unwrap_or_default(), self.address.port()),
            to: header(&text, "From").unwrap_or_default(),
            target: contact(&text).unwrap_or_default(),
            route: headers(&text, "Record-Route"),
            next_hop: from,
            media: None,
            via: String::new(),
            cseq: 100,
            acknowledged: false,
        };
        let call_id = state.call_id.clone();
        *self.lock() = Some(state);
        self.tell(Seen::Rang);
        self.send(self.response(&text, 180, None), from).await;
        let mut manner = self.manner.subscribe();
        let mut answers = self.answers.subscribe();
        let decided = tokio::select! {
            manner = manner.wait_for(|manner| *manner != Manner::RingForEver) => manner.map(|manner| *manner).ok(),
            _ = answers.wait_for(|text| text.as_deref() == Some("CANCELLED")) => None,
        };
        self.answers.send_replace(None);
        match decided {
            None => {
                self.send(self.response(&text, 487, None), from).await;
                self.tell(Seen::Cancelled);
            }
            Some(Manner::Refuse(code)) => {
                *self.lock() = None;
                self.send(self.response(&text, code, None), from).await;
            }
            Some(Manner::Answer) => {
                let to = media(&text);
                if let Some(state) = self.lock().as_mut() {
                    state.media = to;
                    self.voice.sing_to(to);
                }
                let answer = self.response(&text, 200, Some(&self.sdp()));
                self.send(answer.clone(), from).await;
                self.tell(Seen::Talking);
                self.repeat_answer(answer, from, call_id).await;
            }
            Some(Manner::RingForEver | Manner::Silent) => {}
        }
    }

    fn response(&self, request: &str, code: u16, body: Option<&str>) -> String {
        let vias: String = headers(request, "Via").iter().map(|via| format!("Via: {via}\r\n")).collect();
        let routes: String =
            headers(request, "Record-Route").iter().map(|route| format!("Record-Route: {route}\r\n")).collect();
        let mut to = header(request, "To").unwrap_or_default();
        if !to.contains(";tag=") {
            to = format!("{to};tag=p{}", self.address.port());
        }
        let copy = |name| header(request, name).unwrap_or_default();
        let body = body.unwrap_or_default();
        let kind = if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
        format!(
            "SIP/2.0 {code} Said\r\n{vias}{routes}From: {}\r\nTo: {to}\r\nCall-ID: {}\r\nCSeq: {}\r\n\
             Contact: <sip:{}@{}>\r\n{kind}Content-Length: {}\r\n\r\n{body}",
            copy("From"),
            copy("Call-ID"),
            copy("CSeq"),
            self.user,
            self.address,
            body.len()
        )
    }

    fn reach(&self, to: SocketAddr) {
        self.reached.lock().unwrap_or_else(PoisonError::into_inner).insert(to);
    }

    fn is_reached(&self, from: SocketAddr) -> bool {
        self.reached.lock().unwrap_or_else(PoisonError::into_inner).contains(&from)
    }

    async fn send(&self, text: String, to: SocketAddr) {
        self.reach(to);
        // A datagram that does not leave is a datagram that is lost: who needs an answer asks again.
        drop(self.sip.send_to(text.as_bytes(), to).await);
    }
}

/// The header line that answers the challenge of a REGISTER, by MD5.
pub fn authorization(challenge: &str, user: &str, realm: &str, password: &str) -> anyhow::Result<String> {
    let header = header(challenge, "WWW-Authenticate").context("a challenge")?;
    let nonce = parameter(&header, "nonce").context("a nonce")?;
    let uri = format!("sip:{realm}");
    let ha1 = md5_hex(&format!("{user}:{realm}:{password}"));
    let ha2 = md5_hex(&format!("REGISTER:{uri}"));
    let response = md5_hex(&format!("{ha1}:{nonce}:00000001:cafe:auth:{ha2}"));
    Ok(format!(
        "Authorization: Digest username=\"{user}\", realm=\"{realm}\", nonce=\"{nonce}\", uri=\"{uri}\", \
         response=\"{response}\", algorithm=MD5, qop=auth, nc=00000001, cnonce=\"cafe\"\r\n"
    ))
}

/// The status of a response.
pub fn status(text: &str) -> Option<u16> {
    text.strip_prefix("SIP/2.0 ")?.get(..3)?.parse().ok()
}

fn header(text: &str, name: &str) -> Option<String> {
    headers(text, name).into_iter().next()
}

fn headers(text: &str, name: &str) -> Vec<String> {
    let head = text.split("\r\n\r\n").next().unwrap_or_default();
    let values = head.split("\r\n").filter_map(|line| line.split_once(':'));
    values
        .filter(|(found, _)| found.trim().eq_ignore_ascii_case(name))
        .map(|(_, value)| value.trim().to_owned())
        .collect()
}

fn parameter(header: &str, name: &str) -> Option<String> {
    let start = header.find(&format!("{name}=\""))? + name.len() + 2;
    Some(header[start..].split('"').next()?.to_owned())
}

fn contact(text: &str) -> Option<String> {
    let value = header(text, "Contact")?;
    Some(value.split('<').nth(1)?.split('>').next()?.to_owned())
}

fn media(text: &str) -> Option<SocketAddr> {
    let host = text.split("\r\n").find_map(|line| line.strip_prefix("c=IN IP4 "))?;
    let port = text.split("\r\n").find_map(|line| line.strip_prefix("m=audio "))?.split(' ').next()?;
    format!("{}:{port}", host.trim()).parse().ok()
}

fn md5_hex(text: &str) -> String {
    Md5::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

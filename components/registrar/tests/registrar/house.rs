//! The registrar in process with a Redis of its own, and phones made of real sockets.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use ringdown_domain::{AgentId, TenantId, TimestampMs};
use ringdown_env_config::Url;
use ringdown_events::{CompiledConfig, ConfigMeta, SipCredential};
use ringdown_redis_store::{ConfigWriter, RedisOptions, RedisPool, Retry, StoreMetrics, keys, redis};
use ringdown_registrar::{CertificateFiles, Config, MediaPlace, start};
use ringdown_registrar_core::digest::Algorithm;
use ringdown_registrar_core::edge::Outgoing;
use ringdown_registrar_core::message::{FieldName, Message};
use ringdown_service::{Clock, Life};
use ringdown_test_support::{Folder, PrivateRedis, RedisOptions as PrivateRedisOptions, free_port, wait_until};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{self, DigitallySignedStruct};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message as WebMessage;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

pub(crate) const LIMIT: Duration = Duration::from_secs(20);
pub(crate) const REALM: &str = "rd.test";

pub(crate) struct House {
    pub(crate) redis: PrivateRedis,
    pub(crate) pool: RedisPool,
    pub(crate) life: Life,
    pub(crate) config: Config,
    pub(crate) sip: SocketAddr,
    pub(crate) node: SocketAddr,
    pub(crate) tenant: TenantId,
    /// Holds the certificate.
    _folder: Folder,
}

impl House {
    pub(crate) async fn build(algorithms: &[Algorithm]) -> Self {
        Self::build_on([127, 0, 0, 1].into(), algorithms).await
    }

    /// One that listens on this address; `sip` is where it is reached on the loopback interface.
    pub(crate) async fn build_on(listen: IpAddr, algorithms: &[Algorithm]) -> Self {
        Self::build_with(listen, Vec::new(), nobody(), algorithms).await
    }

    /// One with this rtpengine.
    pub(crate) async fn build_with_media(engine: SocketAddr, algorithms: &[Algorithm]) -> Self {
        Self::build_with([127, 0, 0, 1].into(), Vec::new(), engine, algorithms).await
    }

    /// One behind these load balancers.
    pub(crate) async fn build_behind(proxies: &[&str], algorithms: &[Algorithm]) -> Self {
        let proxies = proxies.iter().map(|proxy| proxy.parse().unwrap()).collect();
        Self::build_with([127, 0, 0, 1].into(), proxies, nobody(), algorithms).await
    }

    async fn build_with(listen: IpAddr, proxies: Vec<IpAddr>, engine: SocketAddr, algorithms: &[Algorithm]) -> Self {
        let redis = PrivateRedis::start(PrivateRedisOptions::default()).await.unwrap();
        let pool = RedisPool::new(RedisOptions::from_url(&redis.url()).unwrap(), StoreMetrics::default());
        let tenant = TenantId::from_parts(7, &[7; 10]);
        let compiled = compiled(tenant);
        let writer = ConfigWriter::new(pool.clone());
        writer.write(&compiled).await.unwrap();
        writer.flip(&compiled, None).await.unwrap();
        let local = |port: u16| SocketAddr::from(([127, 0, 0, 1], port));
        let (sip, node) = (local(free_port()), local(free_port()));
        let folder = Folder::new("registrar").unwrap();
        let config = Config {
            udp: vec![SocketAddr::new(listen, sip.port())],
            tcp: vec![SocketAddr::new(listen, sip.port())],
            tls: vec![local(free_port())],
            ws: vec![local(free_port())],
            wss: vec![local(free_port())],
            certificate: Some(certify(folder.path()).await),
            proxies,
            rtpengines: vec![MediaPlace { address: engine, weight: 1 }],
            advertise: None,
            nodes: vec![node],
            redis: Url::parse(&redis.url(), &["redis"]).unwrap(),
            nonce_key: None,
            algorithms: algorithms.to_vec(),
            no_response: Duration::from_millis(2_000),
            connections: 64,
            connections_per_source: 32,
            unproved: Duration::from_millis(1_500),
            trace_socket: Some(folder.join("trace.sock")),
            trace_bytes: 1_000_000,
            outgoing: Outgoing::ToNodes,
            address_realm: None,
        };
        let life = Life::detached("registrar", Clock::system());
        start(config.clone(), life.clone()).await.unwrap();
        let house = Self { redis, pool, life, config, sip, node, tenant, _folder: folder };
        house.wait_serving().await;
        house
    }

    /// Until the directory is known: before, everything is answered 503.
    pub(crate) async fn wait_serving(&self) {
        let phone = Phone::udp(self.sip).await;
        wait_until(LIMIT, "the directory is known", async || {
            let answer = phone.exchange(&phone.register_text("100", 1, "")).await?;
            (answer.status() == Some(401)).then_some(())
        })
        .await;
    }

    pub(crate) async fn stored(&self, user: &str) -> BTreeMap<String, String> {
        let mut cmd = redis::cmd("HGETALL");
        cmd.arg(keys::location(self.tenant, user));
        self.pool.run("test", Retry::Safe, &cmd).await.unwrap()
    }

    pub(crate) async fn stop(self) {
        assert!(self.life.stop(Duration::from_secs(10)).await, "the registrar drains");
    }
}

/// Where nobody listens.
fn nobody() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], free_port()))
}

fn compiled(tenant: TenantId) -> CompiledConfig {
    let hash = |algorithm: Algorithm, user: &str| algorithm.hash(&[user.as_bytes(), REALM.as_bytes(), b"secret"]);
    let credential = |user: &str| SipCredential {
        user: user.to_owned(),
        agent: AgentId::from_parts(1, &[1; 10]),
        ha1_md5: hash(Algorithm::Md5, user),
        ha1_sha256: hash(Algorithm::Sha256, user),
    };
    CompiledConfig {
        meta: ConfigMeta {
            tenant,
            name: "Test".parse().unwrap(),
            realm: REALM.to_owned(),
            version: 1,
            compiled_at_ms: TimestampMs(1),
            counts: BTreeMap::new(),
            outbound: Vec::new(),
        },
        skills: BTreeSet::new(),
        agents: BTreeMap::new(),
        queues: BTreeMap::new(),
        routes: BTreeMap::new(),
        trunks: BTreeMap::new(),
        credentials: ["100", "101"].map(|user| (user.to_owned(), credential(user))).into(),
    }
}

pub(crate) fn scenario(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios").join(name)
}

trait Bytes: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Bytes for S {}

enum Wire {
    Udp(UdpSocket),
    Stream(&'static str, tokio::sync::Mutex<Box<dyn Bytes>>),
    Web(&'static str, Box<tokio::sync::Mutex<WebSocketStream<Box<dyn Bytes>>>>),
}

/// One end of SIP: a phone, or an Asterisk node when it is bound to the node's address.
pub(crate) struct Phone {
    wire: Wire,
    pub(crate) address: SocketAddr,
    registrar: SocketAddr,
}

impl Phone {
    pub(crate) async fn udp(registrar: SocketAddr) -> Self {
        Self::udp_at("127.0.0.1:0".parse().unwrap(), registrar).await
    }

    pub(crate) async fn udp_at(address: SocketAddr, registrar: SocketAddr) -> Self {
        let socket = UdpSocket::bind(address).await.unwrap();
        let address = socket.local_addr().unwrap();
        Self { wire: Wire::Udp(socket), address, registrar }
    }

    /// One whose socket is connected: it hears nothing but what comes from exactly the address that it asks.
    pub(crate) async fn connected(registrar: SocketAddr) -> Self {
        Self::over(UdpSocket::bind("127.0.0.1:0").await.unwrap(), registrar).await
    }

    /// The same with this socket.
    pub(crate) async fn over(socket: UdpSocket, registrar: SocketAddr) -> Self {
        socket.connect(registrar).await.unwrap();
        let address = socket.local_addr().unwrap();
        Self { wire: Wire::Udp(socket), address, registrar }
    }

    pub(crate) async fn tcp(registrar: SocketAddr) -> Self {
        Self::over_stream(TcpStream::connect(registrar).await.unwrap(), registrar)
    }

    /// The same over this connection.
    pub(crate) fn over_stream(stream: TcpStream, registrar: SocketAddr) -> Self {
        let address = stream.local_addr().unwrap();
        Self { wire: Wire::Stream("TCP", tokio::sync::Mutex::new(Box::new(stream))), address, registrar }
    }

    /// Over TLS, whatever certificate is shown.
    pub(crate) async fn tls(house: &House) -> Self {
        let registrar = house.config.tls[0];
        let (stream, address) = encrypted(registrar).await;
        Self { wire: Wire::Stream("TLS", tokio::sync::Mutex::new(stream)), address, registrar }
    }

    /// A browser's phone, without encryption or with it.
    pub(crate) async fn web(house: &House, transport: &'static str) -> Self {
        let (stream, address, registrar): (Box<dyn Bytes>, _, _) = if transport == "WSS" {
            let (stream, address) = encrypted(house.config.wss[0]).await;
            (stream, address, house.config.wss[0])
        } else {
            let stream = TcpStream::connect(house.config.ws[0]).await.unwrap();
            let address = stream.local_addr().unwrap();
            (Box::new(stream), address, house.config.ws[0])
        };
        let mut request = format!("ws://{registrar}/").into_client_request().unwrap();
        request.headers_mut().insert("Sec-WebSocket-Protocol", "sip".parse().unwrap());
        let (socket, response) = tokio_tungstenite::client_async(request, stream).await.unwrap();
        assert_eq!(response.headers()["Sec-WebSocket-Protocol"], "sip");
        Self { wire: Wire::Web(transport, Box::new(tokio::sync::Mutex::new(socket))), address, registrar }
    }

    pub(crate) fn transport(&self) -> &'static str {
        match self.wire {
            Wire::Udp(_) => "UDP",
            Wire::Stream(transport, _) | Wire::Web(transport, _) => transport,
        }
    }

    pub(crate) async fn send(&self, bytes: &[u8]) {
        match &self.wire {
            Wire::Udp(socket) => {
                // One that is connected takes no address.
                let sent = match socket.peer_addr() {
                    Ok(_) => socket.send(bytes).await,
                    Err(_) => socket.send_to(bytes, self.registrar).await,
                };
                sent.unwrap();
            }
            Wire::Stream(_, stream) => {
                let mut stream = stream.lock().await;
                stream.write_all(bytes).await.unwrap();
                stream.flush().await.unwrap();
            }
            Wire::Web(_, socket) => {
                let text = String::from_utf8(bytes.to_vec()).unwrap();
                socket.lock().await.send(WebMessage::text(text)).await.unwrap();
            }
        }
    }

    /// The next message; none after the limit or at the end of the stream.
    pub(crate) async fn next_within(&self, limit: Duration) -> Option<Message> {
        let mut buffer = vec![0_u8; 65_536];
        let read = async {
            match &self.wire {
                Wire::Udp(socket) => socket.recv(&mut buffer).await.unwrap(),
                // Test traffic is one small message at a time, which loopback does not split.
                Wire::Stream(_, stream) => stream.lock().await.read(&mut buffer).await.unwrap(),
                Wire::Web(_, socket) => {
                    let message = socket.lock().await.next().await.unwrap().unwrap().into_data();
                    buffer[..message.len()].copy_from_slice(&message);
                    message.len()
                }
            }
        };
        let length = tokio::time::timeout(limit, read).await.ok()?;
        Message::read(&buffer[..length]).ok()
    }

    pub(crate) async fn next(&self) -> Message {
        self.next_within(LIMIT).await.expect("a message")
    }

    /// The next final response, provisional ones and repeated requests skipped.
    pub(crate) async fn final_response(&self) -> Message {
        loop {
            let message = self.next().await;
            if message.status().is_some_and(|status| status >= 200) {
                return message;
            }
        }
    }

    pub(crate) async fn exchange(&self, text: &str) -> Option<Message> {
        self.send(text.as_bytes()).await;
        self.next_within(Duration::from_secs(5)).await
    }

    pub(crate) fn register_text(&self, user: &str, cseq: u32, more: &str) -> String {
        let (transport, address) = (self.transport(), self.address);
        format!(
            "REGISTER sip:{REALM} SIP/2.0\r\nVia: SIP/2.0/{transport} {address};branch=z9hG4bK{}r{cseq};rport\r\n\
             Max-Forwards: 70\r\nFrom: <sip:{user}@{REALM}>;tag=a\r\nTo: <sip:{user}@{REALM}>\r\n\
             Call-ID: reg-{user}-{address}\r\nCSeq: {cseq} REGISTER\r\n\
             Contact: <sip:{user}@{address};transport={transport}>\r\n{more}Content-Length: 0\r\n\r\n",
            address.port()
        )
    }

    /// REGISTER with digest; the final response.
    pub(crate) async fn register(&self, user: &str, cseq: u32, algorithm: Algorithm) -> Message {
        self.register_with(user, cseq, algorithm, "").await
    }

    /// The same with more header lines.
    pub(crate) async fn register_with(&self, user: &str, cseq: u32, algorithm: Algorithm, more: &str) -> Message {
        let challenge = self.exchange(&self.register_text(user, cseq, more)).await.unwrap();
        assert_eq!(challenge.status(), Some(401), "{}", String::from_utf8_lossy(challenge.bytes()));
        let line = authorization(&challenge, algorithm, user, "REGISTER");
        self.exchange(&self.register_text(user, cseq + 1, &format!("{line}{more}"))).await.unwrap()
    }

    /// The same with this password.
    pub(crate) async fn register_as(&self, user: &str, cseq: u32, algorithm: Algorithm, password: &str) -> Message {
        let challenge = self.exchange(&self.register_text(user, cseq, "")).await.unwrap();
        let line = authorization_as(&challenge, algorithm, user, "REGISTER", password);
        self.exchange(&self.register_text(user, cseq + 1, &line)).await.unwrap()
    }

    /// REGISTER that only asks what is bound (RFC 3261 10.2.3).
    pub(crate) async fn query(&self, user: &str, algorithm: Algorithm) -> Message {
        let text = |cseq: u32, more: &str| {
            let text = self.register_text(user, cseq, more);
            text.split_inclusive("\r\n").filter(|line| !line.starts_with("Contact: ")).collect::<String>()
        };
        let cseq = u32::try_from(Clock::system().now().0 % 1_000_000_000).unwrap();
        let challenge = self.exchange(&text(cseq, "")).await.unwrap();
        let line = authorization(&challenge, algorithm, user, "REGISTER");
        self.exchange(&text(cseq + 1, &line)).await.unwrap()
    }

    pub(crate) async fn answer(&self, request: &Message, status: u16) {
        self.send(response_to(request, status, &format!("sip:100@{}", self.address)).as_bytes()).await;
    }
}

/// A client that takes any certificate: what it is called is not what these tests are about.
#[derive(Debug)]
struct AnyCertificate(Arc<rustls::crypto::CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, cert, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, cert, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

async fn encrypted(registrar: SocketAddr) -> (Box<dyn Bytes>, SocketAddr) {
    let stream = TcpStream::connect(registrar).await.unwrap();
    let address = stream.local_addr().unwrap();
    let (stream, _) = handshake(stream).await;
    (stream, address)
}

/// The stream, and the certificate that was shown.
async fn handshake(stream: TcpStream) -> (Box<dyn Bytes>, Vec<u8>) {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(Arc::clone(&provider));
    let config = builder
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
        .with_no_client_auth();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let stream = connector.connect(ServerName::try_from("rd.test").unwrap(), stream).await.unwrap();
    let shown = stream.get_ref().1.peer_certificates().unwrap()[0].to_vec();
    (Box::new(stream), shown)
}

/// The certificate that a port shows now.
pub(crate) async fn shown_certificate(registrar: SocketAddr) -> Vec<u8> {
    handshake(TcpStream::connect(registrar).await.unwrap()).await.1
}

/// Makes a certificate and its key.
pub(crate) async fn certify(folder: &std::path::Path) -> CertificateFiles {
    let files = CertificateFiles { certificate: folder.join("sip.crt"), key: folder.join("sip.key") };
    let done = tokio::process::Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"])
        .args(["-subj", "/CN=rd.test", "-keyout"])
        .arg(&files.key)
        .arg("-out")
        .arg(&files.certificate)
        .output()
        .await
        .unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    files
}

pub(crate) fn authorization(challenge: &Message, algorithm: Algorithm, user: &str, method: &str) -> String {
    authorization_as(challenge, algorithm, user, method, "secret")
}

fn authorization_as(challenge: &Message, algorithm: Algorithm, user: &str, method: &str, password: &str) -> String {
    let text = String::from_utf8_lossy(challenge.bytes()).into_owned();
    let wanted = format!("algorithm={}", algorithm.name());
    let line = text.lines().find(|line| line.contains(&wanted)).expect("the algorithm is offered");
    let nonce = line.split("nonce=\"").nth(1).unwrap().split('"').next().unwrap();
    let first = algorithm.hash(&[user.as_bytes(), REALM.as_bytes(), password.as_bytes()]);
    let second = algorithm.hash(&[method.as_bytes(), b"sip:rd.test"]);
    let parts = [first.as_bytes(), nonce.as_bytes(), b"00000001", b"cn", b"auth", second.as_bytes()];
    let response = algorithm.hash(&parts);
    let name = if challenge.status() == Some(401) { "Authorization" } else { "Proxy-Authorization" };
    format!(
        "{name}: Digest username=\"{user}\", realm=\"{REALM}\", nonce=\"{nonce}\", uri=\"sip:rd.test\", \
         response=\"{response}\", {wanted}, qop=auth, nc=00000001, cnonce=\"cn\"\r\n"
    )
}

/// A response as a phone makes it: all Via and Record-Route, tag on To, Contact.
pub(crate) fn response_to(request: &Message, status: u16, contact: &str) -> String {
    let mut text = format!("SIP/2.0 {status} Whatever\r\n");
    for field in request.fields() {
        let line = String::from_utf8_lossy(field.line.of(request.bytes())).into_owned();
        let copied = [FieldName::Via, FieldName::RecordRoute, FieldName::From, FieldName::CallId, FieldName::CSeq];
        if copied.contains(&field.name) {
            text.push_str(&line);
        } else if field.name == FieldName::To {
            text.push_str(line.trim_end());
            text.push_str(if line.contains(";tag=") { "\r\n" } else { ";tag=p1\r\n" });
        }
    }
    text.push_str(&format!("Contact: <{contact}>\r\nContent-Length: 0\r\n\r\n"));
    text
}

//! What the environment says.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use ringdown_env_config::{Reader, Secret, Url, shared};
use ringdown_registrar_core::digest::Algorithm;
use ringdown_registrar_core::edge::Outgoing;

use crate::certificates::CertificateFiles;
use crate::media::MediaPlace;

/// Start-up configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// UDP sockets for phones and Asterisk nodes.
    pub udp: Vec<SocketAddr>,
    /// TCP listeners for phones.
    pub tcp: Vec<SocketAddr>,
    /// TLS listeners for phones; opened where there is a certificate.
    pub tls: Vec<SocketAddr>,
    /// WebSocket listeners for browsers.
    pub ws: Vec<SocketAddr>,
    /// WebSocket listeners over TLS; opened where there is a certificate.
    pub wss: Vec<SocketAddr>,
    /// What TLS and WSS show.
    pub certificate: Option<CertificateFiles>,
    /// The rtpengines between browsers and Asterisk nodes.
    pub rtpengines: Vec<MediaPlace>,
    /// Load balancers that say by the PROXY protocol who is behind them.
    pub proxies: Vec<IpAddr>,
    /// The host that phones and nodes reach us by.
    pub advertise: Option<String>,
    /// The Asterisk nodes.
    pub nodes: Vec<SocketAddr>,
    /// Where Redis is.
    pub redis: Url,
    /// What nonces and route tokens are signed with.
    pub nonce_key: Option<Secret>,
    /// What digest offers, best first.
    pub algorithms: Vec<Algorithm>,
    /// How long an INVITE may stay without any response.
    pub no_response: Duration,
    /// Most TCP connections.
    pub connections: usize,
    /// Most of them from one source.
    pub connections_per_source: usize,
    /// How long one may stay before its phone has proved who it is.
    pub unproved: Duration,
    /// By which file messages are read; without one none are kept.
    pub trace_socket: Option<PathBuf>,
    /// Most memory for them, in bytes.
    pub trace_bytes: usize,
    /// What becomes of calls that phones make.
    pub outgoing: Outgoing,
    /// The realm that owns this host's addresses as SIP domains.
    pub address_realm: Option<String>,
}

const DIGESTS: &[(&str, &[Algorithm])] = &[
    ("sha-256,md5", &[Algorithm::Sha256, Algorithm::Md5]),
    ("md5,sha-256", &[Algorithm::Md5, Algorithm::Sha256]),
    ("md5", &[Algorithm::Md5]),
    ("sha-256", &[Algorithm::Sha256]),
];

const OUTGOING: &[(&str, Outgoing)] = &[("refuse", Outgoing::Refuse), ("asterisk", Outgoing::ToNodes)];

impl Config {
    /// Reads every variable, then puts the parts together, so that all faults are found in one pass.
    pub fn read(env: &mut Reader) -> Option<Self> {
        let udp = env
            .socket_addresses("RINGDOWN_REGISTRAR_UDP_LISTEN")
            .default("0.0.0.0:5060")
            .about("Where SIP over UDP is received. Asterisk nodes are sent to from the first one.")
            .read();
        let tcp = env
            .socket_addresses("RINGDOWN_REGISTRAR_TCP_LISTEN")
            .default("0.0.0.0:5060")
            .about("Where SIP over TCP is received.")
            .read();
        let tls = env
            .socket_addresses("RINGDOWN_REGISTRAR_TLS_LISTEN")
            .default("0.0.0.0:5061")
            .about("Where SIP over TLS is received. Opened only with a certificate.")
            .read();
        let ws = env
            .socket_addresses("RINGDOWN_REGISTRAR_WS_LISTEN")
            .default("0.0.0.0:8088")
            .about("Where browsers' phones connect by WebSocket without TLS: for browsers on this host, or behind something that ends TLS.")
            .read();
        let wss = env
            .socket_addresses("RINGDOWN_REGISTRAR_WSS_LISTEN")
            .default("0.0.0.0:8089")
            .about("Where browsers' phones connect by WebSocket over TLS. Opened only with a certificate.")
            .read();
        let certificate = env
            .path("RINGDOWN_REGISTRAR_TLS_CERTIFICATE")
            .about("The certificate for TLS and WSS: a PEM file, the chain behind it. Read again when it changes. Unset: neither port is opened.")
            .optional();
        let key = env
            .path("RINGDOWN_REGISTRAR_TLS_KEY")
            .about("The certificate's private key: a PEM file. Read again when it changes.")
            .optional();
        let proxies = env
            .parsed("RINGDOWN_REGISTRAR_TRUSTED_PROXIES", "IP addresses separated by commas, at most 64", parse_addresses)
            .about("Load balancers in front of the TCP, TLS and WebSocket ports. They must send the PROXY protocol (version 1 or 2); nobody else may.")
            .optional();
        let rtpengines = env
            .parsed("RINGDOWN_RTPENGINE_URLS", "URLs like udp://127.0.0.1:2223?weight=2, separated by commas, at most 64", parse_rtpengines)
            .default("udp://127.0.0.1:2223")
            .about("The ng ports of the rtpengines that connect browsers' phones with Asterisk, with their parts of the calls (weight 0 to 1000, usually 1; 0: only when no other answers).")
            .read();
        let advertise = env
            .parsed("RINGDOWN_REGISTRAR_ADVERTISE", "an address or host name without port", parse_host)
            .about("The host in our Via and Record-Route: phones and Asterisk must reach it. The address of the listener, or of the route to the world when that is 0.0.0.0.")
            .optional();
        let nodes = env
            .socket_addresses("RINGDOWN_ASTERISK_SIP")
            .default("127.0.0.1:5070")
            .about("The Asterisk nodes by address and port. What comes from exactly there is trusted; phones' calls go there in turn.")
            .read();
        let nonce_key = env
            .secret("RINGDOWN_SIP_NONCE_KEY")
            .about("Signs digest nonces and dialog routes; the same for all registrars. Random when unset: then calls in progress lose their way back at a restart.")
            .optional();
        let algorithms = env
            .choice("RINGDOWN_SIP_DIGEST", DIGESTS)
            .default("sha-256,md5")
            .about("The digest algorithms phones are offered, in this order. sipp needs MD5 first. Old baresip (before 2.0) is offered MD5 alone by itself.")
            .read();
        let no_response = env
            .duration_ms("RINGDOWN_REGISTRAR_NO_RESPONSE_MS", 500..=32_000)
            .default(2_000)
            .about("How long a phone may leave an INVITE without any response before it counts as gone (408).")
            .read();
        let connections = env
            .number("RINGDOWN_REGISTRAR_CONNECTIONS", 1..=100_000_usize)
            .default(10_000)
            .about(
                "Most connections at once (TCP, TLS, WebSocket). When all are in use, the oldest that has not authenticated makes room.",
            )
            .read();
        let connections_per_source = env
            .number("RINGDOWN_REGISTRAR_CONNECTIONS_PER_SOURCE", 1..=100_000_usize)
            .default(1_000)
            .about("Most connections from one address: more than the phones of the largest office behind one router.")
            .read();
        let trace_socket = env
            .path("RINGDOWN_REGISTRAR_TRACE_SOCKET")
            .about("A socket's file by which `ringdown sip trace` reads the messages of the last hour. Unset: none are kept.")
            .optional();
        let trace_bytes = env
            .number("RINGDOWN_REGISTRAR_TRACE_BYTES", 65_536..=1_073_741_824_usize)
            .default(33_554_432)
            .about("Most memory for these messages, in bytes; the oldest go first.")
            .read();
        let unproved = env
            .duration_ms("RINGDOWN_REGISTRAR_UNAUTHENTICATED_MS", 1_000..=60_000)
            .default(10_000)
            .about("How long a connection may stay open before its phone has authenticated.")
            .read();
        let outgoing = env
            .choice("RINGDOWN_REGISTRAR_OUTGOING", OUTGOING)
            .default("refuse")
            .about("What becomes of calls that phones make: refused with 403, or sent to an Asterisk whose dial plan takes them.")
            .read();
        let address_realm = env
            .parsed("RINGDOWN_REGISTRAR_ADDRESS_REALM", "a SIP realm", parse_host)
            .about("The realm of phones that are set to this host's address instead of a domain. Unset: such phones are refused.")
            .optional();
        let redis = shared::redis_url(env);
        let certificate = match (certificate?, key?) {
            (Some(certificate), Some(key)) => Some(CertificateFiles { certificate, key }),
            (None, None) => None,
            (Some(_), None) => {
                env.fault("RINGDOWN_REGISTRAR_TLS_KEY", "must be set too where RINGDOWN_REGISTRAR_TLS_CERTIFICATE is");
                return None;
            }
            (None, Some(_)) => {
                env.fault("RINGDOWN_REGISTRAR_TLS_CERTIFICATE", "must be set too where RINGDOWN_REGISTRAR_TLS_KEY is");
                return None;
            }
        };
        Some(Self {
            udp: udp?,
            tcp: tcp?,
            tls: tls?,
            ws: ws?,
            wss: wss?,
            certificate,
            proxies: proxies?.unwrap_or_default(),
            rtpengines: rtpengines?,
            advertise: advertise?,
            nodes: nodes?,
            redis: redis?,
            nonce_key: nonce_key?,
            algorithms: algorithms?.to_vec(),
            no_response: no_response?,
            connections: connections?,
            connections_per_source: connections_per_source?,
            unproved: unproved?,
            trace_socket: trace_socket?,
            trace_bytes: trace_bytes?,
            outgoing: outgoing?,
            address_realm: address_realm?,
        })
    }
}

fn parse_host(text: &str) -> Result<String, String> {
    if let Ok(address) = text.parse::<std::net::Ipv6Addr>() {
        return Ok(format!("[{address}]"));
    }
    let sound = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-');
    let fits = (1..=255).contains(&text.len()) && text.bytes().all(sound);
    if fits { Ok(text.to_ascii_lowercase()) } else { Err("is not such a host".to_owned()) }
}

fn parse_addresses(text: &str) -> Result<Vec<IpAddr>, String> {
    let addresses: Result<Vec<IpAddr>, _> = text.split(',').map(|part| part.trim().parse()).collect();
    match addresses {
        Ok(addresses) if addresses.len() <= 64 => Ok(addresses),
        Ok(_) => Err("has too many addresses".to_owned()),
        Err(_) => Err("has a part that is no IP address".to_owned()),
    }
}

fn parse_rtpengines(text: &str) -> Result<Vec<MediaPlace>, String> {
    let places: Option<Vec<MediaPlace>> = text.split(',').map(|part| parse_rtpengine(part.trim())).collect();
    match places {
        Some(places) if places.len() <= 64 => Ok(places),
        Some(_) => Err("has too many URLs".to_owned()),
        None => Err("has a part that is no such URL".to_owned()),
    }
}

fn parse_rtpengine(text: &str) -> Option<MediaPlace> {
    let rest = text.strip_prefix("udp://")?;
    let (address, weight) = match rest.split_once("?weight=") {
        Some((address, weight)) => (address, weight.parse().ok().filter(|weight| *weight <= 1_000)?),
        None => (rest, 1),
    };
    Some(MediaPlace { address: address.trim_end_matches('/').parse().ok()?, weight })
}

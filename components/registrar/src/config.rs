//! What the environment says.

use std::net::SocketAddr;
use std::time::Duration;

use ringdown_env_config::{Reader, Secret, Url, shared};
use ringdown_registrar_core::digest::Algorithm;

/// Start-up configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// UDP sockets for phones and Asterisk nodes.
    pub udp: Vec<SocketAddr>,
    /// TCP listeners for phones.
    pub tcp: Vec<SocketAddr>,
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
}

const DIGESTS: &[(&str, &[Algorithm])] = &[
    ("sha-256,md5", &[Algorithm::Sha256, Algorithm::Md5]),
    ("md5,sha-256", &[Algorithm::Md5, Algorithm::Sha256]),
    ("md5", &[Algorithm::Md5]),
    ("sha-256", &[Algorithm::Sha256]),
];

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
            .about("The digest algorithms phones are offered, in this order. sipp needs MD5 first; old baresip (1.x) needs MD5 alone.")
            .read();
        let no_response = env
            .duration_ms("RINGDOWN_REGISTRAR_NO_RESPONSE_MS", 500..=32_000)
            .default(2_000)
            .about("How long a phone may leave an INVITE without any response before it counts as gone (408).")
            .read();
        let connections = env
            .number("RINGDOWN_REGISTRAR_CONNECTIONS", 1..=100_000_usize)
            .default(10_000)
            .about("Most TCP connections at once; a further one is closed at once.")
            .read();
        let redis = shared::redis_url(env);
        Some(Self {
            udp: udp?,
            tcp: tcp?,
            advertise: advertise?,
            nodes: nodes?,
            redis: redis?,
            nonce_key: nonce_key?,
            algorithms: algorithms?.to_vec(),
            no_response: no_response?,
            connections: connections?,
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

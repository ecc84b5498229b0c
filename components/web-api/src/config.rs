//! The environment of web-api: one definition of each variable, from which the parser, the `--help` table and the packaged file come.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ringdown_env_config::{Reader, Secret, Url, shared};

use crate::quotas::Quotas;

/// What web-api is told at start.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where PostgreSQL is.
    pub postgres: Url,
    /// Where Redis is.
    pub redis: Url,
    /// Where the API, health and metrics are served.
    pub listen: SocketAddr,
    /// How long a log-in lasts.
    pub session_ttl: Duration,
    /// Peers whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpAddr>,
    /// How long a write waits for the routers to take the new configuration.
    pub apply_wait: Duration,
    /// How much one tenant may take.
    pub quotas: Quotas,
    /// Where recordings are kept.
    pub objects: ringdown_object_files::Settings,
    /// Where clients reach the notifier.
    pub websocket_url: String,
    /// Where browsers' phones reach the registrar, best first.
    pub phone_urls: Vec<String>,
    /// The first administrator's password, for `init-admin`.
    pub admin_password: Option<Secret>,
}

impl Config {
    /// Asks for every variable, then puts the parts together, so that all faults are found in one pass.
    pub fn read(env: &mut Reader) -> Option<Self> {
        let postgres = shared::postgres_url(env);
        let redis = shared::redis_url(env);
        let listen = env
            .socket_address("RINGDOWN_WEB_API_LISTEN")
            .default("127.0.0.1:8000")
            .about(
                "Where the API, /livez, /readyz and /metrics are served. The default serves this host only; \
                 0.0.0.0:8000 opens it to the network, which belongs behind TLS (HAProxy).",
            )
            .read();
        let session_ttl = env
            .duration_ms("RINGDOWN_SESSION_TTL_MS", 60_000..=2_592_000_000)
            // A shift with overtime: nobody has to log in twice a day.
            .default(43_200_000)
            .about("How long a log-in lasts.")
            .read();
        let trusted_proxies = env
            .parsed("RINGDOWN_WEB_API_TRUSTED_PROXIES", "IP addresses separated by commas, at most 64", parse_addresses)
            .about("Proxies whose X-Forwarded-For is believed when log-in attempts are counted per source; none when unset.")
            .optional();
        let apply_wait = env
            .duration_ms("RINGDOWN_WEB_API_APPLY_WAIT_MS", 0..=10_000)
            // Longer than a compile of a large tenant, shorter than a person's patience.
            .default(2_000)
            .about("How long a change of configuration waits until the router has taken it, before it answers `Ringdown-Config-Applied: false`.")
            .read();
        let quotas = Quotas::read(env);
        let websocket_url = env
            .client_url("RINGDOWN_WEB_API_WEBSOCKET_URL", &["ws", "wss"])
            .default("ws://127.0.0.1:8001/ws")
            .about("Where clients reach the notifier's WebSocket, as `GET /api/v1/websocket` tells them.")
            .read();
        let objects = ringdown_object_files::read(env);
        let phone_urls = env
            .client_urls("RINGDOWN_WEB_API_PHONE_URLS", &["wss", "ws"])
            .default("ws://127.0.0.1:8088")
            .about("Where browsers' phones reach the registrar's WebSockets, best first; told with their credentials.")
            .read();
        let admin_password = env
            .secret("RINGDOWN_ADMIN_PASSWORD")
            .about("The first administrator's password; read by `ringdown-web-api init-admin` only.")
            .optional();
        Some(Self {
            postgres: postgres?,
            redis: redis?,
            listen: listen?,
            session_ttl: session_ttl?,
            trusted_proxies: trusted_proxies?.unwrap_or_default(),
            apply_wait: apply_wait?,
            quotas: quotas?,
            websocket_url: websocket_url?,
            objects: objects?,
            phone_urls: phone_urls?,
            admin_password: admin_password?,
        })
    }
}

fn parse_addresses(text: &str) -> Result<Vec<IpAddr>, String> {
    let addresses: Result<Vec<IpAddr>, _> = text.split(',').map(|part| part.trim().parse()).collect();
    match addresses {
        Ok(addresses) if addresses.len() <= 64 => Ok(addresses),
        Ok(_) => Err("has too many addresses".to_owned()),
        Err(_) => Err("has a part that is no IP address".to_owned()),
    }
}

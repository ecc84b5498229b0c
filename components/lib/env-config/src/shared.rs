//! Variables that several daemons have, defined once so that their texts and defaults agree.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::{Reader, Url};

/// `RINGDOWN_REDIS_URL` with `RINGDOWN_REDIS_PASSWORD` put in: where Redis is.
pub fn redis_url(env: &mut Reader) -> Option<Url> {
    let url = env
        .url("RINGDOWN_REDIS_URL", &["redis", "unix", "redis+unix", "redis+sentinel"])
        .default("redis://127.0.0.1:6379/0")
        .about(
            "Where Redis is. Where Sentinels elect its master, they are named: \
             redis+sentinel://10.0.0.1:26379,10.0.0.2:26379,10.0.0.3:26379/ringdown/0.",
        )
        .read();
    let password =
        env.secret("RINGDOWN_REDIS_PASSWORD").about("Redis' password, when it is not in the URL.").optional();
    join_password(env, "RINGDOWN_REDIS_PASSWORD", url?, password?)
}

/// `RINGDOWN_POSTGRES_URL` with `RINGDOWN_POSTGRES_PASSWORD` put in: where PostgreSQL is.
pub fn postgres_url(env: &mut Reader) -> Option<Url> {
    let url = env
        .url("RINGDOWN_POSTGRES_URL", &["postgres", "postgresql"])
        .default("postgres://ringdown@127.0.0.1:5432/ringdown")
        .about(
            "Where PostgreSQL is, with the database's name. Several hosts are separated by commas; with \
             ?target_session_attrs=read-write the one that takes writes is found.",
        )
        .read();
    let password =
        env.secret("RINGDOWN_POSTGRES_PASSWORD").about("PostgreSQL's password, when it is not in the URL.").optional();
    join_password(env, "RINGDOWN_POSTGRES_PASSWORD", url?, password?)
}

/// `RINGDOWN_LOG_LEVEL`: from which level log lines are written.
pub fn log_level(env: &mut Reader) -> Option<&'static str> {
    env.choice(
        "RINGDOWN_LOG_LEVEL",
        &[("error", "error"), ("warn", "warn"), ("info", "info"), ("debug", "debug"), ("trace", "trace")],
    )
    .default("info")
    .about("From which level log lines are written. Below info they contain people's numbers and names.")
    .read()
}

/// `RINGDOWN_DRAIN_MS`: how long a daemon may take to finish its work after SIGTERM.
pub fn drain_limit(env: &mut Reader) -> Option<Duration> {
    env.duration_ms("RINGDOWN_DRAIN_MS", 0..=600_000)
        .default(10_000)
        .about("How long work in progress may take to end after SIGTERM; then it is cut off.")
        .read()
}

/// `RINGDOWN_DRAIN_FILE`: the mark by which an operator takes this host out of work.
pub fn drain_file(env: &mut Reader) -> Option<PathBuf> {
    env.path("RINGDOWN_DRAIN_FILE")
        .default("/run/ringdown/drain")
        .about("While this file is there, this host takes no new work (`ringdown host drain`).")
        .read()
}

/// `RINGDOWN_NODE_NAME`: this host's name in leases and status. Unset means the host's own name, which the caller knows.
pub fn node_name(env: &mut Reader) -> Option<Option<String>> {
    env.parsed("RINGDOWN_NODE_NAME", "a name of 1 to 63 letters, digits, dots, hyphens or underscores", |text| {
        let sound = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        let fits = (1..=63).contains(&text.len()) && text.bytes().all(sound);
        if fits { Ok(text.to_owned()) } else { Err("is not such a name".into()) }
    })
    .about("This host's name in leases and status; the host name when unset.")
    .optional()
}

/// Which side opens the websocket that carries ARI's events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AriWebsocket {
    /// Asterisk, to the ACD; it queues what happens while the ACD is away. Asterisk 22.
    Outbound,
    /// The ACD, to Asterisk; what happens while it is away is found by listing. Any Asterisk from 20.
    Inbound,
}

/// `RINGDOWN_ARI_WEBSOCKET`: the same for the ACD's voice duty and for the provisioner that renders its Asterisk.
pub fn ari_websocket(env: &mut Reader) -> Option<AriWebsocket> {
    env.choice("RINGDOWN_ARI_WEBSOCKET", &[("outbound", AriWebsocket::Outbound), ("inbound", AriWebsocket::Inbound)])
        .default("outbound")
        .about(
            "Who opens the websocket for ARI's events, as Asterisk sees it: outbound (Asterisk 22, loses nothing while \
             the ACD is away) or inbound (older ones). The same on acd and provisioner.",
        )
        .read()
}

/// `RINGDOWN_ADMIN_ADDRESS`: where health and metrics are served; `port` is the daemon's own default on loopback.
pub fn admin_address(env: &mut Reader, port: u16) -> Option<SocketAddr> {
    env.socket_address("RINGDOWN_ADMIN_ADDRESS")
        .default(SocketAddr::from(([127, 0, 0, 1], port)))
        .about("Where /livez, /readyz and /metrics are served, without log-in: keep it inside.")
        .read()
}

fn join_password(env: &mut Reader, name: &str, url: Url, password: Option<crate::Secret>) -> Option<Url> {
    match password {
        None => Some(url),
        Some(_) if url.has_password() => {
            env.fault(name, "is set although the URL already has a password; set one");
            None
        }
        Some(_) if url.hosts().is_empty() => {
            env.fault(
                name,
                "is set although the URL is a path, which has no place for it; put it into the URL's query",
            );
            None
        }
        Some(password) => Some(url.with_password(&password)),
    }
}

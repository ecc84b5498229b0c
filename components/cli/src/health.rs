//! How a part is: what it answers now. Every question has a limit of 2 s.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::Context;
use redis::aio::MultiplexedConnection;
use ringdown_env_config::{Secret, Url};
use ringdown_redis_store::RedisOptions;
use serde::{Deserialize, Serialize};
use tokio::net::TcpStream;

use crate::appliance::{Appliance, Unit};
use crate::installation::{Installation, PortName, SecretName};
use crate::supervise;

const LIMIT: Duration = Duration::from_secs(2);

/// Of a part that does not say why.
pub(crate) const NOT_READY: &str = "is not ready";
/// What a drained daemon waits for.
const DRAINED: &str = "host";

/// The parts of an installation, in the order of their start.
pub(crate) const PARTS: [&str; 8] =
    ["redis", "postgres", "web-api", "provisioner", "asterisk", "acd", "registrar", "notifier"];

/// How a part is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Health {
    /// Whether it does its work.
    pub(crate) ready: bool,
    /// What it waits for, or why it cannot be asked.
    pub(crate) says: String,
    /// Its version.
    pub(crate) version: Option<String>,
    /// The operator keeps new work away from it; it does the work it has.
    pub(crate) drained: bool,
}

impl Health {
    fn ready(version: Option<String>) -> Self {
        Self { ready: true, says: "ready".to_owned(), version, drained: false }
    }

    fn not(says: impl Into<String>) -> Self {
        Self { ready: false, says: says.into(), version: None, drained: false }
    }
}

/// Asks a component of a host that was set up by packages.
pub(crate) async fn ask_component(appliance: &Appliance, component: &str) -> Health {
    if component == "keepalived" {
        // It speaks with its peers only.
        return match Unit::of(component).await {
            Ok(unit) if unit.state == "active" => Health::ready(None),
            Ok(unit) => Health::not(unit.state),
            Err(error) => Health::not(format!("{error:#}")),
        };
    }
    let address = match appliance.address_of(component) {
        Ok(address) => address,
        Err(error) => return Health::not(format!("{error:#}")),
    };
    match component {
        "redis" => redis_health(redis_of_appliance(appliance, &format!("redis://{address}/0")).await).await,
        "postgresql" if supervise::postgres::answers(address.port()).await => Health::ready(None),
        "asterisk" | "monitoring" if connects(address).await => Health::ready(None),
        "postgresql" | "asterisk" | "monitoring" => Health::not("does not answer"),
        "nats" => nats_health(address).await,
        "rtpengine" => match rtpengine_pongs(address).await {
            Ok(true) => Health::ready(None),
            Ok(false) => Health::not("answers, and not with a pong"),
            Err(error) => Health::not(format!("{error:#}")),
        },
        _ => daemon_health(address).await,
    }
}

/// The Redis at `url`, or the master that Sentinels elected; with the password this host has.
pub(crate) async fn redis_of_appliance(appliance: &Appliance, url: &str) -> anyhow::Result<MultiplexedConnection> {
    let schemes = ["redis", "redis+unix", "unix", "redis+sentinel"];
    let mut url = Url::parse(url, &schemes).map_err(|fault| anyhow::anyhow!("RINGDOWN_REDIS_URL {fault}"))?;
    if let Some(password) = appliance.secret("REDIS_PASSWORD")?.filter(|_| !url.hosts().is_empty()) {
        url = url.with_password(&Secret::new(password));
    }
    open(RedisOptions::from_url(url.expose())?.locate().await?).await
}

/// Asks a part of an installation on this host.
pub(crate) async fn ask(installation: &Installation, part: &str) -> Health {
    let ports = installation.ports();
    match part {
        "redis" => redis_health(redis(installation).await).await,
        "postgres" if supervise::postgres::answers(ports.of(PortName::Postgres)).await => Health::ready(None),
        "postgres" => Health::not("does not answer"),
        "asterisk" => match connects(ports.loopback(PortName::AsteriskHttp)).await {
            true => Health::ready(None),
            false => Health::not("does not answer"),
        },
        daemon => match admin_port(daemon) {
            Some(port) => daemon_health(ports.loopback(port)).await,
            None => Health::not("is no part"),
        },
    }
}

/// Where a daemon serves its health.
pub(crate) fn admin_port(daemon: &str) -> Option<PortName> {
    match daemon {
        "web-api" => Some(PortName::WebApi),
        "notifier" => Some(PortName::Notifier),
        "acd" => Some(PortName::AcdAdmin),
        "registrar" => Some(PortName::RegistrarAdmin),
        "provisioner" => Some(PortName::ProvisionerAdmin),
        _ => None,
    }
}

/// What a daemon answers when it is asked whether it is ready.
#[derive(Deserialize)]
pub(crate) struct Ready {
    /// Its name.
    #[serde(default)]
    pub(crate) daemon: String,
    #[serde(default)]
    waiting: Vec<Waiting>,
}

impl Ready {
    /// What it waits for, and why; none when it names nothing.
    pub(crate) fn waits(&self) -> Option<String> {
        let parts: Vec<_> = self.waiting.iter().map(|one| format!("{} ({})", one.part, one.why)).collect();
        (!parts.is_empty()).then(|| format!("waits for {}", parts.join(", ")))
    }
}

#[derive(Deserialize)]
struct Waiting {
    #[serde(rename = "for")]
    part: String,
    why: String,
}

/// Asks a daemon's admin port.
pub(crate) async fn daemon_health(address: SocketAddr) -> Health {
    let Ok(client) = reqwest::Client::builder().timeout(LIMIT).no_proxy().build() else {
        return Health::not("cannot be asked");
    };
    let answer = match client.get(format!("http://{address}/readyz")).send().await {
        Ok(answer) => answer,
        Err(error) if error.is_connect() => return Health::not("does not listen"),
        Err(error) if error.is_timeout() => return Health::not("does not answer"),
        Err(error) => return Health::not(error.to_string()),
    };
    let version = version(&client, address).await;
    if answer.status().is_success() {
        return Health::ready(version);
    }
    let says = match answer.json::<Ready>().await {
        // Nothing but the operator's mark: it is as it should be.
        Ok(ready) if !ready.waiting.is_empty() && ready.waiting.iter().all(|one| one.part == DRAINED) => {
            return Health { ready: true, says: "ready, drained".to_owned(), version, drained: true };
        }
        Ok(ready) => ready.waits().unwrap_or_else(|| NOT_READY.to_owned()),
        Err(_) => NOT_READY.to_owned(),
    };
    Health { ready: false, says, version, drained: false }
}

/// From the metric `build_info{daemon="acd",version="0.1.0"} 1`, whatever its prefix.
async fn version(client: &reqwest::Client, address: SocketAddr) -> Option<String> {
    let text = client.get(format!("http://{address}/metrics")).send().await.ok()?.text().await.ok()?;
    let line = text.lines().find(|line| line.contains("build_info{"))?;
    let (_, rest) = line.split_once("version=\"")?;
    rest.split('"').next().map(str::to_owned)
}

/// Numbers from the metrics of a daemon as of one instant, whatever their prefix; none when it does not say all of them.
pub(crate) async fn figures<const N: usize>(address: SocketAddr, names: [&str; N]) -> Option<[u64; N]> {
    let client = reqwest::Client::builder().timeout(LIMIT).no_proxy().build().ok()?;
    let text = client.get(format!("http://{address}/metrics")).send().await.ok()?.text().await.ok()?;
    let mut figures = [0; N];
    for (figure, name) in figures.iter_mut().zip(names) {
        *figure = figure_in(&text, name)?;
    }
    Some(figures)
}

fn figure_in(metrics: &str, name: &str) -> Option<u64> {
    let of =
        |line: &str| line.split_once(' ').filter(|(left, _)| left.ends_with(name)).map(|(_, value)| value.to_owned());
    metrics.lines().filter(|line| !line.starts_with('#')).find_map(of)?.trim().parse().ok()
}

/// Whether a part is one of our daemons, which can be drained.
pub(crate) fn is_daemon(part: &str) -> bool {
    admin_port(part).is_some()
}

/// NATS' own word of its health.
async fn nats_health(address: SocketAddr) -> Health {
    let Ok(client) = reqwest::Client::builder().timeout(LIMIT).no_proxy().build() else {
        return Health::not("cannot be asked");
    };
    match client.get(format!("http://{address}/healthz")).send().await {
        Ok(answer) if answer.status().is_success() => Health::ready(None),
        Ok(answer) => Health::not(format!("answers {}", answer.status())),
        Err(error) if error.is_connect() => Health::not("does not listen"),
        Err(error) if error.is_timeout() => Health::not("does not answer"),
        Err(error) => Health::not(error.to_string()),
    }
}

/// Whether rtpengine answers a ping of its control protocol: a cookie, and a dictionary in bencode.
async fn rtpengine_pongs(address: SocketAddr) -> anyhow::Result<bool> {
    const PING: &[u8] = b"status d7:command4:pinge";
    const PONG: &[u8] = b"status d6:result4:ponge";
    let socket = tokio::net::UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).await.context("opening a socket")?;
    socket.connect(address).await.context("opening a socket")?;
    socket.send(PING).await.context("does not listen")?;
    let mut answer = [0; 512];
    match tokio::time::timeout(LIMIT, socket.recv(&mut answer)).await {
        Ok(Ok(length)) => Ok(answer.get(..length) == Some(PONG)),
        Ok(Err(error)) => Err(error).context("does not listen"),
        Err(_) => anyhow::bail!("does not answer"),
    }
}

async fn connects(address: SocketAddr) -> bool {
    matches!(tokio::time::timeout(LIMIT, TcpStream::connect(address)).await, Ok(Ok(_)))
}

/// The installation's Redis.
pub(crate) async fn redis(installation: &Installation) -> anyhow::Result<MultiplexedConnection> {
    let password = installation.secrets().read(SecretName::RedisPassword)?.unwrap_or_default();
    let address = installation.ports().loopback(PortName::Redis);
    redis_at(address.ip(), address.port(), &password).await
}

async fn redis_at(ip: IpAddr, port: u16, password: &str) -> anyhow::Result<MultiplexedConnection> {
    open(redis::Client::open(format!("redis://:{password}@{ip}:{port}/0"))?).await
}

async fn open(client: redis::Client) -> anyhow::Result<MultiplexedConnection> {
    let opened = tokio::time::timeout(LIMIT, client.get_multiplexed_async_connection()).await;
    Ok(opened.map_err(|_| anyhow::anyhow!("does not answer"))??)
}

async fn redis_health(opened: anyhow::Result<MultiplexedConnection>) -> Health {
    let mut connection = match opened {
        Ok(connection) => connection,
        Err(error) => return Health::not(error.to_string()),
    };
    let asked: Result<Result<String, _>, _> =
        tokio::time::timeout(LIMIT, redis::cmd("INFO").arg("server").query_async(&mut connection)).await;
    match asked {
        Ok(Ok(text)) => {
            let version = text.lines().find_map(|line| line.strip_prefix("redis_version:"));
            Health::ready(version.map(|version| version.trim().to_owned()))
        }
        Ok(Err(error)) => Health::not(error.to_string()),
        Err(_) => Health::not("does not answer"),
    }
}

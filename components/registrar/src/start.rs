//! Opens the ports and starts the tasks.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr, UdpSocket as StdUdpSocket};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use anyhow::Context;
use ringdown_redis_store::{RedisOptions, RedisPool, StoreMetrics};
use ringdown_registrar_core::digest::NonceKey;
use ringdown_registrar_core::edge::{Edge, HostPort, MAX_TRANSACTIONS, Settings};
use ringdown_service::{Life, entropy};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::Config;
use crate::directory::Follower;
use crate::driver::{Driver, INBOX};
use crate::metrics::RegistrarMetrics;
use crate::others::Others;
use crate::slots::Slots;
use crate::sockets::SipSocket;
use crate::store::Store;
use crate::tcp::{self, Connections};
use crate::udp;

/// Binds every listener, then starts the driver, the readers, the store and the configuration watch.
pub async fn start(config: Config, life: Life) -> anyhow::Result<()> {
    let mut sockets = Vec::new();
    for address in &config.udp {
        let socket = life.bind_udp("RINGDOWN_REGISTRAR_UDP_LISTEN", *address).await?;
        sockets.push(Arc::new(SipSocket::new(socket).context("asking for the addresses that datagrams reach")?));
    }
    let mut listeners = Vec::new();
    for address in &config.tcp {
        listeners.push(life.bind_tcp("RINGDOWN_REGISTRAR_TCP_LISTEN", *address).await?);
    }
    let settings = settings(&config, &sockets, &listeners, &life)?;
    let holder = settings.holder.clone();
    let edge = Edge::new(settings);
    let metrics = RegistrarMetrics::default();
    metrics.register(life.metrics());
    let pool = redis_pool(&config, &life)?;

    let (inbox, inputs) = mpsc::channel(INBOX);
    let store = Store::start(&pool, &inbox, &holder, &life);
    let follower = Follower::new(pool.clone(), inbox.clone(), &life);
    let others = Others::new(pool, store.clone(), holder, follower.tenants(), &life);
    life.spawn("other-registrars", others.follow());
    life.spawn("configuration", follower.follow());
    for (number, socket) in (0_u64..).zip(&sockets) {
        life.spawn(
            "sip-udp",
            udp::Reader {
                number,
                socket: Arc::clone(socket),
                inbox: inbox.clone(),
                metrics: metrics.clone(),
                nodes: config.nodes.clone(),
            }
            .read(),
        );
    }
    let connections = Connections {
        inbox,
        metrics: metrics.clone(),
        slots: Slots::new(config.connections, config.connections_per_source),
        unproved_limit: config.unproved,
        numbers: Arc::new(AtomicU64::new(1)),
        life: life.clone(),
    };
    for listener in listeners {
        life.spawn("sip-tcp-listener", tcp::accept(listener, connections.clone()));
    }
    let driver = Driver::new(edge, sockets, connections.slots.clone(), store, metrics, &life);
    life.spawn("sip", driver.drive(inputs));
    Ok(())
}

fn redis_pool(config: &Config, life: &Life) -> anyhow::Result<RedisPool> {
    let mut options = RedisOptions::from_url(config.redis.expose()).context("RINGDOWN_REDIS_URL")?;
    // A phone waits for its registration: better a quick 503 than a slow 200.
    options.connect_limit = Duration::from_millis(500);
    options.max_connections = 32;
    let metrics = StoreMetrics::default();
    life.metrics().with(|registry| metrics.register(registry));
    Ok(RedisPool::new(options, metrics))
}

fn settings(
    config: &Config,
    sockets: &[Arc<SipSocket>],
    listeners: &[TcpListener],
    life: &Life,
) -> anyhow::Result<Settings> {
    let udp = sockets.iter().map(|socket| socket.bound()).collect::<Vec<_>>();
    let tcp = listeners.iter().map(TcpListener::local_addr).collect::<Result<Vec<_>, _>>()?;
    let all = || udp.iter().chain(&tcp).copied();
    let place = |address: SocketAddr| HostPort {
        host: config.advertise.clone().unwrap_or_else(|| written(reachable_address(address.ip()))),
        port: address.port(),
    };
    let aliases: BTreeSet<HostPort> = all()
        .flat_map(|address| [place(address), HostPort { host: written(address.ip()), port: address.port() }])
        .collect();
    let any_address_ports =
        all().filter(|address| address.ip().is_unspecified()).map(|address| address.port()).collect();
    let boot = u64::from_be_bytes(entropy::bytes());
    Ok(Settings {
        advertise: config.advertise.clone(),
        udp: udp.iter().copied().map(place).collect(),
        tcp: tcp.first().copied().map(place),
        aliases,
        any_address_ports,
        nodes: config.nodes.clone(),
        holder: format!("{}/{boot:016x}", life.node().as_str()),
        no_response_ms: u64::try_from(config.no_response.as_millis()).unwrap_or(2_000),
        algorithms: config.algorithms.clone(),
        key: config
            .nonce_key
            .as_ref()
            .map_or_else(|| NonceKey::new(entropy::bytes()), |key| NonceKey::from_secret(key.expose())),
        outgoing: config.outgoing,
        address_realm: config.address_realm.clone(),
        transactions: MAX_TRANSACTIONS,
        seed: entropy::bytes(),
    })
}

/// The listener's address, or when it listens everywhere, the one that a packet to the world would have. Nothing is sent.
fn reachable_address(listening: IpAddr) -> IpAddr {
    if !listening.is_unspecified() {
        return listening;
    }
    let (any, world) = match listening {
        IpAddr::V4(_) => ("0.0.0.0:0", "192.0.2.1:9"),
        IpAddr::V6(_) => ("[::]:0", "[2001:db8::1]:9"),
    };
    let probe = || {
        let socket = StdUdpSocket::bind(any)?;
        socket.connect(world)?;
        socket.local_addr()
    };
    probe().map_or_else(
        |error: std::io::Error| {
            log::info!(error:% = error; "this host has no route to the world; advertising loopback");
            IpAddr::from([127, 0, 0, 1])
        },
        |address| address.ip(),
    )
}

fn written(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    }
}

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
use ringdown_registrar_core::flow::Transport;
use ringdown_service::{Life, entropy};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::Config;
use crate::certificates::{CertificateFiles, CertificateKeeper, Certificates};
use crate::directory::Follower;
use crate::driver::{Driver, INBOX, Surroundings};
use crate::media::Media;
use crate::metrics::RegistrarMetrics;
use crate::others::Others;
use crate::short_lived::ShortLivedFollower;
use crate::slots::Slots;
use crate::sockets::SipSocket;
use crate::store::Store;
use crate::streams::{self, Connections};
use crate::trace::{Door, Trace};
use crate::udp;

/// Binds every listener, then starts the driver, the readers, the store and the configuration watch.
pub async fn start(config: Config, life: Life) -> anyhow::Result<()> {
    let mut sockets = Vec::new();
    for address in &config.udp {
        let socket = life.bind_udp("RINGDOWN_REGISTRAR_UDP_LISTEN", *address).await?;
        sockets.push(Arc::new(SipSocket::new(socket).context("asking for the addresses that datagrams reach")?));
    }
    let listeners = listeners(&config, &life).await?;
    let settings = settings(&config, &sockets, &listeners, &life)?;
    let holder = settings.holder.clone();
    let edge = Edge::new(settings);
    let metrics = RegistrarMetrics::default();
    metrics.register(life.metrics());
    let pool = redis_pool(&config, &life)?;

    let (inbox, inputs) = mpsc::channel(INBOX);
    let store = Store::start(&pool, &inbox, &holder, &life);
    let follower = Follower::new(pool.clone(), inbox.clone(), &life);
    let short_lived = ShortLivedFollower::new(pool.clone(), inbox.clone(), follower.tenants(), &life);
    life.spawn("browsers-credentials", short_lived.follow());
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
    let media = Media::start(&config.rtpengines, &inbox, &life).await.context("opening sockets for rtpengine")?;
    let connections = Connections {
        inbox,
        metrics: metrics.clone(),
        slots: Slots::new(config.connections, config.connections_per_source),
        unproved_limit: config.unproved,
        proxies: config.proxies.clone(),
        certificates: config.certificate.clone().map(|files| certificates(files, &life)),
        numbers: Arc::new(AtomicU64::new(1)),
        life: life.clone(),
    };
    for (transport, listener) in listeners {
        life.spawn("sip-listener", streams::accept(listener, transport, connections.clone()));
    }
    let trace = trace(&config, &life)?;
    let surroundings = Surroundings { slots: connections.slots.clone(), store, media, trace, metrics };
    let driver = Driver::new(edge, sockets, surroundings, &life);
    life.spawn("sip", driver.drive(inputs));
    Ok(())
}

/// Messages are kept where somebody can read them.
fn trace(config: &Config, life: &Life) -> anyhow::Result<Trace> {
    let Some(path) = &config.trace_socket else { return Ok(Trace::new(0)) };
    let trace = Trace::new(config.trace_bytes);
    let door = Door::open(path, trace.clone(), life.shutdown()).context("RINGDOWN_REGISTRAR_TRACE_SOCKET")?;
    life.spawn("trace", door.answer());
    Ok(trace)
}

/// Opens the ports of all kinds of streams.
async fn listeners(config: &Config, life: &Life) -> anyhow::Result<Vec<(Transport, TcpListener)>> {
    let plain = [
        (Transport::Tcp, "RINGDOWN_REGISTRAR_TCP_LISTEN", &config.tcp),
        (Transport::Ws, "RINGDOWN_REGISTRAR_WS_LISTEN", &config.ws),
    ];
    let encrypted = [
        (Transport::Tls, "RINGDOWN_REGISTRAR_TLS_LISTEN", &config.tls),
        (Transport::Wss, "RINGDOWN_REGISTRAR_WSS_LISTEN", &config.wss),
    ];
    let encrypted = encrypted.into_iter().filter(|_| config.certificate.is_some());
    let mut listeners = Vec::new();
    for (transport, variable, addresses) in plain.into_iter().chain(encrypted) {
        for address in addresses {
            listeners.push((transport, life.bind_tcp(variable, *address).await?));
        }
    }
    Ok(listeners)
}

fn certificates(files: CertificateFiles, life: &Life) -> Certificates {
    let (keeper, certificates) = CertificateKeeper::new(files);
    life.spawn("certificates", keeper.follow(life.shutdown()));
    certificates
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
    listeners: &[(Transport, TcpListener)],
    life: &Life,
) -> anyhow::Result<Settings> {
    let udp = sockets.iter().map(|socket| socket.bound()).collect::<Vec<_>>();
    let bound = |(transport, listener): &(Transport, TcpListener)| Ok((*transport, listener.local_addr()?));
    let streams = listeners.iter().map(bound).collect::<std::io::Result<Vec<_>>>()?;
    let all = || udp.iter().copied().chain(streams.iter().map(|(_, address)| *address));
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
        // The first of each kind: a map keeps the last.
        streams: streams.iter().rev().map(|(transport, address)| (*transport, place(*address))).collect(),
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

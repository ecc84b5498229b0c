//! What the environment says to the voice duty.

use std::net::SocketAddr;
use std::time::Duration;

use ringdown_domain::NodeId;
use ringdown_env_config::shared::{self, AriWebsocket};
use ringdown_env_config::{Reader, Secret, Url};
use ringdown_redis_store::DEFAULT_LEASE_TTL;

/// What the duty is told at start.
#[derive(Clone, Debug)]
pub struct Config {
    /// The media node's name, as the provisioner renders it.
    pub node: NodeId,
    /// Where ARI's REST interface is, as `http://127.0.0.1:7088/ari`.
    pub ari: Url,
    /// ARI's user, and what Asterisk shows to us.
    pub user: String,
    /// ARI's password, and what Asterisk shows to us.
    pub password: Secret,
    /// Where Asterisk's websocket arrives; none: this process opens it.
    pub listen: Option<SocketAddr>,
    /// How long the node's lease lives without renewal.
    pub lease_ttl: Duration,
    /// Where recordings are kept.
    pub objects: ringdown_object_files::Settings,
}

impl Config {
    /// Reads the duty's variables; none when `needed` is false, or when there are faults (collected in `env`).
    pub fn read(env: &mut Reader, needed: bool) -> Option<Option<Self>> {
        let node = env
            .parsed("RINGDOWN_VOICE_NODE", "a name of 1 to 63 letters, digits, dots, hyphens or underscores", |text| {
                text.parse::<NodeId>().map_err(|error| error.to_string())
            })
            .about("The media node (Asterisk host) whose calls this process controls; unset: RINGDOWN_NODE_NAME.")
            .optional();
        let ari = env
            .url("RINGDOWN_ARI_URL", &["http"])
            .default("http://127.0.0.1:7088/ari")
            .about("Where the node's ARI is.")
            .read();
        let user = env.text("RINGDOWN_ARI_USER").default("ringdown").about("ARI's user.").read();
        let password = env
            .secret("RINGDOWN_ARI_PASSWORD")
            .about("ARI's password, which Asterisk also shows to us; needed by the duty voice.")
            .optional();
        let listen = env
            .socket_address("RINGDOWN_ACD_ARI_LISTEN")
            .default("127.0.0.1:8012")
            .about("Where Asterisk's websocket arrives (/ari).")
            .read();
        let websocket = shared::ari_websocket(env);
        let objects = ringdown_object_files::read(env);
        let (node, password) = (node?, password?);
        if !needed {
            return Some(None);
        }
        let Some(password) = password else {
            env.fault("RINGDOWN_ARI_PASSWORD", "is not set, and the duty voice needs it (RINGDOWN_ACD_DUTIES)");
            return None;
        };
        let node = match node {
            Some(node) => node,
            None => host(env)?,
        };
        let listen = (websocket? == AriWebsocket::Outbound).then_some(listen?);
        Some(Some(Self {
            node,
            ari: ari?,
            user: user?,
            password,
            listen,
            lease_ttl: DEFAULT_LEASE_TTL,
            objects: objects?,
        }))
    }
}

/// The node's name when none is given: this host's, as the provisioner on it uses.
fn host(env: &mut Reader) -> Option<NodeId> {
    let given = shared::node_name(env)?;
    let host = given.or_else(|| std::fs::read_to_string("/proc/sys/kernel/hostname").ok());
    let node = host.and_then(|name| name.trim().parse().ok());
    if node.is_none() {
        env.fault("RINGDOWN_VOICE_NODE", "is not set, and the host has no usable name of its own");
    }
    node
}

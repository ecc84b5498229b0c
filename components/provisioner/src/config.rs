//! What the environment says.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ringdown_env_config::shared::AriWebsocket;
use ringdown_env_config::{Reader, Secret, Url, shared};

/// Start-up configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where status, health and metrics are served.
    pub listen: SocketAddr,
    /// Where Redis is.
    pub redis: Url,
    /// Where PostgreSQL is; only the duty `compile` uses it.
    pub postgres: Url,
    /// What this process does.
    pub duties: Duties,
    /// The timer behind the nudges.
    pub look_every: Duration,
    /// How long a replaced version stays.
    pub keep_old: Duration,
    /// This host's Asterisk; only the duty `render` needs it.
    pub asterisk: Option<AsteriskConfig>,
}

/// What a provisioner does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Duties {
    /// PostgreSQL to Redis.
    pub compile: bool,
    /// Redis to Asterisk's files.
    pub render: bool,
}

/// This host's Asterisk.
#[derive(Clone, Debug)]
pub struct AsteriskConfig {
    /// The instance's folder as we see it.
    pub folder: PathBuf,
    /// The same folder as Asterisk sees it.
    pub inside: String,
    /// The folder of Asterisk's modules as Asterisk sees it.
    pub modules: String,
    /// Where Asterisk speaks SIP.
    pub sip: SocketAddr,
    /// The registrar.
    pub registrar: SocketAddr,
    /// Where ARI answers.
    pub http: SocketAddr,
    /// Where the ACD waits for Asterisk's websocket; none: the ACD opens it.
    pub acd: Option<Url>,
    /// ARI's user.
    pub ari_user: String,
    /// ARI's password.
    pub ari_password: Secret,
    /// First and last RTP port.
    pub rtp_ports: (u16, u16),
}

impl Config {
    /// Reads every variable, then puts the parts together, so that all faults are found in one pass.
    pub fn read(env: &mut Reader) -> Option<Self> {
        let listen = env
            .socket_address("RINGDOWN_PROVISIONER_LISTEN")
            .default("127.0.0.1:8004")
            .about("Where status, health and metrics are served, without log-in: keep it inside.")
            .read();
        let redis = shared::redis_url(env);
        let postgres = shared::postgres_url(env);
        let duties = env
            .choice("RINGDOWN_PROVISIONER_DUTIES", &[("both", DUTIES[0]), ("compile", DUTIES[1]), ("render", DUTIES[2])])
            .default("both")
            .about("What this process does: compile (PostgreSQL to Redis), render (Redis to this host's Asterisk), or both.")
            .read();
        let look_every = env
            .duration_ms("RINGDOWN_PROVISIONER_LOOK_MS", 100..=600_000)
            .default(5_000)
            .about("How often everything is looked at without being asked to; a change is taken at once by its nudge.")
            .read();
        let keep_old = env
            .duration_ms("RINGDOWN_PROVISIONER_KEEP_MS", 1_000..=2_592_000_000)
            .default(86_400_000)
            .about("How long a replaced version stays in Redis, to be rolled back to.")
            .read();
        let asterisk = AsteriskConfig::read(env, duties.is_some_and(|duties| duties.render));
        Some(Self {
            listen: listen?,
            redis: redis?,
            postgres: postgres?,
            duties: duties?,
            look_every: look_every?,
            keep_old: keep_old?,
            asterisk: asterisk?,
        })
    }
}

const DUTIES: [Duties; 3] = [
    Duties { compile: true, render: true },
    Duties { compile: true, render: false },
    Duties { compile: false, render: true },
];

impl AsteriskConfig {
    fn read(env: &mut Reader, needed: bool) -> Option<Option<Self>> {
        let folder = env
            .path("RINGDOWN_ASTERISK_DIR")
            .default("/var/lib/ringdown/asterisk")
            .about("The folder of this host's Asterisk instance: its configuration, run and spool folders.")
            .read();
        let inside = env
            .text("RINGDOWN_ASTERISK_INSIDE_DIR")
            .about("The same folder as Asterisk sees it, when it runs in a root of its own (/srv); unset: the same.")
            .optional();
        let modules = env
            .text("RINGDOWN_ASTERISK_MODULES")
            .default("/usr/lib/x86_64-linux-gnu/asterisk/modules")
            .about("The folder of Asterisk's modules, as Asterisk sees it.")
            .read();
        let sip = env
            .socket_address("RINGDOWN_ASTERISK_SIP_LISTEN")
            .default("127.0.0.1:5070")
            .about("Where Asterisk speaks SIP over UDP with trunks and the registrar; its own address, not 0.0.0.0, behind NAT.")
            .read();
        let registrar = env
            .socket_address("RINGDOWN_REGISTRAR_SIP")
            .default("127.0.0.1:5060")
            .about("The registrar through which Asterisk reaches agents' phones.")
            .read();
        let http = env
            .socket_address("RINGDOWN_ASTERISK_HTTP_LISTEN")
            .default("127.0.0.1:7088")
            .about("Where Asterisk serves ARI.")
            .read();
        let acd = env
            .url("RINGDOWN_ACD_ARI_URL", &["ws"])
            .default("ws://127.0.0.1:8012/ari")
            .about("Where the ACD waits for Asterisk's websocket.")
            .read();
        let websocket = shared::ari_websocket(env);
        let ari_user = env.text("RINGDOWN_ARI_USER").default("ringdown").about("ARI's user.").read();
        let ari_password = env
            .secret("RINGDOWN_ARI_PASSWORD")
            .about("ARI's password, 16 or more of A-Z a-z 0-9 _ -; needed by the duty render.")
            .optional();
        let rtp_first = env
            .number("RINGDOWN_ASTERISK_RTP_FIRST", 1_024..=65_000_u16)
            .default(16_384)
            .about("First RTP port, even.")
            .read();
        let rtp_last = env
            .number("RINGDOWN_ASTERISK_RTP_LAST", 1_044..=65_535_u16)
            .default(32_767)
            .about("Last RTP port; a call takes four.")
            .read();
        let password = ari_password?;
        if !needed {
            return Some(None);
        }
        let Some(ari_password) = password else {
            env.fault("RINGDOWN_ARI_PASSWORD", "is not set, and the duty render needs it");
            return None;
        };
        let folder = folder?;
        let inside = inside?.unwrap_or_else(|| folder.display().to_string());
        Some(Some(Self {
            folder,
            inside,
            modules: modules?,
            sip: sip?,
            registrar: registrar?,
            http: http?,
            acd: (websocket? == AriWebsocket::Outbound).then_some(acd?),
            ari_user: ari_user?,
            ari_password,
            rtp_ports: (rtp_first?, rtp_last?),
        }))
    }
}

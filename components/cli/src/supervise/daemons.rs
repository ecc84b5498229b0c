//! Our daemons with their environment.

use std::ffi::OsString;
use std::path::Path;

use anyhow::bail;

use crate::installation::{Installation, PortName, RTP_BLOCK, SecretName};

use super::asterisk::AsteriskPlace;
use super::child::{Child, Stage};

/// Ours: what an operator sets in the environment of `ringdown up` reaches the daemons, except what `up` decides.
const NOT_PASSED_ON: [&str; 6] = [
    "RINGDOWN_DATA_DIR",
    "RINGDOWN_BIN_DIR",
    "RINGDOWN_ASTERISK_ROOT",
    "RINGDOWN_CACHE_DIR",
    "RINGDOWN_SIM_TRUNK",
    "RINGDOWN_SIM_REGISTRAR",
];

/// Describes all of them.
pub(super) fn describe(
    installation: &Installation,
    programs: &Path,
    asterisk: Option<&AsteriskPlace>,
) -> anyhow::Result<Vec<Child>> {
    let daemons = [
        web_api(installation, programs)?,
        provisioner(installation, programs, asterisk)?,
        acd(installation, programs, asterisk.is_some())?,
        registrar(installation, programs)?,
        notifier(installation, programs)?,
    ];
    Ok(daemons.into())
}

fn daemon(installation: &Installation, programs: &Path, name: &str, stage: Stage) -> anyhow::Result<Child> {
    let program = programs.join(format!("ringdown-{name}"));
    if !program.is_file() {
        bail!("{} is missing; build it (cargo build --workspace) or name its folder by --bin-dir", program.display());
    }
    let ours = |name: &str| name.starts_with("RINGDOWN_") && !NOT_PASSED_ON.contains(&name);
    let passed = std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value)));
    let child = Child::new(name, stage, program);
    let child = passed.filter(|(name, _)| ours(name)).fold(child, |child, (name, value)| child.env(name, value));
    let secrets = installation.secrets();
    secrets.make(SecretName::RedisPassword)?;
    Ok(child
        .env("RINGDOWN_NODE_NAME", installation.node())
        .env("RINGDOWN_REDIS_URL", format!("redis://{}/0", installation.ports().loopback(PortName::Redis)))
        .env("RINGDOWN_REDIS_PASSWORD_FILE", secrets.path(SecretName::RedisPassword)))
}

/// The variables of a part that uses PostgreSQL.
pub(crate) fn postgres_variables(installation: &Installation) -> anyhow::Result<[(&'static str, OsString); 2]> {
    let secrets = installation.secrets();
    secrets.make(SecretName::PostgresPassword)?;
    let url = format!("postgres://ringdown@{}/ringdown", installation.ports().loopback(PortName::Postgres));
    let password = secrets.path(SecretName::PostgresPassword).into_os_string();
    Ok([("RINGDOWN_POSTGRES_URL", url.into()), ("RINGDOWN_POSTGRES_PASSWORD_FILE", password)])
}

fn web_api(installation: &Installation, programs: &Path) -> anyhow::Result<Child> {
    let child = daemon(installation, programs, "web-api", Stage::Edge)?;
    let child =
        postgres_variables(installation)?.into_iter().fold(child, |child, (name, value)| child.env(name, value));
    let notifier = installation.ports().loopback(PortName::Notifier);
    let phones =
        |scheme: &str, host: &str, name: PortName| format!("{scheme}://{host}:{}", installation.ports().of(name));
    let address = installation.address().to_string();
    let phones = [phones("wss", &address, PortName::SipWss), phones("ws", "127.0.0.1", PortName::SipWs)].join(",");
    Ok(child
        .env("RINGDOWN_OBJECT_STORE", objects(installation))
        .env("RINGDOWN_WEB_API_PHONE_URLS", phones)
        .env("RINGDOWN_WEB_API_LISTEN", installation.ports().loopback(PortName::WebApi).to_string())
        .env("RINGDOWN_WEB_API_WEBSOCKET_URL", format!("ws://{notifier}/ws")))
}

/// Where recordings are kept.
fn objects(installation: &Installation) -> String {
    format!("file://{}", installation.join("objects").display())
}

fn notifier(installation: &Installation, programs: &Path) -> anyhow::Result<Child> {
    let child = daemon(installation, programs, "notifier", Stage::Edge)?;
    Ok(child.env("RINGDOWN_NOTIFIER_LISTEN", installation.ports().loopback(PortName::Notifier).to_string()))
}

fn acd(installation: &Installation, programs: &Path, voice: bool) -> anyhow::Result<Child> {
    let ports = installation.ports();
    installation.secrets().make(SecretName::AriPassword)?;
    let child = daemon(installation, programs, "acd", Stage::Work)?;
    Ok(child
        .env("RINGDOWN_OBJECT_STORE", objects(installation))
        .env("RINGDOWN_ACD_DUTIES", if voice { "router,voice" } else { "router" })
        .env("RINGDOWN_ADMIN_ADDRESS", ports.loopback(PortName::AcdAdmin).to_string())
        .env("RINGDOWN_ACD_ARI_LISTEN", ports.loopback(PortName::AcdAri).to_string())
        .env("RINGDOWN_ARI_URL", format!("http://{}/ari", ports.loopback(PortName::AsteriskHttp)))
        .env("RINGDOWN_ARI_PASSWORD_FILE", installation.secrets().path(SecretName::AriPassword)))
}

fn registrar(installation: &Installation, programs: &Path) -> anyhow::Result<Child> {
    let ports = installation.ports();
    installation.secrets().make(SecretName::SipNonceKey)?;
    let everywhere = format!("0.0.0.0:{}", ports.of(PortName::Sip));
    let at = |name: PortName| format!("0.0.0.0:{}", ports.of(name));
    let certificate = installation.certificate()?;
    let folder = installation.join("registrar");
    std::fs::create_dir_all(&folder)?;
    let child = daemon(installation, programs, "registrar", Stage::Work)?;
    Ok(child
        .env("RINGDOWN_REGISTRAR_TRACE_SOCKET", folder.join("trace.sock"))
        .env("RINGDOWN_RTPENGINE_URLS", format!("udp://{}", ports.loopback(PortName::Rtpengine)))
        .env("RINGDOWN_REGISTRAR_TLS_LISTEN", at(PortName::SipTls))
        .env("RINGDOWN_REGISTRAR_WS_LISTEN", at(PortName::SipWs))
        .env("RINGDOWN_REGISTRAR_WSS_LISTEN", at(PortName::SipWss))
        .env("RINGDOWN_REGISTRAR_TLS_CERTIFICATE", certificate.certificate)
        .env("RINGDOWN_REGISTRAR_TLS_KEY", certificate.key)
        .env("RINGDOWN_ADMIN_ADDRESS", ports.loopback(PortName::RegistrarAdmin).to_string())
        .env("RINGDOWN_REGISTRAR_UDP_LISTEN", &everywhere)
        .env("RINGDOWN_REGISTRAR_TCP_LISTEN", &everywhere)
        .env("RINGDOWN_REGISTRAR_ADVERTISE", installation.address().to_string())
        .env("RINGDOWN_ASTERISK_SIP", installation.public(PortName::AsteriskSip).to_string())
        .env("RINGDOWN_SIP_NONCE_KEY_FILE", installation.secrets().path(SecretName::SipNonceKey)))
}

fn provisioner(
    installation: &Installation,
    programs: &Path,
    asterisk: Option<&AsteriskPlace>,
) -> anyhow::Result<Child> {
    let ports = installation.ports();
    installation.secrets().make(SecretName::AriPassword)?;
    let child = daemon(installation, programs, "provisioner", Stage::Edge)?;
    let child =
        postgres_variables(installation)?.into_iter().fold(child, |child, (name, value)| child.env(name, value));
    let child = child.env("RINGDOWN_PROVISIONER_LISTEN", ports.loopback(PortName::ProvisionerAdmin).to_string());
    let Some(asterisk) = asterisk else {
        return Ok(child.env("RINGDOWN_PROVISIONER_DUTIES", "compile"));
    };
    let first = ports.of(PortName::Rtp);
    Ok(child
        .env("RINGDOWN_ASTERISK_DIR", asterisk.outside())
        .env("RINGDOWN_ASTERISK_INSIDE_DIR", asterisk.inside())
        .env("RINGDOWN_ASTERISK_MODULES", asterisk.modules()?)
        .env("RINGDOWN_ASTERISK_SIP_LISTEN", installation.public(PortName::AsteriskSip).to_string())
        .env("RINGDOWN_ASTERISK_HTTP_LISTEN", ports.loopback(PortName::AsteriskHttp).to_string())
        .env("RINGDOWN_REGISTRAR_SIP", installation.public(PortName::Sip).to_string())
        .env("RINGDOWN_ACD_ARI_URL", format!("ws://{}/ari", ports.loopback(PortName::AcdAri)))
        .env("RINGDOWN_ARI_PASSWORD_FILE", installation.secrets().path(SecretName::AriPassword))
        .env("RINGDOWN_ASTERISK_RTP_FIRST", first.to_string())
        .env("RINGDOWN_ASTERISK_RTP_LAST", (first + RTP_BLOCK - 1).to_string()))
}

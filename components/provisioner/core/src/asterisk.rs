//! Asterisk's files: everything an instance needs, as texts, from its settings and all tenants' trunks.
//!
//! The instance loads a short list of modules, answers calls of known trunks only, hands every call to the ACD's Stasis
//! application and keeps trying for five seconds while nobody listens there (then the carrier gets 503 and goes another
//! way). Names of hosts are never looked up on the way of a call: addresses only, and the two names Asterisk looks up by
//! itself stand in the hosts file.

mod music;
mod sources;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, UndefinedBehavior, context};
use ringdown_domain::{NodeId, TrunkId};
use ringdown_events::TrunkConfig;
use serde::Serialize;

pub use music::hold_music;
pub use sources::{Admission, Fault, Network, admit};

/// What an instance is told beside its trunks.
#[derive(Clone, Debug, Serialize)]
pub struct Settings {
    /// The media node's name; the host name Asterisk sees.
    pub node: NodeId,
    /// The instance's folder as Asterisk sees it: absolute, of `A-Z a-z 0-9 / . _ -`.
    pub folder: String,
    /// The folder of Asterisk's modules.
    pub modules: String,
    /// Where SIP over UDP is spoken.
    pub sip: SocketAddr,
    /// The registrar through which agents' phones are reached.
    pub registrar: SocketAddr,
    /// Where ARI answers.
    pub http: SocketAddr,
    /// Where the ACD waits for this node's websocket, as `ws://127.0.0.1:8012/ari`; none: the ACD opens it.
    pub acd_url: Option<String>,
    /// ARI's user: 1 to 64 of `A-Z a-z 0-9 _ -`.
    pub ari_user: String,
    /// ARI's password, and what the node shows to the ACD: 16 to 128 of `A-Z a-z 0-9 _ -`.
    pub ari_password: String,
    /// First and last RTP port.
    pub rtp_ports: (u16, u16),
}

/// Why files cannot be rendered.
#[derive(Debug, thiserror::Error)]
pub enum RenderError {
    /// A setting would break out of its line.
    #[error("{field} must be {accepted}")]
    Setting {
        /// Which.
        field: &'static str,
        /// What is accepted.
        accepted: &'static str,
    },
    /// Two trunks claim the same source, so a call could not be told apart.
    #[error("trunks {first} and {second} both have the source {source_text}")]
    SourceClaimedTwice {
        /// One.
        first: TrunkId,
        /// The other.
        second: TrunkId,
        /// What both claim.
        source_text: String,
    },
    /// A template is wrong; a fault of ours.
    #[error("template {name}: {source}")]
    Template {
        /// Which.
        name: &'static str,
        /// What.
        source: minijinja::Error,
    },
}

/// The templates by the name of the file they make, and the module that reads the file again.
const TEMPLATES: [(&str, &str, Option<&str>); 21] = [
    ("etc/acl.conf", include_str!("asterisk/templates/acl.conf"), None),
    ("etc/amd.conf", include_str!("asterisk/templates/amd.conf"), None),
    ("etc/ari.conf", include_str!("asterisk/templates/ari.conf"), Some("res_ari.so")),
    ("etc/asterisk.conf", include_str!("asterisk/templates/asterisk.conf"), None),
    ("etc/ccss.conf", include_str!("asterisk/templates/empty.conf"), None),
    ("etc/cdr.conf", include_str!("asterisk/templates/quiet.conf"), None),
    ("etc/cel.conf", include_str!("asterisk/templates/quiet.conf"), None),
    ("etc/extensions.conf", include_str!("asterisk/templates/extensions.conf"), Some("pbx_config.so")),
    ("etc/features.conf", include_str!("asterisk/templates/empty.conf"), None),
    ("etc/http.conf", include_str!("asterisk/templates/http.conf"), None),
    ("etc/indications.conf", include_str!("asterisk/templates/indications.conf"), None),
    ("etc/logger.conf", include_str!("asterisk/templates/logger.conf"), None),
    ("etc/manager.conf", include_str!("asterisk/templates/manager.conf"), None),
    ("etc/modules.conf", include_str!("asterisk/templates/modules.conf"), None),
    ("etc/musiconhold.conf", include_str!("asterisk/templates/musiconhold.conf"), Some("res_musiconhold.so")),
    ("etc/pjproject.conf", include_str!("asterisk/templates/pjproject.conf"), None),
    ("etc/pjsip.conf", include_str!("asterisk/templates/pjsip.conf"), Some("res_pjsip.so")),
    ("etc/rtp.conf", include_str!("asterisk/templates/rtp.conf"), None),
    ("etc/udptl.conf", include_str!("asterisk/templates/empty.conf"), None),
    (
        "etc/websocket_client.conf",
        include_str!("asterisk/templates/websocket_client.conf"),
        Some("res_websocket_client.so"),
    ),
    ("hosts", include_str!("asterisk/templates/hosts"), None),
];

/// Folders an instance needs inside its own.
pub const FOLDERS: [&str; 10] =
    ["etc", "lib", "lib/keys", "log", "moh", "run", "spool", "spool/monitor", "spool/outgoing", "spool/recording"];

/// The module to reload when a file changed; none: the file is read at the start only.
#[must_use]
pub fn reloads(file: &str) -> Option<&'static str> {
    TEMPLATES.iter().find(|(name, _, _)| *name == file).and_then(|(_, _, module)| *module)
}

/// Renders every file of an instance, by its path below the instance's folder.
///
/// # Errors
/// A setting that cannot stand in a file, or trunks that cannot be told apart.
pub fn render(settings: &Settings, trunks: &[TrunkConfig]) -> Result<BTreeMap<&'static str, String>, RenderError> {
    check_settings(settings)?;
    let trunks = sorted(trunks)?;
    let mut environment = Environment::new();
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_syntax(line_syntax());
    let context = context! {
        s => Serde(settings),
        trunks => Serde(&trunks),
        http_host => settings.http.ip().to_string(),
        http_port => settings.http.port(),
    };
    let mut files = BTreeMap::new();
    for (name, template, _) in TEMPLATES {
        let text =
            environment.render_str(template, &context).map_err(|source| RenderError::Template { name, source })?;
        files.insert(name, text);
    }
    Ok(files)
}

/// Statements stand on lines of their own, which leave no trace.
fn line_syntax() -> SyntaxConfig {
    SyntaxConfig::builder()
        .trim_blocks(true)
        .lstrip_blocks(true)
        .keep_trailing_newline(true)
        .build()
        .expect("the usual delimiters are accepted")
}

/// The trunks by id, once it is certain that no source is claimed twice: [`admit`] left those out. A network and an address
/// inside it are told apart by Asterisk, which takes the longer match of what it lists first; equal texts are not.
fn sorted(trunks: &[TrunkConfig]) -> Result<Vec<&TrunkConfig>, RenderError> {
    let mut sorted: Vec<&TrunkConfig> = trunks.iter().collect();
    sorted.sort_by_key(|trunk| trunk.id);
    let mut owners: BTreeMap<&str, TrunkId> = BTreeMap::new();
    for trunk in &sorted {
        for source in trunk.sources.iter().map(String::as_str).collect::<BTreeSet<_>>() {
            if let Some(first) = owners.insert(source, trunk.id) {
                let source_text = source.to_owned();
                return Err(RenderError::SourceClaimedTwice { first, second: trunk.id, source_text });
            }
        }
    }
    Ok(sorted)
}

/// Nothing that is put into a file may end its line, begin a comment or open a section.
fn check_settings(settings: &Settings) -> Result<(), RenderError> {
    let path = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-".contains(&byte);
    let word = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
    let url = |byte: u8| byte.is_ascii_alphanumeric() || b":/.[]_-".contains(&byte);
    let all =
        |text: &str, allowed: &dyn Fn(u8) -> bool| !text.is_empty() && text.len() <= 1_024 && text.bytes().all(allowed);
    let checks: [(&'static str, bool, &'static str); 7] = [
        (
            "folder",
            settings.folder.starts_with('/') && all(&settings.folder, &path),
            "an absolute path of A-Z a-z 0-9 / . _ -",
        ),
        (
            "modules",
            settings.modules.starts_with('/') && all(&settings.modules, &path),
            "an absolute path of A-Z a-z 0-9 / . _ -",
        ),
        (
            "acd_url",
            settings.acd_url.as_ref().is_none_or(|text| text.starts_with("ws://") && all(text, &url)),
            "ws://host:port/path",
        ),
        ("ari_user", all(&settings.ari_user, &word), "1 or more of A-Z a-z 0-9 _ -"),
        (
            "ari_password",
            settings.ari_password.len() >= 16 && all(&settings.ari_password, &word),
            "16 or more of A-Z a-z 0-9 _ -",
        ),
        ("rtp_ports", is_range(settings.rtp_ports), "two ports, the first even and at least 1024, at least 20 apart"),
        ("sip", usable(settings.sip.ip()), "an address that others can reach, not a multicast one"),
    ];
    match checks.into_iter().find(|(_, sound, _)| !sound) {
        Some((field, _, accepted)) => Err(RenderError::Setting { field, accepted }),
        None => Ok(()),
    }
}

const fn is_range((first, last): (u16, u16)) -> bool {
    first >= 1_024 && first.is_multiple_of(2) && last > first && last - first >= 20
}

const fn usable(address: IpAddr) -> bool {
    !address.is_multicast()
}

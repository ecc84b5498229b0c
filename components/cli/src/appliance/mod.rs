//! A host that was set up by packages and first boot: systemd runs its parts, and `/etc/ringdown` says what they are.
//!
//! ```text
//! /etc/ringdown/operator.env         RINGDOWN_COMPONENTS, RINGDOWN_ADVERTISE, RINGDOWN_API_URL; the other hosts
//!               ringdown.env         what all daemons of the host read
//!               <component>.env      what one reads after it
//!               secrets/<NAME>       root's
//! ```
//! Nothing here writes, except the operator's token and the administrator's password, which is forgotten once it was shown.

mod unit;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use crate::arguments::Place;

pub(crate) use unit::Unit;

const FOLDER: &str = "/etc/ringdown";
/// The components `status` knows how to ask, in the order of their start.
const ASKED: [&str; 13] = [
    "redis",
    "postgresql",
    "nats",
    "rtpengine",
    "web-api",
    "provisioner",
    "asterisk",
    "acd",
    "registrar",
    "notifier",
    "haproxy",
    "keepalived",
    "monitoring",
];

/// Endings of files of settings.
const SETTINGS: [&str; 6] = ["env", "conf", "cfg", "nft", "json", "yml"];
/// Those of servers that keep to their own folders.
const BESIDE: [&str; 2] = ["/etc/haproxy/haproxy.cfg", "/etc/keepalived/keepalived.conf"];

/// What this host is.
#[derive(Clone, Debug)]
pub(crate) struct Appliance {
    folder: PathBuf,
    components: Vec<String>,
    told: BTreeMap<String, String>,
    /// Its address for phones, trunks and peers.
    pub(crate) address: Ipv4Addr,
    /// Where the API is.
    pub(crate) api: String,
}

impl Appliance {
    /// What this host is; `None` when it was not set up by packages, or when `place` names an installation by folder.
    pub(crate) fn find(place: &Place) -> anyhow::Result<Option<Self>> {
        if place.data.is_some() { Ok(None) } else { Self::read(Path::new(FOLDER)) }
    }

    fn read(folder: &Path) -> anyhow::Result<Option<Self>> {
        let Some(settings) = read_settings(&folder.join("operator.env"))? else { return Ok(None) };
        let text = |name: &str| settings.get(name).map(String::as_str).unwrap_or_default();
        let components = text("RINGDOWN_COMPONENTS").split(',').filter(|name| !name.is_empty());
        let address = text("RINGDOWN_ADVERTISE");
        let address = address.parse().with_context(|| format!("RINGDOWN_ADVERTISE is {address:?}, no IPv4 address"))?;
        Ok(Some(Self {
            folder: folder.to_owned(),
            components: components.map(str::to_owned).collect(),
            address,
            api: text("RINGDOWN_API_URL").to_owned(),
            told: settings,
        }))
    }

    /// What provisioning told the operator's tool by a variable; empty when nothing.
    pub(crate) fn told(&self, name: &str) -> &str {
        self.told.get(name).map_or("", String::as_str)
    }

    /// Whether daemons of ours are here, which know where Redis is.
    pub(crate) fn has_daemons(&self) -> bool {
        self.parts().any(crate::health::is_daemon)
    }

    /// Whether the component is on this host.
    pub(crate) fn has(&self, component: &str) -> bool {
        self.components.iter().any(|name| name == component)
    }

    /// The components of this host that can be asked how they are, in the order of their start.
    pub(crate) fn parts(&self) -> impl Iterator<Item = &'static str> {
        ASKED.into_iter().filter(|name| self.has(name))
    }

    /// Where a component of this host serves its health, or its protocol when it has no health of its own.
    pub(crate) fn address_of(&self, component: &str) -> anyhow::Result<SocketAddr> {
        let (variable, default) = match component {
            "web-api" => ("RINGDOWN_WEB_API_LISTEN", 8_000),
            "notifier" => ("RINGDOWN_NOTIFIER_LISTEN", 8_001),
            "acd" => ("RINGDOWN_ADMIN_ADDRESS", 8_002),
            "registrar" => ("RINGDOWN_ADMIN_ADDRESS", 8_003),
            "provisioner" => ("RINGDOWN_PROVISIONER_LISTEN", 8_004),
            // Its own file is written by the provisioner, which is told where it listens.
            "asterisk" => ("RINGDOWN_ASTERISK_HTTP_LISTEN", 7_088),
            "monitoring" => return Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, 9_090))),
            "haproxy" => return Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, 8_404))),
            "nats" => return Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, 8_222))),
            // It has one address for all that ask: the host's own.
            "rtpengine" => return Ok(SocketAddr::from((self.address, 22_222))),
            "redis" => return Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, 6_379))),
            "postgresql" => return Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, 5_432))),
            other => bail!("{other} is no component"),
        };
        let of = if component == "asterisk" { "provisioner" } else { component };
        let Some(text) = self.variable(of, variable)? else {
            return Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, default)));
        };
        let address: SocketAddr =
            text.parse().with_context(|| format!("{variable} of {of} is {text:?}, no address"))?;
        // Who listens everywhere listens here.
        Ok(if address.ip().is_unspecified() {
            SocketAddr::from((Ipv4Addr::LOCALHOST, address.port()))
        } else {
            address
        })
    }

    /// Where trunks call.
    pub(crate) fn trunk(&self) -> anyhow::Result<String> {
        let listen = self.variable("provisioner", "RINGDOWN_ASTERISK_SIP_LISTEN")?;
        Ok(listen.unwrap_or_else(|| format!("{}:5070", self.address)))
    }

    /// Where phones register.
    pub(crate) fn registrar(&self) -> anyhow::Result<String> {
        let listen = self.variable("registrar", "RINGDOWN_REGISTRAR_UDP_LISTEN")?;
        let first = listen.as_deref().and_then(|list| list.split(',').next()).unwrap_or("0.0.0.0:5060");
        let listen: SocketAddr = first.trim().parse().with_context(|| format!("{first:?} is no address"))?;
        let ip = if listen.ip().is_unspecified() { IpAddr::V4(self.address) } else { listen.ip() };
        Ok(SocketAddr::from((ip, listen.port())).to_string())
    }

    /// Where the Redis is that the daemons of this host use: address and port, or a name.
    pub(crate) fn redis_url(&self) -> anyhow::Result<String> {
        let url = self.variable("acd", "RINGDOWN_REDIS_URL")?;
        Ok(url.unwrap_or_else(|| "redis://127.0.0.1:6379/0".to_owned()))
    }

    /// Where the PostgreSQL is that this host's API uses; `None`: on this host.
    pub(crate) fn postgres_url(&self) -> anyhow::Result<Option<String>> {
        self.variable("web-api", "RINGDOWN_POSTGRES_URL")
    }

    /// This host's name in leases and status.
    pub(crate) fn node(&self) -> anyhow::Result<String> {
        if let Some(name) = self.variable("acd", "RINGDOWN_NODE_NAME")? {
            return Ok(name);
        }
        let name = nix::unistd::gethostname().context("asking for the host's name")?;
        Ok(name.to_string_lossy().into_owned())
    }

    /// What a component reads for a variable, from its own file or the host's.
    fn variable(&self, component: &str, name: &str) -> anyhow::Result<Option<String>> {
        for file in [format!("{component}.env"), "ringdown.env".to_owned()] {
            let settings = read_settings(&self.folder.join(file))?.unwrap_or_default();
            if let Some(value) = settings.get(name).filter(|value| !value.is_empty()) {
                return Ok(Some(value.clone()));
            }
        }
        Ok(None)
    }

    /// Its folder of configuration.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Files of configuration without secrets of their own: those of its folder, and of the load balancer beside it.
    pub(crate) fn files(&self) -> anyhow::Result<Vec<PathBuf>> {
        let entries = std::fs::read_dir(&self.folder).with_context(|| format!("reading {}", self.folder.display()))?;
        let paths = entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>();
        let mut paths = paths.with_context(|| format!("reading {}", self.folder.display()))?;
        let is_settings =
            |path: &PathBuf| path.extension().is_some_and(|ending| SETTINGS.iter().any(|one| ending == *one));
        paths.retain(|path| path.is_file() && is_settings(path));
        paths.extend(BESIDE.iter().map(PathBuf::from).filter(|path| path.is_file()));
        paths.sort();
        Ok(paths)
    }

    /// A secret's file.
    pub(crate) fn secret_path(&self, name: &str) -> PathBuf {
        self.folder.join("secrets").join(name)
    }

    /// A secret, if it is there.
    pub(crate) fn secret(&self, name: &str) -> anyhow::Result<Option<String>> {
        let path = self.secret_path(name);
        let text = read_if_there(&path)?;
        Ok(text.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty()))
    }
}

fn read_if_there(path: &Path) -> anyhow::Result<Option<String>> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            bail!(
                "{} cannot be read: run it as root (or as a member of the group ringdown, where no secret is needed)",
                path.display()
            )
        }
        Err(error) => Err(error).with_context(|| format!("reading {}", path.display())),
    }
}

/// The variables of an environment file as systemd reads it: the last line of a name wins.
fn read_settings(path: &Path) -> anyhow::Result<Option<BTreeMap<String, String>>> {
    let Some(text) = read_if_there(path)? else { return Ok(None) };
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with(['#', ';']));
    let pairs = lines.filter_map(|line| line.split_once('='));
    Ok(Some(pairs.map(|(name, value)| (name.trim().to_owned(), unquote(value.trim()).to_owned())).collect()))
}

fn unquote(value: &str) -> &str {
    let inner = |quote: char| value.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote));
    inner('"').or_else(|| inner('\'')).unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn appliance(files: &[(&str, &str)]) -> (tempfile::TempDir, Appliance) {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        let appliance = Appliance::read(folder.path()).unwrap().unwrap();
        (folder, appliance)
    }

    const OPERATOR: &str = "# a comment\nRINGDOWN_COMPONENTS=acd,redis,web-api\nRINGDOWN_ADVERTISE=10.0.0.7\nRINGDOWN_API_URL=http://10.0.0.9:8000\n";

    #[test]
    fn a_host_is_what_its_files_say() {
        let (_folder, appliance) = appliance(&[
            ("operator.env", OPERATOR),
            ("ringdown.env", "RINGDOWN_REDIS_URL=redis://10.0.0.1:6379/0\nRINGDOWN_WEB_API_LISTEN=127.0.0.1:1\n"),
            (
                "web-api.env",
                "#RINGDOWN_WEB_API_LISTEN=1.1.1.1:1\nRINGDOWN_WEB_API_LISTEN=127.0.0.1:2\nRINGDOWN_WEB_API_LISTEN=\"0.0.0.0:8080\"\n",
            ),
        ]);
        assert_eq!(appliance.parts().collect::<Vec<_>>(), ["redis", "web-api", "acd"]);
        assert_eq!(appliance.api, "http://10.0.0.9:8000");
        assert_eq!(appliance.address_of("web-api").unwrap().to_string(), "127.0.0.1:8080");
        assert_eq!(appliance.address_of("acd").unwrap().to_string(), "127.0.0.1:8002");
        assert_eq!(appliance.redis_url().unwrap(), "redis://10.0.0.1:6379/0");
        assert_eq!(appliance.trunk().unwrap(), "10.0.0.7:5070");
        assert_eq!(appliance.registrar().unwrap(), "10.0.0.7:5060");
        assert!(appliance.address_of("nothing").is_err());
        assert_eq!(appliance.secret("OPERATOR_TOKEN").unwrap(), None);
    }

    #[test]
    fn a_host_without_packages_is_none() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Appliance::read(folder.path()).unwrap().is_none());
        std::fs::write(folder.path().join("operator.env"), "RINGDOWN_ADVERTISE=nowhere\n").unwrap();
        assert!(Appliance::read(folder.path()).is_err());
    }
}

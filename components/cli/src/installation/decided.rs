//! What was decided when the installation was made.

use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::path::Path;

use anyhow::{Context, ensure};
use serde::{Deserialize, Serialize};

use super::Ports;
use super::atomic::write_private;

/// The format this version writes and reads.
const FORMAT: u32 = 1;

/// What was decided.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Decided {
    format: u32,
    /// This host's name in leases and status.
    pub(crate) node: String,
    /// This host's address for phones and trunks.
    pub(crate) address: Ipv4Addr,
    /// Its ports.
    pub(crate) ports: Ports,
}

impl Decided {
    /// A new installation on this host, at this address or the one the world is reached from.
    pub(crate) fn new(ports: Ports, address: Option<Ipv4Addr>) -> anyhow::Result<Self> {
        let address = address.unwrap_or_else(own_address);
        let name = nix::unistd::gethostname().context("asking for the host's name")?;
        let sound = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        let node: String = name.to_string_lossy().chars().filter(sound).take(63).collect();
        Ok(Self { format: FORMAT, node: if node.is_empty() { "ringdown".to_owned() } else { node }, address, ports })
    }

    pub(super) fn read(path: &Path) -> anyhow::Result<Option<Self>> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| format!("reading {}", path.display())),
        };
        let decided: Self = serde_json::from_str(&text).with_context(|| format!("{} is damaged", path.display()))?;
        ensure!(
            decided.format == FORMAT,
            "{} has format {}; this version reads {FORMAT}",
            path.display(),
            decided.format
        );
        Ok(Some(decided))
    }

    pub(super) fn write(&self, path: &Path) -> anyhow::Result<()> {
        write_private(path, &serde_json::to_vec_pretty(self).context("encoding the installation's record")?)
    }
}

/// The address the kernel would send from to the world (192.0.2.1 is nobody, RFC 5737; nothing is sent); loopback on a host
/// without a network.
fn own_address() -> Ipv4Addr {
    let asked = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).and_then(|socket| {
        socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9))?;
        socket.local_addr()
    });
    match asked.map(|address| address.ip()) {
        Ok(IpAddr::V4(address)) if !address.is_unspecified() => address,
        Ok(IpAddr::V4(_) | IpAddr::V6(_)) | Err(_) => Ipv4Addr::LOCALHOST,
    }
}

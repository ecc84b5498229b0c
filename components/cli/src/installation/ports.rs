//! Ports of an installation, decided when it is made.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};

use crate::arguments::PortChoice;

/// RTP ports are a block: two per leg, so this is 250 calls with two legs each.
pub(crate) const RTP_BLOCK: u16 = 1_000;

/// Which port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum PortName {
    AcdAdmin,
    AcdAri,
    AsteriskHttp,
    AsteriskSip,
    Notifier,
    Postgres,
    ProvisionerAdmin,
    Redis,
    RegistrarAdmin,
    /// The first of the block.
    Rtp,
    Rtpengine,
    Sip,
    SipTls,
    SipWs,
    SipWss,
    WebApi,
}

impl PortName {
    pub(crate) const ALL: [Self; 16] = [
        Self::AcdAdmin,
        Self::AcdAri,
        Self::AsteriskHttp,
        Self::AsteriskSip,
        Self::Notifier,
        Self::Postgres,
        Self::ProvisionerAdmin,
        Self::Redis,
        Self::RegistrarAdmin,
        Self::Rtp,
        Self::Rtpengine,
        Self::Sip,
        Self::SipTls,
        Self::SipWs,
        Self::SipWss,
        Self::WebApi,
    ];

    /// Its name on the command line.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::AcdAdmin => "acd-admin",
            Self::AcdAri => "acd-ari",
            Self::AsteriskHttp => "asterisk-http",
            Self::AsteriskSip => "asterisk-sip",
            Self::Notifier => "notifier",
            Self::Postgres => "postgres",
            Self::ProvisionerAdmin => "provisioner-admin",
            Self::Redis => "redis",
            Self::RegistrarAdmin => "registrar-admin",
            Self::Rtp => "rtp",
            Self::Rtpengine => "rtpengine",
            Self::Sip => "sip",
            Self::SipTls => "sip-tls",
            Self::SipWs => "sip-ws",
            Self::SipWss => "sip-wss",
            Self::WebApi => "web-api",
        }
    }

    /// The usual one (components/README.md, "Fixed choices"). Redis and PostgreSQL are private servers beside what the
    /// distribution may run on 6379 and 5432.
    const fn usual(self) -> u16 {
        match self {
            Self::AcdAdmin => 8002,
            Self::AcdAri => 8012,
            Self::AsteriskHttp => 7088,
            Self::AsteriskSip => 5070,
            Self::Notifier => 8001,
            Self::Postgres => 8432,
            Self::ProvisionerAdmin => 8004,
            Self::Redis => 8379,
            Self::RegistrarAdmin => 8003,
            Self::Rtp => 16_000,
            Self::Rtpengine => 2_223,
            Self::Sip => 5060,
            Self::SipTls => 5061,
            Self::SipWs => 8088,
            Self::SipWss => 8089,
            Self::WebApi => 8000,
        }
    }
}

/// All of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ports(BTreeMap<PortName, u16>);

impl Ports {
    /// Decides: `wanted` ones as given (`name=number`), the others by `choice`.
    pub(crate) fn decide(choice: PortChoice, wanted: &[String]) -> anyhow::Result<Self> {
        let mut ports = BTreeMap::new();
        for text in wanted {
            let (name, port) = parse(text)?;
            ports.insert(name, port);
        }
        for name in PortName::ALL {
            if !ports.contains_key(&name) {
                let taken: Vec<u16> = ports.values().copied().collect();
                ports.insert(name, decide_one(name, choice, &taken)?);
            }
        }
        Ok(Self(ports))
    }

    /// A port.
    pub(crate) fn of(&self, name: PortName) -> u16 {
        // Filled for all names when made, and checked when read.
        self.0.get(&name).copied().unwrap_or_else(|| name.usual())
    }

    /// An address of this host.
    pub(crate) fn loopback(&self, name: PortName) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.of(name)))
    }
}

fn parse(text: &str) -> anyhow::Result<(PortName, u16)> {
    let (name, number) = text.split_once('=').with_context(|| format!("--port {text}: it is NAME=NUMBER"))?;
    let known = PortName::ALL.into_iter().find(|port| port.name() == name);
    let Some(known) = known else {
        let names: Vec<_> = PortName::ALL.iter().map(|port| port.name()).collect();
        bail!("--port {text}: there is no port {name}; the names are {}", names.join(", "));
    };
    let number = number.parse().ok().filter(|number| *number > 0);
    Ok((known, number.with_context(|| format!("--port {text}: the number is 1 to 65535"))?))
}

fn decide_one(name: PortName, choice: PortChoice, taken: &[u16]) -> anyhow::Result<u16> {
    if name == PortName::Rtp {
        return free_block(choice);
    }
    let usual = name.usual();
    if choice == PortChoice::Usual && !taken.contains(&usual) && is_free(usual) {
        return Ok(usual);
    }
    for _ in 0..100 {
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).context("asking for a free port")?;
        let port = listener.local_addr().context("asking for a free port")?.port();
        drop(listener);
        if !taken.contains(&port) && is_free(port) {
            return Ok(port);
        }
    }
    bail!("there is no free port for {}", name.name())
}

/// Whether nobody listens there, by TCP or UDP.
pub(crate) fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok() && UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok()
}

/// The first block nobody seems to use, by its ends and middle; below the kernel's own range for outgoing connections.
fn free_block(choice: PortChoice) -> anyhow::Result<u16> {
    let start = PortName::Rtp.usual();
    // Installations on any free ports are tests, side by side: they keep away from each other's and the usual block.
    let skip = if choice == PortChoice::Free { 1 + std::process::id() % 12 } else { 0 };
    let starts = (0..15_u16).map(|n| start + RTP_BLOCK * ((n + u16::try_from(skip).unwrap_or(1)) % 15));
    let ends = [0, RTP_BLOCK / 2, RTP_BLOCK - 1];
    starts
        .into_iter()
        .find(|start| ends.iter().all(|end| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, start + end)).is_ok()))
        .context("there is no free block of ports for RTP between 16000 and 30999")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wanted_ports_are_taken_and_wrong_ones_refused() {
        let ports = Ports::decide(PortChoice::Free, &["web-api=18000".to_owned()]).unwrap();
        assert_eq!(ports.of(PortName::WebApi), 18_000);
        let mut all: Vec<_> = PortName::ALL.iter().map(|name| ports.of(*name)).collect();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), PortName::ALL.len());
        for wrong in ["web-api", "web-api=0", "web-api=x", "nothing=1", "web-api=65536"] {
            assert!(Ports::decide(PortChoice::Free, &[wrong.to_owned()]).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_occupied_port_is_not_taken() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        assert!(!is_free(listener.local_addr().unwrap().port()));
    }
}

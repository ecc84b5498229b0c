//! How the other end of a flow reaches us: what stands in Via and Record-Route (RFC 3261 16.6 steps 4 and 8).

use std::net::IpAddr;

use super::token::Token;
use super::{Edge, HostPort};
use crate::flow::{Flow, Transport};

impl Edge {
    pub(super) fn via_line(&self, flow: Flow, branch: &str) -> String {
        let HostPort { host, port } = self.local(flow);
        format!("Via: SIP/2.0/{} {host}:{port};branch={branch};rport", flow.transport.in_via())
    }

    /// One line, or two when the two sides reach us differently, the one for the target on top (RFC 5658).
    pub(super) fn record_route_lines(&self, token: &Token, source: Flow, target: Flow) -> Vec<String> {
        let user = token.write(&self.settings.key);
        let line = |flow: Flow| {
            let HostPort { host, port } = self.local(flow);
            format!("Record-Route: <sip:{user}@{host}:{port}{};lr>", flow.transport.uri_parameter())
        };
        let (first, second) = (line(target), line(source));
        if first == second { vec![first] } else { vec![first, second] }
    }

    /// The advertised host; without one, the address that the peer reached; for a peer that has not reached us, the
    /// listener's own.
    pub(super) fn local(&self, flow: Flow) -> HostPort {
        match flow.local {
            Some(local) if self.settings.advertise.is_none() => {
                HostPort { host: written(local.ip()), port: local.port() }
            }
            Some(_) | None => self.listener(flow),
        }
    }

    /// Who is on this host is told a loopback address when we listen everywhere: an Asterisk node that is known by
    /// 127.0.0.1 would come from another address otherwise, and not be trusted.
    fn listener(&self, flow: Flow) -> HostPort {
        let known = match flow.transport {
            Transport::Udp => self.socket_for(flow),
            Transport::Tcp | Transport::Tls | Transport::Ws | Transport::Wss => {
                self.settings.streams.get(&flow.transport).unwrap_or(&self.settings.udp[0])
            }
        };
        if !flow.peer.ip().is_loopback() || !self.settings.any_address_ports.contains(&known.port) {
            return known.clone();
        }
        let host = match flow.peer.ip() {
            IpAddr::V4(_) => "127.0.0.1",
            IpAddr::V6(_) => "[::1]",
        };
        HostPort { host: host.to_owned(), port: known.port }
    }

    /// The flow's socket, or when that speaks the other family of addresses, the first that speaks the peer's.
    fn socket_for(&self, flow: Flow) -> &HostPort {
        let sockets = &self.settings.udp;
        let wanted = usize::try_from(flow.link).ok().and_then(|at| sockets.get(at)).unwrap_or(&sockets[0]);
        let speaks = |socket: &HostPort| {
            let address = socket.host.trim_matches(['[', ']']).parse::<IpAddr>();
            address.map_or(true, |address| address.is_ipv4() == flow.peer.is_ipv4())
        };
        if speaks(wanted) { wanted } else { sockets.iter().find(|socket| speaks(socket)).unwrap_or(wanted) }
    }
}

/// An address as hosts are written in SIP: IPv6 in brackets.
fn written(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    }
}

//! A flow: the way between us and one peer (RFC 5626 2, RFC 3581 4).
//!
//! Every message to a peer takes the flow by which the peer reached us: same transport, same connection, and over
//! datagrams the same address and port of ours. Phones behind NAT or a firewall, and phones whose sockets are
//! connected, never see a packet from anywhere else.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

/// What carries the messages of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Transport {
    /// Datagrams.
    Udp,
    /// A stream that the peer opened.
    Tcp,
    /// The same, encrypted.
    Tls,
    /// A WebSocket that a browser opened (RFC 7118).
    Ws,
    /// The same, encrypted.
    Wss,
}

impl Transport {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Udp, Self::Tcp, Self::Tls, Self::Ws, Self::Wss];

    /// As it is written in Via (RFC 3261 20.42, RFC 7118 5.2).
    pub fn in_via(self) -> &'static str {
        match self {
            Self::Udp => "UDP",
            Self::Tcp => "TCP",
            Self::Tls => "TLS",
            Self::Ws => "WS",
            Self::Wss => "WSS",
        }
    }

    /// The URI parameter that asks for it; empty for UDP, which is what a URI without one means (RFC 3263 4.1). There is
    /// one for WebSockets, encrypted or not (RFC 7118 5.3).
    pub fn uri_parameter(self) -> &'static str {
        match self {
            Self::Udp => "",
            Self::Tcp => ";transport=tcp",
            Self::Tls => ";transport=tls",
            Self::Ws | Self::Wss => ";transport=ws",
        }
    }

    /// True when nothing needs to be sent twice.
    pub fn is_reliable(self) -> bool {
        match self {
            Self::Udp => false,
            Self::Tcp | Self::Tls | Self::Ws | Self::Wss => true,
        }
    }

    /// True for a browser: its media is WebRTC (DTLS-SRTP and ICE), which Asterisk's RTP is not.
    pub fn is_web(self) -> bool {
        match self {
            Self::Udp | Self::Tcp | Self::Tls => false,
            Self::Ws | Self::Wss => true,
        }
    }

    /// True when nobody on the way can read along.
    pub fn is_encrypted(self) -> bool {
        match self {
            Self::Udp | Self::Tcp | Self::Ws => false,
            Self::Tls | Self::Wss => true,
        }
    }

    /// A name for logs, metrics and people.
    pub fn label(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::Ws => "ws",
            Self::Wss => "wss",
        }
    }
}

/// The way between us and a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "FlowRecord", into = "FlowRecord")]
pub struct Flow {
    /// What carries it.
    pub transport: Transport,
    /// Datagrams: the index of our socket. Streams: the connection, unique in the life of this process.
    pub link: u64,
    /// The peer's address as we see it, through NAT.
    pub peer: SocketAddr,
    /// Our address and port that the peer reached. None: not known, and the system chooses (requests to a node that has
    /// not spoken yet, bindings written by versions that did not note it).
    pub local: Option<SocketAddr>,
}

impl Flow {
    /// Datagrams between our socket of this index and the peer.
    pub fn udp(link: u64, peer: SocketAddr) -> Self {
        Self { transport: Transport::Udp, link, peer, local: None }
    }

    /// A stream that the peer opened.
    pub fn stream(transport: Transport, connection: u64, peer: SocketAddr) -> Self {
        Self { transport, link: connection, peer, local: None }
    }

    /// A stream without encryption.
    pub fn tcp(connection: u64, peer: SocketAddr) -> Self {
        Self::stream(Transport::Tcp, connection, peer)
    }

    /// The same with the address of ours that the peer reached.
    #[must_use]
    pub fn reached_at(self, local: SocketAddr) -> Self {
        Self { local: Some(local), ..self }
    }

    /// True for streams: nothing needs to be sent twice.
    pub fn is_reliable(&self) -> bool {
        self.transport.is_reliable()
    }

    /// The connection, for streams: gone when it ends, and nobody else can write to it.
    pub fn connection(&self) -> Option<u64> {
        match self.transport {
            Transport::Udp => None,
            Transport::Tcp | Transport::Tls | Transport::Ws | Transport::Wss => Some(self.link),
        }
    }
}

/// A flow as it is stored in a binding: readable by versions that know no `local`, and reading what they wrote. Datagrams
/// have a `socket`, streams a `connection`.
#[derive(Serialize, Deserialize)]
struct FlowRecord {
    transport: Transport,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    socket: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    connection: Option<u64>,
    peer: SocketAddr,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    local: Option<SocketAddr>,
}

impl From<FlowRecord> for Flow {
    fn from(record: FlowRecord) -> Self {
        let FlowRecord { transport, socket, connection, peer, local } = record;
        // A stream without its number is one that is gone: no connection is ever numbered 0.
        Self { transport, link: socket.or(connection).unwrap_or(0), peer, local }
    }
}

impl From<Flow> for FlowRecord {
    fn from(flow: Flow) -> Self {
        let connection = flow.connection();
        let Flow { transport, link, peer, local } = flow;
        let socket = if connection.is_none() { Some(link) } else { None };
        Self { transport, socket, connection, peer, local }
    }
}

#[cfg(test)]
mod tests {
    use super::{Flow, Transport};

    /// What versions before this one stored and expect (rolling upgrade).
    #[test]
    fn records_without_a_local_address_are_read_and_written_alike() {
        let old = r#"{"transport":"udp","socket":1,"peer":"10.0.0.5:5062"}"#;
        let flow: Flow = serde_json::from_str(old).expect("readable");
        assert_eq!(flow, Flow::udp(1, "10.0.0.5:5062".parse().expect("an address")));
        assert_eq!(serde_json::to_string(&flow).expect("writable"), old);
        let reached = flow.reached_at("[2001:db8::1]:5060".parse().expect("an address"));
        let text = serde_json::to_string(&reached).expect("writable");
        assert!(text.ends_with(r#","local":"[2001:db8::1]:5060"}"#), "{text}");
        assert_eq!(serde_json::from_str::<Flow>(&text).expect("readable"), reached);
        let tcp = r#"{"transport":"tcp","connection":7,"peer":"10.0.0.5:5062"}"#;
        assert_eq!(serde_json::from_str::<Flow>(tcp).expect("readable").connection(), Some(7));
        let web = r#"{"transport":"wss","connection":9,"peer":"10.0.0.5:5062"}"#;
        let flow: Flow = serde_json::from_str(web).expect("readable");
        assert_eq!(flow, Flow::stream(Transport::Wss, 9, "10.0.0.5:5062".parse().expect("an address")));
        assert_eq!(serde_json::to_string(&flow).expect("writable"), web);
    }
}

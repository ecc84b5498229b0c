//! A flow: the way between us and one peer (RFC 5626 2, RFC 3581 4).
//!
//! Every message to a peer takes the flow by which the peer reached us: same transport, same connection, and over
//! datagrams the same address and port of ours. Phones behind NAT or a firewall, and phones whose sockets are
//! connected, never see a packet from anywhere else.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

/// What carries the messages of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Transport {
    /// Datagrams.
    Udp,
    /// A stream that the peer opened.
    Tcp,
}

impl Transport {
    /// As it is written in Via (RFC 3261 20.42).
    pub fn in_via(self) -> &'static str {
        match self {
            Self::Udp => "UDP",
            Self::Tcp => "TCP",
        }
    }

    /// The URI parameter that asks for it; empty for UDP, which is what a URI without one means (RFC 3263 4.1).
    pub fn uri_parameter(self) -> &'static str {
        match self {
            Self::Udp => "",
            Self::Tcp => ";transport=tcp",
        }
    }

    /// True when nothing needs to be sent twice.
    pub fn is_reliable(self) -> bool {
        match self {
            Self::Udp => false,
            Self::Tcp => true,
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
    pub fn tcp(connection: u64, peer: SocketAddr) -> Self {
        Self { transport: Transport::Tcp, link: connection, peer, local: None }
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
            Transport::Tcp => Some(self.link),
        }
    }
}

/// A flow as it is stored in a binding: readable by versions that know no `local`, and reading what they wrote.
#[derive(Serialize, Deserialize)]
#[serde(tag = "transport", rename_all = "snake_case")]
enum FlowRecord {
    Udp {
        socket: u16,
        peer: SocketAddr,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        local: Option<SocketAddr>,
    },
    Tcp {
        connection: u64,
        peer: SocketAddr,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        local: Option<SocketAddr>,
    },
}

impl From<FlowRecord> for Flow {
    fn from(record: FlowRecord) -> Self {
        match record {
            FlowRecord::Udp { socket, peer, local } => Self { local, ..Self::udp(socket.into(), peer) },
            FlowRecord::Tcp { connection, peer, local } => Self { local, ..Self::tcp(connection, peer) },
        }
    }
}

impl From<Flow> for FlowRecord {
    fn from(flow: Flow) -> Self {
        let Flow { transport, link, peer, local } = flow;
        match transport {
            // There are as many sockets as addresses in a variable: far fewer than 65,536.
            Transport::Udp => Self::Udp { socket: u16::try_from(link).unwrap_or(0), peer, local },
            Transport::Tcp => Self::Tcp { connection: link, peer, local },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Flow;

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
    }
}

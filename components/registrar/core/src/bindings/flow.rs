//! A flow: the way messages come from a peer and go back to it (RFC 5626 2).

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

/// What carries the messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Transport {
    /// Datagrams.
    Udp,
    /// A stream that the peer opened.
    Tcp,
}

/// The way a request came; answers, and later requests to a phone, go back the same way (RFC 3581, RFC 5626).
///
/// Both ends belong to it: a phone behind NAT, behind a firewall or with a connected socket sees nothing that comes from
/// another address than the one it sent to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "FlowRecord", from = "FlowRecord")]
pub struct Flow {
    /// What carries the messages.
    pub transport: Transport,
    /// UDP: index of our listening socket. TCP: the connection, unique in the life of this process.
    pub link: u64,
    /// The peer's address as we see it, through NAT.
    pub peer: SocketAddr,
    /// The address of ours that the peer sent to; the system chooses one when it is not known (requests to a node, and
    /// bindings that an older registrar stored).
    pub local: Option<IpAddr>,
}

impl Flow {
    /// Datagrams between our listening socket of this index and a peer.
    pub fn udp(socket: u16, peer: SocketAddr) -> Self {
        Self { transport: Transport::Udp, link: socket.into(), peer, local: None }
    }

    /// A stream that a peer opened.
    pub fn tcp(connection: u64, peer: SocketAddr) -> Self {
        Self { transport: Transport::Tcp, link: connection, peer, local: None }
    }

    /// The same with the address of ours that the peer sent to.
    #[must_use]
    pub fn reached_at(self, local: IpAddr) -> Self {
        Self { local: Some(local), ..self }
    }

    /// True for streams: nothing needs to be sent twice.
    pub fn is_reliable(&self) -> bool {
        match self.transport {
            Transport::Udp => false,
            Transport::Tcp => true,
        }
    }

    /// Index of our listening socket, for datagrams.
    pub fn socket(&self) -> Option<usize> {
        (self.transport == Transport::Udp).then(|| usize::try_from(self.link).unwrap_or(usize::MAX))
    }

    /// The number of the connection, for streams.
    pub fn connection(&self) -> Option<u64> {
        (self.transport == Transport::Tcp).then_some(self.link)
    }
}

/// A flow as bindings hold it in Redis. Registrars of the version before ignore `local`.
#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(tag = "transport", rename_all = "snake_case")]
enum FlowRecord {
    Udp {
        socket: u16,
        peer: SocketAddr,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        local: Option<IpAddr>,
    },
    Tcp {
        connection: u64,
        peer: SocketAddr,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        local: Option<IpAddr>,
    },
}

impl From<FlowRecord> for Flow {
    fn from(record: FlowRecord) -> Self {
        match record {
            FlowRecord::Udp { socket, peer, local } => Self { local, ..Self::udp(socket, peer) },
            FlowRecord::Tcp { connection, peer, local } => Self { local, ..Self::tcp(connection, peer) },
        }
    }
}

impl From<Flow> for FlowRecord {
    fn from(flow: Flow) -> Self {
        let Flow { transport, link, peer, local } = flow;
        match transport {
            // There are no more sockets than a u16 counts: the first one stands for what cannot be.
            Transport::Udp => Self::Udp { socket: u16::try_from(link).unwrap_or(0), peer, local },
            Transport::Tcp => Self::Tcp { connection: link, peer, local },
        }
    }
}

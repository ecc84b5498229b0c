//! UDP sockets that know where a datagram was sent to, and one reader for each: datagrams reach the core in the order they
//! came.
//!
//! A socket that listens on every address would answer from whichever address the system prefers for the way back. Who
//! waits for an answer from the address that was asked, as every NAT and every connected socket does, would never see it
//! (RFC 3581 4). So the address comes in with each datagram and goes out with each answer (`IP_PKTINFO`, `IPV6_PKTINFO`).

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::Duration;

use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, sendmsg, setsockopt, sockopt,
};
use ringdown_registrar_core::bindings::Flow;
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::sync::mpsc::{Sender, error::TrySendError};

use crate::driver::Input;
use crate::metrics::RegistrarMetrics;

/// After an error of the socket itself, so that a lasting one cannot spin.
const PAUSE: Duration = Duration::from_millis(100);

/// A UDP socket that tells the address a datagram was sent to and sends from the address it is told.
#[derive(Debug)]
pub(crate) struct DatagramSocket {
    socket: UdpSocket,
    address: SocketAddr,
}

/// A datagram that came in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Received {
    pub(crate) length: usize,
    pub(crate) peer: SocketAddr,
    /// The address of ours that it was sent to, when the system tells.
    pub(crate) local: Option<IpAddr>,
}

impl DatagramSocket {
    /// Takes a bound socket.
    pub(crate) fn new(socket: UdpSocket) -> io::Result<Self> {
        let address = socket.local_addr()?;
        match address {
            SocketAddr::V4(_) => setsockopt(&socket, sockopt::Ipv4PacketInfo, &true)?,
            // Tells of IPv4 as well, in mapped addresses.
            SocketAddr::V6(_) => setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true)?,
        }
        Ok(Self { socket, address })
    }

    /// Where it listens.
    pub(crate) fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// The next datagram.
    pub(crate) async fn receive(&self, buffer: &mut [u8]) -> io::Result<Received> {
        self.socket.async_io(Interest::READABLE, || receive(&self.socket, buffer)).await
    }

    /// Sends from `local`, without waiting. An address that is not this host's any more (it moved with a failover) is
    /// left to the system: better from elsewhere than not at all.
    pub(crate) fn send(&self, bytes: &[u8], peer: SocketAddr, local: Option<IpAddr>) -> io::Result<()> {
        let peer = match (self.address, peer.ip()) {
            (SocketAddr::V6(_), IpAddr::V4(v4)) => (v4.to_ipv6_mapped(), peer.port()).into(),
            (SocketAddr::V4(_) | SocketAddr::V6(_), _) => peer,
        };
        self.socket.try_io(Interest::WRITABLE, || match send(&self.socket, bytes, peer, local) {
            Err(Errno::EADDRNOTAVAIL | Errno::EINVAL | Errno::ENETUNREACH) if local.is_some() => {
                send(&self.socket, bytes, peer, None).map_err(io::Error::from)
            }
            result => result.map_err(io::Error::from),
        })
    }
}

fn receive(socket: &UdpSocket, buffer: &mut [u8]) -> io::Result<Received> {
    let mut space = nix::cmsg_space!(libc::in6_pktinfo);
    let mut slices = [IoSliceMut::new(buffer)];
    let message = recvmsg::<SockaddrStorage>(socket.as_raw_fd(), &mut slices, Some(&mut space), MsgFlags::empty())?;
    let peer = message.address.as_ref().and_then(socket_address).ok_or(io::ErrorKind::AddrNotAvailable)?;
    let local = message.cmsgs()?.find_map(|part| local_address(&part));
    Ok(Received { length: message.bytes, peer, local })
}

fn local_address(part: &ControlMessageOwned) -> Option<IpAddr> {
    if let ControlMessageOwned::Ipv4PacketInfo(info) = part {
        // Not `ipi_addr`: for a broadcast this is the address of ours that may answer it.
        return Some(IpAddr::V4(Ipv4Addr::from(u32::from_be(info.ipi_spec_dst.s_addr))));
    }
    if let ControlMessageOwned::Ipv6PacketInfo(info) = part {
        return Some(Ipv6Addr::from(info.ipi6_addr.s6_addr).to_canonical());
    }
    None
}

fn send(socket: &UdpSocket, bytes: &[u8], peer: SocketAddr, local: Option<IpAddr>) -> Result<(), Errno> {
    let descriptor = socket.as_raw_fd();
    let slices = [IoSlice::new(bytes)];
    let peer = SockaddrStorage::from(peer);
    // Interface 0: the system's choice.
    match local {
        None => sendmsg(descriptor, &slices, &[], MsgFlags::empty(), Some(&peer)),
        Some(IpAddr::V4(local)) => {
            let from = libc::in_addr { s_addr: u32::from(local).to_be() };
            let info = libc::in_pktinfo { ipi_ifindex: 0, ipi_spec_dst: from, ipi_addr: libc::in_addr { s_addr: 0 } };
            sendmsg(descriptor, &slices, &[ControlMessage::Ipv4PacketInfo(&info)], MsgFlags::empty(), Some(&peer))
        }
        Some(IpAddr::V6(local)) => {
            let from = libc::in6_addr { s6_addr: local.octets() };
            let info = libc::in6_pktinfo { ipi6_ifindex: 0, ipi6_addr: from };
            sendmsg(descriptor, &slices, &[ControlMessage::Ipv6PacketInfo(&info)], MsgFlags::empty(), Some(&peer))
        }
    }
    .map(|_| ())
}

fn socket_address(address: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = || address.as_sockaddr_in().map(|address| SocketAddr::from((address.ip(), address.port())));
    let v6 = || address.as_sockaddr_in6().map(|address| SocketAddr::V6((*address).into()));
    let address = v4().or_else(v6)?;
    // An IPv4 peer of an IPv6 socket is who it is: nodes are known by their IPv4 address.
    Some(match address.ip() {
        IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some() => SocketAddr::new(v6.to_canonical(), address.port()),
        IpAddr::V4(_) | IpAddr::V6(_) => address,
    })
}

/// Reads until the driver is gone. A full inbox drops the datagram: the sender repeats it.
pub(crate) async fn read(
    number: u16,
    socket: Arc<DatagramSocket>,
    inbox: Sender<Input>,
    metrics: RegistrarMetrics,
) -> anyhow::Result<()> {
    let mut buffer = vec![0_u8; 65_536];
    loop {
        let received = tokio::select! {
            received = socket.receive(&mut buffer) => received,
            () = inbox.closed() => return Ok(()),
        };
        let Received { length, peer, local } = match received {
            Ok(received) => received,
            Err(error) => {
                log::debug!(error:% = error; "receiving a datagram failed");
                metrics.dropped("socket_error");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let flow = Flow { local, ..Flow::udp(number, peer) };
        match inbox.try_send(Input::Received { flow, bytes: buffer[..length].to_vec() }) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => metrics.dropped("overload"),
            Err(TrySendError::Closed(_)) => return Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn answered_from(listen: &str, ask: &str, from: &str) -> SocketAddr {
        let listening = UdpSocket::bind((listen, 0)).await.expect("a free port");
        let server = DatagramSocket::new(listening).expect("packet information");
        let port = server.local_addr().port();
        let phone = UdpSocket::bind((from, 0)).await.expect("a free port");
        phone.send_to(b"?", (ask, port)).await.expect("sent");
        let received = server.receive(&mut [0; 16]).await.expect("received");
        assert_eq!(received.peer, phone.local_addr().expect("bound"));
        server.send(b"!", received.peer, received.local).expect("answered");
        let answer = tokio::time::timeout(Duration::from_secs(5), phone.recv_from(&mut [0; 16])).await;
        let (_, answered) = answer.expect("in time").expect("an answer");
        assert_eq!(answered.port(), port);
        answered
    }

    #[tokio::test]
    async fn an_answer_leaves_from_the_address_that_was_asked() {
        for (listen, ask, from) in [
            ("0.0.0.0", "127.0.0.9", "127.0.0.1"),
            ("0.0.0.0", "127.0.0.1", "127.252.1.1"),
            ("127.0.0.9", "127.0.0.9", "127.0.0.1"),
            ("::", "127.0.0.9", "127.0.0.1"),
            ("::", "::1", "::1"),
        ] {
            let answered = answered_from(listen, ask, from).await;
            assert_eq!(answered.ip().to_string(), ask, "listening on {listen}, asked from {from}");
        }
    }

    #[tokio::test]
    async fn an_address_that_moved_away_does_not_keep_a_datagram_back() {
        let listening = UdpSocket::bind("0.0.0.0:0").await.expect("a free port");
        let server = DatagramSocket::new(listening).expect("packet information");
        let phone = UdpSocket::bind("127.0.0.1:0").await.expect("a free port");
        server.socket.writable().await.expect("an open socket");
        let gone = Some("192.0.2.77".parse().expect("an address"));
        server.send(b"!", phone.local_addr().expect("bound"), gone).expect("sent from elsewhere");
        let heard = tokio::time::timeout(Duration::from_secs(5), phone.recv(&mut [0; 16])).await;
        assert_eq!(heard.expect("in time").expect("a datagram"), 1);
    }
}

//! Our UDP sockets: each datagram comes with the address of ours that it reached, and leaves from the one that is wanted.
//!
//! A socket on 0.0.0.0 or [::] hears every address of the host, but answers from the one that the routing table likes,
//! and a phone behind a firewall never sees that. So the kernel is asked which address a datagram reached (IP_PKTINFO,
//! IPV6_RECVPKTINFO; ip(7), RFC 3542 6), and told which one to send from. A socket per address would do the same, but
//! not follow a virtual address that comes and goes.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsRawFd;
use std::sync::Arc;

use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, sendmsg, setsockopt, sockopt,
};
use ringdown_registrar_core::flow::Flow;
use tokio::io::Interest;
use tokio::net::UdpSocket;

/// One listening socket.
#[derive(Debug)]
pub(crate) struct SipSocket {
    socket: UdpSocket,
    /// Where it is bound.
    bound: SocketAddr,
}

/// A datagram's length and the way it came.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Datagram {
    pub(crate) length: usize,
    pub(crate) peer: SocketAddr,
    pub(crate) local: SocketAddr,
}

impl SipSocket {
    /// Has the kernel tell where datagrams arrive.
    pub(crate) fn new(socket: UdpSocket) -> io::Result<Self> {
        let bound = socket.local_addr()?;
        match bound {
            SocketAddr::V4(_) => setsockopt(&socket, sockopt::Ipv4PacketInfo, &true)?,
            SocketAddr::V6(_) => setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true)?,
        }
        Ok(Self { socket, bound })
    }

    pub(crate) fn bound(&self) -> SocketAddr {
        self.bound
    }

    /// The next datagram.
    pub(crate) async fn receive(&self, buffer: &mut [u8]) -> io::Result<Datagram> {
        self.socket.async_io(Interest::READABLE, || self.receive_now(buffer)).await
    }

    fn receive_now(&self, buffer: &mut [u8]) -> io::Result<Datagram> {
        let mut parts = [IoSliceMut::new(buffer)];
        let mut space = nix::cmsg_space!(libc::in6_pktinfo);
        let descriptor = self.socket.as_raw_fd();
        let message = recvmsg::<SockaddrStorage>(descriptor, &mut parts, Some(&mut space), MsgFlags::MSG_DONTWAIT)?;
        let peer = message.address.as_ref().and_then(socket_address).ok_or(io::ErrorKind::InvalidData)?;
        let reached = message.cmsgs()?.find_map(reached_address).unwrap_or(self.bound.ip());
        let local = SocketAddr::new(reached.to_canonical(), self.bound.port());
        Ok(Datagram { length: message.bytes, peer: SocketAddr::new(peer.ip().to_canonical(), peer.port()), local })
    }

    /// Sends without waiting, from `local` when that is an address of this host.
    fn send(&self, bytes: &[u8], flow: Flow) -> io::Result<()> {
        let source = flow.local.map(|local| local.ip()).filter(|_| self.bound.ip().is_unspecified());
        let sent = self.socket.try_io(Interest::WRITABLE, || self.send_now(bytes, flow.peer, source));
        match sent {
            // The address went to another host, or the binding was made at another registrar.
            Err(error) if source.is_some() && is_foreign_source(&error) => {
                self.socket.try_io(Interest::WRITABLE, || self.send_now(bytes, flow.peer, None))
            }
            other => other,
        }
    }

    fn send_now(&self, bytes: &[u8], peer: SocketAddr, source: Option<IpAddr>) -> io::Result<()> {
        let parts = [IoSlice::new(bytes)];
        let descriptor = self.socket.as_raw_fd();
        let to = SockaddrStorage::from(self.in_family(peer));
        let send = |control: &[ControlMessage<'_>]| {
            sendmsg(descriptor, &parts, control, MsgFlags::MSG_DONTWAIT, Some(&to)).map(drop).map_err(io::Error::from)
        };
        match (self.bound, source) {
            (SocketAddr::V4(_), Some(IpAddr::V4(source))) => {
                let from = libc::in_pktinfo {
                    ipi_ifindex: 0,
                    ipi_spec_dst: libc::in_addr { s_addr: u32::from(source).to_be() },
                    ipi_addr: libc::in_addr { s_addr: 0 },
                };
                send(&[ControlMessage::Ipv4PacketInfo(&from)])
            }
            (SocketAddr::V6(_), Some(source)) => {
                let octets = match source {
                    IpAddr::V4(source) => source.to_ipv6_mapped().octets(),
                    IpAddr::V6(source) => source.octets(),
                };
                let from = libc::in6_pktinfo { ipi6_addr: libc::in6_addr { s6_addr: octets }, ipi6_ifindex: 0 };
                send(&[ControlMessage::Ipv6PacketInfo(&from)])
            }
            (SocketAddr::V4(_), Some(IpAddr::V6(_))) | (_, None) => send(&[]),
        }
    }

    /// The peer's address as a socket of our family takes it: one on [::] speaks IPv4 too.
    fn in_family(&self, peer: SocketAddr) -> SocketAddr {
        match (self.bound, peer) {
            (SocketAddr::V6(_), SocketAddr::V4(peer)) => {
                SocketAddr::new(peer.ip().to_ipv6_mapped().into(), peer.port())
            }
            (SocketAddr::V4(_), _) | (SocketAddr::V6(_), SocketAddr::V6(_)) => peer,
        }
    }

    /// How well this socket fits a flow: it must speak the peer's family; best is the one the peer reached.
    fn fitness(&self, number: u64, flow: Flow) -> u8 {
        let speaks = match (self.bound.ip(), flow.peer.ip()) {
            (IpAddr::V4(_), IpAddr::V4(_)) | (IpAddr::V6(_), IpAddr::V6(_)) => true,
            (IpAddr::V6(bound), IpAddr::V4(_)) => bound == Ipv6Addr::UNSPECIFIED,
            (IpAddr::V4(_), IpAddr::V6(_)) => false,
        };
        let reached = flow.local.is_some_and(|local| {
            local.port() == self.bound.port() && (self.bound.ip() == local.ip() || self.bound.ip().is_unspecified())
        });
        let exact = flow.local.is_some_and(|local| local == self.bound);
        let listed = number == flow.link;
        if speaks { 1 + u8::from(exact) * 8 + u8::from(reached) * 4 + u8::from(listed) * 2 } else { 0 }
    }
}

/// Sends without waiting by the socket that fits the flow best.
pub(crate) fn send(sockets: &[Arc<SipSocket>], bytes: &[u8], flow: Flow) -> io::Result<()> {
    let best = (0_u64..).zip(sockets).max_by_key(|(number, socket)| socket.fitness(*number, flow));
    let (_, socket) = best.ok_or(io::ErrorKind::NotConnected)?;
    socket.send(bytes, flow)
}

fn is_foreign_source(error: &io::Error) -> bool {
    let code = error.raw_os_error().map(Errno::from_raw);
    matches!(code, Some(Errno::EINVAL | Errno::EADDRNOTAVAIL | Errno::ENETUNREACH | Errno::EHOSTUNREACH))
}

fn socket_address(address: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = || address.as_sockaddr_in().map(|found| SocketAddr::from((Ipv4Addr::from(found.ip()), found.port())));
    let v6 = || address.as_sockaddr_in6().map(|found| SocketAddr::from((found.ip(), found.port())));
    v4().or_else(v6)
}

/// The destination address in the datagram's header.
fn reached_address(message: ControlMessageOwned) -> Option<IpAddr> {
    if let ControlMessageOwned::Ipv4PacketInfo(info) = message {
        return Some(Ipv4Addr::from(u32::from_be(info.ipi_spec_dst.s_addr)).into());
    }
    if let ControlMessageOwned::Ipv6PacketInfo(info) = message {
        return Some(Ipv6Addr::from(info.ipi6_addr.s6_addr).into());
    }
    None
}

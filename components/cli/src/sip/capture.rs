//! Messages as a capture file that Wireshark and sngrep read: every message as a UDP datagram, whatever carried it.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::Context;
use etherparse::PacketBuilder;
use pcap_file::DataLink;
use pcap_file::pcap::{PcapHeader, PcapPacket, PcapWriter};

use super::message::SipMessage;

/// Longest message a datagram can hold, less its headers.
const LONGEST: usize = 65_000;

/// The file's bytes.
pub(super) fn capture(messages: &[SipMessage]) -> anyhow::Result<Vec<u8>> {
    let header = PcapHeader { datalink: DataLink::RAW, ..PcapHeader::default() };
    let mut writer = PcapWriter::with_header(Vec::new(), header).context("beginning the file")?;
    for message in messages {
        let packet = packet(message)?;
        let length = u32::try_from(packet.len()).context("a message is too long")?;
        let at = Duration::from_millis(message.at_ms);
        writer.write_packet(&PcapPacket::new_owned(at, length, packet)).context("writing a message")?;
    }
    Ok(writer.into_writer())
}

fn packet(message: &SipMessage) -> anyhow::Result<Vec<u8>> {
    // Where our own address is not known, a documentation address stands for it (RFC 5737).
    let local = message.local.unwrap_or_else(|| SocketAddr::from((Ipv4Addr::new(192, 0, 2, 0), 5060)));
    let (from, to) = if message.sent { (local, message.peer) } else { (message.peer, local) };
    let text: Cow<'_, [u8]> = Cow::from(message.message.as_bytes());
    let text = &text[..text.len().min(LONGEST)];
    let mut bytes = Vec::with_capacity(text.len() + 64);
    match (from.ip().to_canonical(), to.ip().to_canonical()) {
        (IpAddr::V4(source), IpAddr::V4(target)) => {
            let builder = PacketBuilder::ipv4(source.octets(), target.octets(), 64);
            builder.udp(from.port(), to.port()).write(&mut bytes, text)
        }
        (source, target) => {
            let builder = PacketBuilder::ipv6(as_v6(source), as_v6(target), 64);
            builder.udp(from.port(), to.port()).write(&mut bytes, text)
        }
    }
    .context("making a datagram")?;
    Ok(bytes)
}

fn as_v6(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use etherparse::SlicedPacket;
    use pcap_file::pcap::PcapReader;

    #[test]
    fn what_is_written_is_read_as_datagrams_between_both() {
        let message = |peer: &str, sent: bool| SipMessage {
            at_ms: 1_700_000_000_123,
            sent,
            transport: "wss".to_owned(),
            local: Some("10.0.0.1:8089".parse().unwrap()),
            peer: peer.parse().unwrap(),
            message: "OPTIONS sip:x SIP/2.0\r\n\r\n".to_owned(),
        };
        let bytes = capture(&[message("192.0.2.1:5060", true), message("[2001:db8::1]:5060", false)]).unwrap();
        let mut reader = PcapReader::new(&bytes[..]).unwrap();
        assert_eq!(reader.header().datalink, DataLink::RAW);
        let mut packets = Vec::new();
        while let Some(packet) = reader.next_packet() {
            packets.push(packet.unwrap().into_owned());
        }
        assert_eq!(packets[0].timestamp.as_millis(), 1_700_000_000_123);
        let sliced = SlicedPacket::from_ip(&packets[0].data).unwrap();
        let Some(etherparse::TransportSlice::Udp(udp)) = sliced.transport else { panic!("no UDP") };
        assert_eq!((udp.source_port(), udp.destination_port()), (8_089, 5_060));
        assert_eq!(udp.payload(), b"OPTIONS sip:x SIP/2.0\r\n\r\n");
        assert!(matches!(SlicedPacket::from_ip(&packets[1].data).unwrap().net, Some(etherparse::NetSlice::Ipv6(_))));
        assert_eq!(packets.len(), 2);
    }
}

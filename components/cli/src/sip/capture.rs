//! Messages as a capture file that Wireshark and sngrep read: every message as a UDP datagram, whatever carried it.
//!
//! The file is a classic pcap file (draft-ietf-opsawg-pcap): a head, then each packet behind its time and length, least significant
//! byte first.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use anyhow::Context;
use etherparse::PacketBuilder;

use super::message::SipMessage;

/// Longest message a datagram can hold, less its headers.
const LONGEST: usize = 65_000;
/// Of the file, with times in microseconds.
const MAGIC: u32 = 0xa1b2_c3d4;
/// Packets begin with their IP header, of either version.
const LINK_RAW: u32 = 101;

/// The file's bytes.
pub(super) fn capture(messages: &[SipMessage]) -> anyhow::Result<Vec<u8>> {
    let mut file = Vec::new();
    // Version 2.4; the zone and the accuracy of times are not said; no packet is longer than 65,535 bytes.
    for word in [MAGIC, 4 << 16 | 2, 0, 0, 65_535, LINK_RAW] {
        file.extend_from_slice(&word.to_le_bytes());
    }
    for message in messages {
        let packet = packet(message)?;
        let length = u32::try_from(packet.len()).context("a message is too long")?;
        let seconds = u32::try_from(message.at_ms / 1_000).context("a time is beyond what the file can say")?;
        let micros = u32::try_from(message.at_ms % 1_000 * 1_000).unwrap_or_default();
        for word in [seconds, micros, length, length] {
            file.extend_from_slice(&word.to_le_bytes());
        }
        file.extend_from_slice(&packet);
    }
    Ok(file)
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

    fn word(bytes: &[u8], at: usize) -> u32 {
        u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
    }

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
        let file = capture(&[message("192.0.2.1:5060", true), message("[2001:db8::1]:5060", false)]).unwrap();
        assert_eq!(file[..8], [0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0], "version 2.4, as libpcap writes it");
        assert_eq!((word(&file, 16), word(&file, 20)), (65_535, LINK_RAW));
        let mut packets = Vec::new();
        let mut at = 24;
        while at < file.len() {
            assert_eq!((word(&file, at), word(&file, at + 4)), (1_700_000_000, 123_000));
            let length = word(&file, at + 8) as usize;
            assert_eq!(word(&file, at + 12) as usize, length);
            packets.push(&file[at + 16..at + 16 + length]);
            at += 16 + length;
        }
        let sliced = SlicedPacket::from_ip(packets[0]).unwrap();
        let Some(etherparse::TransportSlice::Udp(udp)) = sliced.transport else { panic!("no UDP") };
        assert_eq!((udp.source_port(), udp.destination_port()), (8_089, 5_060));
        assert_eq!(udp.payload(), b"OPTIONS sip:x SIP/2.0\r\n\r\n");
        assert!(matches!(SlicedPacket::from_ip(packets[1]).unwrap().net, Some(etherparse::NetSlice::Ipv6(_))));
        assert_eq!(packets.len(), 2);
    }
}

//! What a load balancer says about who is behind it: the PROXY protocol, versions 1 and 2 (haproxy's
//! doc/proxy-protocol.txt). It is believed from configured addresses only, and demanded from them.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::io::{AsyncRead, AsyncReadExt};

use super::{Ends, canonical};

/// What version 2 begins with.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Longest line of version 1, its end included.
const MAX_LINE: usize = 107;
/// Most bytes behind version 2's fixed part: addresses and a few extensions.
const MAX_REST: usize = 536;

/// Reads the header and nothing behind it; none when the balancer speaks for itself (a health check).
pub(super) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Ends>> {
    let mut head = [0_u8; SIGNATURE.len()];
    stream.read_exact(&mut head).await?;
    if head == SIGNATURE { read_binary(stream).await } else { read_line(stream, &head).await }
}

async fn read_binary(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Ends>> {
    let mut fixed = [0_u8; 4];
    stream.read_exact(&mut fixed).await?;
    let [command, family, length @ ..] = fixed;
    let length = usize::from(u16::from_be_bytes(length));
    if length > MAX_REST {
        return Err(ErrorKind::InvalidData.into());
    }
    let mut rest = vec![0_u8; length];
    stream.read_exact(&mut rest).await?;
    match (command, family) {
        (0x20, _) => Ok(None),
        (0x21, 0x11) => v4(&rest).map(Some).ok_or_else(|| ErrorKind::InvalidData.into()),
        (0x21, 0x21) => v6(&rest).map(Some).ok_or_else(|| ErrorKind::InvalidData.into()),
        _ => Err(ErrorKind::InvalidData.into()),
    }
}

fn v4(rest: &[u8]) -> Option<Ends> {
    let (from, rest) = rest.split_first_chunk::<4>()?;
    let (to, rest) = rest.split_first_chunk::<4>()?;
    ends(Ipv4Addr::from(*from).into(), Ipv4Addr::from(*to).into(), rest)
}

fn v6(rest: &[u8]) -> Option<Ends> {
    let (from, rest) = rest.split_first_chunk::<16>()?;
    let (to, rest) = rest.split_first_chunk::<16>()?;
    ends(Ipv6Addr::from(*from).into(), Ipv6Addr::from(*to).into(), rest)
}

fn ends(from: IpAddr, to: IpAddr, ports: &[u8]) -> Option<Ends> {
    let (from_port, rest) = ports.split_first_chunk::<2>()?;
    let (to_port, _) = rest.split_first_chunk::<2>()?;
    let peer = canonical(SocketAddr::new(from, u16::from_be_bytes(*from_port)));
    let local = canonical(SocketAddr::new(to, u16::from_be_bytes(*to_port)));
    Some(Ends { peer, local })
}

/// `PROXY TCP4 <from> <to> <from port> <to port>` and a line end.
async fn read_line(stream: &mut (impl AsyncRead + Unpin), head: &[u8]) -> io::Result<Option<Ends>> {
    let mut line = head.to_vec();
    while !line.ends_with(b"\r\n") {
        if line.len() >= MAX_LINE {
            return Err(ErrorKind::InvalidData.into());
        }
        line.push(stream.read_u8().await?);
    }
    parse_line(&line).ok_or_else(|| ErrorKind::InvalidData.into())
}

fn parse_line(line: &[u8]) -> Option<Option<Ends>> {
    let text = str::from_utf8(line).ok()?.strip_suffix("\r\n")?;
    let mut parts = text.split(' ');
    if parts.next()? != "PROXY" {
        return None;
    }
    match parts.next()? {
        "UNKNOWN" => return Some(None),
        "TCP4" | "TCP6" => {}
        _ => return None,
    }
    let [from, to] = [parts.next()?, parts.next()?];
    let [from_port, to_port] = [parts.next()?, parts.next()?];
    let address = |host: &str, port: &str| Some(canonical(SocketAddr::new(host.parse().ok()?, port.parse().ok()?)));
    let told = Ends { peer: address(from, from_port)?, local: address(to, to_port)? };
    parts.next().is_none().then_some(Some(told))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn check(bytes: &[u8], expected: Result<Option<(&str, &str)>, ErrorKind>, left: &[u8]) {
        let mut stream = bytes;
        let found = read(&mut stream).await.map_err(|error| error.kind());
        let address = |text: &str| text.parse::<SocketAddr>().expect("an address");
        let expected =
            expected.map(|ends| ends.map(|(peer, local)| Ends { peer: address(peer), local: address(local) }));
        assert_eq!(found, expected, "{:?}", String::from_utf8_lossy(bytes));
        if found.is_ok() {
            assert_eq!(stream, left, "what follows is left alone");
        }
    }

    #[tokio::test]
    async fn both_versions_are_read_and_nothing_else() {
        let line = b"PROXY TCP4 192.0.2.7 10.0.0.1 40001 5061\r\nREGISTER";
        check(line, Ok(Some(("192.0.2.7:40001", "10.0.0.1:5061"))), b"REGISTER").await;
        let line = b"PROXY TCP6 2001:db8::7 2001:db8::1 40001 8089\r\n";
        check(line, Ok(Some(("[2001:db8::7]:40001", "[2001:db8::1]:8089"))), b"").await;
        check(b"PROXY UNKNOWN\r\nrest", Ok(None), b"rest").await;
        check(b"REGISTER sip:rd.test SIP/2.0\r\n", Err(ErrorKind::InvalidData), b"").await;
        check(&[b'x'; 200], Err(ErrorKind::InvalidData), b"").await;
        check(b"PROXY TCP4 192.0.2.7", Err(ErrorKind::UnexpectedEof), b"").await;

        let mut binary = SIGNATURE.to_vec();
        binary.extend_from_slice(&[0x21, 0x11, 0, 12, 192, 0, 2, 7, 10, 0, 0, 1, 0x9c, 0x41, 0x13, 0xc5, b'R']);
        check(&binary, Ok(Some(("192.0.2.7:40001", "10.0.0.1:5061"))), b"R").await;
        let mut check_of_balancer = SIGNATURE.to_vec();
        check_of_balancer.extend_from_slice(&[0x20, 0, 0, 0]);
        check(&check_of_balancer, Ok(None), b"").await;
        let mut long = SIGNATURE.to_vec();
        long.extend_from_slice(&[0x21, 0x11, 0xff, 0xff]);
        check(&long, Err(ErrorKind::InvalidData), b"").await;
    }
}

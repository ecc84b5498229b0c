//! The sound of simulated calls: each side sends its own tone as RTP (RFC 3550) to whoever sent it any, and listens for the
//! other side's. The caller is sent music first, so the caller begins. One socket serves all calls of a side: each call has
//! its own source and SSRC.

use std::collections::BTreeMap;
use std::f64::consts::TAU;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use tokio::net::UdpSocket;
use tokio::task::JoinHandle;

/// Samples of 20 ms at 8 kHz.
const BLOCK: usize = 160;
const RATE: f64 = 8_000.0;
const PACKET_EVERY: Duration = Duration::from_millis(20);
/// A call that has been silent for half a second is over. No longer: Asterisk gives its port to the next call, and would take
/// a stale sender for that call's.
const SILENT_PACKETS: u32 = 25;
/// A tone is heard when most of the sound's energy is at its frequency in this many packets, 0.2 s.
const PACKETS_HEARD: u32 = 10;
const SHARE_HEARD: f64 = 0.7;
/// Quieter than this is no sound at all (mean square of 16-bit samples).
const LOUD_ENOUGH: f64 = 10_000.0;

/// The callers' tone, Hz. Neither is a harmonic of the other, nor of telephone signals.
pub(super) const CALLER_TONE: f64 = 700.0;
/// The agents' tone, Hz.
pub(super) const AGENT_TONE: f64 = 1_150.0;

/// One side.
#[derive(Debug)]
pub(super) struct Side {
    port: u16,
    heard: Heard,
    task: JoinHandle<()>,
}

impl Drop for Side {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Side {
    /// Sounds `own` Hz and listens for `other` Hz.
    pub(super) async fn open(address: Ipv4Addr, own: f64, other: f64) -> anyhow::Result<Self> {
        let socket = bind_even(address).await?;
        let port = socket.local_addr().context("asking for the media port")?.port();
        let heard = Arc::new(Mutex::default());
        let task = tokio::spawn(serve(socket, port, [own, other], Arc::clone(&heard)));
        Ok(Self { port, heard, task })
    }

    /// Its port.
    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// On how many calls the other side's tone was heard.
    pub(super) fn calls_heard(&self) -> u64 {
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.values().filter(|packets| **packets >= PACKETS_HEARD).count() as u64
    }
}

/// RTP is on even ports, by RFC 3550 section 11.
async fn bind_even(address: Ipv4Addr) -> anyhow::Result<UdpSocket> {
    for _ in 0..50 {
        let socket =
            UdpSocket::bind((address, 0)).await.with_context(|| format!("binding a media port on {address}"))?;
        if socket.local_addr().context("asking for the media port")?.port() % 2 == 0 {
            return Ok(socket);
        }
    }
    anyhow::bail!("there is no free even port on {address}")
}

/// What is sent to one call.
#[derive(Debug)]
struct Outgoing {
    /// Its own: Asterisk passes it on to the other side, and gives the port of a call that is over to a later one.
    ssrc: u32,
    sequence: u16,
    time: u32,
    /// Packets sent since one was received: how long the call has been silent.
    unanswered: u32,
}

impl Outgoing {
    fn new(ssrc: u32) -> Self {
        Self { ssrc, sequence: 0, time: 0, unanswered: 0 }
    }
}

type Heard = Arc<Mutex<BTreeMap<(SocketAddr, u32), u32>>>;

async fn serve(socket: UdpSocket, port: u16, [own, other]: [f64; 2], heard: Heard) {
    let mut calls: BTreeMap<SocketAddr, Outgoing> = BTreeMap::new();
    // Different from those of the other side, which has another port.
    let mut next_ssrc = u32::from(port) << 16;
    let mut buffer = [0; 2_048];
    let mut ticks = tokio::time::interval(PACKET_EVERY);
    loop {
        tokio::select! {
            received = socket.recv_from(&mut buffer) => {
                // An error is an ICMP message about a call that is over.
                let Ok((length, from)) = received else { continue };
                let Some((ssrc, payload)) = read_packet(&buffer[..length]) else { continue };
                if hears(payload, other) {
                    *heard.lock().unwrap_or_else(PoisonError::into_inner).entry((from, ssrc)).or_default() += 1;
                }
                let call = calls.entry(from).or_insert_with(|| {
                    next_ssrc = next_ssrc.wrapping_add(1);
                    Outgoing::new(next_ssrc)
                });
                call.unanswered = 0;
            }
            _ = ticks.tick() => {
                for (to, call) in &mut calls {
                    let packet = write_packet(call, own);
                    // As above.
                    socket.send_to(&packet, to).await.ok();
                    call.unanswered += 1;
                }
                calls.retain(|_, call| call.unanswered < SILENT_PACKETS);
            }
        }
    }
}

/// Source and sound of a PCMU packet; `None` for anything else.
fn read_packet(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let [first, second] = *bytes.first_chunk::<2>()?;
    let plain = first & 0b1111_0000 == 0b1000_0000 && second & 0x7f == 0;
    let header = 12 + 4 * usize::from(first & 0x0f);
    let ssrc = u32::from_be_bytes(*bytes.get(8..12)?.first_chunk()?);
    plain.then_some(())?;
    Some((ssrc, bytes.get(header..)?))
}

fn write_packet(call: &mut Outgoing, tone: f64) -> Vec<u8> {
    let mut packet = Vec::with_capacity(12 + BLOCK);
    packet.extend([0x80, 0]);
    packet.extend(call.sequence.to_be_bytes());
    packet.extend(call.time.to_be_bytes());
    packet.extend(call.ssrc.to_be_bytes());
    for sample in 0..BLOCK {
        let at = (f64::from(call.time) + sample as f64) / RATE;
        packet.push(encode((8_000.0 * (TAU * tone * at).sin()) as i16));
    }
    call.sequence = call.sequence.wrapping_add(1);
    call.time = call.time.wrapping_add(BLOCK as u32);
    packet
}

/// Whether most energy is at `tone` (Goertzel's algorithm).
fn hears(payload: &[u8], tone: f64) -> bool {
    let samples: Vec<f64> = payload.iter().map(|byte| f64::from(decode(*byte))).collect();
    if samples.is_empty() {
        return false;
    }
    let count = samples.len() as f64;
    let energy: f64 = samples.iter().map(|sample| sample * sample).sum();
    let factor = 2.0 * (TAU * tone / RATE).cos();
    let (mut before, mut last) = (0.0, 0.0);
    for sample in &samples {
        (before, last) = (last, sample + factor * last - before);
    }
    let power = last * last + before * before - factor * last * before;
    // A pure tone has power energy * count / 2.
    energy / count > LOUD_ENOUGH && power / (energy * count / 2.0) > SHARE_HEARD
}

/// G.711 mu-law.
fn encode(sample: i16) -> u8 {
    const BIAS: i32 = 0x84;
    let sign = if sample < 0 { 0x80 } else { 0 };
    let level = (i32::from(sample).abs() + BIAS).min(0x7fff);
    let exponent = (31 - level.leading_zeros()).saturating_sub(7).min(7);
    let mantissa = (level >> (exponent + 3)) & 0x0f;
    let code = sign | (i32::try_from(exponent).unwrap_or(0) << 4) | mantissa;
    !u8::try_from(code).unwrap_or(0)
}

fn decode(byte: u8) -> i16 {
    let code = !byte;
    let exponent = (code >> 4) & 7;
    let level = (((i32::from(code & 0x0f) << 3) + 0x84) << exponent) - 0x84;
    i16::try_from(if code & 0x80 == 0 { level } else { -level }).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mu_law_comes_back_nearly_the_same() {
        for sample in (-8_000..8_000).step_by(37) {
            let back = decode(encode(sample));
            assert!(
                (i32::from(back) - i32::from(sample)).abs() <= 16 + i32::from(sample).abs() / 16,
                "{sample} {back}"
            );
        }
        assert_eq!(decode(0xff), 0);
    }

    #[test]
    fn a_side_hears_the_other_tone_and_not_its_own() {
        let mut call = Outgoing::new(7);
        let packet = write_packet(&mut call, CALLER_TONE);
        let (_, sound) = read_packet(&packet).unwrap();
        assert!(hears(sound, CALLER_TONE));
        assert!(!hears(sound, AGENT_TONE));
        assert!(!hears(&[0xff; BLOCK], CALLER_TONE));
        assert!(!hears(&[], CALLER_TONE));
        assert!(read_packet(&packet[..8]).is_none());
        assert!(read_packet(&[0; 20]).is_none());
    }
}

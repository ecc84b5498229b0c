//! A mouth and an ear for tests: RTP that carries a tone (G.711 mu-law), and an ear that tells which tone arrives.

use std::f64::consts::TAU;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::task::JoinHandle;

/// Samples per second of G.711.
const RATE: f64 = 8_000.0;
/// Samples per RTP packet: 20 ms.
const FRAME: usize = 160;
/// Samples an ear listens to: half a second.
const EAR: usize = 4_000;

/// An RTP end point that sings one tone and listens.
pub struct Voice {
    inner: Arc<Inner>,
    address: SocketAddr,
    tasks: [JoinHandle<()>; 2],
}

struct Inner {
    rtp: UdpSocket,
    tone_hz: f64,
    to: Mutex<Option<SocketAddr>>,
    /// Sings to whoever was heard last.
    answers_back: bool,
    ear: Mutex<Vec<f64>>,
}

impl Drop for Voice {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

impl Voice {
    /// On a port of `host`; silent until told to whom to sing.
    pub async fn new(host: &str, tone_hz: f64) -> anyhow::Result<Self> {
        Self::open(host, tone_hz, false).await
    }

    /// The same, for one who is not told: it sings to whoever it hears.
    pub async fn answering_back(host: &str, tone_hz: f64) -> anyhow::Result<Self> {
        Self::open(host, tone_hz, true).await
    }

    async fn open(host: &str, tone_hz: f64, answers_back: bool) -> anyhow::Result<Self> {
        let rtp = UdpSocket::bind((host, 0)).await?;
        let address = rtp.local_addr()?;
        let inner = Arc::new(Inner { rtp, tone_hz, to: Mutex::default(), answers_back, ear: Mutex::default() });
        let tasks = [tokio::spawn(Arc::clone(&inner).sing(address)), tokio::spawn(Arc::clone(&inner).hear())];
        Ok(Self { inner, address, tasks })
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sings to this address from now on; none: is silent.
    pub fn sing_to(&self, to: Option<SocketAddr>) {
        *self.inner.to() = to;
    }

    /// Whether a tone is heard among what arrives from now on.
    pub async fn hears(&self, hz: f64, limit: Duration) -> bool {
        self.inner.ear().clear();
        let listen = async {
            loop {
                tokio::time::sleep(Duration::from_millis(50)).await;
                let ear = self.inner.ear().clone();
                if ear.len() >= EAR && strength(&ear, hz) > 0.3 {
                    return;
                }
            }
        };
        tokio::time::timeout(limit, listen).await.is_ok()
    }
}

/// The share of a sound's power at one frequency, of 16-bit samples at 8 kHz.
#[must_use]
pub fn share(samples: &[i16], hz: f64) -> f64 {
    strength(&samples.iter().map(|sample| f64::from(*sample)).collect::<Vec<_>>(), hz)
}

impl Inner {
    fn to(&self) -> std::sync::MutexGuard<'_, Option<SocketAddr>> {
        self.to.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ear(&self) -> std::sync::MutexGuard<'_, Vec<f64>> {
        self.ear.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends the tone every 20 ms while there is somebody to send it to.
    async fn sing(self: Arc<Self>, address: SocketAddr) {
        let mut clock = tokio::time::interval(Duration::from_millis(20));
        let (mut sequence, mut stamp) = (0_u16, 0_u32);
        loop {
            clock.tick().await;
            let Some(to) = *self.to() else { continue };
            let mut packet = vec![0x80, 0];
            packet.extend(sequence.to_be_bytes());
            packet.extend(stamp.to_be_bytes());
            packet.extend(u32::from(address.port()).to_be_bytes());
            packet.extend(tone(self.tone_hz, stamp, FRAME));
            (sequence, stamp) = (sequence.wrapping_add(1), stamp.wrapping_add(FRAME as u32));
            // Sound that does not leave is lost, as on any network.
            drop(self.rtp.send_to(&packet, to).await);
        }
    }

    /// Keeps the last half second of what arrives.
    async fn hear(self: Arc<Self>) {
        let mut buffer = [0_u8; 2_048];
        while let Ok((length, from)) = self.rtp.recv_from(&mut buffer).await {
            if length <= 12 {
                continue;
            }
            if self.answers_back {
                *self.to() = Some(from);
            }
            let mut ear = self.ear();
            ear.extend(buffer[12..length].iter().map(|byte| from_ulaw(*byte)));
            let excess = ear.len().saturating_sub(EAR);
            ear.drain(..excess);
        }
    }
}

/// `length` samples of a tone in mu-law, from sample number `start` on.
pub(crate) fn tone(hz: f64, start: u32, length: usize) -> impl Iterator<Item = u8> {
    let numbers = (0..).map(move |number: u32| start.wrapping_add(number)).take(length);
    numbers.map(move |number| to_ulaw(8_000.0 * (TAU * hz * f64::from(number) / RATE).sin()))
}

/// The share of the sound's power at one frequency (Goertzel): 1 is that tone alone.
fn strength(samples: &[f64], hz: f64) -> f64 {
    let (mut real, mut imaginary, mut power) = (0.0, 0.0, 0.0);
    for (number, sample) in samples.iter().enumerate() {
        let angle = TAU * hz * number as f64 / RATE;
        real += sample * angle.cos();
        imaginary += sample * angle.sin();
        power += sample * sample;
    }
    if power == 0.0 { 0.0 } else { 2.0 * (real * real + imaginary * imaginary) / (power * samples.len() as f64) }
}

/// G.711 mu-law (ITU-T G.711, table 2a).
fn to_ulaw(sample: f64) -> u8 {
    let sign = if sample < 0.0 { 0x80_u8 } else { 0 };
    let magnitude = (sample.abs().min(32_635.0) as u16) + 132;
    let exponent = (15 - magnitude.leading_zeros().min(15)).saturating_sub(7).min(7) as u8;
    let mantissa = ((magnitude >> (exponent + 3)) & 0x0f) as u8;
    !(sign | (exponent << 4) | mantissa)
}

fn from_ulaw(byte: u8) -> f64 {
    let byte = !byte;
    let magnitude = ((u32::from(byte & 0x0f) << 3) + 132) << ((byte >> 4) & 7);
    let value = f64::from(magnitude) - 132.0;
    if byte & 0x80 == 0 { value } else { -value }
}

/// A WAV file with ten seconds of a tone, 48,000 samples a second, 16 bits: a browser's microphone, which plays it over and over.
#[must_use]
pub fn wav(hz: f64) -> Vec<u8> {
    let rate = 48_000_u32;
    let samples = (0..rate * 10).map(|at| (f64::from(at) * hz * TAU / f64::from(rate)).sin() * 8_000.0);
    let data: Vec<u8> = samples.flat_map(|sample| (sample as i16).to_le_bytes()).collect();
    let length = u32::try_from(data.len()).unwrap_or(u32::MAX);
    let mut wav = Vec::new();
    wav.extend_from_slice(b"RIFF");
    wav.extend_from_slice(&(36 + length).to_le_bytes());
    wav.extend_from_slice(b"WAVEfmt \x10\0\0\0\x01\0\x01\0");
    wav.extend_from_slice(&rate.to_le_bytes());
    wav.extend_from_slice(&(rate * 2).to_le_bytes());
    wav.extend_from_slice(b"\x02\0\x10\0data");
    wav.extend_from_slice(&length.to_le_bytes());
    wav.extend_from_slice(&data);
    wav
}

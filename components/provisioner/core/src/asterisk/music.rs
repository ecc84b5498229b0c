//! Music on hold, composed here: Debian's packages bring none, and nobody owes anybody for this one.
//!
//! Sixteen bars in C: a broken-chord line over a bass, sines with a soft attack and decay, low enough for a telephone's
//! 300 to 3,400 Hz and quiet enough to talk over in a noisy room.

use std::f64::consts::TAU;

/// Samples per second of the file (`.sln`: signed 16 bit, little endian, mono).
const RATE: u32 = 8_000;
/// Samples per note: 0.3 s.
const NOTE: u32 = 2_400;
/// The loudest a sample gets: about -14 dBFS.
const LEVEL: f64 = 6_500.0;

/// The chords by their degrees in half-tones above C4 (261.6 Hz): I vi IV V, twice, then a close.
const CHORDS: [[i32; 3]; 8] =
    [[0, 4, 7], [-3, 0, 4], [-7, -3, 0], [-5, -1, 2], [0, 4, 7], [-3, 0, 4], [-7, -3, 0], [-5, -1, 7]];
/// The order in which a chord's notes are played within a bar, an octave up where marked by 3 and more.
const FIGURE: [usize; 8] = [0, 1, 2, 3, 2, 1, 2, 1];

/// The file's bytes: 38.4 s, 614,400 bytes. The same each time.
#[must_use]
pub fn hold_music() -> Vec<u8> {
    let mut bytes = Vec::with_capacity(2 * (2 * CHORDS.len() * FIGURE.len()) * NOTE as usize);
    for bar in 0..2 * CHORDS.len() {
        let chord = CHORDS[bar % CHORDS.len()];
        for degree in FIGURE {
            let half_tones = chord[degree % 3] + 12 * i32::from(degree >= 3);
            for sample in 0..NOTE {
                let melody = tone(half_tones, sample) * 0.75;
                let bass = tone(chord[0], sample) * 0.25;
                let value = ((melody + bass) * LEVEL).round();
                // Within ±6,500 by construction.
                #[expect(clippy::cast_possible_truncation, reason = "bounded by LEVEL")]
                bytes.extend_from_slice(&(value as i16).to_le_bytes());
            }
        }
    }
    bytes
}

/// A sine at `half_tones` above C4 with an attack of 10 ms and a linear decay.
fn tone(half_tones: i32, sample: u32) -> f64 {
    let frequency = 261.625_565 * 2_f64.powf(f64::from(half_tones) / 12.0);
    let time = f64::from(sample) / f64::from(RATE);
    let attack = (f64::from(sample) / 80.0).min(1.0);
    let decay = 1.0 - f64::from(sample) / f64::from(NOTE);
    (TAU * frequency * time).sin() * attack * decay
}

//! A fast, fixed hash for ids and short names: multiply, fold the two halves, go on.
//!
//! Not made to withstand chosen keys: whoever may create interactions in a tenant could make that tenant's look-ups slow,
//! as could be done with less effort by creating many. Nobody else's are touched.

use std::hash::Hasher;

/// An odd number without a pattern: the fraction of the golden ratio.
const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;

/// See the module's text.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Folding(u64);

impl Folding {
    fn mix(&mut self, value: u64) {
        let product = u128::from(self.0 ^ value ^ FACTOR.rotate_left(32)) * u128::from(FACTOR);
        let bytes = product.to_le_bytes();
        let (low, high) = bytes.split_at(8);
        self.0 = number(low) ^ number(high);
    }
}

impl Hasher for Folding {
    fn write(&mut self, bytes: &[u8]) {
        bytes.chunks(8).for_each(|chunk| self.mix(number(chunk)));
    }

    fn write_u8(&mut self, value: u8) {
        self.mix(u64::from(value));
    }

    fn write_u32(&mut self, value: u32) {
        self.mix(u64::from(value));
    }

    fn write_u64(&mut self, value: u64) {
        self.mix(value);
    }

    /// Lengths of keys: short texts that differ only in trailing zeros must differ.
    fn write_usize(&mut self, value: usize) {
        self.0 = self.0.wrapping_add(value as u64);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// Up to eight bytes as a number.
fn number(bytes: &[u8]) -> u64 {
    match <[u8; 8]>::try_from(bytes) {
        Ok(eight) => u64::from_le_bytes(eight),
        Err(_) => bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)),
    }
}

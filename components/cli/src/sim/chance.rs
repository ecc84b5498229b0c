//! Random numbers from a seed: the same seed gives the same load.

/// SplitMix64 (Steele, Lea, Flood 2014): tiny, and good enough to draw arrivals.
#[derive(Clone, Debug)]
pub(super) struct Chance(u64);

impl Chance {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A seed nobody chose.
    pub(super) fn seed() -> anyhow::Result<u64> {
        let mut bytes = [0; 4];
        getrandom::fill(&mut bytes).map_err(|error| anyhow::anyhow!("asking the kernel for random bytes: {error}"))?;
        Ok(u64::from(u32::from_le_bytes(bytes)))
    }

    pub(super) fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// One of `count` things: 0 to `count` - 1.
    pub(super) fn below(&mut self, count: usize) -> usize {
        usize::try_from(self.draw() % count.max(1) as u64).unwrap_or(0)
    }

    /// Exponentially distributed with this mean, cut at ten times the mean so that no run waits for one long tail.
    pub(super) fn exponential(&mut self, mean: f64) -> f64 {
        let uniform = (self.draw() >> 11) as f64 / (1_u64 << 53) as f64;
        (-(1.0 - uniform).ln() * mean).min(10.0 * mean)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_is_the_same_load_and_means_are_right() {
        let (mut one, mut other) = (Chance::new(7), Chance::new(7));
        assert!((0..100).all(|_| one.draw() == other.draw()));
        let mean = (0..20_000).map(|_| one.exponential(5.0)).sum::<f64>() / 20_000.0;
        assert!((4.8..5.2).contains(&mean), "{mean}");
        assert!((0..1_000).all(|_| one.below(3) < 3));
    }
}

//! Random choices that a printed seed repeats (xorshift64*, Vigna 2016).

/// The generator.
#[derive(Clone, Debug)]
pub struct Chance(u64);

impl Chance {
    /// From `RINGDOWN_SEED` in the environment, else from the clock; printed, so that a failure can be repeated.
    #[expect(clippy::print_stdout, reason = "a failing test shows what repeats it")]
    #[must_use]
    pub fn new() -> Self {
        let given = std::env::var("RINGDOWN_SEED").ok().and_then(|text| text.parse::<u64>().ok());
        let clock = || std::time::UNIX_EPOCH.elapsed().map_or(1, |since| u64::from(since.subsec_nanos()));
        let seed = given.unwrap_or_else(clock);
        println!("RINGDOWN_SEED={seed}");
        Self(seed.max(1))
    }

    /// A number below `limit`, which is more than 0.
    pub fn below(&mut self, limit: u32) -> u32 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        // The upper half is the better one.
        let drawn = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 32;
        u32::try_from(drawn % u64::from(limit.max(1))).unwrap_or(0)
    }
}

impl Default for Chance {
    fn default() -> Self {
        Self::new()
    }
}

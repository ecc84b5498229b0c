//! Random choices that a printed seed repeats (xorshift64*, Vigna 2016).

use ringdown_domain::SkillName;

use super::{SKILLS, skill};

/// The generator.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// From a seed; 0 is made 1.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(if seed == 0 { 1 } else { seed })
    }

    /// From the environment's `RINGDOWN_SEED` or the clock. To be printed, so that a failure can be repeated.
    #[must_use]
    pub fn seed() -> u64 {
        let given = std::env::var("RINGDOWN_SEED").ok().and_then(|text| text.parse().ok());
        let clock =
            || std::time::UNIX_EPOCH.elapsed().map_or(1, |since| u64::from(since.subsec_nanos()) + since.as_secs());
        given.unwrap_or_else(clock)
    }

    /// The next number.
    pub fn draw(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// A number below `limit`.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.draw() % limit.max(1)
    }

    /// `count` different skills.
    pub fn skills(&mut self, count: usize) -> Vec<SkillName> {
        let mut numbers = Vec::with_capacity(count);
        while numbers.len() < count {
            let number = self.below(SKILLS as u64) as usize;
            if !numbers.contains(&number) {
                numbers.push(number);
            }
        }
        numbers.sort_unstable();
        numbers.into_iter().map(skill).collect()
    }

    /// One to three of an agent's skills, so that at least this agent has them all.
    pub fn needs(&mut self, of: &[SkillName]) -> Vec<SkillName> {
        let count = 1 + self.below(3) as usize;
        let first = self.below(of.len() as u64) as usize;
        (0..count.min(of.len())).map(|step| of[(first + step) % of.len()].clone()).collect()
    }
}

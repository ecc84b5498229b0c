//! How likely a call that is started now finds no agent.
//!
//! At each of a few moments ahead, calls on their way have been answered with some chance each, and busy agents have become free
//! with some chance each. A person who answers at that moment finds no agent when the others who answered by then are as many
//! as the agents. A call that is started now hurts whenever any later moment is short, not only its own: the risk at a moment is
//! the highest of all from there on.

/// Up to so many calls and agents the distribution is computed whole; beyond, by its mean and variance.
const EXACT_UPTO: usize = 90;

/// What is expected at one moment ahead.
#[derive(Clone, Debug)]
struct Moment {
    /// Seconds from now.
    ahead: f64,
    /// Share of the answers that are expected near it; 0 when it is only watched.
    weight: f64,
    /// The number of answers: chance of each.
    answers: Vec<f64>,
    /// The number of agents that became free: chance of each.
    agents: Vec<f64>,
    mean: f64,
    variance: f64,
}

/// What is expected, and the risk in it.
#[derive(Clone, Debug)]
pub struct Outlook {
    /// Idle agents, less people who already wait for one.
    free: i64,
    is_exact: bool,
    moments: Vec<Moment>,
}

impl Outlook {
    /// An outlook at `moments` (seconds ahead and weight) with `free` idle agents, for about `size` calls and agents together.
    #[must_use]
    pub fn new(free: i64, moments: &[(f64, f64)], size: usize) -> Self {
        let moment = |(ahead, weight): &(f64, f64)| Moment {
            ahead: *ahead,
            weight: *weight,
            answers: vec![1.0],
            agents: vec![1.0],
            mean: 0.0,
            variance: 0.0,
        };
        let mut moments: Vec<Moment> = moments.iter().map(moment).collect();
        moments.sort_by(|one, other| one.ahead.total_cmp(&other.ahead));
        Self { free, is_exact: size <= EXACT_UPTO, moments }
    }

    /// Adds a call: `chance` tells how likely it has been answered so many seconds from now.
    pub fn add_call(&mut self, chance: impl Fn(f64) -> f64) {
        let is_exact = self.is_exact;
        for moment in &mut self.moments {
            let chance = chance(moment.ahead);
            moment.mean -= chance;
            moment.variance += chance * (1.0 - chance);
            if is_exact {
                widen(&mut moment.answers, chance);
            }
        }
    }

    /// Adds a busy agent: `chance` tells how likely it is free so many seconds from now.
    pub fn add_agent(&mut self, chance: impl Fn(f64) -> f64) {
        let is_exact = self.is_exact;
        for moment in &mut self.moments {
            let chance = chance(moment.ahead);
            moment.mean += chance;
            moment.variance += chance * (1.0 - chance);
            if is_exact {
                widen(&mut moment.agents, chance);
            }
        }
    }

    /// The risk of a call that is started now, 0 to 1.
    #[must_use]
    pub fn risk(&self) -> f64 {
        let mut highest: f64 = 0.0;
        let mut risk = 0.0;
        for moment in self.moments.iter().rev() {
            highest = highest.max(self.short_at(moment));
            risk += moment.weight * highest;
        }
        risk
    }

    /// How likely there are no more agents than answers at a moment.
    fn short_at(&self, moment: &Moment) -> f64 {
        if !self.is_exact {
            let spread = moment.variance.sqrt().max(1e-9);
            return normal_share_below((0.5 - moment.mean - self.free as f64) / spread);
        }
        // P(answers >= free + agents), summed over the answers.
        let mut agents = 0.0;
        let mut next = 0_usize;
        let mut short = 0.0;
        for (answers, chance) in moment.answers.iter().enumerate() {
            let most = answers as i64 - self.free;
            while next < moment.agents.len() && (next as i64) <= most {
                agents += moment.agents[next];
                next += 1;
            }
            short += chance * agents;
        }
        short.min(1.0)
    }
}

/// Adds one more that happens with `chance` to the distribution of how many happen.
fn widen(distribution: &mut Vec<f64>, chance: f64) {
    distribution.push(0.0);
    for count in (1..distribution.len()).rev() {
        distribution[count] = distribution[count] * (1.0 - chance) + distribution[count - 1] * chance;
    }
    distribution[0] *= 1.0 - chance;
}

/// The share of a normal distribution below `x` standard deviations (Abramowitz and Stegun 26.2.17; error below 7.5e-8).
fn normal_share_below(x: f64) -> f64 {
    let t = 1.0 / (1.0 + 0.231_641_9 * x.abs());
    let series =
        t * (0.319_381_530 + t * (-0.356_563_782 + t * (1.781_477_937 + t * (-1.821_255_978 + t * 1.330_274_429))));
    let tail = (-x * x / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt() * series;
    if x >= 0.0 { 1.0 - tail } else { tail }
}

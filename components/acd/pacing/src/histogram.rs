//! Durations that were seen. Older ones weigh less; what has hardly been seen is filled by a weak assumption.

/// A histogram of durations in equal bins; the last bin holds everything longer.
#[derive(Clone, Debug)]
pub struct Histogram {
    /// Seconds of one bin.
    width: f64,
    weights: Vec<f64>,
    /// Weight of this bin and all before; made when asked for after a change.
    upto: Vec<f64>,
}

impl Histogram {
    /// A histogram of `bins` bins of `width` seconds each that assumes `prior` (weight per bin).
    #[must_use]
    pub fn new(width: f64, prior: Vec<f64>) -> Self {
        let mut made = Self { width, upto: Vec::with_capacity(prior.len()), weights: prior };
        made.sum_up();
        made
    }

    /// Notes a duration in seconds.
    pub fn note(&mut self, seconds: f64) {
        let bin = self.bin(seconds);
        self.weights[bin] += 1.0;
        for weight in &mut self.upto[bin..] {
            *weight += 1.0;
        }
    }

    /// Makes everything seen so far weigh `factor` of what it did.
    pub fn fade(&mut self, factor: f64) {
        self.weights.iter_mut().for_each(|weight| *weight *= factor);
        self.sum_up();
    }

    /// The share of durations of at most `seconds`, straight between the ends of bins.
    #[must_use]
    pub fn share_upto(&self, seconds: f64) -> f64 {
        if seconds <= 0.0 {
            return 0.0;
        }
        let bin = self.bin(seconds);
        let before = if bin == 0 { 0.0 } else { self.upto[bin - 1] };
        let inside = (seconds / self.width - bin as f64).clamp(0.0, 1.0);
        (before + self.weights[bin] * inside) / self.total()
    }

    /// The duration that a share of `share` does not exceed, in seconds.
    #[must_use]
    pub fn quantile(&self, share: f64) -> f64 {
        let wanted = share.clamp(0.0, 1.0) * self.total();
        let bin = self.upto.partition_point(|weight| *weight < wanted).min(self.weights.len() - 1);
        let before = if bin == 0 { 0.0 } else { self.upto[bin - 1] };
        let inside =
            if self.weights[bin] > 0.0 { ((wanted - before) / self.weights[bin]).clamp(0.0, 1.0) } else { 0.0 };
        (bin as f64 + inside) * self.width
    }

    /// Of something that has lasted until the middle of each bin: the chance that it ends within its next second. Over three
    /// bins, so that one bin with nothing in it does not promise anything.
    #[must_use]
    pub fn hazards(&self) -> Vec<f64> {
        let last = self.weights.len() - 1;
        let at_risk = |bin: usize| self.total() - if bin == 0 { 0.0 } else { self.upto[bin - 1] };
        let hazard = |middle: usize| {
            let bins = middle.saturating_sub(1)..=(middle + 1).min(last);
            let ended: f64 = self.weights[bins.clone()].iter().sum();
            // Who ended in a bin was at risk for half of it.
            let exposed = (bins.map(at_risk).sum::<f64>() - ended / 2.0) * self.width;
            let rate = ended / exposed.max(1e-9);
            rate / (1.0 + rate / 2.0)
        };
        (0..=last).map(|bin| hazard(bin).min(1.0)).collect()
    }

    /// In which bin a duration lies.
    #[must_use]
    pub fn bin(&self, seconds: f64) -> usize {
        ((seconds / self.width).max(0.0) as usize).min(self.weights.len() - 1)
    }

    fn total(&self) -> f64 {
        self.upto.last().copied().unwrap_or(1.0)
    }

    fn sum_up(&mut self) {
        self.upto.clear();
        let mut sum = 0.0;
        for weight in &self.weights {
            sum += weight;
            self.upto.push(sum);
        }
    }
}

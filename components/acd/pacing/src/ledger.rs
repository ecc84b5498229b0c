//! How many live answers there were and how many of them were lost, in every window that counts.

use std::collections::VecDeque;

use ringdown_domain::TimestampMs;
use serde::{Deserialize, Serialize};

/// Buckets a rolling window is made of: what leaves it leaves by at most a hundredth of the window too late.
const BUCKETS: u64 = 100;

/// A window in which lost answers are counted.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Window {
    /// Over which time.
    pub span: Span,
    /// Which share of the live answers may be lost, 0 to 1. 0: none may.
    pub target: f64,
}

/// Over which time answers are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Span {
    /// The whole campaign.
    Campaign,
    /// The last so many milliseconds.
    Rolling {
        /// The length, in milliseconds.
        ms: u64,
    },
    /// Periods one after the other, as the days of a regulator.
    Period {
        /// The length, in milliseconds.
        ms: u64,
        /// When one of them begins, in milliseconds after 1970-01-01T00:00:00Z.
        begins_ms: u64,
    },
}

impl Window {
    /// The whole campaign.
    #[must_use]
    pub const fn campaign(target: f64) -> Self {
        Self { span: Span::Campaign, target }
    }

    /// The last `ms` milliseconds.
    #[must_use]
    pub const fn rolling(ms: u64, target: f64) -> Self {
        Self { span: Span::Rolling { ms }, target }
    }

    /// Periods of `ms` milliseconds.
    #[must_use]
    pub const fn period(ms: u64, begins_ms: u64, target: f64) -> Self {
        Self { span: Span::Period { ms, begins_ms }, target }
    }
}

/// What was counted in a window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WindowFigures {
    /// People who answered.
    pub answered: u64,
    /// Those of them who found no agent in time.
    pub lost: u64,
}

/// A window with what is in it.
#[derive(Clone, Debug)]
struct Counted {
    window: Window,
    now: WindowFigures,
    /// Of rolling windows: the begin of a bucket and what is in it, oldest first.
    buckets: VecDeque<(u64, WindowFigures)>,
    /// Of periods: which one.
    period: u64,
}

/// Live answers and lost ones, in all windows at once.
#[derive(Clone, Debug)]
pub struct Ledger {
    windows: Vec<Counted>,
}

impl Ledger {
    /// An empty ledger over `windows`.
    #[must_use]
    pub fn new(windows: &[Window]) -> Self {
        let counted = |window: &Window| Counted {
            window: *window,
            now: WindowFigures::default(),
            buckets: VecDeque::new(),
            period: 0,
        };
        Self { windows: windows.iter().map(counted).collect() }
    }

    /// Counts from now on in `windows`. One that was there keeps what is in it.
    pub fn set_windows(&mut self, windows: &[Window]) {
        let old = std::mem::replace(&mut self.windows, Self::new(windows).windows);
        for counted in &mut self.windows {
            if let Some(before) = old.iter().find(|before| before.window.span == counted.window.span) {
                *counted = Counted { window: counted.window, ..before.clone() };
            }
        }
    }

    /// Puts in what was counted before this process began, into the window at `place`.
    pub fn carry_in(&mut self, now: TimestampMs, place: usize, figures: WindowFigures) {
        if let Some(counted) = self.windows.get_mut(place) {
            counted.add(now, figures);
        }
    }

    /// A person answered.
    pub fn answered(&mut self, now: TimestampMs) {
        self.add(now, WindowFigures { answered: 1, lost: 0 });
    }

    /// A person who answered found no agent in time.
    pub fn lost(&mut self, now: TimestampMs) {
        self.add(now, WindowFigures { answered: 0, lost: 1 });
    }

    /// What is in each window, in the order of the settings.
    pub fn figures(&mut self, now: TimestampMs) -> Vec<(Window, WindowFigures)> {
        self.turn(now);
        self.windows.iter().map(|counted| (counted.window, counted.now)).collect()
    }

    /// How many answers may still be lost, in the window that allows the fewest; below zero when too many were. `None` without
    /// windows.
    pub fn budget(&mut self, now: TimestampMs) -> Option<f64> {
        self.turn(now);
        let budget = |counted: &Counted| counted.window.target * counted.now.answered as f64 - counted.now.lost as f64;
        self.windows.iter().map(budget).reduce(f64::min)
    }

    fn add(&mut self, now: TimestampMs, figures: WindowFigures) {
        self.turn(now);
        self.windows.iter_mut().for_each(|counted| counted.add(now, figures));
    }

    fn turn(&mut self, now: TimestampMs) {
        self.windows.iter_mut().for_each(|counted| counted.turn(now));
    }
}

impl Counted {
    fn add(&mut self, now: TimestampMs, figures: WindowFigures) {
        self.now.answered += figures.answered;
        self.now.lost += figures.lost;
        let Span::Rolling { ms } = self.window.span else { return };
        let length = (ms / BUCKETS).max(1);
        let begin = now.0 - now.0 % length;
        match self.buckets.back_mut() {
            Some((at, bucket)) if *at == begin => {
                bucket.answered += figures.answered;
                bucket.lost += figures.lost;
            }
            Some(_) | None => self.buckets.push_back((begin, figures)),
        }
    }

    /// Takes out what is over.
    fn turn(&mut self, now: TimestampMs) {
        match self.window.span {
            Span::Campaign => {}
            Span::Rolling { ms } => {
                let length = (ms / BUCKETS).max(1);
                // A bucket leaves when its last moment has left.
                while let Some((begin, bucket)) = self.buckets.front()
                    && begin + length + ms <= now.0
                {
                    self.now.answered -= bucket.answered;
                    self.now.lost -= bucket.lost;
                    self.buckets.pop_front();
                }
            }
            Span::Period { ms, begins_ms } => {
                let length = ms.max(1);
                let period = (now.0 + length - begins_ms % length) / length;
                if period != self.period {
                    self.period = period;
                    self.now = WindowFigures::default();
                }
            }
        }
    }
}

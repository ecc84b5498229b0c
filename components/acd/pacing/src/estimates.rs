//! What a campaign has learnt about its calls and its agents.

use std::collections::VecDeque;

use ringdown_domain::TimestampMs;

use crate::histogram::Histogram;

/// What the first calls are worth when nothing is known: cautious, since a guess that is too low dials too much.
const PRIOR_PROBABILITY: f64 = 0.5;
const PRIOR_CALLS: f64 = 30.0;
/// The memory is what was dialled in this time, but at least and at most so many calls.
const MEMORY_MS: u64 = 300_000;
const MEMORY_CALLS: (f64, f64) = (300.0, 3_000.0);
/// After this time what was seen weighs [`FADED`] of what it did.
const FADE_MS: u64 = 300_000;
const FADED: f64 = 0.97;

/// Which share of the calls is answered by a person.
///
/// A call counts when its time to be answered is over, whatever became of it and whenever: counted when they end, answered
/// calls would come before unanswered ones, and the share would swing with the rhythm of dialling.
#[derive(Clone, Debug)]
pub struct AnswerProbability {
    share: f64,
    worth: f64,
    /// Calls in the order in which they were dialled: when, and whether a person answered.
    dialled: VecDeque<(u64, bool)>,
    /// How many of them were taken out at the front.
    taken: u64,
    /// When calls were dialled in the last five minutes.
    recent: VecDeque<u64>,
}

impl Default for AnswerProbability {
    fn default() -> Self {
        Self {
            share: PRIOR_PROBABILITY,
            worth: PRIOR_CALLS,
            dialled: VecDeque::new(),
            taken: 0,
            recent: VecDeque::new(),
        }
    }
}

impl AnswerProbability {
    /// The share, 0 to 1.
    #[must_use]
    pub const fn share(&self) -> f64 {
        self.share
    }

    /// A call was dialled; the answer names its place for [`Self::answered`].
    pub fn dialled(&mut self, now: TimestampMs) -> u64 {
        self.dialled.push_back((now.0, false));
        self.recent.push_back(now.0);
        self.taken + self.dialled.len() as u64 - 1
    }

    /// A person answered the call at `place`.
    pub fn answered(&mut self, place: u64) {
        let index = usize::try_from(place.saturating_sub(self.taken)).unwrap_or(usize::MAX);
        if place >= self.taken
            && let Some(call) = self.dialled.get_mut(index)
        {
            call.1 = true;
        }
    }

    /// Counts the calls whose time, `ring_limit_ms` and one second more, is over.
    pub fn settle(&mut self, now: TimestampMs, ring_limit_ms: u64) {
        while self.recent.front().is_some_and(|at| at + MEMORY_MS <= now.0) {
            self.recent.pop_front();
        }
        let memory = (self.recent.len() as f64).clamp(MEMORY_CALLS.0, MEMORY_CALLS.1);
        while let Some((at, is_answered)) = self.dialled.front()
            && at + ring_limit_ms + 1_000 <= now.0
        {
            let seen = if *is_answered { 1.0 } else { 0.0 };
            self.worth = (self.worth + 1.0).min(memory);
            self.share += (seen - self.share) / self.worth;
            self.dialled.pop_front();
            self.taken += 1;
        }
    }
}

/// Everything that was learnt.
#[derive(Clone, Debug)]
pub struct Estimates {
    /// How many answer.
    pub answer: AnswerProbability,
    /// Seconds from dialling to the answer of calls that a person answered.
    pub ring: Histogram,
    /// Seconds from dialling to the end of calls that nobody answered.
    pub unanswered: Histogram,
    /// Seconds that agents talk.
    talk: Histogram,
    /// The chance that a talk in each bin of [`Self::talk`] ends within a second; made when asked for after a change.
    talk_ends: Vec<f64>,
    wrap_seconds: f64,
    wraps: f64,
    faded_at: u64,
}

impl Default for Estimates {
    /// Weak assumptions, a few calls' worth: answers after 2 to 20 s, nobody gives up before 22 s in most cases, two minutes of
    /// talk, a quarter of a minute of wrap-up.
    fn default() -> Self {
        let between = |from: f64, to: f64, weight: f64, width: f64, bins: usize| {
            let inside = |bin: usize| {
                let middle = (bin as f64 + 0.5) * width;
                if middle >= from && middle < to { weight * width / (to - from) } else { 0.0 }
            };
            (0..bins).map(inside).collect::<Vec<_>>()
        };
        let mut unanswered = between(2.0, 20.0, 3.0, 0.5, 180);
        unanswered[43] += 7.0;
        let talk =
            |bin: usize| 20.0 * ((-(bin as f64) * 5.0 / 120.0).exp() - (-(bin as f64 + 1.0) * 5.0 / 120.0).exp());
        Self {
            answer: AnswerProbability::default(),
            ring: Histogram::new(0.5, between(2.0, 20.0, 10.0, 0.5, 180)),
            unanswered: Histogram::new(0.5, unanswered),
            talk: Histogram::new(5.0, (0..720).map(talk).collect()),
            talk_ends: Vec::new(),
            wrap_seconds: 15.0,
            wraps: 10.0,
            faded_at: 0,
        }
    }
}

impl Estimates {
    /// Mean seconds of wrap-up.
    #[must_use]
    pub const fn wrap_seconds(&self) -> f64 {
        self.wrap_seconds
    }

    /// The chance that a talk that lasts `seconds` ends within the next one. Right after [`Self::settle`].
    #[must_use]
    pub fn talk_ends(&self, seconds: f64) -> f64 {
        self.talk_ends.get(self.talk.bin(seconds)).copied().unwrap_or_default()
    }

    /// An agent talked for so long.
    pub fn note_talk(&mut self, seconds: f64) {
        self.talk.note(seconds);
        self.talk_ends.clear();
    }

    /// An agent wrapped up for so long.
    pub fn note_wrap(&mut self, seconds: f64) {
        self.wraps = (self.wraps + 1.0).min(500.0);
        self.wrap_seconds = (self.wrap_seconds + (seconds - self.wrap_seconds) / self.wraps).max(0.1);
    }

    /// Lets time pass: calls whose time is over count, and what is old weighs less.
    pub fn settle(&mut self, now: TimestampMs, ring_limit_ms: u64) {
        self.answer.settle(now, ring_limit_ms);
        if self.faded_at == 0 {
            self.faded_at = now.0;
        }
        while self.faded_at + FADE_MS <= now.0 {
            self.faded_at += FADE_MS;
            for histogram in [&mut self.ring, &mut self.unanswered, &mut self.talk] {
                histogram.fade(FADED);
            }
            self.talk_ends.clear();
        }
        if self.talk_ends.is_empty() {
            self.talk_ends = self.talk.hazards();
        }
    }
}

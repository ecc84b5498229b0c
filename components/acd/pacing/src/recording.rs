//! The flight recorder: every input and every decision of a campaign's pacer, to be replayed bit for bit.
//!
//! Entries are kept in a form that keeps every bit of a number (MessagePack); JSON as it is read here does not.

use std::collections::VecDeque;

use ringdown_domain::TimestampMs;
use serde::{Deserialize, Serialize};

use crate::pacer::{Decision, Input, Pacer};
use crate::settings::Settings;

/// Something that was recorded.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "what")]
pub enum Entry {
    /// A pacer began, knowing nothing.
    Began {
        /// When.
        at: TimestampMs,
        /// Its settings.
        settings: Settings,
    },
    /// The pacer was told something.
    Told {
        /// When.
        at: TimestampMs,
        /// What.
        input: Input,
    },
    /// The pacer decided.
    Decided {
        /// When.
        at: TimestampMs,
        /// What.
        decision: Decision,
    },
}

/// Where a replay decides otherwise than the recording.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// When.
    pub at: TimestampMs,
    /// What was decided then.
    pub recorded: Decision,
    /// What is decided now.
    pub replayed: Decision,
}

/// A pacer that writes down what it is told and decides. What is taken out with [`Recording::drain`] is the shell's to keep.
#[derive(Clone, Debug)]
pub struct Recording {
    pacer: Pacer,
    entries: VecDeque<Entry>,
}

impl Recording {
    /// A recorded pacer.
    #[must_use]
    pub fn new(now: TimestampMs, settings: Settings) -> Self {
        let began = Entry::Began { at: now, settings: settings.clone() };
        Self { pacer: Pacer::new(settings), entries: VecDeque::from([began]) }
    }

    /// Takes in what happened.
    pub fn take(&mut self, now: TimestampMs, input: Input) {
        self.pacer.take(now, &input);
        self.entries.push_back(Entry::Told { at: now, input });
    }

    /// Decides. Decisions to do nothing that follow one another are written down too: they change what the next ones are.
    pub fn decide(&mut self, now: TimestampMs) -> Decision {
        let decision = self.pacer.decide(now);
        self.entries.push_back(Entry::Decided { at: now, decision: decision.clone() });
        decision
    }

    /// The pacer.
    pub const fn pacer(&mut self) -> &mut Pacer {
        &mut self.pacer
    }

    /// Takes out what was written down since the last time.
    pub fn drain(&mut self) -> impl Iterator<Item = Entry> + '_ {
        self.entries.drain(..)
    }
}

/// Decides everything anew. The entries must begin with [`Entry::Began`]; what comes before the first is skipped.
///
/// With other settings than the recorded ones (`instead`), the differences tell what these would have decided in the same
/// situations.
#[must_use]
pub fn replay<'a>(entries: impl IntoIterator<Item = &'a Entry>, instead: Option<&Settings>) -> Vec<Difference> {
    let mut pacer: Option<Pacer> = None;
    let mut differences = Vec::new();
    for entry in entries {
        match (entry, &mut pacer) {
            (Entry::Began { settings, .. }, _) => pacer = Some(Pacer::new(instead.unwrap_or(settings).clone())),
            (Entry::Told { at, input }, Some(pacer)) => {
                let is_replaced = instead.is_some() && matches!(input, Input::Settings { .. });
                if !is_replaced {
                    pacer.take(*at, input);
                }
            }
            (Entry::Decided { at, decision }, Some(pacer)) => {
                let replayed = pacer.decide(*at);
                if replayed != *decision {
                    differences.push(Difference { at: *at, recorded: decision.clone(), replayed });
                }
            }
            (Entry::Told { .. } | Entry::Decided { .. }, None) => {}
        }
    }
    differences
}

//! The course of a replacement: which step follows which. Pure: no clock, no file, no process.
//!
//! ```text
//!  Drain --> Switch --> Judge --> Shift --> Call --> (Done)
//!    |          |         |                  |
//!    |          '---------+------------------'  not good
//!    v                    v
//! (Kept)               Return --> Reshift --> (Returned)
//!                         '--> (Stuck)
//! ```
//! Up to Drain nothing is changed. Going back is a course of its own, towards the other version.

use serde::{Deserialize, Serialize};

/// How often a step may be begun: a power cut begins it again, and one that cuts the power each time must not do so for ever.
const MOST_TRIES: u32 = 3;

/// What is done now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Step {
    /// New work is kept away; where calls would end, they are waited for.
    Drain,
    /// The other version's installer: packages, configuration, start, health.
    Switch,
    /// Is it that version that runs, and is it healthy?
    Judge,
    /// New work comes again.
    Shift,
    /// A test call, where there is voice.
    Call,
    /// The version that was there before is installed again.
    Return,
    /// New work comes again to the version that was there before.
    Reshift,
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum End {
    /// The other version works.
    Done,
    /// Nothing was changed: calls did not end in time.
    Kept,
    /// The other version did not work, and the one before is back.
    Returned,
    /// Neither works: a person is needed.
    Stuck,
}

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// This step.
    Step(Step),
    /// Nothing.
    End(End),
}

impl Step {
    /// What comes when this step went well, or did not.
    pub(crate) fn next(self, good: bool) -> Next {
        match (self, good) {
            (Self::Drain, true) => Next::Step(Self::Switch),
            (Self::Drain, false) => Next::End(End::Kept),
            (Self::Switch, true) => Next::Step(Self::Judge),
            (Self::Judge, true) => Next::Step(Self::Shift),
            (Self::Shift, true) => Next::Step(Self::Call),
            (Self::Call, true) => Next::End(End::Done),
            (Self::Switch | Self::Judge | Self::Shift | Self::Call, false) => Next::Step(Self::Return),
            (Self::Return, true) => Next::Step(Self::Reshift),
            (Self::Reshift, true) => Next::End(End::Returned),
            (Self::Return | Self::Reshift, false) => Next::End(End::Stuck),
        }
    }

    /// Where a course goes on that was cut off in this step, which was begun `tries` times.
    pub(crate) fn resumed(self, tries: u32) -> Next {
        if tries < MOST_TRIES { Next::Step(self) } else { self.next(false) }
    }

    /// Whether new work is kept away meanwhile.
    pub(crate) fn is_drained(self) -> bool {
        match self {
            Self::Drain | Self::Switch | Self::Judge | Self::Return => true,
            Self::Shift | Self::Call | Self::Reshift => false,
        }
    }

    /// In words.
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Drain => "keeps new work away",
            Self::Switch => "installs and starts the other version",
            Self::Judge => "judges it",
            Self::Shift => "takes new work again",
            Self::Call => "makes a test call",
            Self::Return => "goes back to the version before",
            Self::Reshift => "takes new work again, with the version before",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Step; 7] =
        [Step::Drain, Step::Switch, Step::Judge, Step::Shift, Step::Call, Step::Return, Step::Reshift];

    /// The end when the steps in `bad` go wrong.
    fn end(bad: &[Step]) -> End {
        let mut step = Step::Drain;
        for _ in 0..ALL.len() {
            match step.next(!bad.contains(&step)) {
                Next::Step(next) => step = next,
                Next::End(end) => return end,
            }
        }
        panic!("no end after {} steps", ALL.len());
    }

    #[test]
    fn every_course_ends_where_it_should() {
        assert_eq!(end(&[]), End::Done);
        assert_eq!(end(&[Step::Drain]), End::Kept);
        for gate in [Step::Switch, Step::Judge, Step::Shift, Step::Call] {
            assert_eq!(end(&[gate]), End::Returned, "{gate:?}");
            for back in [Step::Return, Step::Reshift] {
                assert_eq!(end(&[gate, back]), End::Stuck, "{gate:?}, {back:?}");
            }
        }
    }

    #[test]
    fn a_step_that_is_cut_off_again_and_again_has_failed() {
        for step in ALL {
            assert_eq!(step.resumed(1), Next::Step(step));
            assert_eq!(step.resumed(MOST_TRIES), step.next(false));
        }
    }
}

//! The response context: every (branch state, event), and what goes upstream for every mix of failures.

use super::BranchEvent::{Failure, Provisional, RingsTooLong, Silence, Success, Unreachable};
use super::ForkAction::{Answer, Cancel, Forward, GiveUp, Release, TryNext};
use super::{Best, BranchEvent, BranchState, Fork, ForkAction};
use crate::transaction::Kind;

const EVENTS: [BranchEvent; 8] =
    [Provisional(100), Provisional(180), Success, Failure(486), Failure(603), Silence, RingsTooLong, Unreachable];

const PROCEEDING: BranchState = BranchState::Proceeding;
const ANSWERED: BranchState = BranchState::Answered;

const fn failed(status: u16, heard: bool) -> BranchState {
    BranchState::Failed { status, heard }
}

fn check(way: &[BranchEvent], cancelled: bool, expected: [(BranchState, &[ForkAction]); 8]) {
    for (event, (state, actions)) in EVENTS.into_iter().zip(expected) {
        let mut fork = Fork::new(Kind::Invite, 1, 0);
        for before in way {
            fork.step(0, *before);
        }
        if cancelled {
            fork.cancel();
        }
        let found = fork.step(0, event);
        assert_eq!(
            (fork.branch_state(0), found.as_slice()),
            (Some(state), actions),
            "{way:?} cancelled {cancelled} then {event:?}"
        );
    }
}

const OWN: fn(u16) -> ForkAction = |status| Answer(Best::Status(status));
const ITS: ForkAction = Answer(Best::Branch(0));

#[test]
fn every_state_and_event_of_a_branch() {
    check(
        &[],
        false,
        [
            (PROCEEDING, &[]),
            (PROCEEDING, &[Forward(0)]),
            (ANSWERED, &[Forward(0)]),
            (failed(486, true), &[ITS]),
            (failed(603, true), &[ITS]),
            (failed(408, false), &[OWN(408)]),
            (failed(408, false), &[OWN(408)]),
            (failed(480, false), &[OWN(480)]),
        ],
    );
    check(
        &[Provisional(180)],
        false,
        [
            (PROCEEDING, &[]),
            (PROCEEDING, &[Forward(0)]),
            (ANSWERED, &[Forward(0)]),
            (failed(486, true), &[ITS]),
            (failed(603, true), &[ITS]),
            (failed(408, false), &[OWN(408)]),
            (PROCEEDING, &[Cancel(0)]),
            (failed(480, false), &[OWN(480)]),
        ],
    );
    check(
        &[Success],
        false,
        [
            (ANSWERED, &[]),
            (ANSWERED, &[]),
            (ANSWERED, &[Forward(0)]),
            (ANSWERED, &[]),
            (ANSWERED, &[]),
            (ANSWERED, &[]),
            (ANSWERED, &[]),
            (ANSWERED, &[]),
        ],
    );
    // Given up as silent, then it wakes up.
    check(
        &[Silence],
        false,
        [
            (failed(408, false), &[Cancel(0)]),
            (failed(408, false), &[Cancel(0)]),
            (ANSWERED, &[Release(0)]),
            (failed(408, false), &[]),
            (failed(408, false), &[]),
            (failed(408, false), &[]),
            (failed(408, false), &[]),
            (failed(408, false), &[]),
        ],
    );
    check(
        &[],
        true,
        [
            (PROCEEDING, &[Cancel(0)]),
            (PROCEEDING, &[Cancel(0)]),
            (ANSWERED, &[Forward(0)]),
            (failed(486, true), &[ITS]),
            (failed(603, true), &[ITS]),
            (failed(408, false), &[OWN(487)]),
            (failed(408, false), &[OWN(487)]),
            (failed(480, false), &[OWN(487)]),
        ],
    );
    check(
        &[Provisional(180)],
        true,
        [
            (PROCEEDING, &[]),
            (PROCEEDING, &[]),
            (ANSWERED, &[Forward(0)]),
            (failed(486, true), &[ITS]),
            (failed(603, true), &[ITS]),
            (failed(408, false), &[OWN(487)]),
            (PROCEEDING, &[]),
            (failed(480, false), &[OWN(487)]),
        ],
    );
}

#[test]
fn the_best_failure_goes_upstream() {
    let best = |failures: &[BranchEvent]| {
        let mut fork = Fork::new(Kind::Invite, failures.len(), 0);
        let mut last = Vec::new();
        for (at, event) in failures.iter().enumerate() {
            last = fork.step(at, *event);
        }
        last.pop()
    };
    assert_eq!(best(&[Failure(486), Failure(404)]), Some(Answer(Best::Branch(0))), "the first of equals");
    assert_eq!(best(&[Failure(486), Failure(407)]), Some(Answer(Best::Branch(1))), "what tells what to do");
    assert_eq!(best(&[Failure(500), Failure(486)]), Some(Answer(Best::Branch(1))), "the lower class");
    assert_eq!(best(&[Failure(302), Failure(486)]), Some(Answer(Best::Branch(0))));
    assert_eq!(best(&[Failure(486), Failure(603)]), Some(Answer(Best::Branch(1))), "6xx beats all");
    assert_eq!(best(&[Silence, Failure(486)]), Some(Answer(Best::Branch(1))), "a phone that spoke");
    assert_eq!(best(&[Silence, Unreachable]), Some(OWN(480)));
    assert_eq!(best(&[Failure(503)]), Some(OWN(500)), "503 is not passed on");
    assert_eq!(best(&[Failure(430)]), Some(OWN(480)));
}

#[test]
fn a_6xx_stops_the_others() {
    let mut fork = Fork::new(Kind::Invite, 3, 0);
    fork.step(0, Provisional(180));
    assert_eq!(fork.step(2, Failure(600)), [Cancel(0)]);
    assert_eq!(fork.step(1, Provisional(180)), [Cancel(1)], "it had said nothing before");
    assert_eq!(fork.step(0, Failure(487)), []);
    assert_eq!(fork.step(1, Failure(487)), [Answer(Best::Branch(2))]);
}

#[test]
fn the_next_target_is_tried_when_that_may_help() {
    for (event, next) in [(Silence, true), (Unreachable, true), (Failure(503), true), (Failure(486), false)] {
        let mut fork = Fork::new(Kind::Invite, 1, 1);
        assert_eq!(fork.step(0, event) == [TryNext], next, "{event:?}");
    }
    let mut cancelled = Fork::new(Kind::Invite, 1, 1);
    cancelled.cancel();
    assert_eq!(cancelled.step(0, Silence), [OWN(487)]);
    let mut fork = Fork::new(Kind::Invite, 1, 1);
    fork.step(0, Silence);
    let at = fork.add_branch();
    assert_eq!(fork.step(at, Success), [Forward(1)]);
}

#[test]
fn other_requests_are_not_answered_408_and_answered_once() {
    let mut silent = Fork::new(Kind::NonInvite, 1, 0);
    assert_eq!(silent.step(0, Silence), [GiveUp]);
    let mut fork = Fork::new(Kind::NonInvite, 2, 0);
    assert_eq!(fork.step(0, Success), [Forward(0)]);
    assert_eq!(fork.step(1, Success), []);
    assert_eq!(fork.cancel(), []);
}

#[test]
fn nothing_provisional_follows_the_outcome() {
    let mut fork = Fork::new(Kind::Invite, 2, 0);
    assert_eq!(fork.step(0, Success), [Forward(0)]);
    assert_eq!(fork.step(1, Provisional(180)), [Cancel(1)]);
    assert_eq!(fork.step(1, Provisional(183)), []);
    assert_eq!(fork.step(1, Failure(487)), []);
}

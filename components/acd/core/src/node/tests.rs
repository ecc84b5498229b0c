//! Liveness against a naive model that keeps the whole history; strangers case by case, and what must never happen at random.

use proptest::prelude::*;
use ringdown_domain::{InteractionId, TimestampMs};

use super::{
    CLOSED_ROW, ListedChannel, ListedNode, Liveness, Look, Owner, SILENT_FOR_MS, SILENT_ROW, StrangerOrder, Strangers,
    UNCLAIMED_LISTINGS, UNREACHABLE_ROW, Verdict,
};

const START: TimestampMs = TimestampMs(1_000_000);

#[test]
fn four_listings_that_time_out_hours_apart_are_no_death() {
    let mut liveness = Liveness::default();
    let mut now = START;
    for _ in 0..20 {
        now = now.plus_ms(3_600_000);
        assert_eq!(liveness.looked(now, Look::Silent), Verdict::Doubtful);
        assert_eq!(liveness.looked(now.plus_ms(2_000), Look::Answered), Verdict::Alive);
    }
}

#[test]
fn a_closed_port_is_dead_at_the_third_look_and_alive_at_the_first_answer() {
    let mut liveness = Liveness::default();
    let mut look = |look| liveness.looked(START, look);
    assert_eq!(look(Look::PortClosed), Verdict::Doubtful);
    assert_eq!(look(Look::PortClosed), Verdict::Doubtful);
    assert_eq!(look(Look::PortClosed), Verdict::Dead);
    assert_eq!(look(Look::PortClosed), Verdict::StillDead, "a death is told once");
    assert_eq!(look(Look::Answered), Verdict::Alive);
    assert_eq!(look(Look::PortClosed), Verdict::Doubtful);
}

#[test]
fn a_node_whose_websocket_is_open_is_alive_however_slow() {
    let mut liveness = Liveness::default();
    liveness.websocket(true);
    for minute in 0..60 {
        assert_eq!(liveness.looked(START.plus_ms(minute * 60_000), Look::Silent), Verdict::Alive);
    }
    liveness.websocket(false);
    assert_eq!(liveness.looked(START.plus_ms(4_000_000), Look::Silent), Verdict::Doubtful, "the row begins now");
}

#[test]
fn silence_takes_long() {
    let mut liveness = Liveness::default();
    for second in [0, 10, 20] {
        assert_eq!(liveness.looked(START.plus_ms(second * 1_000), Look::Silent), Verdict::Doubtful);
    }
    assert_eq!(liveness.looked(START.plus_ms(SILENT_FOR_MS), Look::Silent), Verdict::Dead);
}

/// What a naive reader of the whole history says: dead when the looks since the last sign of life hold enough of one kind.
fn is_dead(history: &[(u64, Look)]) -> bool {
    let row = history.rsplit(|(_, look)| *look == Look::Answered).next().unwrap_or_default();
    let count = |kind| row.iter().filter(|(_, look)| *look == kind).count();
    let first = row.iter().find(|(_, look)| *look == Look::Silent).map_or(0, |(at, _)| *at);
    let last = row.last().map_or(0, |(at, _)| *at);
    count(Look::PortClosed) >= CLOSED_ROW as usize
        || count(Look::Unreachable) >= UNREACHABLE_ROW as usize
        || (count(Look::Silent) >= SILENT_ROW as usize && last - first >= SILENT_FOR_MS)
}

proptest! {
    /// The verdict is that of the whole history, whatever its order, and a death is told once.
    #[test]
    fn liveness_is_what_the_history_says(steps in prop::collection::vec((0_u8..6, 0_u64..20_000), 1..80)) {
        let (mut liveness, mut history, mut now, mut told) = (Liveness::default(), Vec::new(), 0, false);
        for (kind, wait) in steps {
            now += wait;
            let look = match kind {
                0 => Look::Answered,
                1 => Look::PortClosed,
                2 => Look::Unreachable,
                _ => Look::Silent,
            };
            history.push((now, look));
            let verdict = liveness.looked(START.plus_ms(now), look);
            let dead = told && look != Look::Answered || is_dead(&history);
            let expected = match (look, dead, told) {
                (Look::Answered, ..) => Verdict::Alive,
                (_, true, true) => Verdict::StillDead,
                (_, true, false) => Verdict::Dead,
                (_, false, _) => Verdict::Doubtful,
            };
            prop_assert_eq!(verdict, expected, "{:?}", history);
            told = dead && look != Look::Answered;
        }
    }
}

fn interaction(number: u8) -> InteractionId {
    InteractionId::from_parts(u64::from(number), &[number; 10])
}

fn caller(id: &str, number: u8, is_placed: bool) -> ListedChannel<'_> {
    ListedChannel { id, owner: Owner::Caller { interaction: interaction(number), is_placed }, is_known: false }
}

fn leg(id: &str, number: u8) -> ListedChannel<'_> {
    ListedChannel { id, owner: Owner::Leg(interaction(number)), is_known: false }
}

fn listing(channels: Vec<ListedChannel<'_>>) -> ListedNode<'_> {
    ListedNode { channels, ..ListedNode::default() }
}

#[test]
fn a_stranger_is_met_twice_before_anything_happens_to_it() {
    let mut strangers = Strangers::default();
    let both = listing(vec![caller("c", 1, true), leg("l", 2)]);
    assert_eq!(strangers.listed(&both), []);
    let expected = [StrangerOrder::Adopt("c".to_owned()), StrangerOrder::HangUpLeg("l".to_owned())];
    assert_eq!(strangers.listed(&both), expected);
    assert_eq!(strangers.listed(&listing(Vec::new())), []);
    assert_eq!(strangers.listed(&both), [], "not in a row");
}

#[test]
fn the_first_listing_after_a_connection_adopts_callers_and_ends_nothing() {
    let mut strangers = Strangers::default();
    let mut first = listing(vec![caller("c", 1, true), caller("x", 3, false), leg("l", 1), leg("m", 2)]);
    first.is_first = true;
    assert_eq!(strangers.listed(&first), [StrangerOrder::Adopt("c".to_owned())]);
}

#[test]
fn the_leg_of_a_caller_who_is_not_taken_in_yet_lives() {
    let mut strangers = Strangers::default();
    let both = listing(vec![caller("c", 1, true), leg("l", 1)]);
    for _ in 0..3 {
        assert!(!strangers.listed(&both).contains(&StrangerOrder::HangUpLeg("l".to_owned())));
    }
}

#[test]
fn nobody_is_hung_up_while_a_configuration_cannot_be_read() {
    let mut strangers = Strangers::default();
    let mut blind = listing(vec![caller("x", 3, false), leg("l", 2)]);
    blind.bridges = vec![("b", interaction(2), false)];
    blind.is_partly_blind = true;
    for _ in 0..10 {
        assert_eq!(strangers.listed(&blind), []);
    }
    blind.is_partly_blind = false;
    let expected = [StrangerOrder::Refuse("x".to_owned()), StrangerOrder::HangUpLeg("l".to_owned())];
    assert_eq!(strangers.listed(&blind), expected);
}

#[test]
fn an_interaction_without_a_channel_is_ended_after_a_row_of_listings() {
    let mut strangers = Strangers::default();
    strangers.expect(interaction(1));
    strangers.expect(interaction(2));
    let there = listing(vec![caller("c", 1, true)]);
    for _ in 1..UNCLAIMED_LISTINGS {
        drop(strangers.listed(&there));
    }
    let ended = strangers.listed(&there);
    assert!(ended.contains(&StrangerOrder::EndInteraction(interaction(2))), "{ended:?}");
    assert!(strangers.is_expected(interaction(1)), "its channel is there");
    strangers.claimed(interaction(1));
    assert_eq!(strangers.expected(), 0);
}

//! The pacer against naive models, and what must hold whatever happens.

use proptest::prelude::*;
use ringdown_domain::{AgentId, InteractionId, TimestampMs};
use uuid::Uuid;

use crate::recording::{Entry, Recording, replay};
use crate::shortage::Outlook;
use crate::{Input, Ledger, Mode, Pacer, Rule, Settings, Window, WindowFigures};

fn agent(number: u8) -> AgentId {
    AgentId(Uuid::from_u128(u128::from(number)))
}

fn call(number: u16) -> InteractionId {
    InteractionId(Uuid::from_u128(u128::from(number)))
}

/// How likely there are no more agents than answers, by going through every combination.
fn short_by_enumeration(free: i64, answers: &[f64], agents: &[f64]) -> f64 {
    let all: Vec<f64> = answers.iter().chain(agents).copied().collect();
    let mut short = 0.0;
    for happens in 0..1_u32 << all.len() {
        let is_set = |index: usize| happens >> index & 1 == 1;
        let chance: f64 =
            all.iter().enumerate().map(|(index, chance)| if is_set(index) { *chance } else { 1.0 - chance }).product();
        let answered = (0..answers.len()).filter(|index| is_set(*index)).count() as i64;
        let freed = (answers.len()..all.len()).filter(|index| is_set(*index)).count() as i64;
        if answered >= free + freed {
            short += chance;
        }
    }
    short
}

fn risk_at_one_moment(free: i64, answers: &[f64], agents: &[f64], size: usize) -> f64 {
    let mut outlook = Outlook::new(free, &[(5.0, 1.0)], size);
    answers.iter().for_each(|chance| outlook.add_call(|_| *chance));
    agents.iter().for_each(|chance| outlook.add_agent(|_| *chance));
    outlook.risk()
}

proptest! {
    #[test]
    fn the_risk_is_what_going_through_every_combination_gives(
        free in -3_i64..5,
        answers in prop::collection::vec(0.0_f64..=1.0, 0..6),
        agents in prop::collection::vec(0.0_f64..=1.0, 0..6),
    ) {
        let exact = risk_at_one_moment(free, &answers, &agents, answers.len() + agents.len());
        prop_assert!((exact - short_by_enumeration(free, &answers, &agents)).abs() < 1e-9);
    }

    #[test]
    fn for_many_the_mean_and_variance_tell_nearly_the_same(
        free in 0_i64..20,
        answers in prop::collection::vec(0.05_f64..0.95, 40..60),
        agents in prop::collection::vec(0.05_f64..0.95, 20..40),
    ) {
        let exact = risk_at_one_moment(free, &answers, &agents, 0);
        let about = risk_at_one_moment(free, &answers, &agents, 1_000);
        prop_assert!((exact - about).abs() < 0.02, "{exact} and {about}");
    }

    #[test]
    fn a_later_moment_that_is_short_counts_for_the_earlier_ones(early in 0.0_f64..=1.0, late in 0.0_f64..=1.0) {
        let mut outlook = Outlook::new(1, &[(2.0, 1.0), (20.0, 0.0)], 1);
        outlook.add_call(|ahead| if ahead < 10.0 { early } else { late });
        prop_assert!((outlook.risk() - early.max(late)).abs() < 1e-9);
    }

    #[test]
    fn the_ledger_counts_what_is_in_its_windows(steps in prop::collection::vec((0_u64..400_000, any::<bool>()), 1..200)) {
        let windows =
            [Window::campaign(0.03), Window::rolling(3_600_000, 0.03), Window::period(1_800_000, 600_000, 0.01)];
        let mut ledger = Ledger::new(&windows);
        let mut seen: Vec<(u64, bool)> = Vec::new();
        let mut now = 1_000_000_000_u64;
        for (later, is_lost) in steps {
            now += later;
            ledger.answered(TimestampMs(now));
            if is_lost {
                ledger.lost(TimestampMs(now));
            }
            seen.push((now, is_lost));
            let count = |counts: &dyn Fn(u64) -> bool| WindowFigures {
                answered: seen.iter().filter(|(at, _)| counts(*at)).count() as u64,
                lost: seen.iter().filter(|(at, is_lost)| counts(*at) && *is_lost).count() as u64,
            };
            let figures = ledger.figures(TimestampMs(now));
            prop_assert_eq!(figures[0].1, count(&|_| true));
            // What rolls out does so by buckets of a hundredth: nothing too early, nothing much too late.
            let (at_least, at_most) =
                (count(&|at| at + 3_600_000 > now), count(&|at| at + 3_600_000 + 36_000 > now));
            prop_assert!(figures[1].1.answered >= at_least.answered && figures[1].1.answered <= at_most.answered);
            prop_assert!(figures[1].1.lost >= at_least.lost && figures[1].1.lost <= at_most.lost);
            let period = |at: u64| (at - 600_000) / 1_800_000;
            prop_assert_eq!(figures[2].1, count(&|at| period(at) == period(now)));
        }
    }
}

/// Something that happens, drawn.
fn inputs() -> impl Strategy<Value = (u64, Input)> {
    let what = prop_oneof![
        4 => (0_u8..12).prop_map(|number| Input::Idle { agent: agent(number) }),
        3 => (0_u8..12).prop_map(|number| Input::Talking { agent: agent(number) }),
        3 => (0_u8..12).prop_map(|number| Input::WrappingUp { agent: agent(number) }),
        1 => (0_u8..12).prop_map(|number| Input::Away { agent: agent(number) }),
        4 => (0_u16..40).prop_map(|number| Input::Dialled { call: call(number) }),
        1 => (0_u32..4).prop_map(|count| Input::NotDialled { count }),
        4 => (0_u16..40).prop_map(|number| Input::Answered { call: call(number) }),
        3 => (0_u16..40).prop_map(|number| Input::Unanswered { call: call(number) }),
        3 => (0_u16..40).prop_map(|number| Input::Connected { call: call(number) }),
        1 => (0_u16..40).prop_map(|number| Input::Lost { call: call(number) }),
        1 => (0_u16..40).prop_map(|number| Input::LeftEarly { call: call(number) }),
        1 => (0_u8..3).prop_map(|target| Input::Settings {
            settings: Settings { windows: vec![Window::campaign(f64::from(target) / 100.0)], ..Settings::default() },
        }),
    ];
    (0_u64..4_000, what)
}

proptest! {
    #[test]
    fn what_was_recorded_is_decided_again(history in prop::collection::vec(inputs(), 0..300)) {
        let mut now = 1_000;
        let mut recording = Recording::new(TimestampMs(now), Settings::default());
        for (later, input) in history {
            now += later;
            recording.take(TimestampMs(now), input);
            recording.decide(TimestampMs(now));
        }
        let entries: Vec<Entry> = recording.drain().collect();
        // What is kept is written in bytes and read again.
        let bytes = rmp_serde::to_vec_named(&entries).unwrap();
        let read: Vec<Entry> = rmp_serde::from_slice(&bytes).unwrap();
        prop_assert_eq!(&read, &entries);
        prop_assert!(replay(&read, None).is_empty());
    }

    #[test]
    fn limits_hold_whatever_happens(
        history in prop::collection::vec(inputs(), 0..300),
        most_in_flight in 0_u32..20,
        mode in prop_oneof![
            Just(Mode::Progressive),
            Just(Mode::Predictive),
            Just(Mode::Agentless),
            (1.0_f64..5.0).prop_map(|calls_per_agent| Mode::Power { calls_per_agent }),
        ],
    ) {
        let settings = Settings { mode, most_in_flight, ..Settings::default() };
        let mut pacer = Pacer::new(settings);
        let mut now = 1_000;
        for (later, input) in history {
            now += later;
            if !matches!(input, Input::Settings { .. }) {
                pacer.take(TimestampMs(now), &input);
            }
            let decision = pacer.decide(TimestampMs(now));
            let why = decision.why;
            prop_assert!((0.0..=1.0 + 1e-9).contains(&why.risk));
            if decision.dial > 0 {
                prop_assert!(why.in_flight + decision.dial <= most_in_flight);
            }
            if mode == Mode::Progressive {
                prop_assert!(decision.dial <= why.idle.saturating_sub(why.in_flight + why.waiting));
            }
        }
    }
}

#[test]
fn where_nothing_may_be_lost_there_is_one_call_for_each_idle_agent() {
    let settings = Settings { windows: vec![Window::rolling(86_400_000, 0.0)], ..Settings::default() };
    let mut pacer = Pacer::new(settings);
    (0..5).for_each(|number| pacer.take(TimestampMs(1_000), &Input::Idle { agent: agent(number) }));
    let decision = pacer.decide(TimestampMs(1_000));
    assert_eq!((decision.dial, decision.why.rule), (5, Rule::Idle));
    assert_eq!(pacer.decide(TimestampMs(1_500)).dial, 0, "five are on their way");
}

#[test]
fn reserved_agents_are_left_alone() {
    let settings = Settings { mode: Mode::Progressive, reserved_agents: 2, ..Settings::default() };
    let mut pacer = Pacer::new(settings);
    (0..3).for_each(|number| pacer.take(TimestampMs(1_000), &Input::Idle { agent: agent(number) }));
    assert_eq!(pacer.decide(TimestampMs(1_000)).dial, 1);
}

#[test]
fn calls_per_second_are_kept() {
    let settings = Settings { mode: Mode::Agentless, most_per_second: 10.0, ..Settings::default() };
    let mut pacer = Pacer::new(settings);
    let dialled: u32 = (0..100).map(|tenth| pacer.decide(TimestampMs(1_000 + tenth * 100)).dial).sum();
    // Ten seconds, and what one second allows at once at the beginning.
    assert!((100..=110).contains(&dialled), "{dialled}");
}

#[test]
fn a_call_counts_when_its_time_is_over_and_not_when_it_is_answered() {
    let mut pacer = Pacer::new(Settings::default());
    for number in 0..100 {
        pacer.take(TimestampMs(1_000), &Input::Dialled { call: call(number) });
        pacer.take(TimestampMs(5_000), &Input::Answered { call: call(number) });
    }
    assert!((pacer.decide(TimestampMs(6_000)).why.answer_probability - 0.5).abs() < 1e-9);
    assert!(pacer.decide(TimestampMs(24_000)).why.answer_probability > 0.8);
}

#[test]
fn after_too_many_lost_answers_there_is_one_call_for_each_idle_agent() {
    let mut pacer = Pacer::new(Settings::default());
    let figures = WindowFigures { answered: 100, lost: 10 };
    pacer.take(TimestampMs(1_000), &Input::Carried { window: 0, figures });
    (0..20).for_each(|number| pacer.take(TimestampMs(1_000), &Input::Idle { agent: agent(number) }));
    let decision = pacer.decide(TimestampMs(1_000));
    assert_eq!((decision.dial, decision.why.rule, decision.why.price), (20, Rule::Idle, 0.0));
}

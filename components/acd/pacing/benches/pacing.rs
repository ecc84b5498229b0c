//! How well the pacer uses agents' time, and how many answers it loses, on a simulated floor. `cargo bench -p ringdown-acd-pacing`
//! prints lines `name value unit`. With `RINGDOWN_BENCH_LINES=short` the sizes 10, 50 and 200 only, and fewer answers. The run
//! fails when a bar is missed: nothing here depends on how fast the machine is, but for the cost of a decision, which is printed.

mod floor;

use std::io::Write;
use std::process::ExitCode;
use std::sync::Mutex;
use std::thread;

use floor::{Answers, Floor, Outcome, Scene};
use ringdown_acd_pacing::recording::replay;
use ringdown_acd_pacing::{Entry, Settings, Window};

const HOUR_MS: u64 = 3_600_000;

/// A size with its bars, in per cent of the agents' time: answer rates 0.1, 0.25, 0.5, drifting.
struct Bars {
    agents: usize,
    target: f64,
    utilisation: [f64; 4],
}

const fn bars(agents: usize, target: f64, utilisation: [f64; 4]) -> Bars {
    Bars { agents, target, utilisation }
}

const BARS: [Bars; 8] = [
    bars(5, 0.03, [72.5, 79.0, 85.5, 76.5]),
    bars(10, 0.03, [80.0, 83.0, 87.0, 81.5]),
    bars(20, 0.03, [86.0, 87.5, 89.5, 87.0]),
    bars(50, 0.03, [92.0, 92.5, 93.5, 92.5]),
    bars(200, 0.03, [97.0, 97.0, 97.5, 96.0]),
    bars(10, 0.01, [75.0, 79.5, 85.0, 78.0]),
    bars(50, 0.01, [90.0, 91.0, 91.5, 90.0]),
    bars(200, 0.01, [95.5, 96.0, 96.5, 95.0]),
];
const ANSWERS: [(&str, Answers); 4] = [
    ("answer_10", Answers::Fixed(0.1)),
    ("answer_25", Answers::Fixed(0.25)),
    ("answer_50", Answers::Fixed(0.5)),
    ("answer_drifting", Answers::Drifting),
];

/// A figure with its bar.
struct Line {
    name: String,
    value: f64,
    unit: &'static str,
    is_missed: bool,
}

type Work = Box<dyn FnOnce() -> Vec<Line> + Send>;

fn main() -> ExitCode {
    let is_short = std::env::var("RINGDOWN_BENCH_LINES").is_ok_and(|form| form == "short");
    let mut work: Vec<Work> = Vec::new();
    utilisation(&mut work, is_short);
    work.push(Box::new(replays));
    work.push(Box::new(decision_cost));
    if !is_short {
        daily_window(&mut work);
        robustness(&mut work);
    }
    let missed = run(work);
    if missed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs the work on all cores; prints its lines as they come. Gives how many bars were missed.
fn run(work: Vec<Work>) -> usize {
    let work = Mutex::new(work);
    let missed = Mutex::new(0);
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while let Some(next) = { work.lock().expect("no worker panics").pop() } {
                    for line in next() {
                        print(&line);
                        *missed.lock().expect("no worker panics") += usize::from(line.is_missed);
                    }
                }
            });
        }
    });
    missed.into_inner().expect("no worker panics")
}

fn print(line: &Line) {
    let mut out = std::io::stdout().lock();
    let mark = if line.is_missed { "   <- misses its bar" } else { "" };
    writeln!(out, "{} {:.2} {}{mark}", line.name, line.value, line.unit).expect("figures can be printed");
}

fn settings(windows: Vec<Window>) -> Settings {
    Settings { windows, most_in_flight: 100_000, most_per_second: 100_000.0, ..Settings::default() }
}

fn scene(agents: usize, answers: Answers, live_answers: u64) -> Scene {
    Scene { agents, answers, talk_sigma: 0.8, tick_ms: 500, live_answers, at_least_ms: 0, seed: 7 }
}

fn figures(name: &str, outcome: &Outcome, target: f64, bar: f64) -> Vec<Line> {
    let utilisation = outcome.utilisation * 100.0;
    let lost = outcome.lost_share() * 100.0;
    vec![
        Line { name: format!("{name}_utilisation"), value: utilisation, unit: "pct", is_missed: utilisation < bar },
        Line { name: format!("{name}_lost"), value: lost, unit: "pct", is_missed: lost > target * 100.0 },
    ]
}

/// Every size and answer rate against its bar.
fn utilisation(work: &mut Vec<Work>, is_short: bool) {
    for bars in &BARS {
        if is_short && (bars.agents == 5 || bars.agents == 20) {
            continue;
        }
        for ((answers_name, answers), bar) in ANSWERS.into_iter().zip(bars.utilisation) {
            let (agents, target) = (bars.agents, bars.target);
            let live = match (is_short, agents) {
                (true, _) => 6_000,
                (false, 200) => 18_000,
                (false, _) => 10_000,
            };
            work.push(Box::new(move || {
                let name = format!("agents_{agents}_{answers_name}_target_{:.0}", target * 100.0);
                let outcome = Floor::new(scene(agents, answers, live), settings(vec![Window::campaign(target)])).run();
                figures(&name, &outcome, target, bar)
            }));
        }
    }
}

/// A day of a regulator is kept, not only the long run; and two windows at once.
fn daily_window(work: &mut Vec<Work>) {
    for (agents, bar) in [(5, 77.5), (10, 81.5), (20, 86.0)] {
        work.push(Box::new(move || {
            let period = Window::period(8 * HOUR_MS, 0, 0.03);
            let scene = Scene { at_least_ms: 101 * 8 * HOUR_MS, ..scene(agents, Answers::Fixed(0.25), 0) };
            let outcome = Floor::new(scene, settings(vec![period])).run();
            let name = format!("daily_agents_{agents}");
            // The first block learns.
            let shares =
                outcome.blocks.iter().skip(1).take(100).map(|(answered, lost)| *lost as f64 / *answered as f64);
            let shares: Vec<f64> = shares.collect();
            let kept = shares.iter().filter(|share| **share <= 0.03).count() as f64;
            let worst = shares.iter().copied().fold(0.0, f64::max) * 100.0;
            let mut lines = figures(&name, &outcome, 0.03, bar);
            lines.push(Line { name: format!("{name}_blocks_kept"), value: kept, unit: "pct", is_missed: kept < 99.0 });
            lines.push(Line { name: format!("{name}_worst_block"), value: worst, unit: "pct", is_missed: worst > 3.2 });
            lines
        }));
    }
    work.push(Box::new(|| {
        let windows = vec![Window::rolling(24 * HOUR_MS, 0.03), Window::rolling(30 * 24 * HOUR_MS, 0.03)];
        let mut floor =
            Floor::new(Scene { at_least_ms: 120 * HOUR_MS, ..scene(20, Answers::Drifting, 0) }, settings(windows));
        let mut worst: f64 = 0.0;
        for hour in 0..120_u64 {
            for _ in 0..HOUR_MS / 100 {
                floor.step();
            }
            floor.pacer.drain().for_each(drop);
            let now = ringdown_domain::TimestampMs((hour + 1) * HOUR_MS);
            if hour >= 24 {
                let shares = floor.pacer.pacer().figures(now);
                worst = shares.iter().map(|(_, seen)| seen.lost as f64 / seen.answered as f64).fold(worst, f64::max);
            }
        }
        let value = worst * 100.0;
        vec![Line { name: "two_windows_worst".to_owned(), value, unit: "pct", is_missed: value > 3.0 }]
    }));
}

/// The same pacer, its settings unchanged, in a world that is otherwise than expected.
fn robustness(work: &mut Vec<Work>) {
    let base = || scene(20, Answers::Fixed(0.25), 10_000);
    let run = |name: &'static str, scene: Scene, points: f64| -> Work {
        Box::new(move || {
            let outcome = Floor::new(scene, settings(vec![Window::campaign(0.03)])).run();
            // The base cell's bar of requirement 1 is a point under its figure.
            figures(&format!("robust_{name}"), &outcome, 0.03, 88.5 - points)
        })
    };
    work.push(run("talk_even", Scene { talk_sigma: 0.4, ..base() }, 1.0));
    work.push(run("talk_uneven", Scene { talk_sigma: 1.2, ..base() }, 1.0));
    work.push(run("tick_200ms", Scene { tick_ms: 200, ..base() }, 1.0));
    work.push(run("tick_2s", Scene { tick_ms: 2_000, ..base() }, 1.0));
    work.push(run("answers_jump", Scene { answers: Answers::Jumping, ..base() }, 4.0));
}

/// What was recorded is decided again, bit for bit.
fn replays() -> Vec<Line> {
    let mut floor = Floor::new(scene(50, Answers::Drifting, 0), settings(vec![Window::campaign(0.03)]));
    for _ in 0..4 * HOUR_MS / 100 {
        floor.step();
    }
    let entries: Vec<Entry> = floor.pacer.drain().collect();
    let differences = replay(&entries, None).len();
    vec![Line {
        name: "replay_differences".to_owned(),
        value: differences as f64,
        unit: "decisions",
        is_missed: differences > 0,
    }]
}

/// One decision with 200 agents and about 300 calls in flight; printed, not judged.
fn decision_cost() -> Vec<Line> {
    let outcome = Floor::new(scene(200, Answers::Fixed(0.1), 4_000), settings(vec![Window::campaign(0.03)])).run();
    vec![Line { name: "decision_p99".to_owned(), value: outcome.decision_p99_us, unit: "us", is_missed: false }]
}

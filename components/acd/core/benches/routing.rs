//! What routing costs, one thread, nothing but the core. `cargo bench -p ringdown-acd-core` measures with divan. With
//! `RINGDOWN_BENCH_LINES` it prints lines `name value unit` instead: `short` for 10,000 agents, else all sizes. The suite `bench-acd`
//! does that; `RINGDOWN_BENCH_ENFORCE=1` makes the bars of the design fail the run.

mod workload;

use std::io::Write;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use divan::Bencher;
use workload::{Centre, Records};

const PAIRS: u32 = 200_000;
const SEARCHES: u32 = 100_000;
/// Pairs per second with 10,000 agents (DESIGN 8).
const PAIRS_BAR: f64 = 500_000.0;
/// Longest search for an agent nobody is (DESIGN 8), in microseconds.
const NO_MATCH_BAR_US: f64 = 10.0;

fn main() -> ExitCode {
    let Ok(form) = std::env::var("RINGDOWN_BENCH_LINES") else {
        divan::main();
        return ExitCode::SUCCESS;
    };
    let sizes: &[u64] = if form == "short" { &[10_000] } else { &[1_000, 10_000, 100_000] };
    let enforced = std::env::var("RINGDOWN_BENCH_ENFORCE").is_ok_and(|text| text == "1");
    // Every size is printed, also after one that is too slow.
    let slow: Vec<String> = sizes.iter().flat_map(|agents| lines(*agents)).collect();
    if slow.is_empty() || !enforced { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Prints a size's figures; gives the names of those that miss their bars.
fn lines(agents: u64) -> Vec<String> {
    let mut slow = Vec::new();
    // With half of the agents busy; with ten times as many different needs; with more callers than agents.
    for (name, levels, live) in
        [("pairs", 1, agents / 2), ("pairs_with_levels", 10, agents / 2), ("pairs_crowded", 1, agents + 10_000)]
    {
        let mut centre = Centre::new(agents, levels);
        centre.fill(live);
        let rate = 1.0 / seconds_each(PAIRS, || centre.assign_release());
        assert!(name != "pairs" || centre.assigned_percent() > 95.0, "what is measured is partly waiting");
        say(&format!("acd_core_{name}_{agents}_agents {rate:.0} per_s"));
        if name == "pairs" && agents == 10_000 && rate < PAIRS_BAR {
            slow.push(format!("acd_core_{name}_{agents}_agents"));
        }
    }
    let mut centre = Centre::new(agents, 1);
    let each_us = seconds_each(SEARCHES, || centre.no_match()) * 1e6;
    assert!(centre.assigned_percent() == 0.0, "somebody served what nobody can");
    say(&format!("acd_core_no_match_{agents}_agents {each_us:.2} us"));
    if each_us >= NO_MATCH_BAR_US {
        slow.push(format!("acd_core_no_match_{agents}_agents"));
    }
    let records = Records::new(agents, agents);
    let restore_ms = seconds_each(1, || drop(std::hint::black_box(records.clone().restore()))) * 1_000.0;
    say(&format!("acd_core_restore_{agents}_agents_{agents}_waiting {restore_ms:.1} ms"));
    slow
}

/// Seconds that `work` takes each time: of five rounds the quickest, since whatever else the host does only ever adds.
fn seconds_each(times: u32, mut work: impl FnMut()) -> f64 {
    let mut round = || {
        let started = Instant::now();
        (0..times).for_each(|_| work());
        started.elapsed().max(Duration::from_nanos(1))
    };
    let quickest = (0..5).map(|_| round()).min().unwrap_or_default();
    quickest.as_secs_f64() / f64::from(times)
}

fn say(line: &str) {
    writeln!(std::io::stdout(), "{line}").expect("standard output is open");
}

#[divan::bench(args = [1_000, 10_000, 100_000], sample_size = 1_000)]
fn assign_release(bencher: Bencher, agents: u64) {
    let mut centre = Centre::new(agents, 1);
    centre.fill(agents / 2);
    bencher.counter(divan::counter::ItemsCount::new(1_u32)).bench_local(|| centre.assign_release());
    assert!(centre.assigned_percent() > 95.0, "what is measured is partly waiting");
}

/// As above, with minimum levels: ten times as many different needs.
#[divan::bench(args = [1_000, 10_000, 100_000], sample_size = 1_000)]
fn assign_release_with_levels(bencher: Bencher, agents: u64) {
    let mut centre = Centre::new(agents, 10);
    centre.fill(agents / 2);
    bencher.counter(divan::counter::ItemsCount::new(1_u32)).bench_local(|| centre.assign_release());
}

/// More callers than agents: every release finds the best-ranked interaction.
#[divan::bench(args = [1_000, 10_000, 100_000], sample_size = 1_000)]
fn assign_release_crowded(bencher: Bencher, agents: u64) {
    let mut centre = Centre::new(agents, 1);
    centre.fill(agents + 10_000);
    bencher.counter(divan::counter::ItemsCount::new(1_u32)).bench_local(|| centre.assign_release());
}

/// An interaction nobody can serve although everybody is free, each with other needs; its end included.
#[divan::bench(args = [1_000, 10_000, 100_000], sample_size = 1_000)]
fn no_match(bencher: Bencher, agents: u64) {
    let mut centre = Centre::new(agents, 1);
    bencher.bench_local(|| centre.no_match());
}

/// 10,000 agents and 10,000 waiting interactions, from records.
#[divan::bench(sample_count = 20)]
fn restore(bencher: Bencher) {
    let records = Records::new(10_000, 10_000);
    bencher.with_inputs(|| records.clone()).bench_local_values(Records::restore);
}

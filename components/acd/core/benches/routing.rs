//! What routing costs, one thread, nothing but the core. `cargo bench -p ringdown-acd-core` measures with divan; the suite
//! `bench-acd` drives the same work beside whole routers and prints lines `name value unit`.

mod workload;

use divan::Bencher;
use workload::{Centre, Records};

fn main() {
    divan::main();
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

//! What the store counts. Names, units and meaning are in [`StoreMetrics::register`].

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OperationLabels {
    operation: &'static str,
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResultLabel {
    result: &'static str,
}

/// Counters of one process's use of Redis. Cloning shares them.
#[derive(Clone, Debug)]
pub struct StoreMetrics {
    operations: Family<OperationLabels, Counter>,
    operation_seconds: Histogram,
    retries: Counter,
    answers: Family<ResultLabel, Counter>,
    answer_seconds: Histogram,
    waiting_for_answer: Gauge,
    sentinel_answers: Family<ResultLabel, Counter>,
    moves: Counter,
}

impl Default for StoreMetrics {
    fn default() -> Self {
        Self {
            operations: Family::default(),
            operation_seconds: Histogram::new(latency_buckets()),
            retries: Counter::default(),
            answers: Family::default(),
            answer_seconds: Histogram::new(latency_buckets()),
            waiting_for_answer: Gauge::default(),
            sentinel_answers: Family::default(),
            moves: Counter::default(),
        }
    }
}

/// From 100 us (a loopback round trip) to 3.3 s (beyond every limit here), doubling.
fn latency_buckets() -> impl Iterator<Item = f64> {
    (0..16).map(|step| 0.0001 * f64::from(1_u32 << step))
}

impl StoreMetrics {
    /// Makes the metrics visible in a registry.
    pub fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("redis");
        registry.register("operations", "Operations by name and result (ok, failed)", self.operations.clone());
        registry.register(
            "operation_seconds",
            "Duration of pooled operations, waiting for a connection included",
            self.operation_seconds.clone(),
        );
        registry.register("retries", "Repeats of operations that are safe to repeat", self.retries.clone());
        registry.register("answers", "Commands asked by result (outcome, unknown, not_sent)", self.answers.clone());
        registry.register("answer_seconds", "Time from a command to its outcome", self.answer_seconds.clone());
        registry.register("waiting_for_answer", "Commands whose outcome is awaited", self.waiting_for_answer.clone());
        registry.register(
            "sentinel_answers",
            "Questions to Sentinels by result (ok, failed)",
            self.sentinel_answers.clone(),
        );
        registry.register("moves", "Masters that Sentinels named, the first included", self.moves.clone());
    }

    pub(crate) fn sentinel(&self, ok: bool) {
        let result = if ok { "ok" } else { "failed" };
        self.sentinel_answers.get_or_create(&ResultLabel { result }).inc();
    }

    pub(crate) fn moved(&self) {
        self.moves.inc();
    }

    pub(crate) fn operation(&self, operation: &'static str, ok: bool, took: Duration) {
        let result = if ok { "ok" } else { "failed" };
        self.operations.get_or_create(&OperationLabels { operation, result }).inc();
        self.operation_seconds.observe(took.as_secs_f64());
    }

    pub(crate) fn retry(&self) {
        self.retries.inc();
    }

    pub(crate) fn answer(&self, result: &'static str, took: Duration) {
        self.answers.get_or_create(&ResultLabel { result }).inc();
        self.answer_seconds.observe(took.as_secs_f64());
    }

    pub(crate) fn waiting(&self, count: usize) {
        self.waiting_for_answer.set(i64::try_from(count).unwrap_or(i64::MAX));
    }
}

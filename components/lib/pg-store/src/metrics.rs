//! `ringdown_pg_*`.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Unit;
use ringdown_service::Metrics;

use crate::PgError;

/// What a session is for (a fixed word of the code, so the number of series is bounded) and how a statement ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Ended {
    operation: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Operation {
    operation: &'static str,
}

#[derive(Clone, Debug)]
pub(crate) struct PgMetrics {
    ended: Family<Ended, Counter<u64, AtomicU64>>,
    seconds: Family<Operation, Histogram>,
    pub(crate) connections: Gauge,
    pub(crate) idle: Gauge,
}

impl PgMetrics {
    pub(crate) fn new(metrics: &Metrics) -> Self {
        // 0.5 ms to 16 s: from an indexed read to the longest statement limit.
        let buckets: fn() -> Histogram = || Histogram::new(exponential_buckets(0.000_5, 2.0, 16));
        let seconds = Family::new_with_constructor(buckets);
        let ended = Family::default();
        Self {
            ended: metrics.register("pg_statements", "Statements by operation and outcome.", ended),
            seconds: metrics.register_with_unit("pg_statement", "Time of a statement.", Unit::Seconds, seconds),
            connections: metrics.register("pg_connections", "Open connections of the pool.", Gauge::default()),
            idle: metrics.register("pg_connections_idle", "Idle connections of the pool.", Gauge::default()),
        }
    }

    pub(crate) fn ended(&self, operation: &'static str, took: Duration, error: Option<&PgError>) {
        let outcome = error.map_or("ok", PgError::outcome);
        self.ended.get_or_create(&Ended { operation, outcome }).inc();
        self.seconds.get_or_create(&Operation { operation }).observe(took.as_secs_f64());
    }
}

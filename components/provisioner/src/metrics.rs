//! Names, units and meanings of the provisioner's metrics.

use std::sync::atomic::AtomicI64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use ringdown_service::Metrics;

/// How something went.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResultLabels {
    result: &'static str,
}

/// The provisioner's counters. Cloning shares them.
#[derive(Clone, Debug)]
pub(crate) struct ProvisionerMetrics {
    compilations: Family<ResultLabels, Counter>,
    pub(crate) compile_seconds: Histogram,
    pub(crate) faulty_tenants: Gauge<i64, AtomicI64>,
    pub(crate) files_written: Counter,
    reloads: Family<ResultLabels, Counter>,
}

impl ProvisionerMetrics {
    pub(crate) fn register(metrics: &Metrics) -> Self {
        // From 1 ms (a small tenant) to 4 s (100,000 agents), doubling.
        let buckets = (0..13).map(|step| 0.001 * f64::from(1_u32 << step));
        Self {
            compilations: metrics.register(
                "compilations",
                "Looks at a tenant by result (flipped, unchanged, removed, faulty, failed)",
                Family::default(),
            ),
            compile_seconds: metrics.register(
                "compile_seconds",
                "From reading a tenant's rows to the flipped pointer",
                Histogram::new(buckets),
            ),
            faulty_tenants: metrics.register(
                "faulty_tenants",
                "Tenants whose newest configuration contradicts itself",
                Gauge::default(),
            ),
            files_written: metrics.register("files_written", "Asterisk files written", Counter::default()),
            reloads: metrics.register("reloads", "Asterisk modules reloaded by result (ok, failed)", Family::default()),
        }
    }

    pub(crate) fn compiled(&self, result: &'static str) {
        self.compilations.get_or_create(&ResultLabels { result }).inc();
    }

    pub(crate) fn reloaded(&self, result: &'static str) {
        self.reloads.get_or_create(&ResultLabels { result }).inc();
    }
}

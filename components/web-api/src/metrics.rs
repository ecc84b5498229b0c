//! What web-api counts: `ringdown_api_*`.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Unit;
use ringdown_service::Metrics;

/// How requests ended. `route` is the pattern, never the path, so the number of series is bounded.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Ended {
    method: String,
    route: String,
    status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Kind {
    kind: &'static str,
}

/// The counters. Cloning shares them.
#[derive(Clone, Debug)]
pub struct ApiMetrics {
    requests: Family<Ended, Counter>,
    seconds: Histogram,
    denials: Family<Kind, Counter>,
    log_ins: Family<Kind, Counter>,
}

impl ApiMetrics {
    /// Makes and registers them.
    #[must_use]
    pub fn new(metrics: &Metrics) -> Self {
        // 1 ms to 16 s: from a read to the longest wait.
        let seconds = Histogram::new(exponential_buckets(0.001, 2.0, 15));
        Self {
            requests: metrics.register("api_requests", "Requests by method, route and status", Family::default()),
            seconds: metrics.register_with_unit("api_request", "Time to answer a request", Unit::Seconds, seconds),
            denials: metrics.register(
                "api_denials",
                "Requests denied, by what did not suffice: role, tenant or object",
                Family::default(),
            ),
            log_ins: metrics.register(
                "api_log_ins",
                "Log-in attempts by outcome: accepted, refused or throttled",
                Family::default(),
            ),
        }
    }

    /// A request was answered.
    pub fn answered(&self, method: &str, route: &str, status: u16, took: Duration) {
        let ended = Ended { method: method.to_owned(), route: route.to_owned(), status };
        self.requests.get_or_create(&ended).inc();
        self.seconds.observe(took.as_secs_f64());
    }

    /// A request was denied.
    pub fn denied(&self, kind: &'static str) {
        self.denials.get_or_create(&Kind { kind }).inc();
    }

    /// A log-in attempt ended.
    pub fn log_in(&self, kind: &'static str) {
        self.log_ins.get_or_create(&Kind { kind }).inc();
    }
}

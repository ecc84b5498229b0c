//! Names, units and meanings of the notifier's metrics.

use std::sync::atomic::AtomicI64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use ringdown_notifier_core::CloseCode;
use ringdown_service::Metrics;

/// How a connection ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CloseLabels {
    code: u16,
}

/// How a connection began.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OpenLabels {
    how: &'static str,
}

/// The notifier's counters. Cloning shares them.
#[derive(Clone, Debug)]
pub(crate) struct NotifierMetrics {
    pub(crate) connections: Gauge<i64, AtomicI64>,
    pub(crate) feeds: Gauge<i64, AtomicI64>,
    pub(crate) entries: Counter,
    pub(crate) feed_restarts: Counter,
    pub(crate) messages: Counter,
    pub(crate) pages: Counter,
    opened: Family<OpenLabels, Counter>,
    closed: Family<CloseLabels, Counter>,
}

impl NotifierMetrics {
    pub(crate) fn register(metrics: &Metrics) -> Self {
        Self {
            connections: metrics.register("websockets", "WebSockets that are open", Gauge::default()),
            feeds: metrics.register("feeds", "Tenants whose journal is followed", Gauge::default()),
            entries: metrics.register("journal_entries", "Journal entries read", Counter::default()),
            feed_restarts: metrics.register(
                "feed_restarts",
                "Journals read anew after a gap or reset",
                Counter::default(),
            ),
            messages: metrics.register("messages", "Messages sent to browsers", Counter::default()),
            pages: metrics.register("pages", "Pages read from Redis for readers behind the ring", Counter::default()),
            opened: metrics.register("opened", "WebSockets by how they began (snapshot, resumed)", Family::default()),
            closed: metrics.register("closed", "WebSockets we closed, by close code", Family::default()),
        }
    }

    pub(crate) fn opened(&self, how: &'static str) {
        self.opened.get_or_create(&OpenLabels { how }).inc();
    }

    pub(crate) fn closed(&self, code: CloseCode) {
        self.closed.get_or_create(&CloseLabels { code: code.code() }).inc();
    }
}

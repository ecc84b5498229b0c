//! What is counted.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use ringdown_registrar_core::edge::{Gauges, Observation};
use ringdown_service::Metrics;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AnswerLabels {
    method: &'static str,
    status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabel {
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SideLabel {
    side: &'static str,
}

/// The registrar's own metrics; those of its use of Redis come from the store. Cloning shares them.
#[derive(Clone, Debug, Default)]
pub(crate) struct RegistrarMetrics {
    answers: Family<AnswerLabels, Counter>,
    auth_failures: Family<ReasonLabel, Counter>,
    dropped: Family<ReasonLabel, Counter>,
    transactions: Family<SideLabel, Gauge>,
    bindings: Gauge,
    calls_pending: Gauge,
    connections: Gauge,
    rtpengines: Gauge,
}

impl RegistrarMetrics {
    pub(crate) fn register(&self, metrics: &Metrics) {
        metrics.with(|registry| {
            let registry = registry.sub_registry_with_prefix("sip");
            registry.register("requests", "Requests by method and final status", self.answers.clone());
            registry.register("auth_failures", "Credentials refused, by reason", self.auth_failures.clone());
            registry.register("dropped", "Messages dropped without an answer, by reason", self.dropped.clone());
            registry.register("transactions", "Live transactions by side", self.transactions.clone());
            registry.register("bindings", "Bindings in memory", self.bindings.clone());
            registry.register("rtpengines", "Rtpengines that answer", self.rtpengines.clone());
            registry.register("forwards_pending", "Relayed requests without final answer", self.calls_pending.clone());
            registry.register(
                "connections",
                "Open connections of phones (TCP, TLS, WebSocket)",
                self.connections.clone(),
            );
        });
    }

    pub(crate) fn observe(&self, observation: Observation) {
        match observation {
            Observation::Answered { method, status } => {
                self.answers.get_or_create(&AnswerLabels { method: method.label(), status }).inc();
            }
            Observation::AuthFailure(reason) => {
                self.auth_failures.get_or_create(&ReasonLabel { reason }).inc();
            }
            Observation::Dropped(reason) => self.dropped(reason),
        }
    }

    pub(crate) fn dropped(&self, reason: &'static str) {
        self.dropped.get_or_create(&ReasonLabel { reason }).inc();
    }

    pub(crate) fn rtpengines(&self, there: usize) {
        self.rtpengines.set(i64::try_from(there).unwrap_or(i64::MAX));
    }

    pub(crate) fn show(&self, gauges: Gauges, connections: usize) {
        let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        self.transactions.get_or_create(&SideLabel { side: "server" }).set(number(gauges.server_transactions));
        self.transactions.get_or_create(&SideLabel { side: "client" }).set(number(gauges.client_transactions));
        self.bindings.set(number(gauges.bindings));
        self.calls_pending.set(number(gauges.pending_forks));
        self.connections.set(number(connections));
    }
}

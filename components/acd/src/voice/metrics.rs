//! Names, units and meanings of the voice duty's metrics.

use std::sync::atomic::AtomicI64;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use ringdown_service::Metrics;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabels {
    kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    request: &'static str,
    result: &'static str,
}

/// The duty's counters. Cloning shares them.
#[derive(Clone, Debug)]
pub(crate) struct VoiceMetrics {
    pub(crate) calls: Gauge<i64, AtomicI64>,
    pub(crate) connected: Gauge<i64, AtomicI64>,
    pub(crate) opened_here: Gauge<i64, AtomicI64>,
    pub(crate) counted: Gauge<i64, AtomicI64>,
    pub(crate) arrived: Counter,
    pub(crate) refused: Counter,
    pub(crate) ownerships: Counter,
    pub(crate) nodes_lost: Counter,
    pub(crate) orphans: Counter,
    pub(crate) event_lag: Histogram,
    pub(crate) recordings: Counter,
    pub(crate) recordings_waiting: Gauge<i64, AtomicI64>,
    events: Family<KindLabels, Counter>,
    legs: Family<KindLabels, Counter>,
    requests: Family<RequestLabels, Counter>,
    request_seconds: Histogram,
}

impl VoiceMetrics {
    pub(crate) fn register(metrics: &Metrics) -> Self {
        // From 0.5 ms (a loopback request) to 4 s (beyond every limit here), doubling.
        let buckets = || (0..14).map(|step| 0.0005 * f64::from(1_u32 << step));
        Self {
            calls: metrics.register("voice_calls", "Calls on the node this process owns", Gauge::default()),
            connected: metrics.register("voice_connected", "1 while Asterisk's websocket is open", Gauge::default()),
            opened_here: metrics.register(
                "voice_opened_here",
                "1 while calls are served over a websocket that this process opened, since Asterisk's own did not come",
                Gauge::default(),
            ),
            counted: metrics.register(
                "voice_counted",
                "1 while voice_calls is every call on the node: it is owned, connected and listed",
                Gauge::default(),
            ),
            arrived: metrics.register("voice_arrived", "Calls that arrived", Counter::default()),
            refused: metrics.register(
                "voice_refused",
                "Calls for numbers nobody routes, and new ones while the host is drained",
                Counter::default(),
            ),
            ownerships: metrics.register(
                "voice_ownerships",
                "Times this process came to own its node",
                Counter::default(),
            ),
            nodes_lost: metrics.register("voice_nodes_lost", "Deaths of the node's Asterisk", Counter::default()),
            orphans: metrics.register(
                "voice_orphans",
                "Channels of ours hung up because no call knew them",
                Counter::default(),
            ),
            event_lag: metrics.register(
                "voice_event_lag_seconds",
                "From an event in Asterisk to its handling",
                Histogram::new(buckets()),
            ),
            recordings: metrics.register(
                "voice_recordings",
                "Recordings put into the object store",
                Counter::default(),
            ),
            recordings_waiting: metrics.register(
                "voice_recordings_waiting",
                "Recordings that could not be put into the object store yet",
                Gauge::default(),
            ),
            events: metrics.register("voice_events", "Events by kind", Family::default()),
            legs: metrics.register("voice_legs", "Ends of agents' legs by result", Family::default()),
            requests: metrics.register("ari_requests", "ARI requests by kind and result", Family::default()),
            request_seconds: metrics.register("ari_request_seconds", "ARI requests", Histogram::new(buckets())),
        }
    }

    pub(crate) fn event(&self, kind: &'static str) {
        self.events.get_or_create(&KindLabels { kind }).inc();
    }

    pub(crate) fn leg(&self, kind: &'static str) {
        self.legs.get_or_create(&KindLabels { kind }).inc();
    }

    pub(crate) fn request(&self, request: &'static str, result: &'static str, took: Duration) {
        self.requests.get_or_create(&RequestLabels { request, result }).inc();
        self.request_seconds.observe(took.as_secs_f64());
    }
}

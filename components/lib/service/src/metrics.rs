//! The daemon's metrics, in OpenMetrics text.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::encoding::text::encode;
use prometheus_client::registry::{Metric, Registry, Unit};

/// The registry every part of a daemon adds its metrics to; all names get the prefix `ringdown_`.
#[derive(Clone)]
pub struct Metrics(Arc<Mutex<Registry>>);

impl Metrics {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Mutex::new(Registry::with_prefix("ringdown"))))
    }

    /// Adds a metric and gives it back. A name is registered once per process: twice would print it twice.
    pub fn register<M: Metric + Clone>(&self, name: &str, help: &str, metric: M) -> M {
        self.with(|registry| registry.register(name, help, metric.clone()));
        metric
    }

    /// The same with a unit, which becomes part of the name (`_seconds`, `_bytes`).
    pub fn register_with_unit<M: Metric + Clone>(&self, name: &str, help: &str, unit: Unit, metric: M) -> M {
        self.with(|registry| registry.register_with_unit(name, help, unit, metric.clone()));
        metric
    }

    /// Works on the registry itself, for collectors.
    pub fn with<T>(&self, work: impl FnOnce(&mut Registry) -> T) -> T {
        // A panic while registering leaves at most one metric out; the others are whole.
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// All metrics as OpenMetrics text.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut text = String::new();
        self.with(|registry| encode(&mut text, registry)).expect("writing to a String cannot fail");
        text
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Metrics")
    }
}

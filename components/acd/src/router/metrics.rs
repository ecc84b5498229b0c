//! What the router duty counts. Names, units and meaning are in [`RouterMetrics::register`].

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use ringdown_events::Command;
use ringdown_service::Metrics;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct CommandLabels {
    kind: &'static str,
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct TenantLabel {
    pub(crate) tenant: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct CommitLabel {
    result: &'static str,
}

/// The duty's metrics. Cloning shares them.
#[derive(Clone, Debug)]
pub(crate) struct RouterMetrics {
    commands: Family<CommandLabels, Counter>,
    commits: Family<CommitLabel, Counter>,
    batch_commands: Histogram,
    commit_seconds: Histogram,
    recovery_seconds: Histogram,
    pub(crate) takeovers: Counter,
    pub(crate) active: Gauge,
    pub(crate) waiting: Family<TenantLabel, Gauge>,
    pub(crate) available: Family<TenantLabel, Gauge>,
    pub(crate) oldest_waiting_ms: Family<TenantLabel, Gauge>,
    pub(crate) inconsistent: Family<TenantLabel, Gauge>,
}

impl RouterMetrics {
    pub(crate) fn register(metrics: &Metrics) -> Self {
        let this = Self {
            commands: Family::default(),
            commits: Family::default(),
            batch_commands: Histogram::new(exponential_buckets(1.0, 2.0, 11)),
            commit_seconds: Histogram::new(exponential_buckets(0.0001, 2.0, 15)),
            recovery_seconds: Histogram::new(exponential_buckets(0.001, 2.0, 14)),
            takeovers: Counter::default(),
            active: Gauge::default(),
            waiting: Family::default(),
            available: Family::default(),
            oldest_waiting_ms: Family::default(),
            inconsistent: Family::default(),
        };
        metrics.with(|registry| {
            let registry = registry.sub_registry_with_prefix("acd");
            registry.register("commands", "Commands decided by kind and result", this.commands.clone());
            registry.register("commits", "Commits by result (ok, fenced, moved, failed)", this.commits.clone());
            registry.register("batch_commands", "Commands per commit", this.batch_commands.clone());
            registry.register("commit_seconds", "Duration of a commit, repeats included", this.commit_seconds.clone());
            registry.register(
                "recovery_seconds",
                "From a lease acquired to a tenant routed",
                this.recovery_seconds.clone(),
            );
            registry.register("takeovers", "Leases acquired", this.takeovers.clone());
            registry.register("active_tenants", "Tenants this process routes", this.active.clone());
            registry.register("waiting", "Interactions waiting", this.waiting.clone());
            registry.register("available_agents", "Agents available", this.available.clone());
            registry.register(
                "oldest_waiting_ms",
                "Age of the longest wait in milliseconds",
                this.oldest_waiting_ms.clone(),
            );
            registry.register(
                "inconsistent_records",
                "Interactions in no place or in two, agents whose records disagree, found by the last audit; must be 0",
                this.inconsistent.clone(),
            );
        });
        this
    }

    pub(crate) fn command(&self, kind: &'static str, result: &'static str) {
        self.commands.get_or_create(&CommandLabels { kind, result }).inc();
    }

    pub(crate) fn commit(&self, result: &'static str, commands: usize, took: Duration) {
        self.commits.get_or_create(&CommitLabel { result }).inc();
        self.commit_seconds.observe(took.as_secs_f64());
        self.batch_commands.observe(f64::from(u32::try_from(commands).unwrap_or(u32::MAX)));
    }

    pub(crate) fn recovered(&self, took: Duration) {
        self.takeovers.inc();
        self.recovery_seconds.observe(took.as_secs_f64());
    }
}

/// A command's kind as a label.
pub(crate) const fn kind(command: &Command) -> &'static str {
    match command {
        Command::AcceptOffer { .. } => "accept_offer",
        Command::AnswerCustomer { .. } => "answer_customer",
        Command::ConsultInteraction { .. } => "consult_interaction",
        Command::CreateInteraction(_) => "create_interaction",
        Command::EndConsult { .. } => "end_consult",
        Command::EndInteraction { .. } => "end_interaction",
        Command::EndLeg { .. } => "end_leg",
        Command::ExtendWrapUp { .. } => "extend_wrap_up",
        Command::FinishWrapUp { .. } => "finish_wrap_up",
        Command::FailOffer { .. } => "fail_offer",
        Command::HoldInteraction { .. } => "hold_interaction",
        Command::LoseNode { .. } => "lose_node",
        Command::MoveInteraction { .. } => "move_interaction",
        Command::MuteInteraction { .. } => "mute_interaction",
        Command::ObservePhone { .. } => "observe_phone",
        Command::PlaceCall(_) => "place_call",
        Command::RingOffer { .. } => "ring_offer",
        Command::SetAcdOpen { .. } => "set_acd_open",
        Command::SetAgentStatus { .. } => "set_agent_status",
        Command::SendDigits { .. } => "send_digits",
        Command::SetDisposition { .. } => "set_disposition",
        Command::SetRecording { .. } => "set_recording",
        Command::SuperviseInteraction { .. } => "supervise_interaction",
        Command::TransferInteraction { .. } => "transfer_interaction",
    }
}

//! What a campaign wants and may.

use serde::{Deserialize, Serialize};

use crate::ledger::Window;

/// How a campaign dials.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Mode {
    /// One call for each idle agent; nobody is ever left waiting by the dialer itself.
    Progressive,
    /// A fixed number of calls for each idle agent.
    Power {
        /// Calls for each idle agent; 1 to 10.
        calls_per_agent: f64,
    },
    /// As many calls as the budget of lost answers allows.
    Predictive,
    /// No agents: calls up to the limits, for announcements and flows.
    Agentless,
}

/// What a campaign wants and may.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// How it dials.
    pub mode: Mode,
    /// Windows in which lost answers are counted, each with its target. All hold at once.
    pub windows: Vec<Window>,
    /// How long a person who answered may wait for an agent before the call counts as lost, in milliseconds (2,000 in the FTC's
    /// and Ofcom's rules).
    pub wait_ms: u64,
    /// After how long an unanswered call is ended, in milliseconds; at least 15,000 by the same rules.
    pub ring_limit_ms: u64,
    /// Most calls on their way at once.
    pub most_in_flight: u32,
    /// Most calls started per second.
    pub most_per_second: f64,
    /// Idle agents that are kept for other work.
    pub reserved_agents: u32,
    /// Whether one call that rang at least 15 s may be given up when too many are about to be answered. Off by default: it
    /// gains nothing in groups of 50 and more.
    pub gives_up_calls: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            mode: Mode::Predictive,
            windows: vec![Window::campaign(0.03)],
            wait_ms: 2_000,
            ring_limit_ms: 22_000,
            most_in_flight: 1_000,
            most_per_second: 100.0,
            reserved_agents: 0,
            gives_up_calls: false,
        }
    }
}

impl Settings {
    /// The strictest of the targets; 0 when there is none, which allows no more than one call per idle agent.
    #[must_use]
    pub fn target(&self) -> f64 {
        let strictest = self.windows.iter().map(|window| window.target).fold(f64::INFINITY, f64::min);
        if strictest.is_finite() { strictest } else { 0.0 }
    }
}

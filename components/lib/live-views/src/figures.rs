//! A queue at one moment.

use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

/// The interactions of a queue at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct QueueFigures {
    /// Which queue; null: interactions without one.
    pub queue: Option<Uuid>,
    /// Interactions waiting in it.
    pub waiting: u64,
    /// When the oldest of them arrived, UTC milliseconds.
    pub oldest_arrived_at_ms: Option<u64>,
    /// Interactions of it that are offered.
    pub offered: u64,
    /// Interactions of it that are with an agent.
    pub connected: u64,
}

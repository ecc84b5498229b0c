//! The figures of each queue, kept from the interactions' records. Figures are state, not events: a reader that is late
//! gets the newest ones only, and has missed nothing.

use std::collections::{BTreeMap, BTreeSet};

use ringdown_domain::{InteractionId, InteractionState, QueueId, TimestampMs};
use ringdown_events::{InteractionRecord, JournalEvent};
use serde::{Deserialize, Serialize};

/// A queue at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueFigures {
    /// The queue; none: interactions without one.
    pub queue: Option<QueueId>,
    /// Interactions that wait.
    pub waiting: u32,
    /// Arrival of the one that waits longest.
    pub oldest_arrived_at_ms: Option<TimestampMs>,
    /// Interactions that ring at an agent.
    pub offered: u32,
    /// Interactions with an agent.
    pub connected: u32,
}

/// Where an interaction was when last seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Waiting(TimestampMs),
    Offered,
    Connected,
}

/// The figures of all queues of a tenant.
#[derive(Debug, Default)]
pub struct QueueBoard {
    places: BTreeMap<InteractionId, (Option<QueueId>, Place)>,
    queues: BTreeMap<Option<QueueId>, Counts>,
    changed: BTreeSet<Option<QueueId>>,
}

#[derive(Debug, Default)]
struct Counts {
    waiting: BTreeSet<(TimestampMs, InteractionId)>,
    offered: u32,
    connected: u32,
}

impl QueueBoard {
    /// The board of a snapshot.
    #[must_use]
    pub fn from_records<'a>(interactions: impl IntoIterator<Item = &'a InteractionRecord>) -> Self {
        let mut board = Self::default();
        for interaction in interactions {
            board.put(interaction);
        }
        board.changed.clear();
        board
    }

    /// Counts this queue too, though nothing is in it.
    pub fn know(&mut self, queue: Option<QueueId>) {
        self.queues.entry(queue).or_default();
    }

    /// Takes one journal event into account.
    pub fn apply(&mut self, event: &JournalEvent) {
        match event {
            JournalEvent::InteractionConnected { interaction }
            | JournalEvent::InteractionEnded { interaction }
            | JournalEvent::InteractionOffered { interaction, .. }
            | JournalEvent::InteractionQueued { interaction } => self.put(interaction),
            JournalEvent::AcdChanged { .. }
            | JournalEvent::AgentChanged { .. }
            | JournalEvent::AgentRemoved { .. }
            | JournalEvent::ConfigApplied { .. }
            | JournalEvent::OfferFailed { .. } => {}
        }
    }

    /// The figures that changed since the last call.
    pub fn take_changes(&mut self) -> Vec<QueueFigures> {
        std::mem::take(&mut self.changed).into_iter().map(|queue| self.figures_of(queue)).collect()
    }

    /// The figures of every queue seen.
    #[must_use]
    pub fn figures(&self) -> Vec<QueueFigures> {
        self.queues.keys().map(|queue| self.figures_of(*queue)).collect()
    }

    fn figures_of(&self, queue: Option<QueueId>) -> QueueFigures {
        let Some(counts) = self.queues.get(&queue) else {
            return QueueFigures { queue, ..QueueFigures::default() };
        };
        QueueFigures {
            queue,
            waiting: u32::try_from(counts.waiting.len()).unwrap_or(u32::MAX),
            oldest_arrived_at_ms: counts.waiting.first().map(|(arrived, _)| *arrived),
            offered: counts.offered,
            connected: counts.connected,
        }
    }

    fn put(&mut self, interaction: &InteractionRecord) {
        let place = match &interaction.state {
            InteractionState::Waiting => Some(Place::Waiting(interaction.arrived_at_ms)),
            InteractionState::Offered { .. } => Some(Place::Offered),
            InteractionState::Connected { .. } => Some(Place::Connected),
            InteractionState::Ended { .. } => None,
        };
        let before = match place {
            Some(place) => self.places.insert(interaction.id, (interaction.queue, place)),
            None => self.places.remove(&interaction.id),
        };
        if let Some((queue, place)) = before {
            self.count(interaction.id, queue, place, false);
        }
        if let Some(place) = place {
            self.count(interaction.id, interaction.queue, place, true);
        }
    }

    fn count(&mut self, id: InteractionId, queue: Option<QueueId>, place: Place, enters: bool) {
        let counts = self.queues.entry(queue).or_default();
        let step = |figure: u32| if enters { figure + 1 } else { figure - 1 };
        match place {
            Place::Waiting(arrived) if enters => {
                counts.waiting.insert((arrived, id));
            }
            Place::Waiting(arrived) => {
                counts.waiting.remove(&(arrived, id));
            }
            Place::Offered => counts.offered = step(counts.offered),
            Place::Connected => counts.connected = step(counts.connected),
        }
        self.changed.insert(queue);
    }
}

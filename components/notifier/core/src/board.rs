//! The figures of each queue, kept from the interactions' records. Figures are state, not events: a reader that is late
//! gets the newest ones only, and has missed nothing.

use std::collections::{BTreeMap, BTreeSet};

use ringdown_domain::{InteractionId, InteractionState, QueueId, TimestampMs};
use ringdown_events::{InteractionRecord, JournalEvent};
use ringdown_live_views::QueueFigures;

/// Where an interaction was when last seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Waiting(TimestampMs),
    Offered,
    Connected,
}

/// The figures of all queues of a tenant.
#[derive(Debug, Default)]
pub struct QueueBoard {
    places: BTreeMap<InteractionId, (Option<QueueId>, Standing)>,
    queues: BTreeMap<Option<QueueId>, Counts>,
    changed: BTreeSet<Option<QueueId>>,
}

#[derive(Debug, Default)]
struct Counts {
    waiting: BTreeSet<(TimestampMs, InteractionId)>,
    offered: u64,
    connected: u64,
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
            JournalEvent::InteractionChanged { interaction }
            | JournalEvent::InteractionConnected { interaction }
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
    pub fn take_changes(&mut self) -> Vec<(Option<QueueId>, QueueFigures)> {
        std::mem::take(&mut self.changed).into_iter().map(|queue| (queue, self.figures_of(queue))).collect()
    }

    /// The figures of every queue seen.
    #[must_use]
    pub fn figures(&self) -> Vec<(Option<QueueId>, QueueFigures)> {
        self.queues.keys().map(|queue| (*queue, self.figures_of(*queue))).collect()
    }

    fn figures_of(&self, queue: Option<QueueId>) -> QueueFigures {
        let Some(counts) = self.queues.get(&queue) else {
            return QueueFigures { queue: queue.map(|queue| queue.0), ..QueueFigures::default() };
        };
        QueueFigures {
            queue: queue.map(|queue| queue.0),
            waiting: counts.waiting.len() as u64,
            oldest_arrived_at_ms: counts.waiting.first().map(|(arrived, _)| arrived.0),
            offered: counts.offered,
            connected: counts.connected,
        }
    }

    fn put(&mut self, interaction: &InteractionRecord) {
        let place = match &interaction.state {
            InteractionState::Waiting => Some(Standing::Waiting(interaction.arrived_at_ms)),
            InteractionState::Offered { .. } => Some(Standing::Offered),
            InteractionState::Connected { .. } | InteractionState::External { .. } => Some(Standing::Connected),
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

    fn count(&mut self, id: InteractionId, queue: Option<QueueId>, place: Standing, enters: bool) {
        let counts = self.queues.entry(queue).or_default();
        let step = |figure: u64| if enters { figure + 1 } else { figure - 1 };
        match place {
            Standing::Waiting(arrived) if enters => {
                counts.waiting.insert((arrived, id));
            }
            Standing::Waiting(arrived) => {
                counts.waiting.remove(&(arrived, id));
            }
            Standing::Offered => counts.offered = step(counts.offered),
            Standing::Connected => counts.connected = step(counts.connected),
        }
        self.changed.insert(queue);
    }
}

//! The records, in slots that are used again, found by id.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::ops::{Index, IndexMut};
use std::sync::Arc;

use ringdown_domain::{AgentId, InteractionId, InteractionState, SkillName, TimestampMs};
use ringdown_events::{AgentRecord, InteractionRecord};

use super::Hashing;
use super::waiting::{QueuePlace, SetId};

/// How many ended interactions are remembered, to answer for them as ended and not as unknown, and so that none of them is
/// created a second time: 17 minutes at 100 a second, a day at one a second.
pub(super) const MAX_ENDED: usize = 100_000;
/// How many final records are kept to be classed: about a quarter of an hour at one a second, 2 MB.
pub(super) const MAX_RECENT: usize = if cfg!(test) { 4 } else { 1_000 };

/// An agent in its slot.
#[derive(Debug)]
pub(super) struct Agent {
    pub(super) record: AgentRecord,
    /// The keys of `record.skills`, shared with the changes.
    pub(super) skill_names: Arc<[SkillName]>,
    /// No longer configured; goes when the interaction ends.
    pub(super) removed: bool,
    /// Among the changes already.
    pub(super) dirty: bool,
    /// How the stored index shows the agent: under which skills, with which score.
    pub(super) shown: Option<(Arc<[SkillName]>, TimestampMs)>,
}

impl Agent {
    pub(super) fn new(record: AgentRecord) -> Self {
        let skill_names = record.skills.keys().cloned().collect();
        Self { record, skill_names, removed: false, dirty: false, shown: None }
    }
}

/// A live interaction in its slot.
#[derive(Debug)]
pub(super) struct Interaction {
    pub(super) record: InteractionRecord,
    /// What it needs.
    pub(super) set: SetId,
    /// Among the changes already.
    pub(super) dirty: bool,
    /// The score with which the stored queue shows it.
    pub(super) shown: Option<TimestampMs>,
}

impl Interaction {
    pub(super) fn place(&self, slot: u32) -> QueuePlace {
        let record = &self.record;
        QueuePlace { rank: record.rank_ms, arrived: record.arrived_at_ms, id: record.id, interaction: slot }
    }
}

pub(super) type Agents = Slots<AgentId, Agent>;
pub(super) type Interactions = Slots<InteractionId, Interaction>;

/// Values in numbered slots.
#[derive(Debug)]
pub(super) struct Slots<K, V> {
    slots: Vec<Option<V>>,
    free: Vec<u32>,
    by_id: HashMap<K, u32, Hashing>,
}

impl<K, V> Default for Slots<K, V> {
    fn default() -> Self {
        Self { slots: Vec::new(), free: Vec::new(), by_id: HashMap::default() }
    }
}

impl<K: Copy + Eq + std::hash::Hash, V> Slots<K, V> {
    /// Puts a value into a free slot. The id must be new.
    pub(super) fn insert(&mut self, id: K, value: V) -> u32 {
        let slot = match self.free.pop() {
            Some(free) => {
                self.slots[free as usize] = Some(value);
                free
            }
            None => {
                self.slots.push(Some(value));
                u32::try_from(self.slots.len() - 1).expect("live agents and interactions number fewer than 2^32")
            }
        };
        self.by_id.insert(id, slot);
        slot
    }

    /// Takes a value out; its slot must be filled.
    pub(super) fn remove(&mut self, id: K, slot: u32) -> V {
        self.by_id.remove(&id);
        self.free.push(slot);
        self.slots[slot as usize].take().expect("only filled slots are numbered anywhere")
    }

    pub(super) fn is_filled(&self, slot: u32) -> bool {
        self.slots.get(slot as usize).is_some_and(Option::is_some)
    }

    pub(super) fn find(&self, id: K) -> Option<u32> {
        self.by_id.get(&id).copied()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &V)> {
        (0..).zip(&self.slots).filter_map(|(slot, value)| Some((slot, value.as_ref()?)))
    }

    pub(super) fn len(&self) -> u32 {
        u32::try_from(self.by_id.len()).expect("live agents and interactions number fewer than 2^32")
    }
}

impl<K, V> Index<u32> for Slots<K, V> {
    type Output = V;
    fn index(&self, slot: u32) -> &V {
        self.slots[slot as usize].as_ref().expect("only filled slots are numbered anywhere")
    }
}

impl<K, V> IndexMut<u32> for Slots<K, V> {
    fn index_mut(&mut self, slot: u32) -> &mut V {
        self.slots[slot as usize].as_mut().expect("only filled slots are numbered anywhere")
    }
}

/// Final records of the interactions that an agent had and that ended last: their agents may still class them.
#[derive(Debug, Default)]
pub(super) struct RecentlyEnded {
    by_end: BTreeMap<(TimestampMs, InteractionId), InteractionRecord>,
    ends: HashMap<InteractionId, TimestampMs, Hashing>,
}

impl RecentlyEnded {
    /// Takes a final record; one that no agent had is not kept.
    pub(super) fn insert(&mut self, record: &InteractionRecord) {
        let InteractionState::Ended { at_ms, agent: Some(_), .. } = record.state else { return };
        self.ends.insert(record.id, at_ms);
        self.by_end.insert((at_ms, record.id), record.clone());
        if self.by_end.len() > MAX_RECENT
            && let Some(((_, oldest), _)) = self.by_end.pop_first()
        {
            self.ends.remove(&oldest);
        }
    }

    /// The record of one that ended at `earliest` or later.
    pub(super) fn find(&mut self, id: InteractionId, earliest: TimestampMs) -> Option<&mut InteractionRecord> {
        let at_ms = self.ends.get(&id).copied().filter(|at_ms| *at_ms >= earliest)?;
        self.by_end.get_mut(&(at_ms, id))
    }
}

/// The ids of the interactions that ended last.
#[derive(Debug, Default)]
pub(super) struct EndedIds {
    ids: HashSet<InteractionId, Hashing>,
    order: VecDeque<InteractionId>,
}

impl EndedIds {
    pub(super) fn insert(&mut self, id: InteractionId) {
        if !self.ids.insert(id) {
            return;
        }
        self.order.push_back(id);
        if self.order.len() > MAX_ENDED
            && let Some(oldest) = self.order.pop_front()
        {
            self.ids.remove(&oldest);
        }
    }

    pub(super) fn contains(&self, id: InteractionId) -> bool {
        self.ids.contains(&id)
    }
}

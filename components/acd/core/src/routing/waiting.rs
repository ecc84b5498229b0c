//! Waiting interactions, by what they need.
//!
//! Interactions that need the same are one *set*, in the order of their places. A set with somebody in it stands in the
//! bucket of the one skill of its needs that the fewest agents have; buckets are ordered by the first place of each set. An
//! agent looks through the buckets of the agent's own skills only, so what nobody can serve is looked at by nobody, and
//! a thousand callers with one need are looked at as one.
//!
//! This index never knows agents, only what somebody can do.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use ringdown_domain::{InteractionId, TimestampMs};
use ringdown_events::MAX_CANDIDATES;

use super::Hashing;
use super::line::{AbilityId, Line};
use super::skills::{Grade, Grades};

/// The bucket of sets that need nothing.
const ANYBODY: usize = 0;
/// Sets without interactions kept for the next one who needs the same, before they are swept out.
const MAX_IDLE_SETS: usize = if cfg!(test) { 3 } else { 32_768 };

/// The number of a set.
pub(super) type SetId = u32;

/// An interaction's place in the universal queue: the smallest rank is first, then the earliest arrival, then the id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct QueuePlace {
    pub(super) rank: TimestampMs,
    pub(super) arrived: TimestampMs,
    pub(super) id: InteractionId,
    /// The interaction's slot.
    pub(super) interaction: u32,
}

#[derive(Debug, Default)]
struct NeedSet {
    needs: Grades,
    abilities: Vec<AbilityId>,
    waiting: BTreeSet<QueuePlace>,
    /// Live interactions that need this, waiting or not.
    users: u32,
    /// Where it stands while somebody waits in it.
    bucket: usize,
}

/// See the module's text.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    sets: Vec<NeedSet>,
    free_sets: Vec<SetId>,
    idle_sets: usize,
    by_needs: HashMap<Box<[Grade]>, SetId, Hashing>,
    /// Bucket 0 is for sets that need nothing, bucket n + 1 for skill n. The value is the signature of the set's needs, so
    /// that most sets are passed by without being looked up.
    buckets: Vec<BTreeMap<(QueuePlace, SetId), u64>>,
    waiting: u32,
}

impl Waiting {
    /// The set of these needs, used until [`Self::drop_set`].
    pub(super) fn use_set(&mut self, needs: Grades, line: &mut Line) -> SetId {
        let set = match self.by_needs.get(needs.list()) {
            Some(known) => *known,
            None => self.add_set(needs, line),
        };
        let entry = &mut self.sets[set as usize];
        if entry.users == 0 {
            self.idle_sets -= 1;
        }
        entry.users += 1;
        set
    }

    /// Ends a use.
    pub(super) fn drop_set(&mut self, set: SetId, line: &mut Line) {
        let entry = &mut self.sets[set as usize];
        entry.users -= 1;
        if entry.users > 0 {
            return;
        }
        self.idle_sets += 1;
        if self.idle_sets > MAX_IDLE_SETS {
            self.sweep(line);
        }
    }

    /// The interaction waits from now on.
    pub(super) fn insert(&mut self, set: SetId, place: QueuePlace, line: &Line) {
        let entry = &mut self.sets[set as usize];
        let first = entry.waiting.first().copied();
        let signature = entry.needs.signature();
        if !entry.waiting.insert(place) {
            debug_assert!(false, "an interaction waits once");
            return;
        }
        self.waiting += 1;
        match first {
            None => {
                entry.bucket = rarest_bucket(&entry.needs, line);
                let bucket = entry.bucket;
                if self.buckets.len() <= bucket {
                    self.buckets.resize_with(bucket + 1, BTreeMap::new);
                }
                self.buckets[bucket].insert((place, set), signature);
            }
            Some(first) if place < first => {
                self.buckets[entry.bucket].remove(&(first, set));
                self.buckets[entry.bucket].insert((place, set), signature);
            }
            Some(_) => {}
        }
    }

    /// The interaction waits no longer. Nothing happens if it did not.
    pub(super) fn remove(&mut self, set: SetId, place: QueuePlace) {
        let entry = &mut self.sets[set as usize];
        let was_first = entry.waiting.first() == Some(&place);
        if !entry.waiting.remove(&place) {
            return;
        }
        self.waiting -= 1;
        if was_first {
            self.buckets[entry.bucket].remove(&(place, set));
            if let Some(next) = entry.waiting.first() {
                self.buckets[entry.bucket].insert((*next, set), entry.needs.signature());
            }
        }
    }

    /// Fills `found` with the best places somebody with this profile can serve, at most [`MAX_CANDIDATES`], in order.
    pub(super) fn best_for(&self, profile: &Grades, found: &mut Vec<QueuePlace>) {
        found.clear();
        let own = profile.list().iter().map(|grade| grade.skill as usize + 1);
        for bucket in [ANYBODY].into_iter().chain(own).filter_map(|bucket| self.buckets.get(bucket)) {
            for ((first, set), signature) in bucket {
                if found.len() == MAX_CANDIDATES && found[MAX_CANDIDATES - 1] < *first {
                    break;
                }
                if !profile.may_meet(*signature) {
                    continue;
                }
                let entry = &self.sets[*set as usize];
                if profile.meet(&entry.needs) {
                    merge_places(found, &entry.waiting);
                }
            }
        }
    }

    /// The interactions that wait in sets for which `chosen` says yes about the needs, in the order of their places.
    pub(super) fn places_where(&self, chosen: impl Fn(&Grades) -> bool) -> Vec<QueuePlace> {
        let sets = self.sets.iter().filter(|set| !set.waiting.is_empty() && chosen(&set.needs));
        let mut places: Vec<QueuePlace> = sets.flat_map(|set| set.waiting.iter().copied()).collect();
        places.sort_unstable();
        places
    }

    /// The abilities of a set.
    pub(super) fn abilities(&self, set: SetId) -> &[AbilityId] {
        &self.sets[set as usize].abilities
    }

    /// How many interactions wait.
    pub(super) fn len(&self) -> u32 {
        self.waiting
    }

    /// Every place and the set it stands in, and the number of bucket entries.
    #[cfg(test)]
    pub(super) fn all(&self) -> (Vec<(QueuePlace, SetId)>, usize) {
        let of = |(set, entry): (u32, &NeedSet)| entry.waiting.iter().map(|p| (*p, set)).collect::<Vec<_>>();
        ((0..).zip(&self.sets).flat_map(of).collect(), self.buckets.iter().map(BTreeMap::len).sum())
    }

    /// How many interactions use sets.
    #[cfg(test)]
    pub(super) fn users(&self) -> u32 {
        self.sets.iter().map(|set| set.users).sum()
    }

    fn add_set(&mut self, needs: Grades, line: &mut Line) -> SetId {
        let key: Box<[Grade]> = needs.list().into();
        let abilities = needs.list().iter().map(|grade| line.use_ability(*grade)).collect();
        let entry = NeedSet { needs, abilities, ..NeedSet::default() };
        self.idle_sets += 1;
        let set = match self.free_sets.pop() {
            Some(free) => {
                self.sets[free as usize] = entry;
                free
            }
            None => {
                self.sets.push(entry);
                u32::try_from(self.sets.len() - 1).expect("sets are bounded by live interactions and MAX_IDLE_SETS")
            }
        };
        self.by_needs.insert(key, set);
        set
    }

    /// Forgets every set nobody uses.
    fn sweep(&mut self, line: &mut Line) {
        for (index, entry) in self.sets.iter_mut().enumerate().filter(|(_, entry)| entry.users == 0) {
            let known = self.by_needs.get(entry.needs.list()).is_some_and(|set| *set as usize == index);
            if !known {
                continue;
            }
            self.by_needs.remove(entry.needs.list());
            for ability in std::mem::take(&mut entry.abilities) {
                line.drop_ability(ability);
            }
            *entry = NeedSet::default();
            self.free_sets.push(u32::try_from(index).expect("it was a SetId before"));
        }
        self.idle_sets = 0;
    }
}

fn rarest_bucket(needs: &Grades, line: &Line) -> usize {
    let rarest = needs.list().iter().min_by_key(|grade| line.owners(grade.skill));
    rarest.map_or(ANYBODY, |grade| grade.skill as usize + 1)
}

/// Merges the first places of a set into the best found so far.
fn merge_places(found: &mut Vec<QueuePlace>, waiting: &BTreeSet<QueuePlace>) {
    for place in waiting.iter().take(MAX_CANDIDATES) {
        let index = found.partition_point(|other| other < place);
        if index == MAX_CANDIDATES {
            return;
        }
        found.truncate(MAX_CANDIDATES - 1);
        found.insert(index, *place);
    }
}

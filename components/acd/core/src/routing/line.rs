//! The line: available agents in the order of their availability clocks, and who of them can serve what.
//!
//! Every agent in the line has a seat; seats are numbered in the order of the clock, since the clock of who sits down last is
//! never earlier than anybody's. For each *ability* somebody ever asked for (a skill at a minimum level) a bitmap over the
//! seats tells who has it and is available. The longest available agent for a set of needs is the first bit of the AND of
//! their bitmaps: 64 agents a step, and "nobody" costs as little as somebody.
//!
//! ```text
//! seat        0    1    2    3    4    5          held: has a seat, has no bits (an offer is open, the place is kept)
//! agent       Ada  -    Bo   Cy   Di   Ed         -: empty, somebody left
//! Spanish>=1  1    0    0    1    0    1
//! Billing>=5  0    0    1    1    0    1          AND: Cy, then Ed
//! ```
//!
//! Clocks are in milliseconds, so several agents may share one; among these the smaller id comes first. Who sits down out of
//! that order makes the end of the group a *tail*, which searches merge in; a long tail is sorted in when a search meets it.
//! Empty seats are swept out when the seats run out.
//!
//! The line never knows interactions, statuses or queues.

use std::ops::Range;

use ringdown_domain::{AgentId, TimestampMs};
use ringdown_events::MAX_CANDIDATES;

use super::skills::{Grade, Grades};

const NOBODY: u32 = u32::MAX;
/// Seats at the start: 16 words per ability. Tests sweep often.
const FIRST_SEATS: usize = if cfg!(test) { 64 } else { 1_024 };
/// Longest tail a search merges in instead of sorting the group: two words per ability.
const MAX_TAIL: usize = if cfg!(test) { 3 } else { 128 };

/// The number of an ability somebody asked for.
pub(super) type AbilityId = u32;

#[derive(Clone, Copy, Debug)]
struct Seat {
    since: TimestampMs,
    id: AgentId,
    /// The agent's slot, or `NOBODY`.
    agent: u32,
}

#[derive(Debug, Default)]
struct Ability {
    grade: Option<Grade>,
    /// One bit per seat: the agent there is available and has the ability.
    bits: Vec<u64>,
    /// Requirement sets that name it.
    users: u32,
}

#[derive(Clone, Debug)]
struct Person {
    seat: u32,
    available: bool,
    profile: Grades,
}

/// Seats of one clock: in the order of ids from `start` to `tail`, in any order from there to `end`.
#[derive(Clone, Copy, Debug)]
struct Group {
    start: usize,
    tail: usize,
    end: usize,
}

/// Somebody a search found.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hit {
    pub(super) agent: u32,
    pub(super) id: AgentId,
    pub(super) since: TimestampMs,
    seat: usize,
}

/// See the module's text.
#[derive(Debug)]
pub(super) struct Line {
    seats: Vec<Seat>,
    /// Most seats before a sweep; a multiple of 64.
    capacity: usize,
    /// One bit per seat: the agent there is available.
    available_bits: Vec<u64>,
    available: u32,
    abilities: Vec<Ability>,
    free_abilities: Vec<AbilityId>,
    /// By skill: the abilities of that skill.
    by_skill: Vec<Vec<(u8, AbilityId)>>,
    /// By skill: how many agents have it, available or not.
    owners: Vec<u32>,
    people: Vec<Person>,
    /// No bit is set before this word.
    head: usize,
    /// The groups that have or had a tail; ascending.
    groups: Vec<Group>,
}

impl Line {
    pub(super) fn new() -> Self {
        Self {
            seats: Vec::new(),
            capacity: FIRST_SEATS,
            available_bits: vec![0; FIRST_SEATS / 64],
            available: 0,
            abilities: Vec::new(),
            free_abilities: Vec::new(),
            by_skill: Vec::new(),
            owners: Vec::new(),
            people: Vec::new(),
            head: 0,
            groups: Vec::new(),
        }
    }

    /// Makes an agent known, or gives a known one other skills. The seat stays.
    pub(super) fn set_profile(&mut self, agent: u32, profile: Grades) {
        let index = agent as usize;
        if self.people.len() <= index {
            self.people.resize(index + 1, Person { seat: NOBODY, available: false, profile: Grades::default() });
        }
        let available = self.people[index].available;
        if available {
            self.hide(agent);
        }
        for grade in self.people[index].profile.list() {
            self.owners[grade.skill as usize] -= 1;
        }
        for grade in profile.list() {
            let skill = grade.skill as usize;
            if self.owners.len() <= skill {
                self.owners.resize(skill + 1, 0);
            }
            self.owners[skill] += 1;
        }
        self.people[index].profile = profile;
        if available {
            self.show(agent);
        }
    }

    /// Gives the agent a seat, if there is none yet, without being available. `since` must not be earlier than the clock
    /// of anybody who sat down before.
    pub(super) fn hold(&mut self, agent: u32, id: AgentId, since: TimestampMs) {
        if self.people[agent as usize].seat != NOBODY {
            return;
        }
        self.drop_empty_tail();
        if self.seats.len() == self.capacity {
            self.sweep();
        }
        self.note_order(id, since);
        self.people[agent as usize].seat = number(self.seats.len());
        self.seats.push(Seat { since, id, agent });
    }

    /// Makes the agent, who has a seat, available.
    pub(super) fn show(&mut self, agent: u32) {
        let person = &mut self.people[agent as usize];
        debug_assert!(person.seat != NOBODY && !person.available, "only who sits and is hidden can be shown");
        person.available = true;
        let seat = person.seat as usize;
        self.available += 1;
        self.head = self.head.min(seat / 64);
        self.set_bits(agent, seat);
    }

    /// Makes the agent unavailable; the seat stays.
    pub(super) fn hide(&mut self, agent: u32) {
        let person = &mut self.people[agent as usize];
        if !person.available {
            return;
        }
        person.available = false;
        let seat = person.seat as usize;
        self.available -= 1;
        self.clear_bits(agent, seat);
    }

    /// Takes the agent out of the line.
    pub(super) fn leave(&mut self, agent: u32) {
        self.hide(agent);
        let person = &mut self.people[agent as usize];
        if person.seat != NOBODY {
            self.seats[person.seat as usize].agent = NOBODY;
            person.seat = NOBODY;
        }
    }

    /// The number of an ability, kept until as many `drop_ability` as `use_ability` were called.
    pub(super) fn use_ability(&mut self, grade: Grade) -> AbilityId {
        let skill = grade.skill as usize;
        if self.by_skill.len() <= skill {
            self.by_skill.resize(skill + 1, Vec::new());
        }
        let known = self.by_skill[skill].iter().find(|(level, _)| *level == grade.level).map(|(_, ability)| *ability);
        let ability = known.unwrap_or_else(|| self.add_ability(grade));
        self.abilities[ability as usize].users += 1;
        ability
    }

    /// Ends a use; an ability without users is forgotten.
    pub(super) fn drop_ability(&mut self, ability: AbilityId) {
        let entry = &mut self.abilities[ability as usize];
        entry.users -= 1;
        if entry.users > 0 {
            return;
        }
        if let Some(grade) = entry.grade.take() {
            entry.bits = Vec::new();
            self.by_skill[grade.skill as usize].retain(|(_, other)| *other != ability);
            self.free_abilities.push(ability);
        }
    }

    /// Fills `found` with the longest available agents who have all the abilities, at most [`MAX_CANDIDATES`], in order.
    pub(super) fn longest_available(&mut self, abilities: &[AbilityId], found: &mut Vec<Hit>) {
        found.clear();
        self.skip_empty_head();
        let mut from = self.head * 64;
        while found.len() < MAX_CANDIDATES {
            let plain = found.len();
            self.collect(abilities, from..self.seats.len(), MAX_CANDIDATES, found);
            let met = (plain..found.len()).find_map(|index| Some((index, self.group_of(found[index].seat)?)));
            let Some((index, group)) = met else { return };
            found.truncate(index);
            let Group { start, tail, end } = self.groups[group];
            if end - tail > MAX_TAIL {
                self.sort(group);
                from = from.max(start);
                continue;
            }
            self.collect(abilities, from.max(start)..tail, MAX_CANDIDATES, found);
            self.collect(abilities, tail..end, usize::MAX, found);
            found[index..].sort_unstable_by_key(|hit| hit.id);
            found.truncate(MAX_CANDIDATES);
            from = end;
        }
    }

    /// What the agent can do.
    pub(super) fn profile(&self, agent: u32) -> &Grades {
        &self.people[agent as usize].profile
    }

    /// How many agents are available.
    pub(super) fn available(&self) -> u32 {
        self.available
    }

    /// True when the agent is available.
    pub(super) fn is_available(&self, agent: u32) -> bool {
        self.people[agent as usize].available
    }

    /// How many agents have the skill, available or not.
    pub(super) fn owners(&self, skill: u32) -> u32 {
        self.owners.get(skill as usize).copied().unwrap_or(0)
    }

    #[cfg(test)]
    pub(super) fn has_seat(&self, agent: u32) -> bool {
        self.people[agent as usize].seat != NOBODY
    }

    fn set_bits(&mut self, agent: u32, seat: usize) {
        let (word, bit) = (seat / 64, 1_u64 << (seat % 64));
        self.available_bits[word] |= bit;
        for grade in self.people[agent as usize].profile.list() {
            let Some(levels) = self.by_skill.get(grade.skill as usize) else { continue };
            for (_, ability) in levels.iter().filter(|(level, _)| *level <= grade.level) {
                self.abilities[*ability as usize].bits[word] |= bit;
            }
        }
    }

    fn clear_bits(&mut self, agent: u32, seat: usize) {
        let (word, bit) = (seat / 64, 1_u64 << (seat % 64));
        self.available_bits[word] &= !bit;
        for grade in self.people[agent as usize].profile.list() {
            let Some(levels) = self.by_skill.get(grade.skill as usize) else { continue };
            for (_, ability) in levels.iter().filter(|(level, _)| *level <= grade.level) {
                self.abilities[*ability as usize].bits[word] &= !bit;
            }
        }
    }

    fn add_ability(&mut self, grade: Grade) -> AbilityId {
        let mut bits = vec![0_u64; self.capacity / 64];
        for (seat, taken) in self.seats.iter().enumerate().filter(|(_, seat)| seat.agent != NOBODY) {
            let person = &self.people[taken.agent as usize];
            let able = person.profile.list().iter().any(|own| own.skill == grade.skill && own.level >= grade.level);
            if able && person.available {
                bits[seat / 64] |= 1 << (seat % 64);
            }
        }
        let entry = Ability { grade: Some(grade), bits, users: 0 };
        let ability = match self.free_abilities.pop() {
            Some(free) => {
                self.abilities[free as usize] = entry;
                free
            }
            None => {
                self.abilities.push(entry);
                number(self.abilities.len() - 1)
            }
        };
        self.by_skill[grade.skill as usize].push((grade.level, ability));
        ability
    }

    /// Adds who sits in `seats` and has all the abilities, in the order of seats, until `found` holds `limit`.
    fn collect(&self, abilities: &[AbilityId], seats: Range<usize>, limit: usize, found: &mut Vec<Hit>) {
        let bits = |index: usize| self.abilities[abilities[index] as usize].bits.as_slice();
        match abilities.len() {
            0 => self.collect_bits(seats, limit, found, |word| self.available_bits[word]),
            1 => {
                let one = bits(0);
                self.collect_bits(seats, limit, found, |word| one[word]);
            }
            2 => {
                let (one, two) = (bits(0), bits(1));
                self.collect_bits(seats, limit, found, |word| one[word] & two[word]);
            }
            3 => {
                let (one, two, three) = (bits(0), bits(1), bits(2));
                self.collect_bits(seats, limit, found, |word| one[word] & two[word] & three[word]);
            }
            count => {
                let all = |word: usize| (0..count).fold(u64::MAX, |all, index| all & bits(index)[word]);
                self.collect_bits(seats, limit, found, all);
            }
        }
    }

    fn collect_bits(&self, seats: Range<usize>, limit: usize, found: &mut Vec<Hit>, bits_of: impl Fn(usize) -> u64) {
        if found.len() >= limit {
            return;
        }
        for word in seats.start / 64..seats.end.div_ceil(64) {
            let mut bits = bits_of(word);
            while bits != 0 {
                let seat = word * 64 + bits.trailing_zeros() as usize;
                bits &= bits - 1;
                if !seats.contains(&seat) {
                    continue;
                }
                let Seat { since, id, agent } = self.seats[seat];
                found.push(Hit { agent, id, since, seat });
                if found.len() == limit {
                    return;
                }
            }
        }
    }

    fn skip_empty_head(&mut self) {
        let words = self.seats.len().div_ceil(64);
        while self.head < words && self.available_bits[self.head] == 0 {
            self.head += 1;
        }
    }

    fn drop_empty_tail(&mut self) {
        while self.seats.last().is_some_and(|seat| seat.agent == NOBODY) {
            self.seats.pop();
        }
        let len = self.seats.len();
        while let Some(group) = self.groups.last_mut() {
            if group.start < len {
                group.end = group.end.min(len);
                group.tail = group.tail.min(len);
                break;
            }
            self.groups.pop();
        }
        self.head = self.head.min(self.seats.len() / 64);
    }

    /// Notes whether the group of equal clocks at the end stays in order when `id` sits down next.
    fn note_order(&mut self, id: AgentId, since: TimestampMs) {
        let len = self.seats.len();
        let Some(last) = self.seats.last() else { return };
        debug_assert!(last.since <= since, "the clock of who sits down last is never the earliest");
        if last.since != since {
            return;
        }
        let in_order = last.id < id;
        if let Some(group) = self.groups.last_mut().filter(|group| group.end == len) {
            group.end = len + 1;
            if in_order && group.tail == len {
                group.tail = len + 1;
            }
        } else if !in_order {
            let start = self.seats.iter().rposition(|seat| seat.since != since).map_or(0, |before| before + 1);
            self.groups.push(Group { start, tail: len, end: len + 1 });
        }
    }

    fn group_of(&self, seat: usize) -> Option<usize> {
        let index = self.groups.partition_point(|group| group.end <= seat);
        self.groups.get(index).filter(|group| group.start <= seat).map(|_| index)
    }

    /// Puts one group of equal clocks in the order of ids.
    fn sort(&mut self, group: usize) {
        let Group { start, end, .. } = self.groups.remove(group);
        let mut group: Vec<Seat> = self.seats[start..end].iter().filter(|seat| seat.agent != NOBODY).copied().collect();
        for seat in &group {
            let person = &self.people[seat.agent as usize];
            if person.available {
                self.clear_bits(seat.agent, person.seat as usize);
            }
        }
        group.sort_unstable_by_key(|seat| seat.id);
        for (offset, seat) in group.iter().enumerate() {
            self.seats[start + offset] = *seat;
            self.people[seat.agent as usize].seat = number(start + offset);
            if self.people[seat.agent as usize].available {
                self.set_bits(seat.agent, start + offset);
            }
        }
        for empty in &mut self.seats[start + group.len()..end] {
            empty.agent = NOBODY;
        }
        self.head = self.head.min(start / 64);
    }

    /// Moves everybody up over the empty seats; makes room for twice as many when that frees less than half.
    fn sweep(&mut self) {
        while !self.groups.is_empty() {
            self.sort(0);
        }
        self.seats.retain(|seat| seat.agent != NOBODY);
        if self.seats.len() > self.capacity / 2 {
            self.capacity *= 2;
        }
        let words = self.capacity / 64;
        let bitmaps =
            self.abilities.iter_mut().filter(|ability| ability.grade.is_some()).map(|ability| &mut ability.bits);
        for bits in bitmaps.chain([&mut self.available_bits]) {
            bits.clear();
            bits.resize(words, 0);
        }
        self.head = 0;
        for seat in 0..self.seats.len() {
            let agent = self.seats[seat].agent;
            self.people[agent as usize].seat = number(seat);
            if self.people[agent as usize].available {
                self.set_bits(agent, seat);
            }
        }
    }
}

fn number(index: usize) -> u32 {
    u32::try_from(index).expect("seats and abilities number fewer than 2^32")
}

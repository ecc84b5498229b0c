//! Skills as small numbers: names are compared once, at the border of the core.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use ringdown_domain::{SkillLevel, SkillName, SkillRequirement};

use super::Hashing;

/// One skill at a level: what an agent has, or the least an interaction needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Grade {
    pub(super) skill: u32,
    pub(super) level: u8,
}

/// Several skills, each once, sorted by number, with a signature that refuses most mismatches in one step.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Grades {
    list: Box<[Grade]>,
    /// Bit `skill % 64` of every skill in the list.
    signature: u64,
}

impl Grades {
    pub(super) fn new(mut list: Vec<Grade>) -> Self {
        list.sort_unstable();
        let signature = list.iter().fold(0, |bits, grade| bits | 1 << (grade.skill % 64));
        Self { list: list.into(), signature }
    }

    pub(super) fn list(&self) -> &[Grade] {
        &self.list
    }

    pub(super) fn signature(&self) -> u64 {
        self.signature
    }

    /// False when needs of this signature are certainly not met.
    pub(super) fn may_meet(&self, signature: u64) -> bool {
        signature & !self.signature == 0
    }

    /// True when these abilities satisfy every need.
    pub(super) fn meet(&self, needs: &Self) -> bool {
        self.may_meet(needs.signature) && needs.list.iter().all(|need| self.has(*need))
    }

    fn has(&self, need: Grade) -> bool {
        self.list.iter().any(|grade| grade.skill == need.skill && grade.level >= need.level)
    }
}

/// What every call needs and every agent has whose phone is not known to be gone: a phone. It counts like a skill, so that the
/// line and the waiting know one rule only; it has no name, and nobody configures it.
const PHONE: Grade = Grade { skill: 0, level: 1 };

/// The numbers of all skill names met so far, and which of them the configuration in force knows.
#[derive(Debug)]
pub(super) struct Skills {
    numbers: HashMap<SkillName, u32, Hashing>,
    known: Vec<bool>,
}

impl Default for Skills {
    fn default() -> Self {
        Self { numbers: HashMap::default(), known: vec![true] }
    }
}

impl Skills {
    /// Takes the skills of a configuration: only these are known afterwards. Numbers once given stay.
    pub(super) fn set_known(&mut self, names: &BTreeSet<SkillName>) {
        self.known.fill(false);
        self.known[PHONE.skill as usize] = true;
        for name in names {
            let number = self.number(name);
            self.known[number as usize] = true;
        }
    }

    /// The number of a name, a new one if need be.
    pub(super) fn number(&mut self, name: &SkillName) -> u32 {
        if let Some(number) = self.numbers.get(name) {
            return *number;
        }
        let number = u32::try_from(self.known.len()).expect("fewer than 2^32 skill names were ever configured");
        self.numbers.insert(name.clone(), number);
        self.known.push(false);
        number
    }

    pub(super) fn is_known(&self, name: &SkillName) -> bool {
        self.numbers.get(name).is_some_and(|number| self.known[*number as usize])
    }

    pub(super) fn is_known_number(&self, number: u32) -> bool {
        self.known[number as usize]
    }

    /// What an agent with these skills can do; `has_phone` is false when the phone is known to be gone.
    pub(super) fn profile(&mut self, skills: &BTreeMap<SkillName, SkillLevel>, has_phone: bool) -> Grades {
        let grade = |(name, level): (&SkillName, &SkillLevel)| Grade { skill: self.number(name), level: level.value() };
        let skills: Vec<Grade> = skills.iter().map(grade).collect();
        Grades::new(skills.into_iter().chain(has_phone.then_some(PHONE)).collect())
    }

    /// What an interaction needs; `rings_phone` for a call on a media node. Each skill must occur once.
    pub(super) fn needs(&mut self, requirements: &[SkillRequirement], rings_phone: bool) -> Grades {
        let grade = |need: &SkillRequirement| Grade { skill: self.number(&need.skill), level: need.min_level.value() };
        let skills: Vec<Grade> = requirements.iter().map(grade).collect();
        Grades::new(skills.into_iter().chain(rings_phone.then_some(PHONE)).collect())
    }
}

/// Requirements as one list: sorted by name, each skill once at its highest level.
pub(super) fn merge<'a>(requirements: impl Iterator<Item = &'a SkillRequirement>) -> Vec<SkillRequirement> {
    let mut merged: Vec<SkillRequirement> = requirements.cloned().collect();
    merged.sort_unstable_by(|a, b| a.skill.cmp(&b.skill).then(b.min_level.cmp(&a.min_level)));
    merged.dedup_by(|later, first| later.skill == first.skill);
    merged
}

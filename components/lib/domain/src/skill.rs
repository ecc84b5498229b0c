//! Skills: what an agent can do, how well, and what an interaction asks for.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::TextError;

/// The most skills one agent may have. Twenty are common; a bound keeps the cost of a change small.
pub const MAX_SKILLS_PER_AGENT: usize = 64;
/// The most skills one interaction may require (all of them: AND).
pub const MAX_REQUIREMENTS: usize = 16;

/// The name of a skill: 1 to 64 of `0-9 A-Z a-z . _ -`, compared exactly. Copies share one text, since records that carry
/// names are copied into every journal entry.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SkillName(Arc<str>);

impl SkillName {
    /// The most characters of a skill's name.
    pub const MAX_CHARS: usize = 64;

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for SkillName {
    type Err = TextError;
    fn from_str(text: &str) -> Result<Self, TextError> {
        if text.is_empty() {
            return Err(TextError::Empty);
        }
        if text.len() > Self::MAX_CHARS {
            return Err(TextError::TooLong { limit: Self::MAX_CHARS });
        }
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        if !text.bytes().all(allowed) {
            return Err(TextError::Character { accepted: "0-9 A-Z a-z . _ -" });
        }
        Ok(Self(text.into()))
    }
}

impl TryFrom<String> for SkillName {
    type Error = TextError;
    fn try_from(text: String) -> Result<Self, TextError> {
        text.parse()
    }
}

impl From<SkillName> for String {
    fn from(name: SkillName) -> Self {
        name.0.as_ref().to_owned()
    }
}

impl fmt::Display for SkillName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for SkillName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SkillName({})", self.0)
    }
}

/// Why a number is no skill level.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be 1 to 10")]
pub struct SkillLevelError;

/// Graded strength of an ability (proficiency): 1 (knows it) to 10 (masters it).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct SkillLevel(u8);

impl SkillLevel {
    /// The weakest level; as a minimum it means "has the skill at all".
    pub const MIN: Self = Self(1);
    /// The strongest level.
    pub const MAX: Self = Self(10);

    /// The level as a number from 1 to 10.
    #[must_use]
    pub const fn value(self) -> u8 {
        self.0
    }
}

impl Default for SkillLevel {
    fn default() -> Self {
        Self::MIN
    }
}

impl TryFrom<u8> for SkillLevel {
    type Error = SkillLevelError;
    fn try_from(value: u8) -> Result<Self, SkillLevelError> {
        if (1..=10).contains(&value) { Ok(Self(value)) } else { Err(SkillLevelError) }
    }
}

impl From<SkillLevel> for u8 {
    fn from(level: SkillLevel) -> Self {
        level.0
    }
}

/// One skill an interaction needs, at a minimum level.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SkillRequirement {
    /// The skill.
    pub skill: SkillName,
    /// The weakest level that will do; 1 when the writer does not care.
    #[serde(default)]
    pub min_level: SkillLevel,
}

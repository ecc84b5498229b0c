//! Short texts people give to things.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Why a text is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    /// Nothing, or only blanks.
    #[error("must not be empty")]
    Empty,
    /// Longer than the limit given.
    #[error("must be at most {limit} characters")]
    TooLong {
        /// The most characters accepted.
        limit: usize,
    },
    /// A character outside the set named.
    #[error("may only hold {accepted}")]
    Character {
        /// What is accepted.
        accepted: &'static str,
    },
}

/// A name for people to read: 1 to 120 characters, trimmed, no control characters.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(Arc<str>);

impl Name {
    /// The most characters of a name.
    pub const MAX_CHARS: usize = 120;

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = TextError;
    fn from_str(text: &str) -> Result<Self, TextError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(TextError::Empty);
        }
        if text.chars().count() > Self::MAX_CHARS {
            return Err(TextError::TooLong { limit: Self::MAX_CHARS });
        }
        if text.chars().any(char::is_control) {
            return Err(TextError::Character { accepted: "printable characters" });
        }
        Ok(Self(text.into()))
    }
}

impl TryFrom<String> for Name {
    type Error = TextError;
    fn try_from(text: String) -> Result<Self, TextError> {
        text.parse()
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.0.as_ref().to_owned()
    }
}

/// People's names stay out of logs: only the length is shown.
impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Name({} chars)", self.0.chars().count())
    }
}

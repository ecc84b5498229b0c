//! Dialled and calling numbers.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::TextError;

/// A number or SIP user as a caller or a dialled destination carries it: 1 to 64 of `0-9 A-Z a-z + * # . _ -`.
/// "anonymous" is a valid one. Its `Debug` form is masked, since numbers stay below INFO in logs.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PhoneNumber(Arc<str>);

impl PhoneNumber {
    /// The most characters of a number; E.164 needs 16, SIP users are longer.
    pub const MAX_CHARS: usize = 64;

    /// The number as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for PhoneNumber {
    type Err = TextError;
    fn from_str(text: &str) -> Result<Self, TextError> {
        if text.is_empty() {
            return Err(TextError::Empty);
        }
        if text.len() > Self::MAX_CHARS {
            return Err(TextError::TooLong { limit: Self::MAX_CHARS });
        }
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"+*#._-".contains(&byte);
        if !text.bytes().all(allowed) {
            return Err(TextError::Character { accepted: "0-9 A-Z a-z + * # . _ -" });
        }
        Ok(Self(text.into()))
    }
}

impl TryFrom<String> for PhoneNumber {
    type Error = TextError;
    fn try_from(text: String) -> Result<Self, TextError> {
        text.parse()
    }
}

impl From<PhoneNumber> for String {
    fn from(number: PhoneNumber) -> Self {
        number.0.as_ref().to_owned()
    }
}

/// Shows the last two characters only.
impl fmt::Debug for PhoneNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tail = self.0.len().saturating_sub(2);
        write!(f, "PhoneNumber(..{})", &self.0[tail..])
    }
}

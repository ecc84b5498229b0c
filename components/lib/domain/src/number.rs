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

/// How a carrier writes numbers: what stands before an international and a national one, and which country is meant.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct NumberPlan {
    /// The country's code (ITU-T E.164), 1 to 3 digits; none: national forms stay as they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub country_code: Option<String>,
    /// What stands before a number with its country's code, beside `+`: `00` in most countries, `011` in North America.
    /// 0 to 5 digits; empty: only `+` does.
    #[serde(default = "NumberPlan::default_international_prefix")]
    pub international_prefix: String,
    /// What stands before a number of the country itself: mostly `0`, in North America `1`. 0 to 5 digits; empty: nothing does,
    /// and a number that does not begin with the country's code is a national one.
    #[serde(default = "NumberPlan::default_national_prefix")]
    pub national_prefix: String,
}

impl Default for NumberPlan {
    fn default() -> Self {
        Self {
            country_code: None,
            international_prefix: Self::default_international_prefix(),
            national_prefix: Self::default_national_prefix(),
        }
    }
}

impl NumberPlan {
    /// The most digits of an E.164 number, and the fewest of one that is taken for one without its `+`.
    const MAX_DIGITS: usize = 15;
    const MIN_DIGITS: usize = 8;

    fn default_international_prefix() -> String {
        "00".to_owned()
    }

    fn default_national_prefix() -> String {
        "0".to_owned()
    }

    /// The number in the user part of a SIP or tel URI: without its parameters (RFC 3261 19.1.6, RFC 4694) and visual
    /// separators (RFC 3966 5.1.1). What is no number, as a name, only loses the parameters.
    #[must_use]
    pub fn plain(user_part: &str) -> String {
        let user = user_part.split(';').next().unwrap_or_default().trim();
        let is_separator = |character: char| matches!(character, '-' | '.' | '(' | ')' | ' ');
        let is_symbol = |character: char| character.is_ascii_digit() || matches!(character, '*' | '#');
        let number = user.strip_prefix('+').unwrap_or(user);
        let has_digit = number.chars().any(|character| character.is_ascii_digit());
        if has_digit && number.chars().all(|character| is_symbol(character) || is_separator(character)) {
            user.chars().filter(|character| !is_separator(*character)).collect()
        } else {
            user.to_owned()
        }
    }

    /// The E.164 form, `+` and digits, of what the carrier sent; none when it cannot be told.
    #[must_use]
    pub fn e164(&self, user_part: &str) -> Option<String> {
        let plain = Self::plain(user_part);
        let prefixed = |prefix: &str| plain.strip_prefix(prefix).filter(|_| !prefix.is_empty());
        if let Some(rest) = prefixed("+").or_else(|| prefixed(&self.international_prefix)) {
            return international("", rest);
        }
        let code = self.country_code.as_deref()?;
        // North America's national prefix is its country's code: 1 415 ... is both.
        let bare = plain.strip_prefix(code).filter(|rest| rest.len() + code.len() >= Self::MIN_DIGITS + 2);
        match (prefixed(&self.national_prefix), bare) {
            (Some(rest), _) => international(code, rest),
            (None, Some(rest)) => international(code, rest),
            (None, None) if self.national_prefix.is_empty() => international(code, &plain),
            (None, None) => None,
        }
    }

    /// How a dialled number may stand in a route, the surest first.
    #[must_use]
    pub fn readings(&self, user_part: &str) -> Vec<String> {
        let plain = Self::plain(user_part);
        // Carriers leave the plus out.
        let bare = (plain.len() >= Self::MIN_DIGITS).then(|| international("", &plain)).flatten();
        let mut readings = vec![plain];
        for reading in self.e164(user_part).into_iter().chain(bare) {
            if !readings.contains(&reading) {
                readings.push(reading);
            }
        }
        readings
    }

    /// The calling number, in E.164 where that can be told; none when there is none, or no number at all.
    #[must_use]
    pub fn caller(&self, user_part: &str) -> Option<PhoneNumber> {
        let text = self.e164(user_part).unwrap_or_else(|| Self::plain(user_part));
        text.parse().ok()
    }
}

/// `+`, code and number; none when that is no E.164 number.
fn international(code: &str, rest: &str) -> Option<String> {
    let digits = rest.bytes().all(|byte| byte.is_ascii_digit());
    let fits = (1..=NumberPlan::MAX_DIGITS).contains(&(code.len() + rest.len()));
    // No country's code begins with 0.
    let sound = digits && fits && !rest.is_empty() && !(code.is_empty() && rest.starts_with('0'));
    sound.then(|| format!("+{code}{rest}"))
}

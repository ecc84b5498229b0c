//! The border types of configuration: texts and numbers that are right once they are parsed. Each refuses with one
//! sentence that names what is accepted; the JSON extractor adds which field it was.

use std::fmt;
use std::marker::PhantomData;
use std::net::IpAddr;

use serde::{Deserialize, Deserializer};

use crate::auth::password;

/// For members of a PATCH: present means set; `null` is refused unless the type itself accepts it.
///
/// # Errors
/// As `T` does.
pub fn present<'de, T, D>(deserializer: D) -> Result<Option<T>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    T::deserialize(deserializer).map(Some)
}

/// A `T` that stands as a JSON object. (What serde derives would also take an array of the members' values in order.)
#[derive(Clone, Debug)]
pub struct Object<T>(pub T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> serde::de::Visitor<'de> for Visitor<T> {
            type Value = T;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: serde::de::MapAccess<'de>>(self, members: A) -> Result<T, A::Error> {
                T::deserialize(serde::de::value::MapAccessDeserializer::new(members))
            }
        }
        deserializer.deserialize_map(Visitor(PhantomData)).map(Self)
    }
}

/// A whole number from `MIN` to `MAX`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounded<const MIN: i64, const MAX: i64>(i64);

impl<const MIN: i64, const MAX: i64> Bounded<MIN, MAX> {
    /// The number.
    #[must_use]
    pub const fn value(self) -> i64 {
        self.0
    }

    /// A number of ours that is known to be within the bounds; a wrong one is moved to the nearest bound.
    #[must_use]
    pub const fn clamped(value: i64) -> Self {
        Self(if value < MIN {
            MIN
        } else if value > MAX {
            MAX
        } else {
            value
        })
    }
}

impl<'de, const MIN: i64, const MAX: i64> Deserialize<'de> for Bounded<MIN, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor<const MIN: i64, const MAX: i64>;
        impl<const MIN: i64, const MAX: i64> serde::de::Visitor<'_> for Visitor<MIN, MAX> {
            type Value = i64;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a whole number from {MIN} to {MAX}")
            }
            fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<i64, E> {
                if (MIN..=MAX).contains(&value) { Ok(value) } else { Err(E::custom(outside(MIN, MAX))) }
            }
            fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<i64, E> {
                i64::try_from(value)
                    .ok()
                    .filter(|value| (MIN..=MAX).contains(value))
                    .ok_or_else(|| E::custom(outside(MIN, MAX)))
            }
        }
        deserializer.deserialize_i64(Visitor::<MIN, MAX>).map(Self)
    }
}

fn outside(min: i64, max: i64) -> String {
    format!("must be a whole number from {min} to {max}")
}

/// A list of at most `MAX` items.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AtMost<T, const MAX: usize>(pub Vec<T>);

impl<T, const MAX: usize> Default for AtMost<T, MAX> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>, const MAX: usize> Deserialize<'de> for AtMost<T, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let items = Vec::<T>::deserialize(deserializer)?;
        if items.len() > MAX {
            return Err(serde::de::Error::custom(format!("must have at most {MAX} items")));
        }
        Ok(Self(items))
    }
}

/// Why a text is refused: one sentence for people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct FieldError(&'static str);

macro_rules! text_field {
    ($(#[$doc:meta])* $name:ident, $parse:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
        #[serde(try_from = "String")]
        pub struct $name(String);

        impl $name {
            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// The text, owned.
            #[must_use]
            pub fn into_string(self) -> String {
                self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = FieldError;

            fn try_from(text: String) -> Result<Self, FieldError> {
                let parse: fn(String) -> Result<String, FieldError> = $parse;
                parse(text).map(Self)
            }
        }
    };
}

text_field!(
    /// A log-in name: 1 to 64 of `a-z 0-9 . _ @ + -`; capitals are folded, so that nobody is told apart by case alone.
    Login,
    |text| {
        let text = text.trim().to_ascii_lowercase();
        let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._@+-".contains(&b);
        let fits = !text.is_empty() && text.len() <= 64 && text.bytes().all(allowed);
        if fits { Ok(text) } else { Err(FieldError("must be 1 to 64 of a-z 0-9 . _ @ + -")) }
    }
);

text_field!(
    /// The user part of a phone's SIP address: 1 to 64 of `a-z A-Z 0-9 . _ -`, compared exactly.
    SipUser,
    |text| {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
        let fits = !text.is_empty() && text.len() <= 64 && text.bytes().all(allowed);
        if fits { Ok(text) } else { Err(FieldError("must be 1 to 64 of a-z A-Z 0-9 . _ -")) }
    }
);

text_field!(
    /// A tenant's SIP realm: a domain name of at most 253 characters, lower case.
    Realm,
    |text| {
        let text = text.trim().to_ascii_lowercase();
        let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        let label = |label: &str| {
            !label.is_empty()
                && label.len() <= 63
                && label.bytes().all(allowed)
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        let fits = text.len() <= 253 && text.split('.').all(label);
        if fits { Ok(text) } else { Err(FieldError("must be a domain name, as agents.example.com")) }
    }
);

text_field!(
    /// A number that routes match: 1 to 64 of `0-9 A-Z a-z + * # . _ -`.
    Did,
    |text| {
        text.parse::<ringdown_domain::PhoneNumber>()
            .map(String::from)
            .map_err(|_| FieldError("must be 1 to 64 of 0-9 A-Z a-z + * # . _ -"))
    }
);

text_field!(
    /// A country's code (ITU-T E.164): 1 to 3 digits, the first not 0.
    CountryCode,
    |text| {
        let digits = text.bytes().all(|b| b.is_ascii_digit()) && !text.starts_with('0');
        if digits && (1..=3).contains(&text.len()) {
            Ok(text)
        } else {
            Err(FieldError("must be 1 to 3 digits, the first not 0"))
        }
    }
);

text_field!(
    /// What stands before an international or a national number: 0 to 5 digits.
    DialPrefix,
    |text| {
        let digits = text.bytes().all(|b| b.is_ascii_digit()) && text.len() <= 5;
        if digits { Ok(text) } else { Err(FieldError("must be 0 to 5 digits")) }
    }
);

text_field!(
    /// An address or network a carrier calls from, in its shortest form.
    Source,
    |text| canonical_source(&text).ok_or(FieldError("must be an IP address or network, as 192.0.2.7 or 192.0.2.0/24"))
);

text_field!(
    /// Where calls over a trunk go: an IP address with or without a port.
    Destination,
    |text| {
        let sound = text.parse::<IpAddr>().is_ok() || text.parse::<std::net::SocketAddr>().is_ok();
        if sound { Ok(text) } else { Err(FieldError("must be an IP address with or without a port, as 192.0.2.7:5060")) }
    }
);

text_field!(
    /// A number that is shown to the called party: digits, with or without `+`.
    CallerId,
    |text| {
        let digits = text.strip_prefix('+').unwrap_or(&text);
        let fits = (1..=20).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
        if fits { Ok(text) } else { Err(FieldError("must be 1 to 20 digits, with or without + before them")) }
    }
);

text_field!(
    /// What a number begins with, or what is put before it: digits, with or without `+`; may be empty.
    NumberPrefix,
    |text| {
        let digits = text.strip_prefix('+').unwrap_or(&text);
        let fits = digits.len() <= 15 && digits.bytes().all(|byte| byte.is_ascii_digit());
        if fits { Ok(text) } else { Err(FieldError("must be at most 15 digits, with or without + before them")) }
    }
);

text_field!(
    /// A description for people: at most 500 characters, no control characters but line breaks and tabs.
    Description,
    |text| {
        let readable = |c: char| !c.is_control() || c == '\n' || c == '\t';
        let fits = text.chars().count() <= 500 && text.chars().all(readable);
        if fits { Ok(text) } else { Err(FieldError("must be at most 500 printable characters")) }
    }
);

fn canonical_source(text: &str) -> Option<String> {
    let text = text.trim();
    let Some((address, bits)) = text.split_once('/') else {
        return text.parse::<IpAddr>().ok().map(|address| address.to_string());
    };
    let address: IpAddr = address.parse().ok()?;
    let bits: u8 = bits.parse().ok()?;
    // A network of everything would let anybody place calls; a carrier's is never wider than this.
    match address {
        IpAddr::V4(v4) if (8..=32).contains(&bits) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0);
            let network = std::net::Ipv4Addr::from(u32::from(v4) & mask);
            Some(format!("{network}/{bits}"))
        }
        IpAddr::V6(v6) if (16..=128).contains(&bits) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0);
            let network = std::net::Ipv6Addr::from(u128::from(v6) & mask);
            Some(format!("{network}/{bits}"))
        }
        IpAddr::V4(_) | IpAddr::V6(_) => None,
    }
}

macro_rules! secret_field {
    ($(#[$doc:meta])* $name:ident, $min:expr, $refusal:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Deserialize)]
        #[serde(try_from = "String")]
        pub struct $name(String);

        impl $name {
            /// The secret, for the one place that hashes it.
            #[must_use]
            pub fn reveal(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = FieldError;

            fn try_from(text: String) -> Result<Self, FieldError> {
                let count = text.chars().count();
                let fits = ($min..=password::MAX_CHARS).contains(&count) && !text.chars().any(char::is_control);
                if fits { Ok(Self(text)) } else { Err(FieldError($refusal)) }
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(..)"))
            }
        }
    };
}

secret_field!(
    /// A password somebody chooses: 10 to 256 printable characters, any of them (NIST SP 800-63B 5.1.1.2).
    NewPassword,
    password::MIN_CHARS,
    "must be 10 to 256 printable characters"
);

secret_field!(
    /// A phone's password: 10 to 256 printable characters, not all of a kind; see [`SipPassword::weakness`].
    SipPassword,
    10,
    "must be 10 to 256 printable characters"
);

/// From here on a password may be of digits alone: 53 bits at random.
const LONG_ENOUGH_CHARS: usize = 16;
/// Fewer different characters than this are a pattern.
const FEWEST_DIFFERENT: usize = 5;
/// Shorter SIP users stand in any password by chance.
const TELLING_USER_CHARS: usize = 4;

impl SipPassword {
    /// What makes it easy to guess, if anything does. Whoever knows the SIP user tries thousands a second.
    #[must_use]
    pub fn weakness(&self, user: &str) -> Option<&'static str> {
        let text = self.0.to_lowercase();
        let different: std::collections::BTreeSet<char> = text.chars().collect();
        if different.len() < FEWEST_DIFFERENT {
            return Some("must have at least 5 different characters");
        }
        if text.chars().all(|c| c.is_ascii_digit()) && text.len() < LONG_ENOUGH_CHARS {
            return Some("must be at least 16 characters when it has only digits");
        }
        let user = user.to_lowercase();
        if user.len() >= TELLING_USER_CHARS && text.contains(&user) {
            return Some("must not contain the SIP user");
        }
        None
    }

    /// Draws one: 20 characters that are not taken for each other, 99 bits.
    ///
    /// # Errors
    /// When the operating system gives no randomness.
    pub fn draw() -> Result<Self, getrandom::Error> {
        const LETTERS: &[u8; 32] = b"abcdefghjkmnpqrstuvwxyz123456789";
        let mut bytes = [0_u8; 20];
        getrandom::fill(&mut bytes)?;
        Ok(Self(bytes.iter().map(|byte| char::from(LETTERS[usize::from(byte % 32)])).collect()))
    }
}

secret_field!(
    /// A password somebody presents at log-in: 1 to 256 characters.
    PresentedPassword,
    1,
    "must be 1 to 256 printable characters"
);

#[cfg(test)]
mod tests {
    use super::*;

    fn check<T: TryFrom<String>>(text: &str, accepted: bool) {
        assert_eq!(T::try_from(text.to_owned()).is_ok(), accepted, "{text:?} as {}", std::any::type_name::<T>());
    }

    #[test]
    fn texts_are_parsed_at_the_border() {
        check::<Login>("Ada.Lovelace@example", true);
        check::<Login>("", false);
        check::<Login>("a b", false);
        check::<Login>(&"a".repeat(65), false);
        check::<SipUser>("1001", true);
        check::<SipUser>("10 01", false);
        check::<SipUser>("a@b", false);
        check::<Realm>("Agents.Example.com", true);
        check::<Realm>("localhost", true);
        check::<Realm>("a..b", false);
        check::<Realm>("-a.b", false);
        check::<Realm>(&"a.".repeat(200), false);
        check::<Did>("+4930123456", true);
        check::<Did>("+49 30", false);
        check::<SipPassword>("12345678", false);
        let weak = |text: &str, user: &str| SipPassword::try_from(text.to_owned()).unwrap().weakness(user).is_some();
        assert!(weak("1234567890", "1001") && weak("aaaaaaaaaaaa", "1001") && weak("my-1001-phone", "1001"));
        assert!(!weak("phone-secret-1", "ada") && !weak("1234567890123456", "77"));
        let drawn = SipPassword::draw().unwrap();
        assert!(drawn.reveal().len() == 20 && drawn.weakness("1001").is_none());
        check::<NewPassword>("short", false);
        check::<NewPassword>("long enough!", true);
        check::<NewPassword>("has\u{0}zero byte", false);
    }

    #[test]
    fn sources_are_brought_into_one_form() {
        let canonical = |text: &str| canonical_source(text);
        assert_eq!(canonical(" 192.0.2.7"), Some("192.0.2.7".to_owned()));
        assert_eq!(canonical("192.0.2.7/24"), Some("192.0.2.0/24".to_owned()));
        assert_eq!(canonical("2001:DB8::1/32"), Some("2001:db8::/32".to_owned()));
        for refused in ["", "x", "192.0.2.7/33", "0.0.0.0/0", "192.0.2.7/", "::/0", "192.0.2.0/24/8", "1.2.3"] {
            assert_eq!(canonical(refused), None, "{refused:?}");
        }
    }

    #[test]
    fn numbers_and_lists_have_bounds() {
        type Ring = Bounded<1_000, 120_000>;
        assert_eq!(serde_json::from_str::<Ring>("1000").unwrap().value(), 1_000);
        for refused in ["999", "120001", "-1", "\"1000\"", "1000.5", "null", "1e30", "18446744073709551615"] {
            assert!(serde_json::from_str::<Ring>(refused).is_err(), "{refused}");
        }
        assert!(serde_json::from_str::<AtMost<u8, 2>>("[1,2]").is_ok());
        assert!(serde_json::from_str::<AtMost<u8, 2>>("[1,2,3]").is_err());
    }
}

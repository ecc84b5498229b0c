//! Tokens: 256 random bits, shown once, stored as their SHA-256.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

/// Characters of a token: 32 bytes in base64url without padding.
pub const TOKEN_CHARS: usize = 43;

/// A bearer token as its owner holds it. Its `Debug` form is masked.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// Draws a new token from the operating system.
    ///
    /// # Errors
    /// When the operating system gives no randomness.
    pub fn draw() -> Result<Self, getrandom::Error> {
        let mut bytes = [0u8; 32];
        getrandom::fill(&mut bytes)?;
        Ok(Self(URL_SAFE_NO_PAD.encode(bytes)))
    }

    /// Reads a presented token; none when it cannot be one of ours, so that garbage costs no look-up.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        (text.len() == TOKEN_CHARS && text.bytes().all(allowed)).then(|| Self(text.to_owned()))
    }

    /// What is stored in its place: SHA-256 in lower-case hex. A plain hash suffices, since 256 random bits cannot be
    /// guessed.
    #[must_use]
    pub fn digest(&self) -> String {
        hex(&Sha256::digest(self.0.as_bytes()))
    }

    /// The token itself, for the one answer that shows it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(..)")
    }
}

/// Lower-case hexadecimal digits.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_parsed_back_and_hashed() {
        let token = Token::draw().unwrap();
        assert_eq!(Token::parse(token.reveal()), Some(token.clone()));
        assert_eq!(token.digest().len(), 64);
        assert_eq!(format!("{token:?}"), "Token(..)");
    }

    #[test]
    fn garbage_is_no_token() {
        for text in ["", "x", &"a".repeat(42), &"a".repeat(44), &"!".repeat(43), &"é".repeat(21)] {
            assert_eq!(Token::parse(text), None, "{text:?}");
        }
    }
}

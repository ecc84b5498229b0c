//! Nonces that carry their own proof (RFC 7616 3.3).

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::credentials::{Ha1, hex};

/// How long a nonce may be used. Longer than a phone waits before it answers, shorter than most refreshes, so that a
/// stolen answer is soon worthless.
pub const NONCE_LIFETIME_MS: u64 = 300_000;

/// Nonces from the future by more than this are refused: clocks of processes that share a key differ a little.
const CLOCK_SKEW_MS: u64 = 5_000;

/// The key that signs nonces and tokens.
#[derive(Clone)]
pub struct NonceKey([u8; 32]);

/// Secrets stay out of logs.
impl std::fmt::Debug for NonceKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("NonceKey")
    }
}

/// What identifies an issued nonce: when it was made and its random part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NonceId {
    /// UTC milliseconds.
    pub issued_ms: u64,
    /// The random part.
    pub random: [u8; 8],
}

impl NonceKey {
    /// The key made of these bytes.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The key derived from a secret text.
    pub fn from_secret(secret: &str) -> Self {
        Self(Sha256::digest(secret.as_bytes()).into())
    }

    /// A new nonce for `realm`: 16 hex digits of time, 16 of random, 32 of proof.
    pub fn issue(&self, realm: &str, now_ms: u64, random: [u8; 8]) -> String {
        let id = NonceId { issued_ms: now_ms, random };
        format!("{now_ms:016x}{}{}", hex(&random), hex(&self.proof(realm, id)))
    }

    /// The nonce's identity when we (or somebody with our key) made it for `realm` and it has not expired.
    pub fn verify(&self, realm: &str, nonce: &str, now_ms: u64) -> Option<NonceId> {
        if nonce.len() != 64 || !nonce.is_ascii() {
            return None;
        }
        let issued_ms = u64::from_str_radix(&nonce[..16], 16).ok()?;
        let random = u64::from_str_radix(&nonce[16..32], 16).ok()?.to_be_bytes();
        let id = NonceId { issued_ms, random };
        let genuine = hex(&self.proof(realm, id)).as_bytes().ct_eq(&nonce.as_bytes()[32..]);
        let fresh =
            issued_ms <= now_ms.saturating_add(CLOCK_SKEW_MS) && now_ms < issued_ms.saturating_add(NONCE_LIFETIME_MS);
        (bool::from(genuine) && fresh).then_some(id)
    }

    /// 16 bytes that only a holder of the key can compute for `parts` of a `purpose`.
    pub fn sign(&self, purpose: &str, parts: &[&[u8]]) -> [u8; 16] {
        let mut mac = self.mac(purpose);
        for part in parts {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part);
        }
        let full = mac.finalize().into_bytes();
        std::array::from_fn(|at| full[at])
    }

    /// The HA1 of a user who does not exist: no answer can match it.
    pub(super) fn nobody(&self, user: &str) -> Ha1 {
        let bytes = self.sign("nobody", &[user.as_bytes()]);
        Ha1 { md5: hex(&bytes), sha256: format!("{}{}", hex(&bytes), hex(&bytes)) }
    }

    fn proof(&self, realm: &str, id: NonceId) -> [u8; 16] {
        self.sign("nonce", &[realm.as_bytes(), &id.issued_ms.to_be_bytes(), &id.random])
    }

    fn mac(&self, purpose: &str) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes keys of any length");
        mac.update(purpose.as_bytes());
        mac
    }
}

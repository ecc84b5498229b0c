//! Digest authentication (RFC 7616, RFC 8760): challenges, nonces, answers.
//!
//! ```text
//! no credentials ------------------------------> challenge (SHA-256 first, then MD5, unless set otherwise)
//! answer wrong, user unknown ------------------> challenge, not stale
//! answer right, nonce expired, foreign, replayed -> challenge, stale=true: the phone tries again without asking anybody
//! answer right, nonce fresh -------------------> the user
//! ```
//! Nonces need no memory: time, random bytes and an HMAC over both and the realm. Only the nonce counts that were used
//! are remembered, within a bound. HA1 values are all we ever hold; a user we do not know is checked against an HA1
//! nobody can have, so that the answer and the time it takes are the same.
//!
//! The digest's `uri` is taken as the client wrote it and not compared with the Request-URI: RFC 7616 3.4.6 lets
//! elements on the way change the latter, and common clients send their outbound proxy. What it could be used for, replay
//! of an answer for another request, is what nonce count and nonce age limit.

mod answer;
mod nonce;
mod replay;

#[cfg(test)]
mod tests;

pub use answer::{Algorithm, Answer, Ha1, hex};
pub use nonce::{NONCE_LIFETIME_MS, NonceKey};
pub use replay::{MAX_NONCES, ReplayWindow};

use subtle::ConstantTimeEq;

/// What a request's credentials are worth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// No credentials for this realm, or none we can read.
    Missing,
    /// Wrong answer or unknown user: the two are not told apart.
    Wrong,
    /// The answer is right but its nonce is not usable (any more).
    Stale,
    /// The user name, proved.
    User(String),
}

/// Checks credentials and makes challenges for all realms.
#[derive(Debug)]
pub struct Digest {
    key: NonceKey,
    replay: ReplayWindow,
    offered: Vec<Algorithm>,
}

impl Digest {
    /// One that signs nonces with `key` (processes that share it accept each other's) and offers these algorithms in
    /// this order.
    pub fn new(key: NonceKey, offered: Vec<Algorithm>) -> Self {
        Self { key, replay: ReplayWindow::default(), offered }
    }

    /// The values of the challenge's header fields, one per algorithm (RFC 8760 2.3).
    pub fn challenges(&self, realm: &str, stale: bool, now_ms: u64, random: [u8; 8]) -> Vec<String> {
        let nonce = self.key.issue(realm, now_ms, random);
        let stale = if stale { ", stale=true" } else { "" };
        let challenge = |algorithm: &Algorithm| {
            let name = algorithm.name();
            format!("Digest realm=\"{realm}\", nonce=\"{nonce}\", algorithm={name}, qop=\"auth\"{stale}")
        };
        self.offered.iter().map(challenge).collect()
    }

    /// Checks the credentials that `values` (of Authorization or Proxy-Authorization fields) hold for `realm`.
    pub fn check<'a>(
        &mut self,
        values: impl IntoIterator<Item = &'a [u8]>,
        method: &[u8],
        realm: &str,
        now_ms: u64,
        credential: impl FnOnce(&str) -> Option<Ha1>,
    ) -> Verdict {
        let answer = values
            .into_iter()
            .filter_map(Answer::parse)
            .find(|answer| answer.realm == realm && self.offered.contains(&answer.algorithm));
        let Some(answer) = answer else { return Verdict::Missing };
        let stored = credential(&answer.user);
        let known = stored.is_some();
        let ha1 = stored.unwrap_or_else(|| self.key.nobody(&answer.user));
        let expected = answer.expected(&ha1, method);
        let right = bool::from(expected.as_bytes().ct_eq(answer.response.as_bytes()));
        if !right || !known {
            return Verdict::Wrong;
        }
        let Some(nonce) = self.key.verify(realm, &answer.nonce, now_ms) else { return Verdict::Stale };
        match answer.count {
            Some(count) if !self.replay.accept(nonce, count, now_ms) => Verdict::Stale,
            _ => Verdict::User(answer.user),
        }
    }
}

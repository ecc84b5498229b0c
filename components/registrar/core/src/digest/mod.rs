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

mod credentials;
mod nonce;
mod replay;

#[cfg(test)]
mod tests;

pub use credentials::{Algorithm, Credentials, Ha1, hex};
pub use nonce::{NONCE_LIFETIME_MS, NonceKey};
pub use replay::{MAX_NONCES, ReplayWindow};

use subtle::ConstantTimeEq;

/// User agents that give up at a challenge of an algorithm they do not know, instead of passing over it (RFC 8760 2.4): the
/// library of baresip before 2.0 stops at the first one that is not MD5, and so do the browsers' libraries JsSIP and SIP.js.
/// They are offered MD5 alone, where it is offered.
const MD5_ONLY: [&[u8]; 4] = [b"baresip v0.", b"baresip v1.", b"JsSIP ", b"SIP.js/"];

/// Most digests that may prove one user: the configured one and those of browsers' phones.
pub const MAX_PROOFS: usize = 6;

/// What a request's credentials are worth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Wrong answer or unknown user: the two are not told apart.
    Wrong,
    /// The answer is right but its nonce is not usable (any more).
    Stale,
    /// The user is proved.
    Right,
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

    /// The values of the challenge's header fields, one per algorithm (RFC 8760 2.3). `agent` is who asks, by User-Agent.
    pub fn challenges(&self, realm: &str, agent: &[u8], stale: bool, now_ms: u64, random: [u8; 8]) -> Vec<String> {
        let nonce = self.key.issue(realm, now_ms, random);
        let stale = if stale { ", stale=true" } else { "" };
        let challenge = |algorithm: &Algorithm| {
            let name = algorithm.name();
            format!("Digest realm=\"{realm}\", nonce=\"{nonce}\", algorithm={name}, qop=\"auth\"{stale}")
        };
        let md5_alone = self.offered.contains(&Algorithm::Md5) && MD5_ONLY.iter().any(|name| agent.starts_with(name));
        self.offered.iter().filter(|algorithm| !md5_alone || **algorithm == Algorithm::Md5).map(challenge).collect()
    }

    /// The credentials for `realm` among `values` of Authorization or Proxy-Authorization fields; none when there are
    /// none that answer a challenge of ours. Each offers qop, so an answer without it, which could be replayed, is none.
    pub fn find<'a>(&self, values: impl IntoIterator<Item = &'a [u8]>, realm: &str) -> Option<Credentials> {
        let ours = |found: &Credentials| {
            found.realm == realm && found.count.is_some() && self.offered.contains(&found.algorithm)
        };
        values.into_iter().filter_map(Credentials::parse).find(ours)
    }

    /// What credentials are worth; `stored` is what we hold of their user, at most [`MAX_PROOFS`].
    pub fn check(&mut self, shown: &Credentials, method: &[u8], now_ms: u64, stored: &[Ha1]) -> Verdict {
        // Made for everybody, and tried as often as a user may have proofs: somebody unknown takes as long as a wrong answer.
        let nobody = self.key.nobody(&shown.user);
        let tried = (0..MAX_PROOFS).map(|at| (at < stored.len(), stored.get(at).unwrap_or(&nobody)));
        let mut right = false;
        for (known, ha1) in tried {
            let expected = shown.expected(ha1, method);
            right = known && bool::from(expected.as_bytes().ct_eq(shown.response.as_bytes()));
            if right {
                break;
            }
        }
        if !right {
            return Verdict::Wrong;
        }
        let Some(nonce) = self.key.verify(&shown.realm, &shown.nonce, now_ms) else { return Verdict::Stale };
        match shown.count {
            Some(count) if self.replay.accept(nonce, count, now_ms) => Verdict::Right,
            Some(_) | None => Verdict::Stale,
        }
    }
}

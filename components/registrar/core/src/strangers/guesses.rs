//! The brake on guessing passwords: per user and source, per user, per source.
//!
//! ```text
//! right answer ---------------> the pair's tokens come back
//! wrong answer ---------------> a token each of pair, user and source is gone
//! no token left --------------> the password is not looked at any more, right or wrong, until one comes back
//! ```
//! A phone that is registered at the very address and port that it asks from has a brake of its own: a stranger who
//! guesses its password elsewhere does not lock its owner out. Users and realms that do not exist are counted alike.

use std::net::SocketAddr;

use super::buckets::{Buckets, Rate};
use super::source_key;

/// Guesses of one password from one source: somebody who mistypes it tries less often.
const PAIR: Rate = Rate { per_minute: 5, burst: 5 };
/// Guesses of one password from everywhere.
const USER: Rate = Rate { per_minute: 60, burst: 60 };
/// Guesses from one source, whoever's password: an office whose phones all have an old one gets through within minutes.
const SOURCE: Rate = Rate { per_minute: 60, burst: 60 };
/// A brake that holds is told once a minute.
const TOLD: Rate = Rate { per_minute: 1, burst: 1 };

/// Who shows a password.
#[derive(Clone, Copy, Debug)]
pub struct Guesser<'a> {
    /// Where from.
    pub source: SocketAddr,
    /// Which realm.
    pub realm: &'a str,
    /// Which user.
    pub user: &'a str,
    /// The user's phone is registered at this very address and port.
    pub registered: bool,
}

/// The three brakes.
#[derive(Debug)]
pub struct Guesses {
    pairs: Buckets,
    users: Buckets,
    sources: Buckets,
    told: Buckets,
}

impl Guesses {
    /// Brakes that nobody has touched.
    pub fn new(seed: [u8; 32]) -> Self {
        Self {
            pairs: Buckets::new(PAIR, seed),
            users: Buckets::new(USER, seed),
            sources: Buckets::new(SOURCE, seed),
            told: Buckets::new(TOLD, seed),
        }
    }

    /// True when the password may be looked at.
    pub fn allows(&mut self, guesser: Guesser<'_>, now_ms: u64) -> bool {
        let (pair, source) = (pair(guesser), source_key(guesser.source.ip()));
        !self.pairs.is_empty(&parts(&pair), now_ms)
            && (guesser.registered
                || (!self.users.is_empty(&user(guesser), now_ms) && !self.sources.is_empty(&[&source], now_ms)))
    }

    /// It was wrong. True when the brake holds from now on and that has not been told lately.
    pub fn wrong(&mut self, guesser: Guesser<'_>, now_ms: u64) -> bool {
        let (pair, source) = (pair(guesser), source_key(guesser.source.ip()));
        self.pairs.take(&parts(&pair), now_ms);
        if !guesser.registered {
            self.users.take(&user(guesser), now_ms);
            self.sources.take(&[&source], now_ms);
        }
        !self.allows(guesser, now_ms) && self.told.take(&[&source], now_ms)
    }

    /// It was right.
    pub fn right(&mut self, guesser: Guesser<'_>, now_ms: u64) {
        let pair = pair(guesser);
        for _ in 0..PAIR.burst {
            self.pairs.give_back(&parts(&pair), now_ms);
        }
    }
}

type Pair<'a> = ([u8; 18], [&'a [u8]; 2]);

/// The source with its port when the user's phone is registered there, else without.
fn pair(guesser: Guesser<'_>) -> Pair<'_> {
    let mut place = [0; 18];
    place[..16].copy_from_slice(&source_key(guesser.source.ip()));
    if guesser.registered {
        place[16..].copy_from_slice(&guesser.source.port().to_be_bytes());
    }
    (place, user(guesser))
}

fn parts<'a>(pair: &'a Pair<'_>) -> [&'a [u8]; 3] {
    [&pair.0, pair.1[0], pair.1[1]]
}

fn user<'a>(guesser: Guesser<'a>) -> [&'a [u8]; 2] {
    [guesser.realm.as_bytes(), guesser.user.as_bytes()]
}

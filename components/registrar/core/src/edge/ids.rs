//! Branches, tags and nonce parts: unguessable, and the same again for the same seed.

use sha2::{Digest, Sha256};

use crate::digest::hex;

/// A source of ids from a seed that the shell drew.
pub(super) struct Ids {
    seed: [u8; 32],
    count: u64,
    life: u32,
}

impl Ids {
    pub(super) fn new(seed: [u8; 32]) -> Self {
        let hash = Sha256::new().chain_update(b"life").chain_update(seed).finalize();
        Self { seed, count: 0, life: u32::from_be_bytes(std::array::from_fn(|at| hash[at])) }
    }

    /// Names this seed without telling it: what another life of this process gave out is told apart by it.
    pub(super) fn life(&self) -> u32 {
        self.life
    }

    pub(super) fn next(&mut self) -> [u8; 8] {
        self.count += 1;
        let hash = Sha256::new().chain_update(self.seed).chain_update(self.count.to_be_bytes()).finalize();
        std::array::from_fn(|at| hash[at])
    }

    pub(super) fn tag(&mut self) -> String {
        hex(&self.next())
    }
}

/// A short name for long things that are compared only.
pub(super) fn fingerprint(parts: &[&[u8]]) -> u64 {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update((part.len() as u64).to_be_bytes());
        hasher.update(part);
    }
    let hash = hasher.finalize();
    u64::from_be_bytes(std::array::from_fn(|at| hash[at]))
}

//! Passwords: argon2id, checked away from the event loop, at most a few at once.
//!
//! A check of a login that does not exist costs the same as a real one (a decoy hash is verified), so the time of an
//! answer does not tell which logins exist. Passwords are never logged, never returned, never kept in memory longer
//! than the check.
//!
//! The memory of a check (19 MiB) is kept and used again. Given back to the allocator each time it would be cut up among the
//! arenas of the threads that happen to check, and the process would grow by hundreds of megabytes under a flood of log-ins.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use argon2::password_hash::phc::{Output, ParamsString, PasswordHash, Salt};
use argon2::{Algorithm, Argon2, Block, Params, Version};
use tokio::sync::Semaphore;

/// OWASP's first recommendation for argon2id: 19 MiB, 2 passes, 1 lane; about 20 ms of one core.
const MEMORY_KIB: u32 = 19_456;
const PASSES: u32 = 2;
const LANES: u32 = 1;

/// Bytes of a salt (RFC 9106 3.1 recommends 16).
const SALT_BYTES: usize = 16;

/// Checks at the same time: each holds 19 MiB and a core.
const PARALLEL: usize = 2;

/// The longest wait for a turn; after it the caller is told to come back.
const TURN_TIMEOUT: Duration = Duration::from_secs(5);

/// The fewest characters of a password (NIST SP 800-63B 5.1.1.2 asks for 8; we have no second factor yet).
pub const MIN_CHARS: usize = 10;

/// The most characters: hashing must not become a way to burn our CPU.
pub const MAX_CHARS: usize = 256;

/// Why a password could not be checked or hashed. Retrying later is safe.
#[derive(Debug, thiserror::Error)]
pub enum PasswordError {
    /// Too many checks wait for a core.
    #[error("too many password checks at once")]
    Busy,
    /// The hasher failed or its thread died.
    #[error("the password hasher failed: {0}")]
    Hasher(String),
}

/// The gate through which all hashing goes.
#[derive(Clone, Debug)]
pub struct Passwords {
    turns: Arc<Semaphore>,
    /// As many as there are turns, once they were needed.
    memories: Arc<Mutex<Vec<Vec<Block>>>>,
    decoy: Arc<str>,
}

impl Passwords {
    /// Prepares the gate; hashes the decoy once.
    ///
    /// # Errors
    /// When the hasher itself does not work on this host.
    pub fn new() -> Result<Self, PasswordError> {
        let mut memory = Vec::new();
        let decoy = hash_now(b"no user has this password", &mut memory)?;
        let memories = Arc::new(Mutex::new(vec![memory]));
        Ok(Self { turns: Arc::new(Semaphore::new(PARALLEL)), memories, decoy: decoy.into() })
    }

    /// Hashes a new password into a PHC string with a salt of its own.
    ///
    /// # Errors
    /// [`PasswordError`]; nothing was stored.
    pub async fn hash(&self, password: String) -> Result<String, PasswordError> {
        self.in_turn(move |memory| hash_now(password.as_bytes(), memory)).await
    }

    /// Whether `password` is the one behind `stored`. With no stored hash the answer is no, after the same work.
    ///
    /// # Errors
    /// [`PasswordError`]; the question was not answered.
    pub async fn verify(&self, password: String, stored: Option<String>) -> Result<bool, PasswordError> {
        let known = stored.is_some();
        let hash = stored.unwrap_or_else(|| self.decoy.to_string());
        let matches = self.in_turn(move |memory| verify_now(password.as_bytes(), &hash, memory)).await?;
        Ok(known && matches)
    }

    async fn in_turn<T, F>(&self, work: F) -> Result<T, PasswordError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Vec<Block>) -> Result<T, PasswordError> + Send + 'static,
    {
        let turn = tokio::time::timeout(TURN_TIMEOUT, Arc::clone(&self.turns).acquire_owned())
            .await
            .map_err(|_| PasswordError::Busy)?
            .map_err(|_| PasswordError::Busy)?;
        let memories = Arc::clone(&self.memories);
        let task = tokio::task::spawn_blocking(move || {
            let mut memory = lock(&memories).pop().unwrap_or_default();
            let result = work(&mut memory);
            lock(&memories).push(memory);
            drop(turn);
            result
        });
        task.await.map_err(|error| PasswordError::Hasher(error.to_string()))?
    }
}

/// A push or a pop leaves the list whole.
fn lock(memories: &Mutex<Vec<Vec<Block>>>) -> MutexGuard<'_, Vec<Vec<Block>>> {
    memories.lock().unwrap_or_else(PoisonError::into_inner)
}

fn failed(error: impl std::fmt::Display) -> PasswordError {
    PasswordError::Hasher(error.to_string())
}

fn hash_now(password: &[u8], memory: &mut Vec<Block>) -> Result<String, PasswordError> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None).map_err(failed)?;
    let mut bytes = [0_u8; SALT_BYTES];
    getrandom::fill(&mut bytes).map_err(failed)?;
    let salt = Salt::new(&bytes).map_err(failed)?;
    let mut output = [0_u8; Params::DEFAULT_OUTPUT_LEN];
    compute(&params, password, &salt, &mut output, memory)?;
    let hash = PasswordHash {
        algorithm: Algorithm::Argon2id.ident(),
        version: Some(Version::V0x13.into()),
        params: ParamsString::try_from(&params).map_err(failed)?,
        salt: Some(salt),
        hash: Some(Output::new(&output).map_err(failed)?),
    };
    Ok(hash.to_string())
}

/// The parameters come from the stored hash, so hashes made with older ones still verify.
fn verify_now(password: &[u8], stored: &str, memory: &mut Vec<Block>) -> Result<bool, PasswordError> {
    let parsed = PasswordHash::new(stored).map_err(failed)?;
    let ours = parsed.algorithm == Algorithm::Argon2id.ident() && parsed.version == Some(Version::V0x13.into());
    let (true, Some(salt), Some(expected)) = (ours, parsed.salt, parsed.hash) else {
        return Err(failed("a stored hash is none of ours"));
    };
    let params = Params::try_from(&parsed).map_err(failed)?;
    let mut output = vec![0_u8; expected.len()];
    compute(&params, password, &salt, &mut output, memory)?;
    // Compared in constant time.
    Ok(Output::new(&output).map_err(failed)? == expected)
}

fn compute(
    params: &Params,
    password: &[u8],
    salt: &[u8],
    output: &mut [u8],
    memory: &mut Vec<Block>,
) -> Result<(), PasswordError> {
    let blocks = params.block_count();
    if memory.len() < blocks {
        memory.resize(blocks, Block::new());
    }
    let hasher = Argon2::new(Algorithm::Argon2id, Version::V0x13, params.clone());
    let memory = memory.get_mut(..blocks).unwrap_or_default();
    hasher.hash_password_into_with_memory(password, salt, output, memory).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_password_opens_its_own_hash_only() {
        let passwords = Passwords::new().unwrap();
        let hash = passwords.hash("correct horse battery".to_owned()).await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert!(passwords.verify("correct horse battery".to_owned(), Some(hash.clone())).await.unwrap());
        assert!(!passwords.verify("wrong".to_owned(), Some(hash)).await.unwrap());
        assert!(!passwords.verify("no user has this password".to_owned(), None).await.unwrap());
        // Made by another implementation of argon2id, version 1.3.
        let other = "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4".to_owned();
        assert!(passwords.verify("password".to_owned(), Some(other.clone())).await.unwrap());
        assert!(!passwords.verify("passwore".to_owned(), Some(other)).await.unwrap());
        assert!(lock(&passwords.memories).len() <= PARALLEL, "memory is used again");
    }
}

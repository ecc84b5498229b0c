//! Passwords: argon2id, checked away from the event loop, at most a few at once.
//!
//! A check of a login that does not exist costs the same as a real one (a decoy hash is verified), so the time of an
//! answer does not tell which logins exist. Passwords are never logged, never returned, never kept in memory longer
//! than the check.

use std::sync::Arc;
use std::time::Duration;

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};
use tokio::sync::Semaphore;

/// OWASP's first recommendation for argon2id: 19 MiB, 2 passes, 1 lane; about 20 ms of one core.
const MEMORY_KIB: u32 = 19_456;
const PASSES: u32 = 2;
const LANES: u32 = 1;

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
    decoy: Arc<str>,
}

impl Passwords {
    /// Prepares the gate; hashes the decoy once.
    ///
    /// # Errors
    /// When the hasher itself does not work on this host.
    pub fn new() -> Result<Self, PasswordError> {
        let decoy = hash_now(b"no user has this password")?;
        Ok(Self { turns: Arc::new(Semaphore::new(PARALLEL)), decoy: decoy.into() })
    }

    /// Hashes a new password into a PHC string with a salt of its own.
    ///
    /// # Errors
    /// [`PasswordError`]; nothing was stored.
    pub async fn hash(&self, password: String) -> Result<String, PasswordError> {
        self.in_turn(move || hash_now(password.as_bytes())).await
    }

    /// Whether `password` is the one behind `stored`. With no stored hash the answer is no, after the same work.
    ///
    /// # Errors
    /// [`PasswordError`]; the question was not answered.
    pub async fn verify(&self, password: String, stored: Option<String>) -> Result<bool, PasswordError> {
        let known = stored.is_some();
        let hash = stored.unwrap_or_else(|| self.decoy.to_string());
        let matches = self.in_turn(move || verify_now(password.as_bytes(), &hash)).await?;
        Ok(known && matches)
    }

    async fn in_turn<T, F>(&self, work: F) -> Result<T, PasswordError>
    where
        T: Send + 'static,
        F: FnOnce() -> Result<T, PasswordError> + Send + 'static,
    {
        let turn = tokio::time::timeout(TURN_TIMEOUT, Arc::clone(&self.turns).acquire_owned())
            .await
            .map_err(|_| PasswordError::Busy)?
            .map_err(|_| PasswordError::Busy)?;
        let task = tokio::task::spawn_blocking(move || {
            let result = work();
            drop(turn);
            result
        });
        task.await.map_err(|error| PasswordError::Hasher(error.to_string()))?
    }
}

fn hasher() -> Result<Argon2<'static>, PasswordError> {
    let params =
        Params::new(MEMORY_KIB, PASSES, LANES, None).map_err(|error| PasswordError::Hasher(error.to_string()))?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

fn hash_now(password: &[u8]) -> Result<String, PasswordError> {
    let hash = hasher()?.hash_password(password).map_err(|error| PasswordError::Hasher(error.to_string()))?;
    Ok(hash.to_string())
}

/// The parameters come from the stored hash, so hashes made with older ones still verify.
fn verify_now(password: &[u8], stored: &str) -> Result<bool, PasswordError> {
    let parsed = PasswordHash::new(stored).map_err(|error| PasswordError::Hasher(error.to_string()))?;
    Ok(hasher()?.verify_password(password, &parsed).is_ok())
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
    }
}

//! Random bytes of the operating system, for ids, tokens and jitter.

/// `N` unpredictable bytes.
///
/// # Panics
/// When the kernel has no random source, which no supported system allows: nothing safe can be done without one.
#[must_use]
pub fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the kernel gives random bytes");
    bytes
}

/// A number from 0 to `limit`, both included; for jitter, not for secrets (its bias is at most `limit` / 2^64).
#[must_use]
pub fn up_to(limit: u64) -> u64 {
    let random = u64::from_le_bytes(bytes());
    limit.checked_add(1).map_or(random, |modulus| random % modulus)
}

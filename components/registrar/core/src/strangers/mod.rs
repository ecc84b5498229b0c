//! What somebody who has not proved who they are may cost us (DESIGN 12): a budget of answers per source, and a few
//! guesses of a password.
//!
//! Nothing here grows. A table has a fixed number of buckets, and a key finds its bucket by a hash that only this process
//! knows: who shares a bucket is chance, not a stranger's choice.

mod buckets;
mod guesses;

#[cfg(test)]
mod tests;

pub use buckets::{Buckets, Rate};
pub use guesses::{Guesser, Guesses};

use std::net::IpAddr;

/// What a source is known by: an IPv4 address, or the /64 that one IPv6 host has for itself (RFC 4291 2.5.1).
pub fn source_key(address: IpAddr) -> [u8; 16] {
    let octets = address.to_canonical();
    match octets {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => {
            let mut octets = address.octets();
            octets[8..].fill(0);
            octets
        }
    }
}

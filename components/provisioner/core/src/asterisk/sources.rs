//! Which trunks an instance may serve. A call is told apart by its source address alone, so trunks whose sources cannot be told
//! apart would lead one tenant's calls to another.
//!
//! web-api refuses such trunks where they are written. Where they are read all the same (rows of an older version, two stores
//! merged), only the trunk at fault is left out: what was served before stays, and of new ones the older trunk.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use ringdown_domain::{TenantId, TrunkId};
use ringdown_events::TrunkConfig;

/// An address or a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

impl Network {
    /// Reads `192.0.2.7` or `192.0.2.0/24`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let address: IpAddr = address.parse().ok()?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Some(most), |bits| bits.parse().ok())?;
        (bits <= most).then_some(Self { address, bits })
    }

    /// Whether the two have an address in common. IPv4 and IPv6 never do.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        let bits = self.bits.min(other.bits);
        match (self.address, other.address) {
            (IpAddr::V4(one), IpAddr::V4(two)) => same_bits((one.to_bits() ^ two.to_bits()).into(), 32, bits),
            (IpAddr::V6(one), IpAddr::V6(two)) => same_bits(one.to_bits() ^ two.to_bits(), 128, bits),
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }

    fn equals(&self, other: &Self) -> bool {
        self.bits == other.bits && self.overlaps(other)
    }
}

impl From<IpAddr> for Network {
    fn from(address: IpAddr) -> Self {
        Self { address, bits: if address.is_ipv4() { 32 } else { 128 } }
    }
}

/// Whether the first `bits` of a difference of `width` bits are zero.
fn same_bits(difference: u128, width: u32, bits: u8) -> bool {
    difference.checked_shr(width - u32::from(bits)).unwrap_or(0) == 0
}

/// Why a trunk is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It has a source in common with another tenant's trunk. Whose is not said.
    OtherTenant,
    /// Another trunk of the tenant has the same source.
    SameSource {
        /// That trunk.
        other: TrunkId,
    },
    /// It names an address of this installation.
    OwnAddress,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OtherTenant => f.write_str("a source overlaps one that is in use in this installation"),
            Self::SameSource { other } => write!(f, "trunk {other} has the same source"),
            Self::OwnAddress => f.write_str("a source includes an address of this installation"),
        }
    }
}

/// What an instance serves, and what it leaves out.
#[derive(Clone, Debug, Default)]
pub struct Admission {
    /// Trunks to serve.
    pub served: Vec<TrunkConfig>,
    /// Trunks left out, and why.
    pub left_out: BTreeMap<TenantId, Vec<(TrunkId, Fault)>>,
}

/// Decides. `before` are the sources that each trunk is served with now: those come first, since their calls flow already.
#[must_use]
pub fn admit<'a>(
    trunks: impl IntoIterator<Item = (TenantId, &'a TrunkConfig)>,
    before: &BTreeMap<TrunkId, Vec<String>>,
    own: &[IpAddr],
) -> Admission {
    let mut candidates: Vec<(TenantId, &TrunkConfig)> = trunks.into_iter().collect();
    // Version 7 ids are in the order of their making.
    candidates.sort_by_key(|(_, trunk)| (before.get(&trunk.id) != Some(&trunk.sources), trunk.id));
    let mut admission = Admission::default();
    let mut taken: Vec<(TenantId, TrunkId, Network)> = Vec::new();
    for (tenant, trunk) in candidates {
        // A source that is none matches nothing; the compiler has refused it already.
        let networks: Vec<Network> = trunk.sources.iter().filter_map(|source| Network::parse(source)).collect();
        match fault(tenant, &networks, &taken, own) {
            Some(fault) => admission.left_out.entry(tenant).or_default().push((trunk.id, fault)),
            None => {
                taken.extend(networks.into_iter().map(|network| (tenant, trunk.id, network)));
                admission.served.push(trunk.clone());
            }
        }
    }
    admission
}

fn fault(
    tenant: TenantId,
    networks: &[Network],
    taken: &[(TenantId, TrunkId, Network)],
    own: &[IpAddr],
) -> Option<Fault> {
    let is_own = |network: &Network| own.iter().any(|address| network.overlaps(&Network::from(*address)));
    if networks.iter().any(is_own) {
        return Some(Fault::OwnAddress);
    }
    let against = |(owner, trunk, network): &(TenantId, TrunkId, Network)| {
        if *owner == tenant {
            let same = networks.iter().any(|one| one.equals(network));
            same.then_some(Fault::SameSource { other: *trunk })
        } else {
            networks.iter().any(|one| one.overlaps(network)).then_some(Fault::OtherTenant)
        }
    };
    taken.iter().find_map(against)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tenant(number: u8) -> TenantId {
        TenantId::from_parts(1, &[number; 10])
    }

    fn trunk(number: u8, sources: &[&str]) -> TrunkConfig {
        TrunkConfig {
            id: TrunkId::from_parts(u64::from(number), &[number; 10]),
            name: "T".parse().expect("a name"),
            sources: sources.iter().map(ToString::to_string).collect(),
            capacity: 1,
            numbers: ringdown_domain::NumberPlan::default(),
            destination: None,
            caller_id: None,
        }
    }

    #[test]
    fn networks_overlap_as_their_addresses_do() {
        let check = |one: &str, two: &str, expected: bool| {
            let (one, two) = (Network::parse(one).unwrap(), Network::parse(two).unwrap());
            assert_eq!(one.overlaps(&two), expected, "{one:?} {two:?}");
            assert_eq!(two.overlaps(&one), expected, "{two:?} {one:?}");
        };
        check("192.0.2.7", "192.0.2.7", true);
        check("192.0.2.7", "192.0.2.8", false);
        check("192.0.2.0/24", "192.0.2.8", true);
        check("192.0.0.0/8", "192.0.2.0/24", true);
        check("192.0.3.0/24", "192.0.2.0/24", false);
        check("0.0.0.0/0", "192.0.2.8", true);
        check("2001:db8::/32", "2001:db8::7", true);
        check("2001:db9::/32", "2001:db8::7", false);
        check("::/0", "192.0.2.8", false);
        for refused in ["", "x", "192.0.2.7/33", "::/129", "192.0.2.7/", "192.0.2.7/x"] {
            assert_eq!(Network::parse(refused), None, "{refused}");
        }
    }

    #[test]
    fn only_the_trunk_at_fault_is_left_out() {
        let own: IpAddr = "10.0.0.1".parse().unwrap();
        let list = [
            (tenant(1), trunk(1, &["192.0.2.7"])),
            (tenant(2), trunk(2, &["192.0.2.0/24"])),
            (tenant(2), trunk(3, &["198.51.100.1"])),
            (tenant(2), trunk(4, &["198.51.100.1"])),
            (tenant(3), trunk(5, &["10.0.0.0/8"])),
            (tenant(3), trunk(6, &["203.0.113.9", "203.0.113.0/24"])),
        ];
        let admission = admit(list.iter().map(|(tenant, trunk)| (*tenant, trunk)), &BTreeMap::new(), &[own]);
        let served: Vec<TrunkId> = admission.served.iter().map(|trunk| trunk.id).collect();
        assert_eq!(served, [list[0].1.id, list[2].1.id, list[5].1.id]);
        assert_eq!(
            admission.left_out[&tenant(2)],
            [(list[1].1.id, Fault::OtherTenant), (list[3].1.id, Fault::SameSource { other: list[2].1.id })]
        );
        assert_eq!(admission.left_out[&tenant(3)], [(list[4].1.id, Fault::OwnAddress)]);
    }

    #[test]
    fn who_is_served_stays_when_an_older_trunk_widens() {
        let (older, newer) = (trunk(1, &["192.0.2.0/24"]), trunk(2, &["192.0.2.7"]));
        let before = BTreeMap::from([(older.id, vec!["198.51.100.1".to_owned()]), (newer.id, newer.sources.clone())]);
        let admission = admit([(tenant(1), &older), (tenant(2), &newer)], &before, &[]);
        assert_eq!(admission.served, std::slice::from_ref(&newer));
        assert_eq!(admission.left_out[&tenant(1)], [(older.id, Fault::OtherTenant)]);
    }

    proptest! {
        /// No address of a served trunk leads to another tenant, and no trunk is left out that disturbs nobody.
        #[test]
        fn no_address_leads_to_two_tenants(
            list in prop::collection::vec((0u8..3, 0u8..16, 28u8..=32), 1..12), asked in 0u8..16,
        ) {
            let made: Vec<(TenantId, TrunkConfig)> = list
                .iter()
                .enumerate()
                .map(|(number, (owner, last, bits))| {
                    let source = format!("192.0.2.{last}/{bits}");
                    (tenant(*owner), trunk(u8::try_from(number).unwrap(), &[source.as_str()]))
                })
                .collect();
            let admission = admit(made.iter().map(|(tenant, trunk)| (*tenant, trunk)), &BTreeMap::new(), &[]);
            let address = Network::parse(&format!("192.0.2.{asked}")).unwrap();
            let has = |trunk: &TrunkConfig| Network::parse(&trunk.sources[0]).unwrap().overlaps(&address);
            let owner = |trunk: &TrunkConfig| made.iter().find(|(_, one)| one.id == trunk.id).unwrap().0;
            let owners: std::collections::BTreeSet<_> = admission.served.iter().filter(|one| has(one)).map(owner).collect();
            prop_assert!(owners.len() <= 1, "{owners:?}");
            let claims: std::collections::BTreeSet<_> = made.iter().filter(|(_, one)| has(one)).map(|(who, _)| *who).collect();
            let all: std::collections::BTreeSet<_> = made.iter().map(|(who, _)| *who).collect();
            if all.len() == 1 && claims.len() == 1 {
                prop_assert_eq!(owners.len(), 1);
            }
        }
    }
}

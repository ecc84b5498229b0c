//! Which hosts there are, as far as this one was told.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::str::FromStr;

use super::super::Finding;
use super::list;
use crate::appliance::Appliance;

/// More hosts than this are asked one by one, each by itself.
const HOSTS_MAX: usize = 250;

/// A host that is named: `10.0.0.5`, or `10.0.0.5=acd+web-api` with what has to be there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    address: Ipv4Addr,
    components: BTreeSet<String>,
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (address, components) = text.split_once('=').unwrap_or((text, ""));
        let address = address.trim().parse().map_err(|_| format!("{address:?} is no IPv4 address"))?;
        let components = components.split('+').filter(|name| !name.is_empty()).map(str::to_owned).collect();
        Ok(Self { address, components })
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Layout {
    /// Hosts with the components that are known to have to be there.
    pub(super) hosts: BTreeMap<Ipv4Addr, BTreeSet<String>>,
    /// In the order in which they are named: the first was master first.
    pub(super) redis_members: Vec<Ipv4Addr>,
    pub(super) postgresql_members: Vec<Ipv4Addr>,
    pub(super) virtual_address: Option<Ipv4Addr>,
    /// Networks among the peers: their hosts are not known by address.
    networks: Vec<String>,
}

impl Layout {
    pub(super) fn read(appliance: &Appliance, given: &[Place]) -> anyhow::Result<Self> {
        let mut layout = Self { virtual_address: appliance.told("RINGDOWN_VIP").parse().ok(), ..Self::default() };
        layout.host(appliance.address, appliance.parts());
        for peer in words(appliance.told("RINGDOWN_PEERS")) {
            match peer.strip_suffix("/32").unwrap_or(peer).parse() {
                Ok(address) => layout.host(address, []),
                Err(_) => layout.networks.push(peer.to_owned()),
            }
        }
        for place in words(appliance.told("RINGDOWN_HOSTS"))
            .filter_map(|text| text.parse::<Place>().ok())
            .chain(given.iter().cloned())
        {
            layout.host(place.address, place.components.iter().map(String::as_str));
        }
        layout.redis_members = members(appliance.told("RINGDOWN_REDIS_MEMBERS"), &appliance.redis_url()?);
        let url = appliance.postgres_url()?.unwrap_or_default();
        layout.postgresql_members = members(appliance.told("RINGDOWN_POSTGRES_MEMBERS"), &url);
        for (members, component) in
            [(layout.redis_members.clone(), "redis"), (layout.postgresql_members.clone(), "postgresql")]
        {
            members.into_iter().for_each(|member| layout.host(member, [component]));
        }
        anyhow::ensure!(
            layout.hosts.len() <= HOSTS_MAX,
            "more than {HOSTS_MAX} hosts: name some by --hosts on another host"
        );
        Ok(layout)
    }

    fn host<'a>(&mut self, address: Ipv4Addr, components: impl IntoIterator<Item = &'a str>) {
        let host = self.hosts.entry(address).or_default();
        host.extend(components.into_iter().map(str::to_owned));
    }

    pub(super) fn findings(&self) -> Vec<Finding> {
        let mut findings = vec![Finding::good("hosts", list(self.hosts.keys()))];
        if self.hosts.len() == 1 {
            findings.push(Finding::warning(
                "hosts",
                "this host knows no other by its address",
                "name them: ringdown doctor --hosts 10.0.0.5,10.0.0.6 (or in RINGDOWN_PEERS)",
            ));
        } else if !self.networks.is_empty() {
            findings.push(Finding::good(
                "hosts: networks",
                format!("{} (its hosts are asked when --hosts names them)", list(&self.networks)),
            ));
        }
        findings
    }
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|word| !word.is_empty())
}

/// Those that are named, else the hosts of the URL by which the store is used; none when that is on this host.
fn members(named: &str, url: &str) -> Vec<Ipv4Addr> {
    let named: Vec<_> = words(named).filter_map(|text| text.parse().ok()).collect();
    if !named.is_empty() {
        return named;
    }
    let Some((_, rest)) = url.split_once("://") else { return Vec::new() };
    let hosts = rest.split(['/', '?']).next().and_then(|hosts| hosts.rsplit('@').next()).unwrap_or_default();
    let addresses = words(hosts).filter_map(|host| host.split(':').next()?.parse::<Ipv4Addr>().ok());
    addresses.filter(|address| !address.is_loopback()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_an_address_and_perhaps_what_is_there() {
        let place: Place = "10.0.0.5=acd+web-api".parse().unwrap();
        assert_eq!((place.address.to_string(), place.components.len()), ("10.0.0.5".to_owned(), 2));
        assert!("10.0.0.5".parse::<Place>().unwrap().components.is_empty());
        assert!("nowhere".parse::<Place>().is_err());
    }

    #[test]
    fn members_are_named_or_follow_from_how_the_store_is_used() {
        let check = |named: &str, url: &str, expected: &[&str]| {
            let expected: Vec<Ipv4Addr> = expected.iter().map(|text| text.parse().unwrap()).collect();
            assert_eq!(members(named, url), expected, "{named} {url}");
        };
        check("10.0.0.1,10.0.0.2", "redis://10.0.0.9/0", &["10.0.0.1", "10.0.0.2"]);
        check("", "redis+sentinel://10.0.0.1:26379,10.0.0.2:26379/ringdown/0", &["10.0.0.1", "10.0.0.2"]);
        check("", "postgres://ringdown@10.0.0.1:5432/ringdown?x=y", &["10.0.0.1"]);
        check("", "redis://127.0.0.1:6379/0", &[]);
        check("", "redis://store.example:6379/0", &[]);
    }
}

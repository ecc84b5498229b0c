//! Redis and its Sentinels: one master, replicas that follow it, one opinion. Then what only Redis knows of the whole: tenants that
//! no router has, Asterisk nodes that nobody reaches, daemons that run an older configuration.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use redis::aio::MultiplexedConnection;
use redis::{FromRedisValue, RedisError};
use ringdown_domain::TenantId;
use ringdown_redis_store::keys;
use serde_json::Value;

use super::super::Finding;
use super::layout::Layout;
use super::{LET_IN, LIMIT, list};
use crate::appliance::Appliance;
use crate::health;

const SENTINEL_PORT: u16 = 26_379;
/// What the Sentinels call their master.
const MASTER: &str = "ringdown";
/// Tenants and keys that are looked at; an installation has fewer, and a doctor does not take long.
const TENANTS_MAX: usize = 1_000;
const SCANS_MAX: u32 = 1_000;

/// A member as it says itself.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Role {
    Master { replicas: u32 },
    Replica { of: String, follows: bool },
}

pub(super) async fn findings(appliance: &Appliance, layout: &Layout) -> Vec<Finding> {
    let mut findings = Vec::new();
    if layout.redis_members.len() > 1 {
        let mut roles = BTreeMap::new();
        for member in &layout.redis_members {
            roles.insert(*member, role(appliance, *member).await);
        }
        findings.extend(members(&roles));
        findings.push(sentinels(appliance, layout).await);
    }
    if let Ok(mut connection) = connect(appliance, layout).await {
        findings.extend(match shared(&mut connection).await {
            Ok(findings) => findings,
            Err(error) => vec![Finding::bad("redis: contents", error.to_string(), LET_IN)],
        });
    }
    findings
}

/// The Redis of this host's daemons; a host without daemons asks the first member, which may be a replica: it reads only.
async fn connect(appliance: &Appliance, layout: &Layout) -> anyhow::Result<MultiplexedConnection> {
    let first = layout.redis_members.first().filter(|_| !appliance.has_daemons());
    match first {
        Some(member) => at(appliance, *member, 6_379).await,
        None => health::redis_of_appliance(appliance, &appliance.redis_url()?).await,
    }
}

async fn at(appliance: &Appliance, address: Ipv4Addr, port: u16) -> anyhow::Result<MultiplexedConnection> {
    health::redis_of_appliance(appliance, &format!("redis://{address}:{port}/0")).await
}

async fn ask<T: FromRedisValue>(connection: &mut MultiplexedConnection, command: &redis::Cmd) -> Result<T, RedisError> {
    let asked = tokio::time::timeout(LIMIT, command.query_async(connection)).await;
    asked.unwrap_or_else(|_| Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into()))
}

async fn role(appliance: &Appliance, member: Ipv4Addr) -> Result<Role, String> {
    let mut connection = at(appliance, member, 6_379).await.map_err(|error| format!("{error:#}"))?;
    let said = ask::<String>(&mut connection, redis::cmd("INFO").arg("replication")).await;
    Ok(parse_role(&said.map_err(|error| error.to_string())?))
}

fn parse_role(text: &str) -> Role {
    let value =
        |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap_or("").trim();
    match value("role") {
        "master" => Role::Master { replicas: value("connected_slaves").parse().unwrap_or(0) },
        _ => Role::Replica { of: value("master_host").to_owned(), follows: value("master_link_status") == "up" },
    }
}

fn members(roles: &BTreeMap<Ipv4Addr, Result<Role, String>>) -> Vec<Finding> {
    const START: &str =
        "on that host: systemctl start ringdown-redis ringdown-redis-sentinel; journalctl -u ringdown-redis says why";
    let mut findings = Vec::new();
    let mut masters = Vec::new();
    for (member, role) in roles {
        let what = format!("redis {member}");
        match role {
            Err(error) => findings.push(Finding::bad(&what, error, START)),
            Ok(Role::Replica { of, follows: false }) => findings.push(Finding::bad(
                &what,
                format!("is a replica of {of}, and does not follow it"),
                "journalctl -u ringdown-redis on that host says why",
            )),
            Ok(Role::Replica { of, follows: true }) => findings.push(Finding::good(&what, format!("follows {of}"))),
            Ok(Role::Master { replicas: 0 }) => {
                masters.push(member);
                findings.push(Finding::bad(&what, "is master, and no replica follows: it takes no writes", START));
            }
            Ok(Role::Master { replicas }) => {
                masters.push(member);
                findings.push(Finding::good(&what, format!("is master; {replicas} follow")));
            }
        }
    }
    if masters.is_empty() {
        let advice = "at least half of the members and one more must run: the Sentinels then elect one by themselves";
        findings.push(Finding::bad("redis: master", "no member that answers is master", advice));
    } else if masters.len() > 1 {
        let advice = "the Sentinels make one of them a replica within seconds; if not: systemctl restart ringdown-redis on the one they do not name";
        findings.push(Finding::bad("redis: master", format!("several: {}", list(masters)), advice));
    }
    findings
}

async fn sentinels(appliance: &Appliance, layout: &Layout) -> Finding {
    let mut believed: BTreeMap<String, u32> = BTreeMap::new();
    let mut silent = BTreeSet::new();
    for member in &layout.redis_members {
        match believes(appliance, *member).await {
            Some(master) => *believed.entry(master).or_default() += 1,
            None => drop(silent.insert(*member)),
        }
    }
    opinion(&believed, &silent, layout.redis_members.len())
}

/// Whom a Sentinel takes for the master.
async fn believes(appliance: &Appliance, member: Ipv4Addr) -> Option<String> {
    let mut connection = at(appliance, member, SENTINEL_PORT).await.ok()?;
    let said =
        ask::<Vec<String>>(&mut connection, redis::cmd("SENTINEL").arg("GET-MASTER-ADDR-BY-NAME").arg(MASTER)).await;
    said.ok()?.into_iter().next()
}

fn opinion(believed: &BTreeMap<String, u32>, silent: &BTreeSet<Ipv4Addr>, members: usize) -> Finding {
    const WHAT: &str = "redis: Sentinels";
    let answered: u32 = believed.values().sum();
    let is_few = usize::try_from(answered).unwrap_or(0) <= members / 2;
    let said = believed
        .iter()
        .map(|(master, count)| format!("{count} take {master} for master"))
        .collect::<Vec<_>>()
        .join(", ");
    let silent = if silent.is_empty() { String::new() } else { format!("; {} do not answer", list(silent)) };
    let found = format!("{said}{silent}");
    match (is_few, believed.len(), silent.is_empty()) {
        (true, ..) => Finding::bad(
            WHAT,
            format!("too few answer to elect a master{silent}"),
            "systemctl start ringdown-redis-sentinel on those hosts",
        ),
        (false, 1, true) => Finding::good(WHAT, found),
        (false, 1, false) => Finding::warning(
            WHAT,
            found,
            "systemctl start ringdown-redis-sentinel on those hosts: one less may be lost now",
        ),
        (false, ..) => Finding::bad(WHAT, found, "an election may be under way; ask again in 10 s"),
    }
}

/// What is true of the whole installation.
async fn shared(connection: &mut MultiplexedConnection) -> Result<Vec<Finding>, RedisError> {
    let ids: Vec<String> = ask(connection, redis::cmd("SMEMBERS").arg(keys::TENANTS)).await?;
    let tenants: Vec<TenantId> = ids.iter().filter_map(|id| id.parse().ok()).take(TENANTS_MAX).collect();
    let mut findings = vec![routers(connection, &tenants).await?];
    findings.extend(nodes(connection).await?);
    findings.extend(configurations(connection, &tenants).await?);
    Ok(findings)
}

async fn routers(connection: &mut MultiplexedConnection, tenants: &[TenantId]) -> Result<Finding, RedisError> {
    let mut without = Vec::new();
    for tenant in tenants {
        let is_led: bool = ask(connection, redis::cmd("EXISTS").arg(keys::router_lease(*tenant))).await?;
        if !is_led {
            without.push(*tenant);
        }
    }
    let Some(first) = without.first() else {
        return Ok(Finding::good("routers", format!("each of {} tenants has one", tenants.len())));
    };
    let found = format!("{} of {} tenants have none: {first} ...", without.len(), tenants.len());
    Ok(Finding::bad(
        "routers",
        found,
        "an acd with the duty router must run: systemctl start ringdown-acd on an application host",
    ))
}

async fn nodes(connection: &mut MultiplexedConnection) -> Result<Vec<Finding>, RedisError> {
    let nodes: BTreeMap<String, String> = ask(connection, redis::cmd("HGETALL").arg(keys::NODES)).await?;
    let of = |(name, text): (String, String)| {
        let status: Value = serde_json::from_str(&text).unwrap_or_default();
        let what = format!("Asterisk node {name}");
        match status["connected"].as_bool() {
            Some(true) => Finding::good(&what, "its ACD has it"),
            Some(false) | None => Finding::bad(
                &what,
                "its ACD does not reach it",
                "on that host: systemctl status ringdown-asterisk ringdown-acd",
            ),
        }
    };
    Ok(nodes.into_iter().map(of).collect())
}

async fn configurations(
    connection: &mut MultiplexedConnection,
    tenants: &[TenantId],
) -> Result<Vec<Finding>, RedisError> {
    let mut in_force = BTreeMap::new();
    for tenant in tenants {
        let version: Option<u64> = ask(connection, redis::cmd("GET").arg(keys::config_current(*tenant))).await?;
        in_force.insert(tenant.to_string(), version.unwrap_or(0));
    }
    let mut hosts = 0;
    let mut behind = Vec::new();
    for key in status_keys(connection).await? {
        let reports: BTreeMap<String, String> = ask(connection, redis::cmd("HGETALL").arg(&key)).await?;
        let host = key.strip_prefix(&keys::config_status("")).unwrap_or(&key).to_owned();
        hosts += 1;
        behind.extend(reports.iter().filter_map(|(field, text)| late(&host, field, text, &in_force)));
    }
    let what = "configuration";
    Ok(match behind.as_slice() {
        [] if hosts == 0 => Vec::new(),
        [] => vec![Finding::good(what, format!("{hosts} hosts run the versions in force"))],
        [first, ..] => {
            let found = format!("{} daemons run another version than the one in force: {first}", behind.len());
            vec![Finding::warning(
                what,
                found,
                "ask again in 10 s; a daemon that stays behind is stopped, or its journal says what it refuses",
            )]
        }
    })
}

/// A daemon's report of a tenant that is not of the version in force.
fn late(host: &str, field: &str, text: &str, in_force: &BTreeMap<String, u64>) -> Option<String> {
    let (daemon, tenant) = field.split_once('/')?;
    let report: Value = serde_json::from_str(text).ok()?;
    // A tenant that was removed has no version in force.
    let (runs, wanted) = (report["version"].as_u64()?, *in_force.get(tenant)?);
    let why = report["error"].as_str().map(|why| format!(" ({why})")).unwrap_or_default();
    (runs != wanted).then(|| format!("{daemon} on {host} runs {runs}, in force is {wanted}{why}"))
}

async fn status_keys(connection: &mut MultiplexedConnection) -> Result<BTreeSet<String>, RedisError> {
    let mut found = BTreeSet::new();
    let mut cursor = "0".to_owned();
    for _ in 0..SCANS_MAX {
        let mut scan = redis::cmd("SCAN");
        scan.arg(&cursor).arg("MATCH").arg(keys::config_status("*")).arg("COUNT").arg(1_000);
        let (next, keys): (String, Vec<String>) = ask(connection, &scan).await?;
        found.extend(keys);
        if next == "0" {
            break;
        }
        cursor = next;
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Verdict;

    fn address(last: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 0, 0, last)
    }

    fn bad(findings: &[Finding]) -> Vec<&str> {
        findings.iter().filter(|finding| finding.verdict == Verdict::Bad).map(|finding| finding.what.as_str()).collect()
    }

    #[test]
    fn one_master_with_replicas_is_well() {
        let replica = |follows: bool| Ok(Role::Replica { of: "10.0.0.1".to_owned(), follows });
        let check = |roles: [Result<Role, String>; 3], expected: &[&str]| {
            let roles = roles.into_iter().zip(1..).map(|(role, last)| (address(last), role)).collect();
            assert_eq!(bad(&members(&roles)), expected, "{roles:?}");
        };
        check([Ok(Role::Master { replicas: 2 }), replica(true), replica(true)], &[]);
        check([Ok(Role::Master { replicas: 1 }), replica(true), Err("away".to_owned())], &["redis 10.0.0.3"]);
        check([Ok(Role::Master { replicas: 1 }), replica(true), replica(false)], &["redis 10.0.0.3"]);
        check([Err("away".to_owned()), replica(true), replica(true)], &["redis 10.0.0.1", "redis: master"]);
        check([Ok(Role::Master { replicas: 1 }), Ok(Role::Master { replicas: 1 }), replica(true)], &["redis: master"]);
        check([Ok(Role::Master { replicas: 0 }), replica(true), replica(true)], &["redis 10.0.0.1"]);
    }

    #[test]
    fn a_role_is_read_as_redis_tells_it() {
        let master = "# Replication\r\nrole:master\r\nconnected_slaves:2\r\n";
        assert_eq!(parse_role(master), Role::Master { replicas: 2 });
        let replica = "role:slave\r\nmaster_host:10.0.0.1\r\nmaster_link_status:down\r\n";
        assert_eq!(parse_role(replica), Role::Replica { of: "10.0.0.1".to_owned(), follows: false });
    }

    #[test]
    fn sentinels_must_be_many_and_of_one_opinion() {
        let check = |believed: &[(&str, u32)], silent: &[u8], verdict: Verdict| {
            let believed = believed.iter().map(|(master, count)| ((*master).to_owned(), *count)).collect();
            let finding = opinion(&believed, &silent.iter().map(|last| address(*last)).collect(), 3);
            assert_eq!(finding.verdict, verdict, "{finding:?}");
        };
        check(&[("10.0.0.1", 3)], &[], Verdict::Good);
        check(&[("10.0.0.1", 2)], &[3], Verdict::Warning);
        check(&[("10.0.0.1", 1)], &[2, 3], Verdict::Bad);
        check(&[("10.0.0.1", 2), ("10.0.0.2", 1)], &[], Verdict::Bad);
    }

    #[test]
    fn a_daemon_that_runs_another_version_is_named() {
        let in_force = BTreeMap::from([("t".to_owned(), 7)]);
        let report = r#"{"version": 6, "at_ms": 1, "error": "too large"}"#;
        let said = late("app1", "acd/t", report, &in_force).unwrap();
        assert_eq!(said, "acd on app1 runs 6, in force is 7 (too large)");
        assert!(late("app1", "acd/t", r#"{"version": 7}"#, &in_force).is_none());
        assert!(late("app1", "acd/gone", report, &in_force).is_none());
    }
}

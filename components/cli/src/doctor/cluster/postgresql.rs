//! PostgreSQL: which member takes writes, whether a copy confirms them, how far the copies are.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use anyhow::Context;
use tokio_postgres::{Config, NoTls, Row};

use super::super::Finding;
use super::layout::Layout;
use super::{LIMIT, list};
use crate::appliance::Appliance;

/// A copy that lacks more than this is not just behind by what is under way.
const BEHIND_MAX: u64 = 16 * 1_024 * 1_024;
const PROMOTE: &str = "on the host of a copy: /usr/lib/ringdown/postgresql_copies status, then promote";
/// Without rights of an administrator: of who follows only the number is told.
const ASK: &str = "SELECT pg_is_in_recovery(), \
    (CASE WHEN pg_is_in_recovery() THEN pg_last_wal_receive_lsn() ELSE pg_current_wal_lsn() END)::text, \
    current_setting('synchronous_standby_names'), (SELECT count(*) FROM pg_stat_replication)";

/// A member as it says itself.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Member {
    is_copy: bool,
    /// How far its log is, in bytes; none for a copy that has received nothing since it started.
    place: Option<u64>,
    is_confirmed: bool,
    followers: i64,
}

pub(super) async fn findings(appliance: &Appliance, layout: &Layout) -> anyhow::Result<Vec<Finding>> {
    if layout.postgresql_members.len() < 2 {
        return Ok(Vec::new());
    }
    let Some(password) = appliance.secret("POSTGRES_PASSWORD")? else {
        let found = "not asked: this host has no POSTGRES_PASSWORD";
        return Ok(vec![Finding::warning(
            "postgresql",
            found,
            "ringdown doctor --cluster on a host with PostgreSQL or the API",
        )]);
    };
    let mut members = BTreeMap::new();
    for member in &layout.postgresql_members {
        // A member lets its own host in by another door.
        let at = if *member == appliance.address { Ipv4Addr::LOCALHOST } else { *member };
        members.insert(*member, ask(at, &password).await.map_err(|error| format!("{error:#}")));
    }
    Ok(judge(&members))
}

async fn ask(address: Ipv4Addr, password: &str) -> anyhow::Result<Member> {
    let mut config = Config::new();
    config.host(address.to_string()).port(5_432).user("ringdown").dbname("ringdown").password(password);
    config.application_name("ringdown-doctor").connect_timeout(LIMIT);
    let (client, connection) =
        tokio::time::timeout(LIMIT, config.connect(NoTls)).await.context("does not answer")??;
    // Ends with the client, at the end of this question.
    let driven = tokio::spawn(connection);
    let row = tokio::time::timeout(LIMIT, client.query_one(ASK, &[])).await.context("does not answer in time");
    drop(client);
    driven.abort();
    read(&row??)
}

fn read(row: &Row) -> anyhow::Result<Member> {
    let place: Option<String> = row.try_get(1)?;
    let names: String = row.try_get(2)?;
    Ok(Member {
        is_copy: row.try_get(0)?,
        place: place.as_deref().and_then(parse_place),
        is_confirmed: !names.is_empty(),
        followers: row.try_get(3)?,
    })
}

/// A place in the log, as `16/B374D848`.
fn parse_place(text: &str) -> Option<u64> {
    let (high, low) = text.split_once('/')?;
    Some((u64::from_str_radix(high, 16).ok()? << 32) | u64::from_str_radix(low, 16).ok()?)
}

fn judge(members: &BTreeMap<Ipv4Addr, Result<Member, String>>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let primaries: Vec<_> = members
        .iter()
        .filter_map(|(address, member)| {
            member.as_ref().ok().filter(|member| !member.is_copy).map(|member| (address, member))
        })
        .collect();
    let newest = primaries.iter().filter_map(|(_, member)| member.place).max();
    for (address, member) in members {
        let what = format!("postgresql {address}");
        findings.push(match member {
            Err(error) => Finding::bad(
                &what,
                error,
                "on that host: systemctl start ringdown-postgresql; journalctl -u ringdown-postgresql says why",
            ),
            Ok(member) if member.is_copy => copy(&what, member, newest),
            Ok(member) => primary(&what, member),
        });
    }
    if primaries.is_empty() {
        findings.push(Finding::bad("postgresql: primary", "no member that answers takes writes", PROMOTE));
    } else if primaries.len() > 1 {
        let found = format!("several: {}", list(primaries.iter().map(|(address, _)| address)));
        findings.push(Finding::bad(
            "postgresql: primary",
            found,
            "end the one that was not promoted last: systemctl stop ringdown-postgresql there",
        ));
    }
    findings
}

fn primary(what: &str, member: &Member) -> Finding {
    match (member.is_confirmed, member.followers) {
        (true, 0) => Finding::bad(
            what,
            "takes writes, and no copy is there to confirm them: they wait",
            "start a copy; if none will come soon: /usr/lib/ringdown/postgresql_copies alone, on that host",
        ),
        (true, followers) => Finding::good(what, format!("takes writes; {followers} copies follow and confirm them")),
        (false, _) => Finding::warning(
            what,
            "takes writes alone: its loss is a loss of data",
            "start a copy: systemctl start ringdown-postgresql on its host",
        ),
    }
}

fn copy(what: &str, member: &Member, newest: Option<u64>) -> Finding {
    const LOOK: &str =
        "journalctl -u ringdown-postgresql -u ringdown-postgresql-copies on that host says what keeps it";
    match (member.place, newest) {
        (Some(place), Some(newest)) if newest.saturating_sub(place) > BEHIND_MAX => {
            Finding::warning(what, format!("is a copy, and {} MB behind", (newest - place) / 1_048_576), LOOK)
        }
        (None, Some(_)) => Finding::warning(what, "is a copy that has received nothing yet", LOOK),
        (Some(_) | None, _) => Finding::good(what, "is a copy"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Verdict;

    fn primary_of(is_confirmed: bool, followers: i64) -> Result<Member, String> {
        Ok(Member { is_copy: false, place: Some(BEHIND_MAX * 2), is_confirmed, followers })
    }

    fn copy_at(place: Option<u64>) -> Result<Member, String> {
        Ok(Member { is_copy: true, place, is_confirmed: false, followers: 0 })
    }

    #[test]
    fn one_takes_writes_and_a_copy_confirms_them() {
        let check = |members: [Result<Member, String>; 2], expected: &[(&str, Verdict)]| {
            let members =
                members.into_iter().zip(1..).map(|(member, last)| (Ipv4Addr::new(10, 0, 0, last), member)).collect();
            let findings = judge(&members);
            let wrong = findings.iter().filter(|finding| finding.verdict != Verdict::Good);
            let wrong: Vec<_> = wrong.map(|finding| (finding.what.as_str(), finding.verdict)).collect();
            assert_eq!(wrong, expected, "{members:?}");
        };
        check([primary_of(true, 1), copy_at(Some(BEHIND_MAX * 2))], &[]);
        check(
            [primary_of(true, 0), Err("away".into())],
            &[("postgresql 10.0.0.1", Verdict::Bad), ("postgresql 10.0.0.2", Verdict::Bad)],
        );
        check([primary_of(false, 1), copy_at(Some(BEHIND_MAX * 2))], &[("postgresql 10.0.0.1", Verdict::Warning)]);
        check(
            [Err("away".into()), copy_at(Some(1))],
            &[("postgresql 10.0.0.1", Verdict::Bad), ("postgresql: primary", Verdict::Bad)],
        );
        check([primary_of(true, 1), primary_of(true, 1)], &[("postgresql: primary", Verdict::Bad)]);
        check([primary_of(true, 1), copy_at(Some(5))], &[("postgresql 10.0.0.2", Verdict::Warning)]);
        check([primary_of(true, 1), copy_at(None)], &[("postgresql 10.0.0.2", Verdict::Warning)]);
    }

    #[test]
    fn a_place_in_the_log_is_a_number() {
        assert_eq!(parse_place("1/0"), Some(1 << 32));
        assert_eq!(parse_place("16/B374D848"), Some((0x16 << 32) | 0xB374_D848));
        assert_eq!(parse_place("nothing"), None);
    }
}

//! What each host's daemons say of themselves: readiness, version, and the time by which they answer.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use jiff::Timestamp;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::super::Finding;
use super::layout::Layout;
use super::{LET_IN, LIMIT, THERE, client, list};
use crate::health::{NOT_READY, Ready};

/// Where parts answer that have a health of their own. The API has another port beside HAProxy.
const HEALTH: [u16; 7] = [8_000, 8_001, 8_002, 8_003, 8_004, 8_010, HAPROXY];
const HAPROXY: u16 = 8_404;
/// Where the others take connections.
const LISTENS: [(u16, &str); 3] = [(6_379, "redis"), (5_432, "postgresql"), (9_090, "monitoring")];
/// What no other host can ask: it listens on its own host, speaks with its peers only, or runs now and then.
const UNSEEN: [&str; 3] = ["asterisk", "keepalived", "backup"];
/// Questions under way at a time.
const AT_A_TIME: usize = 64;
/// A daemon tells its time in whole seconds; two hosts may be this far apart besides.
const CLOCK_MAX: Duration = Duration::from_secs(3);
/// Readiness and figures of a daemon are smaller.
const BODY_MAX: usize = 1_024 * 1_024;

/// One part as it answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Part {
    name: String,
    /// What keeps it from working; none when it is ready.
    waits: Option<String>,
    version: Option<String>,
    /// How far its clock is from ours.
    apart: Option<Duration>,
}

/// What became of a question.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Answer {
    Part(Part),
    /// Something is there, and it is none of ours.
    Other,
    Refused,
    Silent,
}

/// What is known of a host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    parts: Vec<Part>,
    /// It has answered something, be it a refusal.
    is_up: bool,
}

impl Seen {
    /// Whether a load balancer is there.
    pub(super) fn has_haproxy(&self) -> bool {
        self.parts.iter().any(|part| part.name == "haproxy")
    }
}

/// Asks every host everything at once.
pub(super) async fn ask(own: Ipv4Addr, layout: &Layout) -> anyhow::Result<BTreeMap<Ipv4Addr, Seen>> {
    let (client, gate) = (client()?, Arc::new(Semaphore::new(AT_A_TIME)));
    let mut asked = JoinSet::new();
    for host in layout.hosts.keys().copied() {
        // A host that has no peers yet listens for itself only.
        let at = if host == own { Ipv4Addr::LOCALHOST } else { host };
        for port in HEALTH {
            let (client, gate) = (client.clone(), Arc::clone(&gate));
            asked.spawn(async move {
                let _permit = gate.acquire().await;
                (host, health(&client, SocketAddr::from((at, port))).await)
            });
        }
        for (port, name) in LISTENS {
            let gate = Arc::clone(&gate);
            asked.spawn(async move {
                let _permit = gate.acquire().await;
                (host, listens(SocketAddr::from((at, port)), name).await)
            });
        }
    }
    let mut seen: BTreeMap<Ipv4Addr, Seen> = BTreeMap::new();
    while let Some(answered) = asked.join_next().await {
        let (host, answer) = answered.context("asking a host")?;
        let host = seen.entry(host).or_default();
        host.is_up |= answer != Answer::Silent;
        if let Answer::Part(part) = answer {
            host.parts.push(part);
        }
    }
    seen.values_mut().for_each(|host| host.parts.sort_by(|one, other| one.name.cmp(&other.name)));
    Ok(seen)
}

async fn listens(address: SocketAddr, name: &str) -> Answer {
    match tokio::time::timeout(LIMIT, TcpStream::connect(address)).await {
        Ok(Ok(_)) => Answer::Part(Part { name: name.to_owned(), waits: None, version: None, apart: None }),
        Ok(Err(error)) if error.kind() == std::io::ErrorKind::ConnectionRefused => Answer::Refused,
        Ok(Err(_)) | Err(_) => Answer::Silent,
    }
}

async fn health(client: &reqwest::Client, address: SocketAddr) -> Answer {
    let asked = Timestamp::now();
    let answer = match client.get(format!("http://{address}/readyz")).send().await {
        Ok(answer) => answer,
        Err(error) if error.is_connect() && !error.is_timeout() => {
            return if is_refused(&error) { Answer::Refused } else { Answer::Silent };
        }
        Err(_) => return Answer::Silent,
    };
    let date = answer.headers().get(reqwest::header::DATE).and_then(|date| date.to_str().ok().map(str::to_owned));
    let is_ready = answer.status().is_success();
    let Some(text) = body(answer).await else { return Answer::Other };
    let Ok(ready) = serde_json::from_str::<Ready>(&text) else { return Answer::Other };
    let waits = (!is_ready).then(|| ready.waits().unwrap_or_else(|| NOT_READY.to_owned()));
    let name = if address.port() == HAPROXY { "haproxy".to_owned() } else { ready.daemon };
    // A load balancer's front has no readiness of its own on the API's port.
    if name.is_empty() {
        return Answer::Other;
    }
    let apart = date.and_then(|date| apart(&date, asked, Timestamp::now()));
    Answer::Part(Part { name, waits, version: version(client, address).await, apart })
}

/// Nobody listens there, but the host lives.
fn is_refused(error: &reqwest::Error) -> bool {
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<std::io::Error>() {
            return error.kind() == std::io::ErrorKind::ConnectionRefused;
        }
        cause = error.source();
    }
    false
}

/// From the metric `build_info{daemon="acd",version="0.1.0"} 1`, whatever its prefix.
async fn version(client: &reqwest::Client, address: SocketAddr) -> Option<String> {
    if address.port() == HAPROXY {
        return None;
    }
    let text = body(client.get(format!("http://{address}/metrics")).send().await.ok()?).await?;
    let (_, rest) = text.lines().find(|line| line.contains("build_info{"))?.split_once("version=\"")?;
    rest.split('"').next().map(str::to_owned)
}

/// What was answered, as text; none when it is longer than anything we ask for.
pub(super) async fn body(mut answer: reqwest::Response) -> Option<String> {
    let mut bytes = Vec::new();
    while let Some(chunk) = answer.chunk().await.ok()? {
        bytes.extend_from_slice(&chunk);
        if bytes.len() > BODY_MAX {
            return None;
        }
    }
    String::from_utf8(bytes).ok()
}

/// How far a clock that said `date` between two times of ours is off, besides its whole seconds; none when that is no time.
fn apart(date: &str, before: Timestamp, after: Timestamp) -> Option<Duration> {
    let theirs = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(date).ok()?;
    let distance = if theirs > after { theirs.duration_since(after) } else { before.duration_since(theirs) };
    Some(Duration::try_from(distance).unwrap_or_default())
}

pub(super) fn findings(layout: &Layout, seen: &BTreeMap<Ipv4Addr, Seen>) -> Vec<Finding> {
    let mut findings: Vec<Finding> = Vec::new();
    for (address, expected) in &layout.hosts {
        findings.push(host(*address, expected, seen.get(address).unwrap_or(&Seen::default())));
    }
    findings.extend(versions(seen));
    findings.extend(clocks(seen));
    findings
}

fn host(address: Ipv4Addr, expected: &BTreeSet<String>, seen: &Seen) -> Finding {
    let what = format!("host {address}");
    if !seen.is_up {
        return Finding::bad(&what, "does not answer on any port", LET_IN);
    }
    let there: BTreeSet<_> = seen.parts.iter().map(|part| part.name.as_str()).collect();
    let is_missed = |name: &&str| !there.contains(name) && !UNSEEN.contains(name);
    let missed: Vec<_> = expected.iter().map(String::as_str).filter(is_missed).collect();
    let waiting =
        seen.parts.iter().filter_map(|part| part.waits.as_ref().map(|waits| format!("{} {waits}", part.name)));
    let mut wrong: Vec<_> = waiting.collect();
    if !missed.is_empty() {
        wrong.push(format!("{} cannot be reached", list(missed)));
    }
    if !wrong.is_empty() {
        return Finding::bad(&what, wrong.join("; "), THERE);
    }
    if there.is_empty() {
        return Finding::warning(&what, "is up; none of its ports lets this host in", LET_IN);
    }
    Finding::good(&what, format!("{} ready", list(there)))
}

fn versions(seen: &BTreeMap<Ipv4Addr, Seen>) -> Option<Finding> {
    let mut hosts: BTreeMap<&str, BTreeSet<Ipv4Addr>> = BTreeMap::new();
    for (address, host) in seen {
        for version in host.parts.iter().filter_map(|part| part.version.as_deref()) {
            hosts.entry(version).or_default().insert(*address);
        }
    }
    let said =
        hosts.iter().map(|(version, hosts)| format!("{version} on {}", list(hosts))).collect::<Vec<_>>().join("; ");
    match hosts.len() {
        0 => None,
        1 => Some(Finding::good("versions", said)),
        2 => Some(Finding::warning(
            "versions",
            said,
            "bring all hosts to the newer one: ringdown host replace on each, one after the other",
        )),
        _ => Some(Finding::bad(
            "versions",
            said,
            "bring the oldest hosts forward first: two versions that follow each other work together, no more",
        )),
    }
}

fn clocks(seen: &BTreeMap<Ipv4Addr, Seen>) -> Option<Finding> {
    let furthest = |host: &Seen| host.parts.iter().filter_map(|part| part.apart).max();
    let hosts: BTreeMap<_, _> = seen.iter().filter_map(|(address, host)| Some((address, furthest(host)?))).collect();
    let wrong = hosts.iter().filter(|(_, apart)| **apart > CLOCK_MAX);
    let wrong: Vec<_> = wrong.map(|(address, apart)| format!("{address} by {} s", apart.as_secs())).collect();
    if hosts.is_empty() {
        None
    } else if wrong.is_empty() {
        Some(Finding::good("clocks", format!("{} hosts go with this one's", hosts.len())))
    } else {
        let found = format!("apart from this host's: {}", wrong.join(", "));
        Some(Finding::bad("clocks", found, "one time service for all hosts: timedatectl on each says which is wrong"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Verdict;

    fn part(name: &str, version: &str) -> Part {
        Part { name: name.to_owned(), waits: None, version: Some(version.to_owned()), apart: Some(Duration::ZERO) }
    }

    fn seen(hosts: &[(&str, &[Part])]) -> BTreeMap<Ipv4Addr, Seen> {
        hosts
            .iter()
            .map(|(address, parts)| (address.parse().unwrap(), Seen { parts: parts.to_vec(), is_up: true }))
            .collect()
    }

    #[test]
    fn a_clock_is_compared_with_the_time_of_the_question() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let (before, after) = (at("2026-11-21T11:07:13.2Z"), at("2026-11-21T11:07:13.9Z"));
        let check = |date: &str, expected: Option<u64>| {
            assert_eq!(apart(date, before, after).map(|apart| apart.as_secs()), expected, "{date}");
        };
        check("Sat, 21 Nov 2026 11:07:13 GMT", Some(0));
        check("Sat, 21 Nov 2026 11:07:03 GMT", Some(10));
        check("Sat, 21 Nov 2026 11:07:33 GMT", Some(19));
        check("yesterday", None);
    }

    #[test]
    fn a_host_that_lacks_what_it_should_have_is_bad() {
        let address = "10.0.0.5".parse().unwrap();
        let expected: BTreeSet<String> = ["acd", "asterisk"].map(str::to_owned).into();
        let check = |seen: &Seen, verdict: Verdict, said: &str| {
            let finding = host(address, &expected, seen);
            assert!(finding.verdict == verdict && finding.found.contains(said), "{finding:?}");
        };
        check(&Seen::default(), Verdict::Bad, "does not answer");
        check(&Seen { parts: vec![part("notifier", "1.0.0")], is_up: true }, Verdict::Bad, "acd cannot be reached");
        check(&Seen { parts: vec![part("acd", "1.0.0")], is_up: true }, Verdict::Good, "acd ready");
        let waits = Part { waits: Some("waits for redis (away)".to_owned()), ..part("acd", "1.0.0") };
        check(&Seen { parts: vec![waits], is_up: true }, Verdict::Bad, "acd waits for redis (away)");
    }

    #[test]
    fn more_than_two_versions_do_not_work_together() {
        let versions_of = |parts: &[Part]| versions(&seen(&[("10.0.0.5", parts)]));
        assert_eq!(versions_of(&[part("acd", "1.0.0")]).unwrap().verdict, Verdict::Good);
        assert_eq!(versions_of(&[part("acd", "1.0.0"), part("web-api", "1.1.0")]).unwrap().verdict, Verdict::Warning);
        let three = [part("acd", "1.0.0"), part("web-api", "1.1.0"), part("notifier", "1.2.0")];
        assert_eq!(versions_of(&three).unwrap().verdict, Verdict::Bad);
        assert!(versions(&BTreeMap::new()).is_none());
    }

    #[test]
    fn a_clock_that_is_off_is_named() {
        let off = Part { apart: Some(Duration::from_secs(40)), ..part("acd", "1.0.0") };
        let found = clocks(&seen(&[("10.0.0.5", &[off]), ("10.0.0.6", &[part("acd", "1.0.0")])])).unwrap();
        assert!(found.verdict == Verdict::Bad && found.found.ends_with("10.0.0.5 by 40 s"), "{found:?}");
    }
}

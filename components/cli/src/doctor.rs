//! `ringdown doctor`: looks at the host and the installation, with `--cluster` at the other hosts too, and says what to do about
//! each finding.

mod cluster;
mod packaged;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use nix::sys::statvfs::statvfs;
use redis::aio::MultiplexedConnection;
use serde::Serialize;

use crate::appliance::Appliance;
use crate::arguments::{Doctor, Place};
use crate::installation::{Installation, PortName, is_free};
use crate::supervise::find_program;
use crate::{health, output};

pub(crate) use cluster::Place as ClusterPlace;

/// What state, journal and log of a busy day take, with room.
const DISK_MIN_MB: u64 = 2_048;
/// All daemons, Redis, PostgreSQL and Asterisk under load.
const MEMORY_MIN_MB: u64 = 1_024;
/// A clock further off than this makes log lines and records of several hosts disagree.
const CLOCK_MAX: Duration = Duration::from_secs(2);

/// How grave a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    Good,
    Warning,
    Bad,
}

#[derive(Debug, Serialize)]
pub(crate) struct Finding {
    what: String,
    verdict: Verdict,
    found: String,
    #[serde(rename = "do")]
    advice: String,
}

impl Finding {
    fn good(what: &str, found: impl Into<String>) -> Self {
        Self { what: what.to_owned(), verdict: Verdict::Good, found: found.into(), advice: String::new() }
    }

    fn warning(what: &str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { what: what.to_owned(), verdict: Verdict::Warning, found: found.into(), advice: advice.into() }
    }

    fn bad(what: &str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { what: what.to_owned(), verdict: Verdict::Bad, found: found.into(), advice: advice.into() }
    }
}

pub(crate) async fn run(place: &Place, doctor: &Doctor) -> anyhow::Result<ExitCode> {
    let mut findings = findings(place).await?;
    if doctor.cluster || !doctor.hosts.is_empty() {
        let appliance = Appliance::find(place)?.context("only a host that packages made knows others")?;
        findings.extend(cluster::examine(&appliance, &doctor.hosts).await?);
    }
    if doctor.json {
        output::json(&findings)?;
    } else {
        show(&findings);
    }
    let bad = findings.iter().any(|finding| finding.verdict == Verdict::Bad);
    Ok(if bad { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Everything there is to be said of what `place` names.
pub(crate) async fn findings(place: &Place) -> anyhow::Result<Vec<Finding>> {
    let mut findings = host(place)?;
    match (Appliance::find(place)?, Installation::find(place)?) {
        (Some(appliance), _) => findings.extend(packaged::examine(&appliance).await?),
        (None, Some(installation)) => findings.extend(examine(&installation).await?),
        (None, None) => findings.push(Finding::bad(
            "installation",
            format!("none in {}", Installation::folder_of(place)?.display()),
            "make one: sudo provisioning/first_boot_installer, or ringdown up",
        )),
    }
    Ok(findings)
}

fn show(findings: &[Finding]) {
    let mut table = output::table(&["", "what", "found", "what to do"]);
    for finding in findings {
        let mark = match finding.verdict {
            Verdict::Good => "ok",
            Verdict::Warning => "look",
            Verdict::Bad => "BAD",
        };
        table.add_row([mark, &finding.what, &finding.found, &finding.advice]);
    }
    output::print(&table);
}

fn host(place: &Place) -> anyhow::Result<Vec<Finding>> {
    let mut findings = Vec::new();
    // What runs an installation in a folder; packages bring what they need themselves.
    let tools: &[(&str, &str)] = match Appliance::find(place)? {
        Some(_) => &[],
        None => &[
            ("redis-server", "redis-server"),
            ("psql", "postgresql"),
            ("setpriv", "util-linux"),
            ("setsid", "util-linux"),
        ],
    };
    let missing: Vec<_> = tools.iter().filter(|(tool, package)| find_program(tool, package).is_err()).collect();
    findings.push(if missing.is_empty() {
        Finding::good("programs", "all there")
    } else {
        let names: Vec<_> = missing.iter().map(|(tool, _)| *tool).collect();
        let packages: Vec<_> = missing.iter().map(|(_, package)| *package).collect();
        Finding::bad(
            "programs",
            format!("missing: {}", names.join(", ")),
            format!("apt-get install {}", packages.join(" ")),
        )
    });
    findings.push(memory());
    findings.push(disk(&Installation::folder_of(place)?));
    Ok(findings)
}

fn memory() -> Finding {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let kb = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
    match kb.map(|kb| kb / 1_024) {
        None => Finding::warning("memory", "cannot be read", "is /proc mounted?"),
        Some(mb) if mb < MEMORY_MIN_MB => {
            Finding::warning("memory", format!("{mb} MB available"), format!("give the host {MEMORY_MIN_MB} MB more"))
        }
        Some(mb) => Finding::good("memory", format!("{mb} MB available")),
    }
}

fn disk(folder: &std::path::Path) -> Finding {
    let Some(there) = folder.ancestors().find(|folder| folder.exists()) else {
        return Finding::warning("disk", "cannot be looked at", "name an existing place by --data");
    };
    match statvfs(there) {
        Err(error) => Finding::warning("disk", format!("cannot be looked at: {error}"), "name another place by --data"),
        Ok(disk) => {
            let mb = disk.blocks_available() * disk.fragment_size() / 1_048_576;
            let found = format!("{mb} MB free for {}", folder.display());
            if mb < DISK_MIN_MB {
                Finding::bad("disk", found, "make room: Redis stops accepting when it cannot write")
            } else {
                Finding::good("disk", found)
            }
        }
    }
}

async fn examine(installation: &Installation) -> anyhow::Result<Vec<Finding>> {
    let mut findings = Vec::new();
    let running = installation.lock().holder()?.is_some();
    findings.push(if running {
        Finding::good("supervisor", "runs")
    } else {
        Finding::warning("supervisor", "does not run", "ringdown up --detach (unless systemd runs the parts)")
    });
    let mut away = Vec::new();
    for part in health::PARTS {
        let health = health::ask(installation, part).await;
        if !health.ready {
            away.push(part);
            findings.push(Finding::bad(part, health.says, advice(part, installation)));
        }
    }
    if away.is_empty() {
        findings.push(Finding::good("parts", "all ready"));
    }
    if !running && away.len() == health::PARTS.len() {
        findings.push(ports(installation));
    }
    findings.push(address(installation));
    findings.push(hosts_file(installation));
    if !away.contains(&"redis") {
        findings.extend(match health::redis(installation).await {
            Ok(connection) => redis(connection).await,
            Err(error) => vec![Finding::bad("redis", error.to_string(), "see its lines in the log")],
        });
    }
    findings.push(asterisk_connected(installation).await);
    findings.push(registrar_answers(installation.public(PortName::Sip), &advice("registrar", installation)).await?);
    Ok(findings)
}

fn advice(part: &str, installation: &Installation) -> String {
    let log = installation.log_file();
    let word = match part {
        "asterisk" => "see its lines",
        "redis" | "postgres" => "its last lines say why it does not serve",
        _ => "see what it waits for, and its last lines",
    };
    format!("{word}: grep '^{part} ' {}", log.display())
}

fn ports(installation: &Installation) -> Finding {
    let ports = installation.ports();
    let taken: Vec<_> = PortName::ALL
        .into_iter()
        .filter(|name| !is_free(ports.of(*name)))
        .map(|name| format!("{} {}", name.name(), ports.of(name)))
        .collect();
    if taken.is_empty() {
        return Finding::good("ports", "all free");
    }
    Finding::bad(
        "ports",
        format!("taken by somebody else: {}", taken.join(", ")),
        "stop who has them (ss -lntup shows it)",
    )
}

fn address(installation: &Installation) -> Finding {
    let address = installation.address();
    match UdpSocket::bind((address, 0)) {
        Ok(_) => Finding::good("address", format!("{address} is this host's")),
        Err(_) => Finding::bad(
            "address",
            format!("{address}, which phones and trunks use, is not this host's any more"),
            format!(
                "give the host that address again, or change \"address\" in {}",
                installation.join("installation.json").display()
            ),
        ),
    }
}

/// Asterisk looks these names up in the threads that speak SIP; without them calls stall 5 s at a time when DNS is away.
fn hosts_file(installation: &Installation) -> Finding {
    let text = std::fs::read_to_string("/etc/hosts").unwrap_or_default();
    let host = nix::unistd::gethostname().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    if text.split_whitespace().any(|word| word.eq_ignore_ascii_case(&host)) {
        return Finding::good("hosts file", format!("names {host}"));
    }
    Finding::warning(
        "hosts file",
        format!("does not name this host ({host}; node {})", installation.node()),
        format!("add a line to /etc/hosts: {} {host}", installation.address()),
    )
}

async fn redis(mut connection: MultiplexedConnection) -> Vec<Finding> {
    let text: String = redis::cmd("INFO").query_async(&mut connection).await.unwrap_or_default();
    let value =
        |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap_or("").trim();
    let mut findings = Vec::new();
    findings.push(match (value("aof_enabled"), value("aof_last_write_status")) {
        ("1", "ok") => Finding::good("redis: append-only file", "on, last write ok"),
        ("1", status) => {
            Finding::bad("redis: append-only file", format!("last write: {status}"), "make room on the disk")
        }
        _ => Finding::bad("redis: append-only file", "off: a restart of Redis loses calls", "set appendonly yes"),
    });
    let policy = value("maxmemory_policy");
    findings.push(if policy == "noeviction" || policy.is_empty() {
        Finding::good("redis: memory", format!("{} used, nothing is evicted", value("used_memory_human")))
    } else {
        Finding::bad(
            "redis: memory",
            format!("evicts ({policy}): state would be lost"),
            "set maxmemory-policy noeviction",
        )
    });
    let time: Result<(u64, u64), _> = redis::cmd("TIME").query_async(&mut connection).await;
    let ours = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    if let Ok((seconds, micros)) = time {
        let theirs = Duration::new(seconds, u32::try_from(micros * 1_000).unwrap_or(0));
        let apart = ours.abs_diff(theirs);
        findings.push(if apart <= CLOCK_MAX {
            Finding::good("clock", format!("{} ms from Redis'", apart.as_millis()))
        } else {
            Finding::bad("clock", format!("{} s from Redis'", apart.as_secs()), "set the host's clock (chrony)")
        });
    }
    findings
}

/// acd says in its readiness and metrics whether Asterisk's websocket is there; here we ask whether Asterisk has opened it.
async fn asterisk_connected(installation: &Installation) -> Finding {
    let address = installation.ports().loopback(PortName::AcdAdmin);
    let health = health::daemon_health(address).await;
    if health.ready {
        return Finding::good("asterisk's websocket", "acd has it");
    }
    Finding::bad(
        "asterisk's websocket",
        format!("acd {}", health.says),
        format!("grep '^asterisk ' {} for what keeps Asterisk from connecting", installation.log_file().display()),
    )
}

/// How often the registrar is asked, and how long each answer may take.
const SIP_TRIES: u32 = 3;
const SIP_WAIT: Duration = Duration::from_millis(500);

/// What a phone that asks the registrar hears.
#[derive(Debug, PartialEq, Eq)]
enum SipHeard {
    /// The first line of the answer, from the address that was asked.
    Answer(String),
    /// An answer from another address: a phone behind a firewall or NAT never sees it.
    From(SocketAddr),
    Nothing,
}

/// Asks the registrar at the address that phones use, as a phone on another network would: from an address that the
/// host would not answer by itself from there.
async fn registrar_answers(registrar: SocketAddr, advice: &str) -> anyhow::Result<Finding> {
    let elsewhere = if registrar.is_ipv4() { IpAddr::V4(Ipv4Addr::LOCALHOST) } else { Ipv6Addr::LOCALHOST.into() };
    let mut said = String::new();
    for own in [registrar.ip(), elsewhere] {
        match ask_options(own, registrar).await? {
            SipHeard::Answer(line) => said = line,
            SipHeard::From(other) => {
                let text =
                    format!("asked at {registrar} it answers from {other}, and phones behind a firewall never hear it");
                return Ok(Finding::bad("registrar", text, advice));
            }
            SipHeard::Nothing => {
                let text = format!("{registrar} does not answer OPTIONS from {own}");
                return Ok(Finding::bad("registrar", text, advice));
            }
        }
    }
    Ok(Finding::good("registrar", format!("answers OPTIONS at {registrar}: {said}")))
}

async fn ask_options(own: IpAddr, registrar: SocketAddr) -> anyhow::Result<SipHeard> {
    let socket = tokio::net::UdpSocket::bind((own, 0)).await.with_context(|| format!("taking a port at {own}"))?;
    let own = socket.local_addr()?;
    let branch = uuid::Uuid::now_v7().simple().to_string();
    let text = format!(
        "OPTIONS sip:{registrar} SIP/2.0\r\nVia: SIP/2.0/UDP {own};branch=z9hG4bK{branch};rport\r\nMax-Forwards: 70\r\n\
         From: <sip:doctor@{own}>;tag={branch}\r\nTo: <sip:{registrar}>\r\nCall-ID: {branch}\r\nCSeq: 1 OPTIONS\r\n\
         Contact: <sip:doctor@{own}>\r\nContent-Length: 0\r\n\r\n"
    );
    let mut buffer = [0; 2_048];
    for _ in 0..SIP_TRIES {
        socket.send_to(text.as_bytes(), registrar).await?;
        // An error is a closed port told by ICMP: the same as silence.
        if let Ok(Ok((length, from))) = tokio::time::timeout(SIP_WAIT, socket.recv_from(&mut buffer)).await {
            let answer = String::from_utf8_lossy(&buffer[..length]);
            let line = answer.lines().next().unwrap_or_default().to_owned();
            return Ok(if from == registrar { SipHeard::Answer(line) } else { SipHeard::From(from) });
        }
    }
    Ok(SipHeard::Nothing)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A registrar that listens everywhere and forgets where it was asked: answers once, from where the system likes.
    async fn forgetful() -> SocketAddr {
        let socket = tokio::net::UdpSocket::bind("0.0.0.0:0").await.unwrap();
        let port = socket.local_addr().unwrap().port();
        tokio::spawn(async move {
            let mut buffer = [0; 2_048];
            while let Ok((_, from)) = socket.recv_from(&mut buffer).await {
                socket.send_to(b"SIP/2.0 200 OK\r\n\r\n", from).await.unwrap();
            }
        });
        SocketAddr::from(([127, 0, 0, 9], port))
    }

    #[tokio::test]
    async fn an_answer_from_another_address_is_a_finding() {
        let registrar = forgetful().await;
        let heard = ask_options(Ipv4Addr::LOCALHOST.into(), registrar).await.unwrap();
        let other = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), registrar.port());
        assert_eq!(heard, SipHeard::From(other));
        assert_eq!(registrar_answers(registrar, "").await.unwrap().verdict, Verdict::Bad);
    }
}

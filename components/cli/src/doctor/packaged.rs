//! A host that was set up by packages: units, versions, data volume, clock, peers, secrets, certificates, packet filter.
//!
//! Findings are about this host; what it sees of others is in `cluster`.

use std::collections::BTreeSet;
use std::net::UdpSocket;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use nix::sys::statvfs::{FsFlags, statvfs};
use tokio::net::TcpStream;

use super::Finding;
use crate::appliance::{Appliance, Unit};
use crate::asked::ask;
use crate::health::{self, Health};
use crate::packages::Packages;

const LIMIT: Duration = Duration::from_secs(5);
const ANSWER_MAX: usize = 64 * 1_024;
/// So many restarts by itself since the last start by hand are more than an accident.
const RESTARTS_MAX: u32 = 3;
/// A file system with fewer free inodes than this share refuses new files soon.
const INODES_MIN_PERCENT: u64 = 5;
/// Time to renew a certificate in peace.
const CERTIFICATE_DAYS: u64 = 30;
const API: &str = "peer: API";
/// What says what can be restored.
const BACKUP: &str = "/usr/sbin/ringdown-backup";
const BACKUP_SETTINGS: &str = "/etc/ringdown/backup.env";
/// It asks PostgreSQL's copies, which may be many.
const BACKUP_LIMIT: Duration = Duration::from_secs(60);
/// Components that need no Redis.
const WITHOUT_REDIS: [&str; 7] = ["postgresql", "asterisk", "haproxy", "keepalived", "monitoring", "nats", "rtpengine"];
const DATA: &str = "/var/lib/ringdown";
const LABEL: &str = "ringdown-data";
const LET_IN: &str = "is its host up, and is this host among its RINGDOWN_PEERS?";
const AGAIN: &str = "run first boot again: first_boot_installer";

pub(super) async fn examine(appliance: &Appliance) -> anyhow::Result<Vec<Finding>> {
    let mut findings = Vec::new();
    let packages = Packages::of_host().await;
    for part in appliance.parts() {
        let (unit, health) = (Unit::of(part).await?, health::ask_component(appliance, part).await);
        findings.push(running(part, &unit, &health));
        findings.extend(unit_findings(part, &unit));
        if let Ok(packages) = &packages {
            findings.extend(replaced(part, &unit, &health, packages));
        }
    }
    findings.push(versions(packages));
    findings.extend(failed_units(appliance).await);
    findings.extend(data_volume().await);
    findings.push(clock().await);
    findings.push(address(appliance));
    findings.extend(peers(appliance).await?);
    findings.extend(secrets(appliance)?);
    findings.extend(certificates(appliance).await?);
    findings.extend(packet_filter().await);
    if appliance.has("backup") {
        findings.push(backup().await);
        findings.extend(place_of_copies());
    }
    findings.push(first_boot());
    if appliance.has("registrar") {
        let registrar = appliance.registrar()?.parse().context("reading where phones register")?;
        findings
            .push(super::registrar_answers(registrar, "journalctl -u ringdown-registrar shows its last lines").await?);
    }
    Ok(findings)
}

fn running(part: &str, unit: &Unit, health: &Health) -> Finding {
    let name = Unit::name(part);
    let log = format!("journalctl -u {name} -n 50");
    match unit.state.as_str() {
        "active" if health.ready => Finding::good(part, "ready"),
        "active" | "activating" | "reloading" => {
            Finding::bad(part, &health.says, format!("what it waits for has to come first; else {log}"))
        }
        "failed" => Finding::bad(
            part,
            format!("failed ({})", unit.result),
            format!("{log} says why; mend it, then: systemctl restart {name}"),
        ),
        "inactive" if unit.at_boot.is_empty() => Finding::bad(part, "has no unit", AGAIN),
        state => Finding::bad(part, format!("is {state}"), format!("systemctl start {name}")),
    }
}

fn unit_findings(part: &str, unit: &Unit) -> Vec<Finding> {
    let mut findings = Vec::new();
    let (what, name) = (format!("{part}: unit"), Unit::name(part));
    match unit.at_boot.as_str() {
        "" | "enabled" | "enabled-runtime" => {}
        "masked" | "masked-runtime" => {
            findings.push(Finding::bad(&what, "is masked: it cannot start", format!("systemctl unmask {name}")));
        }
        state => {
            let found = format!("does not start at boot ({state})");
            findings.push(Finding::warning(&what, found, format!("systemctl enable {name}")));
        }
    }
    if unit.stale {
        let what_to_do = format!("systemctl daemon-reload && systemctl restart {name}");
        findings.push(Finding::warning(&what, "its file changed and was not read again", what_to_do));
    }
    if unit.restarts >= RESTARTS_MAX {
        let found = format!("started again by itself {} times", unit.restarts);
        findings.push(Finding::warning(&what, found, format!("journalctl -u {name} | grep -B5 'Scheduled restart'")));
    }
    findings
}

/// A process of a program that was replaced since, or of another version than the installed one.
fn replaced(part: &str, unit: &Unit, health: &Health, packages: &Packages) -> Option<Finding> {
    let again = format!("systemctl restart {}", Unit::name(part));
    let what = format!("{part}: version");
    let installed = packages.program_version(&format!("ringdown-{part}"))?;
    if let Some(running) = health.version.as_deref().filter(|running| *running != installed) {
        return Some(Finding::bad(&what, format!("{running} runs, {installed} is installed"), again));
    }
    let program = std::fs::read_link(format!("/proc/{}/exe", unit.process?)).ok()?;
    let is_gone = program.to_string_lossy().ends_with(" (deleted)");
    is_gone.then(|| Finding::warning(&what, "runs a program that was replaced since", again))
}

fn versions(packages: anyhow::Result<Packages>) -> Finding {
    let packages = match packages {
        Ok(packages) => packages,
        Err(error) => return Finding::warning("packages", format!("{error:#}"), "install ringdown-base"),
    };
    if !packages.half.is_empty() {
        let found = format!("half installed: {}", packages.half.join(", "));
        return Finding::bad("packages", found, packages.kind.finish());
    }
    let different: BTreeSet<_> = packages.versions.values().collect();
    if different.len() > 1 {
        let pairs: Vec<_> = packages.versions.iter().map(|(name, version)| format!("{name} {version}")).collect();
        let found = format!("several versions: {}", pairs.join(", "));
        return Finding::bad("packages", found, format!("finish the upgrade: {}", packages.kind.finish()));
    }
    let version = different.first().map_or("none", |version| version.as_str());
    Finding::good("packages", format!("{} of version {version}", packages.versions.len()))
}

/// Units of the host that failed, besides the parts, which have findings of their own.
async fn failed_units(appliance: &Appliance) -> Option<Finding> {
    let words = ["systemctl", "--failed", "--plain", "--no-legend", "--no-pager"];
    let answer = match ask(&words, LIMIT, ANSWER_MAX).await {
        Ok(answer) => answer,
        Err(error) => {
            return Some(Finding::warning("units", format!("{error:#}"), "does systemd answer? systemctl status"));
        }
    };
    let ours: Vec<_> = appliance.parts().map(Unit::name).collect();
    let names = answer.text.lines().filter_map(|line| line.split_whitespace().next());
    let failed: Vec<_> = names.filter(|name| !ours.iter().any(|ours| ours == name)).collect();
    let first = failed.first()?;
    let found = format!("failed: {}", failed.join(", "));
    Some(Finding::warning("units", found, format!("systemctl status {first}; when mended: systemctl reset-failed")))
}

async fn data_volume() -> Vec<Finding> {
    let mut findings = Vec::new();
    let device = ask(&["blkid", "-L", LABEL], LIMIT, ANSWER_MAX).await.map(|answer| answer.text.trim().to_owned());
    let device = device.ok().filter(|device| !device.is_empty());
    let mounted = is_mount(Path::new(DATA));
    let wanted = Path::new("/etc/systemd/system/var-lib-ringdown.mount").exists();
    findings.push(match (mounted, device) {
        (true, _) => Finding::good("data volume", format!("mounted on {DATA}")),
        (false, Some(device)) => Finding::bad(
            "data volume",
            format!("{device} has the label {LABEL} and is not mounted: what is written now is not on it"),
            "systemctl stop ringdown.target 'ringdown-*'; systemctl start var-lib-ringdown.mount, then reboot",
        ),
        (false, None) if wanted => Finding::bad(
            "data volume",
            "is not there: its device is gone",
            format!("attach the device with the label {LABEL}, then reboot"),
        ),
        (false, None) => Finding::good("data volume", format!("none: {DATA} is on the system's disk")),
    });
    match statvfs(DATA) {
        Err(error) => findings.push(Finding::bad("data folder", format!("{DATA}: {error}"), AGAIN)),
        Ok(disk) => {
            if disk.flags().contains(FsFlags::ST_RDONLY) {
                let found =
                    format!("{DATA} can only be read: the kernel saw an error on its disk, or it was mounted so");
                findings.push(Finding::bad(
                    "data folder",
                    found,
                    "dmesg says what the disk said; mend it (fsck), then reboot",
                ));
            }
            if disk.files() > 0 && disk.files_available() * 100 / disk.files() < INODES_MIN_PERCENT {
                let found = format!("{} inodes are left for {DATA}", disk.files_available());
                findings.push(Finding::bad("data folder", found, "remove small files that nobody needs"));
            }
        }
    }
    findings
}

/// Whether another file system begins here.
fn is_mount(folder: &Path) -> bool {
    let device = |path: &Path| std::fs::metadata(path).map(|of| of.dev()).ok();
    matches!((device(folder), folder.parent().and_then(device)), (Some(own), Some(parent)) if own != parent)
}

async fn clock() -> Finding {
    let answer = ask(&["timedatectl", "show", "--property=NTPSynchronized", "--value"], LIMIT, ANSWER_MAX).await;
    match answer.as_ref().map(|answer| answer.text.trim()) {
        Ok("yes") => Finding::good("clock: time service", "synchronised"),
        Ok(_) => Finding::warning(
            "clock: time service",
            "not synchronised: times of several hosts will disagree",
            "systemctl enable --now systemd-timesyncd (or chrony), and let it reach a server",
        ),
        Err(error) => Finding::warning("clock: time service", format!("{error:#}"), "is systemd-timedated there?"),
    }
}

fn address(appliance: &Appliance) -> Finding {
    match UdpSocket::bind((appliance.address, 0)) {
        Ok(_) => Finding::good("address", format!("{} is this host's", appliance.address)),
        Err(_) => Finding::bad(
            "address",
            format!("{}, which phones, trunks and peers use, is not this host's any more", appliance.address),
            "give the host that address again, or set RINGDOWN_ADVERTISE and run first boot again",
        ),
    }
}

/// The servers this host uses, wherever they are.
async fn peers(appliance: &Appliance) -> anyhow::Result<Vec<Finding>> {
    let mut findings = Vec::new();
    if appliance.parts().any(|part| !WITHOUT_REDIS.contains(&part)) {
        findings.extend(match health::redis_of_appliance(appliance, &appliance.redis_url()?).await {
            Ok(connection) => super::redis(connection).await,
            Err(error) => vec![Finding::bad("redis", format!("{error:#}"), LET_IN)],
        });
    }
    let mut others = Vec::new();
    if appliance.has("web-api")
        && let Some(url) = appliance.postgres_url()?
    {
        others.push(("peer: postgresql", url, 5_432));
    }
    let is_here = appliance.has("web-api") || appliance.has("haproxy");
    if !is_here && appliance.api.contains("://127.") {
        findings
            .push(Finding::good(API, "not said (RINGDOWN_API_URL); only this tool's own log-in would need it here"));
    } else if !appliance.has("web-api") && !appliance.api.is_empty() {
        others.push((API, appliance.api.clone(), 80));
    }
    for (what, url, port) in others {
        findings.push(peer(what, &places(&url, port)).await?);
    }
    Ok(findings)
}

/// A server with one place or several, of which one that answers is enough for now.
async fn peer(what: &str, places: &[String]) -> anyhow::Result<Finding> {
    let (mut there, mut away) = (Vec::new(), Vec::new());
    for place in places {
        match tokio::time::timeout(LIMIT, TcpStream::connect(place)).await {
            Ok(Ok(connection)) if what == API => {
                return Ok(api(connection.peer_addr().context("asking who answers")?).await);
            }
            Ok(Ok(_)) => there.push(format!("{place} answers")),
            Ok(Err(error)) => away.push(format!("{place}: {error}")),
            Err(_) => away.push(format!("{place} does not answer")),
        }
    }
    let found = [there.as_slice(), away.as_slice()].concat().join("; ");
    Ok(match (there.is_empty(), away.is_empty()) {
        (true, true) => Finding::bad(what, "its address cannot be read", AGAIN),
        (true, false) => Finding::bad(what, found, LET_IN),
        (false, true) => Finding::good(what, found),
        (false, false) => Finding::warning(what, found, LET_IN),
    })
}

/// The API of another host: its version is this host's, or an upgrade is under way.
async fn api(address: std::net::SocketAddr) -> Finding {
    let own = env!("CARGO_PKG_VERSION");
    match health::daemon_health(address).await {
        Health { version: Some(version), .. } if version != own => Finding::warning(
            API,
            format!("{address} has version {version}, this host {own}"),
            "bring all hosts to one version: two that follow each other work together, no more",
        ),
        Health { ready: true, .. } => Finding::good(API, format!("{address} is ready")),
        Health { says, .. } => Finding::warning(API, format!("{address} {says}"), "ringdown doctor on that host"),
    }
}

/// Every `host:port` of an address.
fn places(url: &str, port: u16) -> Vec<String> {
    let rest = url.split_once("://").map_or("", |(_, rest)| rest);
    let hosts = rest.split(['/', '?']).next().and_then(|hosts| hosts.rsplit('@').next()).unwrap_or_default();
    let has_port = |host: &str| host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    let place = |host: &str| if has_port(host) { host.to_owned() } else { format!("{host}:{port}") };
    hosts.split(',').filter(|host| !host.is_empty()).map(place).collect()
}

/// Secrets are root's alone, not empty, and what the daemons were given.
fn secrets(appliance: &Appliance) -> anyhow::Result<Vec<Finding>> {
    if !nix::unistd::geteuid().is_root() {
        return Ok(vec![Finding::warning("secrets", "cannot be looked at", "run it as root to see them")]);
    }
    let mut findings = Vec::new();
    let kept = appliance.folder().join("secrets");
    let mut count = 0;
    for path in files_in(&kept)? {
        count += 1;
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let of = std::fs::metadata(&path).with_context(|| format!("looking at {}", path.display()))?;
        if of.len() == 0 {
            findings.push(Finding::bad(
                "secrets",
                format!("{name} is empty"),
                format!("remove {}, then {AGAIN}", path.display()),
            ));
        }
        if of.permissions().mode() & 0o077 != 0 || of.uid() != 0 {
            let found = format!("{name} can be read by others than root");
            let mend = format!("chown root: {0} && chmod 600 {0}; who could read it knows it", path.display());
            findings.push(Finding::bad("secrets", found, mend));
        }
    }
    for path in folders_in(&appliance.folder().join("credentials"))?.iter().map(|folder| files_in(folder)) {
        for given in path? {
            let own = kept.join(given.file_name().unwrap_or_default());
            let read = |path: &Path| std::fs::read(path).with_context(|| format!("reading {}", path.display()));
            if own.is_file() && read(&own)? != read(&given)? {
                let found = format!("{} is another than the host's", given.display());
                findings.push(Finding::bad("secrets", found, AGAIN));
            }
        }
    }
    if findings.is_empty() {
        findings.push(Finding::good("secrets", format!("{count}, root's alone; daemons have the same")));
    }
    Ok(findings)
}

fn folders_in(folder: &Path) -> anyhow::Result<Vec<std::path::PathBuf>> {
    Ok(paths_in(folder)?.into_iter().filter(|path| path.is_dir()).collect())
}

fn files_in(folder: &Path) -> anyhow::Result<Vec<std::path::PathBuf>> {
    Ok(paths_in(folder)?.into_iter().filter(|path| path.is_file()).collect())
}

/// What is in a folder, sorted; nothing when it is not there.
fn paths_in(folder: &Path) -> anyhow::Result<Vec<std::path::PathBuf>> {
    if !folder.exists() {
        return Ok(Vec::new());
    }
    let reading = || format!("reading {}", folder.display());
    let entries = std::fs::read_dir(folder).with_context(reading)?;
    let mut paths =
        entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>().with_context(reading)?;
    paths.sort();
    Ok(paths)
}

/// Certificates of this host, by how long they still hold.
async fn certificates(appliance: &Appliance) -> anyhow::Result<Vec<Finding>> {
    let mut findings = Vec::new();
    let is_certificate = |path: &std::path::PathBuf| path.extension().is_some_and(|end| end == "pem" || end == "crt");
    for path in files_in(appliance.folder())?.into_iter().filter(is_certificate) {
        let (file, seconds) = (path.to_string_lossy().into_owned(), (CERTIFICATE_DAYS * 86_400).to_string());
        let what = format!("certificate {file}");
        let end =
            ask(&["openssl", "x509", "-in", &file, "-noout", "-enddate", "-checkend", "0"], LIMIT, ANSWER_MAX).await;
        let soon = ask(&["openssl", "x509", "-in", &file, "-noout", "-checkend", &seconds], LIMIT, ANSWER_MAX).await;
        findings.push(match (end, soon) {
            (Ok(end), Ok(soon)) if end.text.starts_with("notAfter=") => {
                let until = end.text.lines().next().unwrap_or_default().trim_start_matches("notAfter=").to_owned();
                match (end.success, soon.success) {
                    (true, true) => Finding::good(&what, format!("holds until {until}")),
                    (true, false) => Finding::warning(&what, format!("holds until {until} only"), "renew it now"),
                    (false, _) => {
                        Finding::bad(&what, format!("expired {until}"), "renew it: nobody's browser takes it")
                    }
                }
            }
            (Ok(_), _) => {
                Finding::bad(&what, "cannot be read as a certificate", "put the certificate and its key there")
            }
            (Err(error), _) => Finding::warning(&what, format!("{error:#}"), "install openssl to look at it"),
        });
    }
    Ok(findings)
}

async fn packet_filter() -> Option<Finding> {
    let unit = Unit::of("firewall").await.ok()?;
    if !unit.at_boot.starts_with("enabled") {
        return None;
    }
    let table = ask(&["nft", "list", "table", "inet", "ringdown"], LIMIT, ANSWER_MAX).await;
    Some(match table {
        Ok(table) if table.success => Finding::good("packet filter", "its rules are there"),
        Ok(_) => {
            Finding::bad("packet filter", "has no rules: every port is open", "systemctl restart ringdown-firewall")
        }
        Err(error) => Finding::warning("packet filter", format!("{error:#}"), "install nftables"),
    })
}

/// What can be restored, in the words of the component itself.
async fn backup() -> Finding {
    let said = |text: &str| text.lines().map(str::trim).collect::<Vec<_>>().join("; ");
    match ask(&[BACKUP, "status"], BACKUP_LIMIT, ANSWER_MAX).await {
        Ok(answer) if answer.success => Finding::good("backup", said(&answer.text)),
        Ok(answer) => {
            let found = said(&format!("{}\n{}", answer.text.trim(), answer.errors.trim()));
            Finding::bad(
                "backup",
                found,
                "journalctl -u 'ringdown-backup*' says why; ringdown-backup run makes a copy now",
            )
        }
        Err(error) => Finding::bad("backup", format!("{error:#}"), AGAIN),
    }
}

/// Copies that go with the disk whose loss they are for.
fn place_of_copies() -> Option<Finding> {
    let text = std::fs::read_to_string(BACKUP_SETTINGS).ok()?;
    let folder = Path::new(text.lines().find_map(|line| line.strip_prefix("RINGDOWN_BACKUP_DIR="))?.trim());
    let device = |path: &Path| std::fs::metadata(path).map(|of| of.dev()).ok();
    let is_same = matches!((device(folder), device(Path::new(DATA))), (Some(copies), Some(data)) if copies == data);
    is_same.then(|| {
        Finding::warning(
            "backup: place",
            format!("{} is on the disk of the data: both are lost with it", folder.display()),
            "mount another machine's disk there, or name another place by RINGDOWN_BACKUP_DIR and run first boot again",
        )
    })
}

fn first_boot() -> Finding {
    if Path::new(DATA).join("first-boot.json").exists() {
        return Finding::good("first boot", "completed");
    }
    Finding::warning("first boot", "was not completed here (or Ansible set the host up)", AGAIN)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Verdict;
    use crate::packages::Kind;

    fn unit(state: &str) -> Unit {
        Unit {
            process: None,
            restarts: 0,
            state: state.to_owned(),
            result: "watchdog".to_owned(),
            at_boot: "enabled".to_owned(),
            stale: false,
        }
    }

    #[test]
    fn a_part_that_does_not_work_says_what_to_do() {
        let away = Health { ready: false, says: "waits for redis".to_owned(), version: None, drained: false };
        let ready = Health { ready: true, ..away.clone() };
        assert_eq!(running("acd", &unit("active"), &ready).verdict, Verdict::Good);
        let waits = running("acd", &unit("active"), &away);
        assert_eq!((waits.verdict, waits.found.as_str()), (Verdict::Bad, "waits for redis"));
        let failed = running("acd", &unit("failed"), &away);
        assert!(failed.found.contains("watchdog") && failed.advice.contains("systemctl restart ringdown-acd"));
        assert!(running("acd", &unit("inactive"), &away).advice.contains("systemctl start ringdown-acd"));
    }

    #[test]
    fn a_unit_that_is_not_as_it_should_be_is_named() {
        assert!(unit_findings("acd", &unit("active")).is_empty());
        let odd = Unit { restarts: RESTARTS_MAX, at_boot: "masked".to_owned(), stale: true, ..unit("active") };
        assert_eq!(unit_findings("acd", &odd).len(), 3);
    }

    #[test]
    fn versions_that_differ_are_an_unfinished_upgrade() {
        let packages = |pairs: &[(&str, &str)], half: &[&str]| Packages {
            kind: Kind::Deb,
            versions: pairs.iter().map(|(name, version)| ((*name).to_owned(), (*version).to_owned())).collect(),
            half: half.iter().map(|name| (*name).to_owned()).collect(),
        };
        let same = packages(&[("ringdown-base", "1.0.0-1"), ("ringdown-acd", "1.0.0-1")], &[]);
        assert_eq!(versions(Ok(same.clone())).verdict, Verdict::Good);
        let mixed = versions(Ok(packages(&[("ringdown-base", "1.1.0-1"), ("ringdown-acd", "1.0.0-1")], &[])));
        assert!(mixed.verdict == Verdict::Bad && mixed.advice.contains("dpkg --configure -a"));
        assert_eq!(versions(Ok(packages(&[], &["ringdown-acd"]))).verdict, Verdict::Bad);
        let old = Health { ready: true, says: String::new(), version: Some("0.9.0".to_owned()), drained: false };
        let found = replaced("acd", &unit("active"), &old, &same).unwrap();
        assert_eq!(found.found, "0.9.0 runs, 1.0.0 is installed");
    }

    #[test]
    fn the_places_of_a_peer_are_read_from_its_address() {
        let check = |url: &str, expected: &[&str]| assert_eq!(places(url, 5_432), expected, "{url}");
        check("postgres://ringdown@10.0.0.1/ringdown", &["10.0.0.1:5432"]);
        check("postgres://ringdown@10.0.0.1:5433,10.0.0.2/ringdown?x=y", &["10.0.0.1:5433", "10.0.0.2:5432"]);
        check("http://api.example:8000", &["api.example:8000"]);
        check("nonsense", &[]);
        check("http:///x", &[]);
    }

    #[tokio::test]
    async fn one_of_several_that_answers_is_enough_for_now() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let there = listener.local_addr().unwrap().to_string();
        // A port that nobody has: it was somebody's until now.
        let away = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let verdict = async |places: &[&String]| {
            peer("peer: postgresql", &places.iter().map(|place| (*place).clone()).collect::<Vec<_>>())
                .await
                .unwrap()
                .verdict
        };
        assert_eq!(verdict(&[&there]).await, Verdict::Good);
        assert_eq!(verdict(&[&away, &there]).await, Verdict::Warning);
        assert_eq!(verdict(&[&away]).await, Verdict::Bad);
        assert_eq!(verdict(&[]).await, Verdict::Bad);
    }
}

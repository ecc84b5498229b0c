//! What is in a support bundle: names of its files, and where each comes from.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::appliance::Appliance;
use crate::asked::ask;
use crate::installation::Installation;

use super::masked::Text;

const LIST_LIMIT: Duration = Duration::from_secs(10);
const LIST_MAX: usize = 256 * 1_024;
/// Most units whose journals are taken.
const UNITS_MAX: usize = 64;
/// Beginnings of their names.
const OURS: [&str; 4] = ["ringdown*", "haproxy*", "keepalived*", "prometheus*"];
/// Lines of one unit's journal; their bytes are bounded too.
const LINES_MAX: &str = "50000";

/// Where a piece comes from.
#[derive(Debug)]
pub(super) enum Source {
    Command(Vec<String>),
    File(PathBuf),
    Text(String),
    Status,
    Doctor,
}

/// A file of the bundle.
#[derive(Debug)]
pub(super) struct Piece {
    pub(super) name: String,
    pub(super) source: Source,
    pub(super) of: Text,
}

impl Piece {
    fn facts(name: &str, source: Source) -> Self {
        Self { name: name.to_owned(), source, of: Text::Facts }
    }

    fn log(name: impl Into<String>, source: Source) -> Self {
        Self { name: name.into(), source, of: Text::Log }
    }
}

/// Of every host.
const HOST: [(&str, &[&str]); 13] = [
    ("host/system", &["uname", "-a"]),
    ("host/distribution", &["cat", "/etc/os-release"]),
    ("host/uptime", &["uptime"]),
    ("host/memory", &["cat", "/proc/meminfo"]),
    ("host/pressure", &["sh", "-c", "for f in cpu io memory; do echo $f; cat /proc/pressure/$f; done"]),
    ("host/disks", &["df", "-hT"]),
    ("host/inodes", &["df", "-i"]),
    ("host/mounts", &["cat", "/proc/self/mounts"]),
    ("host/addresses", &["ip", "address"]),
    ("host/routes", &["ip", "route"]),
    ("host/sockets", &["ss", "-lntup"]),
    ("host/clock", &["timedatectl", "show"]),
    ("host/processes", &["ps", "-eo", "pid,ppid,user:20,rss,pcpu,etimes,stat,comm", "--sort=-rss"]),
];
/// Of a host that was set up by packages.
const PACKAGED: [(&str, &[&str]); 7] = [
    ("versions/systemd", &["systemctl", "--version"]),
    ("units/all", &["systemctl", "list-units", "--all", "--no-pager", "ringdown*", "haproxy*", "keepalived*"]),
    (
        "units/state",
        &[
            "systemctl",
            "show",
            "--no-pager",
            "ringdown*",
            "--property=Id,ActiveState,SubState,Result,NRestarts,MainPID,ExecMainStartTimestamp,MemoryCurrent,TasksCurrent,UnitFileState,NeedDaemonReload,DropInPaths",
        ],
    ),
    ("units/failed", &["systemctl", "--failed", "--no-pager"]),
    ("units/timers", &["systemctl", "list-timers", "--all", "--no-pager", "ringdown*"]),
    ("host/packet-filter", &["nft", "list", "table", "inet", "ringdown"]),
    ("configuration/list", &["find", "/etc/ringdown", "-printf", "%M %u:%g %8s %TY-%Tm-%TdT%TH:%TM %p\n"]),
];
const DEBS: &[&str] = &["dpkg-query", "-W", "-f", "${db:Status-Abbrev} ${Package} ${Version}\n"];
const RPMS: &[&str] = &["rpm", "-qa", "--qf", "%{NAME} %{VERSION}-%{RELEASE}\n"];
/// Questions to PostgreSQL whose answers name nobody: sizes, counts, states.
const SQL: &str = "SELECT version();
SELECT datname, pg_size_pretty(pg_database_size(datname)) AS size FROM pg_database;
SELECT relname, n_live_tup, n_dead_tup, last_autovacuum, last_autoanalyze FROM pg_stat_user_tables ORDER BY n_live_tup DESC;
SELECT state, wait_event_type, count(*), max(now() - state_change) AS longest FROM pg_stat_activity GROUP BY 1, 2;
SELECT application_name, client_addr, state, sync_state, write_lag, flush_lag, replay_lag FROM pg_stat_replication;
SELECT pg_is_in_recovery(), pg_last_xact_replay_timestamp();
SELECT name, setting FROM pg_settings WHERE source = 'configuration file' AND name NOT LIKE '%conninfo%';
SELECT version, name, applied_on FROM refinery_schema_history ORDER BY version DESC LIMIT 20;";

pub(super) async fn of_appliance(appliance: &Appliance, hours: u32) -> anyhow::Result<Vec<Piece>> {
    let mut pieces = of_every_host();
    pieces.extend(PACKAGED.iter().map(|(name, words)| Piece::facts(name, command(words))));
    let packages = if Path::new("/var/lib/dpkg/status").exists() { DEBS } else { RPMS };
    pieces.push(Piece::facts("versions/packages", command(packages)));
    for file in appliance.files()? {
        let name = format!("configuration{}", file.display());
        pieces.push(Piece { name, source: Source::File(file), of: Text::Settings });
    }
    for (name, file) in [
        ("first-boot.json", "/var/lib/ringdown/first-boot.json"),
        ("first-boot.log", "/var/log/ringdown/first-boot.log"),
    ] {
        if Path::new(file).exists() {
            pieces.push(Piece::log(name, Source::File(PathBuf::from(file))));
        }
    }
    pieces.push(Piece::facts("redis", Source::Text(redis_facts(appliance).await)));
    if appliance.has("postgresql") {
        pieces.push(Piece::facts("postgresql", command(&postgresql_words())));
    }
    if appliance.has("backup") {
        pieces.push(Piece::facts("backup", command(&["/usr/sbin/ringdown-backup", "status"])));
    }
    let since = format!("-{hours}h");
    for unit in units().await? {
        let words = [
            "journalctl",
            "--no-pager",
            "--quiet",
            "--output=short-iso-precise",
            "--priority=info",
            "--lines",
            LINES_MAX,
        ];
        let words = [&words[..], &["--since", &since, "--unit", &unit]].concat();
        pieces.push(Piece::log(format!("journal/{unit}"), command(&words)));
    }
    let kernel =
        ["journalctl", "--no-pager", "--quiet", "--dmesg", "--priority=warning", "--lines", "2000", "--since", &since];
    pieces.push(Piece::log("journal/kernel", command(&kernel)));
    Ok(pieces)
}

pub(super) fn of_installation(installation: &Installation) -> Vec<Piece> {
    let mut pieces = of_every_host();
    for name in ["installation.json", "run/children.json"] {
        pieces.push(Piece::facts(name, Source::File(installation.join(name))));
    }
    let list = installation.folder().to_string_lossy().into_owned();
    pieces.push(Piece::facts("files", command(&["find", &list, "-maxdepth", "2", "-printf", "%M %u:%g %8s %p\n"])));
    pieces.push(Piece::log("log", Source::File(installation.log_file())));
    pieces
}

fn of_every_host() -> Vec<Piece> {
    let mut pieces = vec![
        Piece::facts("versions/ringdown", Source::Text(format!("ringdown {}\n", env!("CARGO_PKG_VERSION")))),
        Piece::facts("status.json", Source::Status),
        Piece::facts("doctor.json", Source::Doctor),
    ];
    pieces.extend(HOST.iter().map(|(name, words)| Piece::facts(name, command(words))));
    pieces
}

fn command(words: &[&str]) -> Source {
    Source::Command(words.iter().map(|word| (*word).to_owned()).collect())
}

/// Units of ours and of what serves us: those systemd knows, and those that only their journals tell of any more.
async fn units() -> anyhow::Result<Vec<String>> {
    let known = ["systemctl", "list-units", "--all", "--plain", "--no-legend", "--no-pager"];
    let known = ask(&[&known[..], &OURS].concat(), LIST_LIMIT, LIST_MAX).await?.text;
    let told = ask(&["journalctl", "--quiet", "--field=_SYSTEMD_UNIT"], LIST_LIMIT, LIST_MAX).await?.text;
    let is_ours = |name: &str| OURS.iter().any(|ours| name.starts_with(ours.trim_end_matches('*')));
    let is_plain = |name: &str| name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.@".contains(c));
    let names = known.lines().chain(told.lines()).filter_map(|line| line.split_whitespace().next());
    let names: BTreeSet<_> = names.filter(|name| is_ours(name) && is_plain(name)).collect();
    Ok(names.into_iter().take(UNITS_MAX).map(str::to_owned).collect())
}

/// Figures of the Redis this host uses; no key is named and no value read.
async fn redis_facts(appliance: &Appliance) -> String {
    let asked = async {
        let mut connection = crate::health::redis_of_appliance(appliance, &appliance.redis_url()?).await?;
        let info: String = redis::cmd("INFO").arg("everything").query_async(&mut connection).await?;
        let keys: u64 = redis::cmd("DBSIZE").query_async(&mut connection).await?;
        let tenants: u64 =
            redis::cmd("SCARD").arg(ringdown_redis_store::keys::TENANTS).query_async(&mut connection).await?;
        anyhow::Ok(format!("keys {keys}\ntenants {tenants}\n{info}"))
    };
    match tokio::time::timeout(LIST_LIMIT, asked).await {
        Ok(Ok(text)) => text,
        Ok(Err(error)) => format!("could not be had: {error:#}\n"),
        Err(_) => format!("could not be had: no answer in {LIST_LIMIT:?}\n"),
    }
}

/// As the server's own user, over its socket: no password is needed.
fn postgresql_words() -> Vec<&'static str> {
    let mut words = vec!["setpriv", "--reuid", "postgres", "--regid", "postgres", "--init-groups", "--", "psql", "-X"];
    words.extend(["-h", "/run/ringdown-postgresql", "-U", "postgres", "-d", "ringdown"]);
    for line in SQL.lines() {
        words.extend(["-c", line]);
    }
    words
}

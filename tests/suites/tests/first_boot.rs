//! `first-boot`: the README's first command, exactly as written, turns a host without systemd into a Ringdown: on a real address
//! and the default ports, a call is answered, a second run changes nothing, dead parts come back, and the end leaves no process
//! behind.
//!
//! The host is this machine in a private view: a network of its own with one address that is not loopback, and own folders where
//! the installer puts things. Needs root, as the installer does. Steps are in one test because each begins where the one before
//! ended.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use anyhow::{Context, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use ringdown_suites::readme;
use ringdown_test_support::{Folder, wait_until};
use serde_json::Value;
use tokio::process::{Child, Command};

/// With a build from nothing; in `tests/run` everything is compiled already.
const INSTALL_LIMIT: Duration = Duration::from_secs(900);
const COMMAND_LIMIT: Duration = Duration::from_secs(120);
/// The host's address on eth0 (RFC 5737: documentation).
const ADDRESS: &str = "198.51.100.10";
/// Where the installer puts things.
const DATA: &str = "/var/lib/ringdown";
const PROGRAMS: &str = "/opt/ringdown";

/// Makes the private view, and keeps it until its standard input ends. What hides systemd makes a machine that runs it a host without.
const VIEW: &str = r#"
    folder=$1 address=$2
    shift 2
    for place; do
        mkdir -p "$folder$place" "$place"
        mount --bind "$folder$place" "$place"
    done
    [ ! -d /run/systemd ] || mount -t tmpfs none /run/systemd
    ip link set lo up
    ip link add eth0 type veth peer name wire
    ip addr add "$address/24" dev eth0
    ip link set eth0 up
    ip link set wire up
    ip route add default via "${address%.*}.1" dev eth0
    echo made
    exec cat
"#;

struct Installation {
    folder: Folder,
    view: Child,
}

impl Drop for Installation {
    /// A failed test leaves nothing running either.
    fn drop(&mut self) {
        for (id, _) in self.processes().unwrap_or_default() {
            // One that has ended meanwhile is what is wanted.
            kill(Pid::from_raw(id), Signal::SIGKILL).unwrap_or_default();
        }
    }
}

impl Installation {
    /// A host without Ringdown.
    async fn new() -> anyhow::Result<Self> {
        let folder = Folder::new("first-boot")?;
        let mut command = Command::new("unshare");
        command.args(["--mount", "--net", "--propagation", "private", "sh", "-euc", VIEW, "view"]);
        command.arg(folder.path()).args([ADDRESS, DATA, PROGRAMS, "/usr/local/bin"]);
        // Where Asterisk's root is one of its own, installations have folders in it.
        command.args(std::env::var("RINGDOWN_ASTERISK_ROOT").ok().filter(|root| root != "/").map(|root| root + "/srv"));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut view = command.spawn().context("making the private view")?;
        let mut said = [0; 5];
        let output = view.stdout.as_mut().context("its output is ours")?;
        tokio::io::AsyncReadExt::read_exact(output, &mut said).await.context("the private view was not made")?;
        ensure!(&said == b"made\n", "the private view says {said:?}");
        Ok(Self { folder, view })
    }

    /// The host's data folder, as seen from outside.
    fn data(&self) -> PathBuf {
        self.folder.join(DATA.trim_start_matches('/'))
    }

    /// A command in the private view.
    fn inside(&self, program: &str) -> anyhow::Result<Command> {
        let id = self.view.id().context("the private view has ended")?;
        let mut command = Command::new("nsenter");
        command.args(["--target", &id.to_string(), "--mount", "--net", "--", program]);
        Ok(command)
    }

    /// Runs the README's first command at the top of the checkout; gives what it said.
    async fn install(&self) -> anyhow::Result<String> {
        let top = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).context("suites lie in tests/suites")?;
        let line = readme::commands("Two commands")?.swap_remove(0);
        // Root needs no sudo, and a container has none.
        let line = line.strip_prefix("sudo ").unwrap_or(&line);
        let mut command = self.inside("sh")?;
        command.args(["-euc", &format!("cd \"$0\" && {line}")]).arg(top);
        let output = run(command, INSTALL_LIMIT).await.context("the installer")?;
        let said = format!("{}{}", text(&output.stdout), text(&output.stderr));
        ensure!(output.status.success(), "the installer ended with {}:\n{said}", output.status);
        Ok(said)
    }

    async fn ringdown(&self, arguments: &[&str]) -> anyhow::Result<Output> {
        let mut command = self.inside("ringdown")?;
        command.args(arguments);
        run(command, COMMAND_LIMIT).await.with_context(|| format!("ringdown {}", arguments.join(" ")))
    }

    /// What runs in the private view, beside what keeps it: process ids and command lines.
    fn processes(&self) -> anyhow::Result<Vec<(i32, String)>> {
        let keeper = i32::try_from(self.view.id().context("the private view has ended")?)?;
        let network = |id: i32| std::fs::read_link(format!("/proc/{id}/ns/net")).ok();
        let ours = network(keeper).context("the private view has no network")?;
        let entries = std::fs::read_dir("/proc").context("reading /proc")?.flatten();
        let ids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
        let inside = ids.filter(|id| *id != keeper && network(*id).as_ref() == Some(&ours));
        Ok(inside.filter_map(|id| Some((id, text(&std::fs::read(format!("/proc/{id}/cmdline")).ok()?)))).collect())
    }

    /// Each part's process id; an error when a part is not healthy.
    async fn healthy_processes(&self) -> anyhow::Result<BTreeMap<String, i32>> {
        let output = self.ringdown(&["status", "--json"]).await?;
        ensure!(output.status.success(), "not healthy: {}", text(&output.stdout));
        let parts: Vec<Value> = serde_json::from_slice(&output.stdout).context("reading the status")?;
        let processes = parts.iter().map(|part| {
            let id = part["process"].as_i64().and_then(|id| i32::try_from(id).ok());
            Some((part["name"].as_str()?.to_owned(), id?))
        });
        processes.collect::<Option<_>>().context("a part has no process")
    }
}

async fn run(mut command: Command, limit: Duration) -> anyhow::Result<Output> {
    command.stdin(Stdio::null()).kill_on_drop(true);
    tokio::time::timeout(limit, command.output()).await.context("took too long")?.context("starting it")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn lives(id: i32) -> bool {
    kill(Pid::from_raw(id), None).is_ok()
}

/// The value of a row of a printed table.
fn row<'a>(table: &'a str, name: &str) -> &'a str {
    let line = table.lines().find(|line| line.contains(name)).unwrap_or_default();
    line.rsplit(['┆', '│']).map(str::trim).find(|cell| !cell.is_empty()).unwrap_or_default()
}

fn password(said: &str) -> Option<&str> {
    said.lines().find_map(|line| line.split("password ").nth(1)?.split_whitespace().next())
}

/// Every file below a folder that holds `needle`.
fn files_with(folder: &Path, needle: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let kind = entry.file_type().expect("a file of ours can be looked at");
        if kind.is_dir() {
            found.extend(files_with(&path, needle));
        } else if kind.is_file() && std::fs::read(&path).is_ok_and(|bytes| text(&bytes).contains(needle)) {
            found.push(path);
        }
    }
    found
}

#[tokio::test]
async fn a_host_is_installed_takes_a_call_and_is_left_clean() -> anyhow::Result<()> {
    ensure!(nix::unistd::geteuid().is_root(), "the installer needs root, and so does its test: run tests/run as root");
    let installation = Installation::new().await?;

    let said = installation.install().await?;
    assert_eq!(row(&said, "calls with tone heard on both sides"), "1", "{said}");
    assert_eq!((row(&said, "answered"), row(&said, " lost ")), ("1", "0"), "{said}");
    assert!(said.contains("connected with Agent 0"), "{said}");
    let password = password(&said).context("the administrator's password is shown")?;
    assert_eq!(said.matches(password).count(), 1, "once");
    assert_eq!(files_with(&installation.data(), password), Vec::<PathBuf>::new(), "nowhere but on the screen");
    let first = installation.healthy_processes().await?;
    assert_eq!(first.len(), 8, "{first:?}");

    assert!(said.contains(&format!("http://{ADDRESS}")) || said.contains(ADDRESS), "its address is told: {said}");

    let again = installation.install().await?;
    assert!(again.contains("nothing was changed"), "{again}");
    assert!(!again.contains("password"), "{again}");
    assert_eq!(installation.healthy_processes().await?, first, "no process was touched");

    dead_parts_come_back(&installation, &first).await?;
    interactions_and_their_stories(&installation).await?;
    a_killed_supervisor_leaves_nothing(&installation).await?;

    let down = installation.ringdown(&["down"]).await?;
    assert!(down.status.success(), "{}", text(&down.stderr));
    assert_eq!(installation.processes()?, Vec::new());
    let down = installation.ringdown(&["down"]).await?;
    assert!(text(&down.stdout).contains("nothing runs"), "{}", text(&down.stdout));
    Ok(())
}

/// The supervisor starts them again, and they recover by themselves.
async fn dead_parts_come_back(installation: &Installation, before: &BTreeMap<String, i32>) -> anyhow::Result<()> {
    for part in ["acd", "redis", "asterisk"] {
        kill(Pid::from_raw(before[part]), Signal::SIGKILL).context("killing a part")?;
        let other = async || installation.healthy_processes().await.ok().filter(|now| now[part] != before[part]);
        wait_until(Duration::from_secs(30), &format!("{part} comes back"), other).await;
    }
    Ok(())
}

async fn interactions_and_their_stories(installation: &Installation) -> anyhow::Result<()> {
    let arguments = [
        "sim",
        "interactions",
        "--agents",
        "6",
        "--interactions",
        "30",
        "--rate",
        "20",
        "--handling-ms",
        "300",
        "--keep",
    ];
    let sim = installation.ringdown(&arguments).await?;
    let table = text(&sim.stdout);
    assert!(sim.status.success(), "{table}{}", text(&sim.stderr));
    assert_eq!((row(&table, "offered"), row(&table, "answered"), row(&table, " lost ")), ("30", "30", "0"), "{table}");
    let doctor = installation.ringdown(&["doctor"]).await?;
    assert!(doctor.status.success(), "{}", text(&doctor.stdout));
    let nobody = installation.ringdown(&["explain", "01a00000-0000-7000-8000-000000000000"]).await?;
    assert!(!nobody.status.success() && text(&nobody.stderr).contains("no tenant has"), "{}", text(&nobody.stderr));
    Ok(())
}

async fn a_killed_supervisor_leaves_nothing(installation: &Installation) -> anyhow::Result<()> {
    let processes = installation.healthy_processes().await?;
    let lock = std::fs::read_to_string(installation.data().join("run/supervisor.lock")).context("reading the lock")?;
    let supervisor: i32 = lock.trim().parse().context("the lock names its holder")?;
    kill(Pid::from_raw(supervisor), Signal::SIGKILL).context("killing the supervisor")?;
    let gone = async || (!processes.values().any(|id| lives(*id))).then_some(());
    wait_until(Duration::from_secs(10), "the children of a killed supervisor end", gone).await;
    let up = installation.ringdown(&["up", "--detach"]).await?;
    assert!(up.status.success(), "{}{}", text(&up.stdout), text(&up.stderr));
    installation.healthy_processes().await.map(drop)
}

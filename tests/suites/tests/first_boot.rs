//! `first-boot`: the installer turns this host into a Ringdown (in folders and on ports of its own), a call is answered, a
//! second run changes nothing, dead parts come back, and the end leaves no process behind.
//!
//! Needs root, as the installer does. Steps are in one test because each begins where the one before ended.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use anyhow::{Context, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use ringdown_test_support::{Folder, wait_until};
use serde_json::Value;
use tokio::process::Command;

/// With a build from nothing; in `tests/run` everything is compiled already.
const INSTALL_LIMIT: Duration = Duration::from_secs(540);
const COMMAND_LIMIT: Duration = Duration::from_secs(120);

struct Installation {
    folder: Folder,
}

impl Installation {
    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// Runs the installer; gives what it said.
    async fn install(&self) -> anyhow::Result<String> {
        let top = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).context("suites lie in tests/suites")?;
        let mut command = Command::new(top.join("provisioning/first_boot_installer"));
        command.arg("--data").arg(self.data()).arg("--prefix").arg(self.folder.join("prefix"));
        command.args(["--", "--ports", "free", "--address", "127.0.0.1"]);
        let output = run(command, INSTALL_LIMIT).await.context("the installer")?;
        let said = format!("{}{}", text(&output.stdout), text(&output.stderr));
        ensure!(output.status.success(), "the installer ended with {}:\n{said}", output.status);
        Ok(said)
    }

    async fn ringdown(&self, arguments: &[&str]) -> anyhow::Result<Output> {
        let mut command = Command::new(self.folder.join("prefix/bin/ringdown"));
        command.arg("--data").arg(self.data()).args(arguments);
        run(command, COMMAND_LIMIT).await.with_context(|| format!("ringdown {}", arguments.join(" ")))
    }

    /// Removes the instance's folder from Asterisk's root, where it lies when that root is one of its own.
    fn remove_asterisk(&self) -> anyhow::Result<()> {
        let name = self.data().to_string_lossy().trim_matches('/').replace('/', "-");
        let root = std::env::var_os("RINGDOWN_ASTERISK_ROOT").map_or_else(|| PathBuf::from("/"), PathBuf::from);
        let folder = root.join("srv").join(name);
        if folder.is_dir() { std::fs::remove_dir_all(folder).context("removing Asterisk's folder") } else { Ok(()) }
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

/// Processes whose arguments name the installation's folder.
fn processes_of(folder: &Path) -> Vec<String> {
    let name = folder.to_string_lossy().into_owned();
    let entries = std::fs::read_dir("/proc").expect("/proc is mounted").flatten();
    let ids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let own = std::process::id();
    ids.filter(|id| *id != own)
        .filter_map(|id| std::fs::read(format!("/proc/{id}/cmdline")).ok())
        .map(|line| text(&line).replace('\0', " "))
        .filter(|line| line.contains(&name))
        .collect()
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
    let installation = Installation { folder: Folder::new("first-boot")? };

    let said = installation.install().await?;
    assert_eq!(row(&said, "calls with tone heard on both sides"), "1", "{said}");
    assert_eq!((row(&said, "answered"), row(&said, " lost ")), ("1", "0"), "{said}");
    assert!(said.contains("connected with Agent 0"), "{said}");
    let password = password(&said).context("the administrator's password is shown")?;
    assert_eq!(said.matches(password).count(), 1, "once");
    assert_eq!(files_with(&installation.data(), password), Vec::<PathBuf>::new(), "nowhere but on the screen");
    let first = installation.healthy_processes().await?;
    assert_eq!(first.len(), 8, "{first:?}");

    let again = installation.install().await?;
    assert!(again.contains("nothing was changed"), "{again}");
    assert!(!again.contains("password"), "{again}");
    assert_eq!(installation.healthy_processes().await?, first, "no process was touched");

    dead_parts_come_back(&installation, &first).await?;
    interactions_and_their_stories(&installation).await?;
    a_killed_supervisor_leaves_nothing(&installation).await?;

    let down = installation.ringdown(&["down"]).await?;
    assert!(down.status.success(), "{}", text(&down.stderr));
    assert_eq!(processes_of(&installation.data()), Vec::<String>::new());
    let down = installation.ringdown(&["down"]).await?;
    assert!(text(&down.stdout).contains("nothing runs"), "{}", text(&down.stdout));
    installation.remove_asterisk()
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

//! What holds on a host with packages, whichever kind they are of.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use ringdown_appliance::fleet::{Fleet, Host, checkout, wait_for};
use ringdown_appliance::packages::{build, flip_a_bit, next_checkout, one_file};

pub(crate) const BOOT_LIMIT: Duration = Duration::from_secs(60);
pub(crate) const INSTALL_LIMIT: Duration = Duration::from_secs(120);
/// WatchdogSec=10, the core dump's end, a restart.
const WATCHDOG_LIMIT: Duration = Duration::from_secs(40);
/// The version after the workspace's own.
pub(crate) const NEXT: &str = "99.0.0";
/// Most exposure a daemon may have, as `systemd-analyze security` counts.
const EXPOSURE_MAX: f64 = 2.0;
/// What an administrator wrote into acd's file.
const EDIT: &str = "\nRINGDOWN_ACD_DUTIES=router\n";
/// What runs on the host, and whether the next version changes it: acd's unit, the notifier's file, of the provisioner nothing.
const RUNNING: [(&str, bool); 3] = [("acd", true), ("notifier", true), ("provisioner", false)];

/// The workspace's version.
pub(crate) fn version() -> &'static str {
    env!("CARGO_PKG_VERSION")
}

/// Both versions of one kind of packages: `<folder>/now/<kind>` and `<folder>/next/<kind>`.
pub(crate) fn both_versions(fleet: &Fleet, kind: &str) -> anyhow::Result<PathBuf> {
    let folder = fleet.folder("packages")?;
    build(&checkout(), &folder.join("now"), &[kind])?;
    let next = next_checkout(&fleet.folder("next-checkout")?)?;
    build(&next, &folder.join("next"), &["--version", NEXT, kind])?;
    Ok(folder)
}

/// Copies of the next version that nobody may install: `flipped` with a bit flipped in a package, `unsigned` without the
/// repository's signature, `foreign` for the caller to sign by somebody else.
pub(crate) fn tampered(folder: &Path, kind: &str, package: &str, signature: &str) -> anyhow::Result<()> {
    for name in ["flipped", "foreign", "unsigned"] {
        let copy = folder.join(name);
        std::fs::create_dir_all(&copy)?;
        let from = folder.join("next").join(kind);
        ringdown_appliance::packages::here(&["cp", "-a", &from.to_string_lossy(), &copy.to_string_lossy()])?
            .success()?;
    }
    flip_a_bit(&one_file(&folder.join("flipped").join(kind), package)?)?;
    std::fs::remove_file(folder.join("unsigned").join(kind).join(signature)).context("removing a signature")
}

/// How often a unit was started, by the journal.
fn starts(host: &Host, unit: &str) -> anyhow::Result<usize> {
    let said = host.run(&["journalctl", "--no-pager", "--quiet", "-o", "cat", "-u", unit])?.success()?;
    Ok(said.lines().filter(|line| line.starts_with("Started ")).count())
}

pub(crate) fn state(host: &Host, unit: &str) -> anyhow::Result<String> {
    Ok(host.run(&["systemctl", "is-active", unit])?.stdout.trim().to_owned())
}

pub(crate) fn mode(host: &Host, path: &str) -> anyhow::Result<String> {
    Ok(host.sh(&format!("stat -c '%a %U:%G' {path}"))?.trim().to_owned())
}

pub(crate) fn assert_installed(host: &Host, daemons: &[String]) -> anyhow::Result<()> {
    for daemon in daemons {
        let (unit, user) = (format!("ringdown-{daemon}.service"), format!("ringdown-{daemon}"));
        let groups = host.sh(&format!("id -nG {user}"))?;
        assert!(groups.split_whitespace().any(|group| group == "ringdown"), "{user} is in {groups}");
        assert_eq!(mode(host, &format!("/etc/ringdown/{daemon}.env"))?, "640 root:ringdown");
        assert_eq!(mode(host, &format!("/etc/ringdown/credentials/{daemon}"))?, "700 root:root");
        assert_eq!(state(host, &unit)?, "inactive", "installing starts nothing");
        assert_eq!(host.run(&["systemctl", "is-enabled", &unit])?.stdout.trim(), "disabled");
    }
    assert_eq!(mode(host, "/etc/ringdown")?, "750 root:ringdown");
    assert_eq!(mode(host, "/etc/ringdown/credentials")?, "700 root:root");
    host.sh(
        "ringdown --version && systemd-analyze verify ringdown.target $(ls /usr/lib/systemd/system/ringdown-*.service)",
    )?;
    Ok(())
}

/// A router with a changed configuration, a notifier with a credential and a provisioner run; a registrar is stopped.
pub(crate) fn use_it(host: &Host) -> anyhow::Result<()> {
    host.sh("echo RINGDOWN_ACD_DUTIES=router >>/etc/ringdown/acd.env")?;
    host.put("/etc/ringdown/credentials/notifier/REDIS_PASSWORD", b"of-the-notifier-only", 0o600)?;
    give_what_must_be_there(host)?;
    for (daemon, _) in RUNNING {
        let unit = format!("ringdown-{daemon}");
        host.run_for(INSTALL_LIMIT, &["systemctl", "start", &unit])?.success().with_context(|| host.journal(40))?;
        assert_eq!(state(host, &unit)?, "active", "it waits for Redis in peace");
        let pid = host.main_pid(&unit)?;
        assert_eq!(host.sh(&format!("ps -o user:32= -p {pid}"))?.trim(), unit);
    }
    let notifier = host.main_pid("ringdown-notifier")?;
    assert_eq!(mode(host, "/var/lib/ringdown/acd")?, "750 ringdown-acd:ringdown");
    let arguments =
        host.sh(&format!("tr '\\0' ' ' </proc/{notifier}/cmdline; tr '\\0' ' ' </proc/{notifier}/environ"))?;
    assert!(!arguments.contains("of-the-notifier-only"), "a credential is neither argument nor variable");
    Ok(())
}

/// The one secret without which two daemons do not start: first boot makes it.
pub(crate) fn give_what_must_be_there(host: &Host) -> anyhow::Result<()> {
    for daemon in ["acd", "provisioner"] {
        host.put(&format!("/etc/ringdown/credentials/{daemon}/ARI_PASSWORD"), b"of-these-two-only", 0o600)?;
    }
    Ok(())
}

/// Runs a step that changes versions: what changed and ran was started anew once, what did not change went on, what was
/// stopped still is.
pub(crate) fn assert_restarts_what_changed(
    host: &Host,
    step: impl FnOnce() -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let seen = |daemon: &str| {
        let unit = format!("ringdown-{daemon}");
        anyhow::Ok((host.main_pid(&unit)?, starts(host, &unit)?))
    };
    let before = RUNNING.map(|(daemon, _)| seen(daemon));
    step()?;
    for ((daemon, changes), before) in RUNNING.into_iter().zip(before) {
        let ((pid, started), (pid_before, started_before)) = (seen(daemon)?, before?);
        assert_eq!(state(host, &format!("ringdown-{daemon}"))?, "active", "{daemon}: {}", host.journal(40));
        assert_eq!(pid != pid_before, changes, "{daemon}: a new process where something changed, and only there");
        assert_eq!(started, started_before + usize::from(changes), "{daemon}: once: {}", host.journal(60));
    }
    assert_eq!(state(host, "ringdown-registrar")?, "inactive", "what was stopped stays stopped");
    assert_eq!(starts(host, "ringdown-registrar")?, 0);
    assert!(host.get("/etc/ringdown/acd.env")?.ends_with(EDIT), "the edit is kept");
    Ok(())
}

/// What stays when packages are removed.
pub(crate) fn assert_removed(host: &Host, settings: &str) -> anyhow::Result<()> {
    for (daemon, _) in RUNNING {
        assert_eq!(state(host, &format!("ringdown-{daemon}"))?, "inactive");
        assert_eq!(host.run(&["pgrep", "-x", &format!("ringdown-{daemon}")])?.stdout, "", "it was stopped");
        host.sh(&format!("test ! -e /usr/bin/ringdown-{daemon}"))?;
    }
    assert!(host.get(settings)?.ends_with(EDIT), "removing keeps settings");
    host.sh("test -d /var/lib/ringdown/acd && systemctl daemon-reload")?;
    Ok(())
}

fn exposure(host: &Host, unit: &str) -> anyhow::Result<f64> {
    let said = host.run(&["systemd-analyze", "security", "--no-pager", unit])?.stdout;
    let line = said.lines().find(|line| line.contains("Overall exposure level")).context(said.clone())?;
    let level = line.split_whitespace().find_map(|word| word.parse().ok());
    level.with_context(|| format!("no number in {line}"))
}

pub(crate) fn assert_sandboxed(host: &Host, daemons: &[String]) -> anyhow::Result<()> {
    for daemon in daemons {
        let level = exposure(host, &format!("ringdown-{daemon}.service"))?;
        println!("appliance_packages_exposure_{} {level:.1} points", daemon.replace('-', "_"));
        assert!(level < EXPOSURE_MAX, "{daemon}: {level}");
    }
    Ok(())
}

/// Stops a daemon's process in its tracks; gives its id.
pub(crate) fn hang(host: &Host, daemon: &str) -> anyhow::Result<u32> {
    let pid = host.main_pid(&format!("ringdown-{daemon}"))?;
    host.sh(&format!("kill -STOP {pid}"))?;
    Ok(pid)
}

/// The watchdog has killed a hung process, and systemd has started another.
pub(crate) fn assert_revived(host: &Host, daemon: &str, hung: u32) -> anyhow::Result<()> {
    let unit = format!("ringdown-{daemon}");
    wait_for(WATCHDOG_LIMIT, &format!("the watchdog replaces a hung {daemon}"), || {
        let pid = host.main_pid(&unit).ok()?;
        (pid != 0 && pid != hung && state(host, &unit).ok()? == "active").then_some(())
    })?;
    let said = host.sh(&format!("journalctl --no-pager -o cat -u {unit}"))?;
    assert!(said.contains("Watchdog timeout"), "{said}");
    Ok(())
}

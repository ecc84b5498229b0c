//! `appliance-packages`: both kinds of packages, from their building to their removal, and what their units promise.

#![expect(clippy::print_stdout, reason = "figures are what a suite is run for")]

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use ringdown_appliance::fleet::{Fleet, Host, Ran, checkout, wait_for};
use ringdown_appliance::packages::{build, flip_a_bit, foreign_key, here, next_checkout, one_file};

const DAEMONS: [&str; 5] = ["web-api", "acd", "notifier", "registrar", "provisioner"];
const BOOT_LIMIT: Duration = Duration::from_secs(60);
const INSTALL_LIMIT: Duration = Duration::from_secs(120);
/// WatchdogSec=10, the core dump's end, a restart.
const WATCHDOG_LIMIT: Duration = Duration::from_secs(40);
/// The version after the workspace's own.
const NEXT: &str = "99.0.0";
/// Most exposure a daemon may have, as `systemd-analyze security` counts.
const EXPOSURE_MAX: f64 = 2.0;

/// Both versions of one kind of packages: `<folder>/now/<kind>` and `<folder>/next/<kind>`.
fn both_versions(fleet: &Fleet, kind: &str) -> anyhow::Result<PathBuf> {
    let folder = fleet.folder("packages")?;
    build(&checkout(), &folder.join("now"), &[kind])?;
    let next = next_checkout(&fleet.folder("next-checkout")?)?;
    build(&next, &folder.join("next"), &["--version", NEXT, kind])?;
    Ok(folder)
}

fn version() -> &'static str {
    env!("CARGO_PKG_VERSION")
}

/// How often a unit was started, by the journal.
fn starts(host: &Host, unit: &str) -> anyhow::Result<usize> {
    let said = host.run(&["journalctl", "--no-pager", "--quiet", "-o", "cat", "-u", unit])?.success()?;
    Ok(said.lines().filter(|line| line.starts_with("Started ")).count())
}

fn state(host: &Host, unit: &str) -> anyhow::Result<String> {
    Ok(host.run(&["systemctl", "is-active", unit])?.stdout.trim().to_owned())
}

/// What every host with packages has, whichever kind they are of.
fn assert_installed(host: &Host, daemons: &[&str]) -> anyhow::Result<()> {
    for daemon in daemons {
        let (unit, user) = (format!("ringdown-{daemon}.service"), format!("ringdown-{daemon}"));
        assert_eq!(host.sh(&format!("id -nG {user}"))?.trim().contains("ringdown"), true, "{user}");
        assert_eq!(mode(host, &format!("/etc/ringdown/{daemon}.env"))?, "640 root:ringdown");
        assert_eq!(mode(host, &format!("/etc/ringdown/credentials/{daemon}"))?, "700 root:root");
        assert_eq!(state(host, &unit)?, "inactive", "installing starts nothing");
        assert_eq!(host.run(&["systemctl", "is-enabled", &unit])?.stdout.trim(), "disabled");
    }
    assert_eq!(mode(host, "/etc/ringdown")?, "750 root:ringdown");
    assert_eq!(mode(host, "/etc/ringdown/credentials")?, "700 root:root");
    Ok(())
}

fn mode(host: &Host, path: &str) -> anyhow::Result<String> {
    Ok(host.sh(&format!("stat -c '%a %U:%G' {path}"))?.trim().to_owned())
}

/// A router that runs with a changed configuration, a notifier with a credential, and a registrar that is stopped.
fn use_it(host: &Host) -> anyhow::Result<()> {
    host.sh("echo RINGDOWN_ACD_DUTIES=router >>/etc/ringdown/acd.env")?;
    host.put("/etc/ringdown/credentials/notifier/REDIS_PASSWORD", b"of-the-notifier-only", 0o600)?;
    host.run_for(INSTALL_LIMIT, &["systemctl", "start", "ringdown-acd", "ringdown-notifier"])?.success()?;
    for daemon in ["acd", "notifier"] {
        assert_eq!(state(host, &format!("ringdown-{daemon}"))?, "active", "it waits for Redis in peace");
        let pid = host.main_pid(&format!("ringdown-{daemon}"))?;
        assert_eq!(host.sh(&format!("ps -o user:32= -p {pid}"))?.trim(), format!("ringdown-{daemon}"));
    }
    assert_eq!(mode(host, "/var/lib/ringdown/acd")?, "750 ringdown-acd:ringdown");
    Ok(())
}

/// Runs a step that changes versions; what ran was started anew once, what was stopped is still.
fn assert_restarts_once(host: &Host, step: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<()> {
    let before = starts(host, "ringdown-acd")?;
    let pid = host.main_pid("ringdown-acd")?;
    step()?;
    assert_eq!(state(host, "ringdown-acd")?, "active", "{}", host.journal(40));
    assert_ne!(host.main_pid("ringdown-acd")?, pid, "the new version runs");
    assert_eq!(starts(host, "ringdown-acd")?, before + 1, "it was started once: {}", host.journal(60));
    assert_eq!(state(host, "ringdown-registrar")?, "inactive", "what was stopped stays stopped");
    assert_eq!(starts(host, "ringdown-registrar")?, 0);
    assert!(host.get("/etc/ringdown/acd.env")?.ends_with("\nRINGDOWN_ACD_DUTIES=router\n"), "the edit is kept");
    Ok(())
}

fn exposure(host: &Host, unit: &str) -> anyhow::Result<f64> {
    let said = host.run(&["systemd-analyze", "security", "--no-pager", unit])?.stdout;
    let line = said.lines().find(|line| line.contains("Overall exposure level")).context(said.clone())?;
    let level = line.split_whitespace().find_map(|word| word.parse().ok());
    level.with_context(|| format!("no number in {line}"))
}

fn assert_sandboxed(host: &Host) -> anyhow::Result<()> {
    for daemon in DAEMONS {
        let level = exposure(host, &format!("ringdown-{daemon}.service"))?;
        println!("appliance_packages_exposure_{} {level:.1} points", daemon.replace('-', "_"));
        assert!(level < EXPOSURE_MAX, "{daemon}: {level}");
    }
    Ok(())
}

/// Stops the notifier's process in its tracks; gives its id.
fn hang(host: &Host) -> anyhow::Result<u32> {
    let pid = host.main_pid("ringdown-notifier")?;
    host.sh(&format!("kill -STOP {pid}"))?;
    Ok(pid)
}

fn assert_revived(host: &Host, hung: u32) -> anyhow::Result<()> {
    wait_for(WATCHDOG_LIMIT, "the watchdog replaces a hung process", || {
        let pid = host.main_pid("ringdown-notifier").ok()?;
        (pid != 0 && pid != hung && state(host, "ringdown-notifier").ok()? == "active").then_some(())
    })?;
    let said = host.sh("journalctl --no-pager -o cat -u ringdown-notifier")?;
    assert!(said.contains("Watchdog timeout"), "{said}");
    Ok(())
}

fn apt(host: &Host, source: &str, words: &str) -> anyhow::Result<Ran> {
    let list = format!("deb [signed-by=/srv/packages/now/deb/ringdown.gpg] file:{source} ./\n");
    host.put("/etc/apt/sources.list.d/ringdown.list", list.as_bytes(), 0o644)?;
    let line = format!(
        "export DEBIAN_FRONTEND=noninteractive; apt-get -qq update -o APT::Update::Error-Mode=any && \
         apt-get -qq -y -o Dpkg::Options::=--force-confold {words}"
    );
    host.run_for(INSTALL_LIMIT, &["sh", "-euc", &line])
}

#[test]
fn debs_live_on_a_host_from_installation_to_purge() -> anyhow::Result<()> {
    let fleet = Fleet::new()?;
    let folder = both_versions(&fleet, "deb")?;
    tamper(&fleet, &folder)?;
    let host = fleet.host("deb").bind_read_only(&folder, "/srv/packages").boot()?;
    host.wait_running(BOOT_LIMIT)?;
    apt(&host, "/srv/packages/now/deb", "install ringdown")?.success().context("installing")?;
    assert_installed(&host, &DAEMONS)?;
    assert_sandboxed(&host)?;
    use_it(&host)?;
    let hung = hang(&host)?;
    let before = host.sh("dpkg-query -W")?;
    for (source, reason) in [("flipped", "Hash Sum mismatch"), ("foreign", "NO_PUBKEY"), ("unsigned", "not signed")] {
        let ran = apt(&host, &format!("/srv/packages/{source}/deb"), "upgrade")?;
        assert!(ran.code() != 0 && ran.said().contains(reason), "{source}: {}", ran.said());
        assert_eq!(host.sh("dpkg-query -W")?, before, "{source}: nothing came of it");
    }
    assert_revived(&host, hung)?;
    assert_restarts_once(&host, || {
        apt(&host, "/srv/packages/next/deb", "dist-upgrade")?.success().context("upgrading").map(drop)
    })?;
    assert!(host.sh("dpkg-query -W ringdown-acd")?.contains(NEXT));
    assert!(host.get("/etc/ringdown/acd.env.dpkg-dist")?.contains("New in the next version"));
    assert!(host.get("/etc/ringdown/notifier.env")?.contains("New in the next version"), "an unedited file is new");
    assert_restarts_once(&host, || downgrade(&host))?;
    assert!(host.sh("dpkg-query -W ringdown-acd")?.contains(version()));
    remove(&host)?;
    fleet.passed();
    Ok(())
}

/// The next version with a package of which a bit is flipped, one signed by somebody else, and one not signed.
fn tamper(fleet: &Fleet, folder: &Path) -> anyhow::Result<()> {
    for name in ["flipped", "foreign", "unsigned"] {
        let copy = folder.join(name);
        std::fs::create_dir_all(&copy)?;
        let from = folder.join("next/deb");
        here(&["cp", "-a", &from.to_string_lossy(), &copy.to_string_lossy()])?.success()?;
    }
    flip_a_bit(&one_file(&folder.join("flipped/deb"), "ringdown-acd_")?)?;
    std::fs::remove_file(folder.join("unsigned/deb/InRelease"))?;
    let home = foreign_key(&fleet.folder("foreign")?)?;
    let (release, signed) = (folder.join("foreign/deb/Release"), folder.join("foreign/deb/InRelease"));
    let words = ["gpg", "--homedir", &home.to_string_lossy(), "--batch", "--yes", "--clearsign", "-o"];
    here(&[&words[..], &[&signed.to_string_lossy(), &release.to_string_lossy()]].concat())?.success().map(drop)
}

fn downgrade(host: &Host) -> anyhow::Result<()> {
    let installed = host.sh("dpkg-query -f '${Package}\\n' -W 'ringdown*'")?;
    let wanted: Vec<_> = installed.split_whitespace().map(|name| format!("{name}={}-1", version())).collect();
    let words = format!("install --allow-downgrades {}", wanted.join(" "));
    apt(host, "/srv/packages/now/deb", &words)?.success().context("going back").map(drop)
}

fn remove(host: &Host) -> anyhow::Result<()> {
    // A unit that an administrator masked is in nobody's way.
    host.sh("systemctl mask --quiet ringdown-web-api")?;
    apt(host, "/srv/packages/now/deb", "remove 'ringdown*'")?.success().context("removing")?;
    assert_eq!(state(host, "ringdown-acd")?, "inactive");
    assert_eq!(host.run(&["pgrep", "-x", "ringdown-acd"])?.stdout, "", "it was stopped");
    assert!(host.get("/etc/ringdown/acd.env")?.contains("\nRINGDOWN_ACD_DUTIES=router\n"), "removing keeps settings");
    host.sh("test ! -e /usr/bin/ringdown-acd")?;
    apt(host, "/srv/packages/now/deb", "purge 'ringdown*'")?.success().context("purging")?;
    let left = host.sh("ls /etc/ringdown /etc/ringdown/credentials 2>/dev/null || true")?;
    assert!(!left.contains(".env") && !left.contains("notifier"), "{left}");
    assert_eq!(mode(host, "/var/lib/ringdown/acd")?, "750 ringdown-acd:ringdown", "data is not ours to remove");
    host.run(&["systemctl", "daemon-reload"])?.success()?;
    Ok(())
}

#[test]
fn the_same_commit_gives_the_same_bytes() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let (one, other) = (folder.path().join("one"), folder.path().join("other"));
    for out in [&one, &other] {
        build(&checkout(), out, &["all"])?;
    }
    here(&["diff", "-r", &one.to_string_lossy(), &other.to_string_lossy()])?.success().context("they differ")?;
    let rpm = one.join("rpm");
    let lint = format!(
        "rpmlint --strict -c {0}/packaging/rpmlint.toml {1}/*.rpm {0}/packaging/ringdown.spec",
        checkout().display(),
        rpm.display()
    );
    here(&["sh", "-euc", &lint])?.success().context("rpmlint")?;
    let count = |kind: &str| std::fs::read_dir(one.join(kind)).map(|entries| entries.count());
    assert!(count("deb")? > DAEMONS.len() && count("rpm")? > DAEMONS.len(), "packages were made");
    Ok(())
}

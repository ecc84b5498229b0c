//! RPM packages: dnf into a root that does not run, rpm into a booted host.

use std::path::Path;

use anyhow::Context;
use ringdown_appliance::fleet::{Fleet, Host, Ran};
use ringdown_appliance::packages::{daemons, enterprise_linux, foreign_key, here, here_for};

use super::lived::{
    BOOT_LIMIT, INSTALL_LIMIT, NEXT, assert_installed, assert_removed, assert_restarts_what_changed, assert_revived,
    assert_sandboxed, both_versions, hang, tampered, use_it, version,
};

/// dnf from outside, with the carried repository at `folder`, into the disk of a host that is off.
fn dnf(disk: &Path, folder: &Path, words: &str) -> anyhow::Result<Ran> {
    let carried = std::fs::read_to_string(folder.join("rpm/ringdown.repo")).context("reading ringdown.repo")?;
    let sources = disk.join("srv/sources");
    std::fs::create_dir_all(&sources).context("making a folder")?;
    let here = folder.join("rpm");
    // The key that is trusted came with the first version.
    let key = folder.with_file_name("now").join("rpm/RPM-GPG-KEY-ringdown");
    let text = carried.replace("file:///srv/ringdown/rpm/RPM-GPG-KEY-ringdown", &format!("file://{}", key.display()));
    let text = text.replace("file:///srv/ringdown/rpm", &format!("file://{}", here.display()));
    std::fs::write(sources.join("ringdown.repo"), text).context("writing ringdown.repo")?;
    let line = "set -f; exec dnf -y --installroot=\"$1\" --releasever=9 --disableplugin='*' --setopt=reposdir=\"$1/srv/sources\" \
                --setopt=cachedir=\"$1/srv/dnf\" --setopt=metadata_expire=0 --setopt=install_weak_deps=0 $2";
    here_for(INSTALL_LIMIT, &["sh", "-euc", line, "dnf", &disk.to_string_lossy(), words])
}

/// The promises of Enterprise Linux 9 in the root's list of packages.
fn promise(disk: &Path, folder: &Path) -> anyhow::Result<()> {
    let file = enterprise_linux(folder)?;
    here(&["rpm", "--root", &disk.to_string_lossy(), "-i", "--nosignature", &file.to_string_lossy()])?
        .success()
        .context("promising what Enterprise Linux 9 has")
        .map(drop)
}

#[test]
fn dnf_fills_a_root_and_empties_it() -> anyhow::Result<()> {
    let fleet = Fleet::new()?;
    let folder = both_versions(&fleet, "rpm")?;
    tampered(&folder, "rpm", "ringdown-acd-", "repodata/repomd.xml.asc")?;
    sign_as_somebody_else(&fleet, &folder.join("foreign/rpm/repodata").to_string_lossy())?;
    let host = fleet.host("root").make()?;
    let disk = host.disk();
    let root = disk.to_string_lossy();
    let asked = |words: &[&str]| here(&[&["rpm", "--root", &root], words].concat());
    let refused = dnf(disk, &folder.join("now"), "install ringdown")?;
    assert!(refused.code() != 0 && refused.said().contains("nothing provides systemd"), "{}", refused.said());
    promise(disk, &fleet.folder("promise")?)?;

    dnf(disk, &folder.join("now"), "install ringdown")?.success().context("installing")?;
    assert_eq!(asked(&["-Va", "ringdown*"])?.success().context("what was installed is what is there")?, "");
    let users = host.get("/etc/passwd")?;
    for daemon in daemons()? {
        assert!(users.contains(&format!("\nringdown-{daemon}:")), "{daemon}: {users}");
    }
    let file = disk.join("etc/ringdown/acd.env");
    let edited = format!("{}RINGDOWN_ACD_DUTIES=router\n", std::fs::read_to_string(&file)?);
    std::fs::write(&file, &edited)?;
    for (source, reason) in [
        ("flipped", "checksum"),
        ("foreign", "repomd.xml GPG signature verification error"),
        ("unsigned", "GPG signature is not available"),
    ] {
        let ran = dnf(disk, &folder.join(source), "upgrade")?;
        assert!(ran.code() != 0 && ran.said().contains(reason), "{source}: {}", ran.said());
        assert!(asked(&["-q", "ringdown-acd"])?.stdout.contains(version()), "{source}: nothing came of it");
    }
    dnf(disk, &folder.join("next"), "upgrade")?.success().context("upgrading")?;
    assert!(asked(&["-q", "ringdown-acd"])?.stdout.contains(NEXT));
    assert!(host.get("/etc/ringdown/acd.env.rpmnew")?.contains("New in the next version"));
    assert_eq!(std::fs::read_to_string(&file)?, edited, "the edit is kept");
    dnf(disk, &folder.join("now"), "downgrade ringdown*")?.success().context("going back")?;
    assert!(asked(&["-q", "ringdown-acd"])?.stdout.contains(version()));
    assert_eq!(std::fs::read_to_string(&file)?, edited, "the edit is kept");
    dnf(disk, &folder.join("now"), "remove ringdown*")?.success().context("removing")?;
    assert_eq!(host.get("/etc/ringdown/acd.env.rpmsave")?, edited, "removing keeps settings");
    assert!(!disk.join("usr/bin/ringdown-acd").exists());
    fleet.passed();
    Ok(())
}

fn sign_as_somebody_else(fleet: &Fleet, repodata: &str) -> anyhow::Result<()> {
    let home = foreign_key(&fleet.folder("foreign")?)?;
    let (list, signature) = (format!("{repodata}/repomd.xml"), format!("{repodata}/repomd.xml.asc"));
    let words = ["gpg", "--homedir", &home.to_string_lossy(), "--batch", "--yes", "--armor", "--detach-sign", "-o"];
    here(&[&words[..], &[&signature, &list]].concat())?.success().map(drop)
}

/// rpm on the host; only packages whose signature was checked are let in.
fn rpm(host: &Host, words: &str) -> anyhow::Result<Ran> {
    let line = format!("exec rpm --define '_pkgverify_level all' {words}");
    host.run_for(INSTALL_LIMIT, &["sh", "-euc", &line])
}

#[test]
fn rpms_live_on_a_host_from_installation_to_removal() -> anyhow::Result<()> {
    let fleet = Fleet::new()?;
    let folder = both_versions(&fleet, "rpm")?;
    tampered(&folder, "rpm", "ringdown-acd-", "repodata/repomd.xml.asc")?;
    let host = fleet.host("rpm").bind_read_only(&folder, "/srv/packages").make()?;
    promise(host.disk(), &fleet.folder("promise")?)?;
    let mut host = host;
    host.boot()?;
    host.wait_running(BOOT_LIMIT)?;
    let unknown = rpm(&host, "-i /srv/packages/now/rpm/ringdown-*.rpm")?;
    assert!(unknown.code() != 0 && unknown.said().contains("NOKEY"), "nobody's key is trusted yet: {}", unknown.said());
    host.sh("rpm --import /srv/packages/now/rpm/RPM-GPG-KEY-ringdown")?;
    rpm(&host, "-i /srv/packages/now/rpm/ringdown-*.rpm")?.success().context("installing")?;
    assert_installed(&host, &daemons()?)?;
    assert_sandboxed(&host, &daemons()?)?;
    use_it(&host)?;
    let hung = hang(&host, "acd")?;
    let flipped = rpm(&host, "-U /srv/packages/flipped/rpm/ringdown-*.rpm")?;
    assert!(flipped.code() != 0 && flipped.said().contains("BAD"), "{}", flipped.said());
    assert!(host.sh("rpm -q ringdown-acd")?.contains(version()), "nothing came of it");
    assert_revived(&host, "acd", hung)?;
    assert_restarts_what_changed(&host, || {
        rpm(&host, "-U /srv/packages/next/rpm/ringdown-*.rpm")?.success().context("upgrading").map(drop)
    })?;
    assert!(host.sh("rpm -q ringdown-acd")?.contains(NEXT));
    assert!(host.get("/etc/ringdown/acd.env.rpmnew")?.contains("New in the next version"));
    assert!(host.get("/etc/ringdown/notifier.env")?.contains("New in the next version"), "an unedited file is new");
    assert_restarts_what_changed(&host, || {
        rpm(&host, "-U --oldpackage /srv/packages/now/rpm/ringdown-*.rpm")?.success().context("going back").map(drop)
    })?;
    rpm(&host, "-e $(rpm -qa 'ringdown*')")?.success().context("removing")?;
    assert_removed(&host, "/etc/ringdown/acd.env.rpmsave")?;
    fleet.passed();
    Ok(())
}

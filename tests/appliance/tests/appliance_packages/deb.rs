//! Debian packages on a booted host, from a signed apt repository.

use anyhow::Context;
use ringdown_appliance::fleet::{Fleet, Host, Ran};
use ringdown_appliance::packages::{daemons, foreign_key, here};

use super::lived::{
    BOOT_LIMIT, INSTALL_LIMIT, NEXT, assert_installed, assert_removed, assert_restarts_what_changed, assert_revived,
    assert_sandboxed, both_versions, hang, mode, tampered, use_it, version,
};

/// apt with the repository at `source` as its only one.
pub(crate) fn apt(host: &Host, source: &str, words: &str) -> anyhow::Result<Ran> {
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
    tampered(&folder, "deb", "ringdown-acd_", "InRelease")?;
    sign_as_somebody_else(&fleet, &folder.join("foreign/deb").to_string_lossy())?;
    let host = fleet.host("deb").bind_read_only(&folder, "/srv/packages").boot()?;
    host.wait_running(BOOT_LIMIT)?;
    apt(&host, "/srv/packages/now/deb", "install ringdown")?.success().context("installing")?;
    assert_installed(&host, &daemons()?)?;
    assert_sandboxed(&host, &daemons()?)?;
    use_it(&host)?;
    let hung = hang(&host, "notifier")?;
    assert_refused(&host)?;
    assert_revived(&host, "notifier", hung)?;
    assert_restarts_what_changed(&host, || {
        apt(&host, "/srv/packages/now/deb", "install --reinstall ringdown-provisioner")?.success().context("again")?;
        apt(&host, "/srv/packages/next/deb", "dist-upgrade")?.success().context("upgrading").map(drop)
    })?;
    assert!(host.sh("dpkg-query -W ringdown-acd")?.contains(NEXT));
    assert!(host.get("/etc/ringdown/acd.env.dpkg-dist")?.contains("New in the next version"));
    assert!(host.get("/etc/ringdown/notifier.env")?.contains("New in the next version"), "an unedited file is new");
    assert_restarts_what_changed(&host, || downgrade(&host))?;
    assert!(host.sh("dpkg-query -W ringdown-acd")?.contains(version()));
    remove(&host)?;
    fleet.passed();
    Ok(())
}

fn sign_as_somebody_else(fleet: &Fleet, repository: &str) -> anyhow::Result<()> {
    let home = foreign_key(&fleet.folder("foreign")?)?;
    let (release, signed) = (format!("{repository}/Release"), format!("{repository}/InRelease"));
    let words = ["gpg", "--homedir", &home.to_string_lossy(), "--batch", "--yes", "--clearsign", "-o"];
    here(&[&words[..], &[&signed, &release]].concat())?.success().map(drop)
}

fn assert_refused(host: &Host) -> anyhow::Result<()> {
    let before = host.sh("dpkg-query -W")?;
    for (source, reason) in [("flipped", "Hash Sum mismatch"), ("foreign", "NO_PUBKEY"), ("unsigned", "not signed")] {
        let ran = apt(host, &format!("/srv/packages/{source}/deb"), "upgrade")?;
        assert!(ran.code() != 0 && ran.said().contains(reason), "{source}: {}", ran.said());
        assert_eq!(host.sh("dpkg-query -W")?, before, "{source}: nothing came of it");
    }
    Ok(())
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
    assert_removed(host, "/etc/ringdown/acd.env")?;
    apt(host, "/srv/packages/now/deb", "purge 'ringdown*'")?.success().context("purging")?;
    let left = host.sh("[ ! -e /etc/ringdown ] || find /etc/ringdown -mindepth 1")?;
    assert!(!left.contains(".env") && !left.contains("notifier"), "{left}");
    assert_eq!(mode(host, "/var/lib/ringdown/acd")?, "750 ringdown-acd:ringdown", "data is not ours to remove");
    Ok(())
}

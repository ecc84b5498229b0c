//! What takes longer: each package alone, each daemon hung, a power cut amid an upgrade.

use std::time::Duration;

use anyhow::Context;
use ringdown_appliance::fleet::Fleet;
use ringdown_appliance::packages::daemons;

use super::deb::apt;
use super::lived::{
    BOOT_LIMIT, INSTALL_LIMIT, NEXT, assert_revived, both_versions, give_what_must_be_there, hang, state,
};

/// When the power is cut, after the upgrade began.
const CUTS: [Duration; 4] = [
    Duration::from_millis(300),
    Duration::from_millis(900),
    Duration::from_millis(1_500),
    Duration::from_millis(2_200),
];

#[test]
fn each_package_lives_alone_and_each_daemon_is_revived() -> anyhow::Result<()> {
    let fleet = Fleet::new()?;
    let folder = both_versions(&fleet, "deb")?;
    let host = fleet.host("alone").bind_read_only(&folder, "/srv/packages").boot()?;
    host.wait_running(BOOT_LIMIT)?;
    for daemon in daemons()? {
        let package = format!("ringdown-{daemon}");
        apt(&host, "/srv/packages/now/deb", &format!("install {package}"))?.success().context("installing")?;
        let there = host.sh("dpkg-query -f '${Package}\\n' -W 'ringdown*'")?;
        let mut there: Vec<_> = there.split_whitespace().collect();
        there.sort_unstable();
        let mut wanted = ["ringdown-base", package.as_str()];
        wanted.sort_unstable();
        assert_eq!(there, wanted, "it needs nothing else of ours");
        give_what_must_be_there(&host)?;
        host.run_for(INSTALL_LIMIT, &["systemctl", "start", &package])?.success()?;
        let hung = hang(&host, &daemon)?;
        assert_revived(&host, &daemon, hung)?;
        apt(&host, "/srv/packages/now/deb", &format!("purge {package}"))?.success().context("purging")?;
        assert_eq!(state(&host, &package)?, "inactive");
    }
    fleet.passed();
    Ok(())
}

#[test]
fn an_upgrade_goes_on_after_a_power_cut() -> anyhow::Result<()> {
    let fleet = Fleet::new()?;
    let folder = both_versions(&fleet, "deb")?;
    for (number, cut) in CUTS.into_iter().enumerate() {
        let mut host = fleet.host(&format!("cut{number}")).bind_read_only(&folder, "/srv/packages").boot()?;
        host.wait_running(BOOT_LIMIT)?;
        apt(&host, "/srv/packages/now/deb", "install ringdown")?.success().context("installing")?;
        give_what_must_be_there(&host)?;
        host.sh("systemctl enable --quiet ringdown-acd ringdown.target; systemctl start ringdown-acd")?;
        let list = b"deb [signed-by=/srv/packages/now/deb/ringdown.gpg] file:/srv/packages/next/deb ./\n";
        host.put("/etc/apt/sources.list.d/ringdown.list", list, 0o644)?;
        host.sh("apt-get -qq update")?;
        host.sh(
            "systemd-run --quiet --unit upgrade --setenv DEBIAN_FRONTEND=noninteractive apt-get -qq -y dist-upgrade",
        )?;
        std::thread::sleep(cut);
        host.power_cut()?;
        host.boot()?;
        // Whatever state that is: units of half a package may fail.
        host.run_for(BOOT_LIMIT, &["systemctl", "is-system-running", "--wait"])?;
        // As packaging/README.md says. What was not even unpacked cannot be configured: apt unpacks it.
        host.run_for(INSTALL_LIMIT, &["dpkg", "--configure", "-a"])?;
        apt(&host, "/srv/packages/next/deb", "--fix-broken dist-upgrade")?.success().context("finishing")?;
        let said = host.sh("dpkg-query -f '${db:Status-Abbrev} ${Version}\\n' -W 'ringdown*'")?;
        assert!(said.lines().all(|line| line.starts_with("ii") && line.contains(NEXT)), "{said}");
        host.wait_running(BOOT_LIMIT)?;
        assert_eq!(state(&host, "ringdown-acd")?, "active", "{}", host.journal(40));
        host.power_off()?;
    }
    fleet.passed();
    Ok(())
}

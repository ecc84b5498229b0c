//! One host of this suite: installed, asked, told to change.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::ensure;
use ringdown_appliance::bundle;
use ringdown_appliance::fleet::{Fleet, Host, Ran, wait_for};

const INSTALL_LIMIT: Duration = Duration::from_secs(500);
const REPLACE_LIMIT: Duration = Duration::from_secs(500);
pub(crate) const BOOT_LIMIT: Duration = Duration::from_secs(90);
const INSTALLER: &str = "/srv/bundle/first_boot_installer";
/// What the unit of a replacement has written down.
pub(crate) const RECORD: &str = "/var/lib/ringdown/host/replacement.json";
/// The daemons of one host; Asterisk, Redis and PostgreSQL are not replaced with them.
pub(crate) const DAEMONS: [&str; 5] = ["web-api", "provisioner", "acd", "registrar", "notifier"];
pub(crate) const SERVERS: [&str; 3] = ["redis", "postgresql", "asterisk"];

/// A host with everything on it, of the version of `bundle`; `others` are bundles it sees in /srv/bundles.
pub(crate) fn centre(fleet: &Fleet, bundle: &Path, others: &Path, variables: &[(&str, &str)]) -> anyhow::Result<Host> {
    let host =
        fleet.host("centre").bind_read_only(bundle, bundle::INSIDE).bind_read_only(others, "/srv/bundles").boot()?;
    installed(&host, &[&[("RINGDOWN_COMPONENTS", "all")], variables].concat())?;
    Ok(host)
}

pub(crate) fn installer(host: &Host, variables: &[(&str, &str)]) -> anyhow::Result<Ran> {
    let settings: Vec<String> = variables.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let mut words = vec!["env"];
    words.extend(settings.iter().map(String::as_str));
    words.push(INSTALLER);
    host.run_for(INSTALL_LIMIT, &words)
}

pub(crate) fn installed(host: &Host, variables: &[(&str, &str)]) -> anyhow::Result<()> {
    host.wait_running(BOOT_LIMIT)?;
    let ran = installer(host, variables)?;
    ensure!(ran.code() == 0, "installing {}: {}", host.name(), ran.said());
    Ok(())
}

/// `ringdown host` with these words, to its end.
pub(crate) fn told(host: &Host, words: &[&str]) -> anyhow::Result<Ran> {
    host.run_for(REPLACE_LIMIT, &[&["ringdown", "host"], words].concat())
}

pub(crate) fn versions(host: &Host) -> anyhow::Result<Vec<String>> {
    let said = host.sh("dpkg-query -W -f='${Version}\\n' 'ringdown-*' | sort -u")?;
    Ok(said.lines().map(str::to_owned).collect())
}

/// The whole host is of this version, healthy, at work, and nothing of a replacement is left.
pub(crate) fn assert_version(host: &Host, version: &str) -> anyhow::Result<()> {
    assert_eq!(versions(host)?, [format!("{version}-1")]);
    let status = host.run(&["ringdown", "status"])?;
    assert!(status.code() == 0 && !status.stdout.contains("drained"), "{}", status.said());
    host.no_unit_failed()?;
    assert_eq!(host.sh("ls /etc/systemd/system/ringdown-replacement.service 2>/dev/null || true")?, "");
    Ok(())
}

pub(crate) fn processes(host: &Host, names: &[&'static str]) -> anyhow::Result<BTreeMap<&'static str, u32>> {
    names.iter().map(|name| Ok((*name, host.main_pid(&format!("ringdown-{name}"))?))).collect()
}

/// How the last replacement ended, by its record; none while it is under way.
pub(crate) fn end_of(host: &Host) -> Option<String> {
    let text = host.get(RECORD).ok()?;
    let rest = text.split_once("\"end\":")?.1;
    let end = rest.split([',', '\n']).next()?.trim().trim_matches('"').to_owned();
    (end != "null").then_some(end)
}

pub(crate) fn wait_end(host: &Host) -> anyhow::Result<String> {
    wait_for(REPLACE_LIMIT, "the replacement comes to its end", || end_of(host))
}

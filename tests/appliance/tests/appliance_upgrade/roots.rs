//! Hosts whose root is thrown away while their data stays.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::ensure;
use ringdown_appliance::bundle;
use ringdown_appliance::fleet::{Fleet, Host};

use super::host::{BOOT_LIMIT, installer, told};

/// A root, new or not, with the bundle of a version and the data that the host of this name has.
pub(crate) fn root(fleet: &Fleet, name: &str, number: u8, bundle: &Path) -> anyhow::Result<Host> {
    let data = fleet.folder(&format!("data-{name}"))?;
    let host = fleet.host(name).number(number).bind(data, "/var/lib/ringdown").bind_read_only(bundle, bundle::INSIDE);
    let host = host.bind_read_only(fleet.folder("secrets")?, "/srv/secrets").boot()?;
    host.wait_running(BOOT_LIMIT)?;
    Ok(host)
}

/// Drains the host, lets go of its data and throws its root away; then a root of the other version takes its place. Gives how
/// long it was away.
pub(crate) fn replaced_by_a_root(
    fleet: &Fleet,
    old: Host,
    number: u8,
    bundle: &Path,
    back: bool,
) -> anyhow::Result<(Host, Duration)> {
    let name = old.name().to_owned();
    let began = Instant::now();
    let ran = told(&old, &["release"])?;
    ensure!(ran.code() == 0, "{}", ran.said());
    old.scrap()?;
    let new = root(fleet, &name, number, bundle)?;
    // Who it is, is on its data.
    let variables: &[(&str, &str)] = if back { &[("INSTALL_RINGDOWN_REPLACE", "back")] } else { &[] };
    let ran = installer(&new, variables)?;
    ensure!(ran.code() == 0, "{}", ran.said());
    Ok((new, began.elapsed()))
}

//! Letting go of the data volume, so that another machine can take this one's place: everything stops, nothing starts at
//! boot, and the volume says that it is nobody's. The new machine's first boot finds role, identity and data on it.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail, ensure};

use super::command::{ask, ask_for};
use super::drain::{self, Kept};
use super::refuse_if_under_way;
use crate::appliance::Appliance;
use crate::arguments::HostRelease;
use crate::output;

/// Holds a file with the owner's machine id for a name; first boot writes it, and units look for it before they start.
const OWNER: &str = "/var/lib/ringdown/owner";
/// Daemons finish or hand over within their own limits.
const STOP_LIMIT: Duration = Duration::from_secs(180);

pub(crate) async fn run(appliance: &Appliance, options: &HostRelease) -> anyhow::Result<ExitCode> {
    refuse_if_under_way()?;
    if options.undo { take_back().await } else { let_go(appliance, options).await }
}

async fn let_go(appliance: &Appliance, options: &HostRelease) -> anyhow::Result<ExitCode> {
    if let Err(error) = drain::begin(appliance, Kept::Calls).await {
        drain::end()?;
        return Err(error.context("nothing was changed"));
    }
    let limit = Duration::from_secs(options.wait_s);
    let left =
        drain::wait_for_calls(appliance, limit, |count| output::note(format!("  {count} calls in progress"))).await;
    if !left.is_none() && !options.cut_calls {
        drain::undo(appliance).await?;
        bail!("{left} have not ended in {} s; nothing was changed (--wait-s, --cut-calls)", options.wait_s);
    }
    ask("systemctl", &["disable", "--quiet", "ringdown.target"]).await?;
    let units =
        ask("systemctl", &["list-units", "--plain", "--no-legend", "--state=active,activating", "ringdown-*.service"]);
    let units = units.await?;
    let units: Vec<&str> = units.lines().filter_map(|line| line.split_whitespace().next()).collect();
    // The packet filter stays: the host is still on the network.
    let units: Vec<&str> = units.into_iter().filter(|unit| *unit != "ringdown-firewall.service").collect();
    if !units.is_empty() {
        ask_for(STOP_LIMIT, "systemctl", &[&["stop"], units.as_slice()].concat()).await?;
    }
    std::fs::remove_dir_all(OWNER).or_else(gone_is_fine).with_context(|| format!("removing {OWNER}"))?;
    ask("sync", &["-f", "/var/lib/ringdown"]).await?;
    if ask("mountpoint", &["-q", "/var/lib/ringdown"]).await.is_ok() && Path::new(MOUNT).exists() {
        ask_for(STOP_LIMIT, "systemctl", &["disable", "--now", "--quiet", "var-lib-ringdown.mount"]).await?;
    }
    drain::end()?;
    output::say("everything has stopped, and the data volume is nobody's: another machine may take it. Back: --undo");
    Ok(ExitCode::SUCCESS)
}

const MOUNT: &str = "/etc/systemd/system/var-lib-ringdown.mount";

async fn take_back() -> anyhow::Result<ExitCode> {
    if Path::new(MOUNT).exists() {
        ask_for(STOP_LIMIT, "systemctl", &["enable", "--now", "--quiet", "var-lib-ringdown.mount"]).await?;
    }
    own_again().await?;
    ask("systemctl", &["enable", "--quiet", "ringdown.target"]).await?;
    ask_for(STOP_LIMIT, "systemctl", &["start", "ringdown.target"]).await?;
    output::say("this host works again");
    Ok(ExitCode::SUCCESS)
}

/// This machine is the owner, unless another one is.
async fn own_again() -> anyhow::Result<()> {
    let own = std::fs::read_to_string("/etc/machine-id").context("reading /etc/machine-id")?;
    std::fs::create_dir_all(OWNER).with_context(|| format!("making {OWNER}"))?;
    for entry in std::fs::read_dir(OWNER).with_context(|| format!("reading {OWNER}"))? {
        let entry = entry.with_context(|| format!("reading {OWNER}"))?;
        let other = entry.file_name();
        let name = std::fs::read_to_string(entry.path()).unwrap_or_default();
        ensure!(
            other.to_str() == Some(own.trim()),
            "another machine has the data volume now: {} ({})",
            name.trim(),
            other.display()
        );
    }
    let name = nix::unistd::gethostname().context("asking for the host's name")?;
    // Whole or not there, under the name that counts.
    let (new, place) = (format!("{OWNER}.new"), Path::new(OWNER).join(own.trim()));
    std::fs::write(&new, format!("{}\n", name.to_string_lossy())).with_context(|| format!("writing {new}"))?;
    ask("sync", &[&new, OWNER]).await?;
    std::fs::rename(&new, &place).with_context(|| format!("making {}", place.display()))?;
    ask("sync", &[OWNER]).await.map(drop)
}

fn gone_is_fine(error: std::io::Error) -> std::io::Result<()> {
    if error.kind() == std::io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}

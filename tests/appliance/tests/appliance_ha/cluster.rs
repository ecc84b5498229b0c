//! The hosts of a cluster: where each is, and how it is made.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::ensure;
use ringdown_appliance::bundle::{self, bundle};
use ringdown_appliance::fleet::{Fleet, Host, Seed, checkout, wait_for};

/// What clients call; one load balancer has it.
pub(crate) const VIP: &str = "10.77.0.40";
/// The last numbers of the hosts' addresses.
pub(crate) const LB: [u8; 2] = [41, 42];
pub(crate) const APP: [u8; 2] = [43, 44];
pub(crate) const DATA: [u8; 3] = [45, 46, 47];

const INSTALL_LIMIT: Duration = Duration::from_secs(300);
const SECRETS: &str = "/srv/secrets";

pub(crate) fn address(number: u8) -> String {
    format!("10.77.0.{number}")
}

pub(crate) fn addresses(numbers: &[u8]) -> String {
    numbers.iter().map(|number| address(*number)).collect::<Vec<_>>().join(",")
}

/// A cluster whose hosts share their secrets.
#[derive(Debug)]
pub(crate) struct Cluster<'a> {
    fleet: &'a Fleet,
    secrets: PathBuf,
    peers: &'static str,
    /// While its first members may begin without data.
    new_until: String,
}

/// The cluster's own hosts.
const PEERS: &str = "10.77.0.40/29";

impl<'a> Cluster<'a> {
    pub(crate) fn new(fleet: &'a Fleet) -> anyhow::Result<Self> {
        let secrets = fleet.folder("secrets")?;
        let make = checkout().join("provisioning/ansible/roles/base/files/make_secrets");
        let names = ["REDIS_PASSWORD", "POSTGRES_PASSWORD", "POSTGRES_COPY_PASSWORD", "ADMIN_PASSWORD"];
        let made = std::process::Command::new(make).arg(&secrets).arg("-").args(names).output()?;
        ensure!(made.status.success(), "making the secrets that hosts share");
        let soon = std::process::Command::new("date").args(["-u", "-d", "30 minutes", "+%FT%TZ"]).output()?;
        let new_until = String::from_utf8(soon.stdout)?.trim().to_owned();
        Ok(Self { fleet, secrets, peers: PEERS, new_until })
    }

    /// The test itself is a peer, which may use the stores.
    pub(crate) fn with_us(mut self) -> Self {
        self.peers = "10.77.0.40/29,10.77.0.1";
        self
    }

    /// A secret that the hosts share.
    pub(crate) fn secret(&self, name: &str) -> anyhow::Result<String> {
        Ok(std::fs::read_to_string(self.secrets.join(name))?.trim().to_owned())
    }

    /// Switches on a bare host that becomes what the variables say; does not wait for it.
    pub(crate) fn start(&self, name: &str, number: u8, variables: &[(&str, &str)]) -> anyhow::Result<Host> {
        let shared = [
            ("RINGDOWN_PEERS", self.peers),
            ("INSTALL_RINGDOWN_SECRETS", SECRETS),
            ("INSTALL_RINGDOWN_NEW_UNTIL", self.new_until.as_str()),
        ];
        let all = shared.iter().chain(variables);
        let lines: String = all.map(|(name, value)| format!("    {name}={value}\n")).collect();
        let user_data = format!(
            "#cloud-config\nlocale: C.UTF-8\nwrite_files:\n- path: /etc/ringdown/first-boot.env\n  content: |\n{lines}\
             - path: /var/lib/cloud/scripts/per-boot/ringdown-first-boot\n  permissions: '0755'\n  content: |\n    \
             #!/bin/sh\n    exec {}/first_boot_installer --unless-done\n",
            bundle::INSIDE
        );
        let seed = Seed::Cloud { instance: "first".to_owned(), user_data };
        let host = self.fleet.host(name).number(number).seed(seed).bind_read_only(bundle()?, bundle::INSIDE);
        host.bind_read_only(&self.secrets, SECRETS).boot()
    }
}

/// Waits for the end of a host's first boot.
pub(crate) fn wait_installed(host: &Host) -> anyhow::Result<()> {
    let ended = wait_for(INSTALL_LIMIT, &format!("{} completes its first boot", host.name()), || {
        let status = host.run(&["cloud-init", "status"]).ok()?.stdout;
        if status.contains("done") { Some(true) } else { status.contains("error").then_some(false) }
    })?;
    if !ended || host.get("/var/lib/ringdown/first-boot.json").is_err() {
        let log = host.get("/var/log/cloud-init-output.log")?;
        anyhow::bail!("first boot of {} failed:\n{log}", host.name());
    }
    Ok(())
}

/// Every part of the host says that it is ready.
pub(crate) fn assert_healthy(host: &Host) -> anyhow::Result<()> {
    let status = host.run(&["ringdown", "status"])?;
    ensure!(status.status.success(), "{} is not healthy:\n{}", host.name(), status.said());
    host.no_unit_failed()
}

/// To every process of a unit.
pub(crate) fn signal(host: &Host, kind: &str, unit: &str) -> anyhow::Result<()> {
    // `systemctl kill` reaches the main process only where the kernel has cgroups of version 1.
    let line = format!(
        "group=$(systemctl show --property=ControlGroup --value {unit})
         for top in /sys/fs/cgroup/systemd /sys/fs/cgroup; do
             [ ! -f $top$group/cgroup.procs ] || {{ kill -{kind} $(cat $top$group/cgroup.procs) && exit; }}
         done
         exit 1"
    );
    let ran = host.sh(&line)?;
    ensure!(ran.is_empty(), "{ran}");
    Ok(())
}

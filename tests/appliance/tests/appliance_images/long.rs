//! Quadlets for real: a host that packages made goes on in containers, with the same files of `/etc/ringdown`, and takes calls.
//!
//! The host is a systemd machine in a container itself, so podman is told what it cannot do there: no kernel keyrings, no higher
//! limits of files. The generator is podman 5.4's; podman itself is Debian 12's, which is older than any that has quadlets.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use ringdown_appliance::bundle::{self, bundle};
use ringdown_appliance::fleet::{Fleet, Host, cache, checkout, root_with, run, wait_for};
use ringdown_appliance::packages::build;

use super::{COMMAND_LIMIT, IMAGES, PORTS};

const BOOT_LIMIT: Duration = Duration::from_secs(60);
const INSTALL_LIMIT: Duration = Duration::from_secs(400);
const READY_LIMIT: Duration = Duration::from_secs(60);
/// What podman finds in a host that is a container.
const SETTINGS: &str = "[containers]\ndefault_ulimits=[\"nofile=4096:4096\",\"nproc=4096:4096\"]\nkeyring=false\n\
                        [engine]\nruntime=\"runc\"\ncgroup_manager=\"cgroupfs\"\n";
const GENERATOR: &str = "usr/lib/systemd/system-generators/podman-system-generator";

/// Components that a quadlet runs.
fn quadlets() -> impl Iterator<Item = (&'static str, &'static str)> {
    IMAGES.into_iter().filter(|(name, _)| !["redis", "postgresql"].contains(name))
}

fn units() -> String {
    quadlets().map(|(name, _)| format!("ringdown-{name}")).collect::<Vec<_>>().join(" ")
}

/// A host with podman and its generator, off.
fn with_podman(fleet: &Fleet, images: &Path) -> anyhow::Result<Host> {
    let root = root_with("container-root", &["podman", "runc"])?;
    let host = fleet.host("pod").root(root).bind_read_only(bundle()?, bundle::INSIDE);
    // The host's own disk is layers already, and podman puts none upon them.
    let host = host.bind_read_only(images, "/srv/images").bind(fleet.folder("graph")?, "/var/lib/containers").make()?;
    let mut tool = std::process::Command::new(checkout().join("tests/appliance/quadlet_tool"));
    tool.arg(cache().join("tools/quadlet"));
    let tool = run(tool, None, COMMAND_LIMIT)?.success()?;
    std::fs::copy(tool.trim(), host.disk().join(GENERATOR)).context("giving the host the generator")?;
    host.put("/etc/containers/containers.conf", SETTINGS.as_bytes(), 0o644)?;
    Ok(host)
}

/// What a host of its own has: groups of processes it may limit.
fn open_groups(host: &Host) -> anyhow::Result<()> {
    host.sh("for group in /sys/fs/cgroup/*; do mount -o remount,rw,bind $group; done").map(drop)
}

/// Set up by packages; then the packages of daemons go, and quadlets take their place with what they leave.
fn moved_into_containers(host: &Host) -> anyhow::Result<()> {
    let words =
        ["env", "RINGDOWN_COMPONENTS=all", "INSTALL_RINGDOWN_SKIP_CALL=yes", "/srv/bundle/first_boot_installer"];
    host.run_for(INSTALL_LIMIT, &words)?.success().context("first boot")?;
    let units = units();
    let line = format!(
        "for image in /srv/images/*.tar; do podman load --quiet --input $image; done
         systemctl stop {units}
         DEBIAN_FRONTEND=noninteractive apt-get -qq -y remove {units}
         chown -R 10005:10000 /var/lib/ringdown/asterisk
         mkdir -p /etc/containers/systemd
         cp /srv/images/quadlet/*.container /etc/containers/systemd
         systemctl daemon-reload
         systemctl start {units}"
    );
    host.run_for(INSTALL_LIMIT, &["sh", "-euc", &line])?.success().context("moving into containers").map(drop)
}

fn assert_healthy(host: &Host) -> anyhow::Result<()> {
    let mut last = String::new();
    wait_for(READY_LIMIT, "everything is healthy", || {
        last = host.run(&["ringdown", "status"]).ok()?.said();
        last.contains("\nhealthy").then_some(())
    })
    .with_context(|| last.clone())?;
    for (name, port) in PORTS {
        let said = host.sh(&format!("curl -s -i --max-time 3 http://127.0.0.1:{port}/readyz"))?;
        ensure!(said.starts_with("HTTP/1.1 200"), "{name}: {said}");
    }
    Ok(())
}

/// The kernel's view of a container from inside its host, and systemd's.
fn assert_contained(host: &Host, name: &str, uid: &str) -> anyhow::Result<()> {
    let unit = format!("ringdown-{name}");
    let shown = host.sh(&format!("systemctl show --property=SourcePath,Type,ActiveState {unit}"))?;
    assert!(shown.contains(&format!("SourcePath=/etc/containers/systemd/{unit}.container\n")), "{shown}");
    assert!(shown.contains("ActiveState=active\n"), "{shown}");
    // systemd was told by the daemon itself that it is ready.
    assert!(name == "asterisk" || shown.contains("Type=notify\n"), "{shown}");
    let line = format!(
        "id=$(podman inspect --format '{{{{.State.Pid}}}}' {unit})
         grep -E '^(Uid|CapEff|CapBnd|NoNewPrivs):' /proc/$id/status | tr -s '\\t' ' '
         if touch /proc/$id/root/usr/written 2>/dev/null; then echo written; fi"
    );
    let wanted =
        format!("Uid: {uid} {uid} {uid} {uid}\nCapEff: 0000000000000000\nCapBnd: 0000000000000000\nNoNewPrivs: 1\n");
    assert_eq!(host.sh(&line)?, wanted, "{name}");
    Ok(())
}

fn assert_a_call_is_answered(host: &Host) -> anyhow::Result<()> {
    let call = host.run(&["ringdown", "sim", "calls", "--calls", "1", "--agents", "1", "--json"])?;
    let said = call.success().context("a call")?;
    let figures: serde_json::Value = serde_json::from_str(&said).with_context(|| said.clone())?;
    assert_eq!((figures["answered"].as_u64(), figures["lost"].as_u64()), (Some(1), Some(0)), "{said}");
    Ok(())
}

/// Killed, it is started again; told nonsense, it stays away and says why.
fn assert_revived(host: &Host) -> anyhow::Result<()> {
    for (name, _) in quadlets() {
        let unit = format!("ringdown-{name}");
        let before = host.main_pid(&unit)?;
        host.sh(&format!("podman kill --signal KILL {unit}"))?;
        wait_for(READY_LIMIT, &format!("{name} is started again"), || {
            let now = host.main_pid(&unit).ok()?;
            (now != 0 && now != before).then_some(())
        })?;
    }
    assert_healthy(host)?;
    host.sh("cp -p /etc/ringdown/acd.env /root/acd.env; echo RINGDOWN_ACD_LEASE_MS=never >>/etc/ringdown/acd.env")?;
    ensure!(!host.run(&["systemctl", "restart", "ringdown-acd"])?.status.success(), "a wrong variable is refused");
    let shown = host.sh("systemctl show --property=SubState,ExecMainStatus ringdown-acd")?;
    assert!(shown.contains("ExecMainStatus=78") && shown.contains("SubState=failed"), "it is not tried again: {shown}");
    let said = host.sh("journalctl -o cat -u ringdown-acd -n 20")?;
    assert!(said.contains("RINGDOWN_ACD_LEASE_MS"), "it says which: {said}");
    host.sh("cp -p /root/acd.env /etc/ringdown/acd.env; systemctl start ringdown-acd")?;
    assert_healthy(host)
}

#[test]
fn quadlets_run_a_contact_centre() -> anyhow::Result<()> {
    let fleet = Fleet::new()?;
    let built = fleet.folder("built")?;
    build(&checkout(), &built, &["oci"])?;
    let mut host = with_podman(&fleet, &built.join("oci"))?;
    host.boot()?;
    host.wait_running(BOOT_LIMIT)?;
    open_groups(&host)?;
    let began = Instant::now();
    moved_into_containers(&host)?;
    assert_healthy(&host)?;
    println!("quadlets_ready {:.0} s", began.elapsed().as_secs_f64());
    for (name, uid) in quadlets() {
        assert_contained(&host, name, uid)?;
    }
    assert_a_call_is_answered(&host)?;
    assert_revived(&host)?;
    // Stopped together in order, and started at boot.
    host.run_for(READY_LIMIT, &["systemctl", "stop", "ringdown.target"])?.success()?;
    wait_for(READY_LIMIT, "no container runs", || host.sh("podman ps --quiet").ok()?.is_empty().then_some(()))?;
    host.reboot()?;
    open_groups(&host)?;
    assert_healthy(&host)?;
    assert_a_call_is_answered(&host)?;
    fleet.passed();
    Ok(())
}

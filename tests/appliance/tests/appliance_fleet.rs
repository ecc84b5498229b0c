//! The hosts themselves: they boot, reach each other, lose power and network, and come back.

use std::process::{Child, Stdio};
use std::time::Duration;

use ringdown_appliance::fleet::{Fleet, Host, Seed, wait_for};

const BOOT_LIMIT: Duration = Duration::from_secs(60);

fn reaches(from: &Host, address: &str) -> bool {
    from.run(&["ping", "-c", "1", "-W", "1", address]).is_ok_and(|ran| ran.status.success())
}

/// One inside who writes as soon as the first process has closed its socket, and one who was let in from outside.
fn somebody_who_would_act(host: &Host) -> anyhow::Result<Child> {
    let actor = "import socket
manager = socket.socket(socket.AF_UNIX)
manager.connect('/run/systemd/private')
open('/srv/data/watches', 'w').close()
manager.recv(1)
open('/srv/data/acted', 'w').close()";
    host.run(&["systemd-run", "--quiet", "python3", "-c", actor])?.success()?;
    wait_for(BOOT_LIMIT, "somebody watches", || host.get("/srv/data/watches").ok())?;
    let mut command = host.command()?;
    let visitor = command.args(["sh", "-c", "sleep 1000; true"]).stdin(Stdio::null()).spawn()?;
    wait_for(BOOT_LIMIT, "a visitor is there", || {
        host.sh("pgrep -x sleep").ok().filter(|said| !said.is_empty()).map(drop)
    })?;
    Ok(visitor)
}

#[test]
fn hosts_boot_reach_each_other_and_come_back_after_a_power_cut() -> anyhow::Result<()> {
    let fleet = Fleet::new()?;
    let volume = fleet.folder("volume")?;
    let mut one = fleet.host("one").bind(&volume, "/srv/data").boot()?;
    let user_data = "#cloud-config\nlocale: C.UTF-8\nwrite_files:\n- path: /srv/from-the-seed\n  content: hello\n";
    let seed = Seed::Cloud { instance: "i-1".to_owned(), user_data: user_data.to_owned() };
    let two = fleet.host("two").seed(seed).boot()?;
    one.wait_running(BOOT_LIMIT)?;
    two.wait_running(BOOT_LIMIT)?;
    assert_eq!(two.get("/srv/from-the-seed")?, "hello");
    assert_eq!(two.sh("uname -n")?.trim(), "two");
    assert!(two.sh("cloud-init status --wait")?.contains("done"));
    assert_eq!(one.sh("ip route show default")?, "", "no way to the world");

    wait_for(Duration::from_secs(10), "one reaches two", || reaches(&one, two.address()).then_some(()))?;
    two.cut_network()?;
    assert!(!reaches(&one, two.address()), "the plug is pulled");
    two.restore_network()?;
    wait_for(Duration::from_secs(10), "one reaches two again", || reaches(&one, two.address()).then_some(()))?;

    one.put("/srv/data/kept", b"on the volume", 0o600)?;
    let first = one.leader()?;
    let mut visitor = somebody_who_would_act(&one)?;
    one.power_cut()?;
    assert!(!one.is_on() && one.run(&["true"]).is_err());
    assert_eq!(std::fs::read_to_string(volume.join("kept"))?, "on the volume");
    assert!(!volume.join("acted").exists(), "nobody acted in between");
    wait_for(Duration::from_secs(10), "the visitor is out", || visitor.try_wait().transpose())??;
    one.boot()?;
    one.wait_running(BOOT_LIMIT)?;
    assert_ne!(one.leader()?, first);
    assert_eq!(one.get("/srv/data/kept")?, "on the volume");
    wait_for(Duration::from_secs(10), "one is back on the bridge", || reaches(&one, two.address()).then_some(()))?;
    one.power_off()?;
    fleet.passed();
    Ok(())
}

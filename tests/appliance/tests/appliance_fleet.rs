//! The hosts themselves: they boot, reach each other, lose power and network, and come back.

use std::time::Duration;

use ringdown_appliance::fleet::{Fleet, Seed, wait_for};

const BOOT_LIMIT: Duration = Duration::from_secs(60);

fn reaches(from: &ringdown_appliance::fleet::Host, address: &str) -> bool {
    from.run(&["ping", "-c", "1", "-W", "1", address]).is_ok_and(|ran| ran.status.success())
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
    one.power_cut()?;
    assert!(!one.is_on() && one.run(&["true"]).is_err());
    assert_eq!(std::fs::read_to_string(volume.join("kept"))?, "on the volume");
    one.boot()?;
    one.wait_running(BOOT_LIMIT)?;
    assert_ne!(one.leader()?, first);
    assert_eq!(one.get("/srv/data/kept")?, "on the volume");
    wait_for(Duration::from_secs(10), "one is back on the bridge", || reaches(&one, two.address()).then_some(()))?;
    one.power_off()?;
    fleet.passed();
    Ok(())
}

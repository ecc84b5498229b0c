//! A data volume has one owner: it goes to another machine when it was let go, and what is left behind starts nothing on it.

use ringdown_appliance::bundle;
use ringdown_appliance::fleet::{Fleet, Host, wait_for};

use super::host::{BOOT_LIMIT, assert_version, installed, installer, told};
use super::releases::{self, NEXT, NOW};
use super::roots::{replaced_by_a_root, root};

const NUMBER: u8 = 41;
const STORES: [&str; 2] = ["ringdown-redis", "ringdown-postgresql"];

#[test]
fn a_data_volume_goes_to_another_machine_and_has_one_owner() -> anyhow::Result<()> {
    let (now, next) = releases::now_and_next()?;
    let fleet = Fleet::new()?;
    let old = root(&fleet, "data", NUMBER, &now)?;
    installed(&old, &[("RINGDOWN_COMPONENTS", "redis,postgresql")])?;
    old.sh("export REDISCLI_AUTH=$(cat /etc/ringdown/secrets/REDIS_PASSWORD); redis-cli set kept 7
        cd / && setpriv --reuid postgres --regid postgres --init-groups -- psql -X -q -h /run/ringdown-postgresql -U postgres \
        -d ringdown -c 'CREATE TABLE kept AS SELECT 8 AS number'")?;
    it_is_let_go_and_taken_back(&old)?;

    let (data, away) = replaced_by_a_root(&fleet, old, NUMBER, &next, false)?;
    println!("appliance_upgrade_data_volume_moved {:.1} s", away.as_secs_f64());
    assert_version(&data, NEXT)?;
    assert_eq!(kept(&data)?, "7 8");
    another_machine_takes_it_only_by_force(&fleet, data, &next)?;
    fleet.passed();
    Ok(())
}

fn kept(host: &Host) -> anyhow::Result<String> {
    let said = host.sh("export REDISCLI_AUTH=$(cat /etc/ringdown/secrets/REDIS_PASSWORD); redis-cli get kept
        cd / && setpriv --reuid postgres --regid postgres --init-groups -- psql -X -q -t -A -h /run/ringdown-postgresql -U postgres \
        -d ringdown -c 'SELECT number FROM kept'")?;
    Ok(said.split_whitespace().collect::<Vec<_>>().join(" "))
}

fn runs(host: &Host) -> anyhow::Result<[bool; 2]> {
    let [redis, postgresql] = STORES;
    Ok([host.main_pid(redis)? != 0, host.main_pid(postgresql)? != 0])
}

fn it_is_let_go_and_taken_back(host: &Host) -> anyhow::Result<()> {
    let ran = told(host, &["release"])?;
    assert_eq!(ran.code(), 0, "{}", ran.said());
    assert_eq!(runs(host)?, [false, false]);
    let ran = told(host, &["release", "--undo"])?;
    assert_eq!(ran.code(), 0, "{}", ran.said());
    wait_for(BOOT_LIMIT, "it works again", || {
        host.run(&["ringdown", "status"]).ok().filter(|ran| ran.code() == 0).map(drop)
    })?;
    assert_version(host, NOW)?;
    assert_eq!(kept(host)?, "7 8");
    Ok(())
}

/// A machine that lost its power keeps its data to itself; and once another was given it, starts nothing on it.
fn another_machine_takes_it_only_by_force(
    fleet: &Fleet,
    mut old: Host,
    bundle: &std::path::Path,
) -> anyhow::Result<()> {
    old.power_cut()?;
    let data = fleet.folder("data-data")?;
    let new = fleet.host("heir").bind(&data, "/var/lib/ringdown").bind_read_only(bundle, bundle::INSIDE).boot()?;
    new.wait_running(BOOT_LIMIT)?;
    let refused = installer(&new, &[])?;
    assert!(refused.code() == 2 && refused.stderr.contains("has not let go of it"), "{}", refused.said());
    let taken = installer(&new, &[("INSTALL_RINGDOWN_TAKE_OVER", "yes")])?;
    assert_eq!(taken.code(), 0, "{}", taken.said());
    assert_eq!((kept(&new)?.as_str(), runs(&new)?), ("7 8", [true, true]));

    old.boot()?;
    wait_for(BOOT_LIMIT, "the old machine has booted", || {
        let said = old.run(&["systemctl", "is-system-running"]).ok()?.stdout;
        matches!(said.trim(), "running" | "degraded").then_some(())
    })?;
    assert_eq!(runs(&old)?, [false, false], "it starts nothing on data of another machine");
    // Nor when somebody asks for it.
    old.sh("systemctl start ringdown-redis.service ringdown-postgresql.service")?;
    assert_eq!(runs(&old)?, [false, false], "it starts nothing on data of another machine");
    let back = told(&old, &["release", "--undo"])?;
    assert!(
        back.code() == 1 && back.stderr.contains("another machine has the data volume now: heir"),
        "{}",
        back.said()
    );
    assert_eq!((kept(&new)?.as_str(), runs(&new)?), ("7 8", [true, true]));
    Ok(())
}

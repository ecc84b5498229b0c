//! Where calls would end with what is replaced: they are waited for, new ones hear 503, and calls that nobody can count are
//! not taken for none.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context;
use ringdown_appliance::fleet::{Fleet, Host, wait_for};

use super::host::{DAEMONS, SERVERS, assert_version, centre, end_of, processes, told};
use super::load::{Beside, Calls, calls_now, connections};
use super::releases::{self, NEXT, NOW};

const CALLS: u64 = 3;
const REPLACE: [&str; 4] = ["replace", "--bundle", "/srv/bundles/another-asterisk", "--wait-s"];

type Processes = BTreeMap<&'static str, u32>;

#[test]
fn calls_that_would_end_are_waited_for_and_unknown_ones_are_not_cut_off() -> anyhow::Result<()> {
    let (now, next) = releases::now_and_next()?;
    let fleet = Fleet::new()?;
    let bundles = releases::bundles(&fleet, &next)?;
    releases::another_asterisk(&next, &bundles)?;
    let host = centre(&fleet, &now, &bundles, &[])?;
    no_watchdog(&host)?;
    let folder = fleet.folder("load")?;
    let talk = ["--agents", "3", "--rate", "2", "--talk-ms", "300000", "--patience-ms", "600000"];
    let before = talked(&host)?;
    let load = Calls::begin(&host, &folder, CALLS, &talk)?;
    // One that still rings when the acd falls silent would wait for an agent until its patience is over.
    wait_for(Duration::from_secs(60), "every caller talks with an agent", || {
        (talked(&host).ok()? == before + CALLS).then_some(())
    })?;
    let servers = processes(&host, &SERVERS)?;
    let others: Vec<&'static str> = DAEMONS.into_iter().filter(|name| *name != "acd").collect();
    let daemons = processes(&host, &others)?;
    let unchanged = |host: &Host| -> anyhow::Result<()> {
        let now: (Processes, Processes) = (processes(host, &SERVERS)?, processes(host, &others)?);
        assert_eq!((&now.0, &now.1), (&servers, &daemons));
        assert_version(host, NOW)
    };

    silent_acd_is_no_end_of_calls(&host)?;
    unchanged(&host)?;
    an_acd_that_has_just_begun_does_not_say_none(&host)?;
    unchanged(&host)?;

    // Those that are counted are waited for, and for no longer than the operator said.
    let ran = told(&host, &[&REPLACE[..], &["1"]].concat())?;
    assert!(ran.code() == 1 && ran.stdout.contains(&format!("{CALLS} calls have not ended in 1 s")), "{}", ran.said());
    assert_eq!(end_of(&host).as_deref(), Some("kept"));
    unchanged(&host)?;
    new_calls_hear_503_until_the_old_ones_end(&host, &servers, load)?;
    fleet.passed();
    Ok(())
}

/// How many calls have come to an agent, those of the installer included.
fn talked(host: &Host) -> anyhow::Result<u64> {
    Ok(connections(host)?.into_iter().map(u64::from).sum())
}

/// Its watchdog would end an acd that is stopped, after 10 s.
fn no_watchdog(host: &Host) -> anyhow::Result<()> {
    host.sh("mkdir -p /run/systemd/system/ringdown-acd.service.d
        printf '[Service]\\nWatchdogSec=0\\n' >/run/systemd/system/ringdown-acd.service.d/watchdog.conf
        systemctl daemon-reload && systemctl restart ringdown-acd.service")?;
    wait_for(Duration::from_secs(30), "the acd works", || {
        host.run(&["ringdown", "status"]).ok().filter(|ran| ran.code() == 0).map(drop)
    })
}

fn silent_acd_is_no_end_of_calls(host: &Host) -> anyhow::Result<()> {
    host.sh("systemctl kill --kill-whom=main --signal=STOP ringdown-acd.service")?;
    let unknown = "an unknown number of calls";
    let ran = told(host, &["drain", "--wait-s", "1"])?;
    assert!(ran.code() == 1 && ran.stdout.contains(unknown), "{}", ran.said());
    assert_eq!(told(host, &["drain", "--undo"])?.code(), 0);
    let ran = told(host, &["release", "--wait-s", "1"])?;
    assert!(ran.code() == 1 && ran.stderr.contains(unknown), "{}", ran.said());
    let ran = told(host, &[&REPLACE[..], &["1"]].concat())?;
    assert!(ran.code() == 1 && ran.stdout.contains(unknown), "{}", ran.said());
    assert_eq!(end_of(host).as_deref(), Some("kept"));
    assert!(host.run(&["test", "-e", "/run/ringdown/drain"])?.code() != 0, "it takes calls again");
    assert_eq!(host.sh("systemctl is-enabled ringdown.target")?.trim(), "enabled");
    host.sh("systemctl kill --kill-whom=main --signal=CONT ringdown-acd.service")?;
    wait_for(Duration::from_secs(30), "the acd counts again", || (counted(host) == Some(CALLS)).then_some(()))
}

/// What `ringdown host status` says: none when it is unknown.
fn counted(host: &Host) -> Option<u64> {
    let said = host.run(&["ringdown", "host", "status"]).ok()?.stdout;
    said.split_once("\"calls\":")?.1.split([',', '\n']).next()?.trim().parse().ok()
}

fn an_acd_that_has_just_begun_does_not_say_none(host: &Host) -> anyhow::Result<()> {
    let old = host.main_pid("ringdown-acd")?;
    host.sh("systemctl kill --kill-whom=main --signal=KILL ringdown-acd.service")?;
    let mut said = Vec::new();
    wait_for(Duration::from_secs(30), "the new acd counts", || {
        said.push(counted(host));
        (said.last() == Some(&Some(CALLS))).then_some(())
    })?;
    assert!(said.contains(&None) && !said.contains(&Some(0)), "{said:?}");
    assert_ne!(host.main_pid("ringdown-acd")?, old);
    Ok(())
}

fn new_calls_hear_503_until_the_old_ones_end(host: &Host, servers: &Processes, load: Calls) -> anyhow::Result<()> {
    let mut command = host.command()?;
    command.args(["ringdown", "host"]).args(REPLACE).arg("600").stdin(Stdio::null()).stdout(Stdio::null());
    let mut replacing = Beside(command.spawn().context("starting the replacement")?);
    wait_for(Duration::from_secs(240), "new calls are kept away", || {
        host.get("/run/ringdown/drain").ok().filter(|text| text.trim() == "calls")
    })?;
    let one = ["ringdown", "sim", "calls", "--json", "--calls", "1", "--agents", "1", "--patience-ms", "5000"];
    let refused = host.run_for(Duration::from_secs(120), &one)?;
    assert!(refused.code() != 0 && refused.said().contains("503"), "{}", refused.said());
    assert_eq!(calls_now(host)?, CALLS, "those in progress go on");
    load.end(host, "appliance_upgrade_another_asterisk")?;
    let ended = wait_for(Duration::from_secs(400), "the replacement ends", || replacing.0.try_wait().transpose())??;
    assert_eq!((ended.code(), end_of(host).as_deref()), (Some(0), Some("done")));
    assert_version(host, NEXT)?;
    let (now, before) = (processes(host, &SERVERS)?, servers);
    assert_ne!(now["asterisk"], before["asterisk"], "it is another Asterisk");
    assert_eq!((now["redis"], now["postgresql"]), (before["redis"], before["postgresql"]));
    Ok(())
}

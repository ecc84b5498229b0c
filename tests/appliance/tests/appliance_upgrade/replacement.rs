//! The main way: to the next version under calls, back under calls, and back by itself when the next one is broken.

use std::time::Instant;

use ringdown_appliance::bundle::{self, bundle_of};
use ringdown_appliance::fleet::{Fleet, Host};

use super::host::{DAEMONS, SERVERS, assert_version, centre, processes, told, versions};
use super::load::{Calls, assert_conserved};
use super::releases::{self, NEXT, NOW, TOO_FAR};

/// A call and a half each second: with the talk, about eight at a time.
const LOAD: [&str; 6] = ["--agents", "12", "--rate", "1.5", "--talk-ms", "5000"];

#[test]
fn a_version_is_replaced_and_comes_back_under_calls() -> anyhow::Result<()> {
    let (now, next) = releases::now_and_next()?;
    let fleet = Fleet::new()?;
    let bundles = releases::bundles(&fleet, &next)?;
    releases::broken(&fleet, &bundles)?;
    // What it is, is said here only: the next version learns it from the data volume.
    let host = centre(&fleet, &now, &bundles, &[("RINGDOWN_ACD_LEASE_MS", "2500")])?;
    assert_version(&host, NOW)?;
    let (servers, daemons) = (processes(&host, &SERVERS)?, processes(&host, &DAEMONS)?);

    replaced_under_calls(&host, "upgrade", 240, &["replace", "--bundle", "/srv/bundles/next"], NEXT)?;
    assert_eq!(processes(&host, &SERVERS)?, servers, "what is the same goes on");
    let replaced = processes(&host, &DAEMONS)?;
    assert!(DAEMONS.iter().all(|name| replaced[name] != daemons[name]), "{replaced:?}");
    assert!(host.get("/etc/ringdown/acd.env")?.contains("\nRINGDOWN_ACD_LEASE_MS=2500\n"), "it is what it was");

    replaced_under_calls(&host, "rollback", 241, &["rollback"], NOW)?;
    assert_conserved(&host)?;
    let again = told(&host, &["rollback"])?;
    assert!(again.code() == 1 && again.stderr.contains("no version before"), "{}", again.said());

    let began = Instant::now();
    let ran = told(&host, &["replace", "--bundle", "/srv/bundles/broken"])?;
    println!("appliance_upgrade_broken_is_back {:.1} s", began.elapsed().as_secs_f64());
    assert!(ran.code() == 1 && ran.stdout.contains("did not work here"), "{}", ran.said());
    assert_version(&host, NOW)?;
    fleet.passed();
    Ok(())
}

fn replaced_under_calls(host: &Host, name: &str, calls: u64, words: &[&str], version: &str) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let mut load = Calls::begin(host, folder.path(), calls, &LOAD)?;
    let began = Instant::now();
    let ran = told(host, words)?;
    assert_eq!(ran.code(), 0, "{}", ran.said());
    println!("{}", ran.said());
    println!("appliance_{name}_took {:.1} s", began.elapsed().as_secs_f64());
    println!("appliance_{name}_rto {:.1} s", away(&ran.stdout));
    assert!(load.go_on()?, "the calls were over before the replacement was");
    assert_version(host, version)?;
    load.end(host, &format!("appliance_{name}"))
}

/// How long a load balancer sent it nothing, as it says itself: seconds.
fn away(said: &str) -> f64 {
    let words: Vec<&str> = said.split_whitespace().collect();
    let at = words.iter().rposition(|word| *word == "ms");
    at.and_then(|at| words.get(at.checked_sub(1)?)?.parse::<f64>().ok()).map_or(f64::NAN, |ms| ms / 1_000.0)
}

/// The next version judges before anything stops.
#[test]
fn what_cannot_be_is_refused_and_nothing_stops() -> anyhow::Result<()> {
    let (now, next) = releases::now_and_next()?;
    let fleet = Fleet::new()?;
    let bundles = releases::bundles(&fleet, &next)?;
    bundle_of(TOO_FAR, None, &bundles.join("too-far"))?;
    let host = centre(&fleet, &now, &bundles, &[])?;
    let before = (processes(&host, &SERVERS)?, processes(&host, &DAEMONS)?, versions(&host)?);
    host.sh("cp -r /srv/bundles/next /srv/flipped && printf x >>/srv/flipped/first_boot/verify.sh")?;
    host.sh("cp -r /srv/bundles/next /srv/added && echo 'id' >/srv/added/first_boot/more.sh")?;
    let cases = [
        ("/srv/flipped", "damaged"),
        ("/srv/added", "not signed"),
        ("/srv/bundles/too-far", "can replace 0.2.0 and newer"),
        ("/srv/nothing", "no bundle"),
    ];
    for (place, reason) in cases {
        let ran = told(&host, &["replace", "--bundle", place])?;
        assert!(ran.code() == 1 && ran.stderr.contains(reason), "{place}: {}", ran.said());
    }
    host.sh("echo RINGDOWN_ACD_LEASE_MS=never >/etc/ringdown/first-boot.env")?;
    let ran = told(&host, &["replace", "--bundle", "/srv/bundles/next"])?;
    assert!(ran.code() == 1 && ran.stderr.contains("RINGDOWN_ACD_LEASE_MS"), "{}", ran.said());
    host.sh("rm -r /etc/ringdown/first-boot.env /srv/flipped /srv/added")?;
    let ran = told(&host, &["replace", "--dry-run", "--bundle", "/srv/bundles/next"])?;
    assert!(ran.code() == 0 && ran.stdout.contains("calls go on"), "{}", ran.said());
    let same = told(&host, &["replace", "--bundle", bundle::INSIDE])?;
    assert!(same.code() == 0 && same.stdout.contains("nothing was changed"), "{}", same.said());
    // Two at a time would undo each other's work.
    host.sh("exec 9>/run/ringdown-host.lock && flock 9 && ! ringdown host rollback 2>/run/second")?;
    assert!(host.get("/run/second")?.contains("another `ringdown host` is at work"));
    assert_eq!((processes(&host, &SERVERS)?, processes(&host, &DAEMONS)?, versions(&host)?), before);
    assert!(host.run(&["test", "-e", "/run/ringdown/drain"])?.code() != 0);
    fleet.passed();
    Ok(())
}

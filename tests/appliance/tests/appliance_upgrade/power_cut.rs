//! The power is cut in the middle of a replacement: the next boot goes on with it.

use std::process::Stdio;
use std::time::{Duration, Instant};

use ringdown_appliance::fleet::{Fleet, Host, wait_for};

use super::host::{RECORD, assert_version, centre, told, versions, wait_end};
use super::releases::{self, NEXT, NOW};

/// Where it is cut.
#[derive(Clone, Copy, Debug)]
enum Moment {
    /// New work is kept away, nothing has changed.
    Drained,
    /// Some packages are of the one version, some of the other.
    Packages,
    /// All packages are the other version's; they are being configured and started.
    Start,
}

impl Moment {
    fn has_come(self, host: &Host, from: &str) -> bool {
        let step = host.get(RECORD).unwrap_or_default();
        if !step.contains("\"end\": null") {
            return false;
        }
        let versions = versions(host).unwrap_or_default();
        match self {
            Self::Drained => step.contains("\"drain\""),
            Self::Packages => versions.len() > 1,
            Self::Start => versions.len() == 1 && versions != [format!("{from}-1")],
        }
    }
}

#[test]
fn a_power_cut_in_the_middle_only_delays_it() -> anyhow::Result<()> {
    let (now, next) = releases::now_and_next()?;
    let fleet = Fleet::new()?;
    let bundles = releases::bundles(&fleet, &next)?;
    let mut host = centre(&fleet, &now, &bundles, &[])?;
    let forward: &[&str] = &["replace", "--bundle", "/srv/bundles/next"];
    let cases = [
        (Moment::Packages, forward, NOW, NEXT),
        (Moment::Start, &["rollback"], NEXT, NOW),
        (Moment::Drained, forward, NOW, NEXT),
    ];
    for (moment, words, from, to) in cases {
        let took = cut(&mut host, moment, words, from)?;
        assert_version(&host, to)?;
        println!("appliance_upgrade_power_cut_{} {:.1} s", format!("{moment:?}").to_lowercase(), took.as_secs_f64());
    }
    // It works: a call gets through.
    let ran = host.run_for(Duration::from_secs(120), &["ringdown", "sim", "calls", "--calls", "1", "--agents", "1"])?;
    assert_eq!(ran.code(), 0, "{}", ran.said());
    // And nothing of it stays in the way of the next one.
    let ran = told(&host, &["rollback"])?;
    assert_eq!(ran.code(), 0, "{}", ran.said());
    assert_version(&host, NOW)?;
    fleet.passed();
    Ok(())
}

/// Gives how long it took from the power's return.
fn cut(host: &mut Host, moment: Moment, words: &[&str], from: &str) -> anyhow::Result<Duration> {
    let mut command = host.command()?;
    command.args(["ringdown", "host"]).args(words);
    let mut asked = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    let come = wait_for(Duration::from_secs(240), &format!("{moment:?}"), || moment.has_come(host, from).then_some(()));
    if come.is_err() {
        asked.kill()?;
    } else {
        host.power_cut()?;
    }
    asked.wait()?;
    come?;
    host.boot()?;
    let began = Instant::now();
    let end = wait_end(host)?;
    assert_eq!(end, "done", "{}\n{}", host.get(RECORD)?, host.sh("tail -n 60 /var/log/ringdown/replacement.log")?);
    wait_for(Duration::from_secs(60), "the unit is gone, and everything works", || {
        let gone = host.run(&["test", "!", "-e", "/etc/systemd/system/ringdown-replacement.service"]).ok()?;
        let status = host.run(&["ringdown", "status"]).ok()?;
        (gone.code() == 0 && status.code() == 0).then_some(())
    })?;
    Ok(began.elapsed())
}

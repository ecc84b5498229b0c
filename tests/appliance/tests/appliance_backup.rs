//! `appliance-backup`: hosts are backed up under load and destroyed without warning; fresh ones start from the copies.

#![expect(clippy::print_stdout, reason = "figures are what a suite is run for")]

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, ensure};
use ringdown_appliance::bundle::{self, bundle};
use ringdown_appliance::fleet::{Fleet, Host, Ran, checkout, wait_for};
use ringdown_appliance::packages::here;

const INSTALL_LIMIT: Duration = Duration::from_secs(400);
const BACKUP_LIMIT: Duration = Duration::from_secs(120);
const LOAD_LIMIT: Duration = Duration::from_secs(180);
/// PostgreSQL's log is copied after this at the latest, and some time to do so.
const RPO_S: f64 = 60.0 + 15.0;
const COPIES: &str = "/srv/copies";
const KEYS: &str = "/srv/keys";
const DATA: &str = "redis,postgresql,backup";
const APPLICATION: &str = "web-api,provisioner,acd,notifier,backup";

/// What all hosts of one test share: where copies go, keys, what the load wrote down.
struct Site<'a> {
    fleet: &'a Fleet,
    recipient: String,
}

/// One line of the load's log.
struct Acknowledged {
    asked: f64,
    answered: f64,
    kind: String,
    what: String,
}

impl<'a> Site<'a> {
    fn new(fleet: &'a Fleet) -> anyhow::Result<Self> {
        let (keys, secrets) = (fleet.folder("keys")?, fleet.folder("keys/secrets")?);
        let identity = keys.join("identity");
        here(&["age-keygen", "-o", path(&identity)?])?.success().context("making an identity")?;
        let recipient = here(&["age-keygen", "-y", path(&identity)?])?.success()?.trim().to_owned();
        let make = checkout().join("provisioning/ansible/roles/base/files/make_secrets");
        let names = ["-", "REDIS_PASSWORD", "POSTGRES_PASSWORD", "ADMIN_PASSWORD"];
        here(&[&[path(&make)?, path(&secrets)?][..], &names].concat())?.success().context("making shared secrets")?;
        fleet.folder("copies")?;
        fleet.folder("load")?;
        Ok(Self { fleet, recipient })
    }

    fn host(&self, name: &str, number: u8) -> anyhow::Result<Host> {
        let host = self.fleet.host(name).number(number).bind_read_only(bundle()?, bundle::INSIDE);
        let host = host.bind(self.fleet.folder("copies")?, COPIES).bind_read_only(self.fleet.folder("keys")?, KEYS);
        let host = host.bind(self.fleet.folder("load")?, "/srv/load").boot()?;
        host.wait_running(Duration::from_secs(60))?;
        Ok(host)
    }

    fn install(&self, host: &Host, components: &str, peer: &str, more: &[&str]) -> anyhow::Result<Ran> {
        let recipient = format!("RINGDOWN_BACKUP_RECIPIENT={}", self.recipient);
        let (components, peers) = (format!("RINGDOWN_COMPONENTS={components}"), format!("RINGDOWN_PEERS={peer}"));
        let folder = format!("RINGDOWN_BACKUP_DIR={COPIES}");
        let mut words = vec!["env", &recipient, &components, &peers, &folder];
        let redis = format!("RINGDOWN_REDIS_URL=redis://{peer}:6379/0");
        let postgres = format!("RINGDOWN_POSTGRES_URL=postgres://ringdown@{peer}:5432/ringdown");
        if components.contains("web-api") {
            words.extend([redis.as_str(), postgres.as_str()]);
        }
        words.extend(more);
        words.push("/srv/bundle/first_boot_installer");
        host.run_for(INSTALL_LIMIT, &words)
    }

    /// What the load says was acknowledged.
    fn acknowledged(&self) -> anyhow::Result<Vec<Acknowledged>> {
        let log = std::fs::read_to_string(self.fleet.folder("load")?.join("log")).unwrap_or_default();
        // The last line may be cut off by the power cut.
        let whole = log.rsplit_once('\n').map_or("", |(whole, _)| whole);
        whole.lines().map(acknowledged).collect()
    }

    fn wait_acknowledged(&self, kind: &str, more: usize) -> anyhow::Result<()> {
        let count = || self.acknowledged().map_or(0, |all| all.iter().filter(|one| one.kind == kind).count());
        let goal = count() + more;
        wait_for(LOAD_LIMIT, &format!("{more} more of {kind} are written"), || (count() >= goal).then_some(()))
    }
}

fn acknowledged(line: &str) -> anyhow::Result<Acknowledged> {
    let words: Vec<_> = line.split(' ').collect();
    let [asked, answered, kind, what] = words.as_slice() else { anyhow::bail!("the load wrote {line:?}") };
    Ok(Acknowledged { asked: asked.parse()?, answered: answered.parse()?, kind: (*kind).into(), what: (*what).into() })
}

fn path(path: &Path) -> anyhow::Result<&str> {
    path.to_str().context("a path of this test is text")
}

fn now() -> anyhow::Result<f64> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs_f64())
}

fn back_up(host: &Host, arguments: &[&str]) -> anyhow::Result<String> {
    let words = [&["ringdown-backup", "run"][..], arguments].concat();
    host.run_for(BACKUP_LIMIT, &words)?.success().with_context(|| format!("backing up {}", host.name()))
}

/// Names of skills PostgreSQL has.
fn skills(host: &Host) -> anyhow::Result<BTreeSet<String>> {
    let line = "setpriv --reuid postgres --regid postgres --init-groups psql -X -t -A -h /run/ringdown-postgresql ringdown \
                -c \"SELECT name FROM skills WHERE name LIKE 'skill-%'\"";
    Ok(host.sh(line)?.lines().map(str::to_owned).collect())
}

/// Interactions Redis has, of those written: their ids are in its keys or values.
fn interactions(host: &Host) -> anyhow::Result<String> {
    host.sh(
        "export REDISCLI_AUTH=$(cat /etc/ringdown/secrets/REDIS_PASSWORD); redis-cli --scan --pattern '*interaction*'",
    )
}

fn secrets(host: &Host) -> anyhow::Result<String> {
    host.sh("cd /etc/ringdown/secrets && sha256sum *")
}

#[test]
fn destroyed_hosts_come_back_from_their_copies() -> anyhow::Result<()> {
    bundle()?;
    let fleet = Fleet::new()?;
    let site = Site::new(&fleet)?;
    let shared = "INSTALL_RINGDOWN_SECRETS=/srv/keys/secrets";
    let mut data = site.host("data", 21)?;
    let mut application = site.host("application", 22)?;
    site.install(&data, DATA, "10.77.0.22", &[shared])?.success()?;
    site.install(&application, APPLICATION, "10.77.0.21", &[shared])?.success()?;
    let load = std::fs::read(checkout().join("tests/appliance/tests/backup_load.py"))?;
    application.put("/root/backup_load.py", &load, 0o755)?;
    application.sh("systemd-run --quiet --unit=load python3 /root/backup_load.py /srv/load/log")?;
    site.wait_acknowledged("interaction", 10)?;
    application.sh("echo 'RINGDOWN_ACD_KEEP_ENDED_S=7200' | cat - /etc/ringdown/acd.env >/root/new && cat /root/new >/etc/ringdown/acd.env")?;
    for host in [&data, &application] {
        back_up(host, &[])?;
    }
    site.wait_acknowledged("skill", 10)?;
    let instant = now()?;
    site.wait_acknowledged("skill", 10)?;
    let copied = now()?;
    for host in [&data, &application] {
        back_up(host, &["--state"])?;
    }
    // Until the log of the last minute is away too, whatever else happens.
    wait_for(LOAD_LIMIT, "a minute of load", || now().is_ok_and(|now| now > copied + 70.0).then_some(()))?;
    println!("{}", data.run(&["ringdown-backup", "status"])?.success()?);
    let kept = [secrets(&data)?, secrets(&application)?];
    what_is_wrong_is_refused(&site, &data)?;
    let cut = now()?;
    data.power_cut()?;
    application.power_cut()?;
    nothing_is_readable_without_the_identity(&site)?;

    let began = Instant::now();
    let [data, application] = restored(&site, &kept)?;
    wait_for(Duration::from_secs(60), "the restored installation is healthy", || {
        application.run(&["ringdown", "status"]).ok().filter(|ran| ran.status.success())
    })?;
    println!("backup_rto_two_hosts {:.0} s", began.elapsed().as_secs_f64());
    assert!(application.get("/etc/ringdown/acd.env")?.contains("RINGDOWN_ACD_KEEP_ENDED_S=7200"), "edits are kept");
    compare_postgresql(&site, &data, cut)?;
    compare_redis(&site, &data, copied, cut)?;
    // It goes on: the next backup follows on the restored one.
    let old = old_copies(&site)?;
    back_up(&data, &[])?;
    let left: Vec<_> = old.iter().map(|folder| folder.exists()).collect();
    assert_eq!(left, [false, true, false], "one of a day is kept, for 14 days");
    data.run(&["ringdown-backup", "status"])?.success().context("a restored host is backed up again")?;
    let again = site.install(&data, DATA, "10.77.0.42", &[])?;
    assert!(again.code() == 0 && again.stdout.contains("nothing was changed"), "{}", again.said());

    a_point_in_time(&site, instant)?;
    fleet.passed();
    Ok(())
}

/// On a host that holds data.
fn what_is_wrong_is_refused(site: &Site, data: &Host) -> anyhow::Result<()> {
    let from = format!("INSTALL_RINGDOWN_RESTORE={COPIES}/data");
    let identity = format!("INSTALL_RINGDOWN_RESTORE_IDENTITY={KEYS}/identity");
    let cases: [(&[&str], i32, &str); 5] = [
        (&[&from, &identity], 2, "holds data already"),
        (&[&from], 78, "INSTALL_RINGDOWN_RESTORE_IDENTITY is not set"),
        (&[&from, &identity, "INSTALL_RINGDOWN_RESTORE_TIME=yesterday"], 78, "is a time like"),
        (&["INSTALL_RINGDOWN_RESTORE=/srv/keys"], 78, "there is no backup in /srv/keys"),
        (&["RINGDOWN_BACKUP_RECIPIENT=AGE-SECRET-KEY-1"], 78, "age-keygen"),
    ];
    for (variables, code, named) in cases {
        let ran = site.install(data, DATA, "10.77.0.22", variables)?;
        assert!(ran.code() == code && ran.stderr.contains(named), "{variables:?} names {named}: {}", ran.said());
    }
    Ok(())
}

/// Copies that seem to be of 20 days ago, and two of one day three days ago.
fn old_copies(site: &Site) -> anyhow::Result<Vec<std::path::PathBuf>> {
    let state = site.fleet.folder("copies")?.join("data/state");
    let ages = [("-20 days", "T120000Z"), ("-3 days", "T010000Z"), ("-3 days", "T020000Z")];
    let make = |(age, hour): (&str, &str)| {
        let day = here(&["date", "-u", "-d", age, "+%Y%m%d"])?.success()?;
        let folder = state.join(format!("{}{hour}", day.trim()));
        std::fs::create_dir(&folder).with_context(|| format!("making {}", folder.display()))?;
        Ok(folder)
    };
    ages.into_iter().map(make).collect()
}

fn restored(site: &Site, kept: &[String; 2]) -> anyhow::Result<[Host; 2]> {
    let identity = format!("INSTALL_RINGDOWN_RESTORE_IDENTITY={KEYS}/identity");
    let data = site.host("data", 41)?;
    let from = format!("INSTALL_RINGDOWN_RESTORE={COPIES}/data");
    // Somebody else's identity opens nothing, and the host says so.
    here(&["age-keygen", "-o", path(&site.fleet.folder("keys")?.join("other"))?])?.success()?;
    let other = format!("INSTALL_RINGDOWN_RESTORE_IDENTITY={KEYS}/other");
    let refused = site.install(&data, DATA, "10.77.0.42", &[&from, &other])?;
    assert!(refused.code() == 4 && refused.said().contains("does not open"), "{}", refused.said());
    let said = site.install(&data, DATA, "10.77.0.42", &[&from, &identity])?.success()?;
    assert!(said.contains("RTO") && said.contains("RPO"), "{said}");
    let application = site.host("application", 42)?;
    let from = format!("INSTALL_RINGDOWN_RESTORE={COPIES}/application");
    site.install(&application, APPLICATION, "10.77.0.41", &[&from, &identity])?.success()?;
    assert_eq!([secrets(&data)?, secrets(&application)?], *kept, "secrets are what they were");
    Ok([data, application])
}

/// A beginning of what was acknowledged, without holes, and all but the last minute.
fn compare_postgresql(site: &Site, data: &Host, cut: f64) -> anyhow::Result<()> {
    let there = skills(data)?;
    let written: Vec<_> = site.acknowledged()?.into_iter().filter(|one| one.kind == "skill").collect();
    ensure!(written.len() > 50, "the load wrote only {} skills", written.len());
    let lost: Vec<_> = written.iter().filter(|one| !there.contains(&one.what)).collect();
    let first_lost = lost.first().map_or(cut, |one| one.answered);
    assert!(written.iter().filter(|one| one.answered >= first_lost).all(|one| !there.contains(&one.what)), "a hole");
    println!("backup_rpo_postgresql {:.1} s", cut - first_lost);
    println!("backup_written {} skills", written.len());
    assert!(cut - first_lost <= RPO_S, "{} of {} are lost", lost.len(), written.len());
    Ok(())
}

/// Everything acknowledged before the last copy.
fn compare_redis(site: &Site, data: &Host, copied: f64, cut: f64) -> anyhow::Result<()> {
    let there = interactions(data)?;
    let written = site.acknowledged()?.into_iter().filter(|one| one.kind == "interaction" && one.answered < copied);
    let lost: Vec<_> = written.filter(|one| !there.contains(&one.what)).map(|one| one.what).collect();
    println!("backup_rpo_redis {:.1} s", cut - copied);
    assert!(lost.is_empty(), "{lost:?}");
    Ok(())
}

fn nothing_is_readable_without_the_identity(site: &Site) -> anyhow::Result<()> {
    let copies = site.fleet.folder("copies")?;
    let secret = std::fs::read_to_string(site.fleet.folder("keys")?.join("secrets/REDIS_PASSWORD"))?;
    for needle in [secret.trim(), "kept.ringdown.invalid", "nobody-has-it"] {
        let ran = here(&["grep", "-rlF", needle, path(&copies)?])?;
        assert_eq!(ran.code(), 1, "{needle} is in {}", ran.stdout);
    }
    Ok(())
}

/// As of an instant: what was acknowledged before it is there, what was asked for after it is not.
fn a_point_in_time(site: &Site, instant: f64) -> anyhow::Result<()> {
    let host = site.host("data", 51)?;
    let time = here(&["date", "-u", "-d", &format!("@{instant:.3}"), "+%FT%T.%3NZ"])?.success()?;
    let time = format!("INSTALL_RINGDOWN_RESTORE_TIME={}", time.trim());
    let from = format!("INSTALL_RINGDOWN_RESTORE={COPIES}/data");
    let identity = format!("INSTALL_RINGDOWN_RESTORE_IDENTITY={KEYS}/identity");
    // It is to look at: its own copies go elsewhere.
    let elsewhere = "RINGDOWN_BACKUP_DIR=/var/backups/ringdown";
    site.install(&host, DATA, "10.77.0.52", &[&from, &identity, &time, elsewhere])?.success()?;
    let there = skills(&host)?;
    for one in site.acknowledged()?.iter().filter(|one| one.kind == "skill") {
        assert!(one.answered > instant || there.contains(&one.what), "{} was there", one.what);
        assert!(one.asked < instant || !there.contains(&one.what), "{} was not there yet", one.what);
    }
    Ok(())
}

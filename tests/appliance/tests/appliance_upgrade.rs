//! `appliance-upgrade`: a version is replaced by the next one and comes back, under calls; hosts are replaced by other roots.

#![expect(clippy::print_stdout, reason = "figures are what a suite is run for")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use ringdown_appliance::bundle::{self, bundle, bundle_of};
use ringdown_appliance::fleet::{Fleet, Host, Ran, wait_for};

const INSTALL_LIMIT: Duration = Duration::from_secs(400);
const REPLACE_LIMIT: Duration = Duration::from_secs(400);
const BOOT_LIMIT: Duration = Duration::from_secs(60);
const INSTALLER: &str = "/srv/bundle/first_boot_installer";
const NEXT: &str = "0.2.0";
const TOO_FAR: &str = "0.3.0";
/// The daemons of one host; Asterisk, Redis and PostgreSQL are not replaced with them.
const DAEMONS: [&str; 5] = ["web-api", "provisioner", "acd", "registrar", "notifier"];
const SERVERS: [&str; 3] = ["redis", "postgresql", "asterisk"];

fn installer(host: &Host, variables: &[(&str, &str)], place: &str) -> anyhow::Result<Ran> {
    let settings: Vec<String> = variables.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let mut words = vec!["env"];
    words.extend(settings.iter().map(String::as_str));
    words.push(place);
    host.run_for(INSTALL_LIMIT, &words)
}

fn installed(host: &Host, variables: &[(&str, &str)]) -> anyhow::Result<()> {
    host.wait_running(BOOT_LIMIT)?;
    let ran = installer(host, variables, INSTALLER)?;
    ensure!(ran.code() == 0, "installing {}: {}", host.name(), ran.said());
    Ok(())
}

fn replace(host: &Host, words: &[&str]) -> anyhow::Result<Ran> {
    host.run_for(REPLACE_LIMIT, &[&["ringdown", "host"], words].concat())
}

fn versions(host: &Host) -> anyhow::Result<Vec<String>> {
    let said = host.sh("dpkg-query -W -f='${Version}\\n' 'ringdown-*' | sort -u")?;
    Ok(said.lines().map(str::to_owned).collect())
}

fn assert_version(host: &Host, version: &str) -> anyhow::Result<()> {
    assert_eq!(versions(host)?, [format!("{version}-1")]);
    let status = host.run(&["ringdown", "status"])?;
    assert!(status.code() == 0 && !status.stdout.contains("drained"), "{}", status.said());
    assert_eq!(host.sh("systemctl --failed --no-legend --plain")?.trim(), "");
    assert_eq!(host.sh("ls /etc/systemd/system/ringdown-replacement.service 2>/dev/null || true")?, "");
    Ok(())
}

fn processes(host: &Host, names: &[&'static str]) -> anyhow::Result<BTreeMap<&'static str, u32>> {
    names.iter().map(|name| Ok((*name, host.main_pid(&format!("ringdown-{name}"))?))).collect()
}

/// Calls that come in while something else happens.
struct Load {
    child: Child,
    out: PathBuf,
    calls: u64,
}

impl Load {
    fn begin(host: &Host, folder: &Path, calls: u64) -> anyhow::Result<Self> {
        let out = folder.join(format!("load-{calls}.json"));
        let error = std::fs::File::create(out.with_extension("err"))?;
        let count = calls.to_string();
        let words =
            ["ringdown", "sim", "calls", "--json", "--keep", "--agents", "12", "--rate", "1.5", "--talk-ms", "5000"];
        let mut command = host.command()?;
        command.args(words).args(["--calls", &count]);
        command.stdin(Stdio::null()).stdout(std::fs::File::create(&out)?).stderr(error);
        let load = Self { child: command.spawn().context("starting the load")?, out, calls };
        wait_for(Duration::from_secs(60), "calls are in progress", || {
            calls_now(host).ok().filter(|count| *count >= 3)
        })?;
        Ok(load)
    }

    /// Waits for its end: every call was answered, by one agent, and both heard each other.
    fn end(mut self, host: &Host) -> anyhow::Result<()> {
        let status = wait_for(Duration::from_secs(240), "the load ends", || self.child.try_wait().transpose())??;
        let said = std::fs::read_to_string(&self.out)?;
        let complaint = std::fs::read_to_string(self.out.with_extension("err"))?;
        let figure = |name: &str| -> Option<u64> {
            let rest = said.split_once(&format!("\"{name}\":"))?.1;
            rest.trim().split([',', '\n', '}']).next()?.trim().parse().ok()
        };
        ensure!(status.success(), "the load: {said}{complaint}");
        let (offered, answered) = (figure("offered"), figure("answered"));
        let (lost, heard) = (figure("lost"), figure("heard"));
        let all = Some(self.calls);
        assert_eq!((offered, answered, lost, heard), (all, all, Some(0), all), "{said}{complaint}");
        assert_eq!(calls_now(host)?, 0, "no call is stuck");
        Ok(())
    }
}

fn calls_now(host: &Host) -> anyhow::Result<u64> {
    let said = host.sh("curl -s -m 2 http://127.0.0.1:8002/metrics | sed -n 's/^[a-z_]*voice_calls //p'")?;
    said.trim().parse().with_context(|| format!("voice_calls is {said:?}"))
}

/// No interaction was given to two agents, none is left in a queue.
fn assert_conserved(host: &Host) -> anyhow::Result<()> {
    let line = "export REDISCLI_AUTH=$(cat /etc/ringdown/secrets/REDIS_PASSWORD)
        redis-cli --scan --pattern '{*}:history:*' | while read -r key; do
            echo $(redis-cli lrange \"$key\" 0 -1 | grep -c '\"connected\"') \"$key\"
        done | awk '{count[$1]++} END {for (times in count) print times, count[times]}'";
    let connected = host.sh(line)?;
    println!("connections per interaction: {}", connected.trim().replace('\n', "; "));
    assert!(connected.lines().all(|line| line.starts_with("1 ")), "times, interactions: {connected}");
    let live = "export REDISCLI_AUTH=$(cat /etc/ringdown/secrets/REDIS_PASSWORD)
        for key in $(redis-cli --scan --pattern '{*}:live'; redis-cli --scan --pattern '{*}:queue'); do echo \"$key\"; done";
    assert_eq!(host.sh(live)?.trim(), "", "nothing is stuck");
    Ok(())
}

/// The same programs with a section more: to packages they are others, so daemons are started anew.
fn next_programs(fleet: &Fleet) -> anyhow::Result<PathBuf> {
    let folder = fleet.folder("next-programs")?;
    let programs = std::env::var("RINGDOWN_BIN_DIR").context("RINGDOWN_BIN_DIR names the programs")?;
    let line = "echo next >\"$2/mark\"
        for program in ringdown ringdown-web-api ringdown-provisioner ringdown-acd ringdown-registrar ringdown-notifier; do
            objcopy --add-section .ringdown_next=\"$2/mark\" \"$1/$program\" \"$2/$program\"
        done";
    let made = Command::new("sh").args(["-euc", line, "next", &programs]).arg(&folder).status()?;
    ensure!(made.success(), "making the next version's programs");
    Ok(folder)
}

/// The next version with an ACD that starts and ends at once.
fn broken_programs(fleet: &Fleet) -> anyhow::Result<PathBuf> {
    let folder = fleet.folder("broken-programs")?;
    let programs = fleet.folder("next-programs")?.to_string_lossy().into_owned();
    let line = "cp \"$1\"/ringdown* \"$2\"/ && rm \"$2/ringdown-acd\"
        echo 'int main(int count, char **words) { return count > 1 ? 0 : 1; }' | gcc -x c -o \"$2/ringdown-acd\" -";
    let made = Command::new("sh").args(["-euc", line, "broken", &programs]).arg(&folder).status()?;
    ensure!(made.success(), "making a broken ACD");
    Ok(folder)
}

#[test]
fn a_version_is_replaced_and_comes_back_under_calls() -> anyhow::Result<()> {
    let now = bundle()?;
    let fleet = Fleet::new()?;
    let bundles = fleet.folder("bundles")?;
    bundle_of(NEXT, Some(&next_programs(&fleet)?), &bundles.join("next"))?;
    bundle_of(TOO_FAR, None, &bundles.join("too-far"))?;
    bundle_of(NEXT, Some(&broken_programs(&fleet)?), &bundles.join("broken"))?;
    let version = std::fs::read_to_string(now.join("VERSION"))?.trim().to_owned();
    let mut host =
        fleet.host("centre").bind_read_only(now, bundle::INSIDE).bind_read_only(&bundles, "/srv/bundles").boot()?;
    // What it is, is said here only: the next version learns it from the data volume.
    installed(&host, &[("RINGDOWN_COMPONENTS", "all"), ("RINGDOWN_ACD_LEASE_MS", "2500")])?;
    assert_version(&host, &version)?;
    what_cannot_be_is_refused_and_nothing_stops(&host)?;

    let (servers, daemons) = (processes(&host, &SERVERS)?, processes(&host, &DAEMONS)?);
    let load = Load::begin(&host, &bundles, 90)?;
    let began = Instant::now();
    let ran = replace(&host, &["replace", "--bundle", "/srv/bundles/next"])?;
    assert_eq!(ran.code(), 0, "{}", ran.said());
    println!("{}", ran.said());
    println!("appliance_upgrade_replace {:.1} s", began.elapsed().as_secs_f64());
    assert_version(&host, NEXT)?;
    assert_eq!(processes(&host, &SERVERS)?, servers, "what is the same goes on");
    let replaced = processes(&host, &DAEMONS)?;
    assert!(DAEMONS.iter().all(|name| replaced[name] != daemons[name]), "{replaced:?}");
    assert!(host.get("/etc/ringdown/acd.env")?.contains("\nRINGDOWN_ACD_LEASE_MS=2500\n"), "it is what it was");
    load.end(&host)?;

    let load = Load::begin(&host, &bundles, 91)?;
    let began = Instant::now();
    let ran = replace(&host, &["rollback"])?;
    assert_eq!(ran.code(), 0, "{}", ran.said());
    println!("appliance_upgrade_rollback {:.1} s", began.elapsed().as_secs_f64());
    assert_version(&host, &version)?;
    load.end(&host)?;
    assert_conserved(&host)?;
    assert_eq!(replace(&host, &["rollback"])?.code(), 1, "there is nothing before it any more");

    let began = Instant::now();
    let ran = replace(&host, &["replace", "--bundle", "/srv/bundles/broken"])?;
    println!("appliance_upgrade_broken_is_back {:.1} s", began.elapsed().as_secs_f64());
    assert!(ran.code() == 1 && ran.stdout.contains("did not work here"), "{}", ran.said());
    assert_version(&host, &version)?;

    a_power_cut_only_delays_it(&mut host)?;
    fleet.passed();
    Ok(())
}

/// The next version judges before anything stops.
fn what_cannot_be_is_refused_and_nothing_stops(host: &Host) -> anyhow::Result<()> {
    let before = (processes(host, &SERVERS)?, processes(host, &DAEMONS)?, versions(host)?);
    host.sh("cp -r /srv/bundles/next /srv/flipped && printf x >>/srv/flipped/first_boot/verify.sh")?;
    host.sh("cp -r /srv/bundles/next /srv/added && echo 'id' >/srv/added/first_boot/more.sh")?;
    let cases = [
        ("/srv/flipped", "damaged"),
        ("/srv/added", "not signed"),
        ("/srv/bundles/too-far", "can replace 0.2.0 and newer"),
        ("/srv/nothing", "no bundle"),
    ];
    for (place, reason) in cases {
        let ran = replace(host, &["replace", "--bundle", place])?;
        assert!(ran.code() == 1 && ran.stderr.contains(reason), "{place}: {}", ran.said());
    }
    host.sh("echo RINGDOWN_ACD_LEASE_MS=never >/etc/ringdown/first-boot.env")?;
    let ran = replace(host, &["replace", "--bundle", "/srv/bundles/next"])?;
    assert!(ran.code() == 1 && ran.stderr.contains("RINGDOWN_ACD_LEASE_MS"), "{}", ran.said());
    host.sh("rm -r /etc/ringdown/first-boot.env /srv/flipped /srv/added")?;
    let ran = replace(host, &["replace", "--dry-run", "--bundle", "/srv/bundles/next"])?;
    assert!(ran.code() == 0 && ran.stdout.contains("calls go on"), "{}", ran.said());
    let same = replace(host, &["replace", "--bundle", bundle::INSIDE])?;
    assert!(same.code() == 0 && same.stdout.contains("nothing was changed"), "{}", same.said());
    assert_eq!((processes(host, &SERVERS)?, processes(host, &DAEMONS)?, versions(host)?), before);
    assert!(host.run(&["test", "-e", "/run/ringdown/drain"])?.code() != 0);
    Ok(())
}

/// In the middle of the switch.
fn a_power_cut_only_delays_it(host: &mut Host) -> anyhow::Result<()> {
    let mut command = host.command()?;
    command.args(["ringdown", "host", "replace", "--bundle", "/srv/bundles/next"]);
    let mut asked = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    wait_for(Duration::from_secs(60), "packages are being replaced", || {
        versions(host).ok().filter(|versions| versions.len() > 1)
    })?;
    host.power_cut()?;
    asked.wait()?;
    host.boot()?;
    let record = "/var/lib/ringdown/host/replacement.json";
    let end = wait_for(REPLACE_LIMIT, "the replacement goes on to its end", || {
        host.get(record).ok().filter(|text| !text.contains("\"end\": null"))
    })?;
    assert!(end.contains("\"end\": \"done\""), "{end}");
    wait_for(Duration::from_secs(30), "the unit is gone", || assert_version(host, NEXT).ok())?;
    Ok(())
}

/// What keeps two application hosts behind one address, as the product's HAProxy role does.
const BALANCER: &str = "
global
  maxconn 1000
defaults
  mode http
  timeout connect 1s
  timeout client 60s
  timeout server 60s
  retries 3
  option redispatch 1
  retry-on conn-failure empty-response
  option idle-close-on-response
  default-server check inter 500ms fall 2 rise 1
listen api
  bind 10.77.0.1:8000
  balance roundrobin
  option httpchk GET /readyz
  server app1 10.77.0.42:8000
  server app2 10.77.0.43:8000
";
const DATA: &str = "10.77.0.41";
const APPLICATIONS: [(&str, u8, &str); 2] = [("app1", 42, "10.77.0.42"), ("app2", 43, "10.77.0.43")];

/// A child that ends with the test.
struct Beside(Child);

impl Drop for Beside {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// A root, new or not, with the bundle of a version and the data that the host of this name has.
fn root(fleet: &Fleet, name: &str, number: u8, bundle: &Path) -> anyhow::Result<Host> {
    let data = fleet.folder(&format!("data-{name}"))?;
    let host = fleet.host(name).number(number).bind(data, "/var/lib/ringdown").bind_read_only(bundle, bundle::INSIDE);
    let host = host.bind_read_only(fleet.folder("secrets")?, "/srv/secrets").boot()?;
    host.wait_running(BOOT_LIMIT)?;
    Ok(host)
}

/// Drains the host, lets go of its data and throws its root away; then a root of the other version takes its place. Gives how
/// long it was away.
fn replaced_by_a_root(
    fleet: &Fleet,
    old: Host,
    number: u8,
    bundle: &Path,
    back: bool,
) -> anyhow::Result<(Host, Duration)> {
    let name = old.name().to_owned();
    let began = Instant::now();
    let ran = replace(&old, &["release"])?;
    ensure!(ran.code() == 0, "{}", ran.said());
    old.scrap()?;
    let new = root(fleet, &name, number, bundle)?;
    // Who it is, is on its data.
    let variables: &[(&str, &str)] = if back { &[("INSTALL_RINGDOWN_REPLACE", "back")] } else { &[] };
    let ran = installer(&new, variables, INSTALLER)?;
    ensure!(ran.code() == 0, "{}", ran.said());
    Ok((new, began.elapsed()))
}

fn interactions(fleet: &Fleet, token: &Path, out: &Path, count: u32) -> anyhow::Result<Beside> {
    let programs = std::env::var("RINGDOWN_BIN_DIR").context("RINGDOWN_BIN_DIR names the programs")?;
    let mut command = fleet.outside(&format!("{programs}/ringdown"));
    command.args(["sim", "interactions", "--json", "--agents", "40", "--rate", "6", "--handling-ms", "3000", "--keep"]);
    command.args(["--interactions", &count.to_string()]).env("RINGDOWN_API_URL", "http://10.77.0.1:8000");
    command.env("RINGDOWN_API_TOKEN_FILE", token).env("RINGDOWN_DATA_DIR", out.with_extension("none"));
    command.stdin(Stdio::null()).stdout(std::fs::File::create(out)?);
    command.stderr(std::fs::File::create(out.with_extension("err"))?);
    Ok(Beside(command.spawn().context("starting the load")?))
}

#[test]
fn two_application_hosts_are_replaced_one_by_one_and_no_interaction_is_lost() -> anyhow::Result<()> {
    let now = bundle()?;
    let fleet = Fleet::new()?;
    let next = fleet.folder("bundles")?.join("next");
    bundle_of(NEXT, Some(&next_programs(&fleet)?), &next)?;
    let secrets = fleet.folder("secrets")?;
    let make = ringdown_appliance::fleet::checkout().join("provisioning/ansible/roles/base/files/make_secrets");
    let names = ["REDIS_PASSWORD", "POSTGRES_PASSWORD", "ADMIN_PASSWORD"];
    ensure!(Command::new(make).arg(&secrets).arg("-").args(names).stdout(Stdio::null()).status()?.success(), "secrets");

    let mut data = root(&fleet, "data", 41, &now)?;
    let peers = "10.77.0.0/24";
    let shared = [("RINGDOWN_PEERS", peers), ("INSTALL_RINGDOWN_SECRETS", "/srv/secrets")];
    installed(&data, &[&shared[..], &[("RINGDOWN_COMPONENTS", "redis,postgresql")]].concat())?;
    let redis = format!("redis://{DATA}:6379/0");
    let postgres = format!("postgres://ringdown@{DATA}:5432/ringdown");
    let of_applications = [
        ("RINGDOWN_COMPONENTS", "web-api,provisioner,acd,notifier"),
        ("RINGDOWN_ACD_DUTIES", "router"),
        ("RINGDOWN_REDIS_URL", redis.as_str()),
        ("RINGDOWN_POSTGRES_URL", postgres.as_str()),
        ("RINGDOWN_WEB_API_LISTEN", "0.0.0.0:8000"),
    ];
    let mut applications = Vec::new();
    for (name, number, _) in APPLICATIONS {
        let host = root(&fleet, name, number, &now)?;
        installed(&host, &[&shared[..], &of_applications[..]].concat())?;
        applications.push(host);
    }
    let file = fleet.folder("balancer")?.join("haproxy.cfg");
    std::fs::write(&file, BALANCER)?;
    let mut haproxy = fleet.outside("haproxy");
    let _balancer = Beside(haproxy.arg("-f").arg(&file).stdin(Stdio::null()).stdout(Stdio::null()).spawn()?);
    let token = fleet.folder("token")?.join("token");
    std::fs::write(&token, applications[0].get("/etc/ringdown/secrets/OPERATOR_TOKEN")?)?;

    for (round, bundle, version, back) in [("next", &next, NEXT, false), ("back", &now, "0.1.0", true)] {
        let out = fleet.folder("load")?.join(round);
        let mut load = interactions(&fleet, &token, &out, 700)?;
        std::thread::sleep(Duration::from_secs(8));
        for (place, (name, number, _)) in APPLICATIONS.into_iter().enumerate() {
            ensure!(load.0.try_wait()?.is_none(), "the load is over before {name} is replaced");
            let old = applications.remove(place);
            let (new, away) = replaced_by_a_root(&fleet, old, number, bundle, back)?;
            println!("appliance_upgrade_root_{round}_{name} {:.1} s", away.as_secs_f64());
            assert_version(&new, version)?;
            applications.insert(place, new);
        }
        let status = wait_for(Duration::from_secs(240), "the load ends", || load.0.try_wait().transpose())??;
        let said = std::fs::read_to_string(&out)? + &std::fs::read_to_string(out.with_extension("err"))?;
        println!("{said}");
        ensure!(status.success() && said.contains("\"lost\": 0"), "{said}");
        ensure!(said.contains("\"answered\": 700"), "{said}");
    }
    assert_conserved(&data)?;

    // The data goes to another root last: meanwhile nothing can be decided.
    let before = kept_data(&data)?;
    let (new, away) = replaced_by_a_root(&fleet, data, 41, &next, false)?;
    println!("appliance_upgrade_root_data {:.1} s", away.as_secs_f64());
    data = new;
    assert_eq!(kept_data(&data)?, before);
    for host in &applications {
        wait_for(Duration::from_secs(60), "applications have their stores again", || {
            host.run(&["ringdown", "status"]).ok().filter(|ran| ran.code() == 0)
        })?;
    }
    a_volume_has_one_owner(&fleet, data, &next)?;
    fleet.passed();
    Ok(())
}

fn kept_data(host: &Host) -> anyhow::Result<String> {
    host.sh("export REDISCLI_AUTH=$(cat /etc/ringdown/secrets/REDIS_PASSWORD); redis-cli smembers tenants | sort
        cd / && setpriv --reuid postgres --regid postgres --init-groups -- psql -X -q -t -A -h /run/ringdown-postgresql -U postgres \
        -d ringdown -c 'SELECT id, name FROM tenants ORDER BY id'")
}

/// A machine that lost its power keeps its data to itself; and once another was given it, starts nothing on it.
fn a_volume_has_one_owner(fleet: &Fleet, mut old: Host, bundle: &Path) -> anyhow::Result<()> {
    old.power_cut()?;
    let data = fleet.folder("data-data")?;
    let new = fleet.host("data-new").bind(&data, "/var/lib/ringdown").bind_read_only(bundle, bundle::INSIDE).boot()?;
    new.wait_running(BOOT_LIMIT)?;
    let refused = installer(&new, &[], INSTALLER)?;
    assert!(refused.code() == 2 && refused.stderr.contains("has not let go of it"), "{}", refused.said());
    let taken = installer(&new, &[("INSTALL_RINGDOWN_TAKE_OVER", "yes")], INSTALLER)?;
    // Its address is another, which peers need not know for this.
    assert_eq!(taken.code(), 0, "{}", taken.said());
    old.boot()?;
    wait_for(BOOT_LIMIT, "the old machine has booted", || {
        let said = old.run(&["systemctl", "is-system-running"]).ok()?.stdout;
        (!said.contains("starting") && !said.contains("initializing")).then_some(())
    })?;
    assert_eq!(old.main_pid("ringdown-redis")?, 0, "it starts nothing on data of another machine");
    assert_eq!(old.main_pid("ringdown-postgresql")?, 0, "it starts nothing on data of another machine");
    assert_ne!(new.main_pid("ringdown-redis")?, 0);
    Ok(())
}

//! `appliance-firstboot`: bare hosts become a contact centre, unattended and without internet.
//! `long`: three hosts, a control host, a data volume, power cuts.

#![expect(clippy::print_stdout, reason = "figures are what a suite is run for")]

#[path = "appliance_firstboot/long.rs"]
mod long;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use ringdown_appliance::bundle::{self, bundle};
use ringdown_appliance::chance::Chance;
use ringdown_appliance::fleet::{Fleet, Host, HostBuilder, Seed, checkout, wait_for};

/// From power-on to the answered call.
const BAR: Duration = Duration::from_secs(300);
const INSTALL_LIMIT: Duration = Duration::from_secs(400);
const RECORD: &str = "/var/lib/ringdown/first-boot.json";
const INSTALLER: &str = "/srv/bundle/first_boot_installer";
/// The host that gets everything: its name, and the last number of its address.
const CENTRE: (&str, u8) = ("centre", 11);
const SERVICES: [&str; 9] =
    ["redis", "postgresql", "web-api", "provisioner", "asterisk", "acd", "registrar", "notifier", "rtpengine"];

/// User-data of a host that becomes what `variables` say. It holds no secret.
fn seed(variables: &[(&str, &str)]) -> Seed {
    let lines: String = variables.iter().map(|(name, value)| format!("    {name}={value}\n")).collect();
    let user_data = format!(
        "#cloud-config\nlocale: C.UTF-8\nwrite_files:\n- path: /etc/ringdown/first-boot.env\n  content: |\n{lines}\
         - path: /var/lib/cloud/scripts/per-boot/ringdown-first-boot\n  permissions: '0755'\n  content: |\n    #!/bin/sh\n    \
         exec {INSTALLER} --unless-done\n"
    );
    Seed::Cloud { instance: "first".to_owned(), user_data }
}

fn bare<'a>(fleet: &'a Fleet, name: &str) -> anyhow::Result<HostBuilder<'a>> {
    Ok(fleet.host(name).bind_read_only(bundle()?, bundle::INSIDE))
}

/// Waits for the end of first boot; gives its log.
fn wait_installed(host: &Host, limit: Duration) -> anyhow::Result<String> {
    let ended = wait_for(limit, &format!("{} completes its first boot", host.name()), || {
        let status = host.run(&["cloud-init", "status"]).ok()?.stdout;
        if status.contains("done") { Some(true) } else { status.contains("error").then_some(false) }
    })?;
    let log = host.get("/var/log/cloud-init-output.log")?;
    ensure!(ended && host.get(RECORD).is_ok(), "first boot of {} failed:\n{log}", host.name());
    Ok(log)
}

fn installer(
    host: &Host,
    variables: &[(&str, &str)],
    arguments: &[&str],
) -> anyhow::Result<ringdown_appliance::fleet::Ran> {
    let settings: Vec<String> = variables.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let mut words = vec!["env"];
    words.extend(settings.iter().map(String::as_str));
    words.push(INSTALLER);
    words.extend(arguments);
    host.run_for(INSTALL_LIMIT, &words)
}

fn processes(host: &Host) -> anyhow::Result<BTreeMap<&'static str, u32>> {
    SERVICES.into_iter().map(|name| Ok((name, host.main_pid(&format!("ringdown-{name}"))?))).collect()
}

fn secrets(host: &Host) -> anyhow::Result<BTreeMap<String, String>> {
    let line = "cd /var/lib/ringdown/secrets 2>/dev/null || exit 0; for f in *; do echo \"$f $(sha256sum <\"$f\") $(stat -c %a-%s $f)\"; done";
    let said = host.sh(line)?;
    let pairs = said.lines().filter_map(|line| line.split_once(' '));
    Ok(pairs.map(|(name, rest)| (name.to_owned(), rest.to_owned())).collect())
}

fn assert_healthy(host: &Host) -> anyhow::Result<()> {
    let status = host.run(&["ringdown", "status"])?;
    ensure!(status.status.success(), "{} is not healthy:\n{}", host.name(), status.said());
    host.no_unit_failed()
}

/// What the disk holds, by name, kind, owner, size and time; without what changes by itself.
fn tree(host: &Host) -> anyhow::Result<BTreeSet<String>> {
    let line = "find / -xdev \\( -path /proc -o -path /sys -o -path /run -o -path /tmp -o -path /var/log -o -path /dev \
                -o -path /srv/bundle -o -path /var/lib/systemd -o -path /var/tmp \\) -prune -o -printf '%p %y %m %U %G %s %T@ %l\\n'";
    Ok(host.sh(line)?.lines().map(str::to_owned).collect())
}

fn names(tree: &BTreeSet<String>) -> BTreeSet<&str> {
    tree.iter().filter_map(|line| line.split(' ').next()).collect()
}

#[test]
fn a_bare_host_becomes_a_contact_centre_and_stays_one() -> anyhow::Result<()> {
    bundle()?;
    let fleet = Fleet::new()?;
    let untouched = Untouched::of(&fleet)?;
    let started = Instant::now();
    // The very user-data that is shipped.
    let user_data = std::fs::read_to_string(checkout().join("cloud-init/all.yaml"))?;
    let seed = Seed::Cloud { instance: "first".to_owned(), user_data };
    let mut host = bare(&fleet, CENTRE.0)?.number(CENTRE.1).seed(seed).boot()?;
    assert_eq!(host.sh("ip route show default")?, "", "no way to the world");
    let log = wait_installed(&host, BAR)?;
    let took = started.elapsed();
    println!("appliance_firstboot_all_in_one {:.0} s", took.as_secs_f64());
    assert!(took < BAR, "{took:?}");
    assert!(log.contains("connected with Agent 0"), "a call was answered: {log}");
    assert_eq!(row(&log, "calls with tone heard on both sides"), "1", "{log}");
    host.wait_running(Duration::from_secs(30))?;
    assert_healthy(&host)?;
    no_secret_is_told(&host)?;
    only_what_is_needed_is_open(&fleet, &host)?;
    browsers_are_served(&fleet, &host)?;
    the_log_tells_when(&host)?;
    postgresql_has_refused_nobody(&host)?;
    assert_eq!(networking(&host)?, untouched.network, "the network is as the operator made it");
    a_second_run_changes_nothing(&host)?;
    only_what_changed_is_restarted(&host)?;
    a_reboot_changes_nothing(&mut host)?;
    assert_eq!(networking(&host)?, untouched.network, "the network is as the operator made it, after a reboot too");
    uninstalling_leaves_the_data(&host, &untouched.tree)?;
    fleet.passed();
    Ok(())
}

/// The value of a row of a printed table.
fn row<'a>(text: &'a str, name: &str) -> &'a str {
    let line = text.lines().find(|line| line.contains(name)).unwrap_or_default();
    line.rsplit(['┆', '│']).map(str::trim).find(|cell| !cell.is_empty()).unwrap_or_default()
}

/// Secrets are in their files, and in nothing that others can read or that is kept.
fn no_secret_is_told(host: &Host) -> anyhow::Result<()> {
    let folder = "/var/lib/ringdown/secrets";
    assert_eq!(host.sh(&format!("stat -c '%a %U' {folder}"))?.trim(), "700 root");
    let modes = host.sh(&format!("stat -c '%a %U' {folder}/* | sort -u"))?;
    assert_eq!(modes.trim(), "600 root");
    let names = host.sh(&format!("ls {folder}"))?;
    for name in names.split_whitespace() {
        let secret = host.get(&format!("{folder}/{name}"))?;
        assert!(secret.trim().len() >= 20, "{name} is a secret");
        host.put("/run/canary", telling(secret.trim()).as_bytes(), 0o600)?;
        let found = host.run(&[
            "sh",
            "-c",
            "journalctl -o cat | grep -cFf /run/canary; grep -rlFf /run/canary /var/log /usr /var/lib/cloud 2>/dev/null; \
             for p in /proc/[0-9]*; do tr '\\0' ' ' <$p/cmdline; done | grep -cFf /run/canary; rm /run/canary",
        ])?;
        assert_eq!(found.stdout, "0\n0\n", "{name} is told somewhere");
    }
    Ok(())
}

/// What nobody may read of a secret: all of it, and of a certificate with its key a line of the key.
fn telling(secret: &str) -> &str {
    let key = secret.lines().skip_while(|line| !line.contains("PRIVATE KEY")).nth(2);
    key.filter(|line| line.len() >= 20).unwrap_or(secret)
}

/// From another host on the network.
fn only_what_is_needed_is_open(fleet: &Fleet, host: &Host) -> anyhow::Result<()> {
    let open = |port: u16| -> anyhow::Result<bool> {
        let line = format!("timeout 1 bash -c '</dev/tcp/{}/{port}'", host.address());
        Ok(fleet.run_outside(Duration::from_secs(5), &["sh", "-c", &line])?.status.success())
    };
    assert!(open(5060)?, "phones register");
    for port in [5432, 6379, 7088, 8000, 8001, 8002, 8003, 8004, 8010, 8012, 8404, 12000, 22222] {
        assert!(!open(port)?, "{port} is open to everybody");
    }
    Ok(())
}

/// From another host, by 443 alone: the API, live events, and the SIP of phones.
fn browsers_are_served(fleet: &Fleet, host: &Host) -> anyhow::Result<()> {
    let ask = |path: &str, more: &str| -> anyhow::Result<String> {
        let line =
            format!("curl -sk -m 5 --http1.1 -o /dev/null -w '%{{http_code}}' {more} https://{}{path}", host.address());
        Ok(fleet.run_outside(Duration::from_secs(10), &["sh", "-c", &line])?.stdout)
    };
    let upgrade = "-H 'Connection: Upgrade' -H 'Upgrade: websocket' -H 'Sec-WebSocket-Version: 13' -H 'Sec-WebSocket-Key: cmluZ2Rvd25yaW5nZG93bg=='";
    assert_eq!((ask("/", "")?, ask("/agent", "")?), ("200".to_owned(), "200".to_owned()), "the console");
    assert_eq!(ask("/api/v1/openapi.json", "")?, "200");
    assert_eq!(ask("/ws", upgrade)?, "101", "live events");
    assert_eq!(ask("/sip", &format!("{upgrade} -H 'Sec-WebSocket-Protocol: sip'"))?, "101", "phones");
    assert_eq!(ask("/metrics", "")?, "404", "figures are for those inside");
    Ok(())
}

fn a_second_run_changes_nothing(host: &Host) -> anyhow::Result<()> {
    let (running, record, kept) = (processes(host)?, host.get(RECORD)?, secrets(host)?);
    let again = installer(host, &[], &[])?;
    assert_eq!(again.code(), 0, "{}", again.said());
    assert!(again.stdout.contains("nothing was changed"), "{}", again.said());
    assert_eq!(processes(host)?, running, "no process was touched");
    assert_eq!((host.get(RECORD)?, secrets(host)?), (record, kept));
    assert_eq!(installer(host, &[], &["--unless-done"])?.stdout, "");
    Ok(())
}

fn only_what_changed_is_restarted(host: &Host) -> anyhow::Result<()> {
    let before = processes(host)?;
    let ran = installer(host, &[("RINGDOWN_ACD_LEASE_MS", "2500")], &[])?;
    assert_eq!(ran.code(), 0, "{}", ran.said());
    let after = processes(host)?;
    let changed: Vec<_> = SERVICES.into_iter().filter(|name| before[name] != after[name]).collect();
    assert_eq!(changed, ["acd"]);
    assert!(host.get("/etc/ringdown/acd.env")?.contains("\nRINGDOWN_ACD_LEASE_MS=2500\n"));
    Ok(())
}

fn a_reboot_changes_nothing(host: &mut Host) -> anyhow::Result<()> {
    let (record, kept) = (host.get(RECORD)?, secrets(host)?);
    host.reboot()?;
    let started = Instant::now();
    wait_for(Duration::from_secs(40), "everything is ready after a reboot", || assert_healthy(host).ok())?;
    println!("appliance_firstboot_ready_after_reboot {:.1} s", started.elapsed().as_secs_f64());
    host.wait_running(Duration::from_secs(40))?;
    assert_eq!((host.get(RECORD)?, secrets(host)?), (record, kept));
    let call = host.run(&["ringdown", "sim", "calls", "--calls", "1", "--agents", "1"])?;
    assert_eq!(row(&call.stdout, " lost "), "0", "{}", call.said());
    Ok(())
}

/// Each line of the log has its time.
fn the_log_tells_when(host: &Host) -> anyhow::Result<()> {
    let log = host.get("/var/log/ringdown/first-boot.log")?;
    let steps = ["from here on this host is changed", "packages", "configuration and start", "health", "a test call"];
    for step in steps {
        let line =
            log.lines().find(|line| line.contains(&format!("] {step}"))).with_context(|| format!("{step}: {log}"))?;
        let time = line.split(' ').next().unwrap_or_default();
        assert!(time.len() == 20 && time.ends_with('Z') && time.contains('T'), "{line}");
    }
    Ok(())
}

/// No question of how it is, and no daemon's first one, was answered by a refusal.
fn postgresql_has_refused_nobody(host: &Host) -> anyhow::Result<()> {
    let log = host.sh("journalctl --unit=ringdown-postgresql --output=cat")?;
    assert!(log.contains("database system is ready to accept connections"), "{log}");
    assert!(!log.contains("FATAL"), "{log}");
    Ok(())
}

/// A host as its operator made it.
struct Untouched {
    tree: BTreeSet<String>,
    network: String,
}

impl Untouched {
    /// The twin of the centre, which never sees the installer: of the same name and address, so that nothing else differs.
    fn of(fleet: &Fleet) -> anyhow::Result<Self> {
        let user_data = "#cloud-config\nlocale: C.UTF-8\n".to_owned();
        let seed = Seed::Cloud { instance: "first".to_owned(), user_data };
        let mut twin = fleet.host(CENTRE.0).number(CENTRE.1).seed(seed).boot()?;
        twin.sh("cloud-init status --wait")?;
        let untouched = Self { tree: tree(&twin)?, network: networking(&twin)? };
        twin.power_cut()?;
        twin.scrap()?;
        Ok(untouched)
    }
}

/// Everything that says how a host is on its network: what the kernel does, every file that tells it to, and who filters packets
/// besides us. Numbers of network cards are drawn with the host.
fn networking(host: &Host) -> anyhow::Result<String> {
    let line = "{
            ip -o address show
            ip route show table all
            ip rule show
            sysctl -a 2>/dev/null | grep -E '^net\\.(ipv[46]\\.(ip_forward|conf\\.)|core\\.[rw]mem_)'
            nft list tables | grep -vx 'table inet ringdown'
            for file in /etc/resolv.conf /etc/hosts /etc/hostname /etc/nsswitch.conf /etc/fstab /etc/nftables.conf /etc/sysctl.conf; do
                [ ! -e $file ] || sed \"s|^|$file: |\" $file
            done
            for folder in /etc/systemd/network /etc/systemd/resolved.conf* /etc/netplan /etc/network /etc/sysctl.d /etc/modprobe.d \
                    /etc/modules-load.d; do
                [ ! -e $folder ] || find $folder -type f | sort | while read -r file; do sed \"s|^|$file: |\" $file; done
            done
        } | sed -E 's/([0-9a-f]{2}:){5}[0-9a-f]{2}/CARD/g'";
    let said = host.run(&["sh", "-uc", line])?.success()?;
    // It does see what it looks for.
    for part in
        ["host0", &format!("{}/24", host.address()), "net.ipv4.ip_forward", "/etc/hosts: ", "/etc/systemd/network/"]
    {
        ensure!(said.contains(part), "{part} is not in what is compared: {said}");
    }
    Ok(said)
}

/// Uninstalls, and kills that with all that it started as soon as dpkg's log has `count` more lines with `word`. Gives the code it
/// ended by, 137 when it was killed, and what it had said.
fn uninstall_until(host: &Host, count: u32, word: &str) -> anyhow::Result<(i32, String)> {
    let line = format!(
        "lines() {{ awk '/ {word} / {{ n++ }} END {{ print n + 0 }}' /var/log/dpkg.log; }}
         before=$(lines)
         setsid {INSTALLER} --uninstall >/run/uninstall.log 2>&1 &
         while kill -0 $! 2>/dev/null && [ $(($(lines) - before)) -lt {count} ]; do sleep 0.01; done
         ! kill -0 $! 2>/dev/null || kill -KILL -- -$!
         code=0
         wait $! || code=$?
         echo $code
         cat /run/uninstall.log
         rm /run/uninstall.log"
    );
    // The kill of sh knows no groups.
    let said = host.run(&["bash", "-euc", &line])?.success()?;
    let (code, said) = said.split_once('\n').context("it ended by a code")?;
    Ok((code.parse()?, said.to_owned()))
}

/// While packages are being removed: at the tenth, of many more.
fn uninstalling_is_cut_off(host: &Host) -> anyhow::Result<()> {
    let (code, said) = uninstall_until(host, 10, "remove")?;
    ensure!(code == 137, "it was cut off, and did not end by {code}: {said}");
    ensure!(said.contains("removes packages") && !said.contains("removes files"), "it was amid its work: {said}");
    let left =
        "dpkg-query -W -f '${Package} ${db:Status-Status}\\n' $(cat /var/lib/ringdown/installed-packages) 2>/dev/null";
    ensure!(host.run(&["sh", "-c", left])?.stdout.contains(" installed\n"), "there were more of them");
    Ok(())
}

/// Compared with a twin that was never installed. Cut off and done again, it comes to the same, and touches nothing of others.
fn uninstalling_leaves_the_data(host: &Host, before: &BTreeSet<String>) -> anyhow::Result<()> {
    let operators = "table inet operators {\n\tchain input {\n\t\ttype filter hook input priority filter; policy accept;\n\t\ttcp dport 9 drop\n\t}\n}\n";
    host.put("/run/operators.nft", operators.as_bytes(), 0o600)?;
    host.sh("nft -f /run/operators.nft && rm /run/operators.nft")?;
    uninstalling_is_cut_off(host)?;
    for _ in 0..2 {
        let gone = installer(host, &[], &["--uninstall"])?;
        assert_eq!(gone.code(), 0, "{}", gone.said());
    }
    assert_eq!(host.sh("nft list ruleset")?, operators, "what others filter is theirs, and ours is gone");
    nothing_but_data_is_left(host, before)?;
    let purged = installer(host, &[], &["--uninstall", "--purge"])?;
    assert_eq!(purged.code(), 0, "{}", purged.said());
    assert!(host.get(RECORD).is_err() && host.run(&["test", "-e", "/var/lib/ringdown"])?.code() == 1);
    Ok(())
}

fn nothing_but_data_is_left(host: &Host, before: &BTreeSet<String>) -> anyhow::Result<()> {
    let after = tree(host)?;
    // The data, what the operator wrote, and what Debian's packages leave: lists of packages, caches.
    let allowed = [
        "/var/lib/ringdown",
        "/etc/ringdown/first-boot.env",
        "/var/cache/",
        "/var/lib/dpkg/",
        "/var/lib/ucf/",
        "/var/lib/cloud/",
    ];
    let (had, has) = (names(before), names(&after));
    let is_told = |name: &&&str| !allowed.iter().any(|place| name.starts_with(place)) && !name.contains("__pycache__");
    let lost: Vec<_> = had.difference(&has).filter(is_told).collect();
    assert!(lost.is_empty(), "taken away, and not ours: {lost:#?}");
    let left: Vec<_> = has
        .difference(&had)
        .filter(is_told)
        // The folder of what the operator wrote.
        .filter(|name| **name != "/etc/ringdown")
        .collect();
    assert!(left.is_empty(), "left behind: {left:#?}");
    let data = host.sh(
        "ls /var/lib/ringdown/postgres/data/PG_VERSION /var/lib/ringdown/redis/appendonlydir /var/lib/ringdown/secrets",
    )?;
    assert!(data.contains("REDIS_PASSWORD"), "{data}");
    let units = host.sh("systemctl list-units --all --plain --no-legend 'ringdown*' | grep -v not-found || true")?;
    assert_eq!(units.trim(), "");
    Ok(())
}

#[test]
fn what_is_wrong_is_refused_before_anything_changes() -> anyhow::Result<()> {
    let fleet = Fleet::new()?;
    let broken = broken_bundle(&fleet)?;
    let packed = fleet.folder("packed")?;
    let whole = bundle()?;
    let mut tar = std::process::Command::new("tar");
    tar.arg("-cf").arg(packed.join("bundle.tar")).arg("-C").arg(whole.parent().context("a bundle lies in a folder")?);
    ensure!(tar.arg(whole.file_name().context("a bundle has a name")?).status()?.success(), "packing the bundle");
    let host =
        bare(&fleet, "wrong")?.bind_read_only(broken, "/srv/broken").bind_read_only(packed, "/srv/packed").boot()?;
    host.wait_running(Duration::from_secs(60))?;
    host.sh("mkdir -p /var/lib/ringdown /srv/empty")?;
    let before = tree(&host)?;
    // Variables, arguments, exit code, what is named.
    type Case<'a> = (&'a [(&'a str, &'a str)], &'a [&'a str], i32, &'a str);
    let cases: [Case; 18] = [
        (&[("RINGDOWN_COMPONENT", "all")], &[], 78, "did you mean RINGDOWN_COMPONENTS?"),
        (&[("RINGDOWN_REDDIS_URL", "redis://10.0.0.1/0")], &[], 78, "did you mean RINGDOWN_REDIS_URL?"),
        (&[("INSTALL_RINGDOWN_DRYRUN", "1")], &[], 78, "did you mean INSTALL_RINGDOWN_DRY_RUN?"),
        (&[("RINGDOWN_COMPONENTS", "redis,postgres")], &[], 78, "no component postgres"),
        (&[("RINGDOWN_COMPONENTS", "acd")], &[], 78, "RINGDOWN_REDIS_URL is not set"),
        (&[("RINGDOWN_COMPONENTS", "asterisk")], &[], 78, "needs provisioner"),
        (&[("RINGDOWN_ADVERTISE", "10.99.0.1")], &[], 78, "no IPv4 address of this host"),
        (&[("RINGDOWN_PEERS", "10.0.0.300")], &[], 78, "10.0.0.300"),
        (&[("RINGDOWN_ACD_LEASE_MS", "never")], &[], 78, "RINGDOWN_ACD_LEASE_MS"),
        (&[("RINGDOWN_REDIS_PASSWORD", "hunter2")], &[], 78, "a secret does not belong"),
        (
            &[("RINGDOWN_COMPONENTS", "notifier"), ("RINGDOWN_REDIS_URL", "redis://10.0.0.1:6379/0")],
            &[],
            2,
            "REDIS_PASSWORD",
        ),
        (&[("RINGDOWN_COMPONENTS", "haproxy")], &[], 78, "RINGDOWN_HAPROXY_API is not set"),
        (&[("RINGDOWN_VIP", "10.0.0.1")], &[], 78, "RINGDOWN_VIP is of keepalived"),
        (
            &[("RINGDOWN_COMPONENTS", "haproxy,keepalived"), ("RINGDOWN_HAPROXY_API", "10.0.0.1")],
            &[],
            78,
            "RINGDOWN_VIP is not set",
        ),
        (
            &[("RINGDOWN_COMPONENTS", "monitoring"), ("RINGDOWN_MONITORING_TARGETS", "redis@10.0.0.1")],
            &[],
            78,
            "redis@10.0.0.1 is not component@host",
        ),
        (&[("INSTALL_RINGDOWN_VERSION", "9.9.9")], &[], 2, "9.9.9"),
        (&[], &["--bundle", "/srv/broken"], 2, "damaged"),
        (&[], &["--bundle", "/srv/empty"], 2, "is no bundle"),
    ];
    for (variables, arguments, code, named) in cases {
        let ran = installer(&host, variables, arguments)?;
        assert_eq!(ran.code(), code, "{variables:?} {arguments:?}: {}", ran.said());
        assert!(ran.stderr.contains(named), "{variables:?} names {named}: {}", ran.said());
        assert!(!ran.said().contains("hunter2"), "no value is told");
        assert_eq!(tree(&host)?.difference(&before).collect::<Vec<_>>(), Vec::<&String>::new(), "{variables:?}");
    }
    let dry = installer(&host, &[], &["--dry-run"])?;
    assert!(dry.code() == 0 && dry.stdout.contains("nothing was changed"), "{}", dry.said());
    let packed = installer(&host, &[], &["--dry-run", "--bundle", "/srv/packed/bundle.tar"])?;
    assert!(packed.code() == 0 && packed.stdout.contains("nothing was changed"), "{}", packed.said());
    assert_eq!(host.sh("ls /var/tmp | grep ringdown || true")?, "", "what was unpacked is gone");
    a_host_that_is_unfit_is_refused(&host)?;
    a_second_database_is_not_begun(&host)?;
    a_taken_port_and_a_full_disk_are_refused(&host)?;
    assert_eq!(tree(&host)?, before);
    what_fails_later_says_what_to_do(&host)?;
    fleet.passed();
    Ok(())
}

/// In the middle of the installation, in a command whose output goes into the log.
fn what_fails_later_says_what_to_do(host: &Host) -> anyhow::Result<()> {
    host.sh(r#"echo 'DPkg::Pre-Invoke {"echo the hook refuses; false"};' >/etc/apt/apt.conf.d/99refuse"#)?;
    let ran = installer(host, &[], &[])?;
    assert_eq!(ran.code(), 3, "{}", ran.said());
    assert!(ran.stdout.contains("FAILED: packages"), "{}", ran.said());
    for said in ["the hook refuses", "what to do", "/var/log/ringdown/first-boot.log"] {
        assert!(ran.stderr.contains(said), "{said}: {}", ran.said());
    }
    Ok(())
}

/// The first member of several, blank, alone: a new installation only where somebody says so.
fn a_second_database_is_not_begun(host: &Host) -> anyhow::Result<()> {
    let members = format!("RINGDOWN_POSTGRES_MEMBERS={},10.77.0.250", host.address());
    let run = |until: &str| {
        let until = format!("INSTALL_RINGDOWN_NEW_UNTIL={until}");
        let words =
            ["env", "RINGDOWN_COMPONENTS=postgresql", "RINGDOWN_PEERS=10.77.0.250", &members, &until, INSTALLER];
        host.run_for(INSTALL_LIMIT, &words)
    };
    for until in ["", "2026-01-01T00:00:00Z"] {
        let ran = run(until)?;
        assert!(ran.code() == 2 && ran.stderr.contains("start one that has the data first"), "{}", ran.said());
    }
    assert_eq!(run("tomorrow")?.code(), 78);
    let said = run("2126-01-01T00:00:00Z")?;
    assert!(said.code() == 2 && said.stderr.contains("POSTGRES_COPY_PASSWORD"), "further than that: {}", said.said());
    Ok(())
}

/// One processor, and a name that no node can have.
fn a_host_that_is_unfit_is_refused(host: &Host) -> anyhow::Result<()> {
    // `hostname` itself would refuse such a name.
    let rename = "import os, socket, sys; socket.sethostname('call centre'); os.execv(sys.argv[1], sys.argv[1:])";
    let cases: [(&[&str], &str); 2] = [
        (&["taskset", "--cpu-list", "0", INSTALLER], "this host has 1 processor; these components need 2"),
        (&["unshare", "--uts", "python3", "-c", rename, INSTALLER], "cannot be a node's"),
    ];
    for (words, named) in cases {
        let ran = host.run_for(INSTALL_LIMIT, words)?;
        assert_eq!(ran.code(), 2, "{}", ran.said());
        assert!(ran.stderr.contains(named) && ran.stderr.contains("nothing was changed"), "{}", ran.said());
    }
    Ok(())
}

fn a_taken_port_and_a_full_disk_are_refused(host: &Host) -> anyhow::Result<()> {
    host.sh("systemd-run --quiet --unit=squatter python3 -m http.server --directory /srv/empty 8000 >/dev/null 2>&1")?;
    wait_for(Duration::from_secs(10), "somebody listens on 8000", || {
        host.run(&["sh", "-c", "</dev/tcp/127.0.0.1/8000"]).ok();
        host.sh("ss -Hltn 'sport = :8000'").ok().filter(|said| !said.is_empty())
    })?;
    let ran = installer(host, &[], &[])?;
    assert_eq!(ran.code(), 2, "{}", ran.said());
    assert!(ran.stderr.contains("haproxy needs 8000/tcp, which python3 (process"), "{}", ran.said());
    host.sh("systemctl stop squatter")?;
    host.sh("mount -t tmpfs -o size=100m tmpfs /var/lib/ringdown")?;
    let ran = installer(host, &[], &[])?;
    host.sh("umount /var/lib/ringdown")?;
    assert_eq!(ran.code(), 2, "{}", ran.said());
    assert!(ran.stderr.contains("MB free in /var/lib/ringdown; these components need"), "{}", ran.said());
    Ok(())
}

/// The bundle with one byte of one package flipped.
fn broken_bundle(fleet: &Fleet) -> anyhow::Result<PathBuf> {
    let folder = fleet.folder("broken")?;
    let copied = std::process::Command::new("cp").arg("-a").arg(bundle()?.join(".")).arg(&folder).status()?;
    ensure!(copied.success(), "copying the bundle");
    let mut packages = std::fs::read_dir(folder.join("repository"))?.flatten().map(|entry| entry.path());
    let is_victim =
        |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("ringdown-acd_"));
    let victim = packages.find(is_victim).context("there is a package of the ACD")?;
    let mut bytes = std::fs::read(&victim)?;
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&victim, bytes)?;
    Ok(folder)
}

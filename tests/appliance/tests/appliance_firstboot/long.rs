//! What takes longer: three hosts, a control host, a data volume, power cuts.

use super::*;

#[test]
fn three_hosts_by_variables_only() -> anyhow::Result<()> {
    let fleet = Fleet::new()?;
    let shared = fleet.folder("secrets")?;
    let make = checkout().join("provisioning/ansible/roles/base/files/make_secrets");
    let made = std::process::Command::new(make)
        .arg(&shared)
        .args(["-", "REDIS_PASSWORD", "POSTGRES_PASSWORD", "ADMIN_PASSWORD"])
        .output()?;
    ensure!(made.status.success(), "making the secrets that hosts share");
    let (data, application, voice) = ("10.77.0.21", "10.77.0.22", "10.77.0.23");
    let redis = format!("redis://{data}:6379/0");
    let postgres = format!("postgres://ringdown@{data}:5432/ringdown");
    let api = format!("http://{application}:8000");
    let host = |name: &str, number: u8, peers: &str, variables: &[(&str, &str)]| -> anyhow::Result<Host> {
        let shared_variables = [("RINGDOWN_PEERS", peers), ("INSTALL_RINGDOWN_SECRETS", "/srv/secrets")];
        let all: Vec<_> = shared_variables.iter().chain(variables).copied().collect();
        bare(&fleet, name)?.number(number).bind_read_only(&shared, "/srv/secrets").seed(seed(&all)).boot()
    };
    let started = Instant::now();
    // The one that needs both others first: each waits for its peers.
    let voice_host = host(
        "voice",
        23,
        &format!("{data},{application}"),
        &[
            ("RINGDOWN_COMPONENTS", "asterisk,registrar,acd,provisioner"),
            ("RINGDOWN_ACD_DUTIES", "voice"),
            ("RINGDOWN_REDIS_URL", &redis),
            ("RINGDOWN_API_URL", &api),
        ],
    )?;
    let application_host = host(
        "application",
        22,
        &format!("{data},{voice}"),
        &[
            ("RINGDOWN_COMPONENTS", "web-api,provisioner,acd,notifier"),
            ("RINGDOWN_REDIS_URL", &redis),
            ("RINGDOWN_POSTGRES_URL", &postgres),
        ],
    )?;
    let data_host =
        host("data", 21, &format!("{application},{voice}"), &[("RINGDOWN_COMPONENTS", "redis,postgresql")])?;
    for host in [&data_host, &application_host] {
        wait_installed(host, INSTALL_LIMIT)?;
    }
    let log = wait_installed(&voice_host, INSTALL_LIMIT)?;
    println!("appliance_firstboot_three_hosts {:.0} s", started.elapsed().as_secs_f64());
    assert!(log.contains("connected with Agent 0"), "a call was answered: {log}");
    only_peers_reach_what_is_inner(&fleet, &data_host, &application_host)?;
    for host in [&data_host, &application_host, &voice_host] {
        assert_healthy(host)?;
        let again = installer(host, &[], &[])?;
        assert!(again.code() == 0 && again.stdout.contains("nothing was changed"), "{}", again.said());
    }
    fleet.passed();
    Ok(())
}

/// The bridge is no peer.
fn only_peers_reach_what_is_inner(fleet: &Fleet, data: &Host, application: &Host) -> anyhow::Result<()> {
    for (host, peer, port) in [(data, application, 6_379), (data, application, 5_432), (application, data, 8_000)] {
        let line = format!("timeout 2 bash -c '</dev/tcp/{}/{port}'", host.address());
        assert!(peer.run(&["sh", "-c", &line])?.status.success(), "{port} is open to {}", peer.name());
        let outside = fleet.run_outside(Duration::from_secs(5), &["sh", "-c", &line])?;
        assert!(!outside.status.success(), "{port} of {} is open to everybody", host.name());
    }
    Ok(())
}

/// An inventory of two hosts, played from a third by ssh.
#[test]
fn a_control_host_sets_up_two_hosts_and_the_second_run_changes_nothing() -> anyhow::Result<()> {
    let fleet = Fleet::new()?;
    let data = bare(&fleet, "data1")?.number(31).boot()?;
    let voice = bare(&fleet, "voice1")?.number(32).boot()?;
    let control = bare(&fleet, "control")?.number(33).boot()?;
    for host in [&data, &voice, &control] {
        host.wait_running(Duration::from_secs(60))?;
    }
    let line = "echo 'deb [trusted=yes] file:/srv/bundle/repository ./' >/etc/apt/sources.list.d/bundle.list
                apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends install ansible-core >/dev/null
                ssh-keygen -q -t ed25519 -N '' -f /root/.ssh/id_ed25519
                cp -r /srv/bundle/ansible /root/ansible
                sed -i 's/192.0.2.10/10.77.0.30/; s/192.0.2.11/10.77.0.31/; s/192.0.2.12/10.77.0.32/' /root/ansible/inventories/two-hosts/hosts.yml";
    control.run_for(Duration::from_secs(120), &["sh", "-euc", line])?.success()?;
    let key = control.get("/root/.ssh/id_ed25519.pub")?;
    for host in [&data, &voice] {
        host.put("/root/.ssh/authorized_keys", key.as_bytes(), 0o600)?;
    }
    // Without Redis the layout makes no sense, and no host is touched.
    let before = tree(&data)?;
    let refused = play(&control, "sed -i 's/^    redis: .*/    redis: {hosts: {}}/' inventories/wrong/hosts.yml")?;
    assert_ne!(refused.code(), 0, "{}", refused.said());
    assert!(refused.said().contains("needs Redis: put a host in the group redis"), "{}", refused.said());
    assert_eq!(names(&tree(&data)?), names(&before));
    let first = play(&control, "true")?;
    assert_eq!(first.code(), 0, "{}", first.said());
    for host in [&data, &voice] {
        wait_for(Duration::from_secs(60), "hosts are healthy", || assert_healthy(host).ok())?;
    }
    let second = play(&control, "true")?;
    let recap: Vec<_> = second.stdout.lines().filter(|line| line.contains("changed=")).collect();
    assert!(second.code() == 0 && recap.len() == 2, "{}", second.said());
    assert!(recap.iter().all(|line| line.contains("changed=0 ")), "{}", second.said());
    assert_eq!(data.get("/etc/ringdown/secrets/REDIS_PASSWORD")?, voice.get("/etc/ringdown/secrets/REDIS_PASSWORD")?);
    fleet.passed();
    Ok(())
}

fn play(control: &Host, change: &str) -> anyhow::Result<ringdown_appliance::fleet::Ran> {
    let line = format!(
        "cd /root/ansible && rm -rf inventories/wrong && cp -r inventories/two-hosts inventories/wrong
         inventory=two-hosts; [ '{0}' = true ] || inventory=wrong
         {change}
         ANSIBLE_HOST_KEY_CHECKING=false ansible-playbook -u root -i inventories/$inventory site.yml \
         -e ringdown_asterisk_archive=/srv/bundle/asterisk-root.tar.zst -e ringdown_base_repository_key=/srv/bundle/key.gpg \
         -e \"ringdown_base_repository='deb [signed-by=/usr/share/keyrings/ringdown.gpg] file:/srv/bundle/repository ./'\"",
        if change == "true" { "true" } else { "other" }
    );
    control.run_for(INSTALL_LIMIT, &["bash", "-c", &line])
}

/// A block device made of a file; given back when dropped.
struct Device(String);

impl Device {
    fn make(file: &std::path::Path) -> anyhow::Result<Self> {
        std::fs::File::create(file)?.set_len(2 << 30)?;
        let made = std::process::Command::new("losetup").args(["--find", "--show"]).arg(file).output()?;
        ensure!(made.status.success(), "losetup: {}", String::from_utf8_lossy(&made.stderr));
        Ok(Self(String::from_utf8(made.stdout)?.trim().to_owned()))
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        std::process::Command::new("losetup").args(["--detach", &self.0]).status().ok();
    }
}

#[test]
fn a_data_volume_is_found_and_never_formatted_twice() -> anyhow::Result<()> {
    let fleet = Fleet::new()?;
    let device = Device::make(&fleet.folder("device")?.join("disk.img"))?;
    let named = [("RINGDOWN_COMPONENTS", "redis"), ("RINGDOWN_DATA_DEVICE", device.0.as_str())];
    let mut host = bare(&fleet, "old")?.bind(&device.0, &device.0).boot()?;
    host.wait_running(Duration::from_secs(60))?;
    host.sh(&format!("mkfs.ext4 -q -L photographs {}", device.0))?;
    let refused = installer(&host, &named, &[])?;
    assert!(refused.code() == 2 && refused.stderr.contains("holds something already"), "{}", refused.said());
    host.sh(&format!("wipefs --quiet --all {}", device.0))?;
    let made = installer(&host, &named, &[])?;
    assert!(made.code() == 0 && made.stdout.contains("formats"), "{}", made.said());
    let secret = host.get("/etc/ringdown/secrets/REDIS_PASSWORD")?;
    host.sh("REDISCLI_AUTH=$(cat /etc/ringdown/secrets/REDIS_PASSWORD) redis-cli set kept yes")?;
    let again = installer(&host, &named, &[])?;
    assert!(again.code() == 0 && again.stdout.contains("nothing was changed"), "{}", again.said());
    host.reboot()?;
    wait_for(Duration::from_secs(40), "Redis is back", || assert_healthy(&host).ok())?;
    assert!(host.sh("findmnt -n -o SOURCE /var/lib/ringdown")?.contains("loop"), "it is mounted at boot");
    let released = host.run(&["ringdown", "host", "release"])?;
    assert_eq!(released.code(), 0, "{}", released.said());
    host.power_off()?;
    // Another host gets the disk, and is told nothing of it. Its users have other numbers.
    let next = bare(&fleet, "new")?.bind(&device.0, &device.0).boot()?;
    next.wait_running(Duration::from_secs(60))?;
    next.sh("useradd --system --uid 990 occupant")?;
    let taken = installer(&next, &[("RINGDOWN_COMPONENTS", "redis")], &[])?;
    assert!(taken.code() == 0 && !taken.stdout.contains("formats"), "{}", taken.said());
    assert_eq!(next.get("/etc/ringdown/secrets/REDIS_PASSWORD")?, secret);
    let kept = next.sh("REDISCLI_AUTH=$(cat /etc/ringdown/secrets/REDIS_PASSWORD) redis-cli get kept")?;
    assert_eq!(kept.trim(), "yes");
    fleet.passed();
    drop(next);
    Ok(())
}

/// Waits until the installer has begun for the `runs`th time to change the host, or had nothing left to do.
fn wait_begun(host: &Host, runs: usize) -> anyhow::Result<()> {
    let line = "grep -c 'from here on this host is changed' /var/log/ringdown/first-boot.log";
    wait_for(INSTALL_LIMIT, "the installer begins to change the host", || {
        let begun: usize = host.run(&["sh", "-c", line]).ok()?.stdout.trim().parse().ok()?;
        let is_done = || host.run(&["test", "-e", RECORD, "-a", "-e", "/etc/ringdown/installed"]).ok();
        (begun >= runs || is_done()?.status.success()).then_some(())
    })
}

fn is_recorded(host: &Host) -> Option<()> {
    host.run(&["test", "-e", RECORD]).ok()?.status.success().then_some(())
}

/// How long the installer changes a host that nobody cuts off.
fn uncut(fleet: &Fleet) -> anyhow::Result<Duration> {
    let host = bare(fleet, "uncut")?.seed(seed(&[("RINGDOWN_COMPONENTS", "all")])).boot()?;
    wait_begun(&host, 1)?;
    let began = Instant::now();
    wait_for(INSTALL_LIMIT, "first boot completes", || is_recorded(&host))?;
    Ok(began.elapsed())
}

/// Pulls the plug `after` the installer began for the `run`th time; gives the secrets there were.
fn cut(host: &mut Host, run: usize, after: Duration) -> anyhow::Result<BTreeMap<String, String>> {
    host.boot()?;
    wait_begun(host, run)?;
    // The time itself is what is drawn: there is no condition to wait for.
    std::thread::sleep(after);
    let kept = secrets(host)?;
    let at = host.run(&["tail", "-n", "1", "/var/log/ringdown/first-boot.log"])?.stdout;
    let done = is_recorded(host).map_or("", |()| " (it was recorded already)");
    host.power_cut()?;
    println!("  run {run} cut after {after:?}{done}: {}", at.trim());
    Ok(kept)
}

fn assert_kept(host: &Host, before: &BTreeMap<String, String>) -> anyhow::Result<()> {
    let now = secrets(host)?;
    for (name, secret) in before {
        assert_eq!(now.get(name), Some(secret), "{name} was made again");
    }
    assert!(now.values().all(|secret| !secret.ends_with("-0")), "no secret is empty: {now:?}");
    Ok(())
}

/// One in each fifth of an installation, and one more while it is made good.
#[test]
fn power_cuts_at_random_points_only_delay_it() -> anyhow::Result<()> {
    let fleet = Fleet::new()?;
    let mut chance = Chance::new();
    // Thousandths of an installation, so that a seed repeats them on another machine.
    let points: Vec<(u32, u32)> = (0..5).map(|fifth| (fifth * 200 + chance.below(200), chance.below(1_000))).collect();
    let whole = uncut(&fleet)?;
    println!("an installation changes a host for {whole:?}; cut at (thousandths): {points:?}");
    for (number, (first, second)) in points.into_iter().enumerate() {
        println!("host {number}:");
        let name = format!("cut{number}");
        let mut host = bare(&fleet, &name)?.seed(seed(&[("RINGDOWN_COMPONENTS", "all")])).make()?;
        let kept = cut(&mut host, 1, whole * first / 1_000)?;
        // What was cut off late has little left to do.
        let rest = whole * (1_000 - first) / 1_000;
        let later = cut(&mut host, 2, rest * second / 1_000)?;
        for (name, secret) in &kept {
            assert_eq!(later.get(name), Some(secret), "{name} was made again");
        }
        host.boot()?;
        let began = Instant::now();
        wait_for(INSTALL_LIMIT, "first boot completes", || is_recorded(&host))?;
        wait_for(Duration::from_secs(60), "it is healthy", || assert_healthy(&host).ok())?;
        println!("  healthy {:.0} s after the last power-on", began.elapsed().as_secs_f64());
        assert_kept(&host, &later)?;
        host.wait_running(Duration::from_secs(60))?;
        let again = installer(&host, &[], &[])?;
        assert!(again.code() == 0 && again.stdout.contains("nothing was changed"), "{}", again.said());
        let call = host.run(&["ringdown", "sim", "calls", "--calls", "1", "--agents", "1"])?;
        assert_eq!(row(&call.stdout, " lost "), "0", "{}", call.said());
    }
    fleet.passed();
    Ok(())
}

/// Each time it gets a little further, and what dpkg was at is another.
#[test]
fn an_uninstallation_that_is_cut_off_again_and_again_comes_to_its_end() -> anyhow::Result<()> {
    const CUTS_MIN: u32 = 5;
    let fleet = Fleet::new()?;
    let mut chance = Chance::new();
    let host = bare(&fleet, "often")?.boot()?;
    host.wait_running(Duration::from_secs(60))?;
    let before = tree(&host)?;
    let made = installer(&host, &[("INSTALL_RINGDOWN_SKIP_CALL", "yes")], &[])?;
    assert_eq!(made.code(), 0, "{}", made.said());
    let mut cuts = 0;
    loop {
        let lines = 1 + chance.below(20);
        let (code, said) = uninstall_until(&host, lines, "status")?;
        if code == 0 {
            break;
        }
        ensure!(code == 137, "cut {cuts} times, it ended by {code}: {said}\n{}", host.sh("dpkg --audit")?);
        println!("  cut after {lines} lines of dpkg's");
        cuts += 1;
    }
    println!("appliance_firstboot_uninstall_cuts {cuts} cuts");
    ensure!(cuts >= CUTS_MIN, "{cuts} cuts are no more than one");
    assert_eq!(host.sh("dpkg --audit")?, "");
    nothing_but_data_is_left(&host, &before)?;
    fleet.passed();
    Ok(())
}

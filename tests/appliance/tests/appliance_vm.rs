//! `appliance-vm`: first boot on a real kernel, from a seed on a disk, onto a data volume on a disk; and the limits of
//! units that only a kernel of its own enforces.

#![expect(clippy::print_stdout, reason = "figures are what a suite is run for")]

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use ringdown_appliance::bundle::bundle;
use ringdown_appliance::fleet::checkout;
use ringdown_appliance::machine::{Machine, Parts};

/// Without acceleration everything takes five to ten times as long as on a host: no bar, an end to waiting.
const FIRST_BOOT_LIMIT: Duration = Duration::from_secs(1800);
const BOOT_LIMIT: Duration = Duration::from_secs(600);
const COMMAND_LIMIT: Duration = Duration::from_secs(900);
/// MiB: more than a daemon may have (`MemoryMax=4G`), so that its own limit bites and not the end of all memory.
const MEMORY: u32 = 6656;
const SERVICES: [&str; 8] =
    ["redis", "postgresql", "web-api", "provisioner", "asterisk", "acd", "registrar", "notifier"];

#[test]
fn a_machine_becomes_a_contact_centre_whose_limits_bite() -> anyhow::Result<()> {
    // The very user-data that is shipped.
    let user_data = std::fs::read_to_string(checkout().join("cloud-init/all.yaml")).context("reading user-data")?;
    let bundle = bundle()?;
    let started = Instant::now();
    let mut machine = Machine::boot(&Parts { name: "centre", user_data: &user_data, bundle: &bundle, memory: MEMORY })?;
    first_boot(&mut machine)?;
    println!("appliance_vm_first_boot {:.0} s", started.elapsed().as_secs_f64());
    a_second_run_changes_nothing(&machine)?;
    memory_beyond_the_limit_is_refused(&mut machine)?;
    stores_reach_nobody_else(&machine)?;
    a_call_is_answered(&machine)?;
    neither_reboot_nor_power_cut_changes_anything(&mut machine)?;
    machine.passed();
    Ok(())
}

fn first_boot(machine: &mut Machine) -> anyhow::Result<()> {
    let ended = machine.wait(FIRST_BOOT_LIMIT, "first boot is complete", "cloud-init status", |ran| {
        if ran.stdout.contains("done") { Some(true) } else { ran.stdout.contains("error").then_some(false) }
    })?;
    let log = machine.sh("cat /var/log/cloud-init-output.log")?;
    ensure!(ended, "first boot failed:\n{log}");
    assert!(log.contains("connected with Agent 0"), "a call was answered: {log}");
    // A kernel and an init of its own, and not the ones of the machine that tests.
    assert_eq!(machine.sh("systemd-detect-virt")?.trim(), "qemu");
    let own = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").context("reading our boot's name")?;
    assert_ne!(machine.sh("cat /proc/sys/kernel/random/boot_id")?, own);
    // The disk with the label became the data volume, and holds the data.
    assert_eq!(machine.sh("findmnt -n -o LABEL /var/lib/ringdown")?.trim(), "ringdown-data");
    machine
        .sh("test -e /var/lib/ringdown/postgres/data/PG_VERSION && test -d /var/lib/ringdown/redis/appendonlydir")?;
    healthy(machine)
}

/// Every part is ready, and no unit failed.
fn healthy(machine: &mut Machine) -> anyhow::Result<()> {
    machine.wait(BOOT_LIMIT, "everything is ready", "ringdown status", |ran| ran.status.success().then_some(()))?;
    machine.wait(BOOT_LIMIT, "the system runs", "systemctl is-system-running", |ran| {
        (ran.stdout.trim() != "starting").then_some(())
    })?;
    assert_eq!(machine.sh("systemctl --failed --no-legend --plain")?.trim(), "");
    Ok(())
}

fn processes(machine: &Machine) -> anyhow::Result<Vec<(&'static str, String)>> {
    let ask = |name| machine.sh(&format!("systemctl show --property=MainPID --value ringdown-{name}.service"));
    SERVICES.into_iter().map(|name| Ok((name, ask(name)?.trim().to_owned()))).collect()
}

fn a_second_run_changes_nothing(machine: &Machine) -> anyhow::Result<()> {
    let running = processes(machine)?;
    let again = machine.run_for(COMMAND_LIMIT, "/srv/bundle/first_boot_installer")?;
    ensure!(again.code() == 0 && again.stdout.contains("nothing was changed"), "{}", again.said());
    assert_eq!(processes(machine)?, running, "no process was touched");
    Ok(())
}

/// A part of a daemon that takes memory without end is ended by the kernel at the daemon's limit; systemd starts the daemon
/// again, and nobody else notices.
fn memory_beyond_the_limit_is_refused(machine: &mut Machine) -> anyhow::Result<()> {
    let before = processes(machine)?;
    let limit: u64 =
        machine.sh("systemctl show --property=MemoryMax --value ringdown-notifier.service")?.trim().parse()?;
    ensure!(limit < u64::from(MEMORY) << 20, "the limit is below the machine's memory: {limit}");
    let taken = limit + (256 << 20);
    // In the daemon's own control group, as what the daemon itself would take.
    let hog = machine.run_for(COMMAND_LIMIT, &inside("ringdown-notifier", &format!("bytearray({taken})")))?;
    assert!(hog.stdout.contains("ended 137"), "it was killed: {}", hog.said());
    let log = machine.sh("journalctl --boot --dmesg --output=cat | grep -F 'Memory cgroup out of memory'")?;
    assert!(log.contains("python3"), "for its memory, by the limit of its group: {log}");
    healthy(machine)?;
    let after = processes(machine)?;
    let others = |all: &[(&'static str, String)]| {
        all.iter().filter(|(name, _)| *name != "notifier").cloned().collect::<Vec<_>>()
    };
    assert_eq!(others(&after), others(&before), "nobody else was touched");
    // As much below the limit is given.
    let ran = machine.run_for(COMMAND_LIMIT, &inside("ringdown-notifier", &format!("bytearray({})", limit / 2)))?;
    assert!(ran.stdout.contains("ended 0"), "{}", ran.said());
    Ok(())
}

/// A line of the shell that runs Python in a unit's control group: under its limits, whatever the unit's own program is.
fn inside(unit: &str, python: &str) -> String {
    // Who is killed in there takes nobody along, and how it ended is told.
    format!(
        "sh <<'INSIDE'\necho $$ >/sys/fs/cgroup/system.slice/{unit}.service/cgroup.procs && exec python3 -c '{python}'\nINSIDE\n\
         echo \"ended $?\"\n"
    )
}

/// What runs in a store's unit reaches this host, and not the network.
fn stores_reach_nobody_else(machine: &Machine) -> anyhow::Result<()> {
    // QEMU's own end of the network.
    const OUTSIDE: &str = "10.0.2.2";
    let reaches = |unit: &str, address: &str, port: u16| -> anyhow::Result<String> {
        let python = format!(
            "import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(bytes(1), (\"{address}\", {port})); print(\"sent\")"
        );
        Ok(machine.run(&inside(unit, &python))?.said())
    };
    for unit in ["ringdown-redis", "ringdown-postgresql"] {
        let own = reaches(unit, "127.0.0.1", 9)?;
        assert!(own.contains("sent"), "{unit} reaches its own host: {own}");
        let said = reaches(unit, OUTSIDE, 9)?;
        assert!(said.contains("Operation not permitted"), "{unit} reaches {OUTSIDE}: {said}");
    }
    // The same from a unit that speaks with everybody.
    let said = reaches("ringdown-registrar", OUTSIDE, 9)?;
    assert!(said.contains("sent"), "{said}");
    Ok(())
}

fn a_call_is_answered(machine: &Machine) -> anyhow::Result<()> {
    let call = machine.run_for(COMMAND_LIMIT, "ringdown sim calls --calls 1 --agents 1")?;
    ensure!(call.code() == 0, "{}", call.said());
    let lost = call.stdout.lines().find(|line| line.contains(" lost ")).context("it says what was lost")?;
    assert!(lost.contains('0') && !lost.contains('1'), "{}", call.said());
    Ok(())
}

fn neither_reboot_nor_power_cut_changes_anything(machine: &mut Machine) -> anyhow::Result<()> {
    let kept = "cat /var/lib/ringdown/first-boot.json; sha256sum /var/lib/ringdown/secrets/*";
    let before = machine.sh(kept)?;
    let started = Instant::now();
    machine.reboot(BOOT_LIMIT)?;
    healthy(machine)?;
    println!("appliance_vm_ready_after_reboot {:.0} s", started.elapsed().as_secs_f64());
    assert_eq!(machine.sh(kept)?, before);
    a_call_is_answered(machine)?;
    // What was written is on the disk without being asked to go there.
    let started = Instant::now();
    machine.power_cycle(MEMORY)?;
    healthy(machine)?;
    println!("appliance_vm_ready_after_power_cut {:.0} s", started.elapsed().as_secs_f64());
    assert_eq!(machine.sh(kept)?, before);
    a_call_is_answered(machine)
}

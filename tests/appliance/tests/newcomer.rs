//! `newcomer`: somebody who has never seen Ringdown takes a bare Debian 12 host, clones the repository and runs the README's two
//! commands, read out of the README itself.
//!
//! The host has systemd, an address that is not loopback, a way to the package registries, git, curl and a Rust toolchain, and
//! nothing that anybody has fetched or compiled before. What a host inside of a container cannot do, `tests/run` leaves out by itself
//! and says so.
//!
//! In the host this machine's package sources and certificates are those of "the internet"; its way out is slirp4netns, so that
//! nothing of this machine's network is changed.

#![expect(clippy::print_stdout, reason = "what the commands printed is what the suite is run for")]

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use ringdown_appliance::fleet::{Fleet, Host, Seed, checkout, root_with, wait_for};
use ringdown_suites::readme;

/// What a person has installed to be able to begin (README), and what apt needs to trust its sources.
const PACKAGES: [&str; 3] = ["git", "debian-archive-keyring", "gpgv"];
/// From nothing to the answered call.
const FIRST_LIMIT: Duration = Duration::from_secs(45 * 60);
/// The tests, compiling them included.
const SECOND_LIMIT: Duration = Duration::from_secs(85 * 60);
/// slirp4netns' address for names.
const NAMES: &str = "10.0.2.3";
/// Programs of rustup; tools somebody installed beside them are not a newcomer's.
const RUST: [&str; 8] =
    ["cargo", "rustc", "rustdoc", "rustfmt", "cargo-fmt", "cargo-clippy", "clippy-driver", "rustup"];

/// The fleet's way out, until it is dropped.
struct Internet(Child);

impl Drop for Internet {
    fn drop(&mut self) {
        // It may have ended by itself with its network; either way it is waited for.
        if self.0.kill().is_ok() {
            self.0.wait().expect("a child of ours can be waited for");
        }
    }
}

impl Internet {
    fn of(fleet: &Fleet) -> anyhow::Result<Self> {
        let mut command = Command::new("slirp4netns");
        command.args(["--configure", "--mtu=1500", "--disable-host-loopback", "--netns-type=path"]);
        command.arg(fleet.network()).arg("tap0").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let internet = Self(command.spawn().context("starting slirp4netns")?);
        let limit = Duration::from_secs(10);
        wait_for(limit, "the way out comes up", || {
            let ran = fleet.run_outside(limit, &["ip", "route", "show", "default"]).ok()?;
            ran.stdout.contains("tap0").then_some(())
        })?;
        let rules = "echo 1 >/proc/sys/net/ipv4/ip_forward
            nft add table ip out
            nft 'add chain ip out leave { type nat hook postrouting priority 100; }'
            nft add rule ip out leave oifname tap0 masquerade";
        fleet.run_outside(limit, &["sh", "-euc", rules])?.success().context("letting hosts out")?;
        Ok(internet)
    }
}

/// A bare host with a toolchain and a way out.
fn bare_host(fleet: &Fleet) -> anyhow::Result<Host> {
    let home = std::env::var("HOME").unwrap_or_else(|_| "/root".to_owned());
    let toolchain = std::env::var("RUSTUP_HOME").unwrap_or_else(|_| format!("{home}/.rustup"));
    let tools = std::env::var("CARGO_HOME").unwrap_or_else(|_| format!("{home}/.cargo"));
    let programs = fleet.folder("rust-bin")?;
    for name in RUST {
        let from = Path::new(&tools).join("bin").join(name);
        std::fs::copy(&from, programs.join(name)).with_context(|| format!("copying {}", from.display()))?;
    }
    let mut host = fleet
        .host("bare")
        .seed(Seed::Plain)
        .root(root_with("newcomer-root", &PACKAGES)?)
        .bind_read_only(toolchain, "/root/.rustup")
        .bind_read_only(programs, "/root/.cargo/bin")
        .bind_read_only(checkout(), "/srv/repository")
        .make()?;
    host.put(
        "/etc/systemd/network/10-host0.network.d/out.conf",
        format!("[Network]\nGateway=10.77.0.1\nDNS={NAMES}\n").as_bytes(),
        0o644,
    )?;
    share_sources(&host)?;
    host.boot()?;
    host.wait_running(Duration::from_secs(60))?;
    Ok(host)
}

/// Where this machine's packages come from, and whom it trusts.
fn share_sources(host: &Host) -> anyhow::Result<()> {
    let copies = [
        "/etc/apt/sources.list",
        "/etc/apt/sources.list.d",
        "/etc/apt/apt.conf.d",
        "/etc/ssl/certs/ca-certificates.crt",
        "/usr/local/share/ca-certificates",
    ];
    for from in copies.iter().filter(|from| Path::new(from).exists()) {
        let to = host.disk().join(from.trim_start_matches('/'));
        let mut copy = Command::new("cp");
        copy.args(["-aLT"]).arg(from).arg(&to);
        std::fs::create_dir_all(to.parent().context("a file lies in a folder")?).context("making a folder")?;
        ensure!(copy.status().context("starting cp")?.success(), "{from} could not be copied");
    }
    Ok(())
}

/// Runs a line of the README in the clone; gives what it printed, and says how long it took.
fn as_written(host: &Host, line: &str, limit: Duration) -> anyhow::Result<String> {
    let started = Instant::now();
    // As rustup sets up the shell of who installs it.
    let shell = format!("export PATH=/root/.cargo/bin:$PATH && cd /root/ringdown && {line} 2>&1");
    let ran = host.run_for(limit, &["bash", "-c", &shell])?;
    let took = started.elapsed().as_secs();
    println!("$ {line}\n{}\n=== {line}: {took} s, {}", ran.stdout, ran.status);
    ensure!(ran.status.success(), "{line} ended with {} after {took} s:\n{}", ran.status, ran.stdout);
    Ok(ran.stdout)
}

#[test]
fn the_readmes_two_commands_work_on_a_bare_host() -> anyhow::Result<()> {
    let fleet = Fleet::new()?;
    let _internet = Internet::of(&fleet)?;
    let host = bare_host(&fleet)?;
    let clone = "git clone --quiet file:///srv/repository /root/ringdown";
    let git = "git config --global --add safe.directory '*'";
    host.run_for(Duration::from_secs(120), &["sh", "-euc", &format!("{git} && {clone}")])?.success()?;
    let [first, second] = <[String; 2]>::try_from(readme::commands("Two commands")?)
        .map_err(|other| anyhow::anyhow!("the README has {} commands", other.len()))?;

    let said = as_written(&host, &first, FIRST_LIMIT)?;
    ensure!(said.contains("password"), "the administrator's password is not shown:\n{said}");
    let status = host.run_for(Duration::from_secs(60), &["ringdown", "doctor"])?;
    ensure!(status.status.success(), "ringdown doctor: {}", status.stdout);
    let again = as_written(&host, &first, FIRST_LIMIT)?;
    ensure!(again.contains("nothing was changed"), "the second run: {again}");

    let said = as_written(&host, &second, SECOND_LIMIT)?;
    let total = said.lines().rev().find(|line| line.contains(" passed, ")).context("no line with the totals")?;
    ensure!(total.trim_end().ends_with(" 0 failed"), "{total}");
    fleet.passed();
    Ok(())
}

//! One host: its disk, its power switch, its network plug, and a way in.

use std::cell::Cell;
use std::collections::HashSet;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::command::{Ran, run};
use super::{Fleet, STEP_LIMIT, Seed, ip, wait_for};

/// From power-on to systemd's first unit.
const LEADER_LIMIT: Duration = Duration::from_secs(20);
/// Longest clean power-off.
const OFF_LIMIT: Duration = Duration::from_secs(90);
/// After a power cut.
const CUT_LIMIT: Duration = Duration::from_secs(15);
const COMMAND_LIMIT: Duration = Duration::from_secs(60);
/// systemd's own signal for a power-off.
const POWER_OFF: &str = "RTMIN+4";
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A host that has not been made yet.
#[derive(Debug)]
pub struct HostBuilder<'a> {
    fleet: &'a Fleet,
    name: String,
    number: u8,
    seed: Seed,
    root: PathBuf,
    binds: Vec<(PathBuf, String, bool)>,
}

impl<'a> HostBuilder<'a> {
    pub(super) fn new(fleet: &'a Fleet, name: &str, number: u8) -> Self {
        let root = fleet.root.clone();
        Self { fleet, name: name.to_owned(), number, seed: Seed::Plain, root, binds: Vec::new() }
    }

    /// Who sets it up; [`Seed::Plain`] unless said otherwise.
    #[must_use]
    pub fn seed(mut self, seed: Seed) -> Self {
        self.seed = seed;
        self
    }

    /// Another root than the cached one to copy.
    #[must_use]
    pub fn root(mut self, root: impl Into<PathBuf>) -> Self {
        self.root = root.into();
        self
    }

    /// The last number of its address in 10.77.0.0/24 (2 to 250); a new host in a dead one's place takes the dead one's.
    #[must_use]
    pub fn number(mut self, number: u8) -> Self {
        self.number = number;
        self
    }

    /// A folder of the outside that the host sees: a data volume.
    #[must_use]
    pub fn bind(mut self, outside: impl Into<PathBuf>, inside: &str) -> Self {
        self.binds.push((outside.into(), inside.to_owned(), false));
        self
    }

    /// A folder of the outside that the host can only read: a bundle.
    #[must_use]
    pub fn bind_read_only(mut self, outside: impl Into<PathBuf>, inside: &str) -> Self {
        self.binds.push((outside.into(), inside.to_owned(), true));
        self
    }

    /// Makes the host, off.
    ///
    /// # Errors
    /// When its disk or its network cannot be made.
    pub fn make(self) -> anyhow::Result<Host> {
        let folder = self.fleet.folder.join("hosts").join(format!("{}-{}", self.name, self.number));
        ensure!(!folder.exists(), "there is a host {} with the number {} already", self.name, self.number);
        let root = copy_root(&self.root, &folder)?;
        let address = format!("10.77.0.{}", self.number);
        self.seed.write(&root, &self.name, &address)?;
        let host = Host {
            namespace: self.fleet.namespace(&format!("{}{}", self.name, self.number)),
            network: self.fleet.namespace("net"),
            plug: format!("v{}", self.number),
            name: self.name,
            address,
            folder,
            root,
            binds: self.binds,
            running: None,
            passed: Rc::clone(&self.fleet.passed),
        };
        host.plug_in()?;
        Ok(host)
    }

    /// Makes the host and boots it, until systemd answers.
    ///
    /// # Errors
    /// As [`HostBuilder::make`] and [`Host::boot`].
    pub fn boot(self) -> anyhow::Result<Host> {
        let mut host = self.make()?;
        host.boot()?;
        Ok(host)
    }
}

/// A layer over the root where the file system can do that, else a copy.
fn copy_root(source: &Path, folder: &Path) -> anyhow::Result<PathBuf> {
    let root = folder.join("root");
    let (upper, work) = (folder.join("upper"), folder.join("work"));
    for folder in [&root, &upper, &work] {
        std::fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    }
    let layers = format!("lowerdir={},upperdir={},workdir={}", source.display(), upper.display(), work.display());
    let mut mount = Command::new("mount");
    mount.args(["-t", "overlay", "overlay", "-o", &layers]).arg(&root);
    if run(mount, None, STEP_LIMIT)?.status.success() {
        return Ok(root);
    }
    let mut copy = Command::new("cp");
    copy.args(["-a", "--reflink=auto"]).arg(source.join(".")).arg(&root);
    run(copy, None, Duration::from_secs(120))?.success().context("copying the root of a host")?;
    Ok(root)
}

#[derive(Debug)]
struct Running {
    nspawn: Child,
    /// The host's first process, as we see it.
    leader: Pid,
}

/// A host; its journal is shown when it is dropped before [`Fleet::passed`].
#[derive(Debug)]
pub struct Host {
    name: String,
    address: String,
    namespace: String,
    network: String,
    plug: String,
    folder: PathBuf,
    root: PathBuf,
    binds: Vec<(PathBuf, String, bool)>,
    running: Option<Running>,
    passed: Rc<Cell<bool>>,
}

impl Host {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its address on the bridge.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Its disk, as seen from outside; to be written only while it is off.
    #[must_use]
    pub fn disk(&self) -> &Path {
        &self.root
    }

    /// Whether it has power.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.running.is_some()
    }

    /// The id of its first process, as seen from outside.
    ///
    /// # Errors
    /// When it is off.
    pub fn leader(&self) -> anyhow::Result<i32> {
        let running = self.running.as_ref().with_context(|| format!("{} is off", self.name))?;
        Ok(running.leader.as_raw())
    }

    fn plug_in(&self) -> anyhow::Result<()> {
        ip(&["netns", "add", &self.namespace])?;
        let (network, plug, namespace) = (&self.network, &self.plug, &self.namespace);
        ip(&["-n", network, "link", "add", plug, "type", "veth", "peer", "name", "host0", "netns", namespace])?;
        ip(&["-n", network, "link", "set", plug, "master", "br0", "up"])
    }

    /// Switches it on; returns when systemd answers. Units may still be starting: see [`Host::wait_running`].
    ///
    /// # Errors
    /// When it is on, when something of an earlier boot still lives, or when systemd does not come.
    pub fn boot(&mut self) -> anyhow::Result<()> {
        ensure!(self.running.is_none(), "{} is on", self.name);
        // Two systems on one disk would destroy it.
        let left = self.processes()?;
        ensure!(left.is_empty(), "processes of an earlier boot of {} still live: {left}", self.name);
        let log = File::create(self.folder.join("console.log")).context("making the console's log")?;
        let mut command = Command::new("systemd-nspawn");
        command.args(["--quiet", "--boot", "--register=no", "--keep-unit", "--resolv-conf=off", "--link-journal=no"]);
        command.arg("--directory").arg(&self.root);
        command.arg(format!("--machine={}", self.namespace)).arg(format!("--hostname={}", self.name));
        command.arg(format!("--network-namespace-path=/run/netns/{}", self.namespace));
        // A namespace that was made outside does not bring it.
        command.arg("--capability=CAP_NET_ADMIN,CAP_NET_RAW");
        for (outside, inside, read_only) in &self.binds {
            let option = if *read_only { "--bind-ro" } else { "--bind" };
            command.arg(format!("{option}={}:{inside}", outside.display()));
        }
        command.stdin(Stdio::null()).stderr(log.try_clone().context("sharing the console's log")?).stdout(log);
        let mut nspawn = command.spawn().context("starting systemd-nspawn")?;
        let found = wait_for(LEADER_LIMIT, "systemd answers", || {
            if matches!(nspawn.try_wait(), Ok(None)) { find_leader(nspawn.id()).map(Ok) } else { Some(Err(())) }
        });
        match found {
            Ok(Ok(leader)) => self.running = Some(Running { nspawn, leader }),
            Ok(Err(())) => bail!("{} did not boot: {}", self.name, self.console()),
            Err(error) => {
                nspawn.kill().context("ending systemd-nspawn")?;
                nspawn.wait().context("waiting for systemd-nspawn")?;
                return Err(error.context(format!("{} did not boot: {}", self.name, self.console())));
            }
        }
        Ok(())
    }

    /// Waits until every unit of the boot has started.
    ///
    /// # Errors
    /// When a unit failed, or `limit` has passed.
    pub fn wait_running(&self, limit: Duration) -> anyhow::Result<()> {
        let state = wait_for(limit, &format!("{} is running", self.name), || {
            let ran = self.run(&["systemctl", "is-system-running"]).ok()?;
            let state = ran.stdout.trim().to_owned();
            matches!(state.as_str(), "running" | "degraded" | "maintenance").then_some(state)
        })?;
        self.no_unit_failed()?;
        ensure!(state == "running", "{} is {state}", self.name);
        Ok(())
    }

    /// That every unit is well.
    ///
    /// # Errors
    /// Names those that failed, with what their journal says.
    pub fn no_unit_failed(&self) -> anyhow::Result<()> {
        let said = self.sh("systemctl --failed --no-legend --plain | while read -r unit rest; do
                 echo \"$unit $rest\"
                 journalctl --no-pager --boot --lines=12 --output=short-monotonic --unit=\"$unit\"
             done")?;
        ensure!(said.is_empty(), "failed units on {}:\n{said}", self.name);
        Ok(())
    }

    /// Runs a command to its end, as root, for at most a minute.
    ///
    /// # Errors
    /// When the host is off, or the command cannot be started or takes too long.
    pub fn run(&self, arguments: &[&str]) -> anyhow::Result<Ran> {
        self.run_for(COMMAND_LIMIT, arguments)
    }

    /// Runs a line of shell; gives what it said.
    ///
    /// # Errors
    /// As [`Host::run`], and when it was no success.
    pub fn sh(&self, line: &str) -> anyhow::Result<String> {
        self.run(&["sh", "-euc", line])?.success().with_context(|| format!("{}: {line}", self.name))
    }

    /// As [`Host::run`] with another limit.
    ///
    /// # Errors
    /// As [`Host::run`].
    pub fn run_for(&self, limit: Duration, arguments: &[&str]) -> anyhow::Result<Ran> {
        self.run_with(limit, arguments, None)
    }

    fn run_with(&self, limit: Duration, arguments: &[&str], input: Option<&[u8]>) -> anyhow::Result<Ran> {
        let mut command = self.command()?;
        // Ended from inside: the end of nsenter would leave what it started.
        command.args(["timeout", "--signal=KILL", &limit.as_secs_f64().to_string()]).args(arguments);
        run(command, input, limit + Duration::from_secs(2)).with_context(|| format!("on {}", self.name))
    }

    /// A command to be run inside by the caller: its words follow.
    ///
    /// # Errors
    /// When the host is off.
    pub fn command(&self) -> anyhow::Result<Command> {
        let mut command = Command::new("nsenter");
        command.arg("-t").arg(self.leader()?.to_string());
        command.args(["-m", "-u", "-i", "-n", "-p", "-C", "-r", "-w", "env", "-i", PATH, "HOME=/root", "LANG=C.UTF-8"]);
        Ok(command)
    }

    /// Writes a file, also while the host is off.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn put(&self, path: &str, bytes: &[u8], mode: u32) -> anyhow::Result<()> {
        if self.is_on() {
            let line = "mkdir -p \"$(dirname \"$1\")\" && cat >\"$1\" && chmod \"$2\" \"$1\"";
            let words = ["sh", "-euc", line, "put", path, &format!("{mode:o}")];
            return self.run_with(COMMAND_LIMIT, &words, Some(bytes))?.success().map(drop);
        }
        let place = self.root.join(path.trim_start_matches('/'));
        let folder = place.parent().context("a file lies in a folder")?;
        std::fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
        std::fs::write(&place, bytes).with_context(|| format!("writing {}", place.display()))?;
        let mode = std::os::unix::fs::PermissionsExt::from_mode(mode);
        std::fs::set_permissions(&place, mode).with_context(|| format!("setting the mode of {}", place.display()))
    }

    /// Reads a text file, also while the host is off.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn get(&self, path: &str) -> anyhow::Result<String> {
        if self.is_on() {
            return self.run(&["cat", path])?.success();
        }
        let place = self.root.join(path.trim_start_matches('/'));
        std::fs::read_to_string(&place).with_context(|| format!("reading {}", place.display()))
    }

    /// Shuts it down in order.
    ///
    /// # Errors
    /// When it is off already, or does not end in 90 s.
    pub fn power_off(&mut self) -> anyhow::Result<()> {
        // The signal is a real-time one, which has no name in the library.
        let mut command = Command::new("kill");
        command.args(["-s", POWER_OFF, &self.leader()?.to_string()]);
        run(command, None, STEP_LIMIT)?.success()?;
        self.wait_off(OFF_LIMIT)
    }

    /// Cuts the power: nothing inside gets to do anything any more.
    ///
    /// # Errors
    /// When it is off already.
    pub fn power_cut(&mut self) -> anyhow::Result<()> {
        let leader = self.leader()?;
        stop_all(leader)?;
        // The first process takes all others with it; ending systemd-nspawn instead would leave them all.
        kill(Pid::from_raw(leader), Signal::SIGKILL).context("cutting the power")?;
        self.wait_off(CUT_LIMIT)
    }

    /// Throws it away with its disk, in order when it is on: another root may take its name, its number and its data.
    ///
    /// # Errors
    /// When it does not end, or something of it cannot be removed.
    pub fn scrap(mut self) -> anyhow::Result<()> {
        if self.is_on() {
            self.power_off()?;
        }
        ip(&["netns", "delete", &self.namespace])?;
        let mut unmount = Command::new("umount");
        unmount.arg(&self.root);
        // A root that was copied is no mount.
        let unmounted = run(unmount, None, STEP_LIMIT)?.status.success();
        let mut remove = Command::new("rm");
        remove.args(["-rf", "--one-file-system"]).arg(&self.folder);
        run(remove, None, Duration::from_secs(60))?
            .success()
            .with_context(|| format!("removing {} (was a mount: {unmounted})", self.name))?;
        // The other end of its cable goes with the namespace, which the kernel clears away by itself.
        wait_for(STEP_LIMIT, &format!("the cable of {} is gone", self.name), || {
            ip(&["-n", &self.network, "link", "show", &self.plug]).is_err().then_some(())
        })
    }

    /// Off and on in order.
    ///
    /// # Errors
    /// As [`Host::power_off`] and [`Host::boot`].
    pub fn reboot(&mut self) -> anyhow::Result<()> {
        self.power_off()?;
        self.boot()
    }

    fn wait_off(&mut self, limit: Duration) -> anyhow::Result<()> {
        let Some(mut running) = self.running.take() else { bail!("{} is off", self.name) };
        let ended = wait_for(limit, &format!("{} is off", self.name), || running.nspawn.try_wait().transpose());
        match ended {
            Ok(status) => drop(status.context("waiting for systemd-nspawn")?),
            Err(error) => {
                self.running = Some(running);
                return Err(error);
            }
        }
        wait_for(CUT_LIMIT, &format!("{} has no process left", self.name), || {
            self.processes().ok().filter(String::is_empty)
        })?;
        Ok(())
    }

    /// Pulls its network plug.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn cut_network(&self) -> anyhow::Result<()> {
        ip(&["-n", &self.network, "link", "set", &self.plug, "down"])
    }

    /// Puts it back.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn restore_network(&self) -> anyhow::Result<()> {
        ip(&["-n", &self.network, "link", "set", &self.plug, "up"])
    }

    /// The main process of a unit, as seen inside; 0 when it does not run.
    ///
    /// # Errors
    /// When it cannot be asked.
    pub fn main_pid(&self, unit: &str) -> anyhow::Result<u32> {
        let said = self.run(&["systemctl", "show", "--property=MainPID", "--value", unit])?.success()?;
        said.trim().parse().with_context(|| format!("systemctl said {said:?}"))
    }

    /// The last lines of its journal.
    #[must_use]
    pub fn journal(&self, lines: u32) -> String {
        let lines = lines.to_string();
        let ran = self.run(&["journalctl", "--no-pager", "--quiet", "--output=short-monotonic", "--lines", &lines]);
        ran.map_or_else(|error| format!("{error:#}"), |ran| ran.stdout)
    }

    fn console(&self) -> String {
        std::fs::read_to_string(self.folder.join("console.log")).unwrap_or_default()
    }

    /// Ids of processes in its network namespace.
    fn processes(&self) -> anyhow::Result<String> {
        let mut command = Command::new("ip");
        command.args(["netns", "pids", &self.namespace]);
        Ok(run(command, None, STEP_LIMIT)?.success()?.split_whitespace().collect::<Vec<_>>().join(" "))
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let Some(mut running) = self.running.take() else { return };
        if !self.passed.get() {
            self.running = Some(running);
            let journal = self.journal(80);
            let Some(again) = self.running.take() else { return };
            running = again;
            report(&self.name, &journal);
        }
        // What fails here the guard does at the fleet's end.
        if kill(running.leader, Signal::SIGKILL).is_ok() {
            running.nspawn.wait().ok();
        }
    }
}

#[expect(clippy::print_stderr, reason = "a failing test shows what its hosts said")]
fn report(name: &str, journal: &str) {
    eprintln!("--- the end of the journal of {name}:\n{journal}---");
}

/// The child of systemd-nspawn that is process 1 of its namespace and whose systemd answers. Others come and go.
fn find_leader(nspawn: u32) -> Option<Pid> {
    let children = std::fs::read_to_string(format!("/proc/{nspawn}/task/{nspawn}/children")).ok()?;
    children.split_whitespace().filter_map(|id| id.parse::<i32>().ok()).find(|id| is_leader(*id)).map(Pid::from_raw)
}

fn is_leader(id: i32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
    let inside =
        status.lines().find_map(|line| line.strip_prefix("NSpid:")).and_then(|ids| ids.split_whitespace().last());
    inside == Some("1") && Path::new(&format!("/proc/{id}/root/run/systemd/private")).exists()
}

/// Stops every process of the host of this first process. A first process that ends closes its sockets before the others are
/// gone: for some milliseconds they would see its end, and act on it, as nothing does when the power is cut. What was let in
/// from outside goes on, and only what it began is stopped: `nsenter` stops with its child, and would never see its end.
fn stop_all(leader: i32) -> anyhow::Result<()> {
    const MOST_LOOKS: u32 = 20;
    let space = std::fs::read_link(format!("/proc/{leader}/ns/pid")).context("asking for the host's processes")?;
    let mut stopped = HashSet::new();
    // Until a look finds nobody new: one that was still going on may have begun others.
    for _ in 0..MOST_LOOKS {
        let mut anew = false;
        for entry in std::fs::read_dir("/proc")? {
            let entry = entry?;
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
            // A process that has ended meanwhile has no link any more.
            let is_inside =
                |pid: i32| std::fs::read_link(format!("/proc/{pid}/ns/pid")).is_ok_and(|found| found == space);
            let begun_inside = || pid == leader || parent(pid).is_some_and(is_inside);
            if is_inside(pid) && begun_inside() && stopped.insert(pid) {
                anew = true;
                match kill(Pid::from_raw(pid), Signal::SIGSTOP) {
                    Ok(()) | Err(Errno::ESRCH) => {}
                    Err(error) => return Err(error).context("stopping the host's processes"),
                }
            }
        }
        if !anew {
            return Ok(());
        }
    }
    bail!("the host begins new processes faster than they can be stopped")
}

fn parent(pid: i32) -> Option<i32> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name before it may hold anything.
    text.rsplit_once(')')?.1.split_ascii_whitespace().nth(1)?.parse().ok()
}

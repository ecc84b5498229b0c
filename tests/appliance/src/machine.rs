//! A machine with a kernel of its own, under QEMU: what the hosts of a fleet cannot show.
//!
//! ```text
//! test -- ssh, a forwarded port of loopback --> guest   vda root   vdb bundle   vdc data volume   vdd NoCloud seed
//!   '- QEMU, no acceleration: a boot takes a minute, all else five to ten times what it does on a host
//! ```
//! It has no way to the world: QEMU's own network answers DHCP and forwards the one port, and nothing else.

use std::fs::File;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, ensure};
use nix::fcntl::{Flock, FlockArg};

use crate::fleet::{Ran, cache, checkout, run, wait_for};

/// Making the root from nothing, or QEMU's.
const MAKE_LIMIT: Duration = Duration::from_secs(420);
const STEP_LIMIT: Duration = Duration::from_secs(60);
/// One command in the guest.
const COMMAND_LIMIT: Duration = Duration::from_secs(120);
/// From the end of a command in the guest to our knowing it.
const GRACE: Duration = Duration::from_secs(20);
/// How often a machine that does not answer yet is asked.
const ASK_PAUSE: Duration = Duration::from_secs(2);

/// What a machine gets.
#[derive(Debug)]
pub struct Machine {
    folder: PathBuf,
    root: PathBuf,
    port: u16,
    qemu: Child,
    passed: bool,
}

/// What a machine is made of.
#[derive(Debug)]
pub struct Parts<'a> {
    /// Its name.
    pub name: &'a str,
    /// What cloud-init reads, from a disk labelled `cidata`.
    pub user_data: &'a str,
    /// What lies on the disk labelled `ringdown-bundle`, mounted at `/srv/bundle`.
    pub bundle: &'a Path,
    /// MiB.
    pub memory: u32,
}

impl Machine {
    /// Makes the disks and switches the machine on; does not wait for it.
    ///
    /// # Errors
    /// When the cached root, QEMU or a disk cannot be made.
    pub fn boot(parts: &Parts<'_>) -> anyhow::Result<Self> {
        let root = machine_root()?;
        let folder = tempfile::Builder::new().prefix("ringdown-machine-").tempdir().context("making a folder")?.keep();
        disks(&folder, &root, parts)?;
        let port = free_port()?;
        let qemu = start(&folder, &root, port, parts.memory)?;
        Ok(Self { folder, root, port, qemu, passed: false })
    }

    /// Pulls the plug, and switches it on again with the same disks.
    ///
    /// # Errors
    /// When QEMU cannot be started again.
    pub fn power_cycle(&mut self, memory: u32) -> anyhow::Result<()> {
        self.qemu.kill().context("pulling the plug")?;
        self.qemu.wait().context("waiting for QEMU's end")?;
        self.hang_up()?;
        self.qemu = start(&self.folder, &self.root, self.port, memory)?;
        Ok(())
    }

    /// Lets it go down in order and come up again.
    ///
    /// # Errors
    /// When it does not answer again within `limit`, in another boot.
    pub fn reboot(&mut self, limit: Duration) -> anyhow::Result<()> {
        const BOOT: &str = "cat /proc/sys/kernel/random/boot_id";
        let before = self.sh(BOOT)?;
        // The connection may go with the machine before the answer comes.
        let asked = self.run("systemctl reboot");
        self.hang_up()?;
        let done = self
            .wait(limit, "it comes up again", BOOT, |ran| (ran.status.success() && ran.stdout != before).then_some(()));
        done.with_context(|| format!("asked to reboot: {asked:?}"))
    }

    /// Ends the connection that is kept for all commands; there may be none.
    fn hang_up(&self) -> anyhow::Result<()> {
        let mut close = Command::new("ssh");
        close.args(["-F", "none", "-O", "exit", "-o"]).arg(format!("ControlPath={}", self.control().display()));
        close.arg("debian@127.0.0.1");
        // Where it was gone already, ssh says so, and that is as well.
        run(close, None, STEP_LIMIT).context("ending the connection").map(drop)
    }

    /// Runs a line of the shell as root.
    ///
    /// # Errors
    /// When the machine cannot be reached, or the line takes longer than two minutes.
    pub fn run(&self, line: &str) -> anyhow::Result<Ran> {
        self.run_for(COMMAND_LIMIT, line)
    }

    /// The same, with another limit.
    ///
    /// # Errors
    /// When the machine cannot be reached, or the line takes longer.
    pub fn run_for(&self, limit: Duration, line: &str) -> anyhow::Result<Ran> {
        let mut command = Command::new("ssh");
        command.arg("-F").arg("none").arg("-i").arg(self.folder.join("key")).args(["-p", &self.port.to_string()]);
        // The guest made its host key a minute ago; one connection is kept for all commands.
        for option in [
            "BatchMode=yes".to_owned(),
            "StrictHostKeyChecking=no".to_owned(),
            "UserKnownHostsFile=/dev/null".to_owned(),
            "LogLevel=ERROR".to_owned(),
            "ConnectTimeout=20".to_owned(),
            "ServerAliveInterval=10".to_owned(),
            "ControlMaster=auto".to_owned(),
            "ControlPersist=300".to_owned(),
            format!("ControlPath={}", self.control().display()),
        ] {
            command.arg("-o").arg(option);
        }
        // There, too: what is cut off here would go on, and the connection with it.
        let there = limit.as_secs().to_string();
        command.args(["debian@127.0.0.1", "sudo", "timeout", "--kill-after=5", &there, "sh"]);
        run(command, Some(line.as_bytes()), limit + GRACE)
    }

    /// What a line of the shell says, as root.
    ///
    /// # Errors
    /// When the machine cannot be reached, or the line does not succeed.
    pub fn sh(&self, line: &str) -> anyhow::Result<String> {
        self.run(line)?.success().with_context(|| line.to_owned())
    }

    /// Waits until a line of the shell says something true of `wanted`. A machine that does not answer yet is asked again.
    ///
    /// # Errors
    /// When `limit` has passed, or QEMU has ended; with the end of the console.
    pub fn wait<T>(
        &mut self,
        limit: Duration,
        what: &str,
        line: &str,
        mut wanted: impl FnMut(&Ran) -> Option<T>,
    ) -> anyhow::Result<T> {
        let mut ended = None;
        let found = wait_for(limit, what, || {
            ended = self.qemu.try_wait().ok().flatten();
            if ended.is_some() {
                return Some(None);
            }
            let answer = self.run(line).ok().and_then(|ran| wanted(&ran));
            if answer.is_none() {
                std::thread::sleep(ASK_PAUSE);
            }
            answer.map(Some)
        });
        match found {
            Ok(Some(found)) => Ok(found),
            Ok(None) => anyhow::bail!("QEMU ended ({ended:?}): {}", self.told("qemu.log")),
            Err(error) => Err(error.context(format!("the console's end:\n{}", tail(&self.told("console.log"), 40)))),
        }
    }

    /// The test is over and all was well: a machine that is dropped before this shows the end of its console.
    pub fn passed(&mut self) {
        self.passed = true;
    }

    fn control(&self) -> PathBuf {
        self.folder.join("ssh")
    }

    fn told(&self, name: &str) -> String {
        let bytes = std::fs::read(self.folder.join(name)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl Drop for Machine {
    #[expect(clippy::print_stderr, reason = "what went wrong with a machine that is about to be gone")]
    fn drop(&mut self) {
        if !self.passed {
            eprintln!("the console's end:\n{}{}", tail(&self.told("console.log"), 60), self.told("qemu.log"));
        }
        for problem in [
            self.hang_up().err().map(|error| format!("{error:#}")),
            self.qemu.kill().and_then(|()| self.qemu.wait()).err().map(|error| error.to_string()),
            std::fs::remove_dir_all(&self.folder).err().map(|error| error.to_string()),
        ]
        .into_iter()
        .flatten()
        {
            eprintln!("clearing a machine away: {problem}");
        }
    }
}

fn tail(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.lines().collect();
    all.iter().skip(all.len().saturating_sub(lines)).map(|line| format!("{line}\n")).collect()
}

fn free_port() -> anyhow::Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("looking for a free port")?;
    Ok(listener.local_addr().context("looking for a free port")?.port())
}

fn tool(program: &str, arguments: &[&str]) -> anyhow::Result<()> {
    let mut command = Command::new(program);
    command.args(arguments);
    run(command, None, STEP_LIMIT)?.success().with_context(|| format!("{program} {}", arguments.join(" "))).map(drop)
}

/// A root with a kernel; made when there is none.
fn machine_root() -> anyhow::Result<PathBuf> {
    let mut command = Command::new(checkout().join("tests/appliance/host_root"));
    command.arg("--kernel").arg(cache().join("machine-root"));
    let ran = run(command, None, MAKE_LIMIT).context("making a machine's root")?;
    Ok(PathBuf::from(ran.success()?.trim()))
}

/// A disk image with a label and what a folder holds.
fn disk(image: &Path, mib: u64, label: &str, holds: Option<&Path>) -> anyhow::Result<()> {
    let file = File::create(image).with_context(|| format!("making {}", image.display()))?;
    file.set_len(mib << 20).with_context(|| format!("making {}", image.display()))?;
    let mut command = Command::new("mkfs.ext4");
    command.args(["-q", "-L", label]);
    if let Some(folder) = holds {
        command.arg("-d").arg(folder);
    }
    command.arg(image);
    run(command, None, STEP_LIMIT)?.success().with_context(|| format!("making the disk {label}")).map(drop)
}

fn disks(folder: &Path, root: &Path, parts: &Parts<'_>) -> anyhow::Result<()> {
    disk(&folder.join("root.img"), 8192, "root", Some(root))?;
    disk(&folder.join("bundle.img"), 1024, "ringdown-bundle", Some(parts.bundle))?;
    disk(&folder.join("data.img"), 8192, "ringdown-data", None)?;
    let key = folder.join("key");
    tool("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-f", &key.display().to_string()])?;
    let public = std::fs::read_to_string(key.with_extension("pub")).context("reading the public key")?;
    let meta_data = format!("instance-id: first\nlocal-hostname: {}\npublic-keys:\n- {}\n", parts.name, public.trim());
    let (user, meta) = (folder.join("user-data"), folder.join("meta-data"));
    std::fs::write(&user, parts.user_data).context("writing user-data")?;
    std::fs::write(&meta, meta_data).context("writing meta-data")?;
    let words = [&folder.join("seed.iso"), &user, &meta].map(|path| path.display().to_string());
    let [image, user, meta] = words.each_ref().map(String::as_str);
    tool("genisoimage", &["-quiet", "-output", image, "-volid", "cidata", "-joliet", "-rock", user, meta])
}

/// The only file of the root's `boot` whose name begins so.
fn in_boot(root: &Path, name: &str) -> anyhow::Result<PathBuf> {
    let entries = std::fs::read_dir(root.join("boot")).context("reading the root's boot")?;
    let found = entries.filter_map(Result::ok).find(|entry| entry.file_name().to_string_lossy().starts_with(name));
    Ok(found.with_context(|| format!("no {name} in the root's boot"))?.path())
}

fn start(folder: &Path, root: &Path, port: u16, memory: u32) -> anyhow::Result<Child> {
    // With the test it goes, however the test ends.
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]);
    let program = Qemu::find()?;
    program.call(&mut command);
    command.args(["-nodefaults", "-no-user-config", "-display", "none"]);
    command.args(["-accel", "tcg,thread=multi,tb-size=512", "-cpu", "max", "-smp", "2", "-m", &memory.to_string()]);
    command.arg("-kernel").arg(in_boot(root, "vmlinuz-")?).arg("-initrd").arg(in_boot(root, "initrd.img-")?);
    command.args(["-append", "root=/dev/vda rw console=ttyS0 panic=-1"]);
    command.arg("-serial").arg(format!("file:{}", folder.join("console.log").display()));
    for (name, how) in
        [("root.img", ""), ("bundle.img", ",readonly=on"), ("data.img", ""), ("seed.iso", ",readonly=on")]
    {
        // Nothing of it outlives the test, so nothing has to reach the disk of this machine.
        let file = folder.join(name);
        command.arg("-drive").arg(format!("file={},if=virtio,format=raw,cache=unsafe{how}", file.display()));
    }
    command.arg("-netdev").arg(format!("user,id=net,restrict=on,hostfwd=tcp:127.0.0.1:{port}-:22"));
    command.args(["-device", "virtio-net-pci,netdev=net,romfile="]);
    command.args(["-object", "rng-random,filename=/dev/urandom,id=rng", "-device", "virtio-rng-pci,rng=rng"]);
    let log = File::create(folder.join("qemu.log")).context("making QEMU's log")?;
    command.stdin(Stdio::null()).stdout(log.try_clone().context("QEMU's log")?).stderr(log);
    command.spawn().context("starting QEMU")
}

/// Where QEMU is: on this machine, or in a folder of its own where this machine's packages leave no room for it.
#[derive(Debug)]
enum Qemu {
    Here,
    In(PathBuf),
}

impl Qemu {
    fn find() -> anyhow::Result<Self> {
        let here = std::env::var_os("PATH")
            .is_some_and(|path| std::env::split_paths(&path).any(|folder| folder.join(PROGRAM).is_file()));
        if here { Ok(Self::Here) } else { unpacked().map(Self::In) }
    }

    fn call(&self, command: &mut Command) {
        match self {
            Self::Here => {
                command.arg(PROGRAM);
            }
            Self::In(root) => {
                let libraries = root.join("usr/lib/x86_64-linux-gnu");
                command.env("QEMU_MODULE_DIR", libraries.join("qemu"));
                command.arg(root.join("lib64/ld-linux-x86-64.so.2")).arg("--library-path");
                command.arg(format!("{}:{}", libraries.display(), root.join("lib/x86_64-linux-gnu").display()));
                command.arg(root.join("usr/bin").join(PROGRAM));
                for data in ["qemu", "seabios"] {
                    command.arg("-L").arg(root.join("usr/share").join(data));
                }
            }
        }
    }
}

const PROGRAM: &str = "qemu-system-x86_64";

/// QEMU's packages with all they need, unpacked and not installed.
fn unpacked() -> anyhow::Result<PathBuf> {
    let folder = cache().join("qemu");
    let lock = File::create(cache().join("qemu.lock")).context("making QEMU's lock")?;
    let _held =
        Flock::lock(lock, FlockArg::LockExclusive).map_err(|(_, error)| error).context("waiting for QEMU's folder")?;
    if folder.join("usr/bin").join(PROGRAM).is_file() {
        return Ok(folder);
    }
    let new = tempfile::Builder::new().prefix("qemu.").tempdir_in(cache()).context("making QEMU's folder")?;
    let mut command = Command::new("mmdebstrap");
    command.args(["--quiet", "--variant=extract", "--include=qemu-system-x86"]);
    command.args(["--aptopt=Apt::Install-Recommends \"false\"", "--aptopt=Acquire::Check-Valid-Until \"false\""]);
    command.arg("bookworm").arg(new.path());
    run(command, None, MAKE_LIMIT)?.success().context("unpacking QEMU")?;
    ensure!(new.path().join("usr/bin").join(PROGRAM).is_file(), "QEMU's packages bring no {PROGRAM}");
    std::fs::rename(new.keep(), &folder).context("putting QEMU's folder in place")?;
    Ok(folder)
}

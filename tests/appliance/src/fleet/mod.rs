//! A fleet: hosts on one bridge, in namespaces of their own.
//!
//! ```text
//! test process -- stdin pipe --> fleet_guard      clears everything away when the test is over, however it ends
//!   '- Fleet   namespace P-net: bridge br0 10.77.0.1/24
//!        '- Host   namespace P-<name>: host0 10.77.0.N/24, no default route
//!             systemd-nspawn of a copy of the cached root; commands come in by nsenter
//! ```
//! `P` is a prefix per fleet, so fleets don't meet. Measured: a host is copied in no time (overlay) or 4 s, boots in 2 s.
//!
//! What these hosts can't show: memory limits and IP filters of units (not enforced in nspawn here), a kernel of their
//! own, and the loss of what was written but not synced (a power cut leaves the page cache).

mod command;
mod host;
mod seed;

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use nix::sched::{CloneFlags, setns};

pub use command::{Ran, run};
pub use host::{Host, HostBuilder};
pub use seed::Seed;

/// The bridge's own address: where tests serve files to hosts, or call them from.
pub const BRIDGE_ADDRESS: &str = "10.77.0.1";
/// Making the root from nothing.
const ROOT_LIMIT: Duration = Duration::from_secs(420);
const STEP_LIMIT: Duration = Duration::from_secs(20);
const CLEAR_LIMIT: Duration = Duration::from_secs(30);

static FLEETS: AtomicU32 = AtomicU32::new(0);

/// Hosts that can reach each other.
#[derive(Debug)]
pub struct Fleet {
    prefix: String,
    folder: PathBuf,
    root: PathBuf,
    guard: Child,
    hosts: Cell<u8>,
    passed: Rc<Cell<bool>>,
}

impl Fleet {
    /// A fleet without hosts yet. Makes the cached root if there is none.
    ///
    /// # Errors
    /// Without root's rights, or when the root, the namespace or the bridge cannot be made.
    pub fn new() -> anyhow::Result<Self> {
        ensure!(nix::unistd::geteuid().is_root(), "hosts need root: run the tests as root");
        let root = cached_root()?;
        allow_many_systemds()?;
        let prefix = format!("rd{}x{}", std::process::id(), FLEETS.fetch_add(1, Ordering::Relaxed));
        let folder = tempfile::Builder::new().prefix("ringdown-fleet-").tempdir().context("making a folder")?.keep();
        let guard = start_guard(&folder, &prefix)?;
        let fleet = Self { prefix, folder, root, guard, hosts: Cell::new(10), passed: Rc::default() };
        let network = fleet.namespace("net");
        ip(&["netns", "add", &network])?;
        for line in [
            "link set lo up",
            "link add br0 type bridge",
            &format!("addr add {BRIDGE_ADDRESS}/24 dev br0"),
            "link set br0 up",
        ] {
            ip(&[&["-n", &network], line.split(' ').collect::<Vec<_>>().as_slice()].concat())?;
        }
        Ok(fleet)
    }

    /// A further host, off.
    pub fn host(&self, name: &str) -> HostBuilder<'_> {
        let number = self.hosts.get() + 1;
        self.hosts.set(number);
        HostBuilder::new(self, name, number)
    }

    /// The bridge's namespace, for what has to be in it without being started by [`Fleet::outside`]: containers.
    #[must_use]
    pub fn network(&self) -> PathBuf {
        Path::new("/run/netns").join(self.namespace("net"))
    }

    /// A program in the bridge's namespace: a caller, a browser, a neighbour.
    #[must_use]
    pub fn outside(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.namespace("net"), program]);
        command
    }

    /// Runs a program in the bridge's namespace to its end.
    ///
    /// # Errors
    /// When it cannot be started or takes longer than `limit`.
    pub fn run_outside(&self, limit: Duration, arguments: &[&str]) -> anyhow::Result<Ran> {
        let (program, rest) = arguments.split_first().context("a command has a program")?;
        let mut command = self.outside(program);
        command.args(rest);
        run(command, None, limit)
    }

    /// Runs `work` in a thread of the bridge's namespace: its sockets are those of a caller, a browser, a neighbour.
    ///
    /// # Errors
    /// When the namespace cannot be opened; the thread's own result is `Err` when it cannot be entered.
    pub fn in_network<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> anyhow::Result<JoinHandle<anyhow::Result<T>>> {
        let place = Path::new("/run/netns").join(self.namespace("net"));
        let namespace = std::fs::File::open(&place).with_context(|| format!("opening {}", place.display()))?;
        Ok(std::thread::spawn(move || {
            // Of this thread alone, which ends with the work.
            setns(namespace, CloneFlags::CLONE_NEWNET).context("entering the bridge's namespace")?;
            Ok(work())
        }))
    }

    /// A folder that goes with the fleet: data volumes, bundles, logs.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn folder(&self, name: &str) -> anyhow::Result<PathBuf> {
        let folder = self.folder.join("folders").join(name);
        std::fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
        Ok(folder)
    }

    /// The test is over and all was well: hosts that are dropped before this show the end of their journals.
    pub fn passed(&self) {
        self.passed.set(true);
    }

    fn namespace(&self, name: &str) -> String {
        format!("{}-{name}", self.prefix)
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        drop(self.guard.stdin.take());
        let end = Instant::now() + CLEAR_LIMIT;
        while matches!(self.guard.try_wait(), Ok(None)) && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// The top of the checkout.
#[must_use]
pub fn checkout() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap_or(Path::new("/")).to_owned()
}

/// What the tests keep between runs.
#[must_use]
pub fn cache() -> PathBuf {
    std::env::var_os("RINGDOWN_CACHE_DIR").map_or_else(|| PathBuf::from("/var/cache/ringdown"), PathBuf::from)
}

/// Waits for a condition; it is asked every 50 ms.
///
/// # Errors
/// When `limit` has passed.
pub fn wait_for<T>(limit: Duration, what: &str, mut probe: impl FnMut() -> Option<T>) -> anyhow::Result<T> {
    let end = Instant::now() + limit;
    loop {
        if let Some(found) = probe() {
            return Ok(found);
        }
        ensure!(Instant::now() < end, "waited {limit:?} in vain: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The root that hosts are copied from; made when there is none. Nobody writes to it.
///
/// # Errors
/// When it cannot be made.
pub fn cached_root() -> anyhow::Result<PathBuf> {
    root_with("host-root", &[])
}

/// The root of hosts that have more than a bare one, kept under a name of its own.
///
/// # Errors
/// When it cannot be made.
pub fn root_with(name: &str, packages: &[&str]) -> anyhow::Result<PathBuf> {
    let mut command = Command::new(checkout().join("tests/appliance/host_root"));
    command.arg(cache().join(name)).args(packages);
    let ran = run(command, None, ROOT_LIMIT).context("making the root of hosts")?;
    Ok(PathBuf::from(ran.success()?.trim()))
}

/// Each host's systemd watches files, and the kernel gives all of them together 128 watches by default: units fail with the tenth
/// host or so.
fn allow_many_systemds() -> anyhow::Result<()> {
    const PLACE: &str = "/proc/sys/fs/inotify/max_user_instances";
    const ENOUGH: u32 = 1_024;
    let now: u32 = std::fs::read_to_string(PLACE).context("reading a limit")?.trim().parse().context("a number")?;
    if now < ENOUGH {
        std::fs::write(PLACE, ENOUGH.to_string()).with_context(|| format!("writing {PLACE}"))?;
    }
    Ok(())
}

/// In a session of its own, so that a signal to the tests' group leaves it.
fn start_guard(folder: &Path, prefix: &str) -> anyhow::Result<Child> {
    let mut command = Command::new("setsid");
    command.arg(checkout().join("tests/appliance/fleet_guard")).arg(folder).arg(prefix);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().context("starting the guard of a fleet")
}

fn ip(arguments: &[&str]) -> anyhow::Result<()> {
    let mut command = Command::new("ip");
    command.args(arguments);
    run(command, None, STEP_LIMIT)?.success().with_context(|| format!("ip {}", arguments.join(" "))).map(drop)
}

//! One child process: its log in a file, signals to its own id only, its end on drop.

use std::ffi::{OsStr, OsString};
use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::spawner;

/// Kernel ticks per second in `/proc/<pid>/stat`; 100 on every Linux we run on (`getconf CLK_TCK`).
const TICKS_PER_SECOND: u64 = 100;

/// What to run.
#[derive(Clone, Debug)]
pub struct Spec {
    name: String,
    program: PathBuf,
    arguments: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    user: Option<String>,
    folder: Option<PathBuf>,
    log: PathBuf,
}

impl Spec {
    /// `program`, whose standard output and error are appended to `log`. Its environment holds `PATH` and nothing else until
    /// more is given.
    #[must_use]
    pub fn new(name: impl Into<String>, program: impl Into<PathBuf>, log: impl Into<PathBuf>) -> Self {
        let path = std::env::var_os("PATH").map(|path| (OsString::from("PATH"), path));
        Self {
            name: name.into(),
            program: program.into(),
            arguments: Vec::new(),
            environment: path.into_iter().collect(),
            user: None,
            folder: None,
            log: log.into(),
        }
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, argument: impl Into<OsString>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<A: Into<OsString>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// Sets a variable.
    #[must_use]
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// Runs as this user when the test itself runs as root.
    #[must_use]
    pub fn user(mut self, user: impl Into<String>) -> Self {
        self.user = Some(user.into());
        self
    }

    /// Runs in this folder.
    #[must_use]
    pub fn folder(mut self, folder: impl Into<PathBuf>) -> Self {
        self.folder = Some(folder.into());
        self
    }

    /// Starts it.
    pub fn start(&self) -> anyhow::Result<Process> {
        let log = open_log(&self.log)?;
        let mut command = self.command();
        command.stdin(Stdio::null()).stdout(log.try_clone().context("sharing the log")?).stderr(log);
        let child = spawner::spawn(command).with_context(|| format!("starting {}", self.name))?;
        Ok(Process { name: self.name.clone(), log: self.log.clone(), child, status: None })
    }

    /// Runs it to its end, and gives its standard output; an exit code other than 0 is an error with the log's end.
    pub async fn run(&self, limit: Duration) -> anyhow::Result<()> {
        let mut process = self.start()?;
        let status = process.wait_exit(limit).await?;
        if !status.success() {
            bail!("{} ended with {status}: {}", self.name, process.log_tail());
        }
        Ok(())
    }

    /// `setpriv` changes the user and asks for the death signal, then becomes the program: the process id stays.
    fn command(&self) -> Command {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]);
        if let Some(user) = self.user.as_ref().filter(|_| nix::unistd::geteuid().is_root()) {
            command.args(["--reuid", user, "--regid", user, "--init-groups"]);
        }
        command.arg("--").arg(&self.program).args(&self.arguments);
        command.env_clear().envs(self.environment.iter().map(|(name, value)| (name, value)));
        if let Some(folder) = &self.folder {
            command.current_dir(folder);
        }
        command
    }
}

/// A running child. Dropped, it is killed and reaped.
#[derive(Debug)]
pub struct Process {
    name: String,
    log: PathBuf,
    child: Child,
    status: Option<ExitStatus>,
}

impl Process {
    /// Sends a signal; nothing when it has ended.
    pub fn signal(&mut self, signal: Signal) -> anyhow::Result<()> {
        // A child that has not been reaped keeps its id, so the signal cannot reach a stranger.
        if self.exited()?.is_some() {
            return Ok(());
        }
        kill(self.pid(), signal).with_context(|| format!("sending {signal} to {}", self.name))
    }

    /// SIGTERM.
    pub fn terminate(&mut self) -> anyhow::Result<()> {
        self.signal(Signal::SIGTERM)
    }

    /// SIGKILL, and waits for the end.
    pub fn kill9(&mut self) -> anyhow::Result<()> {
        self.signal(Signal::SIGKILL)?;
        self.status = Some(self.child.wait().context("waiting for a killed process")?);
        Ok(())
    }

    /// SIGSTOP: the process stands still, its connections stay open.
    pub fn pause(&mut self) -> anyhow::Result<()> {
        self.signal(Signal::SIGSTOP)
    }

    /// SIGCONT.
    pub fn resume(&mut self) -> anyhow::Result<()> {
        self.signal(Signal::SIGCONT)
    }

    /// How it ended, if it has.
    pub fn exited(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        if self.status.is_none() {
            self.status = self.child.try_wait().context("asking for a child's end")?;
        }
        Ok(self.status)
    }

    /// Waits for its end.
    pub async fn wait_exit(&mut self, limit: Duration) -> anyhow::Result<ExitStatus> {
        let start = Instant::now();
        loop {
            if let Some(status) = self.exited()? {
                return Ok(status);
            }
            if start.elapsed() >= limit {
                bail!("{} still runs after {} ms: {}", self.name, limit.as_millis(), self.log_tail());
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Its name in messages.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Everything it has written.
    #[must_use]
    pub fn log_text(&self) -> String {
        std::fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// The last twenty lines it has written.
    #[must_use]
    pub fn log_tail(&self) -> String {
        let text = self.log_text();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }

    /// Where it writes.
    #[must_use]
    pub fn log_path(&self) -> &Path {
        &self.log
    }

    /// Processor time it has used so far, user and system, in milliseconds (10 ms steps).
    pub fn cpu_ms(&self) -> anyhow::Result<u64> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.id())).context("reading its stat")?;
        // Fields after the name, which may hold blanks: state is the 3rd, utime the 14th, stime the 15th (proc(5)).
        let after_name = stat.rsplit_once(')').context("a stat line has a name")?.1;
        let ticks = after_name.split_whitespace().skip(11).take(2).map(str::parse::<u64>).sum::<Result<u64, _>>();
        Ok(ticks.context("reading its ticks")? * 1_000 / TICKS_PER_SECOND)
    }

    /// Memory it has resident, in KiB.
    pub fn resident_kib(&self) -> anyhow::Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id())).context("reading its status")?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("its status has VmRSS")?;
        line.split_whitespace().next().and_then(|number| number.parse().ok()).context("VmRSS is a number")
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).expect("process ids fit an i32"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Nobody is left to handle it; a child that is gone already is what is wanted.
        drop(self.kill9());
    }
}

fn open_log(path: &Path) -> anyhow::Result<File> {
    let name = path.file_name().unwrap_or_else(|| OsStr::new("log")).to_string_lossy().into_owned();
    OpenOptions::new().create(true).append(true).open(path).with_context(|| format!("opening the log {name}"))
}

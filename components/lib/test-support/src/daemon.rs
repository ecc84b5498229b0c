//! One of our daemons as a child process.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use crate::{Folder, HttpAnswer, Process, Spec, free_address, http_get};

/// A binary of this workspace: of the folder `RINGDOWN_TEST_PROGRAMS` where that is set (benchmarks measure what is shipped), else
/// built in the same profile as the running test.
pub fn workspace_binary(name: &str) -> anyhow::Result<PathBuf> {
    if let Some(folder) = std::env::var_os("RINGDOWN_TEST_PROGRAMS").filter(|folder| !folder.is_empty()) {
        let binary = PathBuf::from(folder).join(name);
        if !binary.is_file() {
            bail!("there is no {}; packaging/programs builds the shipped programs", binary.display());
        }
        return Ok(binary);
    }
    let test = std::env::current_exe().context("finding the test's own program")?;
    // target/<profile>/deps/<test>: binaries are two levels up.
    let profile = test.parent().and_then(Path::parent).context("a test lies in its target folder")?;
    let binary = profile.join(name);
    if !binary.is_file() {
        bail!("{name} is not built in this profile; build it first: cargo build --bin {name}");
    }
    Ok(binary)
}

/// A daemon being described.
#[derive(Debug)]
pub struct DaemonBuilder {
    program: PathBuf,
    name: String,
    variables: Vec<(String, String)>,
    admin_variable: String,
    admin: SocketAddr,
    folder: Folder,
}

impl DaemonBuilder {
    /// Sets a variable.
    #[must_use]
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.variables.push((name.into(), value.into()));
        self
    }

    /// Names another variable that sets where health is served (web-api and notifier serve it on their own port), and the
    /// address to set it to.
    #[must_use]
    pub fn admin(mut self, variable: impl Into<String>, address: SocketAddr) -> Self {
        self.admin_variable = variable.into();
        self.admin = address;
        self
    }

    /// Starts it; does not wait.
    pub fn start(self) -> anyhow::Result<Daemon> {
        let log = self.folder.join(format!("{}.log", self.name));
        let mut spec = Spec::new(&self.name, &self.program, log).folder(self.folder.path());
        spec = spec.env(&self.admin_variable, self.admin.to_string());
        for (name, value) in &self.variables {
            spec = spec.env(name, value);
        }
        let process = spec.start()?;
        Ok(Daemon { process, spec, admin: self.admin, folder: self.folder })
    }
}

/// A running daemon.
#[derive(Debug)]
pub struct Daemon {
    process: Process,
    spec: Spec,
    admin: SocketAddr,
    // After `process`: fields are dropped in order, and the daemon must be gone before its folder.
    folder: Folder,
}

impl Daemon {
    /// Describes the daemon whose binary is `program`; its admin port is a free one, set by `RINGDOWN_ADMIN_ADDRESS`.
    pub fn builder(program: impl Into<PathBuf>) -> anyhow::Result<DaemonBuilder> {
        let program = program.into();
        let name = program.file_name().context("a program has a name")?.to_string_lossy().into_owned();
        let folder = Folder::new(&name)?;
        let admin_variable = "RINGDOWN_ADMIN_ADDRESS".to_owned();
        Ok(DaemonBuilder { program, name, variables: Vec::new(), admin_variable, admin: free_address(), folder })
    }

    /// Waits until `/readyz` says 200; an end or the limit is an error with the log's end.
    pub async fn wait_ready(&mut self, limit: Duration) -> anyhow::Result<()> {
        let start = Instant::now();
        loop {
            let answer = http_get(self.admin, "/readyz").await;
            if answer.as_ref().is_ok_and(|answer| answer.status == 200) {
                return Ok(());
            }
            if let Some(status) = self.process.exited()? {
                bail!("{} ended with {status}: {}", self.process.name(), self.process.log_tail());
            }
            if start.elapsed() > limit {
                let said = answer.map(|answer| answer.body).unwrap_or_default();
                bail!("{} is not ready ({said}): {}", self.process.name(), self.process.log_tail());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Asks the admin port.
    pub async fn get(&self, path: &str) -> anyhow::Result<HttpAnswer> {
        http_get(self.admin, path).await
    }

    /// SIGTERM, and waits for the end.
    pub async fn stop(&mut self, limit: Duration) -> anyhow::Result<ExitStatus> {
        self.process.terminate()?;
        self.process.wait_exit(limit).await
    }

    /// SIGKILL.
    pub fn kill9(&mut self) -> anyhow::Result<()> {
        self.process.kill9()
    }

    /// SIGSTOP.
    pub fn pause(&mut self) -> anyhow::Result<()> {
        self.process.pause()
    }

    /// SIGCONT.
    pub fn resume(&mut self) -> anyhow::Result<()> {
        self.process.resume()
    }

    /// Sets a variable for the next start.
    pub fn set(&mut self, name: impl Into<OsString>, value: impl Into<OsString>) {
        self.spec = self.spec.clone().env(name, value);
    }

    /// Starts it again with the variables; ends it first when it still runs. Does not wait.
    pub fn restart(&mut self) -> anyhow::Result<()> {
        self.process.kill9()?;
        self.process = self.spec.start()?;
        Ok(())
    }

    /// Where its health is served.
    #[must_use]
    pub fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// The process, for its log, exit code and further signals.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Its folder.
    #[must_use]
    pub fn folder(&self) -> &Folder {
        &self.folder
    }
}

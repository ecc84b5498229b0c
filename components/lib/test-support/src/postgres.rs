//! A PostgreSQL of one's own.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::{Folder, Process, Spec, free_port};

/// Longest start, with a crash to recover from.
const START_LIMIT: Duration = Duration::from_secs(60);
/// Longest run of `initdb`, `psql` and the like.
const TOOL_LIMIT: Duration = Duration::from_secs(60);
/// The user the server runs as when the test runs as root, which PostgreSQL refuses to be.
const SERVER_USER: &str = "postgres";

/// How a private PostgreSQL is started.
#[derive(Clone, Debug, Default)]
pub struct PostgresOptions {
    /// Whether commits reach the disk; off, a test is faster, and a kill -9 of the server still loses nothing (only a crash of
    /// the host would).
    pub fsync: bool,
    /// Its password, if it shall ask for one: letters and digits.
    pub password: Option<String>,
    /// Further settings, e.g. `("max_connections", "20")`.
    pub settings: Vec<(String, String)>,
}

/// A `postgres` on a free port with a cluster of its own; its superuser is `postgres`.
#[derive(Debug)]
pub struct PrivatePostgres {
    process: Process,
    spec: Spec,
    tools: PathBuf,
    port: u16,
    options: PostgresOptions,
    // After `process`: fields are dropped in order, and the server must be gone before its folder.
    folder: Folder,
}

impl PrivatePostgres {
    /// Makes a cluster (about a second), starts the server and waits until it answers.
    pub async fn start(options: PostgresOptions) -> anyhow::Result<Self> {
        let tools = find_tools()?;
        let folder = Folder::new("postgres")?;
        give_to_server(folder.path())?;
        make_cluster(&tools, &folder, &options).await?;
        let port = free_port();
        let spec = server_spec(&tools, &folder, port, &options);
        let process = spec.start()?;
        let mut postgres = Self { process, spec, tools, port, options, folder };
        postgres.wait_answering().await?;
        Ok(postgres)
    }

    /// The address of the database `postgres`, with the password.
    #[must_use]
    pub fn url(&self) -> String {
        self.database_url("postgres")
    }

    /// The address of a database.
    #[must_use]
    pub fn database_url(&self, database: &str) -> String {
        let password = self.options.password.as_ref().map(|password| format!(":{password}")).unwrap_or_default();
        format!("postgres://postgres{password}@127.0.0.1:{}/{database}", self.port)
    }

    /// Makes an empty database, and gives its address.
    pub async fn create_database(&self, name: &str) -> anyhow::Result<String> {
        self.sql("postgres", &format!("CREATE DATABASE \"{name}\"")).await?;
        Ok(self.database_url(name))
    }

    /// Runs statements by `psql`; the first failure is an error.
    pub async fn sql(&self, database: &str, statements: &str) -> anyhow::Result<()> {
        let port = self.port.to_string();
        let spec = Spec::new("psql", self.tools.join("psql"), self.folder.join("psql.log"))
            .args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-U", "postgres", "-p", port.as_str()])
            .args(["-d", database, "-c", statements]);
        self.with_password(spec).run(TOOL_LIMIT).await
    }

    /// Its port on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The process, for its log and further signals.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// SIGKILL to the postmaster; its children notice and end by themselves.
    pub fn kill9(&mut self) -> anyhow::Result<()> {
        self.process.kill9()
    }

    /// SIGKILL to the postmaster and every child of it at one moment, as when the host's memory runs out.
    pub fn kill9_all(&mut self) -> anyhow::Result<()> {
        // A postmaster that stands still makes no children and reaps none, so their ids are theirs.
        self.process.pause()?;
        let postmaster = self.process.id();
        let path = format!("/proc/{postmaster}/task/{postmaster}/children");
        let children = std::fs::read_to_string(path).context("listing the postmaster's children")?;
        for child in children.split_whitespace() {
            let child = child.parse().context("a process id is a number")?;
            kill(Pid::from_raw(child), Signal::SIGKILL).context("killing a child of the postmaster")?;
        }
        self.process.kill9()
    }

    /// SIGSTOP to the postmaster: no new connection is served.
    pub fn pause(&mut self) -> anyhow::Result<()> {
        self.process.pause()
    }

    /// SIGCONT.
    pub fn resume(&mut self) -> anyhow::Result<()> {
        self.process.resume()
    }

    /// Starts it again on the same port with the same data; ends it first when it still runs.
    pub async fn restart(&mut self) -> anyhow::Result<()> {
        self.process.kill9()?;
        let start = Instant::now();
        loop {
            self.process = self.spec.start()?;
            match self.wait_answering().await {
                Ok(()) => return Ok(()),
                // Children of the killed postmaster hold its shared memory until they have noticed its death.
                Err(error) if start.elapsed() > START_LIMIT => return Err(error),
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    }

    async fn wait_answering(&mut self) -> anyhow::Result<()> {
        let start = Instant::now();
        let port = self.port.to_string();
        let probe = Spec::new("pg_isready", self.tools.join("pg_isready"), self.folder.join("probe.log")).args([
            "-q",
            "-h",
            "127.0.0.1",
            "-p",
            port.as_str(),
            "-t",
            "1",
        ]);
        while probe.run(TOOL_LIMIT).await.is_err() {
            if let Some(status) = self.process.exited()? {
                bail!("postgres ended with {status}: {}", self.process.log_tail());
            }
            if start.elapsed() > START_LIMIT {
                bail!("postgres does not answer: {}", self.process.log_tail());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    fn with_password(&self, spec: Spec) -> Spec {
        match &self.options.password {
            Some(password) => spec.env("PGPASSWORD", password),
            None => spec,
        }
    }
}

impl Drop for PrivatePostgres {
    fn drop(&mut self) {
        // SIGQUIT lets the postmaster end its children first; the process' own drop kills what is left after the wait.
        // Nobody is left to handle a failure here.
        drop(self.process.resume());
        drop(self.process.signal(Signal::SIGQUIT));
        let start = Instant::now();
        while matches!(self.process.exited(), Ok(None)) && start.elapsed() < Duration::from_secs(5) {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Debian's newest, else what `pg_config` names.
fn find_tools() -> anyhow::Result<PathBuf> {
    let debian = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let versions = debian.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    if let Some(version) = versions.max() {
        return Ok(PathBuf::from(format!("/usr/lib/postgresql/{version}/bin")));
    }
    let output = Command::new("pg_config").arg("--bindir").output().context("PostgreSQL's server is not installed")?;
    Ok(PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()))
}

fn give_to_server(folder: &Path) -> anyhow::Result<()> {
    if !nix::unistd::geteuid().is_root() {
        return Ok(());
    }
    let user = nix::unistd::User::from_name(SERVER_USER).context("looking up the user postgres")?;
    let user = user.context("the test runs as root, and there is no user postgres to run the server as")?;
    nix::unistd::chown(folder, Some(user.uid), Some(user.gid)).context("giving the folder to the user postgres")
}

async fn make_cluster(tools: &Path, folder: &Folder, options: &PostgresOptions) -> anyhow::Result<()> {
    let authentication = if options.password.is_some() { "scram-sha-256" } else { "trust" };
    let mut spec = Spec::new("initdb", tools.join("initdb"), folder.join("initdb.log"))
        .args(["--no-sync", "--username=postgres", "--encoding=UTF8", "--locale=C"])
        .arg(format!("--auth={authentication}"))
        .arg("-D")
        .arg(folder.join("data"))
        .folder(folder.path())
        .user(SERVER_USER);
    if let Some(password) = &options.password {
        let file = folder.join("password");
        std::fs::write(&file, password).context("writing the password file")?;
        spec = spec.arg("--pwfile").arg(file);
    }
    spec.run(TOOL_LIMIT).await
}

fn server_spec(tools: &Path, folder: &Folder, port: u16, options: &PostgresOptions) -> Spec {
    let fsync = if options.fsync { "on" } else { "off" };
    let mut settings = vec![
        ("listen_addresses".to_owned(), "127.0.0.1".to_owned()),
        ("unix_socket_directories".to_owned(), folder.path().display().to_string()),
        ("fsync".to_owned(), fsync.to_owned()),
        ("shared_buffers".to_owned(), "16MB".to_owned()),
        ("max_connections".to_owned(), "50".to_owned()),
    ];
    settings.extend(options.settings.iter().cloned());
    let spec = Spec::new("postgres", tools.join("postgres"), folder.join("postgres.log"))
        .arg("-D")
        .arg(folder.join("data"))
        .args(["-p".to_owned(), port.to_string()])
        .folder(folder.path())
        .user(SERVER_USER);
    settings.into_iter().fold(spec, |spec, (name, value)| spec.arg("-c").arg(format!("{name}={value}")))
}

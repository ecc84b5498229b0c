//! A Redis of one's own.

use std::time::Duration;

use anyhow::{Context, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::{Folder, Process, Spec, free_port};

/// Longest start, with a large append-only file to load.
const START_LIMIT: Duration = Duration::from_secs(30);

/// When Redis writes its append-only file to disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Appendfsync {
    /// Before each answer.
    Always,
    /// Once a second.
    #[default]
    Everysec,
    /// When the system likes.
    No,
}

/// How a private Redis is started. The append-only file is always on, so that a restart keeps the data.
#[derive(Clone, Debug, Default)]
pub struct RedisOptions {
    /// When it writes to disk.
    pub appendfsync: Appendfsync,
    /// Its password, if it shall ask for one: letters and digits.
    pub password: Option<String>,
    /// Further directives, e.g. `("maxmemory", "10mb")`.
    pub directives: Vec<(String, String)>,
}

/// A `redis-server` on a free port with a folder of its own.
#[derive(Debug)]
pub struct PrivateRedis {
    process: Process,
    spec: Spec,
    port: u16,
    options: RedisOptions,
    // After `process`: fields are dropped in order, and the server must be gone before its folder.
    folder: Folder,
}

impl PrivateRedis {
    /// Starts it and waits until it answers.
    pub async fn start(options: RedisOptions) -> anyhow::Result<Self> {
        let folder = Folder::new("redis")?;
        let port = free_port();
        let spec = spec(&folder, port, &options);
        let process = spec.start()?;
        let mut redis = Self { process, spec, port, options, folder };
        redis.wait_answering().await?;
        Ok(redis)
    }

    /// Its address, with the password.
    #[must_use]
    pub fn url(&self) -> String {
        let user = self.options.password.as_ref().map(|password| format!(":{password}@")).unwrap_or_default();
        format!("redis://{user}127.0.0.1:{}/0", self.port)
    }

    /// Its port on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The process, for its log, its processor time and further signals.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Its folder.
    #[must_use]
    pub fn folder(&self) -> &Folder {
        &self.folder
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

    /// Starts it again on the same port with the same data; ends it first when it still runs.
    pub async fn restart(&mut self) -> anyhow::Result<()> {
        self.process.kill9()?;
        self.process = self.spec.start()?;
        self.wait_answering().await
    }

    async fn wait_answering(&mut self) -> anyhow::Result<()> {
        let start = std::time::Instant::now();
        while !answers(self.port).await {
            if let Some(status) = self.process.exited()? {
                bail!("redis-server ended with {status}: {}", self.process.log_tail());
            }
            if start.elapsed() > START_LIMIT {
                bail!("redis-server does not answer: {}", self.process.log_tail());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }
}

fn spec(folder: &Folder, port: u16, options: &RedisOptions) -> Spec {
    let appendfsync = match options.appendfsync {
        Appendfsync::Always => "always",
        Appendfsync::Everysec => "everysec",
        Appendfsync::No => "no",
    };
    let port = port.to_string();
    let mut spec = Spec::new("redis-server", "redis-server", folder.join("redis.log"))
        .args(["--port", port.as_str(), "--bind", "127.0.0.1", "--daemonize", "no", "--logfile", "", "--save", ""])
        .args(["--appendonly", "yes", "--appendfsync", appendfsync])
        .arg("--dir")
        .arg(folder.path());
    if let Some(password) = &options.password {
        spec = spec.arg("--requirepass").arg(password);
    }
    for (name, value) in &options.directives {
        spec = spec.arg(format!("--{name}")).arg(value);
    }
    spec
}

/// Whether PING is answered; a demand for a password is an answer, "LOADING" is not yet.
async fn answers(port: u16) -> bool {
    let asked = tokio::time::timeout(Duration::from_secs(1), ping(port)).await;
    matches!(asked, Ok(Ok(answer)) if answer.starts_with("+PONG") || answer.starts_with("-NOAUTH"))
}

async fn ping(port: u16) -> anyhow::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.context("connecting")?;
    stream.write_all(b"PING\r\n").await.context("asking")?;
    let mut answer = [0; 64];
    let length = stream.read(&mut answer).await.context("reading")?;
    Ok(String::from_utf8_lossy(&answer[..length]).into_owned())
}

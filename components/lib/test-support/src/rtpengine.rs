//! A private rtpengine on 127.0.0.1, in user space, ended on drop.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::bail;
use tokio::net::UdpSocket;

use crate::{Folder, Process, Spec, free_address, free_port};

/// How long it may take to answer after its start.
const START_LIMIT: Duration = Duration::from_secs(15);
/// Ports for media: 100 streams.
const PORTS: u16 = 400;

/// An rtpengine of one test.
#[derive(Debug)]
pub struct PrivateRtpengine {
    process: Process,
    ng: SocketAddr,
    _folder: Folder,
}

impl PrivateRtpengine {
    /// Starts it and waits until it answers.
    pub async fn start() -> anyhow::Result<Self> {
        let folder = Folder::new("rtpengine")?;
        let ng = free_address();
        // A block above the kernel's own choice is not asked for: a taken port is passed over.
        let first = 40_000 + free_port() % 20_000;
        let config = folder.join("rtpengine.conf");
        // The packaged file opens fixed ports: one of our own takes its place.
        std::fs::write(&config, "[rtpengine]\n")?;
        let spec = Spec::new("rtpengine", "rtpengine", folder.join("rtpengine.log"))
            .args([
                "--foreground",
                "--log-stderr",
                "--log-level=5",
                "--table=-1",
                "--interface=127.0.0.1",
                "--delete-delay=0",
            ])
            .arg(format!("--config-file={}", config.display()))
            .arg(format!("--listen-ng={ng}"))
            .arg(format!("--port-min={first}"))
            .arg(format!("--port-max={}", first + PORTS));
        let mut engine = Self { process: spec.start()?, ng, _folder: folder };
        engine.wait_answering().await?;
        Ok(engine)
    }

    /// Where it is asked.
    #[must_use]
    pub fn ng(&self) -> SocketAddr {
        self.ng
    }

    /// SIGKILL.
    pub fn kill9(&mut self) -> anyhow::Result<()> {
        self.process.kill9()
    }

    /// What it answers to a question in bencode; none when it is silent.
    pub async fn ask(&self, question: &str) -> Option<String> {
        let socket = UdpSocket::bind("127.0.0.1:0").await.ok()?;
        socket.connect(self.ng).await.ok()?;
        // An engine repeats its answer to a cookie that it knows.
        let cookie = format!("{:?}", std::time::Instant::now()).replace(' ', "");
        socket.send(format!("{cookie} {question}").as_bytes()).await.ok()?;
        let mut buffer = vec![0; 65_536];
        let length = tokio::time::timeout(Duration::from_millis(500), socket.recv(&mut buffer)).await.ok()?.ok()?;
        Some(String::from_utf8_lossy(&buffer[..length]).split_once(' ')?.1.to_owned())
    }

    async fn wait_answering(&mut self) -> anyhow::Result<()> {
        let start = std::time::Instant::now();
        while self.ask("d7:command4:pinge").await.is_none() {
            if let Some(status) = self.process.exited()? {
                bail!("rtpengine ended with {status}: {}", self.process.log_tail());
            }
            if start.elapsed() > START_LIMIT {
                bail!("rtpengine does not answer: {}", self.process.log_tail());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }
}

//! A TCP link whose answers can be held back: a server behind it is slow for whoever asks through it, and is nothing else.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// A link to one server; it is cut when this is dropped.
pub struct SlowLink {
    address: SocketAddr,
    delay_ms: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl Drop for SlowLink {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl SlowLink {
    /// A link to `server`, without delay at first.
    ///
    /// # Errors
    /// No port is free.
    pub async fn to(server: SocketAddr) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let delay_ms = Arc::new(AtomicU64::new(0));
        let task = tokio::spawn(serve(listener, server, Arc::clone(&delay_ms)));
        Ok(Self { address, delay_ms, task })
    }

    /// Where clients connect.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Holds every further answer back for so long.
    pub fn delay(&self, delay: Duration) {
        self.delay_ms.store(u64::try_from(delay.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

async fn serve(listener: TcpListener, server: SocketAddr, delay_ms: Arc<AtomicU64>) {
    while let Ok((client, _)) = listener.accept().await {
        // A server that is away closes the client's connection: this drops it.
        let Ok(server) = TcpStream::connect(server).await else { continue };
        let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
        tokio::spawn(pass(from_client, to_server, None));
        tokio::spawn(pass(from_server, to_client, Some(Arc::clone(&delay_ms))));
    }
}

/// Passes bytes on until either side ends.
async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, delay_ms: Option<Arc<AtomicU64>>) {
    let mut buffer = vec![0; 65_536];
    while let Ok(length) = from.read(&mut buffer).await {
        if let Some(delay_ms) = &delay_ms {
            tokio::time::sleep(Duration::from_millis(delay_ms.load(Ordering::Relaxed))).await;
        }
        if length == 0 || to.write_all(&buffer[..length]).await.is_err() {
            break;
        }
    }
}

//! Serving HTTP/1.1 with bounds.
//!
//! axum's own server has no limit on connections and no time limit for headers, so a handful of slow clients could hold
//! every descriptor; this loop has both, and drains: on shutdown it accepts nothing new and closes idle connections.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use prometheus_client::metrics::gauge::Gauge;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::prompt::Prompt;
use crate::{Backoff, Life, Shutdown};

/// Bounds of one HTTP server.
#[derive(Clone, Copy, Debug)]
pub struct HttpLimits {
    /// Most open connections; further ones wait in the kernel's backlog.
    pub connections: usize,
    /// Longest time for a request's headers to arrive; also how long an idle connection is kept.
    pub header_wait: Duration,
    /// Most bytes of request line and headers together, about: checked between reads, so up to twice as many may pass. At
    /// least 8,192.
    pub header_bytes: usize,
    /// Acknowledges at once what a peer sends: for peers that hold small messages back until then (Nagle's algorithm).
    pub prompt: bool,
}

impl Default for HttpLimits {
    /// 4,096 connections (well under the usual descriptor limit), 75 s (above HAProxy's and nginx' 60 s, so that the
    /// client side closes first), 32 KiB of headers.
    fn default() -> Self {
        Self { connections: 4_096, header_wait: Duration::from_secs(75), header_bytes: 32_768, prompt: false }
    }
}

pub(crate) async fn serve(
    name: &'static str,
    listener: TcpListener,
    router: Router,
    limits: HttpLimits,
    life: Life,
) -> anyhow::Result<()> {
    let open: Gauge<i64, AtomicI64> = Gauge::default();
    let open = life.metrics().register(&format!("{name}_connections"), "Open HTTP connections.", open);
    let permits = Arc::new(Semaphore::new(limits.connections));
    let shutdown = life.shutdown();
    while let Some((stream, peer, permit)) = accept(&listener, &permits, &shutdown).await {
        let connection = converse(stream, peer, router.clone(), limits, shutdown.clone());
        let counted = Counted::new(open.clone(), permit);
        life.spawn_finite(format!("{name} {peer}"), async move {
            connection.await;
            drop(counted);
        });
    }
    Ok(())
}

/// The next connection; `None` on shutdown.
async fn accept(
    listener: &TcpListener,
    permits: &Arc<Semaphore>,
    shutdown: &Shutdown,
) -> Option<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let mut backoff = Backoff::new(Duration::from_millis(10), Duration::from_secs(1));
    loop {
        let permit = tokio::select! {
            permit = Arc::clone(permits).acquire_owned() => permit.ok()?,
            () = shutdown.requested() => return None,
        };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = shutdown.requested() => return None,
        };
        match accepted {
            Ok((stream, peer)) => return Some((stream, peer, permit)),
            // A client that left, or no descriptors for a moment: neither may end the server.
            Err(error) => {
                log::warn!(error:% = error; "a connection could not be accepted");
                if !backoff.wait(shutdown).await {
                    return None;
                }
            }
        }
    }
}

async fn converse(stream: TcpStream, peer: SocketAddr, router: Router, limits: HttpLimits, shutdown: Shutdown) {
    if let Err(error) = stream.set_nodelay(true) {
        log::debug!(peer:% = peer, error:% = error; "no TCP_NODELAY");
    }
    let router = router.layer(axum::Extension(ConnectInfo(peer)));
    let service = TowerToHyperService::new(router);
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_wait)
        .max_buf_size(limits.header_bytes.max(8_192))
        .serve_connection(TokioIo::new(Prompt::new(stream, limits.prompt)), service)
        .with_upgrades();
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = shutdown.requested() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        log::debug!(peer:% = peer, error:% = error; "connection ended early");
    }
}

/// Gives connection slot and gauge back however the connection ends.
struct Counted {
    open: Gauge<i64, AtomicI64>,
    _permit: OwnedSemaphorePermit,
}

impl Counted {
    fn new(open: Gauge<i64, AtomicI64>, permit: OwnedSemaphorePermit) -> Self {
        open.inc();
        Self { open, _permit: permit }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.open.dec();
    }
}

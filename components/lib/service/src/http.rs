//! Serving HTTP/1.1 with bounds.
//!
//! axum's own server has no limit on connections and no time limit for headers, so a handful of slow clients could hold
//! every descriptor; this loop has both, and drains: on shutdown it accepts nothing new and closes idle connections.
//!
//! A connection is a guest until one of its requests was answered to somebody who showed who they are. Guests have little time
//! for their first request, each source may have so many of them, and where there is no room for a new connection the oldest
//! guest leaves: strangers keep strangers out, and nobody else.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::header::AUTHORIZATION;
use axum::http::{Method, StatusCode};
use axum::middleware::{self, Next};
use axum::response::Response;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

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
    /// Longest time for the headers of a connection's first request.
    pub first_wait: Duration,
    /// Most guests of one source; beyond them its oldest leaves.
    pub guests_per_source: usize,
    /// Acknowledges at once what a peer sends: for peers that hold small messages back until then (Nagle's algorithm).
    pub prompt: bool,
}

impl Default for HttpLimits {
    /// 4,096 connections (well under the usual descriptor limit), 75 s (above HAProxy's and nginx' 60 s, so that the
    /// client side closes first), 32 KiB of headers, 10 s for the first request, 512 guests of one source: a load balancer
    /// or a site behind one address, whose connections are guests for milliseconds.
    fn default() -> Self {
        Self {
            connections: 4_096,
            header_wait: Duration::from_secs(75),
            header_bytes: 32_768,
            first_wait: Duration::from_secs(10),
            guests_per_source: 512,
            prompt: false,
        }
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
    let given_up: Counter = Counter::default();
    let given_up = life.metrics().register(
        &format!("{name}_guests_given_up"),
        "Connections closed to make room, before they had shown who they are",
        given_up,
    );
    let permits = Arc::new(Semaphore::new(limits.connections));
    let guests = Arc::new(Guests { per_source: limits.guests_per_source, given_up, list: Mutex::default() });
    let shutdown = life.shutdown();
    while let Some((stream, peer, permit)) = accept(&listener, &permits, &guests, &shutdown).await {
        let visit = guests.enter(peer.ip());
        let connection = converse(stream, peer, router.clone(), limits, visit, shutdown.clone());
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
    guests: &Guests,
    shutdown: &Shutdown,
) -> Option<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let mut backoff = Backoff::new(Duration::from_millis(10), Duration::from_secs(1));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = shutdown.requested() => return None,
        };
        match accepted {
            Ok((stream, peer)) => {
                let permit = room(permits, guests, shutdown).await?;
                return Some((stream, peer, permit));
            }
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

/// A place for one more connection: a free one, or the oldest guest's. Where nobody is a guest it waits; others wait in the
/// kernel's backlog.
async fn room(permits: &Arc<Semaphore>, guests: &Guests, shutdown: &Shutdown) -> Option<OwnedSemaphorePermit> {
    if let Ok(permit) = Arc::clone(permits).try_acquire_owned() {
        return Some(permit);
    }
    guests.give_up_oldest();
    tokio::select! {
        permit = Arc::clone(permits).acquire_owned() => permit.ok(),
        () = shutdown.requested() => None,
    }
}

async fn converse(
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
    limits: HttpLimits,
    visit: Visit,
    shutdown: Shutdown,
) {
    if let Err(error) = stream.set_nodelay(true) {
        log::debug!(peer:% = peer, error:% = error; "no TCP_NODELAY");
    }
    let visitor = Arc::clone(&visit.visitor);
    let router = router
        .layer(middleware::from_fn_with_state(Arc::clone(&visitor), watch))
        .layer(axum::Extension(ConnectInfo(peer)));
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
        () = visitor.must_leave(limits.first_wait) => {
            log::debug!(peer:% = peer; "a connection that did not show who it is was given up");
            return;
        }
        () = shutdown.requested() => {
            // Half a request of somebody who has not finished any is nobody's work.
            if !visitor.asked.load(Ordering::Relaxed) {
                return;
            }
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        log::debug!(peer:% = peer, error:% = error; "connection ended early");
    }
}

/// Notes what a connection's requests tell about it.
async fn watch(State(visitor): State<Arc<Visitor>>, request: Request, next: Next) -> Response {
    visitor.asked.store(true, Ordering::Relaxed);
    let showed = request.headers().contains_key(AUTHORIZATION);
    let made = request.method() == Method::POST;
    let response = next.run(request).await;
    let status = response.status();
    // A log-in that succeeds shows as much as a token that is accepted.
    if (showed && status != StatusCode::UNAUTHORIZED) || (made && status.is_success()) {
        visitor.is_known();
    }
    response
}

/// One connection, as its guests' list knows it.
struct Visitor {
    number: u64,
    source: IpAddr,
    guests: Arc<Guests>,
    /// Whether a whole request has come.
    asked: AtomicBool,
    leave: Notify,
}

impl Visitor {
    fn is_known(&self) {
        self.guests.remove(self.number, self.source);
    }

    /// Completes when it has to make room, or its first request did not come.
    async fn must_leave(&self, first_wait: Duration) {
        tokio::select! {
            () = self.leave.notified() => {}
            () = async {
                tokio::time::sleep(first_wait).await;
                if self.asked.load(Ordering::Relaxed) {
                    std::future::pending::<()>().await;
                }
            } => {}
        }
    }
}

/// A connection's entry in the list of guests, for as long as it is there.
struct Visit {
    visitor: Arc<Visitor>,
}

impl Drop for Visit {
    fn drop(&mut self) {
        self.visitor.is_known();
    }
}

/// Connections that have not shown who they are.
struct Guests {
    per_source: usize,
    given_up: Counter,
    list: Mutex<GuestList>,
}

#[derive(Default)]
struct GuestList {
    next: u64,
    by_age: BTreeMap<u64, Arc<Visitor>>,
    by_source: HashMap<IpAddr, BTreeSet<u64>>,
}

impl Guests {
    fn enter(self: &Arc<Self>, source: IpAddr) -> Visit {
        let mut list = self.list();
        list.next += 1;
        let number = list.next;
        let visitor = Arc::new(Visitor {
            number,
            source,
            guests: Arc::clone(self),
            asked: AtomicBool::new(false),
            leave: Notify::new(),
        });
        list.by_age.insert(number, Arc::clone(&visitor));
        let of_source = list.by_source.entry(source).or_default();
        of_source.insert(number);
        let oldest = if of_source.len() > self.per_source { of_source.first().copied() } else { None };
        if let Some(oldest) = oldest {
            self.give_up(&mut list, oldest);
        }
        Visit { visitor }
    }

    fn give_up_oldest(&self) {
        let mut list = self.list();
        let oldest = list.by_age.keys().next().copied();
        if let Some(oldest) = oldest {
            self.give_up(&mut list, oldest);
        }
    }

    fn give_up(&self, list: &mut GuestList, number: u64) {
        if let Some(visitor) = list.remove(number) {
            self.given_up.inc();
            visitor.leave.notify_one();
        }
    }

    fn remove(&self, number: u64, source: IpAddr) {
        let mut list = self.list();
        if list.by_source.contains_key(&source) {
            list.remove(number);
        }
    }

    /// Each change is one entry's, so a poisoned list is whole.
    fn list(&self) -> MutexGuard<'_, GuestList> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl GuestList {
    fn remove(&mut self, number: u64) -> Option<Arc<Visitor>> {
        let visitor = self.by_age.remove(&number)?;
        if let Some(of_source) = self.by_source.get_mut(&visitor.source) {
            of_source.remove(&number);
            if of_source.is_empty() {
                self.by_source.remove(&visitor.source);
            }
        }
        Some(visitor)
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

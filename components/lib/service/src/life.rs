//! What a daemon holds of its own life.

use std::borrow::Cow;
use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use ringdown_domain::NodeId;
use tokio::net::{TcpListener, UdpSocket};
use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;

use crate::health::Health;
use crate::held_back::{HeldBack, Mark};
use crate::tasks::Tasks;
use crate::{BindError, Clock, Heartbeat, HttpLimits, Metrics, Readiness, admin, entropy, http, listen};

/// The wish that the daemon ends. Cheap to clone; it is never taken back.
#[derive(Clone, Debug, Default)]
pub struct Shutdown(CancellationToken);

impl Shutdown {
    /// Waits until the daemon is asked to stop.
    pub async fn requested(&self) {
        self.0.cancelled().await;
    }

    /// Whether the daemon is asked to stop.
    #[must_use]
    pub fn is_requested(&self) -> bool {
        self.0.is_cancelled()
    }

    /// The token underneath, for libraries that take one. A child of it may be cancelled alone.
    #[must_use]
    pub fn token(&self) -> &CancellationToken {
        &self.0
    }
}

/// One daemon's life; a handle that is cheap to clone.
#[derive(Clone, Debug)]
pub struct Life(Arc<Inner>);

struct Inner {
    name: &'static str,
    version: &'static str,
    node: NodeId,
    clock: Clock,
    shutdown: Shutdown,
    tasks: Arc<Tasks>,
    health: Arc<Health>,
    mark: Mark,
    metrics: Metrics,
    stop_hooks: Mutex<Vec<StopHook>>,
}

type StopHook = (Cow<'static, str>, BoxFuture<'static, ()>);

impl fmt::Debug for Inner {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Life").field("name", &self.name).field("node", &self.node).finish_non_exhaustive()
    }
}

impl Life {
    pub(crate) fn new(name: &'static str, version: &'static str, node: NodeId, clock: Clock) -> Self {
        let shutdown = Shutdown::default();
        let metrics = Metrics::new();
        admin::register_build(&metrics, name, version);
        let health = Health::new(clock.clone());
        Self(Arc::new(Inner {
            name,
            version,
            node,
            shutdown: shutdown.clone(),
            tasks: Tasks::new(shutdown.0),
            mark: Mark::new(Arc::clone(&health)),
            health,
            clock,
            metrics,
            stop_hooks: Mutex::default(),
        }))
    }

    /// A life without process: no flags, no signals, no systemd. For a daemon started inside a test, with its clock.
    /// It ends by [`Life::stop`].
    #[must_use]
    pub fn detached(name: &'static str, clock: Clock) -> Self {
        let node = format!("{name}-{:08x}", u32::from_le_bytes(entropy::bytes()));
        let node = node.parse().expect("a daemon's name with digits is a node name");
        Self::new(name, "detached", node, clock)
    }

    /// The daemon's name, e.g. `acd`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.0.name
    }

    /// The daemon's version.
    #[must_use]
    pub fn version(&self) -> &'static str {
        self.0.version
    }

    /// This host's name: `RINGDOWN_NODE_NAME`, or the host name.
    #[must_use]
    pub fn node(&self) -> &NodeId {
        &self.0.node
    }

    /// The one clock.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.0.clock
    }

    /// The wish to stop, to be waited for beside every other wait.
    #[must_use]
    pub fn shutdown(&self) -> Shutdown {
        self.0.shutdown.clone()
    }

    /// What the operator keeps away from this host now (`ringdown host drain`).
    #[must_use]
    pub fn held(&self) -> HeldBack {
        self.0.mark.now()
    }

    /// Waits until the operator begins to keep something away. One who asks anew waits for the next time.
    pub async fn held_back(&self) {
        let mut changes = self.0.mark.changes();
        // The mark lives as long as this life does.
        if changes.wait_for(|held| *held == HeldBack::Nothing).await.is_err() {
            std::future::pending::<()>().await;
        }
        if changes.wait_for(|held| *held != HeldBack::Nothing).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    pub(crate) fn mark(&self) -> &Mark {
        &self.0.mark
    }

    /// The registry for metrics.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    /// A fresh version 7 identity: `life.new_id(InteractionId::from_parts)`.
    pub fn new_id<T>(&self, from_parts: impl FnOnce(u64, &[u8; 10]) -> T) -> T {
        from_parts(self.0.clock.now().0, &entropy::bytes())
    }

    /// Starts a task that lives until shutdown. Its error, its panic or its early end stops the daemon with exit code 1.
    pub fn spawn<F>(&self, name: impl Into<Cow<'static, str>>, future: F) -> AbortHandle
    where
        F: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        self.0.tasks.spawn(name.into(), future)
    }

    /// Starts a task that ends when its work is done (a connection, a delivery). Only its panic stops the daemon.
    pub fn spawn_finite<F>(&self, name: impl Into<Cow<'static, str>>, future: F) -> AbortHandle
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.0.tasks.spawn_finite(name.into(), future)
    }

    /// Runs `hook` on the way out, after every task has ended, the last registered first. All hooks together share the
    /// drain limit with the tasks.
    pub fn on_stop(&self, name: impl Into<Cow<'static, str>>, hook: impl Future<Output = ()> + Send + 'static) {
        // A push either happened or not, so a panic elsewhere leaves the list whole.
        let mut hooks = self.0.stop_hooks.lock().unwrap_or_else(PoisonError::into_inner);
        hooks.push((name.into(), hook.boxed()));
    }

    /// Stops the daemon with exit code 1, after a drain; for what no task can go on from.
    pub fn fail(&self, why: impl Into<String>) {
        let why = why.into();
        log::error!("{why}; the daemon stops");
        self.0.tasks.fail(why);
    }

    /// A part that `/readyz` reports; it waits until it says that it is ready.
    #[must_use]
    pub fn readiness(&self, part: impl Into<String>) -> Readiness {
        self.0.health.readiness(part.into())
    }

    /// A pulse that must be touched at least every `limit`, else `/livez` is 503 and systemd's watchdog is not fed.
    #[must_use]
    pub fn heartbeat(&self, name: impl Into<String>, limit: Duration) -> Heartbeat {
        self.0.health.heartbeat(name.into(), limit)
    }

    /// Opens a TCP port; `variable` is named when it is occupied.
    pub async fn bind_tcp(&self, variable: &'static str, address: SocketAddr) -> Result<TcpListener, BindError> {
        listen::tcp(variable, address).await
    }

    /// Opens a UDP port; `variable` is named when it is occupied.
    pub async fn bind_udp(&self, variable: &'static str, address: SocketAddr) -> Result<UdpSocket, BindError> {
        listen::udp(variable, address).await
    }

    /// Serves HTTP/1.1 (with upgrades to WebSocket) on `listener` until shutdown, then finishes the requests in progress.
    pub fn serve_http(&self, name: &'static str, listener: TcpListener, router: Router, limits: HttpLimits) {
        let server = http::serve(name, listener, router, limits, self.clone());
        self.spawn(name, server);
    }

    /// `/livez`, `/readyz`, `/metrics`: for a daemon that serves them on its own port ([`crate::Admin::Shared`]).
    pub fn admin_router(&self) -> Router {
        admin::router(self)
    }

    /// Asks the daemon to stop and waits for its tasks and stop hooks, at most `limit`. `true` when all ended by
    /// themselves and nothing had failed.
    pub async fn stop(&self, limit: Duration) -> bool {
        self.begin_stop();
        match tokio::time::timeout(limit, self.finish()).await {
            Ok(()) => self.failure().is_none(),
            Err(_) => {
                log::warn!(tasks:? = self.0.tasks.running(); "the drain limit is over; work is cut off");
                false
            }
        }
    }

    /// Waits until something failed, and says what.
    pub async fn failed(&self) -> String {
        self.0.tasks.failed().await
    }

    pub(crate) fn begin_stop(&self) {
        self.0.health.drain();
        self.0.shutdown.0.cancel();
    }

    pub(crate) async fn finish(&self) {
        self.0.tasks.ended().await;
        let hooks = std::mem::take(&mut *self.0.stop_hooks.lock().unwrap_or_else(PoisonError::into_inner));
        for (name, hook) in hooks.into_iter().rev() {
            log::debug!(hook = name.as_ref(); "stop hook runs");
            hook.await;
        }
    }

    pub(crate) fn running(&self) -> Vec<String> {
        self.0.tasks.running()
    }

    pub(crate) fn failure(&self) -> Option<String> {
        self.0.tasks.failure()
    }

    pub(crate) fn health(&self) -> &Arc<Health> {
        &self.0.health
    }
}

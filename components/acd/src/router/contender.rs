//! One tenant's contender: gets the lease, holds a tenure, and stands by in between.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ringdown_domain::TenantId;
use ringdown_events::CompiledConfig;
use ringdown_redis_store::{Lease, LeaseKeys, keys};
use ringdown_service::{Backoff, HeldBack, Readiness};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::Shared;
use super::seat::Seat;
use super::tenure::{Ended, Tenure};

/// How often a standby looks whether the lease is free.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// What a host that is drained leaves to the others: time for several looks.
const STAND_BACK: Duration = Duration::from_secs(1);
/// A loop that has not turned for this long is stuck: longer than any recovery, every wait in the loop is shorter.
const STUCK_AFTER: Duration = Duration::from_secs(60);

/// See the module's text.
pub(crate) struct Contender {
    seat: Seat,
    readiness: Readiness,
    backoff: Backoff,
}

impl Contender {
    pub(crate) fn new(
        shared: Shared,
        tenant: TenantId,
        configs: watch::Receiver<Arc<CompiledConfig>>,
        stop: CancellationToken,
    ) -> Self {
        let heartbeat = shared.life.heartbeat(format!("router {tenant}"), STUCK_AFTER);
        let readiness = shared.life.readiness(format!("router {tenant}"));
        let backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(1));
        Self { seat: Seat { shared, tenant, configs, stop, heartbeat }, readiness, backoff }
    }

    /// Contends until the tenant or the daemon stops.
    pub(crate) async fn run(mut self) {
        let keys =
            LeaseKeys { lease: keys::router_lease(self.seat.tenant), epoch: keys::router_epoch(self.seat.tenant) };
        while !self.seat.stop.is_cancelled() {
            self.seat.heartbeat.touch();
            if self.seat.shared.life.held() != HeldBack::Nothing {
                // Who stands by on another host comes first; without one this host goes on routing.
                self.pause(STAND_BACK).await;
            }
            let ttl = self.seat.shared.config.lease_ttl;
            // A Redis that is away must not hold up the stop: a lease that was got after all ends by itself.
            let acquired = tokio::select! {
                acquired = Lease::acquire(&self.seat.shared.pool, &keys, &self.seat.shared.holder, ttl) => acquired,
                () = self.seat.stop.cancelled() => return,
            };
            match acquired {
                Ok(Some(lease)) => self.hold(Arc::new(lease)).await,
                Ok(None) => {
                    self.readiness.ready();
                    self.pause(LOOK_EVERY).await;
                }
                Err(error) => {
                    self.readiness.waiting(error.to_string());
                    let delay = self.backoff.next_delay();
                    self.pause(delay).await;
                }
            }
        }
    }

    async fn hold(&mut self, lease: Arc<Lease>) {
        let started = Instant::now();
        let epoch = lease.epoch();
        log::info!(tenant:% = self.seat.tenant, epoch; "lease acquired");
        let stop = self.seat.stop.clone();
        let begun = tokio::select! {
            begun = Tenure::begin(&mut self.seat, Arc::clone(&lease)) => begun,
            () = stop.cancelled() => return,
        };
        let ended = match begun {
            Ok(tenure) => {
                self.seat.shared.metrics.recovered(started.elapsed());
                self.readiness.ready();
                self.backoff.reset();
                let took_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
                log::info!(tenant:% = self.seat.tenant, epoch, took_ms; "routing");
                self.seat.shared.metrics.active.inc();
                let ended = tenure.drive(&mut self.seat).await;
                self.seat.shared.metrics.active.dec();
                ended
            }
            Err(error) => Ended::Failed(error.to_string()),
        };
        if let Err(error) = lease.release(&self.seat.shared.pool).await {
            log::warn!(tenant:% = self.seat.tenant, epoch, error:% = error; "the lease is not released; it ends by itself");
        }
        match ended {
            Ended::Stopped => log::info!(tenant:% = self.seat.tenant, epoch; "lease released"),
            Ended::Lost(why) => {
                log::warn!(tenant:% = self.seat.tenant, epoch, why; "no longer the router; standing by")
            }
            Ended::Failed(why) => {
                log::error!(tenant:% = self.seat.tenant, epoch, why; "cannot route");
                self.readiness.waiting(why);
                let delay = self.backoff.next_delay();
                self.pause(delay).await;
            }
        }
    }

    async fn pause(&self, time: Duration) {
        tokio::select! {
            () = self.seat.stop.cancelled() => {}
            () = tokio::time::sleep(time) => {}
        }
    }
}

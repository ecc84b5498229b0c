//! The fence around a node's ownership: no order leaves a process that may have lost the node's lease.
//!
//! A task of its own renews the lease, so that nothing slow (Asterisk, a tenant's state) can cost it. Everything that changes
//! something asks [`Fence::while_held`], which gives up what is on its way when the lease is lost. By the clock of this
//! process the lease ends no later than in Redis: it is counted from before each renewal was asked for.

use std::sync::Arc;
use std::time::Duration;

use ringdown_redis_store::{Lease, RedisPool};
use ringdown_service::Life;
use tokio_util::sync::CancellationToken;

/// One ownership's fence. Cloning shares it.
#[derive(Clone, Debug)]
pub(crate) struct Fence {
    lease: Arc<Lease>,
    over: CancellationToken,
}

impl Fence {
    /// Begins to renew the lease.
    pub(crate) fn raise(lease: Arc<Lease>, pool: RedisPool, life: &Life) -> Self {
        let fence = Self { lease, over: CancellationToken::new() };
        life.spawn_finite("voice lease", fence.clone().keep(pool));
        fence
    }

    /// Whether this process may act.
    pub(crate) fn holds(&self) -> bool {
        !self.over.is_cancelled() && !self.lease.is_lost() && !self.lease.is_surely_over()
    }

    /// Waits until this process may not act any more.
    pub(crate) async fn lost(&self) {
        self.over.cancelled().await;
    }

    /// Ends the ownership: whatever is on its way is given up.
    pub(crate) fn end(&self) {
        self.over.cancel();
    }

    /// Does something while the lease is held; none when it is not, or not any more.
    pub(crate) async fn while_held<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        if !self.holds() {
            return None;
        }
        tokio::select! {
            biased;
            () = self.lost() => None,
            done = work => Some(done),
        }
    }

    /// Four tries in the lease's life, none longer than one; the end is noticed to within a tenth of it.
    async fn keep(self, pool: RedisPool) {
        let every = self.lease.ttl() / 4;
        let mut ticks = tokio::time::interval(every);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = self.lost() => return,
                _ = ticks.tick() => {}
            }
            if !self.renewed(&pool, every).await {
                log::warn!("the node's lease was lost");
                return self.end();
            }
        }
    }

    async fn renewed(&self, pool: &RedisPool, limit: Duration) -> bool {
        match tokio::time::timeout(limit, self.lease.renew(pool)).await {
            Ok(Ok(Ok(()))) => true,
            Ok(Ok(Err(_lost))) => false,
            // Redis said nothing about the lease; its time does.
            Ok(Err(_)) | Err(_) => !self.lease.is_surely_over(),
        }
    }
}

//! Bindings that other registrars write into the same Redis.
//!
//! What they publish is read again at once. Publishing reaches only who listens at that moment, and a renewal is not worth
//! a message: so all bindings are read again whenever the subscription is made anew, which also happens now and then by
//! itself. A Redis that is silent tells nothing, so it is asked every two seconds. Each AOR goes the way of its own orders
//! ([`Store::reload`]): memory never goes back behind what we wrote.

use std::time::Duration;

use ringdown_domain::TenantId;
use ringdown_redis_store::{RedisPool, Subscription, keys, redis};
use ringdown_registrar_core::bindings::Aor;
use ringdown_service::{Backoff, Life, Readiness, Shutdown};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, timeout_at};

use crate::directory::Tenants;
use crate::store::Store;

/// The age at which a subscription is replaced: one whose other end vanished without a word says nothing, too.
const RENEW_AFTER: Duration = Duration::from_secs(30);
/// How often Redis is asked whether it answers.
const ASK_EVERY: Duration = Duration::from_secs(2);
/// Reading all again costs Redis this much on average, at most: a small part of what it answers.
const READS_PER_S: u32 = 500;

/// Follows the other registrars.
pub(crate) struct Others {
    pool: RedisPool,
    store: Store,
    holder: String,
    tenants: watch::Receiver<Tenants>,
    readiness: Readiness,
    shutdown: Shutdown,
}

impl Others {
    pub(crate) fn new(
        pool: RedisPool,
        store: Store,
        holder: String,
        tenants: watch::Receiver<Tenants>,
        life: &Life,
    ) -> Self {
        Self { pool, store, holder, tenants, readiness: life.readiness("redis"), shutdown: life.shutdown() }
    }

    /// Until the daemon stops.
    pub(crate) async fn follow(mut self) -> anyhow::Result<()> {
        let shutdown = self.shutdown.clone();
        tokio::select! {
            () = shutdown.requested() => Ok(()),
            () = self.run() => Ok(()),
        }
    }

    async fn run(&mut self) {
        let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(1));
        loop {
            match self.pool.pattern_subscriber(&keys::location_changed_pattern()).await {
                Ok(mut subscriber) => {
                    if self.hear(&mut subscriber).await {
                        backoff.reset();
                        continue;
                    }
                }
                Err(error) => self.readiness.waiting(format!("Redis: {error}")),
            }
            backoff.wait(&self.shutdown).await;
        }
    }

    /// Until the subscription ends or is old; false when Redis went away.
    async fn hear(&mut self, subscriber: &mut Subscription) -> bool {
        let begun = Instant::now();
        let mut ask = tokio::time::interval_at(begun + ASK_EVERY, ASK_EVERY);
        ask.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let Some(read) = self.read_all().await else {
                self.readiness.waiting("Redis does not answer");
                return false;
            };
            self.readiness.ready();
            let until = begun + RENEW_AFTER.max(Duration::from_secs(1) * (read / READS_PER_S));
            loop {
                let message = tokio::select! {
                    message = timeout_at(until, subscriber.next()) => message,
                    changed = self.tenants.changed() => match changed {
                        // A message about who is new could not be understood until now.
                        Ok(()) => break,
                        Err(_) => return false,
                    },
                    _ = ask.tick() => match self.pool.ping().await {
                        Ok(()) => continue,
                        Err(error) => {
                            self.readiness.waiting(format!("Redis: {error}"));
                            return false;
                        }
                    },
                };
                let Ok(Some(message)) = message else { return true };
                if let Some((tenant, aor)) = self.read(&message)
                    && !self.store.reload(tenant, aor).await
                {
                    return false;
                }
            }
        }
    }

    /// How many were read; none when Redis went away.
    async fn read_all(&mut self) -> Option<u32> {
        let aors: Vec<(TenantId, Aor)> = self
            .tenants
            .borrow_and_update()
            .iter()
            .flat_map(|(tenant, (realm, entry))| {
                entry.users.keys().map(|user| (*tenant, Aor { realm: realm.clone(), user: user.clone() }))
            })
            .collect();
        let mut read = 0;
        for (tenant, aor) in aors {
            if !self.store.reload(tenant, aor).await {
                return None;
            }
            read += 1;
        }
        Some(read)
    }

    /// Whose bindings somebody else changed. What we published ourselves is known; who does not exist is left alone.
    fn read(&self, message: &redis::Msg) -> Option<(TenantId, Aor)> {
        let tenant = keys::tenant_of_location_changed(message.get_channel_name())?;
        let text = std::str::from_utf8(message.get_payload_bytes()).ok()?;
        let (holder, user) = text.split_once(' ')?;
        if holder == self.holder {
            return None;
        }
        let tenants = self.tenants.borrow();
        let (realm, entry) = tenants.get(&tenant)?;
        let user = entry.users.get_key_value(user)?.0.clone();
        Some((tenant, Aor { realm: realm.clone(), user }))
    }
}

//! Short-lived credentials of browsers' phones: web-api writes them into Redis, and tells.
//!
//! What is told is read at once. Telling reaches only who listens at that moment, so all are read again whenever the
//! subscription is made anew, which also happens now and then by itself.

use std::collections::BTreeSet;
use std::time::Duration;

use ringdown_domain::TenantId;
use ringdown_events::PhoneCredential;
use ringdown_redis_store::{RedisPool, Retry, StoreError, Subscription, keys, redis};
use ringdown_registrar_core::bindings::Aor;
use ringdown_registrar_core::digest::Ha1;
use ringdown_registrar_core::edge::ShortLived;
use ringdown_service::{Backoff, Life, Shutdown};
use tokio::sync::mpsc::Sender;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use crate::directory::Tenants;
use crate::driver::Input;

/// The age at which a subscription is replaced: one whose other end vanished without a word says nothing, too.
const RENEW_AFTER: Duration = Duration::from_secs(30);
/// How many users' credentials are read in one round trip.
const CHUNK: usize = 500;

/// Follows what web-api issues.
pub(crate) struct ShortLivedFollower {
    pool: RedisPool,
    inbox: Sender<Input>,
    tenants: watch::Receiver<Tenants>,
    shutdown: Shutdown,
    /// Who had some when last read: only they need to be told that there are none.
    holders: BTreeSet<Aor>,
}

impl ShortLivedFollower {
    pub(crate) fn new(pool: RedisPool, inbox: Sender<Input>, tenants: watch::Receiver<Tenants>, life: &Life) -> Self {
        Self { pool, inbox, tenants, shutdown: life.shutdown(), holders: BTreeSet::new() }
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
            let heard = match self.pool.pattern_subscriber(&keys::phone_credentials_changed_pattern()).await {
                Ok(mut subscription) => self.hear(&mut subscription).await,
                Err(error) => Err(error),
            };
            match heard {
                Ok(()) => backoff.reset(),
                Err(error) => {
                    log::debug!(error:% = error; "browsers' credentials cannot be followed");
                    backoff.wait(&self.shutdown).await;
                }
            }
        }
    }

    /// Until the subscription ends or is old.
    async fn hear(&mut self, subscription: &mut Subscription) -> Result<(), StoreError> {
        let until = Instant::now() + RENEW_AFTER;
        loop {
            self.read_all().await?;
            loop {
                let message = tokio::select! {
                    message = timeout_at(until, subscription.next()) => message,
                    // Somebody may be new; at the end of the daemon there is nobody left to tell.
                    changed = self.tenants.changed() => match changed {
                        Ok(()) => break,
                        Err(_) => return Ok(()),
                    },
                };
                let Ok(Some(message)) = message else { return Ok(()) };
                if let Some((tenant, aor)) = self.whose(&message) {
                    self.read(&[(tenant, aor)]).await?;
                }
            }
        }
    }

    async fn read_all(&mut self) -> Result<(), StoreError> {
        let tenants = self.tenants.borrow_and_update().clone();
        let aors: Vec<(TenantId, Aor)> = tenants
            .iter()
            .flat_map(|(tenant, (realm, entry))| {
                entry.users.keys().map(|user| (*tenant, Aor { realm: realm.clone(), user: user.clone() }))
            })
            .collect();
        for chunk in aors.chunks(CHUNK) {
            self.read(chunk).await?;
        }
        Ok(())
    }

    async fn read(&mut self, aors: &[(TenantId, Aor)]) -> Result<(), StoreError> {
        let mut pipe = redis::pipe();
        for (tenant, aor) in aors {
            pipe.cmd("HVALS").arg(keys::phone_credentials(*tenant, &aor.user));
        }
        let found: Vec<Vec<String>> = self.pool.run_pipeline("phone_credentials", Retry::Safe, &pipe).await?;
        for ((_, aor), texts) in aors.iter().zip(found) {
            let credentials: Vec<ShortLived> = texts.iter().filter_map(|text| parse(text)).collect();
            let had = self.holders.remove(aor);
            if credentials.is_empty() && !had {
                continue;
            }
            if !credentials.is_empty() {
                self.holders.insert(aor.clone());
            }
            // The driver is gone only when the daemon ends.
            let _ = self.inbox.send(Input::ShortLived { aor: aor.clone(), credentials }).await;
        }
        Ok(())
    }

    fn whose(&self, message: &redis::Msg) -> Option<(TenantId, Aor)> {
        let tenant = keys::tenant_of_phone_credentials_changed(message.get_channel_name())?;
        let user = std::str::from_utf8(message.get_payload_bytes()).ok()?;
        let tenants = self.tenants.borrow();
        let (realm, entry) = tenants.get(&tenant)?;
        let user = entry.users.get_key_value(user)?.0.clone();
        Some((tenant, Aor { realm: realm.clone(), user }))
    }
}

/// What cannot be read was written by nobody we know and is worth nothing.
fn parse(text: &str) -> Option<ShortLived> {
    let PhoneCredential { ha1_md5, ha1_sha256, expires_at_ms } = serde_json::from_str(text).ok()?;
    Some(ShortLived { ha1: Ha1 { md5: ha1_md5, sha256: ha1_sha256 }, expires_at_ms })
}

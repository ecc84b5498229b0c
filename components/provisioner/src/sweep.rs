//! What a removed tenant leaves in Redis: its live state, journal and bindings, which nobody reads any more. They expire.
//!
//! Not at once: a tenant that was removed by mistake and comes back from a backup within the hour finds its state. And not while a
//! router still holds the tenant, whose next commit would make keys anew.

use std::collections::BTreeMap;

use ringdown_domain::TenantId;
use ringdown_redis_store::{RedisPool, Retry, StoreError, keys, redis};

/// How long what a removed tenant left stays.
const REMOVED_KEPT_MS: u64 = 3_600_000;
/// Keys per step of a scan; a step takes Redis well under a millisecond.
const STEP: usize = 1_000;

/// Lets every key of a tenant that is not `known` expire. Whether nothing is left to do.
pub(crate) async fn expire_removed(redis: &RedisPool, known: impl Fn(TenantId) -> bool) -> Result<bool, StoreError> {
    let mut routed: BTreeMap<TenantId, bool> = BTreeMap::new();
    let mut done = true;
    let mut cursor = 0_u64;
    loop {
        let (next, names) = scan(redis, cursor, keys::OF_TENANTS).await?;
        let mut left = Vec::new();
        for name in names {
            let Some(tenant) = keys::tenant_of(&name).filter(|tenant| !known(*tenant)) else { continue };
            let held = match routed.get(&tenant) {
                Some(held) => *held,
                None => has_router(redis, tenant).await?,
            };
            routed.insert(tenant, held);
            if held {
                done = false;
            } else {
                left.push(name);
            }
        }
        expire(redis, &left).await?;
        cursor = next;
        if cursor == 0 {
            return Ok(done);
        }
    }
}

/// Takes back the end of what a tenant left that is there again. What ends by itself still does.
pub(crate) async fn keep(redis: &RedisPool, tenant: TenantId) -> Result<(), StoreError> {
    let mut cursor = 0_u64;
    loop {
        let (next, names) = scan(redis, cursor, &format!("{{{tenant}}}:*")).await?;
        let ends =
            |name: &String| [":interaction:", ":history:", ":call:", ":lease:"].iter().any(|part| name.contains(part));
        let mut pipe = redis::pipe();
        for name in names.iter().filter(|name| !ends(name)) {
            pipe.cmd("PERSIST").arg(name).ignore();
        }
        if !pipe.is_empty() {
            redis.run_pipeline::<()>("sweep", Retry::Safe, &pipe).await?;
        }
        cursor = next;
        if cursor == 0 {
            return Ok(());
        }
    }
}

async fn scan(redis: &RedisPool, cursor: u64, pattern: &str) -> Result<(u64, Vec<String>), StoreError> {
    let mut cmd = redis::cmd("SCAN");
    cmd.arg(cursor).arg("MATCH").arg(pattern).arg("COUNT").arg(STEP);
    redis.run("sweep", Retry::Safe, &cmd).await
}

async fn has_router(redis: &RedisPool, tenant: TenantId) -> Result<bool, StoreError> {
    let mut cmd = redis::cmd("EXISTS");
    cmd.arg(keys::router_lease(tenant));
    redis.run("sweep", Retry::Safe, &cmd).await
}

/// Gives an end to those that have none.
async fn expire(redis: &RedisPool, names: &[String]) -> Result<(), StoreError> {
    if names.is_empty() {
        return Ok(());
    }
    let mut pipe = redis::pipe();
    for name in names {
        pipe.cmd("PTTL").arg(name);
    }
    let lives: Vec<i64> = redis.run_pipeline("sweep", Retry::Safe, &pipe).await?;
    let mut pipe = redis::pipe();
    // -1: there, and without an end.
    for (name, _) in names.iter().zip(lives).filter(|(_, life)| *life == -1) {
        pipe.cmd("PEXPIRE").arg(name).arg(REMOVED_KEPT_MS).ignore();
    }
    if pipe.is_empty() {
        return Ok(());
    }
    redis.run_pipeline::<()>("sweep", Retry::Safe, &pipe).await
}

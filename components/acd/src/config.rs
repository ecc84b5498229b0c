//! The daemon's start-up configuration, from the environment.

use std::time::Duration;

use ringdown_env_config::{Reader, shared};
use ringdown_redis_store::{DEFAULT_LEASE_TTL, RedisOptions};

use crate::{router, voice};

/// What this process does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Duties {
    /// Routes interactions.
    pub router: bool,
    /// Controls calls over Asterisk's ARI.
    pub voice: bool,
}

/// Everything the daemon is told at start.
#[derive(Debug)]
pub struct Config {
    /// Which duties this process has.
    pub duties: Duties,
    /// How to reach Redis.
    pub redis: RedisOptions,
    /// The router duty.
    pub router: router::Config,
    /// The voice duty, when this process has it.
    pub voice: Option<voice::Config>,
}

impl Config {
    /// Reads and checks every variable; faults are collected in `env`.
    pub fn read(env: &mut Reader) -> Option<Self> {
        let duties = env
            .choice(
                "RINGDOWN_ACD_DUTIES",
                &[
                    ("router,voice", Duties { router: true, voice: true }),
                    ("router", Duties { router: true, voice: false }),
                    ("voice", Duties { router: false, voice: true }),
                ],
            )
            .default("router,voice")
            .about("What this process does: route interactions, control calls, or both.")
            .read();
        let redis = redis_options(env);
        let router = read_router(env);
        let voice = voice::Config::read(env, duties.is_some_and(|duties| duties.voice));
        Some(Self { duties: duties?, redis: redis?, router: router?, voice: voice? })
    }
}

fn redis_options(env: &mut Reader) -> Option<RedisOptions> {
    let url = shared::redis_url(env)?;
    match RedisOptions::from_url(url.expose()) {
        Ok(options) => Some(options),
        Err(error) => {
            env.fault("RINGDOWN_REDIS_URL", error.to_string());
            None
        }
    }
}

fn read_router(env: &mut Reader) -> Option<router::Config> {
    let lease_ttl = env
        .duration_ms("RINGDOWN_ACD_LEASE_MS", 500..=60_000)
        .default(DEFAULT_LEASE_TTL.as_millis())
        .about("How long a lease lives after its holder died. Shorter: a faster take-over; too short: one from a slow host.")
        .read();
    let replicas = env
        .number("RINGDOWN_REDIS_REPLICAS", 0..=5_u32)
        .default(0)
        .about("How many replicas must confirm a commit before it is acknowledged; 0 where Redis has none.")
        .read();
    let batch = env
        .number("RINGDOWN_ACD_BATCH", 1..=10_000_usize)
        .default(512)
        .about("Most commands decided and committed together.")
        .read();
    let ended_s = env
        .number("RINGDOWN_ACD_KEEP_ENDED_S", 1..=604_800_u64)
        .default(3_600)
        .unit("s")
        .about("How long an ended interaction can be read in Redis.")
        .read();
    let ended_most = env
        .number("RINGDOWN_ACD_KEEP_ENDED_MOST", 100..=1_000_000_usize)
        .default(20_000)
        .about("Most ended interactions of a tenant that can be read in Redis, about 8 kB each; the oldest go first.")
        .read();
    let journal = env
        .number("RINGDOWN_ACD_JOURNAL_LENGTH", 1_000..=10_000_000_u64)
        .default(100_000)
        .about("Journal entries kept, about: how far back a browser may resume.")
        .read();
    Some(router::Config {
        lease_ttl: lease_ttl?,
        replicas: replicas?,
        batch: batch?,
        ended_kept: Duration::from_secs(ended_s?),
        ended_most: ended_most?,
        journal_length: journal?,
    })
}

//! `ringdown-acd`: the ACD. See the library's documentation.

use std::process::ExitCode;

use ringdown_acd::config::Config;
use ringdown_acd::{router, voice};
use ringdown_redis_store::{RedisPool, StoreMetrics};
use ringdown_service::{Admin, Daemon, Life, run};

fn main() -> ExitCode {
    let daemon = Daemon {
        name: "acd",
        version: env!("CARGO_PKG_VERSION"),
        purpose: "routes interactions to agents and controls their calls",
        admin: Admin::Own { default_port: 8002 },
    };
    run(daemon, Config::read, start)
}

async fn start(config: Config, life: Life) -> anyhow::Result<()> {
    let metrics = StoreMetrics::default();
    life.metrics().with(|registry| metrics.register(registry));
    let pool = RedisPool::new(config.redis, metrics);
    if config.duties.router {
        router::start(config.router, pool.clone(), &life);
    }
    if let Some(config) = config.voice {
        voice::start(config, pool, &life).await?;
    }
    Ok(())
}

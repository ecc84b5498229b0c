//! The life of web-api: what is opened at start, and the tasks that run beside the requests.

use std::time::Duration;

use ringdown_object_files::ObjectFiles;
use ringdown_pg_store::{Limits, PgStore};
use ringdown_redis_store::{CommandClient, RedisOptions, RedisPool, StoreMetrics, keys};
use ringdown_service::{Backoff, HttpLimits, Life, entropy};

use crate::app::{App, Parts, Settings};
use crate::auth::limiter::LoginLimiter;
use crate::auth::password::Passwords;
use crate::auth::sessions;
use crate::auth::token::hex;
use crate::config::Config;
use crate::live::figures::FiguresCache;
use crate::live::reader::KnownTenants;
use crate::metrics::ApiMetrics;
use crate::quotas::Pace;
use crate::{recordings, router, schema, writes};

/// How often old Idempotency-Keys are removed.
const HOUSEKEEPING_EVERY: Duration = Duration::from_secs(3_600);

/// How often Redis is told again which log-ins have ended.
const GENERATIONS_EVERY: Duration = Duration::from_secs(30);

/// How often Redis is asked whether it is there.
const REDIS_CHECK_EVERY: Duration = Duration::from_secs(2);

/// Opens the port and starts the tasks. Stores that are away are waited for, and `/readyz` says so.
///
/// # Errors
/// An occupied port, or a URL the clients do not understand.
pub async fn start(config: Config, life: Life) -> anyhow::Result<()> {
    let listener = life.bind_tcp("RINGDOWN_WEB_API_LISTEN", config.listen).await?;
    let pg = PgStore::open(&life, &config.postgres, Limits::default())?;
    let redis_metrics = StoreMetrics::default();
    life.metrics().with(|registry| redis_metrics.register(registry));
    let redis = RedisPool::new(RedisOptions::from_url(config.redis.expose())?, redis_metrics);
    let asker = format!("web-api/{}/{}", life.node(), hex(&entropy::bytes::<8>()));
    let (commands, tail) = CommandClient::new(redis.clone(), asker);
    let app = App::new(Parts {
        pg: pg.clone(),
        redis: redis.clone(),
        commands,
        clock: life.clock().clone(),
        passwords: Passwords::new()?,
        limiter: LoginLimiter::default(),
        metrics: ApiMetrics::new(life.metrics()),
        known_tenants: KnownTenants::default(),
        figures: FiguresCache::default(),
        pace: Pace::new(&config.quotas),
        files: ObjectFiles::new(&config.objects),
        settings: Settings {
            session_ttl: config.session_ttl,
            trusted_proxies: config.trusted_proxies,
            apply_wait: config.apply_wait,
            quotas: config.quotas,
            websocket_url: config.websocket_url.clone(),
            phone_urls: config.phone_urls.clone(),
        },
    });
    let shutdown = life.shutdown();
    life.spawn("outcomes", async move {
        tail.run(shutdown.requested()).await;
        Ok(())
    });
    watch_redis(&life, redis);
    migrate(&life, pg);
    forget_keys(&life, app.clone());
    tell_generations(&life, app.clone());
    answer_tokens(&life, app.clone());
    recordings::follow(&life, app.clone());
    life.serve_http("api", listener, router::service(app, life.admin_router()), HttpLimits::default());
    Ok(())
}

fn watch_redis(life: &Life, redis: RedisPool) {
    let readiness = life.readiness("redis");
    let shutdown = life.shutdown();
    life.spawn("redis watch", async move {
        let mut ticks = tokio::time::interval(REDIS_CHECK_EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                // First: a look that takes as long as its period would leave the end to chance, again and again.
                biased;
                () = shutdown.requested() => return Ok(()),
                _ = ticks.tick() => {}
            }
            match redis.ping().await {
                Ok(()) => readiness.ready(),
                Err(error) => readiness.waiting(error.to_string()),
            }
        }
    });
}

/// Brings the schema up to date, however long PostgreSQL takes to come; then keeps an eye on it.
fn migrate(life: &Life, pg: PgStore) {
    let readiness = life.readiness("schema");
    let shutdown = life.shutdown();
    pg.watch(life);
    life.spawn("schema", async move {
        let done = pg.migrate_when_up(schema::migrations, &readiness, &shutdown).await;
        if shutdown.is_requested() {
            return Ok(());
        }
        done?;
        shutdown.requested().await;
        Ok(())
    });
}

fn forget_keys(life: &Life, app: App) {
    let shutdown = life.shutdown();
    life.spawn("housekeeping", async move {
        let mut ticks = tokio::time::interval(HOUSEKEEPING_EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        // The first tick is at once; the schema may not be there yet.
        ticks.tick().await;
        loop {
            tokio::select! {
                // First: a look that takes as long as its period would leave the end to chance, again and again.
                biased;
                () = shutdown.requested() => return Ok(()),
                _ = ticks.tick() => {}
            }
            match sessions::forget_generations(&app).await {
                Ok(count) => log::debug!(count; "generations of removed users are forgotten"),
                // Logged where it was met; the next round does it.
                Err(_problem) => {}
            }
            match recordings::remove_expired(&app).await {
                Ok(count) => log::debug!(count; "recordings that are over are removed"),
                // Logged where it was met; the next round does it.
                Err(_problem) => {}
            }
            match writes::forget_old_keys(&app).await {
                Ok(count) => log::debug!(count; "old Idempotency-Keys are forgotten"),
                // Logged where it was met; the next round does it.
                Err(_problem) => {}
            }
        }
    });
}

/// Repeats to Redis which log-ins have ended; see [`sessions::tell_generations`].
fn tell_generations(life: &Life, app: App) {
    let shutdown = life.shutdown();
    life.spawn("generations", async move {
        let mut ticks = tokio::time::interval(GENERATIONS_EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                // First: a look that takes as long as its period would leave the end to chance, again and again.
                biased;
                () = shutdown.requested() => return Ok(()),
                _ = ticks.tick() => {}
            }
            if sessions::tell_generations(&app).await.is_err() {
                log::debug!("which log-ins have ended is told to Redis at the next round");
            }
        }
    });
}

/// Answers the notifier, which has no PostgreSQL, whether a token is an API token. One question at a time: what strangers ask
/// costs at most one connection.
fn answer_tokens(life: &Life, app: App) {
    let shutdown = life.shutdown();
    life.spawn("token questions", async move {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(2));
        while !shutdown.is_requested() {
            let mut asked = match app.redis.subscriber(keys::TOKEN_ASKED_CHANNEL).await {
                Ok(asked) => asked,
                Err(error) => {
                    log::debug!(error:display; "questions about tokens are not heard");
                    backoff.wait(&shutdown).await;
                    continue;
                }
            };
            backoff.reset();
            loop {
                let message = tokio::select! {
                    message = asked.next() => message,
                    () = shutdown.requested() => return Ok(()),
                };
                let Some(message) = message else { break };
                if let Ok(digest) = message.get_payload::<String>() {
                    sessions::answer(&app, &digest).await;
                }
            }
        }
        Ok(())
    });
}

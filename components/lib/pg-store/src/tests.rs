//! Against a real PostgreSQL that is killed, used up and raced.

use std::time::{Duration, Instant};

use ringdown_env_config::Url;
use ringdown_service::{Clock, HttpLimits, Life};
use ringdown_test_support::{PostgresOptions, PrivatePostgres, http_get, wait_until};

use crate::{Isolation, Limits, MigrateError, Nudge, PgError, PgStore, Retry, Retryable, Schema, Standing, Way};

const SOON: Duration = Duration::from_secs(10);

/// Whether an error is the expected one.
type Expected = fn(&PgError) -> bool;

struct House {
    postgres: PrivatePostgres,
    life: Life,
    store: PgStore,
}

async fn house(limits: Limits) -> House {
    let postgres = PrivatePostgres::start(PostgresOptions::default()).await.unwrap();
    let life = Life::detached("acd", Clock::system());
    let store = open(&life, &postgres.url(), limits);
    House { postgres, life, store }
}

fn open(life: &Life, url: &str, limits: Limits) -> PgStore {
    PgStore::open(life, &Url::parse(url, &["postgres"]).unwrap(), limits).unwrap()
}

/// Limits short enough to be reached in a test.
fn short() -> Limits {
    let ms = Duration::from_millis;
    Limits { connections: 2, connect: ms(500), acquire: ms(500), statement: ms(300), lock: ms(150) }
}

impl House {
    /// Runs one statement in a session of its own.
    async fn run(&self, statement: &str) -> Result<u64, PgError> {
        self.store.session("test").await?.execute(statement, &[]).await
    }

    async fn count(&self, statement: &str) -> i64 {
        self.store.session("test").await.unwrap().query_one(statement, &[]).await.unwrap().get(0)
    }
}

#[tokio::test]
async fn errors_say_what_happened_and_whether_a_repeat_is_safe() {
    let house = house(short()).await;
    let mut session = house.store.session("test").await.unwrap();
    session.batch("CREATE TABLE p (id int PRIMARY KEY, n int NOT NULL CONSTRAINT small CHECK (n < 9))").await.unwrap();
    session.batch("CREATE TABLE c (p int CONSTRAINT parent REFERENCES p); INSERT INTO p VALUES (1, 1)").await.unwrap();
    drop(session);
    let cases: [(&str, Expected, Retry); 8] = [
        (
            "INSERT INTO p VALUES (1, 1)",
            |e| matches!(e, PgError::Unique { constraint } if constraint == "p_pkey"),
            Retry::Unsafe,
        ),
        (
            "INSERT INTO c VALUES (7)",
            |e| matches!(e, PgError::ForeignKey { constraint } if constraint == "parent"),
            Retry::Unsafe,
        ),
        (
            "INSERT INTO p VALUES (2, 9)",
            |e| matches!(e, PgError::Check { constraint } if constraint == "small"),
            Retry::Unsafe,
        ),
        (
            "INSERT INTO p VALUES (2, NULL)",
            |e| matches!(e, PgError::Check { constraint } if constraint == "n"),
            Retry::Unsafe,
        ),
        ("SELEKT 1", |e| matches!(e, PgError::Refused(_)), Retry::Unsafe),
        ("SELECT 1 / 0", |e| matches!(e, PgError::Refused(_)), Retry::Unsafe),
        ("SELECT pg_sleep(5)", |e| matches!(e, PgError::GaveUp(_)), Retry::Safe),
        ("SELECT pg_terminate_backend(pg_backend_pid())", |e| matches!(e, PgError::Lost(_)), Retry::Unknown),
    ];
    for (statement, is_expected, retry) in cases {
        let error = house.run(statement).await.unwrap_err();
        assert!(is_expected(&error), "{statement}: {error:?}");
        assert_eq!(error.retry(), retry, "{statement}");
        // Whatever happened, the next piece of work gets a sound connection.
        house.run("SELECT 1").await.unwrap();
    }
    let mut session = house.store.session("test").await.unwrap();
    for statement in ["SELECT id FROM p WHERE id = 99", "SELECT generate_series(1, 2)"] {
        let error = session.query_one(statement, &[]).await.unwrap_err();
        assert!(matches!(error, PgError::RowCount(_)), "{error:?}");
    }
    assert!(session.query_opt("SELECT id FROM p WHERE id = 99", &[]).await.unwrap().is_none());
}

#[tokio::test]
async fn waiting_for_a_lock_ends() {
    let house = house(short()).await;
    house.run("CREATE TABLE t (n int)").await.unwrap();
    let mut holder = house.store.session("holder").await.unwrap();
    let mut transaction = holder.begin(Isolation::ReadCommitted).await.unwrap();
    transaction.execute("LOCK TABLE t", &[]).await.unwrap();
    let error = house.run("INSERT INTO t VALUES (1)").await.unwrap_err();
    assert!(matches!(error, PgError::GaveUp(_)), "{error:?}");
    transaction.commit().await.unwrap();
    house.run("INSERT INTO t VALUES (1)").await.unwrap();
}

#[tokio::test]
async fn a_connection_that_owes_an_answer_is_thrown_away() {
    let house = house(Limits { connections: 1, ..short() }).await;
    let before = house.count("SELECT pg_backend_pid()::bigint").await;
    let mut session = house.store.session("test").await.unwrap();
    // The server is told not to keep its limit, as if it hung.
    session.batch("SET statement_timeout = 0").await.unwrap();
    let error = session.execute("SELECT pg_sleep(3)", &[]).await.unwrap_err();
    assert!(matches!(error, PgError::TimedOut(_)), "{error:?}");
    assert_eq!(error.retry(), Retry::Unknown);
    drop(session);
    assert_ne!(house.count("SELECT pg_backend_pid()::bigint").await, before);
}

#[tokio::test]
async fn a_used_up_pool_says_so() {
    let house = house(Limits { connections: 1, ..short() }).await;
    let held = house.store.session("holder").await.unwrap();
    let started = Instant::now();
    let error = house.run("SELECT 1").await.unwrap_err();
    assert_eq!(error.to_string(), "PostgreSQL is not available: all 1 connections are in use");
    assert_eq!(error.retry(), Retry::Safe);
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    drop(held);
    house.run("SELECT 1").await.unwrap();
}

#[tokio::test]
async fn a_killed_server_is_reported_and_used_again_after_its_restart() {
    let mut house = house(short()).await;
    house.run("CREATE TABLE t (n int)").await.unwrap();
    house.postgres.kill9().unwrap();
    wait_until(SOON, "an error that says that PostgreSQL is away", async || {
        let error = house.run("INSERT INTO t VALUES (1)").await.err()?;
        assert!(matches!(error, PgError::Lost(_) | PgError::Unavailable { .. }), "{error:?}");
        error.to_string().contains("onnection refused").then_some(())
    })
    .await;
    house.postgres.restart().await.unwrap();
    // No try may fail now: a broken connection is never handed out.
    for _ in 0..5 {
        house.run("INSERT INTO t VALUES (1)").await.unwrap();
    }
}

/// A host that hangs opens its socket, and then says nothing: it must not take the time of the one that works.
#[tokio::test]
async fn a_host_that_hangs_does_not_keep_the_others_away() {
    let house = house(Limits::default()).await;
    let hangs = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let working = house.postgres.url();
    let (before, hosts) = working.rsplit_once('@').unwrap();
    let (host, name) = hosts.split_once('/').unwrap();
    let url = format!("{before}@{},{host}/{name}", hangs.local_addr().unwrap());
    let life = Life::detached("acd", Clock::system());
    let store = open(&life, &url, Limits::default());
    let begun = Instant::now();
    let one: i32 = store.session("test").await.unwrap().query_one("SELECT 1", &[]).await.unwrap().get(0);
    assert!(one == 1 && begun.elapsed() < Duration::from_millis(1_900), "{:?}", begun.elapsed());
    // From now on it is known which one works.
    let begun = Instant::now();
    let (first, second) = tokio::join!(store.session("test"), store.session("test"));
    assert!(first.is_ok() && second.is_ok() && begun.elapsed() < Duration::from_millis(500), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn readiness_follows_the_server() {
    let mut house = house(short()).await;
    let listener = house.life.bind_tcp("TEST", "127.0.0.1:0".parse().unwrap()).await.unwrap();
    let admin = listener.local_addr().unwrap();
    house.life.serve_http("admin", listener, house.life.admin_router(), HttpLimits::default());
    house.postgres.kill9().unwrap();
    house.store.watch(&house.life);
    let readyz = async |status: u16, part: &str| {
        let answer = http_get(admin, "/readyz").await.ok()?;
        (answer.status == status && answer.body.contains(part)).then_some(())
    };
    wait_until(SOON, "503 with the reason", async || readyz(503, "Connection refused").await).await;
    house.postgres.restart().await.unwrap();
    wait_until(SOON, "200", async || readyz(200, "true").await).await;
    let metrics = http_get(admin, "/metrics").await.unwrap().body;
    assert!(metrics.contains(r#"ringdown_pg_statements_total{operation="ping",outcome="ok"}"#), "{metrics}");
    assert!(metrics.contains(r#"outcome="unavailable""#), "{metrics}");
    assert!(house.life.stop(SOON).await);
}

#[tokio::test]
async fn what_is_not_committed_is_rolled_back() {
    let house = house(Limits { connections: 1, ..short() }).await;
    house.run("CREATE TABLE t (n int)").await.unwrap();
    let mut session = house.store.session("test").await.unwrap();
    let mut dropped = session.begin(Isolation::ReadCommitted).await.unwrap();
    dropped.execute("INSERT INTO t VALUES (1)", &[]).await.unwrap();
    drop(dropped);
    let mut taken_back = session.begin(Isolation::Serializable).await.unwrap();
    taken_back.execute("INSERT INTO t VALUES (2)", &[]).await.unwrap();
    taken_back.rollback().await.unwrap();
    let mut kept = session.begin(Isolation::Snapshot).await.unwrap();
    kept.execute("INSERT INTO t VALUES ($1)", &[&3_i32]).await.unwrap();
    kept.commit().await.unwrap();
    drop(session);
    assert_eq!(house.count("SELECT sum(n) FROM t").await, 3);
}

/// A request may be cut off at any await; what it held must not poison the next one's connection.
#[tokio::test]
async fn work_that_is_cut_off_leaves_a_sound_connection() {
    let house = house(Limits { connections: 1, ..short() }).await;
    house.run("CREATE TABLE t (n int)").await.unwrap();
    for cut_ms in 0..20 {
        let work = async {
            let mut session = house.store.session("cut").await?;
            let mut transaction = session.begin(Isolation::ReadCommitted).await?;
            transaction.execute("INSERT INTO t VALUES (1)", &[]).await?;
            transaction.execute("SELECT pg_sleep(0.05)", &[]).await?;
            transaction.commit().await
        };
        let cut = tokio::time::timeout(Duration::from_millis(cut_ms), work).await;
        assert!(cut.is_err(), "it was cut off");
        assert_eq!(house.count("SELECT count(*) FROM t").await, 0, "cut off after {cut_ms} ms");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn races_are_run_again_and_nothing_is_lost_or_doubled() {
    let house = house(Limits { connections: 4, ..Limits::default() }).await;
    house.run("CREATE TABLE t (n int)").await.unwrap();
    house.run("INSERT INTO t VALUES (0)").await.unwrap();
    let increment = |store: PgStore| async move {
        let mut done = 0_i64;
        for _ in 0..25 {
            let once = store.retry("increment", || async {
                let mut session = store.session("increment").await?;
                let mut transaction = session.begin(Isolation::Serializable).await?;
                let n: i32 = transaction.query_one("SELECT n FROM t", &[]).await?.get(0);
                transaction.execute("UPDATE t SET n = $1", &[&(n + 1)]).await?;
                transaction.commit().await
            });
            match once.await {
                Ok(()) => done += 1,
                Err(error) => assert!(matches!(error, PgError::Conflict(_)), "{error:?}"),
            }
        }
        done
    };
    let writers: Vec<_> = (0..4).map(|_| tokio::spawn(increment(house.store.clone()))).collect();
    let mut done = 0;
    for writer in writers {
        done += writer.await.unwrap();
    }
    assert_eq!(house.count("SELECT n::bigint FROM t").await, done);
    assert!(done > 80, "most of 100 get through: {done}");
}

#[tokio::test]
async fn a_hopeless_error_is_not_tried_again() {
    let house = house(short()).await;
    let tries = std::cell::Cell::new(0);
    let result = house.store.retry("test", || async {
        tries.set(tries.get() + 1);
        house.run("SELEKT 1").await
    });
    assert!(result.await.is_err());
    assert_eq!(tries.get(), 1);
}

fn migrations(second: &str) -> refinery::Runner {
    let first = refinery::Migration::unapplied("V1__first", "CREATE TABLE m (n int)").unwrap();
    let second = refinery::Migration::unapplied("V2__second", second).unwrap();
    refinery::Runner::new(&[first, second])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn daemons_that_migrate_together_apply_each_migration_once() {
    let house = house(Limits::default()).await;
    let insert = "SELECT pg_sleep(0.2); INSERT INTO m VALUES (1)";
    let together: Vec<_> = (0..4)
        .map(|_| {
            let store = house.store.clone();
            tokio::spawn(async move { store.migrate(migrations(insert)).await })
        })
        .collect();
    let mut applied = Vec::new();
    for one in together {
        applied.push(one.await.unwrap().unwrap());
    }
    applied.sort_unstable();
    assert_eq!(applied, [0, 0, 0, 2]);
    assert_eq!(house.count("SELECT count(*) FROM m").await, 1);
    let other = house.store.migrate(migrations("INSERT INTO m VALUES (2)")).await;
    assert!(matches!(other, Err(MigrateError::Refinery(_))), "a changed migration is refused: {other:?}");
}

/// The same schema as the next version knows it, which adds a column.
fn next_schema(works_from: i32) -> Schema {
    let way = Way { version: 3, down: "ALTER TABLE m DROP COLUMN more", works_from };
    let before = migrations("SELECT 1");
    let third = refinery::Migration::unapplied("V3__third", "ALTER TABLE m ADD COLUMN more int").unwrap();
    let all: Vec<_> = before.get_migrations().iter().cloned().chain([third]).collect();
    Schema::new(refinery::Runner::new(&all), vec![way])
}

#[tokio::test]
async fn versions_work_side_by_side_and_a_migration_is_taken_back() {
    let house = house(Limits::default()).await;
    let store = &house.store;
    let now = || migrations("SELECT 1");
    assert_eq!(store.standing(now()).await.unwrap(), Standing { applied: 0, known: 2 });
    assert_eq!(store.migrate(now()).await.unwrap(), 2);
    assert_eq!(store.migrate(next_schema(2)).await.unwrap(), 1);
    // The older one starts again beside it, touches nothing, and takes it back at the end.
    assert_eq!(store.migrate(now()).await.unwrap(), 0);
    assert_eq!(store.standing(now()).await.unwrap(), Standing { applied: 3, known: 2 });
    house.run("INSERT INTO m (n, more) VALUES (1, 2)").await.unwrap();
    assert_eq!(store.migrate_down(2).await.unwrap(), 1);
    assert_eq!(house.count("SELECT count(*) FROM m").await, 1);
    assert!(house.run("SELECT more FROM m").await.is_err(), "its column is gone");
    assert_eq!(store.migrate_down(2).await.unwrap(), 0);
    assert_eq!(store.migrate(next_schema(2)).await.unwrap(), 1, "and up again");
}

#[tokio::test]
async fn a_schema_that_is_too_new_is_refused_and_left_alone() {
    let house = house(Limits::default()).await;
    let store = &house.store;
    store.migrate(next_schema(3)).await.unwrap();
    let refused = store.migrate(migrations("SELECT 1")).await;
    assert!(matches!(refused, Err(MigrateError::TooNew { applied: 3, known: 2, .. })), "{refused:?}");
    let other = store.standing(migrations("SELECT 2")).await;
    assert!(matches!(other, Err(MigrateError::TooNew { .. })), "another history: {other:?}");
    assert!(
        matches!(store.migrate_down(0).await, Err(MigrateError::TooNew { .. })),
        "there is no way before the first"
    );
    assert_eq!(store.standing(next_schema(3)).await.unwrap(), Standing { applied: 3, known: 3 });
    assert_eq!(next_schema(2).without_way(), [2], "who adds a migration adds a way back");
    assert_eq!(next_schema(3).without_way(), [2, 3], "and lets the version before work on");
}

#[tokio::test]
async fn a_failing_migration_is_an_error_and_leaves_no_half() {
    let house = house(Limits::default()).await;
    let readiness = house.life.readiness("schema");
    let failing = || migrations("INSERT INTO m VALUES (1); SELEKT 1");
    let failed = house.store.migrate_when_up(failing, &readiness, &house.life.shutdown()).await;
    assert!(matches!(failed, Err(MigrateError::Refinery(_))), "{failed:?}");
    assert!(!readiness.is_ready());
    assert_eq!(house.count("SELECT count(*) FROM m").await, 0);
    house.store.migrate(migrations("INSERT INTO m VALUES (1)")).await.unwrap();
}

#[tokio::test]
async fn a_daemon_that_starts_first_migrates_when_the_server_comes() {
    let mut house = house(short()).await;
    house.postgres.kill9().unwrap();
    let readiness = house.life.readiness("schema");
    let (store, shutdown) = (house.store.clone(), house.life.shutdown());
    let migrating = tokio::spawn(async move {
        let done = store.migrate_when_up(|| migrations("SELECT 1"), &readiness, &shutdown).await;
        (done, readiness.is_ready())
    });
    house.postgres.restart().await.unwrap();
    let (done, ready) = migrating.await.unwrap();
    done.unwrap();
    assert!(ready);
}

#[tokio::test]
async fn a_listener_is_told_to_look_at_everything_after_each_connection() {
    let mut house = house(short()).await;
    let mut nudges = house.store.listen(&house.life, &["config"]);
    assert_eq!(next(&mut nudges).await, Nudge::Everything);
    house.run("NOTIFY config, 'tenant 1'").await.unwrap();
    let expected = Nudge::Notified { channel: "config".into(), payload: "tenant 1".into() };
    assert_eq!(next(&mut nudges).await, expected);

    house.postgres.kill9().unwrap();
    house.postgres.restart().await.unwrap();
    assert_eq!(next(&mut nudges).await, Nudge::Everything);
    house.run("NOTIFY config, 'tenant 2'").await.unwrap();
    assert!(matches!(next(&mut nudges).await, Nudge::Notified { payload, .. } if payload == "tenant 2"));
    assert!(house.life.stop(SOON).await);
    assert_eq!(nudges.next().await, None);
}

#[tokio::test]
async fn a_slow_reader_loses_nudges_but_not_the_news() {
    let house = house(Limits::default()).await;
    let mut nudges = house.store.listen(&house.life, &["flood"]);
    assert_eq!(next(&mut nudges).await, Nudge::Everything);
    house.run("DO $$ BEGIN FOR i IN 1..1000 LOOP PERFORM pg_notify('flood', i::text); END LOOP; END $$").await.unwrap();
    // More than the 256 kept ones were sent, so after them comes one order to look at everything.
    let mut notified = 0;
    while next(&mut nudges).await != Nudge::Everything {
        notified += 1;
    }
    assert!((1..1_000).contains(&notified), "{notified}");
}

#[tokio::test]
async fn an_address_the_client_does_not_understand_is_not_repeated() {
    let life = Life::detached("acd", Clock::system());
    let url = Url::parse("postgres://u:cAnArY@h/db?connect_timeout=cAnArY", &["postgres"]).unwrap();
    let error = PgStore::open(&life, &url, Limits::default()).unwrap_err();
    assert!(!format!("{error} {error:?}").contains("cAnArY"));
}

async fn next(nudges: &mut crate::Nudges) -> Nudge {
    tokio::time::timeout(SOON, nudges.next()).await.expect("a nudge in time").expect("not the end")
}

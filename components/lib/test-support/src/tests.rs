//! The fixtures themselves, against the real servers.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::{Folder, PostgresOptions, PrivatePostgres, PrivateRedis, RedisOptions, Spec, free_port, wait_until};

#[test]
fn ports_are_given_once() {
    let ports: BTreeSet<u16> = (0..150).map(|_| free_port()).collect();
    assert_eq!(ports.len(), 150);
    assert!(ports.iter().all(|port| (20_000..32_000).contains(port)));
}

#[tokio::test]
async fn redis_keeps_its_data_over_kill_and_restart() {
    let mut redis = PrivateRedis::start(RedisOptions::default()).await.unwrap();
    let port = redis.port().to_string();
    let folder = Folder::new("cli").unwrap();
    let cli = |args: &[&str]| {
        let log = folder.join("cli.log");
        Spec::new("redis-cli", "redis-cli", log).args(["-p", port.as_str()]).args(args.iter().copied())
    };
    cli(&["SET", "kept", "value-kept"]).run(Duration::from_secs(5)).await.unwrap();
    redis.kill9().unwrap();
    assert!(cli(&["PING"]).run(Duration::from_secs(5)).await.is_err());
    redis.restart().await.unwrap();
    cli(&["GET", "kept"]).run(Duration::from_secs(5)).await.unwrap();
    assert!(std::fs::read_to_string(folder.join("cli.log")).unwrap().contains("value-kept"));
}

#[tokio::test]
async fn redis_asks_for_its_password_and_stands_still_when_paused() {
    let options = RedisOptions { password: Some("swordfish".into()), ..RedisOptions::default() };
    let mut redis = PrivateRedis::start(options).await.unwrap();
    assert!(redis.url().contains(":swordfish@"));
    redis.pause().unwrap();
    let id = redis.process().id();
    let state = || std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap();
    wait_until(Duration::from_secs(5), "a stopped process", async || state().contains(") T ").then_some(())).await;
    redis.resume().unwrap();
}

#[tokio::test]
async fn postgres_keeps_its_data_over_kill_and_restart() {
    let mut postgres = PrivatePostgres::start(PostgresOptions::default()).await.unwrap();
    postgres.create_database("kept").await.unwrap();
    postgres.sql("kept", "CREATE TABLE t (n int PRIMARY KEY); INSERT INTO t VALUES (1)").await.unwrap();
    postgres.kill9().unwrap();
    assert!(postgres.sql("kept", "SELECT 1").await.is_err());
    postgres.restart().await.unwrap();
    let twice = postgres.sql("kept", "INSERT INTO t VALUES (1)").await;
    assert!(twice.unwrap_err().to_string().contains("duplicate key"), "the first row is still there");
}

#[tokio::test]
async fn postgres_asks_for_its_password() {
    let options = PostgresOptions { password: Some("swordfish".into()), ..PostgresOptions::default() };
    let postgres = PrivatePostgres::start(options).await.unwrap();
    postgres.sql("postgres", "SELECT 1").await.unwrap();
    let folder = Folder::new("psql").unwrap();
    let url = postgres.url().replace("swordfish", "wrong");
    let denied = Spec::new("psql", "psql", folder.join("psql.log")).args(["-X", url.as_str(), "-c", "SELECT 1"]);
    let error = denied.run(Duration::from_secs(5)).await.unwrap_err();
    assert!(error.to_string().contains("password authentication failed"), "{error}");
}

#[tokio::test]
async fn nothing_is_left_after_drop() {
    let mut redis = PrivateRedis::start(RedisOptions::default()).await.unwrap();
    let (folder, id) = (redis.folder().path().to_owned(), redis.process().id());
    drop(redis);
    assert!(!folder.exists());
    assert!(!std::path::Path::new(&format!("/proc/{id}")).exists());
}

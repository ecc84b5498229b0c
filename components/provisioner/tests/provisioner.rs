//! The provisioner in process, with a real PostgreSQL, a real Redis and a real Asterisk (RINGDOWN_ASTERISK_ROOT).

#![expect(clippy::unwrap_used, reason = "a test that cannot go on stops")]

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use ringdown_domain::TenantId;
use ringdown_env_config::{Secret, Url};
use ringdown_provisioner::{AsteriskConfig, Config, Duties, bind};
use ringdown_redis_store::{ConfigReader, ConfigWriter, RedisOptions, RedisPool, StoreMetrics};
use ringdown_service::{Clock, Life};
use ringdown_test_support::{
    Folder, PostgresOptions, PrivatePostgres, PrivateRedis, Process, RedisOptions as PrivateRedisOptions, Spec,
    free_address, free_port, http_get, wait_until,
};

const LIMIT: Duration = Duration::from_secs(20);
/// The web API's migrations, in their order.
const SCHEMA: [&str; 4] = [
    include_str!("../../web-api/migrations/V1__configuration.sql"),
    include_str!("../../web-api/migrations/V2__generations_and_sources.sql"),
    include_str!("../../web-api/migrations/V3__numbers_and_busy_limit.sql"),
    include_str!("../../web-api/migrations/V4__outbound_and_recording.sql"),
];
const ARI_PASSWORD: &str = "0123456789abcdef0123";

struct House {
    postgres: PrivatePostgres,
    redis: PrivateRedis,
    pool: RedisPool,
    reader: ConfigReader,
    life: Life,
    address: SocketAddr,
    tenant: TenantId,
}

impl House {
    async fn build(asterisk: Option<AsteriskConfig>) -> Self {
        let postgres = PrivatePostgres::start(PostgresOptions::default()).await.unwrap();
        for migration in SCHEMA {
            postgres.sql("postgres", migration).await.unwrap();
        }
        let redis = PrivateRedis::start(PrivateRedisOptions::default()).await.unwrap();
        let life = Life::detached("provisioner", Clock::system());
        let config = Config {
            listen: free_address(),
            redis: Url::parse(&redis.url(), &["redis"]).unwrap(),
            postgres: Url::parse(&postgres.url(), &["postgres"]).unwrap(),
            duties: Duties { compile: true, render: asterisk.is_some() },
            look_every: Duration::from_millis(500),
            keep_old: Duration::from_secs(60),
            asterisk,
        };
        let bound = bind(config, &life).await.unwrap();
        let pool = RedisPool::new(RedisOptions::from_url(&redis.url()).unwrap(), StoreMetrics::default());
        let reader = ConfigReader::new(pool.clone(), "test", "test".to_owned());
        let tenant = TenantId::from_parts(7, &[7; 10]);
        Self { postgres, redis, pool, reader, life, address: bound.address, tenant }
    }

    async fn sql(&self, statements: &str) {
        let statements = statements.replace("$T", &format!("'{}'", self.tenant));
        self.postgres.sql("postgres", &statements).await.unwrap();
    }

    async fn add_tenant(&self) {
        self.sql(
            "BEGIN;
             INSERT INTO tenants (id, name, realm) VALUES ($T, 'Demo', 'demo.invalid');
             INSERT INTO skills (tenant_id, name) SELECT $T, name FROM unnest(ARRAY['English', 'Support']) AS name;
             INSERT INTO agents (id, tenant_id, name)
                 SELECT ('00000000-0000-7000-8000-' || lpad(n::text, 12, '0'))::uuid, $T, 'Agent ' || n
                 FROM generate_series(1, 50) AS n;
             INSERT INTO agent_skills (tenant_id, agent_id, skill, level) SELECT $T, id, 'English', 5 FROM agents;
             COMMIT;",
        )
        .await;
    }

    /// Waits until a version is in force that `accept` likes.
    async fn version(&self, what: &str, accept: impl Fn(&ringdown_events::CompiledConfig) -> bool) -> u64 {
        wait_until(LIMIT, what, async || {
            let config = self.reader.read(self.tenant).await.ok()??;
            accept(&config).then_some(config.meta.version)
        })
        .await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_in_force_at_once_and_a_removal_too() {
    let house = House::build(None).await;
    house.add_tenant().await;
    house.version("the first version", |config| config.agents.len() == 50 && config.skills.len() == 2).await;
    house.sql("DELETE FROM skills WHERE tenant_id = $T AND name = 'English'").await;
    house.version("the skill is gone everywhere", |config| config.agents.values().all(|a| a.skills.is_empty())).await;
    let status = http_get(house.address, "/status").await.unwrap();
    assert!(status.body.contains(&house.tenant.to_string()), "{}", status.body);
    house.sql("DELETE FROM tenants").await;
    wait_until(LIMIT, "the tenant is gone", async || {
        house.reader.read(house.tenant).await.unwrap().is_none().then_some(())
    })
    .await;
    assert!(house.reader.tenants().await.unwrap().is_empty());
    assert!(house.life.stop(LIMIT).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_never_see_a_missing_or_mixed_version() {
    let house = House::build(None).await;
    house.add_tenant().await;
    house.version("the first version", |config| config.agents.len() == 50).await;
    let (reader, tenant) = (house.reader.clone(), house.tenant);
    let (stop, mut stopped) = tokio::sync::oneshot::channel::<()>();
    // Every regeneration renames all agents alike, so a mixed version would show two names.
    let hammer = tokio::spawn(async move {
        let (mut looks, mut last) = (0_u64, 0);
        while stopped.try_recv().is_err() {
            let config = reader.read(tenant).await.expect("a version can be read").expect("a version is in force");
            let names: std::collections::BTreeSet<_> =
                config.agents.values().map(|a| a.name.as_str().to_owned()).collect();
            assert!(names.len() == 1 || config.meta.version <= 8, "a mixed version: {names:?}");
            assert_eq!(config.agents.len(), 50, "a version with a part missing");
            assert!(config.meta.version >= last, "versions only grow");
            last = config.meta.version;
            looks += 1;
        }
        looks
    });
    house.sql("UPDATE agents SET name = 'Generation 0'").await;
    // A tenant rests between compilations, so each generation takes several compilations' time.
    for generation in 1..=50 {
        house.sql(&format!("UPDATE agents SET name = 'Generation {generation}'")).await;
        let name = format!("Generation {generation}");
        house.version("the newest generation", |c| c.agents.values().all(|a| a.name.as_str() == name)).await;
    }
    stop.send(()).unwrap();
    assert!(hammer.await.unwrap() > 100, "the reader really hammered");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_version_is_one_flip_away() {
    let house = House::build(None).await;
    house.add_tenant().await;
    let old = house.version("the first version", |config| config.agents.len() == 50).await;
    // The provisioner would follow PostgreSQL again: an operator stops it before rolling back.
    house.sql("DELETE FROM agents").await;
    let new = house.version("no agents", |config| config.agents.is_empty()).await;
    assert!(house.life.stop(LIMIT).await);
    let before = house.reader.read_version(house.tenant, old).await.unwrap();
    let started = Instant::now();
    ConfigWriter::new(house.pool.clone()).flip(&before, Some(new)).await.unwrap();
    assert!(started.elapsed() < Duration::from_secs(1));
    assert_eq!(house.reader.read(house.tenant).await.unwrap().unwrap().agents.len(), 50);
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_that_lost_everything_is_filled_again_and_postgres_may_be_away() {
    let mut house = House::build(None).await;
    house.add_tenant().await;
    house.version("the first version", |config| config.agents.len() == 50).await;
    house.postgres.kill9().unwrap();
    // What is in force stays in force, and the provisioner says what it waits for.
    wait_until(LIMIT, "not ready without PostgreSQL", async || {
        let ready = http_get(house.address, "/readyz").await.ok()?;
        (ready.status == 503 && ready.body.contains("postgres")).then_some(())
    })
    .await;
    assert!(house.reader.read(house.tenant).await.unwrap().is_some());
    house.postgres.restart().await.unwrap();
    let flush = ringdown_redis_store::redis::cmd("FLUSHALL");
    let _: String = house.pool.run("flush", ringdown_redis_store::Retry::Safe, &flush).await.unwrap();
    house.version("filled again", |config| config.agents.len() == 50).await;
    house.redis.kill9().unwrap();
    house.redis.restart().await.unwrap();
    house.sql("DELETE FROM agents").await;
    house.version("Redis was restarted", |config| config.agents.is_empty()).await;
}

/// A real Asterisk that follows what is rendered for it.
struct Asterisk {
    folder: Folder,
    config: AsteriskConfig,
    process: Option<Process>,
}

impl Asterisk {
    fn plan() -> Self {
        let folder = Folder::new("asterisk").unwrap();
        let rtp = free_port() / 2 * 2;
        let config = AsteriskConfig {
            folder: folder.path().to_owned(),
            inside: "/srv".to_owned(),
            modules: "/usr/lib/x86_64-linux-gnu/asterisk/modules".to_owned(),
            sip: free_address(),
            registrar: free_address(),
            http: free_address(),
            acd: Some(Url::parse(&format!("ws://{}/ari", free_address()), &["ws"]).unwrap()),
            ari_user: "ringdown".to_owned(),
            ari_password: Secret::new(ARI_PASSWORD),
            rtp_ports: (rtp, rtp + 100),
        };
        Self { folder, config, process: None }
    }

    fn start(&mut self) {
        let root = std::env::var("RINGDOWN_ASTERISK_ROOT").expect(
            "RINGDOWN_ASTERISK_ROOT names the Asterisk root: tests/run sets it (provisioning/asterisk_root makes it)",
        );
        let run = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../provisioning/asterisk_run");
        let spec = Spec::new("asterisk", run, self.folder.join("asterisk.out"))
            .arg(root)
            .arg(self.folder.path())
            .arg("voice-test");
        self.process = Some(spec.start().unwrap());
    }

    /// All that it wrote.
    fn said(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(self.folder.join("asterisk.out")).unwrap()).into_owned()
    }

    async fn get(&self, path: &str) -> Option<(u16, String)> {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let url = format!("http://{}/ari{path}", self.config.http);
        let answer = client.get(url).basic_auth("ringdown", Some(ARI_PASSWORD)).send().await.ok()?;
        Some((answer.status().as_u16(), answer.text().await.ok()?))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn asterisk_starts_with_what_is_rendered_and_follows_changes() {
    let mut asterisk = Asterisk::plan();
    let house = House::build(Some(asterisk.config.clone())).await;
    wait_until(LIMIT, "files are written", async || asterisk.folder.join("etc/pjsip.conf").exists().then_some(()))
        .await;
    asterisk.start();
    wait_until(LIMIT, "ARI answers", async || {
        let (status, _) = asterisk.get("/asterisk/info").await?;
        (status == 200).then_some(())
    })
    .await;
    house.add_tenant().await;
    house
        .sql(
            "INSERT INTO trunks (id, tenant_id, name, sources, capacity)
             VALUES ('00000000-0000-7000-8000-0000000000aa', $T, 'Carrier', ARRAY['192.0.2.7'], 30)",
        )
        .await;
    let trunk = "/asterisk/config/dynamic/res_pjsip/endpoint/trunk-00000000-0000-7000-8000-0000000000aa";
    wait_until(LIMIT, "the trunk is an endpoint", async || (asterisk.get(trunk).await?.0 == 200).then_some(())).await;
    let (_, listed) = asterisk.get("/endpoints").await.unwrap();
    assert!(listed.contains("trunk-00000000"), "the channel driver knows it too: {listed}");
    // Another tenant names the same source: only that trunk is left out, and its tenant is told.
    let other = TenantId::from_parts(8, &[8; 10]);
    house
        .sql(&format!(
            // As a row of an older version: today the database refuses it.
            "ALTER TABLE trunks DISABLE TRIGGER trunks_sources_inserted, DISABLE TRIGGER trunks_sources_updated;
             INSERT INTO tenants (id, name, realm) VALUES ('{other}', 'Other', 'other.invalid');
             INSERT INTO trunks (id, tenant_id, name, sources, capacity)
             VALUES ('00000000-0000-7000-8000-0000000000bb', '{other}', 'Thief', ARRAY['192.0.2.0/24'], 30)"
        ))
        .await;
    let reported = async |tenant: TenantId| {
        let mut cmd = ringdown_redis_store::redis::cmd("HGET");
        cmd.arg(format!("config:status:{}", house.life.node().as_str())).arg(format!("asterisk/{tenant}"));
        let text: Option<String> = house.pool.run("test", ringdown_redis_store::Retry::Safe, &cmd).await.ok()?;
        serde_json::from_str::<serde_json::Value>(&text?).ok()
    };
    wait_until(LIMIT, "the trunk at fault is reported", async || {
        reported(other).await?["error"].as_str()?.contains("overlaps").then_some(())
    })
    .await;
    house.sql("UPDATE trunks SET sources = ARRAY['192.0.2.9'] WHERE tenant_id = $T").await;
    let version = house
        .version("the change is compiled", |config| {
            config.trunks.values().next().is_some_and(|trunk| trunk.sources == ["192.0.2.9"])
        })
        .await;
    wait_until(LIMIT, "a change of the first tenant's trunk reaches Asterisk all the same", async || {
        let report = reported(house.tenant).await?;
        (report["version"] == version && report["error"].is_null()).then_some(())
    })
    .await;
    let rendered = std::fs::read_to_string(asterisk.folder.join("etc/pjsip.conf")).unwrap();
    assert!(rendered.contains("192.0.2.9") && !rendered.contains("0000000000bb"), "{rendered}");
    house.sql("DELETE FROM trunks").await;
    wait_until(LIMIT, "the trunk is gone again", async || (asterisk.get(trunk).await?.0 == 404).then_some(())).await;
    let log = asterisk.said();
    assert!(!asterisk.folder.join("log/messages").exists(), "no file that nobody keeps short");
    let bad: Vec<&str> = log.lines().filter(|line| line.contains("ERROR") || line.contains("WARNING")).collect();
    // Nobody waits for the websocket in this test.
    let ours: Vec<&&str> = bad.iter().filter(|line| !line.to_lowercase().contains("websocket")).collect();
    assert!(ours.is_empty(), "Asterisk complains: {ours:#?}");
}

/// What a stranger writes, beside terminal escapes.
const MARK: &str = "stranger-was-here";

/// What becomes of datagrams of a stranger at Asterisk's SIP port.
#[tokio::test(flavor = "multi_thread")]
async fn strangers_get_one_answer_from_asterisk_and_no_line_in_its_log() {
    let mut asterisk = Asterisk::plan();
    let house = House::build(Some(asterisk.config.clone())).await;
    wait_until(LIMIT, "files are written", async || asterisk.folder.join("etc/pjsip.conf").exists().then_some(()))
        .await;
    asterisk.start();
    wait_until(LIMIT, "Asterisk answers", async || {
        asterisk.get("/asterisk/info").await.filter(|(status, _)| *status == 200)
    })
    .await;
    let stranger = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let sip = asterisk.config.sip;
    let methods = ["OPTIONS", "INVITE", "REGISTER", "SUBSCRIBE", "MESSAGE", "REFER", "NONSENSE"];
    let request = |method: &str, number: usize| {
        format!(
            "{method} sip:100@{sip} SIP/2.0\r\nVia: SIP/2.0/UDP {0};branch=z9hG4bKs{number};rport\r\nMax-Forwards: 70\r\n\
             From: \"\u{1b}[31m{MARK}\" <sip:{MARK}@{0}>;tag=1\r\nTo: <sip:100@{sip}>\r\nCall-ID: s{number}\r\n\
             CSeq: 1 {method}\r\nContact: <sip:a@{0}>\r\nUser-Agent: \u{1b}[1m\r\nContent-Length: 0\r\n\r\n",
            stranger.local_addr().unwrap()
        )
    };
    let mut buffer = [0; 4_096];
    // An INVITE is answered once: nothing is repeated to who may not have sent it.
    stranger.send_to(request("INVITE", 0).as_bytes(), sip).await.unwrap();
    let (length, _) = tokio::time::timeout(LIMIT, stranger.recv_from(&mut buffer)).await.unwrap().unwrap();
    assert!(buffer[..length].starts_with(b"SIP/2.0 401 "), "{}", String::from_utf8_lossy(&buffer[..length]));
    let second = tokio::time::timeout(Duration::from_secs(2), stranger.recv_from(&mut buffer)).await;
    assert!(second.is_err(), "an answer is repeated");

    let before = asterisk.said();
    let mut pace = tokio::time::interval(Duration::from_millis(10));
    // 3,000 datagrams a second for three seconds, every fifth of them broken.
    for round in 0..300_usize {
        pace.tick().await;
        for number in 0..30_usize {
            let number = 1 + round * 30 + number;
            let text = request(methods[number % methods.len()], number);
            let length = if number.is_multiple_of(5) { text.len() * (number % 97) / 97 } else { text.len() };
            stranger.send_to(&text.as_bytes()[..length], sip).await.ok();
        }
    }
    wait_until(LIMIT, "Asterisk is alive afterwards", async || {
        asterisk.get("/asterisk/info").await.filter(|(status, _)| *status == 200)
    })
    .await;
    let log = asterisk.said();
    let added = &log[before.len()..];
    assert!(!added.contains(MARK), "what a stranger wrote is in the log: {added}");
    assert!(added.len() < 4_096, "the log grew by {} bytes: {added}", added.len());
    drop(asterisk);
    assert!(house.life.stop(LIMIT).await);
}

//! A tenant with agents, its Redis and acd processes, for the suites of the router duty.

pub mod clerks;
pub mod ledger;
pub mod load;
pub mod office;
pub mod peer;
pub mod random;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context, bail};
use futures_util::StreamExt;
use ringdown_domain::{
    AgentId, AgentStatus, CommandId, Delivery, InteractionId, Media, SkillName, SkillRequirement, TenantId, TimestampMs,
};
use ringdown_events::{AgentConfig, Command, CompiledConfig, ConfigMeta, NewInteraction, Outcome};
use ringdown_redis_store::{
    Answer, CommandClient, ConfigWriter, RedisOptions as StoreOptions, RedisPool, StoreMetrics, keys, redis,
};
use ringdown_test_support::{Appendfsync, Daemon, PrivateRedis, RedisOptions, wait_until, workspace_binary};
use uuid::Uuid;

use office::Office;
use random::Random;

/// How long an answer is asked for, again and again under the same id, before a test gives up.
pub const PATIENCE: Duration = Duration::from_secs(20);
/// The number of skills in every tenant here.
pub const SKILLS: usize = 20;
/// Skills per agent.
pub const SKILLS_PER_AGENT: usize = 5;

/// Everything a suite starts.
pub struct World {
    pub redis: tokio::sync::Mutex<PrivateRedis>,
    redis_url: String,
    pub pool: RedisPool,
    pub tenant: TenantId,
    pub client: CommandClient,
    /// Who works here, and with which skills at first.
    pub agents: Vec<(AgentId, Vec<SkillName>)>,
}

/// What a world is made of.
pub struct Shape {
    pub agents: usize,
    pub fsync: Appendfsync,
    pub seed: u64,
}

impl World {
    /// Redis with a configuration in force; no acd yet.
    pub async fn new(shape: &Shape) -> anyhow::Result<Self> {
        let mut random = Random::new(shape.seed);
        let agents: Vec<_> =
            (0..shape.agents).map(|_| (AgentId(Uuid::now_v7()), random.skills(SKILLS_PER_AGENT))).collect();
        let tenant = TenantId(Uuid::now_v7());
        let world = Self::around(start_redis(shape.fsync).await?, tenant, agents)?;
        let config = configuration(tenant, &world.agents);
        let writer = ConfigWriter::new(world.pool.clone());
        writer.write(&config).await?;
        writer.flip(&config, None).await?;
        Ok(world)
    }

    /// The same, with the configuration on its whole way: API, PostgreSQL, provisioner.
    pub async fn with_office(shape: &Shape) -> anyhow::Result<(Self, Office)> {
        let redis = start_redis(shape.fsync).await?;
        let (office, agents) = Office::open(&redis.url(), shape).await?;
        let world = Self::around(redis, office.tenant, agents)?;
        office.wait_in_force(&world.pool, PATIENCE).await;
        Ok((world, office))
    }

    fn around(redis: PrivateRedis, tenant: TenantId, agents: Vec<(AgentId, Vec<SkillName>)>) -> anyhow::Result<Self> {
        let redis_url = redis.url();
        let mut options = StoreOptions::from_url(&redis_url)?;
        options.max_connections = 32;
        let pool = RedisPool::new(options, StoreMetrics::default());
        let (client, tail) = CommandClient::new(pool.clone(), format!("suite-{}", Uuid::now_v7()));
        tokio::spawn(tail.run(std::future::pending()));
        Ok(Self { redis: tokio::sync::Mutex::new(redis), redis_url, pool, tenant, client, agents })
    }

    /// Starts an acd with the router duty; does not wait.
    pub fn start_acd(&self, variables: &[(&str, &str)]) -> anyhow::Result<Daemon> {
        let program = workspace_binary("ringdown-acd")?;
        let mut builder = Daemon::builder(program)?
            .env("RINGDOWN_REDIS_URL", &self.redis_url)
            .env("RINGDOWN_ACD_DUTIES", "router")
            .env("RINGDOWN_NODE_NAME", "suite");
        for (name, value) in variables {
            builder = builder.env(*name, *value);
        }
        builder.start()
    }

    /// Where Redis is.
    #[must_use]
    pub fn redis_url(&self) -> &str {
        &self.redis_url
    }

    /// SIGKILL for Redis, which stays away for a while and comes back with its data.
    ///
    /// # Errors
    /// It does not come back.
    pub async fn redis_killed_for(&self, away: Duration) -> anyhow::Result<()> {
        let mut redis = self.redis.lock().await;
        redis.kill9()?;
        tokio::time::sleep(away).await;
        redis.restart().await
    }

    /// Makes every agent ready, as many at once as `at_once`.
    pub async fn ready_all(&self, at_once: usize) -> anyhow::Result<()> {
        let all = futures_util::stream::iter(self.agents.iter().map(|(agent, _)| self.ready(*agent)));
        let results: Vec<_> = all.buffer_unordered(at_once).collect().await;
        results.into_iter().collect()
    }

    /// Makes one agent ready.
    pub async fn ready(&self, agent: AgentId) -> anyhow::Result<()> {
        let outcome = self.ask(Command::SetAgentStatus { agent, status: AgentStatus::Ready }).await?;
        outcome.result.map(drop).map_err(|refusal| anyhow::anyhow!("{agent} is not ready: {refusal:?}"))
    }

    /// Asks until there is an outcome, always under the same id.
    pub async fn ask(&self, command: Command) -> anyhow::Result<Outcome> {
        self.ask_as(CommandId(Uuid::now_v7()), command).await
    }

    /// As [`World::ask`], under a given id.
    pub async fn ask_as(&self, id: CommandId, command: Command) -> anyhow::Result<Outcome> {
        let started = std::time::Instant::now();
        while started.elapsed() < PATIENCE {
            match self.client.send_as(self.tenant, id, command.clone()).await {
                Ok(Answer::Outcome(outcome)) => return Ok(outcome),
                Ok(Answer::Unknown { .. }) => {}
                Err(error) if error.is_passing() => tokio::time::sleep(Duration::from_millis(50)).await,
                Err(error) => return Err(error).context("asking the router"),
            }
        }
        bail!("no outcome of {command:?} within {PATIENCE:?}")
    }

    /// The process id in the lease; none when nobody holds it.
    pub async fn holder(&self) -> Option<u32> {
        let mut cmd = redis::cmd("GET");
        cmd.arg(keys::router_lease(self.tenant));
        let value: Option<String> = self.query(&cmd).await.ok()?;
        value?.split('/').nth(1)?.parse().ok()
    }

    /// Waits until somebody holds the lease.
    pub async fn wait_holder(&self, limit: Duration) -> u32 {
        wait_until(limit, "a router with the lease", async || self.holder().await).await
    }

    /// One command on Redis.
    pub async fn query<T: redis::FromRedisValue>(&self, cmd: &redis::Cmd) -> anyhow::Result<T> {
        Ok(self.pool.run("suite", ringdown_redis_store::Retry::Safe, cmd).await?)
    }

    /// Waits until the router has committed every command in the stream.
    pub async fn wait_at_rest(&self, limit: Duration) {
        let stream = keys::commands(self.tenant);
        wait_until(limit, "the router at the end of the command stream", async || {
            let newest: Vec<(String, Vec<String>)> = {
                let mut cmd = redis::cmd("XREVRANGE");
                cmd.arg(&stream).arg("+").arg("-").arg("COUNT").arg(1);
                self.query(&cmd).await.ok()?
            };
            let mut cmd = redis::cmd("HGET");
            cmd.arg(keys::router(self.tenant)).arg("position");
            let position: Option<String> = self.query(&cmd).await.ok()?;
            // The stream is trimmed behind the position, so an empty one is at rest too.
            newest.first().is_none_or(|(id, _)| Some(id) == position.as_ref()).then_some(())
        })
        .await;
    }
}

/// As the product's Redis is set up: a rewrite of the append-only file forks and takes a core for seconds, so it waits until
/// the file is worth it; its data need no compression.
async fn start_redis(appendfsync: Appendfsync) -> anyhow::Result<PrivateRedis> {
    let directive = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let directives = vec![directive("auto-aof-rewrite-min-size", "2gb"), directive("rdbcompression", "no")];
    PrivateRedis::start(RedisOptions { appendfsync, directives, ..Default::default() }).await
}

/// A command that creates an interaction.
pub fn new_interaction(id: InteractionId, delivery: Delivery, needs: &[SkillName]) -> Command {
    let requirements = needs.iter().cloned().map(|skill| SkillRequirement { skill, min_level: Default::default() });
    Command::CreateInteraction(NewInteraction {
        id,
        media: if delivery == Delivery::Ring { Media::Voice } else { Media::Task },
        delivery,
        queue: None,
        requirements: requirements.collect(),
        priority: None,
        caller: None,
        called: None,
        node: (delivery == Delivery::Ring).then(|| "voice-1".parse().expect("a node's name")),
        attributes: BTreeMap::new(),
        arrived_at_ms: None,
    })
}

/// The name of the skill with a number.
pub fn skill(number: usize) -> SkillName {
    format!("skill{number:02}").parse().expect("a skill's name")
}

fn configuration(tenant: TenantId, agents: &[(AgentId, Vec<SkillName>)]) -> CompiledConfig {
    let agent = |(id, skills): &(AgentId, Vec<SkillName>)| {
        let skills = skills.iter().cloned().map(|skill| (skill, Default::default())).collect();
        let name = format!("Agent {id}").parse().expect("a name");
        (*id, AgentConfig { id: *id, name, skills, sip_user: None })
    };
    CompiledConfig {
        meta: ConfigMeta {
            tenant,
            name: "Suite".parse().expect("a name"),
            realm: "suite.example".to_owned(),
            version: 1,
            compiled_at_ms: TimestampMs(1),
            counts: BTreeMap::new(),
            outbound: Vec::new(),
        },
        skills: (0..SKILLS).map(skill).collect::<BTreeSet<_>>(),
        agents: agents.iter().map(agent).collect(),
        queues: BTreeMap::new(),
        routes: BTreeMap::new(),
        trunks: BTreeMap::new(),
        credentials: BTreeMap::new(),
    }
}

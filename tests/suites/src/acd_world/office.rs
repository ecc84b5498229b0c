//! Where a tenant's configuration is made: PostgreSQL, web-api and provisioner, and the API as its user sees it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use futures_util::StreamExt;
use reqwest::Method;
use ringdown_domain::{AgentId, SkillName, TenantId};
use ringdown_events::AgentConfig;
use ringdown_redis_store::{ConfigReader, RedisPool, snapshot};
use ringdown_test_support::{Daemon, PostgresOptions, PrivatePostgres, free_address, wait_until};
use serde_json::{Value, json};

use super::random::Random;
use super::{PATIENCE, SKILLS, SKILLS_PER_AGENT, Shape, skill};
use crate::installation::{PASSWORD, describe, init_admin};

/// The API ends every request by itself within 30 s; what is later than this hangs.
const REQUEST_LIMIT: Duration = Duration::from_secs(31);
/// Agents founded at once; they take turns at the tenant's revision anyway.
const AT_ONCE: usize = 8;
/// The API's largest page.
const PAGE: usize = 500;

/// PostgreSQL with the daemons around it, and one tenant.
pub struct Office {
    /// The tenant, made through the API.
    pub tenant: TenantId,
    /// What the tenant was founded with.
    pub founded: View,
    postgres: tokio::sync::Mutex<PrivatePostgres>,
    client: reqwest::Client,
    api: String,
    token: String,
    _daemons: [Daemon; 2],
}

/// Which skills and agents a tenant has, from wherever it is read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    pub skills: BTreeSet<SkillName>,
    pub agents: BTreeMap<AgentId, AgentConfig>,
}

impl View {
    /// What this view has and the other lacks or has otherwise.
    #[must_use]
    pub fn without(&self, other: &Self) -> Vec<String> {
        let skills = self.skills.difference(&other.skills).map(|skill| format!("skill {skill}"));
        let agents = self.agents.values().filter(|agent| other.agents.get(&agent.id) != Some(agent));
        skills.chain(agents.map(|agent| format!("{agent:?}"))).collect()
    }
}

/// An answer of the API.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub body: Value,
    /// A problem document that says when to come back.
    pub is_clear_refusal: bool,
    /// The answer of an earlier request with the same key.
    pub is_replay: bool,
}

/// A request below the tenant's address.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: Method,
    pub path: String,
    pub body: Option<Value>,
    /// Whether the answer comes only when the router runs the change.
    pub waits: bool,
}

/// How PostgreSQL dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Death {
    /// The postmaster alone; its children notice and end by themselves.
    Postmaster,
    /// All of its processes at one moment.
    Whole,
}

impl Office {
    /// Starts it all, and makes a tenant with skills and agents through the API. Gives the agents with their skills.
    pub async fn open(redis_url: &str, shape: &Shape) -> anyhow::Result<(Self, Vec<(AgentId, Vec<SkillName>)>)> {
        let postgres = PrivatePostgres::start(PostgresOptions { fsync: true, ..Default::default() }).await?;
        init_admin(&postgres.url()).await?;
        let daemon = |name| describe(name, redis_url, &postgres.url(), free_address())?.start();
        let mut daemons = [daemon("web-api")?, daemon("provisioner")?];
        for daemon in &mut daemons {
            daemon.wait_ready(PATIENCE).await?;
        }
        let mut office = Self {
            tenant: TenantId(uuid::Uuid::nil()),
            founded: View::default(),
            postgres: tokio::sync::Mutex::new(postgres),
            client: reqwest::Client::builder().no_proxy().timeout(REQUEST_LIMIT).build()?,
            api: format!("http://{}/api/v1", daemons[0].admin()),
            token: String::new(),
            _daemons: daemons,
        };
        office.found().await?;
        let agents = office.hire_all(shape).await?;
        Ok((office, agents))
    }

    async fn found(&mut self) -> anyhow::Result<()> {
        let log_in = json!({ "login": "admin", "password": PASSWORD });
        let token = self.made("/sessions", log_in).await?;
        self.token = token["token"].as_str().context("a log-in has a token")?.to_owned();
        let tenant = self.made("/tenants", json!({ "name": "Suite", "realm": "suite.example" })).await?;
        self.tenant = serde_json::from_value(tenant["id"].clone()).context("a tenant has an id")?;
        for number in 0..SKILLS {
            self.made(&self.of_tenant("skills"), json!({ "name": skill(number) })).await?;
            self.founded.skills.insert(skill(number));
        }
        Ok(())
    }

    async fn hire_all(&mut self, shape: &Shape) -> anyhow::Result<Vec<(AgentId, Vec<SkillName>)>> {
        let mut random = Random::new(shape.seed);
        let skills: Vec<_> = (0..shape.agents).map(|_| random.skills(SKILLS_PER_AGENT)).collect();
        let this = &*self;
        let hire = async |(number, skills): (usize, &Vec<SkillName>)| -> anyhow::Result<AgentConfig> {
            let skills: BTreeMap<_, _> = skills.iter().map(|skill| (skill, 1)).collect();
            let agent = json!({ "name": format!("Agent {number}"), "skills": skills });
            Ok(serde_json::from_value(this.made(&this.of_tenant("agents"), agent).await?)?)
        };
        let hired: Vec<_> = skills.iter().enumerate().map(hire).collect();
        let hired: Vec<_> = futures_util::stream::iter(hired).buffered(AT_ONCE).collect().await;
        let hired = hired.into_iter().collect::<anyhow::Result<Vec<_>>>()?;
        let agents = hired.iter().zip(skills).map(|(agent, skills)| (agent.id, skills)).collect();
        self.founded.agents = hired.into_iter().map(|agent| (agent.id, agent)).collect();
        Ok(agents)
    }

    /// Waits until the provisioner has put what was founded in force.
    pub async fn wait_in_force(&self, pool: &RedisPool, limit: Duration) {
        wait_until(limit, "the founded tenant in force", async || {
            (self.in_force(pool).await.ok()? == self.founded).then_some(())
        })
        .await;
    }

    /// SIGKILL for PostgreSQL.
    pub async fn kill_postgres(&self, death: Death) -> anyhow::Result<()> {
        let mut postgres = self.postgres.lock().await;
        match death {
            Death::Postmaster => postgres.kill9(),
            Death::Whole => postgres.kill9_all(),
        }
    }

    /// Starts PostgreSQL again on its data and waits until it answers.
    pub async fn restart_postgres(&self) -> anyhow::Result<()> {
        self.postgres.lock().await.restart().await
    }

    /// Asks the API for a change under a key.
    ///
    /// # Errors
    /// There was no answer.
    pub async fn ask(&self, request: &Request, key: &str) -> anyhow::Result<Answer> {
        let url = format!("{}{}", self.api, self.of_tenant(&request.path));
        let mut asking = self.client.request(request.method.clone(), url).header("Idempotency-Key", key);
        if !request.waits {
            asking = asking.header("Prefer", "respond-async");
        }
        if let Some(body) = &request.body {
            asking = asking.json(body);
        }
        answer(asking.bearer_auth(&self.token)).await
    }

    /// The configuration as the API shows it, which is PostgreSQL's.
    pub async fn written(&self) -> anyhow::Result<View> {
        let skills = self.list("skills").await?.into_iter().map(|skill| skill["name"].clone());
        let agents = self.list("agents").await?.into_iter().map(serde_json::from_value::<AgentConfig>);
        let agents = agents.map(|agent| agent.map(|agent| (agent.id, agent)));
        Ok(View {
            skills: skills.map(serde_json::from_value).collect::<Result<_, _>>()?,
            agents: agents.collect::<Result<_, _>>()?,
        })
    }

    /// The configuration as the provisioner compiled it into Redis.
    pub async fn in_force(&self, pool: &RedisPool) -> anyhow::Result<View> {
        let reader = ConfigReader::new(pool.clone(), "suite", "suite".to_owned());
        let config = reader.read(self.tenant).await?.context("a configuration is in force")?;
        Ok(View { skills: config.skills, agents: config.agents })
    }

    /// The agents as the router runs them, with the skills of the version in force.
    pub async fn running(&self, pool: &RedisPool) -> anyhow::Result<View> {
        let state = snapshot::read(pool, self.tenant).await?;
        let skills = self.in_force(pool).await?.skills;
        let agent = |agent: ringdown_events::AgentRecord| {
            (agent.id, AgentConfig { id: agent.id, name: agent.name, skills: agent.skills, sip_user: None })
        };
        Ok(View { skills, agents: state.agents.into_iter().map(agent).collect() })
    }

    async fn list(&self, what: &str) -> anyhow::Result<Vec<Value>> {
        let mut items = Vec::new();
        let mut cursor = String::new();
        loop {
            let url = format!("{}{}?limit={PAGE}{cursor}", self.api, self.of_tenant(what));
            let page = answer(self.client.get(url).bearer_auth(&self.token)).await?;
            ensure!(page.status == 200, "listing {what}: {page:?}");
            items.extend(page.body["items"].as_array().context("a page has items")?.iter().cloned());
            match page.body["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return Ok(items),
            }
        }
    }

    async fn made(&self, path: &str, body: Value) -> anyhow::Result<Value> {
        let request = self.client.post(format!("{}{path}", self.api)).header("Prefer", "respond-async").json(&body);
        let answer = answer(request.bearer_auth(&self.token)).await?;
        ensure!(answer.status == 201, "{path}: {answer:?}");
        Ok(answer.body)
    }

    fn of_tenant(&self, path: &str) -> String {
        format!("/tenants/{}/{path}", self.tenant)
    }
}

async fn answer(request: reqwest::RequestBuilder) -> anyhow::Result<Answer> {
    let asked = Instant::now();
    let answer = request.send().await.with_context(|| format!("no answer after {:?}", asked.elapsed()))?;
    let header = |name: &str| answer.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let says_when = header("retry-after").parse::<u64>().is_ok();
    let is_clear_refusal = says_when && header("content-type") == "application/problem+json";
    let (status, is_replay) = (answer.status().as_u16(), !header("idempotency-replayed").is_empty());
    let text = answer.text().await?;
    let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
    Ok(Answer { status, body, is_clear_refusal, is_replay })
}

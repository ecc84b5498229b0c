//! The whole house: two load balancers, two application hosts, two data hosts, and one voice host that is also the third of Redis.
//! Callers, agents, clients of the API and writers of the stores are at work all the time, while anything fails.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use ringdown_appliance::fleet::{BRIDGE_ADDRESS, Fleet, Host, wait_for};
use serde_json::{Value, json};

use crate::cluster::{APP, Cluster, DATA, LB, VIP, address, addresses, assert_healthy, wait_installed};
use crate::faults::{Place, What, fault};
use crate::http::Client;
use crate::ledger::Ledger;
use crate::load::{Load, Paths, Watch, assert_flawless};
use crate::people::{Agent, Caller, Network, PHONE_PASSWORD, Stream};
use crate::stores::{primary, redis_cli, redis_master};
use crate::supervisor::Supervisor;
use crate::writes::{Writer, prepare_postgres};

/// The last of the data hosts' addresses: the third of Redis needs no host of its own.
const VOICE: u8 = DATA[2];
const REALM: &str = "whole.example";
const API_LIMIT: Duration = Duration::from_secs(5);
/// Everything is well again after a fault.
const LIMIT: Duration = Duration::from_secs(90);
const SOON: Duration = Duration::from_secs(20);

/// Hosts by their place in [`Whole::hosts`].
pub(crate) const LBS: [usize; 2] = [0, 1];
pub(crate) const APPS: [usize; 2] = [2, 3];
pub(crate) const POSTGRES: [usize; 2] = [4, 5];
pub(crate) const REDIS: [usize; 3] = [4, 5, 6];
pub(crate) const VOICE_HOST: usize = 6;

/// How many agents take the calls of the stream, and how many talk on through a fault.
const STREAM_AGENTS: usize = 6;
const TALKERS: usize = 3;
const WAITERS: usize = 4;

/// What callers dial.
const STREAM: &str = "100";
const TALK: &str = "200";
const RARE: &str = "300";

pub(crate) fn front() -> SocketAddr {
    SocketAddr::new(VIP.parse().expect("an address"), 8000)
}

fn sip(port: u16) -> SocketAddr {
    SocketAddr::new(address(VOICE).parse().expect("an address"), port)
}

/// All of it.
pub(crate) struct Whole<'a> {
    pub(crate) fleet: &'a Fleet,
    pub(crate) hosts: Vec<Host>,
    network: Network,
    token: String,
    pub(crate) redis: String,
    pub(crate) postgres: String,
    tenant: String,
    paths: Paths,
    stream_agents: Vec<Agent>,
    talk_agents: Vec<Agent>,
    rare_agent: Agent,
    /// Sees to it that agents are ready who were set not ready.
    supervisor: Supervisor,
    pub(crate) stream: Stream,
    pub(crate) ledger: Ledger,
    next: i64,
}

impl<'a> Whole<'a> {
    /// All hosts at the same time, from nothing; then the people.
    pub(crate) fn make(fleet: &'a Fleet) -> anyhow::Result<Self> {
        let cluster = Cluster::new(fleet)?.with_us();
        let hosts = install(&cluster)?;
        let (redis, postgres) = stores(&cluster)?;
        let token = log_in(fleet, &cluster.secret("ADMIN_PASSWORD")?)?;
        prepare_postgres(fleet, &postgres)?;
        let api = Api { fleet, token: &token };
        let centre = Furniture::make(&api)?;
        let network = Network::new(fleet)?;
        let hired = |name: &str, skill: &str, count: usize| -> anyhow::Result<Vec<Agent>> {
            (0..count)
                .map(|number| {
                    let user = format!("{name}{number}");
                    let id = centre.hire(&api, &user, skill)?;
                    Ok(Agent::new(&network, id, &user, sip(5060), REALM))
                })
                .collect()
        };
        let stream_agents = hired("stream", "Stream", STREAM_AGENTS)?;
        let talk_agents = hired("talk", "Talk", TALKERS)?;
        let rare_agent = hired("rare", "Rare", 1)?.pop().context("an agent")?;
        wait_for(SOON, "all phones are registered", || {
            let mut everybody = stream_agents.iter().chain(&talk_agents).chain([&rare_agent]);
            everybody.all(|agent| agent.day().registered).then_some(())
        })?;
        wait_configured(&hosts[VOICE_HOST])?;
        let ready = stream_agents.iter().chain(&talk_agents).map(|agent| agent.id.clone());
        let supervisor = Supervisor::start(fleet, front(), &token, &centre.tenant, ready.collect())?;
        let stream = Stream::start(&network, STREAM, sip(5070));
        let whole = Self {
            fleet,
            hosts,
            network,
            paths: centre.paths(),
            tenant: centre.tenant,
            token,
            redis,
            postgres,
            stream_agents,
            talk_agents,
            rare_agent,
            supervisor,
            stream,
            ledger: Ledger::default(),
            next: 1,
        };
        whole.stream.wait_served_after(Instant::now(), SOON)?;
        whole.settled()?;
        Ok(whole)
    }

    /// Everything is well: all hosts, one holder of the address, all servers up, the stores twofold.
    pub(crate) fn settled(&self) -> anyhow::Result<()> {
        wait_for(LIMIT, "one load balancer has the address", || self.vip_holder())?;
        wait_for(LIMIT, "one Redis is master of two", || redis_master(&self.hosts[REDIS[0]..=REDIS[2]]))?;
        wait_for(LIMIT, "a copy confirms", || primary(&self.hosts[POSTGRES[0]..=POSTGRES[1]]))?;
        for host in &self.hosts {
            wait_for(LIMIT, &format!("{} is healthy", host.name()), || assert_healthy(host).ok())
                .or_else(|_| assert_healthy(host))?;
        }
        for number in LBS {
            let host = &self.hosts[number];
            wait_for(LIMIT, &format!("{} sees all servers", host.name()), || {
                let said = host.sh("/usr/lib/ringdown/front servers").ok()?;
                // Of Redis only the master takes writes.
                let well = |line: &&str| !line.starts_with("redis") && line.contains("DOWN");
                (said.lines().count() >= 6 && said.lines().find(well).is_none()).then_some(())
            })?;
            wait_for(LIMIT, &format!("{} can have the address", host.name()), || {
                let line = "journalctl --boot --unit=keepalived --output=cat | grep -E 'Entering .* STATE|Starting Keepalived' | tail -n 1";
                host.sh(line).ok().filter(|said| said.contains("MASTER") || said.contains("BACKUP"))
            })?;
        }
        Ok(())
    }

    /// The load balancer with the address, when it is one.
    pub(crate) fn vip_holder(&self) -> Option<usize> {
        let has = |number: &usize| {
            let host = &self.hosts[*number];
            host.is_on() && host.sh("ip -4 -o address show").is_ok_and(|said| said.contains(&format!("inet {VIP}/")))
        };
        let holders: Vec<_> = LBS.into_iter().filter(has).collect();
        <[usize; 1]>::try_from(holders).ok().map(|[only]| only)
    }

    pub(crate) fn redis_master(&self) -> anyhow::Result<usize> {
        wait_for(LIMIT, "a master", || redis_master(&self.hosts[REDIS[0]..=REDIS[2]])).map(|number| REDIS[number])
    }

    pub(crate) fn postgres_primary(&self) -> anyhow::Result<usize> {
        wait_for(LIMIT, "a primary", || primary(&self.hosts[POSTGRES[0]..=POSTGRES[1]])).map(|number| POSTGRES[number])
    }

    /// The application host whose router decides for the tenant.
    pub(crate) fn router(&self) -> anyhow::Result<usize> {
        let key = format!("{{{}}}:lease:router", self.tenant);
        wait_for(SOON, "a router", || {
            let master = self.redis_master().ok()?;
            let holder = redis_cli(&self.hosts[master], 6_379, &format!("get '{key}'")).ok()?;
            let name = holder.trim().split(':').nth(1)?.split('/').next()?.to_owned();
            APPS.into_iter().find(|number| self.hosts[*number].name() == name)
        })
    }

    fn api(&self) -> Api<'_> {
        Api { fleet: self.fleet, token: &self.token }
    }

    pub(crate) fn watch(&self) -> anyhow::Result<Watch> {
        Watch::start(self.fleet, front())
    }

    pub(crate) fn load(&mut self) -> anyhow::Result<Load> {
        let number = self.take_numbers();
        let paths = Paths { name: format!("load{}-", number / 1_000_000), ..self.paths.clone() };
        Load::of_centre(self.fleet, front(), &self.token, &paths)
    }

    fn take_numbers(&mut self) -> i64 {
        let first = self.next;
        self.next += 1_000_000;
        first
    }

    pub(crate) fn write_redis(&mut self) -> anyhow::Result<Writer> {
        let first = self.take_numbers();
        Writer::redis(self.fleet, &self.redis, first)
    }

    pub(crate) fn write_postgres(&mut self) -> anyhow::Result<Writer> {
        let first = self.take_numbers();
        Writer::postgres(self.fleet, &self.postgres, first)
    }

    /// Calls between people who will talk on.
    pub(crate) fn talkers(&self) -> anyhow::Result<Vec<Caller>> {
        let callers: Vec<_> = (0..TALKERS).map(|_| Caller::place(&self.network, TALK, sip(5070))).collect();
        for caller in &callers {
            caller.wait_served(SOON)?;
        }
        Ok(callers)
    }

    /// Callers who wait for somebody who is not there, one after the other.
    pub(crate) fn waiters(&self) -> anyhow::Result<Vec<Waiter>> {
        let mut waiters = Vec::new();
        for _ in 0..WAITERS {
            let caller = Caller::place(&self.network, RARE, sip(5070));
            let place = wait_for(SOON, "the caller waits", || self.place_of(&caller.number).ok().flatten())?;
            waiters.push(Waiter { caller, place });
        }
        Ok(waiters)
    }

    /// Where a caller who waits stands: the interaction's id and rank.
    pub(crate) fn place_of(&self, number: &str) -> anyhow::Result<Option<(String, u64)>> {
        let path = format!("/tenants/{}/interactions?state=waiting&limit=500", self.tenant);
        let list = self.api().get(&path)?;
        let ours = list["items"].as_array().context("items")?.iter().find(|item| item["caller"] == number);
        Ok(ours.and_then(|item| Some((item["id"].as_str()?.to_owned(), item["rank_ms"].as_u64()?))))
    }

    /// The rare agent comes, takes all who wait, and goes: they are served in the order in which they came.
    pub(crate) fn serve(&self, waiters: &[Waiter]) -> anyhow::Result<()> {
        self.supervisor.wants(&self.rare_agent.id, true);
        for (number, waiter) in waiters.iter().enumerate() {
            let heard = self.rare_agent.day().heard;
            waiter.caller.wait_served(SOON).with_context(|| format!("waiter {number}"))?;
            let early = waiters[number + 1..].iter().filter(|later| later.caller.call().served.is_some()).count();
            ensure!(early == 0, "{early} were served before waiter {number}");
            waiter.caller.talk_a_moment();
            waiter.caller.hang_up();
            wait_for(SOON, "the agent has heard the caller", || (self.rare_agent.day().heard > heard).then_some(()))?;
        }
        self.supervisor.wants(&self.rare_agent.id, false);
        Ok(())
    }

    pub(crate) fn talk_agents(&self) -> &[Agent] {
        &self.talk_agents
    }

    /// All calls are over, and nothing is left of them anywhere.
    pub(crate) fn end(&self) -> anyhow::Result<()> {
        let callers = self.stream.end()?;
        for caller in callers {
            self.ledger.called(&caller);
        }
        let agents = self.stream_agents.iter().chain(&self.talk_agents).chain([&self.rare_agent]);
        let days: Vec<_> = agents.map(Agent::day).collect();
        println!(
            "appliance_ha_whole_agents_heard_callers {} of {} calls; {} times an agent was made ready again",
            days.iter().map(|day| day.heard).sum::<u32>(),
            days.iter().map(|day| day.calls).sum::<u32>(),
            self.supervisor.made_ready()
        );
        wait_for(SOON, "Asterisk has no channel", || {
            let line = "curl -sf -m 2 -u ringdown:$(cat /etc/ringdown/secrets/ARI_PASSWORD) http://127.0.0.1:7088/ari/channels";
            self.hosts[VOICE_HOST].sh(line).ok().filter(|said| said.trim() == "[]")
        })?;
        self.ledger.balance(self.fleet, &self.redis, &self.postgres, &self.tenant, &self.api())
    }
}

/// A caller who waits, and the place that was given.
pub(crate) struct Waiter {
    pub(crate) caller: Caller,
    pub(crate) place: (String, u64),
}

/// Seven hosts by their variables.
fn install(cluster: &Cluster<'_>) -> anyhow::Result<Vec<Host>> {
    let started = Instant::now();
    let (three, two, apps) = (addresses(&DATA), addresses(&DATA[..2]), addresses(&APP));
    let redis =
        format!("redis+sentinel://{}/ringdown/0", DATA.map(|number| format!("{}:26379", address(number))).join(","));
    let [one, other] = [DATA[0], DATA[1]].map(address);
    let postgres = format!(
        "postgres://ringdown@{one}:5432,{other}:5432/ringdown?target_session_attrs=read-write&load_balance_hosts=random"
    );
    let data = [
        ("RINGDOWN_COMPONENTS", "redis,postgresql"),
        ("RINGDOWN_REDIS_MEMBERS", three.as_str()),
        ("RINGDOWN_POSTGRES_MEMBERS", &two),
    ];
    let application = [
        ("RINGDOWN_COMPONENTS", "acd,notifier,provisioner,web-api"),
        ("RINGDOWN_REDIS_URL", redis.as_str()),
        ("RINGDOWN_POSTGRES_URL", &postgres),
        ("RINGDOWN_WEB_API_TRUSTED_PROXIES", &addresses(&LB)),
    ];
    let api = format!("http://{VIP}:8000");
    let voice = [
        ("RINGDOWN_COMPONENTS", "acd,asterisk,provisioner,redis,registrar"),
        ("RINGDOWN_REDIS_MEMBERS", three.as_str()),
        ("RINGDOWN_REDIS_URL", &redis),
        ("RINGDOWN_API_URL", &api),
        // Routers are on the application hosts.
        ("RINGDOWN_ACD_DUTIES", "voice"),
        // The phones of this test know MD5 only.
        ("RINGDOWN_SIP_DIGEST", "md5,sha-256"),
    ];
    let balancer = |own: usize| {
        let variables = [
            ("RINGDOWN_COMPONENTS", "haproxy,keepalived"),
            ("RINGDOWN_HAPROXY_API", apps.as_str()),
            ("RINGDOWN_HAPROXY_NOTIFIER", &apps),
            ("RINGDOWN_HAPROXY_REDIS", &three),
            ("RINGDOWN_VIP", VIP),
            ("RINGDOWN_VIP_PEERS", &address(LB[1 - own])),
        ];
        cluster.start(&format!("lb{}", own + 1), LB[own], &variables)
    };
    let hosts = vec![
        balancer(0)?,
        balancer(1)?,
        cluster.start("app1", APP[0], &application)?,
        cluster.start("app2", APP[1], &application)?,
        cluster.start("data1", DATA[0], &data)?,
        cluster.start("data2", DATA[1], &data)?,
        cluster.start("voice1", VOICE, &voice)?,
    ];
    for host in &hosts {
        wait_installed(host)?;
    }
    println!("appliance_ha_seven_hosts {:.0} s", started.elapsed().as_secs_f64());
    Ok(hosts)
}

/// The stores as this test reaches them.
fn stores(cluster: &Cluster<'_>) -> anyhow::Result<(String, String)> {
    let (word, password) = (cluster.secret("REDIS_PASSWORD")?, cluster.secret("POSTGRES_PASSWORD")?);
    let redis = format!("redis+sentinel://:{word}@{}/ringdown/0", DATA.map(address).join(","));
    let [one, two] = [DATA[0], DATA[1]].map(address);
    let postgres = format!(
        "postgres://ringdown:{password}@{one}:5432,{two}:5432/ringdown\
         ?target_session_attrs=read-write&load_balance_hosts=random&connect_timeout=1"
    );
    Ok((redis, postgres))
}

/// Asterisk knows the trunk: calls are told apart.
fn wait_configured(voice: &Host) -> anyhow::Result<()> {
    wait_for(SOON, "Asterisk knows the trunk", || {
        let line =
            "curl -sf -m 2 -u ringdown:$(cat /etc/ringdown/secrets/ARI_PASSWORD) http://127.0.0.1:7088/ari/endpoints";
        voice.sh(line).ok().filter(|said| said.contains("trunk-"))
    })
    .map(drop)
}

fn log_in(fleet: &Fleet, password: &str) -> anyhow::Result<String> {
    let body = json!({ "login": "admin", "password": password });
    let said = Api { fleet, token: "" }.post("/sessions", &body)?;
    Ok(said["token"].as_str().context("a token")?.to_owned())
}

/// The API through the front, for what has to be done: a request that failed is repeated.
pub(crate) struct Api<'a> {
    fleet: &'a Fleet,
    token: &'a str,
}

impl Api<'_> {
    pub(crate) fn get(&self, path: &str) -> anyhow::Result<Value> {
        self.ask(path, None)
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        self.ask(path, Some(body.to_string()))
    }

    fn ask(&self, path: &str, body: Option<String>) -> anyhow::Result<Value> {
        static KEYS: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let key = format!("whole-{}", KEYS.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
        let (token, path) = (self.token.to_owned(), format!("/api/v1{path}"));
        let asked = self.fleet.in_network(move || {
            let mut last = String::new();
            for _ in 0..10 {
                let mut client = Client::new(front(), &token, API_LIMIT).without_keeping();
                let answer = match &body {
                    Some(body) => client.post(&path, &key, body),
                    None => client.get(&path),
                };
                match answer {
                    Ok(answer) if (200..300).contains(&answer.status) => {
                        return serde_json::from_str(&answer.body).context("an answer of JSON");
                    }
                    Ok(answer) if answer.status < 500 && answer.status != 429 => {
                        anyhow::bail!("{path}: {} {}", answer.status, answer.body)
                    }
                    Ok(answer) => last = format!("{} {}", answer.status, answer.body),
                    Err(error) => last = error.to_string(),
                }
                std::thread::sleep(Duration::from_millis(300));
            }
            anyhow::bail!("{path}: {last}")
        })?;
        asked.join().map_err(|_| anyhow::anyhow!("it panicked"))??
    }
}

/// Daemons that are started anew one after the other fail no request and no call.
fn planned_work_fails_nothing(whole: &mut Whole<'_>) -> anyhow::Result<()> {
    whole.settled()?;
    let load = whole.load()?;
    for number in APPS {
        for unit in ["web-api", "notifier", "acd", "provisioner"] {
            whole.hosts[number].sh(&format!("systemctl restart ringdown-{unit}"))?;
            whole.settled()?;
        }
    }
    let holder = whole.vip_holder().context("nobody has the address")?;
    whole.hosts[holder].sh("systemctl reload haproxy")?;
    whole.settled()?;
    let tally = load.stop()?;
    whole.ledger.api(&tally);
    assert_flawless("appliance_ha whole, rolling restart and reload", &tally)
}

/// One fault after the other, and then the balance; what was missed is told together.
fn each(whole: &mut Whole<'_>, drawn: &[(What, Place)]) -> anyhow::Result<()> {
    let mut missed = Vec::new();
    for (number, (what, place)) in drawn.iter().enumerate() {
        println!("fault {} of {}", number + 1, drawn.len());
        if let Err(error) = fault(whole, *what, *place) {
            println!("{what:?} at {place:?}: {error:#}");
            missed.push(format!("{what:?} at {place:?}: {error:#}"));
        }
    }
    missed.extend(whole.end().err().map(|error| format!("{error:#}")));
    ensure!(missed.is_empty(), "{missed:#?}");
    Ok(())
}

#[test]
fn a_whole_house_holds_while_its_parts_fail() -> anyhow::Result<()> {
    let fleet = Fleet::new()?;
    let mut whole = Whole::make(&fleet)?;
    planned_work_fails_nothing(&mut whole)?;
    let drawn = [
        (What::Kill("ringdown-acd"), Place::Router),
        (What::Power, Place::Master),
        (What::Kill("ringdown-registrar"), Place::Voice),
    ];
    each(&mut whole, &drawn)?;
    fleet.passed();
    Ok(())
}

mod long {
    use super::*;
    use crate::faults::ALL;

    /// Drawn from all faults, none twice; `RINGDOWN_SEED` says in which order, `RINGDOWN_FAULTS` how many (20) after how many
    /// others (`RINGDOWN_FAULTS_AFTER`, 0).
    #[test]
    fn a_whole_house_holds_through_drawn_faults() -> anyhow::Result<()> {
        let number = |name: &str| std::env::var(name).ok().map(|said| said.parse::<u64>()).transpose();
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.subsec_nanos();
        // Never 0, of which Xorshift makes nothing else.
        let seed = number("RINGDOWN_SEED")?.unwrap_or(u64::from(now)) | 1;
        let count = usize::try_from(number("RINGDOWN_FAULTS")?.unwrap_or(20))?;
        let after = usize::try_from(number("RINGDOWN_FAULTS_AFTER")?.unwrap_or(0))?;
        println!("seed {seed}");
        let fleet = Fleet::new()?;
        let mut whole = Whole::make(&fleet)?;
        let (mut state, mut left, mut drawn) = (seed, ALL.to_vec(), Vec::new());
        while !left.is_empty() {
            // Xorshift.
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            drawn.push(left.swap_remove(usize::try_from(state % u64::try_from(left.len())?)?));
        }
        let drawn: Vec<_> = drawn.into_iter().skip(after).take(count).collect();
        each(&mut whole, &drawn)?;
        fleet.passed();
        Ok(())
    }
}

/// What the people need: a tenant with its queues, a trunk, and another tenant for changes.
struct Furniture {
    tenant: String,
    tasks: String,
    other: String,
}

impl Furniture {
    fn make(api: &Api<'_>) -> anyhow::Result<Self> {
        let id = |value: Value| value["id"].as_str().map(str::to_owned).context("an id");
        let tenant = id(api.post("/tenants", &json!({ "name": "Whole", "realm": REALM }))?)?;
        let other = id(api.post("/tenants", &json!({ "name": "Other", "realm": "other.example" }))?)?;
        let mut queues = BTreeMap::new();
        for (name, did) in [("Stream", Some(STREAM)), ("Talk", Some(TALK)), ("Rare", Some(RARE)), ("Tasks", None)] {
            api.post(&format!("/tenants/{tenant}/skills"), &json!({ "name": name }))?;
            let queue = json!({ "name": name, "requirements": [{ "skill": name }], "ring_timeout_ms": 4_000,
                "after_no_answer": "stay_ready" });
            let queue = id(api.post(&format!("/tenants/{tenant}/queues"), &queue)?)?;
            if let Some(did) = did {
                api.post(&format!("/tenants/{tenant}/routes"), &json!({ "did": did, "queue": queue }))?;
            }
            queues.insert(name, queue);
        }
        let trunk = json!({ "name": "Carrier", "sources": [BRIDGE_ADDRESS], "capacity": 200 });
        api.post(&format!("/tenants/{tenant}/trunks"), &trunk)?;
        Ok(Self { tenant, other, tasks: queues.remove("Tasks").context("a queue")? })
    }

    fn hire(&self, api: &Api<'_>, name: &str, skill: &str) -> anyhow::Result<String> {
        let agent = json!({ "name": name, "sip_user": name, "sip_password": PHONE_PASSWORD, "skills": { skill: 1 } });
        let agent = api.post(&format!("/tenants/{}/agents", self.tenant), &agent)?;
        Ok(agent["id"].as_str().context("an id")?.to_owned())
    }

    fn paths(&self) -> Paths {
        Paths {
            name: String::new(),
            tasks: format!("/api/v1/tenants/{}/interactions", self.tenant),
            queue: self.tasks.clone(),
            skills: format!("/api/v1/tenants/{}/skills", self.other),
        }
    }
}

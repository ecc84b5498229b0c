//! `sim calls`: real SIP calls over a trunk, to real SIP phones registered at our registrar.

use std::net::Ipv4Addr;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde_json::{Value, json};
use tokio::net::UdpSocket;
use uuid::Uuid;

use crate::api::Api;
use crate::appliance::Appliance;
use crate::arguments::{Place, SimCalls};
use crate::explain;
use crate::installation::{Installation, PortName};
use crate::output::{self, Progress};

use super::chance::Chance;
use super::figures::Figures;
use super::media::{AGENT_TONE, CALLER_TONE, Side};
use super::registration;
use super::sipp::{CallPlan, Phone, Sipp};
use super::tally::Tally;
use super::tenant::{SimTenant, id_of};

const SKILL: &str = "Simulation";
/// How often the live interactions are read: well below the shortest call.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How long the new configuration may take to reach every daemon and Asterisk.
const CONFIGURED_LIMIT: Duration = Duration::from_secs(30);
/// How long the last interactions may take to end after their calls.
const DRAIN_LIMIT: Duration = Duration::from_secs(15);

pub(crate) async fn run(place: &Place, options: &SimCalls) -> anyhow::Result<ExitCode> {
    let api = Api::of(place)?;
    let seed = match options.common.seed {
        Some(seed) => seed,
        None => Chance::seed()?,
    };
    let mut chance = Chance::new(seed);
    let address = options.address.unwrap_or_else(|| draw_address(&mut chance));
    let (trunk, registrar) = targets(place, options)?;
    output::note(format!(
        "seed {seed}: {} phones at {address}, {} calls at {} per second",
        options.agents, options.calls, options.rate
    ));
    let sipp = Sipp::new(address)?;
    let tenant = SimTenant::open(&api, &options.common).await?;
    let mark = 1_000 + u32::try_from(chance.below(9_000)).unwrap_or(0);
    let mut run = Run {
        api: api.clone(),
        tenant,
        options,
        sipp,
        trunk,
        registrar,
        mark,
        agents: Vec::new(),
        tally: Tally::default(),
    };
    let started = Instant::now();
    let outcome = run.perform().await;
    let told = if options.tell { run.tell().await } else { Ok(()) };
    run.tenant.close(&api, &run.agents).await?;
    told?;
    let heard = outcome?;
    let promised_ms = options.common.service_level_s * 1_000;
    let mut figures = Figures::of(
        u64::from(options.calls),
        &run.tally.waits_ms(),
        run.tally.abandoned(),
        promised_ms,
        started.elapsed().as_secs_f64(),
    );
    figures.heard = Some(heard);
    if figures.lost > 0 {
        output::note(format!("sipp says: {}", run.sipp.errors()));
    }
    figures.show(options.common.json, options.common.service_level_s)
}

/// One of this host's loopback addresses that nobody else uses: the trunk is known by it.
fn draw_address(chance: &mut Chance) -> Ipv4Addr {
    let mut octet = |low: u8| low + u8::try_from(chance.below(usize::from(254 - low))).unwrap_or(0);
    Ipv4Addr::new(127, octet(1), octet(0), octet(2))
}

fn targets(place: &Place, options: &SimCalls) -> anyhow::Result<(String, String)> {
    if let Some(appliance) = Appliance::find(place)? {
        let trunk = options.trunk.clone().map_or_else(|| appliance.trunk(), Ok)?;
        return Ok((trunk, options.registrar.clone().map_or_else(|| appliance.registrar(), Ok)?));
    }
    let installation = Installation::find(place)?;
    let own = |name| installation.as_ref().map(|installation| installation.public(name).to_string());
    let trunk = options.trunk.clone().or_else(|| own(PortName::AsteriskSip));
    let registrar = options.registrar.clone().or_else(|| own(PortName::Sip));
    match (trunk, registrar) {
        (Some(trunk), Some(registrar)) => Ok((trunk, registrar)),
        _ => bail!("there is no installation here: name --trunk and --registrar"),
    }
}

struct Run<'a> {
    api: Api,
    tenant: SimTenant,
    options: &'a SimCalls,
    sipp: Sipp,
    trunk: String,
    registrar: String,
    /// The first digits of the callers' numbers and of the number they dial.
    mark: u32,
    agents: Vec<Uuid>,
    tally: Tally,
}

impl Run<'_> {
    /// Gives on how many calls both sides heard each other.
    async fn perform(&mut self) -> anyhow::Result<u64> {
        let phones = self.configure().await?;
        let callers = Side::open(self.sipp.address, CALLER_TONE, AGENT_TONE).await?;
        let agents = Side::open(self.sipp.address, AGENT_TONE, CALLER_TONE).await?;
        let port = free_udp_port(self.sipp.address).await?;
        self.wait_configured().await?;
        output::note("registers the phones");
        let contact = registration::contact(self.sipp.address, port);
        registration::register(&self.registrar, &self.tenant.realm, &phones, contact).await?;
        let _answering = self.sipp.answer(port, agents.port(), self.options.ring_ms, self.options.talk_ms)?;
        for agent in &self.agents {
            self.tenant.set_ready(&self.api, *agent).await?;
        }
        self.place_calls(callers.port()).await?;
        let (by_callers, by_agents) = (callers.calls_heard(), agents.calls_heard());
        if by_callers.min(by_agents) < u64::from(self.options.calls) {
            output::note(format!("callers heard an agent on {by_callers} calls, agents a caller on {by_agents}"));
        }
        Ok(by_callers.min(by_agents))
    }

    /// Makes agents with phones, a queue, a trunk known by our address, and the way from the number to the queue.
    async fn configure(&mut self) -> anyhow::Result<Vec<Phone>> {
        let (api, tenant) = (&self.api, &self.tenant);
        tenant.make_skills(api, &[SKILL]).await?;
        let mut phones = Vec::new();
        let mut progress = Progress::new(u64::from(self.options.agents));
        for number in 0..self.options.agents {
            let phone =
                Phone { user: format!("sim{}-{number}", self.mark), password: Uuid::now_v7().simple().to_string() };
            let input = json!({ "name": format!("Agent {number}"), "skills": { SKILL: 1 },
                "sip_user": phone.user, "sip_password": phone.password });
            self.agents.push(tenant.make_agent(api, &input).await?);
            phones.push(phone);
            progress.at(u64::from(number) + 1, "agents");
        }
        progress.end();
        let name = format!("Simulation {}", self.mark);
        let queue = json!({ "name": name, "requirements": [{ "skill": SKILL }],
            "service_level_ms": self.options.common.service_level_s * 1_000 });
        let queue = id_of(&api.post(&tenant.path("queues"), &queue).await?)?;
        let trunk = json!({ "name": name, "sources": [self.sipp.address.to_string()], "capacity": 10_000 });
        let trunk = id_of(&api.post(&tenant.path("trunks"), &trunk).await?)?;
        let route = json!({ "did": self.did(), "queue": queue, "trunk": trunk });
        api.post::<Value>(&tenant.path("routes"), &route).await?;
        Ok(phones)
    }

    fn did(&self) -> String {
        format!("{}00", self.mark)
    }

    /// Every daemon that reports a version of this tenant runs the one that is written.
    async fn wait_configured(&self) -> anyhow::Result<()> {
        let started = Instant::now();
        let mut progress = Progress::new(0);
        loop {
            let view: Value = self.api.read(&self.tenant.path("provisioning")).await?;
            let behind = behind(&view);
            if behind.is_empty() {
                progress.end();
                return Ok(());
            }
            if started.elapsed() > CONFIGURED_LIMIT {
                bail!(
                    "the new configuration has not reached {} in {} s",
                    behind.join(", "),
                    CONFIGURED_LIMIT.as_secs()
                );
            }
            progress.at(0, format!("the configuration reaches {}", behind.join(", ")));
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    async fn place_calls(&mut self, media_port: u16) -> anyhow::Result<()> {
        let plan = CallPlan {
            calls: self.options.calls,
            rate: self.options.rate,
            media_port,
            patience_ms: self.options.patience_ms,
            mark: self.mark,
        };
        let mut callers = self.sipp.call(&self.trunk, &self.did(), &plan)?;
        let mut progress = Progress::new(u64::from(plan.calls));
        let mut look = tokio::time::interval(LOOK_EVERY);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let seconds = f64::from(plan.calls) / plan.rate + (plan.patience_ms + self.options.talk_ms) as f64 / 1_000.0;
        let limit = Duration::from_secs_f64(seconds) + DRAIN_LIMIT;
        let started = Instant::now();
        loop {
            tokio::select! {
                // Some calls failed when it is no success: they show as lost.
                ended = callers.wait() => {
                    ended.context("waiting for the callers")?;
                    break;
                }
                _ = look.tick() => self.look().await?,
            }
            progress.at(self.tally.ended(), format!("over, {} in progress", self.tally.open().len()));
            if started.elapsed() > limit {
                output::note("the callers did not end in their time; what is left counts as lost");
                break;
            }
        }
        self.drain().await?;
        progress.end();
        Ok(())
    }

    /// Reads what is live; what was live and is not any more is asked for by itself.
    async fn look(&mut self) -> anyhow::Result<()> {
        let mine = self.mark.to_string();
        let live = self.api.list(&self.tenant.path("interactions")).await?;
        let mut seen = Vec::new();
        for interaction in live {
            if interaction["caller"].as_str().is_some_and(|caller| caller.trim_start_matches('+').starts_with(&mine)) {
                seen.extend(self.tally.see(&interaction));
            }
        }
        for id in self.tally.open().into_iter().filter(|id| !seen.contains(id)) {
            let interaction: Value = self.api.read(&self.tenant.path(&format!("interactions/{id}"))).await?;
            self.tally.see(&interaction);
        }
        Ok(())
    }

    async fn drain(&mut self) -> anyhow::Result<()> {
        let started = Instant::now();
        loop {
            self.look().await?;
            if self.tally.open().is_empty() || started.elapsed() > DRAIN_LIMIT {
                return Ok(());
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// The story of each call.
    async fn tell(&self) -> anyhow::Result<()> {
        for (id, _) in self.tally.iter() {
            for line in explain::story(&self.api, self.tenant.id, *id).await? {
                output::say(line);
            }
        }
        Ok(())
    }
}

/// Who does not run the written version yet.
fn behind(view: &Value) -> Vec<String> {
    let Some(written) = view["written"].as_u64() else { return vec!["the database".to_owned()] };
    let mut behind = Vec::new();
    if view["current"].as_u64() < Some(written) {
        behind.push("the compiler".to_owned());
    }
    if view["router"].as_u64() < Some(written) {
        behind.push("the router".to_owned());
    }
    for (host, daemons) in view["hosts"].as_object().into_iter().flatten() {
        for (daemon, word) in daemons.as_object().into_iter().flatten() {
            if word["version"].as_u64() < Some(written) {
                let why = word["error"].as_str().map(|error| format!(" ({error})")).unwrap_or_default();
                behind.push(format!("{daemon} on {host}{why}"));
            }
        }
    }
    behind
}

async fn free_udp_port(address: Ipv4Addr) -> anyhow::Result<u16> {
    let socket = UdpSocket::bind((address, 0)).await.with_context(|| format!("{address} is not this host's"))?;
    Ok(socket.local_addr().context("asking for a port")?.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_behind_is_named() {
        let view = json!({ "written": 7, "current": 7, "router": 6, "hosts": { "a": {
            "registrar": { "version": 7, "at_ms": 1 }, "asterisk": { "version": 5, "at_ms": 1, "error": "no folder" } } } });
        assert_eq!(behind(&view), ["the router", "asterisk on a (no folder)"]);
        assert_eq!(behind(&json!({ "written": null })), ["the database"]);
    }
}

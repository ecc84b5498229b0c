//! `sim interactions`: the Basic ACD's simulator against our API. Agents and interactions have one language and one
//! department each; interactions arrive at random, are handled for a random time and end.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::api::Api;
use crate::arguments::{Place, SimInteractions};
use crate::output::{self, Progress};

use super::chance::Chance;
use super::figures::Figures;
use super::tally::{Fate, Tally};
use super::tenant::SimTenant;

const LANGUAGES: [&str; 2] = ["English", "Spanish"];
const DEPARTMENTS: [&str; 3] = ["Support", "Disputes", "Billing"];
/// How often the live interactions are read.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Requests in flight: enough for any rate the API takes, few enough to be polite.
const IN_FLIGHT: usize = 64;
/// How long the last interactions may take beyond their own times before they count as lost.
const DRAIN_LIMIT: Duration = Duration::from_secs(60);

pub(crate) async fn run(place: &Place, options: &SimInteractions) -> anyhow::Result<ExitCode> {
    let api = Api::of(place)?;
    let seed = match options.common.seed {
        Some(seed) => seed,
        None => Chance::seed()?,
    };
    output::note(format!(
        "seed {seed}: {} agents, {} interactions at {} per second",
        options.agents, options.interactions, options.rate
    ));
    let tenant = SimTenant::open(&api, &options.common).await?;
    let agents = make_agents(&api, &tenant, options.agents).await?;
    let started = Instant::now();
    let mut run = Run {
        api: api.clone(),
        tenant: tenant.clone(),
        options,
        chance: Chance::new(seed),
        tally: Tally::default(),
        handling_ms: BTreeMap::new(),
        patience_until_ms: BTreeMap::new(),
        asked_to_end: BTreeMap::new(),
        offered: 0,
    };
    let outcome = run.perform(agents.len()).await;
    let took_s = started.elapsed().as_secs_f64();
    let promised_ms = options.common.service_level_s * 1_000;
    let figures = Figures::of(run.offered, &run.tally.waits_ms(), run.tally.abandoned(), promised_ms, took_s);
    tenant.close(&api, &agents).await?;
    outcome?;
    figures.show(options.common.json, options.common.service_level_s)
}

/// A pair of skills; pairs go round, so that every pair an interaction may need has agents when there are six or more.
fn pair(number: usize) -> [&'static str; 2] {
    [LANGUAGES[number % LANGUAGES.len()], DEPARTMENTS[number / LANGUAGES.len() % DEPARTMENTS.len()]]
}

async fn make_agents(api: &Api, tenant: &SimTenant, count: u32) -> anyhow::Result<Vec<Uuid>> {
    let skills: Vec<&str> = LANGUAGES.into_iter().chain(DEPARTMENTS).collect();
    tenant.make_skills(api, &skills).await?;
    let mut progress = Progress::new(u64::from(count));
    let mut agents = Vec::new();
    for number in 0..count {
        let [language, department] = pair(number as usize);
        let input = json!({ "name": format!("Agent {number} ({language}, {department})"), "skills": { language: 1, department: 1 } });
        agents.push(tenant.make_agent(api, &input).await?);
        progress.at(u64::from(number) + 1, "agents");
    }
    progress.end();
    for agent in &agents {
        tenant.set_ready(api, *agent).await?;
    }
    Ok(agents)
}

struct Run<'a> {
    api: Api,
    tenant: SimTenant,
    options: &'a SimInteractions,
    chance: Chance,
    tally: Tally,
    handling_ms: BTreeMap<Uuid, u64>,
    patience_until_ms: BTreeMap<Uuid, u64>,
    asked_to_end: BTreeMap<Uuid, Instant>,
    offered: u64,
}

impl Run<'_> {
    /// Until everything that arrived is over, or the limit.
    async fn perform(&mut self, agents: usize) -> anyhow::Result<()> {
        let total = u64::from(self.options.interactions);
        let mut progress = Progress::new(total);
        let mut requests: JoinSet<anyhow::Result<Value>> = JoinSet::new();
        let mut next = Instant::now();
        let mut look = tokio::time::interval(LOOK_EVERY);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut last_progress = (Instant::now(), 0);
        while self.tally.ended() < total {
            let due = self.offered < total && requests.len() < IN_FLIGHT;
            tokio::select! {
                () = tokio::time::sleep_until(next.into()), if due => {
                    next += Duration::from_secs_f64(self.chance.exponential(1.0 / self.options.rate));
                    self.arrive(agents, &mut requests);
                }
                Some(done) = requests.join_next() => {
                    self.tally.see(&done??);
                }
                _ = look.tick() => self.look(&mut requests).await?,
            }
            let ended = self.tally.ended();
            progress.at(ended, format!("over, {} begun", self.offered));
            if ended != last_progress.1 {
                last_progress = (Instant::now(), ended);
            } else if self.offered == total && last_progress.0.elapsed() > self.stuck_after() {
                break;
            }
        }
        progress.end();
        Ok(())
    }

    /// Nothing at all ended for so long although nothing new came: what is left is lost.
    fn stuck_after(&self) -> Duration {
        DRAIN_LIMIT + Duration::from_millis(10 * (self.options.handling_ms + self.options.patience_ms))
    }

    fn arrive(&mut self, agents: usize, requests: &mut JoinSet<anyhow::Result<Value>>) {
        // Only pairs somebody has: with fewer than six agents some would wait for ever.
        let [language, department] = pair(self.chance.below(agents.min(LANGUAGES.len() * DEPARTMENTS.len())));
        let body = json!({ "requirements": [{ "skill": language }, { "skill": department }] });
        let (api, path) = (self.api.clone(), self.tenant.path("interactions"));
        self.offered += 1;
        requests.spawn(async move { api.post(&path, &body).await });
    }

    /// Reads what is live, and ends what has been handled or has waited long enough.
    async fn look(&mut self, requests: &mut JoinSet<anyhow::Result<Value>>) -> anyhow::Result<()> {
        for interaction in self.api.list(&self.tenant.path("interactions")).await? {
            self.tally.see(&interaction);
        }
        let now_ms = u64::try_from(jiff::Timestamp::now().as_millisecond()).unwrap_or(0);
        let mut due = Vec::new();
        for (id, one) in self.tally.iter() {
            let reason = match one.fate {
                Fate::Ended { .. } => continue,
                Fate::Connected { since_ms } => {
                    let mean = self.options.handling_ms as f64;
                    let chance = &mut self.chance;
                    let handling = *self.handling_ms.entry(*id).or_insert_with(|| chance.exponential(mean) as u64);
                    (now_ms >= since_ms + handling).then_some("completed")
                }
                Fate::Waiting if self.options.patience_ms == 0 => None,
                Fate::Waiting => {
                    let mean = self.options.patience_ms as f64;
                    let chance = &mut self.chance;
                    let until = *self
                        .patience_until_ms
                        .entry(*id)
                        .or_insert_with(|| one.arrived_at_ms + chance.exponential(mean) as u64);
                    (now_ms >= until).then_some("abandoned")
                }
            };
            // One request at a time for each; what was asked and is not over after the client's limit is asked again.
            let asked = self.asked_to_end.get(id).is_some_and(|at| at.elapsed() < DRAIN_LIMIT);
            if let Some(reason) = reason.filter(|_| !asked) {
                due.push((*id, reason));
            }
        }
        for (id, reason) in due.into_iter().take(IN_FLIGHT) {
            self.asked_to_end.insert(id, Instant::now());
            let (api, path) = (self.api.clone(), self.tenant.path(&format!("interactions/{id}/end")));
            requests.spawn(async move { api.post(&path, &json!({ "reason": reason })).await });
        }
        Ok(())
    }
}

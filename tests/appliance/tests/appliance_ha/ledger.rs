//! What callers, clients and writers were told, against what the house says in the end: lost, stuck, doubled.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashSet};
use std::time::Instant;

use anyhow::{Context, ensure};
use ringdown_appliance::fleet::Fleet;
use ringdown_redis_store::redis::cmd;
use ringdown_redis_store::{RedisOptions, RedisPool, Retry, StoreMetrics};
use serde_json::Value;

use crate::load;
use crate::people::{Call, Caller};
use crate::whole::Api;
use crate::writes::{self, all_kept, at_once, in_postgres, in_redis};

/// Everything that was promised.
#[derive(Debug, Default)]
pub(crate) struct Ledger(RefCell<Promises>);

#[derive(Debug, Default)]
struct Promises {
    calls: Vec<(String, Call)>,
    /// While these lasted, calls could end or not come about: their Asterisk was gone.
    excused: Vec<(Instant, Instant)>,
    redis: HashSet<i64>,
    postgres: HashSet<i64>,
    tasks: HashSet<String>,
    skills: HashSet<String>,
}

/// An interaction as Redis has it, and how often an agent got it.
#[derive(Clone, Debug)]
struct Kept {
    record: Value,
    connected: usize,
    story: String,
}

impl Ledger {
    /// A call that is over, for its caller.
    pub(crate) fn called(&self, caller: &Caller) {
        self.0.borrow_mut().calls.push((caller.number.clone(), caller.call()));
    }

    /// The voice host or its Asterisk was gone.
    pub(crate) fn excuse(&self, from: Instant, to: Instant) {
        self.0.borrow_mut().excused.push((from, to));
    }

    pub(crate) fn redis(&self, tally: &writes::Tally) {
        self.0.borrow_mut().redis.extend(&tally.acknowledged);
    }

    pub(crate) fn postgres(&self, tally: &writes::Tally) {
        self.0.borrow_mut().postgres.extend(&tally.acknowledged);
    }

    /// What the API acknowledged: ids of tasks, and names of skills.
    pub(crate) fn api(&self, tally: &load::Tally) {
        let mut promises = self.0.borrow_mut();
        for written in &tally.written {
            let list = if written.starts_with("load") { &mut promises.skills } else { &mut promises.tasks };
            list.insert(written.clone());
        }
    }

    /// Every acknowledged write is in its store.
    pub(crate) fn kept(&self, fleet: &Fleet, redis: &str, postgres: &str) -> anyhow::Result<()> {
        let promises = self.0.borrow();
        all_kept("Redis", &promises.redis, in_redis(fleet, redis)?)?;
        all_kept("PostgreSQL", &promises.postgres, in_postgres(fleet, postgres)?)
    }

    /// Everything that was promised is there once, and nothing is left over.
    pub(crate) fn balance(
        &self,
        fleet: &Fleet,
        redis: &str,
        postgres: &str,
        tenant: &str,
        api: &Api<'_>,
    ) -> anyhow::Result<()> {
        self.kept(fleet, redis, postgres)?;
        let skills = names_of_skills(api, &self.0.borrow().skills)?;
        let interactions = interactions(fleet, redis, tenant)?;
        let promises = self.0.borrow();
        let mut wrong = promises.calls_wrong(&interactions);
        for task in promises.tasks.iter().filter(|task| !interactions.get(*task).is_some_and(ended)) {
            wrong.lost.push(format!("task {task}: {:?}", interactions.get(task)));
        }
        wrong.lost.extend(skills.into_iter().map(|skill| format!("skill {skill}")));
        wrong.stuck.extend(promises.stuck(&interactions));
        for agent in
            api.get(&format!("/tenants/{tenant}/live/agents?limit=500"))?["items"].as_array().context("items")?
        {
            if agent["state"]["kind"] != "idle" {
                wrong.stuck.push(format!("agent {agent}"));
            }
        }
        println!("appliance_ha_whole_calls {} calls", promises.calls.len());
        println!("appliance_ha_whole_tasks {} tasks", promises.tasks.len());
        wrong.tell()
    }
}

fn ended(kept: &Kept) -> bool {
    kept.record["state"]["kind"] == "ended"
}

/// What does not balance.
#[derive(Debug, Default)]
struct Wrong {
    lost: Vec<String>,
    stuck: Vec<String>,
    doubled: Vec<String>,
}

impl Wrong {
    fn tell(&self) -> anyhow::Result<()> {
        let (lost, stuck, doubled) = (self.lost.len(), self.stuck.len(), self.doubled.len());
        println!("appliance_ha_whole_lost {lost} interactions");
        println!("appliance_ha_whole_stuck {stuck} interactions");
        println!("appliance_ha_whole_doubled {doubled} interactions");
        ensure!((lost, stuck, doubled) == (0, 0, 0), "{self:#?}");
        Ok(())
    }
}

impl Promises {
    fn calls_wrong(&self, interactions: &BTreeMap<String, Kept>) -> Wrong {
        let mut of_caller: BTreeMap<&str, Vec<&Kept>> = BTreeMap::new();
        for kept in interactions.values() {
            of_caller.entry(kept.record["caller"].as_str().unwrap_or_default()).or_default().push(kept);
        }
        let mut wrong = Wrong::default();
        for (number, call) in &self.calls {
            let kept = of_caller.get(number.as_str()).map_or(&[][..], Vec::as_slice);
            let said = || format!("{number}: {call:?} {kept:?}");
            let cut = self
                .excused
                .iter()
                .any(|(from, to)| call.placed <= *to && call.ended.is_none_or(|ended| ended >= *from));
            if call.served.is_none() && !cut || call.served.is_some() && kept.is_empty() {
                wrong.lost.push(said());
            }
            if kept.len() > 1 || kept.iter().any(|kept| kept.connected > 1) {
                wrong.doubled.push(said());
            }
        }
        wrong
    }
}

impl Promises {
    /// What is live although everybody has gone. A task whose making was never acknowledged may be.
    fn stuck(&self, interactions: &BTreeMap<String, Kept>) -> Vec<String> {
        let promised = |id: &str, kept: &Kept| kept.record["media"] != "task" || self.tasks.contains(id);
        let live = interactions.iter().filter(|(id, kept)| !ended(kept) && promised(id, kept));
        live.map(|(id, kept)| format!("interaction {id}: {} {}", kept.record["state"], kept.story)).collect()
    }
}

/// Those of the names that are not there.
fn names_of_skills(api: &Api<'_>, wanted: &HashSet<String>) -> anyhow::Result<Vec<String>> {
    let Some(tenant) = api.get("/tenants?limit=100")?["items"]
        .as_array()
        .and_then(|items| items.iter().find(|item| item["name"] == "Other")?["id"].as_str().map(str::to_owned))
    else {
        anyhow::bail!("the other tenant is gone")
    };
    let (mut there, mut cursor) = (HashSet::new(), String::new());
    loop {
        let page = api.get(&format!("/tenants/{tenant}/skills?limit=500{cursor}"))?;
        let items = page["items"].as_array().context("items")?;
        there.extend(items.iter().filter_map(|item| item["name"].as_str().map(str::to_owned)));
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return Ok(wanted.difference(&there).cloned().collect()),
        }
    }
}

/// All interactions of the tenant, ended or not, by their ids.
fn interactions(fleet: &Fleet, redis: &str, tenant: &str) -> anyhow::Result<BTreeMap<String, Kept>> {
    let (url, prefix) = (redis.to_owned(), format!("{{{tenant}}}:"));
    at_once(fleet, move || async move {
        let pool = RedisPool::new(RedisOptions::from_url(&url)?, StoreMetrics::default());
        let all: Vec<String> =
            pool.run("ledger", Retry::Safe, cmd("KEYS").arg(format!("{prefix}interaction:*"))).await?;
        let mut interactions = BTreeMap::new();
        for key in all {
            let record: Option<String> = pool.run("ledger", Retry::Safe, cmd("GET").arg(&key)).await?;
            // It may have come to the end of its time.
            let Some(record) = record else { continue };
            let record: Value = serde_json::from_str(&record)?;
            let id = record["id"].as_str().context("an id")?.to_owned();
            let history = cmd("LRANGE").arg(format!("{prefix}history:{id}")).arg(0).arg(-1).clone();
            let entries: Vec<String> = pool.run("ledger", Retry::Safe, &history).await?;
            interactions.insert(id, kept(record, &entries)?);
        }
        Ok(interactions)
    })
}

fn kept(record: Value, entries: &[String]) -> anyhow::Result<Kept> {
    let mut story = Vec::new();
    for entry in entries {
        let entry: Value = serde_json::from_str(entry)?;
        let event = &entry["event"];
        let kind = event["kind"].as_str().context("a kind")?.to_owned();
        let more = if kind == "offer_failed" {
            format!("({} {})", event["failure"], event["sip_code"])
        } else {
            String::new()
        };
        story.push(format!("{}:{kind}{more}", entry["at_ms"]));
    }
    let connected = story.iter().filter(|event| event.ends_with(":interaction_connected")).count();
    Ok(Kept { record, connected, story: story.join(" ") })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;
    use crate::people::End;

    fn interaction(caller: &str, state: &str, connected: usize) -> Kept {
        let record = json!({ "caller": caller, "media": "voice", "state": { "kind": state } });
        Kept { record, connected, story: String::new() }
    }

    fn call(placed: Instant, served: bool) -> Call {
        let later = placed + Duration::from_secs(1);
        let served = served.then_some(later);
        Call { placed, answered: None, served, silence: Duration::ZERO, end: Some(End::HungUp), ended: Some(later) }
    }

    #[test]
    fn what_does_not_balance_is_seen() {
        let (now, outage) = (Instant::now(), Instant::now() + Duration::from_secs(60));
        let calls = [
            ("fine", call(now, true)),
            ("never served", call(now, false)),
            ("cut by an outage", call(outage, false)),
            ("unknown to the house", call(now, true)),
            ("twice in the house", call(now, true)),
            ("two agents", call(now, true)),
        ];
        let mut promises = Promises::default();
        promises.calls.extend(calls.map(|(number, call)| (number.to_owned(), call)));
        promises.excused.push((outage, outage + Duration::from_secs(5)));
        let kept = [
            ("a", interaction("fine", "ended", 1)),
            ("b", interaction("never served", "waiting", 0)),
            ("c", interaction("twice in the house", "ended", 1)),
            ("d", interaction("twice in the house", "ended", 0)),
            ("e", interaction("two agents", "ended", 2)),
        ];
        let interactions = kept.map(|(id, kept)| (id.to_owned(), kept)).into();
        let wrong = promises.calls_wrong(&interactions);
        let named = |found: &[String], names: &[&str]| {
            found.len() == names.len() && found.iter().zip(names).all(|(said, name)| said.starts_with(name))
        };
        assert!(named(&wrong.lost, &["never served", "unknown to the house"]), "{wrong:?}");
        assert!(named(&wrong.doubled, &["twice in the house", "two agents"]), "{wrong:?}");
        assert!(named(&promises.stuck(&interactions), &["interaction b"]));
    }
}

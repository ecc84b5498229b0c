//! Clerks who change a tenant's configuration through every fault: each write is asked under one Idempotency-Key until it is
//! acknowledged, and its effect entered in a book. At rest, the configuration must be what the book says.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context;
use reqwest::Method;
use ringdown_domain::{AgentId, SkillLevel, SkillName};
use ringdown_events::AgentConfig;
use serde_json::{Value, json};
use uuid::Uuid;

use super::office::{Answer, Office, Request, View};
use super::random::Random;
use super::{SKILLS, skill};

/// A write without an acknowledgement for so long is stuck: beyond every outage of the suite.
const LIMIT: Duration = Duration::from_secs(60);
/// Most skills and most agents a clerk keeps, so that a long run compiles no ever larger configuration.
const KEPT: usize = 20;
/// Between a refusal and the next try.
const PAUSE: Duration = Duration::from_millis(100);
/// One request in so many is given up by its clerk before its answer can have come: nobody knows what became of it.
const GIVEN_UP: u64 = 8;
/// They give up within this: about twice what a write takes in the tests' profile, so that some have been made by then.
const GIVEN_UP_MS: u64 = 50;

/// What the clerks did, and what must be there after it.
#[derive(Debug, Default)]
pub struct Book {
    /// The configuration as acknowledged.
    pub view: View,
    /// Writes acknowledged.
    pub acknowledged: u64,
    /// 503.
    pub refused: u64,
    /// 504, or given up.
    pub unknown: u64,
    /// Acknowledged as made already: an unknown outcome that had been made.
    pub replayed: u64,
    /// The longest wait for an answer.
    pub slowest: Duration,
    /// Writes that were never acknowledged.
    pub stuck: Vec<String>,
    /// Answers that cannot be: neither an acknowledgement, nor a clear 503, nor an unknown outcome.
    pub wrong: Vec<String>,
}

/// What an answer means for who asked.
enum Heard {
    Done(Value),
    Again,
    Wrong,
}

impl Book {
    fn hear(&mut self, write: &Write, answer: anyhow::Result<Answer>, took: Duration) -> Heard {
        self.slowest = self.slowest.max(took);
        match answer {
            Ok(Answer { status: 200..=299, body, is_replay, .. }) => {
                self.replayed += u64::from(is_replay);
                return Heard::Done(body);
            }
            Ok(Answer { status: 503, is_clear_refusal: true, .. }) => self.refused += 1,
            Ok(answer) if answer.status == 504 && answer.body["code"] == "outcome_unknown" => self.unknown += 1,
            wrong => {
                self.wrong.push(format!("{write:?}: {wrong:?}"));
                return Heard::Wrong;
            }
        }
        Heard::Again
    }
}

/// All clerks of a tenant.
#[derive(Debug)]
pub struct Clerks {
    stop: AtomicBool,
    book: Mutex<Book>,
}

impl Clerks {
    /// Before the first write.
    #[must_use]
    pub fn new(founded: View) -> Self {
        Self { stop: AtomicBool::new(false), book: Mutex::new(Book { view: founded, ..Book::default() }) }
    }

    /// Clerks may end.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// The book.
    pub fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes until the stop. No two clerks may have an agent in common.
    ///
    /// # Errors
    /// An acknowledgement cannot be read.
    pub async fn work(self: Arc<Self>, office: Arc<Office>, agents: Vec<AgentId>, seed: u64) -> anyhow::Result<()> {
        let mut desk = Desk::new(agents, seed);
        while !self.stop.load(Ordering::Relaxed) {
            let write = desk.choose();
            let Some(answer) = self.carry_out(&office, &write, &mut desk.random).await else { return Ok(()) };
            let mut book = self.book();
            book.acknowledged += 1;
            desk.enter(write, &answer, &mut book.view)?;
        }
        Ok(())
    }

    /// The acknowledgement; none when there was none that can be.
    async fn carry_out(&self, office: &Office, write: &Write, random: &mut Random) -> Option<Value> {
        let (request, key) = (write.request(random.below(2) == 0), Uuid::now_v7().to_string());
        let began = Instant::now();
        while began.elapsed() < LIMIT {
            let asked = Instant::now();
            let asking = office.ask(&request, &key);
            let patience =
                if random.below(GIVEN_UP) == 0 { Duration::from_millis(random.below(GIVEN_UP_MS)) } else { LIMIT };
            let Ok(answer) = tokio::time::timeout(patience, asking).await else {
                self.book().unknown += 1;
                continue;
            };
            let heard = self.book().hear(write, answer, asked.elapsed());
            match heard {
                Heard::Done(body) => return Some(body),
                Heard::Again => tokio::time::sleep(PAUSE).await,
                Heard::Wrong => return None,
            }
        }
        self.book().stuck.push(format!("{write:?}"));
        None
    }
}

/// One change of the configuration.
#[derive(Clone, Debug)]
enum Write {
    AddSkill(SkillName),
    RemoveSkill(SkillName),
    Hire { name: String, skills: Vec<SkillName> },
    LetGo(AgentId),
    Grant { agent: AgentId, skill: SkillName, level: SkillLevel },
    Revoke { agent: AgentId, skill: SkillName },
}

impl Write {
    fn request(&self, waits: bool) -> Request {
        let of_agent = |agent: &AgentId, skill: &SkillName| format!("agents/{agent}/skills/{skill}");
        let (method, path, body) = match self {
            Self::AddSkill(skill) => (Method::POST, "skills".to_owned(), Some(json!({ "name": skill }))),
            Self::RemoveSkill(skill) => (Method::DELETE, format!("skills/{skill}"), None),
            Self::Hire { name, skills } => {
                let skills: serde_json::Map<_, _> = skills.iter().map(|skill| (skill.to_string(), json!(3))).collect();
                (Method::POST, "agents".to_owned(), Some(json!({ "name": name, "skills": skills })))
            }
            Self::LetGo(agent) => (Method::DELETE, format!("agents/{agent}"), None),
            Self::Grant { agent, skill, level } => {
                (Method::PUT, of_agent(agent, skill), Some(json!({ "level": level })))
            }
            Self::Revoke { agent, skill } => (Method::DELETE, of_agent(agent, skill), None),
        };
        Request { method, path, body, waits }
    }
}

/// What one clerk has made so far.
struct Desk {
    random: Random,
    /// Agents whose skills this clerk alone changes.
    agents: Vec<AgentId>,
    skills: Vec<SkillName>,
    hired: Vec<AgentId>,
    granted: BTreeSet<(AgentId, SkillName)>,
    /// Makes names.
    seed: u64,
    number: u64,
}

impl Desk {
    fn new(agents: Vec<AgentId>, seed: u64) -> Self {
        let (skills, hired, granted) = (Vec::new(), Vec::new(), BTreeSet::new());
        Self { random: Random::new(seed), agents, skills, hired, granted, seed, number: 0 }
    }

    fn choose(&mut self) -> Write {
        self.number += 1;
        let name = format!("clerk-{:x}-{}", self.seed, self.number);
        let fewer = self.random.below(3) == 0;
        match self.random.below(3) {
            0 if self.skills.len() >= KEPT || (fewer && !self.skills.is_empty()) => {
                Write::RemoveSkill(self.skills.swap_remove(pick(&mut self.random, self.skills.len())))
            }
            0 => Write::AddSkill(name.parse().expect("a skill's name")),
            1 if self.hired.len() >= KEPT || (fewer && !self.hired.is_empty()) => {
                Write::LetGo(self.hired.swap_remove(pick(&mut self.random, self.hired.len())))
            }
            1 => Write::Hire { name, skills: self.random.skills(2) },
            _ => self.choose_grant(fewer),
        }
    }

    fn choose_grant(&mut self, fewer: bool) -> Write {
        if fewer && !self.granted.is_empty() {
            let number = pick(&mut self.random, self.granted.len());
            let (agent, skill) = self.granted.iter().nth(number).cloned().expect("a number below the count");
            return Write::Revoke { agent, skill };
        }
        let agent = self.agents[pick(&mut self.random, self.agents.len())];
        let level = u8::try_from(1 + self.random.below(10)).ok().and_then(|level| SkillLevel::try_from(level).ok());
        let skill = skill(pick(&mut self.random, SKILLS));
        Write::Grant { agent, skill, level: level.expect("1 to 10") }
    }

    /// Enters an acknowledged write.
    fn enter(&mut self, write: Write, answer: &Value, view: &mut View) -> anyhow::Result<()> {
        let agent = |answer: &Value| serde_json::from_value::<AgentConfig>(answer.clone()).context("an agent");
        match write {
            Write::AddSkill(skill) => {
                view.skills.insert(skill.clone());
                self.skills.push(skill);
            }
            Write::RemoveSkill(skill) => {
                view.skills.remove(&skill);
            }
            Write::Hire { .. } => {
                let agent = agent(answer)?;
                self.hired.push(agent.id);
                view.agents.insert(agent.id, agent);
            }
            Write::LetGo(id) => {
                view.agents.remove(&id);
            }
            Write::Grant { agent, skill, level } => {
                view.agents.get_mut(&agent).context("one of ours")?.skills.insert(skill.clone(), level);
                self.granted.insert((agent, skill));
            }
            Write::Revoke { agent, skill } => {
                view.agents.get_mut(&agent).context("one of ours")?.skills.remove(&skill);
                self.granted.remove(&(agent, skill));
            }
        }
        Ok(())
    }
}

fn pick(random: &mut Random, of: usize) -> usize {
    random.below(of as u64) as usize
}

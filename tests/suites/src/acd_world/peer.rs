//! The peer: the round trips of the Redis Basic ACD's dispatcher, one after the other on one connection, as our study of it
//! describes them (facts, no code of it): pop the oldest, read it, intersect the whole skill sets, claim the first agent
//! under a lock with two writes per skill, write both; then the release of the agent and the end of the interaction.

use std::time::{Duration, Instant};

use ringdown_domain::SkillName;
use ringdown_redis_store::redis::{self, Script, aio::MultiplexedConnection};

use super::random::Random;

const UNLOCK: &str = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0";

/// A dispatcher and its data.
pub struct Peer {
    connection: MultiplexedConnection,
    unlock: Script,
    /// Interactions made so far.
    made: u64,
}

impl Peer {
    /// Puts the agents into Redis, all available.
    ///
    /// # Errors
    /// Redis failed.
    pub async fn new(url: &str, agents: &[Vec<SkillName>]) -> anyhow::Result<Self> {
        let client = redis::Client::open(url)?;
        let config = redis::AsyncConnectionConfig::new().set_response_timeout(Some(Duration::from_secs(10)));
        let mut connection = client.get_multiplexed_async_connection_with_config(&config).await?;
        for (chunk, list) in agents.chunks(500).enumerate() {
            let mut pipe = redis::pipe();
            for (index, skills) in list.iter().enumerate() {
                let number = chunk * 500 + index;
                pipe.cmd("SET").arg(format!("peer:agent:{number}")).arg(agent_json(number, skills, 1)).ignore();
                for skill in skills {
                    pipe.cmd("ZADD").arg(set(skill)).arg(number).arg(number).ignore();
                }
            }
            pipe.query_async::<()>(&mut connection).await?;
        }
        Ok(Self { connection, unlock: Script::new(UNLOCK), made: 0 })
    }

    /// Pairs of assignment and release within `time`; gives pairs per second.
    ///
    /// # Errors
    /// Redis failed.
    pub async fn pairs_per_second(&mut self, agents: &[Vec<SkillName>], time: Duration) -> anyhow::Result<f64> {
        let mut random = Random::new(3);
        let (mut spent, mut pairs) = (Duration::ZERO, 0_u32);
        while spent < time {
            let one = random.below(agents.len() as u64) as usize;
            let needs = random.needs(&agents[one]);
            self.create(&needs).await?;
            let started = Instant::now();
            self.pair(agents).await?;
            spent += started.elapsed();
            pairs += 1;
        }
        Ok(f64::from(pairs) / spent.as_secs_f64())
    }

    /// What its API does on arrival; not part of what is measured.
    async fn create(&mut self, needs: &[SkillName]) -> anyhow::Result<()> {
        self.made += 1;
        let (key, json) = (format!("peer:contact:{}", self.made), contact_json(needs, 1, None));
        let mut pipe = redis::pipe();
        pipe.cmd("SET").arg(&key).arg(json).ignore().cmd("ZADD").arg("peer:queue").arg(self.made).arg(&key).ignore();
        Ok(pipe.query_async(&mut self.connection).await?)
    }

    async fn pair(&mut self, agents: &[Vec<SkillName>]) -> anyhow::Result<()> {
        let popped: (String, String, String) =
            redis::cmd("BZPOPMIN").arg("peer:queue").arg(5).query_async(&mut self.connection).await?;
        let contact = popped.1;
        let text: String = self.get(&contact).await?;
        let needs: Vec<SkillName> =
            serde_json::from_value(serde_json::from_str::<serde_json::Value>(&text)?["skills"].take())?;
        let mut inter = redis::cmd("ZINTER");
        inter.arg(needs.len());
        for skill in &needs {
            inter.arg(set(skill));
        }
        let able: Vec<usize> = inter.query_async(&mut self.connection).await?;
        let number = *able.first().ok_or_else(|| anyhow::anyhow!("nobody can serve {needs:?}"))?;
        let skills = &agents[number];
        self.set_state(number, skills, false).await?;
        let mut both = redis::cmd("MSET");
        both.arg(&contact).arg(contact_json(&needs, 2, Some(number)));
        both.arg(format!("peer:agent:{number}")).arg(agent_json(number, skills, 0));
        both.query_async::<()>(&mut self.connection).await?;
        self.set_state(number, skills, true).await?;
        let mut end = redis::pipe();
        end.atomic().cmd("SET").arg(&contact).arg(contact_json(&needs, 3, Some(number))).ignore();
        end.cmd("EXPIRE").arg(&contact).arg(3_600).ignore();
        Ok(end.query_async(&mut self.connection).await?)
    }

    /// Lock, look, two writes per skill, unlock: each a round trip.
    async fn set_state(&mut self, number: usize, skills: &[SkillName], available: bool) -> anyhow::Result<()> {
        let (key, lock) = (format!("peer:agent:{number}"), format!("peer:agent:{number}:lock"));
        let mut take = redis::cmd("SET");
        take.arg(&lock).arg("token").arg("NX").arg("PX").arg(1_000);
        take.query_async::<Option<String>>(&mut self.connection).await?;
        redis::cmd("EXISTS").arg(&key).query_async::<i64>(&mut self.connection).await?;
        let _state: String = self.get(&key).await?;
        let _skills: String = self.get(&key).await?;
        for skill in skills {
            let mut line = redis::cmd(if available { "ZADD" } else { "ZREM" });
            line.arg(set(skill));
            if available {
                line.arg(self.made + 1_000_000);
            }
            line.arg(number).query_async::<i64>(&mut self.connection).await?;
            let json = agent_json(number, skills, u8::from(available));
            redis::cmd("SET").arg(&key).arg(json).query_async::<()>(&mut self.connection).await?;
        }
        let _held: Option<String> = self.get(&lock).await?;
        self.unlock.key(&lock).arg("token").invoke_async::<i64>(&mut self.connection).await?;
        Ok(())
    }

    async fn get<T: redis::FromRedisValue>(&mut self, key: &str) -> anyhow::Result<T> {
        Ok(redis::cmd("GET").arg(key).query_async(&mut self.connection).await?)
    }
}

fn set(skill: &SkillName) -> String {
    format!("peer:{{available}}:{skill}")
}

fn agent_json(number: usize, skills: &[SkillName], state: u8) -> String {
    serde_json::json!({ "id": number, "fname": "First", "lname": "Last", "skills": skills, "state": state }).to_string()
}

fn contact_json(skills: &[SkillName], state: u8, agent: Option<usize>) -> String {
    serde_json::json!({ "skills": skills, "state": state, "agent": agent }).to_string()
}

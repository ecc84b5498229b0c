//! Whether agents' phones are registered, told to the router of a tenant while this process has its lease.
//!
//! The registrars write bindings to Redis and say whose changed; here they are read, and what changed becomes a command in the
//! tenant's stream, like everything else the router hears. Bindings that expire are noticed by their time. All are read anew
//! whenever nothing could be heard for a while, and now and then.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use ringdown_domain::{AgentId, CommandId, TenantId, TimestampMs};
use ringdown_events::{AgentRecord, Command, CompiledConfig};
use ringdown_redis_store::{CommandClient, Retry, StoreError, Subscription, keys, redis};
use ringdown_service::entropy;
use serde::Deserialize;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Shared;

/// All bindings are read again after this time: what a lost message did not tell is right then at the latest.
const READ_ALL_EVERY: Duration = Duration::from_secs(60);
/// Pause after a failure.
const PAUSE: Duration = Duration::from_millis(500);
/// Users read in one step.
const CHUNK: usize = 500;

/// What is read of a binding.
#[derive(Deserialize)]
struct Expiry {
    expires_at_ms: TimestampMs,
}

type Configs = watch::Receiver<Arc<CompiledConfig>>;

/// Watches until `end`.
pub(crate) async fn watch(shared: Shared, tenant: TenantId, configs: Configs, end: CancellationToken) {
    let holder = format!("phones of {}", shared.holder);
    let (commands, _outcomes) = CommandClient::new(shared.pool.clone(), holder);
    let mut phones = Phones {
        shared,
        tenant,
        configs,
        commands,
        users: HashMap::new(),
        told: HashMap::new(),
        until: BTreeMap::new(),
    };
    tokio::select! {
        () = end.cancelled() => {}
        () = phones.run() => {}
    }
}

struct Phones {
    shared: Shared,
    tenant: TenantId,
    configs: Configs,
    commands: CommandClient,
    /// The users under which agents' phones register.
    users: HashMap<String, AgentId>,
    /// What the router knows.
    told: HashMap<AgentId, bool>,
    /// Until when each agent who can be reached can be, if nothing is registered anew.
    until: BTreeMap<AgentId, TimestampMs>,
}

impl Phones {
    async fn run(&mut self) {
        loop {
            if let Err(error) = self.hear().await {
                log::warn!(tenant:% = self.tenant, error:% = error; "agents' phones cannot be watched; trying again");
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Until Redis goes away.
    async fn hear(&mut self) -> Result<(), StoreError> {
        let mut changes = self.shared.pool.subscriber(&keys::location_changed(self.tenant)).await?;
        loop {
            self.read_all().await?;
            let again = Instant::now() + READ_ALL_EVERY;
            if !self.hear_until(&mut changes, again).await? {
                return Ok(());
            }
        }
    }

    /// Until all is to be read again (true), or nothing more can be heard (false).
    async fn hear_until(&mut self, changes: &mut Subscription, again: Instant) -> Result<bool, StoreError> {
        loop {
            let expires = self.next_expiry();
            tokio::select! {
                message = changes.next() => {
                    let Some(message) = message else { return Ok(false) };
                    if let Some(agent) = self.agent_of(message.get_payload_bytes()) {
                        self.read(&[agent]).await?;
                    }
                }
                changed = self.configs.changed() => return Ok(changed.is_ok()),
                () = tokio::time::sleep_until(again) => return Ok(true),
                () = tokio::time::sleep(expires), if !self.until.is_empty() => {
                    let now = self.shared.life.clock().now();
                    let over: Vec<_> = self.until.iter().filter(|(_, until)| **until <= now).map(|(id, _)| *id).collect();
                    self.read(&over).await?;
                }
            }
        }
    }

    fn next_expiry(&self) -> Duration {
        let now = self.shared.life.clock().now();
        let first = self.until.values().min().copied().unwrap_or(now);
        Duration::from_millis(first.since_ms(now).saturating_add(1))
    }

    /// Whose bindings changed: the payload is who changed them, a space, and the user.
    fn agent_of(&self, payload: &[u8]) -> Option<AgentId> {
        let user = std::str::from_utf8(payload).ok()?.split_once(' ')?.1;
        self.users.get(user).copied()
    }

    async fn read_all(&mut self) -> Result<(), StoreError> {
        self.users =
            self.configs.borrow_and_update().agents.values().map(|agent| (agent.phone_user(), agent.id)).collect();
        let agents: Vec<AgentId> = self.users.values().copied().collect();
        self.until.clear();
        self.learn_told(&agents).await?;
        self.read(&agents).await
    }

    /// What the router knows stands in its agents' records. A command that came before its agent was configured is made up for
    /// in this way too.
    async fn learn_told(&mut self, agents: &[AgentId]) -> Result<(), StoreError> {
        self.told.clear();
        for chunk in agents.chunks(CHUNK) {
            let mut pipe = redis::pipe();
            for agent in chunk {
                pipe.cmd("GET").arg(keys::agent(self.tenant, *agent));
            }
            let texts: Vec<Option<String>> = self.shared.pool.run_pipeline("read_agents", Retry::Safe, &pipe).await?;
            for (agent, text) in chunk.iter().zip(texts) {
                let record = text.and_then(|text| serde_json::from_str::<AgentRecord>(&text).ok());
                if let Some(reachable) = record.and_then(|record| record.reachable) {
                    self.told.insert(*agent, reachable);
                }
            }
        }
        Ok(())
    }

    async fn read(&mut self, agents: &[AgentId]) -> Result<(), StoreError> {
        for chunk in agents.chunks(CHUNK) {
            let users: Vec<(AgentId, String)> = {
                let config = self.configs.borrow();
                let user = |id: &AgentId| config.agents.get(id).map(|agent| (*id, agent.phone_user()));
                chunk.iter().filter_map(user).collect()
            };
            let mut pipe = redis::pipe();
            for (_, user) in &users {
                pipe.cmd("HVALS").arg(keys::location(self.tenant, user));
            }
            let found: Vec<Vec<String>> = self.shared.pool.run_pipeline("read_phones", Retry::Safe, &pipe).await?;
            for ((agent, _), bindings) in users.into_iter().zip(found) {
                self.found(agent, &bindings).await?;
            }
        }
        Ok(())
    }

    async fn found(&mut self, agent: AgentId, bindings: &[String]) -> Result<(), StoreError> {
        let now = self.shared.life.clock().now();
        let expiry = |text: &String| serde_json::from_str::<Expiry>(text).ok().map(|read| read.expires_at_ms);
        let until = bindings.iter().filter_map(expiry).filter(|until| *until > now).max();
        match until {
            Some(until) => self.until.insert(agent, until),
            None => self.until.remove(&agent),
        };
        let reachable = until.is_some();
        if self.told.get(&agent) == Some(&reachable) {
            return Ok(());
        }
        // A repeat of what the router knows already changes nothing, so an id per try is enough.
        let command = Command::ObservePhone { agent, reachable };
        self.commands.append(self.tenant, CommandId::from_parts(now.0, &entropy::bytes()), command).await?;
        self.told.insert(agent, reachable);
        Ok(())
    }
}

//! The conservation check: every live interaction is in exactly one place, every agent's record agrees with the index, parents and
//! children of a conversation are all live.
//!
//! It reads Redis, not the core, so that it finds what the core cannot know. A pass goes through the sets in steps of a
//! few hundred ids, each one script (records and indexes of one step agree) of about a millisecond, at a pace that costs
//! Redis less than one per cent; it goes on where it stopped. The number of a whole pass is the gauge.

use std::time::Duration;

use redis::Script;
use ringdown_domain::TenantId;
use ringdown_redis_store::{RedisPool, Retry, StoreError, keys, redis};

/// Ids per step, about.
const STEP: &str = "200";
/// Pause between steps.
pub(crate) const PACE: Duration = Duration::from_millis(200);
/// Pause between passes.
pub(crate) const REST: Duration = Duration::from_secs(10);

/// KEYS: live, queue. ARGV: cursor, count, prefix of interactions, prefix of agents. Gives the next cursor and what is
/// wrong.
const INTERACTIONS: &str = r"
local scan = redis.call('SSCAN', KEYS[1], ARGV[1], 'COUNT', ARGV[2])
local wrong = {}
for _, id in ipairs(scan[2]) do
  local text = redis.call('GET', ARGV[3] .. id)
  local queued = redis.call('ZSCORE', KEYS[2], id)
  if not text then
    wrong[#wrong + 1] = id .. ': no record'
  else
    local record = cjson.decode(text)
    local state = record.state
    if record.parent and redis.call('SISMEMBER', KEYS[1], record.parent) == 0 then
      wrong[#wrong + 1] = id .. ': takes part in a conversation that is over'
    end
    for _, child in ipairs(record.children or {}) do
      if state.kind ~= 'ended' and redis.call('SISMEMBER', KEYS[1], child) == 0 then
        wrong[#wrong + 1] = id .. ': a party of it is gone'
      end
    end
    if state.kind == 'waiting' then
      if not queued then wrong[#wrong + 1] = id .. ': waits outside the queue' end
    elseif queued then
      wrong[#wrong + 1] = id .. ': ' .. state.kind .. ' and still queued'
    elseif state.kind == 'ended' then
      wrong[#wrong + 1] = id .. ': ended and still live'
    elseif state.kind == 'external' then
      -- With an outside number: no agent has it.
    else
      local agent = redis.call('GET', ARGV[4] .. state.agent)
      local with = agent and cjson.decode(agent).state.interaction
      if with ~= id then wrong[#wrong + 1] = id .. ': its agent is elsewhere' end
    end
  end
end
return {scan[1], wrong}
";

/// KEYS: agents, live. ARGV: cursor, count, prefix of agents, prefix of interactions, prefix of the index.
const AGENTS: &str = r"
local scan = redis.call('SSCAN', KEYS[1], ARGV[1], 'COUNT', ARGV[2])
local wrong = {}
for _, id in ipairs(scan[2]) do
  local text = redis.call('GET', ARGV[3] .. id)
  if not text then
    wrong[#wrong + 1] = id .. ': no record'
  else
    local agent = cjson.decode(text)
    local since = agent.available_since_ms
    for skill, _ in pairs(agent.skills) do
      local score = redis.call('ZSCORE', ARGV[5] .. skill, id)
      if type(since) == 'number' then
        if not score or tonumber(score) ~= since then wrong[#wrong + 1] = id .. ': available, index of ' .. skill .. ' disagrees' end
      elseif score then
        wrong[#wrong + 1] = id .. ': not available, but in the index of ' .. skill
      end
    end
    local kind = agent.state.kind
    if kind == 'reserved' or kind == 'ringing' or kind == 'talking' then
      local record = redis.call('GET', ARGV[4] .. agent.state.interaction)
      local state = record and cjson.decode(record).state
      if not state or state.agent ~= id or state.kind == 'ended' then
        wrong[#wrong + 1] = id .. ': ' .. kind .. ' with an interaction that is elsewhere'
      end
    end
  end
end
return {scan[1], wrong}
";

/// One pass over all live interactions and all agents; gives what is wrong.
pub(crate) async fn pass(pool: &RedisPool, tenant: TenantId) -> Result<Vec<String>, StoreError> {
    let (agent, interaction) = (keys::agent_prefix(tenant), keys::interaction_prefix(tenant));
    let mut wrong = Vec::new();
    let both = [keys::live(tenant), keys::queue(tenant)];
    walk(pool, INTERACTIONS, &both, &[&interaction, &agent], &mut wrong).await?;
    let both = [keys::agents(tenant), keys::live(tenant)];
    let index = keys::available_prefix(tenant);
    walk(pool, AGENTS, &both, &[&agent, &interaction, &index], &mut wrong).await?;
    Ok(wrong)
}

async fn walk(
    pool: &RedisPool,
    script: &str,
    names: &[String],
    prefixes: &[&str],
    wrong: &mut Vec<String>,
) -> Result<(), StoreError> {
    let script = Script::new(script);
    let mut cursor = "0".to_owned();
    loop {
        let mut args = vec![cursor.as_str(), STEP];
        args.extend(prefixes);
        let (next, found): (String, Vec<String>) = pool.run_script("audit", Retry::Safe, &script, names, &args).await?;
        wrong.extend(found);
        if next == "0" {
            return Ok(());
        }
        cursor = next;
        tokio::time::sleep(PACE).await;
    }
}

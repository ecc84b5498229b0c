//! The fenced commit: one Lua script that applies a list of writes, all or none of them.
//!
//! ```text
//! lease is mine? --no--> Fenced
//!      | yes
//! guard holds?   --no--> Moved (my picture of the state is not the committed one)
//!      | yes
//! every write, in order; the lease is extended
//!      |
//!      | without replicas: what others act on (outcomes, journal, voice effects) is written with the rest
//!      | with replicas:    it is laid down in a list beside the state, WAIT, then a second script writes it where others read
//! ```
//!
//! So nobody acts on, or is told of, what a failover can still lose (DESIGN 10). Who dies in between leaves the list, which is
//! as durable as the state: the successor confirms and shows it ([`Committer::show_left`]) before it decides anything.
//!
//! The writes travel as one MessagePack text that the script unpacks (`cmsgpack`): one argument instead of thousands, and
//! one round trip whatever the batch. What Lua must make a string of costs Redis most, so writes that begin alike are
//! grouped, and a text that several writes carry is sent once and referred to by number. The guard makes a repeat after an unknown outcome safe:
//! the first application moved what it checks.

use std::time::{Duration, Instant};

use redis::Script;
use serde::Serialize;

use crate::{BlockingConnection, Lease, RedisPool, StoreError};

/// The most arguments of one Redis command inside a commit: Lua's `unpack` has a limit of 8,000 values.
const MAX_COMMAND_ARGS: usize = 4_000;

/// How the scripts carry out groups of writes.
const WRITE_GROUPS: &str = r"
local function write_groups(texts, groups)
  for _, group in ipairs(groups) do
    local call = group[1]
    local same = #call
    for _, row in ipairs(group[2]) do
      local count = #row
      for i = 1, count do
        local arg = row[i]
        if type(arg) == 'number' then arg = texts[arg] end
        call[same + i] = arg
      end
      redis.call(unpack(call, 1, same + count))
    end
  end
end
";

/// KEYS: lease, guarded hash, list of what is not shown yet. ARGV: lease value, lease ms, guard field, guard value ('' = no
/// guard), packed writes, packed writes to be shown, '1' when these wait for replicas.
const SCRIPT: &str = r"
local held = redis.call('GET', KEYS[1])
if held ~= ARGV[1] then return {'fenced', held or ''} end
if ARGV[3] ~= '' then
  local found = redis.call('HGET', KEYS[2], ARGV[3]) or ''
  if found ~= ARGV[4] then return {'moved', found} end
end
if ARGV[6] ~= '' then
  if ARGV[7] == '1' then
    redis.call('RPUSH', KEYS[3], ARGV[6])
  else
    local shown = cmsgpack.unpack(ARGV[6])
    write_groups(shown[1], shown[2])
  end
end
local plan = cmsgpack.unpack(ARGV[5])
for _, write in ipairs(plan[1]) do redis.call(unpack(write)) end
write_groups({}, plan[2])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return {'ok', ''}
";

/// Writes what has waited for replicas, in its order, each entry once. KEYS: lease, the list. ARGV: lease value.
const SHOW: &str = r"
local held = redis.call('GET', KEYS[1])
if held ~= ARGV[1] then return {'fenced', held or ''} end
while true do
  local packed = redis.call('LPOP', KEYS[2])
  if not packed then return {'ok', ''} end
  local shown = cmsgpack.unpack(packed)
  write_groups(shown[1], shown[2])
end
";

/// What must still be so for a commit to apply: a field of the router's hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guard {
    /// The hash.
    pub key: String,
    /// The field.
    pub field: &'static str,
    /// Its expected value; empty for a field that is not there.
    pub expected: String,
}

/// Writes that begin with the same arguments, and the rest of each.
type Group = (Vec<String>, Vec<Vec<Arg>>);

/// A list of writes to apply together: first what is shown to others, then the single ones, then the groups, each in the order
/// of its making. So should a write fail half-way, the writer's own position, which it writes last, has not moved.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Commit {
    writes: Vec<Vec<String>>,
    groups: Vec<Group>,
    texts: Vec<String>,
    shown: Vec<Group>,
}

/// An argument of a write in a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Arg {
    /// As it stands.
    Text(String),
    /// A text that other writes carry too.
    Shared(SharedText),
}

/// The number of a text given to [`Commit::share`], from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct SharedText(u32);

impl Commit {
    /// An empty one.
    #[must_use]
    pub const fn new() -> Self {
        Self { writes: Vec::new(), groups: Vec::new(), texts: Vec::new(), shown: Vec::new() }
    }

    /// Adds a write: the command's name and its arguments.
    pub fn push<const N: usize>(&mut self, command: [String; N]) {
        self.push_list(Vec::from(command));
    }

    /// As [`Commit::push`], for a command with any number of arguments.
    ///
    /// # Panics
    /// When a single command has 4,000 arguments or more: its writer must split it.
    pub fn push_list(&mut self, command: Vec<String>) {
        assert!(command.len() < MAX_COMMAND_ARGS, "a command inside a commit must be split by its writer");
        self.writes.push(command);
    }

    /// Keeps a text that several of the writes that are shown carry.
    ///
    /// # Panics
    /// After 2^32 texts, which no memory holds.
    pub fn share(&mut self, text: String) -> SharedText {
        self.texts.push(text);
        SharedText(u32::try_from(self.texts.len()).expect("fewer than 2^32 texts"))
    }

    /// Adds writes that begin with the same arguments, as `XADD stream MAXLEN ~ 1000`; each row is the rest of one.
    ///
    /// # Panics
    /// As [`Commit::push_list`].
    pub fn push_group(&mut self, same: Vec<String>, rows: Vec<Vec<Arg>>) {
        push_rows(&mut self.groups, same, rows);
    }

    /// As [`Commit::push_group`], for what others act on or are told of: where replicas confirm commits, it is written when they
    /// have. It may carry texts of [`Commit::share`].
    ///
    /// # Panics
    /// As [`Commit::push_list`].
    pub fn show_group(&mut self, same: Vec<String>, rows: Vec<Vec<Arg>>) {
        push_rows(&mut self.shown, same, rows);
    }

    /// How many writes it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.writes.len() + self.groups.iter().chain(&self.shown).map(|(_, rows)| rows.len()).sum::<usize>()
    }

    /// Whether it has none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.writes.is_empty() && self.groups.is_empty() && self.shown.is_empty()
    }

    /// Both parts as the scripts unpack them; the second is empty when nothing is shown.
    fn packed(&self) -> Result<(Vec<u8>, Vec<u8>), StoreError> {
        let state = pack(&(&self.writes, &self.groups))?;
        let shown = if self.shown.is_empty() { Vec::new() } else { pack(&(&self.texts, &self.shown))? };
        Ok((state, shown))
    }
}

fn push_rows(groups: &mut Vec<Group>, same: Vec<String>, rows: Vec<Vec<Arg>>) {
    let longest = rows.iter().map(Vec::len).max().unwrap_or(0);
    assert!(same.len() + longest < MAX_COMMAND_ARGS, "a command inside a commit must be split by its writer");
    if !rows.is_empty() {
        groups.push((same, rows));
    }
}

fn pack<T: Serialize>(plan: &T) -> Result<Vec<u8>, StoreError> {
    let mut packed = Vec::with_capacity(4_096);
    rmp_serde::encode::write(&mut packed, plan)
        .map_err(|error| StoreError::Unreadable { what: "commit", detail: error.to_string() })?;
    Ok(packed)
}

impl From<String> for Arg {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<SharedText> for Arg {
    fn from(text: SharedText) -> Self {
        Self::Shared(text)
    }
}

/// Why a commit did not take place, or may not have.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// The lease is not ours any more. Nothing was written. Drop what was decided; it was somebody else's to decide.
    #[error("fenced: the lease is held by {held_by:?}")]
    Fenced {
        /// The lease's value now; empty when nobody holds it.
        held_by: String,
    },
    /// The lease is ours, but the guarded field is not what we built upon. Nothing was written. Rebuild from what is
    /// committed.
    #[error("the committed state moved: found {found:?}")]
    Moved {
        /// The guarded field's value now.
        found: String,
    },
    /// The write was applied here but too few replicas confirmed it in time. Repeating is safe with a guard.
    #[error("only {confirmed} of {wanted} replicas confirmed the write")]
    TooFewReplicas {
        /// How many did.
        confirmed: u32,
        /// How many were to.
        wanted: u32,
    },
    /// Redis failed; [`StoreError::outcome_unknown`] tells whether the commit may have been applied.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Sends commits on a connection of its own, one after the other.
#[derive(Debug)]
pub struct Committer {
    connection: BlockingConnection,
    /// Where what is not shown yet lies: beside the state, on its shard.
    unshown: String,
    script: Script,
    show: Script,
    metrics: crate::StoreMetrics,
    limit: Duration,
    replicas: u32,
}

impl Committer {
    /// How long one commit may take before its outcome counts as unknown. With `appendfsync always` on a busy disk
    /// hundreds of milliseconds were seen.
    const LIMIT: Duration = Duration::from_secs(2);

    /// A committer that waits for `replicas` confirmations (0: none are configured), and meanwhile keeps what is to be shown in
    /// the list `unshown`.
    #[must_use]
    pub fn new(pool: &RedisPool, unshown: String, replicas: u32) -> Self {
        Self {
            connection: pool.blocking("commit"),
            unshown,
            script: Script::new(&format!("{WRITE_GROUPS}{SCRIPT}")),
            show: Script::new(&format!("{WRITE_GROUPS}{SHOW}")),
            metrics: pool.metrics().clone(),
            limit: Self::LIMIT,
            replicas,
        }
    }

    /// Applies a commit under a lease and extends the lease.
    ///
    /// # Errors
    /// See [`CommitError`].
    pub async fn commit(&mut self, lease: &Lease, guard: Option<&Guard>, commit: &Commit) -> Result<(), CommitError> {
        let (state, shown) = commit.packed()?;
        let started = Instant::now();
        let result = self.send(lease, guard, &state, &shown).await;
        self.metrics.operation("commit", result.is_ok(), started.elapsed());
        if matches!(result, Err(CommitError::Store(_))) {
            self.connection.disconnect();
        }
        result?;
        lease.extended_at(started);
        self.confirm(lease).await
    }

    /// Waits until enough replicas have everything that was written on this connection, then shows what waited for that. Nothing
    /// to do without replicas.
    ///
    /// # Errors
    /// [`CommitError::TooFewReplicas`], the lease is lost, or Redis failed. A new connection knows nothing of what an old one
    /// wrote, so after a failure write something (or commit again) before confirming anew.
    pub async fn confirm(&mut self, lease: &Lease) -> Result<(), CommitError> {
        if self.replicas == 0 {
            return Ok(());
        }
        self.wait_for_replicas().await?;
        self.show_confirmed(lease).await
    }

    /// Shows what a predecessor committed and did not live to show. Before a successor decides anything.
    ///
    /// # Errors
    /// As [`Committer::confirm`].
    pub async fn show_left(&mut self, lease: &Lease) -> Result<(), CommitError> {
        let mut length = redis::cmd("LLEN");
        length.arg(&self.unshown);
        let left: u64 = self.connection.run(&length, self.limit).await?;
        if left == 0 {
            return Ok(());
        }
        // WAIT counts what this connection wrote: an empty commit is written after everything that is there.
        let (state, shown) = Commit::new().packed()?;
        self.send(lease, None, &state, &shown).await?;
        if self.replicas > 0 {
            self.wait_for_replicas().await?;
        }
        self.show_confirmed(lease).await
    }

    async fn show_confirmed(&mut self, lease: &Lease) -> Result<(), CommitError> {
        let mut connection = self.connection.connection().await?;
        let mut invocation = self.show.prepare_invoke();
        invocation.key(lease.key()).key(&self.unshown).arg(lease.value());
        let answer =
            tokio::time::timeout(self.limit, invocation.invoke_async::<(String, String)>(&mut connection)).await;
        let result = verdict(answer);
        if matches!(result, Err(CommitError::Store(_))) {
            self.connection.disconnect();
        }
        result
    }

    /// How long to wait after an error of Redis.
    #[must_use]
    pub fn pause_after_failure(&self) -> Duration {
        self.connection.pause_after_failure()
    }

    async fn send(
        &mut self,
        lease: &Lease,
        guard: Option<&Guard>,
        state: &[u8],
        shown: &[u8],
    ) -> Result<(), CommitError> {
        let mut connection = self.connection.connection().await?;
        let mut invocation = self.script.prepare_invoke();
        let (guard_key, field, expected) =
            guard.map_or((lease.key(), "", ""), |guard| (guard.key.as_str(), guard.field, guard.expected.as_str()));
        invocation.key(lease.key()).key(guard_key).key(&self.unshown);
        invocation.arg(lease.value()).arg(lease.ttl_ms()).arg(field).arg(expected).arg(state).arg(shown);
        invocation.arg(if self.replicas > 0 { "1" } else { "" });
        let answer =
            tokio::time::timeout(self.limit, invocation.invoke_async::<(String, String)>(&mut connection)).await;
        verdict(answer)
    }

    async fn wait_for_replicas(&mut self) -> Result<(), CommitError> {
        let mut cmd = redis::cmd("WAIT");
        // Redis gives up before we do, so that "too few" is an answer and not a silence.
        cmd.arg(self.replicas).arg((self.limit * 3 / 4).as_millis().to_string());
        let confirmed: u32 = self.connection.run(&cmd, self.limit).await?;
        if confirmed < self.replicas {
            return Err(CommitError::TooFewReplicas { confirmed, wanted: self.replicas });
        }
        Ok(())
    }
}

/// What a script's answer means; none came within the limit.
fn verdict(
    answer: Result<redis::RedisResult<(String, String)>, tokio::time::error::Elapsed>,
) -> Result<(), CommitError> {
    let (verdict, detail) = match answer {
        Ok(result) => result.map_err(|error| StoreError::from_redis("commit", error))?,
        Err(_) => return Err(unknown("no answer within the limit").into()),
    };
    match verdict.as_str() {
        "ok" => Ok(()),
        "fenced" => Err(CommitError::Fenced { held_by: detail }),
        "moved" => Err(CommitError::Moved { found: detail }),
        _ => Err(unknown("an answer the commit scripts do not give").into()),
    }
}

fn unknown(detail: &str) -> StoreError {
    StoreError::Unknown { what: "commit", detail: detail.to_owned() }
}

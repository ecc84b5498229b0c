//! The fenced commit: one Lua script that applies a list of writes, all or none of them.
//!
//! ```text
//! lease is mine? --no--> Fenced
//!      | yes
//! guard holds?   --no--> Moved (my picture of the state is not the committed one)
//!      | yes
//! every write, in order; the lease is extended; WAIT for replicas when configured
//! ```
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

/// KEYS: lease, guarded hash. ARGV: lease value, lease ms, guard field, guard value ('' = no guard), packed writes.
const SCRIPT: &str = r"
local held = redis.call('GET', KEYS[1])
if held ~= ARGV[1] then return {'fenced', held or ''} end
if ARGV[3] ~= '' then
  local found = redis.call('HGET', KEYS[2], ARGV[3]) or ''
  if found ~= ARGV[4] then return {'moved', found} end
end
local plan = cmsgpack.unpack(ARGV[5])
local texts = plan[1]
for _, write in ipairs(plan[2]) do redis.call(unpack(write)) end
for _, group in ipairs(plan[3]) do
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
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return {'ok', ''}
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

/// A list of writes to apply together: first the single ones, then the groups, each in the order of its making.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Commit {
    texts: Vec<String>,
    writes: Vec<Vec<String>>,
    groups: Vec<(Vec<String>, Vec<Vec<Arg>>)>,
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
        Self { texts: Vec::new(), writes: Vec::new(), groups: Vec::new() }
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

    /// Keeps a text that several writes carry.
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
        let longest = rows.iter().map(Vec::len).max().unwrap_or(0);
        assert!(same.len() + longest < MAX_COMMAND_ARGS, "a command inside a commit must be split by its writer");
        if !rows.is_empty() {
            self.groups.push((same, rows));
        }
    }

    /// How many writes it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.writes.len() + self.groups.iter().map(|(_, rows)| rows.len()).sum::<usize>()
    }

    /// Whether it has none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.writes.is_empty() && self.groups.is_empty()
    }

    fn packed(&self) -> Result<Vec<u8>, StoreError> {
        let mut packed = Vec::with_capacity(4_096);
        rmp_serde::encode::write(&mut packed, &(&self.texts, &self.writes, &self.groups))
            .map_err(|error| StoreError::Unreadable { what: "commit", detail: error.to_string() })?;
        Ok(packed)
    }
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
    script: Script,
    metrics: crate::StoreMetrics,
    limit: Duration,
    replicas: u32,
}

impl Committer {
    /// How long one commit may take before its outcome counts as unknown. With `appendfsync always` on a busy disk
    /// hundreds of milliseconds were seen.
    const LIMIT: Duration = Duration::from_secs(2);

    /// A committer that waits for `replicas` confirmations (0: none are configured).
    #[must_use]
    pub fn new(pool: &RedisPool, replicas: u32) -> Self {
        Self {
            connection: pool.blocking("commit"),
            script: Script::new(SCRIPT),
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
        let packed = commit.packed()?;
        let started = Instant::now();
        let result = self.send(lease, guard, packed).await;
        self.metrics.operation("commit", result.is_ok(), started.elapsed());
        if matches!(result, Err(CommitError::Store(_))) {
            self.connection.disconnect();
        }
        result?;
        lease.extended_at(started);
        self.confirm().await
    }

    /// Waits until enough replicas have everything that was written on this connection. Nothing to do without replicas.
    ///
    /// # Errors
    /// [`CommitError::TooFewReplicas`], or Redis failed. A new connection knows nothing of what an old one wrote, so
    /// after a failure write something (or commit again) before confirming anew.
    pub async fn confirm(&mut self) -> Result<(), CommitError> {
        if self.replicas > 0 { self.wait_for_replicas().await } else { Ok(()) }
    }

    /// How long to wait after an error of Redis.
    #[must_use]
    pub fn pause_after_failure(&self) -> Duration {
        self.connection.pause_after_failure()
    }

    async fn send(&mut self, lease: &Lease, guard: Option<&Guard>, packed: Vec<u8>) -> Result<(), CommitError> {
        let mut connection = self.connection.connection().await?;
        let mut invocation = self.script.prepare_invoke();
        let (guard_key, field, expected) =
            guard.map_or((lease.key(), "", ""), |guard| (guard.key.as_str(), guard.field, guard.expected.as_str()));
        invocation.key(lease.key()).key(guard_key);
        invocation.arg(lease.value()).arg(lease.ttl_ms()).arg(field).arg(expected).arg(packed.as_slice());
        let answer =
            tokio::time::timeout(self.limit, invocation.invoke_async::<(String, String)>(&mut connection)).await;
        let (verdict, detail) = match answer {
            Ok(result) => result.map_err(|error| StoreError::from_redis("commit", error))?,
            Err(_) => return Err(unknown("no answer within the limit").into()),
        };
        match verdict.as_str() {
            "ok" => Ok(()),
            "fenced" => Err(CommitError::Fenced { held_by: detail }),
            "moved" => Err(CommitError::Moved { found: detail }),
            _ => Err(unknown("an answer the commit script does not give").into()),
        }
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

fn unknown(detail: &str) -> StoreError {
    StoreError::Unknown { what: "commit", detail: detail.to_owned() }
}

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
//! one round trip whatever the batch. Everything in it is text. The guard makes a repeat after an unknown outcome safe:
//! the first application moved what it checks.

use std::time::{Duration, Instant};

use redis::Script;

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
local writes = cmsgpack.unpack(ARGV[5])
for i = 1, #writes do redis.call(unpack(writes[i])) end
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

/// A list of writes to apply together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Commit {
    writes: Vec<Vec<String>>,
    bytes: usize,
}

impl Commit {
    /// An empty one.
    #[must_use]
    pub const fn new() -> Self {
        Self { writes: Vec::new(), bytes: 0 }
    }

    /// Adds a write: the command's name and its arguments.
    ///
    /// # Panics
    /// When a single command has 4,000 arguments or more: its writer must split it.
    pub fn push<const N: usize>(&mut self, command: [String; N]) {
        self.push_list(Vec::from(command));
    }

    /// As [`Commit::push`], for a command with any number of arguments.
    ///
    /// # Panics
    /// As [`Commit::push`].
    pub fn push_list(&mut self, command: Vec<String>) {
        assert!(command.len() < MAX_COMMAND_ARGS, "a command inside a commit must be split by its writer");
        self.bytes += command.iter().map(|arg| arg.len() + 5).sum::<usize>();
        self.writes.push(command);
    }

    /// How many writes it has.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.writes.len()
    }

    /// Whether it has none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }

    /// About how many bytes it takes on the wire.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    fn packed(&self) -> Result<Vec<u8>, StoreError> {
        let mut packed = Vec::with_capacity(self.bytes + self.writes.len() * 3 + 8);
        rmp_serde::encode::write(&mut packed, &self.writes)
            .map_err(|error| StoreError::Unreadable { what: "commit", detail: error.to_string() })?;
        Ok(packed)
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
        cmd.arg(self.replicas).arg(self.limit.as_millis().to_string());
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

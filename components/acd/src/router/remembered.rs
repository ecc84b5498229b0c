//! Commands already answered, so that a repeat gets the same answer and has no second effect.
//!
//! The memory is bounded by the outcome stream's length: a successor rebuilds it from there. Answers are kept as the text
//! that stands in the stream; a repeat needs no more.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use ringdown_domain::{CommandId, TenantId};
use ringdown_redis_store::{RedisPool, Retry, StoreError, StreamReader, StreamStart, keys, redis};

/// Entries per read while rebuilding.
const CHUNK: usize = 5_000;

/// The memory.
#[derive(Debug)]
pub(crate) struct Remembered {
    limit: usize,
    answers: HashMap<CommandId, Arc<str>>,
    order: VecDeque<CommandId>,
}

impl Remembered {
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, answers: HashMap::new(), order: VecDeque::new() }
    }

    /// Rebuilds the memory from the newest `limit` outcomes.
    pub(crate) async fn rebuild(pool: &RedisPool, tenant: TenantId, limit: usize) -> Result<Self, StoreError> {
        let stream = keys::outcomes(tenant);
        let mut length = redis::cmd("XLEN");
        length.arg(&stream);
        let length: usize = pool.run("outcomes_length", Retry::Safe, &length).await?;
        let mut memory = Self::new(limit);
        // The stream is trimmed about its limit, never far above: reading it from its oldest entry costs little more.
        let mut reader = StreamReader::new(pool, "outcomes_read", CHUNK);
        reader.follow(&stream, StreamStart::Oldest);
        for _chunk in 0..=(length / CHUNK) {
            for entry in reader.next(std::time::Duration::ZERO).await? {
                let id = entry.field(keys::OUTCOME_COMMAND_FIELD).and_then(|text| text.parse().ok());
                if let (Some(id), Some(text)) = (id, entry.field(keys::OUTCOME_FIELD)) {
                    memory.remember(id, text.into());
                }
            }
        }
        Ok(memory)
    }

    /// The answer a command got.
    pub(crate) fn answer(&self, id: CommandId) -> Option<&Arc<str>> {
        self.answers.get(&id)
    }

    /// Keeps an answer; the oldest one goes when there are too many.
    pub(crate) fn remember(&mut self, id: CommandId, answer: Arc<str>) {
        if self.answers.insert(id, answer).is_none() {
            self.order.push_back(id);
        }
        if self.order.len() > self.limit
            && let Some(oldest) = self.order.pop_front()
        {
            self.answers.remove(&oldest);
        }
    }
}

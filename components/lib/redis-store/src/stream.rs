//! Reading streams from a position, waiting for what is new.

use std::collections::HashMap;
use std::time::Duration;

use redis::{FromRedisValue, Value};

use crate::{BlockingConnection, RedisPool, Retry, StoreError};

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamEntry {
    /// The stream's key.
    pub stream: String,
    /// The entry's id, as `1526919030474-55`.
    pub id: String,
    /// Its fields. Values that are no UTF-8 are replaced, which their reader will refuse.
    pub fields: HashMap<String, String>,
}

impl StreamEntry {
    /// A field's value.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.get(name).map(String::as_str)
    }
}

/// Where a reader starts in a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StreamStart {
    /// At the oldest entry there is.
    Oldest,
    /// Behind the entry with this id.
    After(String),
}

/// Reads one or several streams, each from its own position, on a connection of its own.
#[derive(Debug)]
pub struct StreamReader {
    connection: BlockingConnection,
    positions: Vec<(String, String)>,
    batch: usize,
}

impl StreamReader {
    /// A reader of at most `batch` entries per stream and call.
    #[must_use]
    pub fn new(pool: &RedisPool, what: &'static str, batch: usize) -> Self {
        Self { connection: pool.blocking(what), positions: Vec::new(), batch }
    }

    /// Adds a stream, or moves its position.
    pub fn follow(&mut self, stream: &str, start: StreamStart) {
        let position = match start {
            StreamStart::Oldest => "0-0".to_owned(),
            StreamStart::After(id) => id,
        };
        match self.positions.iter_mut().find(|(key, _)| key == stream) {
            Some(entry) => entry.1 = position,
            None => self.positions.push((stream.to_owned(), position)),
        }
    }

    /// Stops reading a stream.
    pub fn unfollow(&mut self, stream: &str) {
        self.positions.retain(|(key, _)| key != stream);
    }

    /// Most entries per stream and call.
    #[must_use]
    pub const fn batch(&self) -> usize {
        self.batch
    }

    /// Whether it reads nothing.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.positions.is_empty()
    }

    /// The position in a stream: the id of the last entry handed out.
    #[must_use]
    pub fn position(&self, stream: &str) -> Option<&str> {
        self.positions.iter().find(|(key, _)| key == stream).map(|(_, position)| position.as_str())
    }

    /// Waits up to `wait` for entries; none when there were none. Positions move on with what is handed out. When the
    /// call is dropped half-way, call [`StreamReader::disconnect`] before the next.
    ///
    /// # Errors
    /// See [`StoreError`]; positions stay, so the next call misses nothing.
    pub async fn next(&mut self, wait: Duration) -> Result<Vec<StreamEntry>, StoreError> {
        if self.positions.is_empty() {
            return Ok(Vec::new());
        }
        let mut cmd = redis::cmd("XREAD");
        cmd.arg("COUNT").arg(self.batch);
        if !wait.is_zero() {
            // BLOCK 0 means for ever: a wait below a millisecond is rounded up instead.
            cmd.arg("BLOCK").arg(wait.as_millis().max(1).to_string());
        }
        cmd.arg("STREAMS");
        for (key, _) in &self.positions {
            cmd.arg(key);
        }
        for (_, position) in &self.positions {
            cmd.arg(position);
        }
        let value: Value = self.connection.run(&cmd, wait).await?;
        let entries = parse_streams(value)?;
        for entry in &entries {
            self.follow(&entry.stream, StreamStart::After(entry.id.clone()));
        }
        Ok(entries)
    }

    /// Drops the connection: needed after a dropped [`StreamReader::next`].
    pub fn disconnect(&mut self) {
        self.connection.disconnect();
    }

    /// How long to wait after an error.
    #[must_use]
    pub fn pause_after_failure(&self) -> Duration {
        self.connection.pause_after_failure()
    }
}

/// The id of a stream's newest entry; `0-0` when it has none. Reading after it gives only what comes later.
///
/// # Errors
/// See [`StoreError`].
pub async fn newest_stream_id(pool: &RedisPool, stream: &str) -> Result<String, StoreError> {
    let what = "newest_stream_id";
    let mut cmd = redis::cmd("XREVRANGE");
    cmd.arg(stream).arg("+").arg("-").arg("COUNT").arg(1);
    let value: Value = pool.run(what, Retry::Safe, &cmd).await?;
    let entries = parse_entries(stream, value)?;
    Ok(entries.into_iter().next().map_or_else(|| "0-0".to_owned(), |entry| entry.id))
}

/// The answer of XREAD: `[[stream, [[id, [field, value, ...]], ...]], ...]`, or nil.
fn parse_streams(value: Value) -> Result<Vec<StreamEntry>, StoreError> {
    let mut entries = Vec::new();
    if value == Value::Nil {
        return Ok(entries);
    }
    let Value::Array(streams) = value else { return Err(unreadable(&value)) };
    for stream in streams {
        let (key, list) = pair(stream)?;
        entries.extend(parse_entries(&text(&key)?, list)?);
    }
    Ok(entries)
}

/// The answer of XRANGE and the inner list of XREAD.
pub(crate) fn parse_entries(stream: &str, value: Value) -> Result<Vec<StreamEntry>, StoreError> {
    let Value::Array(list) = value else { return Err(unreadable(&value)) };
    let mut entries = Vec::with_capacity(list.len());
    for entry in list {
        let (id, fields) = pair(entry)?;
        let Value::Array(flat) = fields else { return Err(unreadable(&fields)) };
        let mut fields = HashMap::with_capacity(flat.len() / 2);
        for both in flat.chunks_exact(2) {
            fields.insert(text(&both[0])?, text(&both[1])?);
        }
        entries.push(StreamEntry { stream: stream.to_owned(), id: text(&id)?, fields });
    }
    Ok(entries)
}

fn pair(value: Value) -> Result<(Value, Value), StoreError> {
    let Value::Array(items) = value else { return Err(unreadable(&value)) };
    <[Value; 2]>::try_from(items)
        .map(|[first, second]| (first, second))
        .map_err(|items| unreadable(&Value::Array(items)))
}

fn text(value: &Value) -> Result<String, StoreError> {
    if let Value::BulkString(bytes) = value {
        return Ok(String::from_utf8_lossy(bytes).into_owned());
    }
    String::from_redis_value_ref(value).map_err(|_| unreadable(value))
}

fn unreadable(value: &Value) -> StoreError {
    let found = if matches!(value, Value::Array(_)) { "an array of another shape" } else { "another type" };
    StoreError::Unreadable { what: "read_stream", detail: format!("stream entries expected, found {found}") }
}

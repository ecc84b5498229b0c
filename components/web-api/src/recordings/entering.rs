//! Enters what the voice duties tell about recordings.

use std::time::Duration;

use ringdown_events::{RecordedParty, RecordingNote};
use ringdown_pg_store::{Isolation, PgError};
use ringdown_redis_store::{Retry, StreamEntry, StreamReader, StreamStart, keys, redis};
use ringdown_service::{Backoff, Life};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::app::App;
use crate::db::Tx;

/// The row of [`stream_positions`] that is ours.
const READER: &str = "recordings";
/// Entries per read and transaction.
const BATCH: usize = 200;
/// How long a read waits for news.
const WAIT: Duration = Duration::from_secs(5);
/// How long recordings of interactions without a known queue are kept.
const DEFAULT_DAYS: i64 = 90;
const DAY_MS: i64 = 86_400_000;

/// Follows the stream for the life of the daemon. Every process does; the entries are the same whoever enters them.
pub fn follow(life: &Life, app: App) {
    let shutdown = life.shutdown();
    life.spawn("recordings", async move {
        let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(10));
        while !shutdown.is_requested() {
            let followed = tokio::select! {
                followed = read(&app) => followed,
                () = shutdown.requested() => return Ok(()),
            };
            if let Err(error) = followed {
                log::debug!(error:display; "recordings are not entered now; they are when stores are back");
            }
            backoff.wait(&shutdown).await;
        }
        Ok(())
    });
}

/// Reads from where somebody stopped, until something fails.
async fn read(app: &App) -> anyhow::Result<()> {
    let mut reader = StreamReader::new(&app.redis, "recorded", BATCH);
    let position = position(app).await?;
    reader.follow(keys::RECORDED, position.map_or(StreamStart::Oldest, StreamStart::After));
    loop {
        let entries = reader.next(WAIT).await?;
        if let Some(last) = entries.last() {
            enter(app, &entries, &last.id).await?;
        }
    }
}

async fn position(app: &App) -> Result<Option<String>, PgError> {
    let mut session = app.pg.session("read_position").await?;
    let sql = "SELECT position FROM stream_positions WHERE reader = $1";
    Ok(session.query(sql, &[&READER]).await?.first().map(|row| row.get(0)))
}

async fn enter(app: &App, entries: &[StreamEntry], last: &str) -> anyhow::Result<()> {
    let mut notes = Vec::with_capacity(entries.len());
    for entry in entries {
        match serde_json::from_str::<RecordingNote>(entry.field(keys::ENTRY_FIELD).unwrap_or_default()) {
            Ok(note) => notes.push(note),
            Err(error) => log::error!(id = entry.id.as_str(), error:display; "a note of a recording cannot be read"),
        }
    }
    let mut facts = Vec::with_capacity(notes.len());
    for note in &notes {
        facts.push(Facts::of(app, note).await?);
    }
    let mut session = app.pg.session("enter_recordings").await?;
    let mut tx = session.begin(Isolation::Snapshot).await?;
    for (note, facts) in notes.iter().zip(&facts) {
        insert(&mut tx, note, facts).await?;
    }
    let sql = "INSERT INTO stream_positions (reader, position) VALUES ($1, $2) \
               ON CONFLICT (reader) DO UPDATE SET position = excluded.position, updated_at = now()";
    tx.execute(sql, &[&READER, &last]).await?;
    tx.commit().await?;
    Ok(())
}

/// What the interaction's record still says.
#[derive(Debug, Default)]
struct Facts {
    queue: Option<Uuid>,
    agent: Option<Uuid>,
    caller: Option<String>,
    called: Option<String>,
}

impl Facts {
    async fn of(app: &App, note: &RecordingNote) -> anyhow::Result<Self> {
        let mut cmd = redis::cmd("GET");
        cmd.arg(keys::interaction(note.tenant, note.interaction));
        let text: Option<String> = app.redis.run("recorded_interaction", Retry::Safe, &cmd).await?;
        let record: Option<ringdown_events::InteractionRecord> = text.and_then(|text| serde_json::from_str(&text).ok());
        let Some(record) = record else { return Ok(Self::default()) };
        let agent = match record.state {
            ringdown_domain::InteractionState::Connected { agent, .. }
            | ringdown_domain::InteractionState::Ended { agent: Some(agent), .. } => Some(agent.0),
            ringdown_domain::InteractionState::Waiting
            | ringdown_domain::InteractionState::Offered { .. }
            | ringdown_domain::InteractionState::External { .. }
            | ringdown_domain::InteractionState::Ended { agent: None, .. } => None,
        };
        Ok(Self {
            queue: record.queue.map(|queue| queue.0),
            agent,
            caller: record.caller.map(|number| number.as_str().to_owned()),
            called: record.called.map(|number| number.as_str().to_owned()),
        })
    }
}

async fn insert(tx: &mut Tx<'_>, note: &RecordingNote, facts: &Facts) -> Result<(), PgError> {
    let (party, own) = match note.party {
        RecordedParty::Agent(agent) => ("agent", Some(agent.0)),
        RecordedParty::Customer => ("customer", None),
        RecordedParty::Number => ("number", None),
    };
    let number = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    let begun = number(note.begun_at_ms.0);
    let agent = own.or(facts.agent);
    let (id, piece) = (id_of(note), i32::try_from(note.number).unwrap_or(i32::MAX));
    // A tenant that is gone has no recordings; its files go with the expiry of the folder's owner.
    let sql = "INSERT INTO recordings (id, tenant_id, interaction_id, number, party, agent_id, queue_id, caller, called, \
               begun_at_ms, duration_ms, bytes, sha256, object, node, kept_until_ms) \
               SELECT $1, t.id, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, \
               $10 + $16 * coalesce((SELECT q.recording_days FROM queues q WHERE q.tenant_id = $2 AND q.id = $7)::bigint, $17) \
               FROM tenants t WHERE t.id = $2 ON CONFLICT DO NOTHING";
    let node = note.node.as_str();
    let values: crate::db::Values<'_, 17> = [
        &id,
        &note.tenant.0,
        &note.interaction.0,
        &piece,
        &party,
        &agent,
        &facts.queue,
        &facts.caller,
        &facts.called,
        &begun,
        &number(note.duration_ms),
        &number(note.bytes),
        &note.sha256,
        &note.object,
        &node,
        &DAY_MS,
        &DEFAULT_DAYS,
    ];
    tx.execute(sql, &values).await?;
    Ok(())
}

/// The time of the beginning, then a hash of the object's name: whoever enters it gives it the same id.
fn id_of(note: &RecordingNote) -> Uuid {
    let hash = Sha256::digest(note.object.as_bytes());
    let mut bytes = [0_u8; 16];
    bytes[..6].copy_from_slice(&note.begun_at_ms.0.to_be_bytes()[2..]);
    bytes[6..].copy_from_slice(&hash[..10]);
    bytes[6] = 0x70 | (bytes[6] & 0x0f);
    bytes[8] = 0x80 | (bytes[8] & 0x3f);
    Uuid::from_bytes(bytes)
}

//! Reading and parsing a tenant's command stream, in a task of its own, ahead of the driver.
//!
//! The channel between them holds two batches: while one is decided and another committed, the next is parsed.

use std::time::Duration;

use ringdown_domain::CommandId;
use ringdown_events::{CommandEnvelope, MESSAGE_VERSION};
use ringdown_redis_store::{StreamEntry, StreamReader, keys};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Most bytes of one command. The largest valid one (16 attributes of 256 characters, 16 skills) is below 16 kB.
const MAX_COMMAND_BYTES: usize = 65_536;
/// One read waits this long; a stop interrupts it.
const WAIT: Duration = Duration::from_secs(5);
/// Batches between reader and driver.
pub(crate) const BATCHES_AHEAD: usize = 2;

/// What one read gave.
#[derive(Debug)]
pub(crate) struct Arrivals {
    /// In the order of the stream.
    pub(crate) list: Vec<Arrival>,
    /// The stream had no more.
    pub(crate) caught_up: bool,
}

/// One command as it came out of the stream.
#[derive(Debug)]
pub(crate) struct Arrival {
    /// Its id in the stream: the position once it is decided.
    pub(crate) position: String,
    /// What it says.
    pub(crate) message: Message,
}

/// What an entry says.
#[derive(Debug)]
pub(crate) enum Message {
    /// A command of a version we understand.
    Command(Box<CommandEnvelope>),
    /// Something with an id and an asker, so that it can be refused with an outcome.
    Refusable {
        /// Its id.
        id: CommandId,
        /// Who asked.
        asker: String,
        /// Why it is refused.
        detail: String,
    },
    /// Nobody to answer to.
    Unreadable {
        /// Why.
        detail: String,
    },
}

/// Reads until `stop`, or until nobody listens. While Redis is away it waits. The first read does not wait for commands,
/// so that the driver learns at once when there is no backlog.
pub(crate) async fn read(mut reader: StreamReader, batches: mpsc::Sender<Arrivals>, stop: CancellationToken) {
    let mut wait = Duration::ZERO;
    loop {
        let entries = tokio::select! {
            () = stop.cancelled() => return,
            () = batches.closed() => return,
            entries = reader.next(wait) => entries,
        };
        match entries {
            Ok(entries) => {
                let arrivals = Arrivals {
                    caught_up: entries.len() < reader.batch(),
                    list: entries.into_iter().map(parse).collect(),
                };
                let first = std::mem::replace(&mut wait, WAIT).is_zero();
                if (first || !arrivals.list.is_empty()) && batches.send(arrivals).await.is_err() {
                    return;
                }
            }
            Err(error) => {
                log::warn!(error:% = error; "cannot read commands; trying again");
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = tokio::time::sleep(reader.pause_after_failure()) => {}
                }
            }
        }
    }
}

fn parse(entry: StreamEntry) -> Arrival {
    let message = match entry.field(keys::ENTRY_FIELD) {
        None => Message::Unreadable { detail: "the entry has no command".to_owned() },
        Some(text) if text.len() > MAX_COMMAND_BYTES => {
            Message::Unreadable { detail: format!("the command has {} bytes", text.len()) }
        }
        Some(text) => parse_text(text),
    };
    Arrival { position: entry.id, message }
}

fn parse_text(text: &str) -> Message {
    match serde_json::from_str::<CommandEnvelope>(text) {
        Ok(envelope) if envelope.version > MESSAGE_VERSION => Message::Refusable {
            id: envelope.id,
            asker: envelope.asker,
            detail: format!("the command is of version {}, this router knows {MESSAGE_VERSION}", envelope.version),
        },
        Ok(envelope) => Message::Command(Box::new(envelope)),
        Err(error) => refusable(text, &error.to_string()),
    }
}

/// A command nobody understands may still say who asks.
fn refusable(text: &str, detail: &str) -> Message {
    #[derive(serde::Deserialize)]
    struct Asker {
        id: CommandId,
        asker: String,
    }
    match serde_json::from_str::<Asker>(text) {
        Ok(Asker { id, asker }) => Message::Refusable { id, asker, detail: detail.to_owned() },
        Err(_) => Message::Unreadable { detail: detail.to_owned() },
    }
}

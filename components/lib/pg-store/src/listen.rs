//! LISTEN and NOTIFY as nudges for reconcilers.
//!
//! A notification may be lost (the connection breaks, the reader is slow), so it never carries the truth: after each
//! connection, and whenever one had to be dropped, the reader is told to look at everything.

use std::time::Duration;

use futures_util::{Stream, StreamExt, stream};
use ringdown_service::{Backoff, Life};
use tokio::sync::mpsc;
use tokio_postgres::{AsyncMessage, Client};

use crate::{PgError, PgStore};

/// Nudges kept for a slow reader; more are dropped and become one [`Nudge::Everything`].
const KEPT: usize = 256;
/// Longest wait for LISTEN to be answered.
const LISTEN_LIMIT: Duration = Duration::from_secs(5);

/// A reason to look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Nudge {
    /// The connection is new, or nudges were dropped: anything may have changed.
    Everything,
    /// Somebody sent a NOTIFY.
    Notified {
        /// Its channel.
        channel: String,
        /// Its text; a hint, not the truth.
        payload: String,
    },
}

/// The receiving end of [`PgStore::listen`].
#[derive(Debug)]
pub struct Nudges(mpsc::Receiver<Nudge>);

impl Nudges {
    /// The next nudge; `None` on shutdown.
    pub async fn next(&mut self) -> Option<Nudge> {
        self.0.recv().await
    }
}

impl PgStore {
    /// Listens on `channels` (lower-case names) with a connection of its own, which it makes again whenever it breaks.
    pub fn listen(&self, life: &Life, channels: &[&'static str]) -> Nudges {
        let (sender, receiver) = mpsc::channel(KEPT);
        let statement: String = channels.iter().map(|channel| format!("LISTEN {};", quoted(channel))).collect();
        let shutdown = life.shutdown();
        let store = self.clone();
        life.spawn("pg listen", async move {
            let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
            while !sender.is_closed() {
                let error = tokio::select! {
                    ended = store.listen_once(&statement, &sender, &mut backoff) => ended,
                    () = shutdown.requested() => return Ok(()),
                };
                if let Err(error) = error {
                    log::debug!(error:% = error; "the listening connection ended");
                }
                if !backoff.wait(&shutdown).await {
                    return Ok(());
                }
            }
            // The reader is gone; that is the end of this task's work, but the daemon goes on.
            shutdown.requested().await;
            Ok(())
        });
        Nudges(receiver)
    }

    async fn listen_once(
        &self,
        statement: &str,
        sender: &mpsc::Sender<Nudge>,
        backoff: &mut Backoff,
    ) -> Result<(), PgError> {
        let (client, mut connection) = self.connect_alone().await?;
        let messages = stream::poll_fn(move |context| connection.poll_message(context));
        let mut messages = std::pin::pin!(messages);
        begin(&client, statement, messages.as_mut()).await?;
        backoff.reset();
        forward(messages.as_mut(), sender).await
    }
}

/// Sends LISTEN while the connection's messages are pumped. What arrives meanwhile is covered by the first nudge.
async fn begin(
    client: &Client,
    statement: &str,
    mut messages: std::pin::Pin<&mut impl Stream<Item = Result<AsyncMessage, tokio_postgres::Error>>>,
) -> Result<(), PgError> {
    let listening = ringdown_service::within("LISTEN", LISTEN_LIMIT, client.batch_execute(statement));
    let mut listening = std::pin::pin!(listening);
    loop {
        tokio::select! {
            listened = listening.as_mut() => return Ok(listened??),
            message = messages.next() => drop(message.ok_or_else(ended)??),
        }
    }
}

/// Passes notifications on until the connection or the reader ends.
async fn forward(
    mut messages: std::pin::Pin<&mut impl Stream<Item = Result<AsyncMessage, tokio_postgres::Error>>>,
    sender: &mpsc::Sender<Nudge>,
) -> Result<(), PgError> {
    let mut look_at_everything = true;
    loop {
        let message = tokio::select! {
            permit = sender.reserve(), if look_at_everything => {
                let Ok(permit) = permit else { return Ok(()) };
                permit.send(Nudge::Everything);
                look_at_everything = false;
                continue;
            }
            () = sender.closed() => return Ok(()),
            message = messages.next() => message.ok_or_else(ended)??,
        };
        if let AsyncMessage::Notification(notification) = message {
            let channel = notification.channel().to_owned();
            let nudge = Nudge::Notified { channel, payload: notification.payload().to_owned() };
            look_at_everything |= sender.try_send(nudge).is_err();
        }
    }
}

fn ended() -> PgError {
    PgError::Unavailable { why: "the listening connection ended".into() }
}

fn quoted(channel: &str) -> String {
    format!("\"{}\"", channel.replace('"', "\"\""))
}

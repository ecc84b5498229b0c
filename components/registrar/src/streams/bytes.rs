//! SIP over TCP and TLS: messages one behind the other (RFC 3261 18.3), pings between them (RFC 5626 3.5.1).

use std::time::Duration;

use ringdown_registrar_core::message::{Framed, StreamFramer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc::Receiver;
use tokio::time::Instant;

use super::{Bytes, Connection, End, in_time};
use crate::slots::{Slot, Standing};

/// Longest time to the first message, and for a begun message to be whole.
const MESSAGE_LIMIT: Duration = Duration::from_secs(30);
/// Longest silence: longer than the longest registration.
const IDLE_LIMIT: Duration = Duration::from_secs(3_700);

impl Connection {
    pub(super) async fn serve_bytes(
        &self,
        mut stream: Box<dyn Bytes>,
        mut outgoing: Receiver<Vec<u8>>,
        mut slot: Slot,
    ) -> End {
        let mut framer = StreamFramer::new();
        let mut buffer = vec![0_u8; 16_384];
        let mut until = Instant::now() + MESSAGE_LIMIT;
        loop {
            let standing = slot.standing();
            let step = tokio::select! {
                read = stream.read(&mut buffer) => match read {
                    Ok(0) => Err(End::Peer),
                    Ok(length) => self.take(&buffer[..length], &mut framer, &mut stream).await,
                    Err(error) => Err(error.into()),
                },
                bytes = outgoing.recv() => match bytes {
                    Some(bytes) => write(&mut stream, &bytes).await.map(|()| true),
                    None => Err(End::Ours),
                },
                standing = slot.changed() => match standing {
                    Standing::GivenUp => Err(End::GivenUp),
                    Standing::Unproved | Standing::Proved => continue,
                },
                () = self.unproved(standing) => Err(End::Unproved),
                () = tokio::time::sleep_until(until) => Err(End::Idle),
            };
            match step {
                // A begun message must become whole in the time it has.
                Ok(false) => until = until.min(Instant::now() + MESSAGE_LIMIT),
                Ok(true) => until = Instant::now() + IDLE_LIMIT,
                Err(end) => return end,
            }
        }
    }

    /// Hands whole messages on and answers pings; true when nothing is left over.
    async fn take(&self, bytes: &[u8], framer: &mut StreamFramer, stream: &mut Box<dyn Bytes>) -> Result<bool, End> {
        framer.push(bytes);
        while let Some(frame) = framer.next_frame()? {
            match frame {
                Framed::Ping => write(stream, b"\r\n").await?,
                Framed::Message(bytes) => self.received(bytes).await?,
            }
        }
        Ok(framer.is_empty())
    }
}

/// Encryption may hold bytes back until it is told that these were all.
async fn write(stream: &mut Box<dyn Bytes>, bytes: &[u8]) -> Result<(), End> {
    in_time(async {
        stream.write_all(bytes).await?;
        stream.flush().await
    })
    .await
}

//! One reader per UDP socket: datagrams reach the core in the order they came.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ringdown_registrar_core::flow::Flow;
use tokio::sync::mpsc::{Sender, error::TrySendError};

use crate::driver::{INBOX, Input};
use crate::metrics::RegistrarMetrics;
use crate::sockets::{Datagram, SipSocket};

/// After an error of the socket itself, so that a lasting one cannot spin.
const PAUSE: Duration = Duration::from_millis(100);
/// Room in the inbox that only Asterisk nodes may use: a flood does not drop what they say.
const NODES_ROOM: usize = INBOX / 4;

/// Reads one socket.
pub(crate) struct Reader {
    /// Its index, for [`Flow::link`].
    pub(crate) number: u64,
    pub(crate) socket: Arc<SipSocket>,
    pub(crate) inbox: Sender<Input>,
    pub(crate) metrics: RegistrarMetrics,
    pub(crate) nodes: Vec<SocketAddr>,
}

impl Reader {
    /// Until the driver is gone. A full inbox drops the datagram: the sender repeats it.
    pub(crate) async fn read(self) -> anyhow::Result<()> {
        let mut buffer = vec![0_u8; 65_536];
        loop {
            let received = tokio::select! {
                received = self.socket.receive(&mut buffer) => received,
                () = self.inbox.closed() => return Ok(()),
            };
            let Datagram { length, peer, local } = match received {
                Ok(received) => received,
                Err(error) => {
                    log::debug!(error:% = error; "receiving a datagram failed");
                    self.metrics.dropped("socket_error");
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            };
            if self.inbox.capacity() <= NODES_ROOM && !self.nodes.contains(&peer) {
                self.metrics.dropped("overload");
                continue;
            }
            let flow = Flow::udp(self.number, peer).reached_at(local);
            match self.inbox.try_send(Input::Received { flow, bytes: buffer[..length].to_vec() }) {
                Ok(()) => {}
                Err(TrySendError::Full(_)) => self.metrics.dropped("overload"),
                Err(TrySendError::Closed(_)) => return Ok(()),
            }
        }
    }
}

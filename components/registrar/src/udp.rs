//! One reader per UDP socket: datagrams reach the core in the order they came.

use std::sync::Arc;
use std::time::Duration;

use ringdown_registrar_core::flow::Flow;
use tokio::sync::mpsc::{Sender, error::TrySendError};

use crate::driver::Input;
use crate::metrics::RegistrarMetrics;
use crate::sockets::{Datagram, SipSocket};

/// After an error of the socket itself, so that a lasting one cannot spin.
const PAUSE: Duration = Duration::from_millis(100);

/// Reads until the driver is gone. A full inbox drops the datagram: the sender repeats it.
pub(crate) async fn read(
    number: u64,
    socket: Arc<SipSocket>,
    inbox: Sender<Input>,
    metrics: RegistrarMetrics,
) -> anyhow::Result<()> {
    let mut buffer = vec![0_u8; 65_536];
    loop {
        let received = tokio::select! {
            received = socket.receive(&mut buffer) => received,
            () = inbox.closed() => return Ok(()),
        };
        let Datagram { length, peer, local } = match received {
            Ok(received) => received,
            Err(error) => {
                log::debug!(error:% = error; "receiving a datagram failed");
                metrics.dropped("socket_error");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let flow = Flow::udp(number, peer).reached_at(local);
        match inbox.try_send(Input::Received { flow, bytes: buffer[..length].to_vec() }) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => metrics.dropped("overload"),
            Err(TrySendError::Closed(_)) => return Ok(()),
        }
    }
}

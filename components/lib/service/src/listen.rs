//! Opening ports, so that an occupied one is a clear line and not a riddle.

use std::io;
use std::net::SocketAddr;

use tokio::net::{TcpListener, UdpSocket};

/// A port could not be opened. [`crate::run`] turns it into exit code 75.
#[derive(Debug, thiserror::Error)]
#[error("{variable}: cannot listen on {protocol} {address}: {source}")]
pub struct BindError {
    /// The variable that sets the address.
    pub variable: &'static str,
    /// The address.
    pub address: SocketAddr,
    /// TCP or UDP.
    pub protocol: &'static str,
    /// What the system said.
    pub source: io::Error,
}

pub(crate) async fn tcp(variable: &'static str, address: SocketAddr) -> Result<TcpListener, BindError> {
    let failed = |source| BindError { variable, address, protocol: "TCP", source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    log::info!(variable = variable, address:% = listener.local_addr().unwrap_or(address); "listening on TCP");
    Ok(listener)
}

pub(crate) async fn udp(variable: &'static str, address: SocketAddr) -> Result<UdpSocket, BindError> {
    let failed = |source| BindError { variable, address, protocol: "UDP", source };
    let socket = UdpSocket::bind(address).await.map_err(failed)?;
    log::info!(variable = variable, address:% = socket.local_addr().unwrap_or(address); "listening on UDP");
    Ok(socket)
}

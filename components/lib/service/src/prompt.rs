//! A connection that acknowledges what it reads at once.
//!
//! A peer with Nagle's algorithm (Asterisk's websocket client is one) holds a small message back until the one before is
//! acknowledged, and Linux delays an acknowledgement by 40 ms when it has nothing else to say. Linux forgets `TCP_QUICKACK`
//! by itself (tcp(7)), so it is set again whenever everything that came is read: that also acknowledges it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// See the module's text. Off, it is the plain connection.
#[derive(Debug)]
pub(crate) struct Prompt {
    stream: TcpStream,
    on: bool,
}

impl Prompt {
    pub(crate) const fn new(stream: TcpStream, on: bool) -> Self {
        Self { stream, on }
    }
}

impl AsyncRead for Prompt {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        if self.on
            && read.is_pending()
            && let Err(error) = self.stream.set_quickack(true)
        {
            // It works without, slower.
            self.on = false;
            log::debug!(error:% = error; "no TCP_QUICKACK");
        }
        read
    }
}

impl AsyncWrite for Prompt {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

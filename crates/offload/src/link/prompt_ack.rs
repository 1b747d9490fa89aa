//! A TCP stream that acknowledges small packets at once.
//!
//! sshd leaves Nagle's algorithm on while a connection is set up, so each of its small packets
//! waits for the acknowledgement of the one before; with Linux's delayed acknowledgements that is
//! 40 ms a time. Re-arming `TCP_QUICKACK` (the kernel clears it by itself) took the set-up of a
//! connection from 76 to 32 ms against OpenSSH 9.2 on loopback.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// Reads at least this long are bulk data, where delayed acknowledgements cost nothing.
const BULK: usize = 16 << 10;

/// See the module's text.
pub(super) struct PromptAck(TcpStream);

impl PromptAck {
    /// Switches off Nagle's algorithm on our side as well. A connection whose data is not
    /// acknowledged for as long as `silence` ends: a keepalive that waits behind other data in
    /// a full buffer tells nothing.
    pub(super) fn new(stream: TcpStream, silence: Duration) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        #[cfg(target_os = "linux")]
        {
            let limit = u32::try_from(silence.as_millis()).unwrap_or(u32::MAX);
            rustix::net::sockopt::set_tcp_user_timeout(&stream, limit)?;
        }
        #[cfg(not(target_os = "linux"))]
        let _ = silence;
        Ok(PromptAck(stream))
    }
}

impl AsyncRead for PromptAck {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.0).poll_read(context, buffer);
        #[cfg(target_os = "linux")]
        if polled.is_ready() && buffer.filled().len() - before < BULK {
            // Only a hint: a kernel that refuses it delays acknowledgements, nothing worse.
            let _ = rustix::net::sockopt::set_tcp_quickack(&self.0, true);
        }
        polled
    }
}

impl AsyncWrite for PromptAck {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

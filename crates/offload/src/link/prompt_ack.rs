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
            // The kernel takes it for a signed number: 24 days at most.
            let limit = u32::try_from(silence.as_millis().min(i32::MAX as u128));
            let limit = limit.expect("it has 31 bits");
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_silence_may_be_as_long_as_anybody_likes() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        for silence in [
            Duration::from_millis(1),
            Duration::from_secs(1 << 40),
            Duration::MAX,
        ] {
            let stream = TcpStream::connect(address).await.unwrap();
            assert!(PromptAck::new(stream, silence).is_ok(), "{silence:?}");
        }
    }
}

//! [`Observed`] over tokio's traits.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use ::tokio::io::{AsyncBufRead, AsyncRead, AsyncWrite, ReadBuf};

use crate::{Observe, Observed};

impl<T: AsyncRead + Unpin, O: Observe + Unpin> AsyncRead for Observed<T, O> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let (inner, observer) = self.get_mut().parts();
        let before = buffer.filled().len();
        ready!(Pin::new(inner).poll_read(context, buffer))?;
        observer.observe(&buffer.filled()[before..]);
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncBufRead + Unpin, O: Observe + Unpin> AsyncBufRead for Observed<T, O> {
    fn poll_fill_buf(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        let (inner, _) = self.get_mut().parts();
        Pin::new(inner).poll_fill_buf(context)
    }

    fn consume(self: Pin<&mut Self>, length: usize) {
        let (inner, observer) = self.get_mut().parts();
        if length > 0 {
            let mut context = Context::from_waker(Waker::noop());
            let Poll::Ready(Ok(buffer)) = Pin::new(&mut *inner).poll_fill_buf(&mut context) else {
                panic!("a buffer that is not empty is there without reading");
            };
            observer.observe(&buffer[..length]);
        }
        Pin::new(inner).consume(length);
    }
}

impl<T: AsyncWrite + Unpin, O: Observe + Unpin> AsyncWrite for Observed<T, O> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let (inner, observer) = self.get_mut().parts();
        let length = ready!(Pin::new(inner).poll_write(context, bytes))?;
        observer.observe(&bytes[..length]);
        Poll::Ready(Ok(length))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let (inner, _) = self.get_mut().parts();
        Pin::new(inner).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let (inner, _) = self.get_mut().parts();
        Pin::new(inner).poll_shutdown(context)
    }
}

//! A writer that does not wait for ever.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::AsyncWrite;
use tokio::time::{Sleep, sleep};

/// Fails once whoever reads at the other end has taken nothing for so long.
#[derive(Debug)]
pub(super) struct PatientWriter<W> {
    writer: W,
    bound: Duration,
    /// Since when nothing was taken: it ends when the bound is reached.
    waiting: Option<Pin<Box<Sleep>>>,
}

impl<W> PatientWriter<W> {
    pub(super) fn new(writer: W, bound: Duration) -> Self {
        PatientWriter {
            writer,
            bound,
            waiting: None,
        }
    }

    fn bound<T>(
        &mut self,
        task: &mut Context<'_>,
        polled: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            self.waiting = None;
            return polled;
        }
        let bound = self.bound;
        let waiting = self.waiting.get_or_insert_with(|| Box::pin(sleep(bound)));
        match waiting.as_mut().poll(task) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(()) => {
                let message = format!("it has taken nothing for {} s", bound.as_secs_f64());
                Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, message)))
            }
        }
    }
}

impl<W: AsyncWrite + Unpin> AsyncWrite for PatientWriter<W> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        task: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.writer).poll_write(task, bytes);
        self.bound(task, polled)
    }

    fn poll_flush(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.writer).poll_flush(task);
        self.bound(task, polled)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.writer).poll_shutdown(task);
        self.bound(task, polled)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    const BOUND: Duration = Duration::from_secs(3);

    #[tokio::test(start_paused = true)]
    async fn who_reads_slowly_gets_everything() {
        let (mut theirs, ours) = duplex(10);
        let mut writer = PatientWriter::new(ours, BOUND);
        let read = async {
            let mut all = Vec::new();
            while all.len() < 100 {
                tokio::time::sleep(BOUND - Duration::from_millis(1)).await;
                theirs.read_buf(&mut all).await.unwrap();
            }
            all
        };
        let (written, all) = tokio::join!(writer.write_all(&[7; 100]), read);
        written.unwrap();
        assert_eq!(all, [7; 100]);
    }

    #[tokio::test(start_paused = true)]
    async fn who_stops_reading_is_given_up() {
        let (theirs, ours) = duplex(10);
        let mut writer = PatientWriter::new(ours, BOUND);
        let begun = tokio::time::Instant::now();
        let error = writer.write_all(&[7; 100]).await.unwrap_err();
        assert_eq!(error.to_string(), "it has taken nothing for 3 s");
        assert_eq!(begun.elapsed().as_secs(), BOUND.as_secs());
        drop(theirs);
    }
}

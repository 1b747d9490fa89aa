//! Passes a stream on, between a hook's frames and a machine.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::{SinkExt, StreamExt};
use rustix::event::{PollFd, PollFlags, Timespec};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc::Receiver;
use tokio_util::codec::{FramedRead, FramedWrite};

use crate::link::{ByteStream, Codec, Frame};

/// Bytes that are passed on at a time.
const CHUNK: usize = 128 << 10;
/// How often it is looked whether a hook is still there that neither says nor hears anything.
const LOOK: Duration = Duration::from_secs(1);

type Reader = Box<dyn tokio::io::AsyncRead + Send + Unpin>;
type Writer = Box<dyn tokio::io::AsyncWrite + Send + Unpin>;

/// Passes on both ways until the machine has said everything, or the hook is gone.
pub(super) async fn pump(
    from_hook: FramedRead<OwnedReadHalf, Codec>,
    to_hook: &mut FramedWrite<OwnedWriteHalf, Codec>,
    stream: ByteStream,
) -> io::Result<()> {
    let ByteStream {
        reader,
        writer,
        said,
        ..
    } = stream;
    let hook = to_hook.get_ref().as_ref().as_fd().try_clone_to_owned()?;
    tokio::select! {
        () = hang_up(&hook) => Ok(()),
        ended = machine_to_hook(reader, said, to_hook) => ended,
        // A hook that has gone does not want the rest; nor does its build go on.
        gone = hook_to_machine(from_hook, writer) => gone,
    }
}

/// Waits until the hook is gone, whether or not there is data of its that the machine does not take.
async fn hang_up(hook: &OwnedFd) {
    loop {
        tokio::time::sleep(LOOK).await;
        let mut polled = [PollFd::new(hook, PollFlags::empty())];
        let looked = rustix::event::poll(&mut polled, Some(&Timespec::default()));
        let [polled] = polled;
        if looked.is_ok() && polled.revents().contains(PollFlags::HUP) {
            return;
        }
    }
}

async fn machine_to_hook(
    mut reader: Reader,
    mut said: Option<Receiver<Bytes>>,
    to_hook: &mut FramedWrite<OwnedWriteHalf, Codec>,
) -> io::Result<()> {
    let mut buffer = BytesMut::with_capacity(CHUNK);
    let end = loop {
        buffer.reserve(CHUNK);
        let frame = tokio::select! {
            // First what came first, as far as that can be told.
            biased;
            Some(data) = next(&mut said) => Frame::Errors(data),
            read = reader.read_buf(&mut buffer) => match read {
                Ok(0) => break String::new(),
                Ok(_) => Frame::Data(buffer.split().freeze()),
                Err(error) => break error.to_string(),
            },
        };
        to_hook.send(frame).await?;
    };
    while let Some(Ok(data)) = said.as_mut().map(Receiver::try_recv) {
        to_hook.send(Frame::Errors(data)).await?;
    }
    to_hook.send(Frame::End(end.as_bytes())).await
}

async fn next(said: &mut Option<Receiver<Bytes>>) -> Option<Bytes> {
    said.as_mut()?.recv().await
}

/// Ends with an error when the hook is gone, and not at all when it has only said everything.
async fn hook_to_machine(
    mut from_hook: FramedRead<OwnedReadHalf, Codec>,
    mut writer: Writer,
) -> io::Result<()> {
    // What the machine does not take any more is its end, which the other direction tells.
    let mut takes = true;
    loop {
        match from_hook.next().await.transpose()? {
            Some(Frame::Data(data)) if takes => {
                takes = async {
                    writer.write_all(&data).await?;
                    writer.flush().await
                }
                .await
                .is_ok();
            }
            Some(Frame::Data(_)) => {}
            Some(Frame::End(_)) => {
                let _: io::Result<()> = writer.shutdown().await;
                takes = false;
            }
            Some(_) => return Err(io::Error::other("the hook asks twice")),
            None => return Ok(()),
        }
    }
}

//! A link that a broker keeps open: what is said over the broker's socket, and the side that asks.
//!
//! A connection to the socket is one byte stream to a machine. Both sides send frames: the length
//! of what follows (u32, big-endian), a kind (u8), and the rest.
//!
//! | kind | from | what |
//! |---|---|---|
//! | 0 | us | the question, once: an [`Ask`] as JSON |
//! | 1 | broker | the [`Answer`] as JSON; a refusal is the end |
//! | 2 | both | data |
//! | 3 | broker | what the command writes to standard error |
//! | 4 | both | nothing more comes, and why, if there is a reason |
//!
//! Whoever hangs up without having said so has died; the stream is cut then.

use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use futures_util::{Sink, SinkExt, StreamExt};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc::{self, Sender};
use tokio_util::codec::{Decoder, Encoder, FramedRead, FramedWrite};

use super::channel::MAX_UNHEARD;
use super::{ByteStream, LinkError, Route, SshTarget, Timeouts};

/// The most that one frame carries, in bytes. Data is cut into pieces of it; a target with its file
/// names has some hundred bytes.
const MAX_FRAME: usize = 256 << 10;
/// Length and kind of a frame, in bytes.
const HEADER: usize = 5;
/// What a broker may take beyond what it waits for itself.
const GRACE: Duration = Duration::from_secs(5);

type Reader = FramedRead<OwnedReadHalf, Codec>;
type Writer = FramedWrite<OwnedWriteHalf, Codec>;

/// What is asked of a broker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Ask {
    /// The machine.
    pub(crate) target: SshTarget,
    /// Which link of this process: those of one share a connection, and others do not.
    pub(crate) link: u64,
    /// What on it.
    pub(crate) asked: Asked,
}

/// A stream that is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Asked {
    /// None: only that there be a connection.
    Link,
    /// To a Unix socket.
    Socket(String),
    /// To a command.
    Command(String),
    /// The same, and its standard error as it comes.
    CommandAndErrors(String),
}

/// What a broker says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Answer {
    /// The stream is open.
    Open {
        /// How it reaches what was asked for.
        way: String,
    },
    /// The machine refuses the channel.
    Refused {
        /// What the channel should have reached.
        way: String,
        /// What the machine said.
        reason: String,
    },
    /// The machine cannot be reached.
    Failed(String),
}

/// A frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Frame<B> {
    /// The question.
    Ask(B),
    /// Its answer.
    Answer(B),
    /// Data.
    Data(B),
    /// Standard error.
    Errors(B),
    /// Nothing more comes. Without text that is as it should be.
    End(B),
}

impl<B> Frame<B> {
    fn split(self) -> (u8, B) {
        match self {
            Frame::Ask(rest) => (0, rest),
            Frame::Answer(rest) => (1, rest),
            Frame::Data(rest) => (2, rest),
            Frame::Errors(rest) => (3, rest),
            Frame::End(rest) => (4, rest),
        }
    }

    fn join(kind: u8, rest: B) -> Option<Self> {
        Some(match kind {
            0 => Frame::Ask(rest),
            1 => Frame::Answer(rest),
            2 => Frame::Data(rest),
            3 => Frame::Errors(rest),
            4 => Frame::End(rest),
            _ => return None,
        })
    }
}

/// Frames as bytes.
#[derive(Debug, Default)]
pub(crate) struct Codec;

impl<B: AsRef<[u8]>> Encoder<Frame<B>> for Codec {
    type Error = io::Error;

    fn encode(&mut self, frame: Frame<B>, to: &mut BytesMut) -> io::Result<()> {
        let (kind, rest) = frame.split();
        let rest = rest.as_ref();
        let length = u32::try_from(rest.len() + 1).ok();
        let length = length.filter(|_| rest.len() <= MAX_FRAME);
        let length = length.ok_or_else(|| too_long(rest.len()))?;
        to.reserve(HEADER + rest.len());
        to.put_u32(length);
        to.put_u8(kind);
        to.put_slice(rest);
        Ok(())
    }
}

impl Decoder for Codec {
    type Item = Frame<Bytes>;
    type Error = io::Error;

    fn decode(&mut self, from: &mut BytesMut) -> io::Result<Option<Frame<Bytes>>> {
        let Some(length) = from.first_chunk() else {
            return Ok(None);
        };
        let length = u32::from_be_bytes(*length) as usize;
        if !(1..=MAX_FRAME + 1).contains(&length) {
            return Err(too_long(length));
        }
        if from.len() < 4 + length {
            from.reserve(4 + length - from.len());
            return Ok(None);
        }
        from.advance(4);
        let mut frame = from.split_to(length).freeze();
        let kind = frame.get_u8();
        let frame = Frame::join(kind, frame);
        let unknown = || io::Error::other(format!("frame of unknown kind {kind}"));
        frame.map(Some).ok_or_else(unknown)
    }
}

fn too_long(length: usize) -> io::Error {
    io::Error::other(format!("frame of {length} bytes"))
}

/// A machine that a broker is connected to.
#[derive(Debug)]
pub struct KeptLink {
    socket: PathBuf,
    target: SshTarget,
    number: u64,
    /// Whether a stream was cut on this side of the machine.
    cut: Arc<AtomicBool>,
}

impl KeptLink {
    /// Has the broker at `socket` connect to the machine, unless it is connected already. Nothing
    /// where there is no broker, or one that does not serve this user.
    ///
    /// # Errors
    /// When the broker cannot reach the machine.
    pub(super) async fn connect(
        socket: &Path,
        target: &SshTarget,
    ) -> Result<Option<Self>, LinkError> {
        static LINKS: AtomicU64 = AtomicU64::new(0);
        let link = KeptLink {
            socket: socket.to_owned(),
            target: target.clone(),
            number: LINKS.fetch_add(1, Ordering::Relaxed),
            cut: Arc::default(),
        };
        match link.ask(Asked::Link).await {
            Ok(_) => Ok(Some(link)),
            Err(LinkError::Broker { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Opens a stream.
    ///
    /// # Errors
    /// When the machine refuses, cannot be reached any more, or the broker is gone.
    pub(super) async fn open(&self, asked: Asked) -> Result<ByteStream, LinkError> {
        let listens = matches!(asked, Asked::CommandAndErrors(_));
        let (frames, sink, way) = self.ask(asked).await?;
        let (sender, receiver) = mpsc::channel(MAX_UNHEARD);
        let reader = KeptReader {
            frames,
            rest: Bytes::new(),
            listener: listens.then_some(sender),
            ended: false,
            cut: self.cut.clone(),
        };
        let writer = KeptWriter {
            frames: sink,
            ended: false,
        };
        let mut stream = ByteStream::new(reader, writer, way);
        stream.said = listens.then_some(receiver);
        Ok(stream)
    }

    async fn ask(&self, asked: Asked) -> Result<(Reader, Writer, String), LinkError> {
        let bound = patience(&self.target);
        let asking = tokio::time::timeout(bound, self.converse(asked));
        let answered = match asking.await {
            Ok(answered) => answered.map_err(|error| self.trouble(error.to_string())),
            Err(_) => Err(self.trouble(format!("no answer within {} s", bound.as_secs()))),
        };
        let (answer, reader, writer) = answered?;
        match answer {
            Answer::Open { way } => Ok((reader, writer, way)),
            Answer::Refused { way, reason } => Err(LinkError::Channel { way, reason }),
            Answer::Failed(why) => Err(LinkError::Kept(why)),
        }
    }

    async fn converse(&self, asked: Asked) -> io::Result<(Answer, Reader, Writer)> {
        let stream = UnixStream::connect(&self.socket).await?;
        // What is asked names keys, and what comes back is believed to be the machine's.
        let (broker, own) = (
            stream.peer_cred()?.uid(),
            rustix::process::geteuid().as_raw(),
        );
        if broker != 0 && broker != own {
            return Err(io::Error::other(format!("it is user {broker}'s")));
        }
        let (reader, writer) = stream.into_split();
        let mut reader = FramedRead::new(reader, Codec);
        let mut writer = FramedWrite::new(writer, Codec);
        let ask = Ask {
            target: self.target.clone(),
            link: self.number,
            asked,
        };
        let ask = serde_json::to_vec(&ask)?;
        writer.send(Frame::Ask(ask.as_slice())).await?;
        match reader.next().await {
            Some(Ok(Frame::Answer(answer))) => {
                Ok((serde_json::from_slice(&answer)?, reader, writer))
            }
            Some(Ok(_)) => Err(io::Error::other("no answer but something else")),
            Some(Err(error)) => Err(error),
            None => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    fn trouble(&self, reason: String) -> LinkError {
        LinkError::Broker {
            socket: self.socket.clone(),
            reason,
        }
    }

    /// Whether a stream broke between the broker and us.
    pub(super) fn has_lost_its_broker(&self) -> bool {
        self.cut.load(Ordering::Relaxed)
    }
}

/// How long a broker may take to connect to `target`, and once more where its connection has
/// turned out to be dead.
fn patience(target: &SshTarget) -> Duration {
    let Timeouts {
        connect,
        key_exchange,
        authentication,
        channel,
        ..
    } = target.timeouts;
    let link = connect + key_exchange + authentication + channel * 2;
    match &target.route {
        Route::Jump(jump) => link + patience(jump),
        Route::Direct | Route::Command(_) => link + GRACE,
    }
}

/// The data of a stream.
struct KeptReader {
    frames: Reader,
    rest: Bytes,
    listener: Option<Sender<Bytes>>,
    ended: bool,
    cut: Arc<AtomicBool>,
}

impl KeptReader {
    /// A command that prints much more than it answers is not listened to without an end.
    fn listen(&self, data: Bytes) -> io::Result<()> {
        match &self.listener {
            Some(listener) if listener.try_send(data).is_err() && !listener.is_closed() => Err(
                io::Error::other("the command prints much more than it answers"),
            ),
            _ => Ok(()),
        }
    }
}

impl AsyncRead for KeptReader {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.rest.is_empty() && !self.ended {
            let frame = ready!(self.frames.poll_next_unpin(context));
            if !matches!(frame, Some(Ok(_))) {
                self.cut.store(true, Ordering::Relaxed);
            }
            match frame.transpose()? {
                Some(Frame::Data(data)) => self.rest = data,
                Some(Frame::Errors(data)) => self.listen(data)?,
                Some(Frame::End(why)) => {
                    self.ended = true;
                    if !why.is_empty() {
                        let why = String::from_utf8_lossy(&why).into_owned();
                        return Poll::Ready(Err(io::Error::new(io::ErrorKind::UnexpectedEof, why)));
                    }
                }
                Some(Frame::Ask(_) | Frame::Answer(_)) => {
                    return Poll::Ready(Err(io::Error::other("the broker answers twice")));
                }
                None => {
                    let gone =
                        io::Error::new(io::ErrorKind::ConnectionAborted, "the broker is gone");
                    return Poll::Ready(Err(gone));
                }
            }
        }
        let length = self.rest.len().min(buffer.remaining());
        buffer.put_slice(&self.rest.split_to(length));
        Poll::Ready(Ok(()))
    }
}

/// What is sent on a stream. That it is not taken any more tells nothing of the broker, who hangs up when the machine has
/// done so: what is read last does.
struct KeptWriter {
    frames: Writer,
    ended: bool,
}

impl KeptWriter {
    /// Waits until there is room for a frame, or (`all`) until everything is sent.
    fn poll(&mut self, context: &mut Context<'_>, all: bool) -> Poll<io::Result<()>> {
        let frames = Pin::new(&mut self.frames);
        match all {
            true => Sink::<Frame<&[u8]>>::poll_flush(frames, context),
            false => Sink::<Frame<&[u8]>>::poll_ready(frames, context),
        }
    }
}

impl AsyncWrite for KeptWriter {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let length = bytes.len().min(MAX_FRAME);
        ready!(self.poll(context, false))?;
        self.frames
            .start_send_unpin(Frame::Data(&bytes[..length]))?;
        Poll::Ready(Ok(length))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll(context, true)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.ended {
            ready!(self.poll(context, false))?;
            self.frames.start_send_unpin(Frame::End(&b""[..]))?;
            self.ended = true;
        }
        self.poll(context, true)
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn frames() -> impl Strategy<Value = Vec<(u8, Vec<u8>)>> {
        vec((0u8..5, vec(any::<u8>(), 0..300)), 0..8)
    }

    proptest! {
        #[test]
        fn frames_come_as_they_were_sent_wherever_they_are_cut(frames in frames(), piece in 1usize..400) {
            let mut bytes = BytesMut::new();
            for (kind, rest) in &frames {
                let frame = Frame::join(*kind, rest.as_slice()).unwrap();
                Codec.encode(frame, &mut bytes).unwrap();
            }
            let (mut come, mut buffer) = (Vec::new(), BytesMut::new());
            for piece in bytes.chunks(piece) {
                buffer.extend_from_slice(piece);
                while let Some(frame) = Codec.decode(&mut buffer).unwrap() {
                    let (kind, rest) = frame.split();
                    come.push((kind, rest.to_vec()));
                }
            }
            prop_assert_eq!(come, frames);
            prop_assert!(buffer.is_empty());
        }
    }

    #[test]
    fn what_is_no_frame_is_an_error() {
        let decode = |bytes: &[u8]| {
            let decoded = Codec.decode(&mut BytesMut::from(bytes));
            decoded.map(drop).map_err(|error| error.to_string())
        };
        assert_eq!(decode(&[0, 0, 0]), Ok(()));
        assert_eq!(decode(&[0, 0, 0, 0]), Err("frame of 0 bytes".to_owned()));
        let long = (MAX_FRAME as u32 + 2).to_be_bytes();
        assert_eq!(decode(&long), Err("frame of 262146 bytes".to_owned()));
        let unknown = [0, 0, 0, 1, 9];
        assert_eq!(decode(&unknown), Err("frame of unknown kind 9".to_owned()));
        let data = vec![0; MAX_FRAME + 1];
        let encoded = Codec.encode(Frame::Data(data), &mut BytesMut::new());
        assert!(encoded.is_err());
    }
}

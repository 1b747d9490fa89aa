//! A daemon that says what a test tells it to, word by word.

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex, split};
use worker_protocol::client::{Client, Options};
use worker_protocol::wire::Encoder;

use crate::TestClient;

pub(crate) const LAST: u64 = 0x616c_7473;
pub(crate) const READ: u64 = 0x6461_7461;
pub(crate) const ERROR: u64 = 0x6378_7470;

pub(crate) struct Script {
    stream: DuplexStream,
}

impl Script {
    /// A client, and the daemon that it talks to.
    pub(crate) fn with_client(options: Options) -> (TestClient, Script) {
        let (ours, theirs) = duplex(1 << 20);
        let (reader, writer) = split(ours);
        (
            Client::new(reader, writer, options),
            Script { stream: theirs },
        )
    }

    /// Greets a client of at most 1.32, or of Guix's dialect.
    pub(crate) async fn greet(&mut self, version: u64) {
        assert_eq!(self.word().await, 0x6e69_7863);
        self.say(|encoder| {
            encoder.word(0x6478_696f).word(version).word(LAST);
        })
        .await;
        for expected in [version, 0, 0] {
            assert_eq!(self.word().await, expected);
        }
    }

    pub(crate) async fn say(&mut self, write: impl FnOnce(&mut Encoder<'_>)) {
        let mut bytes = Vec::new();
        write(&mut Encoder::new(&mut bytes));
        self.stream.write_all(&bytes).await.expect("it is read");
    }

    pub(crate) async fn word(&mut self) -> u64 {
        self.stream
            .read_u64_le()
            .await
            .expect("the client says more")
    }

    pub(crate) async fn bytes(&mut self) -> Vec<u8> {
        let length = usize::try_from(self.word().await).expect("it is small");
        let mut bytes = vec![0; length.next_multiple_of(8)];
        let read = self.stream.read_exact(&mut bytes).await;
        read.expect("the client says more");
        bytes.truncate(length);
        bytes
    }

    /// Ends what the client hears, and goes on hearing the client.
    pub(crate) async fn say_no_more(&mut self) {
        self.stream.shutdown().await.expect("it was open");
    }
}

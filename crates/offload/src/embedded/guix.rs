//! A machine's guix-daemon by a script: it has whatever it is asked for, builds whatever it is told to, and what it
//! exports is wrong in ways that real daemons never are.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Poll, ready};

use bytes::BytesMut;
use guix_signature::{ItemHasher, SecretKey};
use store_path::{StoreDir, StorePath};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use worker_protocol::export::Trailer;
use worker_protocol::operation::{
    AddTempRoot, BuildPaths, ExportPath, QueryValidPaths, SetOptions,
};
use worker_protocol::server::{Options, Server};
use worker_protocol::wire::{Encoder, Text};
use worker_protocol::{Context, Done, Error, RemoteError, Request, Value, Version};

use super::misbehaviour::{file, invented, strings};

/// What every output holds.
const CONTENT: &str = "said the machine\n";

/// What a machine with a guix-daemon exports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GuixExport {
    /// What it should: a file, signed by its key.
    Right,
    /// The same, by a daemon that no write reaches whole. As real ones do, it does not bear what it finds behind that
    /// which it has waited for.
    RightOneByOne(Hurry),
    /// Without a signature.
    Unsigned,
    /// Signed by a key that nobody has let in.
    ByUnknownKey,
    /// With the signature of something else.
    OtherSignature,
    /// With a signature that somebody else has made in the name of its key.
    Forged,
    /// With a signature by an RSA key.
    ByRsaKey,
    /// With a signature that is none.
    NoSignature,
    /// With another content than the signed one.
    Altered,
    /// Another path than the one that was asked for.
    OtherPath,
    /// With a reference that no build could know.
    InventsReferences,
    /// Nothing at all.
    Nothing,
    /// Half of the archive.
    CutsArchive,
    /// Without the last word.
    CutsTrailer,
    /// With a word behind the end.
    Pads,
    /// With another path behind it.
    AddsAnother,
    /// A file without end.
    FileWithoutEnd,
    /// Bytes without end behind the archive.
    TrailerWithoutEnd,
}

/// When a daemon finds that it is asked for more than it has waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hurry {
    /// While it greets: it is gone.
    InGreeting,
    /// When it begins with any request: it is gone.
    InRequest,
    /// When it begins with a build: it is gone.
    InBuild,
    /// The same, and it can say so.
    InBuildWithAWord,
}

/// Serves one connection until the client hangs up. `seed` is that of the machine's key; `hurried` counts how often it
/// was asked for too much at a time.
pub(super) async fn serve<R, W>(
    reader: R,
    writer: W,
    store_dir: StoreDir,
    seed: [u8; 32],
    export: GuixExport,
    hurried: &AtomicUsize,
) -> Result<(), Error>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let hurry = match export {
        GuixExport::RightOneByOne(hurry) => Some(hurry),
        _ => None,
    };
    let reader = Sipping::new(reader, hurry == Some(Hurry::InGreeting));
    let unread = reader.unread.clone();
    let mut server = Server::new(reader, writer, Options::guix(store_dir.clone()));
    loop {
        let request = match server.next_request().await {
            Ok(Some(request)) => request,
            ended => {
                let was_greeting = hurry == Some(Hurry::InGreeting) && ended.is_err();
                hurried.fetch_add(usize::from(was_greeting), Ordering::Relaxed);
                return ended.map(drop);
            }
        };
        let is_build = matches!(request, Request::BuildPaths(_));
        let is_hurried = match hurry {
            Some(Hurry::InRequest) => true,
            Some(Hurry::InBuild | Hurry::InBuildWithAWord) => is_build,
            Some(Hurry::InGreeting) | None => false,
        };
        if is_hurried && unread.load(Ordering::Relaxed) > 0 {
            hurried.fetch_add(1, Ordering::Relaxed);
            if hurry == Some(Hurry::InBuildWithAWord) {
                let word = RemoteError::new("EOF expected (protocol error?)");
                server.fail(word).await?;
                server.flush().await?;
            }
            return Ok(());
        }
        match request {
            Request::SetOptions(_) => server.answer::<SetOptions>(&()).await?,
            Request::AddTempRoot(_) => server.answer::<AddTempRoot>(&Done).await?,
            Request::QueryValidPaths(request) => {
                server.answer::<QueryValidPaths>(&request.paths).await?;
            }
            Request::BuildPaths(_) => server.answer::<BuildPaths>(&Done).await?,
            Request::ExportPath(request) => {
                let (begin, more) = stream(export, &seed, &store_dir, request.path);
                for block in begin.chunks(64 << 10) {
                    server.data(block).await?;
                }
                // Ends when the client hangs up.
                while let Some(more) = &more {
                    server.data(more).await?;
                    server.flush().await?;
                }
                server.answer::<ExportPath>(&Done).await?;
            }
            other => {
                let error = format!("this store has no operation {}", other.name());
                server.fail(RemoteError::new(error)).await?;
            }
        }
    }
}

/// Reads a little at a time, and knows how much of what came has not been read.
struct Sipping<R> {
    inner: R,
    /// Whether it ends when more comes than the first time.
    ends: bool,
    came: BytesMut,
    unread: Arc<AtomicUsize>,
}

impl<R> Sipping<R> {
    /// Bytes that are read at a time: the greeting's, less than most requests'.
    const SIP: usize = 32;

    fn new(inner: R, ends: bool) -> Self {
        Sipping {
            inner,
            ends,
            came: BytesMut::new(),
            unread: Arc::default(),
        }
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for Sipping<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        task: &mut std::task::Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.came.is_empty() {
            this.came.resize(64 << 10, 0);
            let mut filled = ReadBuf::new(&mut this.came);
            let polled = Pin::new(&mut this.inner).poll_read(task, &mut filled);
            let count = filled.filled().len();
            this.came.truncate(count);
            ready!(polled)?;
        }
        if std::mem::take(&mut this.ends) && this.came.len() > Self::SIP {
            return Poll::Ready(Ok(()));
        }
        let count = Self::SIP.min(this.came.len()).min(buffer.remaining());
        buffer.put_slice(&this.came.split_to(count));
        this.unread.store(this.came.len(), Ordering::Relaxed);
        Poll::Ready(Ok(()))
    }
}

/// What is sent, and what is sent behind it again and again.
fn stream(
    export: GuixExport,
    seed: &[u8; 32],
    store_dir: &StoreDir,
    path: StorePath,
) -> (Vec<u8>, Option<Vec<u8>>) {
    let key = SecretKey::from_bytes(seed).expect("a seed is a key");
    let context = Context::new(store_dir.clone(), Version::GUIX_NEWEST);
    let mut archive = file(CONTENT);
    let mut trailer = Trailer {
        path,
        references: Vec::new(),
        deriver: None,
        signature: None,
    };
    match export {
        GuixExport::OtherPath => trailer.path = invented(),
        GuixExport::InventsReferences => trailer.references.push(invented()),
        _ => {}
    }
    let mut hasher = ItemHasher::new();
    hasher.update(&archive);
    let hash = hasher.finish(&trailer.signed_bytes(&context));
    trailer.signature = signature(export, &key, &hash).map(Text::from);
    let mut behind = Vec::new();
    trailer.encode(&mut Encoder::new(&mut behind), &context);
    let zeros = || vec![0; 64 << 10];
    match export {
        GuixExport::Altered => archive = file(&CONTENT.to_uppercase()),
        GuixExport::Nothing => return (Vec::new(), None),
        GuixExport::CutsArchive => {
            archive.truncate(archive.len() / 2);
            return (archive, None);
        }
        GuixExport::CutsTrailer => behind.truncate(behind.len() - 8),
        GuixExport::Pads => behind.extend([0; 8]),
        GuixExport::AddsAnother => {
            let another = [&1_u64.to_le_bytes()[..], &archive, &behind].concat();
            behind.extend(another);
        }
        GuixExport::FileWithoutEnd => {
            let mut begin = strings(["nix-archive-1", "(", "type", "regular", "contents"]);
            begin.extend((1_u64 << 62).to_le_bytes());
            return (begin, Some(zeros()));
        }
        GuixExport::TrailerWithoutEnd => return (archive, Some(zeros())),
        _ => {}
    }
    archive.extend(behind);
    (archive, None)
}

fn signature(export: GuixExport, key: &SecretKey, hash: &[u8; 32]) -> Option<Vec<u8>> {
    let stranger = SecretKey::from_bytes(&[9; 32]).expect("a seed is a key");
    Some(match export {
        GuixExport::Unsigned => return None,
        GuixExport::ByUnknownKey => stranger.sign(hash).to_text(),
        GuixExport::OtherSignature => key.sign(&[1; 32]).to_text(),
        GuixExport::Forged => {
            let text = String::from_utf8_lossy(&stranger.sign(hash).to_text()).into_owned();
            let names = [&stranger, key].map(|key| key.public_key().to_string());
            text.replace(&names[0], &names[1]).into_bytes()
        }
        GuixExport::ByRsaKey => {
            let hash = data_encoding::HEXUPPER.encode(hash);
            let text = format!(
                "(signature (data (flags pkcs1) (hash sha256 #{hash}#)) (sig-val (rsa (s #01#))) \
                 (public-key (rsa (n #03#) (e #010001#))))"
            );
            text.into_bytes()
        }
        GuixExport::NoSignature => b"(signature".to_vec(),
        _ => key.sign(hash).to_text(),
    })
}

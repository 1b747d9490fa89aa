//! Dumps and restores for async code, and what is left of them when nobody waits any more.

#![cfg(target_os = "linux")]
#![expect(
    clippy::unwrap_used,
    reason = "a test that panics fails, and says where"
)]

use std::cell::RefCell;
use std::fs;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::mpsc;
use std::task::{Context, Poll};

use nar::testing::trees;
use nar::{DumpErrorKind, DumpOptions, Kind, RestoreErrorKind, RestoreOptions};
use proptest::prelude::*;
use tokio::io::{AsyncRead, AsyncReadExt, ReadBuf};
use tokio::runtime::Runtime;

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(30))]

    #[test]
    fn trees_go_through_a_pipe(tree in trees()) {
        let archive = tree.encode().unwrap();
        let place = tempfile::tempdir().unwrap();
        let (source, target) = (place.path().join("source"), place.path().join("target"));
        nar::restore(&mut &*archive, &source).unwrap();
        runtime().block_on(async {
            let (mut sink, mut from) = tokio::io::duplex(100);
            let dump = async move {
                let size = nar::tokio::dump(source, &mut sink, DumpOptions::default()).await;
                drop(sink);
                size
            };
            let restore = nar::tokio::restore(&mut from, &target, RestoreOptions::default());
            let (size, restored) = tokio::join!(dump, restore);
            restored.unwrap();
            assert_eq!(size.unwrap(), archive.len() as u64);
        });
        let mut again = Vec::new();
        nar::dump(&target, &mut again).unwrap();
        prop_assert!(again == archive);
    }
}

#[test]
fn an_end_in_the_middle_leaves_nothing() {
    let archive = nar::example();
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("root");
    let error = runtime().block_on(async {
        let mut source = &archive[..archive.len() - 8];
        nar::tokio::restore(&mut source, &path, RestoreOptions::default())
            .await
            .unwrap_err()
    });
    let RestoreErrorKind::Archive(error) = error.kind else {
        panic!("{error}")
    };
    assert_eq!(error.kind, Kind::Truncated);
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);
}

/// A source that fails.
struct Cut;

impl AsyncRead for Cut {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        _: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Poll::Ready(Err(io::Error::other(LineCut)))
    }
}

/// What only the source knows.
#[derive(Debug)]
struct LineCut;

impl std::fmt::Display for LineCut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the line is cut")
    }
}

impl std::error::Error for LineCut {}

#[test]
fn a_source_that_fails_is_named_and_leaves_nothing() {
    let archive = nar::example();
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("root");
    let error = runtime().block_on(async {
        let mut source = AsyncReadExt::chain(&archive[..200], Cut);
        nar::tokio::restore(&mut source, &path, RestoreOptions::default())
            .await
            .unwrap_err()
    });
    let expected = format!("read the archive of `{}", path.display());
    assert!(error.to_string().starts_with(&expected), "{error}");
    assert!(error.to_string().ends_with("the line is cut"), "{error}");
    let RestoreErrorKind::Source(source) = &error.kind else {
        panic!("{error}")
    };
    assert!(source.get_ref().unwrap().is::<LineCut>());
    assert_eq!(error.left_behind, []);
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);
}

#[test]
fn a_sink_that_fails_ends_a_dump() {
    let place = tempfile::tempdir().unwrap();
    fs::write(place.path().join("large"), vec![7; 3 << 20]).unwrap();
    let error = runtime().block_on(async {
        let (mut sink, from) = tokio::io::duplex(1000);
        drop(from);
        nar::tokio::dump(place.path(), &mut sink, DumpOptions::default())
            .await
            .unwrap_err()
    });
    assert_eq!(error.path, place.path());
    let DumpErrorKind::Sink(error) = error.kind else {
        panic!("{error}")
    };
    assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
}

#[test]
fn a_large_file_comes_out_as_it_is() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("large");
    let contents: Vec<u8> = (0..1_000_003_u32).map(|at| (at >> 3) as u8).collect();
    fs::write(&path, contents).unwrap();
    let mut expected = Vec::new();
    nar::dump(&path, &mut expected).unwrap();
    let mut archive = Vec::new();
    let dump = nar::tokio::dump(path, &mut archive, DumpOptions::default());
    assert_eq!(runtime().block_on(dump).unwrap(), expected.len() as u64);
    assert!(archive == expected);
}

/// Hands out its pieces, and keeps the runtime's threads for blocking work from doing any more
/// right before the next thing.
struct Holding<'a> {
    pieces: &'a [&'a [u8]],
    then: Then,
    /// Dropped, it lets the threads go on.
    held: Rc<RefCell<Option<mpsc::Sender<()>>>>,
}

/// What comes behind the pieces. The last of them is handed out while the threads are held, too.
#[derive(Clone, Copy, PartialEq)]
enum Then {
    Piece,
    End,
    Nothing,
}

impl AsyncRead for Holding<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let left = usize::from(self.then == Then::Piece);
        if self.pieces.len() == left {
            let (sender, receiver) = mpsc::channel::<()>();
            tokio::task::spawn_blocking(move || receiver.recv());
            *self.held.borrow_mut() = Some(sender);
        }
        match self.pieces.split_off_first() {
            Some(piece) => buffer.put_slice(piece),
            None if self.then == Then::Nothing => return Poll::Pending,
            None => {}
        }
        Poll::Ready(Ok(()))
    }
}

/// Drops a restore while nothing can be done for it, and says whether its tree stood there right
/// then. It never does in the end.
fn stands_when_dropped(pieces: &[&[u8]], then: Then) -> bool {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("root");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .max_blocking_threads(1)
        .build()
        .unwrap();
    let held = Rc::new(RefCell::new(None));
    let stands = runtime.block_on(async {
        let mut source = Holding {
            pieces,
            then,
            held: held.clone(),
        };
        let options = RestoreOptions::default();
        let mut restore = Box::pin(nar::tokio::restore(&mut source, &path, options));
        while held.borrow().is_none() {
            poll_once(&mut restore).await;
        }
        drop(restore);
        path.exists()
    });
    held.take();
    // What was handed to the thread before is done by then; what it left behind, soon.
    let done = runtime.spawn_blocking(|| ());
    runtime.block_on(done).unwrap();
    drop(runtime);
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);
    stands
}

#[test]
fn a_future_dropped_while_it_reads_leaves_removing_to_others() {
    let archive = nar::example();
    assert!(stands_when_dropped(&[&archive[..200]], Then::Nothing));
}

#[test]
fn a_future_dropped_while_it_writes_leaves_nothing() {
    let (head, tail) = (&nar::example()[..200], &nar::example()[200..]);
    assert!(!stands_when_dropped(&[head], Then::Piece));
    assert!(stands_when_dropped(&[head, tail], Then::Piece));
}

#[test]
fn a_future_dropped_while_it_finishes_leaves_nothing() {
    assert!(stands_when_dropped(&[&nar::example()], Then::End));
}

#[test]
fn a_future_that_nobody_drops_keeps_its_tree() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("root");
    runtime().block_on(async {
        let archive = nar::example();
        let options = RestoreOptions::default();
        nar::tokio::restore(&mut &archive[..], &path, options)
            .await
            .unwrap();
    });
    assert_eq!(fs::read(path.join("greeting")).unwrap(), b"hello");
}

async fn poll_once<F: Future + Unpin>(future: &mut F) {
    std::future::poll_fn(|context| {
        assert!(std::pin::Pin::new(&mut *future).poll(context).is_pending());
        std::task::Poll::Ready(())
    })
    .await;
    tokio::task::yield_now().await;
}

#[test]
fn a_dump_of_nothing_names_it() {
    let error = runtime().block_on(async {
        nar::tokio::dump(
            "/nowhere/at/all",
            &mut tokio::io::sink(),
            DumpOptions::default(),
        )
        .await
        .unwrap_err()
    });
    assert!(
        error.to_string().starts_with("examine `/nowhere/at/all`: "),
        "{error}"
    );
    assert_eq!(io::Error::from(error).kind(), io::ErrorKind::NotFound);
}

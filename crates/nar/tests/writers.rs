//! A writer either has sent all of an archive or says that it has not, whatever its sink does.

#![expect(
    clippy::unwrap_used,
    reason = "a test that panics fails, and says where"
)]

use std::io::{self, Write};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use nar::testing::Tree;
use nar::{Encoder, Event, Events, Kind, WriteError, Writer};
use tokio::io::AsyncWrite;

/// Data that is gathered, data that is not, and many small events.
fn archive() -> Vec<u8> {
    let file = |size| Tree::File {
        executable: false,
        contents: vec![b'x'; size],
    };
    let small = (0..600).map(|name| (format!("file-{name:04}").into_bytes(), file(name)));
    let large = [
        (b"large".to_vec(), file(100_000)),
        (b"larger".to_vec(), file(200_000)),
    ];
    let entries = small.chain(large).collect();
    Tree::Directory(entries).encode().unwrap()
}

/// Takes some bytes of every piece. The call `bad` takes some too, and fails or waits forever.
#[derive(Debug, Default)]
struct Sink {
    taken: Vec<u8>,
    calls: usize,
    bad: usize,
}

impl Sink {
    fn take(&mut self, bytes: &[u8]) -> Option<usize> {
        let length = bytes.len().min(50_000);
        self.taken.extend_from_slice(&bytes[..length]);
        self.calls += 1;
        (self.calls != self.bad).then_some(length)
    }
}

impl Write for &mut Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = self.take(bytes);
        taken.ok_or_else(|| io::Error::other("the line is cut"))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsyncWrite for &mut Sink {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.take(bytes)
            .map_or(Poll::Pending, |length| Poll::Ready(Ok(length)))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// What the future comes to, or `None` if it waits: it is dropped then.
fn once<T>(future: impl Future<Output = T>) -> Option<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}

#[test]
fn a_sink_that_fails_once_ends_the_archive() {
    let archive = archive();
    let mut bad = 1;
    loop {
        let mut sink = Sink {
            bad,
            ..Sink::default()
        };
        let mut writer = Writer::new(&mut sink);
        let mut errors = Vec::new();
        for event in Events::new(&archive) {
            errors.extend(writer.write(event.unwrap()).err());
        }
        let finished = writer.finish().map(drop);
        if sink.calls < bad {
            finished.unwrap();
            assert!(errors.is_empty() && sink.taken == archive);
            break;
        }
        errors.extend(finished.err());
        let mut errors = errors.into_iter();
        assert!(
            matches!(errors.next(), Some(WriteError::Sink(_))),
            "call {bad}"
        );
        assert!(
            errors.all(|error| matches!(error, WriteError::Abandoned)),
            "call {bad}"
        );
        assert_eq!(sink.calls, bad, "nothing is sent any more");
        bad += 1;
    }
    assert!(bad > 10, "only {bad} calls");
}

#[test]
fn a_call_that_is_cancelled_ends_the_archive() {
    let archive = archive();
    let mut bad = 1;
    loop {
        let mut sink = Sink {
            bad,
            ..Sink::default()
        };
        let mut writer = nar::tokio::Writer::new(&mut sink);
        let mut cancelled = 0;
        for event in Events::new(&archive) {
            match once(writer.write(event.unwrap())) {
                None => cancelled += 1,
                Some(Ok(())) => assert_eq!(cancelled, 0, "call {bad}"),
                Some(Err(error)) => assert!(matches!(error, WriteError::Abandoned), "{error}"),
            }
        }
        let finished = once(writer.finish()).map(|finished| finished.map(drop));
        if sink.calls < bad {
            finished.unwrap().unwrap();
            assert!(cancelled == 0 && sink.taken == archive);
            break;
        }
        match finished {
            None => assert_eq!(cancelled, 0),
            Some(finished) => assert!(matches!(finished, Err(WriteError::Abandoned))),
        }
        assert_eq!(sink.calls, bad, "nothing is sent any more");
        bad += 1;
    }
    assert!(bad > 10, "only {bad} calls");
}

#[test]
fn an_event_out_of_place_changes_nothing() {
    let mut writer = Writer::new(Vec::new());
    let size = 100_000;
    writer
        .write(Event::File {
            executable: false,
            size,
        })
        .unwrap();
    let data = vec![b'x'; 100_001];
    for event in [Event::Data(&data), Event::FileEnd, Event::Directory] {
        let error = writer.write(event).unwrap_err();
        assert!(matches!(error, WriteError::Archive(_)), "{error}");
    }
    writer.write(Event::Data(&data[1..])).unwrap();
    writer.write(Event::FileEnd).unwrap();
    assert_eq!(writer.finish().unwrap().len(), 100_112);
}

#[test]
fn an_archive_that_is_not_complete_is_not_finished() {
    let mut writer = Writer::new(Vec::new());
    writer.write(Event::Directory).unwrap();
    let Err(WriteError::Archive(error)) = writer.finish() else {
        panic!("finished")
    };
    assert!(matches!(error.kind, Kind::Event { .. }), "{error}");
}

#[test]
fn data_is_copied_from_a_source() {
    let contents: Vec<u8> = (0..200_003_u32).map(|at| (at >> 5) as u8).collect();
    let tree = Tree::File {
        executable: true,
        contents: contents.clone(),
    };
    let mut writer = Writer::new(Vec::new());
    let size = contents.len() as u64;
    writer
        .write(Event::File {
            executable: true,
            size,
        })
        .unwrap();
    let (mut head, mut tail) = contents.split_at(100_000);
    let Err(WriteError::Source(error)) = writer.copy_data(&mut head) else {
        panic!("the source is too short")
    };
    assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    writer.copy_data(&mut tail).unwrap();
    writer.write(Event::FileEnd).unwrap();
    assert!(writer.finish().unwrap() == tree.encode().unwrap());

    let (mut head, mut tail) = contents.split_at(70_000);
    let written = once(async {
        let mut writer = nar::tokio::Writer::new(Vec::new());
        let executable = true;
        writer.write(Event::File { executable, size }).await?;
        let Err(WriteError::Source(error)) = writer.copy_data(&mut head).await else {
            panic!("the source is too short")
        };
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        writer.copy_data(&mut tail).await?;
        writer.write(Event::FileEnd).await?;
        writer.finish().await
    });
    assert!(written.unwrap().unwrap() == tree.encode().unwrap());
}

#[test]
fn data_out_of_place_is_refused_whatever_its_size() {
    for size in [0, 1, 64 * 1024 - 1, 64 * 1024, 100_000] {
        let data = vec![b'x'; size];
        let mut writer = Writer::new(Vec::new());
        writer.write(Event::Directory).unwrap();
        let WriteError::Archive(error) = writer.write(Event::Data(&data)).unwrap_err() else {
            panic!("{size} bytes")
        };
        let expected = "an entry or the directory's end";
        assert_eq!(error.kind, Kind::Event { expected }, "{size} bytes");
        writer.write(Event::DirectoryEnd).unwrap();
        assert_eq!(writer.finish().unwrap().len(), 96);

        let mut encoder = Encoder::new();
        let error = encoder.pass_data(size as u64).unwrap_err();
        let expected = "a file, a directory or a symlink";
        assert_eq!(error.kind, Kind::Event { expected }, "{size} bytes");
        let file = Event::File {
            executable: false,
            size: 10,
        };
        encoder.encode(file, &mut Vec::new()).unwrap();
        let error = encoder.pass_data(11).unwrap_err();
        assert_eq!(error.kind, Kind::Data { remaining: 10 });
        encoder.pass_data(10).unwrap();
    }
}

use std::cell::LazyCell;
use std::hint::black_box;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::runtime::Runtime;
use worker_protocol::client::{Client, Options, Session};
use worker_protocol::operation::NarFromPath;
use worker_protocol::wire::Encoder;
use worker_protocol::{ValidPathInfo, Version};

use crate::add::send_each;
use crate::daemon::{Daemon, source};
use crate::{CHUNK, LAST};

const SIZE: usize = 1 << 30;

/// All that speaks below 1.35 tells nothing of trust.
const VERSION: Version = Version::nix(34);

/// An archive of 1 GiB: through the client, and the same bytes by who only copies them; from a real daemon,
/// and from a program that costs less than a daemon.
pub(crate) fn bench(criterion: &mut Criterion, runtime: &Runtime) {
    let large = LazyCell::new(|| Large::new(runtime));
    let mut group = criterion.benchmark_group("worker-protocol/nar");
    group.throughput(Throughput::Bytes(SIZE as u64));
    group.bench_function("from a daemon", |bencher| {
        let start = || large.daemon.start();
        bencher.iter_custom(|rounds| runtime.block_on(large.fetch(rounds, start)));
    });
    group.bench_function("from a daemon, only copied", |bencher| {
        let (request, start) = (large.request(), || large.daemon.start());
        bencher.iter_custom(|rounds| runtime.block_on(large.copy(rounds, &request, start)));
    });
    group.bench_function("from a file through a pipe", |bencher| {
        let start = || large.play();
        bencher.iter_custom(|rounds| runtime.block_on(large.fetch(rounds, start)));
    });
    group.bench_function("from a file through a pipe, only copied", |bencher| {
        let start = || large.play();
        bencher.iter_custom(|rounds| runtime.block_on(large.copy(rounds, &[], start)));
    });
    group.finish();
}

type Started = (ChildStdout, ChildStdin, Child);

/// A store with a large path in it.
struct Large {
    daemon: Daemon,
    path: ValidPathInfo,
    /// A file with what a daemon says to whoever fetches it, and how long that is.
    said: PathBuf,
    length: u64,
}

impl Large {
    fn new(runtime: &Runtime) -> Large {
        let daemon = Daemon::new();
        let (path, nar) = source(&daemon.store_dir, "large", &vec![9; SIZE]);
        let said = daemon.directory.path().join("said");
        let all = [greeting(), nar.clone()].concat();
        std::fs::write(&said, &all).expect("a file");
        runtime.block_on(async {
            let (mut client, _process) = daemon.connect().await;
            send_each(&mut client, &[(path.clone(), nar)], true).await;
        });
        Large {
            daemon,
            path,
            said,
            length: all.len() as u64,
        }
    }

    fn options(&self) -> Options {
        Options {
            assume: Some(VERSION),
            ..Options::nix(self.daemon.store_dir.clone())
        }
    }

    fn operation(&self) -> NarFromPath {
        NarFromPath {
            path: self.path.path.clone(),
        }
    }

    /// What a client sends that fetches the path, in one write.
    fn request(&self) -> Vec<u8> {
        let mut session = Session::new(self.options());
        session.queue(&self.operation()).expect("queued");
        session.outgoing().to_vec()
    }

    /// A program that says what a daemon would, at less cost.
    fn play(&self) -> Started {
        let mut process = Command::new("cat")
            .arg(&self.said)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("cat starts");
        let writer = process.stdin.take().expect("it is piped");
        let reader = process.stdout.take().expect("it is piped");
        (reader, writer, process)
    }

    /// How long it takes, `rounds` times, to read the archive to its end.
    async fn fetch(&self, rounds: u64, start: impl Fn() -> Started) -> Duration {
        let (mut took, mut own) = (Duration::ZERO, Duration::ZERO);
        for _ in 0..rounds {
            let (reader, writer, _process) = start();
            let (started, processor) = (Instant::now(), processor_time());
            let mut client = Client::new(reader, writer, self.options());
            let fetched = client.call(&self.operation(), &mut |_| {}).await;
            fetched.expect("it follows");
            let mut left = self.path.info.nar_size;
            while left > 0 {
                let chunk = client.raw_chunk().await.expect("it comes");
                let count = chunk.len().min(left as usize);
                black_box(&chunk[..count]);
                client.consume(count);
                left -= count as u64;
            }
            took += started.elapsed();
            own += processor_time() - processor;
        }
        eprintln!(
            "processor time of this side: {:.1?} each",
            own / rounds as u32
        );
        took
    }

    /// How long it takes, `rounds` times, to send `request` and read as many bytes.
    async fn copy(&self, rounds: u64, request: &[u8], start: impl Fn() -> Started) -> Duration {
        let (mut took, mut own) = (Duration::ZERO, Duration::ZERO);
        let mut buffer = vec![0; CHUNK];
        for _ in 0..rounds {
            let (mut reader, mut writer, _process) = start();
            let (started, processor) = (Instant::now(), processor_time());
            writer.write_all(request).await.expect("it listens");
            let mut left = self.length;
            while left > 0 {
                let count = reader.read(&mut buffer).await.expect("it speaks");
                assert!(count > 0, "{left} bytes are missing");
                black_box(&buffer[..count]);
                left -= count as u64;
            }
            took += started.elapsed();
            own += processor_time() - processor;
        }
        eprintln!(
            "processor time of this side: {:.1?} each",
            own / rounds as u32
        );
        took
    }
}

/// What this process has used. On a machine that others use, too, it says more than the time on the clock.
fn processor_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::try_from(time).expect("time does not run backwards")
}

/// What a daemon says before the archive.
fn greeting() -> Vec<u8> {
    let mut said = Vec::new();
    let mut encoder = Encoder::new(&mut said);
    encoder.word(0x6478_696f).word(VERSION.to_word());
    // Any program's version is as long, with its padding.
    encoder.text("2.8.0").word(LAST).word(LAST);
    said
}

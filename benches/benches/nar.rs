//! Nix archives: dump, parse and restore, beside `nix-archive`, `nix-nar` and the real `nix-store`.
//!
//! `cargo bench -p benches --bench nar` runs all of it (a quarter of an hour) and prints a table
//! of ratios at the end; a filter behind `--` runs a part. `NAR_BENCH_DATA` names a directory for
//! the generated trees (1.5 GB, kept for the next run); restores go to `NAR_BENCH_RESTORE`, by
//! default `/dev/shm`. `NAR_BENCH_CLOCK=processor` measures processor time, user's and system's,
//! children included (these in ticks of 10 ms), for a machine that others use too.

use std::fs;
use std::hint::black_box;
use std::io::{self, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use criterion::measurement::{Measurement, ValueFormatter, WallTime};
use criterion::{BenchmarkGroup, Criterion, Throughput};
use nar::{Digest, Events, Observed};
use nix_archive::nar as peer;
use sha2::Digest as _;

fn main() {
    let data = std::env::var_os("NAR_BENCH_DATA")
        .map_or_else(|| std::env::temp_dir().join("nar-bench"), PathBuf::from);
    let trees = [
        Tree::generate(&data, "big1g", 1, 1 << 30),
        Tree::generate(&data, "tree20k", 20_000, 8_900),
        Tree::generate(&data, "tree200k", 198_175, 100),
    ];
    let mut criterion = Criterion::default()
        .with_measurement(Clock::chosen())
        .sample_size(10)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(4))
        .configure_from_args();
    for tree in &trees {
        dump(&mut criterion, tree);
        dump_and_hash(&mut criterion, tree);
        dump_to_pipe(&mut criterion, tree);
    }
    for tree in &trees {
        let archive = tree.archive();
        if tree.name == "tree200k" {
            parse(&mut criterion, tree, &archive);
        }
        restore(&mut criterion, tree, &archive);
    }
    criterion.final_summary();
    let results = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/criterion");
    if let Err(error) = benches::ratios::print(&results, "nar-", "nar") {
        eprintln!("no table of ratios: {error}");
    }
}

/// What time is measured.
#[derive(Clone, Copy)]
enum Clock {
    Wall,
    Processor,
}

impl Clock {
    fn chosen() -> Self {
        match std::env::var("NAR_BENCH_CLOCK").as_deref() {
            Ok("processor") => Self::Processor,
            _ => Self::Wall,
        }
    }

    fn now(self) -> Duration {
        match self {
            Self::Wall => EPOCH.elapsed(),
            Self::Processor => {
                let own = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
                let own = Duration::try_from(own).expect("time does not run backwards");
                own + children().expect("/proc is mounted")
            }
        }
    }
}

static EPOCH: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Processor time of all children that were waited for: fields 16 and 17 of `/proc/self/stat`.
fn children() -> Option<Duration> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    let behind_name = &stat[stat.rfind(')')? + 2..];
    let fields: Vec<u64> = behind_name
        .split(' ')
        .skip(13)
        .take(2)
        .filter_map(|field| field.parse().ok())
        .collect();
    Some(Duration::from_millis(10) * u32::try_from(fields.iter().sum::<u64>()).ok()?)
}

impl Measurement for Clock {
    type Intermediate = Duration;
    type Value = Duration;

    fn start(&self) -> Duration {
        self.now()
    }

    fn end(&self, start: Duration) -> Duration {
        self.now() - start
    }

    fn add(&self, a: &Duration, b: &Duration) -> Duration {
        *a + *b
    }

    fn zero(&self) -> Duration {
        Duration::ZERO
    }

    fn to_f64(&self, value: &Duration) -> f64 {
        WallTime.to_f64(value)
    }

    fn formatter(&self) -> &dyn ValueFormatter {
        WallTime.formatter()
    }
}

/// A generated file-system tree.
struct Tree {
    name: &'static str,
    path: PathBuf,
    nodes: u64,
    bytes: u64,
}

impl Tree {
    /// `files` files of around `size` bytes, a hundred to a directory; every fiftieth file is
    /// executable and every hundredth has a link beside it.
    fn generate(data: &Path, name: &'static str, files: u64, size: u64) -> Self {
        let path = data.join(name);
        let complete = data.join(format!("{name}.complete"));
        if !complete.exists() {
            fs::create_dir_all(data).expect("the data directory can be made");
            if files == 1 {
                let block: Vec<u8> = noise(7).take(1 << 20).collect();
                let mut file = fs::File::create(&path).expect("created");
                (0..size >> 20).for_each(|_| file.write_all(&block).expect("written"));
            } else {
                Self::generate_files(&path, files, size);
            }
            fs::write(complete, "").expect("written");
        }
        let mut bytes = 0;
        let mut nodes = 0;
        let archive = nar::Dump::new(&path).expect("the tree is there");
        let mut reader = nar::Reader::new(BufReader::with_capacity(1 << 16, archive));
        while let Some(event) = reader.next().expect("it is an archive") {
            match event {
                nar::Event::File { size, .. } => (nodes, bytes) = (nodes + 1, bytes + size),
                nar::Event::Directory | nar::Event::Symlink(_) => nodes += 1,
                _ => {}
            }
        }
        Self {
            name,
            path,
            nodes,
            bytes,
        }
    }

    fn generate_files(path: &Path, files: u64, size: u64) {
        use std::os::unix::fs::{OpenOptionsExt, symlink};
        let mut random = noise(11);
        for number in 0..files {
            let directory = path.join(format!("directory-{:05}", number / 100));
            if number % 100 == 0 {
                fs::create_dir_all(&directory).expect("created");
                symlink("file-0", directory.join("link")).expect("created");
            }
            let spread = u64::from(random.next().expect("endless"));
            let length = size / 2 + size * spread / 255;
            let mode = if number % 50 == 0 { 0o755 } else { 0o644 };
            fs::OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(mode)
                .open(directory.join(format!("file-{number:06}.txt")))
                .expect("created")
                .write_all(&random.by_ref().take(length as usize).collect::<Vec<_>>())
                .expect("written");
        }
    }

    fn archive(&self) -> Vec<u8> {
        let mut archive = Vec::with_capacity((self.bytes + self.nodes * 400) as usize);
        nar::dump(&self.path, &mut archive).expect("the tree is there");
        archive
    }

    fn group<'a>(
        &self,
        criterion: &'a mut Criterion<Clock>,
        operation: &str,
    ) -> BenchmarkGroup<'a, Clock> {
        let mut group = criterion.benchmark_group(format!("nar-{operation}-{}", self.name));
        group.throughput(if self.nodes == 1 {
            Throughput::Bytes(self.bytes)
        } else {
            Throughput::Elements(self.nodes)
        });
        group
    }
}

/// Bytes that do not repeat soon (xorshift).
fn noise(seed: u64) -> impl Iterator<Item = u8> {
    let mut state = seed;
    std::iter::repeat_with(move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    })
}

fn nix_store(arguments: &[&str], path: &Path) -> Command {
    let mut command = Command::new("nix-store");
    command.args(arguments).arg(path);
    for (variable, name) in [
        ("NIX_STATE_DIR", "state"),
        ("NIX_STORE_DIR", "store"),
        ("NIX_LOG_DIR", "log"),
    ] {
        command.env(
            variable,
            std::env::temp_dir().join("nar-bench-nix").join(name),
        );
    }
    command
}

fn has_nix_store() -> bool {
    Command::new("nix-store")
        .arg("--version")
        .stdout(Stdio::null())
        .status()
        .is_ok()
}

fn dump(criterion: &mut Criterion<Clock>, tree: &Tree) {
    let mut group = tree.group(criterion, "dump");
    group.bench_function("nar", |bencher| {
        bencher.iter(|| nar::dump(&tree.path, &mut io::sink()).expect("dumped"));
    });
    group.bench_function("nix-archive", |bencher| {
        bencher.iter(|| {
            peer::encode_path(&mut io::sink(), &tree.path, peer::CaseHack::Disabled)
                .expect("dumped");
        });
    });
    group.bench_function("nix-nar", |bencher| {
        bencher.iter(|| {
            let mut encoder = nix_nar::Encoder::new(&tree.path).expect("opened");
            io::copy(&mut encoder, &mut io::sink()).expect("dumped")
        });
    });
    if has_nix_store() {
        group.bench_function("nix-store", |bencher| {
            bencher.iter(|| {
                let status = nix_store(&["--dump"], &tree.path)
                    .stdout(Stdio::null())
                    .status();
                assert!(status.expect("started").success());
            });
        });
    }
}

fn dump_and_hash(criterion: &mut Criterion<Clock>, tree: &Tree) {
    let mut group = tree.group(criterion, "dump-sha256");
    group.bench_function("nar", |bencher| {
        bencher.iter(|| {
            let mut digest = Digest::new();
            nar::dump(&tree.path, &mut Observed::new(io::sink(), &mut digest)).expect("dumped");
            digest.finish()
        });
    });
    group.bench_function("nix-archive", |bencher| {
        bencher.iter(|| peer::hash_path(&tree.path, peer::CaseHack::Disabled).expect("hashed"));
    });
    if tree.nodes == 1 {
        let block: Vec<u8> = noise(7).take(1 << 20).collect();
        group.bench_function("sha2-alone", |bencher| {
            bencher.iter(|| {
                let mut sha256 = sha2::Sha256::new();
                (0..tree.bytes >> 20).for_each(|_| sha256.update(&block));
                sha256.finalize()
            });
        });
    }
}

fn dump_to_pipe(criterion: &mut Criterion<Clock>, tree: &Tree) {
    let mut group = tree.group(criterion, "dump-pipe");
    let piped = |dump: &dyn Fn(&mut io::PipeWriter)| {
        let (mut reader, mut writer) = io::pipe().expect("a pipe");
        std::thread::scope(|scope| {
            scope.spawn(move || {
                let mut buffer = vec![0; 1 << 16];
                while reader.read(&mut buffer).expect("read") > 0 {}
            });
            dump(&mut writer);
            drop(writer);
        });
    };
    group.bench_function("nar", |bencher| {
        bencher.iter(|| piped(&|sink| assert!(nar::dump(&tree.path, sink).expect("dumped") > 0)));
    });
    group.bench_function("nix-archive", |bencher| {
        bencher.iter(|| {
            piped(&|sink| {
                let mut sink = io::BufWriter::with_capacity(1 << 16, sink);
                peer::encode_path(&mut sink, &tree.path, peer::CaseHack::Disabled).expect("dumped");
            });
        });
    });
}

fn parse(criterion: &mut Criterion<Clock>, tree: &Tree, archive: &[u8]) {
    let mut group = tree.group(criterion, "parse-slice");
    group.bench_function("nar", |bencher| {
        bencher.iter(|| {
            for event in Events::new(archive) {
                black_box(event.expect("an archive"));
            }
        });
    });
    group.bench_function("nix-archive", |bencher| {
        bencher.iter(|| {
            peer::decode_events(archive, |event| {
                black_box(event);
                Ok(())
            })
            .expect("an archive");
        });
    });
    group.finish();
    parse_reader(criterion, tree, archive);
}

fn parse_reader(criterion: &mut Criterion<Clock>, tree: &Tree, archive: &[u8]) {
    let mut group = tree.group(criterion, "parse-reader");
    group.bench_function("nar", |bencher| {
        bencher.iter(|| {
            let mut reader = nar::Reader::new(BufReader::with_capacity(1 << 16, archive));
            while let Some(event) = reader.next().expect("an archive") {
                black_box(event);
            }
        });
    });
    group.bench_function("nar-tokio", |bencher| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .expect("a runtime");
        bencher.iter(|| {
            runtime.block_on(async {
                let source = tokio::io::BufReader::with_capacity(1 << 16, archive);
                let mut reader = nar::tokio::Reader::new(source);
                while let Some(event) = reader.next().await.expect("an archive") {
                    black_box(event);
                }
            });
        });
    });
    group.bench_function("nix-archive", |bencher| {
        bencher.iter(|| {
            let mut source = BufReader::with_capacity(1 << 16, archive);
            peer::decode_events_reader(&mut source, |event| {
                if let peer::Event::Regular { mut contents, .. } = event {
                    io::copy(&mut contents, &mut io::sink()).expect("read");
                }
                Ok(())
            })
            .expect("an archive");
        });
    });
    group.bench_function("nix-nar", |bencher| {
        bencher.iter(|| {
            let decoder = nix_nar::Decoder::new(BufReader::with_capacity(1 << 16, archive));
            for entry in decoder.expect("an archive").entries().expect("an archive") {
                black_box(entry.expect("an entry"));
            }
        });
    });
}

fn restore(criterion: &mut Criterion<Clock>, tree: &Tree, archive: &[u8]) {
    let clock = Clock::chosen();
    let place = std::env::var_os("NAR_BENCH_RESTORE").unwrap_or_else(|| "/dev/shm".into());
    let place = tempfile::tempdir_in(place).expect("a directory to restore to");
    let path = place.path().join("restored");
    // Only the restore is timed, not the removal between two of them.
    let timed = |iterations: u64, restore: &dyn Fn()| {
        let mut elapsed = Duration::ZERO;
        for _ in 0..iterations {
            let start = clock.start();
            restore();
            elapsed += clock.end(start);
            let _ = fs::remove_dir_all(&path).or_else(|_| fs::remove_file(&path));
        }
        elapsed
    };
    let mut group = tree.group(criterion, "restore");
    group.bench_function("nar", |bencher| {
        bencher.iter_custom(|iterations| {
            timed(iterations, &|| {
                let mut restore =
                    nar::Restore::to(&path, nar::RestoreOptions::default()).expect("opened");
                restore.write_all(archive).expect("restored");
                restore.finish().expect("restored");
            })
        });
    });
    group.bench_function("nar-canonical", |bencher| {
        let options = nar::RestoreOptions {
            canonical: true,
            ..Default::default()
        };
        bencher.iter_custom(|iterations| {
            timed(iterations, &|| {
                let mut restore = nar::Restore::to(&path, options).expect("opened");
                restore.write_all(archive).expect("restored");
                restore.finish().expect("restored");
            })
        });
    });
    group.bench_function("nix-archive", |bencher| {
        bencher.iter_custom(|iterations| {
            timed(iterations, &|| {
                peer::restore(archive, &path, peer::CaseHack::Disabled).expect("restored");
            })
        });
    });
    group.bench_function("nix-nar", |bencher| {
        bencher.iter_custom(|iterations| {
            timed(iterations, &|| {
                nix_nar::Decoder::new(archive)
                    .expect("an archive")
                    .unpack(&path)
                    .expect("restored");
            })
        });
    });
    if has_nix_store() {
        let file = place.path().join("archive");
        fs::write(&file, archive).expect("written");
        group.bench_function("nix-store", |bencher| {
            bencher.iter_custom(|iterations| {
                timed(iterations, &|| {
                    let input = fs::File::open(&file).expect("opened");
                    let status = nix_store(&["--restore"], &path).stdin(input).status();
                    assert!(status.expect("started").success());
                })
            });
        });
    }
}

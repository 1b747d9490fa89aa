//! Generated file-system trees: the same bytes on every machine and every run.

use std::fs;
use std::io::{BufReader, Write};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use criterion::{BenchmarkGroup, Criterion, SamplingMode, Throughput};

use crate::clock::Clock;

/// A generated file-system tree.
pub(crate) struct Tree {
    pub(crate) name: &'static str,
    pub(crate) path: PathBuf,
    pub(crate) nodes: u64,
    pub(crate) bytes: u64,
    archive: OnceLock<Vec<u8>>,
}

impl Tree {
    /// `files` files of around `size` bytes, a hundred to a directory; every fiftieth file is
    /// executable and every hundredth has a link beside it.
    pub(crate) fn generate(data: &Path, name: &'static str, files: u64, size: u64) -> Self {
        let path = data.join(name);
        let complete = data.join(format!("{name}.complete"));
        if !complete.exists() {
            fs::create_dir_all(data).expect("the data directory can be made");
            if files == 1 {
                generate_file(&path, size);
            } else {
                generate_files(&path, files, size);
            }
            fs::write(complete, "").expect("written");
        }
        let (nodes, bytes) = measure(&path);
        Self {
            name,
            path,
            nodes,
            bytes,
            archive: OnceLock::new(),
        }
    }

    /// Its archive, made when it is first asked for.
    pub(crate) fn archive(&self) -> &[u8] {
        self.archive.get_or_init(|| {
            let mut archive = Vec::with_capacity((self.bytes + self.nodes * 400) as usize);
            nar::dump(&self.path, &mut archive).expect("the tree is there");
            archive
        })
    }

    pub(crate) fn group<'a>(
        &self,
        criterion: &'a mut Criterion<Clock>,
        operation: &str,
    ) -> BenchmarkGroup<'a, Clock> {
        let mut group = criterion.benchmark_group(format!("nar-{operation}-{}", self.name));
        group.sampling_mode(SamplingMode::Flat);
        group.throughput(if self.nodes == 1 {
            Throughput::Bytes(self.bytes)
        } else {
            Throughput::Elements(self.nodes)
        });
        group
    }
}

fn generate_file(path: &Path, size: u64) {
    let block: Vec<u8> = noise(7).take(1 << 20).collect();
    let mut file = fs::File::create(path).expect("created");
    (0..size >> 20).for_each(|_| file.write_all(&block).expect("written"));
}

fn generate_files(path: &Path, files: u64, size: u64) {
    use std::os::unix::fs::{OpenOptionsExt, symlink};
    let mut random = noise(11);
    for number in 0..files {
        let directory = path.join(format!("directory-{:05}", number / 100));
        if number % 100 == 0 {
            fs::create_dir_all(&directory).expect("created");
            let link = directory.join("link");
            let _ = fs::remove_file(&link);
            symlink("file-0", link).expect("created");
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

/// Nodes, and bytes of file data. Reading all of it warms the caches.
fn measure(path: &Path) -> (u64, u64) {
    let (mut nodes, mut bytes) = (0, 0);
    let archive = nar::Dump::new(path).expect("the tree is there");
    let mut reader = nar::Reader::new(BufReader::with_capacity(1 << 16, archive));
    while let Some(event) = reader.next().expect("it is an archive") {
        match event {
            nar::Event::File { size, .. } => (nodes, bytes) = (nodes + 1, bytes + size),
            nar::Event::Directory | nar::Event::Symlink(_) => nodes += 1,
            _ => {}
        }
    }
    (nodes, bytes)
}

/// Bytes that do not repeat soon (xorshift).
pub(crate) fn noise(seed: u64) -> impl Iterator<Item = u8> {
    let mut state = seed;
    std::iter::repeat_with(move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    })
}

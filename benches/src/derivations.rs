//! Derivations shaped like those of a package collection: the same bytes on every machine and every run.
//!
//! A third of a file are input derivations, a third lists of store paths in the environment, a third scripts with escaped line ends and
//! quotation marks; together about 2% of the bytes are backslashes.

use std::fmt::Write;

use derivation::{Derivation, Output, StoreDir, StorePath, WantedOutputs};

/// A small generator of numbers (xorshift64*), so that no crate's version changes the corpus.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit as u64).expect("less than the limit")
    }

    fn path(&mut self, extension: &str) -> StorePath {
        let mut digest = [0; 20];
        for chunk in digest.chunks_mut(8) {
            chunk.copy_from_slice(&self.next().to_le_bytes()[..chunk.len()]);
        }
        let name = format!(
            "{}-{}.{}{extension}",
            WORDS[self.below(WORDS.len())],
            self.below(20),
            self.below(100)
        );
        StorePath::from_parts(digest, &name).expect("the name is one")
    }
}

const WORDS: [&str; 12] = [
    "bash",
    "python3.11-setuptools",
    "perl5.36-Module-Build",
    "glibc",
    "gcc-wrapper",
    "openssl",
    "zlib",
    "haskell-lens",
    "hook.sh",
    "curl",
    "texlive-collection",
    "source.tar.gz",
];

const SCRIPT: &str = r#"runHook preBuild
if [ -n "$flags" ]; then
  make -j$NIX_BUILD_CORES "$makeFlags" "PREFIX=$out"
fi
for f in $(find . -type f -name '*.so')
do patchelf --set-rpath "$lib" $f
done
"#;

/// `count` files of 6 to 80 KiB, 19 KiB on average.
#[must_use]
pub fn corpus(count: usize) -> Vec<Vec<u8>> {
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    (0..count)
        .map(|index| {
            // Few are large: the mean of three draws, squared.
            let share = (0..3).map(|_| random.below(1000)).sum::<usize>() as f64 / 3000.0;
            let size = 6_000.0 + 74_000.0 * share.powi(3) * if index % 40 == 0 { 4.0 } else { 1.0 };
            let inputs = (size / 250.0) as usize;
            let inputs = (0..inputs).map(|_| random.path(".drv")).collect();
            derivation(&mut random, size.min(78_000.0) as usize, inputs).print(&StoreDir::NIX)
        })
        .collect()
}

/// `count` files of 2 to 8 KiB by store path, each using up to 12 of those before it.
#[must_use]
pub fn graph(count: usize) -> Vec<(StorePath, Vec<u8>)> {
    let mut random = Random(0xD1B5_4A32_D192_ED03);
    let mut files: Vec<(StorePath, Vec<u8>)> = Vec::with_capacity(count);
    for index in 0..count {
        let inputs = if index == 0 {
            0
        } else {
            random.below(12.min(index) + 1)
        };
        // Mostly near ones, so that the graph is deep.
        let inputs = (0..inputs)
            .map(|_| files[index - 1 - random.below(index.min(200))].0.clone())
            .collect();
        let size = 2_000 + random.below(6_000);
        let derivation = derivation(&mut random, size, inputs);
        let text = derivation.print(&StoreDir::NIX);
        let path = derivation
            .store_path(&StoreDir::NIX, &format!("node-{index}"))
            .expect("the name is one");
        files.push((path, text));
    }
    files
}

/// A derivation of about `size` bytes.
fn derivation(random: &mut Random, size: usize, inputs: Vec<StorePath>) -> Derivation<'static> {
    let mut derivation = Derivation {
        system: "x86_64-linux".into(),
        builder: b"/bin/sh".into(),
        ..Derivation::default()
    };
    for name in ["dev", "out"] {
        let path = random.path("");
        derivation.environment.insert(
            name.as_bytes().into(),
            StoreDir::NIX.print(&path).into_bytes().into(),
        );
        derivation
            .outputs
            .insert(name.into(), Output::InputAddressed { path: path.into() });
    }
    for input in inputs {
        let wanted = if random.below(4) == 0 {
            &["dev", "out"][..]
        } else {
            &["out"]
        };
        derivation.input_derivations.insert(
            input.into(),
            wanted
                .iter()
                .map(|&name| name.into())
                .collect::<WantedOutputs<'_>>(),
        );
    }
    derivation.input_sources.insert(random.path("").into());
    derivation.arguments = vec![
        b"-e".into(),
        StoreDir::NIX.print(&random.path("")).into_bytes().into(),
    ];
    let mut rest = size.saturating_sub(500 + derivation.input_derivations.len() * 90);
    let mut index = 0;
    while rest > 40 {
        let mut value = String::new();
        let len = (20 + random.below(1200)).min(rest);
        if index % 2 == 0 {
            while value.len() < len {
                write!(value, "{} ", StoreDir::NIX.display(&random.path("")))
                    .expect("writing to a string succeeds");
            }
        } else {
            value.extend(SCRIPT.chars().cycle().take(len));
        }
        rest = rest.saturating_sub(value.len() + 24);
        derivation.environment.insert(
            format!("variable{index:03}").into_bytes().into(),
            value.into_bytes().into(),
        );
        index += 1;
    }
    derivation
}

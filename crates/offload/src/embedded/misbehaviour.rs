//! What a machine can be made to do wrong.

use std::borrow::Cow;

use derivation::{Derivation, Output};
use nar::{Digest, Observe};
use store_path::{
    ContentAddress, ContentAddressMethod, Hash, HashAlgorithm, StoreDir, StorePath,
    output_path_name,
};
use worker_protocol::wire::Text;
use worker_protocol::{BasicDerivation, NarHash, PathInfo};

/// What a machine can be made to do wrong, so that tests see what follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Misbehaviour {
    /// It has no store daemon.
    HasNoDaemon,
    /// Its store takes no inputs.
    RefusesInputs,
    /// It sends half of every archive, and hangs up.
    CutsArchives,
    /// It sends archives that are not the ones that it has described.
    AltersArchives,
    /// It sends a file without end for every archive that it has described.
    SendsFilesWithoutEnd,
    /// It sends a directory without end for every archive that it has described.
    SendsDirectoriesWithoutEnd,
    /// It describes and sends directories inside each other, a thousand deep.
    NestsDirectories,
    /// It describes and sends a directory with two entries of these names.
    NamesEntries(&'static str, &'static str),
    /// It says that outputs refer to a path that no build could know.
    InventsReferences,
    /// It says that outputs refer to themselves.
    RefersToItself,
    /// It prints lines of a build's log without end.
    LogsWithoutEnd,
    /// It has one more message, always, before it says what it knows of an output.
    TalksWithoutEnd,
    /// It sends an output's archive in the place of what it knows of the output.
    SwapsReplies,
    /// It makes up where a floating output lies, against the address that it tells.
    InventsPaths,
    /// It sends a floating output whose content does not have the address that it tells.
    InventsContents,
    /// It builds a floating output and says that it is one of another derivation.
    RealisesOthers,
    /// It reads requests and never answers.
    KeepsSilent,
}

/// How often a directory is in another one where they are nested.
const DEPTH: usize = 1000;

impl Misbehaviour {
    /// The archive that is described and sent in the place of any other.
    pub(super) fn archive(self) -> Option<Vec<u8>> {
        let file = ["(", "type", "regular", "contents", "x", ")"];
        let words: Vec<&str> = match self {
            Misbehaviour::NamesEntries(first, second) => {
                let entry = |name| {
                    let before = ["entry", "(", "name", name, "node"];
                    before.into_iter().chain(file).chain([")"])
                };
                let (begin, end) = (["(", "type", "directory"], [")"]);
                let entries = entry(first).chain(entry(second));
                begin.into_iter().chain(entries).chain(end).collect()
            }
            Misbehaviour::NestsDirectories => {
                let into = [
                    "(",
                    "type",
                    "directory",
                    "entry",
                    "(",
                    "name",
                    "down",
                    "node",
                ];
                let down = std::iter::repeat_n(into, DEPTH).flatten();
                let up = std::iter::repeat_n([")", ")"], DEPTH).flatten();
                down.chain(file).chain(up).collect()
            }
            _ => return None,
        };
        Some(strings(["nix-archive-1"].into_iter().chain(words)))
    }

    /// How an archive without end begins, and what is sent behind that again and again.
    pub(super) fn without_end(self) -> Option<(Vec<u8>, Vec<u8>)> {
        match self {
            Misbehaviour::SendsFilesWithoutEnd => {
                let words = ["nix-archive-1", "(", "type", "regular", "contents"];
                let mut begin = strings(words);
                begin.extend((1_u64 << 62).to_le_bytes());
                Some((begin, vec![0; 64 << 10]))
            }
            Misbehaviour::SendsDirectoriesWithoutEnd => {
                let begin = strings(["nix-archive-1", "(", "type", "directory"]);
                // The names would have to be in order; nobody is to come so far.
                let entry = ["entry", "(", "name", "x", "node", "(", "type", "directory"];
                Some((begin, strings(entry.into_iter().chain([")", ")"]))))
            }
            _ => None,
        }
    }

    /// Of which derivation a made-up floating output is told to be.
    pub(super) fn derivation_hash(self, store_dir: &StoreDir, told: &BasicDerivation) -> Hash {
        if self == Misbehaviour::RealisesOthers {
            return HashAlgorithm::Sha256.hash(b"another derivation");
        }
        let bytes = |text: &Text| Cow::<[u8]>::from(text.to_vec());
        let output = Output::Floating {
            method: ContentAddressMethod::Recursive,
            algorithm: HashAlgorithm::Sha256,
        };
        let derivation = Derivation {
            outputs: [("out".into(), output)].into_iter().collect(),
            input_sources: told.input_sources.iter().cloned().map(Into::into).collect(),
            system: told.platform.to_string_lossy(),
            builder: bytes(&told.builder),
            arguments: told.arguments.iter().map(bytes).collect(),
            environment: (told.environment.iter())
                .map(|(name, value)| (bytes(name), bytes(value)))
                .collect(),
            ..Derivation::default()
        };
        HashAlgorithm::Sha256.hash(&derivation.print(store_dir))
    }

    /// Where a made-up floating output of `derivation` lies, what it holds, and what is told of it.
    pub(super) fn floating_output(
        self,
        store_dir: &StoreDir,
        derivation: &StorePath,
    ) -> (StorePath, &'static str, ContentAddress) {
        let content = "made up\n";
        let told = match self {
            Misbehaviour::InventsContents => "something else\n",
            _ => content,
        };
        let hash = HashAlgorithm::Sha256.hash(&file(told));
        let method = ContentAddressMethod::Recursive;
        let address = ContentAddress { method, hash };
        let name = output_path_name(derivation.name().trim_end_matches(".drv"), "out");
        let path = match self {
            Misbehaviour::InventsPaths => StorePath::from_parts([9; 20], &name).ok(),
            _ => store_dir
                .make_content_addressed_path(&name, &address, [], false)
                .ok(),
        };
        let path = path.expect("a derivation's name is good for its output");
        (path, content, address)
    }
}

/// What is known of a path with that archive.
pub(super) fn described(archive: &[u8], known: PathInfo) -> PathInfo {
    let mut digest = Digest::new();
    digest.observe(archive);
    let fingerprint = digest.finish();
    let mut told = known.with_references([]);
    told.nar_hash = NarHash(fingerprint.sha256);
    told.nar_size = fingerprint.size;
    told
}

/// A path that nobody knows.
pub(super) fn invented() -> StorePath {
    let path = StorePath::from_parts([7; 20], "invented");
    path.expect("a digest and a name make a path")
}

/// Changes one letter of a file's content, where the archive stays an archive.
pub(super) fn alter(archive: &mut [u8]) {
    if let Some(letter) = archive.iter_mut().rfind(|byte| byte.is_ascii_uppercase()) {
        *letter = letter.to_ascii_lowercase();
    }
}

/// The archive of a file.
pub(super) fn file(content: &str) -> Vec<u8> {
    let words = [
        "nix-archive-1",
        "(",
        "type",
        "regular",
        "contents",
        content,
        ")",
    ];
    strings(words)
}

/// Strings as archives have them: length, bytes, zeros up to a multiple of 8.
pub(super) fn strings<'a>(words: impl IntoIterator<Item = &'a str>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for word in words {
        bytes.extend((word.len() as u64).to_le_bytes());
        bytes.extend(word.as_bytes());
        bytes.resize(bytes.len().next_multiple_of(8), 0);
    }
    bytes
}

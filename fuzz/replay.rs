//! What the tests of each crate replay of `fuzz/corpus`, without a fuzzer.

use std::path::Path;

/// Hands every input of a target to its oracle.
pub(crate) fn replay(target: &str, oracle: impl Fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../fuzz/corpus")
        .join(target);
    let entries = std::fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("failed to list {}: {error}", folder.display()));
    let mut inputs = 0;
    for entry in entries {
        let path = entry.expect("an entry").path();
        let data = std::fs::read(&path)
            .unwrap_or_else(|error| panic!("failed to read {}: {error}", path.display()));
        // A failing test prints which input it was.
        eprintln!("{}", path.display());
        oracle(&data);
        inputs += 1;
    }
    assert!(inputs > 0, "{} is empty", folder.display());
}

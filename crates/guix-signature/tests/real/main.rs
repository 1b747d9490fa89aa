//! Parity with the real Guix: every root folder below `OFFLOAD_ROOTS` that has one is asked.

mod agent;
mod parity;
mod printing;
mod stream;

use std::path::PathBuf;

use testbed::CopyOfRoot;

/// Copies of the roots that have Guix, with `/etc/guix` kept; none if nobody asked for them.
fn copies(test: &str) -> Vec<CopyOfRoot> {
    let roots: Vec<PathBuf> = match testbed::roots_with("usr/bin/guix") {
        Ok(Some(roots)) => roots,
        Ok(None) => {
            eprintln!(
                "not asked for: {test}, as {} is not set",
                testbed::ROOTS_VARIABLE
            );
            return Vec::new();
        }
        Err(missing) => {
            testbed::runs_here(test, Err(missing));
            return Vec::new();
        }
    };
    let copy = |root| CopyOfRoot::new(root, &["/etc/guix"]).expect("folders can be made");
    roots.into_iter().map(copy).collect()
}

//! Every input that fuzzing kept, through the same oracles.

use std::path::Path;

fn replay(target: &str, oracle: impl Fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../fuzz/corpus")
        .join(target);
    let mut inputs = 0;
    for entry in folder
        .read_dir()
        .unwrap_or_else(|error| panic!("failed to list {}: {error}", folder.display()))
    {
        let path = entry.expect("an entry").path();
        oracle(
            &std::fs::read(&path)
                .unwrap_or_else(|error| panic!("failed to read {}: {error}", path.display())),
        );
        inputs += 1;
    }
    assert!(inputs > 0, "{} is empty", folder.display());
}

#[test]
fn signature_sexp() {
    replay("signature_sexp", guix_signature::testing::sexp_identity);
}

#[test]
fn signature_acl() {
    replay("signature_acl", guix_signature::testing::acl_identity);
}

#[test]
fn signature_verify() {
    replay(
        "signature_verify",
        guix_signature::testing::signatures_cannot_be_forged,
    );
}

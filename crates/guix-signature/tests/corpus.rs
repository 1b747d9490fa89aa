//! Every input that fuzzing kept, through the same oracles.

#[path = "../../../fuzz/replay.rs"]
mod replay;

use replay::replay;

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

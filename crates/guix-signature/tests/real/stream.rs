//! What we sign, guix imports; what guix exports, we verify.

use std::os::unix::fs::PermissionsExt;

use guix_signature::{Acl, ItemHasher, SecretKey};
use store_path::{ContentAddress, ContentAddressMethod, HashAlgorithm, StoreDir};
use worker_protocol::export::{self, Trailer};
use worker_protocol::wire::{Decoder, Encoder};
use worker_protocol::{Context, Value, Version};

use crate::agent::LIMIT;
use crate::copies;

/// Imports a stream, then exports the same path.
const SCRIPT: &str = r#"
guix-daemon --disable-chroot --no-substitutes >/etc/guix/daemon.log 2>&1 &
for try in $(seq 100); do
    test -S /var/guix/daemon-socket/socket && break
    sleep 0.1
done
guix archive --import </etc/guix/imported && guix archive --export "$1" >/etc/guix/exported
status=$?
kill %1
exit $status
"#;

/// The archive of a regular file.
fn file_nar(contents: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut encoder = Encoder::new(&mut out);
    for word in ["nix-archive-1", "(", "type", "regular", "contents"] {
        encoder.text(word);
    }
    encoder.bytes(contents).text(")");
    out
}

#[test]
fn a_stream_that_we_sign_is_imported_and_exported_again_with_the_same_bytes() {
    let key = SecretKey::from_bytes(&[0x41; 32]).expect("not zero");
    let acl = Acl::new([*key.public_key()]);
    let context = Context::new(StoreDir::GUIX, Version::GUIX_NEWEST);
    let nar = file_nar(b"a file that was signed\n");
    let address = ContentAddress {
        method: ContentAddressMethod::Recursive,
        hash: HashAlgorithm::Sha256.hash(&nar),
    };
    let path = StoreDir::GUIX.make_fixed_output_path("signed", &address);
    let mut trailer = Trailer {
        path: path.expect("a good name"),
        references: vec![],
        deriver: None,
        signature: None,
    };
    let mut hasher = ItemHasher::new();
    nar.chunks(7).for_each(|piece| hasher.update(piece));
    assert_eq!(hasher.nar_hash(), address.hash.digest());
    let hash = hasher.finish(&trailer.signed_bytes(&context));
    trailer.signature = Some(key.sign(&hash).to_text().into());

    let mut stream = Vec::new();
    export::encode_next(&mut stream, true);
    stream.extend(&nar);
    trailer.encode(&mut Encoder::new(&mut stream), &context);
    export::encode_next(&mut stream, false);

    for copy in copies("guix archive --import of what we sign") {
        let write = |name: &str, bytes: &[u8]| {
            std::fs::write(copy.kept("/etc/guix").join(name), bytes).expect("it can be written");
        };
        // guix refuses a key that others can read.
        write("signing-key.sec", &key.to_text());
        let mode = std::fs::Permissions::from_mode(0o400);
        let file = copy.kept("/etc/guix/signing-key.sec");
        std::fs::set_permissions(file, mode).expect("it is ours");
        write("signing-key.pub", &key.public_key().to_sexp().to_advanced());
        write("acl", &acl.to_sexp().to_advanced());
        write("imported", &stream);
        let path = StoreDir::GUIX.print(&trailer.path);
        let output = copy
            .command("timeout")
            .args([LIMIT, "bash", "-c", SCRIPT, "bash", &path])
            .output()
            .expect("it starts");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "{}: {stderr}",
            copy.root().display()
        );
        let exported = std::fs::read(copy.kept("/etc/guix/exported")).expect("it was made");
        assert_eq!(exported, stream, "{}", copy.root().display());

        let mut decoder = Decoder::new(&exported[8 + nar.len()..]);
        let theirs = Trailer::decode(&mut decoder, &context).expect("a trailer");
        let signature = theirs.signature.expect("it is signed");
        assert_eq!(
            acl.verify(signature.as_bytes(), &hash),
            Ok(*key.public_key())
        );
    }
}

//! What the real Guix made: keys, access-control lists and signatures, byte for byte.
//!
//! The recordings are of guix 1.2.0 and 1.5.0 (libgcrypt 1.8.7 and 1.12.4), made by `tests/real`. Their keys were made
//! for these tests, and sign nothing else.

use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use guix_signature::sexp::Sexp;
use guix_signature::{Acl, AclKey, Error, ErrorKind, PublicKey, SecretKey, Signature, Unsupported};

const VERSIONS: [&str; 2] = ["guix-1.2.0", "guix-1.5.0"];

fn file(version: &str, name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/recordings")
        .join(version)
        .join(name)
}

fn read(version: &str, name: &str) -> Vec<u8> {
    std::fs::read(file(version, name)).expect("it was recorded")
}

#[test]
fn keys_are_read_and_written_as_guix_writes_them() {
    for version in VERSIONS {
        let secret = SecretKey::parse(&read(version, "signing-key.sec")).expect("a key");
        assert_eq!(*secret.to_text(), read(version, "signing-key.sec"));
        let public = PublicKey::parse(&read(version, "signing-key.pub")).expect("a key");
        assert_eq!(
            public.to_sexp().to_advanced(),
            read(version, "signing-key.pub")
        );
        assert_eq!(secret.public_key(), &public);
    }
}

#[test]
fn access_control_lists_are_read() {
    let farm = "8D156F295D24B0D9A86FA5741A840FF2D24F60F7B6C4134814AD55625971B394";
    for (version, keys) in VERSIONS.into_iter().zip([1, 2]) {
        let acl = Acl::parse(&read(version, "acl")).expect("a list");
        assert_eq!(acl.keys().len(), keys);
        assert!(matches!(acl.keys()[0], AclKey::Ecdsa(key) if key.to_string() == farm));
    }
}

#[test]
fn signatures_are_those_of_guix_authenticate() {
    for version in VERSIONS {
        let secret = SecretKey::parse(&read(version, "signing-key.sec")).expect("a key");
        let acl = Acl::new([*secret.public_key()]);
        let table = String::from_utf8(read(version, "signatures")).expect("text");
        let mut short = 0;
        for (index, line) in table.lines().enumerate() {
            let numbers = line
                .split(' ')
                .map(|digits| HEXLOWER.decode(digits.as_bytes()));
            let [hash, r, s] = numbers
                .collect::<Result<Vec<_>, _>>()
                .expect("digits")
                .try_into()
                .expect("three numbers");
            short += usize::from(r.len() < 32 || s.len() < 32);
            let hash = hash.try_into().expect("32 bytes");
            let ours = secret.sign(&hash);
            let ecdsa = [
                Sexp::named("r", [Sexp::atom(r)]),
                Sexp::named("s", [Sexp::atom(s)]),
            ];
            let theirs = Sexp::named("sig-val", [Sexp::named("ecdsa", ecdsa)]);
            assert_eq!(ours.to_sexp().child("sig-val"), Some(&theirs));
            let text = ours.to_text();
            assert_eq!(acl.verify(&text, &hash), Ok(*secret.public_key()));
            if index == 0 {
                assert_eq!(text, read(version, "signature"));
                assert_eq!(text.len(), 430);
            }
        }
        assert_eq!(table.lines().count(), 200);
        assert!(short > 0, "numbers of fewer than 32 bytes are among them");
    }
}

/// RFC 8032, test 1: the base point times a scalar, which is all that EdDSA and this have in common.
#[test]
fn a_public_key_is_the_base_point_times_the_secret_number() {
    let mut d = HEXLOWER
        .decode(b"307c83864f2833cb427a2ef1c00a013cfdff2768d980c0a3a520f006904de94f")
        .expect("digits");
    d.reverse();
    let key = SecretKey::from_bytes(&d.try_into().expect("32 bytes")).expect("not zero");
    let q = "D75A980182B10AB7D54BFED3C964073A0EE172F3DAA62325AF021A68F707511A";
    assert_eq!(key.public_key().to_string(), q);
}

fn unsupported(text: &str) -> Unsupported {
    match Signature::parse(text.as_bytes())
        .or(PublicKey::parse(text.as_bytes()).map(|_| unreachable!()))
    {
        Err(Error {
            kind: ErrorKind::Unsupported(kind),
            ..
        }) => kind,
        other => panic!("{other:?}"),
    }
}

#[test]
fn other_kinds_of_keys_are_told_from_broken_ones() {
    let q = "#8D156F295D24B0D9A86FA5741A840FF2D24F60F7B6C4134814AD55625971B394#";
    let rsa = "(public-key (rsa (n #00D7#) (e #010001#)))";
    assert_eq!(unsupported(rsa), Unsupported::Algorithm("rsa".into()));
    let eddsa = format!("(public-key (ecc (curve Ed25519) (flags eddsa) (q {q})))");
    assert_eq!(unsupported(&eddsa), Unsupported::Part("flags".into()));
    let nist = "(public-key (ecc (curve \"NIST P-256\") (q #04AA#)))";
    assert_eq!(unsupported(nist), Unsupported::Curve("NIST P-256".into()));
    let prefixed = format!("(public-key (ecc (curve Ed25519) (q #40{}#)))", &q[1..65]);
    assert_eq!(unsupported(&prefixed), Unsupported::PointLength(33));
}

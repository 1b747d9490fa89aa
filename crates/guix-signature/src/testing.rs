//! Strategies for property tests, and the oracles that the fuzz targets call.

use proptest::collection::vec;
use proptest::prelude::*;

use crate::sexp::{MAX_DEPTH, Sexp};
use crate::{Acl, AclKey, PublicKey, SecretKey, Signature};

/// Any s-expression that is a list, at most 5 levels deep; its atoms are words, texts and arbitrary bytes.
pub fn sexp() -> impl Strategy<Value = Sexp> {
    let atom = prop_oneof![
        "[a-zA-Z./_:*+=-][a-zA-Z0-9./_:*+=-]{0,9}".prop_map(String::into_bytes),
        "[ -~\u{8}-\r]{0,9}".prop_map(String::into_bytes),
        vec(any::<u8>(), 0..40),
        vec(0..0xb0_u8, 0..5),
    ];
    let item = atom.prop_map(Sexp::Atom);
    let tree = item.prop_recursive(5, 40, 6, |item| vec(item, 0..6).prop_map(Sexp::List));
    vec(tree, 0..6).prop_map(Sexp::List)
}

/// Any secret key: most like libgcrypt's own, some with leading zeros.
pub fn secret_key() -> impl Strategy<Value = SecretKey> {
    (any::<[u8; 32]>(), 0..8_u8, 0..33_usize).prop_filter_map("zero", |(mut d, kind, zeros)| {
        match kind {
            0 => d[..zeros].fill(0),
            1 => {}
            _ => {
                d[0] = d[0] & 0x7f | 0x40;
                d[31] &= 0xf8;
            }
        }
        SecretKey::from_bytes(&d).ok()
    })
}

/// Whatever is read has one canonical text, and libgcrypt's advanced text says the same.
///
/// # Panics
/// If that does not hold for `data`.
pub fn sexp_identity(data: &[u8]) {
    if let Ok(sexp) = Sexp::parse_canonical(data) {
        assert_eq!(sexp.to_canonical(), data);
        assert_eq!(Sexp::parse(data).as_ref(), Ok(&sexp));
    }
    match Sexp::parse(data) {
        Ok(sexp) => {
            assert!(depth(&sexp) <= MAX_DEPTH);
            let canonical = sexp.to_canonical();
            assert_eq!(Sexp::parse_canonical(&canonical).as_ref(), Ok(&sexp));
            assert_eq!(Sexp::parse(&sexp.to_advanced()).as_ref(), Ok(&sexp));
        }
        Err(error) => assert!(error.offset <= data.len()),
    }
    if let Ok(key) = PublicKey::parse(data) {
        assert_eq!(PublicKey::parse(&key.to_sexp().to_advanced()), Ok(key));
        assert_eq!(PublicKey::from_bytes(key.to_bytes()), Ok(key));
    }
    if let Ok(key) = SecretKey::parse(data) {
        let again = SecretKey::parse(&key.to_text()).expect("what was written");
        assert_eq!(again.public_key(), key.public_key());
        assert!(key.sign(&[1; 32]).is_valid());
    }
}

fn depth(sexp: &Sexp) -> usize {
    match sexp {
        Sexp::Atom(_) => 0,
        Sexp::List(items) => 1 + items.iter().map(depth).max().unwrap_or_default(),
    }
}

/// Whatever is read as an access-control list is written as one that says the same, and authorizes what it lists.
///
/// # Panics
/// If that does not hold for `data`.
pub fn acl_identity(data: &[u8]) {
    let Ok(acl) = Acl::parse(data) else {
        return;
    };
    let sexp = acl.to_sexp();
    assert_eq!(Acl::parse(&sexp.to_advanced()).as_ref(), Ok(&acl));
    assert_eq!(Acl::parse(&sexp.to_canonical()).as_ref(), Ok(&acl));
    for key in acl.keys() {
        match key {
            AclKey::Ecdsa(key) => assert!(acl.authorizes(key)),
            AclKey::Other(key) => assert!(PublicKey::from_sexp(key).is_err()),
        }
    }
}

/// The secret number of the key that [`signatures_cannot_be_forged`] trusts.
pub const TRUSTED: [u8; 32] = [7; 32];

/// The hash that [`signatures_cannot_be_forged`] wants signed.
pub const WANTED: [u8; 32] = *b"the hash of what has been built.";

/// Of all texts, only those pass for a signature of [`WANTED`] by [`TRUSTED`] that say the one signature that this key
/// has made; and whatever else is read as a signature is written as one that says the same.
///
/// # Panics
/// If that does not hold for `data`.
pub fn signatures_cannot_be_forged(data: &[u8]) {
    let trusted = SecretKey::from_bytes(&TRUSTED).expect("not zero");
    let acl = Acl::new([*trusted.public_key()]);
    let parsed = Signature::parse(data);
    let verified = acl.verify(data, &WANTED);
    assert_eq!(verified.is_ok(), parsed == Ok(trusted.sign(&WANTED)));
    if let Ok(signature) = parsed {
        assert_eq!(Signature::parse(&signature.to_text()), Ok(signature));
        // Any answer will do, but there has to be one.
        let _ = signature.is_valid();
    }
}

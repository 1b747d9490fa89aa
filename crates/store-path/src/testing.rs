//! Strategies for property tests, and the oracles that the fuzz targets call.

use proptest::prelude::*;

use crate::{
    ContentAddress, ContentAddressMethod, Hash, HashAlgorithm, MAX_NAME_LEN, StoreDir, StorePath,
    base32, check_name,
};

/// Any name a store object can have.
pub fn name() -> impl Strategy<Value = String> {
    let length = prop_oneof![9 => 1..40_usize, 1 => 40..=MAX_NAME_LEN];
    let characters = "[0-9a-zA-Z+._?=-]";
    length
        .prop_flat_map(move |length| {
            proptest::string::string_regex(&format!("{characters}{{{length}}}"))
                .expect("a regular expression")
        })
        .prop_filter("dots before a dash", |name| check_name(name).is_ok())
}

/// Any store path.
pub fn store_path() -> impl Strategy<Value = StorePath> {
    (any::<[u8; 20]>(), name())
        .prop_map(|(digest, name)| StorePath::from_parts(digest, &name).expect("the name is one"))
}

/// Nix's, Guix's or another store directory.
pub fn store_dir() -> impl Strategy<Value = StoreDir> {
    prop_oneof![
        3 => Just(StoreDir::NIX),
        3 => Just(StoreDir::GUIX),
        1 => "(/[a-z][a-zé ]{0,9}){1,3}".prop_map(|dir| StoreDir::new(dir).expect("components without dots")),
    ]
}

/// Any hash.
pub fn hash() -> impl Strategy<Value = Hash> {
    (
        proptest::sample::select(HashAlgorithm::ALL),
        any::<[[u8; 32]; 2]>(),
    )
        .prop_map(|(algorithm, bytes)| {
            let bytes = bytes.as_flattened();
            Hash::new(algorithm, &bytes[..algorithm.len()]).expect("as long as the algorithm says")
        })
}

/// Any content address.
pub fn content_address() -> impl Strategy<Value = ContentAddress> {
    use ContentAddressMethod::{Flat, Git, Recursive, Text};
    (
        proptest::sample::select(vec![Text, Flat, Recursive, Git]),
        hash(),
    )
        .prop_map(|(method, hash)| ContentAddress { method, hash })
}

/// Base names, paths, directories and names have one text: whatever is read is printed the same.
///
/// # Panics
/// If that does not hold for `data`.
pub fn store_path_identity(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if let Ok(path) = text.parse::<StorePath>() {
        assert_eq!(path.to_string(), text);
        assert_eq!(
            StorePath::from_parts(path.digest(), path.name()).as_ref(),
            Ok(&path)
        );
        for dir in [StoreDir::NIX, StoreDir::GUIX] {
            assert_eq!(dir.parse(&dir.print(&path)).as_ref(), Ok(&path));
        }
    }
    if let Ok((path, rest)) = StoreDir::NIX.split(text) {
        assert_eq!(format!("{}{rest}", StoreDir::NIX.display(path)), text);
        assert_eq!(StoreDir::NIX.parse(text).is_ok(), rest.is_empty());
    } else {
        assert!(StoreDir::NIX.parse(text).is_err());
    }
    if let Ok(dir) = StoreDir::new(text) {
        assert_eq!(dir.as_str(), text);
    }
    if let Ok(address) = text.parse::<ContentAddress>() {
        assert_eq!(address.to_string(), text);
    }
}

/// Base32 has one text for every byte string, whichever side one starts from.
///
/// # Panics
/// If that does not hold for `data`.
pub fn base32_identity(data: &[u8]) {
    assert_eq!(base32::decode(&base32::encode(data)).as_deref(), Ok(data));
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    match base32::decode(text) {
        Ok(bytes) => assert_eq!(base32::encode(&bytes), text),
        Err(error) => assert!(error.offset <= text.len()),
    }
    for &algorithm in HashAlgorithm::ALL {
        if let Ok(hash) = Hash::parse(text, Some(algorithm)) {
            use crate::HashFormat::{Base16, Base32, Base64, Sri};
            let forms = [Base16, Base32, Base64, Sri];
            assert!(
                forms
                    .iter()
                    .any(|&form| hash.print(form) == text || hash.digits(form) == text)
            );
        }
    }
}

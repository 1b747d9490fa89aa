//! Every value has one text, and every text one value.

use proptest::prelude::*;
use store_path::testing::{
    base32_identity, content_address, hash, store_dir, store_path, store_path_identity,
};
use store_path::{ContentAddress, Hash, HashFormat, StoreDir, StorePath, base32};

proptest! {
    #[test]
    fn a_store_path_is_read_as_it_was_printed(dir in store_dir(), path in store_path()) {
        prop_assert_eq!(dir.parse(&dir.print(&path)), Ok(path.clone()));
        let below = format!("{}/bin/{path}", dir.display(&path));
        prop_assert_eq!(dir.split(&below), Ok((path.as_path_ref(), &below[below.len() - path.base_name().len() - 5..])));
        prop_assert!(dir.parse(&below).is_err());
        prop_assert_eq!(StorePath::from_parts(path.digest(), path.name()), Ok(path));
    }

    #[test]
    fn the_order_of_paths_is_that_of_their_texts(a in store_path(), b in store_path()) {
        let (full_a, full_b) = (StoreDir::NIX.print(&a), StoreDir::NIX.print(&b));
        prop_assert_eq!(a.cmp(&b), full_a.cmp(&full_b));
    }

    #[test]
    fn a_hash_is_read_as_it_was_printed(hash in hash()) {
        for format in [HashFormat::Base16, HashFormat::Base32, HashFormat::Base64, HashFormat::Sri] {
            prop_assert_eq!(hash.print(format).parse::<Hash>(), Ok(hash));
            prop_assert_eq!(Hash::parse(&hash.digits(format), Some(hash.algorithm())), Ok(hash));
        }
    }

    #[test]
    fn a_content_address_is_read_as_it_was_printed(address in content_address()) {
        prop_assert_eq!(address.to_string().parse::<ContentAddress>(), Ok(address));
    }

    #[test]
    fn values_pass_through_json(address in content_address(), path in store_path(), dir in store_dir()) {
        let json = serde_json::to_string(&(address, address.hash, &path, &dir, address.hash.algorithm())).expect("strings");
        let back: (ContentAddress, Hash, StorePath, StoreDir, _) = serde_json::from_str(&json).expect("what was written");
        prop_assert_eq!(back, (address, address.hash, path, dir, address.hash.algorithm()));
    }

    /// An independent statement of nix-base32: character `i` from the end holds bits `5i` to `5i + 4`.
    #[test]
    fn base32_is_five_bits_a_character_from_the_end(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
        let bit = |index: usize| bytes.get(index / 8).map_or(0, |byte| usize::from(byte >> (index % 8)) & 1);
        let text: String = (0..base32::encoded_len(bytes.len()))
            .rev()
            .map(|i| char::from(base32::ALPHABET.as_bytes()[(0..5).map(|j| bit(5 * i + j) << j).sum::<usize>()]))
            .collect();
        prop_assert_eq!(base32::encode(&bytes), text);
    }

    #[test]
    fn whatever_is_read_is_printed_the_same(data in proptest::collection::vec(any::<u8>(), 0..80)) {
        store_path_identity(&data);
        base32_identity(&data);
    }

    /// One byte of a good path exchanged for another: refused, or another path.
    #[test]
    fn no_two_texts_are_one_path(path in store_path(), at in any::<prop::sample::Index>(), byte in 0..128_u8) {
        let mut text = StoreDir::NIX.print(&path).into_bytes();
        let at = at.index(text.len());
        prop_assume!(text[at] != byte);
        text[at] = byte;
        store_path_identity(&text);
        let text = String::from_utf8(text).expect("ASCII");
        prop_assert_ne!(StoreDir::NIX.parse(&text).ok(), Some(path));
    }
}

//! Known paths and hashes, computed by `nix` 2.8.0.

use store_path::{
    ContentAddress, ContentAddressMethod, FingerprintError, Hash, HashAlgorithm, HashFormat,
    StoreDir, StorePath, base32, compress_hash,
};

/// One line of `nix hash to-*` (`nix-hash --type ALGORITHM`) for the empty string and every form.
#[test]
fn hashes_of_nothing_in_every_form() {
    let rows = [
        (
            HashAlgorithm::Md5,
            "d41d8cd98f00b204e9800998ecf8427e",
            "3y8bwfr609h3lh9ch0izcqq7fl",
            "1B2M2Y8AsgTpgAmY7PhCfg==",
        ),
        (
            HashAlgorithm::Sha1,
            "da39a3ee5e6b4b0d3255bfef95601890afd80709",
            "143xibwh31h9bvxzalr0sjvbbvpa6ffs",
            "2jmj7l5rSw0yVb/vlWAYkK/YBwk=",
        ),
        (
            HashAlgorithm::Sha256,
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            "0mdqa9w1p6cmli6976v4wi0sw9r4p5prkj7lzfd1877wk11c9c73",
            "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
        ),
    ];
    for (algorithm, base16, base32, base64) in rows {
        let hash = algorithm.hash(b"");
        assert_eq!(hash.digits(HashFormat::Base16), base16);
        assert_eq!(hash.digits(HashFormat::Base32), base32);
        assert_eq!(hash.digits(HashFormat::Base64), base64);
        for digits in [base16, base32, base64] {
            assert_eq!(Hash::from_digits(algorithm, digits), Ok(hash));
            assert_eq!(format!("{algorithm}:{digits}").parse(), Ok(hash));
        }
        assert_eq!(hash.print(HashFormat::Sri), format!("{algorithm}-{base64}"));
    }
}

/// `nix-hash --type sha512 --flat --base32 /dev/null`
#[test]
fn base32_of_64_bytes() {
    let digits = "0zdl9zrg8r3i9c1g90lgg9ip5ijzv3yhz91i0zzn3r8ap9ws784gkp9dk9j3aglhgf1amqb0pj21mh7h1nxcl18akqvvf7ggqsy30yg";
    let hash = HashAlgorithm::Sha512.hash(b"");
    assert_eq!(base32::encode(hash.digest()), digits);
    assert_eq!(base32::decode(digits).as_deref(), Ok(hash.digest()));
}

/// The published test vectors of FIPS 202, RFC 7693 and BLAKE3 for the empty string.
#[test]
fn hashes_of_nothing_that_few_use() {
    let rows = [
        (
            HashAlgorithm::Sha3_256,
            "a7ffc6f8bf1ed76651c14756a061d662f580ff4de43b49fa82d80a4b80f8434a",
        ),
        (
            HashAlgorithm::Blake2s256,
            "69217a3079908094e11121d042354a7c1f55b6482ca1a51e1b250dfd1ed0eef9",
        ),
        (
            HashAlgorithm::Blake3,
            "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262",
        ),
        (
            HashAlgorithm::Sha3_512,
            "a69f73cca23a9ac5c8b567dc185a756e97c982164fe25859e0d1dcc1475c80a615b2123af1f5f94c11e3e9402c3ac558f500199d95b6d3e301758586281dcd26",
        ),
    ];
    for (algorithm, base16) in rows {
        assert_eq!(algorithm.hash(b"").digits(HashFormat::Base16), base16);
        assert_eq!(algorithm.name().parse(), Ok(algorithm));
    }
}

/// `nix-store --print-fixed-path [--recursive] ALGORITHM HASH NAME`
#[test]
fn fixed_output_paths() {
    use ContentAddressMethod::{Flat, Recursive};
    use HashAlgorithm::{Md5, Sha1, Sha256, Sha512};
    let rows = [
        (Flat, Sha256, "1q82x5ah029adc0r5p06p3ivlzzh3hss-empty"),
        (Flat, Sha512, "0nn24770g8hrhr3gpw92qkzzl5jai8zf-empty"),
        (Recursive, Sha256, "h4wkqbs2i5dz1hjn4cwxjzpcn7fhilaq-empty"),
        (Recursive, Sha1, "xsvdgy36mq4fh618ki53hxqr63ddfmcq-empty"),
        (Flat, Md5, "zkihn7lv00f54kwjr5kkn3j5niqgvzy4-.x"),
    ];
    for (method, algorithm, base_name) in rows {
        let path: StorePath = base_name.parse().expect("a base name");
        let address = ContentAddress {
            method,
            hash: algorithm.hash(b""),
        };
        assert_eq!(
            StoreDir::NIX.make_fixed_output_path(path.name(), &address),
            Ok(path)
        );
    }
}

/// `builtins.toFile "foo" "bar"`, and `builtins.toFile "foo2" "bar${that}"`
#[test]
fn text_paths() {
    let hash = |text: &str| HashAlgorithm::Sha256.hash(text.as_bytes());
    let foo = StoreDir::NIX
        .make_text_path("foo", &hash("bar"), [])
        .expect("a text path");
    assert_eq!(foo.base_name(), "vxjiwkjkn7x4079qvh1jkl5pn05j2aw0-foo");
    let text = format!("bar{}", StoreDir::NIX.display(&foo));
    let twice = [foo.as_path_ref(), foo.as_path_ref()];
    let foo2 = StoreDir::NIX
        .make_text_path("foo2", &hash(&text), twice)
        .expect("a text path");
    assert_eq!(foo2.base_name(), "1hx32hpmb9yfi513ckmcni0mjqaci6bh-foo2");
}

#[test]
fn what_cannot_be_named_is_refused() {
    let md5 = HashAlgorithm::Md5.hash(b"");
    let path = StorePath::from_parts([0; 20], "a").expect("a store path");
    let address = |method| ContentAddress { method, hash: md5 };
    let fixed = |method, references: &[&StorePath], itself| {
        let references = references.iter().map(|path| path.as_path_ref());
        StoreDir::NIX
            .make_content_addressed_path("a", &address(method), references, itself)
            .err()
    };
    assert_eq!(
        fixed(ContentAddressMethod::Text, &[], false),
        Some(FingerprintError::NotSha256(HashAlgorithm::Md5))
    );
    assert_eq!(
        fixed(ContentAddressMethod::Text, &[], true),
        Some(FingerprintError::References)
    );
    assert_eq!(
        fixed(ContentAddressMethod::Flat, &[&path], false),
        Some(FingerprintError::References)
    );
    assert_eq!(
        fixed(ContentAddressMethod::Recursive, &[], true),
        Some(FingerprintError::References)
    );
    assert!(matches!(
        StoreDir::NIX.make_text_path("a/b", &HashAlgorithm::Sha256.hash(b""), []),
        Err(FingerprintError::Name(_))
    ));
}

#[test]
fn a_hash_is_folded_not_cut() {
    assert_eq!(compress_hash::<3>(&[1, 2, 3, 4, 5]), [1 ^ 4, 2 ^ 5, 3]);
    assert_eq!(compress_hash::<4>(&[1]), [1, 0, 0, 0]);
    assert_eq!(compress_hash::<0>(&[1]), [0; 0]);
}

//! The text of every error.

use std::fmt::Write;

use guix_signature::sexp::{MAX_DEPTH, MAX_LEN, Sexp};
use guix_signature::{Acl, PublicKey, SecretKey, Signature};

const Q: &str = "#8D156F295D24B0D9A86FA5741A840FF2D24F60F7B6C4134814AD55625971B394#";

/// One line for each: what is said about it.
fn table<T: std::fmt::Debug, E: std::fmt::Display>(
    read: impl Fn(&[u8]) -> Result<T, E>,
    texts: &[&str],
) -> String {
    let mut table = String::new();
    for text in texts {
        let error = read(text.as_bytes()).expect_err("every row is wrong");
        let text: String = text.chars().take(40).collect();
        writeln!(table, "{text:<40} {error}").expect("writing to a string succeeds");
    }
    table
}

#[test]
fn s_expressions() {
    let deep = "(".repeat(MAX_DEPTH + 1);
    let long = " ".repeat(MAX_LEN + 1);
    insta::assert_snapshot!(table(
        Sexp::parse,
        &[
            "",
            "a",
            "()x",
            "(a",
            "(a (b)",
            "(a))",
            "(a |YQ==|)",
            "(a [hint] b)",
            "(a 4:abc)",
            "(a 9:abc)",
            "(a 03:abc)",
            "(a 12345678:)",
            "(a 3abc)",
            "(a #61",
            "(a #6#)",
            "(a #6g#)",
            "(a \"abc",
            "(a \"\\d\")",
            "(a \"\\x4\")",
            "(a \"\\477\")",
            &deep,
            &long,
        ]
    ));
    insta::assert_snapshot!(
        "canonical",
        table(Sexp::parse_canonical, &[" ()", "(a)", "(1:a )", "(#61#)"])
    );
}

#[test]
fn public_keys() {
    let texts = [
        "(public-key",
        "(private-key (ecc (curve Ed25519) (q #00#)))",
        "(public-key)",
        "(public-key (a) (b))",
        "(public-key ())",
        "(public-key (rsa (n #00D7#) (e #010001#)))",
        "(public-key (ecc (q #00#)))",
        "(public-key (ecc (curve NIST\\ P-256)))",
        "(public-key (ecc (curve Ed448)))",
        "(public-key (ecc (curve Ed25519) q))",
        "(public-key (ecc (curve Ed25519)))",
        "(public-key (ecc (curve Ed25519) (q #00#) (q #01#)))",
        "(public-key (ecc (curve Ed25519) (q #00#) (flags eddsa)))",
        "(public-key (ecc (curve Ed25519) (q #00#)))",
        &format!(
            "(public-key (ecc (curve Ed25519) (q #02{}#)))",
            "00".repeat(31)
        ),
        // The neutral element, with which everything would be signed.
        &format!(
            "(public-key (ecc (curve Ed25519) (q #01{}#)))",
            "00".repeat(31)
        ),
        // The same in another encoding: 2^255 - 18 for 1.
        &format!(
            "(public-key (ecc (curve Ed25519) (q #EE{}7F#)))",
            "FF".repeat(30)
        ),
    ];
    insta::assert_snapshot!(table(PublicKey::parse, &texts));
}

#[test]
fn secret_keys() {
    let order = "1000000000000000000000000000000014DEF9DEA2F79CD65812631A5CF5D3ED";
    let texts = [
        "",
        "(public-key)",
        "(key-data (public-key))",
        "(private-key (dsa (p #00#)))",
        &format!("(private-key (ecc (curve Ed25519) (q {Q})))"),
        &format!(
            "(private-key (ecc (curve Ed25519) (q {Q}) (d #{}#)))",
            "41".repeat(33)
        ),
        &format!("(private-key (ecc (curve Ed25519) (q {Q}) (d #00#)))"),
        &format!("(private-key (ecc (curve Ed25519) (q {Q}) (d #{order}#)))"),
        &format!("(private-key (ecc (curve Ed25519) (q {Q}) (d #4141#)))"),
        "(private-key (ecc (curve Ed25519) (d #4141#)))",
    ];
    insta::assert_snapshot!(table(SecretKey::parse, &texts));
}

#[test]
fn secret_keys_are_not_shown() {
    let key = SecretKey::from_bytes(&[0x41; 32]).expect("not zero");
    insta::assert_snapshot!(format!("{key:?}"));
}

#[test]
fn signatures() {
    let key = format!("(public-key (ecc (curve Ed25519) (q {Q})))");
    let hash = format!("(data (flags rfc6979) (hash sha256 #{}#))", "41".repeat(32));
    let order = "1000000000000000000000000000000014DEF9DEA2F79CD65812631A5CF5D3ED";
    let texts = [
        "(signature".to_owned(),
        format!("(sig {hash} {key} (sig-val (ecdsa (r #01#) (s #01#))))"),
        "(signature)".to_owned(),
        "(signature (public-key (rsa)) (data (flags pkcs1)))".to_owned(),
        format!("(signature {key})"),
        format!("(signature {key} {hash} {hash})"),
        format!("(signature {key} (data (flags raw)))"),
        format!("(signature {key} (data (value x)))"),
        format!("(signature {key} (data x))"),
        format!("(signature {key} (data (flags rfc6979)))"),
        format!("(signature {key} (data (hash sha256)))"),
        format!("(signature {key} (data (hash sha512 #00#)))"),
        format!("(signature {key} (data (hash sha256 #00#)))"),
        format!("(signature {key} {hash} (sig-val))"),
        format!("(signature {key} {hash} (sig-val x))"),
        format!("(signature {key} {hash} (sig-val (eddsa (r #00#) (s #00#))))"),
        format!("(signature {key} {hash} (sig-val (ecdsa (r #01#))))"),
        format!("(signature {key} {hash} (sig-val (ecdsa (r #00#) (s #01#))))"),
        format!("(signature {key} {hash} (sig-val (ecdsa (r #01#) (s #{order}#))))"),
        format!("(signature {key} {hash} (sig-val (ecdsa (r #01#) (s #{order}00#))))"),
    ];
    let mut lines = String::new();
    for text in &texts {
        let error = Signature::parse(text.as_bytes()).expect_err("every row is wrong");
        let text = text.replace(&key, "KEY").replace(&hash, "DATA");
        let text = text.replace(order, "ORDER");
        writeln!(lines, "{text}\n    {error}").expect("writing to a string succeeds");
    }
    insta::assert_snapshot!(lines);
}

#[test]
fn access_control_lists() {
    let texts = [
        "",
        "(foo)",
        "(acl foo)",
        "(acl (entry k (tag (guix import))) (entry k))",
        "(acl (entry k (tag (guix export))))",
        "(acl (entry k (tag (guix import)) x))",
        "(acl (entry (tag (guix import)) k))",
        "(acl (entry k (tag (guix import) (guix export))))",
    ];
    insta::assert_snapshot!(table(Acl::parse, &texts));
}

#[test]
fn verdicts() {
    let [key, other] =
        [0x41, 0x42].map(|byte| SecretKey::from_bytes(&[byte; 32]).expect("not zero"));
    let acl = Acl::new([*key.public_key()]);
    let (hash, text) = ([1; 32], key.sign(&[1; 32]).to_text());
    let invalid = String::from_utf8(key.sign(&[2; 32]).to_text())
        .expect("digits")
        .replace(&"02".repeat(32), &"01".repeat(32));
    let verdicts = [
        acl.verify(b"(signature)", &hash),
        acl.verify(b"(signature (public-key (rsa)))", &hash),
        acl.verify(&text, &[2; 32]),
        acl.verify(&other.sign(&hash).to_text(), &hash),
        acl.verify(invalid.as_bytes(), &hash),
    ];
    let lines = verdicts.map(|verdict| {
        let error = verdict.expect_err("every row is wrong");
        format!("{error}; ask libgcrypt: {}", error.is_unsupported())
    });
    insta::assert_snapshot!(lines.join("\n"));
}

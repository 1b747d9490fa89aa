//! The text of every error.

use std::fmt::Write;

use store_path::{ContentAddress, Hash, HashAlgorithm, StoreDir, StorePath, base32, check_name};

/// One line for each: what was read, and what is said about it.
fn table<T: std::fmt::Debug, E: std::fmt::Display>(
    read: impl Fn(&str) -> Result<T, E>,
    texts: &[&str],
) -> String {
    let mut table = String::new();
    for text in texts {
        let error = read(text).expect_err("every row is wrong");
        writeln!(table, "failed to read {error}").expect("writing to a string succeeds");
    }
    table
}

#[test]
fn store_paths() {
    let long = format!(
        "/nix/store/wadmyilr414n7bimxysbny876i2vlm5r-{}",
        "a".repeat(212)
    );
    insta::assert_snapshot!(table(
        |text| StoreDir::NIX.parse(text),
        &[
            "",
            "/nix/store",
            "/gnu/store/wadmyilr414n7bimxysbny876i2vlm5r-bash",
            "/nix/store/wadmyilr414n7bimxysbny876i2vlm5",
            "/nix/store/wadmyilr414n7bimxysbny876i2vlm5r",
            "/nix/store/Wadmyilr414n7bimxysbny876i2vlm5r-bash",
            "/nix/store/wadmyilr414n7bimxysbny876i2vlm5r_bash",
            "/nix/store/wadmyilr414n7bimxysbny876i2vlm5r-",
            "/nix/store/wadmyilr414n7bimxysbny876i2vlm5r-bash/bin/sh",
            "/nix/store/wadmyilr414n7bimxysbny876i2vlm5r-ba$h",
            "/nix/store/wadmyilr414n7bimxysbny876i2vlm5r-bäsh\n",
            "/nix/store/wadmyilr414n7bimxysbny876i2vlm5r-..-bash",
            &long,
        ]
    ));
}

#[test]
fn base_names_and_names() {
    insta::assert_snapshot!(table(
        str::parse::<StorePath>,
        &["/nix/store/x", "wadmyilr414n7bimxysbny876i2vlm5r-bash/bin"]
    ));
    insta::assert_snapshot!(
        "names",
        table(check_name, &["", "a b", ".", "..", ".-a", "..-a"])
    );
}

#[test]
fn store_directories() {
    let long = format!("/{}", "a".repeat(4095));
    let texts = [
        "",
        "nix/store",
        "/",
        "/nix//store",
        "/nix/store/",
        "/nix/../store",
        "/nix/st\nore",
        &long,
    ];
    insta::assert_snapshot!(table(str::parse::<StoreDir>, &texts));
}

#[test]
fn hashes() {
    insta::assert_snapshot!(table(
        str::parse::<Hash>,
        &[
            "",
            "d41d8cd98f00b204e9800998ecf8427e",
            "blake9:d41d8cd98f00b204e9800998ecf8427e",
            "md5:d41d8cd98f00b204e9800998ecf8427",
            "md5:D41d8cd98f00b204e9800998ecf8427e",
            "md5:zy8bwfr609h3lh9ch0izcqq7fl",
            "md5:1B2M2Y8AsgTpgAmY7PhCfh==",
            "md5-d41d8cd98f00b204e9800998ecf8427e",
        ]
    ));
    let sha1 = |text: &str| Hash::parse(text, Some(HashAlgorithm::Sha1));
    insta::assert_snapshot!(
        "hashes_of_one_algorithm",
        table(sha1, &["md5-1B2M2Y8AsgTpgAmY7PhCfg==", "d41d"])
    );
    insta::assert_snapshot!(
        "algorithms",
        table(str::parse::<HashAlgorithm>, &["SHA256"])
    );
    insta::assert_snapshot!("base32", table(base32::decode, &["1", "u0", "zr"]));
}

#[test]
fn content_addresses() {
    insta::assert_snapshot!(table(
        str::parse::<ContentAddress>,
        &[
            "",
            "sha256:0mdqa9w1p6cmli6976v4wi0sw9r4p5prkj7lzfd1877wk11c9c73",
            "fixed:text:sha256:0mdqa9w1p6cmli6976v4wi0sw9r4p5prkj7lzfd1877wk11c9c73",
            "fixed:r:sha256:0mdqa9w1p6cmli6976v4wi0sw9r4p5prkj7lzfd1877wk11c9c7e",
            "fixed:md5:d41d8cd98f00b204e9800998ecf8427e",
        ]
    ));
}

#[test]
fn fingerprints() {
    let hash = HashAlgorithm::Md5.hash(b"");
    let name = StoreDir::NIX
        .make_output_path("a", "o/t", &HashAlgorithm::Sha256.hash(b""))
        .expect_err("not a name");
    let algorithm = StoreDir::NIX
        .make_text_path("a", &hash, [])
        .expect_err("not sha256");
    insta::assert_snapshot!(format!(
        "failed to name: {name}\nfailed to name: {algorithm}\nfailed to name: {}",
        store_path::FingerprintError::References
    ));
}

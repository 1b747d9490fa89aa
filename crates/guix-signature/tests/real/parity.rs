//! Signing and verifying: the same bytes, the same verdicts.

use data_encoding::HEXLOWER;
use guix_signature::sexp::Sexp;
use guix_signature::{Acl, PublicKey, SecretKey};
use sha2::{Digest, Sha256};
use testbed::CopyOfRoot;

use crate::agent::Agent;
use crate::copies;

/// How many messages are signed by both.
const MESSAGES: u32 = 1_000;

/// Every seventh hash is one that libgcrypt prints as a string: all of its bytes can be printed, and those above 0xa0
/// are for it, too.
fn message(number: u32) -> [u8; 32] {
    let mut hash = digest("message", number);
    if number.is_multiple_of(7) {
        hash[0] = b'A';
        for byte in &mut hash[1..] {
            *byte = match *byte {
                0..=7 => b'"',
                14..=31 => b'\\',
                0x7f..=0xa0 => 0xe9,
                byte => byte,
            };
        }
    }
    hash
}

/// Numbers that look random and are the same each time.
fn digest(what: &str, number: u32) -> [u8; 32] {
    Sha256::digest(format!("{what} {number}")).into()
}

/// Keys as libgcrypt makes them, keys with leading zeros, and one below and one above the order of the curve.
fn keys() -> Vec<SecretKey> {
    let with = |number: u32, change: &dyn Fn(&mut [u8; 32])| {
        let mut d = digest("key", number);
        change(&mut d);
        SecretKey::from_bytes(&d).expect("not zero")
    };
    let usual = |d: &mut [u8; 32]| {
        d[0] = d[0] & 0x7f | 0x40;
        d[31] &= 0xf8;
    };
    let mut keys: Vec<_> = (0..4).map(|number| with(number, &usual)).collect();
    keys.extend([1, 2, 17].map(|zeros| with(4, &|d| d[..zeros].fill(0))));
    keys.push(with(5, &|d| d[0] = 0x0f));
    keys.push(with(6, &|d| d[0] = 0x7f));
    keys
}

/// Writes each key as `/etc/guix/key-N.sec` and `.pub`, and all of them into `/etc/guix/acl`.
fn install(copy: &CopyOfRoot, keys: &[SecretKey]) {
    let folder = copy.kept("/etc/guix");
    for (number, key) in keys.iter().enumerate() {
        let write = |ending: &str, text: &[u8]| {
            let file = folder.join(format!("key-{number}.{ending}"));
            std::fs::write(file, text).expect("it can be written");
        };
        write("sec", &key.to_text());
        write("pub", &key.public_key().to_sexp().to_advanced());
    }
    authorize(copy, &Acl::new(keys.iter().map(|key| *key.public_key())));
}

fn authorize(copy: &CopyOfRoot, acl: &Acl) {
    let file = copy.kept("/etc/guix/acl");
    std::fs::write(file, acl.to_sexp().to_advanced()).expect("it can be written");
}

#[test]
fn a_thousand_messages_are_signed_with_the_same_bytes_and_verified_by_both() {
    let keys = keys();
    let acl = Acl::new(keys.iter().map(|key| *key.public_key()));
    for copy in copies("signing as guix authenticate does") {
        install(&copy, &keys);
        let mut agent = Agent::start(&copy);
        for number in 0..MESSAGES {
            let hash = message(number);
            let hex = HEXLOWER.encode(&hash);
            let index = number as usize % keys.len();
            let theirs = agent.sign(&format!("/etc/guix/key-{index}.sec"), &hex);
            let ours = keys[index].sign(&hash);
            assert_eq!(
                String::from_utf8_lossy(&theirs),
                String::from_utf8_lossy(&ours.to_text())
            );
            assert_eq!(theirs, ours.to_text());
            assert_eq!(acl.verify(&theirs, &hash), Ok(*keys[index].public_key()));
            assert_eq!(agent.verify(&ours.to_text()), Ok(hex));
        }
        eprintln!("{MESSAGES} messages with {}", copy.root().display());
    }
}

/// Digits of hash, `r`, `s` and `q` exchanged for others, one at a time. Where guix accepts the signature it prints the
/// hash that is signed, which guix-daemon compares, as we do.
#[test]
fn what_was_tampered_with_is_refused_by_both() {
    let keys = keys();
    let acl = Acl::new(keys.iter().map(|key| *key.public_key()));
    for copy in copies("verifying as guix authenticate does") {
        install(&copy, &keys);
        let mut agent = Agent::start(&copy);
        let hash = digest("tampered", 0);
        let good = keys[0].sign(&hash).to_text();
        let (mut tried, mut accepted) = (0, 0);
        let mut within = false;
        let digits = (0..good.len()).filter(|at| {
            within ^= good[*at] == b'#';
            within && good[*at] != b'#'
        });
        for at in digits {
            let mut bad = good.clone();
            bad[at] = if good[at] == b'3' { b'4' } else { b'3' };
            let theirs = agent.verify(&bad);
            let signed = theirs.map(|hex| HEXLOWER.decode(hex.as_bytes()));
            let theirs = signed.is_ok_and(|signed| signed.as_deref() == Ok(&hash));
            let ours = acl.verify(&bad, &hash);
            assert_eq!(
                ours.is_ok(),
                theirs,
                "{ours:?} at {at}: {}",
                String::from_utf8_lossy(&bad)
            );
            tried += 1;
            accepted += usize::from(theirs);
        }
        assert!(tried > 250 && accepted == 0, "{accepted} of {tried}");
        eprintln!("{tried} tampered signatures with {}", copy.root().display());
    }
}

/// The key file that guix makes is read, and written the same.
#[test]
fn key_files_are_those_of_guix_archive_generate_key() {
    for copy in copies("key files as guix archive --generate-key writes them") {
        let mut command = copy.command("timeout");
        command.args([crate::agent::LIMIT, "guix", "archive", "--generate-key"]);
        let output = command.output().expect("guix starts");
        assert!(output.status.success(), "{output:?}");
        let read = |name: &str| std::fs::read(copy.kept(name)).expect("it can be read");
        let secret_file = read("/etc/guix/signing-key.sec");
        let public_file = read("/etc/guix/signing-key.pub");
        let secret = SecretKey::parse(&secret_file).expect("a key");
        let public = PublicKey::parse(&public_file).expect("a key");
        assert_eq!(secret.public_key(), &public);
        assert_eq!(*secret.to_text(), secret_file);
        assert_eq!(public.to_sexp().to_advanced(), public_file);
        if std::env::var_os("GUIX_SIGNATURE_RECORD").is_some() {
            record(&copy, &secret);
        }
    }
}

/// Keeps the key that guix has just made, the list that comes with it, and what it signs.
fn record(copy: &CopyOfRoot, secret: &SecretKey) {
    let version = copy.command("guix").arg("--version").output();
    let version = String::from_utf8(version.expect("guix starts").stdout).expect("text");
    let version = version
        .lines()
        .next()
        .and_then(|line| line.rsplit(' ').next());
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/recordings")
        .join(format!("guix-{}", version.expect("a version")));
    std::fs::create_dir_all(&folder).expect("a folder");
    for name in ["signing-key.sec", "signing-key.pub"] {
        std::fs::copy(copy.kept("/etc/guix").join(name), folder.join(name)).expect("copied");
    }
    let acl = copy.root().join("etc/guix/acl");
    std::fs::copy(acl, folder.join("acl")).expect("copied");
    authorize(copy, &Acl::new([*secret.public_key()]));
    let mut agent = Agent::start(copy);
    let mut table = String::new();
    for number in 0..200 {
        let hash = HEXLOWER.encode(&digest("recorded", number));
        let text = agent.sign("/etc/guix/signing-key.sec", &hash);
        if number == 0 {
            std::fs::write(folder.join("signature"), &text).expect("it can be written");
        }
        let sexp = Sexp::parse(&text).expect("an s-expression");
        let ecdsa = &sexp.child("sig-val").expect("a value").rest()[0];
        let digits = |name| {
            let number = ecdsa.child(name).and_then(Sexp::value).expect("a number");
            HEXLOWER.encode(number)
        };
        table += &format!("{hash} {} {}\n", digits("r"), digits("s"));
    }
    std::fs::write(folder.join("signatures"), table).expect("it can be written");
    eprintln!("recorded {}", folder.display());
}

//! Hash, size and references of what passes, in one pass.

use std::collections::BTreeSet;
use std::io::{self, BufReader};

use nar::{Digest, Fingerprint, Observe, Observed, Reader, References};
use proptest::collection::vec;
use proptest::prelude::*;

#[cfg(target_os = "linux")]
#[test]
fn hash_and_references_are_taken_while_an_archive_is_made() {
    let place = tempfile::tempdir().unwrap();
    let hash = *b"0c0wnr6xvqhyhrwbq1jsc4k9sc6hv5rd";
    let other = *b"1c0wnr6xvqhyhrwbq1jsc4k9sc6hv5rd";
    let contents = format!(
        "{}/nix/store/{}-x/bin/x",
        "z".repeat(70_000),
        hash.escape_ascii()
    );
    std::fs::write(place.path().join("script"), contents).unwrap();

    let mut observer = (Digest::new(), Some(References::new([hash, other])));
    let mut archive = Vec::new();
    nar::dump(
        place.path(),
        &mut Observed::new(&mut archive, &mut observer),
    )
    .unwrap();
    let (digest, references) = observer;
    assert_eq!(digest.size(), archive.len() as u64);
    let mut again = Digest::new();
    again.observe(&archive);
    assert_eq!(digest.finish(), again.finish());
    assert_eq!(references.unwrap().found().collect::<Vec<_>>(), [&hash]);

    // And while it is read.
    let mut digest = Digest::new();
    let mut reader = Observed::new(nar::Dump::new(place.path()).unwrap(), &mut digest);
    io::copy(&mut reader, &mut io::sink()).unwrap();
    assert_eq!(digest.size(), archive.len() as u64);
}

/// What a digest of exactly this comes to.
fn fingerprint(bytes: &[u8]) -> Fingerprint {
    let mut digest = Digest::new();
    digest.observe(bytes);
    digest.finish()
}

#[test]
fn readers_show_the_archive_and_nothing_behind_it() {
    let archive = nar::example();
    let input = [&archive[..], b"the next message"].concat();
    for capacity in [1, 7, 64, 1000] {
        let buffered = BufReader::with_capacity(capacity, &input[..]);
        let mut reader = Reader::new(Observed::new(buffered, Digest::new()));
        while reader.next().unwrap().is_some() {}
        let (_, digest) = reader.into_inner().into_parts();
        assert_eq!(
            digest.finish(),
            fingerprint(&archive),
            "a buffer of {capacity}"
        );
    }
}

#[tokio::test]
async fn tokio_readers_show_the_archive_and_nothing_behind_it() {
    let archive = nar::example();
    let input = [&archive[..], b"the next message"].concat();
    for capacity in [1, 7, 64, 1000] {
        let buffered = tokio::io::BufReader::with_capacity(capacity, &input[..]);
        let mut reader = nar::tokio::Reader::new(Observed::new(buffered, Digest::new()));
        while reader.next().await.unwrap().is_some() {}
        let (_, digest) = reader.into_inner().into_parts();
        assert_eq!(
            digest.finish(),
            fingerprint(&archive),
            "a buffer of {capacity}"
        );
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn tokio_dumps_and_restores_are_observed() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("root");
    let archive = nar::example();
    let mut source = Observed::new(&archive[..], Digest::new());
    nar::tokio::restore(&mut source, &path, nar::RestoreOptions::default())
        .await
        .unwrap();
    let (_, digest) = source.into_parts();
    assert_eq!(digest.finish(), fingerprint(&archive));

    // A pipe takes a little at a time.
    let (sink, mut from) = tokio::io::duplex(10);
    let mut sink = Observed::new(sink, Digest::new());
    let mut dumped = Vec::new();
    let (size, read) = tokio::join!(
        async {
            let size = nar::tokio::dump(&path, &mut sink, nar::DumpOptions::default()).await;
            sink.inner_mut().shutdown().await.unwrap();
            size
        },
        from.read_to_end(&mut dumped),
    );
    assert_eq!(
        (size.unwrap(), read.unwrap()),
        (archive.len() as u64, archive.len())
    );
    assert_eq!(sink.observer().clone().finish(), fingerprint(&archive));
    assert!(dumped == archive);
}

#[test]
fn none_and_nothing_observe_nothing() {
    let mut reader = Observed::new(&b"abc"[..], (None::<Digest>, ()));
    assert_eq!(io::copy(&mut reader, &mut io::sink()).unwrap(), 3);
    let (rest, (digest, ())) = reader.into_parts();
    assert!(rest.is_empty() && digest.is_none());
}

/// Text in which hash parts, and what nearly is one, are dense.
fn text() -> impl Strategy<Value = Vec<u8>> {
    let part = prop_oneof!["[01a]{30,34}", "[01ae/]{1,3}", "[01a]{1,40}"];
    vec(part.prop_map(String::into_bytes), 1..8).prop_map(|parts| parts.concat())
}

proptest! {
    #[test]
    fn references_are_those_of_a_naive_search(
        text in text(),
        at in vec(any::<prop::sample::Index>(), 3),
        pieces in vec(1..70_usize, 1..20),
    ) {
        let windows: Vec<[u8; 32]> =
            text.windows(32).map(|window| window.try_into().unwrap()).collect();
        let mut candidates = BTreeSet::from([[b'0'; 32], [b'1'; 32]]);
        if !windows.is_empty() {
            candidates.extend(at.iter().map(|at| windows[at.index(windows.len())]));
        }
        let is_hash = |window: &[u8; 32]| !window.contains(&b'e') && !window.contains(&b'/');
        let expected: BTreeSet<_> = candidates
            .iter()
            .filter(|candidate| is_hash(candidate) && windows.contains(candidate))
            .collect();

        let mut references = References::new(candidates.clone());
        let mut rest = &text[..];
        for length in pieces.iter().cycle() {
            let (piece, behind) = rest.split_at((*length).min(rest.len()));
            references.observe(piece);
            rest = behind;
            if rest.is_empty() {
                break;
            }
        }
        prop_assert_eq!(references.found().collect::<BTreeSet<_>>(), expected);
    }
}

//! Promises that hold for all trees and all inputs.

use nar::testing::{self, Tree, in_pieces, in_slice, through_reader, trees};
use nar::{Encoder, Event, Events, Kind, Writer};
use proptest::collection::vec;
use proptest::prelude::*;

proptest! {
    #[test]
    fn trees_come_back(tree in trees()) {
        let archive = tree.encode().unwrap();
        prop_assert_eq!(archive.len() % 8, 0);
        prop_assert_eq!(Tree::decode(&archive).unwrap(), tree);
    }

    #[test]
    fn archives_are_the_only_spelling(tree in trees(), at in any::<prop::sample::Index>(), with: u8) {
        let mut archive = tree.encode().unwrap();
        testing::identity(&archive);
        let at = at.index(archive.len());
        archive[at] = with;
        testing::identity(&archive);
        archive.truncate(at);
        testing::identity(&archive);
    }

    #[test]
    fn any_bytes_are_the_only_spelling_or_refused(data in vec(any::<u8>(), 0..300)) {
        testing::identity(&data);
    }

    #[test]
    fn readers_agree(tree in trees(), capacity: u8, at in any::<prop::sample::Index>(), with: u8) {
        let mut data = vec![capacity];
        data.extend(tree.encode().unwrap());
        testing::readers_agree(&data);
        let at = at.index(data.len());
        data[at] = with;
        testing::readers_agree(&data);
        data.truncate(at);
        testing::readers_agree(&data);
    }

    #[test]
    fn writers_write_what_was_read(tree in trees(), large in 0..200_000_usize) {
        // Files around the size from which data is not gathered any more.
        let large = Tree::File { executable: false, contents: vec![1; large] };
        let tree = Tree::Directory([(b"large".into(), large), (b"tree".into(), tree)].into());
        let archive = tree.encode().unwrap();
        let mut writer = Writer::new(Vec::new());
        for event in Events::new(&archive) {
            writer.write(event.unwrap()).unwrap();
        }
        prop_assert!(writer.finish().unwrap() == archive);

        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let written = runtime.block_on(async {
            let mut writer = nar::tokio::Writer::new(Vec::new());
            for event in Events::new(&archive) {
                writer.write(event.unwrap()).await?;
            }
            writer.finish().await
        });
        prop_assert!(written.unwrap() == archive);
    }

    #[test]
    fn cuts_change_nothing(tree in trees(), cuts in vec(any::<prop::sample::Index>(), 0..8)) {
        let archive = tree.encode().unwrap();
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(archive.len())).collect();
        cuts.sort_unstable();
        let mut pieces = Vec::new();
        let mut start = 0;
        for cut in cuts.into_iter().chain([archive.len()]) {
            pieces.push(&archive[start..cut]);
            start = cut;
        }
        prop_assert_eq!(in_pieces(pieces), in_slice(&archive));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn restored_trees_stay_inside(
        tree in trees(),
        choice: u8,
        at in any::<prop::sample::Index>(),
        with: u8,
    ) {
        let mut data = vec![choice];
        data.extend(tree.encode().unwrap());
        testing::restore_stays_inside(&data);
        let at = at.index(data.len());
        data[at] = with;
        testing::restore_stays_inside(&data);
    }

    /// Whatever events an encoder is handed, in whatever order: what it took is the beginning of
    /// an archive, and all of one once it says so.
    #[test]
    fn encoders_write_nothing_else(choices in vec((0..9_u8, testing::names()), 0..60)) {
        let mut archive = Vec::new();
        let mut encoder = Encoder::new();
        for (choice, bytes) in &choices {
            let before = archive.len();
            let event = match choice {
                0 => Event::Directory,
                1 | 2 => Event::Entry(bytes),
                3 => Event::File { executable: bytes.len() > 2, size: bytes.len() as u64 },
                4 | 5 => Event::Data(bytes),
                6 => Event::FileEnd,
                7 => Event::Symlink(bytes),
                _ => Event::DirectoryEnd,
            };
            if encoder.encode(event, &mut archive).is_err() {
                prop_assert_eq!(archive.len(), before);
            }
            prop_assert_eq!(encoder.offset(), archive.len() as u64);
        }
        let is_finished = encoder.is_finished();
        prop_assert_eq!(encoder.finish().is_ok(), is_finished);
        match in_slice(&archive).1 {
            None => prop_assert!(is_finished),
            Some(error) => {
                prop_assert_eq!(error.kind, Kind::Truncated);
                prop_assert_eq!(error.offset, archive.len() as u64);
            }
        }
    }
}

#[test]
fn cut_anywhere() {
    let tree = Tree::Directory(
        [
            (
                b"data".to_vec(),
                Tree::File {
                    executable: false,
                    contents: vec![7; 21],
                },
            ),
            (b"empty".to_vec(), Tree::Directory([].into())),
            (b"link".to_vec(), Tree::Symlink(b"somewhere/else".to_vec())),
            (
                b"run".to_vec(),
                Tree::File {
                    executable: true,
                    contents: b"12345678".to_vec(),
                },
            ),
            (
                vec![b'z'; 255],
                Tree::File {
                    executable: false,
                    contents: Vec::new(),
                },
            ),
        ]
        .into(),
    );
    let archive = tree.encode().unwrap();
    let expected = in_slice(&archive);
    assert_eq!(expected.1, None);
    for first in 0..=archive.len() {
        let (head, tail) = archive.split_at(first);
        assert_eq!(in_pieces([head, tail]), expected, "cut at {first}");
        assert_eq!(
            in_slice(head),
            in_pieces(head.chunks(1)),
            "ended at {first}"
        );
    }
    for size in 1..100 {
        assert_eq!(
            in_pieces(archive.chunks(size)),
            expected,
            "pieces of {size}"
        );
        assert_eq!(
            through_reader(&archive, size),
            expected,
            "a buffer of {size}"
        );
    }
}

#[test]
fn nothing_behind_the_archive_is_taken() {
    let archive = nar::example();
    let input = [&archive[..], b"the next message"].concat();
    for first in 0..=input.len() {
        let (head, tail) = input.split_at(first);
        let mut decoder = nar::Decoder::new();
        let mut taken = 0;
        for mut piece in [head, tail] {
            loop {
                match decoder.decode(piece).unwrap() {
                    nar::Step::Event { consumed, .. } => {
                        taken += consumed;
                        piece = &piece[consumed..];
                    }
                    nar::Step::NeedMore { .. } => {
                        taken += piece.len();
                        break;
                    }
                    nar::Step::Finished => break,
                }
            }
        }
        assert_eq!(taken, archive.len(), "cut at {first}");
    }
}

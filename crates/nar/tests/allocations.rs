//! What decoding allocates: in a slice nothing; in pieces the names of open directories, once,
//! whatever the archive's size.

#![expect(
    clippy::unwrap_used,
    reason = "a test that panics fails, and says where"
)]

use nar::testing::Tree;
use nar::{Decoder, Event, Events, Step};

fn archive(files: u32) -> Vec<u8> {
    let file = |number: u32| {
        let name = format!("file-{number:08}").into_bytes();
        (
            name,
            Tree::File {
                executable: number.is_multiple_of(2),
                contents: vec![7; 100],
            },
        )
    };
    let directory = |_| Tree::Directory((0..files).map(file).collect());
    let names = ["a", "b", "c"].map(|name| (name.into(), directory(name)));
    Tree::Directory(names.into()).encode().unwrap()
}

fn count(work: impl FnOnce()) -> u64 {
    allocation_counter::measure(work).count_total
}

#[test]
fn a_slice_costs_no_allocation() {
    for files in [1, 10, 1000] {
        let archive = archive(files);
        let mut nodes = 0;
        let allocations = count(|| {
            for event in Events::new(&archive) {
                nodes += u32::from(matches!(event.unwrap(), Event::File { .. }));
            }
        });
        assert_eq!((nodes, allocations), (3 * files, 0), "{files} files");
    }
}

#[test]
fn pieces_cost_a_few_more_whatever_their_number() {
    let mut counts = [10, 1000].map(|files| {
        let archive = archive(files);
        count(|| {
            let mut decoder = Decoder::new();
            for mut piece in archive.chunks(61) {
                while let Step::Event { consumed, .. } = decoder.decode(piece).unwrap() {
                    piece = &piece[consumed..];
                }
            }
            assert!(decoder.is_finished());
        })
    });
    counts.sort_unstable();
    assert!(counts[1] <= 6, "{counts:?}");
}

#[test]
fn a_claimed_length_allocates_nothing() {
    let mut archive = Tree::File {
        executable: false,
        contents: Vec::new(),
    }
    .encode()
    .unwrap();
    archive[88..96].copy_from_slice(&u64::MAX.to_le_bytes());
    let bytes = allocation_counter::measure(|| {
        let mut decoder = Decoder::new();
        let Step::Event { consumed, event } = decoder.decode(&archive).unwrap() else {
            panic!("no event");
        };
        assert_eq!(
            event,
            Event::File {
                executable: false,
                size: u64::MAX
            }
        );
        decoder.decode(&archive[consumed..]).unwrap();
    });
    assert!(bytes.bytes_total < 20_000, "{bytes:?}");
}

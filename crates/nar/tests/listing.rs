//! Listings: what is where in an archive, and the JSON that binary caches serve.

#![expect(
    clippy::unwrap_used,
    reason = "a test that panics fails, and says where"
)]

use std::io::{BufRead, BufReader, Cursor, ErrorKind, Read};

use nar::testing::{Tree, trees};
use nar::{Limits, Listing, Node};
use proptest::prelude::*;

fn same(tree: &Tree, node: &Node, archive: &[u8]) -> bool {
    match (tree, node) {
        (
            Tree::File {
                executable,
                contents,
            },
            Node::File {
                executable: x,
                size,
                ..
            },
        ) => {
            let mut read = Vec::new();
            node.open(Cursor::new(archive))
                .unwrap()
                .read_to_end(&mut read)
                .unwrap();
            executable == x
                && *size == contents.len() as u64
                && read == *contents
                && node.contents(archive) == Some(contents)
        }
        (Tree::Symlink(target), Node::Symlink(t)) => target == t,
        (Tree::Directory(entries), Node::Directory(nodes)) => {
            entries.keys().eq(nodes.keys())
                && entries
                    .values()
                    .zip(nodes.values())
                    .all(|(tree, node)| same(tree, node, archive))
        }
        _ => false,
    }
}

proptest! {
    #[test]
    fn every_file_is_found_by_its_offset(tree in trees()) {
        let archive = tree.encode().unwrap();
        let listing = Listing::of(&archive).unwrap();
        prop_assert!(same(&tree, &listing.root, &archive));
        prop_assert_eq!(&Listing::read(&archive[..]).unwrap(), &listing);
        let seekable = BufReader::with_capacity(100, Cursor::new(&archive));
        prop_assert_eq!(&Listing::scan(seekable).unwrap(), &listing);
        if let Ok(json) = serde_json::to_string(&listing) {
            prop_assert_eq!(serde_json::from_str::<Listing>(&json).unwrap(), listing);
        }
    }
}

#[test]
fn json_is_that_of_binary_caches() {
    let listing = Listing::of(&nar::example()).unwrap();
    // As `nix nar ls --json -R` of Nix 2.8.0 has it, inside of the `.ls` files' envelope.
    let json = concat!(
        r#"{"version":1,"root":{"type":"directory","entries":{"#,
        r#""greeting":{"type":"regular","size":5,"narOffset":232},"#,
        r#""link":{"type":"symlink","target":"greeting"}}}}"#,
    );
    assert_eq!(serde_json::to_string(&listing).unwrap(), json);
    assert_eq!(serde_json::from_str::<Listing>(json).unwrap(), listing);
}

#[test]
fn json_that_is_no_listing_is_refused() {
    for (json, reason) in [
        (
            r#"{"version":2,"root":{"type":"regular","size":1}}"#,
            "version of a listing is not 1: 2",
        ),
        (
            r#"{"version":1,"root":{"type":"fifo"}}"#,
            "unknown variant `fifo`",
        ),
        (
            r#"{"version":1,"root":{"type":"regular"}}"#,
            "missing field `size`",
        ),
        (
            r#"{"version":1,"root":{"type":"symlink"}}"#,
            "missing field `target`",
        ),
        (
            r#"{"version":1,"root":{"type":"symlink","target":""}}"#,
            "target that cannot be one",
        ),
        (
            r#"{"version":1,"root":{"type":"directory"}}"#,
            "missing field `entries`",
        ),
        (r#"{"version":1,"root":{"size":1}}"#, "missing field `type`"),
        (
            r#"{"version":1,"root":{"type":"regular","size":1,"size":1}}"#,
            "duplicate field `size`",
        ),
        (
            r#"{"version":1,"root":{"type":"directory","entries":{"a":{"type":"regular","size":1},"a":{"type":"regular","size":1}}}}"#,
            "name that stands twice in its directory",
        ),
        (r#"{"version":1,"root":[]}"#, "expected a node of a listing"),
        (
            r#"{"version":1,"root":{"type":"directory","entries":{"..":{"type":"regular","size":1}}}}"#,
            "name that cannot be one: ..",
        ),
    ] {
        let error = serde_json::from_str::<Listing>(json)
            .unwrap_err()
            .to_string();
        assert!(error.contains(reason), "{error}");
    }
}

#[test]
fn names_that_are_not_text_have_no_json() {
    let tree = Tree::Directory([(b"a\xff".to_vec(), Tree::Symlink(b"x".to_vec()))].into());
    let listing = Listing::of(&tree.encode().unwrap()).unwrap();
    let error = serde_json::to_string(&listing).unwrap_err();
    assert_eq!(error.to_string(), r"name or target is not UTF-8: a\xff");
}

#[test]
fn a_file_of_an_archive_that_is_cut_is_an_error() {
    let archive = nar::example();
    let listing = Listing::of(&archive).unwrap();
    let greeting = listing.find("greeting").unwrap();
    let Node::File { offset, .. } = *greeting else {
        panic!("{greeting:?}")
    };
    let start = usize::try_from(offset.unwrap()).unwrap();
    for end in start - 8..start + 7 {
        let mut found = Vec::new();
        let read = greeting
            .open(Cursor::new(&archive[..end]))
            .unwrap()
            .read_to_end(&mut found);
        let mut lines = greeting.open(Cursor::new(&archive[..end])).unwrap().lines();
        if end < start + 5 {
            assert_eq!(read.unwrap_err().kind(), ErrorKind::UnexpectedEof, "{end}");
            let line = lines.next().unwrap();
            assert_eq!(line.unwrap_err().kind(), ErrorKind::UnexpectedEof, "{end}");
        } else {
            assert_eq!((read.unwrap(), &found[..]), (5, &b"hello"[..]));
            assert_eq!(lines.next().unwrap().unwrap(), "hello");
            assert!(lines.next().is_none());
        }
    }
}

#[test]
fn limits_are_those_asked_for() {
    let tree = Tree::Directory([(vec![b'n'; 10], Tree::Symlink(b"x".to_vec()))].into());
    let archive = tree.encode().unwrap();
    for (name, accepted) in [(9, false), (10, true)] {
        let limits = Limits::NIX.with_name(name);
        let seekable = BufReader::new(Cursor::new(&archive));
        assert_eq!(Listing::of_with_limits(&archive, limits).is_ok(), accepted);
        assert_eq!(
            Listing::read_with_limits(&archive[..], limits).is_ok(),
            accepted
        );
        assert_eq!(
            Listing::scan_with_limits(seekable, limits).is_ok(),
            accepted
        );
    }
}

#[test]
fn paths_lead_to_nodes() {
    let listing = Listing::of(&nar::example()).unwrap();
    for root in ["", "/", "//"] {
        assert_eq!(listing.find(root), Some(&listing.root));
    }
    assert_eq!(
        listing.find("/link/"),
        Some(&Node::Symlink(b"greeting".to_vec()))
    );
    for nothing in ["nothing", "greeting/x", "link/x", ".."] {
        assert_eq!(listing.find(nothing), None);
    }
    assert!(
        listing
            .find("link")
            .unwrap()
            .open(Cursor::new(b""))
            .is_err()
    );
}

#[test]
fn what_is_not_known_of_a_node_is_passed_over() {
    let json = r#"{"version":1,"root":{"colour":{"r":[1]},"size":1,"type":"regular"}}"#;
    let Listing { root } = serde_json::from_str(json).unwrap();
    let file = Node::File {
        executable: false,
        size: 1,
        offset: None,
    };
    assert_eq!(root, file);
}

#[test]
fn listings_are_as_deep_as_archives() {
    let read = |json: &str| {
        let mut deserializer = serde_json::Deserializer::from_str(json);
        deserializer.disable_recursion_limit();
        <Listing as serde::Deserialize>::deserialize(&mut deserializer)
    };
    let inside = |tree, _| Tree::Directory([(b"d".to_vec(), tree)].into());
    let deepest = (1..64).fold(Tree::Symlink(b"x".to_vec()), inside);
    let listing = Listing::of(&deepest.encode().unwrap()).unwrap();
    let json = serde_json::to_string(&listing).unwrap();
    assert_eq!(read(&json).unwrap(), listing);
    // Its own limit counts brackets, and ends one node short of that.
    let error = serde_json::from_str::<Listing>(&json).unwrap_err();
    assert!(error.to_string().contains("recursion limit"), "{error}");

    for nodes in [65, 1_000_000] {
        let json = r#"{"type":"directory","entries":{"d":"#.repeat(nodes);
        let error = read(&format!(r#"{{"version":1,"root":{json}"#)).unwrap_err();
        let expected = "more than 64 nodes inside each other";
        assert!(error.to_string().contains(expected), "{error}");
    }
}

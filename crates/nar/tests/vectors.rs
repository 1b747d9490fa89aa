//! Known bytes, in both directions: what every archive must look like, and what is none.

use nar::testing::{Tree, in_pieces, in_slice};
use nar::{Decoder, Error, Kind, Limits, Step};

/// Words as the format spells them: length, bytes, zeros up to a multiple of 8.
fn words(words: &[&[u8]]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for word in words {
        bytes.extend((word.len() as u64).to_le_bytes());
        bytes.extend_from_slice(word);
        bytes.resize(bytes.len().next_multiple_of(8), 0);
    }
    bytes
}

fn file(executable: bool, contents: &[u8]) -> Tree {
    Tree::File {
        executable,
        contents: contents.to_vec(),
    }
}

fn link(target: &[u8]) -> Tree {
    Tree::Symlink(target.to_vec())
}

fn directory<const N: usize>(entries: [(&[u8], Tree); N]) -> Tree {
    Tree::Directory(entries.map(|(name, tree)| (name.to_vec(), tree)).into())
}

/// One line per archive: the tree, and the words behind `nix-archive-1`.
macro_rules! accepted {
    ($($name:ident: $tree:expr => $($word:expr),+;)+) => {$(
        #[test]
        fn $name() {
            let parts: &[&[u8]] = &[b"nix-archive-1", $(&$word[..]),+];
            let archive = words(parts);
            assert_eq!($tree.encode().unwrap(), archive);
            assert_eq!(Tree::decode(&archive).unwrap(), $tree);
        }
    )+};
}

accepted! {
    plain_file: file(false, b"hello") => b"(", b"type", b"regular", b"contents", b"hello", b")";
    empty_file: file(false, b"") => b"(", b"type", b"regular", b"contents", b"", b")";
    file_of_eight: file(false, b"12345678")
        => b"(", b"type", b"regular", b"contents", b"12345678", b")";
    executable_file: file(true, b"#!")
        => b"(", b"type", b"regular", b"executable", b"", b"contents", b"#!", b")";
    symlink: link(b"/a b") => b"(", b"type", b"symlink", b"target", b"/a b", b")";
    longest_target: link(&[b't'; 4095])
        => b"(", b"type", b"symlink", b"target", [b't'; 4095], b")";
    empty_directory: directory([]) => b"(", b"type", b"directory", b")";
    longest_name: directory([(&[b'n'; 255], link(b"x"))])
        => b"(", b"type", b"directory", b"entry", b"(", b"name", [b'n'; 255], b"node",
           b"(", b"type", b"symlink", b"target", b"x", b")", b")", b")";
    names_of_any_bytes: directory([(b"\x01", link(b"x")), (b"...", link(b"x")), (b"\xff", link(b"x"))])
        => b"(", b"type", b"directory",
           b"entry", b"(", b"name", b"\x01", b"node", b"(", b"type", b"symlink", b"target", b"x", b")", b")",
           b"entry", b"(", b"name", b"...", b"node", b"(", b"type", b"symlink", b"target", b"x", b")", b")",
           b"entry", b"(", b"name", b"\xff", b"node", b"(", b"type", b"symlink", b"target", b"x", b")", b")",
           b")";
    nested: directory([(b"a", directory([(b"b", file(false, b""))])), (b"b", directory([]))])
        => b"(", b"type", b"directory",
           b"entry", b"(", b"name", b"a", b"node", b"(", b"type", b"directory",
             b"entry", b"(", b"name", b"b", b"node",
               b"(", b"type", b"regular", b"contents", b"", b")", b")",
           b")", b")",
           b"entry", b"(", b"name", b"b", b"node", b"(", b"type", b"directory", b")", b")",
           b")";
}

/// What `nix-store --dump` of Nix 2.8.0 wrote of a tree with a node of every kind.
#[test]
fn an_archive_of_nix_store_is_spelled_alike() {
    let archive = include_bytes!("data/nix-store-2.8.0.nar");
    let tree = directory([
        (
            b"directory",
            directory([(b"nested", directory([(b"\xff", file(false, b"12345678"))]))]),
        ),
        (b"empty", file(false, b"")),
        (b"executable", file(true, b"#!/bin/sh\n")),
        (b"link", link(b"plain")),
        (b"plain", file(false, b"hello\n")),
    ]);
    assert_eq!(Tree::decode(archive).unwrap(), tree);
    assert_eq!(tree.encode().unwrap(), archive);
}

/// One line per input that is no archive: its words, where it goes wrong, and how.
macro_rules! refused {
    ($($name:ident: $($word:expr),+ => $offset:expr, $kind:expr;)+) => {$(
        #[test]
        fn $name() {
            let parts: &[&[u8]] = &[$(&$word[..]),+];
            refuse(&words(parts), $offset, $kind);
        }
    )+};
}

#[track_caller]
fn refuse(input: &[u8], offset: u64, kind: Kind) {
    let expected = Some(Error { offset, kind });
    assert_eq!(in_slice(input).1, expected, "in a slice");
    assert_eq!(in_pieces(input.chunks(1)).1, expected, "byte by byte");
}

const M: &[u8] = b"nix-archive-1";

fn expected(expected: &'static str) -> Kind {
    Kind::Word { expected }
}

refused! {
    other_magic: b"nix-archive-2" => 0, expected("nix-archive-1");
    no_parenthesis: M, b"[" => 24, expected("(");
    no_type: M, b"(", b"kind" => 40, expected("type");
    unknown_type: M, b"(", b"type", b"hardlnk" => 56, expected("regular` or `symlink");
    unknown_long_type: M, b"(", b"type", b"socket" => 56,
        expected("regular`, `symlink` or `directory");
    no_contents: M, b"(", b"type", b"regular", b")" => 72, expected("contents");
    executable_yes: M, b"(", b"type", b"regular", b"executable", b"1", b"contents" => 96, expected("");
    executable_twice: M, b"(", b"type", b"regular", b"executable", b"", b"executable" => 104,
        expected("contents");
    contents_before_executable: M, b"(", b"type", b"regular", b"contents", b"x", b"executable"
        => 104, expected(")");
    contents_twice: M, b"(", b"type", b"regular", b"contents", b"", b"contents" => 96, expected(")");
    type_twice: M, b"(", b"type", b"directory", b"type" => 80, expected("entry` or `)");
    link_without_target: M, b"(", b"type", b"symlink", b")" => 72, expected("target");
    link_to_nothing: M, b"(", b"type", b"symlink", b"target", b"", b")" => 88, Kind::Target;
    link_with_nul: M, b"(", b"type", b"symlink", b"target", b"a\0", b")" => 88, Kind::Target;
    link_too_long: M, b"(", b"type", b"symlink", b"target", [b't'; 4096], b")" => 88,
        Kind::TargetLength { length: 4096, limit: 4095 };
    entry_without_name: M, b"(", b"type", b"directory", b"entry", b"(", b"node" => 112, expected("name");
    entry_without_node: M, b"(", b"type", b"directory", b"entry", b"(", b"name", b"a", b")" => 144,
        expected("node");
    name_empty: M, b"(", b"type", b"directory", b"entry", b"(", b"name", b"", b"node" => 128, Kind::Name;
    name_dot: M, b"(", b"type", b"directory", b"entry", b"(", b"name", b".", b"node" => 128, Kind::Name;
    name_dots: M, b"(", b"type", b"directory", b"entry", b"(", b"name", b"..", b"node" => 128, Kind::Name;
    name_slash: M, b"(", b"type", b"directory", b"entry", b"(", b"name", b"a/b", b"node" => 128, Kind::Name;
    name_nul: M, b"(", b"type", b"directory", b"entry", b"(", b"name", b"a\0b", b"node" => 128, Kind::Name;
    name_too_long: M, b"(", b"type", b"directory", b"entry", b"(", b"name", [b'n'; 256], b"node" => 128,
        Kind::NameLength { length: 256, limit: 255 };
    name_twice: M, b"(", b"type", b"directory",
        b"entry", b"(", b"name", b"a", b"node", b"(", b"type", b"directory", b")", b")",
        b"entry", b"(", b"name", b"a", b"node" => 296, Kind::NameTwice;
    name_out_of_order: M, b"(", b"type", b"directory",
        b"entry", b"(", b"name", b"a", b"node", b"(", b"type", b"directory", b")", b")",
        b"entry", b"(", b"name", b"B", b"node" => 296, Kind::NameOrder;
    entry_not_closed: M, b"(", b"type", b"directory",
        b"entry", b"(", b"name", b"a", b"node", b"(", b"type", b"directory", b")",
        b"entry" => 232, expected(")");
    bytes_behind: M, b"(", b"type", b"directory", b")", b"(" => 96, Kind::Trailing;
}

#[test]
fn one_byte_behind_the_archive_is_an_error() {
    let mut archive = nar::example();
    let length = archive.len() as u64;
    archive.push(0);
    refuse(&archive, length, Kind::Trailing);
}

#[test]
fn padding_must_be_zero_wherever_it_stands() {
    let archive = Tree::encode(&directory([
        (b"file", file(true, b"hello")),
        (b"link", link(b"target")),
    ]));
    let archive = archive.unwrap();
    let mut places = 0;
    let mut word = 0;
    while word < archive.len() {
        let length = u64::from_le_bytes(archive[word..word + 8].try_into().unwrap()) as usize;
        let end = word + 8 + length.next_multiple_of(8);
        for at in word + 8 + length..end {
            let mut changed = archive.clone();
            changed[at] = 1;
            refuse(&changed, at as u64, Kind::Padding);
            places += 1;
        }
        word = end;
    }
    assert_eq!(places, 137);
}

#[test]
fn no_other_archive_differs_in_one_bit_and_says_the_same() {
    let archive = nar::example();
    let tree = Tree::decode(&archive).unwrap();
    for bit in 0..archive.len() * 8 {
        let mut changed = archive.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        assert_ne!(
            Tree::decode(&changed).ok().as_ref(),
            Some(&tree),
            "bit {bit}"
        );
    }
}

#[test]
fn depth_has_a_limit() {
    let nested = |depth: usize| (1..depth).fold(directory([]), |tree, _| directory([(b"d", tree)]));
    let deepest = nested(64);
    assert_eq!(Tree::decode(&deepest.encode().unwrap()).unwrap(), deepest);
    let error = nested(65).encode().unwrap_err();
    assert_eq!(error.kind, Kind::Depth { limit: 64 });
    // Files and links count as directories do.
    let error = (1..65).fold(link(b"x"), |tree, _| directory([(b"d", tree)]));
    assert_eq!(error.encode().unwrap_err().kind, Kind::Depth { limit: 64 });

    let mut archive = words(&[M, b"(", b"type", b"directory"]);
    for _ in 0..64 {
        archive.extend(words(&[
            b"entry",
            b"(",
            b"name",
            b"d",
            b"node",
            b"(",
            b"type",
            b"directory",
        ]));
    }
    refuse(
        &archive,
        archive.len() as u64 - 88,
        Kind::Depth { limit: 64 },
    );
}

#[test]
fn claimed_lengths_cost_nothing() {
    let name = words(&[M, b"(", b"type", b"directory", b"entry", b"(", b"name"]);
    let target = words(&[M, b"(", b"type", b"symlink", b"target"]);
    for length in [
        256,
        4096,
        u64::from(u32::MAX),
        1 << 63,
        u64::MAX - 7,
        u64::MAX,
    ] {
        let claim = |head: &[u8]| [head, &length.to_le_bytes(), b"abc"].concat();
        refuse(&claim(&name), 128, Kind::NameLength { length, limit: 255 });
        if length > 4095 {
            refuse(
                &claim(&target),
                88,
                Kind::TargetLength {
                    length,
                    limit: 4095,
                },
            );
        }
    }
    // A file may claim any size; its data is passed on as it comes, and its end is missed.
    let file = words(&[M, b"(", b"type", b"regular", b"contents"]);
    for length in [1 << 40, u64::MAX - 7, u64::MAX] {
        refuse(
            &[&file[..], &length.to_le_bytes(), b"abc"].concat(),
            99,
            Kind::Truncated,
        );
    }
}

#[test]
fn a_file_of_any_size_can_be_passed_over() {
    let head = words(&[M, b"(", b"type", b"regular", b"contents"]);
    let head = [&head[..], &u64::MAX.to_le_bytes()].concat();
    let mut decoder = nar::Decoder::new();
    decoder.decode(&head).unwrap();
    assert_eq!(decoder.skip_data(1000), 1000);
    assert_eq!(decoder.skip_data(u64::MAX), u64::MAX - 1000);
    assert_eq!((decoder.remaining(), decoder.skip_data(1)), (0, 0));
    let end = [&[0][..], &words(&[b")"])].concat();
    let step = nar::Step::Event {
        consumed: end.len(),
        event: nar::Event::FileEnd,
    };
    assert_eq!(decoder.clone().decode(&end).unwrap(), step);

    // Errors behind it have the last offset that there is.
    let offset = u64::MAX;
    for (input, kind) in [
        (&b"\0\x02"[..], expected(")")),
        (b"\x01", Kind::Padding),
        (b"\0\x01\0\0\0\0\0\0\0)\0\0\0\x01", Kind::Padding),
    ] {
        let mut decoder = decoder.clone();
        assert_eq!(decoder.decode(input), Err(Error { offset, kind }));
    }
    decoder.decode(&[0]).unwrap();
    let kind = Kind::Truncated;
    assert_eq!(decoder.end_of_input(), Some(Error { offset, kind }));
}

#[test]
fn limits_of_any_size_are_no_danger() {
    let limits = Limits::NIX
        .with_name(usize::MAX)
        .with_target(usize::MAX)
        .with_depth(usize::MAX);
    let name = words(&[M, b"(", b"type", b"directory", b"entry", b"(", b"name"]);
    let target = words(&[M, b"(", b"type", b"symlink", b"target"]);
    let decode = |head: &[u8], length: u64| {
        let input = [head, &length.to_le_bytes(), b"abc"].concat();
        let mut decoder = Decoder::with_limits(limits);
        let mut rest = &input[..];
        loop {
            match decoder.decode(rest) {
                Ok(Step::Event { consumed, .. }) => rest = &rest[consumed..],
                Ok(Step::NeedMore { at_least }) => return Ok(at_least),
                Ok(Step::Finished) => unreachable!("there is more"),
                Err(error) => return Err(error),
            }
        }
    };
    for length in [u64::MAX - 200, u64::MAX - 7, u64::MAX] {
        let limit = usize::MAX;
        let kind = Kind::NameLength { length, limit };
        assert_eq!(decode(&name, length), Err(Error { offset: 128, kind }));
        let kind = Kind::TargetLength { length, limit };
        assert_eq!(decode(&target, length), Err(Error { offset: 88, kind }));
    }
    assert_eq!(decode(&name, 1 << 40), Ok((1 << 40) - 3));
    assert_eq!(decode(&target, 1 << 40), Ok((1 << 40) - 3));
}

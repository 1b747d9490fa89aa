//! The export format, read and written piece by piece.

use store_path::{StoreDir, StorePath};
use worker_protocol::export::{Decoder, Encoder, Event, Step, Trailer};
use worker_protocol::testing::{NoExport, read_export, write_export};
use worker_protocol::wire::{self, Error, Kind, limit};

fn path(name: &str) -> StorePath {
    StorePath::from_parts([7; 20], name).expect("a good name")
}

fn trailer(name: &str, references: usize, signature: Option<&str>) -> Trailer {
    let references = (0..references).map(|number| path(&format!("reference-{number}")));
    Trailer {
        path: path(name),
        references: references.collect(),
        deriver: signature.map(|_| path("made.drv")),
        signature: signature.map(Into::into),
    }
}

/// Two paths: one that refers to nothing, and a signed one with references.
fn sample() -> Vec<u8> {
    let mut encoder = Encoder::new(StoreDir::GUIX);
    let mut out = Vec::new();
    for trailer in [
        trailer("plain", 0, None),
        trailer("signed", 9, Some("(signature)")),
    ] {
        encoder
            .encode(&Event::Archive, &mut out)
            .expect("in its place");
        out.extend_from_slice(&nar::example());
        encoder
            .encode(&Event::Trailer(trailer), &mut out)
            .expect("in its place");
    }
    encoder.encode(&Event::End, &mut out).expect("in its place");
    assert!(encoder.is_finished());
    out
}

fn decoder() -> Decoder {
    Decoder::new(StoreDir::GUIX)
}

/// The bytes themselves, by hand.
#[test]
fn an_export_of_one_path_has_these_bytes() {
    let mut by_hand = Vec::new();
    wire::Encoder::new(&mut by_hand).word(1);
    by_hand.extend_from_slice(&nar::example());
    wire::Encoder::new(&mut by_hand)
        .word(0x4558_494e)
        .text("/gnu/store/0w70w70w70w70w70w70w70w70w70w70w-a")
        .word(0)
        .text("")
        .word(0)
        .word(0);
    let read = read_export(decoder(), [&by_hand[..]]).expect("it is one");
    let a = read.events[1].clone();
    let Event::Trailer(Trailer { path: found, .. }) = &a else {
        panic!("{a:?}");
    };
    assert_eq!(found.name(), "a");
    assert_eq!(read.events, [Event::Archive, a, Event::End]);
    assert_eq!(read.archives, [nar::example()]);
    assert_eq!(write_export(StoreDir::GUIX, &read), by_hand);
}

#[test]
fn it_is_the_same_wherever_it_is_cut() {
    let export = sample();
    let whole = read_export(decoder(), [&export[..]]).expect("it is one");
    assert_eq!((whole.events.len(), whole.is_whole), (5, true));
    assert_eq!(whole.length, export.len() as u64);
    assert_eq!(write_export(StoreDir::GUIX, &whole), export);
    for cut in 0..=export.len() {
        let (one, two) = export.split_at(cut);
        let halves = read_export(decoder(), [one, two]);
        assert_eq!(halves.as_ref(), Ok(&whole), "cut at {cut}");
        let ended = read_export(decoder(), [one]).expect("right so far");
        assert_eq!(ended.is_whole, cut == export.len(), "ended at {cut}");
    }
    let bytes = read_export(decoder(), export.chunks(1));
    assert_eq!(bytes, Ok(whole));
}

/// What is missing is really missing: with one byte less than asked for there is no event.
#[test]
fn what_it_asks_for_it_needs() {
    let event = Event::Trailer(trailer("x", 3, Some("(signature)")));
    let mut one_path = nar::example();
    let before = one_path.len();
    let mut whole = Vec::new();
    let mut encoder = Encoder::new(StoreDir::GUIX);
    encoder
        .encode(&Event::Archive, &mut whole)
        .expect("in its place");
    encoder.encode(&event, &mut one_path).expect("in its place");
    let trailer = &one_path[before..];
    for cut in 0..trailer.len() {
        let mut decoder = Decoder::one_path(StoreDir::GUIX);
        assert_eq!(decoder.decode(&one_path), Ok(Step::Archive));
        decoder.archive_ended(before as u64);
        let Ok(Step::NeedMore { at_least }) = decoder.decode(&trailer[..cut]) else {
            panic!("an event from {cut} of {} bytes", trailer.len());
        };
        assert!((1..=trailer.len() - cut).contains(&at_least), "at {cut}");
        assert_eq!(decoder.offset(), (before + cut) as u64);
        let event = event.clone();
        let consumed = trailer.len() - cut;
        let behind = [&trailer[cut..], b"something else"].concat();
        assert_eq!(decoder.decode(&behind), Ok(Step::Event { consumed, event }));
        assert_eq!(decoder.decode(b"something else"), Ok(Step::Finished));
        assert_eq!(decoder.offset(), one_path.len() as u64);
    }
}

#[test]
fn nothing_behind_the_end_is_taken() {
    let export = sample();
    let more = [&export[..], &export[..]].concat();
    for size in [1, 7, 8, more.len()] {
        let read = read_export(decoder(), more.chunks(size)).expect("it is one");
        assert_eq!((read.length, read.is_whole), (export.len() as u64, true));
    }
}

#[test]
fn an_error_says_where_and_stays() {
    let archive = nar::example().len() as u64;
    let wrong = |place: usize, kind: Kind| {
        let mut export = sample();
        export[place] ^= 2;
        let offset = place as u64 / 8 * 8;
        for size in [1, 8, export.len()] {
            let error = read_export(decoder(), export.chunks(size));
            let kind = kind.clone();
            assert_eq!(error, Err(NoExport::Export(Error { offset, kind })));
        }
    };
    wrong(0, Kind::Boolean(3));
    let what = "the mark behind an exported archive";
    let value = 0x4558_494c;
    wrong(8 + archive as usize, Kind::Number { what, value });

    let mut decoder = decoder();
    let error = decoder.decode(&[9; 8]).expect_err("no boolean");
    assert_eq!(decoder.decode(&[0; 8]), Err(error));
    assert!(decoder.end_of_input().is_some());

    let mut export = sample();
    export[16] ^= 1;
    let error = read_export(self::decoder(), [&export[..]]).expect_err("no archive");
    assert!(
        matches!(error, NoExport::Archive { at: 8, .. }),
        "{error:?}"
    );
}

/// What is wrong is told as soon as it is there, however it came, even if more is missing behind it.
#[test]
fn an_error_does_not_wait_for_what_is_behind_it() {
    let mut trailer = Vec::new();
    wire::Encoder::new(&mut trailer)
        .word(0x4558_494e)
        .text("/nix/store/00000000000000000000000000000000-x")
        .word(2)
        .text("/nix/store/as-long-as-two-paths".repeat(5));
    for size in [1, 7, 8, 9, 100, trailer.len()] {
        let mut decoder = Decoder::one_path(StoreDir::NIX);
        decoder.archive_ended(0);
        let mut told = None;
        for piece in trailer.chunks(size) {
            told = decoder.decode(piece).err();
        }
        let told = told.map(|error| error.offset);
        assert_eq!(told, Some(72), "in pieces of {size}");
    }
}

/// A trailer that only announces more than it may have is refused before its bytes come.
#[test]
fn a_trailer_has_a_maximum() {
    let mut decoder = Decoder::one_path(StoreDir::NIX);
    decoder.archive_ended(100);
    let mut bytes = Vec::new();
    wire::Encoder::new(&mut bytes)
        .word(0x4558_494e)
        .text("/nix/store/00000000000000000000000000000000-x")
        .word(limit::ITEMS as u64);
    let error = decoder
        .decode(&bytes)
        .expect_err("a gigabyte of references");
    let maximum = limit::TRAILER as u64;
    let kind = Kind::TooLarge { maximum };
    assert_eq!(error, Error { offset: 100, kind });
}

#[test]
fn an_export_is_written_in_order() {
    let trailer = Event::Trailer(trailer("x", 0, None));
    let mut encoder = Encoder::new(StoreDir::NIX);
    let mut out = Vec::new();
    let mut refused = Vec::new();
    let mut refuse = |encoder: &mut Encoder, out: &mut Vec<u8>, event: &Event| {
        let length = out.len();
        refused.push(
            encoder
                .encode(event, out)
                .expect_err("out of order")
                .to_string(),
        );
        assert_eq!(out.len(), length);
    };
    refuse(&mut encoder, &mut out, &trailer);
    encoder.encode(&Event::Archive, &mut out).expect("in order");
    refuse(&mut encoder, &mut out, &Event::Archive);
    refuse(&mut encoder, &mut out, &Event::End);
    encoder.encode(&trailer, &mut out).expect("in order");
    encoder.encode(&Event::End, &mut out).expect("in order");
    refuse(&mut encoder, &mut out, &Event::Archive);
    insta::assert_snapshot!(refused.join("\n"), @r"
    encode a trailer where an export has no archive before it
    encode an archive where an export has an archive's trailer
    encode the end where an export has an archive's trailer
    encode an archive behind the end of an export
    ");
}

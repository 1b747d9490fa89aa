//! The text of every error.

use std::fmt::Write;
use std::io::ErrorKind;

use store_path::StoreDir;
use worker_protocol::operation::QueryPathInfo;
use worker_protocol::wire::{self, Decoder, Encoder, Kind, Stop, limit};
use worker_protocol::{
    BuildMode, Context, Error, Incompatible, Misuse, Operation, PathInfo, Place, RemoteError,
    Request, Value, Version,
};

fn lines<T: std::fmt::Display>(errors: impl IntoIterator<Item = T>) -> String {
    let mut text = String::new();
    for error in errors {
        writeln!(text, "failed to {error}").expect("writing to a string succeeds");
    }
    text
}

fn bytes(encode: impl FnOnce(&mut Encoder<'_>)) -> Vec<u8> {
    let mut out = Vec::new();
    encode(&mut Encoder::new(&mut out));
    out
}

#[test]
fn wire() {
    let context = Context::new(StoreDir::NIX, Version::NIX_NEWEST);
    let word = |word: u64| {
        bytes(|encoder| {
            encoder.word(word);
        })
    };
    let text = |text: &str| {
        bytes(|encoder| {
            encoder.text(text);
        })
    };
    let mut padded = text("abc");
    padded[12] = 7;
    let build_mode = BuildMode::decode(&mut Decoder::new(&word(3)), &context);
    let path = QueryPathInfo::decode(&mut Decoder::new(&text("/gnu/store/x")), &context);
    let hash = PathInfo::decode(
        &mut Decoder::new(&[text(""), text("abc")].concat()),
        &context,
    );
    let long = QueryPathInfo::decode(&mut Decoder::new(&text(&"long".repeat(100))), &context);
    let stops: Vec<Stop> = vec![
        Decoder::new(&[0; 3]).word().expect_err("it is cut"),
        Decoder::new(&padded)
            .text(8)
            .expect_err("its padding is wrong"),
        Decoder::new(&word(70_000))
            .text(limit::NAME)
            .expect_err("it is too long"),
        Decoder::new(&word(2))
            .boolean()
            .expect_err("it is no boolean"),
        Decoder::at(&word(0), 4096)
            .finish()
            .expect_err("something is left"),
        build_mode.expect_err("there is no such mode"),
        path.expect_err("it is not in the store"),
        hash.expect_err("it is no hash"),
        long.expect_err("it is no path"),
        Stop::Malformed(wire::Error {
            offset: 12,
            kind: Kind::RepeatedKey,
        }),
        Stop::Malformed(wire::Error {
            offset: 12,
            kind: Kind::OutOfPlace,
        }),
        Stop::Malformed(wire::Error {
            offset: 40,
            kind: Kind::TooLarge { maximum: 1 << 29 },
        }),
        Stop::Malformed(wire::Error {
            offset: 40,
            kind: Kind::Truncated,
        }),
    ];
    insta::assert_snapshot!(lines(stops));
    let unknown = Request::decode(99, &mut Decoder::new(&[]), &context);
    assert_eq!(unknown, Ok(None));
}

#[test]
#[expect(
    clippy::too_many_lines,
    reason = "one conversation, from its first word to its last"
)]
fn conversation() {
    let place = Place {
        number: 3,
        operation: "QueryPathInfo",
    };
    let handshake = Place {
        number: 0,
        operation: "handshake",
    };
    let version = Version::nix(21);
    let error = wire::Error {
        offset: 77,
        kind: Kind::Boolean(5),
    };
    let message = "Connection reset by peer (os error 104)".to_owned();
    insta::assert_snapshot!(lines([
        Error::Remote(RemoteError::new("build the derivation: it is not there")),
        Error::Refused(RemoteError::new(
            "user 'nobody' is not allowed to connect to the Nix daemon"
        )),
        Error::Malformed { place, error },
        Error::Closed { place },
        Error::Closed { place: handshake },
        Error::Io {
            place,
            kind: ErrorKind::ConnectionReset,
            message
        },
        Error::Incompatible(Incompatible::Magic(0x3231_2f31_2e31_2048)),
        Error::Incompatible(Incompatible::Version(0x20a)),
        Error::Incompatible(Incompatible::OlderThanAssumed(0x205)),
        Error::Incompatible(Incompatible::Dialects {
            version: Version::guix(0x64),
            assumed: Version::nix(37)
        }),
        Error::AssumedTooMuch {
            assumed: Version::nix(37),
            daemon: version
        },
        Error::Unsupported {
            action: "send",
            operation: "QueryMissing",
            because: "",
            version: Version::guix(0x63)
        },
        Error::Unsupported {
            action: "send",
            operation: "AddToStore",
            because: " with references",
            version
        },
        Error::Unsupported {
            action: "answer",
            operation: "AddToStore",
            because: " without what is known of the path",
            version
        },
        Error::Abandoned {
            place,
            because: None
        },
        Error::Abandoned {
            place,
            because: Some(Misuse::TooLittleData { missing: 4 })
        },
        Error::Misused(Misuse::OutOfOrder {
            wanted: 5,
            next: place
        }),
        Error::WrongLength { place, more: true },
        Error::WrongLength { place, more: false },
        Error::Misused(Misuse::ForeignTicket {
            wanted: Place {
                number: 3,
                operation: "IsValidPath"
            },
            next: place
        }),
        Error::Misused(Misuse::AlreadyRead(2)),
        Error::Misused(Misuse::BeforeHandshake),
        Error::Misused(Misuse::WithinUpload(place)),
        Error::Misused(Misuse::WithoutData(place)),
        Error::Misused(Misuse::TooMuchData { given: 10, left: 4 }),
        Error::Misused(Misuse::TooLittleData { missing: 4 }),
        Error::Misused(Misuse::PathCount {
            given: 3,
            announced: 2
        }),
        Error::Misused(Misuse::UnreadReplies(67_108_864)),
        Error::Misused(Misuse::Inexpressible {
            command: "BuildPaths",
            because: " for no output of a derivation"
        }),
        Error::Misused(Misuse::NoRawData),
        Error::Misused(Misuse::NoUpload),
        Error::Misused(Misuse::NoRequest),
        Error::Misused(Misuse::Unanswered),
        Error::Misused(Misuse::UnreadData),
    ]));
}

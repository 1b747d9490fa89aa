//! Requests with data, and what follows a reply.

use store_path::{ContentAddressMethod, HashAlgorithm};
use worker_protocol::client::{self, Progress};
use worker_protocol::export::{self, Trailer};
use worker_protocol::operation::{
    AddBuildLog, AddMultipleToStore, AddSignatures, AddTextToStore, AddToStore, AddToStoreNar,
    Added, ExportPath, ImportPaths, NarFromPath, UploadOperation,
};
use worker_protocol::server::{self, Progress as ServerProgress};
use worker_protocol::wire::{Decoder, Encoder};
use worker_protocol::{Done, Operation, PathInfo, Request, ValidPathInfo, Value, Version};

use crate::notation::{self, hash, path};
use crate::paths::{INFO, INFO_OF_NIX, bare_info, info};
use crate::table::{Table, all, check, context, guix, nix};

pub(crate) fn vectors(table: &mut Table) {
    add_to_store(table);
    let valid = |info| ValidPathInfo {
        path: path('A'),
        info,
    };
    let add = AddToStoreNar {
        path: valid(info()),
        repair: false,
        dont_check_signatures: true,
    };
    let bytes = format!("39 A {INFO} {INFO_OF_NIX} 0 1");
    table.operation(nix(18..=38), (add, &bytes), ((), ""));
    let many = AddMultipleToStore {
        repair: true,
        dont_check_signatures: false,
    };
    table.operation(nix(32..=38), (many, "44 1 0"), ((), ""));

    let text = AddTextToStore {
        name: "d.drv".into(),
        contents: "Derive()".into(),
        references: [path('A'), path('B')].into(),
    };
    let text = (text, "8 'd.drv' 'Derive()' 2 A B");
    table.operation(all(), text, (path('D'), "D"));
    let signatures = ["key:c2ln".into(), "other:c2ln".into()].into();
    let sign = AddSignatures {
        path: path('A'),
        signatures,
    };
    let bytes = "37 A 2 'key:c2ln' 'other:c2ln'";
    table.operation(nix(18..=38), (sign, bytes), (Done, "1"));
    // Only the name.
    let log = (
        AddBuildLog { path: path('D') },
        "45 '33333333333333333333333333333333-d.drv'",
    );
    table.operation(nix(33..=38), log, (Done, "1"));
    // The archive follows.
    let fetch = (NarFromPath { path: path('A') }, "38 A");
    table.operation(nix(18..=38), fetch, ((), ""));
    let export = ExportPath {
        path: path('A'),
        sign: true,
    };
    table.operation(all(), (export, "16 A 1"), (Done, "1"));
    let imported = (vec![path('B'), path('A')], "2 B A");
    table.operation(all(), (ImportPaths {}, "27"), imported);
}

fn add_to_store(table: &mut Table) {
    use ContentAddressMethod::{Flat, Git, Recursive, Text};
    let add = |method, algorithm| AddToStore {
        name: "a".into(),
        method,
        algorithm,
        references: [].into(),
        repair: false,
    };
    for (method, algorithm, bytes) in [
        (Recursive, HashAlgorithm::Sha256, "7 'a' 0 1 'sha256'"),
        (Recursive, HashAlgorithm::Sha1, "7 'a' 1 1 'sha1'"),
        (Flat, HashAlgorithm::Sha256, "7 'a' 1 0 'sha256'"),
        (Flat, HashAlgorithm::Md5, "7 'a' 1 0 'md5'"),
    ] {
        table.request(nix(18..=24), add(method, algorithm), bytes);
    }
    let bytes = "7 'a' 1 1 'sha256'";
    table.request(
        guix(0x60..=0x64),
        add(Recursive, HashAlgorithm::Sha256),
        bytes,
    );
    for (method, algorithm, bytes) in [
        (
            Recursive,
            HashAlgorithm::Sha256,
            "7 'a' 'fixed:r:sha256' 0 0",
        ),
        (Flat, HashAlgorithm::Sha512, "7 'a' 'fixed:sha512' 0 0"),
        (Text, HashAlgorithm::Sha256, "7 'a' 'text:sha256' 0 0"),
        (Git, HashAlgorithm::Sha1, "7 'a' 'fixed:git:sha1' 0 0"),
    ] {
        table.request(nix(25..=38), add(method, algorithm), bytes);
    }
    let with_references = AddToStore {
        references: [path('B')].into(),
        repair: true,
        ..add(Recursive, HashAlgorithm::Sha256)
    };
    let bytes = "7 'a' 'fixed:r:sha256' 1 B 1";
    table.request(nix(25..=38), with_references, bytes);

    let added = |info| Added::new(path('A'), info);
    let old = [nix(18..=24), guix(0x60..=0x64)].concat();
    table.reply::<AddToStore>(old, added(None), "A");
    let bytes = format!("A {INFO} {INFO_OF_NIX}");
    table.reply::<AddToStore>(nix(25..=38), added(Some(info())), &bytes);
}

/// What a client sends of `operation` with `data` to a daemon that asks for `wants` bytes, if for any.
fn sent<O: UploadOperation>(version: Version, operation: &O, data: &[u8], wants: &str) -> Vec<u8> {
    let mut client = greeted_client(version);
    let ticket = client.begin_upload(operation).expect("begun");
    client.receive(&notation::bytes(wants, &context(version).store_dir));
    if !wants.is_empty() {
        assert_eq!(client.poll_upload(), Ok(Progress::Ready(())));
    }
    assert_eq!(client.upload(data), Ok(data.len()));
    client.finish_upload().expect("complete");
    assert_eq!(client.outstanding(), 1, "request {}", ticket.number());
    client.outgoing().to_vec()
}

fn greeted_client(version: Version) -> client::Session {
    let options = client::Options {
        version,
        assume: Some(version),
        ..client::Options::nix(context(version).store_dir)
    };
    let mut client = client::Session::new(options);
    let (greeting, _) = crate::handshake::greeting(version);
    client.receive(&notation::bytes(&greeting, &context(version).store_dir));
    let greeted = client.poll_handshake();
    assert_eq!(greeted, Ok(Progress::Ready(())), "{version}");
    let handshake = client.outgoing().len();
    client.sent(handshake);
    client
}

fn greeted_server(version: Version) -> server::Session {
    let mut options = server::Options::nix(context(version).store_dir, "1");
    options.version = version;
    let mut server = server::Session::new(options);
    let (_, words) = crate::handshake::greeting(version);
    server.receive(&notation::bytes(&words, &context(version).store_dir));
    assert_eq!(server.poll_accept(), Ok(ServerProgress::Ready(())));
    let greeting = server.outgoing().len();
    server.sent(greeting);
    server
}

/// What a server reads of the data behind a request.
fn received(version: Version, bytes: &[u8], inline: bool) -> (Request, Vec<u8>, Vec<u8>) {
    let mut server = greeted_server(version);
    server.receive(bytes);
    let Ok(ServerProgress::Ready(Some(request))) = server.poll_request() else {
        panic!("a request at {version}");
    };
    let mut data = Vec::new();
    while data.len() < 10 && server.poll_upload() == Ok(ServerProgress::Ready(true)) {
        let count = server.upload().len().min(10 - data.len());
        data.extend_from_slice(&server.upload()[..count]);
        server.consume_upload(count);
    }
    if inline {
        server.end_inline_upload();
    }
    assert_eq!(server.poll_drain(), Ok(ServerProgress::Ready(())));
    assert_eq!(server.buffered(), 0, "{version}");
    (request, data, server.outgoing().to_vec())
}

/// The three ways in which data follows a request.
#[test]
fn data_behind_a_request() {
    let data = b"0123456789";
    let digits = "=30313233343536373839";
    let add = AddToStoreNar {
        path: ValidPathInfo {
            path: path('A'),
            info: of_size(10),
        },
        repair: false,
        dont_check_signatures: false,
    };
    let request = "39 A '' H 0 0 10 0 0 '' 0 0";
    let ask = "0x64617461 65536";
    for version in nix(18..=38) {
        let (data_bytes, wants) = match version.minor() {
            18..=20 => (digits.to_owned(), ""),
            21..=22 => ("'0123456789'".to_owned(), ask),
            _ => (format!("10 {digits} 0"), ""),
        };
        let expected = format!("{request} {data_bytes}");
        let expected = notation::bytes(&expected, &context(version).store_dir);
        assert_eq!(sent(version, &add, data, wants), expected, "{version}");
        let inline = version.minor() <= 20;
        let (read, read_data, asked) = received(version, &expected, inline);
        assert_eq!(read, Request::from(add.clone()), "{version}");
        assert_eq!(read_data, data, "{version}");
        let asked_for = notation::bytes(wants, &context(version).store_dir);
        assert_eq!(asked, asked_for, "{version}");
    }
    let log = AddBuildLog { path: path('D') };
    for version in nix(33..=38) {
        let bytes = format!("45 '33333333333333333333333333333333-d.drv' 10 {digits} 0");
        let bytes = notation::bytes(&bytes, &context(version).store_dir);
        assert_eq!(sent(version, &log, data, ""), bytes);
    }
}

fn of_size(nar_size: u64) -> PathInfo {
    PathInfo::new(bare_info().nar_hash, nar_size)
}

/// The number of paths, then for each its info as at 1.16 and its archive, all of it in frames.
#[test]
fn many_paths() {
    let valid = |letter, info| ValidPathInfo {
        path: path(letter),
        info,
    };
    let many = AddMultipleToStore {
        repair: false,
        dont_check_signatures: true,
    };
    let content = "2  B '' H 0 0 3 0 0 '' =616263  A '' H 0 0 5 0 0 '' =6465666768";
    for version in nix(32..=38) {
        let context = context(version);
        let mut client = greeted_client(version);
        client.begin_multiple(&many, 2).expect("begun");
        let paths = [
            (valid('B', of_size(3)), &b"abc"[..]),
            (valid('A', of_size(5)), b"defgh"),
        ];
        for (path, archive) in &paths {
            client.upload_path(path).expect("its turn");
            assert_eq!(client.upload(archive), Ok(archive.len()));
        }
        client.finish_upload().expect("complete");
        let size = notation::bytes(content, &context.store_dir).len();
        let expected = format!("44 0 1 {size} {content} 0");
        let expected = notation::bytes(&expected, &context.store_dir);
        assert_eq!(client.outgoing(), expected, "{version}");

        let mut server = greeted_server(version);
        server.receive(&expected);
        let request = server.poll_request().expect("a request");
        assert_eq!(request, ServerProgress::Ready(Some(many.clone().into())));
        for (path, archive) in paths {
            let next = server.poll_path();
            assert_eq!(next, Ok(ServerProgress::Ready(Some(path))), "{version}");
            assert_eq!(server.poll_upload(), Ok(ServerProgress::Ready(true)));
            assert_eq!(server.upload(), archive);
            server.consume_upload(archive.len());
        }
        assert_eq!(server.poll_path(), Ok(ServerProgress::Ready(None)));
        assert_eq!(server.poll_drain(), Ok(ServerProgress::Ready(())));
        assert_eq!(server.buffered(), 0, "{version}");
    }
}

/// What stands between and behind exported archives.
#[test]
fn exports() {
    let trailer = |signature| Trailer {
        path: path('A'),
        references: vec![path('B'), path('C')],
        deriver: Some(path('D')),
        signature,
    };
    let plain = Trailer {
        deriver: None,
        references: vec![],
        ..trailer(None)
    };
    for version in all() {
        let context = context(version);
        for (trailer, bytes) in [
            (trailer(None), "0x4558494e A 2 B C D 0"),
            (
                trailer(Some("(signature)".into())),
                "0x4558494e A 2 B C D 1 '(signature)'",
            ),
            (plain.clone(), "0x4558494e A 0 '' 0"),
        ] {
            let values = (&trailer, &trailer);
            check(
                "Trailer",
                &context,
                bytes,
                values,
                Trailer::encode,
                Trailer::decode,
            );
        }
        let signed = notation::bytes("0x4558494e A 2 B C D", &context.store_dir);
        assert_eq!(trailer(None).signed_bytes(&context), signed);
    }
    let mut out = Vec::new();
    export::encode_next(&mut out, true);
    export::encode_next(&mut out, false);
    let expected = notation::bytes("1 0", &context(Version::nix(18)).store_dir);
    assert_eq!(out, expected);
    let mut decoder = Decoder::new(&expected);
    assert_eq!(export::decode_next(&mut decoder), Ok(true));
    assert_eq!(export::decode_next(&mut decoder), Ok(false));
    assert_eq!(hash().digest()[1], 1, "H counts up");
    let mut none = Vec::new();
    NarFromPath::encode_reply(
        &(),
        &mut Encoder::new(&mut none),
        &context(Version::nix(38)),
    );
    assert!(none.is_empty(), "the archive follows at once");
}

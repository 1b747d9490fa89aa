//! Exports that real programs write, and that they take in as we write them.

use std::process::Stdio;
use std::time::Duration;

use store_path::{StoreDir, StorePath};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::time::timeout;
use worker_protocol::export::{Decoder, Event, Trailer};
use worker_protocol::operation::{BuildPaths, IsValidPath};
use worker_protocol::testing::{ReadExport, read_export, write_export};
use worker_protocol::{BuildMode, DerivedPath, Done};

use crate::daemon::{Daemon, GuixDaemon};
use crate::guix_builds::{Built, connect, guix};

/// What a program prints that is given `input`.
async fn run(mut command: Command, input: &[u8]) -> Vec<u8> {
    let work = async {
        let mut process = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("it starts");
        let mut stdin = process.stdin.take().expect("it is piped");
        // Who fails before it has read everything tells why below.
        let _ = stdin.write_all(input).await;
        drop(stdin);
        let output = process.wait_with_output().await.expect("it ends");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{command:?}: {errors}");
        output.stdout
    };
    timeout(Duration::from_secs(60), work)
        .await
        .expect("nothing here takes a minute")
}

async fn nix(daemon: &Daemon, program: &str, arguments: &[&str], input: &[u8]) -> Vec<u8> {
    let mut command = daemon.command(program);
    command.args(arguments);
    run(command, input).await
}

fn lines(output: &[u8]) -> Vec<&str> {
    let text = std::str::from_utf8(output).expect("it prints UTF-8");
    text.split_whitespace().collect()
}

/// Reads an export whole, ended and cut at every byte, and byte by byte.
fn read(store_dir: &StoreDir, export: &[u8]) -> ReadExport {
    let decoder = Decoder::new(store_dir.clone());
    let whole = read_export(decoder.clone(), [export]).expect("it is an export");
    assert!(whole.is_whole);
    assert_eq!(whole.length, export.len() as u64);
    for cut in 0..export.len() {
        let (one, two) = export.split_at(cut);
        let ended = read_export(decoder.clone(), [one]).expect("it is right so far");
        assert!(!ended.is_whole, "ended at {cut}");
        let halves = read_export(decoder.clone(), [one, two]);
        assert_eq!(halves.as_ref(), Ok(&whole), "cut at {cut}");
    }
    let bytes = read_export(decoder, export.chunks(1));
    assert_eq!(bytes.as_ref(), Ok(&whole));
    whole
}

fn trailers(read: &ReadExport) -> Vec<&Trailer> {
    let trailers = read.events.iter().filter_map(|event| match event {
        Event::Trailer(trailer) => Some(trailer),
        _ => None,
    });
    trailers.collect()
}

const TWO_FILES: &str =
    "builtins.toFile \"two\" \"${builtins.toFile \"one\" \"exported\"} and more\"";

/// Of every Nix: what it exports is read, written as the same bytes, and taken in again by itself and by every other.
#[tokio::test]
async fn what_nix_exports_is_read_and_written_and_imported() {
    let (from, to) = (Daemon::all(), Daemon::all());
    for from in &from {
        let version = from.version().await;
        let dir = &from.store_dir;
        let arguments = ["--eval", "--read-write-mode", "--expr", TWO_FILES];
        let two = nix(from, "nix-instantiate", &arguments, b"").await;
        let two = lines(&two)[0].trim_matches('"').to_owned();
        let one = nix(from, "nix-store", &["--query", "--references", &two], b"").await;
        let one = lines(&one)[0].to_owned();
        let exported = nix(from, "nix-store", &["--export", &two, &one], b"").await;

        let read = read(dir, &exported);
        let parse = |text: &str| dir.parse(text).expect("Nix printed it");
        let trailer = |path: &str, references: Vec<StorePath>| Trailer {
            path: parse(path),
            references,
            deriver: None,
            signature: None,
        };
        let expected = [trailer(&one, vec![]), trailer(&two, vec![parse(&one)])];
        assert_eq!(trailers(&read), [&expected[0], &expected[1]], "{version}");
        let written = write_export(dir.clone(), &read);
        assert_eq!(written, exported, "{version}");

        nix(from, "nix-store", &["--delete", &two, &one], b"").await;
        for to in to.iter().filter(|to| to.store_dir == *dir).chain([from]) {
            let imported = nix(to, "nix-store", &["--import"], &written).await;
            assert_eq!(lines(&imported), [&one, &two], "{version}");
            let found = nix(to, "nix-store", &["--query", "--references", &two], b"").await;
            assert_eq!(lines(&found), [&one]);
            nix(to, "nix-store", &["--verify-path", &one, &two], b"").await;
            eprintln!("exported by {version}, imported by {}", to.version().await);
            nix(to, "nix-store", &["--delete", &two, &one], b"").await;
        }
    }
}

/// Of every Guix: what `guix archive` exports is read and written as the same bytes, and each `guix archive` that knows
/// the key takes it in.
#[tokio::test]
async fn what_guix_exports_is_read_and_written_and_imported() {
    let (from, to) = (GuixDaemon::all().await, GuixDaemon::all().await);
    for from in &from {
        let version = from.version().await;
        guix(from, "guix archive --generate-key").await;
        let key = guix(from, "cat /etc/guix/signing-key.pub").await;
        let mut client = connect(from).await;
        let name = format!("archived-by-{version}");
        let built = Built::add(&mut client, &name, "echo \"$0\" > \"$out\"").await;
        let build = BuildPaths {
            targets: vec![DerivedPath::all_outputs(built.derivation.clone())],
            mode: BuildMode::Normal,
        };
        let log = &mut |_| {};
        assert_eq!(client.call(&build, log).await, Ok(Done));
        let out = StoreDir::GUIX.print(&built.out);
        let command = from.command(&["guix", "archive", "--export", "--recursive", &out]);
        let exported = run(command, b"").await;

        let read = read(&StoreDir::GUIX, &exported);
        let trailers = trailers(&read);
        let [builder, made] = trailers[..] else {
            panic!("{version}: {trailers:?}");
        };
        assert_eq!(made.path, built.out);
        assert_eq!(made.references, std::slice::from_ref(&builder.path));
        assert_eq!(made.deriver, Some(built.derivation.clone()));
        for trailer in [builder, made] {
            let signature = trailer.signature.as_ref().expect("it is signed");
            assert!(signature.as_bytes().starts_with(b"(signature"), "{version}");
        }
        let written = write_export(StoreDir::GUIX, &read);
        assert_eq!(written, exported, "{version}");

        for to in &to {
            std::fs::write(to.shared().0.join("key"), &key).expect("a file");
            guix(to, "guix archive --authorize < /run/peer/key").await;
            run(to.command(&["guix", "archive", "--import"]), &written).await;
            let path = built.out.clone();
            let valid = connect(to).await.call(&IsValidPath { path }, log).await;
            assert_eq!(valid, Ok(true));
            eprintln!("exported by {version}, imported by {}", to.version().await);
        }
    }
}

//! The serve protocol's client half: every command at every version.

use std::fmt::Debug;

use store_path::StoreDir;
use worker_protocol::serve::{
    AddToStoreNar, BuildDerivation, BuildPaths, BuildSettings, Command, Context, DumpStorePath,
    ExportPaths, ImportPaths, Progress, QueryClosure, QueryPathInfos, QueryValidPaths,
    ServeVersion, Session,
};
use worker_protocol::wire::{Decoder, Encoder};
use worker_protocol::{BuildResult, BuildStatus, DerivedPath, RemoteError, ValidPathInfo};

use crate::builds::{DERIVATION, TIMES, built_outputs, derivation, result};
use crate::notation::{self, path};
use crate::paths::{INFO, INFO_OF_NIX, bare_info, info};

const VERSIONS: [ServeVersion; 3] = [ServeVersion(5), ServeVersion(6), ServeVersion(7)];

fn request<C: Command>(minor: u8, command: &C, bytes: &str) {
    let context = Context {
        store_dir: StoreDir::NIX,
        version: ServeVersion(minor),
    };
    let mut out = Vec::new();
    Encoder::new(&mut out).word(C::NUMBER);
    command.encode(&mut Encoder::new(&mut out), &context);
    let expected = notation::bytes(bytes, &StoreDir::NIX);
    assert_eq!(out, expected, "{} at 2.{minor}", C::NAME);
}

fn reply<C: Command<Reply: PartialEq + Debug>>(minor: u8, reply: C::Reply, bytes: &str) {
    let context = Context {
        store_dir: StoreDir::NIX,
        version: ServeVersion(minor),
    };
    let bytes = notation::bytes(bytes, &StoreDir::NIX);
    let mut decoder = Decoder::new(&bytes);
    let decoded = C::decode_reply(&mut decoder, &context);
    assert_eq!(decoded, Ok(reply), "{} at 2.{minor}", C::NAME);
    assert_eq!(decoder.remaining(), 0, "{} at 2.{minor}", C::NAME);
}

#[test]
fn greetings() {
    for (assume, announced) in [
        (None, 7),
        (Some(5), 6),
        (Some(6), 6),
        (Some(7), 7),
        (Some(9), 7),
    ] {
        for server in [5_u64, 6, 7, 8, 255] {
            let assume = assume.map(ServeVersion);
            let mut session = Session::new(StoreDir::NIX, assume);
            let words = format!("0x390c9deb {}", 0x200 + u64::from(announced));
            assert_eq!(session.outgoing(), notation::bytes(&words, &StoreDir::NIX));
            let hello = format!("0x5452eecb {}", 0x200 + server);
            session.receive(&notation::bytes(&hello, &StoreDir::NIX));
            let agreed = ServeVersion(announced.min(server as u8));
            assert_eq!(session.poll_handshake(), Ok(Progress::Ready(agreed)));
        }
    }
}

#[test]
fn queries() {
    for ServeVersion(minor) in VERSIONS {
        let valid = QueryValidPaths {
            lock: true,
            substitute: false,
            paths: [path('A'), path('B')].into(),
        };
        request(minor, &valid, "1 1 0 2 A B");
        reply::<QueryValidPaths>(minor, [path('B')].into(), "1 B");

        let paths = [path('A'), path('B')].into();
        request(minor, &QueryPathInfos { paths }, "2 2 A B");
        // No time, and not whether it was built there.
        let whole = info().with_registration_time(0).with_ultimate(false);
        let infos = [('A', whole), ('C', bare_info())];
        let infos = infos.map(|(letter, info)| ValidPathInfo {
            path: path(letter),
            info,
        });
        let (_, address) = INFO_OF_NIX.rsplit_once(' ').expect("it ends in an address");
        let hash = address.replace("fixed:r:", "");
        let signed = "2 'cache-1:c2ln' 'other:c2ln'";
        let bytes = format!(
            "A D 2 A B 50 120 {hash} {address} {signed}
             C '' 0 0 0 {hash} '' 0
             ''"
        );
        reply::<QueryPathInfos>(minor, infos.into(), &bytes);
        reply::<QueryPathInfos>(minor, vec![], "''");

        let closure = QueryClosure {
            include_outputs: true,
            paths: [path('A')].into(),
        };
        request(minor, &closure, "7 1 1 A");
        reply::<QueryClosure>(minor, [path('A'), path('C')].into(), "2 A C");
    }
}

#[test]
fn data() {
    for ServeVersion(minor) in VERSIONS {
        request(minor, &DumpStorePath { path: path('A') }, "3 A");
        reply::<DumpStorePath>(minor, (), "");
        request(minor, &ImportPaths {}, "4");
        reply::<ImportPaths>(minor, (), "1");
        let paths = vec![path('B'), path('A')];
        request(minor, &ExportPaths { paths }, "5 0 2 B A");
        reply::<ExportPaths>(minor, (), "");
        let add = AddToStoreNar {
            path: ValidPathInfo {
                path: path('A'),
                info: info(),
            },
        };
        request(minor, &add, &format!("9 A {INFO} {INFO_OF_NIX}"));
        reply::<AddToStoreNar>(minor, (), "1");
    }
}

#[test]
fn builds() {
    for ServeVersion(minor) in VERSIONS {
        let settings = BuildSettings {
            max_silent_time: 1,
            timeout: 2,
            max_log_size: 3,
            repeat: 4,
            enforce_determinism: true,
            keep_failed: true,
        };
        let keep = if minor >= 7 { "1" } else { "" };
        let paths = BuildPaths {
            targets: vec![DerivedPath::Opaque(path('A'))],
            settings: settings.clone(),
        };
        request(minor, &paths, &format!("6 1 A 1 2 3 4 1 {keep}"));
        reply::<BuildPaths>(minor, Ok(()), "0");
        let failed = RemoteError::new("no").with_status(100);
        reply::<BuildPaths>(minor, Err(failed), "100 'no'");

        let build = BuildDerivation {
            path: path('D'),
            derivation: derivation(),
            settings,
        };
        let bytes = format!("8 D {DERIVATION} 1 2 3 4 1 {keep}");
        request(minor, &build, &bytes);
        let mut built = result();
        built.cpu_user = None;

        let mut bytes = format!("0 'it hurt' {TIMES}");
        match minor >= 6 {
            true => bytes.push_str(&format!(" {}", built_outputs())),
            false => built.built_outputs.clear(),
        }
        reply::<BuildDerivation>(minor, built, &bytes);
        let timed_out = BuildResult::new(BuildStatus::TimedOut);
        let outputs = if minor >= 6 { "0" } else { "" };
        reply::<BuildDerivation>(minor, timed_out, &format!("8 '' 0 0 0 0 {outputs}"));
    }
}

//! `nix-store --serve --write` of every Nix, for its older protocol.

use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::process::{Child, ChildStdin, ChildStdout};
use tokio::time::timeout;
use worker_protocol::export::{self, Trailer};
use worker_protocol::serve::{
    AddToStoreNar, BuildDerivation, BuildPaths, BuildSettings, Client, DumpStorePath, ExportPaths,
    ImportPaths, QueryClosure, QueryPathInfos, QueryValidPaths, ServeVersion,
};
use worker_protocol::wire::Decoder;
use worker_protocol::{
    BasicDerivation, BasicOutput, BuildStatus, Context, DerivedPath, Error, Value, Version,
};

use crate::daemon::{Daemon, file_nar, source};

type ServeClient = Client<ChildStdout, ChildStdin>;

fn connect(daemon: &Daemon, assume: Option<ServeVersion>) -> (ServeClient, Child) {
    let mut process = daemon
        .command("nix-store")
        .args(["--serve", "--write"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("nix-store starts");
    let writer = process.stdin.take().expect("it is piped");
    let reader = process.stdout.take().expect("it is piped");
    (
        Client::new(reader, writer, daemon.store_dir.clone(), assume),
        process,
    )
}

async fn raw(client: &mut ServeClient, size: usize) -> Vec<u8> {
    let mut data = Vec::new();
    while data.len() < size {
        let chunk = client.raw_chunk().await.expect("the data comes");
        let count = chunk.len().min(size - data.len());
        data.extend_from_slice(&chunk[..count]);
        client.consume(count);
    }
    data
}

#[tokio::test]
async fn every_command_one_by_one_and_all_at_once() {
    for daemon in Daemon::all() {
        let (mut client, _process) = connect(&daemon, None);
        let empty = QueryValidPaths {
            lock: false,
            substitute: false,
            paths: [].into(),
        };
        client.call(&empty).await.expect("it answers");
        let version = client.version().expect("it is known after a reply");
        eprintln!("serves 2.{}", version.0);
        for assume in [None, Some(version)] {
            let talk = conversation(&daemon, assume);
            timeout(Duration::from_secs(60), talk)
                .await
                .expect("it does not hang");
        }
    }
}

async fn conversation(daemon: &Daemon, assume: Option<ServeVersion>) {
    let (mut client, _process) = connect(daemon, assume);
    let nar = file_nar(format!("served {assume:?}").as_bytes(), false);
    let source = source(&daemon.store_dir, "served", &nar);
    let path = source.path.clone();
    let paths = || [path.clone()].into();
    client
        .queue(&AddToStoreNar {
            path: source.clone(),
        })
        .await
        .expect("queued");
    client.data(&nar).await.expect("taken");
    client
        .queue(&QueryPathInfos { paths: paths() })
        .await
        .expect("queued");
    client
        .queue(&DumpStorePath { path: path.clone() })
        .await
        .expect("queued");
    client
        .queue(&QueryClosure {
            include_outputs: false,
            paths: paths(),
        })
        .await
        .expect("queued");
    client.reply::<AddToStoreNar>().await.expect("added");
    let infos = client.reply::<QueryPathInfos>().await.expect("it answers");
    assert_eq!(infos.len(), 1);
    assert_eq!(infos[0].info.nar_hash, source.info.nar_hash);
    assert_eq!(infos[0].info.content_address, source.info.content_address);
    client.reply::<DumpStorePath>().await.expect("it follows");
    assert_eq!(raw(&mut client, nar.len()).await, nar);
    assert_eq!(client.reply::<QueryClosure>().await, Ok(paths()));

    build(daemon, &mut client, assume).await;
    export_and_import(daemon, &path, &nar).await;
}

/// Newer programs have dropped these commands, and end when they hear them.
async fn export_and_import(daemon: &Daemon, path: &store_path::StorePath, nar: &[u8]) {
    let (mut client, _process) = connect(daemon, None);
    let export = ExportPaths {
        paths: vec![path.clone()],
    };
    client.call(&export).await.expect("it follows");
    if let Err(error) = client.raw_chunk().await {
        let version = daemon.version().await;
        assert!(
            matches!(error, Error::Closed { .. }) && version.as_str() > "2.3",
            "{error}"
        );
        eprintln!("{version} has no ExportPaths");
        return;
    }
    let context = Context {
        store_dir: daemon.store_dir.clone(),
        version: Version::nix(18),
    };
    let trailer = Trailer {
        path: path.clone(),
        references: vec![],
        deriver: None,
        signature: None,
    };
    let mut expected = Vec::new();
    export::encode_next(&mut expected, true);
    expected.extend_from_slice(nar);
    trailer.encode(
        &mut worker_protocol::wire::Encoder::new(&mut expected),
        &context,
    );
    export::encode_next(&mut expected, false);
    let exported = raw(&mut client, expected.len()).await;
    assert_eq!(exported, expected);
    let mut decoder = Decoder::new(&exported[8 + nar.len()..]);
    assert_eq!(Trailer::decode(&mut decoder, &context), Ok(trailer));
    client.queue(&ImportPaths {}).await.expect("queued");
    client.data(&exported).await.expect("taken");
    client.reply::<ImportPaths>().await.expect("imported");
}

async fn build(daemon: &Daemon, client: &mut ServeClient, assume: Option<ServeVersion>) {
    let name = format!("built-{}", assume.map_or(0, |version| version.0));
    let base = format!("{}-{name}", "2".repeat(32));
    let out = format!("{}/{base}", daemon.store_dir);
    let path = daemon
        .store_dir
        .parse(&format!("{out}.drv"))
        .expect("a good name");
    let output = BasicOutput {
        path: out.as_str().into(),
        ..BasicOutput::default()
    };
    let derivation = BasicDerivation {
        outputs: [("out".into(), output)].into(),
        platform: "x86_64-linux".into(),
        builder: "/bin/sh".into(),
        arguments: vec!["-c".into(), "echo hi > $out".into()],
        environment: [
            ("out".into(), out.into()),
            ("name".into(), name.as_str().into()),
        ]
        .into(),
        ..BasicDerivation::default()
    };
    let settings = BuildSettings::default();
    let build = BuildDerivation {
        path: path.clone(),
        derivation,
        settings: settings.clone(),
    };
    let result = client.call(&build).await.expect("it answers");
    assert_eq!(result.status, BuildStatus::Built, "{}", result.error);
    let missing = BuildPaths {
        targets: vec![DerivedPath::all_outputs(path)],
        settings,
    };
    match client.call(&missing).await {
        Ok(result) => assert!(result.is_err_and(|error| error.status != 0)),
        // An error that is not a build's ends the program.
        Err(error) => assert!(matches!(error, Error::Closed { .. }), "{error}"),
    }
}

#[tokio::test]
async fn a_program_that_is_none_is_noticed() {
    let (ours, theirs) = tokio::io::duplex(4096);
    let (reader, writer) = tokio::io::split(ours);
    let mut client = Client::new(reader, writer, store_path::StoreDir::NIX, None);
    let (_reader, mut writer) = tokio::io::split(theirs);
    writer
        .write_all(b"bash: nix-store: command not found\n")
        .await
        .expect("it is read");
    let empty = QueryValidPaths {
        lock: false,
        substitute: false,
        paths: [].into(),
    };
    let error = client.call(&empty).await.expect_err("it is no server");
    assert!(matches!(error, Error::Incompatible(_)), "{error}");
}

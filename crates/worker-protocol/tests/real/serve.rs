//! `nix-store --serve --write` of every Nix, for its older protocol.

use std::collections::BTreeSet;
use std::process::Stdio;
use std::time::Duration;

use store_path::StorePath;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout};
use tokio::time::timeout;
use worker_protocol::export::{self, Trailer};
use worker_protocol::serve::{
    AddToStoreNar, BuildDerivation, BuildPaths, BuildSettings, Client, DumpStorePath, ExportPaths,
    ImportPaths, QueryClosure, QueryPathInfos, QueryValidPaths, ServeVersion, Ticket,
    UploadCommand,
};
use worker_protocol::wire::{Decoder, Encoder};
use worker_protocol::{
    BasicDerivation, BasicOutput, BuildStatus, Context, DerivedPath, Error, Incompatible, Misuse,
    ValidPathInfo, Value, Version,
};

use crate::daemon::{Daemon, file_nar, source};

type ServeClient = Client<ChildStdout, ChildStdin>;

async fn within<T>(work: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(60), work)
        .await
        .expect("no conversation takes a minute")
}

/// A program that serves, with its standard error.
struct Program {
    process: Child,
    errors: ChildStderr,
}

impl Program {
    fn start(daemon: &Daemon, assume: Option<ServeVersion>) -> (ServeClient, Program) {
        let mut process = daemon
            .command("nix-store")
            .args(["--serve", "--write"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("nix-store starts");
        let writer = process.stdin.take().expect("it is piped");
        let reader = process.stdout.take().expect("it is piped");
        let errors = process.stderr.take().expect("it is piped");
        let client = Client::new(reader, writer, daemon.store_dir.clone(), assume);
        (client, Program { process, errors })
    }

    /// All that it has said on its standard error, once the client has hung up.
    async fn errors(mut self, client: ServeClient) -> String {
        drop(client);
        let mut said = Vec::new();
        let read = self.errors.read_to_end(&mut said).await;
        read.expect("it can be read");
        self.process.wait().await.expect("it ends");
        String::from_utf8_lossy(&said).into_owned()
    }
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

async fn upload<C: UploadCommand>(
    client: &mut ServeClient,
    command: C,
    data: &[u8],
) -> Result<Ticket<C>, Error> {
    let mut upload = client.upload(&command).await?;
    for piece in data.chunks(1000) {
        upload.write(piece).await?;
    }
    upload.finish()
}

fn valid(paths: impl IntoIterator<Item = StorePath>) -> QueryValidPaths {
    QueryValidPaths {
        lock: true,
        substitute: true,
        paths: paths.into_iter().collect(),
    }
}

/// A build of `script` with `inputs`.
fn build(
    daemon: &Daemon,
    name: &str,
    script: &str,
    inputs: BTreeSet<StorePath>,
    settings: &BuildSettings,
) -> (BuildDerivation, StorePath) {
    let base = format!("{}-{name}", "2".repeat(32));
    let printed = format!("{}/{base}", daemon.store_dir);
    let out = daemon.store_dir.parse(&printed).expect("a good name");
    let path = daemon.store_dir.parse(&format!("{printed}.drv"));
    let output = BasicOutput {
        path: printed.as_str().into(),
        ..BasicOutput::default()
    };
    let environment = [
        ("out", printed.as_str()),
        ("name", name),
        ("PATH", "/bin:/usr/bin"),
    ];
    let derivation = BasicDerivation {
        outputs: [("out".into(), output)].into(),
        input_sources: inputs,
        platform: "x86_64-linux".into(),
        builder: "/bin/sh".into(),
        arguments: vec!["-c".into(), script.into()],
        environment: environment
            .map(|(key, value)| (key.into(), value.into()))
            .into(),
    };
    let build = BuildDerivation {
        path: path.expect("a good name"),
        derivation,
        settings: settings.clone(),
    };
    (build, out)
}

#[tokio::test]
async fn every_command_and_all_at_once() {
    for daemon in Daemon::all() {
        let (mut client, _program) = Program::start(&daemon, None);
        let version = within(client.handshake()).await.expect("it serves");
        eprintln!("{} serves {version}", daemon.version().await);
        for assume in [None, Some(ServeVersion::OLDEST), Some(version)] {
            within(conversation(&daemon, assume)).await;
        }
    }
}

async fn conversation(daemon: &Daemon, assume: Option<ServeVersion>) {
    let (mut client, _program) = Program::start(daemon, assume);
    let nar = file_nar(format!("served {assume:?}").as_bytes(), false);
    let source = source(&daemon.store_dir, "served", &nar);
    let path = source.path.clone();
    let paths = || [path.clone()].into();
    // All leave before the version is known.
    let add = AddToStoreNar {
        path: source.clone(),
    };
    let added = upload(&mut client, add, &nar).await.expect("taken");
    let infos = QueryPathInfos { paths: paths() };
    let infos = client.queue(&infos).await.expect("queued");
    let dump = DumpStorePath { path: path.clone() };
    let dump = client.queue(&dump).await.expect("queued");
    let closure = QueryClosure {
        include_outputs: false,
        paths: paths(),
    };
    let closure = client.queue(&closure).await.expect("queued");
    assert_eq!(client.outstanding(), 4);
    client.reply(added).await.expect("added");
    let infos = client.reply(infos).await.expect("it answers");
    assert_eq!(infos.len(), 1);
    assert_eq!(infos[0].info.nar_hash, source.info.nar_hash);
    assert_eq!(infos[0].info.content_address, source.info.content_address);
    client.reply(dump).await.expect("it follows");
    assert_eq!(raw(&mut client, nar.len()).await, nar);
    assert_eq!(client.reply(closure).await, Ok(paths()));

    let missing =
        daemon
            .store_dir
            .parse(&format!("{}/{}-none.drv", daemon.store_dir, "2".repeat(32)));
    let missing = BuildPaths {
        targets: vec![DerivedPath::all_outputs(missing.expect("a good name"))],
        settings: BuildSettings::default(),
    };
    match client.call(&missing).await {
        Ok(result) => assert!(result.is_err_and(|error| error.status.is_some())),
        // An error that is not a build's ends the program.
        Err(error) => assert!(matches!(error, Error::Closed { .. }), "{error}"),
    }
    export_and_import(daemon, &path, &nar).await;
}

/// Newer programs have dropped these commands, and end when they hear them.
async fn export_and_import(daemon: &Daemon, path: &StorePath, nar: &[u8]) {
    let (mut client, _program) = Program::start(daemon, None);
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
    let context = Context::new(daemon.store_dir.clone(), Version::nix(18));
    let trailer = Trailer {
        path: path.clone(),
        references: vec![],
        deriver: None,
        signature: None,
    };
    let mut expected = Vec::new();
    export::encode_next(&mut expected, true);
    expected.extend_from_slice(nar);
    trailer.encode(&mut Encoder::new(&mut expected), &context);
    export::encode_next(&mut expected, false);
    let exported = raw(&mut client, expected.len()).await;
    assert_eq!(exported, expected);
    let mut decoder = Decoder::new(&exported[8 + nar.len()..]);
    assert_eq!(Trailer::decode(&mut decoder, &context), Ok(trailer));
    let imported = upload(&mut client, ImportPaths {}, &exported).await;
    let imported = imported.expect("taken");
    client.reply(imported).await.expect("imported");
    let path = [path.clone()];
    let after = client.call(&valid(path.clone())).await;
    assert_eq!(after, Ok(path.into()));
}

/// As a build is offloaded: which inputs are valid in the first flight, all else in the second.
#[tokio::test]
async fn a_build_takes_two_flights() {
    for daemon in Daemon::all() {
        within(offload(&daemon)).await;
    }
}

async fn offload(daemon: &Daemon) {
    let (mut client, program) = Program::start(daemon, None);
    let nars = [b"one", b"two"].map(|contents| file_nar(contents, false));
    let names = ["input-one", "input-two"];
    let inputs = [0, 1].map(|n| source(&daemon.store_dir, names[n], &nars[n]));
    let paths = inputs.clone().map(|input| input.path);
    assert_eq!(client.version(), None);
    let before = client.queue(&valid(paths.clone())).await;
    let before = before.expect("it does not wait for the version");
    assert_eq!(client.reply(before).await, Ok([].into()));

    let mut added = Vec::new();
    for (path, nar) in inputs.iter().cloned().zip(&nars) {
        let add = AddToStoreNar { path };
        added.push(upload(&mut client, add, nar).await.expect("taken"));
    }
    let printed = paths.clone().map(|path| daemon.store_dir.print(&path));
    let script = format!("echo a line of the log; cat {} > $out", printed.join(" "));
    let settings = BuildSettings {
        max_silent_time: 50,
        timeout: 50,
        max_log_size: 1 << 20,
        keep_failed: true,
        ..BuildSettings::default()
    };
    let (build, out) = build(daemon, "flown", &script, paths.clone().into(), &settings);
    let build = client.queue(&build).await.expect("queued");
    let infos = QueryPathInfos {
        paths: [out.clone()].into(),
    };
    let infos = client.queue(&infos).await.expect("queued");
    let dump = client.queue(&DumpStorePath { path: out.clone() }).await;
    let dump = dump.expect("queued");
    let after = client.queue(&valid([out.clone()])).await.expect("queued");
    client.flush().await.expect("sent");
    for ticket in added {
        client.reply(ticket).await.expect("added");
    }
    let result = client.reply(build).await.expect("it answers");
    assert_eq!(result.status, BuildStatus::Built, "{}", result.error);
    let info = client.reply(infos).await.expect("it answers");
    let [ValidPathInfo { path, info }] = &info[..] else {
        panic!("one output, not {info:?}");
    };
    let expected = file_nar(b"onetwo", false);
    assert_eq!((path, info.nar_size), (&out, expected.len() as u64));
    client.reply(dump).await.expect("it follows");
    assert_eq!(raw(&mut client, expected.len()).await, expected);
    assert_eq!(client.reply(after).await, Ok([out].into()));
    let errors = program.errors(client).await;
    assert!(errors.contains("a line of the log"), "{errors}");
}

/// A failed build does not end the program. What was asked for behind it and is not there does.
#[tokio::test]
async fn a_failed_build_is_told_though_its_outputs_were_asked_for() {
    for daemon in Daemon::all() {
        within(async {
            let (mut client, program) = Program::start(&daemon, None);
            let settings = BuildSettings::default();
            let script = "echo all is lost; exit 3";
            let (build, out) = build(&daemon, "lost", script, [].into(), &settings);
            let build = client.queue(&build).await.expect("queued");
            let infos = QueryPathInfos {
                paths: [out.clone()].into(),
            };
            let infos = client.queue(&infos).await.expect("queued");
            let dump = client.queue(&DumpStorePath { path: out.clone() }).await;
            let dump = dump.expect("queued");
            let after = client.queue(&valid([out])).await.expect("queued");
            let result = client.reply(build).await.expect("it answers");
            assert_eq!(result.status, BuildStatus::PermanentFailure);
            assert!(!result.error.is_empty());
            assert_eq!(client.reply(infos).await, Ok(vec![]));
            client.reply(dump).await.expect("nothing is in the reply");
            let error = client.raw_chunk().await.expect_err("nothing follows");
            assert!(matches!(error, Error::Closed { .. }), "{error}");
            let error = client.reply(after).await.expect_err("it has ended");
            let Error::Closed { place } = error else {
                panic!("not {error}");
            };
            assert_eq!(place.number, 4);
            let errors = program.errors(client).await;
            assert!(errors.contains("all is lost"), "{errors}");
            // "is not valid", or "is not a valid store path".
            let told = errors.contains("-lost' is not ") && errors.contains("valid");
            assert!(told, "{errors}");
        })
        .await;
    }
}

#[tokio::test]
async fn limits_are_kept() {
    for daemon in Daemon::all() {
        let version = daemon.version().await;
        let ended = async |settings: BuildSettings, script: &str| {
            let (mut client, _program) = Program::start(&daemon, None);
            let (build, _) = build(&daemon, "limited", script, [].into(), &settings);
            let result = within(client.call(&build)).await.expect("it answers");
            let out = client.call(&valid([])).await;
            assert_eq!(out, Ok([].into()), "it goes on");
            result.status
        };
        let timeout = BuildSettings {
            timeout: 1,
            ..BuildSettings::default()
        };
        let noisy = "while true; do echo noise; sleep 0.2; done";
        assert_eq!(
            ended(timeout, noisy).await,
            BuildStatus::TimedOut,
            "{version}"
        );
        let silence = BuildSettings {
            max_silent_time: 1,
            ..BuildSettings::default()
        };
        let silent = "exec sleep 50";
        assert_eq!(
            ended(silence, silent).await,
            BuildStatus::TimedOut,
            "{version}"
        );
        let log = BuildSettings {
            max_log_size: 1000,
            ..BuildSettings::default()
        };
        let endless = "while true; do echo noise; done";
        assert_eq!(
            ended(log, endless).await,
            BuildStatus::LogLimitExceeded,
            "{version}"
        );
    }
}

#[tokio::test]
async fn a_server_older_than_assumed_is_told_apart() {
    for daemon in Daemon::all() {
        let (mut client, _program) = Program::start(&daemon, None);
        let newest = within(client.handshake()).await.expect("it serves");
        let (mut client, _program) = Program::start(&daemon, Some(ServeVersion::NEWEST));
        let settings = BuildSettings::default();
        let (build, _) = build(&daemon, "assumed", "echo > $out", [].into(), &settings);
        let build = client.queue(&build).await.expect("nothing is waited for");
        match within(client.reply(build)).await {
            Ok(_) => assert!(newest.has_keep_failed()),
            Err(error) => {
                let word = 0x200 | u64::from(newest.0);
                let older = Error::Incompatible(Incompatible::OlderThanAssumed(word));
                assert_eq!((error, newest.has_keep_failed()), (older, false));
            }
        }
    }
}

#[tokio::test]
async fn what_is_uploaded_is_measured_and_a_server_that_has_ended_is_noticed() {
    for daemon in Daemon::all() {
        let (mut client, mut program) = Program::start(&daemon, None);
        let nar = file_nar(&vec![7; 5 << 20], false);
        let path = source(&daemon.store_dir, "measured", &nar);
        let add = AddToStoreNar { path };
        let without = client.queue(&add).await.expect_err("its data is missing");
        assert!(matches!(without, Error::Misused(Misuse::WithoutData(_))));
        let mut sending = client.upload(&add).await.expect("begun");
        let (given, left) = (nar.len() as u64 + 1, nar.len() as u64);
        let error = sending.write(&[&nar[..], &[0]].concat()).await;
        assert_eq!(error, Err(Misuse::TooMuchData { given, left }.into()));
        sending.write(&nar[..100]).await.expect("taken");
        program.process.kill().await.expect("it ends");
        let error = within(async {
            let mut pieces = nar[100..].chunks(1 << 10);
            loop {
                let piece = pieces.next().expect("it is noticed before the end");
                if let Err(error) = sending.write(piece).await {
                    return error;
                }
            }
        })
        .await;
        assert!(
            matches!(&error, Error::Closed { place } if place.number == 1),
            "{error}"
        );
        drop(sending);
        let error = client.call(&valid([])).await;
        assert!(matches!(error, Err(Error::Closed { .. })), "{error:?}");

        let (mut client, _program) = Program::start(&daemon, None);
        let sending = client.upload(&add).await.expect("begun");
        let missing = nar.len() as u64;
        let error = sending.finish().expect_err("nothing was sent");
        let because = Some(Misuse::TooLittleData { missing });
        assert!(
            matches!(&error, Error::Abandoned { because: why, .. } if *why == because),
            "{error:?}"
        );
        let error = client.call(&valid([])).await;
        assert!(matches!(error, Err(Error::Abandoned { .. })), "{error:?}");
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
    let error = client.call(&valid([])).await.expect_err("it is no server");
    assert!(
        matches!(error, Error::Incompatible(Incompatible::Magic(_))),
        "{error}"
    );
}

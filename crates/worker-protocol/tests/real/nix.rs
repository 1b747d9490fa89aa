//! Conversations with real nix-daemons, at every version that they can be made to speak.

use std::time::Duration;

use crate::daemon::{Daemon, DaemonClient, file_nar, source};
use store_path::StorePath;
use tokio::time::timeout;
use worker_protocol::client::Options;
use worker_protocol::operation::{
    AddMultipleToStore, AddSignatures, AddTempRoot, AddToStoreNar, BuildDerivation, BuildPaths,
    BuildPathsWithResults, EnsurePath, IsValidPath, NarFromPath, QueryMissing, QueryPathInfo,
    QueryRealisation, QueryReferrers, QueryValidPaths, SetOptions,
};
use worker_protocol::{
    BasicDerivation, BasicOutput, BuildMode, BuildStatus, DerivedPath, Error, Log, Version,
};

/// Of the daemon that tests run with: 2.8 speaks 1.34, newer ones more.
fn versions(newest: Version) -> impl Iterator<Item = Version> {
    (18..=newest.minor()).map(Version::nix)
}

async fn within<T>(work: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(60), work)
        .await
        .expect("no conversation takes a minute")
}

async fn daemons() -> Vec<(Daemon, Version)> {
    let mut daemons = Vec::new();
    for daemon in Daemon::all() {
        let newest = newest(&daemon).await;
        daemons.push((daemon, newest));
    }
    daemons
}

async fn newest(daemon: &Daemon) -> Version {
    let (mut client, _child) = daemon.connect(Options {
        version: Version::NIX_NEWEST,
        ..Options::nix(daemon.store_dir.clone())
    });
    within(client.handshake(&mut |_| {}))
        .await
        .expect("the handshake succeeds");
    client.version().expect("it is known after the handshake")
}

async fn read_nar(client: &mut DaemonClient, size: usize) -> Vec<u8> {
    let mut nar = Vec::new();
    while nar.len() < size {
        let chunk = client.raw_chunk().await.expect("the archive comes");
        let count = chunk.len().min(size - nar.len());
        nar.extend_from_slice(&chunk[..count]);
        client.consume(count);
    }
    nar
}

fn options(daemon: &Daemon, version: Version, assume: bool) -> Options {
    Options {
        version,
        assume: assume.then_some(version),
        ..Options::nix(daemon.store_dir.clone())
    }
}

/// A derivation whose builder prints a line to its log and writes its output.
fn derivation(daemon: &Daemon, name: &str, script: &str) -> (StorePath, BasicDerivation) {
    let base = format!("{}-{name}", "0".repeat(32));
    let path = StorePath::from_base_name(&format!("{base}.drv")).expect("a good name");
    let out = daemon
        .store_dir
        .print(&StorePath::from_base_name(&base).expect("a good name"));
    let derivation = BasicDerivation {
        outputs: [(
            "out".into(),
            BasicOutput {
                path: out.as_str().into(),
                ..Default::default()
            },
        )]
        .into(),
        platform: "x86_64-linux".into(),
        builder: "/bin/sh".into(),
        arguments: vec!["-c".into(), script.into()],
        environment: [("out".into(), out.into()), ("name".into(), name.into())].into(),
        ..Default::default()
    };
    (path, derivation)
}

#[tokio::test]
async fn a_whole_conversation_in_one_write_at_every_version() {
    for (daemon, newest) in daemons().await {
        for version in versions(newest) {
            for assume in [false, true] {
                within(conversation(&daemon, version, assume)).await;
            }
        }
    }
}

#[expect(
    clippy::too_many_lines,
    reason = "one conversation, from its first word to its last"
)]
async fn conversation(daemon: &Daemon, version: Version, assume: bool) {
    let mut log: Vec<Log> = Vec::new();
    let mut sink = |message| log.push(message);
    let (mut client, _child) = daemon.connect(options(daemon, version, assume));
    let nar = file_nar(format!("{version} {assume}").as_bytes(), false);
    let path = source(
        &daemon.store_dir,
        &format!("source-{version}-{assume}"),
        &nar,
    );
    let missing = StorePath::from_base_name(&format!("{}-missing", "1".repeat(32))).expect("good");

    let set = client.queue(&SetOptions::default()).await.expect("queued");
    let absent = client
        .queue(&IsValidPath {
            path: path.path.clone(),
        })
        .await
        .expect("queued");
    // Tunnelled data is asked for behind the replies to what was sent before.
    let lockstep = version.has_tunnelled_nar() && !version.has_framed_nar();
    if lockstep {
        client.reply(set, &mut sink).await.expect("options are set");
        assert!(!client.reply(absent, &mut sink).await.expect("it answers"));
    }
    let add = AddToStoreNar {
        path: path.clone(),
        repair: false,
        dont_check_signatures: true,
    };
    let mut upload = client.upload(&add).await.expect("begun");
    let (head, tail) = nar.split_at(nar.len() / 3);
    upload.write(head, &mut sink).await.expect("taken");
    upload.write(tail, &mut sink).await.expect("taken");
    let add = upload.finish(&mut sink).await.expect("complete");
    let root = client
        .queue(&AddTempRoot {
            path: path.path.clone(),
        })
        .await
        .expect("queued");
    let info = client
        .queue(&QueryPathInfo {
            path: path.path.clone(),
        })
        .await
        .expect("queued");
    let fetch = client
        .queue(&NarFromPath {
            path: path.path.clone(),
        })
        .await
        .expect("queued");
    let none = client
        .queue(&QueryPathInfo {
            path: missing.clone(),
        })
        .await
        .expect("queued");
    let ensure = client
        .queue(&EnsurePath {
            path: missing.clone(),
        })
        .await
        .expect("queued");
    let paths = [path.path.clone(), missing.clone()].into();
    let valid = client
        .queue(&QueryValidPaths {
            paths,
            substitute: false,
        })
        .await
        .expect("queued");
    let signatures = ["key:c2lnbmF0dXJl".into()].into();
    let sign = AddSignatures {
        path: path.path.clone(),
        signatures,
    };
    let sign = client.queue(&sign).await.expect("queued");
    let info_signed = client
        .queue(&QueryPathInfo {
            path: path.path.clone(),
        })
        .await
        .expect("queued");
    let referrers = client
        .queue(&QueryReferrers {
            path: path.path.clone(),
        })
        .await
        .expect("queued");

    if !lockstep {
        client.reply(set, &mut sink).await.expect("options are set");
        assert!(!client.reply(absent, &mut sink).await.expect("it answers"));
    }
    client.reply(add, &mut sink).await.expect("added");
    client.reply(root, &mut sink).await.expect("rooted");
    let info = client
        .reply(info, &mut sink)
        .await
        .expect("it answers")
        .expect("it is valid");
    assert_eq!(info.nar_hash, path.info.nar_hash, "{version}");
    assert_eq!(info.nar_size, path.info.nar_size);
    assert_eq!(info.content_address, path.info.content_address);
    client.reply(fetch, &mut sink).await.expect("there");
    assert_eq!(read_nar(&mut client, nar.len()).await, nar);
    assert_eq!(
        client.reply(none, &mut sink).await.expect("it answers"),
        None
    );
    let error = client
        .reply(ensure, &mut sink)
        .await
        .expect_err("nothing has it");
    assert!(
        matches!(&error, Error::Remote(error) if !error.message.is_empty()),
        "{error}"
    );
    let valid = client.reply(valid, &mut sink).await.expect("it answers");
    assert_eq!(valid, [path.path.clone()].into());
    client.reply(sign, &mut sink).await.expect("signed");
    let info = client
        .reply(info_signed, &mut sink)
        .await
        .expect("it answers")
        .expect("valid");
    assert!(info.signatures.contains(b"key:c2lnbmF0dXJl".as_slice()));
    assert!(
        client
            .reply(referrers, &mut sink)
            .await
            .expect("it answers")
            .is_empty()
    );
    assert_eq!(client.version(), Some(version));
    assert_eq!(
        client.daemon_version().is_some(),
        version.has_daemon_version()
    );
}

#[tokio::test]
async fn builds_tell_their_log_and_their_result_at_every_version() {
    for (daemon, newest) in daemons().await {
        for version in versions(newest) {
            within(build(&daemon, version)).await;
            eprintln!("built with a daemon of {newest} at {version}");
        }
    }
}

async fn build(daemon: &Daemon, version: Version) {
    let mut log: Vec<Log> = Vec::new();
    let (mut client, _child) = daemon.connect(options(daemon, version, false));
    client
        .call(&SetOptions::default(), &mut |_| {})
        .await
        .expect("options are set");
    let (path, good) = derivation(
        daemon,
        &format!("good-{version}"),
        "echo a line of the log; echo hi > $out",
    );
    let (bad_path, bad) = derivation(daemon, &format!("bad-{version}"), "exit 3");
    let good = BuildDerivation {
        path,
        derivation: good,
        mode: BuildMode::Normal,
    };
    let bad = BuildDerivation {
        path: bad_path,
        derivation: bad,
        mode: BuildMode::Normal,
    };
    let good_ticket = client.queue(&good).await.expect("queued");
    let bad_ticket = client.queue(&bad).await.expect("queued");
    let again_ticket = client.queue(&good).await.expect("queued");
    let result = client
        .reply(good_ticket, &mut |message| log.push(message))
        .await
        .expect("it answers");
    assert_eq!(
        result.status,
        BuildStatus::Built,
        "{version}: {}",
        result.error
    );
    if version.has_build_times() {
        // 2.34.8 leaves them all at 0.
        assert!(result.times_built <= 1, "{version}");
        assert!(result.times_built == 0 || result.start_time > 1_600_000_000);
        assert!(result.stop_time >= result.start_time);
    }
    let told = log
        .iter()
        .any(|message| format!("{message:?}").contains("a line of the log"));
    assert!(told || !version.has_activities(), "{version}: {log:?}");
    let result = client
        .reply(bad_ticket, &mut |_| {})
        .await
        .expect("it answers");
    assert_eq!(result.status, BuildStatus::PermanentFailure);
    assert!(!result.error.is_empty());
    let result = client
        .reply(again_ticket, &mut |_| {})
        .await
        .expect("it answers");
    assert_eq!(result.status, BuildStatus::AlreadyValid);
}

#[tokio::test]
async fn many_paths_in_one_upload_and_a_build_queued_behind_it() {
    for (daemon, newest) in daemons().await {
        if !newest.has_add_multiple_to_store() {
            eprintln!("LEFT OUT: this nix-daemon has no AddMultipleToStore");
            continue;
        }
        within(async {
            let mut sink = |_| {};
            let (mut client, _child) =
                daemon.connect(options(&daemon, newest.min(Version::nix(37)), true));
            let big = vec![7; 3 << 20];
            let nars: Vec<Vec<u8>> = (0..20)
                .map(|n| file_nar(if n == 11 { &big } else { b"small" }, n % 2 == 0))
                .collect();
            let paths: Vec<_> = nars
                .iter()
                .enumerate()
                .map(|(n, nar)| source(&daemon.store_dir, &format!("many-{n}"), nar))
                .collect();
            let add = AddMultipleToStore {
                repair: false,
                dont_check_signatures: true,
            };
            let mut upload = client.upload_multiple(&add, 20).await.expect("begun");
            for (path, nar) in paths.iter().zip(&nars) {
                upload.path(path).expect("its turn");
                for piece in nar.chunks(100_000) {
                    upload.write(piece, &mut sink).await.expect("taken");
                }
            }
            let add = upload.finish(&mut sink).await.expect("complete");
            let (path, mut derivation) = derivation(
                &daemon,
                "behind",
                &format!("cat {} > $out", daemon.store_dir.print(&paths[3].path)),
            );
            derivation.input_sources = paths.iter().map(|path| path.path.clone()).collect();
            derivation
                .environment
                .insert("PATH".into(), "/bin:/usr/bin".into());
            let build = BuildDerivation {
                path,
                derivation,
                mode: BuildMode::Normal,
            };
            let build = client.queue(&build).await.expect("queued");
            let all = paths.iter().map(|path| path.path.clone()).collect();
            let valid = QueryValidPaths {
                paths: all,
                substitute: false,
            };
            let valid = client.queue(&valid).await.expect("queued");
            let fetch = client
                .queue(&NarFromPath {
                    path: paths[11].path.clone(),
                })
                .await
                .expect("queued");
            client.flush().await.expect("sent");
            client.reply(add, &mut sink).await.expect("added");
            let result = client.reply(build, &mut sink).await.expect("it answers");
            assert_eq!(result.status, BuildStatus::Built, "{}", result.error);
            assert_eq!(
                client
                    .reply(valid, &mut sink)
                    .await
                    .expect("it answers")
                    .len(),
                20
            );
            client.reply(fetch, &mut sink).await.expect("there");
            assert_eq!(read_nar(&mut client, nars[11].len()).await, nars[11]);
            let is_valid = IsValidPath {
                path: paths[0].path.clone(),
            };
            assert!(client.call(&is_valid, &mut sink).await.expect("it answers"));
        })
        .await;
    }
}

#[tokio::test]
async fn a_refused_upload_leaves_the_connection_usable() {
    for (daemon, newest) in daemons().await {
        for version in versions(newest).filter(|version| version.has_tunnelled_nar()) {
            within(async {
                let (mut client, _child) = daemon.connect(options(&daemon, version, false));
                let nar = file_nar(&vec![1; 5 << 20], false);
                let mut path = source(&daemon.store_dir, "refused", &nar);
                path.info.nar_hash = worker_protocol::NarHash::of(b"something else");
                path.info.content_address = None;
                let add =
                    AddToStoreNar { path: path.clone(), repair: false, dont_check_signatures: true };
                let result = async {
                    let mut upload = client.upload(&add).await?;
                    for piece in nar.chunks(1 << 16) {
                        upload.write(piece, &mut |_| {}).await?;
                    }
                    let ticket = upload.finish(&mut |_| {}).await?;
                    client.reply(ticket, &mut |_| {}).await
                }
                .await;
                let error = result.expect_err("the hash is wrong");
                assert!(
                    matches!(&error, Error::Remote(error) if error.message.to_string().contains("hash mismatch")),
                    "{version}: {error}"
                );
                let valid = IsValidPath { path: path.path };
                assert_eq!(client.call(&valid, &mut |_| {}).await, Ok(false), "{version}");
            })
            .await;
        }
    }
}

#[tokio::test]
async fn a_daemon_older_than_assumed_fails_every_request_in_a_typed_way() {
    for (daemon, newest) in daemons().await {
        if newest >= Version::nix(37) {
            eprintln!("LEFT OUT: this nix-daemon is as new as what can be assumed");
            continue;
        }
        within(async {
            let (mut client, _child) = daemon.connect(options(&daemon, Version::nix(37), true));
            let path = StorePath::from_base_name(&format!("{}-x", "1".repeat(32))).expect("good");
            let first = client
                .queue(&IsValidPath { path: path.clone() })
                .await
                .expect("queued");
            let second = client.queue(&EnsurePath { path }).await.expect("queued");
            let error = Error::AssumedTooMuch {
                assumed: Version::nix(37),
                daemon: newest,
            };
            assert_eq!(client.reply(first, &mut |_| {}).await, Err(error.clone()));
            assert_eq!(
                client.reply(second, &mut |_| {}).await.map(|_| ()),
                Err(error)
            );
        })
        .await;
    }
}

#[tokio::test]
async fn derived_paths_and_realisations() {
    for (daemon, newest) in daemons().await {
        for version in versions(newest) {
            within(async {
                let mut sink = |_| {};
                let (mut client, _child) = daemon.connect(options(&daemon, version, false));
                let absent =
                    StorePath::from_base_name(&format!("{}-absent", "1".repeat(32))).expect("good");
                let targets = vec![DerivedPath::Opaque(absent.clone())];
                if version.has_query_missing() {
                    let missing = QueryMissing {
                        targets: targets.clone(),
                    };
                    let missing = client.call(&missing, &mut sink).await.expect("it answers");
                    assert_eq!(missing.unknown, [absent.clone()].into());
                }
                let build = BuildPaths {
                    targets: targets.clone(),
                    mode: BuildMode::Normal,
                };
                assert!(matches!(
                    client.call(&build, &mut sink).await,
                    Err(Error::Remote(_))
                ));
                if version.has_build_paths_with_results() {
                    let build = BuildPathsWithResults {
                        targets: targets.clone(),
                        mode: BuildMode::Normal,
                    };
                    let results = client.call(&build, &mut sink).await.expect("it answers");
                    assert_eq!(results.len(), 1);
                    assert_eq!(results[0].0, targets[0]);
                    assert!(!results[0].1.status.is_success());
                }
                if version.has_realisations() {
                    let derivation_hash = store_path::HashAlgorithm::Sha256.hash(b"no derivation");
                    let output = worker_protocol::DrvOutput {
                        derivation_hash,
                        output: "out".into(),
                    };
                    let query = QueryRealisation { output };
                    assert_eq!(
                        client.call(&query, &mut sink).await,
                        Ok(vec![]),
                        "{version}"
                    );
                }
                let valid = IsValidPath { path: absent };
                assert_eq!(client.call(&valid, &mut sink).await, Ok(false), "{version}");
            })
            .await;
        }
    }
}

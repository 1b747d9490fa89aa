//! Every operation that is safe to call, at every version of every nix-daemon, and then another one.

use std::collections::BTreeMap;
use std::time::Duration;

use store_path::{ContentAddressMethod, HashAlgorithm, StorePath};
use tokio::process::Child;
use tokio::time::timeout;
use worker_protocol::client::Options;
use worker_protocol::export::{self, Trailer};
use worker_protocol::operation::{
    AddBuildLog, AddIndirectRoot, AddPermRoot, AddTempRoot, AddTextToStore, AddToStore,
    CollectGarbage, EnsurePath, ExportPath, FindRoots, GarbageAction, HasSubstitutes, ImportPaths,
    IsValidPath, Obsolete, Operation, OptimiseStore, QueryAllValidPaths, QueryDerivationOutputMap,
    QueryDerivationOutputNames, QueryDerivationOutputs, QueryDeriver, QueryPathFromHashPart,
    QueryPathHash, QueryPathInfo, QueryReferences, QueryReferrers, QuerySubstitutablePathInfo,
    QuerySubstitutablePathInfos, QuerySubstitutablePaths, QueryValidDerivers, RegisterDrvOutput,
    SyncWithGC, UploadOperation, VerifyStore,
};
use worker_protocol::wire::Decoder;
use worker_protocol::{Done, DrvOutput, Error, Realisation, Value, Version};

use crate::daemon::{Daemon, DaemonClient, file_nar};

async fn within<T>(work: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(60), work)
        .await
        .expect("no conversation takes a minute")
}

/// One connection, made anew when the daemon has ended it.
struct Peer<'a> {
    daemon: &'a Daemon,
    version: Version,
    client: DaemonClient,
    process: Child,
}

impl Peer<'_> {
    fn new(daemon: &Daemon, version: Version) -> Peer<'_> {
        let options = Options {
            version,
            ..Options::nix(daemon.store_dir.clone())
        };
        let (client, process) = daemon.connect(options);
        Peer {
            daemon,
            version,
            client,
            process,
        }
    }

    async fn reconnect(&mut self) {
        self.process.kill().await.expect("it ends");
        *self = Peer::new(self.daemon, self.version);
    }

    /// Calls an operation, then another one; nothing where this daemon has dropped the operation.
    async fn call<O: Operation>(&mut self, operation: O) -> Option<O::Reply> {
        let reply = self.client.call(&operation, &mut |_| {}).await;
        self.check(O::NAME, reply).await
    }

    async fn check<T>(&mut self, name: &str, reply: Result<T, Error>) -> Option<T> {
        let version = self.version;
        match reply {
            Err(Error::Remote(error)) if error.to_string().contains("invalid operation") => {
                eprintln!("{name} at {version}: {error}");
                self.reconnect().await;
                None
            }
            Err(Error::Unsupported { .. }) => None,
            Err(error) => panic!("{name} at {version}: {error}"),
            Ok(reply) => {
                let absent = IsValidPath {
                    path: path("another"),
                };
                let another = self.client.call(&absent, &mut |_| {}).await;
                assert_eq!(another, Ok(false), "after {name} at {version}");
                Some(reply)
            }
        }
    }

    async fn upload<O: UploadOperation>(&mut self, operation: O, data: &[u8]) -> Option<O::Reply> {
        let log = &mut |_| {};
        let client = &mut self.client;
        let reply = async {
            let mut upload = client.upload(&operation).await?;
            upload.write(data, log).await?;
            let ticket = upload.finish(log).await?;
            client.reply(ticket, log).await
        };
        let reply = reply.await;
        self.check(O::NAME, reply).await
    }

    async fn add_text(&mut self, name: &str, contents: &str) -> StorePath {
        let (name, contents) = (name.into(), contents.into());
        let text = AddTextToStore {
            name,
            contents,
            references: [].into(),
        };
        self.call(text).await.expect("all daemons have it")
    }
}

fn path(name: &str) -> StorePath {
    StorePath::from_base_name(&format!("{}-{name}", "1".repeat(32))).expect("a good name")
}

#[tokio::test]
async fn every_operation_and_then_another_one() {
    for daemon in Daemon::all() {
        let mut peer = Peer::new(&daemon, Version::NIX_NEWEST);
        within(peer.client.handshake(&mut |_| {}))
            .await
            .expect("a handshake");
        let newest = peer.client.version().expect("it is agreed on").minor();
        // Where layouts change; the versions between are covered by the other conversations.
        for minor in [18, 21, 25, 27, 31, 34, 37, 38] {
            if minor <= newest {
                let mut peer = Peer::new(&daemon, Version::nix(minor));
                within(add(&mut peer)).await;
                within(queries(&mut peer)).await;
                within(maintenance(&mut peer)).await;
                within(transport(&mut peer)).await;
            }
        }
    }
}

/// All ways to hash what is added.
async fn add(peer: &mut Peer<'_>) {
    let (daemon, version) = (peer.daemon, peer.version);
    let contents = format!("contents {version}");
    let nar = file_nar(contents.as_bytes(), false);
    for method in [
        ContentAddressMethod::Flat,
        ContentAddressMethod::Recursive,
        ContentAddressMethod::Text,
    ] {
        for algorithm in [HashAlgorithm::Sha1, HashAlgorithm::Sha256] {
            let text = method == ContentAddressMethod::Text;
            if text && (algorithm == HashAlgorithm::Sha1 || !version.has_framed_add()) {
                continue;
            }
            let references = [].into();
            let add = AddToStore {
                name: "added".into(),
                method,
                algorithm,
                references,
                repair: false,
            };
            let framed = version.has_framed_add();
            let whole = !framed || method == ContentAddressMethod::Recursive;
            let data = if whole { &nar[..] } else { contents.as_bytes() };
            let added = peer.upload(add, data).await.expect("all daemons have it");
            assert_eq!(added.info.is_some(), framed);
            let hash = algorithm.hash(if method == ContentAddressMethod::Recursive {
                &nar
            } else {
                contents.as_bytes()
            });
            let address = store_path::ContentAddress { method, hash };
            let expected =
                daemon
                    .store_dir
                    .make_content_addressed_path("added", &address, [], false);
            assert_eq!(Ok(added.path.clone()), expected);
            assert_eq!(
                peer.call(IsValidPath { path: added.path }).await,
                Some(true)
            );
        }
    }
}

async fn queries(peer: &mut Peer<'_>) {
    let (daemon, version) = (peer.daemon, peer.version);
    let file = peer.add_text("text", &format!("text {version}")).await;
    let info = peer.call(QueryPathInfo { path: file.clone() }).await;
    let info = info.flatten().expect("it is valid");
    let hash = peer.call(QueryPathHash { path: file.clone() }).await;
    assert!(hash.is_none_or(|hash| hash == info.nar_hash));
    let references = peer.call(QueryReferences { path: file.clone() }).await;
    assert!(references.is_none_or(|paths| paths.is_empty()));
    let referrers = peer.call(QueryReferrers { path: file.clone() }).await;
    assert_eq!(referrers, Some([].into()));
    let deriver = peer.call(QueryDeriver { path: file.clone() }).await;
    assert!(deriver.is_none_or(|deriver| deriver.is_none()));
    let derivers = peer.call(QueryValidDerivers { path: file.clone() }).await;
    assert_eq!(derivers, Some([].into()));
    let part = QueryPathFromHashPart {
        hash_part: file.hash_part().into(),
    };
    assert_eq!(peer.call(part).await, Some(Some(file.clone())));
    let all = peer.call(QueryAllValidPaths {}).await.expect("it answers");
    assert!(all.contains(&file));

    let missing = path("missing");
    let has = peer
        .call(HasSubstitutes {
            path: missing.clone(),
        })
        .await;
    assert!(has.is_none_or(|has| !has));
    let paths = QuerySubstitutablePaths {
        paths: [missing.clone()].into(),
    };
    assert_eq!(peer.call(paths).await, Some([].into()));
    let one = QuerySubstitutablePathInfo {
        path: missing.clone(),
    };
    assert!(peer.call(one).await.is_none_or(|info| info.is_none()));
    let many = QuerySubstitutablePathInfos {
        paths: [(missing, None)].into(),
    };
    assert_eq!(peer.call(many).await, Some(vec![]));

    let out = daemon.store_dir.make_fixed_output_path(
        "fixed",
        &store_path::ContentAddress {
            method: ContentAddressMethod::Flat,
            hash: HashAlgorithm::Sha256.hash(b"never built"),
        },
    );
    let out = out.expect("a good name");
    let printed = daemon.store_dir.print(&out);
    let digits = HashAlgorithm::Sha256
        .hash(b"never built")
        .digits(store_path::HashFormat::Base16);
    let drv = format!(
        "Derive([(\"out\",\"{printed}\",\"sha256\",\"{digits}\")],[],[],\"x86_64-linux\",\"/bin/sh\",[],\
         [(\"builder\",\"/bin/sh\"),(\"name\",\"fixed\"),(\"out\",\"{printed}\"),\
         (\"outputHash\",\"{digits}\"),(\"outputHashAlgo\",\"sha256\"),(\"outputHashMode\",\"flat\"),\
         (\"system\",\"x86_64-linux\")])"
    );
    let drv = peer.add_text("fixed.drv", &drv).await;
    let outputs = peer
        .call(QueryDerivationOutputs { path: drv.clone() })
        .await;
    assert!(outputs.is_none_or(|outputs| outputs == [out.clone()].into()));
    let names = peer
        .call(QueryDerivationOutputNames { path: drv.clone() })
        .await;
    assert!(names.is_none_or(|names| names == ["out"]));
    let map = peer
        .call(QueryDerivationOutputMap { path: drv.clone() })
        .await;
    assert_eq!(map.is_some(), version.has_output_map());
    assert!(map.is_none_or(|map| map == BTreeMap::from([("out".into(), Some(out))])));
}

#[expect(
    clippy::too_many_lines,
    reason = "one conversation, from its first word to its last"
)]
async fn maintenance(peer: &mut Peer<'_>) {
    let (daemon, version) = (peer.daemon, peer.version);
    let file = peer.add_text("kept", &format!("kept {version}")).await;
    assert_eq!(
        peer.call(EnsurePath { path: file.clone() }).await,
        Some(Done)
    );
    assert_eq!(
        peer.call(AddTempRoot { path: file.clone() }).await,
        Some(Done)
    );
    assert!(
        peer.call(SyncWithGC {})
            .await
            .is_none_or(|done| done == Done)
    );
    let (outside, inside) = daemon.shared();
    let (link, target) = (outside.join("link"), daemon.store_dir.print(&file));
    let _ = std::fs::remove_file(&link);
    std::os::unix::fs::symlink(&target, &link).expect("a link");
    let link = inside
        .join("link")
        .to_str()
        .expect("it is UTF-8")
        .to_owned();
    let indirect = AddIndirectRoot {
        link: link.as_str().into(),
    };
    assert_eq!(peer.call(indirect).await, Some(Done));
    let roots = peer.call(FindRoots {}).await.expect("it answers");
    assert!(
        roots.iter().any(|(from, to)| *from == *link && *to == file),
        "{version}: {roots:?}"
    );
    if version.has_add_perm_root() {
        let link = inside
            .join("permanent")
            .to_str()
            .expect("it is UTF-8")
            .to_owned();
        let add = AddPermRoot {
            path: file.clone(),
            link: link.as_str().into(),
        };
        assert_eq!(peer.call(add).await, Some(link.as_str().into()));
    }
    let collect = |action, paths| CollectGarbage {
        action,
        paths,
        ignore_liveness: false,
        max_freed: u64::MAX,
        obsolete: [Obsolete; 3],
    };
    let live = peer.call(collect(GarbageAction::ReturnLive, vec![])).await;
    let live = live.expect("it answers").paths;
    assert!(
        live.iter().any(|path| *path == *target),
        "{version}: {live:?}"
    );
    let garbage = peer
        .add_text("garbage", &format!("garbage {version}"))
        .await;
    // What a connection added is in use while it lasts.
    peer.reconnect().await;
    let delete = collect(GarbageAction::DeleteSpecific, vec![garbage.clone()]);
    let deleted = peer.call(delete).await.expect("it answers");
    assert!(
        deleted
            .paths
            .contains(&daemon.store_dir.print(&garbage).into()),
        "{deleted:?}"
    );
    assert_eq!(peer.call(IsValidPath { path: garbage }).await, Some(false));
    assert_eq!(peer.call(OptimiseStore {}).await, Some(Done));
    let verify = VerifyStore {
        check_contents: true,
        repair: false,
    };
    assert_eq!(peer.call(verify).await, Some(false));
    if version.has_realisations() {
        let derivation_hash = HashAlgorithm::Sha256.hash(version.to_string().as_bytes());
        let id = DrvOutput {
            derivation_hash,
            output: "out".into(),
        };
        let realisation = Realisation::new(id, file.clone());
        peer.call(RegisterDrvOutput { realisation })
            .await
            .expect("it registers");
    }
}

/// Data before and behind the reply.
async fn transport(peer: &mut Peer<'_>) {
    let version = peer.version;
    let file = peer.add_text("sent", &format!("sent {version}")).await;
    let nar = file_nar(format!("sent {version}").as_bytes(), false);
    let export = ExportPath {
        path: file.clone(),
        sign: false,
    };
    let ticket = peer.client.queue(&export).await.expect("queued");
    let mut data = Vec::new();
    let log = &mut |_| {};
    let reply = peer
        .client
        .reply_with_data(ticket, log, &mut |block| data.extend(block))
        .await;
    if peer.check("ExportPath", reply).await.is_some() {
        assert_eq!(&data[..nar.len()], nar);
        let mut decoder = Decoder::new(&data[nar.len()..]);
        let trailer = Trailer::decode(&mut decoder, peer.client.context()).expect("it is one");
        assert_eq!((trailer.path, trailer.signature), (file.clone(), None));
        decoder.finish().expect("nothing follows");
        let mut stream = Vec::new();
        export::encode_next(&mut stream, true);
        stream.extend_from_slice(&data);
        export::encode_next(&mut stream, false);
        assert_eq!(
            peer.upload(ImportPaths {}, &stream).await,
            Some(vec![file.clone()])
        );
    }
    if version.has_add_build_log() {
        let path = path(&format!("logged-{version}.drv"));
        assert_eq!(
            peer.upload(AddBuildLog { path }, b"a line\n").await,
            Some(Done)
        );
    }
    assert_eq!(peer.call(IsValidPath { path: file }).await, Some(true));
}

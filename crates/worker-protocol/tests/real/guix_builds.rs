//! Builds by real guix-daemons, and what is built signed and sent from one to another.

use std::num::NonZero;
use std::time::Duration;

use derivation::{DerivationFile, ModuloMemo};
use store_path::{ContentAddressMethod, HashAlgorithm, StoreDir, StorePath};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::timeout;
use worker_protocol::client::{Client, Options};
use worker_protocol::export;
use worker_protocol::operation::{
    AddIndirectRoot, AddTextToStore, AddToStore, BuildPaths, ExportPath, FindRoots, ImportPaths,
    IsValidPath, QueryDerivationOutputNames, QueryDerivationOutputs, QueryDeriver, QueryPathInfo,
    QueryReferrers, QueryValidDerivers, SetOptions,
};
use worker_protocol::{BuildMode, DerivedPath, Done, Error, Log, Outputs};

use crate::daemon::{GuixDaemon, file_nar};

pub(crate) type GuixClient = Client<OwnedReadHalf, OwnedWriteHalf>;

async fn within<T>(work: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(60), work)
        .await
        .expect("no conversation takes a minute")
}

/// A derivation in the store, with its only output.
pub(crate) struct Built {
    pub(crate) derivation: StorePath,
    pub(crate) out: StorePath,
    pub(crate) text: String,
    /// The program that builds it. 1.5.0 takes none from outside of the store.
    builder: StorePath,
}

impl Built {
    /// What the derivation of a build by `builder` is.
    pub(crate) fn new(name: &str, builder: &StorePath) -> Built {
        let dir = StoreDir::GUIX;
        let builder_text = dir.print(builder);
        let text = |out: &str| {
            format!(
                "Derive([(\"out\",\"{out}\",\"\",\"\")],[],[\"{builder_text}\"],\"x86_64-linux\",\
                 \"{builder_text}\",[],[(\"name\",\"{name}\"),(\"out\",\"{out}\")])"
            )
        };
        let unnamed = text("");
        let file = DerivationFile::parse(&dir, unnamed.as_bytes()).expect("a derivation");
        let paths = file.output_paths(name, &ModuloMemo::new(dir.clone()));
        let out = paths.expect("no inputs").remove("out").flatten();
        let out = out.expect("it is known");
        let text = text(&dir.print(&out));
        let file = DerivationFile::parse(&dir, text.as_bytes()).expect("a derivation");
        let derivation = file.store_path(&dir, name).expect("a good name");
        Built {
            derivation,
            out,
            builder: builder.clone(),
            text,
        }
    }

    /// Adds a derivation whose builder is `script`.
    pub(crate) async fn add(client: &mut GuixClient, name: &str, script: &str) -> Built {
        let log = &mut |_| {};
        let add = AddToStore {
            name: format!("{name}-builder").as_str().into(),
            method: ContentAddressMethod::Recursive,
            algorithm: HashAlgorithm::Sha256,
            references: [].into(),
            repair: false,
        };
        let nar = file_nar(format!("#!/bin/sh\n{script}\n").as_bytes(), true);
        let mut upload = client.upload(&add).await.expect("begun");
        upload.write(&nar, log).await.expect("taken");
        let ticket = upload.finish(log).await.expect("complete");
        let builder = client.reply(ticket, log).await.expect("added").path;
        let built = Built::new(name, &builder);
        let add = AddTextToStore {
            name: format!("{name}.drv").as_str().into(),
            contents: built.text.as_str().into(),
            references: [builder].into(),
        };
        let added = client.call(&add, log).await;
        assert_eq!(added, Ok(built.derivation.clone()), "{}", built.text);
        built
    }

    fn targets(&self) -> [DerivedPath; 2] {
        let outputs = Outputs::Names(["out".into()].into());
        let derivation = self.derivation.clone();
        [
            DerivedPath::all_outputs(derivation.clone()),
            DerivedPath::Built {
                derivation,
                outputs,
            },
        ]
    }
}

pub(crate) async fn connect(daemon: &GuixDaemon) -> GuixClient {
    let mut client = daemon.connect(Options::guix(StoreDir::GUIX)).await;
    let log = &mut |_| {};
    let set = client.call(&SetOptions::default(), log).await;
    set.expect("options are set");
    client
}

#[tokio::test]
async fn a_build_tells_its_log_and_its_failure() {
    for daemon in GuixDaemon::all().await {
        within(build(&daemon)).await;
    }
}

async fn build(daemon: &GuixDaemon) {
    let mut client = connect(daemon).await;
    let script = "echo a line of the log; echo \"$0\" > \"$out\"";
    let good = Built::add(&mut client, "good", script).await;
    let mut lines = Vec::new();
    for target in good.targets() {
        let build = BuildPaths {
            targets: vec![target],
            mode: BuildMode::Normal,
        };
        let log = &mut |message| lines.push(message);
        let built = client.call(&build, log).await;
        assert_eq!(built, Ok(Done), "{lines:?}");
    }
    let line = Log::Next("a line of the log\n".into());
    assert!(lines.contains(&line), "{lines:?}");
    let log = &mut |_| {};
    let path = || good.derivation.clone();
    let outputs = QueryDerivationOutputs { path: path() };
    let outputs = client.call(&outputs, log).await;
    assert_eq!(outputs, Ok([good.out.clone()].into()));
    let names = QueryDerivationOutputNames { path: path() };
    let names = client.call(&names, log).await;
    assert_eq!(names, Ok(vec!["out".into()]));
    let path = || good.out.clone();
    let info = client.call(&QueryPathInfo { path: path() }, log).await;
    let info = info.expect("it answers").expect("it is valid");
    assert_eq!(info.deriver, Some(good.derivation.clone()));
    assert_eq!(info.references, [good.builder.clone()].into());
    let deriver = client.call(&QueryDeriver { path: path() }, log).await;
    assert_eq!(deriver, Ok(Some(good.derivation.clone())));
    let derivers = QueryValidDerivers { path: path() };
    let derivers = client.call(&derivers, log).await;
    assert_eq!(derivers, Ok([good.derivation.clone()].into()));
    let path = good.builder.clone();
    let referrers = client.call(&QueryReferrers { path }, log).await;
    let both = [good.derivation.clone(), good.out.clone()];
    assert_eq!(referrers, Ok(both.into()));

    let bad = Built::add(&mut client, "bad", "echo no; exit 3").await;
    let build = BuildPaths {
        targets: bad.targets().into(),
        mode: BuildMode::Normal,
    };
    let Err(Error::Remote(error)) = client.call(&build, log).await else {
        panic!("a build that fails");
    };
    assert_eq!(error.status, NonZero::new(100), "{error}");
    let path = bad.out.clone();
    let valid = client.call(&IsValidPath { path }, log).await;
    assert_eq!(valid, Ok(false));
    root(daemon, &mut client, &good.out).await;
}

async fn root(daemon: &GuixDaemon, client: &mut GuixClient, out: &StorePath) {
    let log = &mut |_| {};
    let link = daemon.shared().0.join("link");
    std::os::unix::fs::symlink(StoreDir::GUIX.print(out), link).expect("a link");
    let link = "/run/peer/link";
    let indirect = AddIndirectRoot { link: link.into() };
    assert_eq!(client.call(&indirect, log).await, Ok(Done));
    let roots = client.call(&FindRoots {}, log).await.expect("it answers");
    let root = (link.into(), out.clone());
    assert!(roots.contains(&root), "{roots:?}");
    let path = out.clone();
    let valid = client.call(&IsValidPath { path }, log).await;
    assert_eq!(valid, Ok(true));
}

/// From each to each: a path with a reference, signed by one and taken in by another.
#[tokio::test]
async fn what_one_daemon_signs_another_takes_in() {
    let (from, to) = (GuixDaemon::all().await, GuixDaemon::all().await);
    for from in &from {
        guix(from, "guix archive --generate-key").await;
        let key = guix(from, "cat /etc/guix/signing-key.pub").await;
        let mut client = connect(from).await;
        let built = Built::add(&mut client, "sent", "echo \"$0\" > \"$out\"").await;
        let log = &mut |_| {};
        let build = BuildPaths {
            targets: built.targets().into(),
            mode: BuildMode::Normal,
        };
        within(client.call(&build, log)).await.expect("built");
        let stream = signed_export(&mut client, [&built.builder, &built.out]).await;
        for to in &to {
            let (shared, _) = to.shared();
            std::fs::write(shared.join("key"), &key).expect("a file");
            guix(to, "guix archive --authorize < /run/peer/key").await;
            within(import(to, &built, &stream)).await;
            let versions = [from.version().await, to.version().await];
            eprintln!("signed by {}, taken in by {}", versions[0], versions[1]);
        }
    }
}

async fn signed_export(client: &mut GuixClient, paths: [&StorePath; 2]) -> Vec<u8> {
    let mut stream = Vec::new();
    for path in paths {
        export::encode_next(&mut stream, true);
        let export = ExportPath {
            path: path.clone(),
            sign: true,
        };
        let ticket = client.queue(&export).await.expect("queued");
        let (log, data) = (&mut |_| {}, &mut |block: Vec<u8>| stream.extend(block));
        let exported = client.reply_with_data(ticket, log, data);
        assert_eq!(within(exported).await, Ok(Done));
    }
    export::encode_next(&mut stream, false);
    stream
}

async fn import(daemon: &GuixDaemon, built: &Built, stream: &[u8]) {
    let log = &mut |_| {};
    let mut client = connect(daemon).await;
    let path = built.out.clone();
    // The second of two signers finds the path there.
    let mut changed = stream.to_vec();
    let place = changed.len() / 2;
    changed[place] ^= 1;
    let refused = send(&mut client, &changed)
        .await
        .expect_err("it is changed");
    assert!(matches!(refused, Error::Remote(_)), "{refused}");
    let mut client = connect(daemon).await;
    let imported = send(&mut client, stream).await;
    let paths = vec![built.builder.clone(), built.out.clone()];
    assert_eq!(imported, Ok(paths));
    let info = client.call(&QueryPathInfo { path }, log).await;
    let info = info.expect("it answers").expect("it is valid");
    assert_eq!(info.references, [built.builder.clone()].into());
}

async fn send(client: &mut GuixClient, stream: &[u8]) -> Result<Vec<StorePath>, Error> {
    let log = &mut |_| {};
    let mut upload = client.upload(&ImportPaths {}).await?;
    for piece in stream.chunks(10_000) {
        upload.write(piece, log).await?;
    }
    let ticket = upload.finish(log).await?;
    client.reply(ticket, log).await
}

/// What a shell command prints on a daemon's machine.
pub(crate) async fn guix(daemon: &GuixDaemon, command: &str) -> String {
    let output = daemon.command(&["sh", "-c", command]).output();
    let output = within(output).await.expect("it starts");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command}: {errors}");
    String::from_utf8(output.stdout).expect("it prints UTF-8")
}

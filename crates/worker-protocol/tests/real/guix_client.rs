//! Real guix clients with the server half.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use store_path::{StoreDir, StorePath};
use tokio::net::UnixListener;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::timeout;
use worker_protocol::export;
use worker_protocol::operation::{
    AddIndirectRoot, AddTempRoot, AddTextToStore, AddToStore, Added, BuildPaths, BuiltinBuilders,
    ClearFailedPaths, CollectGarbage, Collected, EnsurePath, ExportPath, GarbageAction,
    HasSubstitutes, ImportPaths, IsValidPath, OptimiseStore, QueryDerivationOutputs,
    QueryFailedPaths, QueryPathHash, QueryPathInfo, QueryReferences, QueryReferrers,
    QuerySubstitutablePathInfos, QuerySubstitutablePaths, QueryValidDerivers, QueryValidPaths,
    SetOptions, SubstitutableInfo, SyncWithGC, VerifyStore,
};
use worker_protocol::server::{Options, Server};
use worker_protocol::{Done, Error, Log, NarHash, PathInfo, RemoteError, Request};

use crate::daemon::{GuixDaemon, file_nar};
use crate::guix_builds::Built;

type GuixServer = Server<OwnedReadHalf, OwnedWriteHalf>;

fn path(name: &str) -> StorePath {
    StorePath::from_base_name(name).expect("a good name")
}

fn a() -> StorePath {
    path("00000000000000000000000000000000-a")
}

fn b() -> StorePath {
    path("11111111111111111111111111111111-b")
}

/// What a client is told: of `a`, which refers to `b`, and of what it built.
#[derive(Default)]
struct Store {
    built: Vec<StorePath>,
    /// Which derivation has which output.
    derivations: Vec<(StorePath, StorePath)>,
    /// Names of the requests that came.
    heard: Vec<&'static str>,
}

impl Store {
    fn is_valid(&self, path: &StorePath) -> bool {
        [a(), b()].contains(path) || self.built.contains(path)
    }

    fn hear(&mut self, request: &Request) {
        self.heard.push(request.name());
    }

    fn build(&mut self) {
        let outputs = self.derivations.iter().map(|(_, out)| out.clone());
        self.built.extend(outputs);
    }

    fn info() -> PathInfo {
        PathInfo::new(NarHash::of(b""), 5 << 32)
            .with_deriver(path("33333333333333333333333333333333-d.drv"))
            .with_references([b()])
            .with_registration_time(1_600_000_000)
    }
}

/// What `export-path` is answered with: all that is known of its bytes here is how many they are.
const EXPORTED: usize = 100_000;

async fn serve(server: &mut GuixServer, store: &Mutex<Store>) -> Result<(), Error> {
    while let Some(request) = server.next_request().await? {
        store.lock().expect("nothing panics").hear(&request);
        match request {
            Request::AddToStore(add) => add_file(server, add).await?,
            Request::ExportPath(export) => {
                assert_eq!((export.path, export.sign), (a(), false));
                for block in vec![7; EXPORTED].chunks(40_000) {
                    server.data(block).await?;
                }
                server.answer::<ExportPath>(&Done).await?;
            }
            Request::ImportPaths(_) => import(server).await?,
            Request::BuildPaths(build) => {
                let line = Log::Next("a line of the log\n".into());
                server.log(line).await?;
                if format!("{:?}", build.targets).contains("-none") {
                    let error = RemoteError::new("it failed").with_status(100);
                    server.fail(error).await?;
                    continue;
                }
                store.lock().expect("nothing panics").build();
                server.answer::<BuildPaths>(&Done).await?;
            }
            other => answer(server, other, store).await?,
        }
    }
    Ok(())
}

/// The archive stands behind the request; where it ends only who reads archives knows.
async fn add_file(server: &mut GuixServer, add: AddToStore) -> Result<(), Error> {
    let nar = file_nar(b"contents of a file", false);
    let mut came = Vec::new();
    while came.len() < nar.len() {
        let chunk = server.upload_chunk().await?;
        let count = chunk.len().min(nar.len() - came.len());
        came.extend_from_slice(&chunk[..count]);
        server.consume_upload(count);
    }
    server.end_inline_upload();
    assert_eq!((came, &add.name[..]), (nar, &b"file"[..]));
    let (path, info) = (b(), None);
    server.answer::<AddToStore>(&Added::new(path, info)).await
}

/// The client is asked for its data, and sends back what it was told. It fails if it is asked for more than it has.
async fn import(server: &mut GuixServer) -> Result<(), Error> {
    let mut expected = Vec::new();
    export::encode_next(&mut expected, true);
    expected.extend([7; EXPORTED]);
    export::encode_next(&mut expected, false);
    let mut came = Vec::new();
    while came.len() < expected.len() {
        let chunk = server.upload_chunk().await?;
        assert!(!chunk.is_empty(), "it ends after {} bytes", came.len());
        came.extend_from_slice(chunk);
        let count = chunk.len();
        server.consume_upload(count);
    }
    assert!(came == expected, "{} bytes came", came.len());
    server.answer::<ImportPaths>(&vec![a()]).await
}

/// Requests without data.
async fn answer(
    server: &mut GuixServer,
    request: Request,
    store: &Mutex<Store>,
) -> Result<(), Error> {
    let valid = |path: &StorePath| store.lock().expect("nothing panics").is_valid(path);
    match request {
        Request::SetOptions(set) => {
            assert_eq!(
                set.settings.contains_key(b"build-timeout".as_slice()),
                set.keep_going
            );
            server.answer::<SetOptions>(&()).await
        }
        Request::IsValidPath(ask) => server.answer::<IsValidPath>(&valid(&ask.path)).await,
        Request::QueryValidPaths(ask) => {
            let valid = ask.paths.into_iter().filter(valid).collect();
            server.answer::<QueryValidPaths>(&valid).await
        }
        Request::QueryPathInfo(ask) if valid(&ask.path) => {
            server.answer::<QueryPathInfo>(&Some(Store::info())).await
        }
        Request::QueryPathInfo(_) => server.fail(RemoteError::new("it is not valid")).await,
        Request::QueryPathHash(_) => {
            server
                .answer::<QueryPathHash>(&Store::info().nar_hash)
                .await
        }
        Request::QueryReferences(ask) => {
            let all = [b()].into_iter().filter(|_| ask.path == a()).collect();
            server.answer::<QueryReferences>(&all).await
        }
        Request::QueryReferrers(_) => server.answer::<QueryReferrers>(&[a()].into()).await,
        Request::QueryValidDerivers(_) => server.answer::<QueryValidDerivers>(&[].into()).await,
        Request::QueryDerivationOutputs(_) => {
            server
                .answer::<QueryDerivationOutputs>(&[a(), b()].into())
                .await
        }
        Request::HasSubstitutes(_) => server.answer::<HasSubstitutes>(&true).await,
        Request::QuerySubstitutablePaths(_) => {
            server
                .answer::<QuerySubstitutablePaths>(&[a()].into())
                .await
        }
        Request::QuerySubstitutablePathInfos(ask) => {
            let asked = ask.paths.into_keys().filter(|path| *path == a());
            let known = asked.map(|path| (path, SubstitutableInfo::default()));
            server
                .answer::<QuerySubstitutablePathInfos>(&known.collect())
                .await
        }
        Request::AddTextToStore(text) => {
            assert_eq!(
                (&text.contents[..], text.references),
                (&b"contents"[..], [a()].into())
            );
            server.answer::<AddTextToStore>(&a()).await
        }
        other => answer_maintenance(server, other).await,
    }
}

async fn answer_maintenance(server: &mut GuixServer, request: Request) -> Result<(), Error> {
    match request {
        Request::AddTempRoot(_) => server.answer::<AddTempRoot>(&Done).await,
        Request::AddIndirectRoot(_) => server.answer::<AddIndirectRoot>(&Done).await,
        Request::EnsurePath(_) => server.answer::<EnsurePath>(&Done).await,
        Request::SyncWithGC(_) => server.answer::<SyncWithGC>(&Done).await,
        Request::CollectGarbage(collect) => {
            let deletes = collect.action == GarbageAction::DeleteSpecific;
            let mut collected = Collected::default();
            collected.paths = vec![StoreDir::GUIX.print(&b()).into()];
            collected.bytes_freed = if deletes { 7 << 32 } else { 0 };

            server.answer::<CollectGarbage>(&collected).await
        }
        Request::OptimiseStore(_) => server.answer::<OptimiseStore>(&Done).await,
        Request::VerifyStore(verify) => server.answer::<VerifyStore>(&verify.check_contents).await,
        Request::QueryFailedPaths(_) => {
            let failed = vec![StoreDir::GUIX.print(&b()).into()];
            server.answer::<QueryFailedPaths>(&failed).await
        }
        Request::ClearFailedPaths(_) => server.answer::<ClearFailedPaths>(&Done).await,
        Request::BuiltinBuilders(_) => {
            server
                .answer::<BuiltinBuilders>(&vec!["download".into()])
                .await
        }
        other => {
            let error = RemoteError::new(format!("no {}", other.name()));
            server.fail(error).await
        }
    }
}

async fn listen(listener: UnixListener, store: Arc<Mutex<Store>>) {
    loop {
        let (stream, _) = listener.accept().await.expect("it listens");
        let (reader, writer) = stream.into_split();
        let mut server = Server::new(reader, writer, Options::guix(StoreDir::GUIX));
        let served = serve(&mut server, &store).await;
        served.expect("a real client speaks the protocol");
    }
}

/// What a shell command prints that has our store for its daemon.
async fn run(daemon: &GuixDaemon, command: &str) -> String {
    let mut command = daemon.command(&["sh", "-c", command]);
    command.env("GUIX_DAEMON_SOCKET", "/run/peer/ours");
    let output = timeout(Duration::from_secs(60), command.output());
    let output = output.await.expect("it does not hang").expect("it starts");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {errors}");
    String::from_utf8(output.stdout).expect("it prints UTF-8")
}

fn ours(shared: &Path) -> (UnixListener, Arc<Mutex<Store>>) {
    let socket = shared.join("ours");
    let _ = std::fs::remove_file(&socket);
    let listener = UnixListener::bind(socket).expect("a socket");
    (listener, Arc::default())
}

#[tokio::test]
async fn guix_says_all_that_it_can_to_a_store_of_ours() {
    for daemon in GuixDaemon::all().await {
        let (shared, _) = daemon.shared();
        let (listener, store) = ours(&shared);
        let server = tokio::spawn(listen(listener, store.clone()));
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/real/guix_client.scm");
        std::fs::copy(script, shared.join("client.scm")).expect("it is part of the crate");
        std::fs::write(shared.join("file"), "contents of a file").expect("a file");
        let printed = run(&daemon, "guix repl /run/peer/client.scm").await;
        insta::assert_snapshot!("guix_client", printed);
        let references = "guix gc --references /gnu/store/00000000000000000000000000000000-a";
        let references = run(&daemon, references).await;
        assert_eq!(references.trim(), StoreDir::GUIX.print(&b()));
        let heard = store.lock().expect("nothing panics").heard.clone();
        eprintln!("{}: {}", daemon.version().await, heard.join(" "));
        server.abort();
    }
}

/// `guix build FILE.drv` reads the file from its disk and asks the store for the rest.
#[tokio::test]
async fn guix_builds_with_a_store_of_ours() {
    for daemon in GuixDaemon::all().await {
        let (shared, files) = daemon.shared();
        let (listener, store) = ours(&shared);
        let built = Built::new("far", &b());
        let printed = StoreDir::GUIX.print(&built.derivation);
        std::fs::create_dir_all(&files).expect("a directory");
        let file = files.join(built.derivation.base_name());
        std::fs::write(file, &built.text).expect("a file");
        let known = (built.derivation.clone(), built.out.clone());
        store
            .lock()
            .expect("nothing panics")
            .derivations
            .push(known);
        let server = tokio::spawn(listen(listener, store.clone()));
        let out = run(
            &daemon,
            &format!("guix build --no-substitutes {printed} 2>&1"),
        )
        .await;
        assert!(out.contains("a line of the log"), "{out}");
        assert!(
            out.trim().ends_with(&StoreDir::GUIX.print(&built.out)),
            "{out}"
        );
        let heard = store.lock().expect("nothing panics").heard.clone();
        eprintln!("{}: {}", daemon.version().await, heard.join(" "));
        assert!(heard.contains(&"BuildPaths"));
        assert!(!server.is_finished(), "it understood everything");
        server.abort();
    }
}

//! Real nix clients with the server half.

use std::fs::File;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use crate::daemon::Daemon;
use crate::store::{self, Paths};
use store_path::{HashFormat, StoreDir};
use tokio::net::UnixListener;
use tokio::net::unix::pipe::{Receiver, Sender};
use tokio::sync::Mutex;
use tokio::time::timeout;
use worker_protocol::Log;
use worker_protocol::log::{Field, ResultKind};
use worker_protocol::server::{Options, Server};
use worker_protocol::{BuildResult, BuildStatus};

/// Runs a program to its end, and returns what it printed.
async fn run(daemon: &Daemon, program: &str, arguments: &[&str]) -> String {
    let mut command = daemon.command(program);
    command
        .args(arguments)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let output = timeout(Duration::from_secs(60), command.output());
    let output = output.await.expect("it does not hang").expect("it starts");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {errors}");
    String::from_utf8(output.stdout)
        .expect("it prints UTF-8")
        .trim()
        .to_owned()
}

async fn listen(listener: UnixListener, options: Options, paths: Arc<Mutex<Paths>>) {
    loop {
        let (stream, _) = listener.accept().await.expect("it listens");
        let (reader, writer) = stream.into_split();
        let mut server = Server::new(reader, writer, options.clone());
        let mut paths = paths.lock().await;
        let result = BuildResult::new(BuildStatus::MiscFailure);
        let served = store::serve(&mut server, &mut paths, &[], &result).await;
        served.expect("a real client speaks the protocol");
    }
}

/// Makes a program that connects its standard streams to a session here, and serves it once.
async fn serve_relay(
    directory: PathBuf,
    store_dir: StoreDir,
    paths: Arc<Mutex<Paths>>,
    log: Vec<Log>,
) {
    let (requests, replies) = (directory.join("requests"), directory.join("replies"));
    for pipe in [&requests, &replies] {
        let _ = std::fs::remove_file(pipe);
        let made = std::process::Command::new("mkfifo").arg(pipe).status();
        assert!(made.expect("mkfifo starts").success());
    }
    let script = "#!/bin/sh\ncd \"${0%/*}\"\ncat replies &\nexec cat > requests\n";
    std::fs::write(directory.join("relay"), script).expect("a program");
    let mode = PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(directory.join("relay"), mode).expect("it can be run");
    let files = tokio::task::spawn_blocking(move || {
        let replies = File::options().write(true).open(replies).expect("a pipe");
        (File::open(requests).expect("a pipe"), replies)
    });
    let (requests, replies) = files.await.expect("it opens");
    let reader = Receiver::from_file(requests).expect("a pipe");
    let writer = Sender::from_file(replies).expect("a pipe");
    let mut server = Server::new(reader, writer, Options::nix(store_dir, "0.1"));
    let result = BuildResult::new(BuildStatus::Built);
    let served = store::serve(&mut server, &mut *paths.lock().await, &log, &result).await;
    served.expect("a real client speaks the protocol");
}

#[tokio::test]
async fn nix_copies_a_closure_to_and_from_a_store_of_ours() {
    for daemon in Daemon::all() {
        let version = run(&daemon, "nix-store", &["--version"]).await;
        let (outside, inside) = daemon.shared();
        let _ = std::fs::remove_file(outside.join("socket"));
        let listener = UnixListener::bind(outside.join("socket")).expect("a socket");
        let mut options = Options::nix(daemon.store_dir.clone(), "0.1");
        options.trusted = Some(true);
        let paths = Arc::new(Mutex::new(Paths::new()));
        let server = tokio::spawn(listen(listener, options, paths.clone()));
        let store = format!("unix://{}/socket", inside.display());

        std::fs::write(outside.join("input"), vec![b'x'; 3 << 20]).expect("a file");
        let input = inside.join("input");
        let input = input.to_str().expect("it is UTF-8");
        let added = run(&daemon, "nix-store", &["--add", input]).await;
        let features = ["--extra-experimental-features", "nix-command"];
        let features = if version.contains(" 2.3.") {
            &[][..]
        } else {
            &features[..]
        };
        let nix =
            async |arguments: &[&str]| run(&daemon, "nix", &[arguments, features].concat()).await;
        nix(&["copy", "--no-check-sigs", "--to", &store, &added]).await;
        assert_eq!(paths.lock().await.len(), 1, "{version}");
        let info = nix(&["path-info", "--json", "--store", &store, &added]).await;
        assert!(info.contains("narHash"), "{version}: {info}");
        // `unix://` reads the files themselves from the disk, so that archives are only asked for through
        // what Nix takes for ssh. 2.3 does not know that a host called localhost needs none.
        if version.contains(" 2.3.") {
            server.abort();
            continue;
        }
        run(&daemon, "nix-store", &["--delete", &added]).await;
        let relay = tokio::spawn(serve_relay(
            outside,
            daemon.store_dir.clone(),
            paths.clone(),
            vec![],
        ));
        let relayed = format!(
            "ssh-ng://localhost?remote-program={}/relay",
            inside.display()
        );
        nix(&["copy", "--no-check-sigs", "--from", &relayed, &added]).await;
        relay.await.expect("it served one client");
        let hash = run(&daemon, "nix-store", &["--query", "--hash", &added]).await;
        let (known, _) = paths
            .lock()
            .await
            .values()
            .next()
            .cloned()
            .expect("it was added");
        assert_eq!(
            hash,
            known.nar_hash.hash().print(HashFormat::Base32),
            "{version}"
        );
        server.abort();
        assert!(server.await.expect_err("it was stopped").is_cancelled());
    }
}

/// What Nix takes for a builder that it reaches by ssh is a store of ours.
#[tokio::test]
async fn nix_builds_on_a_store_of_ours() {
    for daemon in Daemon::all() {
        let version = daemon.version().await;
        if version.starts_with("2.3.") {
            continue;
        }
        let (outside, inside) = daemon.shared();
        let paths = Arc::new(Mutex::new(Paths::new()));
        let log = vec![Log::Result {
            id: 1,
            kind: ResultKind::BUILD_LOG_LINE,
            fields: vec![Field::Text("a line from elsewhere".into())],
        }];
        let relay = serve_relay(
            outside.clone(),
            daemon.store_dir.clone(),
            paths.clone(),
            log,
        );
        let relay = tokio::spawn(relay);
        let expression = "derivation { name = \"far\"; system = \"x86_64-linux\"; \
                          builder = \"/bin/sh\"; args = [ \"-c\" \"exit 1\" ]; }";
        std::fs::write(outside.join("far.nix"), expression).expect("a file");
        let builder = format!(
            "ssh-ng://localhost?remote-program={}/relay x86_64-linux - 1 1 - - -",
            inside.display()
        );
        let file = format!("{}/far.nix", inside.display());
        let arguments = [
            "--no-out-link",
            "--max-jobs",
            "0",
            "--option",
            "builders",
            &builder,
            &file,
        ];
        let built = run(&daemon, "nix-build", &arguments).await;
        relay.await.expect("it served one client");
        assert_eq!(paths.lock().await.len(), 1, "{version}: {built}");
        let dumped = run(&daemon, "nix-store", &["--dump", &built]).await;
        assert!(dumped.contains("built elsewhere"), "{version}");
        eprintln!("{version} built on a store of ours");
    }
}

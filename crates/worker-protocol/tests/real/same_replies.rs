//! Requests that leave together get the replies that they get one by one.

use std::fmt::Debug;
use std::time::Duration;

use store_path::{StoreDir, StorePath};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use worker_protocol::client::{Client, Options, Ticket};
use worker_protocol::operation::{
    AddTempRoot, AddTextToStore, BuildPaths, EnsurePath, HasSubstitutes, IsValidPath, Operation,
    QueryAllValidPaths, QueryDerivationOutputs, QueryDeriver, QueryMissing, QueryPathFromHashPart,
    QueryPathHash, QueryPathInfo, QueryReferences, QueryReferrers, QuerySubstitutablePaths,
    QueryValidDerivers, QueryValidPaths, SetOptions, SubstituteUrls,
};
use worker_protocol::{BuildMode, DerivedPath, Error, Log, Version};

use crate::daemon::{Daemon, GuixDaemon};

fn absent(name: &str) -> StorePath {
    StorePath::from_base_name(&format!("{}-{name}", "1".repeat(32))).expect("a good name")
}

/// Activities are numbered anew in every connection.
fn without_numbers(message: Log) -> Log {
    match message {
        Log::StartActivity {
            level,
            kind,
            text,
            fields,
            ..
        } => Log::StartActivity {
            id: 0,
            level,
            kind,
            text,
            fields,
            parent: 0,
        },
        Log::StopActivity { .. } => Log::StopActivity { id: 0 },
        Log::Result { kind, fields, .. } => Log::Result {
            id: 0,
            kind,
            fields,
        },
        other => other,
    }
}

async fn hear<R, W, O>(
    client: &mut Client<R, W>,
    ticket: Result<Ticket<O>, Error>,
    heard: &mut Vec<String>,
) where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
    O: Operation<Reply: Debug>,
{
    let mut log = Vec::new();
    let reply = match ticket {
        Ok(ticket) => {
            let mut note = |message| log.push(without_numbers(message));
            client.reply(ticket, &mut note).await
        }
        Err(error) => Err(error),
    };
    heard.push(format!("{}: {reply:?} {log:?}", O::NAME));
}

/// Queues all of the operations, and then reads their replies. Each `ticket` is another one.
macro_rules! at_once {
    ($client:ident, $heard:ident, [$($ticket:ident)*]) => {
        $(hear($client, $ticket, $heard).await;)*
    };
    ($client:ident, $heard:ident, [$($ticket:ident)*] $next:expr $(, $rest:expr)*) => {
        let ticket = $client.queue(&$next).await;
        at_once!($client, $heard, [$($ticket)* ticket] $($rest),*);
    };
}

macro_rules! ask {
    ($client:ident, $heard:ident, $at_once:expr; $($operation:expr),* $(,)?) => {
        if $at_once {
            at_once!($client, $heard, [] $($operation),*);
        } else {
            $(
                let ticket = $client.queue(&$operation).await;
                hear($client, ticket, $heard).await;
            )*
        }
    };
}

/// What a daemon says to questions about a path that is there and others that are not.
///
/// 2.34.8 has dropped some of the `old` operations, and ends the connection of who asks for them.
async fn replies<R, W>(
    client: &mut Client<R, W>,
    there: &StorePath,
    old: bool,
    at_once: bool,
) -> Vec<String>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let mut heard = Vec::new();
    let said = &mut heard;
    let there = || there.clone();
    let missing = || absent("missing");
    let both = || [there(), missing()].into();
    let targets = || vec![DerivedPath::Opaque(missing())];
    let conversation = async {
        ask!(
            client, said, at_once;
            SetOptions::default(),
            IsValidPath { path: there() },
            IsValidPath { path: missing() },
            QueryPathInfo { path: missing() },
            QueryPathInfo { path: there() },
            AddTempRoot { path: there() },
            QueryReferrers { path: there() },
            EnsurePath { path: missing() },
            QueryValidPaths { paths: both(), substitute: false },
            QueryDeriver { path: there() },
            BuildPaths { targets: targets(), mode: BuildMode::Normal },
            QueryPathFromHashPart { hash_part: there().hash_part().into() },
            QueryValidDerivers { path: there() },
            QueryMissing { targets: targets() },
            QuerySubstitutablePaths { paths: both() },
            QueryDerivationOutputs { path: absent("missing.drv") },
            SubstituteUrls {},
            EnsurePath { path: there() },
            QueryAllValidPaths {},
        );
        if old {
            ask!(
                client, said, at_once;
                HasSubstitutes { path: missing() },
                QueryPathHash { path: there() },
                QueryPathHash { path: missing() },
                QueryReferences { path: there() },
            );
        }
    };
    let within = timeout(Duration::from_secs(60), conversation);
    within.await.expect("no conversation takes a minute");
    heard
}

fn assert_same(single: &[String], together: &[String], what: &str) {
    for (one_by_one, at_once) in single.iter().zip(together) {
        assert_eq!(one_by_one, at_once, "{what}");
    }
    assert_eq!(single.len(), together.len(), "{what}");
}

async fn add<R, W>(client: &mut Client<R, W>) -> StorePath
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let text = AddTextToStore {
        name: "there".into(),
        contents: "it is there".into(),
        references: [].into(),
    };
    client.call(&text, &mut |_| {}).await.expect("added")
}

#[tokio::test]
async fn of_every_nix_daemon_at_every_version() {
    for daemon in Daemon::all() {
        let program = daemon.version().await;
        let old = !program.starts_with("2.34");
        let options = |version| Options {
            version,
            ..Options::nix(daemon.store_dir.clone())
        };
        for version in (18..=38).map(Version::nix) {
            let connect = || daemon.connect(options(version));
            let (mut client, _process) = connect();
            let there = add(&mut client).await;
            if client.version() != Some(version) {
                break;
            }
            let single = replies(&mut client, &there, old, false).await;
            let (mut client, _process) = connect();
            let together = replies(&mut client, &there, old, true).await;
            assert_same(&single, &together, &format!("{program} at {version}"));
            // What does not depend on the version was answered.
            let answered = single.iter().filter(|line| line.contains(": Ok("));
            assert!(answered.count() >= 12, "{version}: {single:#?}");
        }
    }
}

#[tokio::test]
async fn of_every_guix_daemon() {
    for daemon in GuixDaemon::all().await {
        let mut client = daemon.connect(Options::guix(StoreDir::GUIX)).await;
        let there = add(&mut client).await;
        let single = replies(&mut client, &there, true, false).await;
        let mut client = daemon.connect(Options::guix(StoreDir::GUIX)).await;
        let together = replies(&mut client, &there, true, true).await;
        assert_same(&single, &together, "guix-daemon");
        let answered = single.iter().filter(|line| line.contains(": Ok("));
        assert!(answered.count() >= 12, "{single:#?}");
    }
}

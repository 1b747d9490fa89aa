//! Conversations with real guix-daemons.

use std::num::NonZero;
use std::time::Duration;

use crate::daemon::{GuixDaemon, file_nar};
use store_path::{ContentAddressMethod, HashAlgorithm, StoreDir, StorePath};
use tokio::time::timeout;
use worker_protocol::client::Options;
use worker_protocol::export::{self, Trailer};
use worker_protocol::operation::{
    AddTempRoot, AddTextToStore, AddToStore, BuildDerivation, BuildPaths, BuiltinBuilders,
    ClearFailedPaths, CollectGarbage, EnsurePath, ExportPath, FindRoots, GarbageAction,
    HasSubstitutes, ImportPaths, IsValidPath, Obsolete, OptimiseStore, QueryAllValidPaths,
    QueryDeriver, QueryFailedPaths, QueryPathFromHashPart, QueryPathHash, QueryPathInfo,
    QueryReferences, QueryReferrers, QuerySubstitutablePathInfos, QuerySubstitutablePaths,
    QueryValidDerivers, QueryValidPaths, SetOptions, SubstituteUrls, SyncWithGC, VerifyStore,
};
use worker_protocol::wire::{Decoder, Text};
use worker_protocol::{BuildMode, DerivedPath, Error, NarHash, Value, Version};

async fn within<T>(work: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(60), work)
        .await
        .expect("no conversation takes a minute")
}

fn add(name: &str) -> AddToStore {
    AddToStore {
        name: name.into(),
        method: ContentAddressMethod::Recursive,
        algorithm: HashAlgorithm::Sha256,
        references: [].into(),
        repair: false,
    }
}

#[tokio::test]
async fn every_operation_and_then_another_one() {
    for daemon in GuixDaemon::all().await {
        eprintln!("guix-daemon of {}", daemon.root.display());
        for minor in Version::GUIX_OLDEST.minor()..=Version::GUIX_NEWEST.minor() {
            within(conversation(&daemon, Version::guix(minor))).await;
        }
    }
}

#[expect(
    clippy::too_many_lines,
    reason = "one conversation, from its first word to its last"
)]
async fn conversation(daemon: &GuixDaemon, announced: Version) {
    let mut log = |_| {};
    let log = &mut log;
    let options = Options {
        version: announced,
        ..Options::guix(StoreDir::GUIX)
    };
    let mut client = daemon.connect(options).await;
    client.handshake(log).await.expect("a handshake");
    let version = client.version().expect("it is agreed on");
    assert!(version <= announced);

    // Requests can be queued: the session sends them one by one.
    let name = format!("text-{announced}");
    let text = AddTextToStore {
        name: name.into(),
        contents: "hello".into(),
        references: [].into(),
    };
    let set = client.queue(&SetOptions::default()).await.expect("queued");
    let text = client.queue(&text).await.expect("queued");
    let missing = StorePath::from_base_name(&format!("{}-missing", "1".repeat(32))).expect("good");
    let absent = client
        .queue(&IsValidPath {
            path: missing.clone(),
        })
        .await
        .expect("queued");
    client.flush().await.expect("sent");
    client.reply(set, log).await.expect("options are set");
    let text = client.reply(text, log).await.expect("added");
    assert_eq!(client.reply(absent, log).await, Ok(false));

    // Data stands behind the request.
    let nar = file_nar(&vec![3; 2 << 20], false);
    let mut upload = client
        .upload(&add(&format!("file-{announced}")))
        .await
        .expect("begun");
    for piece in nar.chunks(1 << 16) {
        upload.write(piece, log).await.expect("taken");
    }
    let ticket = upload.finish(log).await.expect("complete");
    let file = client.reply(ticket, log).await.expect("added").path;

    let info = client
        .call(&QueryPathInfo { path: file.clone() }, log)
        .await;
    let info = info.expect("it answers").expect("it is valid");
    assert_eq!(info.nar_hash, NarHash::of(&nar));
    assert_eq!(info.nar_size, nar.len() as u64);
    let hash = client
        .call(&QueryPathHash { path: file.clone() }, log)
        .await;
    assert_eq!(hash, Ok(info.nar_hash));
    let error = client
        .call(
            &QueryPathInfo {
                path: missing.clone(),
            },
            log,
        )
        .await;
    assert!(matches!(error, Err(Error::Remote(error)) if error.status == NonZero::new(1)));
    let paths = [file.clone(), text.clone(), missing.clone()].into();
    let valid = client
        .call(
            &QueryValidPaths {
                paths,
                substitute: false,
            },
            log,
        )
        .await;
    assert_eq!(valid, Ok([file.clone(), text.clone()].into()));
    let all = client
        .call(&QueryAllValidPaths {}, log)
        .await
        .expect("it answers");
    assert!(all.contains(&file) && all.contains(&text));
    let part = QueryPathFromHashPart {
        hash_part: file.hash_part().into(),
    };
    assert_eq!(client.call(&part, log).await, Ok(Some(file.clone())));
    let part = QueryPathFromHashPart {
        hash_part: missing.hash_part().into(),
    };
    assert_eq!(client.call(&part, log).await, Ok(None));
    assert_eq!(
        client
            .call(&QueryReferences { path: file.clone() }, log)
            .await,
        Ok([].into())
    );
    assert_eq!(
        client
            .call(&QueryReferrers { path: file.clone() }, log)
            .await,
        Ok([].into())
    );
    assert_eq!(
        client.call(&QueryDeriver { path: file.clone() }, log).await,
        Ok(None)
    );
    assert_eq!(
        client
            .call(&QueryValidDerivers { path: file.clone() }, log)
            .await,
        Ok([].into())
    );
    client
        .call(&AddTempRoot { path: file.clone() }, log)
        .await
        .expect("rooted");
    client
        .call(&SyncWithGC {}, log)
        .await
        .expect("no collection runs");
    client.call(&FindRoots {}, log).await.expect("it answers");
    assert_eq!(
        client
            .call(
                &HasSubstitutes {
                    path: missing.clone()
                },
                log
            )
            .await,
        Ok(false)
    );
    let paths = QuerySubstitutablePaths {
        paths: [missing.clone()].into(),
    };
    assert_eq!(client.call(&paths, log).await, Ok([].into()));
    let paths = QuerySubstitutablePathInfos {
        paths: [(missing.clone(), None)].into(),
    };
    assert_eq!(client.call(&paths, log).await, Ok(vec![]));
    assert_eq!(client.call(&QueryFailedPaths {}, log).await, Ok(vec![]));
    let all: Vec<Text> = vec!["*".into()];
    client
        .call(&ClearFailedPaths { paths: all }, log)
        .await
        .expect("cleared");
    client
        .call(&OptimiseStore {}, log)
        .await
        .expect("optimised");
    let verify = VerifyStore {
        check_contents: false,
        repair: false,
    };
    assert_eq!(client.call(&verify, log).await, Ok(false));
    let collect = CollectGarbage {
        action: GarbageAction::ReturnLive,
        paths: vec![],
        ignore_liveness: false,
        max_freed: u64::MAX,
        obsolete: [Obsolete; 3],
    };
    // guix-daemon runs `guix gc --list-busy` for it, which 1.2.0 cannot without more of a system around it.
    match client.call(&collect, log).await {
        Ok(live) => assert_eq!(live.bytes_freed, 0),
        Err(error) => assert!(error.to_string().contains("/guix' failed"), "{error}"),
    }
    let name = format!("{}-missing.drv", "1".repeat(32));
    let derivation = StorePath::from_base_name(&name).expect("good");
    let build = BuildPaths {
        targets: vec![DerivedPath::all_outputs(derivation)],
        mode: BuildMode::Normal,
    };
    let error = client.call(&build, log).await;
    assert!(matches!(error, Err(Error::Remote(_))), "{error:?}");
    let ensure = EnsurePath {
        path: missing.clone(),
    };
    let error = client.call(&ensure, log).await;
    assert!(matches!(error, Err(Error::Remote(_))), "{error:?}");
    let builders = client.call(&BuiltinBuilders {}, log).await;
    match version.has_builtin_builders() {
        true => assert!(builders.expect("it answers").contains(&"download".into())),
        false => assert!(matches!(builders, Err(Error::Unsupported { .. }))),
    }
    if version.has_substitute_urls() {
        client
            .call(&SubstituteUrls {}, log)
            .await
            .expect("it answers");
    }
    let derivation = Default::default();
    let build = BuildDerivation {
        path: file.clone(),
        derivation,
        mode: BuildMode::Normal,
    };
    assert!(matches!(
        client.call(&build, log).await,
        Err(Error::Unsupported { .. })
    ));
    export_and_import(&mut client, &file, &nar).await;
    assert_eq!(
        client.call(&IsValidPath { path: file }, log).await,
        Ok(true)
    );
}

type GuixClient = worker_protocol::client::Client<
    tokio::net::unix::OwnedReadHalf,
    tokio::net::unix::OwnedWriteHalf,
>;

/// An unsigned export can be had, but no import of it.
async fn export_and_import(client: &mut GuixClient, file: &StorePath, nar: &[u8]) {
    let log = &mut |_| {};
    let ticket = client
        .queue(&ExportPath {
            path: file.clone(),
            sign: false,
        })
        .await;
    let mut data = Vec::new();
    let ticket = ticket.expect("queued");
    let exported = client
        .reply_with_data(ticket, log, &mut |block| data.extend(block))
        .await;
    exported.expect("exported");
    assert_eq!(&data[..nar.len()], nar);
    let mut decoder = Decoder::new(&data[nar.len()..]);
    let trailer = Trailer::decode(&mut decoder, client.context()).expect("it is one");
    assert_eq!(&trailer.path, file);
    assert_eq!(trailer.signature, None);
    decoder.finish().expect("nothing follows");

    let mut stream = Vec::new();
    export::encode_next(&mut stream, true);
    stream.extend_from_slice(&data);
    export::encode_next(&mut stream, false);
    let result = async {
        let mut upload = client.upload(&ImportPaths {}).await?;
        upload.write(&stream, log).await?;
        let ticket = upload.finish(log).await?;
        client.reply(ticket, log).await
    };
    let error = result.await.expect_err("it has no signature");
    assert!(error.to_string().contains("signature"), "{error}");
}

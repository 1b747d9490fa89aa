//! What a version cannot say is refused before a byte of it is sent.

use store_path::{ContentAddressMethod, HashAlgorithm, StoreDir};
use worker_protocol::operation::{
    AddToStore, Added, BuildPaths, BuildPathsWithResults, QueryMissing, QueryPathInfo,
    QueryRealisation, Realised, SetOptions,
};
use worker_protocol::serve::{self, BuildSettings};
use worker_protocol::{
    BuildMode, BuildResult, BuildStatus, DerivedPath, DrvOutput, Error, Misuse, Operation, Outputs,
    RemoteError, Request, Version, client, server, wire::Encoder,
};

use crate::{path, valid_path};

/// A client that takes the daemon to speak `version`, and has said all it had to.
fn asking(version: Version) -> client::Session {
    let mut session = client::Session::new(client::Options {
        version,
        assume: Some(version),
        ..client::Options::nix(StoreDir::NIX)
    });
    session.sent(session.outgoing().len());
    session
}

/// A server that was asked for something.
fn asked<O: Operation + Into<Request>>(version: Version, operation: O) -> server::Session {
    let mut options = server::Options::nix(StoreDir::NIX, "1");
    options.version = version;
    let mut session = server::Session::new(options);
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes);
    encoder.word(0x6e69_7863).word(version.to_word());
    if version.has_features() {
        encoder.word(0);
    }
    encoder.word(0).word(0);
    operation.into().encode(&mut encoder, &context(version));
    encoder.word(0);
    session.receive(&bytes);
    let request = session.poll_request().expect("it is one");
    assert!(matches!(request, server::Progress::Ready(Some(_))));
    while let server::Progress::NeedBytes(_) = session.poll_drain().expect("it ends") {}
    session.sent(session.outgoing().len());
    session
}

fn context(version: Version) -> worker_protocol::Context {
    worker_protocol::Context::new(StoreDir::NIX, version)
}

fn because(error: Result<(), Error>) -> &'static str {
    match error {
        Err(Error::Unsupported { because, .. }) => because,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_derivation_itself_where_its_path_means_its_outputs() {
    let targets = || vec![DerivedPath::Opaque(path("x.drv"))];
    let versions = [18, 29].map(Version::nix).into_iter();
    for version in versions.chain([Version::guix(0x64)]) {
        let mut client = asking(version);
        let build = BuildPaths {
            targets: targets(),
            mode: BuildMode::Normal,
        };
        let refused = client.queue(&build).map(|_| ());
        assert_eq!(because(refused), " for a derivation itself", "{version}");
        assert!(client.outgoing().is_empty());
    }
    let missing = QueryMissing { targets: targets() };
    asking(Version::nix(29))
        .queue(&missing)
        .expect_err("as above");
    asking(Version::nix(30))
        .queue(&missing)
        .expect("it can be said");

    let mut client = serve::Session::new(StoreDir::NIX, Some(serve::ServeVersion(7)));
    client.sent(client.outgoing().len());
    let nothing = DerivedPath::Built {
        derivation: path("x.drv"),
        outputs: Outputs::Names([].into()),
    };
    for (target, because) in [
        (targets().remove(0), " for a derivation itself"),
        (nothing, " for no output of a derivation"),
    ] {
        let build = serve::BuildPaths {
            targets: vec![target],
            settings: BuildSettings::default(),
        };
        let refused = client.queue(&build).map(|_| ());
        let command = "BuildPaths";
        assert_eq!(
            refused,
            Err(Misuse::Inexpressible { command, because }.into())
        );
        assert!(client.outgoing().is_empty());
    }
}

/// The client would read on into the next reply.
#[test]
fn a_reply_that_lacks_what_the_client_waits_for() {
    let add = AddToStore {
        name: "x".into(),
        method: ContentAddressMethod::Recursive,
        algorithm: HashAlgorithm::Sha256,
        references: [].into(),
        repair: false,
    };
    let mut server = asked(Version::nix(25), add);
    let mut added = Added::new(path("x"), None);
    let refused = server.answer::<AddToStore>(&added);
    assert_eq!(because(refused), " without what is known of the path");
    assert!(server.outgoing().is_empty());
    added.info = Some(valid_path("x", b"").info);
    server.answer::<AddToStore>(&added).expect("it still waits");

    let query = || QueryPathInfo { path: path("x") };
    let mut server = asked(Version::guix(0x64), query());
    let refused = server.answer::<QueryPathInfo>(&None);
    assert_eq!(because(refused), " with nothing");
    assert!(server.outgoing().is_empty());
    let error = RemoteError::new("path `x' is not valid");
    server.fail(error).expect("as a guix-daemon does");
    let mut server = asked(Version::nix(37), query());
    server
        .answer::<QueryPathInfo>(&None)
        .expect("it can be said");

    let output = || DrvOutput {
        derivation_hash: HashAlgorithm::Sha256.hash(b"x"),
        output: "out".into(),
    };
    let query = || QueryRealisation { output: output() };
    let bare = vec![Realised::Path(path("x"))];
    let mut server = asked(Version::nix(31), query());
    let refused = server.answer::<QueryRealisation>(&bare);
    assert_eq!(because(refused), " with a path only");
    let mut server = asked(Version::nix(30), query());
    let answered = server.answer::<QueryRealisation>(&bare);
    answered.expect("it can be said");

    let build = BuildPathsWithResults {
        targets: vec![],
        mode: BuildMode::Normal,
    };
    let mut server = asked(Version::nix(34), build);
    let target = DerivedPath::Built {
        derivation: path("x.drv"),
        outputs: Outputs::Names([].into()),
    };
    let results = vec![(target, BuildResult::new(BuildStatus::Built))];
    let refused = server.answer::<BuildPathsWithResults>(&results);
    assert_eq!(because(refused), " for no output of a derivation");
}

/// A guix-daemon gets what it hears of through its settings only, and only if it is asked for.
#[test]
fn guix_hears_of_jobs_silence_and_cores() {
    let mut options = SetOptions::default();
    options.build_cores = 3;
    options.max_silent_time = 60;
    options.settings = [("build-max-silent-time".into(), "70".into())].into();

    let mut bytes = Vec::new();
    options.encode(&mut Encoder::new(&mut bytes), &context(Version::guix(0x64)));
    let mut decoder = worker_protocol::wire::Decoder::new(&bytes);
    let read = SetOptions::decode(&mut decoder, &context(Version::guix(0x64)));
    let read = read.expect("it was written so");
    assert_eq!((read.build_cores, read.max_silent_time), (3, 70));
    assert_eq!((read.max_build_jobs, read.settings.len()), (1, 0));
}
